//! `ReclassifyCase`: the report was filed under a wrong category. The case is routed anew, by the
//! same facts under another one.
//!
//! That ends: a case never comes back to a category, and changes it at most [`MOST`] times. It is
//! no way to be rid of a case that a superior gave: then only the superior files it anew.

use std::sync::Arc;

use decision::{
    calendar::{ClockKind, ClockRule},
    decide::{Decision, Destination},
    directory::AgencyId,
};

use super::{
    Before, Case, Clock, Duty, Effect, Event, Matter, Origin, Part, Refusal, Rule, Rules, Stage, Standing, State,
    Supporter, Transition, budget, clock_rule,
    hand_on::{Given, barred, unfit},
    leaves_one,
};

/// How often a case is filed under another category, at most. Ours: no source gives a figure.
const MOST: usize = 3;

const LED: &[State] = &[State::ASSIGNED, State::IN_PROGRESS];
const FROM: &[State] = &[State::AWAITING_DESIGNATION, State::ASSIGNED, State::IN_PROGRESS];

/// The lead, or the superior that must designate one, files the case under another category.
#[derive(Clone, Debug, PartialEq)]
pub struct Reclassify {
    /// Id of the category.
    pub category: String,
    /// What follows, as the store knows.
    pub refiled: Refiled,
}

/// What follows from another category.
#[derive(Clone, Debug, PartialEq)]
pub enum Refiled {
    /// There is no such category.
    NoCategory,
    /// What the case was routed by is erased.
    Erased,
    /// It is routed anew.
    Filed(Arc<Filing>),
}

/// The route of a case under another category.
#[derive(Clone, Debug, PartialEq)]
pub struct Filing {
    /// Id of the category.
    pub category: String,
    /// The route, by the rule set in force.
    pub decision: Decision,
    /// As in [`Matter::last_resort`], by the same rule set.
    pub last_resort: Vec<AgencyId>,
}

/// The lead stays the same.
pub(super) const KEEP: &Rule = &Rule {
    name: "keep-reclassified",
    doing: "keep it under another category",
    may: &[(Part::Remit, FROM)],
    clocks: &[
        (&[State::ASSIGNED], ClockKind::Acknowledge, Effect::Start),
        (&[State::IN_PROGRESS], ClockKind::Result, Effect::Start),
    ],
};

/// The route leads to no agency: a superior must designate.
pub(super) const UPWARD: &Rule = &Rule {
    name: "reclassify-upward",
    doing: "have a superior designate under another category",
    may: &[(Part::Remit, FROM)],
    clocks: &[
        (&[State::ASSIGNED], ClockKind::Acknowledge, Effect::Stop),
        (&[State::IN_PROGRESS], ClockKind::Result, Effect::Stop),
        (FROM, ClockKind::Designate, Effect::Start),
    ],
};

impl Reclassify {
    pub(super) const RULE: &Rule = &Rule {
        name: "reclassify",
        doing: "file it under another category",
        may: &[
            (Part::Lead, LED),
            (Part::Designating, &[State::AWAITING_DESIGNATION]),
            (Part::Supervising, LED),
        ],
        // When another agency leads then.
        clocks: &[
            (FROM, ClockKind::Acknowledge, Effect::Start),
            (&[State::IN_PROGRESS], ClockKind::Result, Effect::Stop),
            (&[State::AWAITING_DESIGNATION], ClockKind::Designate, Effect::Stop),
        ],
    };

