//! Two hundred buyers and one piece.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Store, checkout, pay, put, until};
use crate::catalogue::stocked;
use crate::harness::{Client, eventually};

const BUYERS: usize = 200;

async fn buyers(store: &Store, product: &str, count: usize) -> Vec<Client> {
    let mut all = Vec::new();
    for _ in 0..count {
        let customer = store.customer().await;
        put(&customer, product, 1).await.expect(200);
        all.push(customer);
    }
    all
}

/// All of them order at once: the one who could with the order, and how often each refusal was told.
async fn rush(buyers: &[Client]) -> (Vec<(Client, Value)>, BTreeMap<String, usize>) {
    let orders = buyers.iter().cloned().map(|customer| async move {
        let answer = checkout(&customer, "rush").await;
        (customer, answer)
    });
    let mut placed = Vec::new();
    let mut refused = BTreeMap::new();
    for (customer, answer) in futures_util::future::join_all(orders).await {
        if answer.status == 201 {
            placed.push((customer, answer.json()));
        } else {
            let problem = answer.problem("insufficient_stock");
            let told = &problem["errors"][0]["meta"]["problems"][0];
            *refused
                .entry(format!(
                    "wanted {} of {}",
                    told["wanted"], told["available"]
                ))
                .or_default() += 1;
        }
    }
    (placed, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_one_buys_the_last_piece() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAST", "999.00", 1).await;
    let all = buyers(&store, &lamp, BUYERS).await;
    let (placed, refused) = rush(&all).await;
    assert_eq!(placed.len(), 1);
    assert_eq!(
        refused,
        BTreeMap::from([("wanted 1 of 0".to_owned(), BUYERS - 1)])
    );
    let (winner, order) = &placed[0];
    pay(winner, order, "pm_card_visa", "pay").await.expect(200);
    until(winner, order, "PAID").await;
    assert_eq!(store.stock(&lamp).await, (0, 0));
    assert_eq!(deadlocks(&store).await, 0);
    store.check_books().await;
}

/// How many Postgres has ended by refusing somebody.
async fn deadlocks(store: &Store) -> i64 {
    let count = "select deadlocks from pg_stat_database where datname = current_database()";
    sqlx::query_scalar(count)
        .fetch_one(&store.db.owner)
        .await
        .expect("a count")
}

/// The first buyer's time runs out and the piece goes to the second; then the first one's payment arrives,
/// more than once and in no order.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_comes_too_late_goes_back_by_itself() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAST", "999.00", 1).await;
    let all = buyers(&store, &lamp, BUYERS).await;
    let order = checkout(&all[0], "k").await.expect(201).json();
    store.provider.set_plan(counterfoil::dev::payments::Plan {
        webhook_hold: true,
        webhook_copies: 2,
        ..Default::default()
    });
    pay(&all[0], &order, "pm_card_visa", "pay")
        .await
        .expect(200);
    // its hold ends while nobody knows of the money yet
    store.run("update shop_order set hold = 'released', ending = 'expired', ending_at = now(), parked = 'test'").await;
    store.run("update stock set held = 0").await;
    store.run("insert into stock_movement (merchant_id, product_id, kind, on_hand, held, order_id, created_at)
               select merchant_id, product_id, 'RELEASE', 0, -1, order_id, now() from shop_order_item").await;
    // everybody else wants it now, and one gets it
    let (placed, refused) = rush(&all[1..]).await;
    let [(buyer, second)] = placed.as_slice() else {
        panic!("{} orders", placed.len());
    };
    assert_eq!(
        refused,
        BTreeMap::from([("wanted 1 of 0".to_owned(), BUYERS - 2)])
    );
    store.run("update shop_order set parked = null").await;
    store
        .provider
        .release(counterfoil::dev::payments::Release::Reversed)
        .await;
    store
        .provider
        .set_plan(counterfoil::dev::payments::Plan::default());
    let late = until(&all[0], &order, "CANCELLED").await;
    assert_eq!(late["ending"], "out_of_stock");
    assert_eq!(late["refunded"], late["total"]);
    let id = order["id"].as_str().unwrap();
    let back = eventually("the money is back", async || {
        let list = all[0]
            .get(&format!("/v1/orders/{id}/refunds"))
            .await
            .expect(200)
            .json();
        (list["data"][0]["status"] == "succeeded").then(|| list["data"].clone())
    })
    .await;
    assert_eq!(back.as_array().map(Vec::len), Some(1), "once: {back}");
    assert_eq!(back[0]["cause"], "out_of_stock");
    pay(buyer, second, "pm_card_visa", "pay").await.expect(200);
    until(buyer, second, "PAID").await;
    assert_eq!(store.stock(&lamp).await, (0, 0));
    assert_eq!(store.provider.refunds().len(), 1);
    assert_eq!(deadlocks(&store).await, 0);
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_with_its_time_and_the_piece_is_free_again() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAST", "999.00", 1).await;
    let all = buyers(&store, &lamp, 30).await;
    let (placed, _) = rush(&all).await;
    let (first, order) = &placed[0];
    // the provider has heard of it, so it has to agree
    pay(first, order, "pm_card_visa_chargeDeclined", "no")
        .await
        .problem("payment_declined");
    store.let_orders_expire().await;
    let ended = until(first, order, "CANCELLED").await;
    assert_eq!(ended["ending"], "expired");
    assert_eq!(store.stock(&lamp).await, (1, 0));
    pay(first, order, "pm_card_visa", "late")
        .await
        .problem("order_not_payable");
    let rest: Vec<Client> = all
        .into_iter()
        .filter(|buyer| buyer.key() != first.key())
        .collect();
    let mut again = Vec::new();
    for buyer in rest {
        again.push((checkout(&buyer, "again").await, buyer));
    }
    let placed: Vec<_> = again
        .into_iter()
        .filter(|(answer, _)| answer.status == 201)
        .collect();
    assert_eq!(placed.len(), 1);
    let order = placed[0].0.json();
    pay(&placed[0].1, &order, "pm_card_visa", "yes")
        .await
        .expect(200);
    until(&placed[0].1, &order, "PAID").await;
    assert_eq!(json!(store.stock(&lamp).await), json!([0, 0]));
    store.check_books().await;
}
