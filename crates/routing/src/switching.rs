//! Switches to another directory or rule set, by two people: made against the active pair, and made
//! again if another switch comes first.

use std::{collections::BTreeMap, sync::Arc};

use decision::directory::AgencyId;
use journal::{Bytes32, Clock, RequestId, Writer};
use names::text::person;
use prost::Message;
use rpc::{Failure, Identity, OFFICER};

use crate::{
    active::{Active, VersionKind},
    store::{
        self, Versions,
        versions::{Activated, Activation, Hand, Ownerless, Proposal, Request},
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
}

/// The hand of the first of two: its officer need not be named while one is enough.
pub(crate) fn first(caller: &Identity) -> Hand {
    Hand::First {
        officer: caller.officer.as_ref().map(|officer| person(officer.as_str())),
    }
}

/// The hand of the second of two.
///
/// # Errors
/// Without a named officer.
pub(crate) fn second(caller: &Identity) -> Result<Hand, Failure> {
    match &caller.officer {
        Some(officer) => Ok(Hand::Second {
            officer: person(officer.as_str()),
        }),
        None => Err(nameless()),
    }
}

fn nameless() -> Failure {
    let description = "is required: two people put a version in force, and the one is told from the other by name; send \
                       the name or pseudonym as metadata";
    Failure::invalid(OFFICER, description)
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
        (kind, request, caller): (VersionKind, Option<RequestId>, &Identity),
        propose: impl Fn(Arc<Active>) -> F,
        tell: impl Fn(R, Outcome) -> R,
    ) -> Result<R, Failure>
    where
        R: Message + Default + Clone,
        F: Future<Output = Result<(Activation, R), Failure>>,
    {
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
                Activated::SamePerson => Err(Failure::denied(
                    format!("who proposed a {kind} cannot approve it; another officer must"),
                    &caller.system,
                )),
                Activated::Earlier(earlier) => rpc::first_answer(&earlier),
                Activated::Ownerless(ownerless) => Err(refused(&ownerless)),
                Activated::Outdated => continue,
            };
        }
        Err(Failure::Overloaded)
    }
}

/// The error for open cases that would lose their owner.
fn refused(ownerless: &Ownerless) -> Failure {
    let mut cases: BTreeMap<&AgencyId, Vec<String>> = BTreeMap::new();
    for (owner, case) in ownerless.cases.iter().take(NAMED) {
        cases.entry(owner).or_default().push(store::name(*case));
    }
    let each: Vec<_> = cases
        .iter()
        .map(|(agency, cases)| format!("`{agency}` owns {}", cases.join(", ")))
        .collect();
    let more = match ownerless.more || ownerless.cases.len() > NAMED {
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
