//! `remit token`: the tokens of callers.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use api::routing::{GetAgencyRequest, directory_service_client::DirectoryServiceClient};
use clap::{Args, Subcommand, ValueEnum};
use decision::directory::{AgencyId, Directory};
use host::{
    config::{Service, nearest},
    data_dir::DataDir,
    token_file::{self, TokenFile, read, secret},
};
use journal::SystemEntropy;
use rpc::{Role, Roles, Token};
use tonic::Code;

use super::directory::offline;
use crate::{
    client::{Access, Failed, RoutingServer},
    output::{self, Paint as _, aside, bad, line},
};

/// List, add, revoke and rotate the tokens of callers
///
/// They are in one file, of which servers notice changes within a second or two: a token that is
/// revoked or rotated ends its open streams, too, and Remit's own services call each other with
/// their new ones. Tokens are printed once, when they are made. The file keeps its owner and its
/// mode, and changes wait for each other.
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    /// The token file [default: that of the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    server: RoutingServer,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Create a token, add it to the token file and print it
    ///
    /// The directory must have the agency: that of --agencies, of --server, or of the instance that
    /// serves from the data directory.
    #[command(after_help = "\
Examples:
  remit token add police-320508
  remit token add police-320508 --system gusu-archive
  remit token add police-320508 --file /etc/remit/tokens.json --agencies agencies.yaml
  remit token add police-320508 --system gusu-review --roles reviewer
  remit token add --role partner --system city-bank
  remit token add --roles directory-editor --system registry-office")]
    Add {
        /// Id of the agency, such as police-320508; for systems of agencies only
        agency: Option<String>,
        /// The usual roles of such a caller [default: agency]
        #[arg(long, value_enum)]
        role: Option<RoleName>,
        /// Single roles instead, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "ROLES", value_parser = one_role, conflicts_with = "role")]
        roles: Vec<Role>,
        /// Name of the calling system [default: the agency's id and `-desk`]
        #[arg(long, value_name = "NAME", required_unless_present = "agency")]
        system: Option<String>,
        /// Agency file that must have the agency, instead of a server's directory
        #[arg(long, value_name = "FILE")]
        agencies: Option<PathBuf>,
        /// Territory file for the agency file [default: the built-in one]
        #[arg(long, value_name = "FILE", requires = "agencies")]
        territories: Option<PathBuf>,
    },
    /// List the systems that have tokens, without the tokens
    #[command(after_help = "Examples:\n  remit token list\n  remit token list --json")]
    List,
    /// Revoke the token of a system; its entry stays, without a token
    #[command(after_help = "Example:\n  remit token revoke police-320508-desk")]
    Revoke {
        /// Name of the system, as `remit token list` shows it
        system: String,
    },
    /// Replace the token of a system, and print the new one
    #[command(after_help = "Example:\n  remit token rotate police-320508-desk")]
    Rotate {
        /// Name of the system, as `remit token list` shows it
        system: String,
    },
    /// Make new tokens for everybody, where the token file is lost
    ///
    /// A start refuses to do so by itself, since it locks out every caller. For the agencies of the
    /// built-in directory; add others with `remit token add`.
    #[command(after_help = "\
Examples:
  remit token renew --data-dir /var/lib/remit
  remit token renew --file /etc/remit/tokens.json")]
    Renew,
}

/// Whose usual roles.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum RoleName {
    /// A system of an agency: submitter, desk, reviewer, supervisor, inspector
    Agency,
    /// A system that passes reports on, a platform, a bank, a hotline: submitter
    Partner,
    /// Runs the services, sees no content: submitter, operator, directory-editor, rules-editor
    Operator,
    /// Reads the log with its details: auditor
    Auditor,
    /// One of Remit's own services, intake, routing or audit: service
    Service,
}

impl From<RoleName> for Roles {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Agency => Self::AGENCY,
            RoleName::Partner => Self::PARTNER,
            RoleName::Operator => Self::OPERATOR,
            RoleName::Auditor => Self::AUDITOR,
            RoleName::Service => Self::SERVICE,
        }
    }
}

