//! What the tests of anchoring stand on: sales to seal, a local chain that does what it is told, and the
//! worker's steps.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use counterfoil::anchor::broadcast::{BroadcastError, Sent};
use counterfoil::anchor::fees::Policy;
use counterfoil::anchor::registry::{self, Deployed, Terms};
use counterfoil::anchor::startup::{Publisher, Ready, StartupError};
use counterfoil::anchor::{broadcast, publish, replace, seal, startup, watch};
use counterfoil::chain::{Chain, Signer};
use counterfoil::clock::{Clock, Entropy, from_unix_ms};
use counterfoil::config::RateArgs;
use counterfoil::database::DatabaseRole;
use counterfoil::database::trust::Trust;
use counterfoil::ids::MerchantId;
use counterfoil::rates::{self, exchange::Exchange};
use counterfoil::sales::archive::Archive;
use counterfoil::sales::command::SaleCommand;
use counterfoil::sales::intake::{AnswerVersion, Draft, Intake, Outcome, Slot};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::{Executor, PgPool};
use tokio_util::task::TaskTracker;

use crate::harness::{self, Database};

/// A database of its own, an intake into it, and the connections of a worker.
pub(crate) struct Ledger {
    /// As the worker connects.
    pub(crate) worker: PgPool,
    /// Whether the database is the one that it was, as the worker knows.
    pub(crate) trust: Trust,
    /// May do everything: for looking, and for damage.
    pub(crate) owner: PgPool,
    intake: Intake,
    clock: Clock,
    orders: AtomicU64,
    pub(crate) db: Database,
}

/// A fixed rate for pounds.
fn rates(clock: &Clock) -> Exchange {
    let args = RateArgs {
        rate_emergency: vec!["GBP=2400.00".to_owned()],
        ..RateArgs::default()
    };
    rates::settings::of(&args, clock).expect("a rate").0
}

impl Ledger {
    pub(crate) async fn create() -> Self {
        let db = Database::create().await;
        let clock = Clock::system();
        let trust = Trust::default();
        let api = db.guarded_pool(DatabaseRole::Api, &trust);
        Self {
            worker: db.guarded_pool(DatabaseRole::Worker, &trust),
            owner: db.owner.clone(),
            intake: Intake::new(
                api,
                Archive::default(),
                clock.clone(),
                Entropy::system(),
                TaskTracker::new(),
            )
            .trusting(trust.clone())
            .converting(rates(&clock)),
            trust,
            clock,
            orders: AtomicU64::new(1),
            db,
        }
    }

    pub(crate) async fn merchant(&self, mode: &str) -> MerchantId {
        harness::merchant(&self.db, mode).await
    }

    /// Gives a merchant a programme: a point for a pound.
    pub(crate) async fn set_programme(&self, merchant: MerchantId) {
        let terms = json!({ "decimals": 1, "earn": { "GBP": { "rate": "1", "minimum_minor": 0, "minor_digits": 2 } },
            "first_purchase_bonus": 0, "daily_limit": null, "tiers": [], "tier_drop": "at_once", "pending_days": 0,
            "expiry_days": null, "redeem": { "minimum": 0, "maximum": null, "value": {} } });
        sqlx::query("select set_loyalty_programme($1, 0, $2, $1, now())")
            .bind(merchant.0)
            .bind(terms)
            .execute(&self.owner)
            .await
            .expect("the programme");
    }

    /// Records sales of a merchant, each a pound.
    pub(crate) async fn record(&self, merchant: MerchantId, count: u64) {
        self.record_baskets(merchant, count, 0).await;
    }

    /// Records sales of a merchant, each a pound and of so many lines.
    pub(crate) async fn record_baskets(&self, merchant: MerchantId, count: u64, lines: u64) {
        let first = self.orders.fetch_add(count, Ordering::SeqCst);
        let line = |order: u64, n: u64| {
            json!({ "sku": format!("S-{}", order * 7919 + n), "name": format!("Thing {}", n * 31),
                    "quantity": "1", "unit_price": "0.05" })
        };
        let pound = |order: u64| {
            let lines: Vec<Value> = (0..lines).map(|n| line(order, n)).collect();
            json!({ "order_id": format!("A-{order}"), "lines": lines,
                    "amount": { "value": "1.00", "currency": "GBP" } })
        };
        self.record_requests(merchant, (first..first + count).map(pound).collect())
            .await;
    }

