//! A database with the register's schema, and a manual clock.

use std::sync::Arc;

use journal::{Clock as _, ManualClock, SeededEntropy, Time};
use sql::{Db, Row, Value};
use testkit::Backend;

pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 24 * HOUR;

pub struct Fixture {
    pub db: Db,
    pub clock: Arc<ManualClock>,
    pub entropy: Arc<SeededEntropy>,
    _backend: Backend,
}

impl Fixture {
    pub async fn new(backend: Backend) -> Self {
        let schemas = [journal::SCHEMA, register::store::SCHEMA];
        let start: jiff::Timestamp = "2026-03-02T09:00:00+08:00".parse().unwrap();
        Self {
            db: Db::open(backend.url(), &schemas).await.unwrap(),
            clock: Arc::new(ManualClock::at(Time(start.as_microsecond()))),
            entropy: Arc::new(SeededEntropy::new(testkit::seed())),
            _backend: backend,
        }
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    pub async fn count(&self, statement: &'static str) -> i64 {
        self.rows(statement, vec![]).await[0].only().unwrap()
    }

    pub async fn rows(&self, statement: &'static str, values: Vec<Value>) -> Vec<Row> {
        self.db.fetch(statement, values).await.unwrap()
    }

    pub async fn execute(&self, statement: &'static str) {
        sql::transact!(self.db, |tx| tx.execute(statement, vec![])).unwrap();
    }
}
