use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::{
    Error,
    open::{Engine, Pools},
};

/// One part of a database's schema: numbered changes, with the same numbers for both engines.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Number of the first change. Each part of a database uses its own range.
    pub base: i64,
    /// Description, SQLite statements and PostgreSQL statements of each change.
    pub changes: &'static [(&'static str, &'static str, &'static str)],
}

/// Migrates the schema. Changes that were already applied are compared by checksum, never run
/// again.
pub(crate) async fn run(pools: &Pools, url: &str, schemas: &[Schema]) -> Result<(), Error> {
    let migrations = schemas
        .iter()
        .flat_map(|schema| schema.changes.iter().zip(schema.base..))
        .map(|((description, sqlite, postgres), version)| {
            let statements = match pools.engine() {
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
    // PostgreSQL-compatible distributed databases lack session locks. Each change is a transaction:
    // when two replicas start together, one commits it; the other fails, retries and finds it
    // applied.
    migrator.set_locking(false);
    let mut tries = 0;
    loop {
        let outcome = async {
            match pools {
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
