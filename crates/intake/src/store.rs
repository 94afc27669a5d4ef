//! The stored side of intake.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use api::{
    event::{CaseState, Detail},
    intake::CaseChange,
    routing::ReportChange,
};
use async_trait::async_trait;
use journal::{Arrival, Bytes32, Change, Delivery, Draft, Entropy, Head, Inbox, Logged, Opened, Time};
use names::AgencyId;
use prost::Message as _;
use sql::{Db, Error, Insert, Kind, Row, Schema, Tx};
use uuid::Uuid;

use crate::{receipt::Lookup, state::State};

pub mod evidence;
mod reading;
mod reveal;

pub use reading::rows as reading_rows;
pub use reveal::{Reveal, Revealed};

/// Intake's part of its database.
pub const SCHEMA: Schema = Schema {
    base: 2_001,
    changes: &[
        (
            "reports",
            include_str!("../migrations/sqlite/0001_reports.sql"),
            include_str!("../migrations/postgres/0001_reports.sql"),
        ),
        (
            "reveals",
            include_str!("../migrations/sqlite/0002_reveals.sql"),
            include_str!("../migrations/postgres/0002_reveals.sql"),
        ),
        (
            "evidence",
            include_str!("../migrations/sqlite/0003_evidence.sql"),
            include_str!("../migrations/postgres/0003_evidence.sql"),
        ),
        (
            "request ids of reveals",
            include_str!("../migrations/sqlite/0004_reveal_requests.sql"),
            include_str!("../migrations/postgres/0004_reveal_requests.sql"),
        ),
        (
            "progress",
            include_str!("../migrations/sqlite/0005_progress.sql"),
            include_str!("../migrations/postgres/0005_progress.sql"),
        ),
    ],
};

/// Consumers of intake's changes.
pub const CONSUMERS: [&str; 2] = ["routing", "audit"];

/// A checked report on its way into the store.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// Id of the report.
    pub report: Uuid,
    /// The system that sends it.
    pub caller: String,
    /// Id of the agency that sends it.
    pub agency: Option<AgencyId>,
    /// The caller's id for the request.
    pub request_id: Option<Uuid>,
    /// Keyed hash of the request, to tell a repeat from other content.
    pub fingerprint: Bytes32,
    /// Keyed hash of the receipt.
    pub receipt_hash: Bytes32,
    /// Key of the commitment to the content.
    pub commitment_key: Bytes32,
    /// The encoded report.
    pub content: Vec<u8>,
    /// Its first change.
    pub change: Change,
    /// The facts for routing.
    pub facts: api::routing::Facts,
    /// What the operator register is asked for; kept until routing has taken it.
    pub subjects: Vec<api::routing::OperatorSubject>,
}

/// An acceptance as rows: made where requests are handled beside each other, before the transaction
/// that they all wait for.
#[derive(Clone, Debug)]
pub struct Prepared {
    report: Uuid,
    caller: Arc<str>,
    request_id: Option<Arc<str>>,
    fingerprint: Bytes32,
    accept_time: Time,
    row: [sql::Value; 10],
    change: journal::Rows,
}

impl Prepared {
    fn accepted(&self) -> Accepted {
        Accepted::Report {
            report: self.report,
            accept_time: self.accept_time,
        }
    }
}

impl From<Acceptance> for Prepared {
    fn from(acceptance: Acceptance) -> Self {
        let report = acceptance.report;
        let head = acceptance.change.head;
        let caller: Arc<str> = acceptance.caller.into();
        let request_id: Option<Arc<str>> = acceptance.request_id.map(|id| id.to_string().into());
        Self {
            report,
            caller: Arc::clone(&caller),
            request_id: request_id.clone(),
            fingerprint: acceptance.fingerprint,
            accept_time: head.time,
            row: [
                report.into(),
                caller.into(),
                sql::Value::text_or_null(acceptance.agency.as_ref().map(AgencyId::as_str)),
                sql::Value::text_or_null(request_id),
                acceptance.fingerprint.into(),
                acceptance.receipt_hash.into(),
                head.time.0.into(),
                head.hash.into(),
                acceptance.commitment_key.into(),
                acceptance.content.into(),
            ],
            change: delivery(acceptance.change, Some((acceptance.facts, acceptance.subjects))).into_rows(),
        }
    }
}

/// What became of an acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Recorded now, or by an earlier request with this id and content.
    Report {
        /// Its id: the earlier one's for a repeat.
        report: Uuid,
        /// When it was recorded.
        accept_time: Time,
    },
    /// The request id stands for other content. Nothing was recorded.
    RequestIdReused,
}

