//! Building blocks of the tests: acceptances, case news, faults, a running intake.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use api::{
    event::{CaseState, Detail},
    intake::{
        CaseChange, GetReportRequest, GetReportResponse, Place, ReadPurpose, Report, Subject, SubjectKind,
        SubmitReportRequest, category_service_client::CategoryServiceClient,
        evidence_service_client::EvidenceServiceClient, intake_inbound_service_client::IntakeInboundServiceClient,
        intake_service_client::IntakeServiceClient, place::Location,
    },
    operations::operations_service_client::OperationsServiceClient,
    routing::{
        CheckAccessRequest, CheckAccessResponse, CheckReportsRequest, CheckReportsResponse, PreviewRouteRequest,
        PreviewRouteResponse, RouteReportsRequest, RouteReportsResponse,
        routing_inbound_service_server::{RoutingInboundService, RoutingInboundServiceServer},
    },
};
use async_trait::async_trait;
use futures::future::BoxFuture;
use intake::{
    Dependencies, Intake,
    category::Categories,
    directory::InForce,
    evidence::{self, Folder, Unfinished, Vault},
    receipt::Lookup,
    store::{
        Acceptance, Accepted, Added, Addition, CaseNews, External, Prepared, Sender, Sent, SentReport, SqlStore, Store,
        StoredReport, StoredSupplement, Told, Unconfirmed, UnconfirmedTally, Withdrawal, Withdrawn,
        evidence::{
            Attachment, Begun, Download, EvidenceStore, Kept, Partial, StoredEvidence, Tally, Unattachables, Upload,
            Uploaded,
        },
    },
};
use journal::{Arrival, Change, Clock, Draft, Entropy, Head, Logged, ManualClock, Opened, SeededEntropy, Time};
use places::Territories;
use rpc::{Limits, Roles, Server, Token, Tokens, client::Caller};
use sql::Error;
use tempfile::TempDir;
use tokio::{io::AsyncRead, net::TcpListener};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

/// 2026-11-21 12:00 UTC.
pub const NOW: Time = Time(1_795_262_400_000_000);

pub fn entropy() -> Arc<SeededEntropy> {
    Arc::new(SeededEntropy::new(testkit::seed()))
}

pub fn acceptance(entropy: &dyn Entropy, request_id: Option<u128>, fingerprint: u8) -> Acceptance {
    let report = journal::ordered_id(NOW, entropy);
    let draft = Draft {
        source: "intake",
        record: &intake::store::name(report),
        kind: "report.accepted",
        caused_by: None,
        detail: Detail {
            to_state: "ACCEPTED".to_owned(),
            ..Detail::default()
        },
        traceparent: String::new(),
    };
    let change = draft.into_change(&Head::default(), NOW, entropy);
    let mut receipt_hash = [0; 32];
    entropy.fill(&mut receipt_hash);
    Acceptance {
        report,
        caller: "hotline".to_owned(),
        agency: names::AgencyId::new("content-regulator-CN").ok(),
        request: request_id.map(|id| (Uuid::from_u128(id), [fingerprint; 32])),
        external: None,
        receipt_hash,
        commitment_key: [3; 32],
        content: b"content".to_vec(),
        change,
        facts: api::routing::Facts::default(),
        subjects: Vec::new(),
        subject_keys: Vec::new(),
    }
}

/// An acceptance from a sender, of a category that is urgent or not.
pub fn acceptance_from(entropy: &dyn Entropy, caller: &str, is_urgent: bool) -> Acceptance {
    Acceptance {
        caller: caller.to_owned(),
        facts: api::routing::Facts {
            urgent: is_urgent,
            ..api::routing::Facts::default()
        },
        ..acceptance(entropy, None, 1)
    }
}

/// What routing tells of a decided case.
pub fn outcome() -> api::intake::Outcome {
    api::intake::Outcome {
        kind: api::event::DispositionKind::Penalty.into(),
        effects: vec![api::event::DispositionEffect::Removed.into()],
        text: "The page was closed.".to_owned(),
        decide_time: Some(NOW.to_proto()),
        agency: "agencies/police-450100".to_owned(),
        ..Default::default()
    }
}

