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
    /// The notice by whose receipt the affected side asks itself; `None` if the lead passes it on.
    pub notice: Option<u64>,
}

impl RequestReview {
    pub(super) const RULE: &Rule = &Rule {
        name: "request-review",
        doing: "ask for a review",
        may: &[(Part::Lead, &[State::RESOLVED]), (Part::Subject, &[State::RESOLVED])],
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
        if let Some(number) = self.notice {
            let notice = case.notice(number).ok_or(Refusal::Unseen)?;
            if !case.is_current(notice) {
                return barred(case, "that side has no notice of the decision");
            }
        }
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
            notice: self.notice,
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
        // It asked for that, and knows who has it now.
        let notices = &mut after.course.notices;
        if let Some(notice) = notices.iter_mut().find(|notice| Some(notice.number) == self.notice) {
            notice.agency = superior.clone();
        }
        Ok(transition)
    }
}

impl Rules<'_> {
    /// The case after its reporter asked for a review by the receipt. `None` if none can be asked for
    /// now: it is information then, as whatever a reporter says.
    #[must_use]
    pub fn review_asked(&self, case: &Case, matter: &Matter) -> Option<Transition> {
        if case.state() != State::RESOLVED {
            return None;
        }
        let asked = RequestReview {
            requester: ReviewRequester::Reporter,
            notice: None,
        };
        let by = None;
        let transition = asked.apply(self, Before { case, matter, by }).ok()?;
        Some(self.tidied(transition, matter))
    }

    /// Who decides anew if a review is requested of a resolved case; `None` if nobody can.
    pub(crate) fn reviewer<'b>(&'b self, case: &Case, matter: &'b Matter) -> Option<&'b AgencyId> {
        let superior = self.above_in(case.owner()?, case, matter);
        superior.filter(|superior| case.state() == State::RESOLVED && self.has_function(superior, matter))
    }
}
