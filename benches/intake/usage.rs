//! What processes have used, as `/proc` tells (proc(5)).

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// Ticks a second of the times in `/proc`: USER_HZ, 100 on every Linux that we know of.
const TICKS: u64 = 100;

/// The processes that are watched, by pid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched {
    pub(crate) server: u32,
    pub(crate) postgres: u32,
    pub(crate) redis: Option<u32>,
}

/// CPU time used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot {
    server: Duration,
    postgres: Duration,
    redis: Duration,
    generator: Duration,
}

/// CPU time for each sale, microseconds, both cores together.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Cost {
    pub(crate) server: f64,
    pub(crate) postgres: f64,
    pub(crate) redis: f64,
    pub(crate) generator: f64,
}

/// Memory that processes hold, MB of 10^6 bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Memory {
    /// The most that the server has held since it started.
    pub(crate) server_peak: f64,
    /// Of all of Postgres' processes, without what they share.
    pub(crate) postgres: f64,
    pub(crate) redis: f64,
}

impl Snapshot {
    pub(crate) fn take(watched: &Watched) -> Self {
        Self {
            server: used(watched.server).unwrap_or_default(),
            postgres: used_with_children(watched.postgres),
            redis: watched.redis.and_then(used).unwrap_or_default(),
            generator: used(std::process::id()).unwrap_or_default(),
        }
    }

    /// What was used since `before`, for each of so many sales.
    pub(crate) fn cost_since(&self, before: &Self, sales: u64) -> Cost {
        let each = |now: Duration, then: Duration| {
            now.saturating_sub(then).as_secs_f64() * 1e6 / sales.max(1) as f64
        };
        Cost {
            server: each(self.server, before.server),
            postgres: each(self.postgres, before.postgres),
            redis: each(self.redis, before.redis),
            generator: each(self.generator, before.generator),
        }
    }
}

impl Memory {
    pub(crate) fn take(watched: &Watched) -> Self {
        let postgres = std::iter::once(watched.postgres)
            .chain(children(watched.postgres))
            .map(|pid| status_kb(pid, "RssAnon:"))
            .sum();
        Self {
            server_peak: megabytes(status_kb(watched.server, "VmHWM:")),
            postgres: megabytes(postgres),
            redis: megabytes(watched.redis.map_or(0, |pid| status_kb(pid, "VmRSS:"))),
        }
    }
}

fn megabytes(kb: u64) -> f64 {
    kb as f64 * 1024.0 / 1e6
}

/// A field of `/proc/PID/status`, kB of 1024 bytes; 0 for a process that is gone.
fn status_kb(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// The fields of `/proc/PID/stat` after the program's name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    // the state, a letter, becomes 0
    let fields = rest
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0));
    Some(fields.collect())
}

/// User and system time of a process.
fn used(pid: u32) -> Option<Duration> {
    let stat = stat(pid)?;
    Some(ticks(stat.get(11)? + stat.get(12)?))
}

/// The same of a process, its children that have ended, and those that have not.
fn used_with_children(pid: u32) -> Duration {
    let own = stat(pid).and_then(|stat| stat.get(11..15).map(|times| times.iter().sum()));
    let living: Duration = children(pid).filter_map(used).sum();
    ticks(own.unwrap_or(0)) + living
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// The living children of a process.
fn children(parent: u32) -> impl Iterator<Item = u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let pids: Vec<u32> = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect();
    pids.into_iter()
}

/// The machine, for whoever reads the figures later.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) memory_gb: f64,
    pub(crate) kernel: String,
    pub(crate) postgres: String,
}

impl Machine {
    pub(crate) fn look(postgres: String) -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: model.unwrap_or_else(|| "unknown".to_owned()),
            memory_gb: (memory_mb() as f64 * 1.048_576 / 100.0).round() / 10.0,
            kernel: kernel.trim().to_owned(),
            postgres,
        }
    }
}

/// The machine's memory, MiB; 0 where it is not known.
pub(crate) fn memory_mb() -> u64 {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kb = total.and_then(|total| total.split_whitespace().next()?.parse().ok());
    kb.unwrap_or(0) / 1024
}
