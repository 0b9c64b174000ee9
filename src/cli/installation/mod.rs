//! A whole installation on this machine, for `dev` and `demo`: private services, a registry on the local
//! chain, a test merchant, and the engine in this process.
//!
//! Everything it is made of lies in the data directory, so that the next start finds the same.
//!
//! - [`payments`]: the local payment provider
//! - [`registry`]: the registry on the local chain, deployed once
//! - [`shop`]: the test merchant and its key, made once
//! - [`accounts`]: the keys of access tokens, made once
//! - [`ready`]: what others need to know of it, as a file

mod accounts;
mod payments;
mod ready;
mod registry;
mod shop;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use counterfoil_proofs::caip::Caip10;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use crate::anchor::fees::Policy;
use crate::anchor::startup::Publisher;
use crate::chain::{Chain, Signer};
use crate::config::{
    AccountArgs, ArchiveArgs, ChainArgs, Config, DatabaseArgs, HttpArgs, LogFormat, PaymentArgs,
    PublisherKeyArgs, RateArgs, Role, WebhookArgs,
};
use crate::dev::payments::LocalProvider;
use crate::dev::{ChainOptions, Options, Services};
use crate::{database, limits, telemetry};
pub(super) use ready::{Ready, write_secret};
pub(super) use shop::Shop;

/// The port of the interface unless one is asked for.
const PORT: u16 = 8080;
/// The file that remembers the port, which stands in every receipt's link.
const PORT_FILE: &str = "port";
/// How often the local chain is looked at.
const CHAIN_POLL: Duration = Duration::from_millis(500);
/// What amounts are converted to wei by.
const FIXED_RATES: [&str; 2] = ["INR=250000.00", "GBP=2400.00"];
/// The development account that deploys and owns the registry.
const OWNER: usize = 0;
/// The development account that anchors.
const PUBLISHER: usize = 1;

/// What an installation is to be like.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Where everything is kept; a temporary directory that is deleted at the end, when none.
    pub(super) data_dir: Option<PathBuf>,
    /// The port; none for the one of the last start, 8080, or a free one where that is taken.
    pub(super) port: Option<u16>,
    /// The batch interval.
    pub(super) interval: Duration,
    /// Begin another local chain; all batches are anchored anew.
    pub(super) reset_chain: bool,
}

/// An installation whose listeners are open; [`Installation::run`] serves.
pub(super) struct Installation {
    services: Services,
    is_temporary: bool,
    engine: Engine,
    provider: LocalProvider,
    /// What others need to know of it.
    pub(super) ready: Ready,
    /// The merchant and its key.
    pub(super) shop: Shop,
    /// The local chain.
    pub(super) chain: Chain,
    /// The registry on it.
    pub(super) registry: Caip10,
}

impl Installation {
    /// Starts the services, or adopts those that an earlier run left behind, and sets up what is missing.
    ///
    /// # Errors
    /// What could not be started or set up, with what to do about it. The services are stopped then.
    pub(super) async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let metrics = telemetry::init_metrics().context("the metrics cannot be set up")?;
        let services = match &plan.data_dir {
            None => Services::start_temporary(ChainOptions::default()).await?,
            Some(data_dir) => {
                let options = Options {
                    data_dir: data_dir.clone(),
                    reset_chain: plan.reset_chain,
                    chain: ChainOptions::default(),
                    postgres: Vec::new(),
                };
                Services::start(&options).await?
            }
        };
        match set_up(plan, &services, metrics).await {
            Ok(Parts {
                engine,
                provider,
                ready,
                shop,
                chain,
                registry,
            }) => {
                let is_temporary = plan.data_dir.is_none();
                Ok(Self {
                    services,
                    is_temporary,
                    engine,
                    provider,
                    ready,
                    shop,
                    chain,
                    registry,
                })
            }
            Err(error) => {
                end(services, plan.data_dir.is_none()).await?;
                Err(error)
            }
        }
    }

    /// Where everything is kept.
    pub(super) fn data_dir(&self) -> &Path {
        self.services.data_dir()
    }

    /// Runs the engine until `stop` is cancelled, then stops the services.
    ///
    /// # Errors
    /// When a service does not stop.
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        self.engine.run(stop).await;
        self.provider.stop().await;
        end(self.services, self.is_temporary).await
    }
}

async fn end(services: Services, is_temporary: bool) -> anyhow::Result<()> {
    if is_temporary {
        services.discard().await?;
    } else {
        services.stop().await?;
    }
    Ok(())
}

