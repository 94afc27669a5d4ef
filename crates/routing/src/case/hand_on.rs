//! Handing a case on: what the verbs have in common by which it goes from one agency to another.
//!
//! A case goes no circle. Its lead may transfer it once, if nobody handed it on before; from then
//! on it is declined and handed up to superiors only. A superior dispatches it to a unit that never
//! led it, and designates the same agency once. Only the last resort may designate again, and its
//! word is final: its lead can neither decline nor hand up. So each case changes hands a bounded
//! number of times, and each time somebody owns it, under a clock.

use std::fmt;

use api::event;
use decision::{calendar::ClockKind, directory::AgencyId};

use super::{Before, Case, Duty, Event, Matter, Origin, Refusal, Rule, Rules, Stage, Standing, Transition};

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
    /// How much of the time for the result earlier leads have used, in the unit of
    /// [`Ledger::used`](super::Ledger::used).
    pub result_used: i64,
}

impl Course {
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
    /// Checks that an agency exists and may see the case. `what` it is to be is for the message.
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
        let function = matter.terms.as_ref().map(|terms| &terms.function);
        let has = |function| {
            let agency = self.directory.agency(agency);
            agency.is_some_and(|agency| agency.functions.contains(function))
        };
        if let Some(function) = function.filter(|function| !has(function)) {
            let description = format!("does not have the function `{function}`; `ListDesks` has those at a place");
            return unfit(field, description);
        }
        match case.owner() == Some(agency) && case.state() != super::State::AWAITING_DESIGNATION {
            true => unfit(field, "leads the case itself; name another agency"),
            false => Ok(()),
        }
    }

    /// Whether an agency led the case before, or continues one that did.
    pub(super) fn has_led(&self, agency: &AgencyId, case: &Case) -> bool {
        let today = Some(self.directory.day(self.now));
        let heir = |led: &AgencyId| self.directory.heir(led, today).map(|heir| &heir.id);
        case.course
            .led
            .iter()
            .any(|led| led == agency || heir(led) == Some(agency))
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
        let common = self
            .directory
            .chain(declines)
            .skip(1)
            .filter(|above| self.directory.is_under(other, &above.id))
            .filter_map(|above| self.stands_in(&above.id, matter))
            .find(|above| *above != declines);
        Some(common.unwrap_or(last))
    }

    /// The case in the hands of another owner. The row says which clock starts. Time that the lead
    /// used for the result is kept; requests for assistance go on, but for one of the new owner.
    pub(super) fn handed(
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
            ..case.clone()
        };
        if *left != Stage::AwaitingDesignation {
            Course::add(&mut after.course.led, &duty.owner);
            if duty.clock.kind() == ClockKind::Result {
                let worktime = self.calendars.worktime(self.directory.agency(&duty.owner));
                after.course.result_used = duty.clock.used(self.now, worktime);
            }
        }
        if let Origin::Designated(_) = origin {
            Course::add(&mut after.course.designated, owner);
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
