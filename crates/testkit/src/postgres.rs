//! PostgreSQL for tests: a database per test, on a server nobody else uses.
//!
//! The server is the one that `REMIT_TEST_POSTGRES` names (the URL of a superuser's database; `with-postgres` sets it),
//! or one started for this process. A server takes seconds to start, a database a twentieth of one: hence one server
//! for a whole run, and a database for each test.

mod cluster;

use std::io::Write as _;
use std::sync::LazyLock;

use sqlx::Connection as _;
use url::Url;

pub use cluster::{Cluster, Error};

/// Names the server to use: the URL of a superuser's database on it.
pub const SERVER_VARIABLE: &str = "REMIT_TEST_POSTGRES";

/// When set (and not to `0`), a test that needs PostgreSQL fails where there is none.
pub const REQUIRE_VARIABLE: &str = "REMIT_REQUIRE_POSTGRES";

/// A server to make databases on.
#[derive(Debug)]
enum Server {
    /// Somebody else's to stop.
    Given(Url),
    /// Started here; it ends when this process does.
    Own(Cluster),
}

/// The server of this process, looked for once. A static is never dropped, but its supervisor sees the process end.
static SERVER: LazyLock<Result<Server, Error>> = LazyLock::new(|| match std::env::var(SERVER_VARIABLE) {
    Ok(url) if !url.is_empty() => {
        Ok(Server::Given(Url::parse(&url).unwrap_or_else(|error| {
            panic!("{SERVER_VARIABLE} is not a URL: {error}")
        })))
    }
    _ => {
        let server = Cluster::start().map(Server::Own);
        if let Err(error) = &server {
            // Past the test harness, which swallows what passing tests print.
            let _ = writeln!(std::io::stderr(), "*** NOT TESTED ON POSTGRESQL: {error} ***");
        }
        server
    }
});

/// An empty database that is dropped, with whoever is still connected, when this is.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: Url,
    server: Url,
}

/// Makes an empty database with a name of its own.
///
/// Nothing where PostgreSQL is absent, which is said aloud once per process. May be called in and out of a runtime.
///
/// # Panics
///
/// When PostgreSQL is absent though `REMIT_REQUIRE_POSTGRES` is set, or is there but makes no database.
#[must_use]
pub fn database() -> Option<TestDatabase> {
    let server = match &*SERVER {
        Ok(Server::Given(url)) => url,
        Ok(Server::Own(cluster)) => cluster.url(),
        Err(error) if required() => panic!("{REQUIRE_VARIABLE} is set, but there is no PostgreSQL: {error}"),
        Err(_) => return None,
    };
    let name = format!("remit_test_{:016x}", rand::random::<u64>());
    execute(server, format!("CREATE DATABASE {name} TEMPLATE template0"))
        .unwrap_or_else(|error| panic!("making a database for the test: {error}"));
    let mut url = server.clone();
    url.set_path(&name);
    Some(TestDatabase {
        name,
        url,
        server: server.clone(),
    })
}

/// Whether to go without PostgreSQL is a failure.
#[must_use]
pub fn required() -> bool {
    std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| !["", "0"].contains(&value.as_str()))
}

impl TestDatabase {
    /// Where it is: `postgres://…`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // Not worth failing a test for: the server goes too.
        if let Err(error) = execute(
            &self.server,
            format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
        ) {
            eprintln!("dropping the test's database: {error}");
        }
    }
}

/// Executes one statement on a thread of its own, as it is wanted in `drop` and both in and out of a runtime.
fn execute(server: &Url, statement: String) -> Result<(), sqlx::Error> {
    let server = server.to_string();
    let worker = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async {
                let mut connection = sqlx::PgConnection::connect(&server).await?;
                // Safe: the only part that is not written above is a name made of hexadecimal digits.
                sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
                    .execute(&mut connection)
                    .await?;
                connection.close().await
            })
    });
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
