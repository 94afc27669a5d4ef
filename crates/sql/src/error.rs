use std::time::Duration;

/// A failed database operation and its cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is not usable.
    #[error("database url `{url}`: {problem}; use sqlite://PATH or postgres://USER@HOST/NAME")]
    Url {
        /// The URL, without its password.
        url: String,
        /// The problem with it.
        problem: String,
    },
    /// The linked SQLite has a known bug that loses commits.
    #[error(
        "this build contains SQLite {found}, which can lose commits when the write-ahead log is reset; 3.51.3 or newer is required"
    )]
    SqliteTooOld {
        /// Version of the linked SQLite.
        found: String,
    },
    /// The database could not be opened.
    #[error("cannot open database `{url}`")]
    Open {
        /// The URL, without its password.
        url: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("cannot migrate the schema of `{url}`")]
    Migrate {
        /// The URL, without its password.
        url: String,
        /// The cause.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A statement or a commit failed.
    #[error("{doing}")]
    Execute {
        /// The first words of the statement, or `begin` or `commit`.
        doing: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// A column's type differs from the schema's.
    #[error("column `{column}` of {from}")]
    Decode {
        /// Name of the column, or its position from 0.
        column: String,
        /// The first words of the statement, or the table of a bulk insert.
        from: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// A stored value violates an invariant of the code that wrote it.
    #[error("stored {what} is damaged: {problem}")]
    Damaged {
        /// The value that was read.
        what: &'static str,
        /// The problem with it.
        problem: String,
    },
    /// Another transaction wrote the row first.
    #[error("{0} was written by another transaction")]
    Raced(&'static str),
    /// A fault injected by a test.
    #[error("fault injected {0}")]
    Injected(&'static str),
}

fn first_words(statement: &str) -> String {
    statement.split_whitespace().take(6).collect::<Vec<_>>().join(" ")
}

impl Error {
    pub(crate) fn execute(statement: &str, source: sqlx::Error) -> Self {
        Self::Execute {
            doing: first_words(statement),
            source,
        }
    }

    pub(crate) fn decode(column: &dyn std::fmt::Display, from: &str, source: sqlx::Error) -> Self {
        Self::Decode {
            column: column.to_string(),
            from: first_words(from),
            source,
        }
    }

    /// Whether the database was unreachable or out of connections, memory or disk space, whatever
    /// the transaction was.
    pub fn is_outage(&self) -> bool {
        let (Self::Execute { source, .. } | Self::Open { source, .. }) = self else {
            return false;
        };
        if let sqlx::Error::Database(database) = source {
            return match database.code().as_deref() {
                // PostgreSQL: a protocol violation is our own bug.
                Some("08P01") => false,
                // Connection failure; insufficient resources (a full disk among them); server
                // stopping or starting.
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

    /// Whether a row violated a unique constraint.
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
            // PostgreSQL: serialization failure, deadlock, lock not available, and a unique
            // violation: when two transactions race for a key, the next try sees the winner's row.
            Some("40001" | "40P01" | "55P03" | "23505") => true,
            // SQLite: busy, locked, and their extended codes.
            Some(code) => matches!(code.parse::<i32>().map(|code| code & 0xff), Ok(5 | 6)),
            None => false,
        }
    }
}

/// Counts the attempts of one transaction and backs off between them.
#[derive(Debug, Default)]
pub struct Retry {
    tries: u32,
}

impl Retry {
    const MOST: u32 = 8;

    /// Call after a failure. Waits, then returns whether to try again.
    pub async fn again(&mut self, error: &Error) -> bool {
        self.tries += 1;
        if self.tries >= Self::MOST || !error.is_transient() {
            return false;
        }
        tracing::debug!(tries = self.tries, %error, "retrying transaction");
        tokio::time::sleep(Duration::from_millis(1 << self.tries)).await;
        true
    }
}
