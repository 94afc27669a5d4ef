//! Whether the clock can be believed. Asked before anything happens only because time has passed.
//!
//! A missed clock hands a case up, and what has expired is deleted. Neither can be undone, so a
//! machine whose clock is days ahead must do neither. The database keeps a mark: the latest time at
//! which the clock was believed, renewed each minute. A clock that is more than a day past the mark
//! is in doubt: it jumped, or nothing ran for so long. Which of the two, only an operator can say.
//! On a server that has a clock of its own, ours must also agree with that.
//!
//! A clock that is behind is not in doubt by the mark: it ends nothing too early.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sql::{Db, Engine, Error, transact};
use tokio::time::Instant;

use crate::{Clock, Time, metrics};

/// Seconds past the mark at which the clock is in doubt.
pub const JUMP: i64 = 24 * 60 * 60;
/// Seconds between our clock and the database server's at which ours is in doubt.
pub const SKEW: i64 = 5 * 60;
/// Age of the mark in seconds at which it is renewed.
const RENEW: i64 = 60;
/// Interval between log lines while the clock is in doubt.
const REMIND: Duration = Duration::from_secs(10 * 60);

/// Tells whether the clock of a service can be believed.
#[derive(Clone)]
pub struct Timekeeper(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Arc<dyn Clock>,
    accepted: Option<Time>,
    /// The last log line about a clock in doubt; `None` while it is believed.
    told: Mutex<Option<Instant>>,
}

impl fmt::Debug for Timekeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timekeeper").finish_non_exhaustive()
    }
}

/// Why the clock is not believed. Displayed with what an operator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is far past the mark.
    Ahead {
        /// What the clock says.
        now: Time,
        /// The mark.
        mark: Time,
        /// The time up to which the operator accepts it.
        accepted: Option<Time>,
    },
    /// It differs from the database server's.
    Apart {
        /// What the clock says.
        now: Time,
        /// What the server's says.
        database: Time,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // To the second: nobody sets a clock by microseconds.
        let whole = |time: Time| Time(time.0.div_euclid(1_000_000) * 1_000_000);
        match *self {
            Self::Ahead { now, mark, accepted } => {
                let (now, mark, soon) = (whole(now), whole(mark), whole(now.plus_seconds(3_600)));
                write!(
                    f,
                    "the clock says {now}, but the service last ran at {mark}: no deadline is enforced and nothing expires; if \
                     the clock is wrong, set it; if it is right, as after a long stop or a restored backup, set \
                     `accept_time_up_to` to a time after now, such as {soon}, and restart"
                )?;
                match accepted {
                    None => Ok(()),
                    Some(accepted) if accepted < now => write!(f, " (it is {accepted}, which has passed)"),
                    Some(accepted) => write!(f, " (it is {accepted}, more than a day from now)"),
                }
            }
            Self::Apart { now, database } => {
                let apart = now.0.abs_diff(database.0) / 1_000_000;
                let (now, database) = (whole(now), whole(database));
                write!(
                    f,
                    "the clock says {now}, the database server's {database}, {apart} s apart: no deadline is enforced and nothing \
                     expires; set the one that is wrong"
                )
            }
        }
    }
}

impl Timekeeper {
    /// Of the service with this database. `accepted` is the time up to which its operator accepts a
    /// clock that is far past the mark.
    pub fn new(db: Db, clock: Arc<dyn Clock>, accepted: Option<Time>) -> Self {
        Self(Arc::new(Inner {
            db,
            clock,
            accepted,
            told: Mutex::new(None),
        }))
    }

    /// Why the clock is not believed; `None` if it is, which the mark then remembers.
    pub async fn doubt(&self) -> Result<Option<Doubt>, Error> {
        let Inner {
            db, clock, accepted, ..
        } = &*self.0;
        if db.engine() == Engine::Postgres && clock.is_real() {
            let database = database_time(db).await?;
            let now = clock.now();
            if now.0.abs_diff(database.0) > SKEW.unsigned_abs() * 1_000_000 {
                return Ok(Some(Doubt::Apart { now, database }));
            }
        }
        let row = db
            .fetch_optional("SELECT time FROM time_mark WHERE id = 1", Vec::new())
            .await?;
        let mark = row.map(|row| row.get("time").map(Time)).transpose()?;
        let now = clock.now();
        if let Some(mark) = mark.filter(|mark| now > mark.plus_seconds(JUMP)) {
            // An acknowledgement of all times to come would end this check for good.
            let accepts = |accepted: &Time| (now..=now.plus_seconds(JUMP)).contains(accepted);
            if !accepted.as_ref().is_some_and(accepts) {
                let accepted = *accepted;
                return Ok(Some(Doubt::Ahead { now, mark, accepted }));
            }
            tracing::warn!(%now, last_run = %mark, "the clock is far ahead of the last run, and `accept_time_up_to` accepts it");
        }
        if mark.is_none_or(|mark| now >= mark.plus_seconds(RENEW)) {
            // Never back: another replica may have been later.
            let renew = "INSERT INTO time_mark (id, time) VALUES (1, $1) \
                         ON CONFLICT (id) DO UPDATE SET time = excluded.time WHERE time_mark.time < excluded.time";
            transact!(db, |tx| tx.execute(renew, vec![now.0.into()]))?;
        }
        Ok(None)
    }

    /// When the service last ran, by its mark; `None` before the first time, and if it cannot be
    /// read.
    pub async fn last_run(&self) -> Option<Time> {
        let mark = "SELECT time FROM time_mark WHERE id = 1";
        let row = self.0.db.fetch_optional(mark, Vec::new()).await.ok()??;
        row.get("time").map(Time).ok()
    }

