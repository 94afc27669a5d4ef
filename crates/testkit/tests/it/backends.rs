//! Tests of the databases that suites receive.

use sqlx::Connection as _;
use testkit::Backend;

testkit::on_each_backend!(
    /// The macro makes two tests of each function and keeps its attributes and docs.
    the_url_names_the_backend,
    a_suite_may_fail_by_result,
);

async fn the_url_names_the_backend(backend: Backend) {
    let (scheme, path) = backend.url().split_once("://").unwrap();
    assert!(["sqlite", "postgres"].contains(&scheme));
    assert!(path.contains('/'));
}

async fn a_suite_may_fail_by_result(_: Backend) -> Result<(), String> {
    Ok(())
}

#[test]
fn an_sqlite_folder_goes_with_its_backend() {
    let backend = Backend::sqlite();
    let folder = std::path::Path::new(backend.url().strip_prefix("sqlite://").unwrap())
        .parent()
        .unwrap()
        .to_owned();
    assert!(folder.is_dir());
    drop(backend);
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_database_is_empty_durable_and_goes_even_while_in_use() -> Result<(), sqlx::Error> {
    let Some(database) = testkit::postgres::database() else {
        return Ok(());
    };
    let url = database.url().to_owned();
    let mut connection = sqlx::PgConnection::connect(&url).await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        .fetch_one(&mut connection)
        .await?;
    assert_eq!(tables, 0);
    let durable: (String, String) =
        sqlx::query_as("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
            .fetch_one(&mut connection)
            .await?;
    assert_eq!(durable, ("on".to_owned(), "on".to_owned()));

    let other = testkit::postgres::database().expect("there was one a moment ago");
    assert_ne!(other.url(), url);

    drop(database);
    assert!(
        sqlx::PgConnection::connect(&url).await.is_err(),
        "the database is still there"
    );
    assert!(connection.ping().await.is_err(), "its connections are still there");
    Ok(())
}
