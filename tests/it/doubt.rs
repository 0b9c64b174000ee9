//! A database that may have lost commits: nothing is written into it, and everybody says so.

use std::time::Duration;

use counterfoil::anchor::startup::StartupError;
use serde_json::Value;
use sqlx::PgPool;

use crate::anchored::Anchored;
use crate::harness::{App, eventually, sale};

async fn execute(owner: &PgPool, sql: &'static str) {
    sqlx::query(sql).execute(owner).await.expect("the database");
}

async fn sales(owner: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from sale")
        .fetch_one(owner)
        .await
        .expect("the database")
}

/// As a fail-over does: nobody keeps a connection.
async fn cut_all(app: &App) {
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid()";
    execute(&app.db.owner, cut).await;
}

async fn settle(owner: &PgPool) {
    execute(
        owner,
        "update installation set doubt = null, doubted_at = null, settled = settled + 1",
    )
    .await;
}

async fn refused(app: &App, order: &str) {
    let answer = app.admin.record(order, &sale(order)).await;
    assert_eq!(answer.header("retry-after"), "30");
    answer.problem("database_in_doubt");
}

/// Records a sale as soon as that is possible again.
async fn recorded(app: &App, order: &str) -> Value {
    eventually("sales are recorded again", || async {
        let answer = app.admin.record(order, &sale(order)).await;
        (answer.status == 201).then(|| answer.json())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recorded_while_a_doubt_stands() {
    let app = App::start().await;
    app.admin.record("A-1", &sale("A-1")).await.expect(201);
    execute(
        &app.db.owner,
        "select raise_doubt('the chain knows more', 0)",
    )
    .await;
    let ready = eventually("it is not ready", || async {
        let answer = app.admin.get("/readyz").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(
        ready.text.contains("the chain knows more"),
        "{}",
        ready.text
    );
    ready.problem("database_in_doubt");
    refused(&app, "A-2").await;
    // a repeat waits too: what it would be told may be of another history
    refused(&app, "A-1").await;
    assert_eq!(sales(&app.db.owner).await, 1);
    app.admin.get("/v1/sales").await.expect(200);

    settle(&app.db.owner).await;
    assert_eq!(recorded(&app, "A-2").await["seq"], 2);
    app.admin.get("/readyz").await.expect(200);
    // one that came up before it was settled is not raised again
    let again: bool = sqlx::query_scalar("select raise_doubt('late', 0)")
        .fetch_one(&app.db.owner)
        .await
        .unwrap();
    assert!(!again);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_timeline_takes_no_write_however_quick_it_came() {
    let app = App::start().await;
    app.admin.record("A-1", &sale("A-1")).await.expect(201);
    execute(
        &app.db.owner,
        "update installation set timeline = timeline + 1",
    )
    .await;
    // whatever the look of each second has seen by now, a connection sees for itself
    cut_all(&app).await;
    refused(&app, "A-2").await;
    assert_eq!(sales(&app.db.owner).await, 1);

    execute(
        &app.db.owner,
        "update installation set timeline = timeline - 1, settled = settled + 1",
    )
    .await;
    assert_eq!(recorded(&app, "A-2").await["seq"], 2);
    // none of the connections from before is left
    for n in 3..40 {
        let order = format!("A-{n}");
        app.admin.record(&order, &sale(&order)).await.expect(201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_what_was_acknowledged_is_in_doubt_for_everybody() {
    let app = App::start().await;
    for order in ["A-1", "A-2"] {
        app.admin.record(order, &sale(order)).await.expect(201);
    }
    // as in a copy of the directory from before the second sale
    execute(
        &app.db.owner,
        "with gone as (delete from sale where seq = 2 returning sale_id),
              key as (delete from idempotency_key where sale_id in (select sale_id from gone)),
              place as (delete from sale_order where sale_id in (select sale_id from gone)),
              queue as (delete from pending_sale where seq = 2)
         update merchant set next_seq = 2",
    )
    .await;
    cut_all(&app).await;
    refused(&app, "A-3").await;
    assert_eq!(sales(&app.db.owner).await, 1);
    let doubt: String = sqlx::query_scalar("select doubt from installation")
        .fetch_one(&app.db.owner)
        .await
        .expect("it was raised for the others");
    assert!(doubt.contains("acknowledged"), "{doubt}");
    assert!(!doubt.contains('2'), "it counts nobody's sales: {doubt}");

    // past what was given out; else the doubt would be back
    execute(&app.db.owner, "update merchant set next_seq = 3").await;
    settle(&app.db.owner).await;
    assert_eq!(recorded(&app, "A-3").await["seq"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_no_doubt() {
    let app = App::start().await;
    for n in 1..=5 {
        let order = format!("A-{n}");
        recorded(&app, &order).await;
        cut_all(&app).await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let doubt: Option<String> = sqlx::query_scalar("select doubt from installation")
        .fetch_one(&app.db.owner)
        .await
        .unwrap();
    assert_eq!(doubt, None);
    recorded(&app, "A-6").await;
}

#[tokio::test]
async fn a_registry_that_is_ahead_stops_recording_once_that_is_final() {
    let it = Anchored::start().await;
    let merchant = it.db.merchant("live").await;
    it.db.record(merchant, 2).await;
    it.seal().await;
    it.publish_and_mine().await;
    // an older copy, from before the batch
    for statement in [
        "delete from anchor_attempt",
        "delete from anchor",
        "update chain_head set next_nonce = 0, next_batch = 1",
    ] {
        it.db.execute(statement).await;
    }
    let doubt = "select count(*) from installation where doubt is not null";
    assert!(matches!(
        it.check().await,
        Err(StartupError::RegistryAhead { .. })
    ));
    assert_eq!(it.db.count(doubt).await, 0, "one RPC may be wrong of it");
    it.local.mine(2).await;
    assert!(matches!(
        it.check().await,
        Err(StartupError::RegistryAhead { .. })
    ));
    assert_eq!(it.db.count(doubt).await, 1);
    assert!(matches!(it.check().await, Err(StartupError::Doubt(_))));
}
