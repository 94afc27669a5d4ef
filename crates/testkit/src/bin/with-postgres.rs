//! `with-postgres COMMAND…`: runs a command, usually a test runner, with a private PostgreSQL
//! server.
//!
//! Test runners with a process per test would otherwise start a server per test. Without
//! PostgreSQL, the command runs anyway, and the last line of output says so. Exits with the
//! command's code.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use testkit::postgres::{Cluster, REQUIRE_VARIABLE, SERVER_VARIABLE, required};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    around().await.unwrap_or_else(|error| {
        eprintln!("with-postgres: {error:#}");
        ExitCode::FAILURE
    })
}

/// Starts the server and runs the command.
async fn around() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let mut command = Command::new(arguments.next().context("usage: with-postgres COMMAND [ARGUMENT…]")?);
    command.args(arguments);

    let given = std::env::var_os(SERVER_VARIABLE).is_some_and(|url| !url.is_empty());
    let cluster = if given { None } else { Some(Cluster::start()) };
    match &cluster {
        None => eprintln!("with-postgres: {SERVER_VARIABLE} is set; using that server"),
        Some(Ok(cluster)) => {
            eprintln!(
                "with-postgres: PostgreSQL on port {}",
                cluster.url().port().unwrap_or_default()
            );
            command.env(SERVER_VARIABLE, cluster.url().as_str());
        }
        Some(Err(error)) if required() => {
            anyhow::bail!("{REQUIRE_VARIABLE} is set, but there is no PostgreSQL: {error}")
        }
        Some(Err(error)) => warn(error),
    }
    let status = run(command).await?;
    if let Some(Err(error)) = &cluster {
        warn(error);
    }
    Ok(code(status))
}

/// Runs the command to its end whatever signals we receive: if we exited first, so would the
/// server.
async fn run(mut command: Command) -> anyhow::Result<ExitStatus> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut child = command
        .spawn()
        .with_context(|| format!("running {}", command.get_program().display()))?;
    let pid = Pid::from_child(&child);
    let mut ended = tokio::task::spawn_blocking(move || child.wait());
    loop {
        tokio::select! {
            status = &mut ended => return Ok(status??),
            // The terminal sends it to the command as well.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => kill_process(pid, Signal::TERM).context("ending the command")?,
        }
    }
}

/// The command's exit code, or the shell's convention for one ended by a signal.
fn code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Warns prominently that PostgreSQL tests are skipped.
fn warn(error: &testkit::postgres::Error) {
    let bar = "*".repeat(100);
    eprintln!("\n{bar}\n*** NO POSTGRESQL: everything that needs it goes UNTESTED.\n*** {error}\n{bar}\n");
}
