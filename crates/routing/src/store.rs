//! The store of routing: its contract. `store/sql.rs` implements it for SQLite and PostgreSQL.
//!
//! * `act.rs`: commands of callers. `cases.rs`: what Remit does by itself.
//! * `change.rs`: makes and writes a change. `feeds.rs`: adds it to the agencies' feeds.
//! * `links.rs`: links between cases on one subject.
//! * `notices.rs`: receipts of affected sides. `deputies.rs`: deputies of officers.
//! * `agency_supervisions.rs`: agencies under supervision.
//! * `read.rs`: reads. `lists.rs`: lists of cases by state and by worklist. `below.rs`: what
//!   superiors see of the cases below them. `rows.rs`: conversion of rows.
//! * `versions.rs`: directories and rule sets, and the switch between versions.
//! * `simulations.rs`: simulations and replays.

mod act;
mod agency_supervisions;
mod barred;
mod below;
mod cases;
mod change;
mod deputies;
mod exclusions;
mod feeds;
mod links;
mod lists;
mod notices;
mod read;
mod refiling;
mod rows;
pub mod simulations;
mod sql;
pub mod versions;

use std::collections::{BTreeMap, BTreeSet};

use api::{
    event::Actor,
    routing::{CaseNote, CaseSight, CaseStep, Explanation, Facts, HandOverPreview},
};
use async_trait::async_trait;
use decision::{calendar::ClockKind, decide::Decision, directory::AgencyId};
use journal::{Arrival, Bytes32, Head, Opened, RequestId, Time};
use uuid::Uuid;

pub use self::{
    agency_supervisions::{AgencySupervision, MOST_SUPERVISIONS, Step, StepTaken, Stepped},
    below::Remade,
    deputies::{Appointed, Appointment, Ended, Ending},
    lists::Listing,
    simulations::Simulations,
    sql::SqlStore,
    versions::Versions,
};
pub(crate) use self::{barred::add_successors, change::ourselves, lists::follow_rules};
use crate::case::{Action, Case, Deputy, Matter, Party, Refusal, Said, Worklist};

/// The schema of routing.
pub const SCHEMA: ::sql::Schema = ::sql::Schema {
    base: 2_001,
    changes: &[
        (
            "cases",
            include_str!("../migrations/sqlite/0001_cases.sql"),
            include_str!("../migrations/postgres/0001_cases.sql"),
        ),
        (
            "versions",
            include_str!("../migrations/sqlite/0002_versions.sql"),
            include_str!("../migrations/postgres/0002_versions.sql"),
        ),
        (
            "simulations",
            include_str!("../migrations/sqlite/0003_simulations.sql"),
            include_str!("../migrations/postgres/0003_simulations.sql"),
        ),
        (
            "history",
            include_str!("../migrations/sqlite/0004_history.sql"),
            include_str!("../migrations/postgres/0004_history.sql"),
        ),
        (
            "lists",
            include_str!("../migrations/sqlite/0005_lists.sql"),
            include_str!("../migrations/postgres/0005_lists.sql"),
        ),
        (
            "links",
            include_str!("../migrations/sqlite/0006_links.sql"),
            include_str!("../migrations/postgres/0006_links.sql"),
        ),
        (
            "notices",
            include_str!("../migrations/sqlite/0007_notices.sql"),
            include_str!("../migrations/postgres/0007_notices.sql"),
        ),
        (
            "routes",
            include_str!("../migrations/sqlite/0008_routes.sql"),
            include_str!("../migrations/postgres/0008_routes.sql"),
        ),
        (
            "officers",
            include_str!("../migrations/sqlite/0009_officers.sql"),
            include_str!("../migrations/postgres/0009_officers.sql"),
        ),
        (
            "unread",
            include_str!("../migrations/sqlite/0010_unread.sql"),
            include_str!("../migrations/postgres/0010_unread.sql"),
        ),
        (
            "below",
            include_str!("../migrations/sqlite/0011_below.sql"),
            include_str!("../migrations/postgres/0011_below.sql"),
        ),
        (
            "deputies",
            include_str!("../migrations/sqlite/0012_deputies.sql"),
            include_str!("../migrations/postgres/0012_deputies.sql"),
        ),
        (
            "supervisions",
            include_str!("../migrations/sqlite/0013_supervisions.sql"),
            include_str!("../migrations/postgres/0013_supervisions.sql"),
        ),
        (
            "proposals",
            include_str!("../migrations/sqlite/0014_proposals.sql"),
            include_str!("../migrations/postgres/0014_proposals.sql"),
        ),
        (
            "below since",
            include_str!("../migrations/sqlite/0015_below_since.sql"),
            include_str!("../migrations/postgres/0015_below_since.sql"),
        ),
        (
            "proposals of pairs",
            include_str!("../migrations/sqlite/0016_proposals_of_pairs.sql"),
            include_str!("../migrations/postgres/0016_proposals_of_pairs.sql"),
        ),
    ],
};

