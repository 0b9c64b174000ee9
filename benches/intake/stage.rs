//! The services that everything is measured on, and the server in front of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use counterfoil::anchor::registry::{Terms, deploy, pin};
use counterfoil::chain::{Chain, Signer, install_tls};
use counterfoil::clock::{Clock, Entropy};
use counterfoil::database;
use counterfoil::dev::{ChainOptions, Options, Services};
use counterfoil::http::auth::Role;
use counterfoil::http::keys::{self, NewKey};
use counterfoil::ids::MerchantId;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

use super::baskets::Baskets;
use super::load::{self, Caller, Figures, Pace, Window};
use super::request::Till;
use super::server::{PROGRAM, Plan, Server, TOKEN_KEY};
use super::usage::{Watched, memory_mb};

/// Merchants of the shop's database.
pub(crate) const MERCHANTS: usize = 1_000;
/// How long sealing may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(300);
/// How often the queue is looked at meanwhile.
const POLL: Duration = Duration::from_millis(100);

/// Everything that is running.
pub(crate) struct Stage {
    services: Services,
    /// Where results and logs go.
    pub(crate) out: PathBuf,
    /// The database that sales are recorded in.
    pub(crate) shop: Installed,
    batch_interval: Duration,
    server: Option<Server>,
    /// Loads so far; each names its sales after its number.
    loads: u32,
}

/// A database with our schema, and what was recorded in it.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) url: String,
    /// The merchants and a key of each.
    pub(crate) merchants: Vec<(MerchantId, String)>,
    /// Whether its batches are anchored.
    pub(crate) anchors: bool,
    /// Whether customers sign in and order there.
    pub(crate) takes_orders: bool,
    /// Sales that were acknowledged, each with a key of its own.
    pub(crate) acknowledged: u64,
}

/// What sells, and how.
#[derive(Debug, Clone)]
pub(crate) struct Sale {
    pub(crate) baskets: Arc<Baskets>,
    pub(crate) merchants: usize,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) window: Window,
}

impl Stage {
    /// Starts the services, in place of what a killed run left behind.
    pub(crate) async fn start(batch_interval: Duration) -> anyhow::Result<Self> {
        install_tls();
        let target = Path::new(PROGRAM).parent().and_then(Path::parent);
        let out = target
            .context("the program is in a target directory")?
            .join("bench");
        let options = Options {
            data_dir: out.join("services"),
            reset_chain: true,
            chain: ChainOptions::default(),
            // a quarter of the memory, as docs/OPERATIONS.md has it
            postgres: vec![format!("shared_buffers={}MB", (memory_mb() / 4).max(512))],
        };
        if options.data_dir.exists() {
            Services::start(&options).await?.discard().await?;
        }
        fs::create_dir_all(&out).with_context(|| format!("{} cannot be made", out.display()))?;
        let services = Services::start(&options).await?;
        let shop = Installed {
            url: services.database_url().to_owned(),
            merchants: Vec::new(),
            anchors: true,
            takes_orders: false,
            acknowledged: 0,
        };
        Ok(Self {
            services,
            out,
            shop,
            batch_interval,
            server: None,
            loads: 0,
        })
    }

    /// Makes the schema, the merchants and the registry.
    pub(crate) async fn set_up(&mut self) -> anyhow::Result<()> {
        self.shop.merchants = install(&self.shop.url, MERCHANTS).await?;
        let chain = Chain::new(&SecretString::from(self.services.rpc_url()))?;
        let owner = Signer::development(0).context("there is no development account")?;
        let publisher = Signer::development(1).context("there is no development account")?;
        let terms = Terms {
            owner: owner.account(),
            publisher: publisher.account(),
            first_batch: 1,
        };
        let deployed = deploy(&chain, &owner, &terms).await?;
        pin(&mut self.database().await?, &deployed, &Clock::system()).await?;
        Ok(())
    }

    /// Another database on the same cluster, with the same schema and one merchant.
    pub(crate) async fn another(&self, name: &str) -> anyhow::Result<Installed> {
        let mut db = self.database().await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create database {name}")))
            .execute(&mut db)
            .await?;
        let (server, _) = self
            .shop
            .url
            .rsplit_once('/')
            .context("a database's address")?;
        let url = format!("{server}/{name}");
        let merchants = install(&url, 1).await?;
        Ok(Installed {
            url,
            merchants,
            anchors: false,
            takes_orders: false,
            acknowledged: 0,
        })
    }

    /// Stops the server and starts it on another database or with another task.
    pub(crate) async fn serve(&mut self, on: &Installed, seals: bool) -> anyhow::Result<()> {
        self.stop_server().await?;
        let mut plan = Plan {
            database_url: on.url.clone(),
            redis_url: self.services.redis_url().map(str::to_owned),
            rpc_url: on.anchors.then(|| self.services.rpc_url().to_owned()),
            token_keys: None,
            seals,
            batch_interval: self.batch_interval,
        };
        if on.takes_orders {
            let file = self.out.join("token-keys");
            fs::write(&file, TOKEN_KEY)
                .with_context(|| format!("{} cannot be written", file.display()))?;
            // the program refuses one that everybody may read
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
            plan.token_keys = Some(file);
        }
        self.server = Some(Server::start(&plan, &self.out.join("server.log")).await?);
        Ok(())
    }

