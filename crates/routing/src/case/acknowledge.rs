//! `AcknowledgeCase`: the lead acknowledges the case.

use super::{Before, Case, Duty, Effect, Event, Part, Refusal, Rule, Rules, Stage, Standing, State, Transition};
use decision::calendar::ClockKind;

/// The lead acknowledges the case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledge;

impl Acknowledge {
    pub(super) const RULE: &Rule = &Rule {
        name: "acknowledge",
        doing: "take it over",
        may: &[(Part::Lead, &[State::ASSIGNED])],
        clocks: &[
            (&[State::ASSIGNED], ClockKind::Acknowledge, Effect::Stop),
            (&[State::ASSIGNED], ClockKind::Result, Effect::Start),
        ],
    };

    pub(super) fn apply(self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let case = before.case;
        let duty = case.duty().ok_or(Refusal::Unseen)?;
        let generation = case.generation + 1;
        let clock = rules.duty_clock(Self::RULE, before, duty, &duty.owner, generation);
        let duty = Duty {
            clock: clock.ok_or(Refusal::Unseen)?,
            ..duty.clone()
        };
        Ok(Transition {
            event: Event::Acknowledged,
            case: Case {
                standing: Standing::Open(Stage::InProgress, duty),
                generation,
                giver: None,
                ..case.clone()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{
        Action, Origin,
        tests::{act, assigned, matter, standing_of},
    };

    #[test]
    fn only_the_lead_acknowledges_and_only_once() {
        let case = assigned("police-450100", &["police-440000"]);
        let by = |case: &Case, agency: &str| act(2, case, &matter(&[]), agency, &Action::Acknowledge(Acknowledge));
        assert_eq!(
            by(&case, "police-440000"),
            Err(Refusal::NotYours {
                description: "only the lead may take it over; now you can claim the lead, or step aside".to_owned()
            })
        );
        assert_eq!(
            by(&case, "police-450000"),
            Err(Refusal::NotYours {
                description: "only the lead may take it over; now you can supervise it".to_owned()
            }),
            "not even its superior"
        );
        assert_eq!(by(&case, "police-450200"), Err(Refusal::Unseen));
        let taken = by(&case, "police-450100").unwrap();
        assert_eq!(taken.event, Event::Acknowledged);
        assert_eq!(
            standing_of(&taken.case),
            (State::IN_PROGRESS, "police-450100", 2, 102, vec!["police-440000"])
        );
        assert_eq!(taken.case.duty().unwrap().origin, Origin::Routed);
        assert_eq!(
            by(&taken.case, "police-450100"),
            Err(Refusal::WrongState {
                state: State::IN_PROGRESS,
                description: "the case is IN_PROGRESS; to take it over it must be ASSIGNED; \
                              now you can transfer it to another agency, or hand it up to your superior, \
                              or dispatch it to a unit under your agency, or file it under another category, or ask another agency to assist, \
                              or answer a claim to lead it, or record progress, or record an urgent measure, \
                              or ask the reporter something, or propose a disposition, or step aside, or pause the time for the result, \
                              or resume the time for the result, or share what the reports say, \
                              or end the link of a joined case"
                    .to_owned()
            })
        );
    }
}
