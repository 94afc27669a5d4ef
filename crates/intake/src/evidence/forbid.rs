//! Categories that take no files, because having them is a crime: what is uploaded for them is
//! refused, and what was uploaded before it was known for what, is deleted at once. Hashes stay.

use std::sync::Arc;

use journal::{Clock, Writer};
use rpc::{Failure, Identity, Violation};
use uuid::Uuid;

use super::Vault;
use crate::{
    category::{Category, Evidence},
    service::sender,
    store::evidence::EvidenceStore,
};

/// Why a category takes no files; `None` if it does.
pub(crate) fn refusal(field: &str, category: &Category) -> Option<Violation> {
    (category.evidence == Evidence::Refused).then(|| {
        let refusal = category.evidence_refusal.as_ref();
        let refusal = refusal
            .map(|text| format!(": {} {}", text.en, text.zh))
            .unwrap_or_default();
        Violation {
            field: field.to_owned(),
            description: format!("is not accepted for `{}`{refusal}", category.id),
        }
    })
}

/// Deletes what is named for a category that takes no files.
#[derive(Clone)]
pub(crate) struct Forbid {
    pub(crate) store: Arc<dyn EvidenceStore>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Forbid {
    /// Deletes those of the named files that the caller uploaded and no report has, if the category
    /// takes none.
    ///
    /// # Errors
    /// If the database fails: then they are there still, and the caller repeats its request.
    pub(crate) async fn named(
        &self,
        caller: &Identity,
        category: Option<&Category>,
        wanted: &[String],
    ) -> Result<(), Failure> {
        if wanted.is_empty() || category.is_none_or(|category| category.evidence != Evidence::Refused) {
            return Ok(());
        }
        // Beyond the number that a report can have, too: each is named for it.
        let mut ids: Vec<Uuid> = wanted.iter().filter_map(|name| names::EVIDENCE.id(name)).collect();
        ids.sort_unstable();
        ids.dedup();
        let files: Vec<_> = ids.iter().map(|id| (*id, caller.actor(id.as_bytes()))).collect();
        let (vault, sender, now) = (Arc::clone(&self.vault), sender(caller), self.clock.now());
        // With the removal: a caller who goes away stops neither.
        self.writer
            .write(&self.store, |store| async move {
                let refused = store.refuse(&files, &sender, now).await?;
                let mut removed = Vec::new();
                for file in refused {
                    match vault.remove(file).await {
                        Ok(()) => removed.push(file),
                        // Upkeep tries again.
                        Err(error) => tracing::error!(%error, "a file that was refused cannot be removed now"),
                    }
                }
                match removed.is_empty() {
                    true => Ok(()),
                    false => store.removed(&removed).await,
                }
            })
            .await
            .map_err(Failure::from)
    }
}
