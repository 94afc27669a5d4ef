//! `kill -9` at random moments under load: nothing acknowledged is lost or duplicated, and every
//! chain is complete.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use api::intake::{CheckReceiptRequest, ReportState};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;
use tokio::task::JoinSet;

use tests::process::{Databases, Process, gambling, until};

/// Kills per backend: a few in every run, more with `REMIT_CRASHES`.
fn crashes() -> u32 {
    std::env::var("REMIT_CRASHES").map_or(5, |n| n.parse().expect("REMIT_CRASHES is a number"))
}

const CALLERS: usize = 16;

/// The callers' knowledge: for each request id, the name and receipt of the answer, or nothing yet.
type Known = BTreeMap<String, Option<(String, String)>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_a_crash_loses_and_doubles_nothing_on_sqlite() {
    crash_again_and_again(&Databases::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_a_crash_loses_and_doubles_nothing_on_postgres() {
    let Some(databases) = Databases::postgres() else { return };
    crash_again_and_again(&databases).await;
}

async fn crash_again_and_again(databases: &Databases) {
    let mut random = StdRng::seed_from_u64(testkit::seed());
    let folder = TempDir::with_prefix("remit-crash-").unwrap();
    let mut known = Known::new();
    for _ in 0..crashes() {
        let process = Process::start(folder.path(), databases, &[]);
        ask_again(&process, &mut known).await;
        let life = Duration::from_millis(random.random_range(1..400));
        load_and_kill(process, life, &mut known).await;
    }
    let process = Process::start(folder.path(), databases, &[]);
    ask_again(&process, &mut known).await;
    check(&process, &known).await;
}

/// Repeats unanswered requests with the same request id, and some answered ones: the answer must be
/// the same.
async fn ask_again(process: &Process, known: &mut Known) {
    let mut intake = process.intake("operator");
    let mut repeats = 20;
    for (request_id, answer) in known.iter_mut().rev() {
        if answer.is_some() {
            if repeats == 0 {
                continue;
            }
            repeats -= 1;
        }
        let again = until("a repeated request is answered", async || {
            intake.submit_report(gambling(request_id)).await.ok()
        })
        .await
        .into_inner();
        let again = (again.report.unwrap().name, again.receipt);
        assert!(
            answer.as_ref().is_none_or(|first| *first == again),
            "{request_id}: {answer:?}, then {again:?}"
        );
        *answer = Some(again);
    }
}

async fn load_and_kill(mut process: Process, life: Duration, known: &mut Known) {
    let mut callers = JoinSet::new();
    let started = Instant::now();
    for _ in 0..CALLERS {
        let mut intake = process.intake("operator");
        callers.spawn(async move {
            let mut mine = Known::new();
            loop {
                let request_id = journal::random_id(&journal::SystemEntropy).to_string();
                match intake.submit_report(gambling(&request_id)).await {
                    Ok(answer) => {
                        let answer = answer.into_inner();
                        mine.insert(request_id, Some((answer.report.unwrap().name, answer.receipt)));
                    }
                    Err(_) => {
                        mine.insert(request_id, None);
                        return mine;
                    }
                }
            }
        });
    }
    tokio::time::sleep(life.saturating_sub(started.elapsed())).await;
    process.kill();
    while let Some(mine) = callers.join_next().await {
        known.extend(mine.unwrap());
    }
}

async fn check(process: &Process, known: &Known) {
    let acknowledged: BTreeSet<String> = known
        .values()
        .map(|answer| answer.as_ref().unwrap().0.clone())
        .collect();
    assert_eq!(acknowledged.len(), known.len(), "each request has a report of its own");
    assert!(!acknowledged.is_empty(), "the load was load");

    // Before the log is checked, every report must be routed and visible to its reporter: then the
    // log is complete.
    let mut intake = process.intake("operator");
    for (_, receipt) in known.values().flatten() {
        until("a report is routed and logged", async || {
            let followed = intake
                .check_receipt(CheckReceiptRequest {
                    receipt: receipt.clone(),
                })
                .await
                .unwrap()
                .into_inner();
            (followed.state() == ReportState::Routed && followed.changes.iter().all(|change| change.logged))
                .then_some(())
        })
        .await;
    }
    let log = until("every case is logged", async || {
        let log = process.verified_log().await;
        (log.iter().filter(|entry| entry.kind == "case.opened").count() >= known.len()).then_some(log)
    })
    .await;

    let accepted: Vec<_> = log.iter().filter(|entry| entry.kind == "report.accepted").collect();
    let recorded: BTreeSet<_> = accepted.iter().map(|entry| entry.record.clone()).collect();
    assert_eq!(recorded, acknowledged, "what was acknowledged, and nothing else");
    assert_eq!(accepted.len(), recorded.len(), "each once");
    let causes: BTreeSet<_> = log
        .iter()
        .filter(|entry| entry.kind == "case.opened")
        .map(|entry| entry.caused_by)
        .collect();
    let opened = log.iter().filter(|entry| entry.kind == "case.opened").count();
    assert_eq!(
        (opened, causes.len()),
        (accepted.len(), accepted.len()),
        "one case for each report"
    );
    let events: BTreeSet<_> = log.iter().map(|entry| entry.event_id).collect();
    assert_eq!(events.len(), log.len(), "each event once");
    println!(
        "{} kills, {} reports, {} entries: nothing lost, nothing doubled",
        crashes(),
        known.len(),
        log.len()
    );
}