    pub(super) fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, .. } = before;
        let (Standing::Open(stage, duty), course) = (&case.standing, &case.course) else {
            return Err(Refusal::Unseen);
        };
        let filing = match &self.refiled {
            Refiled::NoCategory => return unfit("category", "is no category; `ListCategories` has them"),
            Refiled::Erased => return barred(case, "what it was routed by is erased: it cannot be routed anew"),
            Refiled::Filed(filing) => filing,
        };
        if filing.category == matter.category {
            return unfit("category", "is the one that it is filed under; name another");
        }
        if course.former_categories.contains(&filing.category) {
            return unfit(
                "category",
                "is one that it was filed under before; name another, or hand it on",
            );
        }
        if course.former_categories.len() >= MOST {
            return barred(
                case,
                format_args!("it was filed under another category {MOST} times: hand it on, or decide it"),
            );
        }
        if course.claimant.is_some() {
            return barred(case, "another agency claims to lead it: answer the claim first");
        }
        if !course.reviewed.is_empty() {
            return barred(
                case,
                "what was decided of it is under review: it stays under its category",
            );
        }
        if duty.clock.ledger.paused.is_some() {
            return barred(case, "its time is paused: resume it first");
        }
        let is_lead = before.by == Some(&duty.owner);
        if is_lead && case.supervisor.is_some() && *stage != Stage::AwaitingDesignation {
            return barred(
                case,
                "a superior supervises it: that one can file it under another category",
            );
        }
        if duty.clock.is_term {
            return barred(case, "a superior set the term for its result: decide it, or hand it up");
        }
        if rules.is_late(case) {
            return barred(case, "its deadline has passed: it goes to the superior now");
        }
        let refiled = matter.filed(filing);
        let (stage_then, owner) = rules.led_by(filing, &refiled)?;
        let is_kept = (stage_then == Stage::AwaitingDesignation) == (*stage == Stage::AwaitingDesignation);
        let event = Event::Reclassified {
            from: matter.category.clone(),
            filing: Arc::clone(filing),
        };
        let mut transition = match is_kept && *owner == duty.owner {
            true => Transition {
                event,
                case: rules.kept(case, (*stage, duty), matter, &refiled),
            },
            false => {
                let is_given =
                    course.given == Some(Given::BySuperior) || rules.is_one_of(&duty.owner, &course.designated);
                if is_lead && is_given && *stage != Stage::AwaitingDesignation {
                    let description = "a superior gave it to you, and another agency would lead it: hand it up, and the \
                                       superior can file it";
                    return barred(case, description);
                }
                let rule = match stage_then {
                    Stage::AwaitingDesignation => UPWARD,
                    _ => Self::RULE,
                };
                let before = Before {
                    matter: &refiled,
                    ..before
                };
                let reclassified = (Origin::Reclassified(duty.owner.clone()), event);
                let mut transition = rules.given_to(rule, before, stage_then, owner, reclassified)?;
                let course = &mut transition.case.course;
                course.result_used = of_budget(course.result_used, matter, &refiled);
                // It answers for the case until the receiver takes it over.
                let gives = stage_then == Stage::Assigned && *stage != Stage::AwaitingDesignation;
                if gives {
                    course.given = Some(Given::ByPeer(duty.owner.clone()));
                    transition.case.giver = Some(duty.owner.clone());
                }
                transition
            }
        };
        let after = &mut transition.case;
        after.course.former_categories.push(matter.category.clone());
        after.support(filing);
        Ok(transition)
    }
}

