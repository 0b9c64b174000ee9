//! The table of roles: every route, for every kind of caller.

mod routes;

use std::time::{Duration, Instant};

use counterfoil::clock::Clock;
use counterfoil::http::auth::Role;
use counterfoil::ids::MerchantId;
use reqwest::Method;
use serde_json::json;

use crate::harness::{App, Client, PASSWORD, key, merchant, sale};
use crate::loyalty::{ADA, with_points};
use crate::openapi::operations;
use routes::{Row, table};

fn body(merchant: MerchantId, path: &str, who: usize) -> String {
    let order = format!("W-{who}");
    let merchant = merchant.to_string();
    let email = format!("{order}@shop.example");
    let body = match path {
        "/v1/accounts" => json!({"role": "pos", "email": format!("staff-{email}")}),
        "/v1/auth/register" => {
            json!({"merchant_id": merchant, "email": email, "password": PASSWORD})
        }
        "/v1/auth/login" => {
            json!({"merchant_id": merchant, "email": "ada@shop.example", "password": PASSWORD})
        }
        "/v1/auth/refresh" | "/v1/auth/logout" => json!({"refresh_token": "x"}),
        "/v1/auth/password/forgotten" => json!({"merchant_id": merchant, "email": email}),
        "/v1/auth/password/reset" => json!({"token": "x", "password": PASSWORD}),
        "/v1/auth/wallet/nonce" => json!({"merchant_id": merchant}),
        "/v1/auth/wallet/login" => {
            json!({"merchant_id": merchant, "message": "x", "signature": "0x00"})
        }
        "/v1/me/wallet" => json!({"message": "x", "signature": "0x00"}),
        "/v1/me/password" => {
            json!({"current_password": PASSWORD, "new_password": "another sentence"})
        }
        "/v1/sales" => sale(&order),
        "/v1/sales:batch" => {
            let mut item = sale(&format!("{order}-b"));
            item["idempotency_key"] = format!("{order}-b").into();
            json!({ "items": [item] })
        }
        "/v1/keys" => json!({"role": "pos"}),
        "/v1/products" => {
            json!({"sku": order, "name": "A", "price": {"value": "1", "currency": "INR"}})
        }
        "/v1/payment_intents/pi_0/confirm" => json!({"payment_method": "pm_card_visa"}),
        "/v1/loyalty/programme" => json!({"earn": []}),
        "/v1/loyalty/adjustments" => json!({"member": ADA, "points": "1", "reason": "a test"}),
        "/v1/loyalty/redemptions" => json!({"member": ADA, "points": "1"}),
        "/loyalty/redeem" => json!({"customer_address": ADA, "points_amount": "1"}),
        "/v1/webhook_endpoints" => json!({"url": "http://127.0.0.1:9/", "types": ["ping"]}),
        "/v1/events/evt_0/replay" => json!({"endpoint_id": "we_0"}),
        _ if path.starts_with("/v1/products/") || path.starts_with("/v1/cart/") => {
            json!({"quantity": 1})
        }
        "/v1/checkout" | "/v1/orders/ord_0/refunds" | "/v1/payments/webhook" => json!({}),
        _ => json!({"orderid": format!("{order}-t"), "amountINR": 1,
            "customeraddress": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"}),
    };
    body.to_string()
}

async fn status(app: &App, client: &Client, row: &Row, who: usize) -> u16 {
    let answer = match row.method {
        Method::POST => {
            client
                .post(
                    &row.path,
                    &format!("{}-{who}", row.path),
                    body(app.merchant, &row.path, who),
                )
                .await
        }
        Method::PUT | Method::PATCH => {
            let json = [("content-type", "application/json"), ("if-match", "\"1\"")];
            let body = body(app.merchant, &row.path, who);
            client
                .send(row.method.clone(), &row.path, &json, body)
                .await
        }
        _ => client.send(row.method.clone(), &row.path, &[], "").await,
    };
    if answer.status >= 400 {
        answer.any_problem();
    }
    answer.status
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_for_whom_the_table_says() {
    let app = App::start().await;
    let rupees = r#"{"orderid":"A-1","customeraddress":"0x70997970c51812dc3a010c7d01b50e0d17dc79c8","amountINR":1}"#;
    let made = app
        .admin
        .post("/transactions/record", "k", rupees)
        .await
        .expect(201)
        .json();
    with_points(&app).await;
    let rows = table(made["transaction_id"].as_str().unwrap());
    let (_, stranger) = app.stranger().await;
    let mut callers = vec![app.admin.with_key(None)];
    for role in [Role::Pos, Role::Auditor, Role::Admin] {
        let key = key(&app.db, app.merchant, role, None).await;
        callers.push(app.admin.with_key(Some(&key)));
    }
    callers.push(stranger);
    callers.push(app.customer_called("ada@shop.example").await);
    check(&app, &rows, &callers).await;
    // the table holds every route that the description names
    let described = app.admin.get("/openapi.json").await.expect(200).json();
    for (method, path, _) in operations(&described) {
        assert!(
            rows.iter()
                .any(|row| row.method == method && is_at(&row.path, &path)),
            "{method} {path} is in no row"
        );
    }
}

/// Whether an address is one of a path, whose parts in braces stand for anything.
fn is_at(address: &str, path: &str) -> bool {
    let address = address.split('?').next().unwrap_or_default();
    let (address, path) = (address.split('/'), path.split('/'));
    address.clone().count() == path.clone().count()
        && address
            .zip(path)
            .all(|(found, part)| part.starts_with('{') || found == part)
}

async fn check(app: &App, rows: &[Row], callers: &[Client]) {
    for row in rows {
        for (who, caller) in callers.iter().enumerate() {
            let found = status(app, caller, row, who).await;
            assert_eq!(
                found, row.expected[who],
                "{} {} as caller {who}",
                row.method, row.path
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_of_staff_may_what_keys_of_their_role_may() {
    let app = App::start().await;
    app.admin.record("k", &sale("A-1")).await.expect(201);
    let mut callers = vec![app.admin.with_key(None)];
    for role in ["pos", "auditor", "admin"] {
        callers.push(app.customer_called(&format!("{role}@shop.example")).await);
        sqlx::query("update account set role = $1 where email like $1 || '@%'")
            .bind(role)
            .execute(&app.db.owner)
            .await
            .unwrap();
    }
    let (_, stranger) = app.stranger().await;
    callers.push(stranger);
    callers.push(app.customer_called("ada@shop.example").await);
    with_points(&app).await;
    let made = app.admin.get("/v1/sales").await.expect(200).json();
    let mut rows = table(made["data"][0]["sale_id"].as_str().unwrap());
    // they are somebody, as no key is
    rows.retain(|row| !row.path.starts_with("/v1/me") && !row.path.starts_with("/transactions/s"));
    check(&app, &rows, &callers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_valid_is_401_everywhere() {
    let app = App::start().await;
    let made = app.admin.record("k", &sale("A-1")).await.expect(201).json();
    let valid = app.admin.key().to_owned();
    let expired = key(
        &app.db,
        app.merchant,
        Role::Admin,
        Some(Clock::system().now() - Duration::from_secs(1)),
    )
    .await;
    let revoked = key(&app.db, app.merchant, Role::Admin, None).await;
    sqlx::query("update api_key set revoked_at = now() where created_at = (select max(created_at) from api_key)")
        .execute(&app.db.owner)
        .await
        .unwrap();
    let wrong_mode = valid.replace("cf_live_", "cf_test_");
    let last = if valid.ends_with('0') { "1" } else { "0" };
    let wrong_secret = format!("{}{last}", &valid[..valid.len() - 1]);
    // the secret of one merchant's key under another merchant
    let other = merchant(&app.db, "live").await;
    let own = app.merchant.to_string();
    let wrong_merchant = valid.replace(
        own.trim_start_matches("mer_"),
        other.to_string().trim_start_matches("mer_"),
    );
    assert_ne!(wrong_merchant, valid);
    let bad = [
        expired,
        revoked,
        wrong_mode,
        wrong_secret,
        wrong_merchant,
        valid.to_uppercase(),
        format!("{valid}0"),
        String::new(),
    ];
    app.customer_called("ada@shop.example").await;
    for (at, key) in bad.iter().enumerate() {
        let client = app.admin.with_key(Some(key));
        for row in table(made["sale_id"].as_str().unwrap()) {
            // public routes take no key; on those that a link opens, a wrong key is still a mistake
            let [first, rest @ ..] = row.expected;
            let is_public = rest == [first; 5];
            let expected = if is_public { first } else { 401 };
            assert_eq!(
                status(&app, &client, &row, at + 9).await,
                expected,
                "{key} on {} {}",
                row.method,
                row.path
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_key_is_of_a_test_merchant() {
    let app = App::start().await;
    let testing = merchant(&app.db, "test").await;
    let text = key(&app.db, testing, Role::Pos, None).await;
    assert!(text.starts_with("cf_test_") && app.admin.key().starts_with("cf_live_"));
    let till = app.admin.with_key(Some(&text));
    let made = till.record("k", &sale("A-1")).await.expect(201).json();
    assert_eq!(made["merchant_id"], testing.to_string());
    // a merchant does not change sides with its keys
    sqlx::query("update merchant set mode = 'live' where merchant_id = $1")
        .bind(testing.0)
        .execute(&app.db.owner)
        .await
        .unwrap();
    let fresh = crate::harness::Running::start(&app.db, Clock::system()).await;
    till.at(&fresh.url)
        .record("k", &sale("A-1"))
        .await
        .problem("unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_stops_within_five_seconds() {
    let app = App::start().await;
    let path = "/v1/sales?limit=1";
    app.admin.get(path).await.expect(200);
    sqlx::query("update api_key set revoked_at = now()")
        .execute(&app.db.owner)
        .await
        .unwrap();
    let revoked = Instant::now();
    while app.admin.get(path).await.status != 401 {
        assert!(revoked.elapsed() < Duration::from_secs(5), "still valid");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
