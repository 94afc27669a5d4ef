//! Switching to another directory or rule set: proposed against what is in force, and again when another switch came first.

use std::{collections::BTreeMap, sync::Arc};

use decision::directory::AgencyId;
use journal::{Clock, Writer};
use rpc::Failure;

use crate::{
    active::{Active, VersionKind},
    store::{
        self, Versions,
        versions::{Activated, Activation, Ownerless},
    },
};

/// Attempts at a switch, when others come first each time.
const TRIES: usize = 8;
/// Cases that a refusal names: it travels in headers, which have a limit.
const NAMED: usize = 20;

/// What switches, over the versions.
#[derive(Clone)]
pub(crate) struct Switching {
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What became of a switch, and what was said of it when it was proposed.
pub(crate) struct Switched<P> {
    /// Whether anything was switched; else it was in force already.
    pub(crate) is_new: bool,
    pub(crate) proposal: P,
}

impl Switching {
    /// Has a switch proposed against what is in force, and activates it. It is proposed again where another one came first:
    /// what was checked was checked against something else.
    pub(crate) async fn switch<P, F>(&self, propose: impl Fn(Arc<Active>) -> F) -> Result<Switched<P>, Failure>
    where
        F: Future<Output = Result<(Activation, P), Failure>>,
    {
        for _ in 0..TRIES {
            let (activation, proposal) = propose(self.versions.active()).await?;
            let now = self.clock.now();
            let activated = self
                .writer
                .write(&self.versions, |versions| async move {
                    versions.activate(&activation, now).await
                })
                .await?;
            let is_new = match activated {
                Activated::Done(_) => true,
                Activated::Unchanged => false,
                Activated::Ownerless(ownerless) => return Err(refused(&ownerless)),
                Activated::Outdated => continue,
            };
            return Ok(Switched { is_new, proposal });
        }
        Err(Failure::Overloaded)
    }
}

/// Open cases would have nobody.
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
            "open cases would have nobody: {}{more}; keep these agencies, or give each a last day and a successor",
            each.join("; ")
        ),
    }
}
