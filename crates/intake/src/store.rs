//! The stored side of intake: what a store keeps and does. `store/evidence.rs` is the same of
//! evidence; the other files are the store in SQLite or PostgreSQL.

use api::{
    event::CaseState,
    intake::{CaseChange, ReceiptStep},
};
use async_trait::async_trait;
use journal::{Arrival, Bytes32, Change, Logged, Opened, Time};
use names::AgencyId;
use sql::{Error, Schema};
use uuid::Uuid;

use crate::{receipt::Lookup, state::State};

mod accept;
pub mod evidence;
mod external;
mod feed;
mod follow;
mod reading;
mod reveal;
mod sent;
mod sql_store;
pub mod supplement;
mod withdraw;

pub use accept::Prepared;
pub use external::External;
pub use feed::{MOST_COUNTED, Told, Unconfirmed, UnconfirmedTally};
pub use reading::rows as reading_rows;
pub use reveal::{Reveal, Revealed};
pub use sql_store::SqlStore;
pub use supplement::{Added, Addition, StoredSupplement};
pub use withdraw::{Withdrawal, Withdrawn};

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
            "progress",
            include_str!("../migrations/sqlite/0004_progress.sql"),
            include_str!("../migrations/postgres/0004_progress.sql"),
        ),
        (
            "shared",
            include_str!("../migrations/sqlite/0005_shared.sql"),
            include_str!("../migrations/postgres/0005_shared.sql"),
        ),
        (
            "urgent reports",
            include_str!("../migrations/sqlite/0006_urgent.sql"),
            include_str!("../migrations/postgres/0006_urgent.sql"),
        ),
        (
            "senders",
            include_str!("../migrations/sqlite/0007_senders.sql"),
            include_str!("../migrations/postgres/0007_senders.sql"),
        ),
        (
            "steps",
            include_str!("../migrations/sqlite/0008_steps.sql"),
            include_str!("../migrations/postgres/0008_steps.sql"),
        ),
        (
            "supplements",
            include_str!("../migrations/sqlite/0009_supplements.sql"),
            include_str!("../migrations/postgres/0009_supplements.sql"),
        ),
        (
            "withdrawals",
            include_str!("../migrations/sqlite/0010_withdrawals.sql"),
            include_str!("../migrations/postgres/0010_withdrawals.sql"),
        ),
        (
            "withdrawals by caller",
            include_str!("../migrations/sqlite/0011_withdrawals_by_caller.sql"),
            include_str!("../migrations/postgres/0011_withdrawals_by_caller.sql"),
        ),
        (
            "doors of supplements",
            include_str!("../migrations/sqlite/0012_supplement_doors.sql"),
            include_str!("../migrations/postgres/0012_supplement_doors.sql"),
        ),
        (
            "external ids",
            include_str!("../migrations/sqlite/0013_external_ids.sql"),
            include_str!("../migrations/postgres/0013_external_ids.sql"),
        ),
        (
            "feeds",
            include_str!("../migrations/sqlite/0014_feeds.sql"),
            include_str!("../migrations/postgres/0014_feeds.sql"),
        ),
        (
            "refused evidence",
            include_str!("../migrations/sqlite/0015_refused.sql"),
            include_str!("../migrations/postgres/0015_refused.sql"),
        ),
        (
            "uploads",
            include_str!("../migrations/sqlite/0016_uploads.sql"),
            include_str!("../migrations/postgres/0016_uploads.sql"),
        ),
        (
            "upload writers",
            include_str!("../migrations/sqlite/0017_upload_writers.sql"),
            include_str!("../migrations/postgres/0017_upload_writers.sql"),
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
    /// The caller's id for the request, and the keyed hash that tells a repeat from other content.
    pub request: Option<(Uuid, Bytes32)>,
    /// The sender's own id of the report.
    pub external: Option<External>,
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
    /// Keyed hashes of what the report is about, for routing.
    pub subject_keys: Vec<Bytes32>,
}

/// What became of an acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Recorded now, or by an earlier request with this id, or external id, and content.
    Report {
        /// Its id: the earlier one's for a repeat.
        report: Uuid,
        /// When it was recorded.
        accept_time: Time,
    },
    /// The request id stands for other content. Nothing was recorded.
    RequestIdReused,
    /// The sender has a report with this external id and other content. Nothing was recorded.
    ExternalIdReused {
        /// Its id.
        report: Uuid,
    },
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

/// Who sends something in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The system.
    pub system: String,
    /// Id of the agency that it acts for.
    pub agency: Option<AgencyId>,
}

impl Sender {
    /// Whether this sender owns what another one sent: an agency owns what its systems sent for it,
    /// a system without an agency what it sent itself, without one. A system whose agency is
    /// another than it was takes nothing along.
    pub fn owns(&self, sent_by: &Self) -> bool {
        self.agency == sent_by.agency && (self.agency.is_some() || self.system == sent_by.system)
    }

    /// Who owns what this sender sends: the same for whoever does. Ids of agencies and names of
    /// systems are single lines, so no two have the same.
    pub fn owner(&self) -> String {
        match &self.agency {
            Some(agency) => format!("agency\n{agency}"),
            None => format!("system\n{}", self.system),
        }
    }
}