fn one_role(name: &str) -> Result<Role, String> {
    Role::named(name).ok_or_else(|| {
        let known = Role::ALL.map(Role::name);
        let meant = nearest(name, known).map(|meant| format!("; did you mean `{meant}`?"));
        format!("is none of {}{}", known.join(", "), meant.unwrap_or_default())
    })
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let json = self.access.json;
        if matches!(self.action, Action::Renew) {
            return renew(self.file.as_deref(), &self.access, json);
        }
        let other_file = self.file.is_some();
        let file = match self.file {
            Some(file) => file,
            None => self.access.layout()?.tokens(),
        };
        if !file.exists() {
            let message = format!(
                "{} does not exist: set the servers' token file with --file, or their --data-dir",
                file.display()
            );
            return Err(Failed::Usage(message).into());
        }
        match self.action {
            Action::Renew => Ok(()),
            Action::List => list(&read(&file)?, json),
            Action::Revoke { system } => {
                change(&file, |tokens| {
                    for entry in entries(tokens, &system, &file)? {
                        entry.token.clear();
                    }
                    Ok(())
                })?;
                match json {
                    true => output::value(&serde_json::json!({ "system": system, "revoked": true })),
                    false => Ok(line(format_args!("the token of {system} is revoked"))?),
                }
            }
            Action::Rotate { system } => {
                let token = secret(&SystemEntropy);
                change(&file, |tokens| {
                    let mut entries = entries(tokens, &system, &file)?.into_iter();
                    if let Some(first) = entries.next() {
                        first.token.clone_from(&token);
                    }
                    // None of the old ones goes on.
                    entries.for_each(|other| other.token.clear());
                    Ok(())
                })?;
                print_token(&system, &token, json)
            }
            Action::Add {
                agency,
                role,
                roles,
                system,
                agencies,
                territories,
            } => {
                if role.is_some_and(|role| role != RoleName::Agency) && agency.is_some() {
                    let message = "only systems of agencies name an agency; leave it out, or the role".to_owned();
                    return Err(Failed::Usage(message).into());
                }
                let roles = match roles.as_slice() {
                    [] => Roles::from(role.unwrap_or(RoleName::Agency)),
                    single => Roles::of(single),
                };
                if let Err(error) = roles.check(agency.is_some()) {
                    return Err(Failed::Usage(format!("the system {error}")).into());
                }
                let agency = agency.as_deref().map(AgencyId::new).transpose();
                let agency = agency.map_err(|error| Failed::Usage(error.to_string()))?;
                let system = match (&agency, system) {
                    (_, Some(system)) => system,
                    (Some(agency), None) => format!("{agency}-desk"),
                    (None, None) => return Err(Failed::Usage("name the system with --system".to_owned()).into()),
                };
                let services = Service::ALL.map(Service::name);
                if roles.is_service() && !services.contains(&system.as_str()) {
                    let message = format!("Remit's own services are {}; `{system}` is none", services.join(", "));
                    return Err(Failed::Usage(message).into());
                }
                require_new(&read(&file)?, &system)?;
                if let Some(agency) = &agency {
                    let known = match agencies {
                        Some(agencies) => Some(offline::has_agency(&agencies, territories.as_deref(), agency)?),
                        // Another file is another deployment's.
                        None if other_file && self.server.address().is_none() => None,
                        None => in_force(&self.access, &self.server, agency).await?,
                    };
                    require_known(agency, known)?;
                }
                let token = secret(&SystemEntropy);
                change(&file, |tokens| {
                    require_new(tokens, &system)?;
                    tokens.push(Token {
                        token: token.clone(),
                        system: system.clone(),
                        agency: agency.map(|agency| agency.to_string()),
                        roles,
                    });
                    Ok(())
                })?;
                print_token(&system, &token, json)
            }
        }
    }
}

