//! Connection pool.
//!
//! sqlx's own pool tests a connection whenever it is returned, which cannot be turned off. With its
//! test before use, a statement takes three round trips to PostgreSQL, and twice the thread
//! switches on SQLite. This pool assumes that a connection used within the last second is alive. A
//! connection that was abandoned in the middle of a statement or transaction is repaired in the
//! background before it returns to the pool. When one connection is found dead, all connections
//! last used before that are closed untested: a restarting server ends them together.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool::Status;
use deadpool::managed::{self, Manager, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult};
use sqlx::Connection;
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use crate::{
    Instruments,
    error::Code,
    metrics::{self, State},
    open::Access,
    session::{self, Session, Unfit},
};

/// A connection idle for longer is tested before use.
const TRUSTED: Duration = Duration::from_secs(1);
/// Time limit of that test.
const ANSWER: Duration = Duration::from_secs(2);
/// How long to retry while the database refuses connections, as during its start. Shorter than
/// callers wait, so that they see the database's own error instead of a timeout.
const PATIENCE: Duration = Duration::from_secs(4);
/// Time limit for abandoned statements and transactions to end, and for running ones when the pool
/// closes.
const END: Duration = Duration::from_secs(5);
/// Idle connections are closed after this, for example after a burst.
const IDLE: Duration = Duration::from_mins(10);
/// Maximum age of a connection: the server's memory per connection grows.
const LIFETIME: Duration = Duration::from_mins(30);
/// Longest that PostgreSQL may take for a statement: more than its own time limit, which a server
/// that was cut off does not keep. A commit may wait for a standby; whether it was done is unknown
/// then.
pub(crate) const STATEMENT: Duration = Duration::from_secs(35);
/// Interval between checks for idle and old connections.
const REVIEW: Duration = Duration::from_mins(1);

/// Connections to one database, opened on demand.
pub(crate) struct Pool<C: Open> {
    connections: managed::Pool<Opener<C>>,
    wait: Duration,
    /// Longest that a statement may take.
    limit: Option<Duration>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    is_closed: AtomicBool,
    reviewed: Mutex<Instant>,
    measured: OnceLock<Labels>,
}

/// What measurements are labelled with.
type Labels = (telemetry::metrics::Service, metrics::Pool);

/// A connection that returns to its pool on drop.
pub(crate) struct Lease<C: Open>(Option<Object<Opener<C>>>);

/// A connection in a transaction. Rolled back if dropped before its end.
pub(crate) struct Transaction<C: Open>(Lease<C>, Option<Duration>);

/// Operations that both engines' connections share.
pub(crate) trait Open: Connection<Options: Send + Sync> + 'static {
    /// Runs a statement that returns no rows.
    fn run(&mut self, statement: &'static str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Looks at a new connection, before it is used for the first time, and refuses one that does
    /// not keep what it was opened for.
    fn examine(&mut self, access: Access) -> impl Future<Output = Result<Session, sqlx::Error>> + Send;
}

/// Waits for an answer no longer than a limit.
pub(crate) async fn answer<T>(
    limit: Option<Duration>,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let Some(limit) = limit else { return asked.await };
    timeout(limit, asked).await.unwrap_or_else(|_| {
        let problem = format!("the database did not answer within {limit:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, problem).into())
    })
}

impl Open for sqlx::SqliteConnection {
    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(statement).execute(self).await.map(drop)
    }

    async fn examine(&mut self, _: Access) -> Result<Session, sqlx::Error> {
        Ok(Session::OWN)
    }
}

impl Open for sqlx::PgConnection {
    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(statement).execute(self).await.map(drop)
    }

    async fn examine(&mut self, access: Access) -> Result<Session, sqlx::Error> {
        session::examine(self, access).await
    }
}

impl<C: Open> Pool<C> {
    /// A pool of at most `size` connections. `wait` limits how long a caller waits for one, and
    /// `limit` how long a statement may take.
    pub fn new(
        options: C::Options,
        access: Access,
        size: usize,
        wait: Duration,
        limit: Option<Duration>,
    ) -> Result<Self, sqlx::Error> {
        let opener = Opener {
            options,
            access,
            limit,
            found_dead: Mutex::default(),
            session: Mutex::new(Session::OWN),
        };
        let connections = managed::Pool::builder(opener)
            .max_size(size)
            // The most recently used connection has the warmest caches.
            .queue_mode(QueueMode::Lifo)
            .build();
        Ok(Self {
            connections: connections.map_err(|error| sqlx::Error::Configuration(error.into()))?,
            wait,
            limit,
            shared: Arc::new(Shared {
                is_closed: AtomicBool::new(false),
                reviewed: Mutex::new(Instant::now()),
                measured: OnceLock::new(),
            }),
        })
    }

