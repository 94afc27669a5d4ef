//! The fixture of tests of store and service: a store with a manual clock, and arriving reports.

use std::{collections::BTreeSet, sync::Arc};

use api::event::ConnectingFactor;
use api::intake::{Place, place::Location};
use api::routing::{Facts, ReportChange};
use decision::calendar::Calendars;
use decision::decide::{Decision, decide};
use decision::directory::{AgencyId, Directory};
use decision::rules::{RuleSet, Taxonomy};
use journal::{
    Arrival, Change, Draft, Head, ManualClock, Opened, RequestId, SeededEntropy, Time, Timekeeper, random_id,
};
use routing::Routing;
use routing::active::{Active, Current};
use routing::case::{Acknowledge, Action, Part, Party, Sight, State, Worklist};
use routing::clocks::Ticker;
use routing::store::versions::{Activated, Activation, Hand, Person, Versions};
use routing::store::{Acted, Command, FeedItem, ReportNews, Route, SqlStore, Store, StoredCase};
use sql::{Db, Row, Value};
use testkit::Backend;
use uuid::Uuid;

pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 24 * HOUR;

/// The shipped directory and rule set.
pub fn shipped() -> Active {
    Active::new(
        Arc::new(Directory::shipped().clone()),
        Arc::new(RuleSet::shipped().clone()),
    )
}

pub fn agency(id: &str) -> AgencyId {
    AgencyId::new(id).unwrap()
}

pub fn agency_viewer(id: &str) -> Party {
    Party::Agency(agency(id))
}

