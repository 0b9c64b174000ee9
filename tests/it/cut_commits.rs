//! What the database was told and the process never heard of: the connection is cut around each commit of
//! anchoring in turn, before Postgres has it and after it has answered. And workers whose clocks disagree
//! by hours. Whatever happened, running on anchors each batch once.

use std::time::Duration;

use counterfoil::anchor::startup::Publisher;
use counterfoil::anchor::{broadcast, publish, replace, seal, startup, watch};
use counterfoil::clock::{Clock, Entropy, from_unix_ms};
use counterfoil::database::trust::Trust;
use counterfoil::database::{self, DatabaseRole};
use sqlx::PgPool;

use crate::anchored::Anchored;
use crate::audit::audit_all;
use crate::database_wire::{DatabaseWire, Fault};
use crate::harness::{App, Database, Running, eventually, sale};

/// Commits from the first sale's batch to its anchor being final: batch, reservation, bytes, replacement,
/// block, finality.
const COMMITS: usize = 6;

/// Rounds that a cut connection may cost, and a few more.
const ROUNDS: usize = 12;

const HOURS: Duration = Duration::from_secs(2 * 3600);

/// A worker's turn: every step once, whatever becomes of the one before.
async fn turn(pool: &PgPool, publisher: &Publisher, clock: &Clock) {
    // what a step's error says is not asked: the next turn decides from what is stored and on chain
    let _ = seal::step(pool, &Entropy::system(), 1000).await;
    if let Ok(ready) = startup::check(pool, publisher).await {
        let _ = publish::step(pool, publisher, &ready, clock).await;
    }
    clock.advance(Duration::from_secs(61));
    let _ = replace::step(pool, publisher, clock).await;
    let _ = broadcast::step(pool, publisher, clock).await;
    let _ = watch::step(pool, publisher, clock).await;
}

/// That so many batches are final, each by one transaction of the account.
async fn assert_anchored_once(it: &Anchored, batches: i64) {
    let sealed = "select count(*) from batch";
    assert_eq!(it.db.count(sealed).await, batches);
    let done = "select count(*) from batch_state where state = 'finalized'";
    assert_eq!(it.db.count(done).await, batches);
    assert_eq!(it.db.count("select count(*) from pending_sale").await, 0);
    let anchors = it.states().await;
    assert!(anchors.iter().all(|it| it == "finalized"), "{anchors:?}");
    assert_eq!(it.nonces_used().await, anchors.len() as u64);
    let halted = "select count(*) from chain_head where halted is not null";
    assert_eq!(it.db.count(halted).await, 0);
    let (outcome, findings) = audit_all(&it.db).await;
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(outcome.counts.batches, batches.cast_unsigned());
}

/// Anchors one batch while the connection is cut once; whether it was.
async fn anchors_although_cut(fault: Fault, passing: usize) -> bool {
    let mut it = Anchored::start().await;
    it.publisher.policy.replace_after = Duration::from_secs(60);
    let merchant = it.db.merchant("live").await;
    it.db.record(merchant, 3).await;
    let wire = DatabaseWire::before(&it.db.db.url, "COMMIT").await;
    let straight = std::mem::replace(&mut it.db.db.url, wire.url.clone());
    let pool = it.db.db.guarded_pool(DatabaseRole::Worker, &it.db.trust);
    it.db.db.url = straight;
    wire.plan(fault, passing);
    for _ in 0..ROUNDS {
        turn(&pool, &it.publisher, &it.clock).await;
        it.local.mine(1).await;
    }
    assert_anchored_once(&it, 1).await;
    !wire.is_planned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_told_as_failed_is_decided_by_what_is_stored() {
    for fault in [Fault::CutBefore, Fault::CutAfter] {
        let mut commits = 0;
        while anchors_although_cut(fault, commits).await {
            commits += 1;
        }
        assert!(commits >= COMMITS, "{fault:?}: only {commits} were cut");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_whose_commit_was_told_as_failed_is_recorded_once_and_answered() {
    let mut app = App::start().await;
    let wire = DatabaseWire::before(&app.db.url, "order-cut").await;
    let straight = std::mem::replace(&mut app.db.url, wire.url.clone());
    let server = Running::start(&app.db, Clock::system()).await;
    app.db.url = straight;
    let till = app.admin.at(&server.url);
    for (n, fault) in [Fault::CutBefore, Fault::CutAfter].into_iter().enumerate() {
        wire.plan(fault, 0);
        let order = format!("order-cut-{n}");
        let recorded = till.record(&order, &sale(&order)).await.expect(201);
        assert!(!wire.is_planned(), "{fault:?}");
        assert_eq!(recorded.header("idempotent-replayed"), "");
        let again = till.record(&order, &sale(&order)).await.expect(201);
        assert_eq!(again.text, recorded.text);
    }
    let seqs = sqlx::query_scalar::<_, i64>("select seq from sale order by seq");
    let seqs = seqs.fetch_all(&app.db.owner).await.expect("the sales");
    assert_eq!(seqs, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_whose_clocks_disagree_by_hours_anchor_each_batch_once() {
    let mut it = Anchored::start().await;
    it.publisher.policy.replace_after = Duration::from_secs(60);
    let merchant = it.db.merchant("live").await;
    let now = from_unix_ms(1_700_000_000_000);
    let clocks = [now, now - HOURS, now + HOURS].map(Clock::manual);
    for batch in 1..=3 {
        it.db.record(merchant, 5).await;
        for _ in 0..3 {
            for clock in &clocks {
                turn(&it.db.worker, &it.publisher, clock).await;
                it.local.mine(1).await;
            }
        }
        assert_anchored_once(&it, batch).await;
    }
    // at the same time too, and with the leases believed by nobody
    it.db.record(merchant, 5).await;
    for _ in 0..ROUNDS {
        let [one, two, three] = clocks
            .each_ref()
            .map(|clock| turn(&it.db.worker, &it.publisher, clock));
        tokio::join!(one, two, three);
        it.local.mine(1).await;
    }
    assert_anchored_once(&it, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_away_while_a_transaction_begins_leaves_none_open() {
    let db = Database::create().await;
    let pool = db.guarded_pool(DatabaseRole::Api, &Trust::default());
    let open = "select count(*) from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid()
                  and xact_start is not null";
    for round in 0..100 {
        drop(pool.acquire().await.expect("a connection"));
        let is_back = || u32::try_from(pool.num_idle()) == Ok(pool.size());
        eventually("it is back", async || is_back().then_some(())).await;
        // at some point between sending and hearing
        let mut begun = Box::pin(database::begin(&pool));
        for _ in 0..round {
            if futures_util::poll!(begun.as_mut()).is_ready() {
                break;
            }
            // a runtime's timers only know whole milliseconds
            std::thread::sleep(Duration::from_micros(10));
        }
        drop(begun);
        // the next one is told that it is done, and so it is
        eventually("no transaction is open", async || {
            let is_back = is_back();
            let counted = sqlx::query_scalar(open).fetch_one(&db.owner).await;
            let counted: i64 = counted.expect("a count");
            (is_back && counted == 0).then_some(())
        })
        .await;
    }
}