    /// Measures it from now on.
    pub fn measure(&self, labels: Labels) {
        let _ = self.shared.measured.set(labels);
        let this = Instruments::get();
        let of_status = |read: fn(&Status) -> usize| {
            // Weak, so that nothing keeps a closed database's connections.
            let pool = self.connections.weak();
            #[expect(clippy::cast_precision_loss, reason = "a few connections")]
            move || Some(read(&pool.upgrade()?.status()) as f64)
        };
        let (service, name) = labels;
        this.most.watch(labels, of_status(|status| status.max_size));
        this.pending.watch(labels, of_status(|status| status.waiting));
        let idle = of_status(|status| status.available.min(status.size));
        this.connections.watch((service, name, State::Idle), idle);
        let used = of_status(|status| status.size.saturating_sub(status.available));
        this.connections.watch((service, name, State::Used), used);
    }

    /// Waits for a free connection.
    pub async fn get(&self) -> Result<Lease<C>, sqlx::Error> {
        let Some(labels) = self.shared.measured.get() else {
            return self.get_unmeasured().await;
        };
        let begun = Instant::now();
        let taken = self.get_unmeasured().await;
        let this = Instruments::get();
        this.wait.took(begun.elapsed(), *labels);
        if matches!(taken, Err(sqlx::Error::PoolTimedOut)) {
            this.timeouts.add(1, *labels);
        }
        taken
    }

    async fn get_unmeasured(&self) -> Result<Lease<C>, sqlx::Error> {
        self.review();
        let taken = match timeout(self.wait, self.connections.get()).await {
            Ok(Ok(object)) => Lease(Some(object)),
            Ok(Err(PoolError::Backend(error))) => return Err(error),
            Ok(Err(_)) => return Err(sqlx::Error::PoolClosed),
            Err(_) => return Err(sqlx::Error::PoolTimedOut),
        };
        match self.shared.is_closed.load(Ordering::Acquire) {
            false => Ok(taken),
            true => Err(sqlx::Error::PoolClosed),
        }
    }

    /// Runs one statement on a free connection, which is told what its session is. Where another
    /// statement may have another session, it is a transaction: in that it stays the same.
    pub async fn run<T>(
        &self,
        statement: impl AsyncFnOnce(&mut C, Session) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut lease = self.get().await?;
        let session = lease.session();
        if !session.is_pooled {
            let outcome = answer(self.limit, statement(lease.busy()?, session)).await;
            return lease.settle(outcome);
        }
        let mut tx = self.begin_on(lease, "BEGIN").await?;
        let outcome = answer(self.limit, statement(tx.connection()?, session)).await;
        match tx.0.settle(outcome) {
            Ok(outcome) => tx.end("COMMIT").await.map(|()| outcome),
            Err(error) => {
                let _ = tx.rollback().await;
                Err(error)
            }
        }
    }

    /// Takes a connection and begins a transaction with `statement`.
    pub async fn begin(&self, statement: &'static str) -> Result<Transaction<C>, sqlx::Error> {
        self.begin_on(self.get().await?, statement).await
    }

    async fn begin_on(&self, mut lease: Lease<C>, statement: &'static str) -> Result<Transaction<C>, sqlx::Error> {
        // Set before the statement runs: the caller may be cancelled while it waits.
        lease.set_in_transaction(true);
        let begun = answer(self.limit, lease.busy()?.run(statement)).await;
        if let Err(error) = lease.settle(begun) {
            lease.set_in_transaction(false);
            return Err(error);
        }
        Ok(Transaction(lease, self.limit))
    }

    /// Closes all connections. Waits up to [`END`] for those in use.
    pub async fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Release);
        let ended = timeout(END, async {
            loop {
                for held in self.connections.retain(|_, _| false).removed {
                    held.close().await;
                }
                if self.connections.status().size == 0 {
                    break;
                }
                sleep(Duration::from_millis(2)).await;
            }
        });
        if ended.await.is_err() {
            tracing::warn!("closing database connections that are still in use");
        }
        self.connections.close();
    }

    /// Closes idle and old connections, at most once per [`REVIEW`].
    fn review(&self) {
        {
            let mut reviewed = lock(&self.shared.reviewed);
            if reviewed.elapsed() < REVIEW {
                return;
            }
            *reviewed = Instant::now();
        }
        let is_kept = |metrics: Metrics| metrics.last_used() < IDLE && metrics.age() < LIFETIME;
        for held in self.connections.retain(|_, metrics| is_kept(metrics)).removed {
            tokio::spawn(held.close());
        }
    }
}

