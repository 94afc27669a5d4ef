//! What a session of PostgreSQL really is: asked of each new connection, since a pooler drops the
//! settings that a connection starts with, and an address can lead to a standby.

use sqlx::{PgConnection, Row as _};

use crate::{error::Code, open::Access};

/// Time limit of a statement and of an idle transaction.
pub(crate) const TIMEOUT: &str = "30s";
/// A setting of ours that a connection starts with. A pooler drops it, with the others.
pub(crate) const MARK: (&str, &str) = ("remit.session", "own");

/// Commits, and waits for the standby also where nothing was written: then an empty message in the
/// write-ahead log is what is waited for, and everything before it.
pub(crate) const CONFIRM_AND_COMMIT: &str = "SELECT CASE WHEN pg_current_xact_id_if_assigned() IS NULL \
    THEN pg_logical_emit_message(true, 'remit', '') END; COMMIT";

/// What a connection's session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// Reached through a pooler, which may give each transaction another session. No prepared
    /// statement is kept then: the other session may have another one by its name.
    pub is_pooled: bool,
    /// Whether a transaction that wrote nothing still has to wait for the standby.
    pub confirms: bool,
}

impl Session {
    /// This connection's own, on an engine without a standby.
    pub const OWN: Self = Self {
        is_pooled: false,
        confirms: false,
    };
}

/// Why a connection must not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// What it commits may not be on disk, or not on the standby.
    #[error(
        "its connections have synchronous_commit={0}, so that what is acknowledged could be lost, although Remit asks for \
         `on`: a pooler such as PgBouncer drops what a connection asks for. say ALTER ROLE … SET synchronous_commit = on, \
         for the role of the URL, and reconnect the pooler"
    )]
    Asynchronous(String),
    /// Nothing can be written.
    #[error(
        "the server takes reads only: it is a standby, or default_transaction_read_only is set for the role. the address \
         has to lead to the leader, and to follow it"
    )]
    Standby,
}

impl Unfit {
    fn error(self) -> sqlx::Error {
        sqlx::Error::Configuration(Box::new(self))
    }

    /// The reason in an error, if that is it.
    pub fn of(error: &sqlx::Error) -> Option<&Self> {
        match error {
            sqlx::Error::Configuration(error) => error.downcast_ref(),
            _ => None,
        }
    }
}

/// Refuses a connection that does not keep what is committed, or that cannot write although it has
/// to. As a simple query, which every pooler takes.
pub(crate) async fn examine(connection: &mut PgConnection, access: Access) -> Result<Session, sqlx::Error> {
    const ASK: &str = "SELECT current_setting('synchronous_commit') AS durable, \
                       current_setting('transaction_read_only') AS read_only, \
                       coalesce(current_setting('remit.session', true), '') AS mark, \
                       CASE WHEN EXISTS (SELECT FROM pg_proc WHERE proname = 'pg_logical_emit_message') \
                       AND EXISTS (SELECT FROM pg_proc WHERE proname = 'pg_current_xact_id_if_assigned') \
                       THEN 'yes' ELSE 'no' END AS confirms";
    let row = sqlx::raw_sql(ASK).fetch_one(connection).await.map_err(|error| {
        // A standby on which every transaction is serializable refuses even the question.
        match Code::of(&error) {
            Some(Code::Postgres("0A000")) => Unfit::Standby.error(),
            _ => error,
        }
    })?;
    let is_durable = ["on", "remote_apply"].contains(&row.try_get("durable")?);
    if access == Access::Write && row.try_get::<&str, _>("read_only")? == "on" {
        return Err(Unfit::Standby.error());
    }
    if access == Access::Write && !is_durable {
        return Err(Unfit::Asynchronous(row.try_get("durable")?).error());
    }
    Ok(Session {
        is_pooled: row.try_get::<&str, _>("mark")? != MARK.1,
        // Relatives of PostgreSQL do without such a message, and those before 13 cannot ask for it so.
        confirms: access == Access::Write && row.try_get::<&str, _>("confirms")? == "yes",
    })
}

/// Warns of what a server lacks that no connection can ask for.
pub(crate) async fn warn(connection: &mut PgConnection, session: Session, url: &str) -> Result<(), sqlx::Error> {
    // Relatives of PostgreSQL have no such setting.
    const ASK: &str = "SELECT coalesce(current_setting('fsync', true), 'on') AS fsync, \
                       current_setting('statement_timeout') AS statement, \
                       current_setting('idle_in_transaction_session_timeout') AS idle";
    let row = sqlx::raw_sql(ASK).fetch_one(connection).await?;
    if row.try_get::<&str, _>("fsync")? == "off" {
        tracing::warn!(
            url,
            "the database server runs with fsync=off: a power failure loses what was acknowledged"
        );
    }
    if session.is_pooled {
        tracing::info!(
            url,
            "the database is reached through a pooler: each statement is a transaction, and none is kept prepared"
        );
    }
    for (setting, column) in [
        ("statement_timeout", "statement"),
        ("idle_in_transaction_session_timeout", "idle"),
    ] {
        let found: &str = row.try_get(column)?;
        if found == "0" {
            tracing::warn!(
                url,
                setting,
                "the pooler drops this setting, and the role has none: say ALTER ROLE … SET {setting} = '{TIMEOUT}', so that a \
                 replica that is cut off while it holds a lock does not block the others"
            );
        }
    }
    Ok(())
}
