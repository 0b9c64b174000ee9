//! Running the program, and an installation of it that may be killed.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use counterfoil::clock::Entropy;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::process::{Child, Command};

/// How long an installation may take to be up, or to stop.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(20);
/// What a person's environment may hold, and a test must not depend on.
const FOREIGN: [&str; 7] = [
    "DATABASE_URL",
    "REDIS_URL",
    "RPC_URL",
    "COUNTERFOIL_URL",
    "COUNTERFOIL_KEY",
    "COUNTERFOIL_LISTEN",
    "COUNTERFOIL_LOG",
];

/// The program with these arguments, in an environment that says nothing of it.
pub(crate) fn program<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code, or the signal that ended it.
    pub(crate) status: ExitStatus,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Ended {
    /// The same, if it ended with this code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        self
    }
}

/// Runs a command to its end.
pub(crate) async fn run(command: &mut Command) -> Ended {
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        status: output.status,
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// A directory of a test's own; gone when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty one.
    pub(crate) fn new() -> Self {
        let name: String =
            Entropy::system()
                .bytes::<6>()
                .iter()
                .fold(String::new(), |mut name, byte| {
                    let _ = write!(name, "{byte:02x}");
                    name
                });
        let path = std::env::temp_dir().join(format!("counterfoil-it-{name}"));
        std::fs::create_dir(&path).expect("a directory for temporary files");
        Self(path)
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file in it with this content.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // a rest in the directory for temporary files does no harm
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The ready file, whole: an unknown key is as wrong as a missing one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ready {
    pub(crate) api_url: String,
    pub(crate) database_url: String,
    #[serde(deserialize_with = "Option::deserialize")]
    #[expect(dead_code, reason = "that it is there is what is tested")]
    pub(crate) redis_url: Option<String>,
    pub(crate) chains: Vec<ReadyChain>,
    pub(crate) payment_url: String,
    pub(crate) payment_key: String,
    pub(crate) merchant_id: String,
    pub(crate) api_key: String,
}

/// A chain of the ready file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadyChain {
    pub(crate) name: String,
    pub(crate) chain_id: u64,
    pub(crate) rpc_url: String,
    pub(crate) registry: String,
}

/// `counterfoil dev` in a directory. Dropped, it is told to stop and waited for, so that no service is
/// left behind by a test that fails.
pub(crate) struct Dev {
    child: Child,
    /// What it says of itself.
    pub(crate) ready: Ready,
}

impl Dev {
    /// Starts it, or starts it again, and waits until it is up.
    pub(crate) async fn start(scratch: &Scratch, interval: &str) -> Self {
        Self::start_with(scratch, interval, &[]).await
    }

    /// The same, with these flags too.
    pub(crate) async fn start_with(scratch: &Scratch, interval: &str, flags: &[&str]) -> Self {
        let file = scratch.join("ready.json");
        let log = scratch.join("log");
        let log_file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log");
        // what a killed one left behind says nothing of the next
        let _ = std::fs::remove_file(&file);
        let mut child = program(&["dev", "--interval", interval])
            .arg("--data-dir")
            .arg(scratch.join("data"))
            .arg("--ready-file")
            .arg(&file)
            .args(free_port_the_first_time(scratch))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()
            .expect("the program starts");
        let ready = until_ready(&mut child, &file, &log).await;
        Self { child, ready }
    }

    /// Kills the process, and nothing else, as SIGKILL does.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("a process to kill");
    }

    /// Ends it in good order; its exit code.
    pub(crate) async fn stop(mut self) -> Option<i32> {
        terminate(&self.child);
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it stops in time").expect("a process").code()
    }

    /// A command that knows the address and the key.
    pub(crate) fn program(&self, args: &[&str]) -> Command {
        let mut command = program(args);
        command
            .env("COUNTERFOIL_URL", &self.ready.api_url)
            .env("COUNTERFOIL_KEY", &self.ready.api_key);
        command
    }

    /// A command of the operator, who knows the database.
    pub(crate) fn operator(&self, args: &[&str]) -> Command {
        let mut command = program(args);
        command.env("DATABASE_URL", &self.ready.database_url);
        command
    }

    /// Imports a file; how that ended.
    pub(crate) async fn import(&self, file: &Path) -> Ended {
        run(self.program(&["import"]).arg(file)).await
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        terminate(&self.child);
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
    }
}

/// The first start takes any free port; the next ones take the same again by themselves.
fn free_port_the_first_time(scratch: &Scratch) -> &'static [&'static str] {
    if scratch.join("data").exists() {
        &[]
    } else {
        &["--port", "0"]
    }
}

fn terminate(child: &Child) {
    let pid = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(pid) = pid {
        // it may have ended by itself
        let _ = kill_process(pid, Signal::TERM);
    }
}

async fn until_ready(child: &mut Child, file: &Path, log: &Path) -> Ready {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            return serde_json::from_str(&text).expect("a ready file that is whole");
        }
        let ended = child.try_wait().expect("a process");
        assert!(
            ended.is_none() && Instant::now() < deadline,
            "not up ({ended:?}): {}",
            std::fs::read_to_string(log).unwrap_or_default()
        );
        tokio::time::sleep(POLL).await;
    }
}

/// A file of sales with refunds among them, `count` lines, whose order ids begin with `name`.
pub(crate) fn sales(name: &str, count: usize) -> String {
    (0..count).fold(String::new(), |mut file, n| {
        let value = format!("{}.{:02}", n / 7, n % 100);
        let common = format!(
            r#""idempotency_key":"{name}-{n}","order_id":"{name}/{n}","amount":{{"value":"{value}","currency":"EUR"}}"#
        );
        let line = if n % 10 == 9 {
            let of = n - 1;
            format!(r#"{{{common},"kind":"refund","refers_to":"{name}/{of}"}}"#)
                .replace(&value, "0.01")
        } else {
            format!(r#"{{{common},"lines":[{{"sku":"S{n}","quantity":1,"unit_price":"{value}"}}]}}"#)
        };
        let _ = writeln!(file, "{line}");
        file
    })
}
