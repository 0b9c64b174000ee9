//! The routes: bounds, versions, replays, and what customers may.

use counterfoil::database::DatabaseRole;
use serde_json::json;

use super::*;
use crate::harness::faults_of;

#[tokio::test(flavor = "multi_thread")]
async fn a_programme_is_changed_by_who_has_seen_it() {
    let app = App::start().await;
    let admin = &app.admin;
    admin.get("/v1/loyalty/programme").await.expect(404);
    let headers = [("content-type", "application/json")];
    let body = plain().to_string();
    let blind = admin
        .send(Method::PUT, "/v1/loyalty/programme", &headers, body)
        .await;
    assert_eq!(blind.expect(428).json()["code"], "if_match_missing");
    assert_eq!(
        put_programme(admin, 1, &plain()).await.expect(412).json()["code"],
        "version_differs"
    );
    let first = put_programme(admin, 0, &plain()).await.expect(200);
    assert_eq!(
        (first.header("etag"), &first.json()["version"]),
        ("\"1\"", &json!(1))
    );
    put_programme(admin, 0, &plain()).await.expect(412);
    let changed = with(
        json!({"daily_limit": "12.5", "tiers": [{"name": "gold", "from": "10", "multiplier": "1.50"}]}),
    );
    let second = put_programme(admin, 1, &changed).await.expect(200).json();
    assert_eq!(
        (&second["version"], &second["tiers"][0]["multiplier"]),
        (&json!(2), &json!("1.5"))
    );
    let read = admin.get("/v1/loyalty/programme").await.expect(200);
    assert_eq!((read.header("etag"), read.json()), ("\"2\"", second));
    // whoever checks the points of a sale reads the version that it names
    let before = admin
        .get("/v1/loyalty/programme?version=1")
        .await
        .expect(200);
    assert_eq!(before.json(), first.json());
    admin
        .get("/v1/loyalty/programme?version=3")
        .await
        .expect(404);
    let rival = |rate: &str| with(json!({"earn": [{"currency": "GBP", "rate": rate}]}));
    let (one, two) = (rival("2"), rival("3"));
    let (a, b) = tokio::join!(put_programme(admin, 2, &one), put_programme(admin, 2, &two));
    let mut both = [a.status, b.status];
    both.sort_unstable();
    assert_eq!(both, [200, 412]);
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_have_bounds_and_each_is_named() {
    let app = App::start().await;
    let earn = |currency: &str, rate: &str| json!({"currency": currency, "rate": rate});
    let tier =
        |from: &str, multiplier: &str| json!({"name": "t", "from": from, "multiplier": multiplier});
    let terms = "terms_invalid";
    let cases = [
        (
            json!({"earn": [earn("XXX", "1")]}),
            "/earn/0/currency",
            "currency_unknown",
        ),
        (
            json!({"earn": [earn("GBP", "1"), earn("GBP", "2")]}),
            "/earn/1/currency",
            terms,
        ),
        (
            json!({"earn": [earn("GBP", "-1")]}),
            "/earn/0/rate",
            "money_negative",
        ),
        (
            json!({"earn": [earn("GBP", "0.0000001")]}),
            "/earn/0/rate",
            "money_too_many_decimals",
        ),
        (json!({"decimals": 5}), "/decimals", terms),
        (json!({"pending_days": 366}), "/pending_days", terms),
        (json!({"expiry_days": 0}), "/expiry_days", terms),
        (json!({"expiry_days": "3651"}), "/expiry_days", terms),
        (
            json!({"pending_days": 10, "expiry_days": 10}),
            "/expiry_days",
            terms,
        ),
        (json!({"tier_drop": "never"}), "/tier_drop", terms),
        (
            json!({"daily_limit": "1000000000.0001"}),
            "/daily_limit",
            "money_too_large",
        ),
        (json!({"tiers": [tier("0", "1")]}), "/tiers/0/from", terms),
        (
            json!({"tiers": [tier("2", "1"), tier("2", "1")]}),
            "/tiers/1/from",
            terms,
        ),
        (
            json!({"tiers": [tier("1", "0.5")]}),
            "/tiers/0/multiplier",
            terms,
        ),
        (
            json!({"tiers": [tier("1", "100.1")]}),
            "/tiers/0/multiplier",
            terms,
        ),
        (
            json!({"redeem": {"minimum": "2", "maximum": "1"}}),
            "/redeem/maximum",
            terms,
        ),
    ];
    for (changes, at, code) in cases {
        let answer = put_programme(&app.admin, 0, &with(changes.clone())).await;
        let expected = [(at.to_owned(), code.to_owned())];
        assert_eq!(faults_of(&answer.expect(422).json()), expected, "{changes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_are_as_many_as_they_may_be() {
    let app = App::start().await;
    let many: Vec<Value> = (0..51)
        .map(|_| json!({"currency": "XXX", "rate": "1"}))
        .collect();
    let answer = put_programme(&app.admin, 0, &with(json!({ "earn": many }))).await;
    assert!(answer.expect(422).text.contains("terms_invalid"));
    let tier = json!({"name": "t", "from": "1", "multiplier": "100"});
    let most = with(json!({ "tiers": [tier] }));
    put_programme(&app.admin, 0, &most).await.expect(200);
    let unknown = put_programme(&app.admin, 1, &with(json!({"points": 1}))).await;
    assert_eq!(unknown.expect(400).json()["code"], "unknown_field");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_the_ledger_but_its_functions() {
    let app = shop(plain()).await;
    record(&app.admin, &pounds("A-1", "10", ADA)).await;
    let api = app.db.pool(DatabaseRole::Api);
    let worker = app.db.pool(DatabaseRole::Worker);
    let reader = app.db.pool(DatabaseRole::Reader);
    for (pool, statement) in [
        (
            &api,
            "insert into loyalty_entry select * from loyalty_entry",
        ),
        (&api, "update loyalty_lot set points_left = opened"),
        (&api, "update loyalty_member set balance = 0"),
        (&api, "update merchant set loyalty_version = 0"),
        (&api, "update loyalty_programme set terms = terms"),
        (&api, "delete from loyalty_first"),
        (&api, "select expire_points(now(), 1)"),
        (
            &api,
            "select loyalty_settle(merchant_id, member, now()) from loyalty_member",
        ),
        (&worker, "delete from loyalty_entry"),
        (
            &worker,
            "select adjust_points(merchant_id, null, 1, null, '', merchant_id, now()) from merchant",
        ),
        (&reader, "select member from loyalty_entry"),
    ] {
        let error = sqlx::query(statement)
            .execute(pool)
            .await
            .expect_err(statement);
        let code = error
            .as_database_error()
            .and_then(|e| e.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
    }
    // and whoever may do everything is still held by the table itself
    for statement in [
        // not the next number
        "insert into loyalty_entry (merchant_id, member, entry, kind, lot, points, recorded_at)
         select merchant_id, member, entry + 5, 'expire', lot, -1, now() from loyalty_entry",
        // more than there is
        "insert into loyalty_entry (merchant_id, member, entry, kind, lot, points, recorded_at)
         select merchant_id, member, entry + 1, 'expire', lot, -points - 1, now() from loyalty_entry",
        // no such lot
        "insert into loyalty_entry (merchant_id, member, entry, kind, lot, points, recorded_at)
         select merchant_id, member, entry + 1, 'expire', lot + 7, -1, now() from loyalty_entry",
        // the same award again
        "insert into loyalty_entry (merchant_id, member, entry, kind, rule, lot, points, sale_id, available_at, recorded_at)
         select merchant_id, member, entry + 1, kind, rule, lot + 1, points, sale_id, available_at, now() from loyalty_entry",
    ] {
        let done = sqlx::query(statement).execute(&app.db.owner).await;
        assert!(done.is_err(), "{statement}");
    }
    check_ledger(&app.db.owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redeeming_keeps_the_programmes_bounds() {
    let app = App::start().await;
    let admin = &app.admin;
    let body = |changes: Value| {
        let mut body = json!({"member": ADA, "points": "10", "currency": "GBP"});
        body.as_object_mut()
            .expect("an object")
            .extend(changes.as_object().expect("an object").clone());
        body.to_string()
    };
    let path = "/v1/loyalty/redemptions";
    let none = admin.post(path, "k", body(json!({}))).await.expect(409);
    assert_eq!(none.json()["code"], "programme_missing");
    put_programme(
        admin,
        0,
        &with(json!({"redeem": {"minimum": "5", "maximum": "20",
        "value": [{"currency": "GBP", "value": "0.015"}]}})),
    )
    .await
    .expect(200);
    record(admin, &pounds("A-1", "100", ADA)).await;
    for (changes, code) in [
        (json!({"points": "4.9999"}), "points_out_of_bounds"),
        (json!({"points": "20.0001"}), "points_out_of_bounds"),
        (json!({"points": "0"}), "points_out_of_bounds"),
        (json!({"currency": "INR"}), "points_out_of_bounds"),
        (json!({"currency": "XXX"}), "currency_unknown"),
        (json!({"member": "0x12"}), "member_invalid"),
        (json!({"points": "-10"}), "money_negative"),
        (json!({"reference": "x".repeat(65)}), "text_too_long"),
    ] {
        let refused = admin
            .post(path, "k", body(changes.clone()))
            .await
            .expect(422);
        assert_eq!(refused.json()["code"], code, "{changes}");
    }
    // 11 × 0.015 = 0.165, rounded down
    let made = admin
        .post(path, "k", body(json!({"points": "11"})))
        .await
        .expect(201);
    assert_eq!(
        (&made.json()["value"], &made.json()["points"]),
        (&json!("0.16"), &json!("11"))
    );
    let again = admin
        .post(path, "k", body(json!({"points": "11.0"})))
        .await
        .expect(201);
    assert_eq!(
        (&again.text, again.header("idempotent-replayed")),
        (&made.text, "true")
    );
    admin
        .post(path, "k", body(json!({"points": "12"})))
        .await
        .expect(422);
    let read = admin.get(made.header("location")).await.expect(200);
    assert_eq!(read.json(), made.json());
    let (_, stranger) = app.stranger().await;
    stranger.get(made.header("location")).await.expect(404);
    assert_eq!(points(admin, ADA).await.0, "89");
    check_ledger(&app.db.owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_is_what_the_purchase_earns() {
    let app = shop(with(
        json!({"first_purchase_bonus": "9", "daily_limit": "15"}),
    ))
    .await;
    let admin = &app.admin;
    let quote = async |amount: &str| {
        let path = format!("/v1/loyalty/quote?amount={amount}&currency=GBP&member={ADA}");
        let quote = admin.get(&path).await.expect(200).json();
        (
            quote["points"].clone(),
            quote["base"].clone(),
            quote["available_value"].clone(),
        )
    };
    assert_eq!(
        quote("10.50").await,
        (json!("20"), json!("11"), json!("0.00"))
    );
    record(admin, &pounds("A-1", "10.50", ADA)).await;
    assert_eq!(points(admin, ADA).await.0, "20");
    assert_eq!(
        quote("10.50").await,
        (json!("4"), json!("11"), json!("1.00"))
    );
    record(admin, &pounds("A-2", "10.50", ADA)).await;
    assert_eq!(points(admin, ADA).await.0, "24");
    for (path, status) in [
        ("/v1/loyalty/quote?currency=GBP", 400),
        ("/v1/loyalty/quote?amount=1", 400),
        ("/v1/loyalty/quote?amount=1&currency=XXX", 400),
        ("/v1/loyalty/quote?amount=-1&currency=GBP", 422),
        ("/v1/loyalty/quote?amount=1&currency=GBP", 200),
    ] {
        assert_eq!(admin.get(path).await.status, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_read_their_own() {
    let app = shop(plain()).await;
    let customer = app.customer().await;
    let id = customer.get("/v1/me").await.expect(200).json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        customer.get("/v1/loyalty/me").await.expect(200).json()["balance"],
        "0"
    );
    let mut bought = pounds("A-1", "10", ADA);
    bought["customer_ref"] = id.clone().into();
    record(&app.admin, &bought).await;
    let me = customer.get("/v1/loyalty/me").await.expect(200).json();
    assert_eq!(
        (&me["member"], &me["available"]),
        (&json!(id), &json!("10"))
    );
    let mine = customer
        .get("/v1/loyalty/me/entries")
        .await
        .expect(200)
        .json();
    assert_eq!(mine["data"][0]["points"], "10");
    customer
        .get("/v1/loyalty/quote?amount=5&currency=GBP")
        .await
        .expect(200);
    let others = format!("/v1/loyalty/quote?amount=5&currency=GBP&member={ADA}");
    customer.get(&others).await.expect(403);
    customer.get("/v1/loyalty/programme").await.expect(200);
    let other = app.customer().await;
    assert_eq!(
        other.get("/v1/loyalty/me").await.expect(200).json()["balance"],
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_versions_endpoints_tell_and_redeem() {
    let app = shop(with(json!({"earn": [{"currency": "INR", "rate": "0.01"}]}))).await;
    let admin = &app.admin;
    let body = json!({"orderid": "A-1", "customeraddress": ADA, "amountINR": 1500.75}).to_string();
    let made = admin
        .post("/transactions/record", "k", body.clone())
        .await
        .expect(201);
    assert_eq!(made.json()["loyalty_points"], "16");
    assert_eq!(
        admin
            .post("/transactions/record", "k", body)
            .await
            .expect(201)
            .text,
        made.text
    );
    let balance = admin
        .get(&format!("/loyalty/balance/{ADA}"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        balance,
        json!({"customer_address": ADA, "points_balance": "16", "points_pending": "0"})
    );
    admin.get("/loyalty/balance/0x12").await.expect(404);
    let redeem = async |points: Value| {
        let body = json!({"customer_address": ADA, "points_amount": points}).to_string();
        admin
            .post("/loyalty/redeem", &points.to_string(), body)
            .await
    };
    let done = redeem(json!(10.5)).await.expect(201).json();
    assert_eq!(
        (&done["points_redeemed"], &done["points_balance"]),
        (&json!("10.5"), &json!("5.5"))
    );
    assert_eq!(
        redeem(json!("6")).await.expect(409).json()["code"],
        "points_insufficient"
    );
    assert_eq!(
        redeem(json!("0")).await.expect(422).json()["code"],
        "points_out_of_bounds"
    );
    check_ledger(&app.db.owner).await;
}
