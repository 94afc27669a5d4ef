//! `remit log reconcile`: compares the services' states with the log, in both directions.

use std::collections::BTreeMap;

use api::operations::{ListRecordHeadsRequest, RecordHead, operations_service_client::OperationsServiceClient};
use clap::Args;
use host::config::Service;

use super::Context;
use crate::{
    client::{Failed, Target},
    output::{self, Paint as _, Progress, bad, field, good, line},
};

/// Compare the services' records with the log, in both directions
///
/// The log must contain the last change of each record of intake and routing, and each record of
/// the log must match its service's state. Waits for undelivered changes. Reads one page of records
/// at a time. Exits with 5 and names the first differences if there are any. For operators.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  remit log reconcile")]
pub(super) struct Command {
    /// Address of intake
    #[arg(long, env = "REMIT_INTAKE", value_name = "URL", help_heading = "Connection")]
    intake: Option<String>,
    /// Address of routing
    #[arg(long, env = "REMIT_ROUTING", value_name = "URL", help_heading = "Connection")]
    routing: Option<String>,
    /// Maximum number of differences to print
    #[arg(long, value_name = "N", default_value_t = 20)]
    show: usize,
}

/// Name of the log in messages.
const LOG: &str = "the log";
/// Records per page.
const PAGE: i32 = 500;
/// Number of attempts before a difference counts, a second apart: the two sides are not read at the
/// same moment.
const LOOKS: u32 = 5;

type Heads = BTreeMap<String, RecordHead>;

struct Sides {
    services: [Target; 2],
    log: Target,
}

/// Number of compared records, and the differences.
#[derive(Debug, Default)]
struct Comparison {
    of_services: u64,
    of_log: u64,
    waiting: u64,
    differing: u64,
    shown: Vec<(String, String)>,
}

impl Command {
    pub(super) async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let access = context.access;
        let sides = Sides {
            services: [
                access.target(Service::Intake, self.intake.as_deref())?,
                access.target(Service::Routing, self.routing.as_deref())?,
            ],
            log: context.audit()?,
        };
        let progress = Progress::new(context.json());
        let mut outcome = Comparison::default();
        for (from, name) in [
            (&sides.services[0], "intake"),
            (&sides.services[1], "routing"),
            (&sides.log, LOG),
        ] {
            let mut token = String::new();
            loop {
                let (heads, next) = page(from, token).await?;
                let count = match name {
                    LOG => &mut outcome.of_log,
                    _ => &mut outcome.of_services,
                };
                *count += heads.len() as u64;
                progress.show(format_args!("{count} records, now those of {name}"));
                let found = sides.compare(heads).await?;
                outcome.add(found, self.show);
                token = next;
                if token.is_empty() {
                    break;
                }
            }
        }
        progress.clear();
        outcome.print(context.json())
    }
}

impl Sides {
    /// The differing ones of these records, with their differences.
    async fn compare(&self, mut records: Vec<String>) -> anyhow::Result<Vec<(String, Difference)>> {
        let mut found = Vec::new();
        for look in 1..=LOOKS {
            // Read the log last: by then it has every change of the service, unless the change is
            // undelivered.
            let mut states = named(&self.services[0], &records).await?;
            states.append(&mut named(&self.services[1], &records).await?);
            let log = named(&self.log, &records).await?;
            let mut again = Vec::new();
            for record in records {
                match differ(states.get(&record), log.get(&record)) {
                    Some(Difference::Real(_)) if look < LOOKS => again.push(record),
                    Some(difference) => found.push((record, difference)),
                    None => {}
                }
            }
            if again.is_empty() {
                break;
            }
            records = again;
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        Ok(found)
    }
}

/// A difference of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Difference {
    /// None, but the last changes are not delivered yet.
    Waiting,
    /// A real difference.
    Real(String),
}

fn differ(state: Option<&RecordHead>, log: Option<&RecordHead>) -> Option<Difference> {
    let real = |text: String| Some(Difference::Real(text));
    match (state, log) {
        (None, None) => None,
        (None, Some(log)) => real(format!(
            "the log has {} changes of it, but no service knows it",
            log.sequence
        )),
        (Some(state), _) if state.sequence == 0 => real("its changes exist, but its state is missing".to_owned()),
        (Some(state), log) => {
            let logged = log.map_or(0, |log| log.sequence);
            let same = log.is_some_and(|log| log.entry_hash == state.entry_hash);
            match state.sequence.saturating_sub(logged) {
                0 if same => None,
                0 => real(format!("change {logged} in the log differs from the service's")),
                missing @ 1.. if missing == state.undelivered_count => Some(Difference::Waiting),
                missing @ 1.. => real(format!(
                    "the service is at change {}, the log at {logged}, and {} of the {missing} in between are undelivered",
                    state.sequence, state.undelivered_count
                )),
                _ => real(format!(
                    "the log is at change {logged}, the service at {}: its database may be an older copy",
                    state.sequence
                )),
            }
        }
    }
}

