//! A case and its rules, without I/O.
//!
//! An open case has a [`Duty`]: an owner, and the clock under which the owner must act. The types
//! do not allow an open case without one. Other [`Clock`]s may run beside it, each with an owner of
//! its own.
//!
//! All changes take the same path. `rule.rs` holds, for each verb ([`Rule`]), who may use it in
//! which state and its effect on the clocks; [`Rules::act`] checks that once. Then the verb's file
//! (`acknowledge.rs`, …) returns a [`Transition`] or a refusal. `hand_on.rs` has what the verbs share
//! that give the case to another agency, and why that ends; `disposition.rs` the only way to a
//! resolved case. `open.rs`, `hand_up.rs`, `close.rs`, `settle.rs` and `succeed.rs` are Remit's own
//! actions, `withdraw.rs` and the end of `ask_reporter.rs` what it does for reporters. `pause.rs` and
//! `supervise.rs` have pauses and the ladder of a clock. `part.rs` has the parts in a case and what
//! each sees, `clock.rs` the clocks, `event.rs` what is logged of a change, `worklist.rs` for whom a
//! case waits. `assign.rs` has who works on it inside an agency, `deputy.rs` who acts in whose
//! stead.
//! `join.rs` has which cases are linked, and what a joined one takes over.
//!
//! To add a verb, write its file and name it in [`Action`].

mod acknowledge;
mod answer_assistance;
mod ask_reporter;
mod assign;
mod claim;
mod clock;
mod close;
mod decline;
mod deputy;
mod designate;
mod dispatch;
mod disposition;
mod escalate;
mod event;
mod hand_on;
mod hand_up;
mod join;
mod notify;
mod open;
mod part;
mod pause;
mod propose;
mod reclassify;
mod record;
mod recuse;
mod refer;
mod reopen;
mod request_assistance;
mod request_review;
mod review;
mod rule;
mod settle;
mod share;
mod split;
mod statement;
mod succeed;
mod supervise;
#[cfg(test)]
mod tests;
mod transfer;
mod withdraw;
mod worklist;

use std::collections::BTreeSet;

use api::{event::CaseState, routing::LeadOriginHow};
use jiff::Timestamp;
use journal::Time;

pub use self::{
    acknowledge::Acknowledge,
    answer_assistance::{Answer, AnswerAssistance},
    ask_reporter::{ANSWER_DAYS, AskReporter, MOST_ANSWER_DAYS, Question, Said},
    assign::{Assign, Assigned, Assignee, Assignment, MOST_ASSIGNED},
    claim::{AnswerClaim, CLAIM, ClaimLead},
    clock::{Clock, Ledger, Pause, Paused},
    decline::Decline,
    deputy::{Deputy, LONGEST_DEPUTY_DAYS, MOST_DEPUTIES, stands_in_for, stood_in},
    designate::Designate,
    dispatch::Dispatch,
    disposition::{Decided, Disposition, REVIEW},
    escalate::Escalate,
    event::Event,
    hand_on::{Course, Given, Reason},
    join::{Candidate, Link, Main},
    notify::{Notice, NotifySubject, Receipt, Statement},
    open::DESIGNATE,
    part::{Part, Party, Sight, overseers, sees},
    pause::{PauseClock, ResumeClock},
    propose::Propose,
    reclassify::{Filing, Reclassify, Refiled},
    record::{RecordProgress, RecordUrgentMeasure},
    recuse::Recuse,
    refer::{AnswerReferral, RECEIVE, REFER, ReferCrime, Referral},
    reopen::Reopen,
    request_assistance::{ASSIST, RequestAssistance},
    request_review::RequestReview,
    review::Review,
    rule::{Effect, Refusal, Rule},
    share::ShareNarrative,
    split::{Membership, SplitReport},
    statement::{AnswerStatement, SubmitStatement},
    supervise::Supervise,
    transfer::Transfer,
    worklist::{Order, Worklist},
};
use decision::{
    calendar::{Calendars, ClockKind, ClockRule, Clocks, Unit, Worktime},
    directory::{AgencyId, Directory},
    rules::Terms,
};