/// A change of a case that arrived from routing.
#[derive(Clone, Debug)]
pub struct CaseNews {
    /// The change, its chain opened.
    pub entry: Opened,
    /// The message.
    pub change: CaseChange,
    /// Where the case stands after it.
    pub state: CaseState,
    /// Trace context to go on with.
    pub traceparent: String,
}

/// A report as stored.
#[derive(Clone, Debug)]
pub struct StoredReport {
    /// Its id.
    pub report: Uuid,
    /// The system that sent it.
    pub caller: String,
    /// Id of the agency that sent it.
    pub agency: Option<AgencyId>,
    /// The encoded report.
    pub content: Vec<u8>,
    /// When it was recorded.
    pub accept_time: Time,
    /// Where it stands.
    pub state: State,
    /// When its case last changed, as far as is known; not later than this arrived.
    pub known_time: Time,
    /// The case as routing last told of it.
    pub case: Option<CaseChange>,
}

/// The stored side of intake. Each method is one atomic use case.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Records reports, each with its first change and what is to be delivered of it, in one
    /// durable transaction.
    ///
    /// A report whose caller and request id are there already is not recorded: the answer is the
    /// earlier report when the fingerprints agree, else [`Accepted::RequestIdReused`]. That holds
    /// inside a batch, too.
    async fn accept(&self, batch: &[Prepared]) -> Result<Vec<Accepted>, Error>;

    /// Takes changes of cases, each once and in each case's order; a report whose state follows
    /// gets a change of its own. The answers say, per change, what was made of it.
    async fn record_case_changes(&self, news: &[CaseNews], now: Time) -> Result<Vec<Arrival>, Error>;

    /// Takes up to when everything that routing recorded has arrived. A moment that is yet to come
    /// is not taken, and what was taken goes back only when it is yet to come: the clock was set
    /// back since.
    async fn record_progress(&self, arrived: Time, now: Time) -> Result<(), Error>;

    /// Up to when everything that routing recorded has arrived. `None` when that is not known; a
    /// moment that is yet to come is forgotten.
    async fn progress(&self, now: Time) -> Result<Option<Time>, Error>;

    /// A report, or `None`.
    async fn report(&self, report: Uuid) -> Result<Option<StoredReport>, Error>;

    /// The report whose receipt this looks up, or `None`.
    async fn report_by_receipt(&self, receipt: Lookup) -> Result<Option<StoredReport>, Error>;

    /// The changes of a report, first to last, and whether audit has taken each.
    async fn changes(&self, report: Uuid) -> Result<Vec<Logged>, Error>;

    /// Records that a reporter's identity is shown, and returns the report as it then is. What is
    /// returned is durably recorded. A repeat of a request by the same system is not recorded
    /// again.
    async fn reveal(&self, reveal: &Reveal, now: Time) -> Result<Revealed, Error>;

    /// Records that reports are read: what [`reading_rows`] makes of each reading's change. When
    /// this returns, it is durable.
    async fn record_readings(&self, readings: &[journal::Rows]) -> Result<(), Error>;

    /// Forgets the request ids of reports that were recorded before a moment, a thousand at most,
    /// and returns how many.
    async fn forget_requests(&self, before: Time) -> Result<u64, Error>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), Error>;
}

/// The resource name of a report.
pub fn name(report: Uuid) -> String {
    names::REPORT.of(report)
}

/// A store in SQLite or PostgreSQL.
#[derive(Clone)]
pub struct SqlStore {
    db: Db,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlStore")
            .field("engine", &self.db.engine())
            .finish_non_exhaustive()
    }
}

const REPORTS: Insert = Insert::into("reports", REPORT_COLUMNS);
const MISSING_REPORTS: Insert = REPORTS.then("ON CONFLICT DO NOTHING RETURNING id");

const REPORT_COLUMNS: &[sql::Column] = &[
    ("id", Kind::Text),
    ("caller", Kind::Text),
    ("agency", Kind::Text),
    ("request_id", Kind::Text),
    ("fingerprint", Kind::Bytes),
    ("receipt_hash", Kind::Bytes),
    ("accept_time", Kind::Int),
    ("entry_hash", Kind::Bytes),
    ("commitment_key", Kind::Bytes),
    ("content", Kind::Bytes),
];