    /// Records what requests ask for, each under its order id as the key.
    pub(crate) async fn record_requests(&self, merchant: MerchantId, requests: Vec<Value>) {
        let drafts: Vec<Draft> = requests.into_iter().map(|it| self.draft(it)).collect();
        for slice in drafts.chunks(2000) {
            for outcome in self
                .intake
                .record(merchant, slice.to_vec())
                .await
                .expect("the database")
            {
                assert!(
                    matches!(
                        outcome,
                        Ok(Outcome::Sale {
                            replayed: false,
                            ..
                        })
                    ),
                    "{outcome:?}"
                );
            }
        }
    }

    fn draft(&self, request: Value) -> Draft {
        let key = request["order_id"]
            .as_str()
            .expect("an order id")
            .to_owned();
        let request = serde_json::from_value(request).expect("JSON");
        Draft {
            command: SaleCommand::parse(request, self.clock.now()).expect("a sale"),
            slot: Slot { space: 0, key },
            answer: AnswerVersion::Sale,
            request_id: Arc::from("test"),
        }
    }

    /// Runs a statement as the owner and says how many rows it touched.
    pub(crate) async fn execute(&self, sql: &'static str) -> u64 {
        self.owner
            .execute(sql)
            .await
            .expect("the database")
            .rows_affected()
    }

    /// One number.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.owner)
            .await
            .expect("the database")
    }

    /// One text.
    pub(crate) async fn text(&self, sql: &'static str) -> String {
        sqlx::query_scalar(sql)
            .fetch_one(&self.owner)
            .await
            .expect("the database")
    }
}

/// A local chain that makes a block when it is told to. Two blocks make a block final.
pub(crate) struct LocalChain {
    process: Child,
    pub(crate) url: SecretString,
    http: reqwest::Client,
}

impl LocalChain {
    pub(crate) async fn start() -> Self {
        Self::start_with(&["--slots-in-an-epoch", "1"]).await
    }

    /// With these flags of anvil's in place of two blocks until a block is final.
    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        let mut process = Command::new(anvil())
            .args(["--port", "0"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("anvil starts");
        let mut lines = BufReader::new(process.stdout.take().expect("anvil's output")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned))
            .expect("anvil says where it listens");
        // it writes a line a call, and must not wait for a reader
        std::thread::spawn(move || lines.for_each(drop));
        counterfoil::chain::install_tls();
        let url = SecretString::from(format!("http://{}", address.trim()));
        Self {
            process,
            url,
            http: reqwest::Client::new(),
        }
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let sent = self
            .http
            .post(self.url.expose_secret())
            .json(&request)
            .send()
            .await
            .expect("the chain");
        let answer: Value = sent.json().await.expect("JSON");
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    pub(crate) async fn mine(&self, blocks: u32) {
        self.call("anvil_mine", json!([format!("0x{blocks:x}")]))
            .await;
    }

    pub(crate) async fn mine_by_itself(&self, yes: bool) {
        self.call("evm_setAutomine", json!([yes])).await;
    }
}

impl Drop for LocalChain {
    fn drop(&mut self) {
        self.process.kill().expect("anvil is stopped");
        self.process.wait().expect("anvil is waited for");
    }
}

fn anvil() -> PathBuf {
    if let Some(path) = std::env::var_os("COUNTERFOIL_ANVIL") {
        return path.into();
    }
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("contracts/node_modules/@foundry-rs");
    let mut found = packages
        .read_dir()
        .expect("contracts/node_modules is installed: npm ci --ignore-scripts in contracts/")
        .map(|entry| entry.expect("an entry").path().join("bin/anvil"))
        .filter(|path| path.is_file());
    found
        .next()
        .expect("the package of anvil for this system is installed")
}

/// A database, a chain, a registry, and an account that publishes to it.
pub(crate) struct Anchored {
    pub(crate) db: Ledger,
    pub(crate) local: LocalChain,
    pub(crate) publisher: Publisher,
    pub(crate) registry: Deployed,
    pub(crate) clock: Clock,
}

/// A registry from batch 1 on a chain, pinned, and the account that publishes to it. From then on the
/// chain makes a block when it is told to.
pub(crate) async fn publish_on(
    db: &Ledger,
    local: &LocalChain,
    clock: &Clock,
) -> (Publisher, Deployed) {
    let chain = Chain::new(&local.url).expect("the chain");
    let [deployer, signer] =
        [0, 1].map(|index| Signer::development(index).expect("a development account"));
    let terms = Terms {
        owner: deployer.account(),
        publisher: signer.account(),
        first_batch: 1,
    };
    let registry = registry::deploy(&chain, &deployer, &terms)
        .await
        .expect("the chain");
    let mut conn = db.owner.acquire().await.expect("the database");
    registry::pin(&mut conn, &registry, clock)
        .await
        .expect("the pin");
    local.mine_by_itself(false).await;
    let publisher = Publisher {
        chain,
        chain_id: registry.registry.chain_id.cast_signed(),
        registry: None,
        signer,
        policy: Policy::default(),
        poll: Duration::from_millis(50),
    };
    (publisher, registry)
}

impl Anchored {
    /// With a registry from batch 1, pinned.
    pub(crate) async fn start() -> Self {
        let (db, local) = tokio::join!(Ledger::create(), LocalChain::start());
        let clock = Clock::manual(from_unix_ms(1_700_000_000_000));
        let (publisher, registry) = publish_on(&db, &local, &clock).await;
        Self {
            db,
            local,
            publisher,
            registry,
            clock,
        }
    }

