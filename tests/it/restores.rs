//! Backups that are restored and standbys that take over, on real files of a real cluster, mended by the
//! command lines of docs/OPERATIONS.md.

use std::time::Duration;

use counterfoil::chain::Signer;
use counterfoil_proofs::hex;
use reqwest::Method;
use secrecy::ExposeSecret;

use crate::anchored::LocalChain;
use crate::cli::program::run;
use crate::fleet::Fleet;
use crate::harness::{Client, sale};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(100);
/// The keys that the local chain gives money to: who deploys, and who publishes.
const DEPLOYER_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const PUBLISHER_KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

/// A shop that sells and anchors.
struct Shop {
    fleet: Fleet,
    chain: LocalChain,
    till: Client,
}

impl Shop {
    async fn open() -> Self {
        let chain =
            LocalChain::start_with(&["--slots-in-an-epoch", "1", "--block-time", "1"]).await;
        let mut fleet = Fleet::prepare(1).await;
        let [owner, publisher] = [0, 1].map(|index| {
            let signer = Signer::development(index).expect("a development account");
            hex::encode(&signer.account())
        });
        let mut deploy = fleet.operator(&["registry", "deploy"]);
        deploy
            .args(["--owner", &owner, "--publisher", &publisher])
            .env("RPC_URL", chain.url.expose_secret())
            .env("COUNTERFOIL_DEPLOYER_KEY", DEPLOYER_KEY);
        run(&mut deploy).await.expect(0);
        for (name, value) in [
            ("RPC_URL", chain.url.expose_secret()),
            ("COUNTERFOIL_PUBLISHER_KEY", PUBLISHER_KEY),
            ("COUNTERFOIL_CHAIN_POLL", "200ms"),
        ] {
            fleet.processes[0].tell(name, value);
        }
        fleet.processes[0].start().await;
        let (_, keys) = fleet.merchant(1).await;
        Self {
            till: Client::new(&fleet.urls()[0], Some(&keys[0])),
            fleet,
            chain,
        }
    }

    /// Sells as soon as that is possible, and gives the number.
    async fn sell(&self, order: &str) -> i64 {
        let mut number = None;
        self.until("a sale is recorded", async || {
            let body = sale(order).to_string();
            let key = ("idempotency-key", order);
            let headers = [("content-type", "application/json"), key];
            let sent = self
                .till
                .try_send(Method::POST, "/v1/sales", &headers, body);
            if let Ok(answer) = sent.await
                && answer.status == 201
            {
                number = answer.json()["seq"].as_i64();
            }
            number.is_some()
        })
        .await;
        number.expect("a number")
    }

    /// Waits until all that was sold is final on the chain.
    async fn all_final(&self) {
        self.until("everything is final", async || {
            let open: Result<i64, _> = sqlx::query_scalar(
                "select (select count(*) from pending_sale)
                      + (select count(*) from batch_state where state <> 'finalized')",
            )
            .fetch_one(&self.fleet.owner)
            .await;
            open.is_ok_and(|open| open == 0)
        })
        .await;
    }

    /// Waits until tills are told that the database is in doubt.
    async fn in_doubt(&self) {
        self.until("the database is in doubt", async || {
            let body = sale("X-1").to_string();
            let headers = [
                ("content-type", "application/json"),
                ("idempotency-key", "X-1"),
            ];
            let sent = self
                .till
                .try_send(Method::POST, "/v1/sales", &headers, body);
            sent.await.is_ok_and(|answer| {
                assert_ne!(answer.status, 201, "a number may be given out twice");
                answer.text.contains("database_in_doubt")
            })
        })
        .await;
    }

