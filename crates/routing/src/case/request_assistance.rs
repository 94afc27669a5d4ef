//! `RequestAssistance`: the lead asks another agency to assist, and remains the lead.

use super::{Before, Case, Effect, Event, Part, Refusal, Rule, Rules, State, Supporter, Transition};
use decision::{
    calendar::{ClockKind, ClockRule, Unit},
    directory::AgencyId,
};

/// Time limit for the answer of an agency that is asked to assist: 5 working days. Ours: no law was
/// found that gives a figure.
pub const ASSIST: ClockRule = ClockRule {
    kind: ClockKind::Assist,
    value: 5,
    unit: Unit::WorkingDays,
};

/// Maximum number of unanswered requests for assistance. All parties see each of them.
const AT_ONCE: usize = 32;

/// The lead asks another agency to assist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestAssistance {
    /// The agency to ask.
    pub of: AgencyId,
}

impl RequestAssistance {
    pub(super) const RULE: &Rule = &Rule {
        name: "request-assistance",
        doing: "ask another agency to assist",
        may: &[(Part::Lead, &[State::IN_PROGRESS, State::IN_REVIEW])],
        clocks: &[(
            &[State::IN_PROGRESS, State::IN_REVIEW],
            ClockKind::Assist,
            Effect::Start,
        )],
    };

    pub(super) fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, .. } = before;
        let refused = |description: String| {
            Err(Refusal::Argument {
                field: "agency",
                description,
            })
        };
        let of = &self.of;
        if case.owner() == Some(of) {
            return refused("leads the case itself; name another agency".to_owned());
        }
        let today = rules.directory.day(rules.now);
        if !rules
            .directory
            .agency(of)
            .is_some_and(|agency| agency.is_active(Some(today)))
        {
            return refused("is no agency of the directory in force; `ListAgencies` has them".to_owned());
        }
        if rules.directory.is_excluded(of, &matter.excluded) {
            return refused("is excluded from the case; name another agency".to_owned());
        }
        let running = case.clocks.iter().filter(|clock| clock.kind() == ClockKind::Assist);
        if running.count() >= AT_ONCE {
            return refused(format!(
                "is one too many: {AT_ONCE} agencies have not answered yet; wait for one"
            ));
        }
        let asked = |clock: &&super::Clock| clock.kind() == ClockKind::Assist && clock.owner == *of;
        if case.clocks.iter().any(|clock| asked(&clock)) {
            return refused("has been asked already, and has not answered yet".to_owned());
        }
        let mut case = Case {
            generation: case.generation + 1,
            ..case.clone()
        };
        case.clocks.push(rules.clock(of, ASSIST, case.generation));
        if !case.is_supported_by(of) {
            case.supporting.push(Supporter::asked(of.clone()));
        }
        Ok(Transition {
            event: Event::AssistanceRequested { of: of.clone() },
            case,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{
        Action,
        tests::{act, id, in_progress, matter, standing_of},
    };

    fn request(of: &str) -> Action {
        Action::RequestAssistance(RequestAssistance { of: id(of) })
    }

    #[test]
    fn the_agency_asked_supports_under_a_clock_of_its_own_and_the_lead_stays() {
        let case = in_progress("police-450100", &["police-440000"]);
        let asked = act(2, &case, &matter(&[]), "police-450100", &request("police-450200")).unwrap();
        assert_eq!(
            asked.event,
            Event::AssistanceRequested {
                of: id("police-450200")
            }
        );
        assert_eq!(
            standing_of(&asked.case).4,
            ["police-440000", "police-450200"],
            "it sees the case from now on"
        );
        assert_eq!(
            asked.case.standing, case.standing,
            "lead and result clock are as they were"
        );
        let [clock] = &asked.case.clocks[..] else {
            panic!("{:?}", asked.case.clocks)
        };
        assert_eq!(
            (clock.rule, clock.owner.as_str(), clock.generation),
            (ASSIST, "police-450200", 3)
        );
        // So many at once, and no more.
        let mut many = asked.case.clone();
        many.clocks = vec![clock.clone(); AT_ONCE];
        let refused = act(3, &many, &matter(&[]), "police-450100", &request("police-450300"));
        assert!(
            matches!(refused, Err(Refusal::Argument { field: "agency", .. })),
            "{refused:?}"
        );
        // One that supports already gets a clock, and no second place.
        let again = act(3, &asked.case, &matter(&[]), "police-450100", &request("police-440000")).unwrap();
        assert_eq!(
            (
                again.case.clocks.len(),
                again.case.supporting.len(),
                again.case.generation
            ),
            (2, 2, 4)
        );
    }

    #[test]
    fn who_cannot_assist_is_not_asked() {
        let case = in_progress("police-450100", &[]);
        let asked = act(2, &case, &matter(&[]), "police-450100", &request("police-450200")).unwrap();
        for (case, excluded, of, words) in [
            (
                &case,
                &[][..],
                "police-450100",
                "leads the case itself; name another agency",
            ),
            (
                &case,
                &[],
                "police-999999",
                "is no agency of the directory in force; `ListAgencies` has them",
            ),
            (
                &case,
                &["police-440000"],
                "police-440000",
                "is excluded from the case; name another agency",
            ),
            (
                &asked.case,
                &[],
                "police-450200",
                "has been asked already, and has not answered yet",
            ),
        ] {
            let refused = act(3, case, &matter(excluded), "police-450100", &request(of));
            let expected = Refusal::Argument {
                field: "agency",
                description: words.to_owned(),
            };
            assert_eq!(refused, Err(expected), "{of}");
        }
    }
}
