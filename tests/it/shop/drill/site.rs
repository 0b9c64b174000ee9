//! A shop of a seed's own, all of which may break.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use counterfoil::chain::Signer;
use counterfoil::clock::{Clock, Entropy};
use counterfoil::dev::payments::{Plan, Release};
use counterfoil::http::auth::Role;
use counterfoil::http::keys::{self, NewKey};
use counterfoil::ids::MerchantId;
use counterfoil_proofs::hex;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep};

use crate::catalogue::stocked;
use crate::cli::program::run;
use crate::fleet::Fleet;
use crate::harness::{Client, LocalProvider, PAYMENT_KEY, TOKEN_KEY, someone};

/// Processes; each serves and works.
const PROCESSES: usize = 2;
/// Customers.
const CUSTOMERS: usize = 7;
/// Prices and pieces of what is sold: much of some, little of others.
const PRODUCTS: [(&str, i64); 6] = [
    ("10.00", 400),
    ("33.33", 200),
    ("0.99", 500),
    ("249.00", 25),
    ("1499.50", 8),
    ("75.25", 40),
];
/// A key that the local chain gives money to.
const DEPLOYER_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// What the provider's events are signed with.
const WEBHOOK_SECRET: &str = "whsec_of_the_drill";
/// How long nothing may move before it is said that nothing will.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

/// Everything that may break, and what everybody was told.
pub(super) struct Site {
    pub(super) seed: u64,
    pub(super) fleet: Fleet,
    /// Locked for writing while it is away.
    pub(super) provider: RwLock<LocalProvider>,
    pub(super) merchant: MerchantId,
    /// The administrator's key, and the till's.
    pub(super) admin: String,
    pub(super) till: String,
    pub(super) customers: Vec<Customer>,
    /// Ids of what is sold, in the order of [`PRODUCTS`], with the pieces at first.
    pub(super) products: Vec<(String, i64)>,
    /// Nobody begins anything any more.
    pub(super) over: AtomicBool,
    /// What was answered for good, by who asked and its key: status and body, and what was asked.
    pub(super) kept: Mutex<BTreeMap<(String, String), Kept>>,
    /// What the till was told of, by order id: what it came to, below zero of a refund.
    pub(super) told: Mutex<BTreeMap<String, i64>>,
    /// Pieces that the office counted in, by product.
    pub(super) counted: Mutex<BTreeMap<String, i64>>,
}

/// Somebody who has signed up.
pub(super) struct Customer {
    pub(super) email: String,
    pub(super) token: String,
}

/// A command and the answer that is kept to it.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) path: String,
    pub(super) body: String,
    pub(super) status: u16,
    pub(super) text: String,
}

