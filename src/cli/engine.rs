//! The engine of one process: the HTTP interface, its metrics and the worker, as the configuration says.
//! `serve`, `dev` and `demo` run the same.

mod accounts;

use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::http::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::anchor::startup::Publisher;
use crate::cache::Cache;
use crate::clock::{Clock, Entropy};
use crate::config::{Config, HttpArgs, Role};
use crate::database::trust::Trust;
use crate::database::{self, DatabaseRole};
use crate::http::Site;
use crate::http::keys::Keys;
use crate::http::rate::Rates;
use crate::limits;
use crate::payments::Payments;
use crate::rates::{self, refresh::Refresher};
use crate::sales::archive::Archive;
use crate::sales::intake::Intake;
use crate::sales::kept::Keeper;
use crate::sales::lookup::Lookup;
use crate::sales::{Sales, Services};
use crate::server::{self, Server, Serving};
use crate::shop::{self, Shop};
use crate::webhooks::address::{Addresses, Reach};
use crate::webhooks::send::Sender;
use crate::worker::{self, Worker};

/// How much longer than a request may take the interface is waited for when it stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How often the samples of histograms are folded together.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Connections of the worker: one for each of its loops but those of the chains, and some to spare.
const WORKER_CONNECTIONS: u32 = 9;

/// The parts of a process, with their listeners open and nothing served yet.
pub(super) struct Engine {
    api: Option<Api>,
    worker: Option<Worker>,
    metrics: (TcpListener, PrometheusHandle),
}

struct Api {
    listener: TcpListener,
    service: Serving,
    /// The database, and whether it is the one that it was.
    database: (PgPool, Trust),
    /// Redis.
    cache: Option<Cache>,
    /// The shop, which does some things by itself.
    shop: Shop,
    /// What keeps the rates warm, where there are any.
    refresher: Option<Refresher>,
    /// The writes of the intake, which outlive the requests that they came with.
    writes: TaskTracker,
}

impl Engine {
    /// Puts the parts together. The database must have this program's schema. The worker, where the
    /// configuration wants one, anchors with `publishers`.
    ///
    /// # Errors
    /// What is wrong with the configuration, an address that is taken, a schema of another version.
    pub(super) async fn new(
        config: &Config,
        publishers: Vec<Publisher>,
        metrics: PrometheusHandle,
    ) -> anyhow::Result<Self> {
        database::check_version(&config.database.database_url).await?;
        let trust = Trust::default();
        let api = match config.role {
            Role::Worker => None,
            Role::Api | Role::All => Some(api(config, &trust).await?),
        };
        let worker = match config.role {
            Role::Api => None,
            Role::Worker | Role::All => Some(worker(config, publishers, trust)?),
        };
        let listener = bind(config.metrics_listen, "the metrics").await?;
        Ok(Self {
            api,
            worker,
            metrics: (listener, metrics),
        })
    }

    /// Where the HTTP interface listens, if it does.
    pub(super) fn api_address(&self) -> Option<SocketAddr> {
        self.api
            .as_ref()
            .and_then(|api| api.listener.local_addr().ok())
    }

    /// Where the metrics are served.
    ///
    /// # Errors
    /// When the listener has no address any more.
    pub(super) fn metrics_address(&self) -> std::io::Result<SocketAddr> {
        self.metrics.0.local_addr()
    }

    /// Serves until `stop` is cancelled; then requests in hand are finished, their writes waited for and
    /// the worker's step is ended.
    pub(super) async fn run(self, stop: CancellationToken) {
        let (listener, handle) = self.metrics;
        let router = server::metrics_router(handle.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(keep_small(handle)));
        let metrics = server::serve(listener, router, stop.clone().cancelled_owned());
        let api = serve_api(self.api, stop.clone());
        let work = work(self.worker, stop.clone());
        // whatever ends first ends the others
        tokio::join!(
            ending(metrics, &stop),
            ending(api, &stop),
            ending(work, &stop)
        );
    }
}

