//! What was found: for people, and as JSON.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::load::Figures;
use super::usage::Machine;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// How the measurements were taken.
    pub(crate) conditions: Conditions,
    pub(crate) goals: Vec<Goal>,
    /// pgbench beside ours, by kind of basket.
    pub(crate) ratios: Vec<Ratio>,
    /// All loads, in the order in which they ran.
    pub(crate) loads: Vec<Load>,
    pub(crate) growth: Vec<Level>,
}

/// What has to be known to judge the figures.
#[derive(Debug, Serialize)]
pub(crate) struct Conditions {
    pub(crate) window_seconds: f64,
    pub(crate) rounds: u32,
    pub(crate) batch_interval_seconds: f64,
    pub(crate) quick: bool,
    /// fsync and synchronous_commit on, a checkpoint before each measurement, the generator on the same
    /// cores
    pub(crate) notes: &'static str,
}

/// A goal, and what was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) goal: f64,
    pub(crate) measured: f64,
    pub(crate) reached: bool,
}

/// One load.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// pgbench and ours in turn.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) baskets: &'static str,
    /// Mean length of a request's body and of what pgbench writes as details, bytes.
    pub(crate) body_bytes: usize,
    pub(crate) pgbench_details_bytes: usize,
    /// Transactions a second, by clients; the median of the rounds.
    pub(crate) pgbench: Vec<(u32, f64)>,
    /// The same without the statement that reads the merchant, one round.
    pub(crate) pgbench_writes_alone: Vec<(u32, f64)>,
    /// Sales a second, by connections; the median of the rounds.
    pub(crate) ours: Vec<(usize, f64)>,
    pub(crate) ratio: f64,
    pub(crate) ratio_to_writes_alone: f64,
}

/// What a sale costs at a size of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Level {
    pub(crate) rows: u64,
    /// CPU microseconds of server and Postgres for each sale recorded, and sales a second.
    pub(crate) recording_us: f64,
    pub(crate) recorded_per_second: f64,
    /// Microseconds of the worker for each sale sealed.
    pub(crate) sealing_us: f64,
    /// CPU microseconds of server and Postgres for each proof read, and proofs a second.
    pub(crate) reading_us: f64,
    pub(crate) read_per_second: f64,
}

impl Report {
    pub(crate) fn at_least(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        goal: f64,
        measured: f64,
    ) {
        self.add(what.into(), unit, goal, measured, measured >= goal);
    }

    pub(crate) fn at_most(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        goal: f64,
        measured: f64,
    ) {
        self.add(what.into(), unit, goal, measured, measured <= goal);
    }

    fn add(&mut self, what: String, unit: &'static str, goal: f64, measured: f64, reached: bool) {
        self.goals.push(Goal {
            what,
            unit,
            goal,
            measured,
            reached,
        });
    }

    /// Notes a load, and says what came of it.
    pub(crate) fn load(&mut self, name: impl Into<String>, figures: Figures) {
        let name = name.into();
        let latency = &figures.latency;
        eprintln!(
            "  {name}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
            figures.per_second, latency.p50, latency.p99, latency.p999
        );
        if figures.refused + figures.broken > 0 {
            eprintln!(
                "    sent again: {} refused, {} broken",
                figures.refused, figures.broken
            );
        }
        self.loads.push(Load { name, figures });
    }

    /// The figures of the first load with a name.
    pub(crate) fn find(&self, name: &str) -> Option<&Figures> {
        let load = self.loads.iter().find(|load| load.name == name)?;
        Some(&load.figures)
    }

    /// Writes it as JSON.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = format!("{}\n", serde_json::to_string_pretty(self)?);
        fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
    }

    /// The tables, for people.
    pub(crate) fn print(&self) {
        let Machine {
            cores,
            cpu,
            memory_gb,
            kernel,
            postgres,
        } = &self.machine;
        println!("\n{cores} cores, {cpu}, {memory_gb} GB, Linux {kernel}, {postgres}");
        if self.conditions.quick {
            println!("a smoke run: too short for its figures to mean much");
        }
        self.print_loads();
        self.print_ratios();
        self.print_growth();
        println!("\n  measured      goal");
        for goal in &self.goals {
            println!(
                "{:>10} {:>9} {:<5} {}  {}",
                number(goal.measured),
                number(goal.goal),
                goal.unit,
                if goal.reached {
                    "reached    "
                } else {
                    "NOT REACHED"
                },
                goal.what
            );
        }
    }

    fn print_loads(&self) {
        println!(
            "\n   a second   p50 ms   p99 ms p99.9 ms   µs: server postgres  redis  generator  server MB"
        );
        for Load { name, figures } in &self.loads {
            let (latency, cost) = (&figures.latency, &figures.cost);
            println!(
                "{:>11.0}{:>9.2}{:>9.2}{:>9.2}{:>13.0}{:>9.0}{:>7.0}{:>11.0}{:>11.0}  {name}",
                figures.per_second,
                latency.p50,
                latency.p99,
                latency.p999,
                cost.server,
                cost.postgres,
                cost.redis,
                cost.generator,
                figures.memory.server_peak,
            );
        }
    }

    fn print_ratios(&self) {
        for ratio in &self.ratios {
            println!("\n{} ({} bytes a request)", ratio.baskets, ratio.body_bytes);
            for (clients, tps) in &ratio.pgbench {
                println!("  {tps:>8.0}/s  pgbench, {clients} clients");
            }
            for (clients, tps) in &ratio.pgbench_writes_alone {
                println!(
                    "  {tps:>8.0}/s  pgbench, {clients} clients, without reading the merchant"
                );
            }
            for (connections, rate) in &ratio.ours {
                println!("  {rate:>8.0}/s  acknowledged sales, {connections} connections");
            }
            println!(
                "  {:>8.2}    ratio; {:.2} to pgbench without reading the merchant",
                ratio.ratio, ratio.ratio_to_writes_alone
            );
        }
    }

    fn print_growth(&self) {
        let Some(empty) = self.growth.first() else {
            return;
        };
        println!(
            "\n      rows   recording     sealing     reading   (µs each; of the empty table's)"
        );
        for level in &self.growth {
            let cell = |now: f64, then: f64| format!("{now:>6.1} {:>3.0} %", now / then * 100.0);
            println!(
                "{:>10}{:>12}{:>12}{:>12}",
                level.rows,
                cell(level.recording_us, empty.recording_us),
                cell(level.sealing_us, empty.sealing_us),
                cell(level.reading_us, empty.reading_us),
            );
        }
    }
}

fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}
