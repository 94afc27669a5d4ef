use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use sqlx::{
    error::DatabaseError as _,
    postgres::{PgDatabaseError, PgSeverity},
    sqlite::SqliteError,
};

use crate::session::Unfit;

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
    /// The database belongs to another service.
    #[error("`{url}` is another service's database: it has `{found}` where this service's has `{wanted}`")]
    Foreign {
        /// The URL, without its password.
        url: String,
        /// The description of a change that it has.
        found: String,
        /// That of this service's change of the same number.
        wanted: String,
    },
    /// The database has changes that this build does not know.
    #[error(
        "`{url}` was written by a newer version of Remit: it has the change {number}, `{description}`, which this version \
         does not know; run the newer version, or restore a backup from before it"
    )]
    Newer {
        /// The URL, without its password.
        url: String,
        /// Number of the first such change.
        number: i64,
        /// Its description.
        description: String,
    },
    /// The database lacks changes of this build, and was opened only to be read.
    #[error(
        "`{url}` was written by an older version of Remit: it lacks {lacks}; run `remit migrate`, or start the service"
    )]
    Behind {
        /// The URL, without its password.
        url: String,
        /// The descriptions of the changes.
        lacks: String,
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
    /// Another transaction wrote or deleted the row between two statements of this one. The next
    /// try finds it as it is then.
    #[error("{0} was changed by another transaction at the same moment")]
    Collided(&'static str),
    /// A fault injected by a test.
    #[error("fault injected {0}")]
    Injected(&'static str),
}

fn is_fatal(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(database) = error else {
        return false;
    };
    let postgres = database.try_downcast_ref::<PgDatabaseError>();
    postgres.is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal))
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

    /// Whether the database's disk is full: nothing can be written until somebody makes room.
    pub fn is_full(&self) -> bool {
        let (Self::Execute { source, .. } | Self::Open { source, .. }) = self else {
            return false;
        };
        match Code::of(source) {
            // disk_full
            Some(Code::Postgres(state)) => state == "53100",
            // SQLITE_FULL; and SQLITE_IOERR_SHMSIZE, when the file beside the database cannot grow.
            Some(Code::Sqlite { primary, extended }) => primary == 13 || extended == 4_874,
            None => false,
        }
    }

    /// Whether the database was unreachable or out of connections, memory or disk space, whatever
    /// the transaction was.
    pub fn is_outage(&self) -> bool {
        let (Self::Execute { source, .. } | Self::Open { source, .. }) = self else {
            return false;
        };
        match Code::of(source) {
            // A protocol violation is our own bug, unless it ends the connection: PgBouncer has this
            // code for whatever it has to say, above all that the server is gone.
            Some(Code::Postgres("08P01")) => is_fatal(source),
            // The server is a standby: a failover is under way, or the address leads to the wrong one.
            Some(Code::Postgres("25006")) => true,
            // Connection failure; insufficient resources (a full disk among them); server stopping
            // or starting.
            Some(Code::Postgres(state)) => ["08", "53", "57P"].iter().any(|class| state.starts_with(class)),
            // The disk fails, or is full.
            Some(Code::Sqlite { primary, .. }) => [10, 13].contains(&primary),
            None if Unfit::of(source).is_some() => true,
            None => matches!(
                source,
                sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Io(_)
            ),
        }
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
        let source = match self {
            Self::Collided(_) => return true,
            Self::Execute { source, .. } => source,
            _ => return false,
        };
        match Code::of(source) {
            // Serialization failure, deadlock, lock not available, and a unique violation: when two
            // transactions race for a key, the next try sees the winner's row.
            Some(Code::Postgres(state)) => ["40001", "40P01", "55P03", "23505"].contains(&state),
            // Busy or locked.
            Some(Code::Sqlite { primary, .. }) => [5, 6].contains(&primary),
            None => false,
        }
    }
}

/// A database's own word for an error. Each engine's codes are read as that engine's only: a
/// PostgreSQL state such as `22021` has the form of an extended code of SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code<'e> {
    /// SQLSTATE, five characters.
    Postgres(&'e str),
    /// Result code.
    Sqlite {
        /// Without what the extended one adds.
        primary: i32,
        /// The whole.
        extended: i32,
    },
}

impl<'e> Code<'e> {
    /// The code of an error that came from the database itself.
    pub fn of(error: &'e sqlx::Error) -> Option<Self> {
        let sqlx::Error::Database(database) = error else {
            return None;
        };
        if let Some(error) = database.try_downcast_ref::<PgDatabaseError>() {
            return Some(Self::Postgres(error.code()));
        }
        let extended = database
            .try_downcast_ref::<SqliteError>()?
            .code()?
            .parse::<i32>()
            .ok()?;
        Some(Self::Sqlite {
            primary: extended & 0xff,
            extended,
        })
    }
}

/// Counts the attempts of one transaction and backs off between them.
#[derive(Debug, Default)]
pub struct Retry {
    tries: u32,
}

impl Retry {
    /// About two seconds in all: within every caller's deadline, and long enough for an engine or a
    /// setting under which transactions fail rather than wait for each other.
    const MOST: u32 = 24;
    /// A row that exists may have come a moment ago, and is most often simply there.
    const MOST_FOR_A_ROW: u32 = 6;
    const LONGEST: u64 = 128;

    /// Call after a failure. Waits, then returns whether to try again.
    pub async fn again(&mut self, error: &Error) -> bool {
        self.tries += 1;
        let most = match error.is_unique_violation() {
            true => Self::MOST_FOR_A_ROW,
            false => Self::MOST,
        };
        if self.tries >= most || !error.is_transient() {
            return false;
        }
        tracing::debug!(tries = self.tries, %error, "retrying transaction");
        tokio::time::sleep(self.pause()).await;
        true
    }

    /// Between half of the step and the whole: those that collided must not come back together.
    fn pause(&self) -> Duration {
        let step = 1000 * Self::LONGEST.min(1 << self.tries.min(10));
        let random = RandomState::new().build_hasher().finish();
        Duration::from_micros(step / 2 + random % (step / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_come_back_apart_and_within_a_callers_patience() {
        let mut least = Duration::ZERO;
        let mut most = Duration::ZERO;
        for tries in 1..Retry::MOST {
            let pauses: Vec<_> = (0..50).map(|_| Retry { tries }.pause()).collect();
            let (Some(first), Some(last)) = (pauses.iter().min(), pauses.iter().max()) else {
                unreachable!("there are fifty")
            };
            assert!(
                *last < 2 * *first + Duration::from_micros(1),
                "{tries}: {first:?} to {last:?}"
            );
            assert!(first < last, "{tries}: all {first:?}");
            least += *first;
            most += *last;
        }
        assert!(
            least > Duration::from_secs(1) && most < Duration::from_secs(3),
            "{least:?} to {most:?}"
        );
    }
}
