//! What a whole run measures, and what it must not tell: content, names, codes.

use std::{collections::BTreeSet, time::Duration};

use api::{
    audit::AppendChangesRequest,
    audit::audit_inbound_service_client::AuditInboundServiceClient,
    event::StateChange,
    intake::{CheckReceiptRequest, Reporter},
    routing::{AcknowledgeCaseRequest, ListCasesRequest},
};
use tempfile::TempDir;
use testkit::otlp::{Hanging, Receiver};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};
use tonic::Code;

use tests::process::{Databases, Process, gambling, program, until};

use crate::evidence::upload;

/// The address of the process's admin listener, which its log says.
async fn admin(folder: &TempDir) -> String {
    until("metrics are served", async || {
        let said = std::fs::read_to_string(folder.path().join("stderr")).ok()?;
        let line = said.lines().find(|line| line.contains("serving metrics and health"))?;
        let (_, rest) = line.split_once("http://")?;
        Some(
            rest.chars()
                .take_while(|c| c.is_ascii_digit() || ".:".contains(*c))
                .collect(),
        )
    })
    .await
}

/// Status line and text of an answer.
async fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: ;;q=0,\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), text.to_owned())
}

/// The sum of a metric's series that have all these labels; `None` without any.
fn number(text: &str, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    let series = text.lines().filter(|line| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        name == metric && labels.iter().all(|label| line.contains(label.as_str()))
    });
    let numbers: Vec<f64> = series
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    (!numbers.is_empty()).then(|| numbers.iter().sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_measured_without_a_word_of_content_on_sqlite() {
    a_run_is_measured_without_a_word_of_content(&Databases::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_measured_without_a_word_of_content_on_postgres() {
    let Some(databases) = Databases::postgres() else { return };
    a_run_is_measured_without_a_word_of_content(&databases).await;
}

/// Name, labels, and the value at least.
type Series = (&'static str, &'static [(&'static str, &'static str)], f64);

async fn a_run_is_measured_without_a_word_of_content(databases: &Databases) {
    let folder = TempDir::with_prefix("remit-metrics-").unwrap();
    let collector = Receiver::start().await.unwrap();
    let mut process = Process::start(
        folder.path(),
        databases,
        &[
            ("REMIT_ADMIN_LISTEN", "127.0.0.1:0"),
            ("REMIT_TELEMETRY_ENDPOINT", collector.endpoint()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ],
    );
    let admin = admin(&folder).await;

    // A report with everything that must not be told.
    let mut request = gambling("");
    let report = request.report.as_mut().unwrap();
    report.reporter = Some(Reporter {
        relation: 1,
        display_name: "CANARY-NAME".to_owned(),
        contact: "CANARY-CONTACT".to_owned(),
    });
    let evidence = upload(&process, "operator", b"CANARY-EVIDENCE").await;
    report.evidence = vec![evidence.clone()];
    let mut intake = process.intake("operator");
    let submitted = intake.submit_report(request).await.unwrap().into_inner();
    let (receipt, report) = (submitted.receipt, submitted.report.unwrap().name);
    let mut desk = process.routing("police-450100");
    let case = until("the desk has the case", async || {
        let listed = desk.list_cases(ListCasesRequest::default()).await.unwrap();
        listed.into_inner().cases.pop()
    })
    .await;
    let acknowledge = AcknowledgeCaseRequest {
        name: case.name.clone(),
        ..Default::default()
    };
    desk.acknowledge_case(acknowledge).await.unwrap();
    let check = CheckReceiptRequest {
        receipt: receipt.clone(),
    };
    until("all is logged", async || {
        let followed = intake.check_receipt(check.clone()).await.unwrap().into_inner();
        (followed.changes.len() >= 2 && followed.changes.iter().all(|change| change.logged)).then_some(())
    })
    .await;

    // What strangers send: categories, methods, tokens, changes.
    let mut unknown = gambling("");
    unknown.report.as_mut().unwrap().category = "categories/CANARY-CATEGORY".to_owned();
    let refused = intake.submit_report(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for path in ["/remit.intake.v1.IntakeService/CanaryMethod", "/canary.Service/Method"] {
        let mut client = tonic::client::Grpc::new(process.channel(&process.endpoints.intake, "operator"));
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<CheckReceiptRequest, CheckReceiptRequest>::default();
        let answer = client
            .unary(tonic::Request::new(check.clone()), path.parse().unwrap(), codec)
            .await;
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    }
    let stranger = rpc::client::connect(&process.endpoints.intake, "CANARY-TOKEN-of-a-stranger", None).unwrap();
    let mut stranger = api::intake::intake_service_client::IntakeServiceClient::new(stranger);
    let refused = stranger.check_receipt(check).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut forger = AuditInboundServiceClient::new(process.channel(&process.endpoints.audit, "intake"));
    let changes = AppendChangesRequest {
        changes: vec![StateChange {
            entry: b"CANARY-ENTRY".to_vec().into(),
            ..StateChange::default()
        }],
    };
    forger.append_changes(changes).await.unwrap();

    let expected: &[Series] = &[
        (
            "remit_reports_total",
            &[("remit_category", "gambling"), ("remit_submission", "accepted")],
            1.0,
        ),
        (
            "remit_reports_total",
            &[("remit_category", "_OTHER"), ("remit_submission", "invalid")],
            1.0,
        ),
        ("remit_evidence_size_bytes_sum", &[], 15.0),
        ("remit_changes_total", &[("remit_kind", "report.accepted")], 1.0),
        ("remit_changes_total", &[("remit_kind", "case.opened")], 1.0),
        ("remit_changes_total", &[("remit_kind", "case.acknowledged")], 1.0),
        ("remit_changes_total", &[("remit_kind", "evidence.attached")], 1.0),
        ("remit_routes_total", &[("remit_route", "lead")], 1.0),
        (
            "remit_cases_open",
            &[("remit_state", "IN_PROGRESS"), ("remit_level", "city")],
            1.0,
        ),
        (
            "remit_case_acknowledge_time_seconds_count",
            &[("remit_asked", "case")],
            1.0,
        ),
        ("remit_clocks_overdue", &[], 0.0),
        (
            "remit_outbox_depth",
            &[("remit_service", "intake"), ("remit_consumer", "routing")],
            0.0,
        ),
        (
            "remit_outbox_depth",
            &[("remit_service", "routing"), ("remit_consumer", "audit")],
            0.0,
        ),
        ("remit_outbox_parked", &[], 0.0),
        ("remit_clock_doubted", &[], 0.0),
        ("remit_log_writes", &[], 1.0),
        ("remit_log_gaps", &[], 0.0),
        ("remit_log_producer_frozen", &[("remit_producer", "intake")], 0.0),
        (
            "remit_log_changes_total",
            &[("remit_producer", "intake"), ("remit_verdict", "malformed")],
            1.0,
        ),
        ("remit_service_serving", &[], 3.0),
        ("remit_db_full", &[], 0.0),
        (
            "rpc_server_call_duration_seconds_count",
            &[
                ("rpc_method", "_OTHER"),
                ("rpc_status_code", "UNIMPLEMENTED"),
                ("error_type", "UNIMPLEMENTED"),
            ],
            2.0,
        ),
        (
            "rpc_server_call_duration_seconds_count",
            &[
                ("remit_service", "routing"),
                ("rpc_method", "remit.routing.v1.CaseService/AcknowledgeCase"),
                ("rpc_status_code", "OK"),
            ],
            1.0,
        ),
        ("remit_rpc_refused_total", &[("remit_reason", "UNAUTHENTICATED")], 1.0),
    ];
    let begun = Instant::now();
    let text = loop {
        let (status, text) = get(&admin, "/metrics").await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        let differs: Vec<_> = expected
            .iter()
            .map(|(metric, labels, expected)| (metric, labels, *expected, number(&text, metric, labels)))
            .filter(|(_, _, expected, found)| *found != Some(*expected))
            .collect();
        if differs.is_empty() {
            break text;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{differs:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(
        get(&admin, "/healthz").await,
        ("HTTP/1.1 200 OK".to_owned(), "serving\n".to_owned())
    );

    // Nothing is served that the papers do not name, and the most of it is.
    let papers = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).unwrap();
    let served: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    for metric in served.iter().filter(|metric| **metric != "target_info") {
        assert!(
            papers.contains(&format!("| `{metric}` |")),
            "{metric} is not in docs/metrics.md"
        );
    }
    let sent = until("metrics are sent", async || {
        let sent = collector.metrics();
        sent.contains(&"remit.cases.open".to_owned()).then_some(sent)
    })
    .await;
    assert!(sent.contains(&"rpc.server.call.duration".to_owned()));
    until("lines are sent", async || (!collector.lines().is_empty()).then_some(())).await;

    process.kill();
    let lines = std::fs::read_to_string(folder.path().join("stderr")).unwrap();
    let tokens = process.layout.read_tokens().unwrap().unwrap();
    let id = |name: &str| name.rsplit_once('/').unwrap().1.to_owned();
    let secrets: Vec<String> = ["CANARY", "canary.Service", "Canary", "bet.example"]
        .map(str::to_owned)
        .into_iter()
        .chain([
            receipt.replace('-', ""),
            receipt,
            id(&report),
            id(&case.name),
            id(&evidence),
        ])
        .chain(tokens.into_iter().map(|token| token.token))
        .collect();
    for (place, told) in [("metrics", &text), ("log lines", &lines)] {
        for secret in &secrets {
            assert!(!told.contains(secret.as_str()), "`{secret}` is in the {place}");
        }
    }
    let sent = collector.text();
    for secret in &secrets {
        assert!(!sent.contains(secret.as_str()), "`{secret}` is sent to the collector");
    }
    assert!(!text.contains("police-450100"), "agencies are no label");
}

/// The binary's own health check, with the configuration of the process that it asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_asked_of_the_process_by_its_own_configuration() {
    let folder = TempDir::with_prefix("remit-health-").unwrap();
    let asked = |which: &[&str], sets: &[(&str, String)]| {
        let mut command = program();
        command.arg("health").args(which);
        for (key, value) in sets {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let said = command.output().unwrap();
        (
            said.status.code().unwrap(),
            String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr),
        )
    };
    // Nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(asked(&[], &[("admin.listen", free.to_string())]).0, 4);
    assert_eq!(asked(&["audit"], &[("audit.listen", free.to_string())]).0, 4);

    let process = Process::start(
        folder.path(),
        &Databases::Sqlite,
        &[("REMIT_ADMIN_LISTEN", "127.0.0.1:0")],
    );
    let admin = admin(&folder).await;
    let listen = |address: &str| address.trim_start_matches("http://").to_owned();
    until("all serve", async || {
        let told = asked(&[], &[("admin.listen", admin.clone())]);
        (told == (0, "serving\n".to_owned())).then_some(())
    })
    .await;
    let endpoints = &process.endpoints;
    let sets = [
        ("intake.listen", listen(&endpoints.intake)),
        ("routing.listen", listen(&endpoints.routing)),
        ("audit.listen", listen(&endpoints.audit)),
    ];
    assert_eq!(asked(&[], &sets), (0, "serving\n".to_owned()));
    assert_eq!(asked(&["routing"], &sets[1..2]), (0, "serving\n".to_owned()));
    // Something else listens there.
    let (code, said) = asked(&[], &[("admin.listen", listen(&endpoints.audit))]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no admin listener"), "{said}");
}

/// A collector that accepts connections and never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_slows_no_call() {
    let folder = TempDir::with_prefix("remit-hanging-").unwrap();
    let collector = Hanging::start().await.unwrap();
    let process = Process::start(
        folder.path(),
        &Databases::Sqlite,
        &[
            ("REMIT_ADMIN_LISTEN", "127.0.0.1:0"),
            ("REMIT_TELEMETRY_ENDPOINT", collector.endpoint()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
        ],
    );
    let admin = admin(&folder).await;
    let mut intake = process.intake("operator");
    intake.submit_report(gambling("")).await.unwrap();
    collector.connected().await;
    // An export is given up after 10 s: a call that waited for one would take seconds.
    for _ in 0..100 {
        let begun = Instant::now();
        intake.submit_report(gambling("")).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    let begun = Instant::now();
    let (_, text) = get(&admin, "/metrics").await;
    assert_eq!(
        number(&text, "remit_reports_total", &[("remit_submission", "accepted")]),
        Some(101.0)
    );
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
