//! What must hold when nothing is under way any more.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};

use counterfoil::ids::{IntentId, PurchaseId, RefundId, SaleId};
use counterfoil::payments::object;
use serde_json::Value;
use uuid::Uuid;

use super::caller::Caller;
use super::points;
use super::site::Site;
use crate::cli::program::run;
use crate::harness::Dice;
use crate::shop::check_books;

/// Figures of a seed.
#[derive(Default)]
pub(super) struct Tally {
    paid: usize,
    cancelled: usize,
    refunds: usize,
    /// Payments that came too late and went back by themselves.
    went_back: usize,
    counter: usize,
    commands: usize,
    awards: usize,
    redemptions: i64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} orders paid, {} cancelled, {} refunds, {} payments went back, {} sales of the till, {} kept answers, \
             {} awards, {} redemptions: all agree",
            self.paid,
            self.cancelled,
            self.refunds,
            self.went_back,
            self.counter,
            self.commands,
            self.awards,
            self.redemptions
        )
    }
}

/// Holds everything against everything; panics where something is wrong.
pub(super) async fn judge(site: &Arc<Site>) -> Tally {
    let mut tally = Tally {
        commands: repeat_all(site).await,
        ..Tally::default()
    };
    let (intents, refunds) = {
        let provider = site.provider.read().await;
        (provider.intents(), provider.refunds())
    };
    site.seal().await;
    check_books(&site.fleet.owner, &intents, &refunds).await;
    money(site, &intents, &refunds, &mut tally).await;
    sales(site, &mut tally).await;
    stock(site).await;
    nothing_is_parked(site).await;
    (tally.awards, tally.redemptions) = points::judge(site).await;
    for process in &site.fleet.processes {
        process.stop().await;
    }
    let audited = run(&mut site
        .fleet
        .operator(&["audit", "--rpc", site.fleet.rpc_url()]))
    .await;
    assert_eq!(audited.status.code(), Some(0), "{audited:?}");
    assert_eq!(site.fleet.deadlocks().await, (0, 0), "deadlocks");
    assert_eq!(site.fleet.panics(), [""; 0]);
    assert!(tally.paid > 0, "nobody bought anything");
    tally
}

/// Every command has the answer that it had.
async fn repeat_all(site: &Arc<Site>) -> usize {
    let all = site.kept.lock();
    let all = all.unwrap_or_else(PoisonError::into_inner).clone();
    let mut callers: BTreeMap<String, Caller> = BTreeMap::new();
    for (number, ((name, key), kept)) in all.iter().enumerate() {
        if !callers.contains_key(name) {
            let dice = Dice::new(site.seed, 1_000 + number as u64);
            let mut caller = Caller::new(site, name, &site.admin, dice);
            if let Ok(customer) = name.parse::<usize>() {
                caller.log_in(&site.customers[customer].email).await;
            }
            callers.insert(name.clone(), caller);
        }
        callers[name].repeat(key, kept).await;
    }
    all.len()
}

/// An order as the shop has it, with its intent.
#[derive(sqlx::FromRow)]
struct Order {
    order_id: Uuid,
    state: String,
    total_minor: i64,
    refunded_minor: i64,
    intent_id: Uuid,
    intent_state: String,
}

/// Per order: what the provider took and gave back is what the order says.
async fn money(site: &Site, intents: &[Value], refunds: &[Value], tally: &mut Tally) {
    let orders: Vec<Order> = sqlx::query_as(
        "select o.order_id, o.state, o.total_minor, o.refunded_minor, i.intent_id, i.state as intent_state
         from shop_order o join payment_intent i using (merchant_id, order_id)",
    )
    .fetch_all(&site.fleet.owner)
    .await
    .expect("the orders");
    let mut theirs: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for intent in intents {
        let ours = intent["metadata"][object::OUR_INTENT].as_str();
        theirs.entry(ours.expect("ours")).or_default().push(intent);
    }
    for order in &orders {
        let id = PurchaseId(order.order_id);
        let intent = IntentId(order.intent_id).to_string();
        let intents = theirs.remove(&*intent).unwrap_or_default();
        assert!(intents.len() <= 1, "{id} was charged twice: {intents:?}");
        let (status, taken) = intents.first().map_or(("none", 0), |intent| {
            let received = intent["amount_received"].as_i64().expect("an amount");
            (intent["status"].as_str().expect("a state"), received)
        });
        let back: i64 = refunds
            .iter()
            .filter(|refund| {
                intents
                    .iter()
                    .any(|intent| refund["payment_intent"] == intent["id"])
            })
            .filter(|refund| refund["status"] == "succeeded")
            .map(|refund| refund["amount"].as_i64().expect("an amount"))
            .sum();
        let said = format!(
            "{id} is {}, its intent {}; the provider: {status}, {taken} taken, {back} back; the order: {} and {}",
            order.state, order.intent_state, order.total_minor, order.refunded_minor
        );
        assert_eq!(back, order.refunded_minor, "{said}");
        match order.state.as_str() {
            "PAID" => {
                tally.paid += 1;
                assert_eq!((status, taken), ("succeeded", order.total_minor), "{said}");
            }
            _ => {
                tally.cancelled += 1;
                tally.went_back += usize::from(taken > 0);
                assert_eq!(taken, back, "{said}");
                assert!(
                    ["none", "canceled", "succeeded"].contains(&status),
                    "{said}"
                );
            }
        }
    }
    assert!(theirs.is_empty(), "intents of no order: {theirs:?}");
    each_refund(site, refunds, tally).await;
}

