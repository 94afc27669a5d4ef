//! `AssignCase`: an agency assigns a case to one of its officers, or gives it back into its pool.
//!
//! It is the agency's own affair: nobody else is shown it, and for nobody else the case has
//! changed.

use journal::Time;

use super::{
    Before, Case, Event, Part, Refusal, Rule, Rules, State, Transition,
    hand_on::{barred, unfit},
};
use decision::directory::AgencyId;
use names::text::person;

const LED: &[State] = &[State::ASSIGNED, State::IN_PROGRESS, State::IN_REVIEW, State::RESOLVED];

/// How often one agency assigns one case within a day, at most: each time is logged.
pub const MOST_ASSIGNED: u64 = 50;

/// Seconds in which that is counted.
const COUNTED_SECONDS: i64 = 86_400;

/// How often an agency assigned a case since a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The agency.
    pub agency: AgencyId,
    /// Since when it is counted.
    pub since: Time,
    /// How often.
    pub count: u64,
}

/// An officer has a case at an agency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The agency.
    pub agency: AgencyId,
    /// The officer, by name or pseudonym.
    pub officer: String,
    /// The officer who assigned it.
    pub by: String,
    /// When.
    pub time: Time,
}

/// Who is to have a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignee {
    /// An officer.
    Officer(String),
    /// The acting officer, if nobody else has it.
    Acting,
    /// Nobody: the pool.
    Pool,
}

/// The agency assigns the case, or gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assign {
    /// To whom.
    pub to: Assignee,
    /// Only if this officer has it.
    pub former: Option<String>,
    /// The acting officer.
    pub by: String,
    /// Commits to the assignee, for the log; empty for the pool.
    pub commitment: Vec<u8>,
}

impl Assign {
    pub(super) const RULE: &Rule = &Rule {
        name: "assign",
        doing: "assign it to an officer",
        may: &[
            (Part::Lead, LED),
            (Part::Supporting, State::OPEN),
            (Part::Designating, &[State::AWAITING_DESIGNATION]),
        ],
        clocks: &[],
    };

    /// Who has it from then on; `None` for the pool.
    #[must_use]
    pub fn officer(&self) -> Option<&str> {
        match &self.to {
            Assignee::Officer(officer) => Some(officer),
            Assignee::Acting => Some(&self.by),
            Assignee::Pool => None,
        }
    }

    pub(super) fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, by, .. } = before;
        let agency = by.ok_or(Refusal::Unseen)?;
        let has = case.officer_at(agency).map(person);
        let acting = person(&self.by);
        if let Some(former) = &self.former
            && has.as_ref() != Some(&person(former))
        {
            return barred(
                case,
                "it is not with the officer of `former_officer` any more: read it again",
            );
        }
        match (&self.to, has) {
            (Assignee::Acting, Some(other)) if other != acting => {
                return barred(
                    case,
                    "another officer of your agency has it: name the officer who is to have it, to move it",
                );
            }
            (_, has) if has == self.officer().map(person) => {
                return match has {
                    Some(_) => unfit("assignee", "has it already"),
                    None => unfit("assignee", "has nothing to change: it is in the pool already"),
                };
            }
            (_, Some(other)) if other != acting && self.former.is_none() => {
                return barred(
                    case,
                    "another officer of your agency has it: say in `former_officer` from whom you take it",
                );
            }
            _ => {}
        }
        let mut case = case.clone();
        count(&mut case, agency, rules.now)?;
        case.course.assignments.retain(|assigned| assigned.agency != *agency);
        case.course.assignments.extend(self.officer().map(|officer| Assignment {
            agency: agency.clone(),
            officer: officer.to_owned(),
            by: self.by.clone(),
            time: rules.now,
        }));
        Ok(Transition {
            event: Event::Assigned {
                at: agency.clone(),
                commitment: self.commitment.clone(),
            },
            case,
        })
    }
}

