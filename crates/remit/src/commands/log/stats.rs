//! `remit log stats`: statistics from the log alone.

use api::{
    audit::{ListChangesRequest, audit_service_client::AuditServiceClient},
    event::{Detail, Opening},
};
use audit::{
    stats::{Stats, Times},
    tiles::{Content as FileContent, take_openings},
    verify::FilesVerifier,
};
use clap::Args;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use journal::{Content, Entry, Opened, Opens};
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::{Context, KeyFrom, kinds, source::Source, verify::Key};
use crate::{
    client::Failed,
    output::{self, Paint as _, Progress, dim, line, strong},
};

/// Count the log's entries by kind, agency and day, and measure the agencies' response times
///
/// Reads an auditor's export (`remit log export --with-detail`) and verifies it, or asks the server
/// with --purpose. Times run from the acceptance of the report to the agency's acknowledgement and
/// to the result; median and p90 are measured values (nearest rank). Days are UTC.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit log stats /mnt/log-with-details --key remit.example/log+1a2b3c4d+AZ…
  remit log stats --as auditor --purpose 'yearly figures'")]
pub struct Command {
    /// A folder exported with details [default: the audit server]
    #[arg(value_name = "DIR")]
    folder: Option<String>,
    /// Purpose of reading the details from the server; logged
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "folder",
        required_unless_present = "folder"
    )]
    purpose: Option<String>,
}

impl Command {
    /// Runs the command.
    pub(super) async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let progress = Progress::new(context.json());
        let stats = match &self.folder {
            Some(folder) => of_folder(folder, &context, &progress).await,
            None => self.of_server(&context, &progress).await.map(|stats| (stats, None)),
        };
        progress.clear();
        let (stats, key_from) = stats?;
        if context.json() {
            let mut figures = as_json(&stats);
            figures["key_from"] = json!(key_from.map(KeyFrom::name));
            output::value(&figures)?;
            return Ok(());
        }
        show(&stats)?;
        if key_from == Some(KeyFrom::Folder) {
            line("")?;
            line(
                "verified with the folder's own key: compare it with the key that you received elsewhere".style(dim()),
            )?;
        }
        Ok(())
    }

    async fn of_server(&self, context: &Context<'_>, progress: &Progress) -> anyhow::Result<Stats> {
        let audit = context.audit()?;
        let mut stats = Stats::default();
        let mut request = ListChangesRequest {
            page_size: 1_000,
            with_detail: true,
            purpose: self.purpose.clone().unwrap_or_default(),
            ..ListChangesRequest::default()
        };
        loop {
            let page = AuditServiceClient::new(audit.channel.clone())
                .list_changes(request.clone())
                .await;
            let page = page.map_err(Failed::call(&audit.address))?.into_inner();
            for change in page.changes {
                count(
                    &mut stats,
                    &change.entry,
                    change.chain.as_ref().zip(change.detail.as_ref()),
                )?;
            }
            progress.show(format_args!("{} entries", stats.entries));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(stats);
            }
        }
    }
}

/// Verifies an export with details and counts its entries.
async fn of_folder(
    folder: &str,
    context: &Context<'_>,
    progress: &Progress,
) -> anyhow::Result<(Stats, Option<KeyFrom>)> {
    let source = Source::named(folder, context.ca_file)?;
    if !source.has_details() {
        let message = format!("{folder} was not exported with details (`remit log export --with-detail`)");
        return Err(Failed::Usage(message).into());
    }
    let key = Key::of(&source, context)?;
    let broken = |fault| key.broken(fault);
    let mut verifier = FilesVerifier::new(&source.checkpoint().await?, &key.text, true).map_err(broken)?;
    if let Some(path) = source.beyond(verifier.signed().size)? {
        return Err(broken(verifier.beyond(path)).into());
    }
    let mut files = source.files(verifier.files());
    let (mut stats, mut entries) = (Stats::default(), Vec::new());
    while let Some((path, bytes)) = files.next().await {
        let bytes = bytes?.ok_or_else(|| broken(verifier.missing(path)))?;
        verifier
            .take(path, &bytes, |_, entry| entries.push(entry.to_vec()))
            .map_err(broken)?;
        if path.content == FileContent::Details {
            let mut rest = &bytes[..];
            for entry in entries.drain(..) {
                let opened = take_openings(&mut rest).flatten();
                let opened = opened.map(|openings| (openings.chain.to_message(), openings.detail.to_message()));
                count(
                    &mut stats,
                    &entry,
                    opened.as_ref().map(|(chain, detail)| (chain, detail)),
                )?;
            }
            progress.show(format_args!("{} of {} entries", stats.entries, verifier.signed().size));
        }
    }
    verifier.finish().map_err(broken)?;
    Ok((stats, Some(key.from)))
}

