//! `remit status`: is anything late or lost?

use api::operations::{
    Backlog, CaseStatus, EvidenceStatus, GetStatusRequest, GetStatusResponse, LogStatus,
    operations_service_client::OperationsServiceClient,
};
use clap::Args;
use host::config::Service;
use journal::{Clock as _, SystemClock, Time};

use crate::{
    client::{Access, Failed, Servers},
    output::{self, Paint as _, bad, field, good, line, strong},
};

/// Check whether anything is late or lost in the three services
///
/// Asks each service for undelivered changes, refused and parked ones, expired clocks that were not
/// handled, expired evidence files that still exist, the age of the newest checkpoint and its
/// cosignatures, and compares the services' clocks with this machine's. For operators.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes, as monitors take them:
  0  nothing is late or lost
  1  something is late, or a witness is silent
  2  something is lost or stands still, or is very late
  3  a service could not be asked

Examples:
  remit status
  remit status --json --late 300")]
pub struct Command {
    #[command(flatten)]
    access: Access,
    /// Seconds after which something counts as late; ten times as many count as very late
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    late: u32,
    /// Seconds after which a checkpoint counts as old; ten times as many count as very old
    /// [default: three times the interval at which the log says that it is signed when quiet]
    #[arg(long, value_name = "SECONDS")]
    old: Option<u32>,
    #[command(flatten)]
    servers: Servers,
}

/// Severity. The numbers are the exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Fine = 0,
    Late = 1,
    Lost = 2,
    Unknown = 3,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    level: Level,
    service: &'static str,
    what: &'static str,
    text: String,
}

/// Limits in seconds.
#[derive(Clone, Copy, Debug)]
struct Limits {
    late: i64,
    /// `None`: by the log's own interval.
    old: Option<i64>,
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let limits = Limits {
            late: self.late.into(),
            old: self.old.map(i64::from),
        };
        let ask = |service| {
            let (access, server) = (&self.access, self.servers.address(service));
            async move {
                match status(access, service, server).await {
                    Ok(status) => judge(service.name(), &status, SystemClock.now(), limits),
                    Err(error) => vec![Finding {
                        level: Level::Unknown,
                        service: service.name(),
                        what: "service",
                        text: format!("{error:#}").replace('\n', ";"),
                    }],
                }
            }
        };
        let (intake, routing, audit) = tokio::join!(ask(Service::Intake), ask(Service::Routing), ask(Service::Audit),);
        let findings = [intake, routing, audit].concat();
        let worst = findings
            .iter()
            .map(|finding| finding.level)
            .max()
            .unwrap_or(Level::Unknown);
        match self.access.json {
            true => print_json(worst, &findings)?,
            false => print(worst, &findings)?,
        }
        match worst {
            Level::Fine => Ok(()),
            level => Err(Failed::Watched(level as u8).into()),
        }
    }
}

async fn status(access: &Access, service: Service, server: Option<&str>) -> anyhow::Result<GetStatusResponse> {
    let target = access.target(service, server)?;
    let response = OperationsServiceClient::new(target.channel)
        .get_status(GetStatusRequest {})
        .await;
    Ok(response.map_err(Failed::call(&target.address))?.into_inner())
}

/// Evaluates a service's status. Ages are measured by the service's own clock, which may differ
/// from `ours`.
fn judge(service: &'static str, status: &GetStatusResponse, ours: Time, limits: Limits) -> Vec<Finding> {
    let now = status.time.as_ref().and_then(Time::from_proto).unwrap_or_default();
    let mut findings = Vec::new();
    let mut found = |level, what, text| {
        findings.push(Finding {
            level,
            service,
            what,
            text,
        });
    };
    if let Some((level, text)) = skew(now, ours) {
        found(level, "clock", text);
    }
    if !status.clock_fault.is_empty() {
        found(Level::Lost, "clock", status.clock_fault.clone());
    }
    if !status.unread_tokens.is_empty() {
        let text = format!(
            "what was read of callers last stays in effect, and nothing of it can be revoked: {}",
            status.unread_tokens
        );
        found(Level::Late, "tokens", text);
    }
    for backlog in &status.backlogs {
        let (level, text) = waiting(backlog, now, limits);
        found(level, "outbox", text);
        if backlog.parked_count > 0 {
            let text = format!(
                "{} refused changes of {} records; the first is {}: {}",
                backlog.consumer, backlog.parked_count, backlog.first_parked, backlog.first_reason
            );
            found(Level::Lost, "parked", text);
        }
    }
    if let Some(cases) = &status.cases {
        let (level, text) = clocks(cases, now, limits);
        found(level, "clocks", text);
        let (level, text) = unread(cases, now);
        found(level, "unread", text);
        let text = format!(
            "{} open, {} await a designation",
            cases.open_count, cases.awaiting_designation_count
        );
        found(Level::Fine, "cases", text);
    }
    if let Some(evidence) = &status.evidence {
        let (level, text) = files(evidence, now, limits);
        found(level, "evidence", text);
        if !evidence.storage_fault.is_empty() {
            found(Level::Lost, "evidence", evidence.storage_fault.clone());
        }
        if !evidence.refusal.is_empty() {
            found(Level::Late, "evidence", evidence.refusal.clone());
        }
    }
    if let Some(log) = &status.log {
        for (level, what, text) in checkpoint(log, now, limits) {
            found(level, what, text);
        }
    }
    findings
}

