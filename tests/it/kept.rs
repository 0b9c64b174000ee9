//! Final receipts from Redis: the database's bytes, for those alone who may read them; and connections that
//! were cut.

use std::time::Duration;

use counterfoil::anchor::seal;
use counterfoil::cache::Cache;
use counterfoil::clock::{Clock, Entropy};
use counterfoil::database::DatabaseRole;
use sqlx::Executor;

use crate::harness::{App, PUBLIC_URL, Redis, Running, eventually, sale};

/// Seals what waits, and has it final on a chain of one's own imagination.
async fn finalize(app: &App) {
    let registry = "insert into registry (chain_id, address, code_hash, first_batch, pinned_at)
                    values (1, decode(repeat('cd', 20), 'hex'), '', 1, now())";
    app.db.owner.execute(registry).await.expect("a registry");
    let worker = app.db.pool(DatabaseRole::Worker);
    let sealed = seal::step(&worker, &Entropy::system(), 10).await;
    assert!(matches!(
        sealed,
        Ok(seal::Outcome::Sealed { leaves: 1, .. })
    ));
    let anchor = "insert into anchor (chain_id, registry, account, nonce, first_batch, last_batch, state, reserved_at)
                  values (1, decode(repeat('cd', 20), 'hex'), decode(repeat('ab', 20), 'hex'), 0, 1, 1, 'finalized', now())";
    app.db.owner.execute(anchor).await.expect("an anchor");
}

async fn store_proof(app: &App, proof: &[u8]) {
    sqlx::query("update sale set proof = $1")
        .bind(proof)
        .execute(&app.db.owner)
        .await
        .expect("the change");
}

#[tokio::test(flavor = "multi_thread")]
async fn final_receipts_come_from_redis_for_those_who_may_read_them() {
    let app = App::start().await;
    let made = app.admin.record("k", &sale("A-1")).await.expect(201).json();
    finalize(&app).await;
    let slip = made["receipt_url"].as_str().expect("an address");
    let slip = slip.strip_prefix(PUBLIC_URL).expect("our address");
    let query = slip.split_once('?').expect("a link").1;
    let wrong = format!("{}u", &query[..query.len() - 1]);

    let mut redis = Redis::start(&[]).await;
    let cache = Cache::open(&redis.url(), Clock::system()).expect("an address");
    let server = Running::start_beside(&app.db, Clock::system(), Some(cache.clone())).await;
    eventually("Redis is used", async || {
        let key = cache.key(app.merchant, "test", "is used")?;
        cache.put(&key, b"yes", Duration::from_secs(1)).await;
        cache.get(&key).await
    })
    .await;
    let admin = app.admin.at(&server.url);
    let nobody = admin.with_key(None);
    let stranger = app.stranger().await.1.at(&server.url);
    let receipt = slip.split_once('?').expect("a link").0;
    for (kind, path) in [("proof1", "/v1/orders/A-1/proof"), ("receipt1", receipt)] {
        let expected = app.admin.get(path).await.expect(200);
        assert!(expected.header("cache-control").contains("immutable"));
        eventually("it is kept", async || {
            assert_eq!(admin.get(path).await.expect(200).text, expected.text);
            let kept: Vec<String> = redis.ask(&["KEYS", &format!("cf:{{*:{kind}:*")]).await;
            (!kept.is_empty()).then_some(())
        })
        .await;
        let proof: Vec<u8> = sqlx::query_scalar("select proof from sale")
            .fetch_one(&app.db.owner)
            .await
            .expect("the proof");
        // what the database has would not be served any more
        store_proof(&app, &[0; 32]).await;
        let with_link = nobody.get(&format!("{path}?{query}")).await.expect(200);
        let by_key = admin.get(path).await.expect(200);
        assert_eq!(
            (&with_link.text, &by_key.text),
            (&expected.text, &expected.text)
        );
        for header in ["etag", "cache-control", "content-type"] {
            assert_eq!(by_key.header(header), expected.header(header));
        }
        for refused in [
            nobody.get(path).await,
            nobody.get(&format!("{path}?{wrong}")).await,
            stranger.get(path).await,
            stranger.get(&format!("{path}?{wrong}")).await,
        ] {
            refused.problem("not_found");
        }
        let _: String = redis.ask(&["FLUSHALL"]).await;
        admin.get(path).await.problem("self_check_failed");
        store_proof(&app, &proof).await;
        assert_eq!(admin.get(path).await.expect(200).text, expected.text);
    }
    redis.kill();
    admin.get("/v1/orders/A-1/proof").await.expect(200);
    admin.get(slip).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_survives_that_its_connections_were_cut() {
    let app = App::start().await;
    app.admin.record("k", &sale("A-1")).await.expect(201);
    for _ in 0..3 {
        app.admin.get("/v1/orders/A-1/proof").await.expect(200);
        let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                   where datname = current_database() and application_name = 'counterfoil'";
        let cut: i64 = sqlx::query_scalar(cut)
            .fetch_one(&app.db.owner)
            .await
            .expect("the activity");
        assert!(cut > 0);
    }
    app.admin.get("/v1/orders/A-1/proof").await.expect(200);
    app.admin.record("k", &sale("A-1")).await.expect(201);
}
