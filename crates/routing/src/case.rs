//! A case, and everything that can be done with it: rules without I/O.
//!
//! An open case has a [`Duty`]: an owner, and the clock under which it must act. A case that is open
//! without a duty cannot be written down. Further [`Clock`]s may run beside it, each against an owner
//! of its own.
//!
//! A change goes one way, whoever asks for it. `rule.rs` holds, for each verb ([`Rule`]), who may do it in
//! which state and what it does to the clocks; [`Rules::act`] checks that once. Then the verb's own
//! file (`acknowledge.rs`, …) makes the [`Transition`], or refuses. `open.rs`, `hand_up.rs` and
//! `succeed.rs` are what Remit does by itself. `part.rs` says which part an agency has in a case, and
//! what each part sees; `clock.rs` counts; `event.rs` is what the log is told.
//!
//! To add a verb: write its file, and name it in [`Action`].

mod acknowledge;
mod answer_assistance;
mod clock;
mod event;
mod hand_up;
mod open;
mod part;
mod request_assistance;
mod rule;
mod succeed;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use api::routing::{CaseState, LeadOriginHow};
use jiff::Timestamp;
use journal::Time;

pub use self::{
    acknowledge::Acknowledge,
    answer_assistance::{Answer, AnswerAssistance},
    clock::{Clock, Ledger, Pause},
    event::Event,
    open::DESIGNATE,
    part::{Part, Party, Sight, sees},
    request_assistance::{ASSIST, RequestAssistance},
    rule::{Effect, Refusal, Rule},
};
use decision::{
    calendar::{Calendars, ClockKind, ClockRule, Clocks},
    directory::{self, AgencyId, Directory},
    rules::Terms,
};

/// Where an open case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before a named superior who must designate a lead.
    AwaitingDesignation,
    /// With a lead that has not acknowledged yet.
    Assigned,
    /// Taken over by its lead.
    InProgress,
    /// A disposition is before its reviewer.
    InReview,
    /// Disposed of; the window for a review runs.
    Resolved,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Closed after its lead's work.
    Closed,
    /// At once: no agency can act, and the reporter was told who can.
    Advised,
}

/// The state of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Somebody owes something.
    Open(Stage),
    /// Nobody does.
    Ended(End),
}

impl State {
    /// Before a superior who must designate.
    pub const AWAITING_DESIGNATION: Self = Self::Open(Stage::AwaitingDesignation);
    /// With a lead that has not acknowledged.
    pub const ASSIGNED: Self = Self::Open(Stage::Assigned);
    /// Taken over.
    pub const IN_PROGRESS: Self = Self::Open(Stage::InProgress);
    /// A disposition is in review.
    pub const IN_REVIEW: Self = Self::Open(Stage::InReview);
    /// Disposed of.
    pub const RESOLVED: Self = Self::Open(Stage::Resolved);
    /// Closed.
    pub const CLOSED: Self = Self::Ended(End::Closed);
    /// Ended with advice.
    pub const ADVISED: Self = Self::Ended(End::Advised);

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

    /// The name that is stored and logged.
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

    /// From the stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// As in the contract.
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

    /// From the contract; `None` when it is not set.
    #[must_use]
    pub fn from_proto(state: CaseState) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_proto() == state)
    }

    /// Whether somebody still owes something.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Whether the lead has taken the case over.
    #[must_use]
    pub const fn is_acknowledged(self) -> bool {
        matches!(
            self,
            Self::Open(Stage::InProgress | Stage::InReview | Stage::Resolved) | Self::Ended(End::Closed)
        )
    }
}

/// How the owner came to the case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By the route, when the case was opened.
    Routed,
    /// The agency before it missed its clock.
    Escalated(AgencyId),
    /// The agency before it ended.
    Succeeded(AgencyId),
}