/// Changes the tokens as they are when nobody else changes them.
fn change(file: &Path, with: impl FnOnce(&mut Vec<Token>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let held = TokenFile::hold(file)?;
    let mut tokens = held.read()?.unwrap_or_default();
    with(&mut tokens)?;
    host::tokens::table(&tokens)?;
    held.write(&tokens)
}

/// Refuses a system that has an entry.
fn require_new(tokens: &[Token], system: &str) -> anyhow::Result<()> {
    let of: Vec<_> = tokens.iter().filter(|token| token.system == system).collect();
    let state = match of.as_slice() {
        [] => return Ok(()),
        of if of.iter().all(|token| token.is_revoked()) => "has a token that is revoked",
        _ => "already has a token",
    };
    let message = format!(
        "the system `{system}` {state}; choose another with --system, or replace its token with `remit token rotate \
         {system}`"
    );
    Err(Failed::Usage(message).into())
}

/// Refuses an agency that the directory at hand does not have.
fn require_known(agency: &AgencyId, known: Option<bool>) -> anyhow::Result<()> {
    match known {
        Some(true) => Ok(()),
        Some(false) => {
            let message = format!(
                "no agency of the directory is `{agency}`; apply a directory that has it first, or look it up with \
                 `remit directory tree`"
            );
            Err(Failed::Usage(message).into())
        }
        None => {
            aside(format_args!(
                "no directory is at hand: whether it has `{agency}` was not checked; name one with --agencies or --server"
            ));
            Ok(())
        }
    }
}

/// All entries of a system: it may have several tokens.
fn entries<'a>(tokens: &'a mut [Token], system: &str, file: &Path) -> anyhow::Result<Vec<&'a mut Token>> {
    if !tokens.iter().any(|token| token.system == system) {
        let meant = match nearest(system, tokens.iter().map(|token| token.system.as_str())) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "`remit token list` lists them".to_owned(),
        };
        return Err(Failed::NotFound(format!("{} has no system `{system}`; {meant}", file.display())).into());
    }
    Ok(tokens.iter_mut().filter(|token| token.system == system).collect())
}

fn list(tokens: &[Token], json: bool) -> anyhow::Result<()> {
    if json {
        let systems: Vec<_> = tokens
            .iter()
            .map(|token| {
                serde_json::json!({
                    "system": token.system, "roles": token.roles, "agency": token.agency, "revoked": token.is_revoked(),
                })
            })
            .collect();
        return output::value(&serde_json::json!({ "systems": systems }));
    }
    let width = tokens.iter().map(|token| token.system.len()).max().unwrap_or(0);
    let agency = |token: &Token| token.agency.clone().unwrap_or_default();
    let wide = tokens.iter().map(|token| agency(token).len()).max().unwrap_or(0);
    for token in tokens {
        let revoked = if token.is_revoked() { "revoked" } else { "" };
        let roles: Vec<_> = token.roles.iter().map(Role::name).collect();
        line(format_args!(
            "{:width$}  {:wide$}  {}  {}",
            token.system,
            agency(token),
            roles.join(","),
            revoked.style(bad())
        ))?;
    }
    Ok(())
}

fn print_token(system: &str, token: &str, json: bool) -> anyhow::Result<()> {
    match json {
        true => output::value(&serde_json::json!({ "system": system, "token": token })),
        false => Ok(line(token)?),
    }
}

/// Makes the tokens of a file, or of a data directory that no instance serves from.
fn renew(file: Option<&Path>, access: &Access, json: bool) -> anyhow::Result<()> {
    let agencies: BTreeSet<_> = Directory::shipped()
        .agencies()
        .map(|agency| agency.id.to_string())
        .collect();
    let (tokens, file) = match file {
        Some(file) => (token_file::renew(file, &agencies, &SystemEntropy)?, file.to_owned()),
        None => {
            let data_dir = DataDir::open(&access.data_dir()?)?;
            let tokens = data_dir.renew_tokens(&agencies, &SystemEntropy)?;
            (tokens, data_dir.layout().tokens())
        }
    };
    match json {
        true => list(&tokens, true),
        false => Ok(line(format_args!(
            "made {} tokens in {}",
            tokens.len(),
            file.display()
        ))?),
    }
}

/// Whether the directory in force has an agency; `None` if no server is known or it does not
/// respond.
async fn in_force(access: &Access, server: &RoutingServer, agency: &AgencyId) -> anyhow::Result<Option<bool>> {
    if server.address().is_none() && access.layout()?.read_endpoints()?.is_none() {
        return Ok(None);
    }
    // The tokens are of the instance there, not of the cluster that is called elsewhere.
    let routing = access.at_data_dir()?.target(Service::Routing, server.address())?;
    let request = GetAgencyRequest {
        name: agency.resource_name(),
    };
    match DirectoryServiceClient::new(routing.channel).get_agency(request).await {
        Ok(_) => Ok(Some(true)),
        Err(status) if status.code() == Code::NotFound => Ok(Some(false)),
        // The addresses are left over from an instance that was killed.
        Err(status) if status.code() == Code::Unavailable && server.address().is_none() => Ok(None),
        Err(status) => Err(Failed::call(&routing.address)(status).into()),
    }
}
