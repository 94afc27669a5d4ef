//! What tests of the store and of the service share: a store with a clock that stands still, and reports that arrive.

use std::sync::Arc;

use api::intake::{ConnectingFactor, Place, place::Location};
use api::routing::{Facts, ReportChange};
use decision::calendar::Calendars;
use decision::decide::{Decision, decide};
use decision::directory::{AgencyId, Directory};
use decision::rules::RuleSet;
use journal::{Arrival, Draft, Entry, Head, ManualClock, Sealed, SeededEntropy, Time, entry_hash, random_id, seal};
use routing::Routing;
use routing::active::{Active, Current};
use routing::clocks::Ticker;
use routing::state::State;
use routing::store::{
    Acknowledged, Acknowledgement, FeedItem, ReportNews, RequestId, Route, SqlStore, Store, StoredCase, Viewer,
};
use sql::{Db, Row, Value};
use testkit::Backend;
use uuid::Uuid;

pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 24 * HOUR;

/// What is shipped, as it decides.
pub fn shipped() -> Active {
    Active::new(
        Arc::new(Directory::shipped().clone()),
        Arc::new(RuleSet::shipped().clone()),
    )
}

pub fn agency(id: &str) -> AgencyId {
    AgencyId::new(id).unwrap()
}

pub fn agency_viewer(id: &str) -> Viewer {
    Viewer::Agency(agency(id))
}

/// Facts with places written as `operator 450100`.
pub fn facts(category: &str, places: &[(ConnectingFactor, &str)]) -> Facts {
    Facts {
        category: category.to_owned(),
        places: places
            .iter()
            .map(|(factor, code)| Place {
                factor: (*factor).into(),
                location: Some(Location::Territory(format!("territories/{code}"))),
            })
            .collect(),
        ..Facts::default()
    }
}

/// Story 4: police-450100 leads, police-440000 supports.
pub fn gambling() -> Facts {
    let places = [
        (ConnectingFactor::Operator, "450100"),
        (ConnectingFactor::Server, "440600"),
    ];
    facts("gambling", &places)
}

/// Story 9: inspection-130000 leads; police-130400 is complained of and handed it in.
pub fn official() -> Facts {
    Facts {
        excluded: vec!["police-130400".to_owned()],
        received_by: "police-130400".to_owned(),
        ..facts("official-misconduct", &[(ConnectingFactor::Suspect, "130400")])
    }
}

pub fn decided(facts: &Facts) -> Decision {
    decide(facts, RuleSet::shipped(), Directory::shipped())
}

pub struct Bench {
    pub db: Db,
    pub store: Arc<SqlStore>,
    pub current: Arc<Current>,
    pub clock: Arc<ManualClock>,
    pub entropy: Arc<SeededEntropy>,
    backend: Backend,
}

impl Bench {
    pub async fn new(backend: Backend) -> Self {
        let entropy = Arc::new(SeededEntropy::new(testkit::seed()));
        let db = Routing::open(backend.url()).await.unwrap();
        let start: jiff::Timestamp = "2026-03-02T09:00:00+08:00".parse().unwrap();
        let clock = ManualClock::at(Time(start.as_microsecond()));
        let current = Arc::new(Routing::prepare(&db, shipped(), &clock, &*entropy).await.unwrap());
        Self {
            store: store(&db, &current, &entropy),
            current,
            db,
            clock: Arc::new(clock),
            entropy,
            backend,
        }
    }

    /// Another replica: a pool of its own on the same database.
    pub async fn replica(&self) -> Arc<SqlStore> {
        let db = Routing::open(self.backend.url()).await.unwrap();
        let current = Routing::prepare(&db, shipped(), &*self.clock, &*self.entropy).await;
        store(&db, &Arc::new(current.unwrap()), &self.entropy)
    }

    pub fn now(&self) -> Time {
        journal::Clock::now(&*self.clock)
    }

    pub fn ticker(&self, store: &Arc<SqlStore>) -> Ticker {
        Ticker {
            store: Arc::clone(store) as Arc<dyn Store>,
            clock: Arc::clone(&self.clock) as Arc<dyn journal::Clock>,
            wake: Arc::new(|| {}),
        }
    }

