//! `remit token`: create tokens for callers.

use std::path::PathBuf;

use api::routing::{GetAgencyRequest, directory_service_client::DirectoryServiceClient};
use clap::{Args, Subcommand};
use decision::directory::AgencyId;
use host::{
    config::Service,
    data_dir::{secret, write_tokens},
    tokens::read,
};
use journal::SystemEntropy;
use rpc::{Role, Token, Tokens};
use tonic::Code;

use super::directory::offline;
use crate::{
    client::{Access, Failed, RoutingServer},
    output::{aside, line},
};

/// Create a token for an agency's system
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    server: RoutingServer,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Create a token for an agency, add it to the token file and print it
    ///
    /// The directory must have the agency: that of --agencies, of --server, or of the instance that
    /// serves from the data directory. Servers that use the file accept the token within a second
    /// or two. To revoke a token, remove its entry from the file.
    #[command(after_help = "\
Examples:
  remit token add police-320508
  remit token add police-320508 --system gusu-archive
  remit token add police-320508 --file /etc/remit/tokens.json --agencies agencies.yaml")]
    Add {
        /// Id of the agency, such as police-320508
        agency: String,
        /// Name of the calling system [default: the agency's id and `-desk`]
        #[arg(long, value_name = "NAME")]
        system: Option<String>,
        /// The token file [default: that of the data directory]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Agency file that must have the agency, instead of a server's directory
        #[arg(long, value_name = "FILE")]
        agencies: Option<PathBuf>,
        /// Territory file for the agency file [default: the built-in one]
        #[arg(long, value_name = "FILE", requires = "agencies")]
        territories: Option<PathBuf>,
    },
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let Action::Add {
            agency,
            system,
            file,
            agencies,
            territories,
        } = self.action;
        let agency = AgencyId::new(&agency).map_err(|error| Failed::Usage(error.to_string()))?;
        let system = system.unwrap_or_else(|| format!("{agency}-desk"));
        let other_file = file.is_some();
        let file = file.unwrap_or_else(|| self.access.layout().tokens());
        if !file.exists() {
            let message = format!(
                "{} does not exist: set the servers' token file with --file, or their --data-dir",
                file.display()
            );
            return Err(Failed::Usage(message).into());
        }
        let mut tokens = read(&file)?;
        if tokens.iter().any(|token| token.system == system) {
            let message = format!("the system `{system}` already has a token; choose another with --system");
            return Err(Failed::Usage(message).into());
        }
        let known = match agencies {
            Some(agencies) => Some(offline::has_agency(&agencies, territories.as_deref(), &agency)?),
            // Another file is another deployment's.
            None if other_file && self.server.address().is_none() => None,
            None => in_force(&self.access, &self.server, &agency).await?,
        };
        match known {
            Some(true) => {}
            Some(false) => {
                let message = format!(
                    "no agency of the directory is `{agency}`; apply a directory that has it first, or look it up with \
                     `remit directory tree`"
                );
                return Err(Failed::Usage(message).into());
            }
            None => aside(format_args!(
                "no directory is at hand: whether it has `{agency}` was not checked; name one with --agencies or --server"
            )),
        }
        let token = secret(&SystemEntropy);
        tokens.push(Token {
            token: token.clone(),
            system,
            agency: Some(agency.to_string()),
            role: Role::Agency,
        });
        Tokens::new(&tokens)?;
        write_tokens(&file, &tokens)?;
        line(token)?;
        Ok(())
    }
}

/// Whether the directory in force has an agency; `None` if no server is known or it does not
/// respond.
async fn in_force(access: &Access, server: &RoutingServer, agency: &AgencyId) -> anyhow::Result<Option<bool>> {
    if server.address().is_none() && access.layout().read_endpoints()?.is_none() {
        return Ok(None);
    }
    let routing = access.target(Service::Routing, server.address())?;
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
