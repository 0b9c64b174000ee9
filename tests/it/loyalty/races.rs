//! Many at once: whatever the order, no points come from nothing.

use std::collections::BTreeMap;

use counterfoil::clock::Clock;
use counterfoil::database::DatabaseRole;
use counterfoil::loyalty::expiry;
use serde_json::json;

use super::*;
use crate::harness::{Dice, key, merchant};

#[tokio::test(flavor = "multi_thread")]
async fn two_first_purchases_at_once_have_one_bonus() {
    let app = shop(with(json!({"first_purchase_bonus": "50"}))).await;
    // another process, with a queue of its own
    let second = Running::start(&app.db, Clock::system()).await;
    let clients = [app.admin.clone(), app.admin.at(&second.url)];
    for round in 0..40 {
        let wallet = format!("0x1{round:039x}");
        let buy = |n: usize| {
            let body = pounds(&format!("A-{round}-{n}"), "10", &wallet);
            let client = clients[n % 2].clone();
            async move { record(&client, &body).await }
        };
        tokio::join!(buy(0), buy(1), buy(2), buy(3));
        let all = entries(&app.admin, &wallet).await;
        let bonuses = all
            .iter()
            .filter(|entry| entry.starts_with("earn first_purchase"));
        assert_eq!(bonuses.count(), 1, "{all:?}");
        assert_eq!(points(&app.admin, &wallet).await.0, "90");
    }
    check_ledger(&app.db.owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn points_are_spent_once() {
    let app = shop(plain()).await;
    record(&app.admin, &pounds("A-1", "100", ADA)).await;
    let spend = |n: usize| {
        let admin = app.admin.clone();
        async move { redeem(&admin, &format!("k-{n}"), ADA, "30").await.status }
    };
    let all = futures_util::future::join_all((0..10).map(spend)).await;
    assert_eq!(
        all.iter().filter(|status| **status == 201).count(),
        3,
        "{all:?}"
    );
    assert_eq!(
        all.iter().filter(|status| **status == 409).count(),
        7,
        "{all:?}"
    );
    assert_eq!(points(&app.admin, ADA).await.0, "10");
    // one key, many times at once
    let same = |_| async { redeem(&app.admin, "same", ADA, "1").await };
    let answers = futures_util::future::join_all((0..8).map(same)).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 201 && answer.text == answers[0].text)
    );
    assert_eq!(points(&app.admin, ADA).await.0, "9");
    check_ledger(&app.db.owner).await;
}

