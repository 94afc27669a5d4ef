//! `ClaimLead`: a supporting agency claims the lead. `AnswerClaim`: the lead agrees or disputes it.

use super::{
    Before, Case, Effect, Event, Matter, Origin, Part, Reason, Refusal, Rule, Rules, Stage, State, Supporter,
    Transition,
    hand_on::{Given, barred},
};
use decision::{
    calendar::{ClockKind, ClockRule, Unit},
    directory::AgencyId,
};

/// Time for the lead to answer a claim: 7 working days, as for agencies that negotiate a dispute
/// (市场监督管理行政处罚程序规定).
pub const CLAIM: ClockRule = ClockRule {
    kind: ClockKind::Claim,
    value: 7,
    unit: Unit::WorkingDays,
};

const FROM: &[State] = &[State::ASSIGNED, State::IN_PROGRESS];

/// A supporting agency claims the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimLead {
    /// Why.
    pub reason: Reason,
}

impl ClaimLead {
    pub(super) const RULE: &Rule = &Rule {
        name: "claim",
        doing: "claim the lead",
        may: &[(Part::Supporting, FROM)],
        clocks: &[(FROM, ClockKind::Claim, Effect::Start)],
    };

    pub(super) fn apply(self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, by } = before;
        let (Some(by), Some(lead)) = (by, case.owner()) else {
            return Err(Refusal::Unseen);
        };
        let course = &case.course;
        if let Some(claimant) = &course.claimant {
            let claimant = claimant.resource_name();
            return barred(
                case,
                format_args!("{claimant} claims it already; the lead must answer first"),
            );
        }
        if matches!(course.given, Some(Given::BySuperior | Given::ByClaim)) || course.final_lead.is_some() {
            return barred(
                case,
                "it is settled already who leads it, by a superior or by an earlier claim",
            );
        }
        if rules.above(lead, matter).is_none() {
            return barred(case, "nobody is above its lead, who could decide about a claim");
        }
        if let Some(why) = rules.cannot_claim(by, case, matter) {
            return barred(case, format_args!("your agency {why}"));
        }
        let mut after = case.clone();
        after.generation += 1;
        after.clocks.push(rules.clock(lead, CLAIM, after.generation));
        after.course.claimant = Some(by.clone());
        Ok(Transition {
            event: Event::LeadClaimed {
                by: by.clone(),
                reason: self.reason,
            },
            case: after,
        })
    }
}

/// The lead answers a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerClaim {
    /// Whether the claimant leads from now on. Otherwise a superior designates.
    pub agreed: bool,
}

/// A claim is disputed, or not answered in time.
pub(super) const DISPUTE: &Rule = &Rule {
    name: "dispute-claim",
    doing: "have a superior decide about a claim",
    may: &[(Part::Remit, FROM)],
    clocks: &[
        (FROM, ClockKind::Claim, Effect::Stop),
        (&[State::ASSIGNED], ClockKind::Acknowledge, Effect::Stop),
        (&[State::IN_PROGRESS], ClockKind::Result, Effect::Stop),
        (FROM, ClockKind::Designate, Effect::Start),
    ],
};

impl AnswerClaim {
    pub(super) const RULE: &Rule = &Rule {
        name: "answer-claim",
        doing: "answer a claim to lead it",
        may: &[(Part::Lead, FROM)],
        // When it is disputed, as for `dispute-claim`.
        clocks: &[
            (FROM, ClockKind::Claim, Effect::Stop),
            (&[State::IN_PROGRESS], ClockKind::Result, Effect::Stop),
            (FROM, ClockKind::Acknowledge, Effect::Start),
        ],
    };

    pub(super) fn apply(self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, .. } = before;
        let (Some(lead), Some(claimant)) = (case.owner(), &case.course.claimant) else {
            return barred(case, "nobody claims to lead it");
        };
        if !self.agreed {
            return match rules.disputed(before)? {
                Some(transition) => Ok(transition),
                None => barred(case, "nobody is above your agency: agree to the claim"),
            };
        }
        // It may be the successor of the agency that claimed it.
        if let Some(why) = rules.cannot_claim(claimant, case, matter) {
            return barred(
                case,
                format_args!("{} {why}: dispute the claim", claimant.resource_name()),
            );
        }
        let claimed = (
            Origin::Claimed(lead.clone()),
            Event::ClaimAgreed { by: claimant.clone() },
        );
        let mut transition = rules.handed(Self::RULE, before, Stage::Assigned, claimant, claimed)?;
        transition.case.course.given = Some(Given::ByClaim);
        transition.case.supporting.push(Supporter::of(lead.clone()));
        Ok(transition)
    }
}

impl Rules<'_> {
    /// Why an agency cannot come to lead a case by a claim, if it cannot.
    fn cannot_claim(&self, agency: &AgencyId, case: &Case, matter: &Matter) -> Option<&'static str> {
        if self.is_one_of(agency, &case.course.led) || self.is_reviewed(agency, case) {
            return Some("led it before: it cannot have it back by a claim");
        }
        let fits = self.has_function(agency, matter) && self.stands_in(agency, matter) == Some(agency);
        (!fits).then_some("does not have the function of its lead")
    }

    /// Gives a claimed case to the lowest common superior of lead and claimant. `None` if nobody is
    /// above the lead.
    fn disputed(&self, before: Before<'_>) -> Result<Option<Transition>, Refusal> {
        let Before { case, matter, .. } = before;
        let (Some(lead), Some(claimant)) = (case.owner(), &case.course.claimant) else {
            return Ok(None);
        };
        let Some(superior) = self.between(lead, claimant, matter) else {
            return Ok(None);
        };
        let disputed = (
            Origin::Disputed(lead.clone()),
            Event::ClaimDisputed { by: claimant.clone() },
        );
        let stage = Stage::AwaitingDesignation;
        let mut transition = self.given_to(DISPUTE, before, stage, superior, disputed)?;
        transition.case.supporting.push(Supporter::of(lead.clone()));
        Ok(Some(transition))
    }

    /// A claim that was not answered in time is disputed. Where nobody is above the lead, it ends.
    pub(super) fn claim_missed(&self, case: &Case, matter: &Matter, event: Event) -> Transition {
        let before = Before { case, matter, by: None };
        if let Ok(Some(transition)) = self.disputed(before) {
            return transition;
        }
        let mut after = case.clone();
        after.drop_claim();
        Transition { event, case: after }
    }
}

impl Case {
    /// Ends a claim, if there is one.
    pub(super) fn drop_claim(&mut self) {
        self.course.claimant = None;
        self.clocks.retain(|clock| clock.kind() != ClockKind::Claim);
    }

    /// Whether an agency claims to lead it.
    #[must_use]
    pub fn is_claimed_by(&self, agency: &AgencyId) -> bool {
        self.course.claimant.as_ref() == Some(agency)
    }
}