/// Counts that an agency assigns a case once more, or refuses it.
fn count(case: &mut Case, agency: &AgencyId, now: Time) -> Result<(), Refusal> {
    let counted = case
        .course
        .assigned
        .iter_mut()
        .find(|counted| counted.agency == *agency);
    match counted {
        Some(counted) if now >= counted.since.plus_seconds(COUNTED_SECONDS) => {
            (counted.since, counted.count) = (now, 1);
        }
        Some(counted) if counted.count >= MOST_ASSIGNED => {
            let again = counted.since.plus_seconds(COUNTED_SECONDS);
            let description =
                format!("your agency assigned it {MOST_ASSIGNED} times within a day: again from {again} on");
            return barred(case, &description);
        }
        Some(counted) => counted.count += 1,
        None => case.course.assigned.push(Assigned {
            agency: agency.clone(),
            since: now,
            count: 1,
        }),
    }
    Ok(())
}

impl Case {
    /// To whom an agency has assigned it.
    #[must_use]
    pub fn assignment_at(&self, agency: &AgencyId) -> Option<&Assignment> {
        self.course
            .assignments
            .iter()
            .find(|assigned| assigned.agency == *agency)
    }

    /// The officer who has it at an agency.
    #[must_use]
    pub fn officer_at(&self, agency: &AgencyId) -> Option<&str> {
        self.assignment_at(agency).map(|assigned| assigned.officer.as_str())
    }

