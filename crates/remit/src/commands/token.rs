//! `remit token`: create tokens for callers.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use decision::directory::AgencyId;
use host::{
    data_dir::{Layout, secret, write_tokens},
    tokens::read,
};
use journal::SystemEntropy;
use rpc::{Role, Token, Tokens};

use crate::{client::Failed, output::line};

/// Create a token for an agency's system
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Create a token for an agency, add it to the token file and print it
    ///
    /// Servers that use the file accept it within a second or two. To revoke a token, remove its
    /// entry from the file.
    #[command(after_help = "\
Examples:
  remit token add police-320508
  remit token add police-320508 --system gusu-archive
  remit token add police-320508 --file /etc/remit/tokens.json")]
    Add {
        /// Id of the agency, such as police-320508
        agency: String,
        /// Name of the calling system [default: the agency's id and `-desk`]
        #[arg(long, value_name = "NAME")]
        system: Option<String>,
        /// The token file [default: that of the data directory]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Data directory of an instance on this machine
        #[arg(long, env = "REMIT_DATA_DIR", default_value = "data", value_name = "DIR")]
        data_dir: PathBuf,
    },
}

impl Command {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let Action::Add {
            agency,
            system,
            file,
            data_dir,
        } = self.action;
        let agency = AgencyId::new(&agency).map_err(|error| Failed::Usage(error.to_string()))?;
        let system = system.unwrap_or_else(|| format!("{agency}-desk"));
        let file = file.unwrap_or_else(|| Layout::new(data_dir).tokens());
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
