//! Copies of SQLite databases that are in use.

use std::{
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions,
};

use crate::Error;

/// Wait for one database's lock while those of others are held: their writers wait, too.
const BRIEFLY: Duration = Duration::from_millis(500);
/// Wait between two tries to lock all.
const PAUSE: Duration = Duration::from_millis(200);
/// Time after which a database that is always occupied fails the copy: a large load takes longer
/// than a commit.
const PATIENCE: Duration = Duration::from_secs(120);

/// Copies database files to new files, all as they stood at one moment.
///
/// Nobody can write to any of them while a read is begun in each, which takes milliseconds; then
/// writing goes on, and each copy has what its read sees. Meanwhile a database's write-ahead log
/// grows, because it may not overwrite what is read. Each copy is checked and on disk when this
/// returns, and only this user reads it. After an error, files may be left behind.
///
/// # Errors
/// If a file cannot be read, a copy exists or cannot be written, or the schema is changed at the
/// same time.
pub async fn copy_sqlite(copies: &[(&Path, &Path)]) -> Result<(), Error> {
    let mut sources = Vec::with_capacity(copies.len());
    for (from, to) in copies {
        sources.push(Source::open(from, to).await?);
    }
    let locks = lock(copies).await?;
    for source in &mut sources {
        source.begin().await?;
    }
    unlock(locks).await?;
    for source in sources {
        source.copy().await?;
    }
    Ok(())
}

/// Keeps everybody from writing to any of the databases. None stays locked for long while another
/// is waited for.
async fn lock(copies: &[(&Path, &Path)]) -> Result<Vec<SqliteConnection>, Error> {
    let started = Instant::now();
    loop {
        let mut locks = Vec::with_capacity(copies.len());
        let mut occupied = None;
        for (from, _) in copies {
            let mut lock = open(from, options(from).busy_timeout(BRIEFLY)).await?;
            match execute(&mut lock, "BEGIN IMMEDIATE").await {
                Ok(()) => locks.push(lock),
                Err(error) => {
                    occupied = Some(error);
                    break;
                }
            }
        }
        let Some(error) = occupied else { return Ok(locks) };
        unlock(locks).await?;
        if !error.is_transient() || started.elapsed() > PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn unlock(locks: Vec<SqliteConnection>) -> Result<(), Error> {
    for mut lock in locks {
        execute(&mut lock, "ROLLBACK").await?;
        close(lock).await?;
    }
    Ok(())
}

/// A table, or what belongs to one.
struct Object {
    name: String,
    is_table: bool,
    /// The statement that makes it.
    made_by: String,
}

/// A database being copied, and its copy.
struct Source {
    connection: SqliteConnection,
    objects: Vec<Object>,
    /// Changes with each change of the schema.
    schema_version: i64,
    to: PathBuf,
}

impl Source {
    /// Opens the database and makes the copy's tables.
    async fn open(from: &Path, to: &Path) -> Result<Self, Error> {
        let mut connection = open(from, options(from)).await?;
        let schema_version = schema_version(&mut connection).await?;
        let objects = objects(&mut connection).await?;
        let mut private = std::fs::OpenOptions::new();
        let private = private.write(true).create_new(true).mode(0o600);
        private.open(to).map_err(|error| Error::Open {
            url: to.display().to_string(),
            source: sqlx::Error::Io(error),
        })?;
        let mut copy = open(to, unsafe_but_fast(to)).await?;
        for table in objects.iter().filter(|object| object.is_table) {
            execute(&mut copy, &table.made_by).await?;
        }
        close(copy).await?;
        sqlx::query("ATTACH DATABASE $1 AS copy")
            .bind(to.display().to_string())
            .execute(&mut connection)
            .await
            .map_err(|source| Error::execute("ATTACH DATABASE", source))?;
        // The copy counts once it is complete and synced.
        execute(&mut connection, "PRAGMA copy.journal_mode = OFF").await?;
        execute(&mut connection, "PRAGMA copy.synchronous = OFF").await?;
        Ok(Self {
            connection,
            objects,
            schema_version,
            to: to.to_owned(),
        })
    }

    /// Begins the read that is copied.
    async fn begin(&mut self) -> Result<(), Error> {
        execute(&mut self.connection, "BEGIN").await?;
        // A transaction sees the database as it is at its first read.
        match schema_version(&mut self.connection).await? == self.schema_version {
            true => Ok(()),
            false => Err(Error::Collided("the schema")),
        }
    }

    /// Copies what the read sees.
    async fn copy(mut self) -> Result<(), Error> {
        for table in self.objects.iter().filter(|object| object.is_table) {
            let name = &table.name;
            let statement = format!("INSERT INTO copy.\"{name}\" SELECT * FROM main.\"{name}\"");
            execute(&mut self.connection, &statement).await?;
        }
        execute(&mut self.connection, "COMMIT").await?;
        execute(&mut self.connection, "DETACH DATABASE copy").await?;
        close(self.connection).await?;
        let mut copy = open(&self.to, unsafe_but_fast(&self.to)).await?;
        for object in self.objects.iter().filter(|object| !object.is_table) {
            execute(&mut copy, &object.made_by).await?;
        }
        let problem: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut copy)
            .await
            .map_err(|source| Error::execute("PRAGMA quick_check", source))?;
        close(copy).await?;
        if problem != "ok" {
            return Err(Error::Damaged {
                what: "copy of a database",
                problem,
            });
        }
        let synced = std::fs::File::open(&self.to).and_then(|file| file.sync_all());
        synced.map_err(|error| Error::execute("sync", sqlx::Error::Io(error)))
    }
}

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        // Rows are copied table by table, and may refer to those of a later one.
        .foreign_keys(false)
        .busy_timeout(BRIEFLY)
}

/// For a copy, which is thrown away after an error.
fn unsafe_but_fast(file: &Path) -> SqliteConnectOptions {
    options(file).pragma("journal_mode", "OFF").pragma("synchronous", "OFF")
}

async fn open(file: &Path, options: SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    options.connect().await.map_err(|source| Error::Open {
        url: file.display().to_string(),
        source,
    })
}

async fn close(connection: SqliteConnection) -> Result<(), Error> {
    connection
        .close()
        .await
        .map_err(|source| Error::execute("close", source))
}

async fn execute(connection: &mut SqliteConnection, statement: &str) -> Result<(), Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
        .map(drop)
        .map_err(|source| Error::execute(statement, source))
}

async fn schema_version(connection: &mut SqliteConnection) -> Result<i64, Error> {
    sqlx::query_scalar("PRAGMA main.schema_version")
        .fetch_one(connection)
        .await
        .map_err(|source| Error::execute("PRAGMA schema_version", source))
}

/// Everything that somebody made, in the order made: what SQLite adds, it adds to the copy, too.
async fn objects(connection: &mut SqliteConnection) -> Result<Vec<Object>, Error> {
    const STATEMENT: &str = "SELECT name, type, sql FROM main.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid";
    let rows = sqlx::query(STATEMENT)
        .fetch_all(connection)
        .await
        .map_err(|source| Error::execute(STATEMENT, source))?;
    let read = |row: &sqlx::sqlite::SqliteRow| {
        let kind: String = row.try_get("type")?;
        Ok(Object {
            name: row.try_get("name")?,
            is_table: kind == "table",
            made_by: row.try_get("sql")?,
        })
    };
    let objects: Result<_, sqlx::Error> = rows.iter().map(read).collect();
    objects.map_err(|source| Error::execute(STATEMENT, source))
}
