//! `SuperviseCase`: a superior of the lead watches the case; and the reminder before.
//!
//! The ladder of a clock: its owner is reminded; who misses the time for the result has a last term
//! under its superior's supervision, if the rule set has one; then the superior has the case. Each
//! rung is recorded once, in this order, however long nothing ran.

use decision::{calendar::ClockKind, directory::AgencyId, rules::Span};

use super::{
    Before, Case, Clock, ClockRule, Duty, Effect, Event, Matter, Part, Refusal, Rule, Rules, Stage, Standing, State,
    Supporter, Transition,
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

/// A superior puts the case under its supervision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supervise {
    /// The time in which the lead has to act; `None` if its clock runs on.
    pub term: Option<Span>,
}

impl Supervise {
    /// For a superior that knows the case by name: until then it does not see it.
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
        if rules.is_reviewed(by, case) {
            return barred(case, "your agency decided it before a review was requested");
        }
        let supervisor = case.supervisor.as_ref();
        if supervisor.is_some_and(|supervisor| supervisor != by && !rules.directory.is_under(supervisor, by)) {
            return barred(case, "a superior of your agency supervises it");
        }
        if supervisor == Some(by) && self.term.is_none() {
            return barred(case, "your agency supervises it; set a term to shorten its time");
        }
        let clock = match self.term {
            Some(term) => rules.shortened(case, &duty.clock, term)?,
            None => duty.clock.clone(),
        };
        let generation = case.generation.max(clock.generation);
        let mut after = case.with_duty(*stage, duty, clock);
        after.generation = generation;
        // What was used of the row's time is kept for whoever leads it next.
        if supervisor.is_none() && self.term.is_some() && duty.clock.kind() == ClockKind::Result {
            after.course = rules.used(case, duty);
        }
        after.supervisor = Some(by.clone());
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
        let shorter = self.clock(&clock.owner, rule, case.generation + 1);
        match shorter.due < clock.due {
            true => Ok(shorter),
            false => unfit("term", "ends no earlier than its time does now; name a shorter one"),
        }
    }

    /// The course with the time that the lead used, like [`Rules::left`].
    fn used(&self, case: &Case, duty: &Duty) -> super::Course {
        let mut course = case.course.clone();
        let worktime = self.calendars.worktime(self.directory.agency(&duty.owner));
        course.result_used = duty.clock.used(self.now, worktime);
        course
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
        let is_first = case.supervisor.is_none() && duty.clock.kind() == ClockKind::Result;
        if !is_first || !LATE.allows(Part::Remit, case.state()) {
            return None;
        }
        let rule = ClockRule {
            kind: ClockKind::Result,
            value,
            unit,
        };
        let clock = self.clock(&duty.owner, rule, case.generation + 1);
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

    /// The transition with each agency in one part, and a supervisor only while it is above whoever
    /// leads the case.
    pub(super) fn tidied(&self, transition: Transition) -> Transition {
        let Transition { event, mut case } = transition;
        let watches = |supervisor: &AgencyId, case: &Case| {
            let state = case.state();
            let is_open = LED.contains(&state) || state == State::AWAITING_DESIGNATION;
            let is_above = |owner: &AgencyId| owner != supervisor && self.directory.is_under(owner, supervisor);
            is_open && case.owner().is_some_and(is_above) && !self.is_reviewed(supervisor, case)
        };
        let supervisor = case.supervisor.take();
        case.supervisor = supervisor.filter(|supervisor| watches(supervisor, &case));
        if let Some(supervisor) = &case.supervisor {
            case.supporting.retain(|Supporter { agency, .. }| agency != supervisor);
            case.giver.take_if(|giver| giver == supervisor);
        }
        Transition { event, case }
    }
}
