//! `counterfoil demo`: a shop's day from the till to receipts that are checked against a chain.
//!
//! - [`day`]: the sales of the day, generated
//! - [`walk`]: records them, waits until they are final, and checks every receipt

mod day;
mod walk;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::installation::{Installation, Plan, Ready};
use super::signals;
use crate::config::LogFormat;
use crate::telemetry;
use walk::{Day, Scene};

/// How long sales wait for their batch: short, as somebody watches.
const INTERVAL: Duration = Duration::from_secs(2);
/// Where a demonstration that stays up keeps everything, unless told.
const DATA_DIR: &str = ".counterfoil";

/// Shows everything on this machine: a day of sales, their anchors, every receipt checked
///
/// Starts a private Postgres, Redis where there is one, and a local chain; deploys the registry; records a
/// generated day of sales over the HTTP interface; waits until all are final on the chain; checks every
/// receipt against the chain. Then it stays up, to be looked at, until Ctrl-C.
///
/// Example: counterfoil demo --once
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// End when everything is shown; exits with 0 only if every receipt was verified
    #[arg(long)]
    once: bool,
    /// Where everything is kept [default: .counterfoil; with --once a temporary directory]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Port of the HTTP interface; 0 for a free one
    /// [default: that of the last start, or 8080; a free one where it is taken]
    #[arg(long)]
    port: Option<u16>,
}

pub(super) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    telemetry::init_logs(LogFormat::Text, "warn");
    let stop = signals::until_told_to_stop()?;
    let data_dir = args
        .data_dir
        .or_else(|| (!args.once).then(|| DATA_DIR.into()));
    let plan = Plan {
        data_dir,
        port: args.port,
        interval: INTERVAL,
        reset_chain: false,
    };
    eprintln!("starting Postgres, Redis and a local chain …");
    let installation = Installation::start(&plan).await?;
    let scene = Scene::new(&installation)?;
    let ready = installation.ready.clone();
    let running = tokio::spawn(installation.run(stop.clone()));
    let shown = tokio::select! {
        shown = scene.show() => Some(shown),
        () = stop.cancelled() => None,
    };
    let code = match &shown {
        Some(Ok(day)) => {
            println!("{}", describe(&ready, day));
            if !args.once {
                println!("{}", to_try(&ready, day));
            }
            if day.is_verified() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        // stopped in the middle, so nothing was shown
        Some(Err(_)) | None => ExitCode::FAILURE,
    };
    if args.once || !matches!(shown, Some(Ok(_))) {
        stop.cancel();
    }
    wait(running, stop).await?;
    shown.transpose()?;
    Ok(code)
}

async fn wait(
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let ended = running.await?;
    stop.cancel();
    ended
}

/// What was shown, where to look and what to try.
fn describe(ready: &Ready, day: &Day) -> String {
    let Ready {
        api_url,
        metrics_url,
        chains,
        ..
    } = ready;
    let mut text = format!(
        "\nverified {} of {} receipts against the chain\n\n  API         {api_url}\n  documents   {api_url}/docs and {api_url}/redoc\n  metrics     {metrics_url}\n",
        day.verified, day.receipts
    );
    for chain in chains {
        text.push_str(&format!(
            "  registry    {}\n  chain       {}\n",
            chain.registry, chain.rpc_url
        ));
    }
    text
}

/// Commands that work while the demonstration stays up.
fn to_try(ready: &Ready, day: &Day) -> String {
    let Some((order, chain)) = day.order.as_ref().zip(ready.chains.first()) else {
        return String::new();
    };
    let Ready {
        api_url,
        merchant_id,
        api_key,
        ..
    } = ready;
    // as it was started: nobody has put it on the PATH
    let program = std::env::args().next().unwrap_or_default();
    format!(
        "to try\n  export COUNTERFOIL_KEY={api_key} COUNTERFOIL_URL={api_url}\n  \
         curl -H \"Authorization: Bearer $COUNTERFOIL_KEY\" {api_url}/v1/orders/{order}/proof\n  \
         {program} receipt {order} > receipt.json\n  \
         {program} verify receipt.json --rpc {} --registry {} --merchant {merchant_id}\n  \
         {program} receipt {order} --explorer\n",
        chain.rpc_url, chain.registry
    )
}
