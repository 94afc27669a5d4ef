//! Succession: whoever continues an agency that ended takes its places in the case.

use jiff::civil::Date;

use super::{
    Case, Clock, DESIGNATE, Duty, Event, Matter, Origin, Part, Rule, Rules, Stage, Standing, State, Transition,
};
use decision::directory::AgencyId;

pub(super) const RULE: &Rule = &Rule {
    name: "succeed",
    doing: "hand it to the successor",
    may: &[(
        Part::Remit,
        &[
            State::AWAITING_DESIGNATION,
            State::ASSIGNED,
            State::IN_PROGRESS,
            State::IN_REVIEW,
            State::RESOLVED,
        ],
    )],
    // Rights and duties pass on as they are.
    clocks: &[],
};

impl Rules<'_> {
    /// Agencies that have a part in the case ended before `today`: their successors take their places.
    /// State and deadlines stay; a clock whose owner changes begins a generation. `None` when nobody
    /// ended.
    ///
    /// Where the owner has no successor, or one that is excluded, the nearest agency above that may
    /// see the case designates. Who supported and has no successor is left out.
    pub fn succeeded(&self, case: &Case, matter: &Matter, today: Date) -> Option<Transition> {
        let Standing::Open(stage, duty) = &case.standing else {
            return None;
        };
        let ended = |id: &AgencyId| {
            self.directory
                .agency(id)
                .is_some_and(|agency| agency.has_ended(Some(today)))
        };
        let excluded = |id: &AgencyId| self.directory.is_excluded(id, &matter.excluded);
        // Who stands in an agency's place: itself while it has not ended.
        let heir = |id| match ended(id) {
            true => self.directory.heir(id, Some(today)).map(|heir| &heir.id),
            false => Some(id),
        };
        let mut generation = case.generation;
        let origin = || Origin::Succeeded(duty.owner.clone());
        let (stage, duty) = match heir(&duty.owner) {
            Some(heir) if *heir == duty.owner => (*stage, duty.clone()),
            Some(heir) if !excluded(heir) => {
                let mut clock = duty.clock.clone();
                clock.owner = heir.clone();
                generation += 1;
                clock.generation = generation;
                let duty = Duty {
                    owner: heir.clone(),
                    origin: origin(),
                    clock,
                };
                (*stage, duty)
            }
            nobody => {
                let above = self.directory.chain(nobody.unwrap_or(&duty.owner));
                let superior = above.map(|above| &above.id).find(|id| !ended(id) && !excluded(id));
                let superior = superior.unwrap_or(self.last_resort(matter)).clone();
                generation += 1;
                let duty = Duty {
                    clock: self.clock(&superior, DESIGNATE, generation),
                    owner: superior,
                    origin: origin(),
                };
                (Stage::AwaitingDesignation, duty)
            }
        };
        let mut supporting: Vec<AgencyId> = Vec::with_capacity(case.supporting.len());
        for agency in case.supporting.iter().filter_map(heir) {
            if *agency != duty.owner && !supporting.contains(agency) && !excluded(agency) {
                supporting.push(agency.clone());
            }
        }
        let mut clocks: Vec<Clock> = Vec::with_capacity(case.clocks.len());
        for clock in &case.clocks {
            let Some(heir) = heir(&clock.owner).filter(|heir| supporting.contains(heir)) else {
                continue;
            };
            let mut clock = clock.clone();
            if clock.owner != *heir {
                clock.owner = heir.clone();
                generation += 1;
                clock.generation = generation;
            }
            if !clocks
                .iter()
                .any(|other| other.owner == clock.owner && other.kind() == clock.kind())
            {
                clocks.push(clock);
            }
        }
        let after = Case {
            standing: Standing::Open(stage, duty),
            supporting,
            clocks,
            generation,
        };
        (after != *case).then_some(Transition {
            event: Event::Succeeded,
            case: after,
        })
    }
}
