//! Sealing.

use counterfoil::anchor::seal::Outcome;
use counterfoil::anchor::store::batches;
use counterfoil::sales::stored::StoredSale;
use counterfoil_proofs::completeness;
use counterfoil_proofs::leaf::Sale;
use counterfoil_proofs::manifest::BatchFile;
use counterfoil_proofs::verify;
use sqlx::FromRow;

use crate::anchored::{Anchored, Ledger, seal_up_to};

/// Checks everything that is sealed, by the formats alone: each batch gives its root, each sale's
/// proof leads to it, and each merchant's rows are complete up to the last that is sealed.
async fn assert_sealed_soundly(db: &Ledger) {
    let mut conn = db.owner.acquire().await.expect("the database");
    let newest = batches::newest(&mut conn)
        .await
        .expect("the database")
        .unwrap_or(0);
    let mut files: Vec<BatchFile> = Vec::new();
    let mut roots = Vec::new();
    for batch in 1..=newest {
        let stored = batches::load(&mut conn, batch)
            .await
            .expect("the database")
            .expect("no gap");
        assert_eq!(stored.file.check().expect("a sound batch"), stored.root);
        roots.push(stored.root);
        files.push(stored.file);
    }
    let sealed =
        sqlx::query_as("select * from sale where batch_id is not null order by merchant_id, seq");
    let rows: Vec<Row> = sealed.fetch_all(&mut *conn).await.expect("the database");
    for row in &rows {
        let (leaf, batch) = (row.sale().leaf(), row.batch_id as usize);
        assert_eq!(row.leaf, leaf);
        assert_eq!(files[batch - 1].leaves[row.leaf_index as usize], leaf);
        let proof = verify::siblings(&row.proof).expect("a sound batch");
        verify::inclusion(&leaf, &proof, &roots[batch - 1]).expect("a sound batch");
    }
    let leaves: usize = files.iter().map(|file| file.leaves.len()).sum();
    assert_eq!(leaves, rows.len());
    for merchant in rows.chunk_by(|a, b| a.merchant_id == b.merchant_id) {
        let sales: Vec<Sale> = merchant.iter().map(Row::sale).collect();
        let id = merchant[0].merchant_id.into_bytes();
        let verdict = completeness::verify(id, &sales, &files, |batch| {
            roots.get(batch as usize - 1).copied()
        });
        assert!(verdict.is_complete(), "{verdict:?}");
    }
    let unsealed = "select count(*) from sale s where (s.batch_id is null)
                    <> exists (select from pending_sale p where p.sale_id = s.sale_id)";
    assert_eq!(
        db.count(unsealed).await,
        0,
        "the queue holds what is not sealed"
    );
}

#[derive(FromRow)]
struct Row {
    merchant_id: uuid::Uuid,
    sale_id: uuid::Uuid,
    seq: i64,
    order_id: String,
    kind: i16,
    refers_to: Option<uuid::Uuid>,
    customer: Option<Vec<u8>>,
    currency: String,
    amount_minor: i64,
    recorded_at: time::OffsetDateTime,
    details: Vec<u8>,
    details_hash: Vec<u8>,
    salt: Vec<u8>,
    leaf: Vec<u8>,
    batch_id: i64,
    leaf_index: i32,
    proof: Vec<u8>,
}

impl Row {
    fn sale(&self) -> Sale {
        let stored = StoredSale {
            merchant_id: self.merchant_id,
            sale_id: self.sale_id,
            seq: self.seq,
            order_id: self.order_id.clone(),
            kind: self.kind,
            refers_to: self.refers_to,
            customer: self.customer.clone(),
            currency: self.currency.clone(),
            amount_minor: self.amount_minor,
            recorded_at: self.recorded_at,
            details: self.details.clone(),
            details_hash: self.details_hash.clone(),
            salt: self.salt.clone(),
        };
        stored.to_sale().expect("a sound batch")
    }
}

/// A database with a pinned registry on a chain that nobody asks.
async fn with_registry_on(chain_id: i64) -> Ledger {
    let db = Ledger::create().await;
    sqlx::query(
        "insert into registry (chain_id, address, code_hash, first_batch, pinned_at)
                 values ($1, decode(repeat('11', 20), 'hex'), ''::bytea, 1, now())",
    )
    .bind(chain_id)
    .execute(&db.owner)
    .await
    .expect("the database");
    db
}