/// What was measured since the last scrape is folded together now and then: nobody may ever scrape.
async fn keep_small(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(METRICS_UPKEEP).await;
        metrics.run_upkeep();
    }
}

/// Runs a part, and has the others end when it does.
async fn ending(part: impl Future<Output = ()>, stop: &CancellationToken) {
    part.await;
    stop.cancel();
}

async fn work(worker: Option<Worker>, stop: CancellationToken) {
    match worker {
        Some(worker) => worker::run(worker, stop).await,
        None => stop.cancelled().await,
    }
}

async fn serve_api(api: Option<Api>, stop: CancellationToken) {
    let Some(Api {
        listener,
        service,
        database: (pool, trust),
        cache,
        shop,
        refresher,
        writes,
    }) = api
    else {
        stop.cancelled().await;
        return;
    };
    if let Some(cache) = cache {
        let (pool, stop) = (pool.clone(), stop.clone());
        tokio::spawn(async move { cache.watch(&pool, stop).await });
    }
    if let Some(refresher) = refresher {
        tokio::spawn(refresher.run(stop.clone()));
    }
    let stopped = stop.clone();
    tokio::spawn(async move { trust.watch(&pool, stopped).await });
    let upkeep = tokio::spawn(shop::upkeep::run(shop, stop.clone()));
    let serving = server::serve(listener, service, stop.clone().cancelled_owned());
    let too_long = async {
        stop.cancelled().await;
        tokio::time::sleep(limits::REQUEST_TIME + STOP_GRACE).await;
    };
    tokio::select! {
        () = serving => {}
        () = too_long => tracing::warn!("a connection did not end in time; it is cut"),
    }
    writes.close();
    writes.wait().await;
    if let Err(error) = upkeep.await {
        tracing::error!(error = %error, "the shop's upkeep has broken off");
    }
}

fn worker(config: &Config, publishers: Vec<Publisher>, trust: Trust) -> anyhow::Result<Worker> {
    Ok(Worker {
        pool: database::guarded_pool(
            &config.database.database_url,
            DatabaseRole::Worker,
            WORKER_CONNECTIONS + u32::try_from(publishers.len())?,
            &trust,
        )?,
        trust,
        clock: Clock::system(),
        entropy: Entropy::system(),
        batch_interval: config.batch_interval,
        seal_at: usize::try_from(config.seal_at)?,
        batch_leaves: usize::try_from(config.batch_leaves)?,
        publishers,
        mailer: accounts::mailer(config)?,
        sender: Sender::new(webhook_addresses(config), Clock::system())
            .context("webhooks cannot be sent")?,
    })
}

/// The interface's routes and listener.
async fn api(config: &Config, trust: &Trust) -> anyhow::Result<Api> {
    let listener = bind(config.http.listen, "the interface").await?;
    let address = listener.local_addr()?;
    let writes = TaskTracker::new();
    let cors_origins = config
        .http
        .cors_origins
        .iter()
        .map(|origin| origin_of(origin))
        .collect::<anyhow::Result<_>>()?;
    let pool = database::guarded_pool(
        &config.database.database_url,
        DatabaseRole::Api,
        config.database_connections,
        trust,
    )?;
    let site = site(config, address);
    let accounts = accounts::accounts(config, &pool, &site)?;
    let mut services = services(
        pool.clone(),
        trust.clone(),
        Archive::new(config.archives.archive_dir.clone()),
        site,
        writes.clone(),
    );
    let (exchange, refresher) = rates::settings::of(&config.rates, &services.site.clock)?;
    services.intake = services.intake.converting(exchange);
    let cache = cache(config)?;
    if let Some(cache) = &cache {
        services.intake = services.intake.remembering(cache.clone());
        services.kept = Keeper::new(cache.clone());
    }
    let shop = Shop::new(shop::Services {
        pool: services.pool.clone(),
        trust: services.trust.clone(),
        site: services.site.clone(),
        intake: services.intake.clone(),
        payments: payments(config)?,
    });
    let server = Server {
        sales: Sales::new(services),
        shop: shop.clone(),
        accounts,
        webhooks: webhook_addresses(config),
        first_version: config.http.first_version,
        cors_origins,
        rates: request_rates(&config.http)?,
    };
    Ok(Api {
        listener,
        service: server::service(server),
        database: (pool, trust.clone()),
        cache,
        shop,
        refresher,
        writes,
    })
}

