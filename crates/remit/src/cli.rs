//! The whole command line, and how a run of it ends.

use std::{path::PathBuf, process::ExitCode};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum as _};
use host::{config, data_dir::Layout};
use jiff::tz::{Offset, TimeZone};

use crate::{
    client, commands,
    context::Contexts,
    output::{self, Language},
    precedence::counting,
    usage,
};

/// Takes reports of online harm in, finds the agency whose remit each one is, and proves what
/// happened to it
#[derive(Parser, Debug)]
#[command(
    name = "remit",
    version = version(),
    max_term_width = 120,
    after_help = "\
Exit codes, of all but `remit status` and `remit migrate`:
  0  done
  1  refused or failed
  2  invalid command line, configuration or input
  3  not found, or not visible to this caller
  4  a server does not respond
  5  a verification failed

Examples:
  remit demo --serve                                       everything in one process, with examples
  remit serve all --data-dir /var/lib/remit                the same without the examples
  remit category show fraud.loan                           what a report of a category needs
  remit report submit report.json --as police-440000       submit a report as an agency's system
  remit evidence upload screenshot.png --as police-440000  upload a file for a report
  remit report receipt 7Q2M-…                              the state of a report, with proofs
  remit case list --as police-510100                       list an agency's cases
  remit notice show 3K9D-…                                 what a notice says to whom a decision affects
  remit operator load operators.csv                        load the operator register
  remit directory locate 320508018 police                  find the agency for a place
  remit route explain report.json                          preview a report's route
  remit log verify                                         verify the whole log
  remit context use production                             call another cluster from now on"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print times in UTC [default: in the zone of the instance that serves from the data
    /// directory, otherwise in that of this machine]
    #[arg(long, global = true)]
    utc: bool,
    /// Language of the output [default: that of the locale, else English]
    #[arg(long, global = true, value_name = "LANGUAGE")]
    lang: Option<Language>,
}

// Types document their subcommands.
#[derive(Subcommand, Debug)]
enum Command {
    Serve(commands::serve::Command),
    Report(commands::report::Command),
    Evidence(commands::evidence::Command),
    Case(commands::case::Command),
    Notice(commands::notice::Command),
    Category(commands::category::Command),
    Operator(commands::operator::Command),
    Directory(commands::directory::Command),
    Route(commands::route::Command),
    Log(commands::log::Command),
    Status(commands::status::Command),
    Health(commands::health::Command),
    Witness(commands::witness::Command),
    Demo(commands::demo::Command),
    Token(commands::token::Command),
    Access(commands::access::Command),
    DevCerts(commands::dev_certs::Command),
    Context(commands::context::Command),
    Config(commands::config::Command),
    Migrate(commands::migrate::Command),
    Backup(commands::backup::Command),
    Completions(commands::manual::Completions),
    Man(commands::manual::Man),
}

/// The version, with the build that `make release` names. Other builds have no name, so that no
/// commit makes them anew.
fn version() -> &'static str {
    match option_env!("BUILD_ID") {
        Some(build) if !build.is_empty() => format!("{} ({build})", env!("CARGO_PKG_VERSION")).leak(),
        _ => env!("CARGO_PKG_VERSION"),
    }
}

/// Parses the command line, runs the command, and tells how it ended.
pub fn run() -> ExitCode {
    let locale = || Language::of_locale(|name| std::env::var(name).ok());
    let parsed = command().try_get_matches().and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))?;
        Ok((matches, cli))
    });
    let (matches, cli) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let asked = asked_language(std::env::args_os());
            output::set_language(asked.unwrap_or_else(locale));
            return ExitCode::from(usage::refused(&error, wants_json(std::env::args_os())));
        }
    };
    output::set_language(cli.lang.unwrap_or_else(locale));
    output::set_zone(zone(cli.utc, &matches));
    host::input::tell_waiting(|what| output::aside(what));
    match try_run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader closed the output.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            if !client::is_told(&error) {
                match wants_json(std::env::args_os()) {
                    true => output::warn_json(&client::as_json(&error)),
                    false => output::error(&error),
                }
            }
            ExitCode::from(client::exit_code(&error))
        }
    }
}

