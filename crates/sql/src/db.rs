use std::{borrow::Cow, str::FromStr as _, time::Duration};

use sqlx::{
    AssertSqlSafe, PgConnection, SqliteConnection,
    postgres::{PgArguments, PgConnectOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::{
    Error, Kind, Row, Schema, Value,
    batch::Part,
    migrate,
    pool::{Pool, Transaction},
    value::{Inner, postgres_arguments, sqlite_arguments},
};

/// A database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// SQLite, in this process.
    Sqlite,
    /// PostgreSQL or a database that speaks its protocol.
    Postgres,
}

/// An open database.
#[derive(Clone, Debug)]
pub struct Db(pub(crate) Pools);

#[derive(Clone, Debug)]
pub(crate) enum Pools {
    /// One writing connection, and readers beside it. Several writers would spend their time
    /// retrying on SQLite's lock.
    Sqlite {
        writer: Pool<SqliteConnection>,
        readers: Pool<SqliteConnection>,
    },
    /// Every connection reads and writes.
    Postgres(Pool<PgConnection>),
}

const SQLITE_READERS: usize = 4;
const POSTGRES_CONNECTIONS: usize = 16;
/// Wait for a free connection before the caller gets `PoolTimedOut`, which is reported as overload.
const WAIT: Duration = Duration::from_secs(5);
/// The same for SQLite's single writer, which a large directory load occupies for longer.
const WAIT_TO_WRITE: Duration = Duration::from_secs(30);

impl Db {
    /// Opens the database at a URL and migrates its schema. A missing SQLite file is created.
    pub async fn open(url: &str, schemas: &[Schema]) -> Result<Self, Error> {
        let shown = without_password(url);
        let open = |source| Error::Open {
            url: shown.clone(),
            source,
        };
        let pools = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => {
                let options = SqliteConnectOptions::from_str(url)
                    .map_err(open)?
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(Duration::from_secs(5))
                    .statement_cache_capacity(256)
                    // The default is 1,000 pages. A checkpoint syncs twice on the writer's time,
                    // and with fewer checkpoints a page that is written repeatedly is copied once.
                    .pragma("wal_autocheckpoint", "16000")
                    .pragma("cache_size", "-16000")
                    .pragma("temp_store", "MEMORY");
                let writer = Pool::<SqliteConnection>::new(options.clone(), 1, WAIT_TO_WRITE).map_err(open)?;
                let version = writer.run(sqlite_version).await.map_err(open)?;
                require_version(version)?;
                let reading = options
                    .read_only(true)
                    .create_if_missing(false)
                    .pragma("cache_size", "-2000");
                Pools::Sqlite {
                    writer,
                    readers: Pool::new(reading, SQLITE_READERS, WAIT).map_err(open)?,
                }
            }
            Some("postgres" | "postgresql") => {
                let options = PgConnectOptions::from_str(url)
                    .map_err(open)?
                    .application_name("remit")
                    // Override the role's defaults: an acknowledged commit is on disk, and a
                    // replica that is cut off while it holds a lock does not block the others.
                    .options([
                        ("synchronous_commit", "on"),
                        ("statement_timeout", "30s"),
                        ("idle_in_transaction_session_timeout", "30s"),
                    ])
                    .statement_cache_capacity(256);
                let pool = Pool::<PgConnection>::new(options, POSTGRES_CONNECTIONS, WAIT).map_err(open)?;
                drop(pool.get().await.map_err(open)?);
                Pools::Postgres(pool)
            }
            Some(scheme) => {
                return Err(Error::Url {
                    url: shown.clone(),
                    problem: format!("unknown scheme `{scheme}`"),
                });
            }
            None => {
                return Err(Error::Url {
                    url: shown.clone(),
                    problem: "the scheme is missing".to_owned(),
                });
            }
        };
        let db = Self(pools);
        migrate::run(&db, &shown, schemas).await?;
        Ok(db)
    }

    /// The engine of this database.
    pub fn engine(&self) -> Engine {
        match self.0 {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres(_) => Engine::Postgres,
        }
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
        Ok(Tx(match &self.0 {
            // IMMEDIATE takes the write lock now. A deferred transaction could fail at its first
            // write.
            Pools::Sqlite { writer, .. } => TxInner::Sqlite(writer.begin("BEGIN IMMEDIATE").await.map_err(failed)?),
            Pools::Postgres(pool) => TxInner::Postgres(pool.begin("BEGIN").await.map_err(failed)?),
        }))
    }

    /// Begins a read transaction. All its statements see one snapshot.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let failed = |source| Error::execute("begin", source);
        Ok(Snapshot(Tx(match &self.0 {
            Pools::Sqlite { readers, .. } => TxInner::Sqlite(readers.begin("BEGIN").await.map_err(failed)?),
            Pools::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                TxInner::Postgres(pool.begin(begin).await.map_err(failed)?)
            }
        })))
    }

    /// Runs one read statement outside a transaction.
    pub async fn fetch(&self, statement: &'static str, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        let failed = |source| Error::execute(statement, source);
        match &self.0 {
            Pools::Sqlite { readers, .. } => {
                let arguments = sqlite_arguments(values).map_err(failed)?;
                let query = sqlx::query_with(AssertSqlSafe(sqlite_spelling(statement)), arguments);
                let rows = readers.run(async |connection| query.fetch_all(connection).await).await;
                let rows = rows.map_err(failed)?;
                Ok(rows
                    .into_iter()
                    .map(|row| Row::new(Inner::Sqlite(row), statement))
                    .collect())
            }
            Pools::Postgres(pool) => {
                let arguments = postgres_arguments(values).map_err(failed)?;
                let query = sqlx::query_with(statement, arguments);
                let rows = pool.run(async |connection| query.fetch_all(connection).await).await;
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
                    .run(async |connection| query.fetch_optional(connection).await)
                    .await;
                let row = row.map_err(failed)?;
                Ok(row.map(|row| Row::new(Inner::Sqlite(row), statement)))
            }
            Pools::Postgres(pool) => {
                let arguments = postgres_arguments(values).map_err(failed)?;
                let query = sqlx::query_with(statement, arguments);
                let row = pool
                    .run(async |connection| query.fetch_optional(connection).await)
                    .await;
                let row = row.map_err(failed)?;
                Ok(row.map(|row| Row::new(Inner::Postgres(row), statement)))
            }
        }
    }

    /// Runs one PostgreSQL statement with array parameters, as a transaction of its own.
    pub(crate) async fn execute_arrays(&self, statement: &str, parts: &[Part<'_>]) -> Result<(), Error> {
        let Pools::Postgres(pool) = &self.0 else {
            return Err(no_arrays(statement));
        };
        let failed = |source| Error::execute(statement, source);
        let arguments = array_arguments(statement, parts)?;
        let query = sqlx::query_with(AssertSqlSafe(statement.to_owned()), arguments);
        let done = pool.run(async |connection| query.execute(connection).await).await;
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

/// A write transaction. Dropped without [`Tx::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct Tx(TxInner);

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
                Ok(sqlx::query_with(statement, arguments)
                    .execute(tx.connection().map_err(failed)?)
                    .await
                    .map_err(failed)?
                    .rows_affected())
            }
        }
    }

    /// Commits. All of the transaction becomes durable, or none of it.
    pub async fn commit(self) -> Result<(), Error> {
        match self.0 {
            TxInner::Sqlite(tx) => tx.commit().await,
            TxInner::Postgres(tx) => tx.commit().await,
        }
        .map_err(|source| Error::execute("commit", source))
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

    /// Runs a PostgreSQL statement with one array parameter per column of every part.
    pub(crate) async fn fetch_arrays(
        &mut self,
        statement: &str,
        from: &'static str,
        parts: &[Part<'_>],
    ) -> Result<Vec<Row>, Error> {
        let TxInner::Postgres(tx) = &mut self.0 else {
            return Err(no_arrays(statement));
        };
        fetch_postgres(tx, statement, from, array_arguments(statement, parts)?).await
    }
}

fn no_arrays(statement: &str) -> Error {
    Error::execute(statement, sqlx::Error::Protocol("sqlite has no arrays".to_owned()))
}

/// Builds one array parameter per column of every part.
fn array_arguments(statement: &str, parts: &[Part<'_>]) -> Result<PgArguments, Error> {
    use sqlx::Arguments as _;
    let mut arguments = PgArguments::default();
    for (insert, rows) in parts {
        for (i, (_, kind)) in insert.columns().iter().enumerate() {
            let column = rows.iter().map(|row| &row[i]);
            match kind {
                Kind::Text => arguments.add(column.map(Value::as_text).collect::<Vec<Option<&str>>>()),
                Kind::Int => arguments.add(column.map(Value::as_int).collect::<Vec<Option<i64>>>()),
                Kind::Bytes => arguments.add(column.map(Value::as_bytes).collect::<Vec<Option<&[u8]>>>()),
            }
            .map_err(|source| Error::execute(statement, sqlx::Error::Encode(source)))?;
        }
    }
    Ok(arguments)
}

async fn fetch_postgres(
    tx: &mut Transaction<PgConnection>,
    statement: &str,
    from: &'static str,
    arguments: PgArguments,
) -> Result<Vec<Row>, Error> {
    let failed = |source| Error::execute(statement, source);
    let rows = sqlx::query_with(AssertSqlSafe(statement.to_owned()), arguments)
        .fetch_all(tx.connection().map_err(failed)?)
        .await;
    Ok(rows
        .map_err(failed)?
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
/// `FOR UPDATE` and `FOR SHARE` are dropped; it has no arrays, so a list of texts is passed as
/// JSON.
fn sqlite_spelling(statement: &'static str) -> Cow<'static, str> {
    if !statement.contains(" FOR ") && !statement.contains("= ANY(") {
        return Cow::Borrowed(statement);
    }
    let mut text = statement
        .replace(" FOR UPDATE SKIP LOCKED", "")
        .replace(" FOR UPDATE", "")
        .replace(" FOR SHARE", "");
    while let Some(start) = text.find("= ANY(") {
        let parameter = start + "= ANY(".len();
        let end = text[parameter..].find(')').map_or(text.len(), |end| parameter + end);
        let replacement = format!("IN (SELECT value FROM json_each({}))", &text[parameter..end]);
        text.replace_range(start..(end + 1).min(text.len()), &replacement);
    }
    Cow::Owned(text)
}

async fn sqlite_version(connection: &mut SqliteConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(connection)
        .await
}

fn require_version(found: String) -> Result<(), Error> {
    let mut parts = found.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = [parts.next(), parts.next(), parts.next()].map(|part| part.unwrap_or(0));
    match version < [3, 51, 3] {
        true => Err(Error::SqliteTooOld { found }),
        false => Ok(()),
    }
}

/// Removes possible secrets from a URL: the password and the query; everything after the scheme if
/// an unescaped password obscures where the host starts.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.contains('@') {
        return format!("{scheme}://…");
    }
    match authority.rsplit_once('@') {
        None => format!("{scheme}://{rest}"),
        Some((user, host)) => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{scheme}://{user}@{host}/{path}")
        }
    }
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
        ] {
            assert_eq!(sqlite_spelling(statement), expected);
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("postgres://remit:secret@db/remit", "postgres://remit@db/remit"),
            (
                "postgres://remit:se@cret@db/remit?password=x",
                "postgres://remit@db/remit",
            ),
            ("postgres://remit:sec/ret@db/remit", "postgres://…"),
            ("postgres://db/remit?password=secret", "postgres://db/remit"),
            ("sqlite://data/intake.db", "sqlite://data/intake.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