impl Rules<'_> {
    /// Who owns a case by its new route, and in which stage: whoever has that agency's place today.
    fn led_by<'b>(&'b self, filing: &'b Filing, refiled: &'b Matter) -> Result<(Stage, &'b AgencyId), Refusal> {
        let last = || self.last_resort(refiled);
        match (&filing.decision.outcome, &refiled.terms) {
            (Destination::Lead { agency, .. }, Some(_)) => Ok(match self.stands_in(agency, refiled) {
                Some(lead) => (Stage::Assigned, lead),
                None => (Stage::AwaitingDesignation, last()),
            }),
            (Destination::Designate { superior }, Some(_)) => Ok((
                Stage::AwaitingDesignation,
                self.stands_in(superior, refiled).unwrap_or_else(last),
            )),
            (Destination::Advise { .. }, _) | (_, None) => unfit(
                "category",
                "is one under which no agency acts on such a report: propose `OUTSIDE_ANY_REMIT` instead",
            ),
        }
    }

    /// The case with the same owner, by other terms. Of two deadlines to acknowledge, the sooner
    /// counts; of the time for the result, the same share is used.
    fn kept(&self, case: &Case, (stage, duty): (Stage, &Duty), matter: &Matter, refiled: &Matter) -> Case {
        let mut after = case.clone();
        after.course.result_used = of_budget(case.course.result_used, matter, refiled);
        let (Some(kind), Some(terms)) = (KEEP.starts(case.state()), &refiled.terms) else {
            return after;
        };
        let worktime = self.worktime(&duty.owner);
        let mut clock = self.clock(&duty.owner, clock_rule(kind, &terms.clocks), case.generation + 1);
        if kind == ClockKind::Result {
            clock.ledger.used = of_budget(duty.clock.used(self.now, worktime), matter, refiled);
            // What was paused stays paused: it counts against the bounds of pauses.
            clock.ledger.pauses.clone_from(&duty.clock.ledger.pauses);
            clock = clock.settled(worktime);
        }
        let is_sooner = |running: &Clock| kind == ClockKind::Acknowledge && running.due <= clock.due;
        if !is_sooner(&duty.clock) {
            after.generation += 1;
            after.standing = Standing::Open(stage, Duty { clock, ..duty.clone() });
        }
        after
    }
}

/// Time that was used for the result, as the same share of the budget by other terms. A unit is
/// always left.
fn of_budget(used: i64, before: &Matter, after: &Matter) -> i64 {
    let result = |matter: &Matter| -> Option<ClockRule> { Some(matter.terms.as_ref()?.clocks.result) };
    let (Some(before), Some(after)) = (result(before), result(after)) else {
        return used;
    };
    let share = i128::from(used) * i128::from(budget(after)) / i128::from(budget(before)).max(1);
    i64::try_from(share).unwrap_or(i64::MAX).min(leaves_one(after))
}

impl Case {
    /// Those support it whom the new route names, those that were asked to assist, and who has
    /// taken its crime.
    fn support(&mut self, filing: &Filing) {
        let owner = self.owner().cloned();
        let named: Vec<&AgencyId> = filing
            .decision
            .supporting
            .iter()
            .map(|(agency, _)| agency)
            .filter(|agency| owner.as_ref() != Some(agency))
            .collect();
        let taker = self.taker().cloned();
        self.supporting.retain(|supporter| {
            let agency = &supporter.agency;
            supporter.by_request || named.contains(&agency) || Some(agency) == taker.as_ref()
        });
        for agency in named {
            match self.supporting.iter_mut().find(|supporter| supporter.agency == *agency) {
                Some(supporter) => supporter.by_request = false,
                None => self.supporting.push(Supporter::of(agency.clone())),
            }
        }
        let supporting = &self.supporting;
        let stays = |agency: &AgencyId| supporting.iter().any(|supporter| supporter.agency == *agency);
        self.clocks
            .retain(|clock| Some(&clock.owner) == owner.as_ref() || stays(&clock.owner));
        self.giver.take_if(|giver| stays(giver));
    }
}

impl Matter {
    /// It, by another route.
    fn filed(&self, filing: &Filing) -> Self {
        Self {
            excluded: self.excluded.clone(),
            last_resort: filing.last_resort.clone(),
            terms: filing.decision.terms.clone(),
            category: filing.category.clone(),
        }
    }

    /// It, after a change of the case.
    #[must_use]
    pub fn after(&self, event: &Event) -> Self {
        match event {
            Event::Recused { agency } => {
                let mut matter = self.clone();
                matter.excluded.insert(agency.clone());
                matter
            }
            Event::Reclassified { filing, .. } => self.filed(filing),
            _ => self.clone(),
        }
    }
}
