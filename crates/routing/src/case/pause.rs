//! `PauseClock` and `ResumeClock`: the time for the result stands still, on a ground and for as long
//! as the rule set allows.

use api::event::PauseGround;
use decision::{
    calendar::{self, ClockKind, ClockRule},
    rules::PauseNeed,
};
use journal::Time;

use super::{
    Before, Case, Clock, Duty, Effect, Event, Part, Paused, Refusal, Rule, Rules, Standing, State, Transition,
    hand_on::{barred, unfit},
    instant,
};

const LED: &[State] = &[State::IN_PROGRESS, State::IN_REVIEW];

/// Maximum number of pauses of a clock.
const MOST: usize = 20;

/// The lead pauses the time for the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseClock {
    /// Why.
    pub ground: PauseGround,
    /// Until when at the latest; `None` for as long as the ground allows.
    pub until: Option<Time>,
}

impl PauseClock {
    pub(super) const RULE: &Rule = &Rule {
        name: "pause",
        doing: "pause the time for the result",
        may: &[(Part::Lead, LED)],
        clocks: &[(LED, ClockKind::Result, Effect::Pause)],
    };

    pub(super) fn apply(self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        Ok(Transition {
            event: Event::ClockPaused { ground: self.ground },
            case: rules.paused(before, self.ground, self.until)?,
        })
    }
}

/// The lead resumes it before the pause ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeClock;

impl ResumeClock {
    pub(super) const RULE: &Rule = &Rule {
        name: "resume",
        doing: "resume the time for the result",
        may: &[(Part::Lead, LED)],
        clocks: &[(LED, ClockKind::Result, Effect::Resume)],
    };

    pub(super) fn apply(self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        match rules.resumed(before.case) {
            Some(transition) => Ok(transition),
            None => barred(before.case, "its time is not paused"),
        }
    }
}

/// The bound of a pause has come.
pub(super) const END: &Rule = &Rule {
    name: "end-pause",
    doing: "end a pause",
    may: &[(Part::Remit, LED)],
    clocks: &[(LED, ClockKind::Result, Effect::Resume)],
};

impl Rules<'_> {
    /// The case with the time for its result paused. Refuses grounds that its terms do not have, and
    /// more than they allow.
    pub(super) fn paused(&self, before: Before<'_>, ground: PauseGround, until: Option<Time>) -> Result<Case, Refusal> {
        let Before { case, matter, .. } = before;
        let (Standing::Open(stage, duty), Some(terms)) = (&case.standing, &matter.terms) else {
            return Err(Refusal::Unseen);
        };
        if case.supervisor.is_some() {
            return barred(case, "under supervision its time is not paused");
        }
        if duty.clock.ledger.paused.is_some() {
            return barred(case, "its time is paused already; resume it first");
        }
        if duty.clock.due <= self.now {
            return barred(case, "its deadline has passed");
        }
        if duty.clock.ledger.pauses.len() >= MOST {
            return barred(case, format_args!("its time was paused {MOST} times already"));
        }
        let question = case.course.question.as_ref().filter(|open| self.now < open.answer_by);
        if ground == PauseGround::WaitingForReporter && question.is_none() {
            return unfit(
                "ground",
                "waits for an answer, and no question is open; ask the reporter first",
            );
        }
        let Some(need) = terms.pauses.iter().find(|need| need.ground == ground) else {
            let known: Vec<_> = terms.pauses.iter().map(PauseNeed::name).collect();
            return match known.is_empty() {
                true => unfit("ground", "is none that the rule set allows for it; it allows no pauses"),
                false => unfit(
                    "ground",
                    format_args!(
                        "is none that the rule set allows for it; it allows {}",
                        known.join(", ")
                    ),
                ),
            };
        };
        let worktime = self.worktime(&duty.owner);
        let bound = ClockRule {
            kind: ClockKind::Result,
            value: need.value,
            unit: need.unit,
        };
        let taken = duty.clock.paused_for(ground, need.unit, worktime);
        let latest = calendar::due_after(instant(self.now), bound, taken, worktime).at;
        let latest = Time(latest.as_microsecond());
        let (value, unit) = (need.value, need.unit.as_str());
        if latest <= self.now || taken >= calendar::total(bound) {
            return unfit(
                "ground",
                format_args!("has taken the {value} {unit} that the rule set allows for it"),
            );
        }
        let latest = match question.filter(|_| ground == PauseGround::WaitingForReporter) {
            Some(question) => latest.min(question.answer_by),
            None => latest,
        };
        let until = until.unwrap_or(latest);
        if until <= self.now {
            return unfit("until_time", "has passed; name a later time, or none");
        }
        if until > latest {
            return unfit(
                "until_time",
                format_args!(
                    "is later than {value} {unit} in all allow, or than the answer; name no time to have what is left"
                ),
            );
        }
        let clock = duty.clock.clone().pause(self.now, Paused { ground, until }, worktime);
        Ok(case.with_duty(*stage, duty, clock))
    }

    /// The change by which a paused time runs again; `None` if it is not paused.
    pub(super) fn resumed(&self, case: &Case) -> Option<Transition> {
        let Standing::Open(stage, duty) = &case.standing else {
            return None;
        };
        let Paused { ground, until } = duty.clock.ledger.paused?;
        let worktime = self.worktime(&duty.owner);
        // However late it is seen, a pause took no more than its time.
        let clock = duty.clock.clone().resume(self.now.min(until), worktime);
        Some(Transition {
            event: Event::ClockResumed { ground },
            case: case.with_duty(*stage, duty, clock),
        })
    }
}

impl Case {
    /// The case with another clock of its owner.
    pub(super) fn with_duty(&self, stage: super::Stage, duty: &Duty, clock: Clock) -> Self {
        Self {
            standing: Standing::Open(stage, Duty { clock, ..duty.clone() }),
            ..self.clone()
        }
    }
}
