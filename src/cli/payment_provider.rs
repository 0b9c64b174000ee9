//! `counterfoil payment-provider`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::net::TcpListener;

use super::installation::write_secret;
use super::signals;
use crate::clock::{Clock, Entropy};
use crate::config::LogFormat;
use crate::dev::payments::{self, Options, Secrets, Webhook};
use crate::telemetry;

/// Runs the local payment provider alone, for development and tests: no money moves
///
/// It has Stripe's calls, test cards and signed webhooks. `dev` and `demo` start one beside the engine;
/// this is for an engine that was started otherwise. What it knows is in its data directory and survives a
/// kill.
///
/// Example: counterfoil payment-provider --webhook-url http://127.0.0.1:8080/v1/payments/webhook
#[derive(Debug, Args)]
pub(super) struct PaymentProviderArgs {
    /// Where it listens: an address of loopback, port 0 for a free one
    #[arg(long, default_value = "127.0.0.1:12111")]
    listen: SocketAddr,
    /// Where everything is kept
    #[arg(long, default_value = ".counterfoil/payments")]
    data_dir: PathBuf,
    /// The engine's address for its events
    #[arg(long)]
    webhook_url: String,
    /// A file (mode 0600) that is written once it is up: address, key and webhook secret, as JSON
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

pub(super) async fn run(args: PaymentProviderArgs) -> anyhow::Result<ExitCode> {
    telemetry::init_logs(LogFormat::Text, "info");
    let stop = signals::until_told_to_stop()?;
    if !args.listen.ip().is_loopback() {
        bail!("--listen is an address of loopback: whoever reaches it pays with play money");
    }
    let secrets = Secrets::open(&args.data_dir)?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("nothing can listen on {}", args.listen))?;
    let options = Options {
        directory: args.data_dir,
        key: secrets.key.clone(),
        webhook: Some(Webhook {
            url: args.webhook_url,
            secrets: vec![secrets.webhook.clone()],
        }),
        clock: Clock::system(),
        entropy: Entropy::system(),
    };
    let provider = payments::start(listener, options).await?;
    let ready = json!({
        "payment_url": provider.url(),
        "payment_key": secrets.key.expose_secret(),
        "payment_webhook_secret": secrets.webhook.expose_secret(),
    });
    if let Some(file) = &args.ready_file {
        write_secret(file, &format!("{ready:#}\n"))?;
    }
    println!(
        "export COUNTERFOIL_PAYMENT_URL={}\nexport COUNTERFOIL_PAYMENT_KEY={}\n\
         export COUNTERFOIL_PAYMENT_WEBHOOK_SECRET={}",
        provider.url(),
        secrets.key.expose_secret(),
        secrets.webhook.expose_secret()
    );
    provider.run_until(stop).await;
    Ok(ExitCode::SUCCESS)
}