/// What is set up once the services are there.
struct Parts {
    engine: Engine,
    provider: LocalProvider,
    ready: Ready,
    shop: Shop,
    chain: Chain,
    registry: Caip10,
}

async fn set_up(
    plan: &Plan,
    services: &Services,
    metrics: PrometheusHandle,
) -> anyhow::Result<Parts> {
    let database_url = SecretString::from(services.database_url());
    database::migrate(&database_url).await?;
    let mut db = database::connect(&database_url).await?;
    let chain = Chain::new(&SecretString::from(services.rpc_url()))?;
    let owner = Signer::development(OWNER).context("there is no development account")?;
    let publisher = Signer::development(PUBLISHER).context("there is no development account")?;
    let registry = registry::current(
        &mut db,
        &chain,
        &owner,
        publisher.account(),
        plan.reset_chain,
    )
    .await?;
    let shop = shop::open(services.data_dir(), &mut db, &database_url).await?;
    let redis_url = services.redis_url().map(SecretString::from);
    let opened = payments::Opened::new(services.data_dir()).await?;
    let mut config = config(
        plan,
        database_url,
        redis_url,
        opened.args(),
        port(plan, services.data_dir())?,
    );
    config.accounts = accounts::args(services.data_dir(), registry.chain_id, services.rpc_url())?;
    let chain_id = registry.chain_id.cast_signed();
    let publishers = vec![Publisher {
        chain: chain.clone(),
        chain_id,
        registry: Some(registry),
        signer: publisher,
        policy: Policy::default(),
        poll: CHAIN_POLL,
    }];
    let engine = Engine::new(&config, publishers, metrics).await?;
    let address = engine
        .api_address()
        .context("the interface has no address")?;
    remember_port(services.data_dir(), address.port())?;
    let ready = Ready::new(
        address,
        engine.metrics_address()?,
        services,
        registry,
        &shop,
        &opened,
    );
    let provider = opened.start(&ready.api_url).await?;
    Ok(Parts {
        engine,
        provider,
        ready,
        shop,
        chain,
        registry,
    })
}

/// The engine's configuration; nothing of it comes from the environment.
fn config(
    plan: &Plan,
    database_url: SecretString,
    redis_url: Option<SecretString>,
    payments: PaymentArgs,
    port: u16,
) -> Config {
    Config {
        database: DatabaseArgs { database_url },
        archives: ArchiveArgs::default(),
        http: HttpArgs {
            listen: loopback(port),
            public_url: None,
            cors_origins: Vec::new(),
            // whoever runs it is its only caller
            rate_limit: 0,
            address_rate_limit: 0,
            trusted_proxies: Vec::new(),
            first_version: true,
        },
        accounts: AccountArgs::default(),
        chain: ChainArgs {
            chains: None,
            rpc_url: Vec::new(),
            registry: None,
            key: PublisherKeyArgs::default(),
            chain_poll: Some(CHAIN_POLL),
        },
        payments,
        // no machine of a developer's asks a feed
        rates: RateArgs {
            rate_emergency: FIXED_RATES.map(str::to_owned).to_vec(),
            ..RateArgs::default()
        },
        // receivers that are being written run beside us
        webhooks: WebhookArgs {
            webhooks_allow_private: true,
        },
        redis_url,
        database_connections: 16,
        metrics_listen: loopback(0),
        role: Role::All,
        migrate: true,
        batch_interval: plan.interval,
        seal_at: u32::try_from(limits::SEAL_AT).unwrap_or(u32::MAX),
        batch_leaves: u32::try_from(limits::BATCH_LEAVES).unwrap_or(u32::MAX),
        log_format: LogFormat::Text,
    }
}

/// The port that was asked for; else the last start's, or 8080; else, where that is taken, a free one.
fn port(plan: &Plan, data_dir: &Path) -> anyhow::Result<u16> {
    if let Some(port) = plan.port {
        return Ok(port);
    }
    let file = data_dir.join(PORT_FILE);
    let remembered = std::fs::read_to_string(&file)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let port = remembered.unwrap_or(PORT);
    match TcpListener::bind(loopback(port)) {
        Ok(_) => Ok(port),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            eprintln!("port {port} is taken; another is used");
            Ok(0)
        }
        Err(error) => Err(error).with_context(|| format!("port {port} cannot be listened on")),
    }
}

fn remember_port(data_dir: &Path, port: u16) -> anyhow::Result<()> {
    let file = data_dir.join(PORT_FILE);
    std::fs::write(&file, port.to_string())
        .with_context(|| format!("{} cannot be written", file.display()))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
