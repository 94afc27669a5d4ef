//! `ShareNarrative`: the lead lets a supporting agency read what the reports say.

use super::{Before, Case, Event, Part, Refusal, Rule, Rules, State, Transition, hand_on::unfit};
use decision::directory::AgencyId;

/// The lead shares what the reports say, or ends that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareNarrative {
    /// The supporting agency.
    pub with: AgencyId,
    /// Whether it may read them from now on.
    pub shared: bool,
}

impl ShareNarrative {
    pub(super) const RULE: &Rule = &Rule {
        name: "share",
        doing: "share what the reports say",
        may: &[(Part::Lead, &[State::IN_PROGRESS, State::IN_REVIEW])],
        clocks: &[],
    };

    /// What is shared ends with the lead that shared it.
    pub(super) fn apply(&self, _rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let mut case = before.case.clone();
        if case.supervisor.as_ref() == Some(&self.with) {
            return unfit(
                "agency",
                "supervises the case, and reads no reports; name another agency",
            );
        }
        let mut supporting = case.supporting.iter_mut();
        let Some(supporter) = supporting.find(|supporter| supporter.agency == self.with) else {
            return unfit("agency", "does not support the case; ask it to assist first");
        };
        if supporter.informed == self.shared {
            return match self.shared {
                true => unfit("agency", "reads the reports already"),
                false => unfit("agency", "does not read the reports"),
            };
        }
        supporter.informed = self.shared;
        Ok(Transition {
            event: Event::NarrativeShared {
                with: self.with.clone(),
                shared: self.shared,
            },
            case,
        })
    }
}

impl Case {
    /// Ends what the lead shared. Whoever has taken its crime goes on reading.
    pub(super) fn drop_sharing(&mut self) {
        let taker = self.taker().cloned();
        let supporters = self.supporting.iter_mut();
        supporters
            .filter(|supporter| Some(&supporter.agency) != taker.as_ref())
            .for_each(|supporter| supporter.informed = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{
        Action, Escalate, Party, Reason, Sight, sees,
        tests::{act, id, in_progress, matter},
    };

    fn share(case: &Case, with: &str, shared: bool) -> Result<Case, Refusal> {
        let action = Action::ShareNarrative(ShareNarrative { with: id(with), shared });
        act(2, case, &matter(&[]), "police-450100", &action).map(|done| done.case)
    }

    fn reads(case: &Case, agency: &str) -> bool {
        let party = Party::Agency(id(agency));
        sees(case, &party, decision::directory::Directory::shipped(), Sight::Content)
    }

    #[test]
    fn p7_a_supporting_agency_reads_the_reports_while_the_lead_shares_them() {
        let case = in_progress("police-450100", &["police-440000", "police-440300"]);
        assert!(!reads(&case, "police-440000"));
        let shared = share(&case, "police-440000", true).unwrap();
        assert!(reads(&shared, "police-440000") && !reads(&shared, "police-440300"));
        assert!(!reads(
            &share(&shared, "police-440000", false).unwrap(),
            "police-440000"
        ));
        // It does all that it could before.
        let parts: Vec<_> = shared.parties().map(|(_, part)| part).collect();
        assert_eq!(parts, [Part::Lead, Part::Informed, Part::Supporting]);
        let claim = Action::ClaimLead(crate::case::ClaimLead { reason: Reason::Place });
        assert!(act(3, &shared, &matter(&[]), "police-440000", &claim).is_ok());
        for (with, shared_to, fault) in [
            ("police-450200", true, "does not support"),
            ("police-450100", true, "does not support"),
            ("police-440000", true, "reads the reports already"),
            ("police-440300", false, "does not read the reports"),
        ] {
            let Err(Refusal::Argument { field, description }) = share(&shared, with, shared_to) else {
                panic!("{with}")
            };
            assert!(field == "agency" && description.contains(fault), "{description}");
        }
    }

    #[test]
    fn p7_a_supervisor_is_shown_no_reports() {
        let mut case = in_progress("police-450100", &["police-450000"]);
        case.supervisor = Some(id("police-450000"));
        let Err(Refusal::Argument { description, .. }) = share(&case, "police-450000", true) else {
            panic!()
        };
        assert!(description.starts_with("supervises the case"), "{description}");
    }

    #[test]
    fn p7_what_a_lead_shared_ends_with_it() {
        let case = in_progress("police-450100", &["police-440000"]);
        let shared = share(&case, "police-440000", true).unwrap();
        let escalate = Action::Escalate(Escalate { reason: Reason::Level });
        let up = act(3, &shared, &matter(&[]), "police-450100", &escalate).unwrap();
        assert!(!reads(&up.case, "police-440000"));
        let missed = crate::case::tests::rules(200).clock_missed(
            &shared,
            &matter(&[]),
            decision::calendar::ClockKind::Result,
            shared.generation,
        );
        assert!(!reads(&missed.unwrap().case, "police-440000"));
    }
}