impl<C: Open> Lease<C> {
    /// Returns the connection for a statement and marks it dirty until [`settle`](Self::settle) is
    /// called.
    pub fn busy(&mut self) -> Result<&mut C, sqlx::Error> {
        let held = self.0.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        held.is_settled = false;
        Ok(&mut held.connection)
    }

    /// Call when the statement has completed or failed. A success clears the dirty mark.
    pub fn settle<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let Some(object) = &mut self.0 else { return outcome };
        match &outcome {
            Ok(_) => object.is_settled = true,
            Err(error) if tells_death(error) => {
                object.is_dead = true;
                if let Some(pool) = Object::pool(object) {
                    pool.manager().found_dead();
                }
            }
            Err(_) => {}
        }
        outcome
    }

    /// What the connection's session is.
    pub fn session(&self) -> Session {
        let pool = self.0.as_ref().and_then(Object::pool);
        pool.map_or(Session::OWN, |pool| *lock(&pool.manager().session))
    }

    fn set_in_transaction(&mut self, is: bool) {
        if let Some(held) = &mut self.0 {
            held.is_in_transaction = is;
        }
    }
}

impl<C: Open> Drop for Lease<C> {
    fn drop(&mut self) {
        let Some(object) = self.0.take() else { return };
        if object.is_dead {
            drop(Object::take(object));
            return;
        }
        if object.is_settled && !object.is_in_transaction {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(mend(object))),
            // Without a runtime, close it: that rolls back, too.
            Err(_) => drop(Object::take(object)),
        }
    }
}

/// Repairs an abandoned connection in the background: rolls back, or drains the unread answer.
/// Closes it if that fails.
async fn mend<C: Open>(mut object: Object<Opener<C>>) {
    let held = &mut *object;
    let mended = match held.is_in_transaction {
        true => timeout(END, held.connection.run("ROLLBACK")).await,
        // A ping also drains the rest of an unread answer.
        false => timeout(END, held.connection.ping()).await,
    };
    if let Ok(Ok(())) = mended {
        held.is_in_transaction = false;
        held.is_settled = true;
        return;
    }
    drop(Object::take(object));
}

impl<C: Open> Transaction<C> {
    /// The connection, for a statement.
    pub fn connection(&mut self) -> Result<&mut C, sqlx::Error> {
        self.0.busy()
    }

    /// What the connection's session is.
    pub fn session(&self) -> Session {
        self.0.session()
    }

    /// Longest that a statement may take.
    pub fn limit(&self) -> Option<Duration> {
        self.1
    }

    /// Notes what a failure of a statement tells about the connection.
    pub fn failed(&mut self, error: sqlx::Error) -> sqlx::Error {
        match self.0.settle::<()>(Err(error)) {
            Err(error) => error,
            Ok(()) => sqlx::Error::PoolClosed,
        }
    }

    /// Commits: all of it becomes durable, or none. So does, on PostgreSQL, what it has read.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        match self.session().confirms {
            true => self.end(session::CONFIRM_AND_COMMIT).await,
            false => self.end("COMMIT").await,
        }
    }

    /// Rolls back and releases all locks.
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        let limit = self.1;
        let ended = answer(limit, self.connection()?.run(statement)).await;
        self.0.settle(ended)?;
        self.0.set_in_transaction(false);
        Ok(())
    }
}

/// Opens connections and decides whether one may be reused.
struct Opener<C: Open> {
    options: C::Options,
    access: Access,
    limit: Option<Duration>,
    /// What the newest connection is.
    session: Mutex<Session>,
    /// When a dead connection was last found.
    found_dead: Mutex<Option<Instant>>,
}

