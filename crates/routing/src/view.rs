//! A case as others are shown it: agencies by the contract of routing, intake by its own.

use std::collections::BTreeSet;

use api::{
    event,
    intake::{Advice, CaseChange},
    routing,
};
use data_encoding::HEXLOWER;
use journal::{Head, Sealed};

use crate::{
    decide::{self, Decision, Outcome},
    directory::{AgencyId, Directory},
    state::{Case, Duty, Matter},
    store::{StoredCase, Viewer, name, report_name},
};

/// The etag of a case: it changes with every change.
pub fn etag(head: &Head) -> String {
    format!("{}-{}", head.sequence, HEXLOWER.encode(&head.hash[..8]))
}

/// With the explanation, as far as it was read. Only its owner is told who is excluded.
pub fn case(stored: &StoredCase, viewer: &Viewer, directory: &Directory) -> routing::Case {
    let owner = stored.case.duty.as_ref().map(|duty| &duty.owner);
    let owns = matches!(viewer, Viewer::Agency(agency) if owner == Some(agency));
    let explanation = stored.explanation.clone();
    routing::Case {
        explanation: match owns {
            true => explanation,
            false => explanation.map(decide::without_excluded),
        },
        ..outline(stored, directory)
    }
}

/// Without the explanation: for lists.
pub fn outline(stored: &StoredCase, directory: &Directory) -> routing::Case {
    let (lead, lead_title_zh, lead_title_en) = owner(&stored.case, directory);
    routing::Case {
        name: name(stored.id),
        state: stored.case.state.to_proto().into(),
        reports: stored.reports.iter().copied().map(report_name).collect(),
        category: format!("categories/{}", stored.category),
        lead,
        lead_title_zh,
        lead_title_en,
        supporting: stored.case.supporting.iter().map(AgencyId::resource_name).collect(),
        clock: stored.case.duty.as_ref().map(clock),
        explanation: None,
        open_time: Some(stored.open_time.to_proto()),
        update_time: Some(stored.head.time.to_proto()),
        etag: etag(&stored.head),
        urgent: stored.urgent,
    }
}

/// The clock that runs.
pub fn clock(duty: &Duty) -> event::Clock {
    event::Clock {
        kind: duty.clock.kind.as_str().to_owned(),
        generation: duty.clock.generation,
        owner: duty.owner.resource_name(),
        due_time: Some(duty.clock.due.to_proto()),
    }
}

/// For intake: what reporters are told, and whom to keep it from. Whoever must designate has the case until somebody leads.
pub fn case_change(
    change: &Sealed,
    case: &Case,
    matter: &Matter,
    reports: Vec<String>,
    advice: Option<Advice>,
    directory: &Directory,
) -> CaseChange {
    let (lead, lead_title_zh, lead_title_en) = owner(case, directory);
    CaseChange {
        change: Some(change.without_detail()),
        reports,
        lead,
        lead_title_zh,
        lead_title_en,
        acknowledged: case.state.is_acknowledged(),
        advice,
        state: case.state.name().to_owned(),
        hidden_from: hidden_from(matter, directory),
    }
}

/// The advice of a decision that gives one.
pub fn advice(decision: &Decision) -> Option<Advice> {
    match &decision.outcome {
        Outcome::Advise { zh, en } => Some(Advice {
            text_zh: zh.clone(),
            text_en: en.clone(),
        }),
        _ => None,
    }
}

/// The digests and results by which a decision can be repeated.
pub fn route(decision: &Decision) -> event::Route {
    let explanation = &decision.explanation;
    let lead = match &decision.outcome {
        Outcome::Lead { agency, .. } => agency.resource_name(),
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
fn owner(case: &Case, directory: &Directory) -> (String, String, String) {
    let Some(duty) = &case.duty else {
        return Default::default();
    };
    let agency = directory.agency(&duty.owner);
    (
        duty.owner.resource_name(),
        agency.map(|agency| agency.title_zh.clone()).unwrap_or_default(),
        agency.map(|agency| agency.title_en.clone()).unwrap_or_default(),
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
