//! `remit log show`: the history of one record.

use api::{
    audit::{ChangeFilter, GetInclusionProofRequest, ListChangesRequest, audit_service_client::AuditServiceClient},
    event::{Detail, Opening},
};
use clap::Args;
use journal::{Bytes32, Opened, Opens};
use prost::Message as _;
use serde_json::{Value, json};

use super::{Context, broken, kinds, receipt::receipt};
use crate::{
    client::{Failed, Target},
    output::{self, Paint as _, bad, change, dim, good, line, strong, tell, tr},
};

/// Show the history of one record: each change, its time, and whether the log proves it
///
/// Verifies every entry against the signed checkpoint, and its link to the previous one: no entry
/// in between is missing or replaced. Only the whole log with its details shows that no newer entry
/// is withheld (`remit log export --with-detail`). For auditors, operators and agencies that may
/// see the record: the public log does not tell which entries belong to it. With --purpose also
/// shows the details of each change, for auditors and such agencies. Exits with 5 if a verification
/// fails.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit log show reports/0199…
  remit log show cases/0199… --as police-450100 --purpose 'answer to a complaint'")]
pub struct Command {
    /// Resource name of the record
    #[arg(value_name = "RECORD")]
    record: String,
    /// Also show the details, read for this purpose; logged
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
}

/// A change to print.
pub(super) struct Change {
    index: u64,
    pub(super) entry: Opened,
    pub(super) detail: Option<Detail>,
    /// Size of the checkpoint that proves it.
    size: u64,
}

impl Command {
    /// Runs the command.
    pub(super) async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let audit = context.audit()?;
        let key = context.key()?;
        let changes = changes(&audit, key.as_deref(), &self.record, self.purpose.as_deref()).await?;
        if changes.is_empty() {
            return Err(Failed::NotFound(format!("the log has no change of {}", self.record)).into());
        }
        chained(&changes)?;
        if context.json() {
            let changes: Vec<_> = changes.iter().map(|change| change.json(key.is_some())).collect();
            let shown = json!({"record": self.record, "changes": changes});
            output::value(&shown)?;
            return Ok(());
        }
        line(self.record.style(strong()))?;
        for change in &changes {
            change.show()?;
        }
        match (&key, changes.last()) {
            (Some(_), Some(only)) if changes.len() == 1 => {
                let said = tell(
                    "its only change is proven by the checkpoint of {0} entries",
                    &[&only.size],
                );
                line(format_args!("{} {said}", "✓".style(good())))?;
            }
            (Some(_), Some(last)) => {
                let said = tell(
                    "each of the {0} changes is proven by the checkpoint of {1} entries and linked to the previous one",
                    &[&changes.len(), &last.size],
                );
                line(format_args!("{} {said}", "✓".style(good())))?;
            }
            _ => line(tr("not verified: no log key; set it with --key or REMIT_LOG_KEY").style(bad()))?,
        }
        Ok(())
    }
}

/// The changes of a record, each proven by the log; with their details if read for a purpose.
pub(super) async fn changes(
    audit: &Target,
    key: Option<&str>,
    record: &str,
    purpose: Option<&str>,
) -> anyhow::Result<Vec<Change>> {
    let mut client = AuditServiceClient::new(audit.channel.clone());
    let mut request = ListChangesRequest {
        page_size: 1_000,
        filter: Some(ChangeFilter {
            record: record.to_owned(),
            ..ChangeFilter::default()
        }),
        with_detail: purpose.is_some(),
        purpose: purpose.unwrap_or_default().to_owned(),
        ..ListChangesRequest::default()
    };
    let mut changes = Vec::new();
    loop {
        let page = client
            .list_changes(request.clone())
            .await
            .map_err(Failed::call(&audit.address))?
            .into_inner();
        for listed in page.changes {
            let index = listed.index;
            let wrong = |problem: String| Failed::Unverified(format!("entry {index}: {problem}"));
            let chain = listed.chain.unwrap_or_default();
            let entry = Opened::new(&listed.entry, (&chain).into()).map_err(|error| wrong(error.to_string()))?;
            if entry.record != record {
                return Err(wrong(format!("it is a change of {}", entry.record)).into());
            }
            let detail = match purpose {
                Some(_) => Some(opened(&entry, &listed.detail.unwrap_or_default()).map_err(wrong)?),
                None => None,
            };
            let proof = GetInclusionProofRequest {
                index: Some(index),
                ..GetInclusionProofRequest::default()
            };
            let proof = client
                .get_inclusion_proof(proof)
                .await
                .map_err(Failed::call(&audit.address))?;
            let receipt = receipt(proof.into_inner())?;
            if receipt.entry != listed.entry || receipt.index.cast_signed() != index {
                return Err(wrong("the proof is for a different entry than the list's".to_owned()).into());
            }
            let size = match key {
                Some(key) => receipt.verify(key).map_err(broken)?.head.size,
                None => 0,
            };
            changes.push(Change {
                index: receipt.index,
                entry,
                detail,
                size,
            });
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(changes);
        }
    }
}

/// Opens an entry's commitment to its detail.
fn opened(entry: &Opened, detail: &Opening) -> Result<Detail, String> {
    match Opens::from(detail).is_detail_of(&entry.detail) {
        true => Detail::decode(&*detail.content).map_err(|error| format!("malformed detail: {error}")),
        false => Err("its detail does not match its commitment".to_owned()),
    }
}

/// Verifies that each change continues the previous one.
pub(super) fn chained(changes: &[Change]) -> Result<(), Failed> {
    let mut before: (u64, Bytes32) = (0, [0; 32]);
    for change in changes {
        let entry = &change.entry;
        if (entry.sequence, entry.previous) != (before.0 + 1, before.1) {
            return Err(Failed::Unverified(format!(
                "entry {}: change {} of {} does not continue change {}",
                change.index, entry.sequence, entry.record, before.0
            )));
        }
        before = (entry.sequence, entry.hash);
    }
    Ok(())
}

impl Change {
    fn show(&self) -> anyhow::Result<()> {
        let entry = &self.entry;
        let time = output::time(Some(&entry.time.to_proto()));
        line(format_args!(
            "{:>4}  {}  {}",
            entry.sequence,
            time.style(dim()),
            kinds::in_words(&entry.kind)
        ))?;
        if let Some(detail) = &self.detail {
            change::detail(detail)?;
        }
        let said = tell("{0}, event {1}", &[&self.index, &entry.event_id]);
        change::field("entry", &said)?;
        Ok(())
    }

    fn json(&self, is_verified: bool) -> Value {
        let entry = &self.entry;
        let detail = self
            .detail
            .as_ref()
            .map(|detail| rpc::json::value(detail).unwrap_or_default());
        json!({
            "index": self.index, "sequence": entry.sequence, "kind": entry.kind, "time": entry.time.to_string(),
            "event_id": entry.event_id.to_string(), "source": entry.source,
            "detail": detail, "proven_by_checkpoint_of": is_verified.then_some(self.size),
        })
    }
}