const STATES: Insert = Insert::into(
    "report_states",
    &[
        ("report", Kind::Text),
        ("state", Kind::Text),
        ("sequence", Kind::Int),
        ("hash", Kind::Bytes),
        ("change_time", Kind::Int),
        ("known_time", Kind::Int),
        ("case_view", Kind::Bytes),
    ],
)
.then(
    "ON CONFLICT (report) DO UPDATE SET state = excluded.state, sequence = excluded.sequence, hash = excluded.hash, \
     change_time = excluded.change_time, known_time = excluded.known_time, case_view = excluded.case_view",
);

impl SqlStore {
    /// In an open database.
    pub fn new(db: Db, entropy: Arc<dyn Entropy>) -> Self {
        Self { db, entropy }
    }

    /// For batches that repeat no request: all of it at once.
    async fn accept_new(&self, batch: &[Prepared]) -> Result<(), Error> {
        let order = in_order(batch);
        let changes: Vec<_> = order.iter().map(|report| &report.change).collect();
        let rows = sql::Batch::default().with(&REPORTS, order.iter().map(|report| report.row.as_slice()));
        self.db.write(&journal::append_to(rows, &changes)?).await
    }

    /// For batches in which some are there already.
    async fn accept_missing(&self, tx: &mut Tx, batch: &[Prepared]) -> Result<Vec<Accepted>, Error> {
        let rows = in_order(batch).into_iter().map(|report| report.row.clone()).collect();
        let inserted = MISSING_REPORTS
            .rows(tx, rows)
            .await?
            .iter()
            .map(|row| row.get("id"))
            .collect::<Result<HashSet<String>, _>>()?;

        let is_new = |report: &Prepared| inserted.contains(&report.report.to_string());
        let new: Vec<&Prepared> = batch.iter().filter(|report| is_new(report)).collect();
        let changes: Vec<_> = new.iter().map(|report| &report.change).collect();
        tx.write(&journal::append_to(sql::Batch::default(), &changes)?).await?;

        let mut answers = Vec::with_capacity(batch.len());
        for report in batch {
            answers.push(match is_new(report) {
                true => report.accepted(),
                false => earlier(tx, report).await?,
            });
        }
        Ok(answers)
    }

    async fn try_record(&self, tx: &mut Tx, news: &[CaseNews], now: Time) -> Result<Vec<Arrival>, Error> {
        let mut inbox = Inbox::load(tx, news.iter().map(|news| news.entry.record.clone()).collect()).await?;
        let ids: BTreeSet<String> = news
            .iter()
            .flat_map(|news| &news.change.reports)
            .filter_map(|name| Some(names::REPORT.id(name)?.to_string()))
            .collect();
        let mut reports = load_states(tx, ids.into_iter().collect()).await?;

        let mut deliveries = Vec::new();
        let mut arrivals = Vec::with_capacity(news.len());
        for news in news {
            let arrival = inbox.check(&news.entry);
            if arrival == Arrival::New {
                inbox.advance(&news.entry);
                for name in &news.change.reports {
                    let id = names::REPORT.id(name).map(|id| id.to_string());
                    let report = id.and_then(|id| reports.get_mut(&id));
                    deliveries.extend(report.and_then(|report| report.follow(news, now, &*self.entropy)));
                }
            }
            arrivals.push(arrival);
        }
        inbox.save(tx).await?;
        let changed = reports.into_values().filter(|report| report.touched);
        STATES
            .rows(
                tx,
                changed
                    .map(|report| state_row(report.report, report.state, report.head, report.known_time, report.case))
                    .collect(),
            )
            .await?;
        journal::append(tx, deliveries).await?;
        Ok(arrivals)
    }
}

/// In one order, so that two batches with the same request ids do not wait for each other.
fn in_order(batch: &[Prepared]) -> Vec<&Prepared> {
    let mut order: Vec<&Prepared> = batch.iter().collect();
    order.sort_by_key(|report| (&report.caller, &report.request_id));
    order
}

/// A report's state while changes of its case are applied.
struct Current {
    report: Uuid,
    state: State,
    head: Head,
    known_time: Time,
    case: Option<Vec<u8>>,
    touched: bool,
}

