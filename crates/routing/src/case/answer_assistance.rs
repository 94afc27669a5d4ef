//! `AnswerAssistance`: an agency that was asked to assist says that it did, or cannot.

use api::event::AssistanceAnswer;

use super::{Before, Case, Effect, Event, Part, Refusal, Rule, Rules, State, Transition};
use decision::calendar::ClockKind;

/// What an agency answers that was asked to assist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It assisted. It goes on supporting.
    Provided,
    /// It cannot. It loses sight of the case, unless the route made it support.
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

/// The agency that was asked answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerAssistance {
    /// What.
    pub answer: Answer,
}

impl AnswerAssistance {
    pub(super) const RULE: &Rule = &Rule {
        name: "answer-assistance",
        doing: "answer a request for assistance",
        may: &[(
            Part::Assisting,
            &[
                State::AWAITING_DESIGNATION,
                State::ASSIGNED,
                State::IN_PROGRESS,
                State::IN_REVIEW,
                State::RESOLVED,
            ],
        )],
        clocks: &[(
            &[
                State::AWAITING_DESIGNATION,
                State::ASSIGNED,
                State::IN_PROGRESS,
                State::IN_REVIEW,
                State::RESOLVED,
            ],
            ClockKind::Assist,
            Effect::Stop,
        )],
    };

    pub(super) fn apply(self, _rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, by } = before;
        let by = by.ok_or(Refusal::Unseen)?;
        let asked = |clock: &super::Clock| clock.kind() == ClockKind::Assist && clock.owner == *by;
        let mut case: Case = case.clone();
        case.clocks.retain(|clock| !asked(clock));
        if self.answer == Answer::Unable && !matter.supports(by) {
            case.supporting.retain(|agency| agency != by);
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
        Action, Matter, RequestAssistance,
        tests::{act, id, in_progress, matter},
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
        assert_eq!(provided.case.supporting, case.supporting, "it goes on supporting");
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
                              there is nothing for you to do on it now"
                    .to_owned()
            })
        );
    }

    #[test]
    fn p7_one_that_cannot_assist_loses_sight_unless_the_route_gave_it() {
        let case = asked(&in_progress("police-450100", &["police-440000"]), "police-450200");
        let case = asked(&case, "police-440000");
        let matter = Matter {
            supporting: vec![id("police-440000")],
            ..matter(&[])
        };
        let unable = |case: &Case, by: &str| act(3, case, &matter, by, &answer(Answer::Unable)).unwrap().case;
        let case = unable(&unable(&case, "police-450200"), "police-440000");
        assert_eq!(case.supporting, [id("police-440000")]);
        assert_eq!(case.clocks, []);
    }
}