#[tokio::test]
async fn nothing_is_sealed_before_a_registry_is_pinned() {
    let db = Ledger::create().await;
    let merchant = db.merchant("live").await;
    db.record(merchant, 1).await;
    assert_eq!(seal_up_to(&db.worker, 10).await, Outcome::NoRegistry);
    assert_eq!(db.count("select count(*) from batch").await, 0);
}

#[tokio::test]
async fn a_batch_is_at_most_its_size_and_goes_on_where_the_last_ended() {
    let db = with_registry_on(31337).await;
    let merchant = db.merchant("live").await;
    db.record(merchant, 10_000).await;
    let leaves = |outcome| match outcome {
        Outcome::Sealed { leaves, .. } => leaves,
        other => panic!("{other:?}"),
    };
    // more than one read and one statement
    assert_eq!(leaves(seal_up_to(&db.worker, 9_000).await), 9_000);
    db.record(merchant, 1).await;
    assert_eq!(leaves(seal_up_to(&db.worker, 9_000).await), 1_001);
    assert_eq!(seal_up_to(&db.worker, 9_000).await, Outcome::Nothing);
    assert_sealed_soundly(&db).await;
}

#[tokio::test]
async fn a_large_merchant_delays_no_small_one() {
    let db = with_registry_on(31337).await;
    let large = db.merchant("live").await;
    db.record(large, 500).await;
    for _ in 0..9 {
        let small = db.merchant("live").await;
        db.record(small, 3).await;
    }
    assert!(matches!(
        seal_up_to(&db.worker, 100).await,
        Outcome::Sealed {
            leaves: 100,
            merchants: 10,
            ..
        }
    ));
    let marks = "select count(*) from batch_mark where last_seq = 3";
    assert_eq!(db.count(marks).await, 9, "all of every small one");
    while seal_up_to(&db.worker, 100).await != Outcome::Nothing {}
    assert_sealed_soundly(&db).await;
}

#[tokio::test]
async fn of_two_that_seal_at_once_one_has_lost_and_did_nothing() {
    let db = with_registry_on(31337).await;
    let merchant = db.merchant("live").await;
    for batch in 1..=3 {
        db.record(merchant, 20).await;
        let mut block = db.owner.begin().await.unwrap();
        sqlx::query("select from seal_head for update")
            .execute(&mut *block)
            .await
            .unwrap();
        let racers = [0, 1].map(|_| {
            let pool = db.worker.clone();
            tokio::spawn(async move { seal_up_to(&pool, 10).await })
        });
        // both have computed and stand before the head
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while db.count(waiting).await < 2 {
            tokio::task::yield_now().await;
        }
        block.rollback().await.unwrap();
        let mut outcomes = Vec::new();
        for racer in racers {
            outcomes.push(racer.await.unwrap());
        }
        assert_eq!(
            outcomes
                .iter()
                .filter(|outcome| **outcome == Outcome::Lost)
                .count(),
            1,
            "{outcomes:?}"
        );
        assert_eq!(db.count("select count(*) from batch").await, batch);
        assert_eq!(
            db.count("select count(*) from sale where batch_id is not null")
                .await,
            batch * 10
        );
    }
    assert_sealed_soundly(&db).await;
}

#[tokio::test]
async fn workers_that_race_leave_no_gap_and_nothing_double() {
    let db = with_registry_on(31337).await;
    let merchants = [db.merchant("live").await, db.merchant("live").await];
    for merchant in merchants {
        db.record(merchant, 100).await;
    }
    let racers: Vec<_> = (0..4)
        .map(|_| {
            let pool = db.worker.clone();
            tokio::spawn(async move { while seal_up_to(&pool, 7).await != Outcome::Nothing {} })
        })
        .collect();
    for racer in racers {
        racer.await.unwrap();
    }
    assert_eq!(db.count("select count(*) from pending_sale").await, 0);
    assert_sealed_soundly(&db).await;
}

