//! `remit`: parses the command line and runs the command.

use std::process::ExitCode;

use remit::cli;

/// Requests make many short-lived allocations on several threads: glibc's allocator takes a tenth
/// of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