/// The stage of an open case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before a named superior that must designate a lead.
    AwaitingDesignation,
    /// With a lead that has not acknowledged yet.
    Assigned,
    /// Acknowledged by its lead.
    InProgress,
    /// A disposition is in review.
    InReview,
    /// Disposed of; a review may still be requested.
    Resolved,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Closed after work on it.
    Closed,
    /// Closed at once: no agency can act, and the reporter was advised who can.
    Advised,
}

/// The state of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// An agency has to act.
    Open(Stage),
    /// No agency has to act.
    Ended(End),
}

impl State {
    /// Before a superior that must designate.
    pub const AWAITING_DESIGNATION: Self = Self::Open(Stage::AwaitingDesignation);
    /// With a lead that has not acknowledged it.
    pub const ASSIGNED: Self = Self::Open(Stage::Assigned);
    /// Acknowledged.
    pub const IN_PROGRESS: Self = Self::Open(Stage::InProgress);
    /// In review.
    pub const IN_REVIEW: Self = Self::Open(Stage::InReview);
    /// Disposed of.
    pub const RESOLVED: Self = Self::Open(Stage::Resolved);
    /// Closed.
    pub const CLOSED: Self = Self::Ended(End::Closed);
    /// Ended with advice.
    pub const ADVISED: Self = Self::Ended(End::Advised);

    /// The states of open cases, in the order of a case's life.
    pub const OPEN: &'static [Self] = &[
        Self::AWAITING_DESIGNATION,
        Self::ASSIGNED,
        Self::IN_PROGRESS,
        Self::IN_REVIEW,
        Self::RESOLVED,
    ];

    /// All states, in the order of a case's life.
    pub const ALL: [Self; 7] = [
        Self::AWAITING_DESIGNATION,
        Self::ASSIGNED,
        Self::IN_PROGRESS,
        Self::IN_REVIEW,
        Self::RESOLVED,
        Self::CLOSED,
        Self::ADVISED,
    ];

    /// The name in the database and the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open(Stage::AwaitingDesignation) => "AWAITING_DESIGNATION",
            Self::Open(Stage::Assigned) => "ASSIGNED",
            Self::Open(Stage::InProgress) => "IN_PROGRESS",
            Self::Open(Stage::InReview) => "IN_REVIEW",
            Self::Open(Stage::Resolved) => "RESOLVED",
            Self::Ended(End::Closed) => "CLOSED",
            Self::Ended(End::Advised) => "ADVISED",
        }
    }

    /// Parses a stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The state in the contract.
    #[must_use]
    pub const fn to_proto(self) -> CaseState {
        match self {
            Self::Open(Stage::AwaitingDesignation) => CaseState::AwaitingDesignation,
            Self::Open(Stage::Assigned) => CaseState::Assigned,
            Self::Open(Stage::InProgress) => CaseState::InProgress,
            Self::Open(Stage::InReview) => CaseState::InReview,
            Self::Open(Stage::Resolved) => CaseState::Resolved,
            Self::Ended(End::Closed) => CaseState::Closed,
            Self::Ended(End::Advised) => CaseState::Advised,
        }
    }

    /// Parses a state of the contract; `None` if it is not set.
    #[must_use]
    pub fn from_proto(state: CaseState) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_proto() == state)
    }

    /// Whether an agency still has to act.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Whether the lead has acknowledged the case.
    #[must_use]
    pub const fn is_acknowledged(self) -> bool {
        matches!(
            self,
            Self::Open(Stage::InProgress | Stage::InReview | Stage::Resolved) | Self::Ended(End::Closed)
        )
    }
}

/// How the owner got the case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By the route, when the case was opened.
    Routed,
    /// The agency before it missed its clock.
    Escalated(AgencyId),
    /// The agency before it ended, or came to succeed an excluded one.
    Succeeded(AgencyId),
    /// The agency before it transferred the case.
    Transferred(AgencyId),
    /// The agency before it declined the case: this one must designate.
    Declined(AgencyId),
    /// A superior designated it.
    Designated(AgencyId),
    /// The agency before it handed the case up.
    HandedUp(AgencyId),
    /// A superior handed the case down to it.
    Dispatched(AgencyId),
    /// It claimed the lead, and the agency before it agreed.
    Claimed(AgencyId),
    /// The agency before it disputed a claim: this one must designate.
    Disputed(AgencyId),
    /// A review was requested of what the agency before it decided.
    Review(AgencyId),
    /// It opened its own case again.
    Reopened(AgencyId),
    /// The agency before it stepped aside: this one must designate.
    Recused(AgencyId),
    /// The agency before it filed the case under another category.
    Reclassified(AgencyId),
    /// The body that it handed a suspected crime to refused it.
    Refused(AgencyId),
}