/// Consumers of routing's changes.
pub const CONSUMERS: [&str; 2] = ["intake", "audit"];

/// A failure of the store.
pub type Error = ::sql::Error;

/// A change of a report, received from intake.
#[derive(Clone, Debug)]
pub struct ReportNews {
    /// The change, with its chain opened.
    pub entry: Opened,
    /// Id of the report.
    pub report: Uuid,
    /// The report's route, with its first change.
    pub route: Option<Route>,
    /// What its reporter says, if the change is that; other later changes only advance the inbox.
    pub said: Option<Said>,
    /// Trace context to continue.
    pub traceparent: String,
}

/// The route of a report.
#[derive(Clone, Debug)]
pub struct Route {
    /// The facts.
    pub facts: Facts,
    /// The decision.
    pub decision: Decision,
    /// Keyed hashes of what the report is about.
    pub subject_keys: Vec<Bytes32>,
}

/// A caller's command on a case.
#[derive(Clone, Debug)]
pub struct Command {
    /// Id of the case.
    pub case: Uuid,
    /// The caller.
    pub by: Party,
    /// The verb with its arguments.
    pub action: Action,
    /// What the officer writes with it.
    pub note: CaseNote,
    /// Etag of the case as the caller last saw it; empty for any.
    pub etag: String,
    /// The caller's id for the request.
    pub request: Option<RequestId>,
    /// The caller, as logged.
    pub actor: Actor,
    /// Trace context to continue.
    pub traceparent: String,
    /// Whether only to show what it would do.
    pub validate_only: bool,
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Acted {
    /// Done now, or by an earlier request with the same id and content: the case after it, as the
    /// caller saw it then.
    Done(Box<CaseSight>),
    /// Like [`Acted::Done`], for a notice to the affected side.
    Notified(Box<CaseSight>, Given),
    /// What it would do. Nothing was changed.
    Previewed(Box<HandOverPreview>),
    /// The case does not exist, or is not visible to this caller.
    NotFound,
    /// The rules do not allow it.
    Refused(Refusal),
    /// The case changed since the caller saw it.
    EtagMismatch,
    /// The request id was used for different content.
    RequestIdReused,
}

/// A notice that was given.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    /// Its number.
    pub notice: u64,
    /// The receipt that the affected side is handed; empty if it has one.
    pub receipt: String,
}

impl std::fmt::Debug for Given {
    /// Without the receipt, which nobody may read in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Given")
            .field("notice", &self.notice)
            .finish_non_exhaustive()
    }
}

/// What there is under a receipt of an affected side.
#[derive(Clone, Debug)]
pub struct Noticed {
    /// The case.
    pub stored: StoredCase,
    /// The number of the notice.
    pub notice: u64,
    /// Whether a superior would decide anew if a review were requested now.
    pub reviewable: bool,
}

/// A case as stored.
#[derive(Clone, Debug)]
pub struct StoredCase {
    /// Its id.
    pub id: Uuid,
    /// Id of the category.
    pub category: String,
    /// Whether the category is urgent.
    pub urgent: bool,
    /// When it was opened.
    pub open_time: Time,
    /// Its opening. Not read for lists.
    pub opening: Option<Opening>,
    /// Its current state.
    pub case: Case,
    /// Head of its chain of changes.
    pub head: Head,
    /// Its reports.
    pub reports: Vec<Uuid>,
    /// What happened to it after its opening. Read with the opening.
    pub history: Vec<CaseStep>,
}

