//! A private PostgreSQL server that ends with the process that started it.
//!
//! A small shell script supervises the server (`supervise.sh`). It holds one end of a pipe from
//! this process and stops the server when the pipe closes: on a normal exit, a panic, an abort and
//! a `kill -9` alike, without `unsafe`.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use url::Url;

/// Accounts to run the server under when we are root, which PostgreSQL refuses. The first existing
/// one is used.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Number of attempts when another process takes the free port before PostgreSQL does.
const ATTEMPTS: usize = 3;

/// Why PostgreSQL could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not installed.
    #[error("PostgreSQL's server programs are neither in PATH nor in /usr/lib/postgresql/*/bin")]
    NotInstalled,
    /// We are root, and no unprivileged account exists.
    #[error("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`")]
    NoUser,
    /// An I/O operation failed.
    #[error("{doing}: {source}")]
    Io {
        /// The operation.
        doing: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The server did not start.
    #[error("PostgreSQL did not start:\n{0}")]
    Start(String),
}

/// A running private server. Stopped and removed when dropped or when this process ends.
#[derive(Debug)]
pub struct Cluster {
    url: Url,
    supervisor: Child,
}

impl Cluster {
    /// Starts a server on a free loopback port and on a socket in a new temporary folder. Takes a
    /// second or two.
    ///
    /// # Errors
    ///
    /// [`Error`]; every variant means that tests on PostgreSQL cannot run here.
    pub fn start() -> Result<Self, Error> {
        let programs = programs().ok_or(Error::NotInstalled)?;
        let account = account()?;
        let mut attempt = 1;
        loop {
            match Self::attempt(&programs, account) {
                Err(Error::Start(log)) if log.contains("could not bind") && attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    /// URL of the superuser's database `postgres`.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    fn attempt(programs: &Path, account: Option<(u32, u32)>) -> Result<Self, Error> {
        let io = |doing| move |source| Error::Io { doing, source };
        let port = free_port().map_err(io("finding a free port"))?;
        let folder = tempfile::Builder::new()
            .prefix("remit-pg-")
            .tempdir()
            .map_err(io("making a folder"))?;
        // Superusers can run programs, so even a short-lived loopback server has a password.
        let password = format!("{:032x}", rand::random::<u128>());
        let password_file = folder.path().join("password");
        std::fs::write(&password_file, &password).map_err(io("writing the password"))?;

        let mut supervisor = Command::new("sh");
        supervisor
            .args(["-c", include_str!("supervise.sh"), "supervise.sh"])
            .args([folder.path(), programs])
            .arg(port.to_string())
            .current_dir(folder.path())
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // An interrupt at the terminal is meant for the tests; the server ends with them.
            .process_group(0);
        if let Some((user, group)) = account {
            for path in [folder.path(), &password_file] {
                chown(path, Some(user), Some(group)).map_err(io("handing over the folder"))?;
            }
            supervisor.uid(user).gid(group);
        }
        let mut supervisor = supervisor.spawn().map_err(io("running sh"))?;
        // The script removes the folder, because it outlives us.
        let _ = folder.keep();

        let said = first_words(&mut supervisor).map_err(io("hearing from the server"))?;
        let cluster = Self {
            url: url(&password, port),
            supervisor,
        };
        if said == READY {
            Ok(cluster)
        } else {
            Err(Error::Start(said))
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Closes the pipe and waits until the server has stopped.
        if let Err(error) = self.supervisor.wait() {
            eprintln!("stopping PostgreSQL: {error}");
        }
    }
}

/// The script's output once the server accepts connections.
const READY: &str = "ready\n";

/// Reads the script's first output: [`READY`], or the complete log of a failed start.
fn first_words(supervisor: &mut Child) -> io::Result<String> {
    let mut stdout = supervisor.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut said = Vec::new();
    (&mut stdout).take(READY.len() as u64).read_to_end(&mut said)?;
    if said != READY.as_bytes() {
        stdout.read_to_end(&mut said)?;
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// URL of the superuser's database.
fn url(password: &str, port: u16) -> Url {
    Url::parse(&format!("postgres://remit:{password}@127.0.0.1:{port}/postgres")).expect("a valid URL")
}

/// Returns a port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Finds the folder of PostgreSQL's server programs: one in `PATH`, or Debian's newest.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = installed
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .collect();
    versions.sort();
    std::env::split_paths(&path)
        .chain(versions.into_iter().rev().map(|(_, version)| version.join("bin")))
        .find(|folder| {
            ["initdb", "pg_ctl", "postgres"]
                .iter()
                .all(|program| folder.join(program).is_file())
        })
}

/// The user and group to run the server as; `None` for our own, unless we are root.
fn account() -> Result<Option<(u32, u32)>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let id = |flag, name| {
        let output = Command::new("id")
            .args([flag, name])
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok()
    };
    UNPRIVILEGED
        .iter()
        .find_map(|name| Some((id("-u", name)?, id("-g", name)?)))
        .map(Some)
        .ok_or(Error::NoUser)
}