impl Origin {
    /// The stored name, and the agency that had the case before.
    pub(crate) const fn parts(&self) -> (&'static str, Option<&AgencyId>) {
        match self {
            Self::Routed => ("routed", None),
            Self::Escalated(from) => ("escalated", Some(from)),
            Self::Succeeded(from) => ("succeeded", Some(from)),
            Self::Transferred(from) => ("transferred", Some(from)),
            Self::Declined(from) => ("declined", Some(from)),
            Self::Designated(from) => ("designated", Some(from)),
            Self::HandedUp(from) => ("handed-up", Some(from)),
            Self::Dispatched(from) => ("dispatched", Some(from)),
            Self::Claimed(from) => ("claimed", Some(from)),
            Self::Disputed(from) => ("disputed", Some(from)),
            Self::Review(from) => ("review", Some(from)),
            Self::Reopened(from) => ("reopened", Some(from)),
            Self::Recused(from) => ("recused", Some(from)),
            Self::Reclassified(from) => ("reclassified", Some(from)),
            Self::Refused(from) => ("refused", Some(from)),
        }
    }

    /// Parses a stored name and agency.
    pub(crate) fn from_parts(name: &str, from: Option<AgencyId>) -> Option<Self> {
        match (name, from) {
            ("routed", None) => Some(Self::Routed),
            ("escalated", Some(from)) => Some(Self::Escalated(from)),
            ("succeeded", Some(from)) => Some(Self::Succeeded(from)),
            ("transferred", Some(from)) => Some(Self::Transferred(from)),
            ("declined", Some(from)) => Some(Self::Declined(from)),
            ("designated", Some(from)) => Some(Self::Designated(from)),
            ("handed-up", Some(from)) => Some(Self::HandedUp(from)),
            ("dispatched", Some(from)) => Some(Self::Dispatched(from)),
            ("claimed", Some(from)) => Some(Self::Claimed(from)),
            ("disputed", Some(from)) => Some(Self::Disputed(from)),
            ("review", Some(from)) => Some(Self::Review(from)),
            ("reopened", Some(from)) => Some(Self::Reopened(from)),
            ("recused", Some(from)) => Some(Self::Recused(from)),
            ("reclassified", Some(from)) => Some(Self::Reclassified(from)),
            ("refused", Some(from)) => Some(Self::Refused(from)),
            _ => None,
        }
    }

    /// The origin in the contract.
    pub(crate) const fn how(&self) -> LeadOriginHow {
        match self {
            Self::Routed => LeadOriginHow::Routed,
            Self::Escalated(_) => LeadOriginHow::Escalated,
            Self::Succeeded(_) => LeadOriginHow::Succeeded,
            Self::Transferred(_) => LeadOriginHow::Transferred,
            Self::Declined(_) => LeadOriginHow::Declined,
            Self::Designated(_) => LeadOriginHow::Designated,
            Self::HandedUp(_) => LeadOriginHow::HandedUp,
            Self::Dispatched(_) => LeadOriginHow::Dispatched,
            Self::Claimed(_) => LeadOriginHow::Claimed,
            Self::Disputed(_) => LeadOriginHow::Disputed,
            Self::Review(_) => LeadOriginHow::Review,
            Self::Reopened(_) => LeadOriginHow::Reopened,
            Self::Recused(_) => LeadOriginHow::Recused,
            Self::Reclassified(_) => LeadOriginHow::Reclassified,
            Self::Refused(_) => LeadOriginHow::Refused,
        }
    }
}

/// Who has to act, why, and by when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// The lead; before designation the superior who must designate.
    pub owner: AgencyId,
    /// How it got the case.
    pub origin: Origin,
    /// The clock under which it must act.
    pub clock: Clock,
}

/// The standing of a case: an open one has a duty, an ended one has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The owner has to act.
    Open(Stage, Duty),
    /// No agency has to act.
    Ended(End),
}

