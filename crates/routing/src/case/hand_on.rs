//! Handing a case on: what the verbs have in common by which it goes from one agency to another.
//!
//! A case goes no circle. Its lead may transfer it once, if it never had another; from then on it is
//! declined and handed up to superiors only. A superior dispatches it to a unit that never led it,
//! and designates the same agency once. Only the last resort may designate again, and its word is
//! final: whom it designated can neither decline nor hand up, however the case comes back to it. A
//! supporting agency that never led it may claim it from a lead that no superior named, and a review
//! goes to a superior, never back to the agency whose decision is reviewed. So until it is decided,
//! each case changes hands a bounded number of times, and each time somebody owns it, under a clock.
//!
//! These rules go by the [`Course`], which outlasts successions, not by the owner's
//! [`Origin`], which is for people.

use std::fmt;

use api::event;
use decision::{calendar::ClockKind, directory::AgencyId};

use super::{
    Assigned, Assignment, Before, Case, Duty, Event, Matter, Notice, Origin, Question, Referral, Refusal, Rule, Rules,
    Stage, Standing, State, Transition,
};

/// Why an agency hands a case on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// What the rules go by is in another agency's territory.
    Place,
    /// The matter is another function's.
    Matter,
    /// The matter is for a higher or a lower level.
    Level,
    /// Another agency handles the same matter already.
    HandledElsewhere,
    /// The agency is in a conflict of interest.
    ConflictOfInterest,
    /// Persons, evidence or effects are where another agency can act better.
    BetterPlaced,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::Place,
        Self::Matter,
        Self::Level,
        Self::HandledElsewhere,
        Self::ConflictOfInterest,
        Self::BetterPlaced,
    ];

    /// The reason in the contract.
    #[must_use]
    pub const fn to_proto(self) -> event::HandOverReason {
        match self {
            Self::Place => event::HandOverReason::Place,
            Self::Matter => event::HandOverReason::Matter,
            Self::Level => event::HandOverReason::Level,
            Self::HandledElsewhere => event::HandOverReason::HandledElsewhere,
            Self::ConflictOfInterest => event::HandOverReason::ConflictOfInterest,
            Self::BetterPlaced => event::HandOverReason::BetterPlaced,
        }
    }

    /// Parses a reason of the contract; `None` if it is not set.
    #[must_use]
    pub fn from_proto(reason: event::HandOverReason) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_proto() == reason)
    }
}

/// The way of a case from agency to agency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// The agencies that led it before, each once, oldest first.
    pub led: Vec<AgencyId>,
    /// The agencies that a superior designated, each once, oldest first.
    pub designated: Vec<AgencyId>,
    /// Whom the last resort designated, the last time that it did.
    pub final_lead: Option<AgencyId>,
    /// How the last agency gave it to its present owner, if one did.
    pub given: Option<Given>,
    /// How much of the time for the result earlier leads have used, in the unit of
    /// [`Ledger::used`](super::Ledger::used).
    pub result_used: i64,
    /// The agencies whose decision was sent up for a review, each once, oldest first: none of them
    /// decides the case again.
    pub reviewed: Vec<AgencyId>,
    /// The agency whose claim to lead is not answered.
    pub claimant: Option<AgencyId>,
    /// The question to the reporter that is open.
    pub question: Option<Question>,
    /// How many questions the reporter was asked.
    pub questions: u64,
    /// Whether the reporter asked to withdraw.
    pub withdrawal_requested: bool,
    /// How many dispositions were proposed.
    pub proposals: u64,
    /// The notices to the affected side, in their order.
    pub notices: Vec<Notice>,
    /// The suspected crime that was handed over, if one was.
    pub referral: Option<Referral>,
    /// Ids of the categories that it was filed under before, oldest first.
    pub former_categories: Vec<String>,
    /// To whom each agency has assigned it, each at most once.
    pub assignments: Vec<Assignment>,
    /// How often each agency assigned it lately.
    pub assigned: Vec<Assigned>,
}

/// How an agency gave a case to its owner, as far as that binds the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A peer transferred it.
    ByPeer(AgencyId),
    /// A superior designated or dispatched.
    BySuperior,
    /// It claimed the lead.
    ByClaim,
}

