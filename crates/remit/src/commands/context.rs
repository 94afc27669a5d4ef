//! `remit context`: the clusters that somebody works with, by name.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use host::config::Address;

use crate::{
    client::Failed,
    context::{Context, Contexts},
    output::{self, Paint as _, dim, field, line, strong},
};

/// Keep the addresses and tokens of several clusters by name
///
/// A context stands in for flags: what a flag or an environment variable says goes before it.
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    /// Print JSON for machines
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// List the contexts
    #[command(after_help = "Example:\n  remit context list")]
    List,
    /// Show a context
    #[command(after_help = "Examples:\n  remit context show\n  remit context show production")]
    Show {
        /// Its name [default: the one in use]
        name: Option<String>,
    },
    /// Make a context, or change what is given of one
    #[command(after_help = "\
Examples:
  remit context set production --intake https://intake.remit.example:7301 --routing https://routing.remit.example:7302 \\
      --audit https://audit.remit.example:7303 --token-file ~/.remit/production.token --utc-offset +08:00
  remit context set here --data-dir /var/lib/remit")]
    Set {
        /// Its name
        name: Name,
        #[command(flatten)]
        given: Box<Given>,
    },
    /// Call this cluster from now on
    #[command(after_help = "Examples:\n  remit context use production\n  remit context use --none")]
    Use {
        /// Its name
        #[arg(required_unless_present = "none")]
        name: Option<String>,
        /// None of them: again the data directory, or what flags and variables say
        #[arg(long, conflicts_with = "name")]
        none: bool,
    },
    /// Remove a context; the files that it names stay
    #[command(after_help = "Example:\n  remit context remove production")]
    Remove {
        /// Its name
        name: String,
    },
}

/// What `remit context set` sets.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
struct Given {
    /// Address of intake, such as https://intake.remit.example:7301
    #[arg(long, value_name = "URL", value_parser = address)]
    intake: Option<String>,
    /// Address of routing
    #[arg(long, value_name = "URL", value_parser = address)]
    routing: Option<String>,
    /// Address of audit
    #[arg(long, value_name = "URL", value_parser = address)]
    audit: Option<String>,
    /// File with the token to call with; the token itself is not kept
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of certificate authorities that are believed beside the machine's, for addresses of
    /// https://
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Name in the servers' certificates, where that is not the host of their addresses
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    server_name: Option<String>,
    /// PEM file of the certificate that is shown to servers
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// PEM file of its private key; the key itself is not kept
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Whether something else encrypts what goes to the cluster: then addresses of http:// do, too
    #[arg(long, value_name = "true|false")]
    encrypted_elsewhere: Option<bool>,
    /// File with the log's verifier keys, such as its log.vkey
    #[arg(long, value_name = "FILE")]
    log_key_file: Option<PathBuf>,
    /// Data directory of an instance on this machine
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The zone in which the cluster counts its days, such as +08:00: times are printed in it
    #[arg(long, value_name = "OFFSET", value_parser = offset, allow_hyphen_values = true)]
    utc_offset: Option<String>,
}

/// The name of a context: nothing that a shell or a terminal would read otherwise.
#[derive(Clone, Debug)]
struct Name(String);

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match !text.is_empty() && text.len() <= 63 && text.chars().all(fits) && !text.starts_with('-') {
            true => Ok(Self(text.to_owned())),
            false => Err("must be 1 to 63 letters, digits, `-`, `_` and `.`".to_owned()),
        }
    }
}

fn address(text: &str) -> Result<String, String> {
    let address = Address::try_from(text.to_owned());
    address.map(Into::into).map_err(|error| error.to_string())
}

