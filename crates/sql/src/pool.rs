//! Connections that are at hand.
//!
//! sqlx brings a pool too, which asks the database whether a connection lives whenever it gets one back, and cannot be told not to;
//! with its test before use, a statement takes three round trips to PostgreSQL, and on SQLite twice the changes of thread. Here a
//! connection that was taken within the last second is believed to live. One that was given up in the middle of a statement or a
//! transaction is mended before it goes back, while nobody waits for it. And once one is found dead, those that were last taken
//! before are closed unasked: a server that restarts ends them together.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool::managed::{self, Manager, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult};
use sqlx::Connection;
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

/// A connection that was last taken longer ago is asked whether it lives.
const TRUSTED: Duration = Duration::from_secs(1);
/// How long it may take to say so.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a database is asked again that takes no connections, as one does that starts. Less than callers wait: its own words
/// tell more than that they waited in vain.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long statements and transactions that were given up may take to end, and those under way when the pool is closed.
const END: Duration = Duration::from_secs(5);
/// A connection that was not taken for so long is closed, after a burst, say.
const IDLE: Duration = Duration::from_mins(10);
/// An older one is, too: what a server keeps for one grows.
const LIFETIME: Duration = Duration::from_mins(30);
/// How often such are looked for.
const REVIEW: Duration = Duration::from_mins(1);

/// Connections to one database, opened as they are needed.
pub(crate) struct Pool<C: Open> {
    connections: managed::Pool<Opener<C>>,
    wait: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    is_closed: AtomicBool,
    reviewed: Mutex<Instant>,
}

/// A connection that goes back to its pool when dropped.
pub(crate) struct Lease<C: Open>(Option<Object<Opener<C>>>);

/// A connection in a transaction. Dropped before its end, it undoes what was done.
pub(crate) struct Transaction<C: Open>(Lease<C>);

/// What the connections of both engines can do.
pub(crate) trait Open: Connection<Options: Send + Sync> + 'static {
    /// Runs a statement that gives no rows.
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
    /// At most `size` connections, for one of which a caller waits so long in all.
    pub fn new(options: C::Options, size: usize, wait: Duration) -> Result<Self, sqlx::Error> {
        let opener = Opener {
            options,
            found_dead: Mutex::default(),
        };
        let connections = managed::Pool::builder(opener)
            .max_size(size)
            // The one that was used last has the most in its caches.
            .queue_mode(QueueMode::Lifo)
            .build();
        Ok(Self {
            connections: connections.map_err(|error| sqlx::Error::Configuration(error.into()))?,
            wait,
            shared: Arc::new(Shared {
                is_closed: AtomicBool::new(false),
                reviewed: Mutex::new(Instant::now()),
            }),
        })
    }

    /// A connection, once one is free.
    pub async fn get(&self) -> Result<Lease<C>, sqlx::Error> {
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

    /// Runs one statement on a connection that is free.
    pub async fn run<T>(
        &self,
        statement: impl AsyncFnOnce(&mut C) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut lease = self.get().await?;
        let outcome = statement(lease.busy()?).await;
        lease.settle(outcome)
    }

    /// A connection in a transaction that this statement began.
    pub async fn begin(&self, statement: &'static str) -> Result<Transaction<C>, sqlx::Error> {
        let mut lease = self.get().await?;
        // From now on: whoever waits for the answer may give up.
        lease.set_in_transaction(true);
        let begun = lease.busy()?.run(statement).await;
        if let Err(error) = lease.settle(begun) {
            lease.set_in_transaction(false);
            return Err(error);
        }
        Ok(Transaction(lease))
    }

    /// Closes all connections. Waits for those in use, but not for ever.
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
            tracing::warn!("connections to the database are closed in the middle of what they do");
        }
        self.connections.close();
    }

    /// Now and then, closes what is not needed.
    fn review(&self) {
        {
            let mut reviewed = self.shared.reviewed.lock().unwrap_or_else(PoisonError::into_inner);
            if reviewed.elapsed() < REVIEW {
                return;
            }
            *reviewed = Instant::now();
        }
        let is_needed = |metrics: Metrics| metrics.last_used() < IDLE && metrics.age() < LIFETIME;
        for held in self.connections.retain(|_, metrics| is_needed(metrics)).removed {
            tokio::spawn(held.close());
        }
    }
}

impl<C: Open> Lease<C> {
    /// The connection, for a statement. Until it [settles](Lease::settle), it is not believed to be at a statement's end.
    pub fn busy(&mut self) -> Result<&mut C, sqlx::Error> {
        let held = self.0.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        held.is_settled = false;
        Ok(&mut held.connection)
    }

    /// The statement was answered to its end, or failed.
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
            // Closed, it undoes as well.
            Err(_) => drop(Object::take(object)),
        }
    }
}

/// Brings a connection that was given up to the end of what it did, and back to its pool; closes it when that fails.
async fn mend<C: Open>(mut object: Object<Opener<C>>) {
    let held = &mut *object;
    let mended = match held.is_in_transaction {
        true => timeout(END, held.connection.run("ROLLBACK")).await,
        // Also takes what is left of an answer that nobody waited for.
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

    /// Makes all of it durable, or none.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.end("COMMIT").await
    }

    /// Undoes all of it and frees its locks.
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

/// Opens connections, and tells whether one may be used again.
struct Opener<C: Open> {
    options: C::Options,
    /// When a connection was last found dead.
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
    /// Whether each statement was answered to its end, and nothing failed.
    is_settled: bool,
    is_in_transaction: bool,
}

impl<C: Open> Held<C> {
    async fn close(self) {
        if let Ok(Err(error)) = timeout(END, self.connection.close()).await {
            tracing::debug!(%error, "a connection was gone before it was closed");
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
        // The first two only when a runtime ended that should have mended it.
        if held.is_in_transaction || !held.is_settled || is_like_the_dead || metrics.age() > LIFETIME {
            return Err(RecycleError::message("not to be used again"));
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
                tracing::info!(problem, "a connection to the database is dead: all are opened anew");
                self.found_dead();
                Err(RecycleError::message(problem))
            }
        }
    }
}

/// Whether an error says that the connection has ended.
fn tells_death(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => true,
        // An operator stopped it, or the server; the server crashed.
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57P01" | "57P02")),
        _ => false,
    }
}

/// Whether a server says that it has no connections now, but will.
fn takes_none_yet(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        // Too many connections; it starts, or stops.
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("53300" | "57P03")),
        _ => false,
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

// Not what is inside: options hold passwords.
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