/// A report as stored.
#[derive(Clone, Debug)]
pub struct StoredReport {
    /// Its id.
    pub report: Uuid,
    /// Who sent it.
    pub sender: Sender,
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

/// Whose reports to list, and from when.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Who owns them ([`Sender::owns`]).
    pub by: Sender,
    /// Recorded at this time or later.
    pub start: Option<Time>,
    /// Recorded before this time.
    pub end: Option<Time>,
    /// Only the one that has this external id.
    pub external_id: Option<String>,
}

/// What a sender's list needs of a report: nothing that it says.
#[derive(Clone, Debug)]
pub struct SentReport {
    /// Its id.
    pub report: Uuid,
    /// When it was recorded.
    pub accept_time: Time,
    /// Where it stands.
    pub state: State,
    /// The case as routing last told of it.
    pub case: Option<CaseChange>,
    /// The sender's own id; empty if it gave none.
    pub external_id: String,
}

/// The stored side of intake. Each method is one atomic use case.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Records reports, each with its first change and what is to be delivered of it, in one
    /// durable transaction.
    ///
    /// A report whose caller and request id are there already is not recorded: the answer is the
    /// earlier report when the fingerprints agree, else [`Accepted::RequestIdReused`]. That holds
    /// inside a batch, too. Likewise one whose sender has a report with its external id: then
    /// nothing of the request is kept, its id neither.
    async fn accept(&self, batch: &[Prepared]) -> Result<Vec<Accepted>, Error>;

    /// What [`Store::accept`] would find in place of a report with this external id; `None` if
    /// nothing.
    async fn known(&self, external: &External) -> Result<Option<Accepted>, Error>;

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

    /// The reports that a sender sent, newest first, behind a report, at most `limit`. The cost
    /// grows with the limit, not with the reports.
    async fn sent(&self, sent: &Sent, before: Option<Uuid>, limit: u32) -> Result<Vec<SentReport>, Error>;

    /// A sender's feed: what became of the reports that it owns, in the order of commits, behind a
    /// position, at most `limit`. Each has the case as it is now, or newer.
    async fn feed(&self, owner: &Sender, after: u64, limit: u32) -> Result<Vec<Told>, Error>;

    /// The position behind which a sender's feed has what was recorded from a moment on.
    async fn feed_begins(&self, owner: &Sender, since: Time) -> Result<u64, Error>;

    /// The last position given out in a sender's feed; 0 before the first.
    async fn feed_head(&self, owner: &Sender) -> Result<u64, Error>;

    /// Records that a sender has its feed up to a position, if it is there and further than before;
    /// and in any case that it confirmed.
    async fn confirm(&self, owner: &Sender, position: u64, now: Time) -> Result<(), Error>;

    /// The senders that have not confirmed all of their feeds, by [`Sender::owner`], behind one.
    async fn unconfirmed(&self, after: Option<&str>, limit: u32) -> Result<Vec<Unconfirmed>, Error>;

    /// What senders that have confirmed before have not confirmed.
    async fn unconfirmed_tally(&self) -> Result<UnconfirmedTally, Error>;

    /// Deletes what was added to feeds before a moment, the oldest first, at most `limit`. Returns
    /// the number. Deleted at any time, a feed's positions go on.
    async fn forget_feeds(&self, before: Time, limit: u32) -> Result<u64, Error>;

    /// The report whose receipt this looks up, or `None`.
    async fn report_by_receipt(&self, receipt: Lookup) -> Result<Option<StoredReport>, Error>;

    /// The changes of a report, first to last, and whether audit has taken each.
    async fn changes(&self, report: Uuid) -> Result<Vec<Logged>, Error>;

    /// What its reporter is told of a report's case, oldest first.
    async fn steps(&self, report: Uuid) -> Result<Vec<ReceiptStep>, Error>;

    /// Records that a reporter's identity is shown, and returns the report as it then is. What is
    /// returned is durably recorded. A repeat of a request by the same system is not recorded
    /// again.
    async fn reveal(&self, reveal: &Reveal, now: Time) -> Result<Revealed, Error>;

    /// Adds to a report, and attaches the files that come with it: all of it, with a change of the
    /// report and of each file, or nothing. A repeat of a request by the same system adds nothing
    /// again.
    async fn add(&self, addition: &Addition, now: Time) -> Result<Added, Error>;

    /// What was added to a report, oldest first.
    async fn supplements(&self, report: Uuid) -> Result<Vec<StoredSupplement>, Error>;

    /// Whether a question of a report is answered.
    async fn is_answered(&self, report: Uuid, question: i64) -> Result<bool, Error>;

    /// Records that a report's reporter withdraws, once. A system that repeats it gets its own first
    /// time, whoever else withdrew.
    async fn withdraw(&self, withdrawal: &Withdrawal, now: Time) -> Result<Withdrawn, Error>;

    /// Records that reports are read: what [`reading_rows`] makes of each reading's change. When
    /// this returns, it is durable.
    async fn record_readings(&self, readings: &[journal::Rows]) -> Result<(), Error>;

    /// Forgets the answers to requests of every kind that were given before a moment, a thousand at
    /// most, and returns how many.
    async fn forget_requests(&self, before: Time) -> Result<u64, Error>;

    /// Writes to the database, durably and always over the same row: fails if it cannot be written
    /// to.
    async fn probe(&self, now: Time) -> Result<(), Error>;
}

/// The resource name of a report.
pub fn name(report: Uuid) -> String {
    names::REPORT.of(report)
}
