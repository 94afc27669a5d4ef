//! `remit`: parses the command line and runs the command.

use std::process::ExitCode;

use clap::Parser as _;
use remit::cli::{self, Cli};

/// Requests make many short-lived allocations on several threads: glibc's allocator takes a tenth
/// of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
