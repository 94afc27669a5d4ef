//! `remit log gaps`: missing and contradictory changes.

use api::audit::{
    Gap, GapKind, ListGapsRequest, ListGapsResponse, Producer, Standing, audit_service_client::AuditServiceClient,
};
use clap::Args;

use super::Context;
use crate::{
    client::{Failed, Target},
    output::{self, Paint as _, bad, dim, good, id, line},
};

/// List changes missing from the log, and producers whose past has changed
///
/// A gap is a record whose next change never arrived, so that later ones are kept out; it closes
/// when the missing change arrives. A fork is a different event for a sequence number that is
/// already taken: its producer was restored from a backup, and is frozen until `remit log
/// unfreeze`. Producers regularly report their progress; what the log lacks of it is listed, too.
/// Exits with 1 if something is open that nobody has examined.
#[derive(Args, Clone, Copy, Debug)]
#[command(after_help = "\
Examples:
  remit log gaps
  remit log gaps --json || notify-the-operator")]
pub(super) struct Command {}

impl Command {
    pub async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let audit = context.audit()?;
        let found = list(&audit).await?;
        let is_well = found.gaps.iter().all(is_examined) && found.producers.iter().all(producer_is_well);
        if context.json() {
            output::json(&found)?;
        } else {
            print(&found, is_well)?;
        }
        match is_well {
            true => Ok(()),
            false => Err(Failed::Told.into()),
        }
    }
}

/// All gaps of all pages, and the producers.
async fn list(audit: &Target) -> Result<ListGapsResponse, Failed> {
    let mut found = ListGapsResponse::default();
    loop {
        let request = ListGapsRequest {
            page_size: 1_000,
            page_token: std::mem::take(&mut found.next_page_token),
        };
        let page = AuditServiceClient::new(audit.channel.clone()).list_gaps(request).await;
        let page = page.map_err(Failed::call(&audit.address))?.into_inner();
        found.gaps.extend(page.gaps);
        found.producers.extend(page.producers);
        if page.next_page_token.is_empty() {
            return Ok(found);
        }
        found.next_page_token = page.next_page_token;
    }
}

fn is_examined(gap: &Gap) -> bool {
    gap.examine_time.is_some()
}

fn producer_is_well(producer: &Producer) -> bool {
    producer.freeze_time.is_none() && matches!(producer.standing(), Standing::Unmarked | Standing::Complete)
}

fn print(found: &ListGapsResponse, is_well: bool) -> std::io::Result<()> {
    if is_well {
        line("nothing is missing".style(good()))?;
    }
    for producer in &found.producers {
        print_producer(producer)?;
    }
    for gap in &found.gaps {
        let age = span(gap.age.as_ref());
        let what = match gap.kind() {
            GapKind::Missing if gap.first_sequence == gap.last_sequence => {
                format!("change {} is missing, for {age}", gap.first_sequence)
            }
            GapKind::Missing => {
                format!(
                    "changes {} to {} are missing, for {age}",
                    gap.first_sequence, gap.last_sequence
                )
            }
            GapKind::Fork => format!("change {} came again as another event, {age} ago", gap.first_sequence),
            GapKind::EventIdReused => format!("a used event id came again with other content, {age} ago"),
            GapKind::Unspecified => "is inconsistent".to_owned(),
        };
        let what = match is_examined(gap) {
            true => format!("{what} (examined)").style(dim()).to_string(),
            false => what.style(bad()).to_string(),
        };
        line(format_args!("{}  {what}", gap.record))?;
        let times = match gap.attempt_count {
            1 => "once".to_owned(),
            attempts => format!("{attempts} times"),
        };
        let held = format!(
            "  kept out: event {} of {}, received {times}",
            gap.event_id,
            id(&gap.producer)
        );
        line(held.style(dim()))?;
    }
    Ok(())
}

fn print_producer(producer: &Producer) -> std::io::Result<()> {
    let source = id(&producer.name);
    let held = producer.held.as_ref().map_or(0, |held| held.count);
    line(format_args!("{source:8} {held} events in the log"))?;
    if producer.freeze_time.is_some() {
        let frozen = format!(
            "  frozen since {}: its past has changed. find the cause, then run: \
             remit log unfreeze {source} --etag {} --reason …",
            output::time(producer.freeze_time.as_ref()),
            producer.etag
        );
        line(frozen.style(bad()))?;
    }
    let (delivered, committed) = (producer.delivered_count, producer.committed_count);
    let what = match producer.standing() {
        Standing::Unspecified | Standing::Unmarked | Standing::Complete => return Ok(()),
        Standing::Late => format!("overdue: {} of {committed}", committed.saturating_sub(held).max(0)),
        Standing::Lost => format!(
            "acknowledged but missing: {} of {delivered}",
            delivered.saturating_sub(held).max(0)
        ),
        Standing::Different => format!("the log has different events than the producer's {committed}"),
        Standing::Ahead => {
            let more = held.saturating_sub(committed).max(0);
            format!("unknown to the producer: {more}. was its database restored from a backup?")
        }
    };
    let age = span(producer.standing_age.as_ref());
    line(format_args!("  {}", format!("{what}; for {age}").style(bad())))
}

/// A duration in its two largest units.
fn span(age: Option<&prost_types::Duration>) -> String {
    let seconds = age.map_or(0, |age| age.seconds);
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3_661, "1 h 1 min"),
            (200_000, "2 d 7 h"),
        ] {
            assert_eq!(span(Some(&prost_types::Duration { seconds, nanos: 0 })), expected);
        }
    }
}
