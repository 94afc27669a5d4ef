//! The client side: server addresses, the caller's identity, and the meaning of failed calls.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use data_encoding::HEXLOWER;
use host::{
    Unusable,
    config::{Address, Service, is_plaintext, nearest},
    data_dir::{Endpoints, Layout, OPERATOR},
    input,
    token_file::find_entry,
};
use https::{NoAnswer, Trust};
use rpc::{
    Officer,
    client::{Bearer, Caller},
    tls::Trusting,
};
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    context::{Context, Contexts},
    output::quoted,
    precedence::{OneThing, Settled, Way},
};

/// The data directory where nobody says another.
pub const DATA_DIR: &str = "data";

/// Time limit for a response.
const PATIENCE: Duration = Duration::from_secs(30);
/// First wait before a repeat, where the server tells none.
pub const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Server addresses and the caller's identity.
pub type Access = Settled<Given>;

/// How they are given.
#[derive(Args, Clone, Debug)]
pub struct Given {
    /// Data directory of an instance on this machine, with addresses, tokens and the log's key
    /// [default: that of the context, or `data`]
    #[arg(
        id = "data_dir",
        long = "data-dir",
        global = true,
        env = "REMIT_DATA_DIR",
        value_name = "DIR",
        help_heading = "Connection"
    )]
    given_data_dir: Option<PathBuf>,
    /// Cluster to call, of those that `remit context list` shows [default: the one in use]
    #[arg(
        long,
        global = true,
        env = "REMIT_CONTEXT",
        value_name = "NAME",
        help_heading = "Connection"
    )]
    context: Option<String>,
    /// The caller, from the data directory's tokens: `operator`, `auditor`, the id of an agency, or
    /// a system [default: operator]
    #[arg(long = "as", global = true, value_name = "WHO", help_heading = "Connection")]
    pub who: Option<String>,
    /// Token to call with; visible to other users of this machine: prefer a file
    #[arg(
        long,
        global = true,
        env = "REMIT_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        help_heading = "Connection"
    )]
    pub token: Option<String>,
    /// File with the token to call with
    #[arg(
        long,
        global = true,
        env = "REMIT_TOKEN_FILE",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub token_file: Option<PathBuf>,
    /// PEM file of certificate authorities that are believed beside the machine's, where servers
    /// are reached over TLS [default: that of the context or of the data directory's instance]
    #[arg(
        long,
        global = true,
        env = "REMIT_CA_FILE",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    ca_file: Option<PathBuf>,
    /// Name in the servers' certificates, where that is not the host of their address
    #[arg(
        long,
        global = true,
        env = "REMIT_SERVER_NAME",
        value_name = "NAME",
        help_heading = "Connection"
    )]
    server_name: Option<String>,
    /// PEM file of the certificate that is shown to servers reached over TLS, the intermediate ones
    /// after it: who is known by it needs no token
    #[arg(
        long,
        global = true,
        env = "REMIT_CLIENT_CERT",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    client_cert: Option<PathBuf>,
    /// PEM file of its private key, for this user alone
    #[arg(
        long,
        global = true,
        env = "REMIT_CLIENT_KEY",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    client_key: Option<PathBuf>,
    /// Call servers off this machine without TLS (http://), too: something else encrypts what goes
    /// there, such as a mesh or a VPN
    #[arg(long, global = true, env = "REMIT_ENCRYPTED_ELSEWHERE", help_heading = "Connection")]
    encrypted_elsewhere: bool,
    /// The officer who acts through the caller's system; who acts is part of what is logged
    #[arg(
        long,
        global = true,
        env = "REMIT_OFFICER",
        value_name = "NAME",
        value_parser = officer,
        help_heading = "Connection"
    )]
    pub officer: Option<Officer>,
    /// Print JSON for machines: the response in protobuf JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// A service to call.
#[derive(Clone, Debug)]
pub struct Target {
    /// A channel with the caller's token.
    pub channel: Caller,
    /// Its address.
    pub address: String,
}

