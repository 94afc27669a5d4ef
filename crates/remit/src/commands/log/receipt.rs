//! `remit log receipt` and `remit log verify-receipt`: one entry's proof as a file.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::{
    audit::{
        ChangeFilter, GetInclusionProofRequest, GetInclusionProofResponse, ListChangesRequest,
        audit_service_client::AuditServiceClient,
    },
    event::Opening,
};
use audit::receipt::{Proved, Receipt};
use clap::Args;
use journal::{Bytes32, Opened};
use signed_note::Note;
use witness::{Policy, foreign};

use super::{Context, KeyFrom, broken};
use crate::{
    client::{Failed, Target},
    output::{self, Paint as _, bad, field, good, line},
};

/// Write the proof that a change is in the log, as a file
///
/// A C2SP tlog-proof that includes the entry and, if a record is named, opens the entry's chain:
/// record, sequence, link and kind. A record's receipts are for auditors, operators and agencies
/// that may see it. It verifies with the log's key alone, without a server, as long as the key is
/// kept. Verified before it is written if the key is known. Store it as NAME.tlog-proof.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit log receipt reports/0199… > report.tlog-proof
  remit log receipt 0199… > event.tlog-proof")]
pub struct Give {
    /// A record (its newest change) or the id of an event
    #[arg(value_name = "RECORD|EVENT")]
    what: String,
    /// Number of the record's change, from 1 [default: the newest]
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
}

impl Give {
    /// Runs the command.
    pub(super) async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let audit = context.audit()?;
        let (event_id, chain) = match self.what.contains('/') {
            false => (self.what.clone(), None),
            true => {
                let (event_id, chain) = self.event(&audit).await?;
                (event_id, Some(chain))
            }
        };
        let request = GetInclusionProofRequest {
            event_id,
            ..GetInclusionProofRequest::default()
        };
        let proof = AuditServiceClient::new(audit.channel.clone())
            .get_inclusion_proof(request)
            .await;
        let mut receipt = receipt(proof.map_err(Failed::call(&audit.address))?.into_inner())?;
        receipt.chain = chain;
        if let Some(key) = context.key()? {
            receipt.verify(&key).map_err(broken)?;
        }
        output::document(receipt.to_string().as_bytes())?;
        Ok(())
    }

    /// The id of the requested event, and the opening of its chain.
    async fn event(&self, audit: &Target) -> anyhow::Result<(String, (Bytes32, Vec<u8>))> {
        let entries = life(audit, &self.what).await?;
        let missing = || Failed::NotFound(format!("the log has no such change of {}", self.what));
        let entry = match self.sequence {
            None => entries.last(),
            Some(sequence) => entries.iter().find(|(entry, _)| entry.sequence == sequence),
        };
        let (entry, chain) = entry.ok_or_else(missing)?;
        let salt = Bytes32::try_from(&*chain.salt).context("a salt that opens a chain has 32 bytes")?;
        Ok((entry.event_id.to_string(), (salt, chain.content.to_vec())))
    }
}

/// All published changes of a record, with what opens their chains.
async fn life(audit: &Target, record: &str) -> anyhow::Result<Vec<(Opened, Opening)>> {
    let mut request = ListChangesRequest {
        page_size: 1_000,
        filter: Some(ChangeFilter {
            record: record.to_owned(),
            ..ChangeFilter::default()
        }),
        ..ListChangesRequest::default()
    };
    let mut entries = Vec::new();
    loop {
        let page = AuditServiceClient::new(audit.channel.clone())
            .list_changes(request.clone())
            .await;
        let page = page.map_err(Failed::call(&audit.address))?.into_inner();
        for change in page.changes {
            let index = change.index;
            let chain = change.chain.unwrap_or_default();
            let entry = Opened::new(&change.entry, (&chain).into())
                .map_err(|error| Failed::Unverified(format!("entry {index}: {error}")))?;
            entries.push((entry, chain));
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(entries);
        }
    }
}

/// Builds a receipt from audit's response.
pub(super) fn receipt(proof: GetInclusionProofResponse) -> Result<Receipt, Failed> {
    let path: Option<Vec<Bytes32>> = proof.path.iter().map(|hash| Bytes32::try_from(&**hash).ok()).collect();
    match (path, u64::try_from(proof.index)) {
        (Some(path), Ok(index)) => Ok(Receipt {
            entry: proof.entry.into(),
            chain: None,
            index,
            path,
            checkpoint: proof.checkpoint,
        }),
        _ => Err(Failed::Unverified("the proof is malformed".to_owned())),
    }
}

