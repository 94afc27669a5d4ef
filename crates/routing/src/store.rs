//! The stored side of routing: what it promises. `store/sql.rs` keeps it, in SQLite or PostgreSQL.
//!
//! What callers ask to be done with cases is in `store/act.rs`, what Remit does by itself in `store/cases.rs`; how a change is made and written, in `store/change.rs`, and told to those who see
//! the case, in `store/feeds.rs`; `store/read.rs` reads. What cases are routed by, and the switch from one version to the next, is in
//! `store/versions.rs`.

mod act;
mod cases;
mod change;
mod exclusions;
mod feeds;
mod read;
mod rows;
pub mod simulations;
mod sql;
pub mod versions;

use api::{
    event::Actor,
    routing::{CaseSight, Explanation, Facts},
};
use async_trait::async_trait;
use decision::{calendar::ClockKind, decide::Decision, directory::AgencyId};
use journal::{Arrival, Head, Opened, RequestId, Time};
use uuid::Uuid;

pub(crate) use self::change::ourselves;
pub use self::{simulations::Simulations, sql::SqlStore, versions::Versions};
use crate::case::{Action, Case, Matter, Party, Refusal, State};

/// Routing's part of its database.
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
    ],
};

/// Consumers of routing's changes.
pub const CONSUMERS: [&str; 2] = ["intake", "audit"];

/// What the database did not do.
pub type Error = ::sql::Error;

/// A change of a report that arrived from intake.
#[derive(Clone, Debug)]
pub struct ReportNews {
    /// The change, its chain opened.
    pub entry: Opened,
    /// Id of the report.
    pub report: Uuid,
    /// Where the report goes; set on its first change. Later changes are only taken.
    pub route: Option<Route>,
    /// Trace context to go on with.
    pub traceparent: String,
}

/// Where a report goes, and what that was decided from.
#[derive(Clone, Debug)]
pub struct Route {
    /// The facts.
    pub facts: Facts,
    /// The decision.
    pub decision: Decision,
}

/// Something that is asked to be done with a case.
#[derive(Clone, Debug)]
pub struct Command {
    /// Id of the case.
    pub case: Uuid,
    /// Who asks.
    pub by: Party,
    /// For what.
    pub action: Action,
    /// The case as the caller last saw it; empty for as it is now.
    pub etag: String,
    /// The caller's id for the request.
    pub request: Option<RequestId>,
    /// Who asks, as it is logged.
    pub actor: Actor,
    /// Trace context to go on with.
    pub traceparent: String,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Acted {
    /// Done now, or by an earlier request with this id and content: the case after it, as the caller saw it then.
    Done(Box<CaseSight>),
    /// There is no such case, or not for this caller.
    NotFound,
    /// The rules do not allow it.
    Refused(Refusal),
    /// The case changed since the caller saw it.
    EtagMismatch,
    /// The request id stands for other content.
    RequestIdReused,
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
    /// What it was opened with. Not read for lists.
    pub opening: Option<Opening>,
    /// Where it stands.
    pub case: Case,
    /// Its chain of changes.
    pub head: Head,
    /// Its reports.
    pub reports: Vec<Uuid>,
}

/// What a case was opened with. Never changes.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Why it went where it went, at its first route.
    pub explanation: Explanation,
    /// Who is excluded, and what the row that routed it lays down.
    pub matter: Matter,
}

/// Where a page of cases ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// When the last case shown was opened.
    pub open_time: Time,
    /// Its id.
    pub id: Uuid,
}

/// One change of a case, as an agency that follows its cases is told.
#[derive(Clone, Debug)]
pub struct FeedItem {
    /// Its place in the order of commits.
    pub position: u64,
    /// Id of the case.
    pub id: Uuid,
    /// The kind of change.
    pub kind: String,
    /// The case as it is now; `None` when the agency no longer sees it.
    pub case: Option<StoredCase>,
}

/// A clock that has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissedClock {
    /// Id of the case.
    pub case: Uuid,
    /// What the clock waited for.
    pub kind: ClockKind,
    /// Its generation.
    pub generation: u64,
}

/// Where a page of missed clocks ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissedAfter {
    /// When the last clock ended.
    pub due: Time,
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

/// The stored side of routing. Each method is one atomic use case.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Takes changes of reports, each once and in each report's order, and opens the cases of those that have a route, in
    /// one durable transaction. The answers say, per change, what was made of it. A route that was decided by what is no
    /// longer active is decided again, by what is.
    async fn open(&self, news: &[ReportNews], now: Time) -> Result<Vec<Arrival>, Error>;

    /// Does what is asked for, each with its change, in one durable transaction. Commands on one case are done in their
    /// order. A request id that is there already is answered as it was then, also inside a batch. What is refused changes
    /// nothing.
    async fn act(&self, commands: &[Command], now: Time) -> Result<Vec<Acted>, Error>;

    /// Clocks that have run out, longest ago first, after a place, at most `limit`.
    async fn missed(
        &self,
        now: Time,
        after: Option<MissedAfter>,
        limit: u32,
    ) -> Result<Page<MissedClock, MissedAfter>, Error>;

    /// Ends clocks that have run out and hands their cases up, in one durable transaction; returns how many it ended.
    ///
    /// A generation that ended already, or whose case another transaction holds just now, is left out: any number of
    /// replicas may try the same.
    async fn hand_up(&self, missed: &[MissedClock], now: Time) -> Result<usize, Error>;

    /// Cases in which an agency that has ended has a part, and those whose exclusions were last followed
    /// by a directory that is no longer active; after a case, at most `limit`.
    async fn successions(&self, now: Time, after: Option<String>, limit: u32) -> Result<Page<Uuid, String>, Error>;

    /// Hands what agencies have that ended, or may see a case no longer, to their successors or
    /// superiors, in one durable transaction; returns how many of these cases changed. A case that
    /// another transaction holds just now is left for the next time.
    async fn succeed(&self, cases: &[Uuid], now: Time) -> Result<usize, Error>;

    /// A case, or `None` when there is none or not for this viewer.
    async fn case(&self, id: Uuid, viewer: &Party) -> Result<Option<StoredCase>, Error>;

    /// Cases that the viewer sees, newest first, after a cursor, at most `limit`; only those in `state` when it is set.
    async fn cases(
        &self,
        viewer: &Party,
        state: Option<State>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<StoredCase>, Error>;

    /// Whether the agency's part in a case of the report lets it see the report's content.
    async fn sees_content(&self, agency: &AgencyId, report: Uuid) -> Result<bool, Error>;

    /// Changes of the cases that an agency saw before or after each, in the order of commits, after a position, at most
    /// `limit`. Position 0 is the first that is still there; `None` when changes after any other were forgotten.
    async fn feed(&self, agency: &AgencyId, after: u64, limit: u32) -> Result<Option<Vec<FeedItem>>, Error>;

    /// Whether an agency's feed can go on after a position without missing a change: it was given, and nothing after it
    /// was forgotten.
    async fn feed_reaches(&self, agency: &AgencyId, position: u64) -> Result<bool, Error>;

    /// Forgets changes in feeds from before a moment, the oldest first, at most `limit`, and returns how many.
    async fn forget_feed(&self, before: Time, limit: u32) -> Result<u64, Error>;

    /// Forgets request ids that were answered before a moment, at most `limit`, and returns how many.
    async fn forget_requests(&self, before: Time, limit: u32) -> Result<u64, Error>;

    /// Whether the database answers.
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
