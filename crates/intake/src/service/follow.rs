//! A report is followed by its receipt.

use api::intake::{CheckReceiptResponse, LogReference};
use rpc::{Failure, Identity};

use super::{Service, is_hidden_from, shown_state};

impl Service {
    /// Tells whoever has a receipt how its report stands.
    pub(crate) async fn check_receipt(
        &self,
        caller: &Identity,
        receipt: &str,
    ) -> Result<CheckReceiptResponse, Failure> {
        let stored = self
            .store
            .report_by_receipt(self.receipts.lookup(receipt))
            .await?
            .ok_or(Failure::NotFound { what: "receipt" })?;
        let hidden = is_hidden_from(caller, &stored);
        let mut changes = self.store.changes(stored.report).await?;
        if hidden {
            changes.truncate(1);
        }
        let case = stored.case.clone().filter(|_| !hidden).unwrap_or_default();
        Ok(CheckReceiptResponse {
            state: shown_state(caller, &stored).to_proto().into(),
            accept_time: Some(stored.accept_time.to_proto()),
            agency: case.lead,
            agency_title_zh: case.lead_title_zh,
            agency_title_en: case.lead_title_en,
            acknowledged: case.acknowledged,
            as_of_time: Some(if hidden { stored.accept_time } else { stored.known_time }.to_proto()),
            changes: changes
                .into_iter()
                .map(|change| LogReference {
                    entry: change.entry.into(),
                    event_id: change.event_id,
                    kind: change.kind,
                    change_time: Some(change.time.to_proto()),
                    logged: change.delivered,
                })
                .collect(),
            advice: case.advice,
        })
    }
}
