//! The API keys of a merchant, as its administrators manage them.

use std::collections::BTreeSet;
use std::time::Duration;

use counterfoil::clock::{Clock, rfc3339_ms};
use counterfoil::http::auth::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, App, Client, eventually, key, sale};

async fn issue(client: &Client, body: &Value) -> Answer {
    let json = [("content-type", "application/json")];
    client
        .send(Method::POST, "/v1/keys", &json, body.to_string())
        .await
}

async fn revoke(client: &Client, id: &str) -> Answer {
    let path = format!("/v1/keys/{id}");
    client.send(Method::DELETE, &path, &[], "").await
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().expect(name).to_owned()
}

/// The id of a client's own key.
async fn own_id(app: &App) -> String {
    let list = app.admin.get("/v1/keys").await.expect(200).json();
    text(&list["data"][0], "id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_issued_used_listed_and_revoked() {
    let app = App::start().await;
    let until = rfc3339_ms(Clock::system().now() + Duration::from_secs(3600));
    let wanted = json!({"role": "pos", "label": "till-2", "expires_at": until});
    let issued = issue(&app.admin, &wanted).await.expect(201);
    assert_eq!(issued.header("cache-control"), "no-store");
    let body = issued.json();
    let id = text(&body, "id");
    assert_eq!(issued.header("location"), format!("/v1/keys/{id}"));
    assert!(text(&body, "key").starts_with("cf_live_"), "{body}");
    assert_eq!(
        (&body["role"], &body["label"], &body["expires_at"]),
        (&wanted["role"], &wanted["label"], &wanted["expires_at"])
    );

    let till = app.admin.with_key(Some(&text(&body, "key")));
    till.record("k", &sale("A-1")).await.expect(201);
    till.get("/v1/keys").await.problem("forbidden");

    // what is read of it afterwards is all but the key itself
    let mut without = body.clone();
    without.as_object_mut().expect("an object").remove("key");
    let read = app.admin.get(&format!("/v1/keys/{id}")).await.expect(200);
    assert_eq!(read.json(), without);
    let list = app.admin.get("/v1/keys").await.expect(200);
    assert_eq!(list.json()["data"][0], without);
    let secret = text(&body, "key");
    let secret = &secret[secret.len() - 26..];
    assert!(!list.text.contains(secret) && !read.text.contains(secret));

    revoke(&app.admin, &id).await.expect(204);
    revoke(&app.admin, &id).await.expect(204);
    let read = app.admin.get(&format!("/v1/keys/{id}")).await.json();
    assert!(read["revoked_at"].is_string(), "{read}");
    eventually("it works no more", async || {
        let answer = till.get("/v1/sales?order_id=A-1").await;
        (answer.status == 401).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_makes_no_sense_is_not_issued() {
    let app = App::start().await;
    let past = "2020-01-01T00:00:00Z";
    for (body, expected) in [
        (json!({}), vec![("/role", "missing_field")]),
        (json!({"role": "owner"}), vec![("/role", "role_unknown")]),
        (json!({"role": 1}), vec![("/role", "wrong_type")]),
        (
            json!({"role": "pos", "rôle": 1}),
            vec![("/rôle", "unknown_field")],
        ),
        (
            json!({"role": "Pos", "label": "é".repeat(65), "expires_at": past}),
            vec![
                ("/role", "role_unknown"),
                ("/label", "text_too_long"),
                ("/expires_at", "time_over"),
            ],
        ),
        (
            json!({"role": "pos", "label": "a\u{0}", "expires_at": "tomorrow"}),
            vec![("/label", "text_has_nul"), ("/expires_at", "time_invalid")],
        ),
    ] {
        let answer = issue(&app.admin, &body).await;
        answer.any_problem();
        let found: BTreeSet<_> = answer.faults().into_iter().collect();
        let expected = expected
            .into_iter()
            .map(|(at, code)| (at.to_owned(), code.to_owned()));
        assert_eq!(found, expected.collect(), "{body}");
    }
    issue(&app.admin, &json!({"role": "pos", "label": "é".repeat(64)}))
        .await
        .expect(201);
    let count = sqlx::query_scalar("select count(*) from api_key where merchant_id = $1")
        .bind(app.merchant.0);
    let count: i64 = count.fetch_one(&app.db.owner).await.unwrap();
    assert_eq!(count, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_stays() {
    let app = App::start().await;
    let own = own_id(&app).await;
    revoke(&app.admin, &own).await.problem("last_admin_key");
    // one that does not work any more is none
    let body = issue(&app.admin, &json!({"role": "admin"})).await.json();
    revoke(&app.admin, &text(&body, "id")).await.expect(204);
    revoke(&app.admin, &own).await.problem("last_admin_key");

    let body = issue(&app.admin, &json!({"role": "admin"})).await.json();
    let second = app.admin.with_key(Some(&text(&body, "key")));
    // both would leave the other: one of them may
    let id = text(&body, "id");
    let (one, other) = tokio::join!(revoke(&app.admin, &own), revoke(&second, &id));
    let mut answers = [one.status, other.status];
    answers.sort_unstable();
    assert_eq!(answers[0], 204, "{answers:?}");
    assert!([403, 409].contains(&answers[1]), "{answers:?}");
    let working: i64 = sqlx::query_scalar(
        "select count(*) from api_key where role = 'admin' and revoked_at is null and merchant_id = $1",
    )
    .bind(app.merchant.0)
    .fetch_one(&app.db.owner)
    .await
    .unwrap();
    assert_eq!(working, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_administrator_issues_nothing_however_fresh_its_verdict() {
    let app = App::start().await;
    let text = key(&app.db, app.merchant, Role::Admin, None).await;
    let thief = app.admin.with_key(Some(&text));
    thief.get("/v1/sales?limit=1").await.expect(200);
    sqlx::query(
        "update api_key set revoked_at = now() where key_id = (select key_id from api_key order by key_id desc limit 1)",
    )
    .execute(&app.db.owner)
    .await
    .unwrap();
    // the server still takes it for some seconds
    thief.get("/v1/sales?limit=1").await.expect(200);
    issue(&thief, &json!({"role": "admin"}))
        .await
        .problem("forbidden");
    let own = own_id(&app).await;
    revoke(&thief, &own).await.problem("forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_has_its_own_keys_and_not_without_end() {
    let app = App::start().await;
    let (_, stranger) = app.stranger().await;
    let own = own_id(&app).await;
    for answer in [
        stranger.get(&format!("/v1/keys/{own}")).await,
        revoke(&stranger, &own).await,
        revoke(&app.admin, "key_0").await,
        app.admin.get(&format!("/v1/keys/{}", app.merchant)).await,
    ] {
        answer.problem("not_found");
    }
    sqlx::query(
        "insert into api_key (merchant_id, key_id, role, secret_hash, label, created_at)
         select merchant_id, gen_random_uuid(), 'pos', secret_hash, '', created_at
         from api_key, generate_series(1, 998) where merchant_id = $1",
    )
    .bind(app.merchant.0)
    .execute(&app.db.owner)
    .await
    .unwrap();
    let body = issue(&app.admin, &json!({"role": "pos"}))
        .await
        .expect(201)
        .json();
    issue(&app.admin, &json!({"role": "pos"}))
        .await
        .problem("too_many_api_keys");
    revoke(&app.admin, &text(&body, "id")).await.expect(204);
    issue(&app.admin, &json!({"role": "pos"})).await.expect(201);

    // each on one page, both ways
    let mut ids = BTreeSet::new();
    let mut path = "/v1/keys?limit=100".to_owned();
    loop {
        let page = app.admin.get(&path).await.expect(200).json();
        let rows = page["data"].as_array().expect("rows");
        ids.extend(rows.iter().map(|row| text(row, "id")));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/keys?limit=100&starting_after={cursor}");
    }
    assert_eq!(ids.len(), 1001);
    let first = ids.first().expect("ids");
    let page = format!("/v1/keys?limit=2&ending_before={first}");
    let page = app.admin.get(&page).await.expect(200).json();
    let after: Vec<String> = ids.iter().skip(1).take(2).rev().cloned().collect();
    let found: Vec<String> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| text(row, "id"))
        .collect();
    assert_eq!(found, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_changes_while_the_database_is_in_doubt() {
    let app = App::start().await;
    let own = own_id(&app).await;
    let doubt = "select raise_doubt('commits may be lost', 0)";
    sqlx::query(doubt).execute(&app.db.owner).await.unwrap();
    eventually("it is not ready", async || {
        (app.admin.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    let refused = issue(&app.admin, &json!({"role": "admin"})).await;
    assert_eq!(refused.header("retry-after"), "30");
    refused.problem("database_in_doubt");
    revoke(&app.admin, &own).await.problem("database_in_doubt");
    let list = app.admin.get("/v1/keys").await.expect(200).json();
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
}