    pub(crate) async fn seal(&self) -> seal::Outcome {
        seal_up_to(&self.db.worker, 1000).await
    }

    /// Records one sale and seals it, as many times as batches are wanted.
    pub(crate) async fn seal_batches(&self, count: usize) {
        let merchant = self.db.merchant("live").await;
        for _ in 0..count {
            self.db.record(merchant, 1).await;
            assert!(matches!(
                self.seal().await,
                seal::Outcome::Sealed { leaves: 1, .. }
            ));
        }
    }

    pub(crate) async fn check(&self) -> Result<Ready, StartupError> {
        startup::check(&self.db.worker, &self.publisher).await
    }

    pub(crate) async fn publish(&self) -> publish::Outcome {
        let ready = self.check().await.expect("a chain that passes");
        publish::step(&self.db.worker, &self.publisher, &ready, &self.clock)
            .await
            .expect("the step")
    }

    pub(crate) async fn broadcast(&self) -> usize {
        self.try_broadcast().await.expect("the step").0
    }

    pub(crate) async fn try_broadcast(&self) -> Result<Sent, BroadcastError> {
        broadcast::step(&self.db.worker, &self.publisher, &self.clock).await
    }

    pub(crate) async fn watch(&self) -> watch::Outcome {
        watch::step(&self.db.worker, &self.publisher, &self.clock)
            .await
            .expect("the step")
    }

    pub(crate) async fn replace(&self) -> replace::Outcome {
        replace::step(&self.db.worker, &self.publisher, &self.clock)
            .await
            .expect("the step")
    }

    /// Signs, sends and mines the next anchor.
    pub(crate) async fn publish_and_mine(&self) {
        assert!(matches!(
            self.publish().await,
            publish::Outcome::Signed { .. }
        ));
        assert_eq!(self.broadcast().await, 1);
        self.local.mine(1).await;
        assert_eq!(self.watch().await.mined, 1);
    }

    /// The states of all anchors, in order of nonce.
    pub(crate) async fn states(&self) -> Vec<String> {
        let states = sqlx::query_scalar("select state from anchor order by nonce");
        states
            .fetch_all(&self.db.owner)
            .await
            .expect("the database")
    }

    /// How many transactions the publisher's account has sent.
    pub(crate) async fn nonces_used(&self) -> u64 {
        let account = self.publisher.signer.account();
        self.publisher
            .chain
            .nonce(account, counterfoil::chain::At::Latest)
            .await
            .expect("the chain")
    }
}

pub(crate) async fn seal_up_to(pool: &PgPool, leaves: usize) -> seal::Outcome {
    seal::step(pool, &Entropy::system(), leaves)
        .await
        .expect("the step")
}
