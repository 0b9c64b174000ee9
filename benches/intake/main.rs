//! The load test: the intake against bare Postgres on the same machine.
//!
//!     make bench-intake
//!     cargo bench --bench intake -- --help
//!
//! # Layout
//! - [`sections`]: what is measured, part by part
//! - [`stage`]: the services, and the server under load in a process of its own ([`server`])
//! - [`load`]: connections that send and measure ([`connection`]), by the clock where asked ([`arrivals`])
//! - [`request`], [`baskets`]: what they send; retries are compared byte by byte
//! - [`pgbench`]: the same rows without us
//! - [`ledger`]: whether all that was acknowledged is there, once
//! - [`usage`], [`report`], [`plot`]: CPU and memory of each process; the table, the JSON, the picture

#![expect(
    clippy::float_arithmetic,
    reason = "rates and times; no money is computed here"
)]

mod arguments;
mod arrivals;
mod baskets;
mod connection;
mod draw;
mod ledger;
mod load;
mod pgbench;
mod plot;
mod report;
mod request;
mod sections;
mod server;
mod stage;
mod usage;

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use arguments::Arguments;
use sections::Bench;
use stage::Stage;

/// One thread: the generator shares the machine with what it measures, and should be one of its costs.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut interrupt = signal(SignalKind::interrupt()).context("no handler for a signal")?;
    let mut terminate = signal(SignalKind::terminate()).context("no handler for a signal")?;
    eprintln!("starting Postgres, Redis and a local chain");
    let mut stage = Stage::start(arguments.batch_interval).await?;
    let measured = tokio::select! {
        measured = measure(&arguments, &mut stage) => measured,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("told to stop")),
    };
    let dead = stage.dead();
    eprintln!("stopping the services");
    let ended = stage.end().await;
    if let Err(error) = measured {
        match dead.as_slice() {
            [] => return Err(error),
            dead => bail!("{}\n({error:#})", dead.join("\n")),
        }
    }
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// Measures, and writes what was found, in whole or as far as it got.
async fn measure(arguments: &Arguments, stage: &mut Stage) -> anyhow::Result<()> {
    stage.set_up().await?;
    let out = stage.out.clone();
    let mut bench = Bench::new(arguments, stage).await?;
    let ran = bench.run().await;
    let report = bench.report;
    report.print();
    let (json, svg) = (out.join("intake.json"), out.join("intake.svg"));
    report.write(&json)?;
    plot::draw(&report, &svg)?;
    eprintln!("\n{}\n{}", json.display(), svg.display());
    ran
}
