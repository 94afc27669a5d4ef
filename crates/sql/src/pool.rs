//! Connections that are at hand.
//!
//! sqlx brings a pool too, which asks the database whether a connection lives whenever it gets one back, and cannot be told not to;
//! with its test before use, a statement takes three round trips to PostgreSQL, and on SQLite twice the changes of thread. Here a
//! connection that was taken within the last second is believed to live, one whose last statement did not end well is asked, and
//! once one has turned out to be dead, so are all that were opened before: a server that restarts ends them together.

use std::{
    fmt, io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{self, Manager, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult, Timeouts},
};
use sqlx::Connection;
use tokio::{runtime::Handle, time::Instant};

/// How long a database may take to let a connection in, or to say that one lives.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a database is asked again that takes no connections, as one does that starts. Less than that: its own words tell more.
const PATIENCE: Duration = Duration::from_secs(4);
/// A connection that was last taken longer ago is asked whether it lives.
const TRUSTED: Duration = Duration::from_secs(1);
/// An older connection is closed: what a server keeps for one grows.
const LIFETIME: Duration = Duration::from_mins(30);

/// Connections to one database, opened as they are needed.
pub(crate) struct Pool<C: Open>(managed::Pool<Opener<C>>);

/// A connection that goes back to its pool when dropped.
pub(crate) struct Lease<C: Open>(Object<Opener<C>>);

/// A connection in a transaction. Dropped before its end, it undoes what was done, then goes back to its pool.
pub(crate) struct Transaction<C: Open>(Option<Lease<C>>);

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
    /// At most `size` connections, for one of which a caller waits so long.
    pub fn new(options: C::Options, size: usize, wait: Duration) -> Result<Self, sqlx::Error> {
        let pool = managed::Pool::builder(Opener {
            options,
            found_dead: Mutex::default(),
        })
        .max_size(size)
        // The one that was used last has the most in its caches.
        .queue_mode(QueueMode::Lifo)
        .runtime(Runtime::Tokio1)
        .timeouts(Timeouts {
            wait: Some(wait),
            create: Some(ANSWER),
            recycle: Some(ANSWER),
        });
        let pool = pool.build().map_err(|error| sqlx::Error::Configuration(error.into()))?;
        Ok(Self(pool))
    }

    /// A connection, once one is free.
    pub async fn get(&self) -> Result<Lease<C>, sqlx::Error> {
        match self.0.get().await {
            Ok(lease) => Ok(Lease(lease)),
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Timeout(_)) => Err(sqlx::Error::PoolTimedOut),
            Err(_) => Err(sqlx::Error::PoolClosed),
        }
    }

    /// A connection in a transaction that this statement began.
    pub async fn begin(&self, statement: &'static str) -> Result<Transaction<C>, sqlx::Error> {
        let mut lease = self.get().await?;
        lease.0.is_in_transaction = true;
        let mut transaction = Transaction(Some(lease));
        transaction.connection()?.run(statement).await?;
        Ok(transaction)
    }

    /// Closes all connections, waiting for those in use.
    pub async fn close(&self) {
        let deadline = Instant::now() + ANSWER;
        loop {
            for Held { connection, .. } in self.0.retain(|_, _| false).removed {
                if let Err(error) = connection.close().await {
                    tracing::debug!(%error, "a connection was gone before it was closed");
                }
            }
            if self.0.status().size == 0 || Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.0.close();
    }
}

impl<C: Open> Lease<C> {
    /// The connection, for a statement. Until [`Lease::settled`], it is not believed to be at a statement's end.
    pub fn busy(&mut self) -> &mut C {
        self.0.is_settled = false;
        &mut self.0.connection
    }

    /// The statement was answered to its end.
    pub fn settled(&mut self) {
        self.0.is_settled = true;
    }
}

impl<C: Open> Transaction<C> {
    /// The connection, for a statement.
    pub fn connection(&mut self) -> Result<&mut C, sqlx::Error> {
        self.0.as_mut().map(Lease::busy).ok_or(sqlx::Error::PoolClosed)
    }

    /// Makes all of it durable, or none.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.connection()?.run("COMMIT").await?;
        self.ended();
        Ok(())
    }

    /// Undoes all of it and frees its locks.
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.connection()?.run("ROLLBACK").await?;
        self.ended();
        Ok(())
    }

    fn ended(&mut self) {
        if let Some(mut lease) = self.0.take() {
            lease.0.is_in_transaction = false;
            lease.settled();
        }
    }
}

impl<C: Open> Drop for Transaction<C> {
    fn drop(&mut self) {
        let Some(mut lease) = self.0.take() else { return };
        // Without a runtime, or one that ends: the pool closes it, which undoes as well.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            match lease.busy().run("ROLLBACK").await {
                Ok(()) => {
                    lease.0.is_in_transaction = false;
                    lease.settled();
                }
                Err(error) => {
                    tracing::debug!(%error, "a transaction ends with its connection");
                    drop(Object::take(lease.0));
                }
            }
        });
    }
}

/// Opens connections, and tells whether one may be used again.
struct Opener<C: Open> {
    options: C::Options,
    /// When a connection was last found dead.
    found_dead: Mutex<Option<std::time::Instant>>,
}

/// An open connection.
struct Held<C> {
    connection: C,
    /// Whether each statement was answered to its end, and nothing failed.
    is_settled: bool,
    is_in_transaction: bool,
}

impl<C: Open> Manager for Opener<C> {
    type Type = Held<C>;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Held<C>, sqlx::Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(10);
        loop {
            match C::connect_with(&self.options).await {
                Err(error) if takes_none_yet(&error) && Instant::now() + pause < deadline => {
                    tokio::time::sleep(pause).await;
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
        if held.is_in_transaction || metrics.age() > LIFETIME {
            return Err(RecycleError::message("not to be used again"));
        }
        let found_dead = || *self.found_dead.lock().unwrap_or_else(PoisonError::into_inner);
        let last_taken = metrics.recycled.unwrap_or(metrics.created);
        if held.is_settled && metrics.last_used() < TRUSTED && found_dead().is_none_or(|found| found < last_taken) {
            return Ok(());
        }
        // Also takes what is left of an answer that nobody waited for.
        if let Err(error) = held.connection.ping().await {
            *self.found_dead.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::time::Instant::now());
            return Err(error.into());
        }
        held.is_settled = true;
        Ok(())
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
        Self(self.0.clone())
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
