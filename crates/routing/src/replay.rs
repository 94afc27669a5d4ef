//! Replay: a stored route, decided again from its facts and held against what was stored and logged.
//!
//! Pure. The words of an explanation are not compared: another release may word the same step otherwise. Every step is.

use api::event::Route;
use api::routing::{Explanation, Facts, ReplayCheck, ReplayResult};
use journal::{Bytes32, Content, Entry, detail_commitment};
use prost::Message as _;

use crate::view;
use decision::decide::{Decision, facts_digest};

/// What is stored of the change that opened a case.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The canonical entry, as it was logged.
    pub entry: Vec<u8>,
    /// The salt of its commitment to the detail.
    pub salt: Bytes32,
    /// The detail that the entry commits to.
    pub detail: Vec<u8>,
}

/// What a case was routed by, as it is stored.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The facts; `None` when they were erased.
    pub facts: Option<Facts>,
    /// The explanation.
    pub explanation: Explanation,
    /// The logged change.
    pub opening: Opening,
}

/// Holds a stored route against its decision made again.
#[must_use]
pub fn replay(routed: &Routed, facts: &Facts, again: &Decision) -> (ReplayResult, Vec<ReplayCheck>) {
    let stored = &routed.explanation;
    let logged = logged(&routed.opening);
    let mut checks = vec![ReplayCheck {
        subject: "logged commitment".to_owned(),
        agrees: logged.is_some(),
        detail: match logged {
            Some(_) => "the entry in the log commits to the stored detail of the route",
            None => "the entry in the log does not commit to the stored detail of the route",
        }
        .to_owned(),
    }];
    let logged = logged.unwrap_or_default();
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
        digest == stored.facts_digest[..] && digest == logged.facts_digest[..],
        "the stored facts, the explanation and the log",
    );
    check(
        "rule set",
        again.explanation.rule_set_digest == stored.rule_set_digest && stored.rule_set_digest == logged.rule_set_digest,
        "the kept rule set, the explanation and the log",
    );
    check(
        "directory",
        again.explanation.directory_digest == stored.directory_digest
            && stored.directory_digest == logged.directory_digest,
        "the kept directory, the explanation and the log",
    );
    let route = view::route(again);
    check(
        "answer",
        (&route.row, &route.factor, &route.lead, &route.supporting)
            == (&logged.row, &logged.factor, &logged.lead, &logged.supporting),
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

/// The route that was logged; `None` when the log commits to something else than what is stored.
fn logged(opening: &Opening) -> Option<Route> {
    let entry = Entry::decode(&opening.entry).ok()?;
    match entry.content {
        Content::Change { detail, .. } if detail == detail_commitment(&opening.salt, &opening.detail) => {}
        _ => return None,
    }
    api::event::Detail::decode(opening.detail.as_slice()).ok()?.route
}

/// An explanation without its words.
fn steps(explanation: &Explanation) -> Explanation {
    let mut steps = explanation.clone();
    steps.summary.clear();
    // Compared by themselves: only what is stored has them.
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