    pub(crate) async fn stop_server(&mut self) -> anyhow::Result<()> {
        match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    pub(crate) fn server(&self) -> anyhow::Result<&Server> {
        self.server.as_ref().context("no server is running")
    }

    /// Sells to one of the databases, and notes in it what was acknowledged.
    pub(crate) async fn sell(
        &mut self,
        on: &mut Installed,
        sale: &Sale,
    ) -> anyhow::Result<Figures> {
        self.loads += 1;
        let tokens: Arc<[String]> = on.merchants[..sale.merchants]
            .iter()
            .map(|(_, token)| token.clone())
            .collect();
        let tills = (0..sale.connections)
            .map(|index| Till::new(sale.baskets.clone(), tokens.clone(), self.loads, index))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let (figures, tills) = self.call(tills, sale.pace, sale.window).await?;
        on.acknowledged += tills.iter().map(Till::sent).sum::<u64>();
        Ok(figures)
    }

    /// Puts any load on the server.
    pub(crate) async fn call<C: Caller>(
        &self,
        callers: Vec<C>,
        pace: Pace,
        window: Window,
    ) -> anyhow::Result<(Figures, Vec<C>)> {
        let server = self.server()?;
        // so that no round has another's dirty pages to write
        self.checkpoint().await?;
        load::run(server.address, self.watched()?, callers, pace, window).await
    }

    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        sqlx::raw_sql("checkpoint")
            .execute(&mut self.database().await?)
            .await?;
        Ok(())
    }

    /// Waits until every sale of a database is sealed, and says how long that took.
    pub(crate) async fn catch_up(&self, on: &Installed) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut db = PgConnection::connect(&on.url).await?;
        loop {
            let waits: bool = sqlx::query_scalar("select exists (select from pending_sale)")
                .fetch_one(&mut db)
                .await?;
            if !waits {
                return Ok(began.elapsed());
            }
            ensure!(
                began.elapsed() < CATCH_UP,
                "sealing does not catch up within {CATCH_UP:?}"
            );
            sleep(POLL).await;
        }
    }

    /// A connection to the shop's database as its owner.
    pub(crate) async fn database(&self) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(&self.shop.url).await?)
    }

    pub(crate) fn rpc_url(&self) -> &str {
        self.services.rpc_url()
    }

    /// The processes whose use is measured.
    pub(crate) fn watched(&self) -> anyhow::Result<Watched> {
        Ok(Watched {
            server: self.server()?.pid(),
            postgres: self.postgres_pid()?,
            redis: self.pid("redis/redis.pid").ok(),
        })
    }

    pub(crate) fn postgres_pid(&self) -> anyhow::Result<u32> {
        self.pid("postgres/postmaster.pid")
    }

    fn pid(&self, file: &str) -> anyhow::Result<u32> {
        let path = self.services.data_dir().join(file);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let first = text.lines().next().unwrap_or_default();
        first
            .trim()
            .parse()
            .with_context(|| format!("{} holds no pid", path.display()))
    }

    /// What of all this has ended although nobody stopped it.
    pub(crate) fn dead(&mut self) -> Vec<String> {
        let mut dead = Vec::new();
        if let Some(Err(error)) = self.server.as_mut().map(Server::check) {
            dead.push(error.to_string());
        }
        for (name, file, log) in [
            ("Postgres", "postgres/postmaster.pid", "postgres.log"),
            ("Redis", "redis/redis.pid", "redis.log"),
            ("the local chain", "chain/anvil.pid", "chain.log"),
        ] {
            let lives = self
                .pid(file)
                .is_ok_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
            if !lives {
                dead.push(format!(
                    "{name} ended; its log is {}",
                    self.out.join(log).display()
                ));
            }
        }
        dead
    }

    /// Stops everything and deletes what it stored; the services' logs stay beside the results.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        let stopped = self.stop_server().await;
        for log in ["postgres.log", "redis.log", "chain.log"] {
            // there is none where there is no such service
            let _ = fs::copy(self.services.data_dir().join(log), self.out.join(log));
        }
        self.services.discard().await?;
        stopped
    }
}

/// Makes the schema and so many merchants with a key each.
async fn install(url: &str, merchants: usize) -> anyhow::Result<Vec<(MerchantId, String)>> {
    let secret = SecretString::from(url);
    database::migrate(&secret).await?;
    let mut db = database::connect(&secret).await?;
    let mut tx = db.begin().await?;
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let mut made = Vec::with_capacity(merchants);
    for number in 0..merchants {
        let merchant = MerchantId::new(&clock, &entropy);
        sqlx::query(
            "insert into merchant (merchant_id, legal_name, mode, created_at) values ($1, $2, 'test', now())",
        )
        .bind(merchant.0)
        .bind(format!("Shop {number}"))
        .execute(&mut *tx)
        .await?;
        let new = NewKey {
            merchant,
            role: Role::Admin,
            label: "bench",
            expires_at: None,
        };
        let key = keys::create(&mut tx, &clock, &entropy, &new).await?;
        let (_, key) = key.context("the merchant is gone as soon as it was made")?;
        made.push((merchant, key.expose_secret().to_owned()));
    }
    tx.commit().await?;
    Ok(made)
}