impl Origin {
    /// The name that is stored, and the agency that had the case before.
    pub(crate) const fn parts(&self) -> (&'static str, Option<&AgencyId>) {
        match self {
            Self::Routed => ("routed", None),
            Self::Escalated(from) => ("escalated", Some(from)),
            Self::Succeeded(from) => ("succeeded", Some(from)),
        }
    }

    /// From the stored name and agency.
    pub(crate) fn from_parts(name: &str, from: Option<AgencyId>) -> Option<Self> {
        match (name, from) {
            ("routed", None) => Some(Self::Routed),
            ("escalated", Some(from)) => Some(Self::Escalated(from)),
            ("succeeded", Some(from)) => Some(Self::Succeeded(from)),
            _ => None,
        }
    }

    /// As in the contract.
    pub(crate) const fn how(&self) -> LeadOriginHow {
        match self {
            Self::Routed => LeadOriginHow::Routed,
            Self::Escalated(_) => LeadOriginHow::Escalated,
            Self::Succeeded(_) => LeadOriginHow::Succeeded,
        }
    }
}

/// Who has to act, how it came to that, and by when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// The lead; before designation the superior who must designate.
    pub owner: AgencyId,
    /// How it came to the case.
    pub origin: Origin,
    /// The clock that runs against it.
    pub clock: Clock,
}

/// Where a case stands: an open one with its duty, an ended one without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Somebody has to act.
    Open(Stage, Duty),
    /// Nobody has to.
    Ended(End),
}

/// An agency that supports the lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supporter {
    /// Which.
    pub agency: AgencyId,
    /// Whether it has its part only by a request for assistance that it has not fulfilled. If it
    /// answers that it cannot assist, the part ends with the request.
    pub by_request: bool,
}

impl Supporter {
    /// One that the route named, or that led the case before.
    #[must_use]
    pub const fn of(agency: AgencyId) -> Self {
        Self {
            agency,
            by_request: false,
        }
    }

    /// One that was asked to assist, and had no part in the case.
    #[must_use]
    pub const fn asked(agency: AgencyId) -> Self {
        Self {
            agency,
            by_request: true,
        }
    }
}

/// A case as far as it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Where it stands.
    pub standing: Standing,
    /// Agencies that support, each once and never the owner.
    pub supporting: Vec<Supporter>,
    /// Clocks that run beside the one of the duty, at most one per kind and owner.
    pub clocks: Vec<Clock>,
    /// How many clocks were set so far. Each setting is a generation, and each generation ends at
    /// most once.
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

    /// Who has to act; `None` exactly when the case has ended.
    #[must_use]
    pub const fn duty(&self) -> Option<&Duty> {
        match &self.standing {
            Standing::Open(_, duty) => Some(duty),
            Standing::Ended(_) => None,
        }
    }

    /// The lead, or whoever must designate one.
    #[must_use]
    pub fn owner(&self) -> Option<&AgencyId> {
        self.duty().map(|duty| &duty.owner)
    }

    /// All clocks, that of the duty first.
    pub fn all_clocks(&self) -> impl Iterator<Item = &Clock> {
        self.duty().map(|duty| &duty.clock).into_iter().chain(&self.clocks)
    }

    /// Each agency with a part in the case, and the part: the one definition of who is a party.
    pub fn parties(&self) -> impl Iterator<Item = (&AgencyId, Part)> {
        let owner = match &self.standing {
            Standing::Open(Stage::AwaitingDesignation, duty) => Some((&duty.owner, Part::Designating)),
            Standing::Open(_, duty) => Some((&duty.owner, Part::Lead)),
            Standing::Ended(_) => None,
        };
        owner
            .into_iter()
            .chain(self.supporting().map(|agency| (agency, Part::Supporting)))
    }

    /// The agencies that support, in their order.
    pub fn supporting(&self) -> impl Iterator<Item = &AgencyId> {
        self.supporting.iter().map(|supporter| &supporter.agency)
    }

    /// Whether an agency supports.
    #[must_use]
    pub fn is_supported_by(&self, agency: &AgencyId) -> bool {
        self.supporting().any(|supporter| supporter == agency)
    }
}

