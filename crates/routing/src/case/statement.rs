//! `SubmitStatement` and `AnswerStatement`: what the affected side says before a decision.

use api::event::{StatementAnswer, StatementKind};

use decision::directory::AgencyId;

use super::{
    Before, Event, Part, Refusal, Rule, Rules, State, Statement, Transition,
    hand_on::{barred, unfit},
};

/// Maximum number of statements on one notice.
const MOST: u64 = 5;

/// The affected side states its view, asks to be heard, or waives both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitStatement {
    /// The notice by whose receipt it is made.
    pub notice: u64,
    /// What it is.
    pub kind: StatementKind,
    /// The agency whose system it comes through, if it is one's.
    pub through: Option<AgencyId>,
}

impl SubmitStatement {
    pub(super) const RULE: &Rule = &Rule {
        name: "submit-statement",
        doing: "state your view",
        may: &[(
            Part::Subject,
            &[
                State::AWAITING_DESIGNATION,
                State::ASSIGNED,
                State::IN_PROGRESS,
                State::IN_REVIEW,
                State::RESOLVED,
            ],
        )],
        clocks: &[],
    };

    /// It has to be answered if it is about what is proposed now. Otherwise whoever has the case
    /// reads it all the same.
    pub(super) fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let before = before.case;
        let mut case = before.clone();
        let notices = &mut case.course.notices;
        let Some(notice) = notices.iter_mut().find(|notice| notice.number == self.notice) else {
            return Err(Refusal::Unseen);
        };
        let is_current = before.is_current(notice);
        if is_current && notice.of_decision {
            return barred(before, "a review can be asked for");
        }
        if notice.statements >= MOST {
            let description = format!("is one too many: {MOST} statements were made on this notice");
            return unfit("kind", description);
        }
        if self.kind == StatementKind::Waived {
            if notice.unanswered().is_some() {
                return unfit("kind", "cannot be waived: a statement waits for its answer");
            }
            // Who decides cannot speak for the side that it decides on.
            if self.through.is_some() && self.through.as_ref() == before.owner() {
                return unfit("kind", "cannot be waived through the agency that decides");
            }
        }
        notice.statements += 1;
        if is_current {
            let waits = notice.unanswered().copied();
            let asked = waits.is_some_and(|waits| waits.kind == StatementKind::HearingRequested);
            notice.said = Some(Statement {
                kind: match asked {
                    true => StatementKind::HearingRequested,
                    false => self.kind,
                },
                time: waits.map_or(rules.now, |waits| waits.time),
                answered: false,
            });
        }
        Ok(Transition {
            event: Event::StatementSubmitted {
                number: self.notice,
                kind: self.kind,
            },
            case,
        })
    }
}

/// The lead answers a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerStatement {
    /// The notice.
    pub notice: u64,
    /// How many statements on it the officer has read.
    pub statements: u64,
    /// What became of them.
    pub answer: StatementAnswer,
}

impl AnswerStatement {
    pub(super) const RULE: &Rule = &Rule {
        name: "answer-statement",
        doing: "answer a statement of the affected side",
        may: &[(Part::Lead, &[State::IN_REVIEW])],
        clocks: &[],
    };

    pub(super) fn apply(self, _rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let mut case = before.case.clone();
        let notices = &mut case.course.notices;
        let Some(notice) = notices.iter_mut().find(|notice| notice.number == self.notice) else {
            let description = format!("is {}, and the case has no such notice", self.notice);
            return unfit("notice_number", description);
        };
        let is_current = before.case.is_current(notice);
        if self.statements != notice.statements {
            let description = format!(
                "is {}, and {} came in: read them first",
                self.statements, notice.statements
            );
            return unfit("statement_count", description);
        }
        let unanswered = notice.unanswered().copied().filter(|_| is_current);
        let Some(statement) = unanswered else {
            return barred(&case, "no statement on this notice waits for an answer");
        };
        let asked_to_be_heard = statement.kind == StatementKind::HearingRequested;
        let is_of_hearing = matches!(self.answer, StatementAnswer::Heard | StatementAnswer::HearingRefused);
        if asked_to_be_heard != is_of_hearing {
            return match asked_to_be_heard {
                true => unfit(
                    "answer",
                    "must be that it was heard or why not: the affected side asked to be heard",
                ),
                false => unfit("answer", "is for those who ask to be heard, and nobody did"),
            };
        }
        notice.said = Some(Statement {
            answered: true,
            ..statement
        });
        Ok(Transition {
            event: Event::StatementAnswered {
                number: self.notice,
                answer: self.answer,
            },
            case,
        })
    }
}
