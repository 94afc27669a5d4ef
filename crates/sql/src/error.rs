use std::time::Duration;

/// What the database was asked to do, and why it did not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is not one that Remit can use.
    #[error("database url `{url}`: {problem}; use sqlite://PATH or postgres://USER@HOST/NAME")]
    Url {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The SQLite that was linked loses commits in a known way.
    #[error(
        "this build carries SQLite {found}, which can lose commits when the write-ahead log is reset; 3.51.3 or newer is needed"
    )]
    SqliteTooOld {
        /// Its version.
        found: String,
    },
    /// The database could not be opened.
    #[error("cannot open database `{url}`")]
    Open {
        /// The URL, without its password.
        url: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("cannot migrate the schema of `{url}`")]
    Migrate {
        /// The URL, without its password.
        url: String,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A statement or a commit failed.
    #[error("{doing}")]
    Execute {
        /// The statement's beginning, or `begin` or `commit`.
        doing: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A column did not hold what the schema says.
    #[error("column {column}")]
    Decode {
        /// Its position.
        column: usize,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A stored value breaks a rule of the code that wrote it.
    #[error("stored {what} is damaged: {problem}")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Another transaction wrote what this one was about to write.
    #[error("{0} was written by another transaction")]
    Raced(&'static str),
    /// Not the database's fault: a test asked for it.
    #[error("fault injected {0}")]
    Injected(&'static str),
}

impl Error {
    pub(crate) fn execute(statement: &str, source: sqlx::Error) -> Self {
        let doing: String = statement.split_whitespace().take(6).collect::<Vec<_>>().join(" ");
        Self::Execute { doing, source }
    }

    /// Whether the database could not be reached, or had no connection or no disk left: nothing about the transaction itself.
    pub fn is_outage(&self) -> bool {
        let (Self::Execute { source, .. } | Self::Open { source, .. }) = self else {
            return false;
        };
        if let sqlx::Error::Database(database) = source {
            return match database.code().as_deref() {
                // PostgreSQL: what breaks its protocol is a fault of ours.
                Some("08P01") => false,
                // The connection failed; insufficient resources, a full disk among them; the server stops or starts.
                Some(code) if code.len() == 5 => ["08", "53", "57P"].iter().any(|class| code.starts_with(class)),
                // SQLite: the disk is full.
                Some(code) => code == "13",
                None => false,
            };
        }
        matches!(
            source,
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Io(_)
        )
    }

    /// Whether a row was there already that may be there once only.
    pub fn is_unique_violation(&self) -> bool {
        let Self::Execute {
            source: sqlx::Error::Database(database),
            ..
        } = self
        else {
            return false;
        };
        database.is_unique_violation()
    }

    /// Whether running the same transaction again may succeed.
    pub fn is_transient(&self) -> bool {
        let Self::Execute {
            source: sqlx::Error::Database(database),
            ..
        } = self
        else {
            return false;
        };
        match database.code().as_deref() {
            // PostgreSQL: serialization failure, deadlock, lock not available; and a unique index that two
            // transactions raced for: the next try sees the winner's row.
            Some("40001" | "40P01" | "55P03" | "23505") => true,
            // SQLite: busy, locked, and their extended codes.
            Some(code) => matches!(code.parse::<i32>().map(|code| code & 0xff), Ok(5 | 6)),
            None => false,
        }
    }
}

/// Counts tries of one transaction and waits a little longer after each.
#[derive(Debug, Default)]
pub struct Retry {
    tries: u32,
}

impl Retry {
    const MOST: u32 = 8;

    /// After a failure: whether to try again, once the wait that this call makes is over.
    pub async fn again(&mut self, error: &Error) -> bool {
        self.tries += 1;
        if self.tries >= Self::MOST || !error.is_transient() {
            return false;
        }
        tracing::debug!(tries = self.tries, %error, "transaction is tried again");
        tokio::time::sleep(Duration::from_millis(1 << self.tries)).await;
        true
    }
}