/// Option for intake's address.
#[derive(Args, Clone, Debug)]
pub struct IntakeServer {
    /// Address of intake, such as http://127.0.0.1:7301
    #[arg(
        long,
        global = true,
        env = "REMIT_INTAKE",
        value_name = "URL",
        help_heading = "Connection"
    )]
    server: Option<String>,
}

impl IntakeServer {
    /// The address, if given.
    pub fn address(&self) -> Option<&str> {
        self.server.as_deref()
    }
}

/// Option for routing's address.
#[derive(Args, Clone, Debug)]
pub struct RoutingServer {
    /// Address of routing, such as http://127.0.0.1:7302
    #[arg(
        long,
        global = true,
        env = "REMIT_ROUTING",
        value_name = "URL",
        help_heading = "Connection"
    )]
    server: Option<String>,
}

impl RoutingServer {
    /// The address, if given.
    pub fn address(&self) -> Option<&str> {
        self.server.as_deref()
    }
}

/// Options for the addresses of all services.
#[derive(Args, Clone, Debug)]
pub struct Servers {
    /// Address of intake
    #[arg(
        long,
        global = true,
        env = "REMIT_INTAKE",
        value_name = "URL",
        help_heading = "Connection"
    )]
    intake: Option<String>,
    /// Address of routing
    #[arg(
        long,
        global = true,
        env = "REMIT_ROUTING",
        value_name = "URL",
        help_heading = "Connection"
    )]
    routing: Option<String>,
    /// Address of audit
    #[arg(
        long,
        global = true,
        env = "REMIT_AUDIT",
        value_name = "URL",
        help_heading = "Connection"
    )]
    audit: Option<String>,
}

impl Servers {
    /// A service's address, if given.
    pub fn address(&self, service: Service) -> Option<&str> {
        let address = match service {
            Service::Intake => &self.intake,
            Service::Routing => &self.routing,
            Service::Audit => &self.audit,
        };
        address.as_deref()
    }
}

/// The place to call: an instance on this machine, or a cluster.
pub const PLACE: &[Way] = &[
    Way {
        id: "data_dir",
        flag: "--data-dir",
        variable: Some("REMIT_DATA_DIR"),
    },
    Way {
        id: "context",
        flag: "--context",
        variable: Some("REMIT_CONTEXT"),
    },
];

/// As whom to call it.
const CALLER: &[Way] = &[
    Way {
        id: "who",
        flag: "--as",
        variable: None,
    },
    Way {
        id: "token",
        flag: "--token",
        variable: Some("REMIT_TOKEN"),
    },
    Way {
        id: "token_file",
        flag: "--token-file",
        variable: Some("REMIT_TOKEN_FILE"),
    },
];

impl OneThing for Given {
    const THINGS: &'static [&'static [Way]] = &[PLACE, CALLER];
}

impl Access {
    /// Access to an instance on this machine.
    pub fn local(data_dir: PathBuf) -> Self {
        Self(Given {
            given_data_dir: Some(data_dir),
            context: None,
            who: None,
            token: None,
            token_file: None,
            ca_file: None,
            server_name: None,
            client_cert: None,
            client_key: None,
            encrypted_elsewhere: false,
            officer: None,
            json: false,
        })
    }

    /// The same access for another caller.
    pub fn of(&self, who: &str) -> Self {
        Self(Given {
            who: Some(who.to_owned()),
            ..self.0.clone()
        })
    }

    /// The context that counts: the named one, or the one in use. None where a data directory is
    /// named.
    fn context(&self) -> anyhow::Result<Option<Context>> {
        if self.given_data_dir.is_some() {
            return Ok(None);
        }
        let contexts = Contexts::read()?;
        let found = contexts.find(self.context.as_deref())?;
        Ok(found.map(|(_, context)| context.clone()))
    }

    /// The same access to the instance in the data directory, whatever context is in use.
    pub fn at_data_dir(&self) -> anyhow::Result<Self> {
        Ok(Self(Given {
            given_data_dir: Some(self.data_dir()?),
            context: None,
            ..self.0.clone()
        }))
    }

