//! What the tests stand on: a database of its own for each, a server in this process, and a client.

mod client;
mod database;
mod dice;
mod payments;
mod problem;
mod redis;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use counterfoil::accounts::Accounts;
use counterfoil::accounts::wallet::checks::Wallets;
use counterfoil::cache::Cache;
use counterfoil::chain::Chain;
use counterfoil::clock::{Clock, Entropy};
use counterfoil::database::DatabaseRole;
use counterfoil::database::trust::Trust;
use counterfoil::http::Site;
use counterfoil::http::auth::Role;
use counterfoil::http::keys::{self, Keys, NewKey};
use counterfoil::http::rate::Rates;
use counterfoil::http::tokens::{SigningKeys, Tokens};
use counterfoil::ids::MerchantId;
use counterfoil::payments::Payments;
use counterfoil::rates::exchange::Exchange;
use counterfoil::sales::archive::Archive;
use counterfoil::sales::intake::Intake;
use counterfoil::sales::kept::Keeper;
use counterfoil::sales::lookup::Lookup;
use counterfoil::sales::{Sales, Services};
use counterfoil::server::{self, Server};
use counterfoil::shop::{self, Shop};
use counterfoil::webhooks::address::{Addresses, Reach};
use counterfoil::webhooks::send::Sender;
use secrecy::ExposeSecret;
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub(crate) use client::{Answer, Client, sale};
pub(crate) use database::Database;
pub(crate) use dice::Dice;
pub(crate) use payments::{LocalProvider, PAYMENT_KEY};
pub(crate) use problem::{check_document, faults_of};
pub(crate) use redis::{Cluster, Redis, Watched};

/// The address customers are told, wherever the test's server really listens.
pub(crate) const PUBLIC_URL: &str = "https://receipts.example";
/// The origin that may call.
pub(crate) const ORIGIN: &str = "https://shop.example";

/// The key that the test's servers sign access tokens with.
pub(crate) const TOKEN_KEY: &str =
    "0101010101010101010101010101010101010101010101010101010101010101";
/// The password of every account that a test makes.
pub(crate) const PASSWORD: &str = "a long sentence is best";

/// The local chain's id.
pub(crate) const CHAIN_ID: u64 = 31337;

/// The local chain.
pub(crate) fn rpc_url() -> String {
    std::env::var("RPC_URL").expect("RPC_URL: run the tests with `counterfoil with-services`")
}

/// A database, servers on it, and a merchant with an admin's key.
pub(crate) struct App {
    /// The first server.
    pub(crate) server: Running,
    /// The merchant.
    pub(crate) merchant: MerchantId,
    /// A client with its admin key.
    pub(crate) admin: Client,
    /// The database; dropped last.
    pub(crate) db: Database,
}

impl App {
    /// Everything fresh, by the machine's clock.
    pub(crate) async fn start() -> Self {
        let db = Database::create().await;
        let server = Running::start(&db, Clock::system()).await;
        let merchant = merchant(&db, "live").await;
        let key = key(&db, merchant, Role::Admin, None).await;
        let admin = Client::new(&server.url, Some(&key));
        Self {
            server,
            merchant,
            admin,
            db,
        }
    }

    /// A new customer who has signed in.
    pub(crate) async fn customer(&self) -> Client {
        self.customer_called(&someone()).await
    }

    /// The same, with this e-mail address.
    pub(crate) async fn customer_called(&self, email: &str) -> Client {
        self.admin.sign_up(self.merchant, email).await
    }

    /// Another merchant, and a client with its admin key.
    pub(crate) async fn stranger(&self) -> (MerchantId, Client) {
        let stranger = merchant(&self.db, "live").await;
        let key = key(&self.db, stranger, Role::Admin, None).await;
        (stranger, self.admin.with_key(Some(&key)))
    }
}

/// A server in this process; it stops when dropped.
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) url: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    writes: TaskTracker,
    _watching: DropGuard,
}

