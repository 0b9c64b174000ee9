//! A database that lost commits goes on: by the command lines that docs/OPERATIONS.md names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use counterfoil::anchor::seal;
use counterfoil::anchor::startup::StartupError;
use counterfoil::clock::{Clock, Entropy};
use counterfoil::http::auth::Role;
use counterfoil::ids::MerchantId;
use counterfoil_proofs::manifest::{Declared, Gap, LostBatch};
use secrecy::ExposeSecret;
use tokio::process::Command;

use crate::anchored::Anchored;
use crate::harness::{Client, Running, eventually, key, sale};

/// An installation with an interface, and a copy of its database from a while ago.
struct Shop {
    it: Anchored,
    interface: Running,
    till: Client,
    merchant: MerchantId,
}

impl Shop {
    /// One final batch of three sales, and two that wait; of that a copy is made.
    async fn start() -> Self {
        let it = Anchored::start().await;
        let merchant = it.db.merchant("live").await;
        let key = key(&it.db.db, merchant, Role::Admin, None).await;
        it.db.record(merchant, 3).await;
        let shop = Self {
            interface: Running::start(&it.db.db, Clock::system()).await,
            till: Client::new("", Some(&key)),
            it,
            merchant,
        };
        shop.anchor().await;
        shop.it.db.record(merchant, 2).await;
        for statement in [
            "alter database {} allow_connections false",
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}'",
            "create database {}_copy template {}",
            "alter database {} allow_connections true",
        ] {
            shop.it.db.db.run_outside(statement).await;
        }
        Self {
            till: shop.till.at(&shop.interface.url),
            ..shop
        }
    }

    /// Seals what waits and has it anchored for good.
    async fn anchor(&self) {
        // a connection that was used within a second is not tried before it is used again
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(matches!(self.it.seal().await, seal::Outcome::Sealed { .. }));
        self.it.publish_and_mine().await;
        self.it.local.mine(3).await;
        assert_eq!(self.it.watch().await.finalized, 1);
    }

    /// Starts the copy in place of the database.
    async fn restore(&self) {
        for statement in [
            "alter database {} allow_connections false",
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}'",
            "alter database {} rename to {}_gone",
            "alter database {}_copy rename to {}",
        ] {
            self.it.db.db.run_outside(statement).await;
        }
    }

    async fn run(&self, args: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_counterfoil"))
            .args(args)
            .env("DATABASE_URL", self.it.db.db.url.expose_secret())
            .env("RPC_URL", self.it.local.url.expose_secret())
            .env("COUNTERFOIL_PUBLIC_URL", &self.interface.url)
            .env("COUNTERFOIL_KEY", self.till.key())
            .output()
            .await
            .expect("the program");
        let said = if output.stdout.is_empty() {
            output.stderr
        } else {
            output.stdout
        };
        let text = String::from_utf8(said).expect("UTF-8");
        (output.status.code().expect("an exit code"), text)
    }

    async fn expect(&self, code: i32, args: &[&str]) -> String {
        let (found, text) = self.run(args).await;
        assert_eq!(found, code, "{args:?}: {text}");
        text
    }

    /// Records a sale as soon as that is possible, and gives its number.
    async fn sell(&self, order: &str) -> i64 {
        eventually("sales are recorded", || async {
            let answer = self.till.record(order, &sale(order)).await;
            (answer.status == 201).then(|| answer.json()["seq"].as_i64().expect("a number"))
        })
        .await
    }

    async fn drop_gone(&self) {
        self.it
            .db
            .db
            .run_outside("drop database {}_gone with (force)")
            .await;
    }

    /// Writes everything as files, and gives what an audit of them says that must end with this code.
    async fn files(&self, directory: &Path, code: i32) -> String {
        let path = directory.to_str().expect("UTF-8");
        self.expect(0, &["export", "--all", path]).await;
        self.audit_files(directory, code).await
    }

    async fn audit_files(&self, directory: &Path, code: i32) -> String {
        let rpc = self.it.local.url.expose_secret();
        let registry = self.it.registry.registry.to_string();
        let mut audit = vec!["audit", "--dir", directory.to_str().expect("UTF-8")];
        audit.extend(["--rpc", rpc, "--registry", &registry]);
        self.expect(code, &audit).await
    }

    /// The whole installation is right, and says what was lost.
    async fn is_sound(&self, lost: &str) {
        let files = Files::new();
        let text = self.files(&files.0, 0).await;
        assert!(text.contains(lost), "{text}");
        let rpc = self.it.local.url.expose_secret();
        let text = self.expect(0, &["audit", "--rpc", rpc]).await;
        assert!(text.contains(lost), "{text}");
        self.expect(0, &["doctor"]).await;
        let text = self.expect(0, &["recover"]).await;
        assert!(text.starts_with("not in doubt"), "{text}");
    }
}

