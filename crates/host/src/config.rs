//! The configuration: one typed struct, the same file for all services.
//!
//! Sources in order: defaults, a YAML file, the environment, flags. The environment variable for
//! the key `intake.listen` is `REMIT_INTAKE_LISTEN`. Secrets come only from files that the
//! configuration names, so that it can be printed.

mod keys;
mod values;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use keys::{Fault, faults, from_environment, put, scalar, sets};
pub use keys::{check_environment, environment, keys, nearest, variable};
pub use values::{Address, DatabaseUrl, Moment};

use crate::{Unusable, certificates, input, reference::shipped_rules, secrets::private};

/// One of the three services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Accepts reports.
    Intake,
    /// Assigns each report to an agency.
    Routing,
    /// Records every change.
    Audit,
}

impl Service {
    /// All services.
    pub const ALL: [Self; 3] = [Self::Intake, Self::Routing, Self::Audit];

    /// Name of the service.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Routing => "routing",
            Self::Audit => "audit",
        }
    }

    /// Default address: this machine only.
    fn listen(self) -> SocketAddr {
        let port = match self {
            Self::Intake => 7301,
            Self::Routing => 7302,
            Self::Audit => 7303,
        };
        SocketAddr::from(([127, 0, 0, 1], port))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The configuration. Missing values have defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Data directory of three services in one process. Unused by a single service.
    pub data_dir: PathBuf,
    /// JSON file with the accepted tokens, including those of Remit's own services. Required by a
    /// single service.
    pub tokens_file: Option<PathBuf>,
    /// YAML file that says who calls by certificate and by tokens that issuers sign, and which of
    /// Remit's services may call which.
    pub callers_file: Option<PathBuf>,
    /// File with 32 bytes that commitments to officers of such callers are keyed with; the same for
    /// all services and replicas.
    pub callers_key_file: Option<PathBuf>,
    /// File with the 32 bytes that receipts are derived from. Required by a single intake; the same
    /// for all replicas.
    pub receipt_key_file: Option<PathBuf>,
    /// Name of this replica; host name and process id by default.
    pub replica: Option<String>,
    /// Whether to serve gRPC reflection.
    pub reflection: bool,
    /// The time up to which a clock is accepted that is more than a day past the time at which a
    /// service last ran, as after a long stop; at most a day ahead. Otherwise such a clock ends and
    /// deletes nothing.
    pub accept_time_up_to: Option<Moment>,
    /// Intake's address and database.
    pub intake: Endpoint,
    /// Routing's address and database.
    pub routing: Endpoint,
    /// Audit's address and database.
    pub audit: Endpoint,
    /// Audit's log.
    pub log: Log,
    /// Intake's evidence files.
    pub evidence: Evidence,
    /// Files that replace built-in data.
    pub files: Files,
    /// Limits of a server.
    pub limits: Limits,
    /// Log lines, traces and metrics.
    pub telemetry: telemetry::Config,
    /// The process's listener for metrics and health.
    pub admin: Admin,
    /// TLS of the services' listeners, and of their calls of each other.
    pub tls: Tls,
}

/// TLS of the services' listeners, and of their calls of each other. Files are read again when they
/// change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file with the certificate that the process shows, to callers and to the services that it
    /// calls, followed by the intermediate ones. With it, only TLS is served.
    pub certificate_file: Option<PathBuf>,
    /// PEM file with its private key.
    pub key_file: Option<PathBuf>,
    /// PEM file of the certificate authorities that are believed about the other services.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate authorities that are believed about callers who show a
    /// certificate.
    pub client_ca_file: Option<PathBuf>,
    /// Whether something else encrypts what goes to the services, such as a mesh or a proxy on this
    /// machine: only then do they serve without TLS beyond the loopback.
    pub encrypted_elsewhere: bool,
}

/// The process's listener for metrics and health.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port of `/metrics`, in Prometheus' text format, and `/healthz`, over HTTP
    /// without a token; none by default. It tells numbers, never content, but to everybody who
    /// reaches it: `127.0.0.1:7300`, or an address that only those who run the cluster reach.
    pub listen: Option<SocketAddr>,
}

