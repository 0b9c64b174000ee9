//! What the tests stand on: a database of its own for each, a server in this process, and a client.

mod client;
mod database;
mod dice;
mod problem;
mod redis;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use counterfoil::cache::Cache;
use counterfoil::clock::{Clock, Entropy};
use counterfoil::database::DatabaseRole;
use counterfoil::database::trust::Trust;
use counterfoil::http::Site;
use counterfoil::http::auth::Role;
use counterfoil::http::keys::{self, Keys, NewKey};
use counterfoil::http::rate::Rates;
use counterfoil::ids::MerchantId;
use counterfoil::sales::archive::Archive;
use counterfoil::sales::intake::Intake;
use counterfoil::sales::kept::Keeper;
use counterfoil::sales::lookup::Lookup;
use counterfoil::sales::{Sales, Services};
use counterfoil::server::{self, Server};
use secrecy::ExposeSecret;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub(crate) use client::{Answer, Client, sale};
pub(crate) use database::Database;
pub(crate) use dice::Dice;
pub(crate) use problem::{check_document, faults_of};
pub(crate) use redis::{Cluster, Redis, Watched};

/// The address customers are told, wherever the test's server really listens.
pub(crate) const PUBLIC_URL: &str = "https://receipts.example";
/// The origin that may call.
pub(crate) const ORIGIN: &str = "https://shop.example";

/// The local chain.
#[expect(dead_code, reason = "for the tests of anchoring")]
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

impl Running {
    /// A server on a free port of this machine, which takes any number of requests.
    pub(crate) async fn start(db: &Database, clock: Clock) -> Self {
        Self::with(db, clock, None, Rates::default()).await
    }

    /// The same, with a Redis.
    pub(crate) async fn start_beside(db: &Database, clock: Clock, cache: Option<Cache>) -> Self {
        Self::with(db, clock, cache, Rates::default()).await
    }

    /// One that takes so many.
    pub(crate) async fn limited(db: &Database, clock: Clock, rates: Rates) -> Self {
        Self::with(db, clock, None, rates).await
    }

    async fn with(db: &Database, clock: Clock, cache: Option<Cache>, rates: Rates) -> Self {
        let trust = Trust::default();
        let pool = db.guarded_pool(DatabaseRole::Api, &trust);
        let archive = Archive::new(Some(db.archive_directory()));
        let entropy = Entropy::system();
        let writes = TaskTracker::new();
        let site = Site {
            public_url: Arc::from(PUBLIC_URL),
            pending_max_age: 7,
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let mut intake = Intake::new(
            pool.clone(),
            archive.clone(),
            clock.clone(),
            entropy,
            writes.clone(),
        )
        .trusting(trust.clone());
        let watching = CancellationToken::new();
        let mut kept = Keeper::default();
        if let Some(cache) = cache {
            intake = intake.remembering(cache.clone());
            kept = Keeper::new(cache.clone());
            let (pool, stopped) = (pool.clone(), watching.clone());
            tokio::spawn(async move { cache.watch(&pool, stopped).await });
        }
        let (looking, at, stopped) = (trust.clone(), pool.clone(), watching.clone());
        tokio::spawn(async move { looking.watch(&at, stopped).await });
        let sales = Sales::new(Services {
            intake,
            lookup: Lookup::new(&pool, &archive),
            kept,
            keys: Keys::new(pool.clone(), clock),
            pool,
            trust,
            site,
        });
        let cors_origins = vec![HeaderValue::from_static(ORIGIN)];
        let router = server::service(Server {
            sales,
            first_version: true,
            cors_origins,
            rates,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
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