/// The next change of a case, as routing would send it.
pub fn case_news(entropy: &dyn Entropy, case: &str, head: &mut Head, reports: &[Uuid], state: CaseState) -> CaseNews {
    let draft = Draft {
        source: "routing",
        record: case,
        kind: "case.opened",
        caused_by: None,
        detail: Detail::default(),
        traceparent: String::new(),
    };
    let change: Change = draft.into_change(head, NOW, entropy);
    *head = change.head;
    CaseNews {
        entry: Opened::of_change(&change.without_detail()).unwrap(),
        change: CaseChange {
            change: Some(change.without_detail()),
            reports: reports.iter().map(|id| intake::store::name(*id)).collect(),
            lead: "agencies/police-450100".to_owned(),
            lead_titles: api::bilingual("南宁", "Nanning"),
            acknowledged: state == CaseState::InProgress,
            advice: None,
            state: state.into(),
            hidden_from: vec!["agencies/police-130400".to_owned()],
            outcome: matches!(state, CaseState::Resolved | CaseState::Closed).then(|| api::intake::Outcome {
                reviewable: state == CaseState::Resolved,
                ..outcome()
            }),
            due_time: (state != CaseState::Closed).then(|| NOW.plus_seconds(86_400).to_proto()),
            reason: api::event::HandOverReason::Place.into(),
            reporter_text: String::new(),
            told_report: String::new(),
            question: None,
            category: String::new(),
        },
        state,
        traceparent: String::new(),
    }
}

pub async fn open(url: &str) -> (sql::Db, SqlStore, Arc<SeededEntropy>) {
    let entropy = entropy();
    let db = Intake::open(url).await.unwrap();
    let store = SqlStore::new(db.clone(), Arc::clone(&entropy) as Arc<dyn Entropy>);
    (db, store, entropy)
}

/// The number that a statement returns.
pub async fn count(db: &sql::Db, statement: &'static str) -> i64 {
    db.fetch(statement, Vec::new()).await.unwrap()[0].only().unwrap()
}

/// A store that fails the next acceptances, readings, uploads or downloads, before or after its
/// work.
pub struct Faulty {
    pub inner: SqlStore,
    pub fail_before: AtomicU32,
    pub fail_after: AtomicU32,
    /// How often reports were accepted, and what makes that wait.
    pub accepts: AtomicU32,
    /// External id of a report with which no commit succeeds.
    pub unwelcome: Mutex<Option<String>>,
    pub gate: tokio::sync::RwLock<()>,
    /// Whether the health check finds the database unwritable.
    pub unwritable: AtomicBool,
}

impl Faulty {
    async fn around<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if Self::spend(&self.fail_before) {
            return Err(Error::Injected("before"));
        }
        let done = work.await?;
        match Self::spend(&self.fail_after) {
            true => Err(Error::Injected("after")),
            false => Ok(done),
        }
    }

    fn spend(budget: &AtomicU32) -> bool {
        budget
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_ok()
    }
}

#[async_trait]
impl Store for Faulty {
    async fn accept(&self, batch: &[Prepared]) -> Result<Vec<Accepted>, Error> {
        let _open = self.gate.read().await;
        self.accepts.fetch_add(1, Ordering::SeqCst);
        let unwelcome = self.unwelcome.lock().unwrap().clone();
        if unwelcome.is_some_and(|id| batch.iter().any(|report| format!("{report:?}").contains(&id))) {
            return Err(Error::Injected("one of a group"));
        }
        self.around(self.inner.accept(batch)).await
    }

    async fn known(&self, external: &External) -> Result<Option<Accepted>, Error> {
        self.inner.known(external).await
    }

    async fn record_readings(&self, readings: &[journal::Rows]) -> Result<(), Error> {
        self.around(self.inner.record_readings(readings)).await
    }

    async fn record_case_changes(&self, news: &[CaseNews], now: Time) -> Result<Vec<Arrival>, Error> {
        self.inner.record_case_changes(news, now).await
    }

    async fn record_progress(&self, arrived: Time, now: Time) -> Result<(), Error> {
        self.inner.record_progress(arrived, now).await
    }