/// The links of a case to others that an agency sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// The case that it is joined to.
    pub main: Option<Uuid>,
    /// One on the same subjects that was decided before.
    pub prior: Option<Uuid>,
    /// Those that are joined to it, the latest first; at most [`MOST_LINKS`].
    pub joined: Vec<Uuid>,
}

/// Maximum number of joined cases that are shown with a case.
pub const MOST_LINKS: i64 = 100;

/// What a case was opened with. Never changes.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The explanation of its route.
    pub explanation: Explanation,
    /// Who is excluded, and the terms of the row that routed it.
    pub matter: Matter,
}

/// The end of a page of cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The place of its last case in the list.
    pub place: i64,
    /// Its id.
    pub id: Uuid,
}

/// The last change of a case, which an agency has not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// When it was.
    pub time: Time,
    /// Id of the case.
    pub case: Uuid,
    /// The agency.
    pub agency: AgencyId,
}

/// A change of a case that another service refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedDelivery {
    /// The service.
    pub consumer: String,
    /// Resource name of the case.
    pub case: String,
    /// Since when.
    pub since: Time,
    /// Why, in its words.
    pub reason: String,
}

/// An agency has read a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Id of the case.
    pub case: Uuid,
    /// The agency.
    pub agency: AgencyId,
    /// The last change that it read.
    pub sequence: u64,
}

/// A change of a case in an agency's feed.
#[derive(Clone, Debug)]
pub struct FeedItem {
    /// Its position in the order of commits.
    pub position: u64,
    /// Id of the case.
    pub id: Uuid,
    /// The kind of change.
    pub kind: String,
    /// The case as it is now; `None` if the agency no longer sees it.
    pub case: Option<StoredCase>,
}

/// A clock that has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissedClock {
    /// Id of the case.
    pub case: Uuid,
    /// The kind of clock.
    pub kind: ClockKind,
    /// Its generation.
    pub generation: u64,
}

/// Where a page of missed clocks ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissedAfter {
    /// When something was due with the last clock.
    pub next: Time,
    /// Id of its case, as stored.
    pub case: String,
    /// Its generation, as stored.
    pub generation: i64,
}

/// Rows that were found, without those that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, A> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<A>,
}

