//! PostgreSQL for tests: one database per test, on a private server.
//!
//! The server is the one in `REMIT_TEST_POSTGRES` (URL of a superuser's database; `with-postgres`
//! sets it) or one started for this process. A server takes seconds to start and a database a
//! twentieth of one, hence one server for a whole run and one database per test.

mod cluster;

use std::io::Write as _;
use std::sync::LazyLock;

use sqlx::Connection as _;
use url::Url;

pub use cluster::{Cluster, Error};

/// URL of a superuser's database on the server to use.
pub const SERVER_VARIABLE: &str = "REMIT_TEST_POSTGRES";

/// If set (and not `0`), a test that needs PostgreSQL fails where there is none.
pub const REQUIRE_VARIABLE: &str = "REMIT_REQUIRE_POSTGRES";

/// The server to create databases on.
#[derive(Debug)]
enum Server {
    /// Supplied by `with-postgres` or the user, who also stops it.
    Given(Url),
    /// Started here; ends with this process.
    Own(Cluster),
}

/// This process's server, looked up once. A static is never dropped, but the supervisor notices the
/// end of the process.
static SERVER: LazyLock<Result<Server, Error>> = LazyLock::new(|| match std::env::var(SERVER_VARIABLE) {
    Ok(url) if !url.is_empty() => {
        Ok(Server::Given(Url::parse(&url).unwrap_or_else(|error| {
            panic!("{SERVER_VARIABLE} is not a URL: {error}")
        })))
    }
    _ => {
        let server = Cluster::start().map(Server::Own);
        if let Err(error) = &server {
            // Written to stderr directly: the test harness hides the output of passing tests.
            let _ = writeln!(std::io::stderr(), "*** NOT TESTED ON POSTGRESQL: {error} ***");
        }
        server
    }
});

/// An empty database. Dropped with this value, together with its remaining connections.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: Url,
    server: Url,
}

/// Creates an empty database with a unique name.
///
/// Returns `None` where PostgreSQL is absent, and says so once per process. Callable inside and
/// outside a runtime.
///
/// # Panics
///
/// If PostgreSQL is absent although `REMIT_REQUIRE_POSTGRES` is set, or refuses to create a
/// database.
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

/// Whether missing PostgreSQL is a failure.
#[must_use]
pub fn required() -> bool {
    std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| !["", "0"].contains(&value.as_str()))
}

impl TestDatabase {
    /// URL of the database, `postgres://…`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // Not worth failing a test: the server is removed, too.
        if let Err(error) = execute(
            &self.server,
            format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
        ) {
            eprintln!("dropping the test's database: {error}");
        }
    }
}

/// Executes one statement on a thread of its own, so that it works in `drop`, inside and outside a
/// runtime.
fn execute(server: &Url, statement: String) -> Result<(), sqlx::Error> {
    let server = server.to_string();
    let worker = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async {
                let mut connection = sqlx::PgConnection::connect(&server).await?;
                // Safe: the only variable part is a name of hexadecimal digits.
                sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
                    .execute(&mut connection)
                    .await?;
                connection.close().await
            })
    });
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
