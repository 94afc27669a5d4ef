//! `remit backup`: back up an instance on SQLite while it serves; verify and restore backups.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use host::{
    backup::{self, Damaged, Listed, Step},
    data_dir::Layout,
};
use journal::SystemClock;

use super::config::Settings;
use crate::{
    client::Failed,
    output::{self, Paint as _, Progress, field, good, line, tell, tr},
};

/// Back up an instance on SQLite files, while it serves; verify and restore its backups
///
/// A backup has the three databases as they were at one moment, the evidence, the keys and the
/// tokens: keep it as you keep those. It does not have the newest checkpoint: a database that is
/// restored together with it could not tell that it is old. Copy `log.checkpoint` to another
/// machine all the time, or have witnesses: what was signed after the last copy would be signed
/// again, and differently. Databases on PostgreSQL are backed up with its own tools.
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Make a backup
    ///
    /// The instance may be serving: nobody can write for the moment in which a read is begun in
    /// each database, and reads take no notice. The folder must not exist; it is complete when it
    /// has its name. Keep the digest that is printed elsewhere: with it, a changed backup is
    /// noticed.
    #[command(after_help = "\
Example:
  remit backup create /backups/$(date +%F) --data-dir /var/lib/remit")]
    Create {
        /// The folder to make
        folder: PathBuf,
        /// Data directory; goes before the variable REMIT_DATA_DIR and the configuration file
        /// [default: data]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Compare every file of a backup with what it was when the backup was made
    ///
    /// Exits with 5 if a file is missing, differs, or is not of the backup.
    #[command(after_help = "Example:\n  remit backup verify /backups/2026-11-29")]
    Verify {
        /// The backup
        folder: PathBuf,
        /// The digest that was printed when it was made
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Verify a backup and put it into a data directory without records
    ///
    /// Of the old data directory only `log.checkpoint` may be there, and it has to be the newest:
    /// the log starts if that was signed before the backup; otherwise `remit log recover` says what
    /// to do. Tokens that were revoked after the backup are valid again: revoke them before the
    /// start. Services that start days after the backup need `accept_time_up_to`.
    #[command(after_help = "\
Examples:
  remit backup restore /backups/2026-11-29 --data-dir /var/lib/remit
  remit backup restore /backups/2026-11-29 --data-dir /var/lib/remit --checkpoint /mnt/other/log.checkpoint")]
    Restore {
        /// The backup
        folder: PathBuf,
        /// The data directory to put it into
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// The newest checkpoint of the log that is known, where the data directory does not have
        /// it
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The digest that was printed when it was made
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Create {
                folder,
                data_dir,
                json,
                settings,
            } => {
                let config = settings.load_in(data_dir.as_deref())?;
                let progress = Progress::new(json);
                let made = backup::create(&config, &folder, &SystemClock, &|step| progress.show(words(step))).await;
                progress.clear();
                print(&made?, tr("backed up"), json)
            }
            Action::Verify { folder, sha256, json } => {
                print(&found(backup::verify(&folder, sha256.as_deref()))?, tr("whole"), json)
            }
            Action::Restore {
                folder,
                data_dir,
                checkpoint,
                sha256,
                json,
            } => {
                let restored = backup::restore(&folder, &data_dir, checkpoint.as_deref(), sha256.as_deref());
                let restored = found(restored)?;
                print(&restored, tr("restored"), json)?;
                if json {
                    return Ok(());
                }
                match Layout::new(&data_dir).checkpoint().exists() {
                    true => line(tr(
                        "now start it; if the log refuses, `remit log recover` says what to do",
                    )),
                    false => line(tr(
                        "before you start it, put the newest checkpoint that you or a verifier have kept at log.checkpoint",
                    )),
                }?;
                Ok(())
            }
        }
    }
}

fn words(step: Step) -> &'static str {
    match step {
        Step::Evidence => tr("copies evidence"),
        Step::Databases => tr("copies the databases"),
        Step::Comparing => tr("compares the copies"),
    }
}

/// A backup that is not whole fails as what cannot be verified.
fn found(listed: anyhow::Result<Listed>) -> anyhow::Result<Listed> {
    listed.map_err(|error| match error.downcast::<Damaged>() {
        Ok(damaged) => Failed::Unverified(damaged.to_string()).into(),
        Err(error) => error,
    })
}

fn print(Listed { backup, sha256 }: &Listed, done: &str, json: bool) -> anyhow::Result<()> {
    if json {
        return output::value(&serde_json::json!({
            "time": backup.time, "remit": backup.remit, "files": backup.files(), "bytes": backup.bytes(), "sha256": sha256,
        }));
    }
    line(done.style(good()))?;
    field("of", &backup.time)?;
    field("version", &backup.remit)?;
    field("files", tell("{0}, {1} bytes", &[&backup.files(), &backup.bytes()]))?;
    field("digest", sha256)?;
    Ok(())
}
