//! The private Redis: a cache on a loopback port, with a password, without files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::DevError;
use super::data_dir::{DataDir, write_secret};
use super::process::{Identity, Process, free_port, with_pid_file};
use super::service::{self, Running, Service};

const START_LIMIT: Duration = Duration::from_secs(30);
/// The configuration's name in Redis' directory. The password is in it and not among the
/// arguments, which everybody may list.
const CONFIGURATION: &str = "redis.conf";

/// Adopts or starts the Redis of a data directory.
pub(super) async fn start(data_dir: &DataDir, program: &Path) -> Result<Running<String>, DevError> {
    let directory = data_dir.subdirectory("redis")?;
    service::adopt_or_start(&Redis {
        program,
        pid_file: directory.join("redis.pid"),
        directory,
        log: data_dir.join("redis.log"),
        password: data_dir.password("redis.password")?,
    })
    .await
}

/// Stops it. What it held is gone, as a cache's content may be.
pub(super) async fn stop(mut running: Running<String>) -> Result<(), DevError> {
    service::stop(Redis::NAME, &mut running.process, Signal::TERM).await
}

struct Redis<'a> {
    program: &'a Path,
    directory: PathBuf,
    pid_file: PathBuf,
    log: PathBuf,
    password: String,
}

impl Service for Redis<'_> {
    const NAME: &'static str = "Redis";
    const ADVICE: &'static str = "its log says why";
    type Endpoint = String;

    fn identity(&self) -> Identity {
        Identity {
            program: "redis-server",
            directory: self.directory.clone(),
        }
    }

    fn pid_file(&self) -> &Path {
        &self.pid_file
    }

    fn log(&self) -> &Path {
        &self.log
    }

    fn start_limit(&self) -> Duration {
        START_LIMIT
    }

    fn launch(&self) -> Result<Process, DevError> {
        let configuration = format!(
            "bind 127.0.0.1\n\
             port {}\n\
             requirepass {}\n\
             save \"\"\n\
             appendonly no\n\
             maxmemory 256mb\n\
             maxmemory-policy allkeys-lru\n",
            free_port()?,
            self.password,
        );
        write_secret(&self.directory.join(CONFIGURATION), &configuration)?;
        let mut command = with_pid_file(self.program, &self.pid_file);
        command.arg(CONFIGURATION);
        Process::detach(command, self.identity(), &self.log)
    }

    fn endpoint(&self, _pid: i32) -> Option<String> {
        let log = fs::read_to_string(&self.log).ok()?;
        let configuration = fs::read_to_string(self.directory.join(CONFIGURATION)).ok()?;
        let port = configuration
            .lines()
            .find_map(|line| line.strip_prefix("port "))?;
        log.contains("Ready to accept connections")
            .then(|| format!("redis://:{}@127.0.0.1:{port}/", self.password))
    }
}
