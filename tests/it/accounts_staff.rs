//! Staff: invited by an administrator, with the rights of their role and no more; scopes; closed accounts.

use counterfoil::clock::Clock;
use counterfoil::http::auth::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::log_in;
use crate::accounts_mail::{PostOffice, set_password, token_of};
use crate::harness::{Answer, App, Client, PASSWORD, eventually, key, sale};

async fn invite(client: &Client, role: &str, email: &str) -> Answer {
    let body = json!({"role": role, "email": email, "name": "Somebody"});
    client.send_json("/v1/accounts", &body).await
}

async fn close(client: &Client, id: &Value) -> Answer {
    let path = format!("/v1/accounts/{}", id.as_str().expect("an id"));
    client.send(Method::DELETE, &path, &[], "").await
}

async fn issue(client: &Client, body: Value) -> Answer {
    client.send_json("/v1/keys", &body).await
}

/// Somebody of the staff who has taken the invitation up: the account's id, and a client that has signed in.
async fn hired(app: &App, role: &str, email: &str) -> (Value, Client) {
    let invited = invite(&app.admin, role, email).await.expect(201).json();
    let post = PostOffice::new(app, &Clock::system());
    let mails = post.deliver().await;
    let mail = mails
        .iter()
        .find(|mail| mail.contains(email))
        .expect("a mail");
    assert!(mail.contains("Subject: Shop: your account"), "{mail}");
    set_password(app, &token_of(mail), PASSWORD)
        .await
        .expect(204);
    let entered = log_in(app, email, PASSWORD).await.expect(200).json();
    let token = entered["tokens"]["access_token"].as_str();
    (invited["id"].clone(), app.admin.with_key(token))
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_are_invited_and_may_what_their_role_may() {
    let app = App::start().await;
    let invited = invite(&app.admin, "pos", "till@shop.example")
        .await
        .expect(201);
    let account = invited.json();
    let id = account["id"].as_str().expect("an id");
    assert_eq!(invited.header("location"), format!("/v1/accounts/{id}"));
    assert_eq!(
        (&account["role"], &account["has_password"]),
        (&json!("pos"), &json!(false))
    );
    // nobody signs in before the password is set
    log_in(&app, "till@shop.example", PASSWORD)
        .await
        .problem("credentials_wrong");
    invite(&app.admin, "admin", "TILL@shop.example")
        .await
        .problem("email_taken");

    let (_, auditor) = hired(&app, "auditor", "auditor@shop.example").await;
    auditor.get("/v1/sales").await.expect(200);
    auditor.record("k", &sale("A-1")).await.problem("forbidden");
    let (_, pos) = hired(&app, "pos", "till-2@shop.example").await;
    pos.record("k", &sale("A-1")).await.expect(201);
    pos.get("/v1/accounts").await.problem("forbidden");
    invite(&pos, "admin", "thief@shop.example")
        .await
        .problem("forbidden");

    let (_, admin) = hired(&app, "admin", "boss@shop.example").await;
    let issued = issue(&admin, json!({"role": "pos"}))
        .await
        .expect(201)
        .json();
    let path = format!("/v1/keys/{}", issued["id"].as_str().unwrap());
    admin.send(Method::DELETE, &path, &[], "").await.expect(204);
    invite(&admin, "pos", "till-3@shop.example")
        .await
        .expect(201);
    let faults = invite(&admin, "customer", "nobody").await.faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_closed_is_out_and_gives_its_address_free() {
    let app = App::start().await;
    let (id, till) = hired(&app, "pos", "till@shop.example").await;
    till.get("/v1/me").await.expect(200);
    close(&app.admin, &id).await.expect(204);
    close(&app.admin, &id).await.expect(204);
    eventually("its access ends", async || {
        (till.get("/v1/me").await.status == 401).then_some(())
    })
    .await;
    log_in(&app, "till@shop.example", PASSWORD)
        .await
        .problem("credentials_wrong");
    let path = format!("/v1/accounts/{}", id.as_str().unwrap());
    let read = app.admin.get(&path).await.expect(200).json();
    assert!(read["closed_at"].is_string(), "{read}");
    invite(&app.admin, "pos", "till@shop.example")
        .await
        .expect(201);
    // another merchant's accounts are not there
    let (_, stranger) = app.stranger().await;
    close(&stranger, &id).await.problem("not_found");
    stranger.get(&path).await.problem("not_found");
    close(&app.admin, &json!("cus_0"))
        .await
        .problem("not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_administrator_who_may_do_all_stays() {
    let app = App::start().await;
    let (boss, boss_client) = hired(&app, "admin", "boss@shop.example").await;
    let own = app.admin.get("/v1/keys").await.json()["data"][0]["id"].clone();
    let own = format!("/v1/keys/{}", own.as_str().unwrap());
    // a key that is narrowed may not do all
    issue(&app.admin, json!({"role": "admin", "scope": "keys:manage"}))
        .await
        .expect(201);
    boss_client.get("/v1/me").await.expect(200);
    // the key may go while the account is there, and only one of the two
    let (revoked, closed) = tokio::join!(
        boss_client.send(Method::DELETE, &own, &[], ""),
        close(&app.admin, &boss)
    );
    let mut statuses = [revoked.status, closed.status];
    statuses.sort_unstable();
    assert_eq!(statuses[0], 204, "{revoked:?} {closed:?}");
    assert!([403, 409].contains(&statuses[1]), "{revoked:?} {closed:?}");
    let left: i64 = sqlx::query_scalar(
        "select (select count(*) from api_key where role = 'admin' and revoked_at is null and scopes is null)
              + (select count(*) from account where role = 'admin' and closed_at is null)",
    )
    .fetch_one(&app.db.owner)
    .await
    .unwrap();
    assert_eq!(left, 1);
    if revoked.status == 204 {
        close(&boss_client, &boss).await.problem("last_admin");
    } else {
        let refused = app.admin.send(Method::DELETE, &own, &[], "").await;
        refused.problem("last_admin_key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_narrowed_gives_no_more_than_it_has() {
    let app = App::start().await;
    let body = json!({"role": "admin", "scope": "keys:manage sales:list accounts:manage"});
    let issued = issue(&app.admin, body).await.expect(201).json();
    assert_eq!(issued["scope"], "accounts:manage keys:manage sales:list");
    let narrow = app.admin.with_key(issued["key"].as_str());
    narrow.get("/v1/sales").await.expect(200);
    let missing = narrow
        .record("k", &sale("A-1"))
        .await
        .problem("scope_missing");
    assert!(missing["detail"].as_str().unwrap().contains("sales:record"));
    narrow
        .get("/v1/sales?order_id=A-1")
        .await
        .problem("scope_missing");
    issue(&narrow, json!({"role": "admin"}))
        .await
        .problem("scopes_exceed");
    issue(&narrow, json!({"role": "pos", "scope": "sales:record"}))
        .await
        .problem("scopes_exceed");
    issue(&narrow, json!({"role": "admin", "scope": "sales:list"}))
        .await
        .expect(201);
    invite(&narrow, "admin", "thief@shop.example")
        .await
        .problem("scopes_exceed");
    issue(&app.admin, json!({"role": "pos", "scope": "sales:steal"}))
        .await
        .problem("scope_unknown");
    issue(&app.admin, json!({"role": "pos", "scope": ""}))
        .await
        .problem("scope_unknown");
    let of_admins = json!({"role": "pos", "scope": "sales:record keys:manage orders:manage"});
    let refused = issue(&app.admin, of_admins).await;
    let refused = refused.problem("scope_of_other_role");
    assert_eq!(
        refused["errors"][0]["detail"],
        "the role pos has no keys:manage, orders:manage"
    );

    // a session likewise
    hired(&app, "admin", "boss@shop.example").await;
    let wanted = json!({"merchant_id": app.merchant.to_string(), "email": "boss@shop.example",
        "password": PASSWORD, "scope": "keys:manage"});
    let nobody = app.admin.with_key(None);
    let entered = nobody
        .send_json("/v1/auth/login", &wanted)
        .await
        .expect(200)
        .json();
    assert_eq!(entered["tokens"]["scope"], "keys:manage");
    let boss = app
        .admin
        .with_key(entered["tokens"]["access_token"].as_str());
    boss.get("/v1/keys").await.expect(200);
    boss.get("/v1/accounts").await.problem("scope_missing");
    issue(&boss, json!({"role": "admin"}))
        .await
        .problem("scopes_exceed");
    issue(&boss, json!({"role": "admin", "scope": "keys:manage"}))
        .await
        .expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_ended_issues_nothing_however_fresh_its_verdict() {
    let app = App::start().await;
    let (_, boss) = hired(&app, "admin", "boss@shop.example").await;
    boss.get("/v1/accounts").await.expect(200);
    sqlx::query("update session set ended_at = now(), ended_by = 'logged_out'")
        .execute(&app.db.owner)
        .await
        .unwrap();
    // the server still takes it for some seconds
    boss.get("/v1/accounts").await.expect(200);
    issue(&boss, json!({"role": "admin"}))
        .await
        .problem("forbidden");
    invite(&boss, "admin", "thief@shop.example")
        .await
        .problem("forbidden");
    let own = app.admin.get("/v1/keys").await.json()["data"][0]["id"].clone();
    let own = format!("/v1/keys/{}", own.as_str().unwrap());
    boss.send(Method::DELETE, &own, &[], "")
        .await
        .problem("forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_listed_in_pages() {
    let app = App::start().await;
    let mut emails = Vec::new();
    for n in 0..5 {
        let email = format!("c{n}@shop.example");
        app.customer_called(&email).await;
        emails.push(email);
    }
    invite(&app.admin, "pos", "till@shop.example")
        .await
        .expect(201);
    let listed = async |query: &str| -> (Vec<String>, Value) {
        let page = app
            .admin
            .get(&format!("/v1/accounts?{query}"))
            .await
            .expect(200)
            .json();
        let email = |row: &Value| row["email"].as_str().expect("an address").to_owned();
        let rows = page["data"]
            .as_array()
            .expect("rows")
            .iter()
            .map(email)
            .collect();
        (rows, page["next_cursor"].clone())
    };
    let (first, cursor) = listed("role=customer&limit=3").await;
    assert_eq!(
        first,
        ["c4@shop.example", "c3@shop.example", "c2@shop.example"]
    );
    let cursor = cursor.as_str().expect("more").to_owned();
    let (second, end) = listed(&format!("role=customer&limit=3&starting_after={cursor}")).await;
    assert_eq!(second, ["c1@shop.example", "c0@shop.example"]);
    assert!(end.is_null());
    let (before, _) = listed(&format!("ending_before={cursor}&limit=2")).await;
    assert_eq!(before, ["c4@shop.example", "c3@shop.example"]);
    let (one, _) = listed("email=C1%40Shop.Example").await;
    assert_eq!(one, ["c1@shop.example"]);
    for bad in [
        "role=owner",
        "limit=0",
        "starting_after=key_0",
        "colour=red",
    ] {
        let answer = app.admin.get(&format!("/v1/accounts?{bad}")).await;
        answer.problem("invalid_parameter");
    }
    let pos = key(&app.db, app.merchant, Role::Pos, None).await;
    app.admin
        .with_key(Some(&pos))
        .get("/v1/accounts")
        .await
        .problem("forbidden");
}
