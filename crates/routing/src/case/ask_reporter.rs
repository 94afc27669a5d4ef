//! `AskReporter`, and what a reporter says: answers, and information that nobody asked for.

use api::event::PauseGround;
use decision::calendar::ClockKind;
use journal::Time;
use uuid::Uuid;

use super::{Before, Case, Effect, Event, Part, Refusal, Rule, Rules, State, Transition, hand_on::unfit};

/// Days that a reporter has to answer, unless the lead says otherwise. Ours: the law gives days for
/// what an applicant has to complete, and none for a reporter's answer.
pub const ANSWER_DAYS: u32 = 7;
/// The most that a lead can give.
pub const MOST_ANSWER_DAYS: u32 = 30;
/// Maximum number of questions in a case.
const MOST: u64 = 20;

/// The question to the reporter that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its number among those of the case, from 1.
    pub number: u64,
    /// The question.
    pub text: String,
    /// When it was asked.
    pub asked: Time,
    /// By when the lead waits for the answer.
    pub answer_by: Time,
}

/// The lead asks the reporter something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskReporter {
    /// The question.
    pub text: String,
    /// Days that the reporter has to answer.
    pub days: u32,
}

impl AskReporter {
    pub(super) const RULE: &Rule = &Rule {
        name: "ask-reporter",
        doing: "ask the reporter something",
        may: &[(Part::Lead, &[State::IN_PROGRESS])],
        clocks: &[],
    };

    /// The time for the result stands still until the answer or its bound, where the rule set allows
    /// that and as far as it does; otherwise it runs on. A reporter who is silent holds nothing up.
    pub(super) fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let case = before.case;
        if !(1..=MOST_ANSWER_DAYS).contains(&self.days) {
            return unfit(
                "answer_day_count",
                format_args!("is {}; a reporter has 1 to {MOST_ANSWER_DAYS} days", self.days),
            );
        }
        if let Some(open) = case.course.question.as_ref().filter(|open| rules.now < open.answer_by) {
            let description = format!(
                "question {} is open until {}; wait for the answer, or ask then",
                open.number, open.answer_by
            );
            return unfit("question", description);
        }
        if case.course.questions >= MOST {
            return unfit(
                "question",
                format_args!("is one too many: {MOST} were asked; decide on what is known"),
            );
        }
        let number = case.course.questions + 1;
        let answer_by = rules.now.plus_seconds(i64::from(self.days) * 24 * 3_600);
        let mut asked = case.clone();
        asked.course.questions = number;
        asked.course.question = Some(Question {
            number,
            text: self.text.clone(),
            asked: rules.now,
            answer_by,
        });
        let waits = Before { case: &asked, ..before };
        let paused = rules.paused(waits, PauseGround::WaitingForReporter, None);
        Ok(Transition {
            event: Event::QuestionAsked { number },
            case: paused.unwrap_or(asked),
        })
    }
}

/// What a reporter says of a case, by the receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Something that nobody asked for.
    More,
    /// The answer to a question.
    Answer {
        /// The question.
        number: u64,
    },
    /// The reporter asks for a review of what was decided.
    Review,
    /// The reporter withdraws.
    Withdraw {
        /// Whether the case can end with that: it is about nothing else, nobody is excluded from it,
        /// and its category is not urgent.
        ends: bool,
    },
}

/// Whoever has the case is told, and of a closed one who decided it. That opens no case again:
/// anybody with a receipt could.
pub(super) const ADD_INFORMATION: &Rule = &Rule {
    name: "add-information",
    doing: "add information",
    may: &[(
        Part::Remit,
        &[
            State::AWAITING_DESIGNATION,
            State::ASSIGNED,
            State::IN_PROGRESS,
            State::IN_REVIEW,
            State::RESOLVED,
            State::CLOSED,
        ],
    )],
    clocks: &[],
};

/// The question stays open wherever the case goes, until it is decided.
pub(super) const ANSWER_QUESTION: &Rule = &Rule {
    name: "answer-question",
    doing: "answer a question",
    may: &[(
        Part::Remit,
        &[
            State::AWAITING_DESIGNATION,
            State::ASSIGNED,
            State::IN_PROGRESS,
            State::IN_REVIEW,
        ],
    )],
    // If it was paused for the reporter.
    clocks: &[(
        &[State::IN_PROGRESS, State::IN_REVIEW],
        ClockKind::Result,
        Effect::Resume,
    )],
};

impl Rules<'_> {
    /// The case after its reporter said something; `None` if nobody is to be told. An answer to a
    /// question that is not open any more is information all the same.
    #[must_use]
    pub fn said(&self, case: &Case, report: Uuid, said: Said) -> Option<Transition> {
        let state = case.state();
        let open = case.course.question.as_ref().map(|question| question.number);
        let mut after = case.clone();
        let event = match said {
            Said::Answer { number } if open == Some(number) && ANSWER_QUESTION.allows(Part::Remit, state) => {
                after.course.question = None;
                if after.waits_for_reporter()
                    && let Some(resumed) = self.resumed(&after)
                {
                    after = resumed.case;
                }
                Event::QuestionAnswered { number, by: report }
            }
            Said::Withdraw { ends } => return self.withdrawn(case, report, ends),
            _ if ADD_INFORMATION.allows(Part::Remit, state) => Event::InformationAdded { by: report },
            _ => return None,
        };
        Some(Transition { event, case: after })
    }
}

impl Case {
    /// Whether its time is paused because the reporter is asked.
    fn waits_for_reporter(&self) -> bool {
        let paused = self.duty().and_then(|duty| duty.clock.ledger.paused);
        paused.is_some_and(|paused| paused.ground == PauseGround::WaitingForReporter)
    }
}
