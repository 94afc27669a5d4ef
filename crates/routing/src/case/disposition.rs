//! How a case is disposed of, and the only way to a resolved case: [`Rules::resolved`], and for cases
//! joined to one that went it, [`Rules::resolved_alike`].
//!
//! A major disposition needs a second person. That is checked where a case becomes resolved, and
//! nowhere else, so no verb, batch or service can pass it by.

use std::collections::BTreeSet;

use api::{
    event::{self, DispositionEffect, DispositionKind},
    routing::CaseNote,
};
use decision::{
    calendar::{ClockKind, ClockRule, Unit},
    directory::AgencyId,
    rules::Review,
};
use journal::Time;
use names::text::person;

use super::{
    Before, Case, Duty, Matter, Refusal, Rule, Rules, Stage, Standing,
    hand_on::{barred, unfit},
};

/// Time in which a review of a disposition can be requested: 60 days, as before a higher authority
/// (行政复议法 20).
pub const REVIEW: ClockRule = ClockRule {
    kind: ClockKind::Review,
    value: 60,
    unit: Unit::CalendarDays,
};

/// Kinds that need a second person whatever the case.
const MAJOR: &[DispositionKind] = &[
    DispositionKind::Penalty,
    DispositionKind::SuspectedCrime,
    DispositionKind::HandedBack,
    DispositionKind::Fabricated,
];

/// Kinds that sanction somebody.
const SANCTIONS: &[DispositionKind] = &[DispositionKind::Penalty, DispositionKind::SuspectedCrime];

/// Categories in which the reporter has a dispute of its own, which can be mediated
/// (市场监督管理投诉举报处理办法: complaints).
const DISPUTES: &[&str] = &["consumer-harm"];

/// A disposition of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Disposition {
    /// What.
    pub what: event::Disposition,
    /// The agency that proposed it.
    pub by: AgencyId,
    /// The agency that answers for it: that one, or who has its place since.
    pub holder: AgencyId,
    /// Its reasons, what may be told, and who proposed it.
    pub note: CaseNote,
    /// When it was proposed.
    pub propose_time: Time,
    /// `None` while it waits for a second person.
    pub decided: Option<Decided>,
}

/// The decision for a disposition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// When.
    pub time: Time,
    /// The second person; `None` if none was needed.
    pub reviewer: Option<String>,
}

/// Who reviews a disposition.
#[derive(Clone, Copy, Debug)]
pub(super) struct SecondPerson<'a> {
    /// The officer.
    pub(super) officer: &'a str,
    /// Whether that officer and the proposer acted in each other's stead since the proposal.
    pub(super) stood_in: bool,
}

impl Disposition {
    /// Whether a second person must approve it: its kind is major, or the row that routed the case
    /// says so.
    #[must_use]
    pub fn needs_second_person(&self, matter: &Matter) -> bool {
        let by_row = matter
            .terms
            .as_ref()
            .is_none_or(|terms| terms.review == Review::SecondPerson);
        by_row || MAJOR.contains(&self.what.kind())
    }
}

/// Checks a disposition by itself: the effects, and that the kind fits the case.
pub(super) fn check(what: &event::Disposition, case: &Case, matter: &Matter) -> Result<(), Refusal> {
    let effects: BTreeSet<i32> = what.effects.iter().copied().collect();
    if effects.is_empty() {
        return unfit("disposition.effects", "is required; `NONE` if nothing changes");
    }
    if effects.len() != what.effects.len() {
        return unfit("disposition.effects", "names one twice");
    }
    if effects.len() > 1 && effects.contains(&DispositionEffect::None.into()) {
        return unfit("disposition.effects", "has `NONE` beside others; it stands alone");
    }
    // Whoever sanctions says so by the kind, which asks for a second person.
    if effects.contains(&DispositionEffect::Sanctioned.into()) && !SANCTIONS.contains(&what.kind()) {
        return unfit(
            "disposition.effects",
            "has `SANCTIONED`, which goes with a penalty or with handing over a crime",
        );
    }
    if what.kind() == DispositionKind::Withdrawn && !case.course.withdrawal_requested {
        return unfit(
            "disposition.kind",
            "is for cases whose reporter asked to withdraw, by the receipt; nobody did",
        );
    }
    if what.kind() == DispositionKind::Mediated && !DISPUTES.contains(&matter.category.as_str()) {
        let categories = DISPUTES.join("`, `");
        let description = format!("is for disputes of the reporter's own only: category `{categories}`");
        return unfit("disposition.kind", description);
    }
    Ok(())
}

impl Rules<'_> {
    /// Refuses a disposition that needs a second person and has none, or the proposer as such.
    pub(super) fn second_person(
        &self,
        before: Before<'_>,
        proposed: &Disposition,
        reviewer: Option<SecondPerson<'_>>,
    ) -> Result<(), Refusal> {
        let Before { case, matter, .. } = before;
        match reviewer {
            None if proposed.needs_second_person(matter) => {
                barred(case, "its disposition needs a second person: propose it for review")
            }
            Some(reviewer) if person(reviewer.officer) == person(&proposed.note.officer) => Err(Refusal::NotYours {
                description: "who proposed a disposition cannot review it; another officer must".to_owned(),
            }),
            Some(reviewer) if reviewer.stood_in => Err(Refusal::NotYours {
                description: "you and the proposer acted in each other's stead; another officer must review it"
                    .to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The case with its disposition decided. Refuses one that lacks the second person that it needs,
    /// or in which the affected side had no say.
    pub(super) fn resolved(
        &self,
        rule: &Rule,
        before: Before<'_>,
        proposed: Disposition,
        reviewer: Option<SecondPerson<'_>>,
    ) -> Result<Case, Refusal> {
        self.heard(before.case, &proposed)?;
        self.resolved_alike(rule, before, proposed, reviewer)
    }

    /// The same for a case that is joined to one that went this way: the affected side had its say
    /// there.
    pub(super) fn resolved_alike(
        &self,
        rule: &Rule,
        before: Before<'_>,
        proposed: Disposition,
        reviewer: Option<SecondPerson<'_>>,
    ) -> Result<Case, Refusal> {
        let case = before.case;
        self.second_person(before, &proposed, reviewer)?;
        let duty = case.duty().ok_or(Refusal::Unseen)?;
        let generation = case.generation + 1;
        let clock = self.duty_clock(rule, before, duty, &duty.owner, generation);
        // Nobody has to assist any more, nor sees the case because of that alone.
        let (mut clocks, mut supporting) = (case.clocks.clone(), case.supporting.clone());
        clocks.retain(|clock| clock.kind() != ClockKind::Assist);
        supporting.retain(|supporter| !supporter.by_request);
        let decided = Decided {
            time: self.now,
            reviewer: reviewer.map(|reviewer| reviewer.officer.to_owned()),
        };
        // What is asked still is asked in vain.
        let mut course = case.course.clone();
        course.question = None;
        let disposition = Disposition {
            decided: Some(decided),
            ..proposed
        };
        let mut resolved = Case {
            course,
            standing: Standing::Open(
                Stage::Resolved,
                Duty {
                    clock: clock.ok_or(Refusal::Unseen)?,
                    ..duty.clone()
                },
            ),
            disposition: Some(disposition.clone()),
            clocks,
            supporting,
            generation,
            ..case.clone()
        };
        self.start_referral(&mut resolved, &disposition);
        Ok(resolved)
    }
}
