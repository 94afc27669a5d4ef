//! A real `remit` process and its clients.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use api::{
    audit::{GetCheckpointRequest, ListChangesRequest, audit_service_client::AuditServiceClient},
    event::Detail,
    intake::{
        Report, Subject, SubjectKind, SubmitReportRequest, intake_service_client::IntakeServiceClient, place::Location,
    },
    routing::case_service_client::CaseServiceClient,
};
use host::data_dir::{Endpoints, Layout};
use journal::{Opened, Openings};
use prost::Message as _;
use rpc::client::Caller;
use testkit::Backend;
use uuid::Uuid;

/// Path of the program under test, which the workspace's tests build.
pub fn binary() -> PathBuf {
    // Tests are in `deps` below the folder of the binaries, benchmarks beside them.
    let this = std::env::current_exe().unwrap();
    let found = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("remit"))
        .find(|binary| binary.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "`remit` is not built beside {}: run `cargo build -p remit`",
            this.display()
        )
    })
}

/// A call of the program, without the variables that tell these tests what to do: it refuses those
/// that it does not know.
pub fn program() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REMIT_") {
            command.env_remove(name);
        }
    }
    command
}

/// Writes a file that only this user can read, as secrets have to be.
pub fn write_secret(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file?.write_all(content)
}

/// A change in the log, opened.
#[derive(Clone, Debug)]
pub struct Change {
    opened: Opened,
    /// The event that caused it.
    pub caused_by: Option<Uuid>,
    /// The canonical entry.
    pub entry: Vec<u8>,
}

impl Deref for Change {
    type Target = Opened;

    fn deref(&self) -> &Opened {
        &self.opened
    }
}

fn changes_seen(verifier: &audit::verify::LogVerifier) -> usize {
    usize::try_from(verifier.size()).unwrap()
}

/// The databases of the three services.
pub enum Databases {
    /// Files in the data directory.
    Sqlite,
    /// Databases on a private server.
    Postgres(Box<[Backend; 3]>),
}

impl Databases {
    pub fn postgres() -> Option<Self> {
        Some(Self::Postgres(Box::new([
            Backend::postgres()?,
            Backend::postgres()?,
            Backend::postgres()?,
        ])))
    }

    /// Passes the URLs in files, because they contain passwords.
    fn set(&self, command: &mut Command, folder: &Path) {
        if let Self::Postgres(databases) = self {
            for (name, database) in ["INTAKE", "ROUTING", "AUDIT"].into_iter().zip(databases.iter()) {
                let file = folder.join(format!("{name}.url"));
                write_secret(&file, database.url().as_bytes()).unwrap();
                command.env(format!("REMIT_{name}_DATABASE_FILE"), file);
            }
        }
    }
}

/// A running `remit serve all`. Killed when dropped.
pub struct Process {
    child: Child,
    pub endpoints: Endpoints,
    pub layout: Layout,
}