    /// Ends the assignments of agencies that could not assign it any more.
    pub(crate) fn end_assignments(&mut self) {
        if self.course.assignments.is_empty() && self.course.assigned.is_empty() {
            return;
        }
        let state = self.state();
        let may = |part: Part| Assign::RULE.allows(part, state);
        let keeping: Vec<AgencyId> = self
            .parties()
            .filter(|(agency, part)| may(*part) || (may(Part::Supporting) && self.is_supported_by(agency)))
            .map(|(agency, _)| agency.clone())
            .collect();
        self.course
            .assignments
            .retain(|assigned| keeping.contains(&assigned.agency));
        self.course.assigned.retain(|counted| keeping.contains(&counted.agency));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{
        Action, Escalate, Reason, Transfer,
        tests::{act, id, in_progress, matter},
    };

    fn assign(to: Assignee, former: Option<&str>) -> Action {
        Action::Assign(Assign {
            to,
            former: former.map(str::to_owned),
            by: "o-1".to_owned(),
            commitment: Vec::new(),
        })
    }

    fn assigned(case: &Case, by: &str, to: Assignee) -> Case {
        // From whoever has it.
        let former = case.officer_at(&id(by)).map(str::to_owned);
        act(2, case, &matter(&[]), by, &assign(to, former.as_deref()))
            .unwrap()
            .case
    }

    fn officer(case: &Case, at: &str) -> Option<String> {
        case.officer_at(&id(at)).map(str::to_owned)
    }

    #[test]
    fn each_agency_assigns_for_itself_and_nothing_else_changes() {
        let case = in_progress("police-450100", &["police-440000"]);
        let taken = assigned(&case, "police-450100", Assignee::Acting);
        assert_eq!(
            (officer(&taken, "police-450100"), officer(&taken, "police-440000")),
            (Some("o-1".to_owned()), None)
        );
        let both = assigned(&taken, "police-440000", Assignee::Officer("o-9".to_owned()));
        assert_eq!(officer(&both, "police-450100").as_deref(), Some("o-1"));
        assert_eq!(officer(&both, "police-440000").as_deref(), Some("o-9"));
        let moved = assigned(&both, "police-450100", Assignee::Officer("o-2".to_owned()));
        assert_eq!(officer(&moved, "police-450100").as_deref(), Some("o-2"));
        let mut back = assigned(&moved, "police-450100", Assignee::Pool);
        assert_eq!(officer(&back, "police-450100"), None);
        back = assigned(&back, "police-440000", Assignee::Pool);
        back.course.assigned.clear();
        assert_eq!(back, case);
    }

    #[test]
    fn who_takes_from_the_pool_takes_from_no_officer() {
        let case = in_progress("police-450100", &[]);
        let with_another = assigned(&case, "police-450100", Assignee::Officer("o-2".to_owned()));
        let tried = |case: &Case, action: Action| match act(2, case, &matter(&[]), "police-450100", &action) {
            Ok(done) => officer(&done.case, "police-450100").unwrap_or_default(),
            Err(Refusal::WrongState { description, .. } | Refusal::Argument { description, .. }) => description,
            Err(other) => panic!("{other:?}"),
        };
        assert!(tried(&with_another, assign(Assignee::Acting, None)).contains("another officer of your agency"));
        assert_eq!(tried(&case, assign(Assignee::Acting, None)), "o-1");
        let to = || Assignee::Officer("o-3".to_owned());
        assert_eq!(tried(&with_another, assign(to(), Some("o-2"))), "o-3");
        for former in ["o-1", "o-3"] {
            assert!(tried(&with_another, assign(to(), Some(former))).contains("any more"));
        }
        // Nobody takes it from another without knowing from whom; one's own is given away as it is.
        for to in [to(), Assignee::Pool] {
            assert!(tried(&with_another, assign(to, None)).contains("`former_officer`"));
        }
        let own = assigned(&case, "police-450100", Assignee::Acting);
        assert_eq!(tried(&own, assign(to(), None)), "o-3");
        assert!(
            tried(&case, assign(to(), Some("o-2"))).contains("any more"),
            "nobody has it"
        );
        assert!(tried(&case, assign(Assignee::Pool, None)).contains("in the pool already"));
        for same in ["o-2", "O-2", "Ｏ-2"] {
            let same = Assignee::Officer(same.to_owned());
            assert!(tried(&with_another, assign(same, None)).contains("has it already"));
        }
    }

    #[test]
    fn one_case_is_assigned_so_often_within_a_day_and_no_more() {
        let mut case = in_progress("police-450100", &["police-440000"]);
        let give = |hours: i64, case: &Case, by: &str, to: &str| {
            let former = case.officer_at(&id(by)).map(str::to_owned);
            let action = assign(Assignee::Officer(to.to_owned()), former.as_deref());
            act(hours, case, &matter(&[]), by, &action).map(|done| done.case)
        };
        for round in 0..MOST_ASSIGNED {
            case = give(2, &case, "police-450100", &format!("o-{}", 2 + round % 2)).unwrap();
        }
        let refused = give(25, &case, "police-450100", "o-9").unwrap_err();
        assert!(format!("{refused:?}").contains("50 times within a day"), "{refused:?}");
        // Each agency for itself, and the next day anew.
        assert!(give(25, &case, "police-440000", "o-9").is_ok());
        let mut next = give(26, &case, "police-450100", "o-9").unwrap();
        assert_eq!(next.course.assigned[0].count, 1);
        next.standing = crate::case::Standing::Ended(crate::case::End::Closed);
        next.end_assignments();
        assert_eq!(next.course.assigned, []);
    }

    #[test]
    fn p7_an_assignment_ends_when_the_case_leaves_the_agency_or_ends() {
        let case = in_progress("police-450100", &["police-440000"]);
        let case = assigned(&case, "police-450100", Assignee::Acting);
        let case = assigned(&case, "police-440000", Assignee::Acting);
        let done = |action: Action| {
            let mut case = act(3, &case, &matter(&[]), "police-450100", &action).unwrap().case;
            case.end_assignments();
            let at = |agency: &str| officer(&case, agency).is_some();
            (at("police-450100"), at("police-440000"))
        };
        let transfer = Action::Transfer(Transfer {
            to: id("police-440300"),
            reason: Reason::Place,
            keep_supporting: false,
        });
        assert_eq!(done(transfer), (false, true), "the giver waits only");
        let escalate = Action::Escalate(Escalate { reason: Reason::Level });
        assert_eq!(done(escalate), (true, true), "who escalates supports");
        let mut ended = case.clone();
        ended.standing = crate::case::Standing::Ended(crate::case::End::Closed);
        ended.end_assignments();
        assert_eq!(ended.course.assignments, []);
        // A superior that supports, and supervises besides, goes on having it.
        let mut watched = in_progress("police-450100", &["police-450000"]);
        watched = assigned(&watched, "police-450000", Assignee::Acting);
        watched.supervisor = Some(id("police-450000"));
        watched.end_assignments();
        assert!(officer(&watched, "police-450000").is_some());
    }
}
