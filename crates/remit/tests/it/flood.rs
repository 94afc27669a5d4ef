//! Floods of connections, against a real process that may open few files.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use testkit::eventually;

use crate::cli::remit;

/// `remit serve all` whose files are bounded from the start.
struct Bounded {
    child: Child,
    log: Arc<Mutex<String>>,
    intake: String,
}

impl Bounded {
    fn start(data_dir: &Path, files: u32) -> Self {
        let serve = remit(&["serve", "all", "--data-dir"]);
        let mut command = Command::new("sh");
        for (name, value) in serve.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command
            .args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")])
            .arg(serve.get_program())
            .args(serve.get_args())
            .arg(data_dir)
            .args(["--intake-listen", "127.0.0.1:0", "--routing-listen", "127.0.0.1:0"])
            .args(["--audit-listen", "127.0.0.1:0"])
            .env("REMIT_TELEMETRY_FILTER", "info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let said: Vec<_> = lines.take_while(|line| !line.starts_with("Try")).collect();
        let (log, mut stderr) = (Arc::<Mutex<String>>::default(), child.stderr.take().unwrap());
        let written = Arc::clone(&log);
        thread::spawn(move || {
            let mut part = [0; 4_096];
            while let Ok(read @ 1..) = stderr.read(&mut part) {
                written
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&part[..read]));
            }
        });
        let line = said.iter().find(|line| line.trim_start().starts_with("intake"));
        let address = line
            .and_then(|line| line.split("http://").nth(1))
            .expect("intake's address");
        Self {
            intake: address.split_whitespace().next().unwrap().to_owned(),
            child,
            log,
        }
    }

    /// Processor time that it has used, in ticks of the kernel's clock.
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    fn says(&self, text: &str) -> bool {
        self.log.lock().unwrap().contains(text)
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn status(data_dir: &Path) -> bool {
    let mut command = remit(&["status"]);
    command.env("REMIT_DATA_DIR", data_dir);
    command.output().unwrap().status.success()
}

/// As many idle connections as this test may have itself.
fn idle(address: &str, number: usize) -> Vec<TcpStream> {
    let own = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let number = number.min(usize::try_from(own).unwrap_or(usize::MAX).saturating_sub(100));
    (0..number).filter_map(|_| TcpStream::connect(address).ok()).collect()
}

#[test]
fn idle_connections_beyond_the_files_of_a_process_stop_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let server = Bounded::start(&data_dir, 1_024);
    eventually("it says how many it takes", || {
        server.says("fewer connections than `limits.connections`").then_some(())
    });
    assert!(status(&data_dir));
    // Each at once, and then again, so that all that were open are replaced.
    let _first = idle(&server.intake, 1_090);
    assert!(status(&data_dir), "strangers keep callers out");
    let _second = idle(&server.intake, 300);
    assert!(status(&data_dir), "strangers keep callers out");
    assert!(!server.says("cannot accept connections"), "files ran out");
}

#[test]
fn a_listener_without_descriptors_waits_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let server = Bounded::start(&data_dir, 1_024);
    let pid = Pid::from_child(&server.child);
    let few = Rlimit {
        current: Some(20),
        maximum: Some(1_024),
    };
    // Less than it has open: nothing more can be.
    prlimit(Some(pid), Resource::Nofile, few).unwrap();
    let _waiting = idle(&server.intake, 20);
    eventually("it says that it cannot accept", || {
        server.says("cannot accept connections").then_some(())
    });
    let (before, from) = (server.ticks(), Instant::now());
    thread::sleep(Duration::from_secs(3));
    let (used, passed) = (server.ticks() - before, from.elapsed());
    // A hundred ticks are a second of one core.
    assert!(used < 100, "{used} ticks in {passed:?}: it spins");
    let lines = server.log.lock().unwrap().matches("cannot accept connections").count();
    assert!(lines <= 3, "{lines} lines");
    let enough = Rlimit {
        current: Some(1_024),
        maximum: Some(1_024),
    };
    prlimit(Some(pid), Resource::Nofile, enough).unwrap();
    eventually("it serves again", || status(&data_dir).then_some(()));
}