impl Current {
    fn follow(&mut self, news: &CaseNews, now: Time, entropy: &dyn Entropy) -> Option<Delivery> {
        self.touched = true;
        // Routing's clock may be ahead.
        self.known_time = self.known_time.max(news.entry.time.min(now));
        self.case = Some(
            CaseChange {
                change: None,
                reports: Vec::new(),
                ..news.change.clone()
            }
            .encode_to_vec(),
        );
        let next = self.state.follow(news.state)?;
        let draft = Draft {
            source: "intake",
            record: &name(self.report),
            kind: next.kind().name(),
            caused_by: Some(news.entry.event_id),
            detail: Detail {
                from_state: self.state.name().to_owned(),
                to_state: next.name().to_owned(),
                actor: Some(api::event::Actor {
                    system: "intake".to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            },
            traceparent: news.traceparent.clone(),
        };
        let change = draft.into_change(&self.head, now, entropy);
        self.head = change.head;
        self.state = next;
        Some(delivery(change, None))
    }
}

async fn load_states(tx: &mut Tx, ids: Vec<String>) -> Result<BTreeMap<String, Current>, Error> {
    // Always there to be locked, which what stands in the view is not.
    tx.fetch(
        "SELECT id FROM reports WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        vec![ids.clone().into()],
    )
    .await?;
    let rows = tx
        .fetch(
            "SELECT id, state, sequence, hash, change_time, known_time, case_view FROM standings WHERE id = ANY($1)",
            vec![ids.into()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let id: String = row.get("id")?;
            let current = Current {
                report: parse_id(&id)?,
                state: parse_state(row)?,
                head: Head {
                    sequence: row.count("sequence", "sequence")?,
                    hash: row.array("hash", "hash")?,
                    time: Time(row.get("change_time")?),
                },
                known_time: Time(row.get("known_time")?),
                case: row.get("case_view")?,
                touched: false,
            };
            Ok((id, current))
        })
        .collect()
}

/// The report that is there in place of an acceptance.
async fn earlier(tx: &mut Tx, report: &Prepared) -> Result<Accepted, Error> {
    // When there is none, its request id was forgotten in between: now there is room.
    find_earlier(tx, report).await?.ok_or(Error::Raced("a request id"))
}

/// The report that is there in place of an acceptance: itself, when an earlier try was committed
/// though it did not look so, or the one that has its caller and request id.
async fn find_earlier(tx: &mut Tx, report: &Prepared) -> Result<Option<Accepted>, Error> {
    let request_id = report.request_id.clone().unwrap_or_default();
    let row = tx
        .fetch_optional(
            "SELECT id, fingerprint, accept_time FROM reports \
             WHERE id = $1 OR (caller = $2 AND request_id = $3) ORDER BY id = $1 DESC LIMIT 1",
            vec![
                report.report.into(),
                Arc::clone(&report.caller).into(),
                request_id.into(),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    if row.array::<32>("fingerprint", "fingerprint")? != report.fingerprint {
        return Ok(Some(Accepted::RequestIdReused));
    }
    Ok(Some(Accepted::Report {
        report: parse_id(&row.get::<String>("id")?)?,
        accept_time: Time(row.get("accept_time")?),
    }))
}

fn state_row(report: Uuid, state: State, head: Head, known_time: Time, case: Option<Vec<u8>>) -> [sql::Value; 7] {
    [
        report.into(),
        sql::Value::Word(state.name()),
        head.sequence.cast_signed().into(),
        head.hash.into(),
        head.time.0.into(),
        known_time.0.into(),
        case.map_or(sql::Value::Null(Kind::Bytes), sql::Value::Bytes),
    ]
}

/// `routed_by` is set on the first change of a report.
fn delivery(change: Change, routed_by: Option<(api::routing::Facts, Vec<api::routing::OperatorSubject>)>) -> Delivery {
    let (facts, subjects) = routed_by.unzip();
    let routing = ReportChange {
        change: Some(change.without_detail()),
        facts,
        subjects: subjects.unwrap_or_default(),
    }
    .encode_to_vec();
    let audit = change.with_detail().encode_to_vec();
    Delivery {
        change,
        payloads: vec![("routing", routing), ("audit", audit)],
    }
}

fn parse_id(id: &str) -> Result<Uuid, Error> {
    Uuid::parse_str(id).map_err(|error| Error::Damaged {
        what: "report id",
        problem: error.to_string(),
    })
}

/// The agency of a sender, where it has one.
fn agency(row: &Row) -> Result<Option<AgencyId>, Error> {
    let id: Option<String> = row.get("agency")?;
    let id = id.as_deref().map(AgencyId::new).transpose();
    id.map_err(|error| Error::Damaged {
        what: "agency",
        problem: error.to_string(),
    })
}

fn parse_state(row: &Row) -> Result<State, Error> {
    let name: String = row.get("state")?;
    State::from_name(&name).ok_or(Error::Damaged {
        what: "report state",
        problem: name,
    })
}

fn stored(row: &Row) -> Result<StoredReport, Error> {
    let case: Option<Vec<u8>> = row.get("case_view")?;
    let case = case
        .map(|case| CaseChange::decode(case.as_slice()))
        .transpose()
        .map_err(|error| Error::Damaged {
            what: "case view",
            problem: error.to_string(),
        })?;
    Ok(StoredReport {
        report: parse_id(&row.get::<String>("id")?)?,
        caller: row.get("caller")?,
        agency: agency(row)?,
        content: row.get("content")?,
        accept_time: Time(row.get("accept_time")?),
        state: parse_state(row)?,
        known_time: Time(row.get("known_time")?),
        case,
    })
}

#[async_trait]
impl Store for SqlStore {
    async fn accept(&self, batch: &[Prepared]) -> Result<Vec<Accepted>, Error> {
        match self.accept_new(batch).await {
            Ok(()) => Ok(batch.iter().map(Prepared::accepted).collect()),
            Err(error) if error.is_unique_violation() => {
                sql::transact!(self.db, |tx| self.accept_missing(&mut tx, batch))
            }
            Err(error) => Err(error),
        }
    }

    async fn record_case_changes(&self, news: &[CaseNews], now: Time) -> Result<Vec<Arrival>, Error> {
        sql::transact!(self.db, |tx| self.try_record(&mut tx, news, now))
    }

    async fn record_progress(&self, arrived: Time, now: Time) -> Result<(), Error> {
        if arrived > now {
            return Ok(());
        }
        sql::transact!(self.db, |tx| tx.execute(
            "INSERT INTO progress (service, arrived_time) VALUES ('routing', $1) \
             ON CONFLICT (service) DO UPDATE SET arrived_time = excluded.arrived_time \
             WHERE progress.arrived_time < excluded.arrived_time OR progress.arrived_time > $2",
            vec![arrived.0.into(), now.0.into()],
        ))?;
        Ok(())
    }

    async fn progress(&self, now: Time) -> Result<Option<Time>, Error> {
        const ARRIVED: &str = "SELECT arrived_time FROM progress WHERE service = 'routing'";
        let row = self.db.fetch_optional(ARRIVED, Vec::new()).await?;
        let arrived = row.map(|row| row.get(0).map(Time)).transpose()?;
        if arrived.is_some_and(|arrived| arrived > now) {
            // Else it would be believed again when the clock comes by, whether or not routing was
            // heard since.
            sql::transact!(self.db, |tx| tx.execute(
                "DELETE FROM progress WHERE service = 'routing' AND arrived_time > $1",
                vec![now.0.into()],
            ))?;
            return Ok(None);
        }
        Ok(arrived)
    }

    async fn report(&self, report: Uuid) -> Result<Option<StoredReport>, Error> {
        let row = self
            .db
            .fetch_optional(
                "SELECT id, caller, agency, content, accept_time, state, known_time, case_view \
                 FROM standings WHERE id = $1",
                vec![report.into()],
            )
            .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn reveal(&self, reveal: &Reveal, now: Time) -> Result<Revealed, Error> {
        self.reveal_once(reveal, now).await
    }

    async fn record_readings(&self, readings: &[journal::Rows]) -> Result<(), Error> {
        self.write_readings(readings).await
    }

    async fn report_by_receipt(&self, receipt: Lookup) -> Result<Option<StoredReport>, Error> {
        let (first, last) = receipt.ids;
        let row = self
            .db
            .fetch_optional(
                "SELECT id, caller, agency, content, accept_time, state, known_time, case_view \
                 FROM standings \
                 WHERE id BETWEEN $1 AND $2 AND receipt_hash = $3",
                vec![first.into(), last.into(), receipt.hash.into()],
            )
            .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn changes(&self, report: Uuid) -> Result<Vec<Logged>, Error> {
        journal::changes_of(&self.db, &name(report), "audit").await
    }

    async fn forget_requests(&self, before: Time) -> Result<u64, Error> {
        let reports = sql::transact!(self.db, |tx| tx.execute(
            "UPDATE reports SET request_id = NULL WHERE id IN (SELECT id FROM reports \
             WHERE request_id IS NOT NULL AND accept_time < $1 ORDER BY accept_time LIMIT 1000)",
            vec![before.0.into()],
        ))?;
        let reveals = sql::transact!(self.db, |tx| tx.execute(
            "UPDATE reveals SET request_id = NULL WHERE request_id IS NOT NULL AND reveal_time < $1",
            vec![before.0.into()],
        ))?;
        Ok(reports + reveals)
    }

    async fn ping(&self) -> Result<(), Error> {
        self.db.ping().await
    }
}
