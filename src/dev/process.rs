//! Processes that outlive ours, and knowing one again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::DevError;

/// How much of a log is shown with an error.
const TAIL_BYTES: u64 = 4096;

/// A running service: a child of ours, or one that an earlier process of ours left behind.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    identity: Identity,
    child: Option<Child>,
}

/// What tells a service's process from any other that may have got its pid since.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// The program's file name.
    pub(super) program: &'static str,
    /// Where it works: no two services share a directory, and nobody else works in one.
    pub(super) directory: PathBuf,
}

/// A user that a service runs as instead of root.
#[derive(Debug, Clone, Copy)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Process {
    /// The process with this pid, if it is the one that is looked for.
    pub(super) fn recognise(pid: i32, identity: &Identity) -> Option<Self> {
        let pid = Pid::from_raw(pid)?;
        identity.is_of(pid).then(|| Self {
            pid,
            identity: identity.clone(),
            child: None,
        })
    }

    /// Starts `command` so that neither Ctrl-C nor our own end reaches it, writing to `log` alone.
    /// What it inherits of our environment is the search path: no secret of ours is its business.
    pub(super) fn detach(
        mut command: Command,
        identity: Identity,
        log: &Path,
    ) -> Result<Self, DevError> {
        let output = open_log(log).map_err(DevError::io("open", log))?;
        let errors = output.try_clone().map_err(DevError::io("open", log))?;
        let child = isolate(&mut command, &identity.directory)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(DevError::io("run", Path::new(command.get_program())))?;
        Ok(Self {
            pid: Pid::from_child(&child),
            identity,
            child: Some(child),
        })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub(super) fn is_adopted(&self) -> bool {
        self.child.is_none()
    }

    pub(super) fn has_ended(&mut self) -> bool {
        match &mut self.child {
            // a child's pid stays its own until it has been waited for
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => !self.identity.is_of(self.pid),
        }
    }

    /// Sends a signal, unless the process has ended.
    pub(super) fn signal(&mut self, signal: Signal) {
        if !self.has_ended() {
            // it may end between the two; then there is nobody left to tell
            let _ = kill_process(self.pid, signal);
        }
    }
}

impl Identity {
    fn is_of(&self, pid: Pid) -> bool {
        let pid = pid.as_raw_nonzero();
        let (program, directory) = if Path::new("/proc/self/cwd").exists() {
            let proc = PathBuf::from(format!("/proc/{pid}"));
            (
                fs::read_to_string(proc.join("comm")).ok(),
                fs::read_link(proc.join("cwd")).ok(),
            )
        } else {
            let pid = pid.to_string();
            (
                output_of("ps", &["-p", &pid, "-o", "comm="]),
                output_of("lsof", &["-a", "-p", &pid, "-d", "cwd", "-Fn"]).and_then(|text| {
                    text.lines()
                        .find_map(|line| line.strip_prefix('n'))
                        .map(PathBuf::from)
                }),
            )
        };
        let is_program = program.is_some_and(|program| {
            Path::new(program.trim()).file_name() == Some(self.program.as_ref())
        });
        is_program && directory.is_some_and(|directory| directory == self.directory)
    }
}

/// Takes our environment from a command, but for the search path, and gives it a directory.
pub(super) fn isolate<'a>(command: &'a mut Command, directory: &Path) -> &'a mut Command {
    command
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        // messages that we read come in one language
        .env("LC_ALL", "C")
}

/// Runs `command` once its own pid is in `pid_file`. The program itself writes it, in the last
/// moment before it begins: killed at any moment, we never leave behind a process that the next
/// start does not know of.
pub(super) fn with_pid_file(program: &Path, pid_file: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", r#"echo "$$" > "$1" && shift && exec "$@""#, "sh"])
        .arg(pid_file)
        .arg(program);
    command
}

/// The pid in the first line of a pid file.
pub(super) fn read_pid(pid_file: &Path) -> Option<i32> {
    let content = fs::read_to_string(pid_file).ok()?;
    content.lines().next()?.trim().parse().ok()
}

/// The last lines of a log.
pub(super) fn tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_else(|error| format!("(cannot be read: {error})"))
}

/// A loopback port that nobody listens on now. Somebody may in a moment: the one who uses it has
/// to be ready for that.
pub(super) fn free_port() -> Result<u16, DevError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(DevError::io("listen on", Path::new("127.0.0.1")))
}

/// The log of the run before is kept beside the new one.
fn open_log(log: &Path) -> io::Result<File> {
    if log.exists() {
        fs::rename(log, log.with_extension("previous.log"))?;
    }
    OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(log)
}

fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_program_and_its_directory() {
        let directory = std::env::temp_dir().canonicalize().unwrap();
        let mut sleep = Command::new("sleep")
            .arg("60")
            .current_dir(&directory)
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&sleep).as_raw_nonzero().get();
        let identity = |program, directory: &Path| Identity {
            program,
            directory: directory.to_owned(),
        };

        let mut known = Process::recognise(pid, &identity("sleep", &directory)).unwrap();
        let another_program = Process::recognise(pid, &identity("postgres", &directory));
        let another_directory = Process::recognise(pid, &identity("sleep", Path::new("/")));
        known.signal(Signal::KILL);
        sleep.wait().unwrap();

        assert!(another_program.is_none());
        assert!(another_directory.is_none());
        assert!(known.has_ended());
    }

    #[test]
    fn a_tail_is_the_end_of_a_long_log() {
        let log = std::env::temp_dir().join(format!("tail-{}.log", std::process::id()));
        fs::write(&log, "x".repeat(10_000) + "the end\n").unwrap();
        let end = tail(&log);
        fs::remove_file(&log).unwrap();

        assert!(end.ends_with("the end"));
        assert_eq!(end.len() as u64, TAIL_BYTES - 1);
    }
}