/// An agency that supports the lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supporter {
    /// The agency.
    pub agency: AgencyId,
    /// Whether it supports only because of a request for assistance that it has not fulfilled. If
    /// it answers that it is unable to, it no longer supports.
    pub by_request: bool,
    /// Whether the lead lets it read what the reports say.
    pub informed: bool,
}

impl Supporter {
    /// An agency that the route named, or that led the case before.
    #[must_use]
    pub const fn of(agency: AgencyId) -> Self {
        Self {
            agency,
            by_request: false,
            informed: false,
        }
    }

    /// An agency that had no part in the case before it was asked to assist.
    #[must_use]
    pub const fn asked(agency: AgencyId) -> Self {
        Self {
            agency,
            by_request: true,
            informed: false,
        }
    }
}

impl Supporter {
    /// Its part.
    const fn part(&self) -> Part {
        match self.informed {
            true => Part::Informed,
            false => Part::Supporting,
        }
    }
}

/// The changing part of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its standing.
    pub standing: Standing,
    /// The supporting agencies, each once, without the owner.
    pub supporting: Vec<Supporter>,
    /// The clocks beside that of the duty, at most one per kind and owner.
    pub clocks: Vec<Clock>,
    /// The agency that transferred it, until the receiver takes it over: it answers for the case
    /// meanwhile.
    pub giver: Option<AgencyId>,
    /// The superior of the lead that supervises the case. It may also be among the supporting ones.
    pub supervisor: Option<AgencyId>,
    /// Its way from agency to agency.
    pub course: Course,
    /// How it is disposed of: proposed while it is in review, decided from then on. `None` in other
    /// states.
    pub disposition: Option<Disposition>,
    /// Number of clocks set so far. Each setting is a generation, and each generation ends at most
    /// once.
    pub generation: u64,
}

impl Case {
    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        match &self.standing {
            Standing::Open(stage, _) => State::Open(*stage),
            Standing::Ended(end) => State::Ended(*end),
        }
    }

    /// Who has to act; `None` if and only if the case has ended.
    #[must_use]
    pub const fn duty(&self) -> Option<&Duty> {
        match &self.standing {
            Standing::Open(_, duty) => Some(duty),
            Standing::Ended(_) => None,
        }
    }

    /// The lead, or the superior that must designate one.
    #[must_use]
    pub fn owner(&self) -> Option<&AgencyId> {
        self.duty().map(|duty| &duty.owner)
    }

    /// All clocks, the duty's first.
    pub fn all_clocks(&self) -> impl Iterator<Item = &Clock> {
        self.duty().map(|duty| &duty.clock).into_iter().chain(&self.clocks)
    }

    /// Each agency with a stored part in the case, and its part.
    pub fn parties(&self) -> impl Iterator<Item = (&AgencyId, Part)> {
        let owner = match &self.standing {
            Standing::Open(Stage::AwaitingDesignation, duty) => Some((&duty.owner, Part::Designating)),
            Standing::Open(_, duty) => Some((&duty.owner, Part::Lead)),
            Standing::Ended(_) => {
                let decided = self.disposition.as_ref();
                decided.map(|disposition| (&disposition.holder, Part::Deciding))
            }
        };
        // Each agency once.
        let owns = move |agency: &AgencyId| owner.is_some_and(|(owner, _)| owner == agency);
        let giver = self.giver.as_ref();
        let giver = giver.filter(|agency| !owns(agency) && !self.is_supported_by(agency));
        owner
            .into_iter()
            .chain(
                self.supporting
                    .iter()
                    .filter(move |supporter| !owns(&supporter.agency))
                    .filter(|supporter| self.supervisor.as_ref() != Some(&supporter.agency))
                    .map(|supporter| (&supporter.agency, supporter.part())),
            )
            .chain(giver.map(|agency| (agency, Part::Giving)))
            .chain(self.supervisor.iter().map(|agency| (agency, Part::Supervising)))
    }

    /// The supporting agencies, in order.
    pub fn supporting(&self) -> impl Iterator<Item = &AgencyId> {
        self.supporting.iter().map(|supporter| &supporter.agency)
    }

    /// Whether an agency supports.
    #[must_use]
    pub fn is_supported_by(&self, agency: &AgencyId) -> bool {
        self.supporting().any(|supporter| supporter == agency)
    }
}

