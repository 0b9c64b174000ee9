//! What sales earn and refunds take back, one after the other.

use counterfoil::clock::Clock;
use counterfoil::database::DatabaseRole;
use counterfoil::loyalty::expiry;
use serde_json::json;

use super::*;
use crate::harness::sale;

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_earns_for_its_member_and_names_the_programme() {
    let app = shop(with(json!({"first_purchase_bonus": "50", "earn": [
        {"currency": "GBP", "rate": "0.5", "minimum": "2.00"}, {"currency": "JPY", "rate": "0.01"}]})))
    .await;
    let admin = &app.admin;
    let made = record(admin, &pounds("A-1", "10.01", ADA)).await;
    // 5.005, rounded up once
    assert_eq!(points(admin, ADA).await, ("56".into(), "56".into()));
    assert_eq!(
        entries(admin, ADA).await,
        ["earn base 6", "earn first_purchase 50"]
    );
    let id = made["sale_id"].as_str().expect("an id");
    let view = admin
        .get(&format!("/v1/sales/{id}"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        view["details"]["points"],
        json!({"base": "6", "programme": "1"})
    );
    // below the minimum, in a currency without a rate, without a member
    let small = record(admin, &pounds("A-2", "1.99", ADA)).await;
    let id = small["sale_id"].as_str().expect("an id");
    let view = admin
        .get(&format!("/v1/sales/{id}"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        view["details"]["points"],
        json!({"base": "0", "programme": "1"})
    );
    let mut other = pounds("A-3", "100", ADA);
    other["amount"]["currency"] = "USD".into();
    record(admin, &other).await;
    let nobody = record(admin, &sale("A-4")).await;
    let id = nobody["sale_id"].as_str().expect("an id");
    let view = admin
        .get(&format!("/v1/sales/{id}"))
        .await
        .expect(200)
        .json();
    assert!(view["details"].get("points").is_none());
    assert_eq!(points(admin, ADA).await.0, "56");
    // the next purchase is no first one
    record(admin, &pounds("A-5", "2.00", ADA)).await;
    assert_eq!(points(admin, ADA).await.0, "57");
    // an account comes before a wallet
    let account = "cus_01hf7yat00e8t8n6hpj7w9m4qk";
    let mut both = pounds("A-6", "4.00", ADA);
    both["customer_ref"] = account.into();
    record(admin, &both).await;
    assert_eq!(
        (points(admin, account).await.0, points(admin, ADA).await.0),
        ("52".into(), "57".into())
    );
    check_ledger(&app.db.owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refunding_everything_leaves_nothing_of_what_was_earned() {
    let app = shop(with(json!({"first_purchase_bonus": "50",
        "earn": [{"currency": "GBP", "rate": "0.3", "minimum": "5"}]})))
    .await;
    let admin = &app.admin;
    record(admin, &pounds("A-1", "10.00", ADA)).await;
    assert_eq!(points(admin, ADA).await.0, "53");
    // 9.00 earn 2.7, which is still 3
    record(admin, &refund("R-1", "A-1", "1.00")).await;
    assert_eq!(points(admin, ADA).await.0, "53");
    record(admin, &refund("R-2", "A-1", "3.00")).await;
    assert_eq!(points(admin, ADA).await.0, "52");
    // below the minimum neither the rest nor the bonus would have been earned
    record(admin, &refund("R-3", "A-1", "1.01")).await;
    assert_eq!(points(admin, ADA).await.0, "0");
    record(admin, &refund("R-4", "A-1", "4.99")).await;
    assert_eq!(points(admin, ADA).await.0, "0");
    // and the first purchase was one
    record(admin, &pounds("A-2", "10.00", ADA)).await;
    assert_eq!(points(admin, ADA).await.0, "3");
    // several refunds of one sale, and the sale, in one slice
    let keyed = |mut body: Value| {
        body["idempotency_key"] = body["order_id"].clone();
        body
    };
    let slice: Vec<Value> = [
        pounds("A-3", "20.00", BOB),
        refund("R-5", "A-3", "8.00"),
        refund("R-6", "A-3", "2.00"),
    ]
    .map(keyed)
    .to_vec();
    admin.record_batch(&slice).await.expect(200);
    assert_eq!(points(admin, BOB).await.0, "53");
    record(admin, &refund("R-7", "A-3", "10.00")).await;
    assert_eq!(points(admin, BOB).await.0, "0");
    check_ledger(&app.db.owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_spent_before_it_is_taken_back_is_owed() {
    let app = shop(plain()).await;
    let admin = &app.admin;
    record(admin, &pounds("A-1", "100", ADA)).await;
    redeem(admin, "k-1", ADA, "80").await.expect(201);
    record(admin, &refund("R-1", "A-1", "100")).await;
    let owing = member(admin, ADA).await;
    assert_eq!(
        (&owing["balance"], &owing["available"], &owing["debt"]),
        (&json!("-80"), &json!("0"), &json!("80"))
    );
    redeem(admin, "k-2", ADA, "1").await.expect(409);
    // what is earned next settles it first
    record(admin, &pounds("A-2", "50", ADA)).await;
    record(admin, &pounds("A-3", "50", ADA)).await;
    assert_eq!(points(admin, ADA).await, ("20".into(), "20".into()));
    assert_eq!(
        entries(admin, ADA).await,
        [
            "earn base 100",
            "redeem - -80",
            "claw_back - -20",
            "claw_back - -80",
            "earn base 50",
            "settle - -50",
            "settle - 50",
            "earn base 50",
            "settle - -30",
            "settle - 30",
        ]
    );
    check_ledger(&app.db.owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_a_limit_and_a_bonus_beside_it() {
    let app = shop(with(
        json!({"daily_limit": "25", "first_purchase_bonus": "7"}),
    ))
    .await;
    let admin = &app.admin;
    record(admin, &pounds("A-1", "10", ADA)).await;
    let keyed = |mut body: Value| {
        body["idempotency_key"] = body["order_id"].clone();
        body
    };
    // within one slice too
    let slice: Vec<Value> = (2..6)
        .map(|n| keyed(pounds(&format!("A-{n}"), "8", ADA)))
        .collect();
    admin.record_batch(&slice).await.expect(200);
    assert_eq!(
        entries(admin, ADA).await,
        [
            "earn base 10",
            "earn first_purchase 7",
            "earn base 8",
            "earn base 7"
        ]
    );
    // a refund of what earned only a part takes back no more, and makes no room
    record(admin, &refund("R-1", "A-3", "0.50")).await;
    assert_eq!(points(admin, ADA).await.0, "32");
    record(admin, &refund("R-2", "A-3", "7.50")).await;
    record(admin, &pounds("A-7", "8", ADA)).await;
    assert_eq!(points(admin, ADA).await.0, "25");
    check_ledger(&app.db.owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn points_can_be_spent_after_a_while_and_not_for_ever() {
    let app = shop(with(json!({"pending_days": 14, "expiry_days": 30}))).await;
    let admin = &app.admin;
    record(admin, &pounds("A-1", "100", ADA)).await;
    let now = member(admin, ADA).await;
    assert_eq!(
        (&now["available"], &now["pending"]),
        (&json!("0"), &json!("100"))
    );
    redeem(admin, "k-1", ADA, "1").await.expect(409);
    let (_at_13, early) = later(&app, 13).await;
    redeem(&early, "k-2", ADA, "1").await.expect(409);
    let (_at_15, mid) = later(&app, 15).await;
    redeem(&mid, "k-3", ADA, "40").await.expect(201);
    let then = member(&mid, ADA).await;
    assert_eq!(
        (&then["available"], &then["pending"]),
        (&json!("60"), &json!("0"))
    );
    assert_eq!(then["next_expiry"]["points"], "60");
    let (_at_31, late) = later(&app, 31).await;
    assert_eq!(member(&late, ADA).await["available"], "0");
    redeem(&late, "k-4", ADA, "1").await.expect(409);
    // the ledger says so once the worker has been there
    let worker = app.db.pool(DatabaseRole::Worker);
    let clock = Clock::manual(Clock::system().now() + time::Duration::days(29));
    assert_eq!(expiry::step(&worker, &clock).await.expect("a step"), 0);
    clock.advance(std::time::Duration::from_secs(2 * 24 * 60 * 60));
    assert_eq!(expiry::step(&worker, &clock).await.expect("a step"), 1);
    assert_eq!(expiry::step(&worker, &clock).await.expect("a step"), 0);
    assert_eq!(
        entries(admin, ADA).await,
        ["earn base 100", "redeem - -40", "expire - -60"]
    );
    assert_eq!(points(admin, ADA).await.0, "0");
    check_ledger(&app.db.owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_points_are_spent_first_and_come_back_where_they_were() {
    let app = shop(with(json!({"expiry_days": 30}))).await;
    let admin = &app.admin;
    for (order, value) in [("A-1", "10"), ("A-2", "20"), ("A-3", "30")] {
        record(admin, &pounds(order, value, ADA)).await;
    }
    let spent = redeem(admin, "k-1", ADA, "25").await.expect(201).json();
    let left =
        "select string_agg(lot || ':' || points_left / 10000, ' ' order by lot) from loyalty_lot";
    let lots = || async {
        let text: String = sqlx::query_scalar(left)
            .fetch_one(&app.db.owner)
            .await
            .expect("lots");
        text
    };
    assert_eq!(lots().await, "1:0 2:5 3:30");
    let path = format!(
        "/v1/loyalty/redemptions/{}/give_back",
        spent["id"].as_str().expect("an id")
    );
    let back = |points: &str| json!({ "points": points }).to_string();
    let half = admin.post(&path, "k-2", back("17")).await.expect(200);
    assert_eq!(half.json()["given_back"], "17");
    assert_eq!(lots().await, "1:2 2:20 3:30");
    assert_eq!(
        admin.post(&path, "k-2", back("17")).await.expect(200).text,
        half.text
    );
    admin.post(&path, "k-3", back("9")).await.expect(409);
    // what has expired meanwhile comes back for a month
    let (_server, late) = later(&app, 31).await;
    late.post(&path, "k-4", back("8")).await.expect(200);
    assert_eq!(lots().await, "1:2 2:20 3:30 8:8");
    assert_eq!(member(&late, ADA).await["available"], "8");
    check_ledger(&app.db.owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_follow_what_was_earned_in_twelve_months() {
    for (policy, after) in [("at_once", "1"), ("at_period_end", "2")] {
        let app = shop(with(json!({"tier_drop": policy, "tiers": [
            {"name": "silver", "from": "100", "multiplier": "1.5"},
            {"name": "gold", "from": "200", "multiplier": "2"}]})))
        .await;
        let admin = &app.admin;
        record(admin, &pounds("A-1", "200", ADA)).await;
        // today does not count yet
        record(admin, &pounds("A-2", "1", ADA)).await;
        assert_eq!(entries(admin, ADA).await, ["earn base 200", "earn base 1"]);
        let back = |days: i32| {
            let sql = "update loyalty_day set day = day - $1";
            sqlx::query(sql).bind(days).execute(&app.db.owner)
        };
        let anew =
            || sqlx::query("update loyalty_member set rolled_on = null").execute(&app.db.owner);
        back(1).await.expect("a day later");
        anew().await.expect("a day later");
        assert_eq!(member(admin, ADA).await["tier"]["name"], "gold", "{policy}");
        record(admin, &pounds("A-3", "1.01", ADA)).await;
        // 2.02 in all, rounded up once
        let all = entries(admin, ADA).await;
        assert_eq!(all[2..], ["earn base 2", "earn tier 1"], "{policy}");
        // a year later the points are too old; whoever holds its tier until its end still has it
        back(370).await.expect("a year later");
        anew().await.expect("a year later");
        record(admin, &pounds("A-4", "1", ADA)).await;
        let all = entries(admin, ADA).await;
        let earned = all[4..]
            .iter()
            .map(|entry| entry.rsplit(' ').next().expect("points"));
        let earned: u32 = earned
            .map(|points| points.parse::<u32>().expect("a number"))
            .sum();
        assert_eq!(earned.to_string(), after, "{policy}");
        // and then loses it too
        sqlx::query("update loyalty_member set held_until = current_date, rolled_on = null")
            .execute(&app.db.owner)
            .await
            .expect("the end of its period");
        assert_eq!(member(admin, ADA).await["tier"], Value::Null, "{policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_is_not_held_by_what_was_given_back() {
    let app = shop(with(json!({"tier_drop": "at_period_end", "tiers": [
        {"name": "gold", "from": "200", "multiplier": "2"}]})))
    .await;
    let admin = &app.admin;
    record(admin, &pounds("A-1", "200", ADA)).await;
    for table in ["loyalty_day", "loyalty_award"] {
        let a_day_later = format!("update {table} set day = day - 1");
        sqlx::query(sqlx::AssertSqlSafe(a_day_later))
            .execute(&app.db.owner)
            .await
            .expect("a day later");
    }
    sqlx::query("update loyalty_member set rolled_on = null")
        .execute(&app.db.owner)
        .await
        .expect("a day later");
    record(admin, &pounds("A-2", "1", ADA)).await;
    assert_eq!(member(admin, ADA).await["tier"]["name"], "gold");
    record(admin, &refund("R-1", "A-1", "200")).await;
    assert_eq!(member(admin, ADA).await["tier"], Value::Null);
    check_ledger(&app.db.owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn points_are_adjusted_with_a_reason() {
    let app = shop(plain()).await;
    let admin = &app.admin;
    let adjust = async |key: &str, points: &str, reason: &str| {
        let body = json!({"member": ADA, "points": points, "reason": reason});
        admin
            .post("/v1/loyalty/adjustments", key, body.to_string())
            .await
    };
    assert_eq!(
        adjust("k", "5", "").await.expect(422).json()["code"],
        "text_empty"
    );
    assert_eq!(
        adjust("k", "-5", "x").await.expect(409).json()["code"],
        "points_insufficient"
    );
    assert_eq!(
        adjust("k-1", "5.5", "sorry").await.expect(200).json()["available"],
        "5.5"
    );
    let taken = adjust("k-2", "-2", "a mistake").await.expect(200);
    assert_eq!(taken.json()["balance"], "3.5");
    assert_eq!(
        adjust("k-2", "-2", "a mistake").await.expect(200).text,
        taken.text
    );
    let nobody = json!({"member": "cus_01hf7yat00e8t8n6hpj7w9m4qk", "points": "5", "reason": "x"});
    admin
        .post("/v1/loyalty/adjustments", "k-4", nobody.to_string())
        .await
        .problem("member_invalid");
    adjust("k-3", "-4", "too many").await.expect(409);
    assert_eq!(entries(admin, ADA).await, ["adjust - 5.5", "adjust - -2"]);
    let page = admin
        .get(&format!("/v1/loyalty/members/{ADA}/entries?limit=1"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&page["data"][0]["reason"], &page["has_more"]),
        (&json!("a mistake"), &json!(true))
    );
    let next = format!(
        "/v1/loyalty/members/{ADA}/entries?starting_after={}",
        page["next_cursor"].as_str().expect("more")
    );
    assert_eq!(
        admin.get(&next).await.expect(200).json()["data"][0]["points"],
        "5.5"
    );
    check_ledger(&app.db.owner).await;
}
