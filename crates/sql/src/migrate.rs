use std::borrow::Cow;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Connection as _, PgConnection, SqlSafeStr as _};

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

/// The changes that a database has: number and description.
async fn applied(pools: &Pools) -> Result<Vec<(i64, String)>, sqlx::Error> {
    const ALL: &str = "SELECT version, description FROM _sqlx_migrations ORDER BY version";
    match pools {
        Pools::Sqlite { writer, .. } => {
            writer
                .run(async |connection, _| {
                    let tables = "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
                    let tables: i64 = sqlx::query_scalar(tables).fetch_one(&mut *connection).await?;
                    match tables {
                        0 => Ok(Vec::new()),
                        _ => sqlx::query_as(ALL).fetch_all(connection).await,
                    }
                })
                .await
        }
        Pools::Postgres(pool) => {
            pool.run(async |connection, session| {
                let exists = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL");
                let exists: bool = exists
                    .persistent(!session.is_pooled)
                    .fetch_one(&mut *connection)
                    .await?;
                match exists {
                    false => Ok(Vec::new()),
                    true => {
                        sqlx::query_as(ALL)
                            .persistent(!session.is_pooled)
                            .fetch_all(connection)
                            .await
                    }
                }
            })
            .await
        }
    }
}

/// The descriptions of the changes that a database lacks. Refuses one of another service, or of a
/// newer version, before anything is changed in it.
pub(crate) async fn pending(pools: &Pools, url: &str, schemas: &[Schema]) -> Result<Vec<&'static str>, Error> {
    let applied = applied(pools).await.map_err(|source| Error::Open {
        url: url.to_owned(),
        source,
    })?;
    let numbered = |schema: &Schema| (schema.base..).zip(schema.changes.iter().map(|(description, ..)| *description));
    let known: Vec<_> = schemas.iter().flat_map(numbered).collect();
    judge(url, &applied, &known)
}

fn judge(url: &str, applied: &[(i64, String)], known: &[(i64, &'static str)]) -> Result<Vec<&'static str>, Error> {
    for (number, found) in applied {
        let wanted = known.iter().find(|(known, _)| known == number);
        match wanted {
            Some((_, wanted)) if wanted == found => {}
            Some((_, wanted)) => {
                return Err(Error::Foreign {
                    url: url.to_owned(),
                    found: found.clone(),
                    wanted: (*wanted).to_owned(),
                });
            }
            None => {
                return Err(Error::Newer {
                    url: url.to_owned(),
                    number: *number,
                    description: found.clone(),
                });
            }
        }
    }
    let has = |number: i64| applied.iter().any(|(applied, _)| *applied == number);
    Ok(known
        .iter()
        .filter(|(number, _)| !has(*number))
        .map(|(_, description)| *description)
        .collect())
}

/// Migrates the schema. Changes that were already applied are compared by checksum, never run
/// again.
pub(crate) async fn run(pools: &Pools, url: &str, schemas: &[Schema]) -> Result<(), Error> {
    pending(pools, url, schemas).await?;
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
                Pools::Postgres(pool) => {
                    let mut lease = pool.get().await?;
                    match lease.session().is_pooled {
                        false => migrator.run(lease.busy()?).await,
                        true => run_pooled(&migrator, lease.busy()?).await,
                    }
                }
            }
        }
        .await;
        match outcome {
            Ok(()) => return Ok(()),
            Err(source) if tries == 5 || matches!(source, MigrateError::VersionMismatch(_)) => {
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

/// Runs all changes in one transaction, in which a pooler leaves the session the same. The
/// migrator's prepared statements have names: none of another connection may be in the session, and
/// none may be left there.
async fn run_pooled(migrator: &Migrator, connection: &mut PgConnection) -> Result<(), MigrateError> {
    const FORGET: &str = "DEALLOCATE ALL";
    let mut tx = connection.begin().await?;
    sqlx::raw_sql(FORGET).execute(&mut *tx).await?;
    migrator.run(&mut *tx).await?;
    sqlx::raw_sql(FORGET).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [(i64, &str); 3] = [(1_001, "journal"), (2_001, "reports"), (2_002, "evidence")];

    fn told(applied: &[(i64, &str)]) -> Result<Vec<&'static str>, String> {
        let applied: Vec<_> = applied
            .iter()
            .map(|(number, text)| (*number, (*text).to_owned()))
            .collect();
        judge("sqlite://a.db", &applied, &KNOWN).map_err(|error| error.to_string())
    }

    #[test]
    fn a_database_of_another_service_or_version_is_told() {
        assert_eq!(told(&[]).unwrap(), ["journal", "reports", "evidence"]);
        assert_eq!(told(&[(1_001, "journal"), (2_001, "reports")]).unwrap(), ["evidence"]);
        assert_eq!(told(&KNOWN).unwrap(), [""; 0]);
        let newer = told(&[&KNOWN[..], &[(2_003, "marks")]].concat()).unwrap_err();
        assert!(
            newer.contains("`sqlite://a.db` was written by a newer version of Remit") && newer.contains("marks"),
            "{newer}"
        );
        // Another service's: also where it has changes of numbers that this one does not know.
        let other = told(&[(1_001, "journal"), (2_001, "cases"), (2_501, "register")]).unwrap_err();
        assert!(
            other.contains("is another service's database: it has `cases`"),
            "{other}"
        );
    }
}