/// What a case is routed by, and who is excluded from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matter {
    /// The excluded agencies, as by [`Directory::is_excluded`].
    pub excluded: BTreeSet<AgencyId>,
    /// The agencies that designate last, in order, by the rule set that routed the case; empty for
    /// the directory's.
    pub last_resort: Vec<AgencyId>,
    /// The terms of the row that routed it. `None` if the reporter was advised.
    pub terms: Option<Terms>,
    /// Id of its category.
    pub category: String,
}

/// A change, and the case after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The change, for the log.
    pub event: Event,
    /// The case after it.
    pub case: Case,
}

/// The rules, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The agencies in force.
    pub directory: &'a Directory,
    /// Their working days.
    pub calendars: &'a Calendars,
    /// Now.
    pub now: Time,
}

/// A case before a verb, after the check of access.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// The case.
    pub case: &'a Case,
    /// What it was opened with.
    pub matter: &'a Matter,
    /// The calling agency; `None` for an operator and for Remit itself.
    pub by: Option<&'a AgencyId>,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $verb:ident)+) => {
        /// A verb with its arguments, requested by an agency or an operator.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Action {
            $($(#[$doc])* $verb($verb),)+
        }

        impl Action {
            /// The rules of the callers' verbs.
            pub(crate) const RULES: &[&Rule] = &[$($verb::RULE),+];

            /// The rule of the verb.
            #[must_use]
            pub const fn rule(&self) -> &'static Rule {
                match self { $(Self::$verb(_) => $verb::RULE,)+ }
            }

            fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
                match self { $(Self::$verb(arguments) => arguments.apply(rules, before),)+ }
            }
        }
    };
}

actions! {
    /// The lead acknowledges the case.
    Acknowledge
    /// The lead declines it.
    Decline
    /// The lead transfers it to another agency.
    Transfer
    /// The lead hands it up.
    Escalate
    /// The lead hands it down.
    Dispatch
    /// The superior that must designates the lead.
    Designate
    /// Its owner files it under another category.
    Reclassify
    /// The lead asks another agency to assist.
    RequestAssistance
    /// The agency asked to assist answers.
    AnswerAssistance
    /// A supporting agency claims the lead.
    ClaimLead
    /// The lead answers the claim.
    AnswerClaim
    /// The lead records what was done.
    RecordProgress
    /// Whoever has it records a measure that could not wait.
    RecordUrgentMeasure
    /// The lead asks the reporter something.
    AskReporter
    /// The lead proposes a disposition.
    Propose
    /// A second person reviews it.
    Review
    /// The agency that decided hands a suspected crime over.
    ReferCrime
    /// The body that it was handed to answers.
    AnswerReferral
    /// A request for a review is passed on.
    RequestReview
    /// The lead gives notice to the affected side.
    NotifySubject
    /// The affected side states its view.
    SubmitStatement
    /// The lead answers it.
    AnswerStatement
    /// The agency that decided opens the case again.
    Reopen
    /// An agency steps aside.
    Recuse
    /// The lead pauses the time for the result.
    PauseClock
    /// The lead resumes it.
    ResumeClock
    /// A superior of the lead puts the case under its supervision.
    Supervise
    /// The lead lets a supporting agency read what the reports say.
    ShareNarrative
    /// The lead ends the link of a joined case.
    SplitReport
    /// An agency assigns it to one of its officers.
    Assign
}