impl Site {
    /// Opens the shop.
    pub(super) async fn start(seed: u64) -> Self {
        let mut fleet = Fleet::prepare(PROCESSES).await;
        let mut provider = LocalProvider::alone(WEBHOOK_SECRET).await;
        let tokens = fleet.scratch.file("token-keys", format!("{TOKEN_KEY}\n"));
        // the program refuses one that everybody may read
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).expect("a private file");
        for process in &mut fleet.processes {
            for (name, value) in [
                ("COUNTERFOIL_PAYMENT_URL", provider.address().as_str()),
                ("COUNTERFOIL_PAYMENT_KEY", PAYMENT_KEY),
                ("COUNTERFOIL_PAYMENT_WEBHOOK_SECRET", WEBHOOK_SECRET),
                ("COUNTERFOIL_TOKEN_KEYS", tokens.to_str().expect("a path")),
                ("COUNTERFOIL_TRUSTED_PROXIES", "127.0.0.0/8"),
                ("COUNTERFOIL_RATE_LIMIT", "0"),
                ("COUNTERFOIL_ADDRESS_RATE_LIMIT", "0"),
            ] {
                process.tell(name, value);
            }
        }
        pin_registry(&fleet).await;
        let args = ["merchant", "create", "--name", "Shop", "--test"];
        let made = run(&mut fleet.operator(&args)).await.expect(0);
        let merchant: MerchantId = made.stdout.trim().parse().expect("an id");
        let admin = key(&fleet, merchant, Role::Admin).await;
        let till = key(&fleet, merchant, Role::Pos).await;
        for process in &fleet.processes {
            process.start().await;
        }
        let urls = fleet.urls();
        provider.tell(&format!("{}/v1/payments/webhook", urls[0]));
        let office = Client::new(&urls[0], Some(&admin));
        let products = furnish(&office).await;
        let mut customers = Vec::new();
        for _ in 0..CUSTOMERS {
            let email = someone();
            let token = office.sign_up(merchant, &email).await.key().to_owned();
            customers.push(Customer { email, token });
        }
        Self {
            seed,
            fleet,
            provider: RwLock::new(provider),
            merchant,
            admin,
            till,
            customers,
            products,
            over: AtomicBool::new(false),
            kept: Mutex::default(),
            told: Mutex::default(),
            counted: Mutex::default(),
        }
    }

    /// Where events are taken.
    pub(super) fn webhook(&self, process: usize) -> String {
        format!("{}/v1/payments/webhook", self.fleet.urls()[process])
    }

    /// Ends whatever is still broken.
    pub(super) async fn mend(&self) {
        for process in &self.fleet.processes {
            if !process.is_up().await {
                process.start().await;
            }
        }
        let provider = self.provider.read().await;
        provider.set_plan(Plan::default());
        provider.release(Release::AsMade).await;
    }

    /// Runs a statement as the database's owner.
    pub(super) async fn run(&self, statement: &'static str) {
        let done = sqlx::query(statement).execute(&self.fleet.owner).await;
        done.expect("a statement");
    }

    /// Lets the time of what waits be over, and waits until nothing does.
    pub(super) async fn drain(&self) {
        self.run("update shop_order set expires_at = now() where state = 'PENDING'")
            .await;
        let (mut before, mut moved, mut round) = (String::new(), Instant::now(), 0);
        loop {
            let (open, now) = self.progress().await;
            if open == 0 {
                return;
            }
            if now != before {
                (before, moved) = (now, Instant::now());
            }
            assert!(
                moved.elapsed() < PATIENCE,
                "nothing moves any more: {before}"
            );
            // what waits for a minute or an hour is waited for no longer
            if round % 25 == 0 {
                self.run("update shop_refund set next_at = now() where state = 'pending'")
                    .await;
                self.run(
                    "update shop_order set paid_at = now() - interval '1 minute' where state = 'PAID' and not recorded",
                )
                .await;
                self.run(
                    "update shop_refund set settled_at = now() - interval '1 minute'
                     where state = 'succeeded' and cause = 'requested' and not recorded",
                )
                .await;
            }
            round += 1;
            sleep(POLL).await;
        }
    }

    /// Waits until all is sealed.
    pub(super) async fn seal(&self) {
        let began = Instant::now();
        // a process that was killed has the lease for a while
        while self.count("select count(*) from pending_sale").await > 0 {
            assert!(began.elapsed() < PATIENCE, "the sales are not sealed");
            sleep(POLL).await;
        }
    }

    /// Counts as the database's owner.
    pub(super) async fn count(&self, query: &'static str) -> i64 {
        let counted = sqlx::query_scalar(query);
        counted.fetch_one(&self.fleet.owner).await.expect("a count")
    }

    /// How much is under way, and how everything stands.
    async fn progress(&self) -> (i64, String) {
        let (orders, refunds, unrecorded): (i64, i64, i64) = sqlx::query_as(
            "select (select count(*) from shop_order where state = 'PENDING'),
                    (select count(*) from shop_refund where state = 'pending'),
                    (select count(*) from shop_order where state = 'PAID' and not recorded)
                        + (select count(*) from shop_refund
                           where state = 'succeeded' and cause = 'requested' and not recorded)",
        )
        .fetch_one(&self.fleet.owner)
        .await
        .expect("the database");
        let text = format!(
            "{orders} orders and {refunds} refunds are pending, {unrecorded} are not recorded"
        );
        (orders + refunds + unrecorded, text)
    }
}

/// Deploys the registry that sales are sealed for. Nobody anchors them here.
async fn pin_registry(fleet: &Fleet) {
    let account = |index| {
        let signer = Signer::development(index).expect("a development account");
        hex::encode(&signer.account())
    };
    let mut deploy = fleet.operator(&["registry", "deploy"]);
    deploy
        .args(["--owner", &account(0), "--publisher", &account(1)])
        .env("RPC_URL", fleet.rpc_url())
        .env("COUNTERFOIL_DEPLOYER_KEY", DEPLOYER_KEY);
    run(&mut deploy).await.expect(0);
}

/// A programme, and what there is to buy.
async fn furnish(office: &Client) -> Vec<(String, i64)> {
    let headers = [("content-type", "application/json"), ("if-match", "\"0\"")];
    let set = office.send(
        Method::PUT,
        "/v1/loyalty/programme",
        &headers,
        programme("0.05").to_string(),
    );
    set.await.expect(200);
    let mut products = Vec::new();
    for (number, (price, pieces)) in PRODUCTS.iter().enumerate() {
        let id = stocked(office, &format!("P-{number}"), price, *pieces).await;
        products.push((id, *pieces));
    }
    products
}

/// A programme with so many points for a rupee.
pub(super) fn programme(rate: &str) -> serde_json::Value {
    json!({
        "decimals": 2, "first_purchase_bonus": "25",
        "earn": [{"currency": "INR", "rate": rate, "minimum": "5.00"}],
        "redeem": {"value": [{"currency": "INR", "value": "0.5"}]}
    })
}

async fn key(fleet: &Fleet, merchant: MerchantId, role: Role) -> String {
    let new = NewKey {
        merchant,
        role,
        label: "drill",
        expires_at: None,
    };
    let mut owner = fleet.owner.acquire().await.expect("the database");
    let made = keys::create(&mut owner, &Clock::system(), &Entropy::system(), &new).await;
    let (_, text) = made.expect("a key").expect("the merchant exists");
    text.expose_secret().to_owned()
}

impl Drop for Site {
    /// What the processes logged is kept beside the program, for people.
    fn drop(&mut self) {
        let kept = Path::new(env!("CARGO_BIN_EXE_counterfoil"))
            .with_file_name("drill-shop")
            .join(self.seed.to_string());
        if let Err(error) = fs::create_dir_all(&kept) {
            eprintln!("no logs are kept in {}: {error}", kept.display());
        }
        for log in self.fleet.logs() {
            if let Some(name) = log.file_name() {
                // one that was never started has none
                let _ = fs::copy(&log, kept.join(name));
            }
        }
    }
}
