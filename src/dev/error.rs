//! What keeps the private services from starting or stopping, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why the private services did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// Binaries that are not on this machine, each with the way to get it.
    #[error("missing on this machine:\n{}", .0.join("\n"))]
    Missing(Vec<String>),
    /// Another process of ours holds the data directory.
    #[error(
        "{} is in use by another process{}: end that one, or choose another --data-dir",
        .data_dir.display(),
        .pid.as_deref().map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        data_dir: PathBuf,
        /// The process that holds it, as far as it is known.
        pid: Option<String>,
    },
    /// A file or a program could not be used.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Postgres refuses to run as root, and no other user is there to run it.
    #[error(
        "Postgres refuses to run as root, and this system has neither a user postgres nor a user \
         nobody: install the system's package postgresql, or run this as an ordinary user"
    )]
    NoUnprivilegedUser,
    /// The cluster belongs to another major version than any that is installed.
    #[error(
        "{} was made by Postgres {cluster}, and only {installed} is installed: \
         install Postgres {cluster}, or choose another --data-dir", .data_dir.display()
    )]
    PostgresVersion {
        /// The cluster.
        data_dir: PathBuf,
        /// The major version that made it.
        cluster: String,
        /// The major versions found here.
        installed: String,
    },
    /// A program that sets a service up failed.
    #[error("{program} failed:\n{output}")]
    SetUp {
        /// Which one.
        program: &'static str,
        /// What it said.
        output: String,
    },
    /// A service ended while it was starting.
    #[error("{service} ended while it was starting; {advice}\nthe end of {}:\n{tail}", .log.display())]
    Exited {
        /// Which one.
        service: &'static str,
        /// What to try.
        advice: &'static str,
        /// Its log.
        log: PathBuf,
        /// The last lines of that log.
        tail: String,
    },
    /// A service runs, but was not ready in time.
    #[error(
        "{service} (pid {pid}) was not ready within {seconds} s and is left running: start again \
         to go on waiting for it, or end it with kill {pid}\nthe end of {}:\n{tail}", .log.display()
    )]
    NotReady {
        /// Which one.
        service: &'static str,
        /// Its process.
        pid: i32,
        /// How long it was given.
        seconds: u64,
        /// Its log.
        log: PathBuf,
        /// The last lines of that log.
        tail: String,
    },
    /// A service was told to end and did not.
    #[error("{service} (pid {pid}) did not end within {seconds} s: end it with kill -9 {pid}")]
    WillNotEnd {
        /// Which one.
        service: &'static str,
        /// Its process.
        pid: i32,
        /// How long it was given.
        seconds: u64,
    },
    /// The chain of this data directory ended without writing its state.
    #[error(
        "local chain lost, use --reset-chain: the chain of {} was killed, and it writes its state \
         only when it is stopped", .data_dir.display()
    )]
    ChainLost {
        /// The directory whose chain it was.
        data_dir: PathBuf,
    },
    /// The chain ended by a signal, and no state of it is there.
    #[error(
        "the local chain ended without writing its state (is the disk full?): the next start will \
         need --reset-chain; its log is {}", .log.display()
    )]
    ChainNotSaved {
        /// The chain's log.
        log: PathBuf,
    },
    /// The chain of this data directory has another id or other accounts.
    #[error(
        "the local chain of {} was begun as {had}, and {wanted} is asked for: \
         use --reset-chain, or choose another --data-dir", .data_dir.display()
    )]
    ChainDiffers {
        /// The directory whose chain it is.
        data_dir: PathBuf,
        /// What it was begun as.
        had: String,
        /// What is asked for now.
        wanted: String,
    },
    /// More than one of the above, the most important first.
    #[error("{}", .0.iter().map(describe).collect::<Vec<_>>().join("\n"))]
    Several(Vec<DevError>),
}

impl DevError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}

/// An error with its sources. Of several errors none is *the* source, so each tells its own.
fn describe(error: &DevError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