/// Address and database of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// Address and port to listen on.
    pub listen: Option<SocketAddr>,
    /// Address at which the other services reach it, such as `http://intake:7301`, or
    /// `https://intake:7301` where it serves TLS.
    pub address: Option<Address>,
    /// Name in its certificate, where that is not the host of `address`.
    pub server_name: Option<String>,
    /// `sqlite://FILE` or `postgres://USER@HOST/NAME`, without a password.
    pub database: Option<DatabaseUrl>,
    /// File with the database's URL including its password; instead of `database`.
    pub database_file: Option<PathBuf>,
}

/// Audit's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The log's name in its checkpoints: unique in the world and permanent, such as
    /// `remit.example/log2026`. The default is for trials: every installation has it, and witnesses
    /// refuse logs of that name.
    pub origin: String,
    /// File with the key that signs checkpoints.
    pub key_file: Option<PathBuf>,
    /// File with a copy of the last checkpoint, outside the database.
    pub checkpoint_file: Option<PathBuf>,
    /// Maximum time from growth to signing the next checkpoint, in milliseconds; at most 800.
    pub checkpoint_interval_ms: u64,
    /// Maximum time between checkpoints while the log does not grow, in milliseconds.
    pub checkpoint_refresh_ms: u64,
    /// C2SP tlog-policy file: the witnesses, and how many must cosign a checkpoint before it is
    /// published.
    pub witness_policy_file: Option<PathBuf>,
    /// Time limit for a witness's response, in milliseconds.
    pub witness_timeout_ms: u64,
    /// PEM file of further trusted certificate issuers for connections to witnesses.
    pub ca_file: Option<PathBuf>,
}

/// Intake's evidence files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// The folder, on a volume mounted by all replicas. Required by a single intake; otherwise
    /// `evidence` in the data directory.
    pub folder: Option<PathBuf>,
    /// Maximum size of a file, in bytes.
    pub file_bytes: u64,
    /// Maximum time without progress in an upload or a download, in milliseconds.
    pub idle_ms: u64,
    /// Maximum number of concurrent uploads per replica, and of downloads.
    pub streams: usize,
    /// The same, per caller.
    pub streams_per_caller: usize,
    /// Maximum number of bytes of a caller's files that no report names yet.
    pub unattached_bytes_per_caller: u64,
    /// Bytes of the folder's disk that stay free: an upload that would take them is refused.
    pub reserve_bytes: u64,
}

/// Files that replace built-in data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// The tree of territories.
    pub territories: Option<PathBuf>,
    /// The directory of agencies.
    pub agencies: Option<PathBuf>,
    /// The taxonomy.
    pub categories: Option<PathBuf>,
    /// The rule set: a file, or one of the built-in `ranked` and `first-receiver`.
    pub rules: Option<PathBuf>,
    /// The calendars of working days, the main one first, separated by lines `---`.
    pub calendar: Option<PathBuf>,
}

/// Limits of a server; `docs/limits.md` says what whoever reaches one is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes per message.
    pub message_bytes: usize,
    /// Bytes that a message may take in memory once decoded, beside its own.
    pub decoded_bytes: usize,
    /// Bytes of requests that are held at once, as they came and decoded.
    pub in_flight_bytes: usize,
    /// The same, per caller; at least `message_bytes` and `decoded_bytes` together.
    pub in_flight_bytes_per_caller: usize,
    /// Concurrent requests.
    pub concurrency: usize,
    /// The same, per caller.
    pub concurrency_per_caller: usize,
    /// Open streams.
    pub streams: usize,
    /// The same, per caller.
    pub streams_per_caller: usize,
    /// Maximum age of a stream of answers, in milliseconds.
    pub stream_ms: u64,
    /// Streams per connection.
    pub streams_per_connection: u32,
    /// Bytes of headers per request.
    pub header_bytes: u32,
    /// Maximum duration of a request, in milliseconds.
    pub deadline_ms: u64,
    /// Maximum duration of a file upload, in milliseconds.
    pub upload_ms: u64,
    /// Maximum time for which the body of a request may be waited for, in milliseconds.
    pub body_wait_ms: u64,
    /// Maximum time in which a reader takes nothing of an answer, in milliseconds.
    pub stall_ms: u64,
    /// Slowest rate of bodies and readers.
    pub bytes_per_second: u32,
    /// Connections; fewer where the process may open fewer files.
    pub connections: usize,
    /// Connections per address.
    pub connections_per_peer: usize,
    /// Connections per caller.
    pub connections_per_caller: usize,
    /// Age at which a connection takes no more requests, in milliseconds.
    pub connection_age_ms: u64,
    /// Time without a request after which a connection is closed, in milliseconds.
    pub connection_idle_ms: u64,
    /// Maximum time to a connection's first bytes, in milliseconds.
    pub handshake_ms: u64,
    /// Frames per connection and second that carry nothing.
    pub control_frames_per_second: u32,
}