impl Rules<'_> {
    /// Applies a caller's action, or returns a refusal that names what is possible now.
    pub fn act(&self, case: &Case, matter: &Matter, party: &Party, action: &Action) -> Result<Transition, Refusal> {
        self.may(case, party, action)?;
        let by = party.agency();
        let transition = action.apply(self, Before { case, matter, by })?;
        let matter = matter.after(&transition.event);
        Ok(self.tidied(transition, &matter))
    }

    /// Whether a caller may request an action in the case's state. Does not check its arguments.
    pub fn may(&self, case: &Case, party: &Party, action: &Action) -> Result<(), Refusal> {
        let parts = part::parts(case, party, self.directory);
        action.rule().check(&parts, case.state())
    }

    /// The nearest superior that exists and may see the case, or the last resort; `None` above the
    /// last resort.
    fn above<'b>(&'b self, agency: &AgencyId, matter: &'b Matter) -> Option<&'b AgencyId> {
        let last = self.last_resort(matter);
        if agency == last {
            return None;
        }
        let above = self.directory.chain(agency).skip(1);
        let superior = above
            .filter_map(|above| self.stands_in(&above.id, matter))
            .find(|above| *above != agency);
        Some(superior.unwrap_or(last))
    }

    /// Like [`Rules::above`], past the agencies whose decision of the case was sent up for a review.
    fn above_in<'b>(&'b self, agency: &AgencyId, case: &Case, matter: &'b Matter) -> Option<&'b AgencyId> {
        let mut superior = self.above(agency, matter)?;
        while self.is_reviewed(superior, case) {
            superior = self.above(superior, matter)?;
        }
        Some(superior)
    }

    /// Who has the place of an agency: itself, or who continues it. `None` if nobody does, or one
    /// that may not see the case.
    fn stands_in<'b>(&'b self, id: &AgencyId, matter: &Matter) -> Option<&'b AgencyId> {
        let agency = self.directory.agency(id)?;
        let today = Some(self.directory.day(self.now));
        let stands = match agency.has_ended(today) {
            true => self.directory.heir(id, today)?,
            false => agency,
        };
        let may_see = !self.directory.is_excluded(&stands.id, &matter.excluded);
        (stands.is_active(today) && may_see).then_some(&stands.id)
    }

    /// The agency that designates last.
    fn last_resort<'b>(&'b self, matter: &'b Matter) -> &'b AgencyId {
        self.directory
            .last_resort_of(&matter.last_resort, &matter.excluded)
            .designates
    }

    /// The duty's clock after a verb: the one that its row starts against the owner, or else the
    /// running one. `None` if the case has no terms.
    fn duty_clock(
        &self,
        rule: &Rule,
        before: Before<'_>,
        duty: &Duty,
        owner: &AgencyId,
        generation: u64,
    ) -> Option<Clock> {
        match rule.starts(before.case.state()) {
            Some(kind) => {
                let terms = before.matter.terms.as_ref()?;
                let mut clock = self.clock(owner, clock_rule(kind, &terms.clocks), generation);
                if kind == ClockKind::Result {
                    clock.ledger.used = before.case.course.result_used.min(leaves_one(clock.rule));
                    clock = clock.settled(self.worktime(owner));
                }
                Some(clock)
            }
            None => Some(duty.clock.clone()),
        }
    }

    /// When an agency works.
    fn worktime(&self, agency: &AgencyId) -> Worktime<'_> {
        self.calendars.worktime(self.directory.agency(agency))
    }

    /// Starts a clock against an agency.
    fn clock(&self, owner: &AgencyId, rule: ClockRule, generation: u64) -> Clock {
        let worktime = self.worktime(owner);
        Clock::start(owner.clone(), rule, generation, self.now, worktime)
    }
}

/// The time limit for a kind of clock.
fn clock_rule(kind: ClockKind, clocks: &Clocks) -> ClockRule {
    match kind {
        ClockKind::Acknowledge => clocks.acknowledge,
        ClockKind::Result => clocks.result,
        ClockKind::Designate => DESIGNATE,
        ClockKind::Assist => ASSIST,
        ClockKind::Review => REVIEW,
        ClockKind::Claim => CLAIM,
        ClockKind::Refer => REFER,
        ClockKind::Receive => RECEIVE,
    }
}

/// The most of a budget that can be used before a lead gets it: its last unit is always left, so
/// that nobody gets a case whose time has run out.
fn leaves_one(rule: ClockRule) -> i64 {
    budget(ClockRule {
        value: rule.value.saturating_sub(1),
        ..rule
    })
}

/// A budget, as in [`Ledger::used`].
fn budget(rule: ClockRule) -> i64 {
    let units = i64::from(rule.value);
    match rule.unit {
        Unit::CalendarDays | Unit::WorkingDays => units,
        Unit::Hours | Unit::WorkingHours => units * 3_600_000_000,
        Unit::Minutes => units * 60_000_000,
    }
}

/// Converts a time for the calendar.
fn instant(time: Time) -> Timestamp {
    Timestamp::from_microsecond(time.0).unwrap_or(Timestamp::MAX)
}