/// The payment provider, where there is one.
fn payments(config: &Config) -> anyhow::Result<Option<Payments>> {
    let payments = Payments::open(&config.payments)?;
    match &payments {
        Some(payments) => {
            let provider = payments.provider();
            let (host, mode) = (provider.host(), provider.mode().as_str());
            tracing::info!(host, mode, "payments are taken");
        }
        None => tracing::info!("there is no payment provider, so no payments are taken"),
    }
    Ok(payments)
}

/// Where webhooks may go.
fn webhook_addresses(config: &Config) -> Addresses {
    Addresses::new(match config.webhooks.webhooks_allow_private {
        true => Reach::Anywhere,
        false => Reach::Public,
    })
}

/// Redis, where there is one.
fn cache(config: &Config) -> anyhow::Result<Option<Cache>> {
    let open = |url| Cache::open(url, Clock::system());
    Ok(config.redis_url.as_ref().map(open).transpose()?)
}

/// The installation as handlers know it.
fn site(config: &Config, address: SocketAddr) -> Site {
    let public_url: Arc<str> = match &config.http.public_url {
        Some(url) => url.trim_end_matches('/').into(),
        None => format!("http://{address}").into(),
    };
    let (clock, entropy) = (Clock::system(), Entropy::system());
    Site {
        public_url,
        pending_max_age: config.batch_interval.as_secs(),
        clock,
        entropy,
    }
}

/// What the routes of sales and receipts share.
fn services(
    pool: PgPool,
    trust: Trust,
    archive: Archive,
    site: Site,
    writes: TaskTracker,
) -> Services {
    Services {
        intake: Intake::new(
            pool.clone(),
            archive.clone(),
            site.clock.clone(),
            site.entropy.clone(),
            writes,
        )
        .trusting(trust.clone()),
        lookup: Lookup::new(&pool, &archive),
        kept: Keeper::default(),
        keys: Keys::new(pool.clone(), site.clock.clone()),
        site,
        pool,
        trust,
    }
}

fn request_rates(http: &HttpArgs) -> anyhow::Result<Rates> {
    let network = |text: &String| {
        let text = text.trim();
        text.parse()
            .with_context(|| format!("--trusted-proxies has {text:?}"))
    };
    Ok(Rates {
        of_key: NonZeroU32::new(http.rate_limit),
        of_address: NonZeroU32::new(http.address_rate_limit),
        trusted_proxies: http
            .trusted_proxies
            .iter()
            .map(network)
            .collect::<anyhow::Result<_>>()?,
    })
}

fn origin_of(text: &str) -> anyhow::Result<HeaderValue> {
    let origin = text.trim();
    let exact = origin
        .split_once("://")
        .is_some_and(|(_, host)| !host.is_empty() && !host.contains(['/', '*']));
    anyhow::ensure!(
        exact,
        "{origin:?} is no origin such as https://shop.example; none may be a pattern"
    );
    HeaderValue::from_str(origin).with_context(|| format!("{origin:?} is no origin"))
}

async fn bind(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{what} cannot listen on {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_exact() {
        for (text, right) in [
            ("https://shop.example", true),
            (" http://localhost:3000", true),
            ("*", false),
            ("https://*.shop.example", false),
            ("https://shop.example/path", false),
            ("shop.example", false),
        ] {
            assert_eq!(origin_of(text).is_ok(), right, "{text}");
        }
    }
}
