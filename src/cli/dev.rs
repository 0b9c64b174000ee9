//! `counterfoil dev`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::installation::{Installation, Plan, Ready};
use super::signals;
use crate::config::LogFormat;
use crate::telemetry;

/// The ready file in the data directory.
const READY_FILE: &str = "ready.json";

/// Runs everything on this machine: private Postgres, Redis and chain, and the engine
///
/// A second start on the same data directory goes on where the first ended, however it ended: services
/// that a killed process left behind are adopted. Ctrl-C stops everything in good order.
///
/// Example: counterfoil dev --data-dir ./shop --interval 2s --ready-file ./shop/ready.json
#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// Where everything is kept
    #[arg(long, default_value = ".counterfoil")]
    data_dir: PathBuf,
    /// Port of the HTTP interface; 0 for a free one
    /// [default: that of the last start, or 8080; a free one where it is taken]
    #[arg(long)]
    port: Option<u16>,
    /// How long sales wait for their batch at most
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// A file (mode 0600) that is written once all is up: addresses, the merchant and its key, as JSON
    /// [default: ready.json in the data directory]
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// Begin another local chain; every batch is anchored on it anew
    #[arg(long)]
    reset_chain: bool,
}

pub(super) async fn run(args: DevArgs) -> anyhow::Result<ExitCode> {
    telemetry::init_logs(LogFormat::Text, "info,sqlx=warn");
    let stop = signals::until_told_to_stop()?;
    let ready_file = args
        .ready_file
        .unwrap_or_else(|| args.data_dir.join(READY_FILE));
    Ready::remove(&ready_file)?;
    let plan = Plan {
        data_dir: Some(args.data_dir),
        port: args.port,
        interval: args.interval,
        reset_chain: args.reset_chain,
    };
    let installation = Installation::start(&plan).await?;
    eprintln!("{}", describe(&installation));
    let ready = installation.ready.clone();
    let running = tokio::spawn(installation.run(stop.clone()));
    // the listeners are open since the start, so whoever reads the file is answered
    let written = ready.write(&ready_file);
    if written.is_err() {
        stop.cancel();
    }
    let ended = running.await?;
    Ready::remove(&ready_file)?;
    written.and(ended)?;
    eprintln!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Where to look and what to try.
fn describe(installation: &Installation) -> String {
    let Ready {
        api_url,
        metrics_url,
        database_url,
        chains,
        payment_url,
        merchant_id,
        api_key,
        ..
    } = &installation.ready;
    let mut text = format!(
        "\nready\n  API         {api_url}\n  documents   {api_url}/docs and {api_url}/redoc\n  \
         metrics     {metrics_url}\n  \
         merchant    {merchant_id}\n  key         {api_key}\n  database    {database_url}\n"
    );
    text.push_str(&format!("  payments    {payment_url}\n"));
    for chain in chains {
        text.push_str(&format!(
            "  chain       {} ({})\n  registry    {}\n",
            chain.rpc_url, chain.name, chain.registry
        ));
    }
    let data_dir = installation.data_dir().display();
    text.push_str(&format!(
        "  mails       {data_dir}/mail\n  data        {data_dir}\n"
    ));
    text
}