/// A directory that is gone when the test is over.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let name = uuid::Uuid::from_bytes(Entropy::system().bytes()).simple();
        Self(std::env::temp_dir().join(format!("counterfoil-files-{name}")))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_in_place_of_the_database_gives_nothing_out_twice() {
    let shop = Shop::start().await;
    let lost = [shop.sell("L-1").await, shop.sell("L-2").await];
    assert_eq!(lost, [6, 7]);
    shop.anchor().await;
    assert_eq!(shop.sell("L-3").await, 8);
    shop.anchor().await;
    let receipt = shop
        .expect(0, &["receipt", "L-3", "--url", &shop.interface.url])
        .await;
    let before = Files::new();
    shop.files(&before.0, 0).await;

    shop.restore().await;
    let answer = shop.till.record("L-4", &sale("L-4")).await;
    answer.problem("database_in_doubt");
    shop.expect(1, &["recover", "--failover"]).await;
    shop.expect(1, &["doctor"]).await;
    let text = shop.expect(2, &["recover"]).await;
    for part in [
        "lost         batch 2",
        "lost         batch 3",
        "left out     numbers 6 to",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(shop.it.db.count("select count(*) from seq_gap").await, 0);
    shop.expect(0, &["recover", "--yes"]).await;

    let next = shop.sell("L-4").await;
    assert!(next >= 10_006, "{next}");
    // what waited in the copy, and then what follows the gap
    shop.anchor().await;
    shop.anchor().await;
    assert_eq!(
        shop.it.db.text("select string_agg(batch_id || ':' || first_seq || '-' || last_seq, ' ' order by batch_id) from batch_mark").await,
        format!("1:1-3 4:4-5 5:{next}-{next}")
    );
    shop.is_sound("declared lost: 2 batches that a registry has, 1 runs of numbers")
        .await;
    // files from before the loss still say what was in it
    let text = shop.files(&before.0, 0).await;
    assert!(text.contains("11 sales of"), "{text}");
    assert!(text.contains("declared lost: 0 batches"), "{text}");
    what_files_declare_is_held_against_the_chain(&shop).await;
    a_gap_is_of_no_sale(&shop).await;

    // the receipt of a lost sale proves itself
    let file = std::env::temp_dir().join(format!("counterfoil-lost-{}.json", std::process::id()));
    std::fs::write(&file, receipt).expect("the receipt");
    let verify = [
        "verify",
        file.to_str().expect("UTF-8"),
        "--rpc",
        shop.it.local.url.expose_secret(),
        "--registry",
        &shop.it.registry.registry.to_string(),
        "--merchant",
        &shop.merchant.to_string(),
    ];
    shop.expect(0, &verify).await;
    std::fs::remove_file(file).expect("the receipt");
    shop.drop_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_copy_sealed_again_is_taken_apart() {
    let shop = Shop::start().await;
    // nobody who runs now has acknowledged what is lost, so only the chain tells
    shop.it.db.record(shop.merchant, 1).await;
    shop.anchor().await;
    shop.restore().await;
    let pool = shop
        .it
        .db
        .db
        .pool(counterfoil::database::DatabaseRole::Worker);
    crate::anchored::seal_up_to(&pool, 1000).await;
    let worker = counterfoil::anchor::startup::check(&pool, &shop.it.publisher).await;
    assert!(
        matches!(worker, Err(StartupError::RegistryAhead { .. })),
        "{worker:?}"
    );
    let text = shop.expect(2, &["recover"]).await;
    assert!(
        text.contains("taken apart  the batches here from 2 on"),
        "{text}"
    );
    shop.expect(0, &["recover", "--yes"]).await;
    shop.sell("N-1").await;
    shop.anchor().await;
    shop.anchor().await;
    shop.is_sound("declared lost: 1 batches that a registry has, 1 runs of numbers")
        .await;
    shop.drop_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fail_over_that_lost_nothing_is_accepted_as_it_is() {
    let shop = Shop::start().await;
    shop.sell("F-1").await;
    shop.it
        .db
        .execute("update installation set timeline = timeline + 1")
        .await;
    shop.expect(2, &["recover"]).await;
    shop.expect(0, &["recover", "--failover"]).await;
    assert_eq!(shop.sell("F-2").await, 7);
    shop.anchor().await;
    let rpc = shop.it.local.url.expose_secret();
    let text = shop.expect(0, &["audit", "--rpc", rpc]).await;
    assert!(!text.contains("declared lost"), "{text}");
    shop.it
        .db
        .db
        .run_outside("drop database {}_copy with (force)")
        .await;
}

async fn what_files_declare_is_held_against_the_chain(shop: &Shop) {
    let files = Files::new();
    shop.files(&files.0, 0).await;
    let declared = files.0.join("declared.json");
    let text = std::fs::read_to_string(&declared).expect("the file");
    let all = Declared::parse(text.as_bytes()).expect("a declaration");
    let broken = (
        text.replace("gaps", "gap"),
        "declared.json is not what it should be",
    );
    for (text, part) in false_declarations(&all).into_iter().chain([broken]) {
        std::fs::write(&declared, &text).expect("the file");
        let said = shop.audit_files(&files.0, 1).await;
        assert!(said.contains(part), "{part} for {text}: {said}");
    }
    // the chain that is asked may have it from another one
    let mut elsewhere = all;
    elsewhere.lost_batches[1].chain_id = 1;
    std::fs::write(&declared, elsewhere.to_json()).expect("the file");
    let said = shop.audit_files(&files.0, 2).await;
    assert!(said.contains("no RPC was given for chain 1,"), "{said}");
    std::fs::remove_file(&declared).expect("the file");
    let said = shop.audit_files(&files.0, 1).await;
    assert!(said.contains("goes on with batch 4"), "{said}");
}

/// What contradicts the batches or the chain, each with what is said of it.
fn false_declarations(all: &Declared) -> Vec<(String, &'static str)> {
    let change = |change: fn(&mut Declared)| {
        let mut changed = all.clone();
        change(&mut changed);
        changed.to_json()
    };
    vec![
        (
            change(|it| it.lost_batches[0].root[5] ^= 1),
            "the registry has the root",
        ),
        (
            change(|it| it.lost_batches[1].batch += 1),
            "goes on with batch 4",
        ),
        (change(|it| it.lost_batches.clear()), "goes on with batch 4"),
        (change(|it| it.gaps.clear()), "its run begins at"),
        (change(|it| it.gaps[0].last_seq -= 1), "its run begins at"),
        (
            change(|it| it.gaps[0].first_seq -= 1),
            "it has numbers of a gap",
        ),
        (
            change(|it| {
                let (first_seq, last_seq) = (1, 2);
                let gap = it.gaps[0].clone();
                it.gaps.insert(
                    0,
                    Gap {
                        first_seq,
                        last_seq,
                        ..gap
                    },
                );
            }),
            "it has numbers of a gap",
        ),
        (
            change(|it| {
                let other = it.lost_batches[1].clone();
                it.lost_batches.insert(
                    1,
                    LostBatch {
                        chain_id: 31338,
                        batch: 2,
                        ..other
                    },
                );
            }),
            "it was declared lost with two roots",
        ),
        (change(|it| it.gaps[0].first_seq += 1), "its run begins at"),
        (
            change(|it| it.gaps[0].merchant[3] ^= 1),
            "its run begins at",
        ),
    ]
}

/// Neither one that was made up, nor one that was made longer.
async fn a_gap_is_of_no_sale(shop: &Shop) {
    let rpc = shop.it.local.url.expose_secret();
    for (change, back) in [
        (
            "insert into seq_gap select merchant_id, 1, 2, now(), 'none' from merchant",
            "delete from seq_gap where first_seq = 1",
        ),
        (
            "update seq_gap set first_seq = first_seq - 1",
            "update seq_gap set first_seq = first_seq + 1",
        ),
    ] {
        assert_eq!(shop.it.db.execute(change).await, 1);
        let text = shop.expect(1, &["audit", "--rpc", rpc]).await;
        assert!(text.contains("has numbers of sales"), "{text}");
        assert_eq!(shop.it.db.execute(back).await, 1);
    }
}
