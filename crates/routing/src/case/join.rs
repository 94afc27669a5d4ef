//! Joining: which case a new one is linked to, and what a joined case takes over from it.
//!
//! Each report has a case of its own, with its own route, clocks and lead's acknowledgement, so
//! that from the outside a joined one looks like any other. A link says that the lead works it
//! through another: the main case. What is decided there is applied to the joined ones, as
//! changes of their own and at a time of its own, by [`Rules::followed`]; once for each, and not
//! to one of which something else was proposed. A link has an effect only between cases with one
//! lead and the same exclusions; while these differ, each case goes on by itself. So does one that
//! was filed under another category.

use std::collections::BTreeSet;

use api::{
    event::{DispositionEffect, DispositionKind},
    routing::{CaseNote, CaseStep},
};
use decision::{calendar::ClockKind, directory::AgencyId};

use super::{
    Action, Before, Case, Decline, Designate, Dispatch, Disposition, Effect, Escalate, Event, Matter, Origin, Part,
    Party, Reason, Rule, Rules, State, Transfer, Transition,
    disposition::{SecondPerson, check},
};

/// A link from a new case to an earlier one on the same subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// The earlier one was decided before: a reference, and nothing else.
    Prior,
    /// It is worked through the earlier one.
    Joined,
}

impl Link {
    /// The name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prior => "prior",
            Self::Joined => "joined",
        }
    }
}

/// An earlier case on the subjects of a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its state.
    pub state: State,
    /// Its lead, or the agency that decided it; `None` if it has neither.
    pub holder: Option<AgencyId>,
    /// Who is excluded from it, with successors.
    pub excluded: BTreeSet<AgencyId>,
}

impl Candidate {
    /// Whether new reports may still join it: it has a lead, and is not decided.
    #[must_use]
    pub const fn takes_reports(&self) -> bool {
        matches!(self.state, State::ASSIGNED | State::IN_PROGRESS | State::IN_REVIEW)
    }

    /// The link to it of a new case with a lead. `None` if another agency has it, or another is
    /// excluded from it: through the one, nobody must learn of the other.
    #[must_use]
    pub fn link(&self, lead: &AgencyId, matter: &Matter) -> Option<Link> {
        if self.holder.as_ref() != Some(lead) || self.excluded != matter.excluded {
            return None;
        }
        match self.state {
            State::RESOLVED | State::CLOSED => Some(Link::Prior),
            _ if self.takes_reports() => Some(Link::Joined),
            _ => None,
        }
    }
}

/// What is decided about what was reported is decided for everybody who reported it. The others say
/// something of one report or its reporter.
const OF_THE_MATTER: &[DispositionKind] = &[
    DispositionKind::Guidance,
    DispositionKind::Correction,
    DispositionKind::Interview,
    DispositionKind::Penalty,
    DispositionKind::SuspectedCrime,
    DispositionKind::HandedBack,
    DispositionKind::ReferredAbroad,
    DispositionKind::NoOffence,
    DispositionKind::OutsideAnyRemit,
];

/// Effects for one reporter, and not for all.
const OF_ONE_REPORTER: &[DispositionEffect] = &[DispositionEffect::MoneyReturned, DispositionEffect::MoneyStopped];

/// The main case was decided. Only what the lead has acknowledged follows: until then, a new report
/// shows its own way.
pub(super) const FOLLOW: &Rule = &Rule {
    name: "follow-main-case",
    doing: "apply what was decided for the main case",
    may: &[(Part::Remit, &[State::IN_PROGRESS])],
    clocks: &[
        (&[State::IN_PROGRESS], ClockKind::Result, Effect::Stop),
        (&[State::IN_PROGRESS], ClockKind::Assist, Effect::Stop),
        (&[State::IN_PROGRESS], ClockKind::Review, Effect::Start),
    ],
};

