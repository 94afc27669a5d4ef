//! A case as others are shown it: agencies by the contract of routing, intake by its own.

use std::collections::BTreeSet;

use api::{
    event,
    google::r#type::LocalizedText,
    intake::{Advice, CaseChange},
    routing::{self, CaseSight, LeadOrigin, case_sight},
};
use data_encoding::HEXLOWER;
use decision::{
    calendar::ClockKind,
    decide::{self, Decision, Destination},
    directory::{AgencyId, Directory},
    rules::Terms,
};
use journal::{Change, Head};
use uuid::Uuid;

use crate::{
    case::{self, Case, Clock, Matter, Party, Sight},
    store::{StoredCase, name, report_name},
};

/// The etag of a case: it changes with every change.
pub fn etag(head: &Head) -> String {
    format!("{}-{}", head.sequence, HEXLOWER.encode(&head.hash[..8]))
}

/// With what the case was opened with, as far as it was read. Who is excluded is told to those only whose part shows it.
pub fn case(stored: &StoredCase, viewer: &Party, directory: &Directory) -> routing::Case {
    let opening = stored.opening.as_ref();
    let explanation = opening.map(|opening| opening.explanation.clone());
    routing::Case {
        explanation: match case::sees(&stored.case, viewer, directory, Sight::Exclusions) {
            true => explanation,
            false => explanation.map(decide::without_excluded),
        },
        terms: opening
            .and_then(|opening| opening.matter.terms.as_ref())
            .map(Terms::to_proto),
        ..outline(stored, directory)
    }
}

/// After a change: the case, or its name for whoever the change took the sight of it from.
pub fn sight(stored: &StoredCase, viewer: &Party, directory: &Directory) -> CaseSight {
    match case::sees(&stored.case, viewer, directory, Sight::Case) {
        true => CaseSight {
            sight: Some(case_sight::Sight::CurrentCase(case(stored, viewer, directory))),
        },
        false => lost(stored.id),
    }
}

/// A case that is seen no longer.
pub fn lost(case: Uuid) -> CaseSight {
    CaseSight {
        sight: Some(case_sight::Sight::LostCase(name(case))),
    }
}

/// Without what it was opened with: for lists.
pub fn outline(stored: &StoredCase, directory: &Directory) -> routing::Case {
    let (lead, lead_titles) = owner(&stored.case, directory);
    routing::Case {
        name: name(stored.id),
        state: stored.case.state().to_proto().into(),
        reports: stored.reports.iter().copied().map(report_name).collect(),
        category: names::Collection::CATEGORIES.of(&stored.category),
        lead,
        lead_titles,
        supporting: stored.case.supporting().map(AgencyId::resource_name).collect(),
        clocks: stored.case.all_clocks().map(clock).collect(),
        explanation: None,
        open_time: Some(stored.open_time.to_proto()),
        update_time: Some(stored.head.time.to_proto()),
        etag: etag(&stored.head),
        urgent: stored.urgent,
        lead_origin: stored.case.duty().map(|duty| LeadOrigin {
            how: duty.origin.how().into(),
            former_agency: duty.origin.parts().1.map(AgencyId::resource_name).unwrap_or_default(),
        }),
        terms: None,
    }
}

/// A clock that runs.
pub fn clock(clock: &Clock) -> event::Clock {
    event::Clock {
        kind: match clock.kind() {
            ClockKind::Acknowledge => event::ClockKind::Acknowledge,
            ClockKind::Result => event::ClockKind::Result,
            ClockKind::Designate => event::ClockKind::Designate,
            ClockKind::Assist => event::ClockKind::Assist,
        }
        .into(),
        generation: clock.generation,
        owner: clock.owner.resource_name(),
        due_time: Some(clock.due.to_proto()),
        budget_count: i32::try_from(clock.rule.value).unwrap_or(i32::MAX),
        unit: clock.rule.unit.to_proto().into(),
        provisional: clock.provisional,
    }
}

/// For intake: what reporters are told, and whom to keep it from. Whoever must designate has the case until somebody leads.
pub fn case_change(
    change: &Change,
    case: &Case,
    matter: &Matter,
    reports: Vec<String>,
    advice: Option<Advice>,
    directory: &Directory,
) -> CaseChange {
    let (lead, lead_titles) = owner(case, directory);
    CaseChange {
        change: Some(change.without_detail()),
        reports,
        lead,
        lead_titles,
        acknowledged: case.state().is_acknowledged(),
        advice,
        state: case.state().name().to_owned(),
        hidden_from: hidden_from(matter, directory),
    }
}

/// The advice of a decision that gives one.
pub fn advice(decision: &Decision) -> Option<Advice> {
    match &decision.outcome {
        Destination::Advise { zh, en } => Some(Advice {
            texts: api::bilingual(zh, en),
        }),
        _ => None,
    }
}

/// The digests and results by which a decision can be repeated.
pub fn route(decision: &Decision) -> event::Route {
    let explanation = &decision.explanation;
    let lead = match &decision.outcome {
        Destination::Lead { agency, .. } => agency.resource_name(),
        _ => String::new(),
    };
    event::Route {
        facts_digest: explanation.facts_digest.clone(),
        rule_set_digest: explanation.rule_set_digest.clone(),
        directory_digest: explanation.directory_digest.clone(),
        row: explanation.row.clone(),
        factor: explanation.factor.clone(),
        lead,
        supporting: decision
            .supporting
            .iter()
            .map(|(agency, _)| agency.resource_name())
            .collect(),
    }
}

/// Resource name and titles of who has the case.
fn owner(case: &Case, directory: &Directory) -> (String, Vec<LocalizedText>) {
    let Some(duty) = case.duty() else {
        return Default::default();
    };
    let agency = directory.agency(&duty.owner);
    (
        duty.owner.resource_name(),
        agency
            .map(|agency| api::bilingual(&agency.title_zh, &agency.title_en))
            .unwrap_or_default(),
    )
}

/// Every agency that is excluded or stands under one that is.
fn hidden_from(matter: &Matter, directory: &Directory) -> Vec<String> {
    if matter.excluded.is_empty() {
        return Vec::new();
    }
    let under = directory
        .agencies()
        .map(|agency| &agency.id)
        .filter(|id| directory.is_excluded(id, &matter.excluded));
    // Also those that the directory does not know: a token may still name one.
    let all: BTreeSet<_> = matter.excluded.iter().chain(under).collect();
    all.into_iter().map(AgencyId::resource_name).collect()
}
