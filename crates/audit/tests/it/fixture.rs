//! A producer of changes, and a running log.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc};

use api::{
    audit::{
        AppendChangesRequest, AppendResult, audit_inbound_service_client::AuditInboundServiceClient,
        audit_service_client::AuditServiceClient,
    },
    event::{Detail, Opening, StateChange},
    operations::operations_service_client::OperationsServiceClient,
};
use audit::{Audit, Checked, Config};
use ed25519_dalek::SigningKey;
use journal::{
    Bytes32, Chain, Content, Draft, Entry, EventSet, Head, ManualClock, Opened, Openings, SeededEntropy, Time,
    chain_commitment,
};
use rpc::client::Caller;
use signed_note::{Note, StandardSigner, new_ed25519_verifier_key};
use tempfile::TempDir;
use tlog_tiles::{Checkpoint, Hash};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Request;

pub const ORIGIN: &str = "remit.test/log";
pub const NOW: Time = Time(1_795_305_600_000_000);
/// Occurs in every detail.
pub const CANARY: &str = "canary-of-the-detail";

/// Makes changes as a service does.
pub struct Producer {
    source: &'static str,
    heads: HashMap<String, Head>,
    entropy: SeededEntropy,
}

impl Producer {
    pub fn new(source: &'static str, seed: u64) -> Self {
        Self {
            source,
            heads: HashMap::new(),
            entropy: SeededEntropy::new(seed),
        }
    }

    pub fn intake() -> Self {
        Self::new("intake", 1)
    }

    /// The next change of a record.
    pub fn next(&mut self, record: &str) -> StateChange {
        let detail = Detail {
            purpose: CANARY.to_owned(),
            ..Default::default()
        };
        self.change(record, "report.changed", NOW, detail)
    }

    /// The next change of a record, with all its parts given.
    pub fn change(&mut self, record: &str, kind: &'static str, now: Time, detail: Detail) -> StateChange {
        let head = self.heads.entry(record.to_owned()).or_default();
        let (source, traceparent) = (self.source, String::new());
        let draft = Draft {
            source,
            record,
            kind,
            caused_by: None,
            detail,
            traceparent,
        };
        let sealed = draft.into_change(head, now, &self.entropy);
        *head = sealed.head;
        sealed.with_detail()
    }

    /// The next `n` changes, of `n / 3` records in turn.
    pub fn many(&mut self, n: usize) -> Vec<StateChange> {
        self.many_from("", n)
    }

    /// The next `n` changes, of records whose names have this prefix.
    pub fn many_from(&mut self, prefix: &str, n: usize) -> Vec<StateChange> {
        let records = n.div_ceil(3);
        (0..n)
            .map(|i| self.next(&format!("reports/{prefix}{}", i % records)))
            .collect()
    }

    /// Forgets later changes of a record, like a producer whose database was restored.
    pub fn rewind(&mut self, to: &StateChange) {
        let entry = decoded(to);
        let hash = journal::entry_hash(&to.entry);
        self.heads.insert(
            entry.record,
            Head {
                sequence: entry.sequence,
                hash,
                time: entry.time,
            },
        );
    }
}

pub fn decoded(change: &StateChange) -> Opened {
    Opened::of_change(change).unwrap()
}

/// The same event with another chain, correctly committed to.
pub fn altered(change: &StateChange, alter: impl FnOnce(&mut Chain)) -> StateChange {
    let opening = change.chain.clone().unwrap();
    let mut chain = Chain::decode(&opening.content).unwrap();
    alter(&mut chain);
    let (salt, content) = ((*opening.salt).try_into().unwrap(), chain.encode());
    let mut entry = Entry::decode(&change.entry).unwrap();
    let Content::Change { chain, .. } = &mut entry.content else {
        panic!("a mark")
    };
    *chain = chain_commitment(&salt, &content);
    StateChange {
        entry: entry.encode().into(),
        chain: Some(Opening {
            content: content.into(),
            ..opening
        }),
        ..change.clone()
    }
}

/// The openings of an entry; none for a mark.
pub fn openings(change: &StateChange) -> Option<Openings<'_>> {
    let (chain, detail) = change.chain.as_ref().zip(change.detail.as_ref())?;
    Some(Openings {
        chain: chain.into(),
        detail: detail.into(),
    })
}

