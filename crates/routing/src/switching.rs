//! Switches to another directory or rule set, by two people: made against the active pair, and made
//! again if another switch comes first.

use std::{collections::BTreeMap, sync::Arc};

use decision::directory::AgencyId;
use journal::{Bytes32, Clock, RequestId, Writer};
use names::text::person;
use prost::Message;
use rpc::{Failure, Identity, OFFICER, Proof};

use crate::{
    active::{Active, VersionKind},
    store::{
        self, Versions,
        versions::{Activated, Activation, Hand, Ownerless, Person, Proposal, Request, Same},
    },
};

/// Maximum number of attempts if other switches come first.
const TRIES: usize = 8;
/// Maximum number of cases in a refusal, which is sent in headers of limited size.
const NAMED: usize = 20;

/// What became of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in force by this call.
    Done,
    /// It was in force.
    Unchanged,
    /// It waits for a second person.
    Proposed,
    /// A second person would put it in force.
    Approvable,
}

/// The acting officer of a caller, if one is named.
fn acting(caller: &Identity) -> Option<Person> {
    let officer = caller.officer.as_ref()?;
    Some(Person {
        name: person(officer.as_str()),
        is_signed: matches!(caller.proof, Proof::Signed { .. }),
        system: caller.system.clone(),
    })
}

/// The hand of the first of two: its officer need not be named while one is enough.
pub(crate) fn first(caller: &Identity) -> Hand {
    Hand::First(acting(caller))
}

/// The hand of the second of two, who may only look.
///
/// # Errors
/// Without a named officer, where it is not only a look.
pub(crate) fn second(caller: &Identity, only_look: bool) -> Result<Hand, Failure> {
    match (acting(caller), only_look) {
        (officer, true) => Ok(Hand::Look(officer)),
        (Some(officer), false) => Ok(Hand::Second(officer)),
        (None, false) => Err(nameless()),
    }
}

/// What tells a repeat from another request: also who acts.
pub(crate) fn content(caller: &Identity, content: &[u8]) -> Vec<u8> {
    let officer = acting(caller).map(|officer| officer.name).unwrap_or_default();
    let length = u64::try_from(officer.len()).unwrap_or(u64::MAX).to_be_bytes();
    [&length, officer.as_bytes(), content].concat()
}

fn nameless() -> Failure {
    let description = "is required: two people put a version in force, and the one is told from the other by name; send \
                       the name or pseudonym as metadata";
    Failure::invalid(OFFICER, description)
}

/// Why somebody cannot approve.
fn not_another(kind: VersionKind, same: Same) -> String {
    match same {
        Same::Officer => format!("who proposed a {kind} cannot approve it; another officer must"),
        Same::System => format!(
            "the system that proposed this {kind} names both officers itself, and nothing else shows that they are two: approve it \
             with another system's token (`remit token add`), or let an issuer sign both officers"
        ),
    }
}

/// The error where nothing is proposed that fits.
pub(crate) fn not_proposed(kind: VersionKind) -> Failure {
    Failure::WrongState {
        record: kind.record().to_owned(),
        state: "NOT_PROPOSED",
        description: format!(
            "nobody has proposed this {kind}, or another has come into force or was proposed since: it must be proposed again"
        ),
    }
}

/// What is asked of a switch, and by whom.
pub(crate) struct Asked<'a> {
    pub(crate) kind: VersionKind,
    pub(crate) request: Option<RequestId>,
    pub(crate) caller: &'a Identity,
    /// Whether a refusal may name cases to the caller.
    pub(crate) names_cases: bool,
}

/// Switches versions.
#[derive(Clone)]
pub(crate) struct Switching {
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Switching {
    /// What is proposed of a kind; `wanted` if that is said.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) async fn proposal(&self, kind: VersionKind, wanted: Option<Bytes32>) -> Result<Proposal, Failure> {
        let found = self.versions.proposal(kind).await?;
        let found = found.filter(|found| wanted.is_none_or(|wanted| wanted == found.digest));
        found.ok_or_else(|| not_proposed(kind))
    }

