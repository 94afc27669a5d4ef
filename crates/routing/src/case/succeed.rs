//! Succession: the successor of an agency that ended takes its places in a case.

use super::{
    Assignment, Case, Clock, DESIGNATE, Disposition, Duty, Event, Matter, Origin, Part, Rule, Rules, Stage, Standing,
    State, Supporter, Transition,
};
use decision::{calendar::ClockKind, directory::AgencyId};

const FROM: &[State] = &[
    State::AWAITING_DESIGNATION,
    State::ASSIGNED,
    State::IN_PROGRESS,
    State::IN_REVIEW,
    State::RESOLVED,
    State::CLOSED,
];

pub(super) const RULE: &Rule = &Rule {
    name: "succeed",
    doing: "hand it to the successor",
    may: &[(Part::Remit, FROM)],
    // The successor takes over rights and deadlines unchanged. Where there is none, a superior must
    // designate, under the clock for that.
    clocks: &[],
};

impl Rules<'_> {
    /// The next change of a case because parties have ended or may no longer see it; `None` if
    /// there is none.
    ///
    /// A party may no longer see the case if it has become the successor of an excluded agency, or
    /// a unit under one.
    pub fn succeeded(&self, case: &Case, matter: &Matter) -> Option<Transition> {
        let Standing::Open(stage, duty) = &case.standing else {
            return self.places_in_closed(case, matter);
        };
        self.request_succeeded(case, matter)
            .or_else(|| self.places_taken(case, *stage, duty, matter))
    }

    /// The places in a case that is closed: who continues the agency that decided answers for the
    /// decision, or else its superior.
    fn places_in_closed(&self, case: &Case, matter: &Matter) -> Option<Transition> {
        let mut disposition = case.disposition.clone()?;
        let holder = self.stands_in(&disposition.holder, matter);
        let holder = holder.or_else(|| self.above(&disposition.holder, matter));
        disposition.holder = holder.unwrap_or(&disposition.holder).clone();
        let mut supporting: Vec<Supporter> = Vec::with_capacity(case.supporting.len());
        for supporter in &case.supporting {
            if let Some(heir) = self.stands_in(&supporter.agency, matter)
                && *heir != disposition.holder
                && supporting.iter().all(|other| other.agency != *heir)
            {
                supporting.push(Supporter {
                    agency: heir.clone(),
                    ..*supporter
                });
            }
        }
        let after = Case {
            disposition: Some(disposition),
            supporting,
            ..case.clone()
        };
        (after != *case).then_some(Transition {
            event: Event::Succeeded,
            case: after,
        })
    }

    /// Passes a request for assistance to the superior, like one that was not answered in time, if
    /// no successor of the agency asked may see the case.
    fn request_succeeded(&self, case: &Case, matter: &Matter) -> Option<Transition> {
        let is_request = |clock: &&Clock| matches!(clock.kind(), ClockKind::Assist | ClockKind::Receive);
        let mut requests = case.clocks.iter().filter(is_request);
        let request = requests.find(|clock| !self.keeps_place(clock, matter))?;
        if request.kind() == ClockKind::Receive {
            let event = Event::ReferralPassedOn {
                of: request.owner.clone(),
            };
            return Some(self.referral_passed_on(case, matter, request, event));
        }
        let event = Event::AssistancePassedOn {
            of: request.owner.clone(),
        };
        Some(self.passed_on(case, request, self.above(&request.owner, matter), event))
    }

    /// Whether the owner of a clock, or its successor, keeps it. The last resort does even if it is
    /// excluded, since no other agency is left then.
    fn keeps_place(&self, clock: &Clock, matter: &Matter) -> bool {
        self.stands_in(&clock.owner, matter).is_some() || clock.owner == *self.last_resort(matter)
    }

    /// Gives the places of agencies that ended to their successors. State and deadlines stay; a
    /// clock with another owner is a new generation.
    ///
    /// If no successor of the owner may see the case, the nearest superior designates. A supporting
    /// agency without such a successor is removed.
    fn places_taken(&self, case: &Case, stage: Stage, duty: &Duty, matter: &Matter) -> Option<Transition> {
        let (mut generation, mut course) = (case.generation, case.course.clone());
        let mut giver = self.giver_after(case, matter);
        let origin = || Origin::Succeeded(duty.owner.clone());
        let last_resort = self.last_resort(matter);
        let (stage, duty) = match self.stands_in(&duty.owner, matter) {
            Some(owner) if *owner == duty.owner => (stage, duty.clone()),
            None if duty.owner == *last_resort => (stage, duty.clone()),
            Some(heir) => {
                generation += 1;
                let clock = self.taken_over(&duty.clock, heir, generation);
                let duty = Duty {
                    owner: heir.clone(),
                    origin: origin(),
                    clock,
                };
                (stage, duty)
            }
            // What is decided stays decided.
            None if stage == Stage::Resolved => {
                let superior = self.above(&duty.owner, matter).unwrap_or(last_resort).clone();
                generation += 1;
                let clock = self.taken_over(&duty.clock, &superior, generation);
                let duty = Duty {
                    owner: superior,
                    origin: origin(),
                    clock,
                };
                (stage, duty)
            }
            None => {
                let heir = self.directory.heir(&duty.owner, Some(self.directory.day(self.now)));
                let from = heir.map_or(&duty.owner, |heir| &heir.id);
                course = self.left(case, stage, duty);
                giver = None;
                let superior = self.above(from, matter).unwrap_or(last_resort).clone();
                generation += 1;
                let duty = Duty {
                    clock: self.clock(&superior, DESIGNATE, generation),
                    owner: superior,
                    origin: origin(),
                };
                (Stage::AwaitingDesignation, duty)
            }
        };
        let mut supporting: Vec<Supporter> = Vec::with_capacity(case.supporting.len());
        for supporter in &case.supporting {
            let Some(heir) = self
                .stands_in(&supporter.agency, matter)
                .filter(|heir| **heir != duty.owner && giver.as_ref() != Some(*heir))
            else {
                continue;
            };
            match supporting.iter_mut().find(|other| other.agency == *heir) {
                // It supports without a request if either did.
                Some(other) => {
                    other.by_request &= supporter.by_request;
                    other.informed |= supporter.informed;
                }
                None => supporting.push(Supporter {
                    agency: heir.clone(),
                    ..*supporter
                }),
            }
        }
        let mut clocks: Vec<Clock> = Vec::with_capacity(case.clocks.len());
        for clock in &case.clocks {
            let heir = self.stands_in(&clock.owner, matter);
            // Whoever answers for the decision hands its crime over, if nobody else has to.
            let heir = heir.or_else(|| (clock.kind() == ClockKind::Refer).then_some(&duty.owner));
            let supports = |heir: &&AgencyId| supporting.iter().any(|supporter| supporter.agency == **heir);
            let keeps = |heir: &&AgencyId| match clock.kind() {
                ClockKind::Claim => **heir == duty.owner,
                ClockKind::Refer => **heir == duty.owner || supports(heir),
                _ => supports(heir),
            };
            let Some(heir) = heir.filter(keeps) else { continue };
            let mut clock = clock.clone();
            if clock.owner != *heir {
                generation += 1;
                clock = self.taken_over(&clock, heir, generation);
            }
            if !clocks
                .iter()
                .any(|other| other.owner == clock.owner && other.kind() == clock.kind())
            {
                clocks.push(clock);
            }
        }
        // An agency's officers go on at whoever continues it.
        let mut assigned: Vec<Assignment> = Vec::with_capacity(course.assignments.len());
        for assignment in course.assignments {
            if let Some(heir) = self.stands_in(&assignment.agency, matter)
                && assigned.iter().all(|other| other.agency != *heir)
            {
                assigned.push(Assignment {
                    agency: heir.clone(),
                    ..assignment
                });
            }
        }
        course.assignments = assigned;
        let claimant = course.claimant.take();
        let claimant = claimant.and_then(|claimant| self.stands_in(&claimant, matter));
        course.claimant = claimant
            .filter(|claimant| supporting.iter().any(|supporter| supporter.agency == **claimant))
            .filter(|_| clocks.iter().any(|clock| clock.kind() == ClockKind::Claim))
            .cloned();
        let disposition = match stage {
            Stage::InReview | Stage::Resolved => case.disposition.clone().map(|disposition| Disposition {
                holder: duty.owner.clone(),
                ..disposition
            }),
            _ => None,
        };
        let supervisor = case.supervisor.as_ref();
        let mut after = Case {
            standing: Standing::Open(stage, duty),
            giver,
            supervisor: supervisor.and_then(|supervisor| self.stands_in(supervisor, matter).cloned()),
            supporting,
            clocks,
            course,
            disposition,
            generation,
        };
        if after.course.claimant.is_none() {
            after.drop_claim();
        }
        self.referral_succeeded(&mut after, matter);
        let succeeded = Transition {
            event: Event::Succeeded,
            case: after,
        };
        let transition = self.tidied(succeeded, matter);
        (transition.case != *case).then_some(transition)
    }

    /// A clock that goes on against another agency.
    fn taken_over(&self, clock: &Clock, owner: &AgencyId, generation: u64) -> Clock {
        let worktime = self.worktime(owner);
        clock.clone().taken_over(owner.clone(), generation, worktime)
    }

    /// Whoever continues the agency that transferred the case, if it may see it.
    fn giver_after(&self, case: &Case, matter: &Matter) -> Option<AgencyId> {
        let giver = case.giver.as_ref()?;
        let giver = self.stands_in(giver, matter)?;
        (case.owner() != Some(giver)).then(|| giver.clone())
    }
}