/// Counts a change. A producer's mark, which commits to nothing, is none.
fn count(stats: &mut Stats, entry: &[u8], openings: Option<(&Opening, &Opening)>) -> Result<(), Failed> {
    let unreadable =
        |problem: String| Failed::Unverified(format!("the entry behind change {}: {problem}", stats.entries));
    let Some((chain, detail)) = openings else {
        return match Entry::decode(entry).map(|entry| entry.content) {
            Ok(Content::Mark(_)) => Ok(()),
            _ => Err(unreadable("what it commits to is not there".to_owned())),
        };
    };
    let opened = Opened::new(entry, chain.into()).map_err(|error| unreadable(error.to_string()))?;
    if !Opens::from(detail).is_detail_of(&opened.detail) {
        return Err(unreadable("its detail does not match its commitment".to_owned()));
    }
    let detail = Detail::decode(&*detail.content).map_err(|error| unreadable(format!("its detail: {error}")))?;
    stats.add(&opened, &detail);
    Ok(())
}

fn show(stats: &Stats) -> anyhow::Result<()> {
    line(format_args!("{} entries", stats.entries))?;
    line("")?;
    line("by kind".style(strong()))?;
    for (kind, count) in &stats.kinds {
        line(format_args!("{count:>10}  {kind:<22}  {}", kinds::in_words(kind)))?;
    }
    line("")?;
    line("by day (UTC)".style(strong()))?;
    for (day, count) in &stats.days {
        line(format_args!("{count:>10}  {}", date(*day)))?;
    }
    line("")?;
    line("by agency".style(strong()))?;
    let width = stats.agencies.keys().map(String::len).max().unwrap_or_default();
    line(format_args!(
        "{:>10} {:>9}  {:<width$}  {:>6} {:>10} {:>10}  {:>6} {:>10} {:>10}",
        "changes", "readings", "", "acked", "median", "p90", "result", "median", "p90"
    ))?;
    for (name, agency) in &stats.agencies {
        let (acknowledge, result) = (&agency.to_acknowledge, &agency.to_result);
        line(format_args!(
            "{:>10} {:>9}  {name:<width$}  {:>6} {:>10} {:>10}  {:>6} {:>10} {:>10}",
            agency.changes,
            agency.readings,
            acknowledge.count(),
            span(acknowledge.median()),
            span(acknowledge.p90()),
            result.count(),
            span(result.median()),
            span(result.p90())
        ))?;
    }
    Ok(())
}

fn as_json(stats: &Stats) -> Value {
    let times = |times: &Times| {
        let seconds = |time: Option<i64>| time.map(|time| SignedDuration::from_micros(time).as_secs_f64());
        json!({"count": times.count(), "median_seconds": seconds(times.median()), "p90_seconds": seconds(times.p90())})
    };
    let agencies: Map<_, _> = stats
        .agencies
        .iter()
        .map(|(name, agency)| {
            let figures = json!({
                "changes": agency.changes, "readings": agency.readings, "to_acknowledge": times(&agency.to_acknowledge), "to_result": times(&agency.to_result),
            });
            (name.clone(), figures)
        })
        .collect();
    let days: Map<_, _> = stats
        .days
        .iter()
        .map(|(day, count)| (date(*day), json!(count)))
        .collect();
    json!({"entries": stats.entries, "kinds": stats.kinds, "days": days, "agencies": agencies})
}

/// A date from days since 1970-01-01.
fn date(day: i64) -> String {
    match Timestamp::from_second(day.saturating_mul(86_400)) {
        Ok(day) => day.strftime("%Y-%m-%d").to_string(),
        Err(_) => format!("day {day}"),
    }
}

/// A duration in its two largest units.
fn span(micros: Option<i64>) -> String {
    let Some(micros) = micros else { return "-".to_owned() };
    let seconds = micros / 1_000_000;
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, ..) => format!("{days}d {hours}h"),
    }
}