/// Verify such a file without a server
///
/// Exits with 5 if it is invalid. With --policy, enough of its witnesses must have cosigned the
/// checkpoint: then not even the log's operator can have shown a separate tree to the receipt's
/// owner. If the policy lists logs, one of them must have signed, and no other key is needed; a key
/// that is given must have signed in any case.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  remit log verify-receipt report.tlog-proof --key remit.example/log+1a2b3c4d+AZ…")]
pub struct Verify {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A C2SP tlog-policy: the trusted logs, and the required witnesses
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Verify {
    /// Runs the command.
    pub(super) fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let policy = self.policy.as_deref().map(read_policy).transpose()?;
        let naming = policy.as_ref().filter(|policy| policy.names_logs());
        let shown = self.file.display();
        let bytes = foreign::read(&self.file, foreign::SMALL).with_context(|| format!("reading {shown}"))?;
        let text = String::from_utf8(bytes).map_err(|_| Failed::Unverified(format!("{shown} is not text")))?;
        let receipt = Receipt::parse(&text).map_err(|error| Failed::Unverified(format!("{shown}: {error}")))?;
        let verified = match (naming, context.key_and_origin()?) {
            (None, _) => receipt.verify(&context.needed_key()?),
            (Some(policy), Some((key, KeyFrom::Named))) => receipt.verify_by(policy).and_then(|_| receipt.verify(&key)),
            // The key of this machine's own log is only the default.
            (Some(policy), _) => receipt.verify_by(policy),
        };
        let Proved { entry, opened, head } = verified.map_err(broken)?;
        let cosigned = policy
            .map(|policy| cosigners(&policy, &receipt.checkpoint))
            .transpose()?;
        if context.json() {
            let mut verified = serde_json::json!({
                "time": entry.time.to_string(), "source": entry.source, "event_id": entry.id.to_string(),
                "index": receipt.index, "size": head.size, "cosigned_by": cosigned,
            });
            if let Some(opened) = opened {
                verified["record"] = opened.record.into();
                verified["sequence"] = opened.sequence.into();
                verified["previous"] = data_encoding::HEXLOWER.encode(&opened.previous).into();
                verified["kind"] = opened.kind.into();
            }
            output::value(&verified)?;
            return Ok(());
        }
        // Which change an entry is, only a receipt that opens its chain proves.
        let what = if opened.is_some() { "change" } else { "entry" };
        line(format!("the {what} is in the log").style(good()))?;
        match opened {
            Some(opened) => {
                field("record", &opened.record)?;
                field("change", format_args!("{}: {}", opened.sequence, opened.kind))?;
            }
            None => field("record", "not stated: this receipt does not open the entry's chain")?,
        }
        field("at", entry.time)?;
        field("by", &entry.source)?;
        field("entry", format_args!("{} of {} signed", receipt.index, head.size))?;
        if let Some(names) = cosigned {
            field("cosigned by", names.join(", "))?;
        }
        Ok(())
    }
}

fn read_policy(file: &Path) -> anyhow::Result<Policy> {
    let shown = file.display();
    let text = foreign::read(file, foreign::SMALL).with_context(|| format!("reading the policy {shown}"))?;
    Ok(Policy::parse(&text).map_err(|error| Failed::Usage(format!("{shown}: {error}")))?)
}

/// The policy's witnesses that cosigned a checkpoint; an error if they are too few.
fn cosigners(policy: &Policy, checkpoint: &str) -> anyhow::Result<Vec<String>> {
    let unverified = |problem: String| Failed::Unverified(format!("{} {problem}", "not witnessed:".style(bad())));
    let note = Note::from_bytes(checkpoint.as_bytes()).map_err(|error| unverified(error.to_string()))?;
    let found = policy
        .cosignatures(&note)
        .map_err(|error| unverified(format!("invalid cosignature: {error}")))?;
    if !policy.is_met_by(&note) {
        return Err(unverified(format!(
            "{} of the policy's witnesses cosigned, which is not enough",
            found.len()
        ))
        .into());
    }
    let names = found.iter().filter_map(|(place, _)| policy.witnesses().get(*place));
    Ok(names.map(|witness| witness.name.clone()).collect())
}