    /// The data directory.
    pub fn data_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = self.chosen_data_dir()? {
            return Ok(folder);
        }
        // What a context leaves out never comes from another instance: its token would go there, or
        // its address get that one's.
        match self.context()? {
            None => Ok(PathBuf::from(DATA_DIR)),
            Some(_) => Err(Failed::Usage(
                "the context in use does not say this; complete it with `remit context set` (addresses, --token-file, \
                 --log-key-file or --data-dir), or name a data directory with --data-dir"
                    .to_owned(),
            )
            .into()),
        }
    }

    /// The data directory, if one is named or the context has one.
    fn chosen_data_dir(&self) -> anyhow::Result<Option<PathBuf>> {
        match &self.given_data_dir {
            Some(folder) => Ok(Some(folder.clone())),
            None => self.data_dir_of_context(),
        }
    }

    /// The data directory of the context that counts, if it has one.
    pub fn data_dir_of_context(&self) -> anyhow::Result<Option<PathBuf>> {
        Ok(self.context()?.and_then(|context| context.data_dir))
    }

    /// Whether a flag names the context.
    pub fn context_by_flag(&self) -> bool {
        let variable = std::env::var("REMIT_CONTEXT").ok();
        self.context.is_some() && self.context != variable
    }

    /// The data directory that is named, whatever context is in use.
    pub fn given_data_dir(&self) -> Option<&Path> {
        self.given_data_dir.as_deref()
    }

    /// The layout of the data directory.
    pub fn layout(&self) -> anyhow::Result<Layout> {
        Ok(Layout::new(self.data_dir()?))
    }

    /// A service to call; `server` is its address, if given.
    pub fn target(&self, service: Service, server: Option<&str>) -> anyhow::Result<Target> {
        self.target_within(service, server, Some(PATIENCE))
    }

    /// Like [`Access::target`], for streams that stay open.
    pub fn stream(&self, service: Service, server: Option<&str>) -> anyhow::Result<Target> {
        self.target_within(service, server, None)
    }

    fn target_within(
        &self,
        service: Service,
        server: Option<&str>,
        deadline: Option<Duration>,
    ) -> anyhow::Result<Target> {
        let address = self.address(service, server)?;
        self.refuse_plaintext(service, &address)?;
        let trusting = self.trusting(&address)?;
        let bearer = match self.token()? {
            Some(token) => Bearer::new(&token),
            None => Ok(Bearer::none()),
        };
        let channel = bearer
            .and_then(|bearer| {
                rpc::client::connect_over(&address, trusting.as_ref(), &bearer, self.officer.as_ref(), deadline)
            })
            .map_err(|error| Failed::Usage(error.to_string()))?;
        Ok(Target { channel, address })
    }

    /// Refuses to send a token where others could read it.
    fn refuse_plaintext(&self, service: Service, address: &str) -> anyhow::Result<()> {
        // What an instance on this machine listens on is this machine, whatever it is called.
        let is_served_here = || anyhow::Ok(self.served_here()?.is_some_and(|served| served.of(service) == address));
        if self.encrypted_elsewhere()? || !is_plaintext(address) || is_served_here()? {
            return Ok(());
        }
        Err(Failed::Usage(format!(
            "`{address}` is off this machine and without TLS: the token and what is sent could be read on the way. Write \
             https://; or, where something else encrypts what goes there, add --encrypted-elsewhere"
        ))
        .into())
    }

    /// How a server is reached over TLS, where its address asks for that.
    fn trusting(&self, address: &str) -> anyhow::Result<Option<Trusting>> {
        if !address.starts_with("https://") {
            return Ok(None);
        }
        let ca_file = self.ca_file()?;
        let trust = Trust::load(ca_file.as_deref(), "--ca-file").map_err(|error| Failed::Usage(error.to_string()))?;
        let trusting = match self.own_certificate()? {
            None => Trusting::roots(trust.roots()),
            Some((certificate, key)) => {
                let shown = |path: &Path| input::read(path, CERTIFICATE);
                host::secrets::private(&key).context("--client-key")?;
                let (certificate, key) = (
                    shown(&certificate).context("--client-cert")?,
                    shown(&key).context("--client-key")?,
                );
                Trusting::showing(trust.roots(), &certificate, &key)
                    .map_err(|error| Failed::Usage(format!("--client-cert and --client-key: {error}")))?
            }
        };
        Ok(Some(match self.server_name()? {
            Some(name) => trusting
                .named(&name)
                .map_err(|error| Failed::Usage(format!("--server-name: {error}")))?,
            None => trusting,
        }))
    }

    /// File of the authorities that are believed beside the machine's.
    pub fn ca_file(&self) -> anyhow::Result<Option<PathBuf>> {
        let given = self.ca_file.clone();
        Ok(match given.or(self.context()?.and_then(|context| context.ca_file)) {
            Some(file) => Some(file),
            None => self.served_here()?.and_then(|endpoints| endpoints.ca_file),
        })
    }

    /// Whether something else encrypts what goes to servers, as a flag or the context says.
    fn encrypted_elsewhere(&self) -> anyhow::Result<bool> {
        let of_context = || anyhow::Ok(self.context()?.is_some_and(|context| context.encrypted_elsewhere));
        Ok(self.encrypted_elsewhere || of_context()?)
    }

    /// The files of the certificate that is shown, and of its key: of the flags, or of the context.
    fn own_certificate(&self) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
        let (certificate, key) = match (&self.client_cert, &self.client_key) {
            (None, None) => match self.context()? {
                Some(context) => (context.client_cert, context.client_key),
                None => (None, None),
            },
            (certificate, key) => (certificate.clone(), key.clone()),
        };
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            _ => Err(Failed::Usage(
                "a certificate is shown with its key: set both --client-cert and --client-key".to_owned(),
            )
            .into()),
        }
    }

    fn server_name(&self) -> anyhow::Result<Option<String>> {
        let given = self.server_name.clone();
        Ok(
            match given.or(self.context()?.and_then(|context| context.server_name)) {
                Some(name) => Some(name),
                None => self.served_here()?.and_then(|endpoints| endpoints.server_name),
            },
        )
    }

    /// The instance that serves from the data directory, where one is meant.
    fn served_here(&self) -> anyhow::Result<Option<Endpoints>> {
        match (self.chosen_data_dir()?, self.context()?) {
            (Some(folder), _) => Layout::new(folder).read_endpoints(),
            (None, None) => Layout::new(DATA_DIR).read_endpoints(),
            (None, Some(_)) => Ok(None),
        }
    }

    /// The address of a service; `server` if given.
    pub fn address(&self, service: Service, server: Option<&str>) -> anyhow::Result<String> {
        if let Some(server) = server {
            let server = Address::try_from(server.to_owned());
            return match server {
                Ok(server) => Ok(server.into()),
                Err(error) => Err(Failed::Usage(format!("--server: {error}")).into()),
            };
        }
        let context = self.context()?;
        if let Some(address) = context.as_ref().and_then(|context| context.address(service)) {
            return Ok(address.to_owned());
        }
        let layout = self.layout()?;
        match layout.read_endpoints()? {
            Some(endpoints) => Ok(endpoints.of(service).to_owned()),
            None => Err(Failed::Unreachable {
                message: format!(
                    "no instance is serving from the data directory {}",
                    layout.folder().display()
                ),
                help: format!(
                    "start one with `remit serve all`, set its directory with --data-dir, or another server with {} or \
                     `remit context set`",
                    variable(service)
                ),
            }
            .into()),
        }
    }

    /// The token to call with; none where a certificate says who calls.
    fn token(&self) -> anyhow::Result<Option<String>> {
        if let Some(token) = &self.token {
            return Ok(Some(token.trim().to_owned()));
        }
        if let Some(file) = &self.token_file {
            return token_of(file).map(Some);
        }
        if self.who.is_none() {
            if let Some(file) = self.context()?.and_then(|context| context.token_file) {
                return token_of(&file).map(Some);
            }
            if self.own_certificate()?.is_some() {
                return Ok(None);
            }
        }
        let who = self.who.as_deref().unwrap_or(OPERATOR);
        let layout = self.layout()?;
        let file = layout.tokens();
        let Some(tokens) = layout.read_tokens()? else {
            let message = format!(
                "no token to call with: set one with --token-file or REMIT_TOKEN, or a data directory; {} does not exist",
                file.display()
            );
            return Err(Failed::Usage(message).into());
        };
        match find_entry(&tokens, who) {
            Some(entry) if !entry.is_revoked() => return Ok(Some(entry.token.clone())),
            Some(entry) => {
                let message = format!(
                    "the token of `{who}` in {} is revoked; make another with `remit token rotate {}`",
                    file.display(),
                    entry.system
                );
                return Err(Failed::Usage(message).into());
            }
            None => {}
        }
        let known = tokens
            .iter()
            .flat_map(|token| token.agency.as_deref().into_iter().chain([token.system.as_str()]));
        let meant = nearest(who, known).map(|meant| format!("; did you mean `{meant}`?"));
        let message = format!(
            "{} has no token for `{who}`{}; use `operator`, `auditor`, the id of an agency or a system, and create its token with \
                 `remit token add {who}`",
            file.display(),
            meant.unwrap_or_default()
        );
        Err(Failed::Usage(message).into())
    }

    /// Who calls, to tell callers apart: the system in the data directory's tokens, or else a hash
    /// of the token.
    pub fn caller(&self) -> anyhow::Result<String> {
        let Some(token) = self.token()? else {
            let shown = self
                .own_certificate()?
                .map(|(certificate, _)| input::read(&certificate, CERTIFICATE));
            let hash = HEXLOWER.encode(&Sha256::digest(shown.transpose()?.unwrap_or_default()));
            return Ok(format!("the certificate with hash {}", &hash[..16]));
        };
        let tokens = match self.layout() {
            Ok(layout) => layout.read_tokens()?.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        Ok(match tokens.iter().find(|entry| entry.token == token) {
            Some(entry) => match &entry.agency {
                Some(agency) => format!("{} of {agency}", entry.system),
                None => entry.system.clone(),
            },
            None => {
                let hash = HEXLOWER.encode(&Sha256::digest(token));
                format!("the token with hash {}", &hash[..16])
            }
        })
    }

    /// The log's verifier key: the given one, or that of the data directory.
    pub fn vkey(&self, named: Option<&str>) -> anyhow::Result<Option<String>> {
        if let Some(key) = named {
            return Ok(Some(key.trim().to_owned()));
        }
        let of_context = self.context()?.and_then(|context| context.log_key_file);
        let is_required = of_context.is_some();
        let file = match of_context {
            Some(file) => file,
            None if self.context()?.is_some_and(|context| context.data_dir.is_none()) => return Ok(None),
            None => self.layout()?.log_vkey(),
        };
        if is_required || !file.try_exists().is_ok_and(|there| !there) {
            let key = input::text(&file, SMALL).context("cannot read the log's key")?;
            return Ok(Some(key.trim().to_owned()));
        }
        Ok(None)
    }
}