#[tokio::test]
async fn a_sale_that_cannot_be_sealed_holds_its_merchant_alone() {
    for (damage, repair) in [
        (
            "update sale set details_hash = details_hash || 'x' where order_id = 'A-3'",
            "update sale set details_hash = substring(details_hash for 32) where order_id = 'A-3'",
        ),
        (
            "update sale set seq = 9 where order_id = 'A-3'",
            "update sale set seq = 3 where order_id = 'A-3'",
        ),
        (
            "delete from pending_sale where sale_id = (select sale_id from sale where order_id = 'A-3')",
            "insert into pending_sale select merchant_id, seq, sale_id, recorded_at from sale where order_id = 'A-3'",
        ),
        (
            "update sale set currency = 'gbp' where order_id = 'A-3'",
            "update sale set currency = 'GBP' where order_id = 'A-3'",
        ),
        (
            "update sale set seq = 2 where order_id = 'A-3'",
            "update sale set seq = 3 where order_id = 'A-3'",
        ),
    ] {
        let db = with_registry_on(31337).await;
        let (damaged, other) = (db.merchant("live").await, db.merchant("live").await);
        db.record(damaged, 5).await;
        db.record(other, 5).await;
        assert_eq!(db.execute(damage).await, 1, "{damage}");
        seal_up_to(&db.worker, 100).await;
        let sealed = "select count(*) from batch_mark where merchant_id <> (select merchant_id from seal_hold) and last_seq = 5";
        assert_eq!(db.count(sealed).await, 1, "{damage}");
        assert!(db.count("select seq from seal_hold").await <= 3);
        db.record(damaged, 1).await;
        assert_eq!(
            seal_up_to(&db.worker, 100).await,
            Outcome::Nothing,
            "it waits"
        );
        assert_eq!(db.execute(repair).await, 1, "{repair}");
        db.execute("delete from seal_hold").await;
        assert!(matches!(
            seal_up_to(&db.worker, 100).await,
            Outcome::Sealed { merchants: 1, .. }
        ));
        assert_eq!(db.count("select count(*) from pending_sale").await, 0);
        assert_sealed_soundly(&db).await;
    }
}

#[tokio::test]
async fn test_merchants_are_not_sealed_beside_a_production_chain() {
    for (chain_id, merchants) in [(1, 1), (31337, 2)] {
        let db = with_registry_on(chain_id).await;
        for mode in ["live", "test"] {
            let merchant = db.merchant(mode).await;
            db.record(merchant, 2).await;
        }
        let outcome = seal_up_to(&db.worker, 100).await;
        assert!(
            matches!(outcome, Outcome::Sealed { merchants: sealed, .. } if sealed == merchants)
        );
        let sealed =
            "select count(*) from batch_mark join merchant using (merchant_id) where mode = 'live'";
        assert_eq!(db.count(sealed).await, 1);
    }
}

#[tokio::test]
async fn a_batch_is_never_dated_before_the_one_before_or_before_its_sales() {
    let db = with_registry_on(31337).await;
    let merchant = db.merchant("live").await;
    db.record(merchant, 1).await;
    db.execute("update seal_head set last_sealed_at = '2100-01-01 00:00:00.123Z'")
        .await;
    seal_up_to(&db.worker, 10).await;
    assert_eq!(
        db.count("select (extract(epoch from sealed_at) * 1000)::bigint from batch")
            .await,
        4_102_444_800_123
    );
    db.record(merchant, 1).await;
    db.execute("update sale set recorded_at = '2101-01-01Z' where batch_id is null")
        .await;
    seal_up_to(&db.worker, 10).await;
    assert_eq!(
        db.count("select count(*) from batch where sealed_at = '2101-01-01Z'")
            .await,
        1
    );
    assert_sealed_soundly(&db).await;
}

#[tokio::test]
async fn sealing_goes_on_while_a_chain_is_halted() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.check().await.unwrap();
    it.db
        .execute("update chain_head set halted = 'looking'")
        .await;
    it.seal_batches(2).await;
    assert_sealed_soundly(&it.db).await;
}

#[tokio::test]
async fn a_seal_stays_on_the_page_of_its_row() {
    let db = with_registry_on(31337).await;
    for lines in [0, 3, 20] {
        let merchant = db.merchant("live").await;
        db.record_baskets(merchant, 2_000, lines).await;
    }
    db.execute("create table page as select sale_id, (ctid::text::point)[0] as page from sale")
        .await;
    // the update of the sealer, with the proofs of a batch of 131,072; it changes no column of an index, so
    // on the same page it touches none
    db.execute(
        "update sale set leaf = salt, batch_id = 1, leaf_index = 0, proof = decode(repeat('00', 18 * 32), 'hex')",
    )
    .await;
    let moved = "select count(*) from sale join page using (sale_id) where (sale.ctid::text::point)[0] <> page";
    let moved = db.count(moved).await;
    assert!(
        moved <= 6_000 / 100,
        "{moved} of 6,000 rows left their page"
    );
    let indexed = "select count(*) from pg_index i
                   join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
                   where i.indrelid = 'sale'::regclass
                     and a.attname in ('leaf', 'batch_id', 'leaf_index', 'proof')";
    assert_eq!(db.count(indexed).await, 0);
}