/// A service's clock that differs from ours by more than its own database's may from it.
fn skew(now: Time, ours: Time) -> Option<(Level, String)> {
    let seconds = (now.0.saturating_sub(ours.0) / 1_000_000).saturating_abs();
    let level = graded(seconds, journal::SKEW);
    let direction = if now < ours { "behind" } else { "ahead of" };
    (level > Level::Fine).then(|| {
        let text = format!(
            "its clock says {now}, {seconds} s {direction} this machine's: set the one that is wrong; deadlines go by the service's"
        );
        (level, text)
    })
}

fn waiting(backlog: &Backlog, now: Time, limits: Limits) -> (Level, String) {
    let consumer = &backlog.consumer;
    match age(backlog.oldest_time.as_ref(), now) {
        Some(age) if backlog.waiting_count > 0 => (
            graded(age, limits.late),
            format!(
                "{} changes are undelivered to {consumer}, the oldest for {age} s",
                backlog.waiting_count
            ),
        ),
        _ => (Level::Fine, format!("all changes are delivered to {consumer}")),
    }
}

fn clocks(cases: &CaseStatus, now: Time, limits: Limits) -> (Level, String) {
    match age(cases.overdue_since_time.as_ref(), now) {
        // An expired clock is normally handled within a second.
        Some(age) if cases.overdue_count > 0 => (
            graded(age, limits.late),
            format!(
                "{} expired and were not handled, the first {age} s ago",
                cases.overdue_count
            ),
        ),
        _ => (Level::Fine, "none expired".to_owned()),
    }
}

/// Seconds after which a change should have been read: a weekend, and a day.
const UNREAD: i64 = 3 * 24 * 60 * 60;

/// Nothing is lost: the case is there, and its clocks run. But its agency's system may be down.
fn unread(cases: &CaseStatus, now: Time) -> (Level, String) {
    match age(cases.unread_since_time.as_ref(), now) {
        Some(age) if cases.unread_count > 0 => (
            graded(age, UNREAD).min(Level::Late),
            format!(
                "{} changes of cases are not read by their agencies, the first for {} h: `remit case undelivered` says whose",
                cases.unread_count,
                age / 3_600
            ),
        ),
        _ => (Level::Fine, "agencies have read all changes of their cases".to_owned()),
    }
}

/// Expired files are removed once a minute. One that stays is not a loss, but should not exist.
fn files(evidence: &EvidenceStatus, now: Time, limits: Limits) -> (Level, String) {
    match age(evidence.overdue_since_time.as_ref(), now) {
        Some(age) if evidence.overdue_count > 0 => (
            graded(age, limits.late.saturating_add(60)).min(Level::Late),
            format!(
                "{} unattached files should have been deleted, the first {age} s ago",
                evidence.overdue_count
            ),
        ),
        _ => (
            Level::Fine,
            format!("{} unattached files, none expired", evidence.unattached_count),
        ),
    }
}