/// Each of our refunds is one there, with the same end.
async fn each_refund(site: &Site, refunds: &[Value], tally: &mut Tally) {
    let ours: Vec<(Uuid, String, i64)> =
        sqlx::query_as("select refund_id, state, amount_minor from shop_refund")
            .fetch_all(&site.fleet.owner)
            .await
            .expect("the refunds");
    tally.refunds = ours.len();
    let ours: BTreeMap<String, (String, i64)> = ours
        .into_iter()
        .filter(|(_, state, _)| state == "succeeded")
        .map(|(id, state, amount)| (RefundId(id).to_string(), (state, amount)))
        .collect();
    let mut theirs = BTreeMap::new();
    for refund in refunds {
        let id = refund["metadata"][object::OUR_REFUND]
            .as_str()
            .expect("ours");
        let state = refund["status"].as_str().expect("a state").to_owned();
        let amount = refund["amount"].as_i64().expect("an amount");
        let before = theirs.insert(id.to_owned(), (state, amount));
        assert!(before.is_none(), "{id} was given back twice");
    }
    assert_eq!(ours, theirs, "refunds here and there");
}

/// A sale of the record: its kind, what it came to, and what it refers to.
type Sold = (i16, i64, Option<Uuid>);

/// Each PAID order is one sale, each refund that was asked for and given is one refund of it; what else is
/// there is what the till was told of.
async fn sales(site: &Site, tally: &mut Tally) {
    let owner = &site.fleet.owner;
    let rows: Vec<(String, Uuid, i16, i64, Option<Uuid>)> = sqlx::query_as(
        "select order_id, sale_id, kind, amount_minor, refers_to from sale order by seq",
    )
    .fetch_all(owner)
    .await
    .expect("the sales");
    let ids: BTreeMap<String, Uuid> = rows.iter().map(|row| (row.0.clone(), row.1)).collect();
    let is_shop = |order: &str| order.starts_with("ord_") || order.starts_with("re_");
    let (shop, till): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| is_shop(&row.0));
    let count = shop.len();
    let stored: BTreeMap<String, Sold> = shop
        .into_iter()
        .map(|(order, _, kind, amount, refers)| (order, (kind, amount, refers)))
        .collect();
    assert_eq!(stored.len(), count, "an order is recorded once");

    let orders: Vec<(Uuid, i64)> =
        sqlx::query_as("select order_id, total_minor from shop_order where state = 'PAID'")
            .fetch_all(owner)
            .await
            .expect("the orders");
    let refunds: Vec<(Uuid, Uuid, i64)> = sqlx::query_as(
        "select refund_id, order_id, amount_minor from shop_refund
         where state = 'succeeded' and cause = 'requested'",
    )
    .fetch_all(owner)
    .await
    .expect("the refunds");
    let mut expected: BTreeMap<String, Sold> = orders
        .into_iter()
        .map(|(id, total)| (PurchaseId(id).to_string(), (1, total, None)))
        .collect();
    for (id, order, amount) in refunds {
        let refers = ids.get(&PurchaseId(order).to_string()).copied();
        expected.insert(RefundId(id).to_string(), (2, amount, refers));
    }
    assert_eq!(
        stored, expected,
        "what is recorded is what was paid and given back"
    );

    let sold: BTreeMap<String, i64> = till
        .into_iter()
        .map(|(order, _, kind, amount, _)| (order, if kind == 1 { amount } else { -amount }))
        .collect();
    tally.counter = sold.len();
    let told = site.told.lock();
    let told = told.unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(sold, told, "what the till was told is what is recorded");
    let unsealed: Vec<Uuid> = sqlx::query_scalar("select sale_id from sale where batch_id is null")
        .fetch_all(owner)
        .await
        .expect("the sales");
    let unsealed: Vec<_> = unsealed.into_iter().map(SaleId).collect();
    assert!(unsealed.is_empty(), "in no batch: {unsealed:?}");
}

/// Pieces at first, and counted in, less those sold, and those that came back: that is on hand.
async fn stock(site: &Site) {
    let rows: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(
        "select p.sku, s.on_hand, s.held,
                coalesce((select sum(i.quantity) from shop_order_item i join shop_order o using (merchant_id, order_id)
                          where o.state = 'PAID' and i.product_id = p.product_id), 0)::bigint,
                coalesce((select sum(i.quantity) from shop_refund_item i join shop_refund r using (merchant_id, refund_id)
                          where r.state = 'succeeded' and r.restock and i.product_id = p.product_id), 0)::bigint
         from product p join stock s using (merchant_id, product_id) order by p.sku",
    )
    .fetch_all(&site.fleet.owner)
    .await
    .expect("the stock");
    let counted = site.counted.lock().unwrap_or_else(PoisonError::into_inner);
    for ((sku, on_hand, held, sold, back), (product, first)) in rows.iter().zip(&site.products) {
        let counted = counted.get(product).copied().unwrap_or_default();
        let expected = first + counted - sold + back;
        assert_eq!(
            (*on_hand, *held),
            (expected, 0),
            "{sku}: {first} at first, {counted} counted in, {sold} sold, {back} back"
        );
    }
}

async fn nothing_is_parked(site: &Site) {
    let parked: Vec<String> = sqlx::query_scalar(
        "select order_id || ': ' || parked from shop_order where parked is not null
         union all
         select refund_id || ': ' || parked from shop_refund where parked is not null
         union all
         select 'a refund failed: ' || refund_id || coalesce(': ' || last_error, '')
         from shop_refund where state = 'failed'",
    )
    .fetch_all(&site.fleet.owner)
    .await
    .expect("what is parked");
    assert!(parked.is_empty(), "{parked:#?}");
}
