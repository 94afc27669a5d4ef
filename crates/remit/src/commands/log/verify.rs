//! `remit log verify`: reads the whole log and checks all of it.

use api::audit::{ListChangesRequest, LoggedChange, audit_service_client::AuditServiceClient};
use audit::verify::LogVerifier;
use owo_colors::OwoColorize as _;

use super::{broken, get_checkpoint};
use crate::{
    client::{Failed, Target},
    output::{Progress, field, good, line},
};

/// Verifies the log that a server serves.
pub(super) async fn run(audit: &Target, key: &str, json: bool) -> anyhow::Result<()> {
    // First the head, then what it signs: the log may grow meanwhile.
    let checkpoint = get_checkpoint(audit).await?.checkpoint;
    let signed = audit::open_checkpoint(&checkpoint, key).map_err(|error| broken(error.into()))?;
    let progress = Progress::new(json);
    let mut verifier = LogVerifier::new();
    let checked = read(audit, signed.size, &mut verifier, &progress).await;
    progress.clear();
    checked?;
    verifier.finish(&checkpoint, key).map_err(broken)?;
    if json {
        let root = data_encoding::BASE64.encode(&signed.root);
        let verified = serde_json::json!({
            "entries": signed.size, "records": verifier.records(), "root": root, "checkpoint": checkpoint,
        });
        line(serde_json::to_string_pretty(&verified)?)?;
        return Ok(());
    }
    line("the log is whole".style(good()))?;
    field("entries", format_args!("{}, each the next of its record", signed.size))?;
    field("records", verifier.records())?;
    field(
        "root",
        format_args!(
            "{}, rebuilt from the entries, as signed",
            data_encoding::BASE64.encode(&signed.root)
        ),
    )?;
    field("key", key)?;
    Ok(())
}

/// Reads the first `size` entries into the verifier.
async fn read(audit: &Target, size: u64, verifier: &mut LogVerifier, progress: &Progress) -> anyhow::Result<()> {
    let mut page_token = String::new();
    while verifier.size() < size {
        let request = ListChangesRequest {
            page_size: 1_000,
            page_token,
            start_index: 0,
        };
        let page = AuditServiceClient::new(audit.channel.clone())
            .list_changes(request)
            .await
            .map_err(Failed::call(&audit.address))?
            .into_inner();
        for LoggedChange { index, entry } in page.changes {
            if verifier.size() == size {
                break;
            }
            let index =
                u64::try_from(index).map_err(|_| Failed::Unverified(format!("an entry has the index {index}")))?;
            verifier.push(index, &entry).map_err(broken)?;
        }
        progress.show(format_args!("{} of {size} entries", verifier.size()));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            // What is missing shows when the count is compared with the signed one.
            break;
        }
    }
    Ok(())
}