    /// The next change of a report, as intake seals it.
    pub fn change(&self, report: Uuid, kind: &'static str, head: &Head) -> Sealed {
        let draft = Draft {
            source: "intake",
            record: &format!("reports/{report}"),
            kind,
            caused_by: None,
            detail: api::event::Detail::default(),
            traceparent: String::new(),
        };
        seal(draft, head, self.now(), &*self.entropy)
    }

    /// A report that was accepted, with its first change as it goes over the wire.
    pub fn accepted(&self, facts: Facts) -> (Uuid, Sealed, ReportChange) {
        let report = random_id(&*self.entropy);
        let sealed = self.change(report, "report.accepted", &Head::default());
        let change = ReportChange {
            change: Some(sealed.without_detail()),
            facts: Some(facts),
            subjects: Vec::new(),
        };
        (report, sealed, change)
    }

    pub fn arrival(&self, facts: &Facts) -> ReportNews {
        let (report, sealed, _) = self.accepted(facts.clone());
        news(report, &sealed, Some((facts.clone(), decided(facts))))
    }

    /// Opens cases and returns their ids, in order.
    pub async fn open(&self, facts: &[Facts]) -> Vec<Uuid> {
        let news: Vec<_> = facts.iter().map(|facts| self.arrival(facts)).collect();
        let arrivals = self.store.open(&news, self.now()).await.unwrap();
        assert!(arrivals.iter().all(|arrival| *arrival == Arrival::New), "{arrivals:?}");
        let mut ids = Vec::new();
        for news in news {
            ids.push(self.case_of(news.report).await);
        }
        ids
    }

    /// Opens a case by a decision of the test's own.
    pub async fn open_as(&self, facts: &Facts, decision: Decision) -> Uuid {
        let (report, sealed, _) = self.accepted(facts.clone());
        let news = news(report, &sealed, Some((facts.clone(), decision)));
        self.store.open(&[news], self.now()).await.unwrap();
        self.case_of(report).await
    }

    pub async fn case_of(&self, report: Uuid) -> Uuid {
        let values = vec![report.to_string().into()];
        let row = self
            .db
            .fetch_optional("SELECT case_id FROM case_reports WHERE report = $1", values)
            .await
            .unwrap();
        Uuid::parse_str(&row.unwrap().get::<String>(0).unwrap()).unwrap()
    }

    pub async fn acknowledge(&self, command: Acknowledgement) -> Acknowledged {
        let answers = self.store.acknowledge(&[command], self.now()).await.unwrap();
        answers.into_iter().next().unwrap()
    }

    pub async fn case(&self, id: Uuid) -> StoredCase {
        self.store.case(id, &Viewer::Operator).await.unwrap().unwrap()
    }

    pub async fn count(&self, statement: &'static str) -> i64 {
        self.rows(statement, vec![]).await[0].get(0).unwrap()
    }

    pub async fn rows(&self, statement: &'static str, values: Vec<Value>) -> Vec<Row> {
        self.db.fetch(statement, values).await.unwrap()
    }

    pub async fn execute(&self, statement: &'static str) {
        sql::transact!(self.db, |tx| tx.execute(statement, vec![])).unwrap();
    }

    /// Kinds of a case's changes, first to last.
    pub async fn kinds(&self, id: Uuid) -> Vec<String> {
        let values = vec![format!("cases/{id}").into()];
        let rows = self
            .rows("SELECT kind FROM journal WHERE record = $1 ORDER BY sequence", values)
            .await;
        rows.iter().map(|row| row.get(0).unwrap()).collect()
    }

    pub async fn feed(&self, id: &str, after: u64) -> Vec<FeedItem> {
        self.store.feed(&agency(id), after, 1_000).await.unwrap().unwrap()
    }

