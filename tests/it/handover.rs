//! Walks of docs/OPERATIONS.md with the command lines as they stand there: another publisher under load, a
//! stolen key that has anchored garbage, a chain that is gone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use counterfoil::anchor::startup::Publisher;
use counterfoil::chain::{Chain, Signer, anchor_call, set_publisher_call};
use counterfoil::clock::{Clock, Entropy};
use counterfoil::ids::MerchantId;
use counterfoil::webhooks::address::Reach;
use counterfoil::worker::{self, Worker};
use counterfoil_proofs::hex;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::anchored::{Anchored, LocalChain};
use crate::cli::program::{Ended, Scratch, program, run};
use crate::harness::{Client, Running};

/// How long a walk may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The accounts of the walks: who owns the registry, who anchors, and who does afterwards.
const OWNER: usize = 0;
const OLD: usize = 1;
const NEW: usize = 2;
const OWNER_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

fn account(index: usize) -> String {
    hex::encode(&signer(index).account())
}

fn signer(index: usize) -> Signer {
    Signer::development(index).expect("a development account")
}

/// An installation under load: sales come in, a worker runs, the chain makes blocks.
struct Shop {
    it: Arc<Anchored>,
    scratch: Scratch,
    rpc: SecretString,
    worker: Option<(JoinHandle<()>, CancellationToken)>,
    ended: Arc<AtomicBool>,
    tills: JoinHandle<()>,
}

impl Shop {
    async fn open() -> Self {
        let mut it = Anchored::start().await;
        it.clock = Clock::system();
        let it = Arc::new(it);
        let scratch = Scratch::new();
        let key = scratch.file("owner.key", OWNER_KEY);
        fs::set_permissions(key, Permissions::from_mode(0o600)).expect("a file");
        it.local.call("evm_setIntervalMining", json!([1])).await;
        let ended = Arc::new(AtomicBool::new(false));
        let tills = tokio::spawn(sell(it.clone(), ended.clone()));
        let rpc = it.local.url.clone();
        let mut shop = Self {
            it,
            scratch,
            rpc,
            worker: None,
            ended,
            tills,
        };
        shop.work_as(OLD).await;
        shop
    }

