//! `SuperviseCase`: a superior of the lead watches the case; and the reminder before.
//!
//! The ladder of a clock: its owner is reminded; who misses the time for the result has a last term
//! under its superior's supervision, if the rule set has one; then the superior has the case. Each
//! rung is recorded once, in this order, however long nothing ran.

use decision::{calendar::ClockKind, directory::AgencyId, rules::Span};

use super::{
    Before, Case, Clock, ClockRule, Duty, Effect, Event, Matter, Part, Refusal, Rule, Rules, Stage, Standing, State,
    Transition,
    hand_on::{barred, unfit},
};

const LED: &[State] = &[State::ASSIGNED, State::IN_PROGRESS, State::IN_REVIEW];
const WORKED: &[State] = &[State::IN_PROGRESS, State::IN_REVIEW];

/// The owner is reminded of its clock.
pub(super) const REMIND: &Rule = &Rule {
    name: "remind",
    doing: "remind of a deadline",
    may: &[(Part::Remit, State::OPEN)],
    // They run on.
    clocks: &[],
};

/// The lead missed the time for the result, and has a last term.
pub(super) const LATE: &Rule = &Rule {
    name: "supervise-late",
    doing: "put it under supervision",
    may: &[(Part::Remit, WORKED)],
    clocks: &[(WORKED, ClockKind::Result, Effect::Start)],
};

/// Another directory has put the lead under others than its supervisor.
pub(super) const END: &Rule = &Rule {
    name: "end-supervision",
    doing: "end supervision",
    may: &[(Part::Remit, LED)],
    clocks: &[],
};

/// A superior puts the case under its supervision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supervise {
    /// The time in which the lead has to act; `None` if its clock runs on.
    pub term: Option<Span>,
}

impl Supervise {
    /// For a superior that has the case on the lists of what is below it: until then it sees its
    /// outline.
    pub(super) const RULE: &Rule = &Rule {
        name: "supervise",
        doing: "supervise it",
        may: &[(Part::SuperiorOfLead, LED), (Part::Supervising, LED)],
        clocks: &[
            (&[State::ASSIGNED], ClockKind::Acknowledge, Effect::Start),
            (WORKED, ClockKind::Result, Effect::Start),
        ],
    };

    pub(super) fn apply(self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, by, .. } = before;
        let by = by.ok_or(Refusal::Unseen)?;
        let Standing::Open(stage, duty) = &case.standing else {
            return Err(Refusal::Unseen);
        };
        let supervisor = case.supervisor.as_ref();
        let clock = match (supervisor == Some(by), self.term) {
            (false, Some(_)) => {
                return unfit(
                    "term",
                    "is for a superior that supervises the case already; supervise it first",
                );
            }
            // Which of both, it is not told: it sees the outline only.
            (false, None) if rules.is_reviewed(by, case) || rules.is_below(by, supervisor) => {
                return barred(
                    case,
                    "your agency cannot supervise it: one above it does, or its own decision of it was reviewed",
                );
            }
            (false, None) => duty.clock.clone(),
            (true, None) => return barred(case, "your agency supervises it; set a term to shorten its time"),
            (true, Some(term)) => rules.shortened(case, &duty.clock, term)?,
        };
        let generation = case.generation.max(clock.generation);
        let mut after = case.with_duty(*stage, duty, clock);
        after.generation = generation;
        // What was used of the row's time is kept for whoever leads it next.
        if self.term.is_some() {
            rules.keep_used(&mut after.course, duty);
        }
        after.supervisor = Some(by.clone());
        after
            .supporting
            .iter_mut()
            .filter(|supporter| supporter.agency == *by)
            .for_each(|of| of.informed = false);
        Ok(Transition {
            event: Event::Supervised {
                by: by.clone(),
                missed: None,
            },
            case: after,
        })
    }
}