/// Maximum size of a configuration file.
const FILE: u64 = 1 << 20;

/// Growth is published within a second; the part of it that may be spent waiting.
const LONGEST_INTERVAL_MS: u64 = 800;

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            tokens_file: None,
            callers_file: None,
            callers_key_file: None,
            receipt_key_file: None,
            replica: None,
            reflection: false,
            accept_time_up_to: None,
            intake: Endpoint::default(),
            routing: Endpoint::default(),
            audit: Endpoint::default(),
            log: Log::default(),
            evidence: Evidence::default(),
            files: Files::default(),
            limits: Limits::default(),
            telemetry: telemetry::Config::default(),
            admin: Admin::default(),
            tls: Tls::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            origin: audit::DEFAULT_ORIGIN.to_owned(),
            key_file: None,
            checkpoint_file: None,
            checkpoint_interval_ms: 200,
            checkpoint_refresh_ms: 60_000,
            witness_policy_file: None,
            witness_timeout_ms: 2_000,
            ca_file: None,
        }
    }
}

impl Default for Evidence {
    fn default() -> Self {
        let limits = intake::evidence::Limits::default();
        Self {
            folder: None,
            file_bytes: limits.file_bytes,
            idle_ms: milliseconds(limits.idle),
            streams: limits.streams,
            streams_per_caller: limits.streams_per_caller,
            unattached_bytes_per_caller: limits.unattached_bytes_per_caller,
            reserve_bytes: limits.reserve_bytes,
        }
    }
}