    /// Starts the worker, or starts it again, with this account's key.
    async fn work_as(&mut self, index: usize) {
        self.stop_worker().await;
        let publisher = Publisher {
            chain: Chain::new(&self.rpc).expect("an address"),
            signer: signer(index),
            ..self.it.publisher.clone()
        };
        let worker = Worker {
            pool: self.it.db.worker.clone(),
            clock: Clock::system(),
            entropy: Entropy::system(),
            trust: self.it.db.trust.clone(),
            batch_interval: Duration::from_millis(500),
            seal_at: 1000,
            batch_leaves: 1000,
            publishers: vec![publisher],
            mailer: None,
            sender: crate::harness::sender(Reach::Anywhere, &Clock::system()),
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(worker::run(worker, shutdown.clone()));
        self.worker = Some((task, shutdown));
    }

    async fn stop_worker(&mut self) {
        if let Some((task, shutdown)) = self.worker.take() {
            shutdown.cancel();
            task.await.expect("no panic");
        }
    }

    /// A command line of docs/OPERATIONS.md.
    fn command(&self, line: &str) -> Command {
        let words: Vec<String> = line
            .split(' ')
            .map(|word| match word {
                "owner.key" | "deployer.key" => {
                    self.scratch.join("owner.key").display().to_string()
                }
                word => word.to_owned(),
            })
            .collect();
        let mut command = program(&words);
        command
            .env("DATABASE_URL", self.it.db.db.url.expose_secret())
            .env("RPC_URL", self.rpc.expose_secret())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, line: &str) -> Ended {
        timeout(PATIENCE, run(&mut self.command(line)))
            .await
            .unwrap_or_else(|_| panic!("{line}: it does not end"))
    }

    async fn until(&self, what: &str, sql: &'static str) {
        let waiting = async {
            while self.it.db.count(sql).await == 0 {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    /// Stops selling, waits until everything is final, and lets a stranger, the audit and the doctor look.
    async fn close(mut self) {
        self.ended.store(true, Ordering::SeqCst);
        (&mut self.tills).await.expect("no panic");
        let done = "select count(*) from (select) one where not exists (select from pending_sale)
                    and not exists (select from batch_state where state <> 'finalized')";
        let waiting = async {
            while self.it.db.count(done).await == 0 {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("all is final");
        if let Some((task, shutdown)) = self.worker.take() {
            shutdown.cancel();
            task.await.expect("no panic");
        }
        verify_receipts(&self).await;
        let rpc = self.rpc.expose_secret();
        for line in [format!("audit --rpc {rpc}"), format!("doctor --rpc {rpc}")] {
            let words: Vec<&str> = line.split(' ').collect();
            let mut command = program(&words);
            command.env("DATABASE_URL", self.it.db.db.url.expose_secret());
            let ended = run(&mut command).await;
            if words[0] == "audit" {
                assert_eq!(ended.status.code(), Some(0), "{ended:?}");
            } else {
                // the interface's address is not given, so it is not checked
                assert!(!ended.stdout.contains("FAIL "), "{ended:?}");
            }
        }
    }
}

/// Checks receipts of both registries as a stranger does, with the list that the shop publishes.
async fn verify_receipts(shop: &Shop) {
    let interface = Running::start(&shop.it.db.db, Clock::system()).await;
    let list = Client::new(&interface.url, None)
        .get("/.well-known/counterfoil.json")
        .await
        .expect(200);
    let trust = shop.scratch.file("trust.json", list.text);
    let merchant = shop
        .it
        .db
        .text("select merchant_id::text from merchant")
        .await;
    let merchant = MerchantId(merchant.parse().expect("a UUID")).to_string();
    let all = shop.scratch.join("receipts.jsonl");
    let line = format!("export --merchant {merchant} --out {}", all.display());
    shop.run(&line).await.expect(0);
    let receipts = fs::read_to_string(all).expect("the export");
    let lines: Vec<&str> = receipts.lines().collect();
    for receipt in [lines.first(), lines.last()].into_iter().flatten() {
        let file = shop.scratch.file("receipt.json", receipt);
        let (file, trust) = (file.display(), trust.display());
        let line = format!(
            "verify {file} --rpc {} --trust {trust}",
            shop.rpc.expose_secret()
        );
        shop.run(&line).await.expect(0);
    }
}

/// Records sales until it is told to stop.
async fn sell(it: Arc<Anchored>, ended: Arc<AtomicBool>) {
    let merchant = it.db.merchant("live").await;
    while !ended.load(Ordering::SeqCst) {
        it.db.record(merchant, 3).await;
        sleep(Duration::from_millis(50)).await;
    }
}

const FINAL: &str = "select count(*) from anchor where state = 'finalized'";
const SALES: &str = "select count(*) from sale";

#[tokio::test(flavor = "multi_thread")]
async fn another_account_takes_over_while_sales_are_recorded() {
    let mut shop = Shop::open().await;
    shop.until("a batch is final", FINAL).await;
    let before = shop.it.db.count(SALES).await;
    let to = account(NEW);
    // without the owner's key the call is printed; ended there, it is run again
    let mut asked = shop.command(&format!("registry rotate --to {to}"));
    let asking = timeout(Duration::from_secs(8), run(&mut asked)).await;
    assert!(asking.is_err(), "it waits for the owner");
    let other = format!("registry rotate --to {}", account(3));
    let other = shop.run(&other).await.expect(1);
    assert!(other.stderr.contains(&to), "{other:?}");
    let line = format!("registry rotate --to {to} --owner-key-file owner.key");
    let rotated = shop.run(&line).await.expect(0);
    assert!(rotated.stdout.contains("from now on"), "{rotated:?}");
    assert!(shop.it.db.count(SALES).await > before, "sales go on");
    let head = "select count(*) from chain_head where rotating_to is null and paused_at is null
                and halted is null";
    assert_eq!(shop.it.db.count(head).await, 1);
    let again = shop.run(&line).await.expect(0);
    assert!(again.stdout.contains("already"), "{again:?}");
    shop.work_as(NEW).await;
    shop.until(
        "the new account anchors",
        "select count(*) from anchor a join chain_head h on h.account = a.account
         where a.state = 'finalized'",
    )
    .await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_prints_the_call_and_leaves_a_pause_as_it_was() {
    let mut shop = Shop::open().await;
    shop.until("a batch is final", FINAL).await;
    shop.run("pause").await.expect(0);
    let to = signer(NEW).account();
    let line = format!("registry rotate --to {}", hex::encode(&to));
    let mut rotating = shop.command(&line);
    let rotating = tokio::spawn(async move { run(&mut rotating).await });
    shop.until(
        "nothing is open",
        "select count(*) from chain_head where rotating_to is not null and not exists
         (select from anchor where state in ('reserved', 'submitted', 'mined'))",
    )
    .await;
    // what is printed is what the owner's wallet sends
    let call = hex::encode(&set_publisher_call(to));
    let registry = hex::encode(&shop.it.registry.registry.address);
    let tx = json!({ "from": account(OWNER), "to": registry, "data": call });
    shop.it.local.call("eth_sendTransaction", json!([tx])).await;
    let rotated = timeout(PATIENCE, rotating).await;
    let rotated = rotated.expect("in time").expect("no panic").expect(0);
    assert!(rotated.stdout.contains("still paused"), "{rotated:?}");
    shop.work_as(NEW).await;
    shop.run("resume").await.expect(0);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_that_anchored_garbage_ends_in_a_successor() {
    let mut shop = Shop::open().await;
    shop.until("a batch is final", FINAL).await;
    // quiet for a moment, so that it is certain which batch the thief takes
    shop.run("pause").await.expect(0);
    let open = "select count(*) from (select) one where not exists
                (select from anchor where state in ('reserved', 'submitted', 'mined'))";
    shop.until("nothing is open", open).await;
    let burnt = shop.it.db.count("select next_batch from chain_head").await;
    let garbage = anchor_call(burnt.cast_unsigned(), &[[7; 32]]);
    let registry = hex::encode(&shop.it.registry.registry.address);
    let tx = json!({ "from": account(OLD), "to": registry, "data": hex::encode(&garbage) });
    shop.it.local.call("eth_sendTransaction", json!([tx])).await;
    shop.until(
        "the chain is stopped",
        "select count(*) from chain_head where halted like '%somebody else has its key'",
    )
    .await;
    shop.run("resume").await.expect(1);

    shop.run("registry stop --owner-key-file owner.key")
        .await
        .expect(0);
    let line = format!(
        "registry deploy --first-batch {burnt} --owner {} --publisher {} --deployer-key-file deployer.key",
        account(OWNER),
        account(OLD)
    );
    let refused = shop.run(&line).await.expect(1);
    assert!(refused.stderr.contains("name another"), "{refused:?}");
    let line = line.replace(
        &format!("--publisher {}", account(OLD)),
        &format!("--publisher {}", account(NEW)),
    );
    let deployed = shop.run(&line).await.expect(0);
    assert!(deployed.stderr.contains("pinned       yes"), "{deployed:?}");
    shop.work_as(NEW).await;
    shop.run("resume").await.expect(0);
    shop.until(
        "the successor has the batch",
        "select count(*) from anchor a join registry r using (chain_id) where a.state = 'finalized'
         and a.registry = r.address and r.last_batch is null and a.first_batch = r.first_batch",
    )
    .await;
    assert_eq!(
        shop.it
            .db
            .count("select last_batch from registry where last_batch is not null")
            .await,
        burnt - 1
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_chain_is_forgotten_and_its_batches_anchored_on_the_next() {
    let mut shop = Shop::open().await;
    shop.until("a batch is final", FINAL).await;
    shop.stop_worker().await;
    // the chain is gone; another of the same id begins anew
    let fresh = LocalChain::start().await;
    fresh.call("evm_setIntervalMining", json!([1])).await;
    shop.rpc = fresh.url.clone();
    let refused = shop.run("registry retire --chain 1 --lost").await.expect(1);
    assert!(refused.stderr.contains("chain 1"), "{refused:?}");
    shop.run("registry retire --chain 31337 --lost")
        .await
        .expect(0);
    let line = format!(
        "registry deploy --first-batch 1 --owner {} --publisher {} --deployer-key-file deployer.key",
        account(OWNER),
        account(NEW)
    );
    shop.run(&line).await.expect(0);
    shop.work_as(NEW).await;
    shop.until("the first batch is final again", FINAL).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_was_deployed_and_not_pinned_is_adopted() {
    let mut shop = Shop::open().await;
    shop.until("a batch is final", FINAL).await;
    shop.stop_worker().await;
    shop.run("registry retire --chain 31337").await.expect(1);
    shop.work_as(OLD).await;
    shop.run("pause").await.expect(0);
    let open = "select count(*) from (select) one where not exists
                (select from anchor where state in ('reserved', 'submitted', 'mined'))";
    shop.until("nothing is open", open).await;
    let retired = shop.run("registry retire --chain 31337").await.expect(0);
    assert!(retired.stdout.contains("no chain is left"), "{retired:?}");
    let next = shop
        .it
        .db
        .count("select last_batch + 1 from registry")
        .await;
    let terms = format!(
        "registry deploy --first-batch {next} --owner {} --publisher {}",
        account(OWNER),
        account(NEW)
    );
    // deployed, and ended before it was pinned
    let mut unpinned = shop.command(&format!("{terms} --deployer-key-file deployer.key"));
    let unpinned = run(unpinned.env_remove("DATABASE_URL")).await.expect(0);
    let address = unpinned
        .stdout
        .trim()
        .rsplit(':')
        .next()
        .expect("an address")
        .to_owned();
    assert!(
        unpinned.stderr.contains(&format!("--adopt {address}")),
        "{unpinned:?}"
    );
    let wrong = format!("{terms} --adopt {}", account(NEW));
    shop.run(&wrong).await.expect(1);
    shop.run(&format!("{terms} --adopt {address}"))
        .await
        .expect(0);
    shop.run("resume").await.expect(0);
    shop.work_as(NEW).await;
    shop.close().await;
}
