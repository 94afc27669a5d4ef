//! Database access for the two engines that Remit runs on: from a URL to transactions.
//!
//! The scheme of the URL chooses the engine once, at start ([`Db::open`]): `sqlite://FILE` or
//! `postgres://…`. A service writes its store once, against [`Tx`]: text ids, integer microseconds
//! and bytes as columns, `$1` as parameters. Three spellings differ between the engines; `db.rs`
//! translates them. Bulk inserts differ too, and [`Insert`] hides that: arrays in one statement on
//! PostgreSQL, multi-row `VALUES` on SQLite, because SQLite pays per statement and PostgreSQL pays
//! per prepared text.
//!
//! * `open.rs`: from a URL to connections, with each engine's durability settings. `pool.rs`: their
//!   reuse. `session.rs`: what a connection to PostgreSQL really is, asked of each.
//! * `db.rs`: statements, snapshots and transactions.
//! * `value.rs`: parameters and columns.
//! * `insert.rs`: bulk inserts. `batch.rs`: bulk inserts into several tables in one transaction, in
//!   as few round trips as possible.
//! * `copy.rs`: copies of databases that are in use.
//! * `migrate.rs`: numbered schema changes, the same numbers for both engines.
//! * `metrics.rs`: what is measured.
//! * `error.rs`: errors, and whether a retry can help.
//!
//! Invariants: an uncommitted transaction leaves nothing behind; a commit that returned is on
//! disk (`synchronous=FULL`, PostgreSQL's `synchronous_commit`, which each connection is asked
//! for); SQLite has one writer. Nothing here knows any table.

mod batch;
mod copy;
mod db;
mod error;
mod insert;
mod metrics;
mod migrate;
mod open;
mod pool;
mod session;
mod value;

pub use batch::Batch;
pub use copy::copy_sqlite;
pub use db::{Db, Snapshot, Then, Tx};
pub use error::{Error, Retry};
pub use insert::{Column, Insert};
pub use metrics::Instruments;
pub use migrate::Schema;
pub use open::Engine;
pub use value::{FromColumn, Kind, Row, Value};

/// Runs `$body` in a write transaction and commits it. Repeats the whole on a transient error
/// (serialization failure, deadlock, busy file).
///
/// `$body` is a future of `Result<T, sql::Error>` that uses `$tx: Tx`. The macro evaluates to that
/// result.
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
                        // Roll back now: a dropped transaction releases its locks only later, in
                        // the background.
                        $tx.rollback().await;
                        Err(error)
                    }
                }
            }
            .await;
            match outcome {
                Err(error) if retry.again(&error).await => {}
                outcome => {
                    $db.wrote(&outcome);
                    break outcome;
                }
            }
        }
    }};
}