fn checkpoint(log: &LogStatus, now: Time, limits: Limits) -> Vec<(Level, &'static str, String)> {
    let mut findings = Vec::new();
    let (size, published) = (log.size, log.published_size);
    let age = age(log.sign_time.as_ref(), now).unwrap_or(i64::MAX);
    let text = match age {
        // Signed by another process.
        age if age > 1_000_000_000 => format!("{published} of {size} entries published by an earlier start"),
        age => format!("{published} of {size} entries published, signed {age} s ago"),
    };
    findings.push((
        graded(age, limits.old.unwrap_or_else(|| patience(log))),
        "checkpoint",
        text,
    ));
    if !log.unpublished.is_empty() {
        findings.push((Level::Lost, "publishing", log.unpublished.clone()));
    }
    if !log.silent_witnesses.is_empty() {
        let text = format!("silent: {}", log.silent_witnesses);
        findings.push((Level::Late, "witnesses", text));
    }
    if log.gap_count > 0 {
        let since = self::age(log.gaps_since_time.as_ref(), now).unwrap_or(0);
        let text = format!("{} changes are kept out, the first for {since} s", log.gap_count);
        findings.push((Level::Lost, "gaps", text));
    }
    if !log.troubled_producers.is_empty() {
        let level = if log.lost { Level::Lost } else { Level::Late };
        findings.push((level, "producers", log.troubled_producers.join("; ")));
    }
    if !log.writes {
        let text = "the answering process does not write the log: another has taken over, or it had to stop".to_owned();
        findings.push((Level::Lost, "log", text));
    }
    findings
}

/// Seconds after which a checkpoint is old, when nobody says another: three times the interval that
/// the log itself states; a log that states none is of a version that signs every minute.
fn patience(log: &LogStatus) -> i64 {
    let interval = log.refresh_interval.as_ref().map_or(60, |interval| interval.seconds);
    interval.saturating_mul(3).max(10)
}

fn age(time: Option<&prost_types::Timestamp>, now: Time) -> Option<i64> {
    let time = time.and_then(Time::from_proto)?;
    Some((now.0.saturating_sub(time.0) / 1_000_000).max(0))
}

fn graded(age: i64, limit: i64) -> Level {
    match age {
        age if age > limit.saturating_mul(10) => Level::Lost,
        age if age > limit => Level::Late,
        _ => Level::Fine,
    }
}

fn print(worst: Level, findings: &[Finding]) -> anyhow::Result<()> {
    line(match worst {
        Level::Fine => "nothing is late or lost".style(good()).to_string(),
        Level::Late => "something is late".style(strong()).to_string(),
        Level::Lost => "something is lost or stopped".style(bad()).to_string(),
        Level::Unknown => "not every service could be asked".style(bad()).to_string(),
    })?;
    for finding in findings {
        let word = finding.level.word();
        let word = match finding.level {
            Level::Fine => word.style(good()).to_string(),
            Level::Late => word.style(strong()).to_string(),
            Level::Lost | Level::Unknown => word.style(bad()).to_string(),
        };
        field(
            finding.service,
            format_args!("{word}: {}: {}", finding.what, finding.text),
        )?;
    }
    Ok(())
}

