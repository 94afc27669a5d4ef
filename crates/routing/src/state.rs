//! States of a case: what happens to it, and what then holds.
//!
//! Case and command in, transition or refusal out; no I/O. An open case has one [`Duty`]: an owner, and the clock under
//! which it must act. Neither can be without the other.

use std::collections::BTreeSet;

use api::routing::CaseState;
use jiff::{Timestamp, civil::Date};
use journal::Time;

use crate::{
    calendar::{self, Calendars, ClockKind, ClockRule, Clocks, Unit},
    decide::{Decision, Outcome},
    directory::{AgencyId, Directory},
};

/// By when a superior designates: 10 working days, as cyberspace offices have (网信部门行政执法程序规定 13).
pub const DESIGNATE: ClockRule = ClockRule {
    kind: ClockKind::Designate,
    value: 10,
    unit: Unit::WorkingDays,
};

/// Where a case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Before a named superior who must designate.
    AwaitingDesignation,
    /// With a lead that has not acknowledged yet.
    Assigned,
    /// Taken over by its lead.
    InProgress,
    /// A disposition is before its reviewer.
    InReview,
    /// Disposed of; the window for a review runs.
    Resolved,
    /// Ended.
    Closed,
    /// Ended at once: no agency can act, the reporter was told who can.
    Advised,
}

/// State, and the name that is stored and logged.
const NAMES: [(State, &str); 7] = [
    (State::AwaitingDesignation, "AWAITING_DESIGNATION"),
    (State::Assigned, "ASSIGNED"),
    (State::InProgress, "IN_PROGRESS"),
    (State::InReview, "IN_REVIEW"),
    (State::Resolved, "RESOLVED"),
    (State::Closed, "CLOSED"),
    (State::Advised, "ADVISED"),
];

impl State {
    /// The name that is stored and logged.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// From the stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, stored)| *stored == name)
            .map(|(state, _)| *state)
    }

    /// As in the contract.
    pub fn to_proto(self) -> CaseState {
        match self {
            Self::AwaitingDesignation => CaseState::AwaitingDesignation,
            Self::Assigned => CaseState::Assigned,
            Self::InProgress => CaseState::InProgress,
            Self::InReview => CaseState::InReview,
            Self::Resolved => CaseState::Resolved,
            Self::Closed => CaseState::Closed,
            Self::Advised => CaseState::Advised,
        }
    }

    /// From the contract; `None` when it is not set.
    pub fn from_proto(state: CaseState) -> Option<Self> {
        NAMES
            .iter()
            .map(|(known, _)| *known)
            .find(|known| known.to_proto() == state)
    }

    /// Whether somebody still owes something.
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Closed | Self::Advised)
    }

    /// Whether the owner leads: before designation it does not.
    pub fn has_lead(self) -> bool {
        self.is_open() && self != Self::AwaitingDesignation
    }

    /// Whether the lead has taken the case over.
    pub fn is_acknowledged(self) -> bool {
        !matches!(self, Self::AwaitingDesignation | Self::Assigned | Self::Advised)
    }
}

/// A running deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// What it waits for.
    pub kind: ClockKind,
    /// How often the case's clocks were set. Each setting is a generation, and each generation ends at most once.
    pub generation: u64,
    /// When it has run out.
    pub due: Time,
    /// Whether the end may still move, because it lies in a year whose holidays are not published.
    pub provisional: bool,
}

/// Who has to act, and by when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// The lead; before designation the superior who must designate.
    pub owner: AgencyId,
    /// The clock that runs against it.
    pub clock: Clock,
}

/// A case as far as it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Where it stands.
    pub state: State,
    /// Who has to act; `None` exactly when it has ended.
    pub duty: Option<Duty>,
    /// Agencies that support, each once and never the owner.
    pub supporting: Vec<AgencyId>,
}