/// The mark of the source of these changes, as the log has it after them.
pub fn mark_of(source: &str, changes: &[StateChange]) -> StateChange {
    let mut set = EventSet::default();
    for change in changes.iter().filter(|change| change.chain.is_some()) {
        if decoded(change).source == source {
            set.add(&journal::entry_hash(&change.entry));
        }
    }
    let entry = Entry {
        id: journal::entry_id(NOW, &SeededEntropy::new(set.count)),
        time: NOW,
        source: source.to_owned(),
        content: Content::Mark(set),
    };
    StateChange {
        entry: entry.encode().into(),
        ..StateChange::default()
    }
}

pub fn checked(change: &StateChange) -> Checked {
    audit::check(&decoded(change).source, change.clone()).unwrap()
}

/// A call with these changes.
pub fn call(changes: &[StateChange]) -> Vec<Checked> {
    changes.iter().map(checked).collect()
}

/// Tampers with the database.
pub async fn execute(database: &str, statement: &'static str) {
    let mut tx = sql::Db::open(database, audit::SCHEMAS)
        .await
        .unwrap()
        .begin()
        .await
        .unwrap();
    tx.execute(statement, Vec::new()).await.unwrap();
    tx.commit().await.unwrap();
}

/// The files of a log, beside its database.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn checkpoint(&self) -> PathBuf {
        self.0.path().join("checkpoint")
    }

    pub fn key(&self) -> PathBuf {
        self.0.path().join("log.key")
    }

    pub fn config(&self, database: &str) -> Config {
        Config {
            database: database.to_owned(),
            origin: "remit.test/log".to_owned(),
            key_file: self.key(),
            checkpoint_file: self.checkpoint(),
            checkpoint_interval_ms: 1,
            checkpoint_refresh_ms: 60_000,
            witness_policy_file: None,
            witness_timeout_ms: 2_000,
            ca_file: None,
        }
    }
}

pub async fn start(config: Config) -> Result<Audit, audit::Error> {
    Audit::start(config, Arc::new(ManualClock::at(NOW)), Arc::new(SeededEntropy::new(7))).await
}

/// The reason for a refused start, with its causes.
pub async fn refused(config: Config) -> String {
    match start(config).await {
        Ok(_) => panic!("it started"),
        Err(audit::Error::Refused(refused)) => refused.to_string(),
        Err(error) => panic!("not refused, but failed: {error:?}"),
    }
}

/// Nanning sees one case and one report, and nothing else.
struct NanningSeesA;

#[async_trait::async_trait]
impl audit::Sight for NanningSeesA {
    async fn sees(&self, agency: &str, record: &str) -> Result<bool, rpc::Failure> {
        Ok(agency == "agencies/police-450100" && ["cases/a", "reports/a"].contains(&record))
    }
}

/// A log, served on its own port.
pub struct Served {
    pub audit: Audit,
    pub address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

const TOKENS: [(&str, &str, rpc::Roles); 9] = [
    ("intake", "intake-0123456789abcdef", rpc::Roles::SERVICE),
    ("routing", "routing-0123456789abcdef", rpc::Roles::SERVICE),
    ("audit", "audit-0123456789abcdef", rpc::Roles::SERVICE),
    ("relay", "relay-0123456789abcdef", rpc::Roles::SERVICE),
    ("platform", "platform-0123456789abcdef", rpc::Roles::PARTNER),
    ("inspector", "inspector-0123456789abcdef", rpc::Roles::OPERATOR),
    ("auditor", "auditor-0123456789abcdef", rpc::Roles::AUDITOR),
    ("police-450100", "nanning-0123456789abcdef", rpc::Roles::AGENCY),
    ("police-440000", "guangdong-0123456789abcdef", rpc::Roles::AGENCY),
];

/// A caller for each role, with that role alone.
fn single() -> impl Iterator<Item = (String, Option<&'static str>, rpc::Roles)> {
    rpc::Role::ALL.into_iter().map(|role| {
        let agency = rpc::Roles::CASEWORK.has(role).then_some("police-450100");
        (format!("only-{role}"), agency, rpc::Roles::of(&[role]))
    })
}

/// All callers and their tokens.
pub fn callers() -> impl Iterator<Item = (rpc::Identity, String)> {
    let known = TOKENS.into_iter().map(|(system, token, roles)| {
        let agency = (roles == rpc::Roles::AGENCY).then_some(system);
        (system.to_owned(), token.to_owned(), agency, roles)
    });
    let single =
        single().map(|(system, agency, roles)| (system.clone(), format!("{system}-0123456789abcdef"), agency, roles));
    known.chain(single).map(|(system, token, agency, roles)| {
        let identity = rpc::Identity {
            system,
            agency: agency.map(|id| names::AgencyId::new(id).unwrap()),
            roles,
            officer: None,
            officer_key: rpc::OfficerKey::default(),
            proof: rpc::Proof::Token,
        };
        (identity, token)
    })
}

impl Served {
    pub async fn start(config: Config) -> Self {
        Self::serve(start(config).await.unwrap()).await
    }