    async fn progress(&self, now: Time) -> Result<Option<Time>, Error> {
        self.inner.progress(now).await
    }

    async fn report(&self, report: Uuid) -> Result<Option<StoredReport>, Error> {
        self.inner.report(report).await
    }

    async fn sent(&self, sent: &Sent, before: Option<Uuid>, limit: u32) -> Result<Vec<SentReport>, Error> {
        self.inner.sent(sent, before, limit).await
    }

    async fn report_by_receipt(&self, receipt: Lookup) -> Result<Option<StoredReport>, Error> {
        self.inner.report_by_receipt(receipt).await
    }

    async fn changes(&self, report: Uuid) -> Result<Vec<Logged>, Error> {
        self.inner.changes(report).await
    }

    async fn steps(&self, report: Uuid) -> Result<Vec<api::intake::ReceiptStep>, Error> {
        self.inner.steps(report).await
    }

    async fn feed(&self, owner: &Sender, after: u64, limit: u32) -> Result<Vec<Told>, Error> {
        self.inner.feed(owner, after, limit).await
    }

    async fn feed_begins(&self, owner: &Sender, since: Time) -> Result<u64, Error> {
        self.inner.feed_begins(owner, since).await
    }

    async fn feed_head(&self, owner: &Sender) -> Result<u64, Error> {
        self.inner.feed_head(owner).await
    }

    async fn confirm(&self, owner: &Sender, position: u64, now: Time) -> Result<(), Error> {
        self.around(self.inner.confirm(owner, position, now)).await
    }

    async fn unconfirmed(&self, after: Option<&str>, limit: u32) -> Result<Vec<Unconfirmed>, Error> {
        self.inner.unconfirmed(after, limit).await
    }

    async fn unconfirmed_tally(&self) -> Result<UnconfirmedTally, Error> {
        self.inner.unconfirmed_tally().await
    }

    async fn forget_feeds(&self, before: Time, limit: u32) -> Result<u64, Error> {
        self.inner.forget_feeds(before, limit).await
    }

    async fn reveal(&self, reveal: &intake::store::Reveal, now: Time) -> Result<intake::store::Revealed, Error> {
        self.inner.reveal(reveal, now).await
    }

    async fn add(&self, addition: &Addition, now: Time) -> Result<Added, Error> {
        self.around(self.inner.add(addition, now)).await
    }

    async fn withdraw(&self, withdrawal: &Withdrawal, now: Time) -> Result<Withdrawn, Error> {
        self.around(self.inner.withdraw(withdrawal, now)).await
    }

    async fn supplements(&self, report: Uuid) -> Result<Vec<StoredSupplement>, Error> {
        self.inner.supplements(report).await
    }

    async fn is_answered(&self, report: Uuid, question: i64) -> Result<bool, Error> {
        self.inner.is_answered(report, question).await
    }

    async fn forget_requests(&self, before: Time) -> Result<u64, Error> {
        self.inner.forget_requests(before).await
    }

    async fn probe(&self, now: Time) -> Result<(), Error> {
        match self.unwritable.load(Ordering::SeqCst) {
            true => Err(Error::Injected("the disk is full")),
            false => self.inner.probe(now).await,
        }
    }
}

#[async_trait]
impl EvidenceStore for Faulty {
    async fn record_upload(&self, upload: &Upload, now: Time) -> Result<Uploaded, Error> {
        self.around(self.inner.record_upload(upload, now)).await
    }

    async fn partial(&self, caller: &str, request_id: Uuid, now: Time) -> Result<Option<Partial>, Error> {
        self.inner.partial(caller, request_id, now).await
    }

    async fn begin_partial(&self, caller: &str, request_id: Uuid, partial: &Partial) -> Result<Begun, Error> {
        self.inner.begin_partial(caller, request_id, partial).await
    }

    async fn keep_partial(&self, caller: &str, request_id: Uuid, partial: &Partial, now: Time) -> Result<Kept, Error> {
        self.around(self.inner.keep_partial(caller, request_id, partial, now))
            .await
    }

