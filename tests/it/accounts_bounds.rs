//! What keeps accounts within bounds: tries that run out, passwords that change under a log-in, rows that are
//! thrown away, and the worker that sends mails.

use std::time::Duration;

use counterfoil::accounts::mail::Mailer;
use counterfoil::accounts::store::staff;
use counterfoil::clock::{Clock, Entropy};
use counterfoil::database::DatabaseRole;
use counterfoil::database::trust::Trust;
use counterfoil::limits;
use counterfoil::worker::{self, Worker};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::accounts::log_in;
use crate::accounts_mail::token_of;
use crate::harness::{App, PASSWORD, Running, eventually};

const EMAIL: &str = "ada@shop.example";

#[tokio::test(flavor = "multi_thread")]
async fn one_network_address_has_so_many_tries_at_each_merchant() {
    let app = App::start().await;
    app.customer_called(EMAIL).await;
    let clock = Clock::manual(Clock::system().now() + Duration::from_secs(3600));
    let server = Running::start(&app.db, clock.clone()).await;
    let nobody = app.admin.with_key(None).at(&server.url);
    let nonce = json!({"merchant_id": app.merchant.to_string()});
    for _ in 0..limits::ADDRESS_ATTEMPTS {
        nobody
            .send_json("/v1/auth/wallet/nonce", &nonce)
            .await
            .expect(201);
    }
    let body =
        json!({"merchant_id": app.merchant.to_string(), "email": EMAIL, "password": PASSWORD});
    for path in [
        "/v1/auth/wallet/nonce",
        "/v1/auth/login",
        "/v1/auth/register",
    ] {
        let body = if path.ends_with("nonce") {
            &nonce
        } else {
            &body
        };
        let refused = nobody.send_json(path, body).await;
        assert_eq!(refused.header("retry-after"), "6", "{path}");
        refused.problem("too_many_attempts");
    }
    let (stranger, _) = app.stranger().await;
    let elsewhere = json!({"merchant_id": stranger.to_string()});
    nobody
        .send_json("/v1/auth/wallet/nonce", &elsewhere)
        .await
        .expect(201);
    // what succeeds takes nothing, so a street that signs in is never refused
    for _ in 0..3 {
        clock.advance(limits::ADDRESS_ATTEMPT_EVERY);
        nobody.send_json("/v1/auth/login", &body).await.expect(200);
        nobody.send_json("/v1/auth/login", &body).await.expect(200);
        nobody
            .send_json("/v1/auth/wallet/nonce", &nonce)
            .await
            .expect(201);
        nobody
            .send_json("/v1/auth/login", &body)
            .await
            .problem("too_many_attempts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_under_a_log_in_opens_nothing() {
    let app = App::start().await;
    app.customer_called(EMAIL).await;
    let mut changing = app.db.owner.begin().await.unwrap();
    sqlx::query("update account set password_hash = '$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$x'")
        .execute(&mut *changing)
        .await
        .unwrap();
    let entering = async {
        log_in(&app, EMAIL, PASSWORD)
            .await
            .problem("credentials_wrong");
    };
    let committing = async {
        eventually("it waits for the account", async || {
            let waiting: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&app.db.owner)
            .await
            .unwrap();
            (waiting > 0).then_some(())
        })
        .await;
        changing.commit().await.unwrap();
    };
    tokio::join!(entering, committing);
    let open: i64 = sqlx::query_scalar("select count(*) from session")
        .fetch_one(&app.db.owner)
        .await
        .unwrap();
    assert_eq!(open, 1, "that of registering alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_thrown_away_and_nothing_else() {
    let app = App::start().await;
    app.customer_called(EMAIL).await;
    let nobody = app.admin.with_key(None);
    let nonce = json!({"merchant_id": app.merchant.to_string()});
    nobody
        .send_json("/v1/auth/wallet/nonce", &nonce)
        .await
        .expect(201);
    log_in(&app, EMAIL, "not the sentence")
        .await
        .problem("credentials_wrong");
    sqlx::query(
        "insert into account_token (merchant_id, token_id, account_id, secret_hash, created_at, expires_at)
         select merchant_id, gen_random_uuid(), account_id, sha256(''), now(), now() + interval '20 minutes'
         from account",
    )
    .execute(&app.db.owner)
    .await
    .unwrap();
    let rows = async || -> Vec<i64> {
        let mut counts = Vec::new();
        for table in [
            "session",
            "sign_in_attempt",
            "account_token",
            "wallet_nonce",
            "account",
        ] {
            let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
            let count = sqlx::query_scalar(count).fetch_one(&app.db.owner).await;
            counts.push(count.unwrap());
        }
        counts
    };
    let before = rows().await;
    assert_eq!(before, [1, 2, 1, 1, 1]);
    let pool = app.db.pool(DatabaseRole::Worker);
    let mut db = pool.acquire().await.unwrap();
    let now = Clock::system().now();
    assert_eq!(staff::purge(&mut db, now, 1000).await.unwrap(), 0);
    assert_eq!(rows().await, before);
    let later = now + Duration::from_secs(21 * 60);
    assert_eq!(staff::purge(&mut db, later, 1).await.unwrap(), 1);
    assert_eq!(staff::purge(&mut db, later, 1).await.unwrap(), 1);
    assert_eq!(rows().await, [1, 0, 0, 0, 1]);
    let much_later = now + limits::SESSION_IDLE + Duration::from_secs(60);
    assert_eq!(staff::purge(&mut db, much_later, 1000).await.unwrap(), 1);
    assert_eq!(rows().await, [0, 0, 0, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_sends_what_is_to_be_sent() {
    let app = App::start().await;
    app.customer_called(EMAIL).await;
    let id = uuid::Uuid::from_bytes(Entropy::system().bytes()).simple();
    let directory = std::env::temp_dir().join(format!("counterfoil-mail-{id}"));
    let from = "Shop <no-reply@shop.example>";
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker::run(
        Worker {
            pool: app.db.pool(DatabaseRole::Worker),
            trust: Trust::default(),
            clock: Clock::system(),
            entropy: Entropy::system(),
            batch_interval: Duration::from_secs(3600),
            seal_at: 1000,
            batch_leaves: 1000,
            publishers: Vec::new(),
            sender: crate::harness::sender(
                counterfoil::webhooks::address::Reach::Anywhere,
                &Clock::system(),
            ),
            mailer: Some(Mailer::directory(directory.clone(), from, None).expect("a mailer")),
        },
        stop.clone(),
    ));
    let body = json!({"merchant_id": app.merchant.to_string(), "email": EMAIL});
    let nobody = app.admin.with_key(None);
    nobody
        .send_json("/v1/auth/password/forgotten", &body)
        .await
        .expect(202);
    let mail = eventually("a mail is there", async || {
        let mut files = std::fs::read_dir(&directory).ok()?;
        let found = files.find_map(|file| {
            let path = file.ok()?.path();
            (path.extension()? == "eml").then_some(path)
        })?;
        std::fs::read_to_string(found).ok()
    })
    .await;
    assert!(token_of(&mail).starts_with("cf_reset_"));
    stop.cancel();
    running.await.unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
}