    async fn until(&self, what: &str, mut done: impl AsyncFnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !done().await {
            assert!(
                tokio::time::Instant::now() < deadline,
                "not in time: {what}\n{}",
                self.fleet.last_words()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Runs a command of the operator's against the chain; what it says, with the code it must end with.
    async fn operator(&self, code: i32, args: &[&str]) -> String {
        let mut command = self.fleet.operator(args);
        command.args(["--rpc", self.chain.url.expose_secret()]);
        let ended = run(&mut command).await.expect(code);
        ended.stdout + &ended.stderr
    }

    /// Everything agrees with the chain, and what was declared lost is told.
    async fn is_sound(&self, declared: bool) {
        self.all_final().await;
        let text = self.operator(0, &["audit"]).await;
        assert_eq!(text.contains("declared lost"), declared, "{text}");
        let mut doctor = self.fleet.operator(&["doctor", "--public-url"]);
        doctor
            .arg(&self.fleet.urls()[0])
            .args(["--rpc", self.chain.url.expose_secret()]);
        let ended = run(&mut doctor).await;
        assert_ne!(ended.status.code(), Some(1), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_backup_in_place_of_the_cluster_gives_no_number_twice() {
    let shop = Shop::open().await;
    assert_eq!(shop.sell("A-1").await, 1);
    shop.all_final().await;
    let backup = shop
        .fleet
        .postgres
        .base_backup(&shop.fleet.database_url)
        .await;
    assert_eq!(shop.sell("A-2").await, 2);
    shop.all_final().await;
    assert_eq!(shop.sell("A-3").await, 3);
    shop.all_final().await;

    shop.fleet.postgres.stop().await;
    shop.fleet.postgres.start_in_place(&backup, false).await;
    shop.in_doubt().await;
    let text = shop.operator(2, &["recover"]).await;
    assert!(text.contains("numbers 2 to"), "{text}");
    shop.operator(0, &["recover", "--yes"]).await;
    assert!(shop.sell("A-4").await > 3);
    shop.is_sound(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_loaded_into_another_cluster_gives_no_number_twice() {
    let shop = Shop::open().await;
    assert_eq!(shop.sell("D-1").await, 1);
    shop.all_final().await;
    let dump = shop.fleet.postgres.dump(&shop.fleet.database_url).await;
    assert_eq!(shop.sell("D-2").await, 2);
    shop.all_final().await;
    assert_eq!(shop.sell("D-3").await, 3);

    shop.fleet.postgres.stop().await;
    let loaded = shop.fleet.postgres.load(&dump).await;
    shop.fleet.postgres.start_in_place(&loaded, false).await;
    shop.in_doubt().await;
    let text = shop.operator(2, &["recover"]).await;
    assert!(text.contains("numbers 2 to"), "{text}");
    shop.operator(0, &["recover", "--yes"]).await;
    assert!(shop.sell("D-4").await > 3);
    shop.is_sound(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_lacked_commits_is_not_taken_for_one_that_had_all() {
    let shop = Shop::open().await;
    assert_eq!(shop.sell("B-1").await, 1);
    shop.all_final().await;
    let standby = shop
        .fleet
        .postgres
        .base_backup(&shop.fleet.database_url)
        .await;
    assert_eq!(shop.sell("B-2").await, 2);
    shop.all_final().await;

    shop.fleet.postgres.stop().await;
    shop.fleet.postgres.start_in_place(&standby, true).await;
    shop.in_doubt().await;
    shop.operator(1, &["recover", "--failover"]).await;
    shop.operator(0, &["recover", "--yes"]).await;
    assert!(shop.sell("B-3").await > 2);
    shop.is_sound(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_had_every_commit_is_accepted() {
    let shop = Shop::open().await;
    assert_eq!(shop.sell("C-1").await, 1);
    shop.all_final().await;
    assert_eq!(shop.sell("C-2").await, 2);
    shop.fleet.postgres.stop().await;
    let standby = shop.fleet.postgres.copy().await;
    shop.fleet.postgres.start_in_place(&standby, true).await;
    shop.in_doubt().await;
    shop.operator(2, &["recover"]).await;
    shop.operator(0, &["recover", "--failover"]).await;
    assert_eq!(shop.sell("C-3").await, 3);
    shop.is_sound(false).await;
}
