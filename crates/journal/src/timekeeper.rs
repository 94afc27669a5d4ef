//! Whether the clock can be believed. Asked before anything happens only because time has passed.
//!
//! A missed clock hands a case up, and what has expired is deleted. Neither can be undone, so a
//! machine whose clock is days ahead must do neither. The database keeps a mark: the latest time at
//! which the clock was believed, renewed each minute. A clock that is more than a day past the mark
//! is in doubt: it jumped, or nothing ran for so long. Which of the two, only an operator can say.
//! On a server that has a clock of its own, ours must also agree with that.
//!
//! While the service runs, it knows how much time passes, whatever the clock is set to: a clock that
//! is minutes past what it should say by that, and past the mark, has jumped.
//!
//! A clock that is behind is not in doubt: it ends nothing too early. When it has gone on so for an
//! hour, and nobody else renewed the mark, it was the mark that was ahead, and is set back: nothing
//! would guard the time up to it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sql::{Db, Engine, Error, transact};
use tokio::time::Instant;

use crate::{Clock, Time, metrics};

/// Seconds past the mark at which the clock is in doubt.
pub const JUMP: i64 = 24 * 60 * 60;
/// Seconds between our clock and the database server's at which ours is in doubt.
pub const SKEW: i64 = 5 * 60;
/// Seconds that a clock may gain on the time that passes while the service runs, in a day.
const GAIN: i64 = SKEW;
/// Seconds for which a clock runs behind the mark before the mark is set back.
const SETTLED: i64 = 60 * 60;
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
    pace: Mutex<Pace>,
    /// The last log line about a clock in doubt; `None` while it is believed.
    told: Mutex<Option<Instant>>,
}

/// How the clock goes, compared with the time that passes.
#[derive(Default)]
struct Pace {
    /// A look at which it was believed; `None` until it has reached the mark.
    believed: Option<Look>,
    /// Since when it is behind a mark that nobody renews, and that mark.
    behind: Option<(Look, Time)>,
}

/// What the clock said, and the steady time then.
#[derive(Clone, Copy, Debug)]
struct Look {
    time: Time,
    steady: Duration,
}

impl Look {
    fn at(clock: &dyn Clock) -> Self {
        Self {
            steady: clock.steady(),
            time: clock.now(),
        }
    }

    /// Seconds that have passed since an earlier look.
    fn since(self, earlier: Self) -> i64 {
        let passed = self.steady.saturating_sub(earlier.steady);
        i64::try_from(passed.as_secs()).unwrap_or(i64::MAX)
    }