fn server_name(text: &str) -> Result<String, String> {
    match rpc::tls::check_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn offset(text: &str) -> Result<String, String> {
    match output::offset(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("must be an offset from UTC, such as +08:00".to_owned()),
    }
}

impl Command {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let json = self.json;
        let mut contexts = Contexts::read()?;
        match self.action {
            Action::List => list(&contexts, json),
            Action::Show { name } => match contexts.find(name.as_deref())? {
                Some((name, context)) => show(name, context, json),
                None => {
                    let help = "`remit context use NAME` does, `remit context list` shows all";
                    Err(Failed::NotFound(format!("no context is in use\n  {help}")).into())
                }
            },
            Action::Set {
                name: Name(name),
                given,
            } => {
                let context = contexts.contexts.entry(name.clone()).or_default();
                set(context, *given)?;
                let context = context.clone();
                contexts.write()?;
                show(&name, &context, json)
            }
            Action::Use { name, .. } => {
                contexts.current = match name {
                    Some(name) => Some(contexts.named(&name)?.0.to_owned()),
                    None => None,
                };
                contexts.write()?;
                list(&contexts, json)
            }
            Action::Remove { name } => {
                let name = contexts.named(&name)?.0.to_owned();
                contexts.contexts.remove(&name);
                contexts.current.take_if(|current| *current == name);
                contexts.write()?;
                list(&contexts, json)
            }
        }
    }
}

fn set(context: &mut Context, given: Given) -> anyhow::Result<()> {
    // A context is used from anywhere.
    let whole = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
    let texts = [
        (&mut context.intake, given.intake),
        (&mut context.routing, given.routing),
        (&mut context.audit, given.audit),
        (&mut context.server_name, given.server_name),
        (&mut context.utc_offset, given.utc_offset),
    ];
    for (kept, given) in texts {
        *kept = given.or_else(|| kept.take());
    }
    context.encrypted_elsewhere = given.encrypted_elsewhere.unwrap_or(context.encrypted_elsewhere);
    let paths = [
        (&mut context.token_file, given.token_file),
        (&mut context.ca_file, given.ca_file),
        (&mut context.client_cert, given.client_cert),
        (&mut context.client_key, given.client_key),
        (&mut context.log_key_file, given.log_key_file),
        (&mut context.data_dir, given.data_dir),
    ];
    for (kept, given) in paths {
        *kept = whole(given)?.or_else(|| kept.take());
    }
    Ok(())
}

fn list(contexts: &Contexts, json: bool) -> anyhow::Result<()> {
    if json {
        return output::value(contexts);
    }
    if contexts.contexts.is_empty() {
        line("no contexts; make one with `remit context set NAME`")?;
    }
    for (name, context) in &contexts.contexts {
        let mark = if contexts.current.as_ref() == Some(name) {
            "*"
        } else {
            " "
        };
        let place = match (&context.routing, &context.data_dir) {
            (Some(address), _) => address.clone(),
            (None, Some(folder)) => folder.display().to_string(),
            (None, None) => String::new(),
        };
        line(format_args!(
            "{mark} {:20}  {}",
            name.style(strong()),
            place.style(dim())
        ))?;
    }
    Ok(())
}

fn show(name: &str, context: &Context, json: bool) -> anyhow::Result<()> {
    if json {
        return output::value(&serde_json::json!({ "name": name, "context": context }));
    }
    line(name.style(strong()))?;
    let path = |path: &Option<PathBuf>| path.as_deref().map(Path::display).map(|path| path.to_string());
    for (label, value) in [
        ("intake", context.intake.clone()),
        ("routing", context.routing.clone()),
        ("audit", context.audit.clone()),
        ("token file", path(&context.token_file)),
        ("ca file", path(&context.ca_file)),
        ("client certificate", path(&context.client_cert)),
        ("client key", path(&context.client_key)),
        ("server name", context.server_name.clone()),
        (
            "encrypted elsewhere",
            context.encrypted_elsewhere.then(|| "true".to_owned()),
        ),
        ("log key", path(&context.log_key_file)),
        ("data dir", path(&context.data_dir)),
        ("utc offset", context.utc_offset.clone()),
    ] {
        if let Some(value) = value {
            field(label, value)?;
        }
    }
    Ok(())
}
