//! The audit: a sound database is clean, whatever goes on beside; a changed byte is named.

mod archives;
mod columns;
mod damage;
mod damaged;
mod files;
mod program;
mod registries;
mod tamper;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use counterfoil::anchor::seal;
use counterfoil::audit::{Audit, Counts, Finding, Outcome, Part, Phase, Progress, Subject};
use counterfoil::clock::Entropy;
use counterfoil::database::DatabaseRole;
use counterfoil::ids::MerchantId;
use counterfoil::retention::archive;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::anchored::{Anchored, Ledger, seal_up_to};

/// Keeps what is found.
#[derive(Default)]
struct Kept(Mutex<Vec<Finding>>);

impl Kept {
    fn take(&self) -> Vec<Finding> {
        std::mem::take(&mut self.0.lock().expect("a lock"))
    }
}

impl Progress for Kept {
    fn found(&self, finding: &Finding) {
        self.0.lock().expect("a lock").push(finding.clone());
    }
    fn reached(&self, _: Phase, _: &Counts) {}
}

/// Audits what a connection sees, and the archives in a directory.
async fn audit_within(conn: &mut PgConnection, directory: &Path) -> (Outcome, Vec<Finding>) {
    let kept = Kept::default();
    let audit = Audit::new(&Entropy::system(), &kept).with_archives(Some(directory.to_owned()));
    let outcome = audit.within(conn).await.expect("the database");
    (outcome, kept.take())
}

/// Audits a database as the command does.
pub(crate) async fn audit_all(db: &Ledger) -> (Outcome, Vec<Finding>) {
    let kept = Kept::default();
    let audit = Audit::new(&Entropy::system(), &kept);
    let pool = db.db.pool(DatabaseRole::Reader);
    let outcome = audit.database(&pool, 2).await.expect("the database");
    (outcome, kept.take())
}

/// A sale with most of what a sale can have.
fn full(order: &str) -> Value {
    json!({
        "order_id": order, "amount": { "value": "12.50", "currency": "GBP" },
        "customer_address": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
        "sold_at": "2026-01-02T03:04:05.678Z", "cashier": "Ann", "register": "T4",
        "lines": [{ "sku": "s-1", "name": "Tea & co", "quantity": "2", "unit_price": "6.25", "tax": "0.10" }],
        "payments": [{ "method": "card", "amount": "12.50" }],
        "metadata": { "salt": "none", "v": "2", "\u{10000}": "high", "\u{FFFD}": "low" },
    })
}

fn refund(order: &str, of: &str) -> Value {
    json!({ "order_id": order, "kind": "refund", "refers_to": of, "amount": { "value": "1.25", "currency": "GBP" } })
}

/// Sales and refunds of a merchant, some of each kind.
async fn mixed(db: &Ledger, merchant: MerchantId, round: u32) {
    let id = |name: &str| format!("{name}-{round}");
    db.record(merchant, 3).await;
    let requests = vec![
        full(&id("F")),
        full(&id("G")),
        refund(&id("R"), &id("F")),
        refund(&id("Q"), &id("F")),
        refund(&id("P"), &id("G")),
    ];
    db.record_requests(merchant, requests).await;
}

/// Three merchants, four batches (two final, one mined, one only sealed), and sales that wait.
async fn shop() -> Anchored {
    let it = Anchored::start().await;
    let db = &it.db;
    let merchants = [
        db.merchant("live").await,
        db.merchant("live").await,
        db.merchant("live").await,
    ];
    // with points and a rate in the details of the one, and a rate in those of all
    db.set_programme(merchants[0]).await;
    for round in 1..=4 {
        for merchant in &merchants[..if round == 2 { 1 } else { 3 }] {
            mixed(db, *merchant, round).await;
        }
        assert!(matches!(it.seal().await, seal::Outcome::Sealed { .. }));
        match round {
            2 => {
                it.publish_and_mine().await;
                it.local.mine(3).await;
                assert_eq!(it.watch().await.finalized, 1);
            }
            3 => it.publish_and_mine().await,
            _ => {}
        }
    }
    mixed(db, merchants[1], 5).await;
    it
}

/// The same shop, whose first two batches are archived, and the directory of the archive. A sale that is
/// in the table refunds one that is not.
async fn archived_shop() -> (Anchored, PathBuf) {
    let it = shop().await;
    let directory = it.db.db.archive_directory();
    std::fs::create_dir_all(&directory).expect("a directory");
    // the month ends before the third batch
    let cut: uuid::Uuid = sqlx::query_scalar(
        "select sale_id from sale where batch_id > 2 or batch_id is null order by sale_id limit 1",
    )
    .fetch_one(&it.db.owner)
    .await
    .expect("a sale");
    let split = format!(
        "do $$ declare v_end uuid := (select to_id from sale_partition where name = 'sale_first'); begin
             create table apart (like sale);
             with moved as (delete from sale_first where sale_id >= '{cut}' returning *)
                 insert into apart select * from moved;
             alter table sale detach partition sale_first;
             alter table sale attach partition sale_first for values from (minvalue) to ('{cut}');
             execute format('create table sale_rest partition of sale for values from (%L) to (%L)', '{cut}', v_end);
             insert into sale select * from apart;
             drop table apart;
         end $$"
    );
    let mut owner = it.db.owner.acquire().await.expect("the database");
    sqlx::raw_sql(sqlx::AssertSqlSafe(split))
        .execute(&mut *owner)
        .await
        .expect("the partitions");
    archive::reserve(&mut owner).await.expect("the archives");
    let month = archive::Month {
        name: "sale_first".to_owned(),
        from_id: None,
        to_id: cut,
    };
    let archived = archive::archive(&mut owner, &month, &directory)
        .await
        .expect("an archive");
    assert_eq!(archived.sales, 8 * (3 + 1));
    drop(owner.detach());
    let merchant = MerchantId(
        sqlx::query_scalar("select merchant_id from sale_archive_run order by merchant_id limit 1")
            .fetch_one(&it.db.owner)
            .await
            .expect("a merchant"),
    );
    it.db
        .record_requests(merchant, vec![refund("X-1", "G-1")])
        .await;
    assert!(matches!(it.seal().await, seal::Outcome::Sealed { .. }));
    it.db.record(merchant, 2).await;
    (it, directory)
}

