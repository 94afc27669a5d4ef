//! `remit completions` and `remit man`: what a shell and `man` know of the command line, made from
//! its definition.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{cli::Cli, output};

/// Print the completions for a shell
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit completions bash > ~/.local/share/bash-completion/completions/remit
  remit completions fish > ~/.config/fish/completions/remit.fish
  remit completions zsh > ~/.zfunc/_remit")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "remit", &mut script);
        Ok(output::document(&script)?)
    }
}

/// Print the manual page, or write those of all commands
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit man | man -l -
  remit man --dir /usr/local/share/man/man1")]
pub struct Man {
    /// Folder to write a page for each command into
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let Some(dir) = self.dir else {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            return Ok(output::document(&page)?);
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("making the folder {}", dir.display()))?;
        clap_mangen::generate_to(Cli::command(), &dir)
            .with_context(|| format!("writing the pages into {}", dir.display()))
    }
}
