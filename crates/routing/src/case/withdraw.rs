//! Withdrawals: before an agency has taken the case over it ends with the reporter's word, later the
//! lead decides. Nobody else can end it so.

use api::{
    event::{self, DispositionEffect, DispositionKind},
    routing::CaseNote,
};
use decision::calendar::ClockKind;
use uuid::Uuid;

use super::{Case, Decided, Disposition, Effect, End, Event, Part, Rule, Rules, Standing, State, Transition};

const UNTAKEN: &[State] = &[State::AWAITING_DESIGNATION, State::ASSIGNED];

/// Remit, for the reporter. Who had the case can open it again, where the law has it follow up what
/// nobody reports any more.
pub(super) const WITHDRAW: &Rule = &Rule {
    name: "withdraw",
    doing: "withdraw",
    may: &[(Part::Remit, UNTAKEN)],
    clocks: &[
        (&[State::AWAITING_DESIGNATION], ClockKind::Designate, Effect::Stop),
        (&[State::ASSIGNED], ClockKind::Acknowledge, Effect::Stop),
        (UNTAKEN, ClockKind::Assist, Effect::Stop),
        (&[State::ASSIGNED], ClockKind::Claim, Effect::Stop),
    ],
};

/// Remit, for the reporter. The lead disposes of the case, as withdrawn or otherwise.
pub(super) const REQUEST_WITHDRAWAL: &Rule = &Rule {
    name: "request-withdrawal",
    doing: "ask to withdraw",
    may: &[(
        Part::Remit,
        &[
            State::AWAITING_DESIGNATION,
            State::ASSIGNED,
            State::IN_PROGRESS,
            State::IN_REVIEW,
        ],
    )],
    clocks: &[],
};

impl Rules<'_> {
    /// The case after its reporter withdrew. What comes after the decision changes nothing else: who
    /// decided is told, and can open the case again.
    pub(super) fn withdrawn(&self, case: &Case, by: Uuid, ends: bool) -> Option<Transition> {
        let state = case.state();
        let mut after = case.clone();
        after.course.withdrawal_requested = true;
        let Some(duty) = case.duty().filter(|_| REQUEST_WITHDRAWAL.allows(Part::Remit, state)) else {
            return (state != State::ADVISED).then_some(Transition {
                event: Event::WithdrawalRequested { by },
                case: after,
            });
        };
        if !ends || !WITHDRAW.allows(Part::Remit, state) {
            return Some(Transition {
                event: Event::WithdrawalRequested { by },
                case: after,
            });
        }
        let what = event::Disposition {
            kind: DispositionKind::Withdrawn.into(),
            effects: vec![DispositionEffect::None.into()],
            legal_basis: "举报人撤回".to_owned(),
        };
        after.course.question = None;
        after.supervisor = None;
        after.drop_claim();
        after.supporting.retain(|supporter| !supporter.by_request);
        Some(Transition {
            event: Event::Withdrawn { by },
            case: Case {
                standing: Standing::Ended(End::Closed),
                clocks: Vec::new(),
                giver: None,
                supervisor: None,
                disposition: Some(Disposition {
                    what,
                    by: duty.owner.clone(),
                    holder: duty.owner.clone(),
                    note: CaseNote::default(),
                    propose_time: self.now,
                    decided: Some(Decided {
                        time: self.now,
                        reviewer: None,
                    }),
                }),
                ..after
            },
        })
    }
}