    /// Promises 4 and 5 as they must hold after every commit: an open case has one owner, who alone leads or designates, and
    /// one running clock; who is excluded has no part in it; each record's chain is unbroken.
    pub async fn assert_promises(&self) {
        let cases = self.store.cases(&Viewer::Operator, None, None, 100_000).await.unwrap();
        let parties = self
            .rows("SELECT case_id, agency, role FROM case_parties", vec![])
            .await;
        let excluded = self.rows("SELECT id, excluded FROM cases", vec![]).await;
        for stored in &cases {
            let id = stored.id.to_string();
            let owner = stored.case.duty.as_ref().map(|duty| duty.owner.as_str());
            assert_eq!(stored.case.state.is_open(), owner.is_some(), "{stored:?}");
            let of = |roles: &[&str]| {
                let rows = parties.iter().filter(|row| row.get::<String>(0).unwrap() == id);
                let rows = rows.filter(|row| roles.contains(&row.get::<String>(2).unwrap().as_str()));
                let mut agencies: Vec<String> = rows.map(|row| row.get(1).unwrap()).collect();
                agencies.sort();
                agencies
            };
            assert_eq!(of(&["lead", "designating"]), owner.into_iter().collect::<Vec<_>>());
            assert_eq!(of(&["lead"]).is_empty(), !stored.case.state.has_lead());
            let mut supporting: Vec<_> = stored.case.supporting.iter().map(ToString::to_string).collect();
            supporting.sort();
            assert_eq!(of(&["supporting"]), supporting);
            let excluded = excluded.iter().find(|row| row.get::<String>(0).unwrap() == id).unwrap();
            let excluded: String = excluded.get(1).unwrap();
            let excluded = excluded.split(' ').filter(|id| !id.is_empty()).map(agency).collect();
            for party in of(&["lead", "designating", "supporting"]) {
                let kept_out = Directory::shipped().is_excluded(&agency(&party), &excluded);
                assert!(!kept_out || party == "conference-CN", "{party} sees {id}");
            }
            if let Some(duty) = &stored.case.duty {
                assert!(duty.clock.due > stored.head.time, "{stored:?}");
            }
        }
        let unguarded = "SELECT count(*) FROM case_states WHERE state NOT IN ('CLOSED', 'ADVISED') \
                         AND (owner IS NULL OR clock_due IS NULL)";
        assert_eq!(self.count(unguarded).await, 0);
        let broken = "SELECT count(*) FROM case_states WHERE sequence <> \
                      (SELECT count(*) FROM journal WHERE record = 'cases/' || case_id)";
        assert_eq!(self.count(broken).await, 0);
        assert_eq!(
            self.count("SELECT count(*) FROM journal WHERE record LIKE 'cases/%'")
                .await
                * 2,
            self.count("SELECT count(*) FROM outbox WHERE record LIKE 'cases/%'")
                .await,
            "each change of a case is told to intake and to audit"
        );
    }
}

fn store(db: &Db, current: &Arc<Current>, entropy: &Arc<SeededEntropy>) -> Arc<SqlStore> {
    Arc::new(SqlStore::new(
        db.clone(),
        Arc::clone(current),
        Arc::new(Calendars::shipped().clone()),
        Arc::clone(entropy) as Arc<dyn journal::Entropy>,
    ))
}

pub fn news(report: Uuid, sealed: &Sealed, route: Option<(Facts, Decision)>) -> ReportNews {
    ReportNews {
        entry: Entry::decode(&sealed.entry).unwrap(),
        hash: entry_hash(&sealed.entry),
        report,
        route: route.map(|(facts, decision)| Route { facts, decision }),
        traceparent: String::new(),
    }
}

pub fn by(case: Uuid, by: &str) -> Acknowledgement {
    Acknowledgement {
        case,
        agency: agency(by),
        etag: String::new(),
        request: None,
        actor: api::event::Actor {
            agency: format!("agencies/{by}"),
            ..Default::default()
        },
        traceparent: String::new(),
    }
}

/// With a request id; `content` stands for what was asked.
pub fn request(command: Acknowledgement, id: u128, content: u8) -> Acknowledgement {
    Acknowledgement {
        request: Some(RequestId {
            caller: format!("{}-desk", command.agency),
            id: Uuid::from_u128(id),
            fingerprint: [content; 32],
        }),
        ..command
    }
}

/// State and owner.
pub fn standing(stored: &StoredCase) -> (State, Option<&str>) {
    (
        stored.case.state,
        stored.case.duty.as_ref().map(|duty| duty.owner.as_str()),
    )
}