impl Course {
    /// Whether it ever went from one agency to another.
    pub(super) const fn is_handed_on(&self) -> bool {
        !self.led.is_empty() || !self.designated.is_empty()
    }

    fn add(agencies: &mut Vec<AgencyId>, agency: &AgencyId) {
        if !agencies.contains(agency) {
            agencies.push(agency.clone());
        }
    }
}

/// Refuses an argument.
pub(super) fn unfit<T>(field: &'static str, description: impl fmt::Display) -> Result<T, Refusal> {
    Err(Refusal::Argument {
        field,
        description: description.to_string(),
    })
}

/// Refuses because of the way that the case has come.
pub(super) fn barred<T>(case: &Case, description: impl fmt::Display) -> Result<T, Refusal> {
    Err(Refusal::WrongState {
        state: case.state(),
        description: format!("the case is {}, and {description}", case.state().name()),
    })
}

impl Rules<'_> {
    /// Checks that an agency exists today and may see the case. `field` is the argument that names it.
    pub(super) fn may_see(&self, field: &'static str, agency: &AgencyId, matter: &Matter) -> Result<(), Refusal> {
        let Some(known) = self.directory.agency(agency) else {
            return unfit(field, "is no agency of the directory in force; `ListAgencies` has them");
        };
        let today = Some(self.directory.day(self.now));
        if !known.is_active(today) {
            return match self.directory.heir(agency, today) {
                Some(heir) => unfit(
                    field,
                    format_args!("has ended; {} continues it", heir.id.resource_name()),
                ),
                None => unfit(field, "is not in being today; `ListAgencies` has those that are"),
            };
        }
        match self.directory.is_excluded(agency, &matter.excluded) {
            true => unfit(field, "is excluded from the case; name another agency"),
            false => Ok(()),
        }
    }

    /// Checks that an agency can lead the case: it exists, may see it, and has the function that
    /// the case is routed to.
    pub(super) fn may_lead(&self, field: &'static str, agency: &AgencyId, before: Before<'_>) -> Result<(), Refusal> {
        let Before { case, matter, .. } = before;
        self.may_see(field, agency, matter)?;
        if let Some(terms) = matter.terms.as_ref().filter(|_| !self.has_function(agency, matter)) {
            let function = &terms.function;
            let description = format!("does not have the function `{function}`; `ListDesks` has those at a place");
            return unfit(field, description);
        }
        if self.is_reviewed(agency, case) {
            return unfit(
                field,
                "decided the case before, or is under who did, and a review was requested; name another agency",
            );
        }
        match case.owner() == Some(agency) && case.state() != State::AWAITING_DESIGNATION {
            true => unfit(field, "leads the case itself; name another agency"),
            false => Ok(()),
        }
    }

    /// Whether an agency is one of these, or continues one of them.
    pub(super) fn is_one_of<'b>(&self, agency: &AgencyId, earlier: impl IntoIterator<Item = &'b AgencyId>) -> bool {
        let today = Some(self.directory.day(self.now));
        let heir = |earlier: &AgencyId| self.directory.heir(earlier, today).map(|heir| &heir.id);
        earlier
            .into_iter()
            .any(|earlier| earlier == agency || heir(earlier) == Some(agency))
    }

    /// Whether an agency, or one above it, decided the case before a review was requested.
    pub(super) fn is_reviewed(&self, agency: &AgencyId, case: &Case) -> bool {
        let reviewed = &case.course.reviewed;
        let is_under = |decided: &AgencyId| self.directory.is_under(agency, decided);
        reviewed.iter().any(is_under) || self.is_one_of(agency, reviewed)
    }

    /// Whether an agency has the function that the case is routed to.
    pub(super) fn has_function(&self, agency: &AgencyId, matter: &Matter) -> bool {
        let agency = self.directory.agency(agency);
        let function = matter.terms.as_ref().map(|terms| &terms.function);
        function.is_none_or(|function| agency.is_some_and(|agency| agency.functions.contains(function)))
    }

    /// Who designates between an agency that declines and another one: the lowest superior of the
    /// first that is the other or above it. Without one, the last resort. `None` if the first is
    /// the last resort.
    pub(super) fn between<'b>(
        &'b self,
        declines: &AgencyId,
        other: &AgencyId,
        matter: &'b Matter,
    ) -> Option<&'b AgencyId> {
        let last = self.last_resort(matter);
        if declines == last {
            return None;
        }
        let today = Some(self.directory.day(self.now));
        let other = match self.directory.heir(other, today) {
            Some(heir) => &heir.id,
            None => other,
        };
        if self.directory.agency(other).is_none() {
            return self.above(declines, matter);
        }
        let common = self
            .directory
            .chain(declines)
            .skip(1)
            .filter(|above| self.directory.is_under(other, &above.id))
            .filter_map(|above| self.stands_in(&above.id, matter))
            .find(|above| *above != declines);
        Some(common.unwrap_or(last))
    }

    /// The way of a case that its owner leaves. Time that a lead used for the result is kept.
    pub(super) fn left(&self, case: &Case, stage: Stage, duty: &Duty) -> Course {
        let mut course = case.course.clone();
        course.given = None;
        if stage != Stage::AwaitingDesignation {
            Course::add(&mut course.led, &duty.owner);
            self.keep_used(&mut course, duty);
        }
        course
    }

    /// Keeps how much of the row's time for the result the lead has used. A superior's term is none
    /// of it.
    pub(super) fn keep_used(&self, course: &mut Course, duty: &Duty) {
        if duty.clock.kind() == ClockKind::Result && !duty.clock.is_term {
            course.result_used = duty.clock.used(self.now, self.worktime(&duty.owner));
        }
    }

    /// The case in the hands of another owner. The row says which clock starts. Time that the lead
    /// used for the result is kept; requests for assistance go on, but for one of the new owner.
    pub(super) fn handed(
        &self,
        rule: &Rule,
        before: Before<'_>,
        stage: Stage,
        owner: &AgencyId,
        given: (Origin, Event),
    ) -> Result<Transition, Refusal> {
        match self.is_late(before.case) {
            true => barred(before.case, "its deadline has passed: it goes to the superior now"),
            false => self.given_to(rule, before, stage, owner, given),
        }
    }

    /// Whether the time of its lead has ended.
    pub(super) fn is_late(&self, case: &Case) -> bool {
        let has_ended = |clock: &super::Clock| clock.due <= self.now && clock.ledger.paused.is_none();
        case.state() != State::AWAITING_DESIGNATION && case.duty().is_some_and(|duty| has_ended(&duty.clock))
    }

    /// Like [`Rules::handed`], whether or not the deadline has passed.
    pub(super) fn given_to(
        &self,
        rule: &Rule,
        before: Before<'_>,
        stage: Stage,
        owner: &AgencyId,
        (origin, event): (Origin, Event),
    ) -> Result<Transition, Refusal> {
        let Before { case, .. } = before;
        let Standing::Open(left, duty) = &case.standing else {
            return Err(Refusal::Unseen);
        };
        let generation = case.generation + 1;
        let clock = self.duty_clock(rule, before, duty, owner, generation);
        let clock = clock.ok_or(Refusal::Unseen)?;
        let mut after = Case {
            generation,
            giver: None,
            course: self.left(case, *left, duty),
            disposition: None,
            ..case.clone()
        };
        after.drop_claim();
        after.drop_referral();
        after.drop_sharing();
        match &origin {
            Origin::Transferred(from) => after.course.given = Some(Given::ByPeer(from.clone())),
            Origin::Dispatched(_) => after.course.given = Some(Given::BySuperior),
            Origin::Designated(by) => {
                after.course.given = Some(Given::BySuperior);
                Course::add(&mut after.course.designated, owner);
                if by == self.last_resort(before.matter) {
                    after.course.final_lead = Some(owner.clone());
                }
            }
            _ => {}
        }
        after.supporting.retain(|supporter| supporter.agency != *owner);
        after.clocks.retain(|clock| clock.owner != *owner);
        after.standing = Standing::Open(
            stage,
            Duty {
                owner: owner.clone(),
                origin,
                clock,
            },
        );
        Ok(Transition { event, case: after })
    }
}