impl Process {
    /// Starts the process on free ports and waits until it reports its addresses.
    pub fn start(folder: &Path, databases: &Databases, environment: &[(&str, &str)]) -> Self {
        let layout = Layout::new(folder.join("data"));
        let _ = std::fs::remove_file(layout.folder().join("endpoints.json"));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("stderr"))
            .unwrap();
        let mut command = program();
        command.args(["serve", "all", "--data-dir"]).arg(layout.folder());
        for service in ["INTAKE", "ROUTING", "AUDIT"] {
            command.env(format!("REMIT_{service}_LISTEN"), "127.0.0.1:0");
        }
        databases.set(&mut command, folder);
        // The same replica name after each start, so that it owns the leases of the last run.
        command.env("REMIT_REPLICA", "test").envs(environment.iter().copied());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let nowhere = Endpoints {
            intake: String::new(),
            routing: String::new(),
            audit: String::new(),
            utc_offset_seconds: None,
            ca_file: None,
            server_name: None,
        };
        let mut process = Self {
            child,
            endpoints: nowhere,
            layout,
        };
        process.endpoints = process.wait_for_endpoints(folder);
        process
    }

    fn wait_for_endpoints(&mut self, folder: &Path) -> Endpoints {
        let started = Instant::now();
        loop {
            if let Ok(Some(endpoints)) = self.layout.read_endpoints() {
                return endpoints;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < Duration::from_secs(30),
                "no start: {ended:?}\n{}",
                std::fs::read_to_string(folder.join("stderr")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A client channel to a server, as `operator` or an agency.
    pub fn channel(&self, address: &str, who: &str) -> Caller {
        let tokens = self.layout.read_tokens().unwrap().unwrap();
        let token = tokens
            .iter()
            .find(|token| token.agency.as_deref() == Some(who) || token.system == who);
        rpc::client::connect(
            address,
            &token.unwrap_or_else(|| panic!("{who} has no token")).token,
            None,
        )
        .unwrap()
    }

    pub fn intake(&self, who: &str) -> IntakeServiceClient<Caller> {
        IntakeServiceClient::new(self.channel(&self.endpoints.intake, who))
    }

    pub fn routing(&self, who: &str) -> CaseServiceClient<Caller> {
        CaseServiceClient::new(self.channel(&self.endpoints.routing, who))
    }

    pub fn audit(&self) -> AuditServiceClient<Caller> {
        AuditServiceClient::new(self.channel(&self.endpoints.audit, "operator"))
    }

    /// All changes of the published log, verified: signature, root, every producer's marks and
    /// every record's chain. That they are read is logged behind them.
    pub async fn verified_log(&self) -> Vec<Change> {
        let entries = self.verified_entries().await;
        let mut auditor = AuditServiceClient::new(self.channel(&self.endpoints.audit, "auditor"));
        let mut verifier = audit::verify::LogVerifier::new();
        let mut changes = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListChangesRequest {
                page_size: 1_000,
                page_token,
                with_detail: true,
                purpose: "end-to-end test".to_owned(),
                ..ListChangesRequest::default()
            };
            let page = auditor.list_changes(request).await.unwrap().into_inner();
            for (found, expected) in page.changes.into_iter().zip(&entries[changes_seen(&verifier)..]) {
                assert_eq!(found.entry, *expected, "entry {}", found.index);
                let openings = found.chain.as_ref().zip(found.detail.as_ref());
                let opened = openings.map(|(chain, detail)| Openings {
                    chain: chain.into(),
                    detail: detail.into(),
                });
                verifier
                    .push_opened(found.index.cast_unsigned(), &found.entry, opened)
                    .unwrap();
                if let Some((chain, detail)) = openings {
                    changes.push(Change {
                        opened: Opened::new(&found.entry, chain.into()).unwrap(),
                        caused_by: Detail::decode(&*detail.content).unwrap().caused_by.parse().ok(),
                        entry: found.entry.to_vec(),
                    });
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() || verifier.size() == entries.len() as u64 {
                return changes;
            }
        }
    }

    /// All entries of the published log, verified: signature, root and every producer's marks.
    pub async fn verified_entries(&self) -> Vec<Vec<u8>> {
        let mut audit = self.audit();
        let vkey = std::fs::read_to_string(self.layout.log_vkey()).unwrap();
        loop {
            let mut verifier = audit::verify::LogVerifier::new();
            let mut entries = Vec::new();
            let mut page_token = String::new();
            loop {
                let request = ListChangesRequest {
                    page_size: 1_000,
                    page_token,
                    ..ListChangesRequest::default()
                };
                let page = audit.list_changes(request).await.unwrap().into_inner();
                for change in page.changes {
                    verifier.push(change.index.cast_unsigned(), &change.entry).unwrap();
                    entries.push(change.entry.to_vec());
                }
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            let checkpoint = audit
                .get_checkpoint(GetCheckpointRequest {})
                .await
                .unwrap()
                .into_inner()
                .checkpoint;
            // The log may have grown since the last page: read again.
            if audit::open_checkpoint(&checkpoint, vkey.trim()).is_ok_and(|head| head.size == verifier.size()) {
                verifier.finish(&checkpoint, vkey.trim()).unwrap();
                return entries;
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until the answer is there. The awaited event happens in another process.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{what} did not happen within a minute"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A gambling site operated from Nanning, with its server in Foshan.
pub fn gambling(request_id: &str) -> SubmitReportRequest {
    let place = |factor, territory: &str| api::intake::Place {
        factor,
        location: Some(Location::Territory(format!("territories/{territory}"))),
    };
    SubmitReportRequest {
        report: Some(Report {
            category: "categories/gambling".to_owned(),
            subjects: vec![Subject {
                kind: SubjectKind::Url.into(),
                value: "https://bet.example/".to_owned(),
                platform: String::new(),
                ..Default::default()
            }],
            places: vec![place(1, "450100"), place(2, "440600")],
            narrative: "CANARY-NARRATIVE 有人在这里组织赌博".to_owned(),
            ..Report::default()
        }),
        request_id: request_id.to_owned(),
        validate_only: false,
    }
}
