//! One test suite for each backend: a store's contract is tested once and holds on SQLite and
//! PostgreSQL alike.

use tempfile::TempDir;

use crate::postgres::{self, TestDatabase};

/// A database of one test, removed when this is dropped.
#[derive(Debug)]
pub struct Backend {
    url: String,
    _keep: Keep,
}

/// Resources that must live as long as the database is in use.
#[derive(Debug)]
#[expect(dead_code, reason = "held to be dropped")]
enum Keep {
    Folder(TempDir),
    Database(TestDatabase),
}

impl Backend {
    /// An SQLite file that does not exist yet, in a folder of its own.
    ///
    /// # Panics
    ///
    /// If the folder cannot be created.
    #[must_use]
    pub fn sqlite() -> Self {
        let folder = TempDir::with_prefix("remit-test-").expect("making a folder for the test");
        Self {
            url: format!("sqlite://{}/remit.db", folder.path().display()),
            _keep: Keep::Folder(folder),
        }
    }

    /// An empty PostgreSQL database, or `None` where PostgreSQL is absent; see
    /// [`postgres::database`].
    #[must_use]
    pub fn postgres() -> Option<Self> {
        let database = postgres::database()?;
        Some(Self {
            url: database.url().to_owned(),
            _keep: Keep::Database(database),
        })
    }

    /// URL of the database: `sqlite:///…` or `postgres://…`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Return type of a suite: nothing, or a result.
pub trait SuiteResult {
    /// Panics if the suite failed.
    fn check(self);
}

impl SuiteResult for () {
    fn check(self) {}
}

impl<E: std::fmt::Debug> SuiteResult for Result<(), E> {
    fn check(self) {
        self.expect("the suite failed");
    }
}

/// Runs one suite; used by [`on_each_backend!`](crate::on_each_backend).
///
/// Runs on two threads, so that code that only works on one thread fails.
pub fn run<O: SuiteResult>(suite: impl Future<Output = O>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("starting a runtime for the test")
        .block_on(suite)
        .check();
}

/// Makes two tests of each named `async fn(testkit::Backend)`: `sqlite::name` and `postgres::name`.
///
/// The functions return nothing or a `Result<(), _>`. Use it once per module: the names of the two
/// generated modules are fixed.
///
/// ```no_run
/// testkit::on_each_backend!(accept_is_idempotent);
///
/// async fn accept_is_idempotent(backend: testkit::Backend) -> Result<(), std::fmt::Error> {
///     assert!(backend.url().contains("://"));
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! on_each_backend {
    ($($(#[$attribute:meta])* $suite:ident),+ $(,)?) => {
        mod sqlite {
            $(
                $(#[$attribute])*
                #[test]
                fn $suite() {
                    $crate::backend::run(super::$suite($crate::Backend::sqlite()));
                }
            )+
        }

        mod postgres {
            $(
                $(#[$attribute])*
                #[test]
                fn $suite() {
                    if let Some(backend) = $crate::Backend::postgres() {
                        $crate::backend::run(super::$suite(backend));
                    }
                }
            )+
        }
    };
}
