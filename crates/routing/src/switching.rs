//! Switches to another directory or rule set: proposed against the active pair, and proposed again
//! if another switch comes first.

use std::{collections::BTreeMap, sync::Arc};

use decision::directory::AgencyId;
use journal::{Clock, RequestId, Writer};
use prost::Message;
use rpc::Failure;

use crate::{
    active::{Active, VersionKind},
    store::{
        self, Versions,
        versions::{Activated, Activation, Ownerless, Request},
    },
};

/// Maximum number of attempts if other switches come first.
const TRIES: usize = 8;
/// Maximum number of cases in a refusal, which is sent in headers of limited size.
const NAMED: usize = 20;

/// Switches versions.
#[derive(Clone)]
pub(crate) struct Switching {
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Switching {
    /// Calls `propose` with the active pair, and activates its proposal. `tell` notes in the
    /// response whether anything was switched. Proposes again if another switch comes first,
    /// because the proposal was checked against the former pair. A repeated request gets the first
    /// response.
    pub(crate) async fn switch<R, F>(
        &self,
        request: Option<RequestId>,
        propose: impl Fn(Arc<Active>) -> F,
        tell: impl Fn(R, bool) -> R,
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
                done: tell(response.clone(), true).encode_to_vec(),
                unchanged: tell(response.clone(), false).encode_to_vec(),
            });
            let now = self.clock.now();
            let activated = self
                .writer
                .write(&self.versions, |versions| async move {
                    versions.activate(&activation, now).await
                })
                .await?;
            return match activated {
                Activated::Done(_) => Ok(tell(response, true)),
                Activated::Unchanged => Ok(tell(response, false)),
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
