//! `RequestReview`: the reporter or the affected side disagrees; the superior decides anew.

use api::event::ReviewRequester;

use super::{
    Before, Case, Effect, Event, Matter, Origin, Part, Refusal, Rule, Rules, Stage, State, Supporter, Transition,
    hand_on::barred,
};
use decision::{calendar::ClockKind, directory::AgencyId};

/// A review of the disposition is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestReview {
    /// Who asks for it.
    pub requester: ReviewRequester,
}

impl RequestReview {
    pub(super) const RULE: &Rule = &Rule {
        name: "request-review",
        doing: "pass on a request for a review",
        may: &[(Part::Lead, &[State::RESOLVED])],
        clocks: &[
            (&[State::RESOLVED], ClockKind::Review, Effect::Stop),
            (&[State::RESOLVED], ClockKind::Acknowledge, Effect::Start),
        ],
    };

    /// The superior leads the case; the agency whose decision it is never decides it again.
    pub(super) fn apply(self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, .. } = before;
        let (Some(duty), Some(disposition)) = (case.duty(), &case.disposition) else {
            return Err(Refusal::Unseen);
        };
        let by = &duty.owner;
        if duty.clock.due <= rules.now {
            return barred(
                case,
                "the time for a review has ended; open it again if there is reason to",
            );
        }
        let Some(superior) = rules.reviewer(case, matter) else {
            return barred(
                case,
                "above your agency is nobody, or only the last resort, which decides no case: name the requester the \
                 remedies of the law",
            );
        };
        let event = Event::ReviewRequested {
            requester: self.requester,
            what: disposition.what.clone(),
        };
        let reviewed = (Origin::Review(by.clone()), event);
        let mut transition = rules.handed(Self::RULE, before, Stage::Assigned, superior, reviewed)?;
        let after = &mut transition.case;
        after.course.result_used = 0;
        for decided in [&disposition.by, by] {
            if !after.course.reviewed.contains(decided) {
                after.course.reviewed.push(decided.clone());
            }
        }
        after.supporting.push(Supporter::of(by.clone()));
        Ok(transition)
    }
}

impl Rules<'_> {
    /// Who decides anew if a review is requested of a resolved case; `None` if nobody can.
    pub(crate) fn reviewer<'b>(&'b self, case: &Case, matter: &'b Matter) -> Option<&'b AgencyId> {
        let superior = self.above_in(case.owner()?, case, matter);
        superior.filter(|superior| case.state() == State::RESOLVED && self.has_function(superior, matter))
    }
}
