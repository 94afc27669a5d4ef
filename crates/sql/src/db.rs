use std::{
    borrow::Cow,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use sqlx::{AssertSqlSafe, PgConnection, SqliteConnection, postgres::PgArguments};
use telemetry::metrics::Service;
use tokio::time::Instant;

use crate::{
    Engine, Error, Instruments, Row, Schema, Value,
    metrics::Pool,
    migrate,
    open::{Access, Pools, without_password},
    pool::{Transaction, answer},
    value::{Inner, postgres_arguments, sqlite_arguments},
};

/// An open database.
#[derive(Clone, Debug)]
pub struct Db(Pools, Arc<Mutex<Option<Full>>>, Arc<OnceLock<Service>>);

/// A disk that was found full.
#[derive(Clone, Copy, Debug)]
struct Full {
    /// When it last was.
    found: Instant,
    /// Whether something was written since.
    is_doubted: bool,
}

/// Time after the last write that found no room when there may be room again, if nothing is written
/// meanwhile.
const FULL: Duration = Duration::from_secs(90);

/// A megabyte in rows of a new table: no pages are there for them, and nothing compresses them.
const GROW: &str = "CREATE UNLOGGED TABLE room_trial AS \
                    SELECT repeat('x', 1000) AS content FROM generate_series(1, 1000)";
const GROW_SQLITE: &str = "CREATE TABLE IF NOT EXISTS room_trial AS SELECT zeroblob(1000000) AS content";
const SHRINK_SQLITE: &str = "DROP TABLE room_trial";

impl Db {
    /// Opens the database at a URL and migrates its schema. A missing SQLite file is created.
    pub async fn open(url: &str, schemas: &[Schema]) -> Result<Self, Error> {
        let pools = Pools::open(url, Access::Write).await?;
        migrate::run(&pools, &without_password(url), schemas).await?;
        Ok(Self::over(pools))
    }

    /// Opens the database at a URL to be read: nothing in it is created or changed.
    ///
    /// # Errors
    /// Also if it lacks a change of the schema.
    pub async fn open_to_read(url: &str, schemas: &[Schema]) -> Result<Self, Error> {
        let pools = Pools::open(url, Access::Read).await?;
        let pending = migrate::pending(&pools, &without_password(url), schemas).await;
        let db = Self::over(pools);
        let error = match pending {
            Ok(pending) if pending.is_empty() => return Ok(db),
            Ok(pending) => Error::Behind {
                url: without_password(url),
                lacks: pending.join(", "),
            },
            Err(error) => error,
        };
        db.close().await;
        Err(error)
    }

    /// The changes of the schema that the database at a URL lacks. Nothing is created or changed.
    pub async fn pending(url: &str, schemas: &[Schema]) -> Result<Vec<&'static str>, Error> {
        let pools = Pools::open(url, Access::Glance).await?;
        let pending = migrate::pending(&pools, &without_password(url), schemas).await;
        Self::over(pools).close().await;
        pending
    }

    fn over(pools: Pools) -> Self {
        Self(pools, Arc::default(), Arc::default())
    }

    /// Measures it from now on, as the database of a service.
    pub fn measure(&self, service: &str) {
        let service = Service::named(service);
        if self.2.set(service).is_err() {
            return;
        }
        match &self.0 {
            Pools::Sqlite { writer, readers } => {
                writer.measure((service, Pool::Writer));
                readers.measure((service, Pool::Readers));
            }
            Pools::Postgres(pool) => pool.measure((service, Pool::Shared)),
        }
        let full = Arc::downgrade(&self.1);
        let is_full = move || {
            let full = full.upgrade()?;
            let full = full.lock().unwrap_or_else(PoisonError::into_inner);
            Some(f64::from(u8::from(full.is_some())))
        };
        Instruments::get().full.watch((service,), is_full);
    }

    /// The service that it is measured for.
    pub fn service(&self) -> Service {
        self.2.get().copied().unwrap_or_else(|| Service::named(""))
    }

    /// Notes how a write ended. Done by [`transact!`](crate::transact) and [`Db::write`].
    pub fn wrote<T>(&self, outcome: &Result<T, Error>) {
        let mut full = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let was_full = full.is_some();
        match outcome {
            Err(error) if error.is_full() => {
                *full = Some(Full::found());
                if !was_full {
                    tracing::error!(%error, "the database's disk is full: nothing can be written until there is room");
                }
            }
            Ok(_) => {
                if let Some(full) = full.as_mut() {
                    full.is_doubted = true;
                }
            }
            Err(_) => {}
        }
    }

    /// Whether the database's disk is full: a write found it so, and there was no room since for
    /// one of some size. Asks the database where something could be written meanwhile: changes of
    /// rows fit into pages that are there, on a full disk, too.
    pub async fn is_full(&self) -> bool {
        let known = || self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match known().as_mut() {
            None => return false,
            Some(full) if !full.is_doubted && full.found.elapsed() < FULL => return true,
            Some(full) => {
                // Whoever asks during the trial is told what was so before it.
                full.is_doubted = false;
                full.found
            }
        };
        match self.grow().await {
            Err(error) if error.is_full() => {
                *known() = Some(Full::found());
                return true;
            }
            // As for a role that may create no tables: then time decides.
            Err(error) if found.elapsed() < FULL => {
                tracing::debug!(%error, "whether the database has room again cannot be tried");
                return true;
            }
            Ok(()) | Err(_) => *known() = None,
        }
        tracing::info!("the database has room again");
        false
    }

    /// Writes something for which the database must grow, and drops it.
    async fn grow(&self) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        if let Engine::Postgres = self.engine() {
            let grown = tx.fetch(GROW, Vec::new()).await;
            tx.rollback().await;
            return grown.map(drop);
        }
        // SQLite writes when it commits. A table that was left behind by a crash takes room, too.
        if let Err(error) = tx.fetch(GROW_SQLITE, Vec::new()).await {
            tx.rollback().await;
            return Err(error);
        }
        tx.commit().await?;
        let mut tx = self.begin().await?;
        tx.fetch(SHRINK_SQLITE, Vec::new()).await?;
        tx.commit().await
    }

    /// The engine of this database.
    pub fn engine(&self) -> Engine {
        self.0.engine()
    }

    /// Number of concurrent group commits worth running.
    pub fn writers(&self) -> usize {
        match self.0 {
            Pools::Sqlite { .. } => 1,
            // More writers only make smaller groups and more commits.
            Pools::Postgres(_) => 2,
        }
    }

    /// Begins a write transaction. Prefer [`transact!`](crate::transact), which also retries.
    ///
    /// Dropped before its commit, it is undone and its connection mended. Dropped while it commits,
    /// it may be either: run it on a task of its own where something must follow a commit.
    pub async fn begin(&self) -> Result<Tx, Error> {
        let failed = |source| Error::execute("begin", source);
        let begun = match &self.0 {
            // IMMEDIATE takes the write lock now. A deferred transaction could fail at its first
            // write.
            Pools::Sqlite { writer, .. } => TxInner::Sqlite(writer.begin("BEGIN IMMEDIATE").await.map_err(failed)?),
            Pools::Postgres(pool) => TxInner::Postgres(pool.begin("BEGIN").await.map_err(failed)?),
        };
        Ok(Tx(begun, Vec::new()))
    }

    /// Begins a read transaction. All its statements see one snapshot.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let failed = |source| Error::execute("begin", source);
        let begun = match &self.0 {
            Pools::Sqlite { readers, .. } => TxInner::Sqlite(readers.begin("BEGIN").await.map_err(failed)?),
            Pools::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                TxInner::Postgres(pool.begin(begin).await.map_err(failed)?)
            }
        };
        Ok(Snapshot(Tx(begun, Vec::new())))
    }

    /// Runs one read statement outside a transaction.
    pub async fn fetch(&self, statement: &'static str, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        let failed = |source| Error::execute(statement, source);
        match &self.0 {
            Pools::Sqlite { readers, .. } => {
                let arguments = sqlite_arguments(values).map_err(failed)?;
                let query = sqlx::query_with(AssertSqlSafe(sqlite_spelling(statement)), arguments);
                let rows = readers
                    .run(async |connection, _| query.fetch_all(connection).await)
                    .await;
                let rows = rows.map_err(failed)?;
                Ok(rows
                    .into_iter()
                    .map(|row| Row::new(Inner::Sqlite(row), statement))
                    .collect())
            }
            Pools::Postgres(pool) => {
                let arguments = postgres_arguments(values).map_err(failed)?;
                let query = sqlx::query_with(statement, arguments);
                let rows = pool
                    .run(async |connection, session| query.persistent(!session.is_pooled).fetch_all(connection).await)
                    .await;
                let rows = rows.map_err(failed)?;
                Ok(rows
                    .into_iter()
                    .map(|row| Row::new(Inner::Postgres(row), statement))
                    .collect())
            }
        }
    }

    /// Runs one read statement that returns at most one row. Cheaper than [`Db::fetch`]: SQLite's
    /// worker thread replies once.
    pub async fn fetch_optional(&self, statement: &'static str, values: Vec<Value>) -> Result<Option<Row>, Error> {
        let failed = |source| Error::execute(statement, source);
        match &self.0 {
            Pools::Sqlite { readers, .. } => {
                let arguments = sqlite_arguments(values).map_err(failed)?;
                let query = sqlx::query_with(AssertSqlSafe(sqlite_spelling(statement)), arguments);
                let row = readers
                    .run(async |connection, _| query.fetch_optional(connection).await)
                    .await;
                let row = row.map_err(failed)?;
                Ok(row.map(|row| Row::new(Inner::Sqlite(row), statement)))
            }
            Pools::Postgres(pool) => {
                let arguments = postgres_arguments(values).map_err(failed)?;
                let query = sqlx::query_with(statement, arguments);
                let row = pool
                    .run(async |connection, session| {
                        query.persistent(!session.is_pooled).fetch_optional(connection).await
                    })
                    .await;
                let row = row.map_err(failed)?;
                Ok(row.map(|row| Row::new(Inner::Postgres(row), statement)))
            }
        }
    }

    /// Runs one PostgreSQL statement with array parameters, as a transaction of its own.
    pub(crate) async fn execute_arrays(&self, statement: &str, arguments: PgArguments) -> Result<(), Error> {
        let Pools::Postgres(pool) = &self.0 else {
            return Err(no_arrays(statement));
        };
        let failed = |source| Error::execute(statement, source);
        let query = sqlx::query_with(AssertSqlSafe(statement.to_owned()), arguments);
        let done = pool
            .run(async |connection, session| query.persistent(!session.is_pooled).execute(connection).await)
            .await;
        done.map(drop).map_err(failed)
    }

    /// Checks that the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.fetch_optional("SELECT 1", Vec::new()).await.map(drop)
    }

    /// Closes all connections after the running statements and transactions have ended.
    pub async fn close(&self) {
        match &self.0 {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

impl Full {
    fn found() -> Self {
        Self {
            found: Instant::now(),
            is_doubted: false,
        }
    }
}

/// A write transaction. Dropped without [`Tx::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct Tx(TxInner, Vec<Then>);

/// Something that only counts once it is durable, such as a measurement: it is done after the
/// commit, and not at all without one.
#[derive(Clone)]
pub struct Then(Arc<dyn Fn() + Send + Sync>);

impl Then {
    /// `done` must be quick, and cannot fail.
    pub fn new(done: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(done))
    }

    pub(crate) fn happen(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Then {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Then")
    }
}

#[derive(Debug)]
enum TxInner {
    Sqlite(Transaction<SqliteConnection>),
    Postgres(Transaction<PgConnection>),
}

impl Tx {
    /// The engine of this transaction's database.
    pub fn engine(&self) -> Engine {
        match self.0 {
            TxInner::Sqlite(_) => Engine::Sqlite,
            TxInner::Postgres(_) => Engine::Postgres,
        }
    }

    /// Does this after the commit.
    pub fn then(&mut self, then: Then) {
        self.1.push(then);
    }

    /// Runs a statement and returns its rows.
    pub async fn fetch(&mut self, statement: &'static str, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        let text = match self.0 {
            TxInner::Sqlite(_) => sqlite_spelling(statement),
            TxInner::Postgres(_) => Cow::Borrowed(statement),
        };
        self.fetch_text(text, statement, values).await
    }

    /// Runs a statement that returns at most one row.
    pub async fn fetch_optional(&mut self, statement: &'static str, values: Vec<Value>) -> Result<Option<Row>, Error> {
        Ok(self.fetch(statement, values).await?.into_iter().next())
    }

    /// Runs a statement and returns the number of rows it changed.
    pub async fn execute(&mut self, statement: &'static str, values: Vec<Value>) -> Result<u64, Error> {
        let failed = |source| Error::execute(statement, source);
        match &mut self.0 {
            TxInner::Sqlite(tx) => {
                let arguments = sqlite_arguments(values).map_err(failed)?;
                let done = sqlx::query_with(AssertSqlSafe(sqlite_spelling(statement)), arguments)
                    .execute(tx.connection().map_err(failed)?)
                    .await;
                Ok(done.map_err(failed)?.rows_affected())
            }
            TxInner::Postgres(tx) => {
                let arguments = postgres_arguments(values).map_err(failed)?;
                let query = sqlx::query_with(statement, arguments).persistent(!tx.session().is_pooled);
                let limit = tx.limit();
                let done = answer(limit, query.execute(tx.connection().map_err(failed)?)).await;
                Ok(done.map_err(|error| failed(tx.failed(error)))?.rows_affected())
            }
        }
    }

    /// Commits. All of the transaction becomes durable, or none of it.
    ///
    /// What it has read is durable, too, even if it wrote nothing: an answer that repeats what was
    /// there promises as much as the first one. On PostgreSQL that is not so by itself: a commit
    /// that waits for its standby while the server crashes is there afterwards, on one disk.
    pub async fn commit(self) -> Result<(), Error> {
        match self.0 {
            TxInner::Sqlite(tx) => tx.commit().await,
            TxInner::Postgres(tx) => tx.commit().await,
        }
        .map_err(|source| Error::execute("commit", source))?;
        self.1.iter().for_each(Then::happen);
        Ok(())
    }

    /// Rolls back and releases all locks. If the connection is lost meanwhile, the server rolls
    /// back.
    pub async fn rollback(self) {
        let outcome = match self.0 {
            TxInner::Sqlite(tx) => tx.rollback().await,
            TxInner::Postgres(tx) => tx.rollback().await,
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "rollback failed; the transaction ends with its connection");
        }
    }

    pub(crate) async fn fetch_text(
        &mut self,
        statement: impl Into<Cow<'static, str>>,
        from: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, Error> {
        let statement = statement.into();
        match &mut self.0 {
            TxInner::Sqlite(tx) => {
                let failed = |source| Error::execute(&statement, source);
                let arguments = sqlite_arguments(values).map_err(failed)?;
                let rows = sqlx::query_with(AssertSqlSafe(statement.to_string()), arguments)
                    .fetch_all(tx.connection().map_err(failed)?)
                    .await;
                Ok(rows
                    .map_err(failed)?
                    .into_iter()
                    .map(|row| Row::new(Inner::Sqlite(row), from))
                    .collect())
            }
            TxInner::Postgres(tx) => {
                let arguments = postgres_arguments(values).map_err(|source| Error::execute(&statement, source))?;
                fetch_postgres(tx, &statement, from, arguments).await
            }
        }
    }

    /// Runs a PostgreSQL statement with array parameters.
    pub(crate) async fn fetch_arrays(
        &mut self,
        statement: &str,
        from: &'static str,
        arguments: PgArguments,
    ) -> Result<Vec<Row>, Error> {
        let TxInner::Postgres(tx) = &mut self.0 else {
            return Err(no_arrays(statement));
        };
        fetch_postgres(tx, statement, from, arguments).await
    }
}

fn no_arrays(statement: &str) -> Error {
    Error::execute(statement, sqlx::Error::Protocol("sqlite has no arrays".to_owned()))
}

async fn fetch_postgres(
    tx: &mut Transaction<PgConnection>,
    statement: &str,
    from: &'static str,
    arguments: PgArguments,
) -> Result<Vec<Row>, Error> {
    let failed = |source| Error::execute(statement, source);
    let query = sqlx::query_with(AssertSqlSafe(statement.to_owned()), arguments).persistent(!tx.session().is_pooled);
    let limit = tx.limit();
    let rows = answer(limit, query.fetch_all(tx.connection().map_err(failed)?)).await;
    Ok(rows
        .map_err(|error| failed(tx.failed(error)))?
        .into_iter()
        .map(|row| Row::new(Inner::Postgres(row), from))
        .collect())
}

/// A read transaction.
#[derive(Debug)]
pub struct Snapshot(Tx);

impl Snapshot {
    /// Runs a read statement and returns its rows.
    pub async fn fetch(&mut self, statement: &'static str, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        self.0.fetch(statement, values).await
    }

    /// Runs a read statement that returns at most one row.
    pub async fn fetch_optional(&mut self, statement: &'static str, values: Vec<Value>) -> Result<Option<Row>, Error> {
        self.0.fetch_optional(statement, values).await
    }
}

/// Translates a statement from PostgreSQL's spelling to SQLite's. SQLite locks the whole file, so
/// `FOR UPDATE`, `FOR SHARE` and `FOR KEY SHARE` are dropped; it has no arrays, so a list of
/// texts is passed as JSON.
fn sqlite_spelling(statement: &'static str) -> Cow<'static, str> {
    if !statement.contains(" FOR ") && !statement.contains("= ANY(") {
        return Cow::Borrowed(statement);
    }
    let mut text = statement
        .replace(" FOR UPDATE SKIP LOCKED", "")
        .replace(" FOR UPDATE", "")
        .replace(" FOR KEY SHARE", "")
        .replace(" FOR SHARE", "");
    while let Some(start) = text.find("= ANY(") {
        let parameter = start + "= ANY(".len();
        let end = text[parameter..].find(')').map_or(text.len(), |end| parameter + end);
        let replacement = format!("IN (SELECT value FROM json_each({}))", &text[parameter..end]);
        text.replace_range(start..(end + 1).min(text.len()), &replacement);
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_translates_lists_and_drops_row_locks() {
        for (statement, expected) in [
            ("SELECT 1", "SELECT 1"),
            (
                "SELECT a FROM t WHERE id = $1 FOR UPDATE",
                "SELECT a FROM t WHERE id = $1",
            ),
            (
                "DELETE FROM t WHERE a = $1 AND id = ANY($2)",
                "DELETE FROM t WHERE a = $1 AND id IN (SELECT value FROM json_each($2))",
            ),
            (
                "SELECT a FROM t LIMIT 1 FOR UPDATE SKIP LOCKED",
                "SELECT a FROM t LIMIT 1",
            ),
            ("SELECT a FROM t FOR SHARE", "SELECT a FROM t"),
            ("SELECT a FROM t FOR KEY SHARE", "SELECT a FROM t"),
        ] {
            assert_eq!(sqlite_spelling(statement), expected);
        }
    }
}
