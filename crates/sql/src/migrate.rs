use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::{Db, Engine, Error, db::Pools};

/// A part of a database's schema: numbered changes, the same numbers for both engines.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Number of the first change. Parts of one database use ranges of their own.
    pub base: i64,
    /// What each change does, in words; then its SQLite and its PostgreSQL statements.
    pub changes: &'static [(&'static str, &'static str, &'static str)],
}

/// Brings the schema up to date. Changes that are there already are compared by checksum, never run again.
pub(crate) async fn run(db: &Db, url: &str, schemas: &[Schema]) -> Result<(), Error> {
    let migrations = schemas
        .iter()
        .flat_map(|schema| schema.changes.iter().zip(schema.base..))
        .map(|((description, sqlite, postgres), version)| {
            let statements = match db.engine() {
                Engine::Sqlite => *sqlite,
                Engine::Postgres => *postgres,
            };
            Migration::new(
                version,
                Cow::Borrowed(*description),
                MigrationType::Simple,
                statements.into_sql_str(),
                false,
            )
        })
        .collect();
    let mut migrator = Migrator::with_migrations(migrations);
    // Session locks are what PostgreSQL-compatible distributed databases lack. Each change is a transaction: of two replicas
    // that start together one commits it, and the other fails, looks again and finds it done.
    migrator.set_locking(false);
    let mut tries = 0;
    loop {
        let outcome = async {
            match &db.0 {
                Pools::Sqlite { writer, .. } => migrator.run(writer.get().await?.busy()?).await,
                Pools::Postgres(pool) => migrator.run(pool.get().await?.busy()?).await,
            }
        }
        .await;
        match outcome {
            Ok(()) => return Ok(()),
            Err(source) if tries == 5 || matches!(source, sqlx::migrate::MigrateError::VersionMismatch(_)) => {
                return Err(Error::Migrate {
                    url: url.to_owned(),
                    source,
                });
            }
            Err(_) => {
                tries += 1;
                tokio::time::sleep(std::time::Duration::from_millis(50 << tries)).await;
            }
        }
    }
}