/// A case as far as it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matter {
    /// Agencies that neither lead, support nor see it, with all units under them.
    pub excluded: BTreeSet<AgencyId>,
    /// Who designates last, in the order in which they are asked, by the rule set that routed it; empty for whom the directory
    /// names. A later rule set does not change it.
    pub last_resort: Vec<AgencyId>,
    /// The clocks of the row that routed it; a later rule set does not change them. `None` when the reporter was advised.
    pub clocks: Option<Clocks>,
}

/// What happened, and the case after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The kind of the change, such as `case.opened`.
    pub kind: &'static str,
    /// The case after it.
    pub case: Case,
}

/// Why a command is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The agency has nothing to do with the case.
    Stranger,
    /// The agency supports; only the lead may.
    NotLead,
    /// The case's state does not allow it.
    WrongState(State),
}

/// The rules, at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Who is above whom.
    pub directory: &'a Directory,
    /// When agencies work.
    pub calendars: &'a Calendars,
    /// Now.
    pub now: Time,
}

impl Rules<'_> {
    /// Opens the case that a decision asks for.
    pub fn open(&self, decision: &Decision) -> Transition {
        let (kind, state, duty) = match (&decision.outcome, decision.clocks) {
            (Outcome::Lead { agency, .. }, Some(clocks)) => (
                "case.opened",
                State::Assigned,
                Some(self.duty(agency.clone(), clocks.acknowledge, 1)),
            ),
            (Outcome::Designate { superior }, Some(_)) => (
                "case.opened",
                State::AwaitingDesignation,
                Some(self.duty(superior.clone(), DESIGNATE, 1)),
            ),
            // A decision has no clocks exactly when it advises.
            (Outcome::Advise { .. }, _) | (_, None) => ("case.advised", State::Advised, None),
        };
        Transition {
            kind,
            case: Case {
                state,
                duty,
                supporting: decision.supporting.iter().map(|(agency, _)| agency.clone()).collect(),
            },
        }
    }

    /// The lead takes the case over.
    pub fn acknowledge(&self, case: &Case, matter: &Matter, by: &AgencyId) -> Result<Transition, Refusal> {
        let wrong_state = Err(Refusal::WrongState(case.state));
        match (&case.duty, matter.clocks) {
            (Some(duty), _) if duty.owner != *by && case.supporting.contains(by) => Err(Refusal::NotLead),
            (Some(duty), _) if duty.owner != *by => Err(Refusal::Stranger),
            (Some(duty), Some(clocks)) if case.state == State::Assigned => Ok(Transition {
                kind: "case.acknowledged",
                case: Case {
                    state: State::InProgress,
                    duty: Some(self.duty(duty.owner.clone(), clocks.result, duty.clock.generation + 1)),
                    supporting: case.supporting.clone(),
                },
            }),
            (None, _) if !case.supporting.contains(by) => Err(Refusal::Stranger),
            _ => wrong_state,
        }
    }

    /// A clock has run out: the matter goes to the owner's superior. `None` when that generation of the clock no longer
    /// runs, or is not due.
    pub fn clock_missed(&self, case: &Case, matter: &Matter, generation: u64) -> Option<Transition> {
        let duty = case.duty.as_ref()?;
        let clocks = matter.clocks?;
        let (clock, owner) = (&duty.clock, &duty.owner);
        if clock.generation != generation || clock.due > self.now {
            return None;
        }
        let last = self.last_resort(matter);
        if owner == last {
            // Nobody is above the last resort: it keeps the matter, and that it was late is recorded.
            let again = match clock.kind {
                ClockKind::Acknowledge => clocks.acknowledge,
                ClockKind::Result => clocks.result,
                ClockKind::Designate => DESIGNATE,
            };
            return Some(Transition {
                kind: "case.clock-missed",
                case: Case {
                    duty: Some(self.duty(owner.clone(), again, generation + 1)),
                    ..case.clone()
                },
            });
        }
        let superior = self
            .directory
            .chain(owner)
            .skip(1)
            .map(|above| &above.id)
            .find(|above| !self.directory.is_excluded(above, &matter.excluded))
            .unwrap_or(last);
        let mut supporting = case.supporting.clone();
        let (state, rule) = if case.state == State::AwaitingDesignation {
            (case.state, DESIGNATE)
        } else {
            supporting.push(owner.clone());
            (State::Assigned, clocks.acknowledge)
        };
        supporting.retain(|agency| agency != superior);
        Some(Transition {
            kind: "case.escalated",
            case: Case {
                state,
                duty: Some(self.duty(superior.clone(), rule, generation + 1)),
                supporting,
            },
        })
    }

    /// Agencies that have the case ended before `today`: their successors take their places. State and deadline stay, since
    /// rights and duties pass on as they are; the clock begins a generation of its new owner. `None` when nobody ended.
    ///
    /// Where the owner has no successor, or one that is kept out of the case, the nearest agency above that is there and may see
    /// the case designates. Who supported and has no successor is left out.
    pub fn succeeded(&self, case: &Case, matter: &Matter, today: Date) -> Option<Transition> {
        let duty = case.duty.as_ref()?;
        let ended = |id: &AgencyId| self.directory.agency(id).is_some_and(|agency| agency.has_ended(today));
        let kept_out = |id: &AgencyId| self.directory.is_excluded(id, &matter.excluded);
        // Who is there in an agency's place: itself while it has not ended.
        let heir = |id| match ended(id) {
            true => self.directory.heir(id, today).map(|heir| &heir.id),
            false => Some(id),
        };
        let (state, duty) = match heir(&duty.owner) {
            Some(heir) if *heir == duty.owner => (case.state, duty.clone()),
            Some(heir) if !kept_out(heir) => {
                let mut clock = duty.clock.clone();
                clock.generation += 1;
                let owner = heir.clone();
                (case.state, Duty { owner, clock })
            }
            nobody => {
                let above = self.directory.chain(nobody.unwrap_or(&duty.owner));
                let superior = above.map(|above| &above.id).find(|id| !ended(id) && !kept_out(id));
                let superior = superior.unwrap_or(self.last_resort(matter)).clone();
                let generation = duty.clock.generation + 1;
                (State::AwaitingDesignation, self.duty(superior, DESIGNATE, generation))
            }
        };
        let mut supporting: Vec<AgencyId> = Vec::with_capacity(case.supporting.len());
        for agency in case.supporting.iter().filter_map(heir) {
            if *agency != duty.owner && !supporting.contains(agency) && !kept_out(agency) {
                supporting.push(agency.clone());
            }
        }
        let after = Case {
            state,
            duty: Some(duty),
            supporting,
        };
        (after != *case).then_some(Transition {
            kind: "case.succeeded",
            case: after,
        })
    }

    /// Where the ladder of superiors ends.
    fn last_resort<'a>(&'a self, matter: &'a Matter) -> &'a AgencyId {
        self.directory
            .last_resort_of(&matter.last_resort, &matter.excluded)
            .designates
    }

    fn duty(&self, owner: AgencyId, rule: ClockRule, generation: u64) -> Duty {
        let start = Timestamp::from_microsecond(self.now.0).unwrap_or(Timestamp::MAX);
        let due = calendar::due(start, rule, self.calendars.worktime(self.directory.agency(&owner)));
        Duty {
            owner,
            clock: Clock {
                kind: rule.kind,
                generation,
                due: Time(due.at.as_microsecond()),
                provisional: due.provisional,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for (state, name) in NAMES {
            assert_eq!(state.name(), name);
            assert_eq!(State::from_name(name), Some(state));
            assert_eq!(State::from_proto(state.to_proto()), Some(state));
        }
        assert_eq!(State::from_proto(CaseState::Unspecified), None);
    }

    fn id(text: &str) -> AgencyId {
        AgencyId::new(text).unwrap()
    }

    fn rule(kind: ClockKind, value: u32) -> ClockRule {
        ClockRule {
            kind,
            value,
            unit: Unit::Hours,
        }
    }

    fn rules(hours: i64) -> Rules<'static> {
        Rules {
            directory: Directory::shipped(),
            calendars: Calendars::shipped(),
            now: Time(0).plus_seconds(hours * 3_600),
        }
    }

    fn matter(excluded: &[&str]) -> Matter {
        Matter {
            excluded: excluded.iter().map(|text| id(text)).collect(),
            last_resort: Vec::new(),
            clocks: Some(Clocks {
                acknowledge: rule(ClockKind::Acknowledge, 24),
                result: rule(ClockKind::Result, 100),
            }),
        }
    }

    fn assigned(owner: &str, supporting: &[&str]) -> Case {
        Case {
            state: State::Assigned,
            duty: Some(rules(0).duty(id(owner), rule(ClockKind::Acknowledge, 24), 1)),
            supporting: supporting.iter().map(|text| id(text)).collect(),
        }
    }

    /// State, owner, generation, due hour, supporting.
    fn told(case: &Case) -> (State, &str, u64, i64, Vec<&str>) {
        let duty = case.duty.as_ref().unwrap();
        (
            case.state,
            duty.owner.as_str(),
            duty.clock.generation,
            duty.clock.due.0 / 3_600_000_000,
            case.supporting.iter().map(AgencyId::as_str).collect(),
        )
    }

    #[test]
    fn only_the_lead_acknowledges_and_only_once() {
        let case = assigned("police-450100", &["police-440000"]);
        let by = |agency: &str| rules(2).acknowledge(&case, &matter(&[]), &id(agency));
        assert_eq!(by("police-440000"), Err(Refusal::NotLead));
        assert_eq!(by("police-450000"), Err(Refusal::Stranger), "not even its superior");
        let taken = by("police-450100").unwrap();
        assert_eq!(taken.kind, "case.acknowledged");
        assert_eq!(
            told(&taken.case),
            (State::InProgress, "police-450100", 2, 102, vec!["police-440000"])
        );
        assert_eq!(
            rules(3).acknowledge(&taken.case, &matter(&[]), &id("police-450100")),
            Err(Refusal::WrongState(State::InProgress))
        );
    }

    #[test]
    fn a_missed_clock_climbs_to_the_conference_which_keeps_it() {
        let mut case = assigned("police-450100", &["police-CN"]);
        let mut ladder = Vec::new();
        for generation in 1..=5 {
            let at = rules(1_000 * i64::try_from(generation).unwrap());
            let missed = at.clock_missed(&case, &matter(&[]), generation).unwrap();
            case = missed.case;
            ladder.push((missed.kind, told(&case).1.to_owned()));
        }
        let ladder: Vec<_> = ladder.iter().map(|(kind, owner)| (*kind, owner.as_str())).collect();
        assert_eq!(
            ladder,
            [
                ("case.escalated", "police-450000"),
                ("case.escalated", "police-CN"),
                ("case.escalated", "conference-CN"),
                ("case.clock-missed", "conference-CN"),
                ("case.clock-missed", "conference-CN"),
            ]
        );
        assert_eq!(
            told(&case),
            (
                State::Assigned,
                "conference-CN",
                6,
                5_024,
                vec!["police-450100", "police-450000", "police-CN"]
            ),
            "who led supports, each once"
        );
    }

    #[test]
    fn p4_the_ladder_ends_where_the_rule_set_that_routed_the_case_says() {
        // Who is no longer in the directory is passed over; the next of those named decides.
        let matter = Matter {
            last_resort: vec![id("joint-office-CN"), id("inspection-CN"), id("conference-CN")],
            ..matter(&[])
        };
        let mut case = assigned("police-450000", &[]);
        let mut ladder = Vec::new();
        for generation in 1..=3 {
            let at = rules(1_000 * i64::try_from(generation).unwrap());
            let missed = at.clock_missed(&case, &matter, generation).unwrap();
            case = missed.case;
            ladder.push((missed.kind, told(&case).1.to_owned()));
        }
        let ladder: Vec<_> = ladder.iter().map(|(kind, owner)| (*kind, owner.as_str())).collect();
        assert_eq!(
            ladder,
            [
                ("case.escalated", "police-CN"),
                ("case.escalated", "inspection-CN"),
                ("case.clock-missed", "inspection-CN"),
            ]
        );
    }

    #[test]
    fn p4_an_excluded_last_resort_has_a_substitute() {
        let case = assigned("police-CN", &[]);
        let escalated = |matter: &Matter| {
            let next = rules(24).clock_missed(&case, matter, 1).unwrap().case;
            told(&next).1.to_owned()
        };
        let named = Matter {
            last_resort: vec![id("conference-CN"), id("inspection-CN")],
            ..matter(&["conference-CN"])
        };
        assert_eq!(escalated(&named), "inspection-CN");
        assert_eq!(
            escalated(&matter(&["conference-CN"])),
            "content-regulator-CN",
            "where no substitute is named, another unit at the top"
        );
    }

    /// The shipped directory, where Nanning's and Liuzhou's police ended in 1969 with these successors.
    fn ended(nanning: &str, liuzhou: &str) -> Directory {
        let mut source = Directory::shipped().source().to_owned();
        for (agency, successor) in [("police-450100", nanning), ("police-450200", liuzhou)] {
            let line = source
                .lines()
                .find(|line| line.contains(&format!("id: {agency},")))
                .unwrap();
            let ends = format!("valid_to: 1969-12-31, successor: {successor}, superior:");
            source = source.replace(line, &line.replace("superior:", &ends));
        }
        Directory::parse(&source, Directory::shipped().territories()).unwrap()
    }

    #[test]
    fn p4_successors_support_once_and_not_what_they_own_or_are_kept_out_of() {
        let today = jiff::civil::date(1970, 1, 1);
        let case = assigned("police-450100", &["police-450200", "police-450000", "police-440000"]);
        let succeeded = |nanning: &str, liuzhou: &str, excluded: &[&str]| {
            let directory = ended(nanning, liuzhou);
            let rules = Rules {
                directory: &directory,
                ..rules(1)
            };
            let after = rules.succeeded(&case, &matter(excluded), today).unwrap().case;
            let (_, owner, _, _, supporting) = told(&after);
            (owner.to_owned(), supporting.join(" "))
        };
        let expected = |owner: &str, supporting: &str| (owner.to_owned(), supporting.to_owned());
        assert_eq!(
            succeeded("police-450000", "police-450300", &[]),
            expected("police-450000", "police-450300 police-440000"),
            "who owns it now supports it no more"
        );
        assert_eq!(
            succeeded("police-450300", "police-450000", &[]),
            expected("police-450300", "police-450000 police-440000"),
            "once"
        );
        assert_eq!(
            succeeded("police-450000", "police-450300", &["police-450300"]),
            expected("police-450000", "police-440000"),
            "kept out"
        );
    }

    #[test]
    fn the_climb_passes_excluded_units() {
        let case = assigned("police-450100", &[]);
        let next = rules(24).clock_missed(&case, &matter(&["police-CN"]), 1).unwrap().case;
        assert_eq!(
            told(&next).1,
            "conference-CN",
            "450000 stands under the excluded unit, too"
        );
    }

    #[test]
    fn a_clock_ends_once_and_not_early() {
        let case = assigned("police-450100", &[]);
        assert_eq!(rules(23).clock_missed(&case, &matter(&[]), 1), None);
        assert_eq!(rules(24).clock_missed(&case, &matter(&[]), 2), None);
        let next = rules(24).clock_missed(&case, &matter(&[]), 1).unwrap().case;
        assert_eq!(
            rules(1_000).clock_missed(&next, &matter(&[]), 1),
            None,
            "another generation runs"
        );
    }

    #[test]
    fn a_late_designation_goes_up_without_a_lead() {
        let case = Case {
            state: State::AwaitingDesignation,
            duty: Some(rules(0).duty(id("police-450000"), DESIGNATE, 1)),
            supporting: Vec::new(),
        };
        let next = rules(10_000).clock_missed(&case, &matter(&[]), 1).unwrap().case;
        let (state, owner, generation, _, supporting) = told(&next);
        assert_eq!(
            (state, owner, generation, supporting.len()),
            (State::AwaitingDesignation, "police-CN", 2, 0)
        );
    }
}