/// Reads a list page by page, up to `limit` items. `page` gets the size and the token of a page, and
/// returns its items and the next token. Returns the items, and the token of what is left.
pub async fn pages<T>(
    limit: usize,
    mut page: impl AsyncFnMut(i32, String) -> anyhow::Result<(Vec<T>, String)>,
) -> anyhow::Result<(Vec<T>, String)> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let wanted = limit.saturating_sub(all.len()).min(1_000);
        let (items, next) = page(i32::try_from(wanted).unwrap_or(1_000), token).await?;
        all.extend(items);
        token = next;
        if token.is_empty() || all.len() >= limit {
            return Ok((all, token));
        }
    }
}

/// The host of an address.
fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.rsplit_once(':').map_or(rest, |(host, _)| host)
}

/// The token in a file.
fn token_of(file: &Path) -> anyhow::Result<String> {
    let text = input::text(file, SMALL).context("cannot read the token file")?;
    Ok(text.trim().to_owned())
}

fn officer(text: &str) -> Result<Officer, String> {
    Officer::new(text).map_err(|invalid| format!("the name {invalid}"))
}

/// The option or variable that sets a service's address.
fn variable(service: Service) -> &'static str {
    match service {
        Service::Intake => "--server or REMIT_INTAKE",
        Service::Routing => "--server or REMIT_ROUTING",
        Service::Audit => "--server or REMIT_AUDIT",
    }
}