/// A case as far as it never changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matter {
    /// Agencies that neither lead, support nor see it, with all units under them.
    pub excluded: BTreeSet<AgencyId>,
    /// Who designates last, in the order in which they are asked, by the rule set that routed the
    /// case; empty for whoever the directory names.
    pub last_resort: Vec<AgencyId>,
    /// What the row that routed it lays down. `None` when the reporter was advised.
    pub terms: Option<Terms>,
}

/// What happened, and the case after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What the log is told.
    pub event: Event,
    /// The case after it.
    pub case: Case,
}

/// The rules, at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Who is above whom.
    pub directory: &'a Directory,
    /// When agencies work.
    pub calendars: &'a Calendars,
    /// Now.
    pub now: Time,
}

/// A case before a verb whose access was checked.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// The case.
    pub case: &'a Case,
    /// What never changes of it.
    pub matter: &'a Matter,
    /// The calling agency; `None` for an operator and for Remit itself.
    pub by: Option<&'a AgencyId>,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $verb:ident)+) => {
        /// What an agency or an operator asks to be done with a case.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Action {
            $($(#[$doc])* $verb($verb),)+
        }

        impl Action {
            /// The rules of the verbs that callers have.
            pub(crate) const RULES: &[&Rule] = &[$($verb::RULE),+];

            /// The rule of its verb.
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
    /// The lead takes the case over.
    Acknowledge
    /// The lead asks another agency to assist.
    RequestAssistance
    /// The agency that was asked answers.
    AnswerAssistance
}

impl Rules<'_> {
    /// Does what a caller asks for, or says why not, and what would be possible now.
    pub fn act(&self, case: &Case, matter: &Matter, party: &Party, action: &Action) -> Result<Transition, Refusal> {
        self.may(case, party, action)?;
        let by = party.agency();
        action.apply(self, Before { case, matter, by })
    }

    /// Whether a caller may ask for an action in the state of the case: before its arguments are
    /// judged.
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

    /// Who has the place of an agency: itself, or who continues it. `None` if nobody does, or one
    /// that may not see the case.
    fn stands_in<'b>(&'b self, id: &AgencyId, matter: &Matter) -> Option<&'b AgencyId> {
        let agency = self.directory.agency(id)?;
        let today = Some(directory::day(self.now));
        let stands = match agency.has_ended(today) {
            true => self.directory.heir(id, today)?,
            false => agency,
        };
        let may_see = !self.directory.is_excluded(&stands.id, &matter.excluded);
        (stands.is_active(today) && may_see).then_some(&stands.id)
    }

    /// Where the ladder of superiors ends.
    fn last_resort<'b>(&'b self, matter: &'b Matter) -> &'b AgencyId {
        self.directory
            .last_resort_of(&matter.last_resort, &matter.excluded)
            .designates
    }

    /// The clock of the duty after a verb: the one that its row starts against the owner, or the one that runs. `None`
    /// where the case has no terms.
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
                Some(self.clock(owner, clock_rule(kind, &terms.clocks), generation))
            }
            None => Some(duty.clock.clone()),
        }
    }

    /// Sets a clock against an agency.
    fn clock(&self, owner: &AgencyId, rule: ClockRule, generation: u64) -> Clock {
        let worktime = self.calendars.worktime(self.directory.agency(owner));
        Clock::start(owner.clone(), rule, generation, self.now, worktime)
    }
}

/// The clock of a kind that the row lays down.
fn clock_rule(kind: ClockKind, clocks: &Clocks) -> ClockRule {
    match kind {
        ClockKind::Acknowledge => clocks.acknowledge,
        ClockKind::Result => clocks.result,
        ClockKind::Designate => DESIGNATE,
        ClockKind::Assist => ASSIST,
    }
}

/// An instant for the calendar.
fn instant(time: Time) -> Timestamp {
    Timestamp::from_microsecond(time.0).unwrap_or(Timestamp::MAX)
}
