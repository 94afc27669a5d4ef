//! `remit`: parses the command line and does what it says.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use remit::{client, commands, output};

/// Requests allocate much that is short-lived, on several threads: glibc's allocator takes a tenth of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes reports of online harm in, finds the agency whose remit each one is, and proves what happened to it
#[derive(Parser, Debug)]
#[command(
    name = "remit",
    version,
    max_term_width = 120,
    after_help = "\
Exit codes, of all but `remit status`:
  0  done
  1  refused, or failed
  2  not understood: command line, configuration or input
  3  there is no such thing, or not for this caller
  4  a server does not answer
  5  a verification failed

Examples:
  remit demo --serve                                       everything, at work, in one process
  remit serve all --data-dir /var/lib/remit                the same without the examples
  remit report submit report.json --as police-440000       send a report as an agency's system
  remit evidence upload screenshot.png --as police-440000  a file that a report can name
  remit report receipt 7Q2M-…                              what became of it, with proofs
  remit case list --as police-510100                       the cases of an agency
  remit operator load operators.csv                        who operates what, and where
  remit directory locate 320508018 police                  which agency a place leads to
  remit route explain report.json                          where a report would go, and why
  remit log verify                                         check the whole log"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// What each is for stands at its type.
#[derive(Subcommand, Debug)]
enum Command {
    Serve(commands::serve::Command),
    Report(commands::report::Command),
    Evidence(commands::evidence::Command),
    Case(commands::case::Command),
    Operator(commands::operator::Command),
    Directory(commands::directory::Command),
    Route(commands::route::Command),
    Log(commands::log::Command),
    Status(commands::status::Command),
    Witness(commands::witness::Command),
    Demo(commands::demo::Command),
    Token(commands::token::Command),
    Config(commands::config::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Who read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            if !client::is_told(&error) {
                output::error(&error);
            }
            ExitCode::from(client::exit_code(&error))
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(command) => command.run().await,
            Command::Report(command) => command.run().await,
            Command::Evidence(command) => command.run().await,
            Command::Case(command) => command.run().await,
            Command::Operator(command) => command.run().await,
            Command::Directory(command) => command.run().await,
            Command::Route(command) => command.run().await,
            Command::Log(command) => command.run().await,
            Command::Status(command) => command.run().await,
            Command::Witness(command) => command.run().await,
            Command::Demo(command) => command.run().await,
            Command::Token(command) => command.run(),
            Command::Config(command) => command.run(),
        }
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