    async fn give_up_partial(
        &self,
        caller: &str,
        request_id: Uuid,
        writer: Uuid,
        is_useless: bool,
    ) -> Result<Option<Uuid>, Error> {
        self.inner.give_up_partial(caller, request_id, writer, is_useless).await
    }

    async fn forget_partial(&self, caller: &str, request_id: Uuid) -> Result<Option<Uuid>, Error> {
        self.inner.forget_partial(caller, request_id).await
    }

    async fn forget_partials(&self, before: Time, silent_since: Time) -> Result<Vec<Uuid>, Error> {
        self.inner.forget_partials(before, silent_since).await
    }

    async fn partials(&self) -> Result<BTreeSet<Uuid>, Error> {
        self.inner.partials().await
    }

    async fn evidence(&self, id: Uuid) -> Result<Option<StoredEvidence>, Error> {
        self.inner.evidence(id).await
    }

    async fn unattachable(&self, files: &[Uuid], sender: &Sender, now: Time) -> Result<Unattachables, Error> {
        self.inner.unattachable(files, sender, now).await
    }

    async fn accept_with(
        &self,
        report: &Prepared,
        attachment: &Attachment,
        now: Time,
    ) -> Result<Result<Accepted, Unattachables>, Error> {
        self.around(self.inner.accept_with(report, attachment, now)).await
    }

    async fn record_download(&self, download: &Download, now: Time) -> Result<Option<(StoredEvidence, Change)>, Error> {
        self.around(self.inner.record_download(download, now)).await
    }

    async fn expire(&self, before: Time, now: Time) -> Result<usize, Error> {
        self.inner.expire(before, now).await
    }

    async fn refuse(
        &self,
        files: &[(Uuid, api::event::Actor)],
        sender: &Sender,
        now: Time,
    ) -> Result<Vec<Uuid>, Error> {
        self.around(self.inner.refuse(files, sender, now)).await
    }

    async fn unattached_bytes(&self, system: &str) -> Result<u64, Error> {
        self.inner.unattached_bytes(system).await
    }

    async fn unremoved(&self) -> Result<Vec<Uuid>, Error> {
        self.inner.unremoved().await
    }

    async fn removed(&self, files: &[Uuid]) -> Result<(), Error> {
        self.inner.removed(files).await
    }

    async fn files_after(&self, after: Uuid, limit: u32) -> Result<Vec<StoredEvidence>, Error> {
        self.inner.files_after(after, limit).await
    }

    async fn kept(&self, files: &[Uuid]) -> Result<BTreeSet<Uuid>, Error> {
        self.inner.kept(files).await
    }

    async fn tally(&self, now: Time) -> Result<Tally, Error> {
        self.inner.tally(now).await
    }
}

/// The directory in force, chosen by a test.
#[derive(Default)]
pub struct Applied {
    pub names: Mutex<BTreeSet<String>>,
    pub down: AtomicBool,
    pub asked: AtomicU32,
}

#[async_trait]
impl InForce for Applied {
    async fn has(&self, name: &str) -> Option<bool> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let up = !self.down.load(Ordering::SeqCst);
        up.then(|| self.names.lock().unwrap().contains(name))
    }
}

/// Routing, played by a test: it answers access checks and takes no reports.
#[derive(Clone, Default)]
pub struct Routing(Arc<RoutingState>);