/// What one of many does at random.
async fn act(app: &App, client: &Client, seed: u64) {
    let dice = Dice::new(seed, 0);
    let mut sold: Vec<(String, usize)> = Vec::new();
    let mut spent: Vec<String> = Vec::new();
    for step in 0..30 {
        let wallet = [ADA, BOB][dice.below(2)];
        let name = format!("{seed}-{step}");
        match dice.below(10) {
            0..4 => {
                let amount = 1 + dice.below(60);
                record(client, &pounds(&name, &amount.to_string(), wallet)).await;
                sold.push((name, amount));
            }
            4..6 if !sold.is_empty() => {
                let at = dice.below(sold.len());
                let (order, left) = &mut sold[at];
                let some = (1 + dice.below(30)).min(*left);
                *left -= some;
                if some > 0 {
                    record(client, &refund(&name, order, &some.to_string())).await;
                }
            }
            6..8 => {
                let answer = redeem(client, &name, wallet, &(1 + dice.below(40)).to_string()).await;
                assert!([201, 409].contains(&answer.status), "{}", answer.text);
                if answer.status == 201 {
                    spent.push(answer.json()["id"].as_str().expect("an id").to_owned());
                }
            }
            8 if !spent.is_empty() => {
                let id = spent.swap_remove(dice.below(spent.len()));
                let path = format!("/v1/loyalty/redemptions/{id}/give_back");
                let answer = client
                    .post(&path, &name, json!({"points": "1"}).to_string())
                    .await;
                answer.expect(200);
            }
            _ => {
                let ahead = time::Duration::days(dice.below(60).try_into().expect("days"));
                let clock = Clock::manual(Clock::system().now() + ahead);
                let worker = app.db.pool(DatabaseRole::Worker);
                expiry::step(&worker, &clock).await.expect("a step");
            }
        }
    }
    // in the end everything is given back
    for (order, left) in sold {
        if left > 0 {
            let name = format!("{order}-all");
            record(client, &refund(&name, &order, &left.to_string())).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_of_things_makes_points_from_nothing() {
    let app = shop(with(
        json!({"first_purchase_bonus": "15", "daily_limit": "700", "expiry_days": 30,
        "earn": [{"currency": "GBP", "rate": "0.7", "minimum": "3"}]}),
    ))
    .await;
    let second = Running::start(&app.db, Clock::system()).await;
    let other = app.admin.at(&second.url);
    let actors = (0..6).map(|seed| {
        let client = if seed % 2 == 0 { &app.admin } else { &other };
        act(&app, client, 1000 + seed)
    });
    futures_util::future::join_all(actors).await;
    check_ledger(&app.db.owner).await;
    let owner = &app.db.owner;
    let unearned = "select count(*) from loyalty_award where due <> 0";
    assert_eq!(
        count(owner, unearned).await,
        0,
        "what was refunded has earned nothing"
    );
    assert!(
        count(
            owner,
            "select count(*) from loyalty_entry where kind = 'claw_back'"
        )
        .await
            > 10
    );
    assert!(
        count(
            owner,
            "select count(*) from loyalty_entry where kind = 'redeem'"
        )
        .await
            > 10
    );
    assert!(
        count(
            owner,
            "select count(*) from loyalty_entry where kind = 'expire'"
        )
        .await
            > 0
    );
    // so all that is left is what was spent, as a debt: what was lost with age is not owed
    let sums = "select (sum(balance) - (select coalesce(sum(e.points), 0) from loyalty_entry e
                where e.kind in ('redeem', 'give_back')))::bigint from loyalty_member";
    assert_eq!(count(owner, sums).await, 0);
    assert_eq!(
        count(
            owner,
            "select count(*) from loyalty_member where balance > 0"
        )
        .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_programme_that_changes_while_sales_are_recorded_is_named_by_each_as_it_held() {
    let app = shop(plain()).await;
    let second = Running::start(&app.db, Clock::system()).await;
    let clients = [app.admin.clone(), app.admin.at(&second.url)];
    let change = async {
        for seen in 1..6_i64 {
            let rate = (seen + 1).to_string();
            let programme = with(json!({"earn": [{"currency": "GBP", "rate": rate}]}));
            put_programme(&app.admin, seen, &programme)
                .await
                .expect(200);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let sell = |at: usize| {
        let client = clients[at % 2].clone();
        async move {
            for n in 0..25 {
                record(&client, &pounds(&format!("A-{at}-{n}"), "10", ADA)).await;
            }
        }
    };
    tokio::join!(change, sell(0), sell(1), sell(2));
    // each sale's details say what was entered for it, and versions only rise with the numbers of sales
    let rows = "select s.seq, convert_from(s.details, 'UTF8')::jsonb #>> '{points,programme}',
                convert_from(s.details, 'UTF8')::jsonb #>> '{points,base}', a.programme, e.points
        from sale s join loyalty_award a on a.merchant_id = s.merchant_id and a.sale_id = s.sale_id
        join loyalty_entry e on e.merchant_id = s.merchant_id and e.sale_id = s.sale_id order by s.seq";
    let rows: Vec<(i64, String, String, i32, i64)> = sqlx::query_as(rows)
        .fetch_all(&app.db.owner)
        .await
        .expect("the sales");
    assert_eq!(rows.len(), 75);
    let mut seen = BTreeMap::new();
    for (seq, programme, base, awarded, entered) in &rows {
        assert_eq!(programme, &awarded.to_string());
        assert_eq!(base, &(10 * awarded).to_string());
        assert_eq!(*entered, i64::from(10 * awarded) * 10_000);
        seen.entry(*awarded).or_insert(*seq);
    }
    assert!(rows.iter().map(|row| row.3).is_sorted(), "{seen:?}");
    let stranger = merchant(&app.db, "live").await;
    let stranger = app.admin.with_key(Some(
        &key(
            &app.db,
            stranger,
            counterfoil::http::auth::Role::Admin,
            None,
        )
        .await,
    ));
    assert_eq!(points(&stranger, ADA).await.0, "0");
}