/// Bytes of a file with a certificate and those above it.
const CERTIFICATE: u64 = 1 << 20;

/// Bytes of a file with one token or key.
const SMALL: u64 = 64 << 10;

/// Exit code for usage errors.
pub const USAGE: u8 = 2;

/// Why a command failed. Determines the exit code.
#[derive(Debug)]
pub enum Failed {
    /// Invalid command line, configuration or input.
    Usage(String),
    /// The requested object does not exist.
    NotFound(String),
    /// A server does not respond.
    Unreachable {
        /// The server and the cause.
        message: String,
        /// The remedy.
        help: String,
    },
    /// A verification failed.
    Unverified(String),
    /// A server refused the call.
    Refused(Box<Status>),
    /// Another failure, already reported.
    Told,
    /// A check found problems, already reported. The exit code is for monitors.
    Watched(u8),
}

impl Failed {
    /// Converts a failed call to an error.
    pub fn call(address: &str) -> impl Fn(Status) -> Self {
        move |status| {
            let from_server = status.get_details_error_info().is_some();
            if !from_server && let Some(problem) = NoAnswer::of_tls(&status, host(address), "--ca-file") {
                return Self::Unreachable {
                    message: format!("{address} is not called: {}", problem.problem),
                    help: problem
                        .help
                        .unwrap_or_else(|| "is it running at this address?".to_owned()),
                };
            }
            match status.code() {
                // What is no HTTP/2 is internal to the client, if the connection lasts long enough.
                Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled | Code::Internal
                    if !from_server =>
                {
                    Self::Unreachable {
                        message: match status.code() {
                            Code::Unavailable => format!("no server answers at {address}"),
                            _ => format!(
                                "the server at {address} does not respond like Remit: {}",
                                quoted(status.message())
                            ),
                        },
                        help: match address.starts_with("http://") {
                            true => "is it running at this address? Under TLS, the address begins with https://",
                            false => "is it running at this address?",
                        }
                        .to_owned(),
                    }
                }
                _ => Self::Refused(Box::new(status)),
            }
        }
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::NotFound(_) => 3,
            Self::Unreachable { .. } => 4,
            Self::Unverified(_) => 5,
            Self::Refused(status) => match status.code() {
                Code::InvalidArgument => 2,
                Code::NotFound => 3,
                Code::Unavailable | Code::DeadlineExceeded => 4,
                _ => 1,
            },
            Self::Told => 1,
            Self::Watched(code) => *code,
        }
    }
}