    /// Whether what is due by the clock may happen now. While it may not, the log says so, at once
    /// and every ten minutes.
    pub async fn is_believed(&self) -> bool {
        let doubt = self.doubt().await;
        metrics::believed(self.0.db.service(), matches!(doubt, Ok(None)));
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(None) = doubt {
            if told.take().is_some() {
                tracing::info!("the clock is believed again");
            }
            return true;
        }
        if told.is_none_or(|told| told.elapsed() >= REMIND) {
            *told = Some(Instant::now());
            match doubt {
                Ok(Some(doubt)) => tracing::error!(%doubt, "the clock is in doubt"),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "whether the clock can be believed cannot be read"),
            }
        }
        false
    }
}

async fn database_time(db: &Db) -> Result<Time, Error> {
    let now = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) AS now";
    let row = db.fetch_optional(now, Vec::new()).await?;
    let row = row.ok_or_else(|| Error::Damaged {
        what: "time of the database server",
        problem: "it tells none".to_owned(),
    })?;
    Ok(Time(row.get("now")?))
}

#[cfg(test)]
mod tests {
    use testkit::Backend;

    use super::*;
    use crate::{ManualClock, SystemClock};

    /// 2026-11-22 00:00 UTC.
    const NOW: Time = Time(1_795_305_600_000_000);
    const DAY: i64 = JUMP;

    testkit::on_each_backend!(
        p5_a_clock_far_past_the_mark_is_in_doubt_until_it_is_accepted,
        p5_a_clock_that_runs_is_believed_for_ever,
        p5_an_older_database_begins_with_its_last_change,
        p5_the_clock_of_a_database_server_must_agree,
    );

    async fn open(backend: &Backend) -> Db {
        Db::open(backend.url(), &[crate::SCHEMA]).await.unwrap()
    }

    fn at(db: &Db, time: Time, accepted: Option<Time>) -> Timekeeper {
        Timekeeper::new(db.clone(), Arc::new(ManualClock::at(time)), accepted)
    }

    async fn p5_a_clock_far_past_the_mark_is_in_doubt_until_it_is_accepted(backend: Backend) {
        let db = open(&backend).await;
        // A new database has nothing that time could end.
        assert!(at(&db, NOW, None).is_believed().await);
        assert!(
            at(&db, NOW.plus_seconds(DAY), None).is_believed().await,
            "a day is no jump"
        );
        let mark = NOW.plus_seconds(DAY);
        for seconds in [1, 2 * DAY] {
            let now = mark.plus_seconds(DAY + seconds);
            let doubt = at(&db, now, None).doubt().await.unwrap();
            let accepted = None;
            assert_eq!(doubt, Some(Doubt::Ahead { now, mark, accepted }));
        }
        let now = mark.plus_seconds(3 * DAY);
        for (accepted, because) in [
            (now.plus_seconds(-1), "which has passed"),
            (now.plus_seconds(DAY + 1), "more than a day from now"),
        ] {
            let held = at(&db, now, Some(accepted));
            assert!(!held.is_believed().await);
            let text = held.doubt().await.unwrap().unwrap().to_string();
            assert!(text.contains(because) && text.contains("`accept_time_up_to`"), "{text}");
        }
        assert!(at(&db, now, Some(now)).is_believed().await);
        // It was remembered, so that the acknowledgement can go.
        assert!(at(&db, now, None).is_believed().await);
        // And it acknowledged nothing further.
        let later = now.plus_seconds(DAY + 1);
        assert!(!at(&db, later, Some(now)).is_believed().await);
    }

    async fn p5_a_clock_that_runs_is_believed_for_ever(backend: Backend) {
        let db = open(&backend).await;
        let clock = Arc::new(ManualClock::at(NOW));
        let time = Timekeeper::new(db.clone(), Arc::clone(&clock) as _, None);
        for seconds in [0, 59, 1, 60, DAY - 60, DAY, -3 * DAY, 3 * DAY, DAY] {
            clock.advance(seconds);
            assert_eq!(time.doubt().await.unwrap(), None, "{seconds}");
        }
    }

    async fn p5_an_older_database_begins_with_its_last_change(backend: Backend) {
        let old = sql::Schema {
            changes: &crate::SCHEMA.changes[..4],
            ..crate::SCHEMA
        };
        let db = Db::open(backend.url(), &[old]).await.unwrap();
        let insert = "INSERT INTO journal (record, sequence, event_id, kind, time, entry, chain_salt) \
                      VALUES ('a', 1, 'b', 'c', $1, $2, $2)";
        transact!(&db, |tx| tx.execute(insert, vec![NOW.0.into(), vec![0_u8].into()])).unwrap();
        db.close().await;
        let db = open(&backend).await;
        assert!(!at(&db, NOW.plus_seconds(DAY + 1), None).is_believed().await);
        assert!(at(&db, NOW.plus_seconds(DAY), None).is_believed().await);
    }

    /// The machine's clock, set wrong.
    struct Off(i64);

    impl Clock for Off {
        fn now(&self) -> Time {
            SystemClock.now().plus_seconds(self.0)
        }
    }

    async fn p5_the_clock_of_a_database_server_must_agree(backend: Backend) {
        let db = open(&backend).await;
        let off = |seconds| Timekeeper::new(db.clone(), Arc::new(Off(seconds)), None);
        assert!(off(0).is_believed().await);
        for seconds in [SKEW + 5, -SKEW - 5] {
            let doubt = off(seconds).doubt().await.unwrap();
            // SQLite has no clock but ours.
            match db.engine() {
                Engine::Sqlite => assert_eq!(doubt, None),
                Engine::Postgres => assert!(matches!(doubt, Some(Doubt::Apart { .. })), "{doubt:?}"),
            }
        }
        for seconds in [SKEW - 5, 5 - SKEW] {
            assert!(off(seconds).is_believed().await, "{seconds}");
        }
    }
}
