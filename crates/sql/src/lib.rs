//! From a database URL to transactions, for the two engines that Remit runs on.
//!
//! The engine is chosen once, by the scheme of the URL ([`Db::open`]): `sqlite://FILE` or `postgres://…`. A service's
//! store is then written once, against [`Tx`]: text ids, integer microseconds and bytes as columns, `$1` as parameters.
//! The engines differ in three spellings, which [`dialect`](self) translates, and in how rows are written in bulk, which
//! [`Insert`] hides: arrays in one statement on PostgreSQL, multi-row `VALUES` on SQLite, because SQLite pays per
//! statement and PostgreSQL pays per prepared text.
//!
//! * `pool.rs`: connections. `db.rs`: snapshots, transactions, and what each engine is asked to promise about durability.
//! * `value.rs`: parameters and columns.
//! * `insert.rs`: bulk inserts. `batch.rs`: those of several tables in one transaction and as few round trips as can be.
//! * `migrate.rs`: numbered schema changes, per engine, in step.
//! * `error.rs`: what failed, and whether trying again can help.
//!
//! Invariants: a transaction that was not committed leaves nothing behind; a commit that returned is on disk (`synchronous=FULL`,
//! PostgreSQL's default `synchronous_commit`); SQLite has one writer. Nothing here knows any table.

mod batch;
mod db;
mod error;
mod insert;
mod migrate;
mod pool;
mod value;

pub use batch::Batch;
pub use db::{Db, Engine, Snapshot, Tx};
pub use error::{Error, Retry};
pub use insert::{Column, Insert, Kind};
pub use migrate::Schema;
pub use value::{FromColumn, Row, Value};

/// Runs `$body` in a write transaction and commits it; runs all of it again when the database says that
/// another try may succeed (a serialization failure, a deadlock, a busy file).
///
/// `$body` is an expression of a future of `Result<T, sql::Error>` that uses `$tx: Tx`. The whole evaluates to such a result.
#[macro_export]
macro_rules! transact {
    ($db:expr, |$tx:ident| $body:expr) => {{
        let mut retry = $crate::Retry::default();
        loop {
            let outcome: Result<_, $crate::Error> = async {
                let mut $tx = $db.begin().await?;
                let result: Result<_, $crate::Error> = $body.await;
                match result {
                    Ok(value) => {
                        $tx.commit().await?;
                        Ok(value)
                    }
                    Err(error) => {
                        // Now: dropped, it would end a little later, and its locks with it.
                        $tx.rollback().await;
                        Err(error)
                    }
                }
            }
            .await;
            match outcome {
                Err(error) if retry.again(&error).await => {}
                outcome => break outcome,
            }
        }
    }};
}
