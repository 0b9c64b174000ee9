//! `counterfoil serve`

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::engine::Engine;
use super::{anchoring, signals};
use crate::config::Config;
use crate::{database, telemetry};

/// Runs the engine: the HTTP interface, the worker that anchors, or both (--role)
///
/// Every flag has an environment variable. SIGINT or SIGTERM stops it in good order: requests are
/// finished and the worker ends its step. A second signal stops it at once; nothing acknowledged is lost
/// by that either.
///
/// Example: DATABASE_URL=postgres://… RPC_URL=https://… counterfoil serve --role worker
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: Config,
}

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let config = args.config;
    telemetry::init_logs(config.log_format, "info,sqlx=warn");
    let metrics = telemetry::init_metrics().context("the metrics cannot be set up")?;
    let stop = signals::until_told_to_stop()?;
    if config.migrate {
        let applied = database::migrate(&config.database.database_url).await?;
        tracing::info!(applied, "migrated");
    }
    let publishers = anchoring::publishers(&config).await?;
    let engine = Engine::new(&config, publishers, metrics).await?;
    if let Some(address) = engine.api_address() {
        tracing::info!(%address, "listening");
    }
    engine.run(stop).await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