impl std::error::Error for Failed {}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::NotFound(message) | Self::Unverified(message) => f.write_str(message),
            Self::Unreachable { message, help } => write!(f, "{message}\n  {help}"),
            Self::Refused(status) => {
                // A server's words: its further lines stand deeper than the lines below.
                f.write_str(&quoted(status.message()))?;
                for violation in status
                    .get_details_bad_request()
                    .iter()
                    .flat_map(|bad| &bad.field_violations)
                {
                    write!(
                        f,
                        "\n  {}: {}",
                        quoted(&violation.field),
                        quoted(&violation.description)
                    )?;
                }
                if let Some(info) = status.get_details_error_info() {
                    write!(f, "\n  reason: {}", quoted(&info.reason))?;
                }
                Ok(())
            }
            Self::Told | Self::Watched(_) => f.write_str("problems were found"),
        }
    }
}

/// Whether an error was already reported.
pub fn is_told(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Failed::Told | Failed::Watched(_)))
}

/// An error for machines: its words, the exit code, and what a server added.
pub fn as_json(error: &anyhow::Error) -> serde_json::Value {
    let mut told = serde_json::json!({ "exitCode": exit_code(error), "message": format!("{error:#}") });
    let refused = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(Failed::Refused(status)) => Some(status),
        _ => None,
    });
    if let Some(status) = refused {
        told["message"] = status.message().into();
        told["code"] = code_name(status.code()).into();
        if let Some(info) = status.get_details_error_info() {
            told["reason"] = info.reason.into();
            told["metadata"] = serde_json::json!(info.metadata);
        }
        let violations = status.get_details_bad_request().map(|bad| bad.field_violations);
        let violations = violations.into_iter().flatten();
        let violations: Vec<_> = violations
            .map(|violation| serde_json::json!({ "field": violation.field, "description": violation.description }))
            .collect();
        if !violations.is_empty() {
            told["fieldViolations"] = violations.into();
        }
    }
    serde_json::json!({ "error": told })
}