#[derive(Default)]
struct RoutingState {
    sees: Mutex<BTreeSet<String>>,
    hidden: Mutex<BTreeSet<String>>,
    down: AtomicBool,
    meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Routing {
    /// Names the agencies that see content, and those from which what follows is hidden.
    pub fn decide(&self, sees: &[&str], hidden: &[&str]) {
        let names = |ids: &[&str]| ids.iter().map(|id| format!("agencies/{id}")).collect();
        *self.0.sees.lock().unwrap() = names(sees);
        *self.0.hidden.lock().unwrap() = names(hidden);
    }

    /// Has something happen while it is next asked for access.
    pub fn meanwhile(&self, happens: impl Future<Output = ()> + Send + 'static) {
        *self.0.meanwhile.lock().unwrap() = Some(Box::pin(happens));
    }

    /// Whether it answers.
    pub fn is_down(&self, down: bool) {
        self.0.down.store(down, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl RoutingInboundService for Routing {
    async fn route_reports(
        &self,
        _: tonic::Request<RouteReportsRequest>,
    ) -> Result<tonic::Response<RouteReportsResponse>, Status> {
        Err(Status::unavailable("it takes no reports"))
    }

    async fn check_access(
        &self,
        request: tonic::Request<CheckAccessRequest>,
    ) -> Result<tonic::Response<CheckAccessResponse>, Status> {
        if self.0.down.load(Ordering::SeqCst) {
            return Err(Status::unavailable("it is down"));
        }
        let meanwhile = self.0.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        let agency = request.into_inner().agency;
        Ok(tonic::Response::new(CheckAccessResponse {
            allowed: self.0.sees.lock().unwrap().contains(&agency),
            hidden: self.0.hidden.lock().unwrap().contains(&agency),
        }))
    }

    async fn check_reports(
        &self,
        request: tonic::Request<CheckReportsRequest>,
    ) -> Result<tonic::Response<CheckReportsResponse>, Status> {
        if self.0.down.load(Ordering::SeqCst) {
            return Err(Status::unavailable("it is down"));
        }
        let request = request.into_inner();
        let hidden = self.0.hidden.lock().unwrap().contains(&request.agency);
        Ok(tonic::Response::new(CheckReportsResponse {
            hidden_reports: if hidden { request.reports } else { Vec::new() },
        }))
    }

    async fn preview_route(
        &self,
        _: tonic::Request<PreviewRouteRequest>,
    ) -> Result<tonic::Response<PreviewRouteResponse>, Status> {
        Err(Status::unavailable("it decides no routes"))
    }
}

/// A folder on a disk whose free space a test can set.
struct Disk {
    folder: Folder,
    free: Arc<Mutex<Option<u64>>>,
}

#[async_trait]
impl Vault for Disk {
    async fn free(&self) -> io::Result<u64> {
        let decided = *self.free.lock().unwrap();
        match decided {
            Some(free) => Ok(free),
            None => self.folder.free().await,
        }
    }
    async fn begin(&self, id: Uuid) -> io::Result<Box<dyn Unfinished>> {
        self.folder.begin(id).await
    }
    async fn open(&self, id: Uuid) -> io::Result<Option<Box<dyn AsyncRead + Send + Unpin>>> {
        self.folder.open(id).await
    }
    async fn remove(&self, id: Uuid) -> io::Result<()> {
        self.folder.remove(id).await
    }
    async fn mark(&self) -> io::Result<Option<String>> {
        self.folder.mark().await
    }
    async fn set_mark(&self, id: &str) -> io::Result<()> {
        self.folder.set_mark(id).await
    }
    async fn open_kept(&self, id: Uuid) -> io::Result<Option<Box<dyn AsyncRead + Send + Unpin>>> {
        self.folder.open_kept(id).await
    }
    async fn discard(&self, id: Uuid) -> io::Result<()> {
        self.folder.discard(id).await
    }
    async fn remove_unfinished(&self, since: Time, kept: &BTreeSet<Uuid>) -> io::Result<usize> {
        self.folder.remove_unfinished(since, kept).await
    }
    async fn days(&self) -> io::Result<Vec<String>> {
        self.folder.days().await
    }
    async fn files(&self, day: &str, before: Time) -> io::Result<Vec<Uuid>> {
        self.folder.files(day, before).await
    }
}

/// What outlives an intake besides its database: the place of its files, and the time.
pub struct Site {
    pub folder: TempDir,
    pub clock: Arc<ManualClock>,
    pub evidence: evidence::Limits,
    /// The free space, if a test sets it.
    pub free: Arc<Mutex<Option<u64>>>,
}

impl Site {
    pub fn new(evidence: evidence::Limits) -> Arc<Self> {
        Arc::new(Self {
            folder: TempDir::with_prefix("remit-evidence-").unwrap(),
            clock: Arc::new(ManualClock::at(NOW)),
            evidence,
            free: Arc::default(),
        })
    }

    /// The files that are stored or being written.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for folder in std::fs::read_dir(self.folder.path()).unwrap() {
            if !folder.as_ref().unwrap().path().is_dir() {
                continue;
            }
            let entries = std::fs::read_dir(folder.unwrap().path()).unwrap();
            files.extend(entries.map(|entry| entry.unwrap().path()));
        }
        files
    }
}

/// An intake on a free port; audit does not answer.
pub struct Served {
    pub address: String,
    pub db: sql::Db,
    pub site: Arc<Site>,
    pub faults: Arc<Faulty>,
    /// Agencies applied after intake's start; none at first.
    pub applied: Arc<Applied>,
    pub routing: Routing,
    _shutdown: tokio_util::sync::DropGuard,
}

const TOKENS: [(&str, Option<&str>, Roles); 11] = [
    ("intake", None, Roles::SERVICE),
    ("operator", None, Roles::OPERATOR),
    ("hotline-archive", Some("content-regulator-CN"), Roles::AGENCY),
    ("hotline", Some("content-regulator-CN"), Roles::AGENCY),
    ("handan", Some("police-130400"), Roles::AGENCY),
    // Not in intake's initial directory.
    ("nanning", Some("police-450100"), Roles::AGENCY),
    ("routing", None, Roles::SERVICE),
    ("audit", None, Roles::SERVICE),
    // Roles that see no report.
    ("inspector", None, Roles::AUDITOR),
    ("relay", None, Roles::SERVICE),
    ("platform", None, Roles::PARTNER),
];

pub fn token(system: &str) -> String {
    format!("{system}-token-of-the-tests")
}

/// A caller for each role, with that role alone.
fn single() -> impl Iterator<Item = (String, Option<&'static str>, Roles)> {
    rpc::Role::ALL.into_iter().map(|role| {
        let agency = Roles::CASEWORK.has(role).then_some("police-450100");
        (format!("only-{role}"), agency, Roles::of(&[role]))
    })
}

/// All callers and their tokens.
pub fn callers() -> impl Iterator<Item = (rpc::Identity, String)> {
    let known = TOKENS
        .into_iter()
        .map(|(system, agency, roles)| (system.to_owned(), agency, roles));
    known.chain(single()).map(|(system, agency, roles)| {
        let identity = rpc::Identity {
            system: system.clone(),
            agency: agency.map(|id| names::AgencyId::new(id).unwrap()),
            roles,
            officer: None,
            officer_key: rpc::OfficerKey::default(),
            proof: rpc::Proof::Token,
        };
        (identity, token(&system))
    })
}

pub async fn serve(url: &str, limits: Limits) -> Served {
    serve_at(url, limits, &Site::new(evidence::Limits::default())).await
}

pub async fn serve_at(url: &str, limits: Limits, site: &Arc<Site>) -> Served {
    let (db, inner, entropy) = open(url).await;
    let faults = Arc::new(Faulty {
        inner,
        fail_before: AtomicU32::new(0),
        fail_after: AtomicU32::new(0),
        accepts: AtomicU32::new(0),
        unwelcome: Mutex::default(),
        gate: tokio::sync::RwLock::default(),
        unwritable: AtomicBool::new(false),
    });
    let applied = Arc::new(Applied::default());
    let shutdown = CancellationToken::new();
    // Port 9 is the discard service: nothing answers there.
    let nowhere = rpc::client::connect("http://127.0.0.1:9", &token("intake"), Some(Duration::from_secs(1))).unwrap();
    let routing = Routing::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routing_address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(RoutingInboundServiceServer::new(routing.clone()))
            .serve_with_incoming_shutdown(
                tokio_stream::wrappers::TcpListenerStream::new(listener),
                shutdown.clone().cancelled_owned(),
            ),
    );
    let parts = Dependencies {
        db: db.clone(),
        categories: Arc::new(Categories::shipped().unwrap()),
        territories: Territories::shipped(),
        agencies: Arc::new(["police-130400", "content-regulator-CN"].map(str::to_owned).into()),
        in_force: Arc::clone(&applied) as Arc<dyn InForce>,
        vault: Arc::new(Disk {
            folder: Folder::open(site.folder.path()).await.unwrap(),
            free: Arc::clone(&site.free),
        }),
        evidence: site.evidence,
        receipt_key: [9; 32],
        routing: rpc::client::connect(&routing_address, &token("intake"), Some(Duration::from_secs(9))).unwrap(),
        audit: nowhere,
        replica: "test".to_owned(),
        clock: Arc::clone(&site.clock) as Arc<dyn Clock>,
        accept_time_up_to: None,
        entropy,
    };
    let intake = Intake::start_with(Arc::clone(&faults), parts, &shutdown);
    let tokens: Vec<_> = callers()
        .map(|(caller, token)| Token {
            token,
            system: caller.system,
            agency: caller.agency.map(|agency| agency.to_string()),
            roles: caller.roles,
        })
        .collect();
    let server = Server {
        service: "intake",
        limits,
        authenticate: Arc::new(Tokens::new(&tokens).unwrap()),
        tls: None,
        reflection: false,
        access: intake::ACCESS,
        health: intake.health(),
        serving: rpc::admin::Serving::of("intake"),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (routes, _background) = intake.into_routes(limits.message_bytes);
    tokio::spawn(server.serve(listener, routes, shutdown.clone()));
    Served {
        address,
        db,
        site: Arc::clone(site),
        faults,
        applied,
        routing,
        _shutdown: shutdown.drop_guard(),
    }
}

impl Served {
    pub fn inbound(&self, system: &str) -> IntakeInboundServiceClient<Caller> {
        IntakeInboundServiceClient::new(rpc::client::connect(&self.address, &token(system), None).unwrap())
    }

    pub fn client(&self, system: &str) -> IntakeServiceClient<Caller> {
        let channel = rpc::client::connect(&self.address, &token(system), None).unwrap();
        IntakeServiceClient::new(channel).max_encoding_message_size(64 << 20)
    }

    pub async fn get(&self, system: &str, name: &str, purpose: ReadPurpose) -> Result<GetReportResponse, Status> {
        let request = GetReportRequest {
            name: name.to_owned(),
            purpose: purpose.into(),
        };
        Ok(self.client(system).get_report(request).await?.into_inner())
    }

    pub fn operations(&self) -> OperationsServiceClient<Caller> {
        OperationsServiceClient::new(rpc::client::connect(&self.address, &token("operator"), None).unwrap())
    }

    pub fn categories(&self, system: &str) -> CategoryServiceClient<Caller> {
        CategoryServiceClient::new(rpc::client::connect(&self.address, &token(system), None).unwrap())
    }

    pub fn evidence(&self, system: &str) -> EvidenceServiceClient<Caller> {
        EvidenceServiceClient::new(rpc::client::connect(&self.address, &token(system), None).unwrap())
    }

    /// Everything that a request could leave behind in the database.
    pub async fn rows(&self) -> i64 {
        count(
            &self.db,
            "SELECT (SELECT count(*) FROM reports) + (SELECT count(*) FROM evidence) + \
             (SELECT count(*) FROM evidence_downloads) + (SELECT count(*) FROM journal) + (SELECT count(*) FROM outbox)",
        )
        .await
    }
}

/// A valid report.
pub fn good() -> SubmitReportRequest {
    SubmitReportRequest {
        report: Some(Report {
            category: "categories/gambling".to_owned(),
            subjects: vec![Subject {
                kind: SubjectKind::Url.into(),
                value: "https://bet.example/".to_owned(),
                ..Subject::default()
            }],
            places: vec![Place {
                factor: 1,
                location: Some(Location::Territory("territories/450100".to_owned())),
            }],
            narrative: "一个赌博网站".to_owned(),
            details: BTreeMap::new(),
            language_code: "zh-CN".to_owned(),
            ..Report::default()
        }),
        request_id: String::new(),
        validate_only: false,
    }
}

/// Acceptances in the form that the store takes.
pub fn prepared(acceptances: &[Acceptance]) -> Vec<Prepared> {
    acceptances.iter().cloned().map(Prepared::from).collect()
}
