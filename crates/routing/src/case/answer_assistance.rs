//! `AnswerAssistance`: an agency that was asked to assist answers that it did, or is unable to.

use api::event::AssistanceAnswer;

use super::{Before, Case, Effect, Event, Part, Refusal, Rule, Rules, State, Transition};
use decision::calendar::ClockKind;

/// The answer of an agency that was asked to assist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It assisted. It continues to support the case.
    Provided,
    /// It is unable to. It no longer sees the case, unless it has a part in it without the request.
    Unable,
}

impl From<Answer> for AssistanceAnswer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Provided => Self::Provided,
            Answer::Unable => Self::Unable,
        }
    }
}

/// The agency asked to assist answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerAssistance {
    /// Its answer.
    pub answer: Answer,
}

impl AnswerAssistance {
    pub(super) const RULE: &Rule = &Rule {
        name: "answer-assistance",
        doing: "answer a request for assistance",
        may: &[(Part::Assisting, State::OPEN)],
        clocks: &[(State::OPEN, ClockKind::Assist, Effect::Stop)],
    };

    pub(super) fn apply(self, _rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, by, .. } = before;
        let by = by.ok_or(Refusal::Unseen)?;
        let asked = |clock: &super::Clock| clock.kind() == ClockKind::Assist && clock.owner == *by;
        let mut case: Case = case.clone();
        case.clocks.retain(|clock| !asked(clock));
        match self.answer {
            Answer::Unable => {
                case.supporting
                    .retain(|supporter| supporter.agency != *by || !supporter.by_request);
                // Who has no part any more claims no lead.
                if case.is_claimed_by(by) && !case.is_supported_by(by) {
                    case.drop_claim();
                }
            }
            // Having assisted, it keeps its part whatever it answers to another request.
            Answer::Provided => case
                .supporting
                .iter_mut()
                .filter(|supporter| supporter.agency == *by)
                .for_each(|supporter| supporter.by_request = false),
        }
        Ok(Transition {
            event: Event::AssistanceAnswered {
                by: by.clone(),
                answer: self.answer,
            },
            case,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{
        Action, RequestAssistance,
        tests::{act, id, in_progress, matter, rules},
    };

    fn answer(answer: Answer) -> Action {
        Action::AnswerAssistance(AnswerAssistance { answer })
    }

    fn asked(case: &Case, of: &str) -> Case {
        let request = Action::RequestAssistance(RequestAssistance { of: id(of) });
        act(2, case, &matter(&[]), "police-450100", &request).unwrap().case
    }

    #[test]
    fn an_answer_ends_the_clock_of_the_one_that_gives_it() {
        let case = asked(&in_progress("police-450100", &["police-440000"]), "police-450200");
        let case = asked(&case, "police-440000");
        let provided = act(3, &case, &matter(&[]), "police-450200", &answer(Answer::Provided)).unwrap();
        let left: Vec<_> = provided.case.clocks.iter().map(|clock| clock.owner.as_str()).collect();
        assert_eq!(left, ["police-440000"]);
        assert!(
            provided.case.supporting().eq(case.supporting()),
            "it goes on supporting"
        );
        let again = act(
            4,
            &provided.case,
            &matter(&[]),
            "police-450200",
            &answer(Answer::Unable),
        );
        assert_eq!(
            again,
            Err(Refusal::NotYours {
                description: "only the agency asked to assist may answer a request for assistance; \
                              now you can claim the lead, or step aside"
                    .to_owned()
            })
        );
    }

    fn unable(case: &Case, by: &str) -> Vec<String> {
        let after = act(3, case, &matter(&[]), by, &answer(Answer::Unable)).unwrap().case;
        assert_eq!(after.clocks.len() + 1, case.clocks.len());
        after.supporting().map(ToString::to_string).collect()
    }

    #[test]
    fn p7_one_that_cannot_assist_keeps_a_part_that_it_had_before_and_no_other() {
        // Asked, and nothing else.
        let case = asked(&in_progress("police-450100", &["police-440000"]), "police-450200");
        assert_eq!(unable(&case, "police-450200"), ["police-440000"]);
        // Named by the route.
        let case = asked(&case, "police-440000");
        assert_eq!(unable(&case, "police-440000"), ["police-440000", "police-450200"]);
        // Led before: the case was handed up, and taken over by the superior.
        let case = in_progress("police-450000", &[]);
        let late = rules(1_000).clock_missed(&in_progress("police-450100", &[]), &matter(&[]), ClockKind::Result, 2);
        let case = Case {
            supporting: late.unwrap().case.supporting,
            ..case
        };
        let request = Action::RequestAssistance(RequestAssistance {
            of: id("police-450100"),
        });
        let case = act(2, &case, &matter(&[]), "police-450000", &request).unwrap().case;
        assert_eq!(unable(&case, "police-450100"), ["police-450100"]);
        // Assisted before, by another request.
        let case = asked(&in_progress("police-450100", &[]), "police-450200");
        let provided = act(3, &case, &matter(&[]), "police-450200", &answer(Answer::Provided)).unwrap();
        let case = asked(&provided.case, "police-450200");
        assert_eq!(unable(&case, "police-450200"), ["police-450200"]);
    }

    #[test]
    fn p7_a_request_that_is_passed_on_gives_a_part_by_request_only() {
        let missed = |case: &Case| {
            let clock = case.clocks.last().unwrap();
            let missed = rules(1_000).clock_missed(case, &matter(&[]), ClockKind::Assist, clock.generation);
            missed.unwrap().case
        };
        // To one that had no part.
        let case = missed(&asked(&in_progress("police-450100", &[]), "police-440300"));
        assert_eq!(unable(&case, "police-440000"), ["police-440300"]);
        // To one that the route named.
        let case = missed(&asked(
            &in_progress("police-450100", &["police-440000"]),
            "police-440300",
        ));
        assert_eq!(unable(&case, "police-440000"), ["police-440000", "police-440300"]);
    }
}