/// Facts with places written as `operator 450100`.
pub fn facts(category: &str, places: &[(ConnectingFactor, &str)]) -> Facts {
    Facts {
        category: format!("categories/{category}"),
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

/// Story 9: inspection-130000 leads; police-130400 is complained of, and submitted the report.
pub fn official() -> Facts {
    Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        received_by: "agencies/police-130400".to_owned(),
        ..facts("official-misconduct", &[(ConnectingFactor::Suspect, "130400")])
    }
}

pub fn decided(facts: &Facts) -> Decision {
    decide(facts, RuleSet::shipped(), Directory::shipped())
}

pub struct Fixture {
    pub db: Db,
    pub store: Arc<SqlStore>,
    pub current: Arc<Current>,
    pub clock: Arc<ManualClock>,
    pub entropy: Arc<SeededEntropy>,
    backend: Backend,
}

impl Fixture {
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

    /// Another replica: its own pool on the same database.
    pub async fn replica(&self) -> Arc<SqlStore> {
        let db = Routing::open(self.backend.url()).await.unwrap();
        let current = Routing::prepare(&db, shipped(), &*self.clock, &*self.entropy).await;
        store(&db, &Arc::new(current.unwrap()), &self.entropy)
    }

    /// A replica whose calendar has another year, without holidays.
    pub fn with_year(&self, year: i16) -> Arc<SqlStore> {
        self.with_calendar(", 2026]", &format!(", 2026, {year}]"))
    }

    /// A replica whose calendar is the shipped one with a text replaced.
    pub fn with_calendar(&self, text: &str, replacement: &str) -> Arc<SqlStore> {
        let shipped = include_str!("../../../../deploy/config/calendar-CN.yaml");
        let yaml = shipped.replace(text, replacement);
        assert_ne!(yaml, shipped);
        Arc::new(SqlStore::new(
            self.db.clone(),
            Arc::clone(&self.current),
            Arc::new(Calendars::parse(&yaml).unwrap()),
            Arc::new(Taxonomy::shipped()),
            Arc::clone(&self.entropy) as Arc<dyn journal::Entropy>,
        ))
    }

    pub fn now(&self) -> Time {
        journal::Clock::now(&*self.clock)
    }

    pub fn ticker(&self, store: &Arc<SqlStore>) -> Ticker {
        Ticker {
            store: Arc::clone(store) as Arc<dyn Store>,
            versions: Arc::clone(store) as Arc<dyn Versions>,
            clock: Arc::clone(&self.clock) as Arc<dyn journal::Clock>,
            time: self.time(None),
            writer: journal::Writer::new([]),
        }
    }

    /// Whether the clock is believed, where the operator accepts a time.
    pub fn time(&self, accepted: Option<Time>) -> Timekeeper {
        Timekeeper::new(
            self.db.clone(),
            Arc::clone(&self.clock) as Arc<dyn journal::Clock>,
            accepted,
        )
    }

    /// The next change of a report, as intake makes it.
    pub fn change(&self, report: Uuid, kind: &'static str, head: &Head) -> Change {
        let draft = Draft {
            source: "intake",
            record: &format!("reports/{report}"),
            kind,
            caused_by: None,
            detail: api::event::Detail::default(),
            traceparent: String::new(),
        };
        draft.into_change(head, self.now(), &*self.entropy)
    }

    /// An accepted report, with its first change as sent by intake.
    pub fn accepted(&self, facts: Facts) -> (Uuid, Change, ReportChange) {
        let report = random_id(&*self.entropy);
        let sealed = self.change(report, "report.accepted", &Head::default());
        let change = ReportChange {
            change: Some(sealed.without_detail()),
            facts: Some(facts),
            ..ReportChange::default()
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

    /// Opens a case by the test's own decision.
    pub async fn open_as(&self, facts: &Facts, decision: Decision) -> Uuid {
        let (report, sealed, _) = self.accepted(facts.clone());
        let news = news(report, &sealed, Some((facts.clone(), decision)));
        self.store.open(&[news], self.now()).await.unwrap();
        self.case_of(report).await
    }

    /// Puts the shipped agencies into force with other lines: each replaces the one of its agency,
    /// or takes it out if it is empty.
    pub async fn apply(&self, lines: &[(&str, &str)]) {
        let mut source = Directory::shipped().source().to_owned();
        for (id, with) in lines {
            let line = source
                .lines()
                .find(|line| line.contains(&format!("id: {id},")))
                .unwrap();
            let with = match *with {
                "" => String::new(),
                ends => line.replace("territory:", &format!("{ends}, territory:")),
            };
            source = source.replace(line, &with);
        }
        let directory = Directory::parse(&source, Directory::shipped().territories()).unwrap();
        let activation = Activation {
            seen: self.store.active().digests(),
            next: shipped().with_directory(Arc::new(directory)).unwrap(),
            hand: first(),
            difference: api::event::VersionDifference::default(),
            purpose: String::new(),
            actor: api::event::Actor::default(),
            traceparent: String::new(),
            request: None,
        };
        let activated = activate(&*self.store, activation, self.now()).await;
        assert!(matches!(activated, Activated::Done(_)), "{activated:?}");
    }

    pub async fn case_of(&self, report: Uuid) -> Uuid {
        let values = vec![report.to_string().into()];
        let row = self
            .db
            .fetch_optional("SELECT case_id FROM case_reports WHERE report = $1", values)
            .await
            .unwrap();
        Uuid::parse_str(&row.unwrap().only::<String>().unwrap()).unwrap()
    }

    pub async fn act(&self, command: Command) -> Acted {
        let acted = self.store.act(&[command], self.now()).await.unwrap();
        acted.into_iter().next().unwrap()
    }

    pub async fn case(&self, id: Uuid) -> StoredCase {
        self.store.case(id, &Party::Operator).await.unwrap().unwrap()
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

    /// Kinds of a case's changes, first to last, without the reminders that time alone brings.
    pub async fn kinds(&self, id: Uuid) -> Vec<String> {
        let mut kinds = self.all_kinds(id).await;
        kinds.retain(|kind| kind != "case.deadline-reminded");
        kinds
    }

    /// Kinds of all changes of a case, first to last.
    pub async fn all_kinds(&self, id: Uuid) -> Vec<String> {
        let values = vec![format!("cases/{id}").into()];
        let rows = self
            .rows("SELECT kind FROM journal WHERE record = $1 ORDER BY sequence", values)
            .await;
        rows.iter().map(|row| row.only().unwrap()).collect()
    }

    pub async fn feed(&self, id: &str, after: u64) -> Vec<FeedItem> {
        self.store.feed(&agency(id), after, 1_000).await.unwrap().unwrap()
    }

    /// That a case is on the lists that follow from it, and on no others: of its operators and of
    /// agencies that see it.
    fn assert_lists(&self, stored: &StoredCase, lists: &[Row]) {
        let (id, newest) = (stored.id.to_string(), -stored.open_time.0);
        let of = lists.iter().filter(|row| row.get::<String>("case_id").unwrap() == id);
        for row in of.clone() {
            let of = row.get::<String>("agency").unwrap();
            let has = AgencyId::new(&of).ok().and_then(|of| stored.case.officer_at(&of));
            assert_eq!(
                row.get::<String>("officer").unwrap(),
                has.map(names::text::person).unwrap_or_default(),
                "{of}"
            );
        }
        let of = of.filter(|row| row.get::<String>("list").unwrap() != "unread");
        let found: BTreeSet<(String, String, i64)> = of
            .map(|row| {
                (
                    row.get("agency").unwrap(),
                    row.get("list").unwrap(),
                    row.get("place").unwrap(),
                )
            })
            .collect();
        let state = |agency: &str| (agency.to_owned(), stored.case.state().name().to_owned(), newest);
        let mut expected = BTreeSet::from([state("")]);
        let seeing = stored
            .case
            .parties()
            .filter(|(_, part)| part.sees().contains(&Sight::Case));
        expected.extend(seeing.map(|(agency, _)| state(agency.as_str())));
        let worklists = Worklist::of(&stored.case);
        expected.extend(worklists.map(|(agency, row, place)| (agency.to_string(), row.name.to_owned(), place.0)));
        assert_eq!(found, expected, "{stored:?}");
    }

    /// Promises 4 and 5, which hold after every commit: an open case has one owner, who alone leads
    /// or designates, and a running clock; no excluded agency has a part; each record's chain is
    /// unbroken.
    pub async fn assert_promises(&self) {
        let cases = self
            .store
            .cases(&Party::Operator, None, None, 100_000)
            .await
            .unwrap()
            .items;
        let parties = self
            .rows("SELECT case_id, agency, part FROM case_parties", vec![])
            .await;
        let clocks = self
            .rows("SELECT case_id, kind, owner, due FROM case_clocks", vec![])
            .await;
        let lists = self
            .rows("SELECT case_id, agency, list, place, officer FROM case_lists", vec![])
            .await;
        for listed in &cases {
            let stored = self.case(listed.id).await;
            self.assert_lists(&stored, &lists);
            assert_eq!(listed.case, stored.case, "lists and single reads agree");
            let id = stored.id.to_string();
            let of = |parts: &[&str]| {
                let rows = parties.iter().filter(|row| row.get::<String>("case_id").unwrap() == id);
                let rows = rows.filter(|row| parts.contains(&row.get::<String>("part").unwrap().as_str()));
                let mut agencies: Vec<String> = rows.map(|row| row.get("agency").unwrap()).collect();
                agencies.sort();
                agencies
            };
            let owners = of(&["lead", "designating"]);
            assert_eq!(owners.len(), usize::from(stored.case.state().is_open()), "{stored:?}");
            assert_eq!(
                owners,
                stored
                    .case
                    .owner()
                    .map(ToString::to_string)
                    .into_iter()
                    .collect::<Vec<_>>()
            );
            assert_eq!(
                of(&["designating"]).len(),
                usize::from(stored.case.state() == State::AWAITING_DESIGNATION)
            );
            let watches = |agency: &&AgencyId| stored.case.supervisor.as_ref() == Some(*agency);
            let supporting = stored.case.supporting().filter(|agency| !watches(agency));
            let mut supporting: Vec<_> = supporting.map(ToString::to_string).collect();
            supporting.sort();
            assert_eq!(of(&["supporting", "informed"]), supporting);
            let giving: Vec<_> = stored.case.giver.iter().map(ToString::to_string).collect();
            assert_eq!(of(&["giving"]), giving);
            assert!(
                giving.is_empty() || stored.case.state() == State::ASSIGNED,
                "{stored:?}"
            );
            let supervising: Vec<_> = stored.case.supervisor.iter().map(ToString::to_string).collect();
            assert_eq!(of(&["supervising"]), supervising);
            let since = self
                .rows(
                    "SELECT agency FROM case_exclusions WHERE case_id = $1",
                    vec![id.clone().into()],
                )
                .await;
            let since = since.iter().map(|row| agency(&row.get::<String>("agency").unwrap()));
            let mut excluded = stored.opening.as_ref().unwrap().matter.excluded.clone();
            excluded.extend(since);
            let decided = stored.case.disposition.as_ref().map(|disposition| &disposition.decided);
            assert_eq!(
                matches!(decided, Some(Some(_))),
                matches!(stored.case.state(), State::RESOLVED | State::CLOSED),
                "{stored:?}"
            );
            assert_eq!(
                matches!(decided, Some(None)),
                stored.case.state() == State::IN_REVIEW,
                "{stored:?}"
            );
            for party in of(&[
                "lead",
                "designating",
                "supporting",
                "informed",
                "giving",
                "deciding",
                "supervising",
            ]) {
                let kept_out = Directory::shipped().is_excluded(&agency(&party), &excluded);
                assert!(!kept_out || party == "conference-CN", "{party} sees {id}");
            }
            let above = "SELECT superior, owner, stage, place FROM case_below WHERE case_id = $1";
            for row in &self.rows(above, vec![id.clone().into()]).await {
                let superior: String = row.get("superior").unwrap();
                let is_excluded = Directory::shipped().is_excluded(&agency(&superior), &excluded);
                assert!(!is_excluded, "{superior} oversees {id}");
                assert_eq!(vec![row.get::<String>("owner").unwrap()], owners);
                assert_eq!(row.get::<String>("stage").unwrap(), stored.case.state().name());
                let due = stored.case.duty().unwrap().clock.due.0;
                assert_eq!(row.get::<i64>("place").unwrap(), due);
            }
            let running: Vec<_> = clocks
                .iter()
                .filter(|row| row.get::<String>("case_id").unwrap() == id)
                .collect();
            assert_eq!(running.len(), stored.case.all_clocks().count(), "{stored:?}");
            assert_eq!(running.is_empty(), !stored.case.state().is_open(), "{stored:?}");
            for row in running {
                let owner: String = row.get("owner").unwrap();
                assert!(
                    owners.contains(&owner) || supporting.contains(&owner) || supervising.contains(&owner),
                    "{owner} has no part in {id}"
                );
                assert!(row.get::<i64>("due").unwrap() > stored.head.time.0, "{stored:?}");
            }
        }
        assert_eq!(
            (Part::seeing(Sight::Content), Part::seeing(Sight::Case).len()),
            (
                ["lead", "informed", "giving", "deciding"].map(str::to_owned).to_vec(),
                7
            )
        );
        let broken = "SELECT count(*) FROM case_states WHERE sequence <> \
                      (SELECT count(*) FROM journal WHERE record = 'cases/' || case_id)";
        assert_eq!(self.count(broken).await, 0);
        assert_eq!(
            self.count("SELECT count(*) FROM journal WHERE record LIKE 'cases/%'")
                .await
                * 2,
            self.count("SELECT count(*) FROM outbox WHERE record LIKE 'cases/%'")
                .await,
            "each change of a case is delivered to intake and audit"
        );
    }
}

fn store(db: &Db, current: &Arc<Current>, entropy: &Arc<SeededEntropy>) -> Arc<SqlStore> {
    Arc::new(SqlStore::new(
        db.clone(),
        Arc::clone(current),
        Arc::new(Calendars::shipped().clone()),
        Arc::new(Taxonomy::shipped()),
        Arc::clone(entropy) as Arc<dyn journal::Entropy>,
    ))
}

pub fn news(report: Uuid, sealed: &Change, route: Option<(Facts, Decision)>) -> ReportNews {
    ReportNews {
        entry: Opened::of_change(&sealed.without_detail()).unwrap(),
        report,
        route: route.map(|(facts, decision)| Route {
            facts,
            decision,
            subject_keys: Vec::new(),
        }),
        said: None,
        traceparent: String::new(),
    }
}

/// The agency acknowledges the case.
pub fn by(case: Uuid, by: &str) -> Command {
    command(case, by, Action::Acknowledge(Acknowledge))
}

pub fn command(case: Uuid, by: &str, action: Action) -> Command {
    Command {
        case,
        by: agency_viewer(by),
        action,
        note: api::routing::CaseNote::default(),
        etag: String::new(),
        request: None,
        actor: api::event::Actor {
            agency: format!("agencies/{by}"),
            ..Default::default()
        },
        traceparent: String::new(),
        validate_only: false,
    }
}

/// A command with a request id; `content` stands for the request's content.
pub fn request(command: Command, id: u128, content: u8) -> Command {
    Command {
        request: Some(RequestId {
            caller: format!("{}-desk", command.by.agency().unwrap()),
            id: Uuid::from_u128(id),
            fingerprint: [content; 32],
        }),
        ..command
    }
}

/// State and owner.
pub fn standing(stored: &StoredCase) -> (State, Option<&str>) {
    (stored.case.state(), stored.case.owner().map(AgencyId::as_str))
}

/// The first of two people.
pub fn first() -> Hand {
    Hand::First(Some(person("o-1")))
}

/// An officer whom nobody but its system names, each of another system.
fn person(name: &str) -> Person {
    Person {
        name: name.to_owned(),
        is_signed: false,
        system: format!("system-of-{name}"),
    }
}

/// Switches as two people do: one proposes, where one is not enough, and another approves.
pub async fn activate(store: &dyn Versions, activation: Activation, now: Time) -> Activated {
    let activated = store.activate(&activation, now).await.unwrap();
    if !matches!(activated, Activated::Proposed) {
        return activated;
    }
    let hand = Hand::Second(person("o-2"));
    let second = Activation { hand, ..activation };
    store.activate(&second, now).await.unwrap()
}
