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
/// Interval between checks for idle and old connections.
const REVIEW: Duration = Duration::from_mins(1);

/// Connections to one database, opened on demand.
pub(crate) struct Pool<C: Open> {
    connections: managed::Pool<Opener<C>>,
    wait: Duration,
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
pub(crate) struct Transaction<C: Open>(Lease<C>);

/// Operations that both engines' connections share.
pub(crate) trait Open: Connection<Options: Send + Sync> + 'static {
    /// Runs a statement that returns no rows.
    fn run(&mut self, statement: &'static str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

impl Open for sqlx::SqliteConnection {
    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(statement).execute(self).await.map(drop)
    }
}

impl Open for sqlx::PgConnection {
    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(statement).execute(self).await.map(drop)
    }
}

impl<C: Open> Pool<C> {
    /// A pool of at most `size` connections. `wait` limits how long a caller waits for one.
    pub fn new(options: C::Options, size: usize, wait: Duration) -> Result<Self, sqlx::Error> {
        let opener = Opener {
            options,
            found_dead: Mutex::default(),
        };
        let connections = managed::Pool::builder(opener)
            .max_size(size)
            // The most recently used connection has the warmest caches.
            .queue_mode(QueueMode::Lifo)
            .build();
        Ok(Self {
            connections: connections.map_err(|error| sqlx::Error::Configuration(error.into()))?,
            wait,
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

    /// Runs one statement on a free connection.
    pub async fn run<T>(
        &self,
        statement: impl AsyncFnOnce(&mut C) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut lease = self.get().await?;
        let outcome = statement(lease.busy()?).await;
        lease.settle(outcome)
    }

    /// Takes a connection and begins a transaction with `statement`.
    pub async fn begin(&self, statement: &'static str) -> Result<Transaction<C>, sqlx::Error> {
        let mut lease = self.get().await?;
        // Set before the statement runs: the caller may be cancelled while it waits.
        lease.set_in_transaction(true);
        let begun = lease.busy()?.run(statement).await;
        if let Err(error) = lease.settle(begun) {
            lease.set_in_transaction(false);
            return Err(error);
        }
        Ok(Transaction(lease))
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
            let mut reviewed = self.shared.reviewed.lock().unwrap_or_else(PoisonError::into_inner);
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
                if let Some(pool) = Object::pool(object) {
                    pool.manager().found_dead();
                }
            }
            Err(_) => {}
        }
        outcome
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

    /// Commits: all of it becomes durable, or none.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.end("COMMIT").await
    }

    /// Rolls back and releases all locks.
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        let ended = self.connection()?.run(statement).await;
        self.0.settle(ended)?;
        self.0.set_in_transaction(false);
        Ok(())
    }
}

/// Opens connections and decides whether one may be reused.
struct Opener<C: Open> {
    options: C::Options,
    /// When a dead connection was last found.
    found_dead: Mutex<Option<Instant>>,
}

impl<C: Open> Opener<C> {
    fn found_dead(&self) {
        *self.found_dead.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// An open connection.
struct Held<C> {
    connection: C,
    /// Whether every statement ran to completion without an error.
    is_settled: bool,
    is_in_transaction: bool,
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
            match C::connect_with(&self.options).await {
                Err(error) if takes_none_yet(&error) && started.elapsed() + pause < PATIENCE => {
                    sleep(pause).await;
                    pause = (2 * pause).min(Duration::from_millis(320));
                }
                Err(error) => return Err(error),
                Ok(connection) => {
                    return Ok(Held {
                        connection,
                        is_settled: true,
                        is_in_transaction: false,
                    });
                }
            }
        }
    }

    async fn recycle(&self, held: &mut Held<C>, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        let last_taken = metrics.recycled.unwrap_or(metrics.created);
        let found_dead = *self.found_dead.lock().unwrap_or_else(PoisonError::into_inner);
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
        // The server was stopped, an operator terminated the session, or the server crashed.
        error => matches!(Code::of(error), Some(Code::Postgres("57P01" | "57P02"))),
    }
}

/// Whether the server refuses connections now but is expected to accept them soon.
fn takes_none_yet(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        // Too many connections; starting or stopping.
        error => matches!(Code::of(error), Some(Code::Postgres("53300" | "57P03"))),
    }
}

impl<C: Open> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self {
            connections: self.connections.clone(),
            wait: self.wait,
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