/// What a server is to have beside the database.
#[derive(Default)]
struct Wish<'a> {
    cache: Option<Cache>,
    rates: Rates,
    payments: Option<Payments>,
    exchange: Exchange,
    accounts: Option<MakeAccounts<'a>>,
}

/// Makes the accounts of a server on this pool.
type MakeAccounts<'a> = Box<dyn FnOnce(PgPool, &Site) -> Accounts + Send + 'a>;

impl Running {
    /// A server on a free port of this machine, which takes any number of requests.
    pub(crate) async fn start(db: &Database, clock: Clock) -> Self {
        Self::with(db, clock, Wish::default()).await
    }

    /// The same, which converts amounts to wei; with a Redis where one is given.
    pub(crate) async fn converting(
        db: &Database,
        exchange: Exchange,
        cache: Option<Cache>,
    ) -> Self {
        let wish = Wish {
            exchange,
            cache,
            ..Wish::default()
        };
        Self::with(db, Clock::system(), wish).await
    }

    /// The same, with a Redis.
    pub(crate) async fn start_beside(db: &Database, clock: Clock, cache: Option<Cache>) -> Self {
        let wish = Wish {
            cache,
            ..Wish::default()
        };
        Self::with(db, clock, wish).await
    }

    /// One that takes so many.
    pub(crate) async fn limited(db: &Database, clock: Clock, rates: Rates) -> Self {
        let wish = Wish {
            rates,
            ..Wish::default()
        };
        Self::with(db, clock, wish).await
    }

    /// One whose accounts are made as `of` says.
    pub(crate) async fn with_accounts(
        db: &Database,
        clock: Clock,
        of: impl FnOnce(PgPool, &Site) -> Accounts + Send,
    ) -> Self {
        let wish = Wish {
            accounts: Some(Box::new(of)),
            ..Wish::default()
        };
        Self::with(db, clock, wish).await
    }

    /// One whose shop has a payment provider, and does by itself what it has to.
    pub(crate) async fn selling(db: &Database, clock: Clock, payments: Payments) -> Self {
        let wish = Wish {
            payments: Some(payments),
            // so that each customer may come from an address of its own
            rates: Rates {
                trusted_proxies: vec!["127.0.0.0/8".parse().expect("a network")],
                ..Rates::default()
            },
            ..Wish::default()
        };
        Self::with(db, clock, wish).await
    }

    async fn with(db: &Database, clock: Clock, wish: Wish<'_>) -> Self {
        let Wish {
            cache,
            rates,
            payments,
            exchange,
            accounts,
        } = wish;
        let trust = Trust::default();
        let pool = db.guarded_pool(DatabaseRole::Api, &trust);
        let archive = Archive::new(Some(db.archive_directory()));
        let writes = TaskTracker::new();
        let site = site(&clock);
        let mut intake = Intake::new(
            pool.clone(),
            archive.clone(),
            clock.clone(),
            site.entropy.clone(),
            writes.clone(),
        )
        .trusting(trust.clone())
        .converting(exchange);
        let watching = CancellationToken::new();
        let mut kept = Keeper::default();
        if let Some(cache) = cache {
            intake = intake.remembering(cache.clone());
            kept = keeping(cache, &pool, &watching);
        }
        watch(&trust, &pool, &watching);
        let shop = Shop::new(shop::Services {
            pool: pool.clone(),
            trust: trust.clone(),
            site: site.clone(),
            intake: intake.clone(),
            payments,
        });
        if shop.payments.is_some() {
            tokio::spawn(shop::upkeep::run(shop.clone(), watching.clone()));
        }
        let accounts = accounts.unwrap_or_else(|| Box::new(own_accounts))(pool.clone(), &site);
        let sales = Sales::new(Services {
            intake,
            lookup: Lookup::new(&pool, &archive),
            kept,
            keys: Keys::new(pool.clone(), clock),
            pool,
            trust,
            site,
        });
        let router = server::service(Server {
            shop,
            accounts,
            sales,
            webhooks: Addresses::new(Reach::Anywhere),
            first_version: true,
            cors_origins: vec![HeaderValue::from_static(ORIGIN)],
            rates,
        });
        let (listener, url) = listen().await;
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let task = tokio::spawn(server::serve(listener, router, shutdown));
        Self {
            url,
            stop: Some(stop),
            task,
            writes,
            _watching: watching.drop_guard(),
        }
    }