    /// Calls `propose` with the active pair, and activates its proposal. `tell` notes in the
    /// response what became of it. Proposes again if another switch comes first,
    /// because the proposal was checked against the former pair. A repeated request gets the first
    /// response.
    pub(crate) async fn switch<R, F>(
        &self,
        asked: Asked<'_>,
        propose: impl Fn(Arc<Active>) -> F,
        tell: impl Fn(R, Outcome) -> R,
    ) -> Result<R, Failure>
    where
        R: Message + Default + Clone,
        F: Future<Output = Result<(Activation, R), Failure>>,
    {
        let Asked {
            kind,
            request,
            caller,
            names_cases,
        } = asked;
        for _ in 0..TRIES {
            // Read before the earlier answer is looked up: if this is a repetition, the proposal
            // cannot fail because of what the first request did.
            let active = self.versions.active();
            if let Some(id) = &request
                && let Some(earlier) = self.versions.earlier(id).await?
            {
                return rpc::first_answer(&earlier);
            }
            let (mut activation, response) = propose(active).await?;
            activation.request = request.clone().map(|id| Request {
                id,
                done: tell(response.clone(), Outcome::Done).encode_to_vec(),
                unchanged: tell(response.clone(), Outcome::Unchanged).encode_to_vec(),
                proposed: tell(response.clone(), Outcome::Proposed).encode_to_vec(),
            });
            let now = self.clock.now();
            let activated = self
                .writer
                .write(&self.versions, |versions| async move {
                    versions.activate(&activation, now).await
                })
                .await?;
            return match activated {
                Activated::Done(_) => Ok(tell(response, Outcome::Done)),
                Activated::Unchanged => Ok(tell(response, Outcome::Unchanged)),
                Activated::Proposed => Ok(tell(response, Outcome::Proposed)),
                Activated::Nameless => Err(nameless()),
                Activated::NotProposed => Err(not_proposed(kind)),
                Activated::Approvable => Ok(tell(response, Outcome::Approvable)),
                Activated::Same(same) => Err(Failure::denied(not_another(kind, same), &caller.system)),
                Activated::Earlier(earlier) => rpc::first_answer(&earlier),
                Activated::Ownerless(ownerless) => Err(refused(&ownerless, names_cases)),
                Activated::Outdated => continue,
            };
        }
        Err(Failure::Overloaded)
    }
}

/// The error for open cases that would lose their owner.
fn refused(ownerless: &Ownerless, names_cases: bool) -> Failure {
    let mut cases: BTreeMap<&AgencyId, Vec<String>> = BTreeMap::new();
    let shown = if names_cases { NAMED } else { ownerless.cases.len() };
    for (owner, case) in ownerless.cases.iter().take(shown) {
        cases.entry(owner).or_default().push(store::name(*case));
    }
    let each: Vec<_> = cases
        .iter()
        .map(|(agency, cases)| match names_cases {
            true => format!("`{agency}` owns {}", cases.join(", ")),
            false => format!("`{agency}` owns {}", cases.len()),
        })
        .collect();
    let more = match ownerless.more || ownerless.cases.len() > shown {
        true => "; and more",
        false => "",
    };
    Failure::WrongState {
        record: VersionKind::Directory.record().to_owned(),
        state: "OWNERLESS_CASES",
        description: format!(
            "open cases would lose their owner: {}{more}; keep these agencies, or give each a last day and a successor",
            each.join("; ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use rpc::{Officer, OfficerKey, Roles};

    use super::*;

    /// Who acts is another person by an issuer's word, or by another system's.
    #[test]
    fn p7_two_names_are_two_people_if_an_issuer_signs_both_or_two_systems_send_them() {
        let hand = |(name, proof, system): (&str, Proof, &str)| {
            acting(&Identity {
                system: system.to_owned(),
                agency: None,
                roles: Roles::OPERATOR,
                officer: Some(Officer::new(name).unwrap()),
                officer_key: OfficerKey::default(),
                proof,
            })
            .unwrap()
        };
        let signed = Proof::Signed { until: 1 };
        let (token, certificate) = (Proof::Token, Proof::Certificate);
        for (first, second, expected) in [
            (("o-1", token, "a"), ("o-2", token, "b"), Ok(())),
            (("o-1", token, "a"), ("o-2", token, "a"), Err(Same::System)),
            (("o-1", certificate, "a"), ("o-2", certificate, "a"), Err(Same::System)),
            (("o-1", signed, "a"), ("o-2", token, "a"), Err(Same::System)),
            (("o-1", certificate, "a"), ("o-2", signed, "a"), Err(Same::System)),
            (("o-1", signed, "a"), ("o-2", signed, "a"), Ok(())),
            (("o-1", signed, "a"), ("O-1", signed, "b"), Err(Same::Officer)),
            (("o-1", token, "a"), ("O-1", certificate, "b"), Err(Same::Officer)),
        ] {
            assert_eq!(hand(second).check_other(&hand(first)), expected, "{first:?} {second:?}");
        }
    }
}