    /// What the clock should say now, by an earlier look.
    fn expected(self, earlier: Self) -> Time {
        earlier.time.plus_seconds(self.since(earlier))
    }
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
    /// It was set forward while the service ran.
    Jumped {
        /// What the clock says.
        now: Time,
        /// What it should say.
        expected: Time,
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
            Self::Jumped { now, expected } => {
                let (now, expected) = (whole(now), whole(expected));
                write!(
                    f,
                    "the clock says {now}, but by the time that has passed since the service started it is {expected}: no \
                     deadline is enforced and nothing expires; if the clock is wrong, set it; if it is right, restart the \
                     service"
                )
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

impl Pace {
    /// What the clock should say, if it is past that. Not if it is only where the mark is: it was
    /// behind, and is set right.
    fn outrun(&self, look: Look, mark: Option<Time>) -> Option<Time> {
        let expected = look.expected(self.believed?);
        let latest = mark.map_or(expected, |mark| mark.max(expected));
        (look.time > latest.plus_seconds(GAIN)).then_some(expected)
    }

    /// Notes that the clock is believed. Returns whether the mark is ahead, and to be set back.
    fn believe(&mut self, look: Look, mark: Option<Time>) -> bool {
        let Some(mark) = mark.filter(|mark| look.time.plus_seconds(RENEW) < *mark) else {
            self.behind = None;
            // From day to day, so that what it gains in years does not add up.
            if self.believed.is_none_or(|believed| look.since(believed) >= JUMP) {
                self.believed = Some(look);
            }
            return false;
        };
        let goes_on = |(since, of): &(Look, Time)| {
            let apart = look.expected(*since).0.abs_diff(look.time.0);
            *of == mark && apart <= GAIN.unsigned_abs() * 1_000_000
        };
        let (since, _) = self.behind.take().filter(goes_on).unwrap_or((look, mark));
        let is_over = look.since(since) >= SETTLED;
        if is_over {
            self.believed = Some(look);
        } else {
            self.behind = Some((since, mark));
        }
        is_over
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
            pace: Mutex::default(),
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
        let look = Look::at(&**clock);
        let now = look.time;
        // An acknowledgement of all times to come would end this check for good.
        let is_accepted = accepted.is_some_and(|accepted| (now..=now.plus_seconds(JUMP)).contains(&accepted));
        if let Some(mark) = mark.filter(|mark| now > mark.plus_seconds(JUMP)) {
            if !is_accepted {
                let accepted = *accepted;
                return Ok(Some(Doubt::Ahead { now, mark, accepted }));
            }
            tracing::warn!(%now, last_run = %mark, "the clock is far ahead of the last run, and `accept_time_up_to` accepts it");
        }
        if let Some(expected) = self.pace().outrun(look, mark)
            && !is_accepted
        {
            return Ok(Some(Doubt::Jumped { now, expected }));
        }
        let is_over = self.pace().believe(look, mark);
        if let Some(mark) = mark.filter(|_| is_over) {
            tracing::warn!(%now, %mark, "the time mark was ahead of the clock, and is set back");
            // Unless another replica renews it now.
            let set_back = "UPDATE time_mark SET time = $1 WHERE id = 1 AND time = $2";
            transact!(db, |tx| tx.execute(set_back, vec![now.0.into(), mark.0.into()]))?;
        } else if mark.is_none_or(|mark| now >= mark.plus_seconds(RENEW)) {
            // Never back: another replica may have been later.
            let renew = "INSERT INTO time_mark (id, time) VALUES (1, $1) \
                         ON CONFLICT (id) DO UPDATE SET time = excluded.time WHERE time_mark.time < excluded.time";
            transact!(db, |tx| tx.execute(renew, vec![now.0.into()]))?;
        }
        Ok(None)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.0.pace.lock().unwrap_or_else(PoisonError::into_inner)
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
        p5_a_clock_that_is_set_forward_while_the_service_runs_is_in_doubt,
        p5_a_clock_that_was_behind_may_be_set_right,
        p5_a_mark_that_was_ahead_is_set_back,
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

    const HOUR: i64 = 60 * 60;

    async fn mark(db: &Db) -> Time {
        let row = db
            .fetch_optional("SELECT time FROM time_mark", Vec::new())
            .await
            .unwrap();
        Time(row.unwrap().get("time").unwrap())
    }

    async fn p5_a_clock_that_is_set_forward_while_the_service_runs_is_in_doubt(backend: Backend) {
        let db = open(&backend).await;
        let clock = Arc::new(ManualClock::at(NOW));
        let keeper = |accepted| Timekeeper::new(db.clone(), Arc::clone(&clock) as _, accepted);
        let time = keeper(None);
        assert!(time.is_believed().await);
        for (passes, jumps) in [(1, GAIN + 1), (60, DAY / 2), (DAY + 60, DAY / 2), (3 * DAY, HOUR)] {
            clock.advance(passes);
            let expected = clock.now();
            clock.set_forward(jumps);
            let now = clock.now();
            let doubt = time.doubt().await.unwrap();
            // Longer than a day without a look: the mark says more.
            match now > mark(&db).await.plus_seconds(DAY) {
                true => assert!(matches!(doubt, Some(Doubt::Ahead { .. })), "{doubt:?}"),
                false => assert_eq!(doubt, Some(Doubt::Jumped { now, expected })),
            }
            // However long it goes on so.
            for _ in 0..3 {
                clock.advance(HOUR);
                assert!(!time.is_believed().await, "{passes} {jumps}");
            }
            let marked = mark(&db).await;
            assert!(marked < expected, "nothing of it is remembered");
            // An operator may say that it is right: by accepting it, or by restarting.
            assert!(
                time.doubt()
                    .await
                    .unwrap()
                    .unwrap()
                    .to_string()
                    .contains("the clock says")
            );
            clock.set_forward(-jumps);
            if passes > DAY {
                // The day without a look is in doubt, whatever the clock is set to.
                assert!(keeper(Some(clock.now())).is_believed().await);
            }
            assert!(time.is_believed().await, "set right: {passes} {jumps}");
        }
        // As a correction by seconds is not.
        for _ in 0..20 {
            clock.advance(2 * HOUR);
            clock.set_forward(GAIN / 20);
            assert!(time.is_believed().await);
        }
        clock.advance(60);
        clock.set_forward(HOUR);
        assert!(!time.is_believed().await);
        let accepted = keeper(Some(clock.now().plus_seconds(HOUR)));
        assert!(accepted.is_believed().await);
    }

    async fn p5_a_clock_that_was_behind_may_be_set_right(backend: Backend) {
        let db = open(&backend).await;
        let clock = Arc::new(ManualClock::at(NOW));
        let time = Timekeeper::new(db.clone(), Arc::clone(&clock) as _, None);
        assert!(time.is_believed().await);
        // Set back, and right again.
        clock.set_forward(-3 * DAY);
        assert!(time.is_believed().await);
        clock.advance(60);
        clock.set_forward(3 * DAY);
        assert!(time.is_believed().await);
        assert_eq!(mark(&db).await, NOW.plus_seconds(60));
        // A machine that starts with a clock that has stood still.
        clock.set_forward(-400 * DAY);
        let started = Timekeeper::new(db.clone(), Arc::clone(&clock) as _, None);
        assert!(started.is_believed().await);
        clock.advance(10);
        clock.set_forward(400 * DAY + HOUR);
        assert!(started.is_believed().await, "it was down for an hour");
        clock.set_forward(HOUR);
        assert!(!started.is_believed().await, "and this is another");
    }

    async fn p5_a_mark_that_was_ahead_is_set_back(backend: Backend) {
        let db = open(&backend).await;
        let clock = Arc::new(ManualClock::at(NOW));
        let keeper = || Timekeeper::new(db.clone(), Arc::clone(&clock) as _, None);
        assert!(keeper().is_believed().await);
        // A restart believes a clock that is a day ahead. Then it is set right.
        clock.set_forward(DAY);
        let time = keeper();
        assert!(time.is_believed().await);
        let ahead = mark(&db).await;
        clock.set_forward(-DAY);
        for minutes in 0..=59 {
            assert!(time.is_believed().await);
            assert_eq!(mark(&db).await, ahead, "{minutes}");
            clock.advance(60);
        }
        clock.advance(60);
        assert!(time.is_believed().await);
        assert_eq!(mark(&db).await, clock.now());
        // So that the next jump is one.
        for keeper in [&time, &keeper()] {
            clock.set_forward(2 * DAY);
            assert!(!keeper.is_believed().await);
            clock.set_forward(-2 * DAY);
            assert!(keeper.is_believed().await);
        }
        clock.set_forward(HOUR);
        assert!(!time.is_believed().await);
        clock.set_forward(-HOUR);
        // Not one that another replica goes on renewing: which of the two is right, nobody knows.
        let other = Arc::new(ManualClock::at(clock.now().plus_seconds(HOUR)));
        let replica = Timekeeper::new(db.clone(), Arc::clone(&other) as _, None);
        for _ in 0..3 * 60 {
            assert!(replica.is_believed().await && time.is_believed().await);
            assert_eq!(mark(&db).await, other.now());
            clock.advance(60);
            other.advance(60);
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

        fn steady(&self) -> Duration {
            SystemClock.steady()
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