/// A main case, as a joined one sees it.
#[derive(Clone, Copy, Debug)]
pub struct Main<'a> {
    /// The case.
    pub case: &'a Case,
    /// What it was opened with, and who is excluded.
    pub matter: &'a Matter,
    /// The last step by which another agency came to own it, if there is one.
    pub handed: Option<&'a CaseStep>,
}

impl Rules<'_> {
    /// What a joined case takes over from its main case: a decision, or the way to another agency,
    /// with what the officer wrote of it. `None` if there is nothing, or if its own rules do not allow
    /// it: then the lead does it for that case by itself, or not.
    pub fn followed(&self, main: Main<'_>, member: &Case, matter: &Matter) -> Option<(Transition, CaseNote)> {
        let is_refiled = |case: &Case| !case.course.former_categories.is_empty();
        if main.matter.excluded != matter.excluded || is_refiled(main.case) || is_refiled(member) {
            return None;
        }
        let (owner, leads) = (member.owner()?, main.case.owner()?);
        match owner == leads {
            true => self.decided_alike(main.case, member, matter),
            false => self.handed_alike(main, member, matter),
        }
    }

    fn decided_alike(&self, main: &Case, member: &Case, matter: &Matter) -> Option<(Transition, CaseNote)> {
        let decision = main.disposition.as_ref().filter(|_| main.state() == State::RESOLVED)?;
        let decided = decision.decided.as_ref()?;
        // One that was decided by itself, or of which something was proposed, goes its own way; so does
        // one whose reporter is to say something first.
        let course = &member.course;
        let is_bound = course.withdrawal_requested
            || course.claimant.is_some()
            || course.question.is_some()
            || course.proposals > 0;
        if is_bound || !FOLLOW.allows(Part::Remit, member.state()) || !OF_THE_MATTER.contains(&decision.what.kind()) {
            return None;
        }
        if decision.what.effects().any(|effect| OF_ONE_REPORTER.contains(&effect)) {
            return None;
        }
        check(&decision.what, member, matter).ok()?;
        // With the same words: a case without them would show that it follows another.
        let note = decision.note.clone();
        let mut member = member.clone();
        member.course.proposals += 1;
        let member = &member;
        let proposed = Disposition {
            by: member.owner()?.clone(),
            holder: member.owner()?.clone(),
            propose_time: self.now,
            decided: None,
            note: note.clone(),
            ..decision.clone()
        };
        let before = Before {
            case: member,
            matter,
            by: None,
        };
        // That the two are two persons was looked at there.
        let reviewer = decided.reviewer.as_deref().map(|officer| SecondPerson {
            officer,
            stood_in: false,
        });
        let case = self.resolved_alike(FOLLOW, before, proposed, reviewer).ok()?;
        let event = Event::Resolved(decision.what.clone());
        Some((self.tidied(Transition { event, case }, matter), note))
    }

    /// Its owner hands it on as it did the main case.
    fn handed_alike(&self, main: Main<'_>, member: &Case, matter: &Matter) -> Option<(Transition, CaseNote)> {
        let (duty, owner) = (main.case.duty()?, member.owner()?);
        let reason = main.handed.and_then(|step| Reason::from_proto(step.reason()));
        let to = duty.owner.clone();
        let action = match &duty.origin {
            Origin::Transferred(from) if from == owner => Action::Transfer(Transfer {
                to,
                reason: reason?,
                keep_supporting: main.case.is_supported_by(from),
            }),
            Origin::HandedUp(from) if from == owner => Action::Escalate(Escalate { reason: reason? }),
            Origin::Dispatched(from) if from == owner => Action::Dispatch(Dispatch { to, reason: reason? }),
            Origin::Declined(from) if from == owner => Action::Decline(Decline {
                reason: reason?,
                better: None,
            }),
            Origin::Designated(by) if by == owner => Action::Designate(Designate { agency: to }),
            _ => return None,
        };
        let done = self.act(member, matter, &Party::Agency(owner.clone()), &action).ok()?;
        let note = main.handed.and_then(|step| step.note.clone()).unwrap_or_default();
        (done.case.owner() == main.case.owner()).then_some((done, note))
    }
}