impl Rules<'_> {
    /// Whether another agency supervises that is not under this one.
    fn is_below(&self, by: &AgencyId, supervisor: Option<&AgencyId>) -> bool {
        supervisor.is_some_and(|supervisor| !self.directory.is_under(supervisor, by))
    }

    /// The clock with another term, which must end before it.
    fn shortened(&self, case: &Case, clock: &Clock, (value, unit): Span) -> Result<Clock, Refusal> {
        if clock.ledger.paused.is_some() {
            return barred(
                case,
                "its time is paused; supervise it without a term, or when it runs again",
            );
        }
        let rule = ClockRule {
            kind: clock.kind(),
            value,
            unit,
        };
        let shorter = Clock {
            is_term: true,
            ..self.clock(&clock.owner, rule, case.generation + 1)
        };
        match shorter.due < clock.due {
            true => Ok(shorter),
            false => unfit("term", "ends no earlier than its time does now; name a shorter one"),
        }
    }

    /// The next change of a clock by time alone: the reminder if it is due, or else its end. `None`
    /// if that generation no longer runs, or nothing is due.
    pub fn clock_due(&self, case: &Case, matter: &Matter, kind: ClockKind, generation: u64) -> Option<Transition> {
        let is_it = |clock: &&Clock| clock.generation == generation && clock.kind() == kind;
        let clock = case.all_clocks().find(is_it)?;
        match clock.remind.filter(|remind| *remind <= self.now) {
            Some(_) if REMIND.allows(Part::Remit, case.state()) => Some(Self::reminded(case, clock)),
            _ => self.clock_missed(case, matter, kind, generation),
        }
    }

    fn reminded(case: &Case, of: &Clock) -> Transition {
        let again = |clock: &Clock| match clock == of {
            true => clock.clone().with_reminder(),
            false => clock.clone(),
        };
        let mut after = case.clone();
        if let Standing::Open(_, duty) = &mut after.standing {
            duty.clock = again(&duty.clock);
        }
        after.clocks = case.clocks.iter().map(again).collect();
        Transition {
            event: Event::Reminded { of: of.clone() },
            case: after,
        }
    }

    /// The lead missed the time for the result: it has the rule set's last term under its superior's
    /// supervision. `None` without such a term, and if it had one.
    pub(super) fn late(
        &self,
        before: Before<'_>,
        stage: Stage,
        duty: &Duty,
        superior: &AgencyId,
    ) -> Option<Transition> {
        let Before { case, matter, .. } = before;
        let (value, unit) = matter.terms.as_ref()?.supervision?;
        let is_first = !duty.clock.is_term && duty.clock.kind() == ClockKind::Result;
        // The last resort is above nobody: it has the case at once.
        let is_above = self.directory.is_under(&duty.owner, superior);
        if !is_first || !is_above || !LATE.allows(Part::Remit, case.state()) {
            return None;
        }
        let rule = ClockRule {
            kind: ClockKind::Result,
            value,
            unit,
        };
        let clock = Clock {
            is_term: true,
            ..self.clock(&duty.owner, rule, case.generation + 1)
        };
        let mut after = case.with_duty(stage, duty, clock);
        after.generation += 1;
        after.supervisor = Some(superior.clone());
        // Its time ran out: whoever leads it next has the whole again.
        after.course.result_used = 0;
        Some(Transition {
            event: Event::Supervised {
                by: superior.clone(),
                missed: Some(duty.clock.clone()),
            },
            case: after,
        })
    }

    /// Who supervises a case, if that is still a superior of its lead that may.
    pub(super) fn supervisor<'b>(&'b self, case: &'b Case, matter: &'b Matter) -> Option<&'b AgencyId> {
        let supervisor = case.supervisor.as_ref()?;
        let may = self.stands_in(supervisor, matter) == Some(supervisor) && !self.is_reviewed(supervisor, case);
        let is_above = |owner: &AgencyId| owner != supervisor && self.directory.is_under(owner, supervisor);
        case.owner().filter(|owner| may && is_above(owner)).map(|_| supervisor)
    }

    /// The change by which a supervisor goes that is no superior of the lead any more; `None` if it is.
    pub fn unwatched(&self, case: &Case, matter: &Matter) -> Option<Transition> {
        let by = case
            .supervisor
            .clone()
            .filter(|_| END.allows(Part::Remit, case.state()))?;
        let event = Event::SupervisionEnded { by };
        let transition = self.tidied(
            Transition {
                event,
                case: case.clone(),
            },
            matter,
        );
        transition.case.supervisor.is_none().then_some(transition)
    }

    /// The transition with a supervisor only while it is above a lead that has to come to a result, and
    /// in no other part than a supporting one besides.
    pub(super) fn tidied(&self, transition: Transition, matter: &Matter) -> Transition {
        let Transition { event, mut case } = transition;
        if !LED.contains(&case.state()) || self.supervisor(&case, matter).is_none() {
            case.supervisor = None;
        }
        if let Some(supervisor) = &case.supervisor {
            case.giver.take_if(|giver| giver == supervisor);
        }
        Transition { event, case }
    }
}