impl Comparison {
    fn add(&mut self, found: Vec<(String, Difference)>, show: usize) {
        for (record, difference) in found {
            match difference {
                Difference::Waiting => self.waiting += 1,
                Difference::Real(text) => {
                    // Found from both sides, reported once.
                    if self.shown.iter().any(|(shown, _)| *shown == record) {
                        continue;
                    }
                    self.differing += 1;
                    if self.shown.len() < show {
                        self.shown.push((record, text));
                    }
                }
            }
        }
    }

    fn print(&self, json: bool) -> anyhow::Result<()> {
        let result = match self.differing {
            0 => Ok(()),
            n => Err(Failed::Unverified(format!(
                "at least {n} records differ between the services and the log"
            ))),
        };
        if json {
            let differences: Vec<_> = self
                .shown
                .iter()
                .map(|(record, text)| serde_json::json!({ "record": record, "difference": text }))
                .collect();
            let outcome = serde_json::json!({
                "records_of_services": self.of_services, "records_of_log": self.of_log, "waiting": self.waiting, "differing": self.differing, "differences": differences,
            });
            output::value(&outcome)?;
            return Ok(result?);
        }
        match self.differing {
            0 => line("the services and the log agree".style(good()))?,
            _ => line("the services and the log differ".style(bad()))?,
        }
        field(
            "compared",
            format_args!(
                "{} records of the services, {} of the log",
                self.of_services, self.of_log
            ),
        )?;
        if self.waiting > 0 {
            field(
                "waiting",
                format_args!("{}, whose last changes are undelivered", self.waiting),
            )?;
        }
        for (record, text) in &self.shown {
            field("differs", format_args!("{record}: {text}"))?;
        }
        Ok(result?)
    }
}

async fn page(target: &Target, page_token: String) -> Result<(Vec<String>, String), Failed> {
    let request = ListRecordHeadsRequest {
        page_size: PAGE,
        page_token,
        records: Vec::new(),
    };
    let response = OperationsServiceClient::new(target.channel.clone())
        .list_record_heads(request)
        .await
        .map_err(Failed::call(&target.address))?
        .into_inner();
    let records = response.heads.into_iter().map(|head| head.record).collect();
    Ok((records, response.next_page_token))
}

async fn named(target: &Target, records: &[String]) -> Result<Heads, Failed> {
    if records.is_empty() {
        return Ok(Heads::new());
    }
    let request = ListRecordHeadsRequest {
        records: records.to_vec(),
        ..Default::default()
    };
    let response = OperationsServiceClient::new(target.channel.clone())
        .list_record_heads(request)
        .await
        .map_err(Failed::call(&target.address))?
        .into_inner();
    Ok(response
        .heads
        .into_iter()
        .map(|head| (head.record.clone(), head))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: i64, hash: u8, undelivered: i64) -> RecordHead {
        RecordHead {
            record: "reports/1".to_owned(),
            sequence,
            entry_hash: vec![hash; 32].into(),
            undelivered_count: undelivered,
        }
    }

    #[test]
    fn undelivered_changes_are_distinguished_from_differences() {
        let (state, log) = (head(3, 3, 0), head(3, 3, 0));
        assert_eq!(differ(Some(&state), Some(&log)), None);
        assert_eq!(differ(Some(&head(5, 5, 2)), Some(&log)), Some(Difference::Waiting));
        assert_eq!(differ(Some(&head(1, 1, 1)), None), Some(Difference::Waiting));
        for (state, log, text) in [
            (None, Some(head(3, 3, 0)), "no service knows it"),
            (Some(head(0, 0, 0)), Some(head(3, 3, 0)), "its state is missing"),
            (Some(head(3, 4, 0)), Some(head(3, 3, 0)), "differs from the service's"),
            (
                Some(head(5, 5, 1)),
                Some(head(3, 3, 0)),
                "1 of the 2 in between are undelivered",
            ),
            (Some(head(1, 1, 0)), None, "0 of the 1 in between are undelivered"),
            (Some(head(2, 2, 0)), Some(head(3, 3, 0)), "may be an older copy"),
            // Whatever numbers a server sends.
            (Some(head(i64::MIN, 2, 0)), Some(head(3, 3, 0)), "may be an older copy"),
        ] {
            let found = differ(state.as_ref(), log.as_ref());
            assert!(
                matches!(&found, Some(Difference::Real(found)) if found.contains(text)),
                "{found:?}"
            );
        }
    }
}