fn print_json(worst: Level, findings: &[Finding]) -> anyhow::Result<()> {
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "level": finding.level.word(), "service": finding.service, "what": finding.what, "text": finding.text,
            })
        })
        .collect();
    let status = serde_json::json!({ "level": worst.word(), "findings": findings });
    output::value(&status)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_795_305_600_000_000);
    const LIMITS: Limits = Limits { late: 60, old: None };

    fn ago(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(NOW.plus_seconds(-seconds).to_proto())
    }

    fn worst(change: impl FnOnce(&mut GetStatusResponse)) -> Level {
        let mut status = GetStatusResponse {
            service: "any".to_owned(),
            time: Some(NOW.to_proto()),
            backlogs: vec![Backlog {
                consumer: "audit".to_owned(),
                waiting_count: 3,
                oldest_time: ago(60),
                ..Default::default()
            }],
            cases: Some(CaseStatus {
                overdue_count: 1,
                overdue_since_time: ago(60),
                unread_count: 2,
                unread_since_time: ago(3 * 86_400),
                ..Default::default()
            }),
            log: Some(LogStatus {
                sign_time: ago(180),
                writes: true,
                ..Default::default()
            }),
            unread_tokens: String::new(),
            clock_fault: String::new(),
            evidence: Some(EvidenceStatus {
                unattached_count: 7,
                overdue_count: 1,
                overdue_since_time: ago(120),
                ..Default::default()
            }),
        };
        change(&mut status);
        judge("any", &status, NOW, LIMITS)
            .iter()
            .map(|finding| finding.level)
            .max()
            .unwrap()
    }

    #[test]
    fn a_clock_that_differs_from_ours_is_told() {
        let told = |seconds: i64| {
            let status = GetStatusResponse {
                time: Some(NOW.plus_seconds(seconds).to_proto()),
                ..Default::default()
            };
            let findings = judge("any", &status, NOW, LIMITS);
            findings
                .first()
                .map(|finding| (finding.level, finding.what, finding.text.clone()))
        };
        for seconds in [0, 300, -300] {
            assert_eq!(told(seconds), None, "{seconds}");
        }
        for (seconds, level, says) in [
            (301, Level::Late, "301 s ahead of this machine's"),
            (-301, Level::Late, "301 s behind this machine's"),
            (3 * 86_400, Level::Lost, "259200 s ahead of"),
            (-3_001, Level::Lost, "behind"),
        ] {
            let (told, what, text) = told(seconds).unwrap();
            assert_eq!((told, what), (level, "clock"), "{seconds}");
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn late_and_lost_data_is_found() {
        fn log(status: &mut GetStatusResponse) -> &mut LogStatus {
            status.log.as_mut().unwrap()
        }
        assert_eq!(worst(|_| {}), Level::Fine);
        assert_eq!(worst(|status| status.backlogs[0].oldest_time = ago(61)), Level::Late);
        assert_eq!(worst(|status| status.backlogs[0].oldest_time = ago(601)), Level::Lost);
        assert_eq!(worst(|status| status.backlogs[0].parked_count = 1), Level::Lost);
        assert_eq!(
            worst(|status| status.cases.as_mut().unwrap().overdue_since_time = ago(61)),
            Level::Late
        );
        for unread in [3 * 86_400 + 1, 300 * 86_400] {
            let found = worst(|status| status.cases.as_mut().unwrap().unread_since_time = ago(unread));
            assert_eq!(found, Level::Late, "nothing is lost by it");
        }
        assert_eq!(worst(|status| log(status).sign_time = ago(181)), Level::Late);
        assert_eq!(worst(|status| log(status).sign_time = ago(1_801)), Level::Lost);
        // By the interval that the log says it has.
        for (interval, age, level) in [
            (600, 1_800, Level::Fine),
            (600, 1_801, Level::Late),
            (5, 16, Level::Late),
            (0, 10, Level::Fine),
        ] {
            let found = worst(|status| {
                log(status).sign_time = ago(age);
                log(status).refresh_interval = Some(prost_types::Duration {
                    seconds: interval,
                    nanos: 0,
                });
            });
            assert_eq!(found, level, "{age} s with {interval} s");
        }
        assert_eq!(
            worst(|status| status.unread_tokens = "no such file".to_owned()),
            Level::Late
        );
        assert_eq!(
            worst(|status| log(status).unpublished = "disk full".to_owned()),
            Level::Lost
        );
        assert_eq!(
            worst(|status| log(status).silent_witnesses = "w1: late".to_owned()),
            Level::Late
        );
        assert_eq!(worst(|status| status.clock_fault = "far ahead".to_owned()), Level::Lost);
        for (overdue_since, level) in [(121, Level::Late), (100_000, Level::Late)] {
            let late = worst(|status| status.evidence.as_mut().unwrap().overdue_since_time = ago(overdue_since));
            assert_eq!(late, level);
        }
        let fault =
            |status: &mut GetStatusResponse| status.evidence.as_mut().unwrap().storage_fault = "empty".to_owned();
        assert_eq!(worst(fault), Level::Lost);
        let refusal = |status: &mut GetStatusResponse| status.evidence.as_mut().unwrap().refusal = "full".to_owned();
        assert_eq!(worst(refusal), Level::Late);
        assert_eq!(worst(|status| log(status).writes = false), Level::Lost);
        assert_eq!(worst(|status| log(status).gap_count = 1), Level::Lost);
        let troubled = |is_lost| {
            worst(|status| {
                log(status).troubled_producers = vec!["intake is late".to_owned()];
                log(status).lost = is_lost;
            })
        };
        assert_eq!((troubled(false), troubled(true)), (Level::Late, Level::Lost));
    }
}