impl<C: Open> Opener<C> {
    fn found_dead(&self) {
        *lock(&self.found_dead) = Some(Instant::now());
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open connection.
struct Held<C> {
    connection: C,
    /// Whether every statement ran to completion without an error.
    is_settled: bool,
    is_in_transaction: bool,
    /// Whether a statement showed that it has ended.
    is_dead: bool,
}

impl<C: Open> Held<C> {
    async fn close(self) {
        if let Ok(Err(error)) = timeout(END, self.connection.close()).await {
            tracing::debug!(%error, "connection ended before it was closed");
        }
    }
}

impl<C: Open> Manager for Opener<C> {
    type Type = Held<C>;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Held<C>, sqlx::Error> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(10);
        loop {
            let opened = async {
                let mut connection = C::connect_with(&self.options).await?;
                let session = connection.examine(self.access).await?;
                Ok((connection, session))
            };
            match answer(self.limit.map(|limit| limit.min(PATIENCE)), opened).await {
                Err(error) if takes_none_yet(&error) && started.elapsed() + pause < PATIENCE => {
                    sleep(pause).await;
                    pause = (2 * pause).min(Duration::from_millis(320));
                }
                Err(error) => return Err(error),
                Ok((connection, session)) => {
                    *lock(&self.session) = session;
                    return Ok(Held {
                        connection,
                        is_settled: true,
                        is_in_transaction: false,
                        is_dead: false,
                    });
                }
            }
        }
    }

    async fn recycle(&self, held: &mut Held<C>, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        let last_taken = metrics.recycled.unwrap_or(metrics.created);
        let found_dead = *lock(&self.found_dead);
        let is_like_the_dead = found_dead.is_some_and(|found| last_taken <= found);
        // The first two hold only if the runtime that should have repaired the connection has shut
        // down.
        if held.is_in_transaction || !held.is_settled || is_like_the_dead || metrics.age() > LIFETIME {
            return Err(RecycleError::message("not reusable"));
        }
        if metrics.last_used() < TRUSTED {
            return Ok(());
        }
        match timeout(ANSWER, held.connection.ping()).await {
            Ok(Ok(())) => Ok(()),
            dead => {
                let problem = match dead {
                    Ok(Err(error)) => error.to_string(),
                    _ => format!("no answer within {ANSWER:?}"),
                };
                tracing::info!(problem, "a database connection is dead; reopening all");
                self.found_dead();
                Err(RecycleError::message(problem))
            }
        }
    }
}

/// Whether an error means that the connection has ended.
fn tells_death(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => true,
        // The server was stopped, an operator terminated the session, the server crashed, or it
        // became a standby.
        error => matches!(Code::of(error), Some(Code::Postgres("57P01" | "57P02" | "25006"))),
    }
}

/// Whether the server refuses connections now but is expected to accept them soon.
fn takes_none_yet(error: &sqlx::Error) -> bool {
    match error {
        // Nobody listens, or a proxy that finds no leader behind it.
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
        ),
        error if matches!(Unfit::of(error), Some(Unfit::Standby)) => true,
        // Too many connections; starting or stopping.
        error => matches!(Code::of(error), Some(Code::Postgres("53300" | "57P03"))),
    }
}

impl<C: Open> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self {
            connections: self.connections.clone(),
            wait: self.wait,
            limit: self.limit,
            shared: Arc::clone(&self.shared),
        }
    }
}

// Hides the fields: options contain passwords.
macro_rules! opaque {
    ($($type:ident),*) => {
        $(impl<C: Open> fmt::Debug for $type<C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        })*
    };
}
opaque!(Pool, Transaction);

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use sqlx::{PgConnection, postgres::PgConnectOptions};

    use super::*;

    /// A server that was stopped, or cut off without a word, does not keep its own time limits.
    #[tokio::test]
    async fn a_server_that_does_not_answer_is_given_up() {
        const SLEEP: &str = "SELECT pg_sleep(20)";
        let Some(backend) = testkit::Backend::postgres() else {
            return;
        };
        let options = PgConnectOptions::from_str(backend.url()).unwrap();
        let limit = Some(Duration::from_millis(300));
        let pool = Pool::<PgConnection>::new(options, Access::Write, 1, Duration::from_secs(5), limit).unwrap();
        let given_up = |outcome: Result<(), sqlx::Error>| {
            let error = outcome.unwrap_err();
            assert!(
                matches!(&error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut),
                "{error}"
            );
            assert!(crate::Error::execute("sleep", error).is_outage());
        };
        let begun = Instant::now();
        given_up(pool.run(async |connection, _| connection.run(SLEEP).await).await);
        given_up(pool.begin(SLEEP).await.map(drop));
        let mut tx = pool.begin("BEGIN").await.unwrap();
        tx.connection().unwrap().run("SELECT 1").await.unwrap();
        given_up(tx.end(SLEEP).await);
        // The only connection is another one each time; this one waits for the last to be closed.
        pool.run(async |connection, _| connection.run("SELECT 1").await)
            .await
            .unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