#[tokio::test]
async fn a_sound_database_is_clean_and_so_is_its_chain() {
    let it = shop().await;
    let (outcome, findings) = audit_all(&it.db).await;
    assert_eq!(findings, []);
    let Counts {
        batches,
        sales,
        unsealed,
        merchants,
        anchors,
        ..
    } = outcome.counts;
    assert_eq!((batches, merchants, anchors), (4, 3, 2));
    assert_eq!((sales, unsealed), (8 * (3 + 1 + 3 + 3 + 1), 8));
    assert!(outcome.oldest_queued.is_some());

    let kept = Kept::default();
    let audit = Audit::new(&Entropy::system(), &kept);
    let pool = it.db.db.pool(DatabaseRole::Reader);
    let chains = [it.publisher.chain.clone()];
    let asked = audit.chains(&pool, &chains).await.expect("the chain");
    assert_eq!(kept.take(), []);
    assert_eq!((asked.finalized, asked.waiting), (2, 2));
    assert_eq!(asked.not_asked, Vec::<String>::new());
    let asked = audit.chains(&pool, &[]).await.expect("no chain");
    assert_eq!(asked.not_asked.len(), 1);
}

#[tokio::test]
async fn what_only_a_chain_tells_is_found() {
    let it = shop().await;
    for (damage, part) in [
        // consistent in the database: all of the last final batch anew
        ("update anchor_attempt set block_hash = set_byte(block_hash, 0, get_byte(block_hash, 0) # 1)
          where anchor_id = 1", Part::Chain),
        ("update anchor_attempt set block_time = block_time + interval '1 second' where anchor_id = 1", Part::Chain),
        ("update anchor_attempt set gas_used = gas_used - 1 where anchor_id = 1", Part::Chain),
        ("update batch set root = set_byte(root, 0, get_byte(root, 0) # 1) where batch_id = 2", Part::Chain),
        ("update registry set code_hash = set_byte(code_hash, 0, get_byte(code_hash, 0) # 1)", Part::Chain),
    ] {
        it.db.execute(damage).await;
        let kept = Kept::default();
        let audit = Audit::new(&Entropy::system(), &kept);
        let pool = it.db.db.pool(DatabaseRole::Reader);
        let chains = [it.publisher.chain.clone()];
        audit.chains(&pool, &chains).await.expect("the chain");
        let findings = kept.take();
        assert!(
            findings.iter().any(|finding| finding.part == part),
            "{damage}: {findings:?}"
        );
    }
}

#[tokio::test]
async fn batches_that_the_chain_has_and_the_database_has_not_are_missed() {
    let it = shop().await;
    it.publish_and_mine().await;
    for damage in [
        "delete from anchor_attempt where anchor_id = 3",
        "delete from anchor where anchor_id = 3",
        "update sale set leaf = null, batch_id = null, leaf_index = null, proof = null where batch_id = 4",
        "delete from batch_mark where batch_id = 4",
        "delete from batch where batch_id = 4",
    ] {
        assert!(it.db.execute(damage).await > 0, "{damage}");
    }
    let kept = Kept::default();
    let audit = Audit::new(&Entropy::system(), &kept);
    let pool = it.db.db.pool(DatabaseRole::Reader);
    let chains = [it.publisher.chain.clone()];
    audit.chains(&pool, &chains).await.expect("the chain");
    let subject = Subject::Batch { batch: 4 };
    let missed = |finding: &Finding| finding.subject == subject && finding.part == Part::Missing;
    assert!(kept.take().iter().any(missed));
}

#[tokio::test]
async fn nothing_is_wrong_while_sales_are_recorded_and_sealed_and_anchored() {
    let it = shop().await;
    let db = &it.db;
    let merchants = [db.merchant("live").await, db.merchant("live").await];
    let stop = AtomicBool::new(false);
    let beside = async {
        for round in 10.. {
            if stop.load(Ordering::SeqCst) {
                return round;
            }
            for merchant in merchants {
                mixed(db, merchant, round).await;
            }
            seal_up_to(&db.worker, 25).await;
            if round % 3 == 0 {
                it.publish().await;
                it.broadcast().await;
                it.local.mine(1).await;
                it.watch().await;
            }
        }
        0
    };
    let audit = async {
        let pool = it.db.db.pool(DatabaseRole::Reader);
        let chains = [it.publisher.chain.clone()];
        for _ in 0..3 {
            let (_, findings) = audit_all(db).await;
            assert_eq!(findings, []);
            let kept = Kept::default();
            let audit = Audit::new(&Entropy::system(), &kept);
            audit.chains(&pool, &chains).await.expect("the chain");
            assert_eq!(kept.take(), []);
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (rounds, ()) = tokio::join!(beside, audit);
    assert!(rounds > 11, "nothing went on beside");
}