/// The store of routing. Each method is one atomic use case.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Takes changes of reports, each once and in each report's order, opens the cases of those with
    /// a route, and records what reporters say with the cases, in one durable transaction. Returns
    /// one answer per change. A route that was
    /// decided by versions no longer active is decided again.
    async fn open(&self, news: &[ReportNews], now: Time) -> Result<Vec<Arrival>, Error>;

    /// Executes commands, each with its change, in one durable transaction. Commands on one case
    /// are executed in order. A known request id gets its first answer, also within the batch. A
    /// refused command changes nothing.
    async fn act(&self, commands: &[Command], now: Time) -> Result<Vec<Acted>, Error>;

    /// Clocks that have run out, or whose owners are to be reminded; the oldest first, after a position,
    /// at most `limit`.
    async fn missed(
        &self,
        now: Time,
        after: Option<MissedAfter>,
        limit: u32,
    ) -> Result<Page<MissedClock, MissedAfter>, Error>;

    /// Reminds the owners of clocks, or ends those that have run out and hands up their cases, in one
    /// durable transaction. Returns the number of clocks.
    ///
    /// Skips generations that have ended already, and cases that another transaction has locked:
    /// any number of replicas may try the same.
    async fn hand_up(&self, missed: &[MissedClock], now: Time) -> Result<usize, Error>;

    /// Cases in which an ended agency has a part, and those whose exclusions were computed by a
    /// former directory; after a case, at most `limit`.
    async fn successions(&self, now: Time, after: Option<String>, limit: u32) -> Result<Page<Uuid, String>, Error>;

    /// Hands the parts of agencies that have ended, or are excluded now, to their successors or
    /// superiors, in one durable transaction. Returns the number of cases changed. Skips cases that
    /// another transaction has locked.
    async fn succeed(&self, cases: &[Uuid], now: Time) -> Result<usize, Error>;

    /// Open cases that another directory or calendar may change: with a clock whose end may still move,
    /// or a supervisor; after a case, at most `limit`.
    async fn provisional(&self, after: Option<String>, limit: u32) -> Result<Page<Uuid, String>, Error>;

    /// Computes the provisional deadlines of cases again, by the calendars of this replica, in one
    /// durable transaction. Returns the number of cases changed; a case whose deadlines stay as
    /// they are is not. Skips cases that another transaction has locked.
    async fn settle(&self, cases: &[Uuid], now: Time) -> Result<usize, Error>;

    /// Joined cases to which what happened to their main case is to be applied by now, after one, at
    /// most `limit`.
    async fn following(&self, now: Time, after: Option<String>, limit: u32) -> Result<Page<Uuid, String>, Error>;

    /// Applies to joined cases what happened to their main cases, each as a change of its own, in one
    /// durable transaction. Returns the number of changes. Skips cases that another transaction has
    /// locked, itself or its main case.
    async fn follow(&self, cases: &[Uuid], now: Time) -> Result<usize, Error>;

    /// The links of a case to others that an agency sees. The caller has looked that it sees the
    /// content of this one.
    async fn links(&self, case: Uuid, viewer: &AgencyId) -> Result<Links, Error>;

    /// A case; `None` if it does not exist or is not visible to this viewer.
    async fn case(&self, id: Uuid, viewer: &Party) -> Result<Option<StoredCase>, Error>;

    /// The case and the notice of an affected side's receipt; `None` if it is none.
    async fn notice(&self, receipt: &str, now: Time) -> Result<Option<Noticed>, Error>;

    /// Cases visible to the viewer, after a cursor, at most `limit`: those of a list in its order,
    /// or all, the newest first.
    ///
    /// A page may be short, or even empty, and still not be the last: the search ends after a
    /// number of cases with a part of the viewer's that the directory in force bars it from. That
    /// there are some tells it nothing: it saw them before that directory, and sees no longer.
    async fn cases(
        &self,
        viewer: &Party,
        listing: Option<Listing>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<StoredCase, Cursor>, Error>;

    /// Those on a list of an agency that one of these officers of its has, each in the form of
    /// [`names::text::person`]; otherwise like [`Store::cases`].
    async fn cases_of_officers(
        &self,
        agency: &AgencyId,
        officers: &[String],
        listing: Listing,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<StoredCase, Cursor>, Error>;

    /// The number of cases on each worklist of an agency that one of these officers of its has; as
    /// [`Store::count`] counts all.
    async fn count_of_officers(
        &self,
        agency: &AgencyId,
        officers: &[String],
        now: Time,
        most: u32,
    ) -> Result<Option<Vec<(Worklist, u32)>>, Error>;

    /// The number of cases on each worklist of an agency, up to `most`: those that the pages of
    /// [`Store::cases`] have. `None` for the moment in which a new directory is followed by more
    /// cases than can be looked through.
    async fn count(&self, agency: &AgencyId, now: Time, most: u32) -> Result<Option<Vec<(Worklist, u32)>>, Error>;

    /// Open cases whose owners are below an agency, or that one of them owns; what is due first
    /// comes first. After a cursor, at most `limit`. `None` for the moment in which they follow a
    /// new directory.
    async fn below(
        &self,
        superior: &AgencyId,
        owner: Option<&AgencyId>,
        listing: Option<Listing>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Option<Page<StoredCase, Cursor>>, Error>;

    /// The number of cases on each of [`Worklist::BELOW`], up to `most`: those that the pages of
    /// [`Store::below`] have.
    async fn count_below(
        &self,
        superior: &AgencyId,
        owner: Option<&AgencyId>,
        now: Time,
        most: u32,
    ) -> Result<Option<Vec<(Worklist, u32)>>, Error>;

    /// A case whose owner is below an agency; `None` if it is none. `None` within for the moment in
    /// which they follow a new directory.
    async fn case_below(&self, id: Uuid, superior: &AgencyId) -> Result<Option<Option<StoredCase>>, Error>;

    /// Lets who oversees the next open cases, at most `limit`, follow the directory in force, in
    /// one durable transaction. Returns how far it has come; `None` if all have followed.
    async fn oversee(&self, after: Option<Remade>, limit: u32) -> Result<Option<Remade>, Error>;

    /// Makes those rows anew that a replica of an earlier version left as they were, of the next
    /// open cases after one; `None` when there are no more. Until then nobody is shown them.
    async fn oversee_late(&self, after: Option<String>, limit: u32) -> Result<Option<String>, Error>;

    /// The deputies of an agency's officers that end after a time, in the order of appointment.
    async fn deputies(&self, agency: &AgencyId, after: Time) -> Result<Vec<Deputy>, Error>;

    /// Appoints a deputy, with its change, in one durable transaction. A known request id gets its
    /// first answer.
    async fn appoint(&self, appointment: &Appointment, now: Time) -> Result<Appointed, Error>;

    /// Ends a deputy's time, with its change, in one durable transaction.
    async fn end_deputy(&self, ending: &Ending, now: Time) -> Result<Ended, Error>;

    /// The supervisions that an agency is under or began, in the order in which they began, after
    /// one, at most `limit`.
    async fn supervisions(
        &self,
        of: &AgencyId,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<AgencySupervision>, Error>;

    /// Begins, answers or ends a supervision, with its change, in one durable transaction. A known
    /// request id gets the supervision as it is now.
    async fn step(&self, taken: &StepTaken, now: Time) -> Result<Stepped, Error>;

    /// Whether the agency has not read the last change of a case that it sees.
    async fn is_unread(&self, agency: &AgencyId, case: Uuid) -> Result<bool, Error>;

    /// What agencies have not read, of all or of one of them, the oldest change first, after one,
    /// at most `limit`. For operators: of what a directory bars an agency from, it is told until
    /// the next tick.
    async fn undelivered(
        &self,
        of: Option<&AgencyId>,
        after: Option<Undelivered>,
        limit: u32,
    ) -> Result<Vec<Undelivered>, Error>;

    /// The changes of cases that another service refuses, the longest refused first, at most
    /// `limit`.
    async fn refused(&self, limit: u32) -> Result<Vec<RefusedDelivery>, Error>;

    /// Records what agencies have read. What changed since stays unread.
    async fn read(&self, reads: &[Read]) -> Result<(), Error>;

    /// Whether the agency has a part in a case of the report that sees its content.
    async fn sees_content(&self, agency: &AgencyId, report: Uuid) -> Result<bool, Error>;

    /// The agencies that the cases of each report exclude, as they were named, and who came to be
    /// excluded since. Reports whose cases exclude nobody, or without a case, are left out.
    async fn excluded(&self, reports: &[Uuid]) -> Result<BTreeMap<Uuid, BTreeSet<AgencyId>>, Error>;

    /// An agency's feed: the changes of cases that it saw before or after each, in the order of
    /// commits, after a position, at most `limit`. After position 0 it begins with the oldest
    /// change left; after any other, `None` if changes after it were deleted.
    async fn feed(&self, agency: &AgencyId, after: u64, limit: u32) -> Result<Option<Vec<FeedItem>>, Error>;

    /// Whether an agency's feed continues after a position without a gap: the position was given
    /// out, and no change after it was deleted.
    async fn feed_reaches(&self, agency: &AgencyId, position: u64) -> Result<bool, Error>;

    /// Deletes changes in feeds from before a time, the oldest first, at most `limit`. Returns
    /// their number.
    async fn forget_feed(&self, before: Time, limit: u32) -> Result<u64, Error>;

    /// Deletes request ids answered before a time, at most `limit`. Returns their number.
    async fn forget_requests(&self, before: Time, limit: u32) -> Result<u64, Error>;

    /// Checks that the database responds.
    async fn ping(&self) -> Result<(), Error>;
}

/// The resource name of a case.
pub fn name(case: Uuid) -> String {
    names::CASE.of(case)
}

/// The resource name of a report.
pub fn report_name(report: Uuid) -> String {
    names::REPORT.of(report)
}
