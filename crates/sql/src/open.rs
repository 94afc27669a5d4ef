//! From a URL to connections: the engine is chosen here, with its settings for durability.

use std::{path::Path, str::FromStr as _, time::Duration};

use sqlx::{
    PgConnection, SqliteConnection,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::{
    Error,
    pool::{Pool, STATEMENT},
    session,
};

/// A database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// SQLite, in this process.
    Sqlite,
    /// PostgreSQL or a database that speaks its protocol.
    Postgres,
}

/// The connections to one database.
#[derive(Clone, Debug)]
pub(crate) enum Pools {
    /// One writing connection, and readers beside it. Several writers would spend their time
    /// retrying on SQLite's lock.
    Sqlite {
        writer: Pool<SqliteConnection>,
        readers: Pool<SqliteConnection>,
    },
    /// Every connection reads and writes.
    Postgres(Pool<PgConnection>),
}

const SQLITE_READERS: usize = 4;
const POSTGRES_CONNECTIONS: usize = 16;
/// Wait for a free connection before the caller gets `PoolTimedOut`, which is reported as overload.
const WAIT: Duration = Duration::from_secs(5);
/// The same for SQLite's single writer, which a large directory load occupies for longer.
const WAIT_TO_WRITE: Duration = Duration::from_secs(30);

/// What a database is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To be written, and created if it is a missing SQLite file.
    Write,
    /// To be read. Nothing is created or changed, not even settings of the file.
    Read,
    /// To be read at once, and closed.
    Glance,
}

impl Pools {
    /// Opens the database at a URL.
    pub async fn open(url: &str, access: Access) -> Result<Self, Error> {
        let shown = without_password(url);
        let open = |source| Error::Open {
            url: shown.clone(),
            source,
        };
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => {
                let options = SqliteConnectOptions::from_str(url).map_err(open)?;
                // Without one nobody has the file open, and nobody died who had.
                let has_log = log_beside(options.get_filename());
                let options = match access {
                    Access::Write => options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal),
                    // Who only reads makes a log, too, and only who may write removes it at the end.
                    Access::Read if !has_log => options.create_if_missing(false).pragma("query_only", "ON"),
                    Access::Glance if !has_log => options.create_if_missing(false).read_only(true).immutable(true),
                    Access::Read | Access::Glance => options.create_if_missing(false).read_only(true),
                };
                let options = options
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(Duration::from_secs(5))
                    .statement_cache_capacity(256)
                    // The default is 1,000 pages. A checkpoint syncs twice on the writer's time,
                    // and with fewer checkpoints a page that is written repeatedly is copied once.
                    .pragma("wal_autocheckpoint", "16000")
                    .pragma("cache_size", "-16000")
                    .pragma("temp_store", "MEMORY");
                let writer =
                    Pool::<SqliteConnection>::new(options.clone(), access, 1, WAIT_TO_WRITE, None).map_err(open)?;
                let version = writer
                    .run(async |connection, _| sqlite_version(connection).await)
                    .await
                    .map_err(open)?;
                require_version(version)?;
                let reading = options
                    .read_only(true)
                    .create_if_missing(false)
                    .pragma("cache_size", "-2000");
                Ok(Self::Sqlite {
                    writer,
                    readers: Pool::new(reading, Access::Read, SQLITE_READERS, WAIT, None).map_err(open)?,
                })
            }
            Some("postgres" | "postgresql") => {
                let options = PgConnectOptions::from_str(url)
                    .map_err(open)?
                    .application_name("remit")
                    // Override the role's defaults: an acknowledged commit is on disk, and a
                    // replica that is cut off while it holds a lock does not block the others.
                    .options([
                        session::MARK,
                        ("synchronous_commit", "on"),
                        ("statement_timeout", session::TIMEOUT),
                        ("idle_in_transaction_session_timeout", session::TIMEOUT),
                    ])
                    .statement_cache_capacity(256);
                let options = match access {
                    Access::Write => options,
                    Access::Read | Access::Glance => options.options([("default_transaction_read_only", "on")]),
                };
                let pool = Pool::<PgConnection>::new(options, access, POSTGRES_CONNECTIONS, WAIT, Some(STATEMENT))
                    .map_err(open)?;
                let mut first = pool.get().await.map_err(open)?;
                let session = first.session();
                let told = match access {
                    Access::Write => session::warn(first.busy().map_err(open)?, session, &shown).await,
                    Access::Read | Access::Glance => Ok(()),
                };
                first.settle(told).map_err(open)?;
                drop(first);
                Ok(Self::Postgres(pool))
            }
            Some(scheme) => Err(Error::Url {
                url: shown.clone(),
                problem: format!("unknown scheme `{scheme}`"),
            }),
            None => Err(Error::Url {
                url: shown.clone(),
                problem: "the scheme is missing".to_owned(),
            }),
        }
    }

    /// The engine of these connections.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite { .. } => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }
}

/// Whether SQLite's write-ahead log lies beside a database file.
fn log_beside(file: &Path) -> bool {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    Path::new(&log).exists()
}

async fn sqlite_version(connection: &mut SqliteConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(connection)
        .await
}

fn require_version(found: String) -> Result<(), Error> {
    let mut parts = found.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = [parts.next(), parts.next(), parts.next()].map(|part| part.unwrap_or(0));
    match version < [3, 51, 3] {
        true => Err(Error::SqliteTooOld { found }),
        false => Ok(()),
    }
}

/// Removes possible secrets from a URL: the password and the query; everything after the scheme if
/// an unescaped password obscures where the host starts.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.contains('@') {
        return format!("{scheme}://…");
    }
    match authority.rsplit_once('@') {
        None => format!("{scheme}://{rest}"),
        Some((user, host)) => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{scheme}://{user}@{host}/{path}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("postgres://remit:secret@db/remit", "postgres://remit@db/remit"),
            (
                "postgres://remit:se@cret@db/remit?password=x",
                "postgres://remit@db/remit",
            ),
            ("postgres://remit:sec/ret@db/remit", "postgres://…"),
            ("postgres://db/remit?password=secret", "postgres://db/remit"),
            ("sqlite://data/intake.db", "sqlite://data/intake.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
