//! Replay: decides a stored route again from its facts, and compares it with the stored and the
//! logged one.
//!
//! Pure. Compares every step of the explanation but not its words, which may differ between
//! releases.

use api::event::{Detail, Route};
use api::routing::{Explanation, Facts, ReplayCheck, ReplayResult};
use journal::{Bytes32, Content, Entry, detail_commitment};
use prost::Message as _;

use crate::view;
use decision::decide::{Decision, facts_digest};

/// The change that opened a case, as stored.
#[derive(Clone, Debug)]
pub struct OpeningChange {
    /// The canonical entry, as logged.
    pub entry: Vec<u8>,
    /// The salt of its commitment to the detail.
    pub salt: Bytes32,
    /// The detail that the entry commits to.
    pub detail: Vec<u8>,
}

/// The stored route of a case.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The facts; `None` if they were erased.
    pub facts: Option<Facts>,
    /// The explanation.
    pub explanation: Explanation,
    /// The logged change.
    pub opening: OpeningChange,
}

/// Compares a stored route with the repeated decision.
#[must_use]
pub fn replay(routed: &Routed, facts: &Facts, again: &Decision) -> (ReplayResult, Vec<ReplayCheck>) {
    let stored = &routed.explanation;
    let logged = logged(&routed.opening);
    let mut checks = vec![ReplayCheck {
        subject: "logged commitment".to_owned(),
        agrees: logged.is_ok(),
        detail: match &logged {
            Ok(_) => "the entry in the log commits to the stored detail of the route",
            Err(problem) => problem,
        }
        .to_owned(),
    }];
    let logged = logged.ok();
    let is_logged = |agrees: &dyn Fn(&Route) -> bool| logged.as_ref().is_some_and(agrees);
    let digest = facts_digest(facts, &stored.facts_salt);
    let mut check = |subject: &str, agrees: bool, what: &str| {
        checks.push(ReplayCheck {
            subject: subject.to_owned(),
            agrees,
            detail: format!("{what} {}", if agrees { "agree" } else { "do not agree" }),
        });
    };
    check(
        "facts",
        digest == stored.facts_digest[..] && is_logged(&|logged| digest == logged.facts_digest[..]),
        "the stored facts, the explanation and the log",
    );
    check(
        "rule set",
        again.explanation.rule_set_digest == stored.rule_set_digest
            && is_logged(&|logged| stored.rule_set_digest == logged.rule_set_digest),
        "the kept rule set, the explanation and the log",
    );
    check(
        "directory",
        again.explanation.directory_digest == stored.directory_digest
            && is_logged(&|logged| stored.directory_digest == logged.directory_digest),
        "the kept directory, the explanation and the log",
    );
    let route = view::route(again);
    check(
        "answer",
        is_logged(&|logged| {
            (&route.row, &route.factor, &route.lead, &route.supporting)
                == (&logged.row, &logged.factor, &logged.lead, &logged.supporting)
        }),
        "lead, supporting agencies, factor and row as decided again and as logged",
    );
    check(
        "steps",
        steps(&again.explanation) == steps(stored),
        "the steps as decided again and as stored",
    );
    let result = match checks.iter().all(|check| check.agrees) {
        true => ReplayResult::Agrees,
        false => ReplayResult::Differs,
    };
    (result, checks)
}

/// The logged route, or the reason why the stored one is not it.
fn logged(opening: &OpeningChange) -> Result<Route, &'static str> {
    let entry = Entry::decode(&opening.entry).map_err(|_| "the stored entry of the log cannot be read")?;
    match entry.content {
        Content::Change { detail, .. } if detail == detail_commitment(&opening.salt, &opening.detail) => {}
        _ => return Err("the entry in the log does not commit to the stored detail of the route"),
    }
    Detail::decode(opening.detail.as_slice())
        .map_err(|_| "the logged detail of the route cannot be read")?
        .route
        .ok_or("the logged detail has no route")
}

/// An explanation without its words.
fn steps(explanation: &Explanation) -> Explanation {
    let mut steps = explanation.clone();
    steps.summary.clear();
    // Compared separately: only the stored explanation has them.
    steps.facts_digest.clear();
    steps.facts_salt.clear();
    steps.source.clear();
    steps.fallbacks.clear();
    steps.exclusions.clear();
    for tried in &mut steps.factors {
        tried.outcome.clear();
    }
    for support in &mut steps.supporting {
        support.reason.clear();
    }
    for hold in &mut steps.holds {
        hold.reason.clear();
    }
    steps
}
