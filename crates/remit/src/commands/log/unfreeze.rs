//! `remit log unfreeze`: allows a producer to append again.

use api::audit::{ListGapsRequest, Producer, UnfreezeProducerRequest, audit_service_client::AuditServiceClient};
use clap::Args;

use super::Context;
use crate::{
    client::{Failed, Target},
    output::{self, Paint as _, dim, good, line},
};

/// Let a producer append again after its changed past was examined
///
/// A producer is frozen when it sends a different event for a change that the log already has:
/// nearly
/// always its database was restored from a backup and continued. Meanwhile it keeps its undelivered
/// changes, and nothing is lost.
///
/// 1. `remit log gaps` lists the records. Stop the producer and keep its database as it is.
/// 2. If its newest database is available (a replica, a later backup, its write-ahead log), restore
///    it: its chains then continue where the log ends, and the forks close.
/// 3. If not, only the log has the changes between the backup and its loss. The records that
///    continued from the backup stay out of the log from there; enter their cases anew, with a
///    reference to them. Use --tolerate-hours: each such record shows when it is next changed.
/// 4. Unfreeze it, and say in the reason what you did. The log commits to reason and operator. The
///    etag, from `remit log gaps`, names the freeze that you examined: no other is lifted.
#[derive(Args, Clone, Debug)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  remit log unfreeze intake --etag 5b1f… --reason 'restored the replica of 09:40; nothing was lost'
  remit log unfreeze routing --etag 0c9e… --reason 'backup of 03:00; list of 12 cases to the duty officer' --tolerate-hours 72"
)]
pub(super) struct Command {
    /// The producer: intake or routing
    #[arg(value_name = "SOURCE")]
    source: String,
    /// What was examined, and why the producer may continue
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For this many hours, refuse further forks without freezing the producer again; at most 720
    #[arg(long, value_name = "HOURS", default_value_t = 0)]
    tolerate_hours: u32,
    /// The freeze that was examined, from `remit log gaps`; needed if the producer is frozen
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    etag: String,
    /// Request id, a UUID: repeated within 24 hours it has the first answer
    #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
    request_id: String,
}

impl Command {
    pub async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let audit = context.audit()?;
        let source = output::id(&self.source).to_owned();
        let producer = producer(&audit, &source).await?.unwrap_or_default();
        let was_frozen = producer.freeze_time.is_some();
        // Never the etag of a freeze that was not looked at.
        let etag = match (self.etag.as_str(), was_frozen) {
            ("", true) => {
                let message = format!("{source} is frozen: examine it, then add --etag from `remit log gaps`");
                return Err(Failed::Usage(message).into());
            }
            ("", false) => producer.etag,
            (etag, _) => etag.to_owned(),
        };
        let request = UnfreezeProducerRequest {
            name: names::Collection::PRODUCERS.of(&source),
            reason: self.reason,
            tolerate: (self.tolerate_hours > 0).then(|| prost_types::Duration {
                seconds: i64::from(self.tolerate_hours) * 3_600,
                nanos: 0,
            }),
            etag,
            request_id: self.request_id,
        };
        let response = AuditServiceClient::new(audit.channel.clone())
            .unfreeze_producer(request)
            .await;
        let response = response.map_err(Failed::call(&audit.address))?.into_inner();
        if context.json() {
            return output::json(&response);
        }
        match (was_frozen, self.tolerate_hours) {
            (true, _) => {
                line(format!("{source} may append again").style(good()))?;
                line("it retries within seconds; check `remit log gaps`".style(dim()))?;
            }
            (false, 0) => line(format!("{source} is not frozen: nothing was changed or logged"))?,
            (false, hours) => line(format!(
                "{source} is not frozen; for {hours} h further forks are refused without freezing it"
            ))?,
        }
        Ok(())
    }
}

/// A producer, as the log knows it. The server refuses unknown producers.
async fn producer(audit: &Target, source: &str) -> Result<Option<Producer>, Failed> {
    let request = ListGapsRequest {
        page_size: 1,
        ..ListGapsRequest::default()
    };
    let listed = AuditServiceClient::new(audit.channel.clone()).list_gaps(request).await;
    let listed = listed.map_err(Failed::call(&audit.address))?.into_inner();
    Ok(listed
        .producers
        .into_iter()
        .find(|producer| output::id(&producer.name) == source))
}
