//! Missed clocks: the case or the request goes to the superior of the agency that missed it.

use super::{
    Before, Case, Clock, Duty, Effect, Event, Matter, Origin, Part, Rule, Rules, Stage, Standing, State, Supporter,
    Transition, claim, close, pause, refer,
};
use decision::{calendar::ClockKind, directory::AgencyId};

const LED: &[State] = &[State::ASSIGNED, State::IN_PROGRESS, State::IN_REVIEW];

/// The states in which the owner has to act. In the others, time only has to pass.
const OWED: &[State] = &[
    State::AWAITING_DESIGNATION,
    State::ASSIGNED,
    State::IN_PROGRESS,
    State::IN_REVIEW,
];

/// The owner missed its clock, and has a superior.
pub(super) const RULE: &Rule = &Rule {
    name: "hand-up",
    doing: "hand it up",
    may: &[(Part::Remit, OWED)],
    clocks: &[
        (&[State::AWAITING_DESIGNATION], ClockKind::Designate, Effect::Start),
        (LED, ClockKind::Acknowledge, Effect::Start),
        (LED, ClockKind::Result, Effect::Stop),
        (&[State::ASSIGNED, State::IN_PROGRESS], ClockKind::Claim, Effect::Stop),
    ],
};

/// The last resort missed its clock, and has no superior.
pub(super) const REPEAT: &Rule = &Rule {
    name: "repeat-clock",
    doing: "set the clock again",
    may: &[(Part::Remit, OWED)],
    clocks: &[
        (&[State::AWAITING_DESIGNATION], ClockKind::Designate, Effect::Start),
        (&[State::ASSIGNED], ClockKind::Acknowledge, Effect::Start),
        (
            &[State::IN_PROGRESS, State::IN_REVIEW],
            ClockKind::Result,
            Effect::Start,
        ),
    ],
};

/// An agency that was asked to assist missed its clock, or ended without a successor: its superior
/// is asked instead.
pub(super) const PASS_ON: &Rule = &Rule {
    name: "pass-assistance-up",
    doing: "pass the request for assistance up",
    may: &[(Part::Remit, State::OPEN)],
    clocks: &[(State::OPEN, ClockKind::Assist, Effect::Start)],
};

impl Rules<'_> {
    /// Ends a clock that has run out. `None` if that generation no longer runs or is not due.
    pub fn clock_missed(&self, case: &Case, matter: &Matter, kind: ClockKind, generation: u64) -> Option<Transition> {
        let Standing::Open(stage, duty) = &case.standing else {
            return None;
        };
        let missed = case
            .all_clocks()
            .find(|clock| clock.generation == generation && clock.kind() == kind)
            .filter(|clock| clock.due <= self.now)?;
        if missed == &duty.clock && missed.ledger.paused.is_some() {
            return self
                .resumed(case)
                .filter(|_| pause::END.allows(Part::Remit, case.state()));
        }
        let before = Before { case, matter, by: None };
        let may = |rule: &Rule| rule.allows(Part::Remit, case.state());
        let event = Event::ClockMissed { missed: missed.clone() };
        // Who supervises a lead has the case if that is late again.
        let supervisor = self.supervisor(case, matter).filter(|_| missed == &duty.clock);
        let transition = match (kind, supervisor.or_else(|| self.above_in(&missed.owner, case, matter))) {
            (ClockKind::Review, _) if may(close::RULE) => self.closed(case),
            (ClockKind::Claim, _) if may(claim::DISPUTE) => Some(self.claim_missed(case, matter, event)),
            (ClockKind::Refer | ClockKind::Receive, _) if may(refer::LATE) => {
                Some(self.referral_late(case, matter, missed, event))
            }
            (ClockKind::Assist, superior) if may(PASS_ON) => Some(self.passed_on(case, missed, superior, event)),
            (_, Some(superior)) if missed == &duty.clock && may(RULE) => self
                .late(before, *stage, duty, superior)
                .or_else(|| self.escalated(before, *stage, duty, superior.clone())),
            (_, None) if missed == &duty.clock && may(REPEAT) => self.repeated(before, *stage, duty),
            _ => None,
        };
        transition.map(|transition| self.tidied(transition, matter))
    }

    /// Makes the superior the owner, and the former lead a supporting agency.
    fn escalated(&self, before: Before<'_>, stage: Stage, duty: &Duty, superior: AgencyId) -> Option<Transition> {
        let mut case = Self::with_new_budget(
            &Case {
                course: self.left(before.case, stage, duty),
                disposition: None,
                ..before.case.clone()
            },
            &duty.clock,
        );
        case.drop_claim();
        case.drop_sharing();
        let case = &case;
        let before = Before { case, ..before };
        let mut supporting = case.supporting.clone();
        let stage = match stage {
            Stage::AwaitingDesignation => stage,
            _ => {
                supporting.push(Supporter::of(duty.owner.clone()));
                Stage::Assigned
            }
        };
        supporting.retain(|supporter| supporter.agency != superior);
        let generation = case.generation + 1;
        let clock = self.duty_clock(RULE, before, duty, &superior, generation)?;
        Some(Transition {
            event: Event::Escalated {
                missed: duty.clock.clone(),
            },
            case: Case {
                clocks: case
                    .clocks
                    .iter()
                    .filter(|clock| clock.owner != superior)
                    .cloned()
                    .collect(),
                standing: Standing::Open(
                    stage,
                    Duty {
                        clock,
                        owner: superior,
                        origin: Origin::Escalated(duty.owner.clone()),
                    },
                ),
                supporting,
                giver: None,
                supervisor: case.supervisor.clone(),
                course: case.course.clone(),
                disposition: None,
                generation,
            },
        })
    }

    /// The case after a missed clock. The time for the result is all used if it ran out: whoever
    /// has to come to it now has the whole again.
    fn with_new_budget(case: &Case, missed: &Clock) -> Case {
        let mut case = case.clone();
        if missed.kind() == ClockKind::Result {
            case.course.result_used = 0;
        }
        case
    }

    /// Starts the last resort's clock again, and records that it was missed.
    fn repeated(&self, before: Before<'_>, stage: Stage, duty: &Duty) -> Option<Transition> {
        let case = &Self::with_new_budget(before.case, &duty.clock);
        let before = Before { case, ..before };
        let generation = case.generation + 1;
        let clock = self.duty_clock(REPEAT, before, duty, &duty.owner, generation)?;
        Some(Transition {
            event: Event::ClockMissed {
                missed: duty.clock.clone(),
            },
            case: Case {
                standing: Standing::Open(stage, Duty { clock, ..duty.clone() }),
                generation,
                ..case.clone()
            },
        })
    }

    /// Asks the superior instead, unless it owns the case, answers for it as its giver, or was asked
    /// already. Asks the last resort again.
    pub(super) fn passed_on(
        &self,
        case: &Case,
        request: &Clock,
        superior: Option<&AgencyId>,
        event: Event,
    ) -> Transition {
        let next = superior.unwrap_or(&request.owner);
        let mut after = case.clone();
        after.clocks.retain(|clock| clock != request);
        let asked = |clock: &Clock| clock.kind() == request.kind() && clock.owner == *next;
        let has_a_part = |part: Option<&AgencyId>| part == Some(next);
        let answers = has_a_part(case.owner()) || has_a_part(case.giver.as_ref());
        if !answers && !after.clocks.iter().any(asked) {
            after.generation += 1;
            after.clocks.push(self.clock(next, request.rule, after.generation));
            if !after.is_supported_by(next) {
                after.supporting.push(Supporter::asked(next.clone()));
            }
        }
        Transition { event, case: after }
    }
}
