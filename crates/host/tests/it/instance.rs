//! All three services in this process.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use api::{
    intake::{
        CheckReceiptRequest, CheckReceiptResponse, ReportState, SubmitReportRequest,
        intake_service_client::IntakeServiceClient,
    },
    operations::{GetStatusRequest, operations_service_client::OperationsServiceClient},
    routing::{ListCasesRequest, case_service_client::CaseServiceClient},
};
use host::{
    config::{Config, DatabaseUrl, Endpoint, Service},
    data_dir::Endpoints,
    instance::Instance,
    running::{Options, Running},
    token_file::find_token,
};
use journal::{Clock as _, ManualClock, SystemClock};
use rpc::{
    Roles, Token,
    client::{Bearer, Caller, connect_over},
    tls::{Tls, Trusting},
};
use testkit::{Backend, tls::Issuer};

fn write_secret(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

pub fn config(data_dir: &Path) -> Config {
    let mut config = Config {
        data_dir: data_dir.to_owned(),
        ..Config::default()
    };
    for service in Service::ALL {
        config.endpoint_mut(service).listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    }
    config
}

/// Servers and their callers.
pub struct Found {
    endpoints: Endpoints,
    tokens: Vec<Token>,
}

impl From<&Instance> for Found {
    fn from(instance: &Instance) -> Self {
        Self {
            endpoints: instance.endpoints.clone(),
            tokens: instance.tokens.clone(),
        }
    }
}

pub fn channel(found: &Found, service: Service, who: &str) -> Caller {
    let patience = Some(Duration::from_secs(10));
    let trusting = found.endpoints.ca_file.as_ref().map(|file| {
        let tls = Tls::new();
        tls.believe(&std::fs::read(file).unwrap()).unwrap();
        Trusting::like(&tls)
    });
    let bearer = Bearer::new(find_token(&found.tokens, who).unwrap()).unwrap();
    connect_over(found.endpoints.of(service), trusting.as_ref(), &bearer, None, patience).unwrap()
}

pub async fn check(instance: &Found, receipt: &str) -> CheckReceiptResponse {
    let request = CheckReceiptRequest {
        receipt: receipt.to_owned(),
    };
    let mut intake = IntakeServiceClient::new(channel(instance, Service::Intake, "operator"));
    intake.check_receipt(request).await.unwrap().into_inner()
}

/// Submits the fourth story and waits until it is routed and logged.
async fn submit(instance: &Found) -> (String, CheckReceiptResponse) {
    let request: SubmitReportRequest =
        rpc::json::parse(include_str!("../../../../deploy/examples/04-gambling.json")).unwrap();
    let mut intake = IntakeServiceClient::new(channel(instance, Service::Intake, "police-440000"));
    let receipt = intake.submit_report(request).await.unwrap().into_inner().receipt;
    let routed = async {
        loop {
            let answer = check(instance, &receipt).await;
            if answer.state() == ReportState::Routed && answer.changes.iter().all(|change| change.logged) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), routed).await.unwrap();
    (receipt, answer)
}

/// Waits until a receipt is complete up to later than `after`, though nothing happens.
async fn is_current(instance: &Found, receipt: &str, after: &CheckReceiptResponse) {
    let seconds = |answer: &CheckReceiptResponse| answer.as_of_time.as_ref().unwrap().seconds;
    let current = async {
        loop {
            let answer = check(instance, receipt).await;
            if seconds(&answer) > seconds(after) + 1 {
                assert_eq!((&answer.changes, answer.outdated), (&after.changes, false));
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), current).await.unwrap();
}

async fn cases(instance: &Found, who: &str) -> Vec<api::routing::Case> {
    let mut routing = CaseServiceClient::new(channel(instance, Service::Routing, who));
    routing
        .list_cases(ListCasesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .cases
}

/// Starts, submits, stops and starts again: everything is still there, once.
async fn starts_again(config: Config) {
    let first = Instance::start(Options::new(config.clone())).await.unwrap();
    let (receipt, answer) = submit(&Found::from(&first)).await;
    let before = cases(&Found::from(&first), "police-450100").await;
    assert_eq!((before.len(), answer.agency.as_str()), (1, "agencies/police-450100"));
    is_current(&Found::from(&first), &receipt, &answer).await;
    let (tokens, vkey) = (format!("{:?}", first.token("operator")), first.vkey.clone());
    let endpoints = first.layout().read_endpoints().unwrap().unwrap();
    assert_eq!(endpoints, first.endpoints);
    first.stop().await;
    assert!(!config.data_dir.join("endpoints.json").exists());

    let second = Instance::start(Options::new(config)).await.unwrap();
    assert_eq!(format!("{:?}", second.token("operator")), tokens);
    assert_eq!(second.vkey, vkey);
    let again = CheckReceiptResponse {
        as_of_time: answer.as_of_time,
        ..check(&Found::from(&second), &receipt).await
    };
    assert_eq!(again, answer);
    assert_eq!(cases(&Found::from(&second), "police-450100").await, before);
    // The same request id: the same report.
    assert_eq!(submit(&Found::from(&second)).await.0, receipt);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_stop_start_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    starts_again(config(&folder.path().join("data"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_may_be_elsewhere() {
    let Some(backends) = Service::ALL
        .map(|_| Backend::postgres())
        .into_iter()
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    for (service, backend) in Service::ALL.into_iter().zip(&backends) {
        config.endpoint_mut(service).database = Some(DatabaseUrl::secret(backend.url()).unwrap());
    }
    starts_again(config).await;
    assert!(!folder.path().join("intake.db").exists());
}

/// Each service alone, found by its address, as in a cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_runs_alone() {
    alone(None).await;
}

/// The same, under TLS, with a certificate for each, and a list of who may call what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_runs_alone_under_mutual_tls() {
    alone(Some(
        "services:
  remit.audit.v1.AuditInboundService: { intake: [spiffe://remit.test/intake], routing: [spiffe://remit.test/routing] }
  remit.audit.v1.AuditService:
    intake: [spiffe://remit.test/intake]
    routing: [spiffe://remit.test/routing]
    audit: [spiffe://remit.test/audit]
  remit.intake.v1.IntakeInboundService: { routing: [spiffe://remit.test/routing] }
  remit.routing.v1.RoutingInboundService: { intake: [spiffe://remit.test/intake], audit: [spiffe://remit.test/audit] }
",
    ))
    .await;
}

/// The configuration of one service, with a certificate of its own where callers are named.
fn with_certificate(mut config: Config, service: Service, issuer: &Issuer, folder: &Path) -> Config {
    let path = |end: &str| folder.join(format!("{service}.{end}"));
    let uri = format!("spiffe://remit.test/{service}");
    let (certificate, key) = issuer.leaf(&["127.0.0.1", &uri], 2020..2090).unwrap();
    write_secret(&path("pem"), certificate.as_bytes());
    write_secret(&path("key"), key.as_bytes());
    config.tls.certificate_file = Some(path("pem"));
    config.tls.key_file = Some(path("key"));
    config
}

async fn alone(callers: Option<&str>) {
    let scheme = if callers.is_some() { "https" } else { "http" };
    let issuer = Issuer::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Held until all three are known, so that they differ.
    let ports = Service::ALL.map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let mut config = Config {
        tokens_file: Some(path("tokens.json")),
        receipt_key_file: Some(path("receipt.key")),
        ..Config::default()
    };
    if let Some(callers) = callers {
        write_secret(&path("callers.yaml"), callers.as_bytes());
        config.callers_file = Some(path("callers.yaml"));
        config.tls.ca_file = Some(issuer.file().to_owned());
        config.tls.client_ca_file = Some(issuer.file().to_owned());
    }
    config.log.key_file = Some(path("log.key"));
    config.log.checkpoint_file = Some(path("log.checkpoint"));
    config.evidence.folder = Some(path("evidence"));
    let mut endpoints = Vec::new();
    for (service, port) in Service::ALL.into_iter().zip(&ports) {
        let listen = port.local_addr().unwrap();
        let database = format!("sqlite://{}", path(service.name()).display());
        *config.endpoint_mut(service) = Endpoint {
            listen: Some(listen),
            address: Some(format!("{scheme}://{listen}").try_into().unwrap()),
            server_name: None,
            database: Some(DatabaseUrl::secret(database).unwrap()),
            database_file: None,
        };
        endpoints.push(format!("{scheme}://{listen}"));
    }
    drop(ports);
    write_secret(&path("receipt.key"), &[7; 32]);
    let token = |system: &str, agency: Option<&str>, roles| Token {
        token: format!("a-token-that-only-{system}-knows"),
        system: system.to_owned(),
        agency: agency.map(str::to_owned),
        roles,
    };
    let tokens = [
        token("operator", None, Roles::OPERATOR),
        token("intake", None, Roles::SERVICE),
        token("routing", None, Roles::SERVICE),
        token("audit", None, Roles::SERVICE),
        token("police-440000-desk", Some("police-440000"), Roles::AGENCY),
    ];
    write_secret(&path("tokens.json"), serde_json::to_string(&tokens).unwrap().as_bytes());

    let mut running = Vec::new();
    for service in Service::ALL {
        let config = match callers {
            Some(_) => with_certificate(config.clone(), service, &issuer, folder.path()),
            None => config.clone(),
        };
        running.push(Running::alone(service, Options::new(config)).await.unwrap());
    }
    let found = Found {
        endpoints: Endpoints {
            intake: endpoints[0].clone(),
            routing: endpoints[1].clone(),
            audit: endpoints[2].clone(),
            utc_offset_seconds: None,
            ca_file: callers.map(|_| issuer.file().to_owned()),
            server_name: None,
        },
        tokens: tokens.to_vec(),
    };
    let (_, answer) = submit(&found).await;
    assert_eq!(answer.agency, "agencies/police-450100");
    for service in running {
        service.stop().await;
    }
}

/// A machine that was off for days: it serves, but nothing is ended or deleted by the clock until
/// the operator says that it is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_after_a_long_stop_the_operator_accepts_the_time() {
    const DAY: i64 = 86_400;
    async fn faults(instance: &Instance) -> Vec<String> {
        let mut faults = Vec::new();
        for service in [Service::Intake, Service::Routing] {
            let mut client = OperationsServiceClient::new(channel(&instance.into(), service, "operator"));
            let status = client.get_status(GetStatusRequest {}).await.unwrap().into_inner();
            faults.push(status.clock_fault);
        }
        faults
    }
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let mut config = config(folder.path());
    let start = async |config: &Config| {
        let options = Options {
            clock: Arc::clone(&clock) as _,
            ..Options::new(config.clone())
        };
        Instance::start(options).await.unwrap()
    };
    let first = start(&config).await;
    assert_eq!(faults(&first).await, ["", ""]);
    first.stop().await;
    clock.advance(3 * DAY);
    let held = start(&config).await;
    for fault in faults(&held).await {
        assert!(fault.contains("`accept_time_up_to`"), "{fault}");
    }
    submit(&Found::from(&held)).await;
    held.stop().await;
    let accepted = clock.now().plus_seconds(3_600).to_string();
    config.accept_time_up_to = Some(accepted.try_into().unwrap());
    let accepting = start(&config).await;
    assert_eq!(faults(&accepting).await, ["", ""]);
    accepting.stop().await;
    config.accept_time_up_to = None;
    let later = start(&config).await;
    assert_eq!(faults(&later).await, ["", ""]);
    later.stop().await;
}

#[test]
fn the_built_in_rule_sets_are_named_by_their_ids() {
    for id in ["ranked", "first-receiver"] {
        let files = host::config::Files {
            rules: Some(id.into()),
            ..Default::default()
        };
        assert_eq!(host::reference::Reference::load(&files).unwrap().rules.id(), id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_says_why_and_leaves_the_folder_free() {
    let folder = tempfile::tempdir().unwrap();
    let mut bad = config(folder.path());
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, "id: mine\nrows: []\n").unwrap();
    bad.files.rules = Some(rules);
    let error = Instance::start(Options::new(bad)).await.unwrap_err();
    assert!(format!("{error:#}").contains("`files.rules`"), "{error:#}");

    let mut taken = config(folder.path());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    taken.audit.listen = Some(listener.local_addr().unwrap());
    let error = Instance::start(Options::new(taken)).await.unwrap_err();
    assert!(format!("{error:#}").contains("`audit.listen`"), "{error:#}");

    Instance::start(Options::new(config(folder.path())))
        .await
        .unwrap()
        .stop()
        .await;
}