impl Evidence {
    /// Converts to intake's limits.
    pub fn limits(&self) -> intake::evidence::Limits {
        intake::evidence::Limits {
            file_bytes: self.file_bytes,
            idle: Duration::from_millis(self.idle_ms),
            streams: self.streams,
            streams_per_caller: self.streams_per_caller,
            unattached_bytes_per_caller: self.unattached_bytes_per_caller,
            reserve_bytes: self.reserve_bytes,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Default for Limits {
    fn default() -> Self {
        let limits = rpc::Limits::default();
        Self {
            message_bytes: limits.message_bytes,
            decoded_bytes: limits.decoded_bytes,
            in_flight_bytes: limits.in_flight_bytes,
            in_flight_bytes_per_caller: limits.in_flight_bytes_per_caller,
            concurrency: limits.concurrency,
            concurrency_per_caller: limits.concurrency_per_caller,
            streams: limits.streams,
            streams_per_caller: limits.streams_per_caller,
            streams_per_connection: limits.streams_per_connection,
            header_bytes: limits.header_bytes,
            bytes_per_second: limits.bytes_per_second,
            connections: limits.connections,
            connections_per_peer: limits.connections_per_peer,
            connections_per_caller: limits.connections_per_caller,
            control_frames_per_second: limits.control_frames_per_second,
            stream_ms: milliseconds(limits.stream),
            deadline_ms: milliseconds(limits.deadline),
            upload_ms: milliseconds(limits.upload),
            body_wait_ms: milliseconds(limits.body_wait),
            stall_ms: milliseconds(limits.stall),
            connection_age_ms: milliseconds(limits.connection_age),
            connection_idle_ms: milliseconds(limits.connection_idle),
            handshake_ms: milliseconds(limits.handshake),
        }
    }
}

impl Limits {
    /// Converts to the server's limits.
    pub fn to_rpc(&self) -> rpc::Limits {
        let milliseconds = Duration::from_millis;
        rpc::Limits {
            message_bytes: self.message_bytes,
            decoded_bytes: self.decoded_bytes,
            in_flight_bytes: self.in_flight_bytes,
            in_flight_bytes_per_caller: self.in_flight_bytes_per_caller,
            concurrency: self.concurrency,
            concurrency_per_caller: self.concurrency_per_caller,
            streams: self.streams,
            streams_per_caller: self.streams_per_caller,
            streams_per_connection: self.streams_per_connection,
            header_bytes: self.header_bytes,
            bytes_per_second: self.bytes_per_second,
            connections: self.connections,
            connections_per_peer: self.connections_per_peer,
            connections_per_caller: self.connections_per_caller,
            control_frames_per_second: self.control_frames_per_second,
            stream: milliseconds(self.stream_ms),
            deadline: milliseconds(self.deadline_ms),
            upload: milliseconds(self.upload_ms),
            body_wait: milliseconds(self.body_wait_ms),
            stall: milliseconds(self.stall_ms),
            connection_age: milliseconds(self.connection_age_ms),
            connection_idle: milliseconds(self.connection_idle_ms),
            handshake: milliseconds(self.handshake_ms),
        }
    }

    /// All of them by key: none may be 0.
    fn all(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("limits.message_bytes", self.message_bytes as u64),
            ("limits.decoded_bytes", self.decoded_bytes as u64),
            ("limits.in_flight_bytes", self.in_flight_bytes as u64),
            (
                "limits.in_flight_bytes_per_caller",
                self.in_flight_bytes_per_caller as u64,
            ),
            ("limits.concurrency", self.concurrency as u64),
            ("limits.concurrency_per_caller", self.concurrency_per_caller as u64),
            ("limits.streams", self.streams as u64),
            ("limits.streams_per_caller", self.streams_per_caller as u64),
            ("limits.streams_per_connection", self.streams_per_connection.into()),
            ("limits.header_bytes", self.header_bytes.into()),
            ("limits.bytes_per_second", self.bytes_per_second.into()),
            ("limits.connections", self.connections as u64),
            ("limits.connections_per_peer", self.connections_per_peer as u64),
            ("limits.connections_per_caller", self.connections_per_caller as u64),
            (
                "limits.control_frames_per_second",
                self.control_frames_per_second.into(),
            ),
            ("limits.stream_ms", self.stream_ms),
            ("limits.deadline_ms", self.deadline_ms),
            ("limits.upload_ms", self.upload_ms),
            ("limits.body_wait_ms", self.body_wait_ms),
            ("limits.stall_ms", self.stall_ms),
            ("limits.connection_age_ms", self.connection_age_ms),
            ("limits.connection_idle_ms", self.connection_idle_ms),
            ("limits.handshake_ms", self.handshake_ms),
        ]
    }
}

/// A value that overrides the file: from the environment or a flag.
#[derive(Clone, Debug)]
pub struct Override {
    /// The key, such as `intake.listen`.
    pub key: String,
    /// The value as text.
    pub value: String,
    /// The source, for errors, such as `environment variable REMIT_INTAKE_LISTEN`.
    pub origin: String,
}

impl Override {
    /// An override by a flag.
    pub fn flag(flag: &str, key: impl Into<String>, value: &impl ToString) -> Self {
        Self {
            key: key.into(),
            value: value.to_string(),
            origin: format!("flag {flag}"),
        }
    }
}

impl Config {
    /// Loads the file, if any, then applies the environment and then the flags. Relative paths in
    /// the file start at its folder, others at the working directory.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: Vec<Override>,
    ) -> anyhow::Result<Self> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => {
                let yaml = input::text(path, FILE).context("cannot read the configuration")?;
                let folder = path.parent().unwrap_or(Path::new(""));
                Self::parse(&path.display().to_string(), &yaml)?.beside(folder, &yaml)?
            }
        };
        for set in from_environment(environment).into_iter().chain(flags) {
            config = config.with(&set)?;
        }
        config.check()?;
        Ok(config)
    }

    /// Parses a file's text.
    pub fn parse(file: &str, yaml: &str) -> anyhow::Result<Self> {
        if yaml.trim().is_empty() {
            return Ok(Self::default());
        }
        // Read as absent, a key without a value would be its default.
        if let Err(handwritten::Error::Empty(faults)) = handwritten::read::<IgnoredAny>(yaml) {
            bail!("{file}, {}", faults.join("; "));
        }
        serde_saphyr::from_str(yaml).map_err(|error| {
            let at = error.location().map(|at| at.line());
            let of = |line: Option<u64>| line.map(|line| format!(", line {line}")).unwrap_or_default();
            // The line where parsing stopped is often that of the section.
            match faults(yaml).first() {
                Some(Fault { key, line, problem }) if !key.is_empty() => {
                    anyhow!("{file}{}: `{key}`: {problem}", of(Some(*line)))
                }
                Some(Fault { problem, .. }) => anyhow!("{file}{}: {problem}", of(at)),
                None => anyhow!("{file}{}: {}", of(at), error.without_snippet()),
            }
        })
    }

    /// Paths in a file stand for files beside it, wherever the program was started.
    fn beside(mut self, folder: &Path, yaml: &str) -> anyhow::Result<Self> {
        let own_data_dir = sets(yaml, "data_dir");
        for (key, path) in self.paths_mut() {
            let is_shipped = key == "files.rules" && shipped_rules(Some(path)).is_ok();
            if !is_shipped && !path.as_os_str().is_empty() && (key != "data_dir" || own_data_dir) {
                *path = folder.join(&*path);
            }
        }
        for service in Service::ALL {
            let endpoint = self.endpoint_mut(service);
            if let Some(database) = &endpoint.database {
                endpoint.database = Some(database.beside(folder)?);
            }
        }
        Ok(self)
    }

    /// All paths that are set, with their keys.
    fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        let Self {
            data_dir,
            tokens_file,
            callers_file,
            callers_key_file,
            receipt_key_file,
            intake,
            routing,
            audit,
            log,
            evidence,
            files,
            tls,
            ..
        } = self;
        let mut paths = vec![("data_dir", data_dir)];
        let mut add = |key, path| paths.extend(Option::as_mut(path).map(|path| (key, path)));
        add("tokens_file", tokens_file);
        add("callers_file", callers_file);
        add("callers_key_file", callers_key_file);
        add("receipt_key_file", receipt_key_file);
        add("intake.database_file", &mut intake.database_file);
        add("routing.database_file", &mut routing.database_file);
        add("audit.database_file", &mut audit.database_file);
        add("log.key_file", &mut log.key_file);
        add("log.checkpoint_file", &mut log.checkpoint_file);
        add("log.witness_policy_file", &mut log.witness_policy_file);
        add("log.ca_file", &mut log.ca_file);
        add("tls.certificate_file", &mut tls.certificate_file);
        add("tls.key_file", &mut tls.key_file);
        add("tls.ca_file", &mut tls.ca_file);
        add("tls.client_ca_file", &mut tls.client_ca_file);
        add("evidence.folder", &mut evidence.folder);
        add("files.territories", &mut files.territories);
        add("files.agencies", &mut files.agencies);
        add("files.categories", &mut files.categories);
        add("files.rules", &mut files.rules);
        add("files.calendar", &mut files.calendar);
        paths
    }

    /// The configuration with one value changed.
    fn with(&self, set: &Override) -> anyhow::Result<Self> {
        put(self, &set.key, scalar(&set.value)).map_err(|problem| anyhow!("{}: {problem}", set.origin))
    }

    /// Refuses values that would fail later.
    fn check(&self) -> anyhow::Result<()> {
        let others = [
            ("evidence.file_bytes", self.evidence.file_bytes),
            ("evidence.idle_ms", self.evidence.idle_ms),
            ("evidence.streams", self.evidence.streams as u64),
            ("evidence.streams_per_caller", self.evidence.streams_per_caller as u64),
            (
                "evidence.unattached_bytes_per_caller",
                self.evidence.unattached_bytes_per_caller,
            ),
            ("log.checkpoint_interval_ms", self.log.checkpoint_interval_ms),
            ("log.checkpoint_refresh_ms", self.log.checkpoint_refresh_ms),
            ("log.witness_timeout_ms", self.log.witness_timeout_ms),
        ];
        for (key, value) in self.limits.all().into_iter().chain(others) {
            if value == 0 {
                bail!("`{key}` is 0; it must be positive");
            }
        }
        let limits = &self.limits;
        let largest = limits.message_bytes.saturating_add(limits.decoded_bytes);
        if limits.in_flight_bytes_per_caller < largest {
            bail!(
                "`limits.in_flight_bytes_per_caller` is {}; it must be at least {largest}, which is `limits.message_bytes` and \
                 `limits.decoded_bytes` together: otherwise the largest message never fits",
                limits.in_flight_bytes_per_caller
            );
        }
        if limits.in_flight_bytes < limits.in_flight_bytes_per_caller {
            bail!(
                "`limits.in_flight_bytes` is {}; it must be at least `limits.in_flight_bytes_per_caller`, {}",
                limits.in_flight_bytes,
                limits.in_flight_bytes_per_caller
            );
        }
        if self.log.checkpoint_interval_ms > LONGEST_INTERVAL_MS {
            bail!(
                "`log.checkpoint_interval_ms` is {}; it must be at most {LONGEST_INTERVAL_MS}: a checkpoint is promised within 1 s of \
                 growth, and signing and keeping it takes time too",
                self.log.checkpoint_interval_ms
            );
        }
        self.telemetry.check().map_err(|problem| anyhow!(problem))?;
        for (key, path) in self.clone().paths_mut() {
            if path.as_os_str().is_empty() {
                bail!("`{key}` is empty; remove it, or name a path");
            }
        }
        for service in Service::ALL {
            let endpoint = self.endpoint(service);
            if endpoint.database.is_some() && endpoint.database_file.is_some() {
                bail!("`{service}.database` and `{service}.database_file` are both set; remove one");
            }
        }
        self.check_tls()
    }

    /// Refuses settings of TLS that do not fit together.
    fn check_tls(&self) -> anyhow::Result<()> {
        let tls = &self.tls;
        match (&tls.certificate_file, &tls.key_file) {
            (Some(_), None) => bail!("`tls.certificate_file` is set, and `tls.key_file` is not: set both"),
            (None, Some(_)) => bail!("`tls.key_file` is set, and `tls.certificate_file` is not: set both"),
            (None, None) if tls.client_ca_file.is_some() => bail!(
                "`tls.client_ca_file` is set, but callers show certificates under TLS only: set `tls.certificate_file` and \
                 `tls.key_file`"
            ),
            _ => {}
        }
        for service in Service::ALL {
            let endpoint = self.endpoint(service);
            let is_https = endpoint.address.as_ref().is_some_and(Address::is_https);
            if is_https && tls.ca_file.is_none() {
                bail!(
                    "`{service}.address` is one of https://, and `tls.ca_file` does not say which authorities are believed \
                     about its certificate"
                );
            }
            if let Some(name) = &endpoint.server_name {
                rpc::tls::check_name(name).map_err(|error| anyhow!("`{service}.server_name`: {error}"))?;
            }
        }
        Ok(())
    }

    /// The first DNS name in the certificate that the process shows; none where it serves no TLS.
    ///
    /// # Errors
    ///
    /// If the files of TLS cannot be used, or the certificate has no name.
    pub fn own_name(&self) -> anyhow::Result<Option<String>> {
        if self.tls.certificate_file.is_none() {
            return Ok(None);
        }
        let tls = certificates::read(self)?;
        let name = tls.and_then(|tls| tls.own_name());
        Ok(Some(name.context(
            "the certificate in `tls.certificate_file` has no DNS name to know it by (subjectAltName)",
        )?))
    }

    /// Refuses to serve these services in the clear where others than this machine could listen,
    /// and to call their peers so.
    ///
    /// # Errors
    ///
    /// [`Unusable`] with the key of the address, and what can be done.
    pub fn refuse_plaintext(&self, services: &[Service]) -> Result<(), Unusable> {
        if self.tls.encrypted_elsewhere {
            return Ok(());
        }
        // Those that run in one process reach each other within it.
        let peers = Service::ALL.into_iter().filter(|peer| !services.contains(peer));
        for peer in peers {
            if let Some(address) = &self.endpoint(peer).address
                && is_plaintext(address.as_str())
            {
                return Err(Unusable(format!(
                    "`{peer}.address` is {}, off this machine and without TLS: this service's token and reports would \
                     go there in the clear. Write https:// and set `tls.ca_file`; or, where something else encrypts what \
                     goes there, say so with `tls.encrypted_elsewhere: true`",
                    address.as_str()
                )));
            }
        }
        if self.tls.certificate_file.is_some() {
            return Ok(());
        }
        let open = services
            .iter()
            .find(|service| !self.listen(**service).ip().to_canonical().is_loopback());
        match open {
            None => Ok(()),
            Some(service) => Err(Unusable(format!(
                "`{service}.listen` is {}, where others than this machine reach it, and there is no TLS: tokens and reports \
                 would go in the clear. Set `tls.certificate_file` and `tls.key_file`; or listen on 127.0.0.1; or, where \
                 something else encrypts what comes there, say so with `tls.encrypted_elsewhere: true`",
                self.listen(*service)
            ))),
        }
    }

    /// The settings of a service.
    pub fn endpoint(&self, service: Service) -> &Endpoint {
        match service {
            Service::Intake => &self.intake,
            Service::Routing => &self.routing,
            Service::Audit => &self.audit,
        }
    }

    /// The settings of a service, mutable.
    pub fn endpoint_mut(&mut self, service: Service) -> &mut Endpoint {
        match service {
            Service::Intake => &mut self.intake,
            Service::Routing => &mut self.routing,
            Service::Audit => &mut self.audit,
        }
    }

    /// The address that a service listens on.
    pub fn listen(&self, service: Service) -> SocketAddr {
        self.endpoint(service).listen.unwrap_or_else(|| service.listen())
    }

    /// The URL of a service's database, if set.
    pub fn database(&self, service: Service) -> anyhow::Result<Option<DatabaseUrl>> {
        let endpoint = self.endpoint(service);
        let Some(file) = &endpoint.database_file else {
            return Ok(endpoint.database.clone());
        };
        private(file)?;
        let url = input::text(file, FILE)
            .and_then(|text| DatabaseUrl::secret(text.trim()))
            .with_context(|| format!("`{service}.database_file`, {}", file.display()))?;
        Ok(Some(url))
    }

    /// A required value, or an error that names its key.
    pub fn need<'a, T>(key: &str, value: Option<&'a T>) -> anyhow::Result<&'a T> {
        value.with_context(|| {
            format!(
                "`{key}` is not set; set it in the configuration file or as {}",
                variable(key)
            )
        })
    }

    /// The configuration as YAML, including defaults. Keys that are not set are comments: a file may
    /// have none without a value.
    pub fn to_yaml(&self) -> anyhow::Result<String> {
        Ok(unset_as_comments(&serde_saphyr::to_string(&self.effective())?))
    }

    /// The configuration with the addresses that are listened on where none is set.
    pub fn effective(&self) -> Self {
        let mut shown = self.clone();
        for service in Service::ALL {
            shown.endpoint_mut(service).listen = Some(self.listen(service));
        }
        shown
    }
}

/// Whether what goes to a server's address leaves this machine in the clear.
pub fn is_plaintext(address: &str) -> bool {
    let Ok(uri) = address.parse::<http::Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    uri.scheme_str() == Some("http") && !is_here
}

/// YAML of sections of scalars in which what has no value is a comment, sections included.
fn unset_as_comments(yaml: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    // Last line first, so that what a section has is known at its name.
    let mut has_keys = false;
    for line in yaml.lines().rev() {
        let is_key = line.starts_with(' ');
        let is_section = !is_key && line.ends_with(':');
        let is_unset = line.ends_with(": null") || (is_section && !has_keys);
        lines.push(match (is_unset, line.strip_suffix(" null")) {
            (true, Some(name)) => format!("# {name}"),
            (true, None) => format!("# {line}"),
            (false, _) => line.to_owned(),
        });
        has_keys = is_key && (has_keys || !is_unset);
    }
    lines.reverse();
    lines.push(String::new());
    lines.join("\n")
}
