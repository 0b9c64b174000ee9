//! The flags of the load test.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Parts of the load test, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// pgbench and ourselves in turn, baskets of three lines
    Ratio,
    /// The same with the shop's own baskets
    Shop,
    /// A minute at full load, sealing and anchoring
    Sustained,
    /// Latency of arrivals by the clock, at 500 a second and at 70 % of the maximum
    Latency,
    /// 1, 100 and 1,000 merchants
    Merchants,
    /// Proofs read
    Proofs,
    /// The intake with and without sealing beside it, and how long sealing takes
    Sealing,
    /// The intake with an audit beside it
    Audit,
    /// The intake with and without a loyalty programme by which every sale earns
    Points,
    /// Carts filled and ordered, 200 a second by the clock
    Carts,
    /// Recording, sealing and reading on a table that grows
    Growth,
}

/// Measures the intake against bare Postgres on this machine
///
/// Starts a Postgres, a Redis, a local chain and the server of its own, puts them under load in turn with
/// pgbench, checks that every acknowledged sale is there, once, and stops all of it. Nothing else should
/// run on the machine meanwhile. Results: bench/intake.json and bench/intake.svg in the target directory.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo bench --bench intake --")]
pub(crate) struct Arguments {
    /// A smoke run of about a minute: every part, too short for its figures to mean much
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these parts, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Section>,
    /// Seconds of each measurement [default: 10, with --quick 2]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: Option<u64>,
    /// How often pgbench and we take turns [default: 3, with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: Option<u32>,
    /// Rows of the largest table in the part growth; 10000000 takes a quarter of an hour and 55 GB of disk,
    /// 25 more after all other parts
    /// [default: 1000000, with --quick 20000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=100_000_000))]
    pub(crate) rows: Option<u64>,
    /// How long sales wait for their batch at most
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) batch_interval: Duration,
    /// Directory of the shop's sales as JSON lines; without it baskets of the same distribution are made up
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"))]
    pub(crate) data: PathBuf,
    /// What `cargo bench` says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    /// Whether a part is wanted.
    pub(crate) fn wants(&self, section: Section) -> bool {
        self.only.is_empty() || self.only.contains(&section)
    }

    /// How long one measurement takes.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { 2 } else { 10 }))
    }

    /// How long the sustained load takes.
    pub(crate) fn sustained(&self) -> Duration {
        if self.quick {
            self.window() * 2
        } else {
            (self.window() * 6).max(Duration::from_secs(60))
        }
    }

    /// How long latency is measured: long enough for a thousandth of the answers to be many.
    pub(crate) fn latency(&self) -> Duration {
        self.window() * 3
    }

    /// Turns of pgbench and ours.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// Rows of the largest table.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
            .unwrap_or(if self.quick { 20_000 } else { 1_000_000 })
    }
}