/// The whole command line. What variables contain is nobody's business in a help text.
fn command() -> clap::Command {
    fn hidden(command: clap::Command) -> clap::Command {
        command
            .mut_args(|argument| argument.hide_env_values(true))
            .mut_subcommands(hidden)
    }
    hidden(Cli::command())
}

/// The language that a command line asks for which cannot be read.
fn asked_language(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Option<Language> {
    let mut arguments = arguments.into_iter().take_while(|argument| argument != "--");
    while let Some(argument) = arguments.next() {
        let argument = argument.to_string_lossy().into_owned();
        let named = match argument.strip_prefix("--lang=") {
            Some(named) => Some(named.to_owned()),
            None if argument == "--lang" => arguments.next().map(|named| named.to_string_lossy().into_owned()),
            None => None,
        };
        if let Some(language) = named.and_then(|named| Language::from_str(&named, false).ok()) {
            return Some(language);
        }
    }
    None
}

/// Whether errors are to be JSON, too: on every command, `--json` is the flag for it.
fn wants_json(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> bool {
    let mut flags = arguments.into_iter().take_while(|argument| argument != "--");
    flags.any(|argument| argument == "--json")
}

/// The zone in which people read times: UTC if they ask for it; that of the cluster, in which its
/// deadlines are counted, as the context or the instance in the data directory says; or this
/// machine's.
fn zone(utc: bool, matches: &ArgMatches) -> TimeZone {
    if utc {
        return TimeZone::UTC;
    }
    // What is wrong with a file, the command says when it needs it.
    offset(matches).map_or_else(TimeZone::system, TimeZone::fixed)
}

fn offset(matches: &ArgMatches) -> Option<Offset> {
    let mut of_command = matches;
    while let Some((_, next)) = of_command.subcommand() {
        of_command = next;
    }
    // Of commands that call servers; the others have none.
    of_command.try_contains_id("data_dir").ok()?;
    let place = counting(of_command, client::PLACE).ok()?;
    let given = (place == Some("data_dir")).then(|| of_command.get_one::<PathBuf>("data_dir").cloned());
    let named = (place == Some("context")).then(|| of_command.get_one::<String>("context"));
    let (given, named) = (given.flatten(), named.flatten());
    let contexts = Contexts::read().ok();
    let context = match (&given, &contexts) {
        (None, Some(contexts)) => contexts
            .find(named.map(String::as_str))
            .ok()?
            .map(|(_, context)| context),
        _ => None,
    };
    if let Some(offset) = context.and_then(|context| context.utc_offset.as_deref()) {
        return output::offset(offset);
    }
    let folder = given.or_else(|| context?.data_dir.clone());
    let layout = Layout::new(folder.unwrap_or_else(|| PathBuf::from(client::DATA_DIR)));
    let endpoints = layout.read_endpoints().ok().flatten()?;
    Offset::from_seconds(endpoints.utc_offset_seconds?).ok()
}

/// The environment variables that command lines read.
fn variables(command: &clap::Command) -> Vec<String> {
    let own = command
        .get_arguments()
        .filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned()));
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

fn try_run(cli: Cli) -> anyhow::Result<()> {
    config::check_environment(std::env::vars_os(), &variables(&Cli::command()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(command) => command.run().await,
            Command::Report(command) => command.run().await,
            Command::Evidence(command) => command.run().await,
            Command::Case(command) => command.run().await,
            Command::Notice(command) => command.run().await,
            Command::Category(command) => command.run().await,
            Command::Operator(command) => command.run().await,
            Command::Directory(command) => command.run().await,
            Command::Route(command) => command.run().await,
            Command::Log(command) => command.run().await,
            Command::Status(command) => command.run().await,
            Command::Health(command) => command.run().await,
            Command::Witness(command) => command.run().await,
            Command::Demo(command) => command.run().await,
            Command::Token(command) => command.run().await,
            Command::Access(command) => command.run().await,
            Command::DevCerts(command) => command.run(),
            Command::Context(command) => command.run(),
            Command::Config(command) => command.run().await,
            Command::Migrate(command) => command.run().await,
            Command::Backup(command) => command.run().await,
            Command::Completions(command) => command.run(),
            Command::Man(command) => command.run(),
        }
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
