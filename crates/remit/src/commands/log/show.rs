//! `remit log show`: the history of one record.

use api::{
    audit::{ChangeFilter, GetInclusionProofRequest, ListChangesRequest, audit_service_client::AuditServiceClient},
    event::{AssistanceAnswer, ConnectingFactor, Detail, Opening, Reading, Route},
};
use clap::Args;
use journal::{Bytes32, Opened, Opens};
use prost::Message as _;
use serde_json::{Value, json};

use super::{Context, broken, kinds, receipt::receipt};
use crate::{
    client::{Failed, Target},
    output::{self, Paint as _, bad, dim, good, indented_field, line, strong},
};

/// Width of the field names.
const LABEL: usize = 10;

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
            (Some(_), Some(only)) if changes.len() == 1 => line(format_args!(
                "{} its only change is proven by the checkpoint of {} entries",
                "✓".style(good()),
                only.size
            ))?,
            (Some(_), Some(last)) => line(format_args!(
                "{} each of the {} changes is proven by the checkpoint of {} entries and linked to the previous one",
                "✓".style(good()),
                changes.len(),
                last.size
            ))?,
            _ => line("not verified: no log key; set it with --key or REMIT_LOG_KEY".style(bad()))?,
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

/// The reason of a route, in words.
fn reason(route: &Route) -> String {
    match (&*route.row, route.factor()) {
        ("", ConnectingFactor::Unspecified) => String::new(),
        (row, ConnectingFactor::Unspecified) => format!("row {row} of the rule set"),
        (row, factor) => format!(
            "row {row} of the rule set, by the place of the factor {}",
            output::factor(factor)
        ),
    }
}

/// The range of entries that were read, in words.
fn read(reading: &Reading) -> String {
    match reading.end_index {
        Some(end) => format!("{} to {}", reading.first_index, end.saturating_sub(1)),
        None => format!("from {} on, as they arrived", reading.first_index),
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
        let show = |name: &str, value: &str| match value.is_empty() {
            true => Ok(()),
            false => indented_field(6, LABEL, name, value),
        };
        if let Some(detail) = &self.detail {
            let step = match detail.from_state.as_str() {
                "" => detail.to_state.clone(),
                from => format!("{from} → {}", detail.to_state),
            };
            show("state", &step)?;
            let actor = detail.actor.clone().unwrap_or_default();
            show("by", [&*actor.agency, &*actor.system].join(" ").trim())?;
            show("purpose", &detail.purpose)?;
            if let Some(route) = &detail.route {
                show("lead", &route.lead)?;
                show("support", &route.supporting.join(", "))?;
                show("because", &reason(route))?;
            }
            if let Some(clock) = &detail.missed_clock {
                let due = output::time(clock.due_time.as_ref());
                let duty = output::duty(clock.kind());
                show("missed", &format!("{} had to {duty} by {due}", clock.owner))?;
            }
            show("assistant", &detail.assistant)?;
            if detail.reason != 0 {
                show("reason", output::reason(detail.reason()))?;
            }
            show("proposed", &detail.better_agency)?;
            match detail.assistance_answer() {
                AssistanceAnswer::Unspecified => {}
                AssistanceAnswer::Provided => show("answer", "assisted")?,
                AssistanceAnswer::Unable => show("answer", "cannot assist")?,
            }
            for clock in &detail.clocks {
                let due = output::time(clock.due_time.as_ref());
                let duty = output::duty(clock.kind());
                show("clock", &format!("{} must {duty} by {due}", clock.owner))?;
            }
            show("read", &detail.read_record)?;
            if let Some(reading) = &detail.reading {
                show("entries", &read(reading))?;
                for (name, value) in [
                    ("record", &reading.record),
                    ("kind", &reading.kind),
                    ("agency", &reading.agency),
                    ("system", &reading.actor),
                ] {
                    show(name, value)?;
                }
            }
            if let Some(incident) = &detail.incident {
                show("record", &incident.record)?;
                show("event", &incident.event_id)?;
            }
        }
        if let Some(detail) = self.detail.as_ref().filter(|detail| !detail.caused_by.is_empty()) {
            show("caused by", &format!("event {}", detail.caused_by))?;
        }
        show("entry", &format!("{}, event {}", self.index, entry.event_id))?;
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
