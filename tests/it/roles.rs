//! The table of roles: every route, for every kind of caller.

use std::time::{Duration, Instant};

use counterfoil::clock::Clock;
use counterfoil::http::auth::Role;
use reqwest::Method;

use crate::harness::{App, Client, key, merchant, sale};

/// Who may: status for nobody, pos, auditor, admin, and a key of another merchant.
struct Row {
    method: Method,
    path: String,
    expected: [u16; 5],
}

fn table(sale_id: &str) -> Vec<Row> {
    let row = |method: Method, path: &str, expected| Row {
        method,
        path: path.replace("{sale}", sale_id),
        expected,
    };
    vec![
        row(Method::POST, "/v1/sales", [401, 201, 403, 201, 201]),
        row(Method::POST, "/v1/sales:batch", [401, 200, 403, 200, 200]),
        row(
            Method::POST,
            "/transactions/record",
            [401, 201, 403, 201, 201],
        ),
        row(Method::GET, "/v1/sales", [401, 403, 200, 200, 200]),
        row(
            Method::GET,
            "/v1/sales?kind=sale",
            [401, 403, 200, 200, 200],
        ),
        row(
            Method::GET,
            "/v1/sales?order_id=A-1",
            [401, 200, 200, 200, 200],
        ),
        row(Method::GET, "/v1/sales/{sale}", [401, 200, 200, 200, 404]),
        row(
            Method::GET,
            "/transactions/{sale}",
            [401, 200, 200, 200, 404],
        ),
        row(
            Method::GET,
            "/v1/receipts/{sale}",
            [404, 200, 200, 200, 404],
        ),
        row(
            Method::GET,
            "/v1/orders/A-1/proof",
            [404, 200, 200, 200, 404],
        ),
        row(Method::POST, "/v1/keys", [401, 403, 403, 201, 201]),
        row(Method::GET, "/v1/keys", [401, 403, 403, 200, 200]),
        row(Method::GET, "/v1/keys/key_0", [401, 403, 403, 404, 404]),
        row(Method::DELETE, "/v1/keys/key_0", [401, 403, 403, 404, 404]),
        row(Method::GET, "/v1/batches", [401, 403, 200, 200, 200]),
        row(Method::GET, "/v1/batches/1", [401, 403, 404, 404, 404]),
        row(Method::GET, "/.well-known/counterfoil.json", [200; 5]),
        row(Method::GET, "/livez", [200; 5]),
        row(Method::GET, "/readyz", [200; 5]),
        row(Method::GET, "/openapi.json", [200; 5]),
        row(Method::GET, "/redoc", [200; 5]),
        row(Method::GET, "/errors/forbidden", [200; 5]),
    ]
}

fn body(path: &str, who: usize) -> String {
    let order = format!("W-{who}");
    match path {
        "/v1/sales" => sale(&order).to_string(),
        "/v1/sales:batch" => {
            let mut item = sale(&format!("{order}-b"));
            item["idempotency_key"] = format!("{order}-b").into();
            serde_json::json!({ "items": [item] }).to_string()
        }
        "/v1/keys" => r#"{"role":"pos"}"#.to_owned(),
        _ => format!(
            r#"{{"orderid":"{order}-t","customeraddress":"0x70997970c51812dc3a010c7d01b50e0d17dc79c8","amountINR":1}}"#
        ),
    }
}

async fn status(client: &Client, row: &Row, who: usize) -> u16 {
    let answer = match row.method {
        Method::POST => {
            client
                .post(
                    &row.path,
                    &format!("{}-{who}", row.path),
                    body(&row.path, who),
                )
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
    let rows = table(made["transaction_id"].as_str().unwrap());

    let (_, stranger) = app.stranger().await;
    let mut callers = vec![app.admin.with_key(None)];
    for role in [Role::Pos, Role::Auditor, Role::Admin] {
        let key = key(&app.db, app.merchant, role, None).await;
        callers.push(app.admin.with_key(Some(&key)));
    }
    callers.push(stranger);
    for row in &rows {
        for (who, caller) in callers.iter().enumerate() {
            let found = status(caller, row, who).await;
            assert_eq!(
                found, row.expected[who],
                "{} {} as caller {who}",
                row.method, row.path
            );
        }
    }
    // the table holds every route that the description names
    let described = app.admin.get("/openapi.json").await.expect(200).json();
    for path in described["paths"].as_object().unwrap().keys() {
        let stem = path.split('{').next().unwrap();
        assert!(
            rows.iter().any(|row| row.path.starts_with(stem)),
            "{path} is in no row"
        );
    }
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
    for key in &bad {
        let client = app.admin.with_key(Some(key));
        for row in table(made["sale_id"].as_str().unwrap()) {
            // public routes take no key; on those that a link opens, a wrong key is still a mistake
            let expected = if row.expected == [200; 5] { 200 } else { 401 };
            assert_eq!(
                status(&client, &row, 9).await,
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