    /// Tells it to stop, as a signal does, and waits until it has.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.expect("the server ended");
        self.writes.close();
        self.writes.wait().await;
    }
}

/// What tells webhook endpoints of events.
pub(crate) fn sender(reach: Reach, clock: &Clock) -> Sender {
    Sender::new(Addresses::new(reach), clock.clone()).expect("a client")
}

/// An e-mail address that nobody has.
pub(crate) fn someone() -> String {
    let id = Uuid::from_bytes(Entropy::system().bytes()).simple();
    format!("{id}@shop.example")
}

/// What keeps final answers in this Redis.
fn keeping(cache: Cache, pool: &PgPool, until: &CancellationToken) -> Keeper {
    let kept = Keeper::new(cache.clone());
    let (pool, until) = (pool.clone(), until.clone());
    tokio::spawn(async move { cache.watch(&pool, until).await });
    kept
}

/// Looks again and again whether the database is the one that it was.
fn watch(trust: &Trust, pool: &PgPool, until: &CancellationToken) {
    let (trust, pool, until) = (trust.clone(), pool.clone(), until.clone());
    tokio::spawn(async move { trust.watch(&pool, until).await });
}

/// An installation by this clock.
fn site(clock: &Clock) -> Site {
    Site {
        public_url: Arc::from(PUBLIC_URL),
        pending_max_age: 7,
        clock: clock.clone(),
        entropy: Entropy::system(),
    }
}

/// A free port of this machine.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, url)
}

/// Accounts as every test's server has them.
fn own_accounts(pool: PgPool, site: &Site) -> Accounts {
    accounts_with(pool, site, Some(TOKEN_KEY), &rpc_url())
}

/// Accounts with these token keys, whose wallets may be contracts of the chain at this address. They sign in
/// at the shop.
pub(crate) fn accounts_with(pool: PgPool, site: &Site, keys: Option<&str>, rpc: &str) -> Accounts {
    let keys = keys.map(|keys| SigningKeys::parse(&keys.into()).expect("keys"));
    let sends_mail = keys.is_some();
    let (clock, issuer) = (site.clock.clone(), site.public_url.clone());
    let tokens = Tokens::new(pool, clock, issuer, keys);
    let domain = ORIGIN.trim_start_matches("https://").to_owned();
    let chain = Chain::new(&rpc.into()).expect("the address of an RPC");
    let wallets = Wallets::new(vec![domain], [(CHAIN_ID, chain)].into());
    Accounts::new(tokens, wallets, sends_mail, &site.entropy)
}

/// A new merchant; `mode` is `live` or `test`.
pub(crate) async fn merchant(db: &Database, mode: &str) -> MerchantId {
    let id = MerchantId::new(&Clock::system(), &Entropy::system());
    sqlx::query("insert into merchant (merchant_id, legal_name, mode, created_at) values ($1, 'Shop', $2, now())")
        .bind(id.0)
        .bind(mode)
        .execute(&db.owner)
        .await
        .expect("a merchant");
    id
}

/// A new key's text.
pub(crate) async fn key(
    db: &Database,
    merchant: MerchantId,
    role: Role,
    expires_at: Option<OffsetDateTime>,
) -> String {
    let new = NewKey {
        merchant,
        role,
        label: "test",
        expires_at,
    };
    let mut owner = db.owner.acquire().await.expect("a connection");
    let made = keys::create(&mut owner, &Clock::system(), &Entropy::system(), &new).await;
    let (_, text) = made.expect("a key").expect("the merchant exists");
    text.expose_secret().to_owned()
}

/// Tries `step` until it gives a value, at most ten seconds: for what happens on its own in a moment.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    step: impl Fn() -> F,
) -> T {
    for _ in 0..500 {
        if let Some(value) = step().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not happen within 10 s: {what}");
}
