//! `remit token`: give callers tokens.

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

/// Give an agency's system a token to call with
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Make a token for an agency, keep it in the file of tokens and print it
    ///
    /// Servers that use the file accept it within a second or two. To take a token back, take its entry out of the file.
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
        /// The file of tokens [default: that of the data directory]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Data directory of an instance on this machine
        #[arg(long, env = "REMIT_DATA_DIR", default_value = "data", value_name = "DIR")]
        data_dir: PathBuf,
    },
}

impl Command {
    /// Does it.
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
                "{} is not there: name the file that the servers use with --file, or their --data-dir",
                file.display()
            );
            return Err(Failed::Usage(message).into());
        }
        let mut tokens = read(&file)?;
        if tokens.iter().any(|token| token.system == system) {
            let message = format!("the system `{system}` has a token already; name another with --system");
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