/// The name of a code in gRPC's specification, such as `NOT_FOUND`.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

/// The exit code of an error: that of the first cause with one.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error
        .chain()
        .find_map(|cause| match cause.downcast_ref::<Unusable>() {
            Some(_) => Some(USAGE),
            None => match cause.downcast_ref::<sql::Error>() {
                Some(sql::Error::Open { .. }) => Some(4),
                Some(sql::Error::Newer { .. }) => Some(USAGE),
                _ => cause.downcast_ref::<Failed>().map(Failed::exit_code),
            },
        })
        .unwrap_or(1)
}

/// Whether a repeat can help.
pub fn can_be_repeated(status: &Status) -> bool {
    let is_told = status
        .get_details_retry_info()
        .is_some_and(|info| info.retry_delay.is_some());
    let may_be_done = matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::ResourceExhausted
    );
    is_told || may_be_done
}

/// Repeats without any progress, before a transfer is given up.
pub const REPEATS: u32 = 12;
/// Longest wait before a repeat.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Waits before a repeat: the first wait, doubled so often.
pub async fn pause(first: Duration, doublings: u32) {
    // A server may tell any wait.
    let pause = first.saturating_mul(2_u32.pow(doublings.min(6)));
    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn an_error_for_machines_has_what_the_server_added() {
        let mut details = ErrorDetails::new();
        details.set_error_info(
            "RECORD_NOT_FOUND",
            rpc::DOMAIN,
            [("record".to_owned(), "case".to_owned())],
        );
        details.add_bad_request_violation("name", "no such case");
        let status = Status::with_error_details(Code::NotFound, "not found", details);
        let error = anyhow::Error::new(Failed::call("http://here")(status)).context("showing");
        let expected = serde_json::json!({ "error": {
            "exitCode": 3, "message": "not found", "code": "NOT_FOUND", "reason": "RECORD_NOT_FOUND",
            "metadata": { "record": "case" },
            "fieldViolations": [{ "field": "name", "description": "no such case" }],
        }});
        assert_eq!(as_json(&error), expected);
        let usage = Failed::Usage("no file".to_owned()).into();
        assert_eq!(
            as_json(&usage),
            serde_json::json!({ "error": { "exitCode": 2, "message": "no file" } })
        );
    }

    /// A server can say what it likes, but not in the place where our own words stand.
    #[test]
    fn a_servers_words_stand_deeper_than_ours() {
        let mut details = ErrorDetails::new();
        details.set_error_info("REASON\n  reason: OTHER", rpc::DOMAIN, std::collections::HashMap::new());
        details.add_bad_request_violation("a\nb", "c\n  reason: THIRD");
        let status = Status::with_error_details(Code::InvalidArgument, "no\nerror: proof verified\n", details);
        let told = Failed::call("http://here")(status).to_string();
        let ours: Vec<&str> = told.lines().filter(|line| !line.starts_with("      ")).collect();
        assert_eq!(ours, ["no", "  a", "  reason: REASON"], "{told}");
        let strange = Failed::call("http://here")(Status::unknown("a\n  is it running?")).to_string();
        assert_eq!(
            strange.lines().filter(|line| !line.starts_with("      ")).count(),
            2,
            "{strange}"
        );
    }
}