    pub async fn serve(audit: Audit) -> Self {
        let tokens = callers().map(|(caller, token)| rpc::Token {
            token,
            system: caller.system,
            agency: caller.agency.map(|agency| agency.to_string()),
            roles: caller.roles,
        });
        let tokens: Vec<_> = tokens.collect();
        let limits = rpc::Limits::default();
        let server = rpc::Server {
            service: "audit",
            limits,
            authenticate: Arc::new(rpc::Tokens::new(&tokens).unwrap()),
            tls: None,
            reflection: false,
            access: audit::ACCESS,
            health: audit.health(),
            serving: rpc::admin::Serving::of("audit"),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let (routes, files) = (
            audit.routes(limits.message_bytes, Some(Arc::new(NanningSeesA))),
            Some(audit.files()),
        );
        let serving = server.serve_with_files(listener, routes, files, shutdown.clone());
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self {
            audit,
            address,
            shutdown,
            serving,
        }
    }

    fn caller(&self, system: &str) -> Caller {
        let (_, token, _) = TOKENS.iter().find(|(name, ..)| *name == system).unwrap();
        rpc::client::connect(&format!("http://{}", self.address), token, None).unwrap()
    }

    /// A client with this system's token.
    pub fn client(&self, system: &str) -> AuditServiceClient<Caller> {
        AuditServiceClient::new(self.caller(system))
    }

    /// A client, with this system's token, for calls between Remit's services.
    pub fn inbound(&self, system: &str) -> AuditInboundServiceClient<Caller> {
        AuditInboundServiceClient::new(self.caller(system))
    }

    /// A client of the operations service with this system's token.
    pub fn operations(&self, system: &str) -> OperationsServiceClient<Caller> {
        OperationsServiceClient::new(self.caller(system))
    }

    /// Appends as the source of the changes.
    pub async fn append(&self, changes: &[StateChange]) -> Vec<AppendResult> {
        let mut client = self.inbound(&decoded(&changes[0]).source);
        let request = Request::new(AppendChangesRequest {
            changes: changes.to_vec(),
        });
        client.append_changes(request).await.unwrap().into_inner().results
    }

    /// Waits until a checkpoint of this size is published, and returns its note.
    pub async fn published(&self, size: u64) -> String {
        let mut published = self.audit.published();
        published
            .wait_for(|published| published.head.size >= size)
            .await
            .unwrap()
            .note
            .clone()
    }

    /// Waits until a checkpoint of this size is published or the log is unhealthy; returns whether
    /// it is healthy.
    pub async fn settled(&self, size: u64) -> bool {
        let (health, published) = (self.audit.health(), self.audit.published());
        let settled = async {
            while health().await {
                if published.borrow().head.size >= size {
                    return true;
                }
                tokio::task::yield_now().await;
            }
            false
        };
        let minute = std::time::Duration::from_secs(60);
        tokio::time::timeout(minute, settled).await.unwrap()
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap();
        self.audit.stop().await;
    }
}

/// A key that signs anything.
pub struct TestKey {
    signer: StandardSigner,
    pub vkey: String,
}

impl TestKey {
    pub fn new(name: &str, seed: u8) -> Self {
        let seed = [seed; 32];
        let vkey = new_ed25519_verifier_key(name, &SigningKey::from_bytes(&seed).verifying_key());
        let id = vkey.split('+').nth(1).unwrap();
        let secret = data_encoding::BASE64.encode(&[&[1], &seed[..]].concat());
        let signer = StandardSigner::new(&format!("PRIVATE+KEY+{name}+{id}+{secret}")).unwrap();
        Self { signer, vkey }
    }

    /// A checkpoint of a log with this origin.
    pub fn sign(&self, origin: &str, size: u64, root: Bytes32) -> String {
        let text = Checkpoint::new(origin, size, Hash(root), "").unwrap().to_bytes();
        let mut note = Note::new(&text, &[]).unwrap();
        note.add_sigs(&[&self.signer]).unwrap();
        String::from_utf8(note.to_bytes()).unwrap()
    }
}
