//! What customers do all day.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::caller::Caller;
use super::site::Site;
use super::staff::{Office, pause};
use crate::harness::Dice;

/// How long a token is used.
const TOKEN_TIME: Duration = Duration::from_secs(8 * 60);
/// The means of payment, the usual ones more often.
const CARDS: [&str; 12] = [
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_mastercard",
    "pm_card_pendingRefund",
    "pm_card_visa_chargeDeclined",
    "pm_card_visa_chargeDeclinedInsufficientFunds",
    "pm_card_authenticationRequired",
    "pm_card_authenticationRequired",
    "pm_local_processing",
    "pm_local_processing",
    "pm_local_processingFails",
];

/// Shops until the shop closes.
pub(super) async fn shop(site: Arc<Site>, mut caller: Caller, number: usize) {
    let (mut signed_in, email) = (Instant::now(), site.customers[number].email.clone());
    let dice = Dice::new(site.seed, 200 + number as u64);
    let mut office = Office::new(Caller::new(
        &site,
        &format!("office-{number}"),
        &site.admin,
        dice,
    ));
    while !site.over.load(Ordering::Acquire) {
        if signed_in.elapsed() > TOKEN_TIME {
            caller.log_in(&email).await;
            signed_in = Instant::now();
        }
        if let Some(order) = order(&site, &mut caller).await {
            pay_or_not(&site, &mut caller, &mut office, &order).await;
            office.serve(&order).await;
        }
        pause(&caller.dice, 5, 120).await;
    }
}

/// Fills a cart and orders it; none where that was not to be had.
async fn order(site: &Site, caller: &mut Caller) -> Option<Value> {
    for _ in 0..=caller.dice.below(3) {
        let product = &caller.dice.pick(&site.products).0;
        let path = format!("/v1/cart/items/{product}");
        let pieces = json!({ "quantity": 1 + caller.dice.below(3) });
        let put = caller.put(&path, &pieces).await;
        assert!([200, 404].contains(&put.status), "{put:?}");
    }
    if caller.is_so(10) {
        let product = &caller.dice.pick(&site.products).0;
        let path = format!("/v1/cart/items/{product}");
        caller.ask(Method::DELETE, &path, &[], "").await.expect(200);
    }
    let key = caller.key("checkout");
    let mut body = json!({});
    if caller.is_so(20) {
        body["customer_address"] = json!(crate::loyalty::ADA);
    }
    if caller.is_so(25) {
        body["redeem_points"] = json!(format!("{}.5", caller.dice.below(30)));
    }
    let made = caller
        .command("/v1/checkout", &key, &body.to_string())
        .await;
    if made.status == 201 {
        return Some(made.json());
    }
    let code = made.json()["code"].clone();
    let told = [
        "cart_empty",
        "product_inactive",
        "price_changed",
        "insufficient_stock",
        "points_insufficient",
        "points_out_of_bounds",
        "order_free",
    ];
    assert!(told.iter().any(|known| code == *known), "{made:?}");
    caller
        .ask(Method::DELETE, "/v1/cart", &[], "")
        .await
        .expect(200);
    None
}

/// Pays an order, or cancels it, or both at once, or forgets about it.
async fn pay_or_not(site: &Site, caller: &mut Caller, office: &mut Office, order: &Value) {
    match caller.dice.below(10) {
        0 => {}
        1 => cancel(caller, order).await,
        2 => {
            let cancelling = office.cancel(order);
            tokio::join!(pay(site, caller, order), cancelling);
        }
        3 => {
            pay(site, caller, order).await;
            cancel(caller, order).await;
        }
        _ => {
            pay(site, caller, order).await;
            // and once more, with something else
            if caller.is_so(30) {
                pay(site, caller, order).await;
            }
        }
    }
}

async fn cancel(caller: &mut Caller, order: &Value) {
    let key = caller.key("cancel");
    let path = format!("/v1/orders/{}/cancel", text(order, "id"));
    let answer = caller.command(&path, &key, "").await;
    let is_paid = answer.status == 409 && answer.json()["code"] == "order_paid";
    assert!(answer.status == 200 || is_paid, "{answer:?}");
}

async fn pay(site: &Site, caller: &mut Caller, order: &Value) {
    let intent = text(&order["payment_intent"], "id");
    let method = *caller.dice.pick(&CARDS);
    let key = caller.key("pay");
    let path = format!("/v1/payment_intents/{intent}/confirm");
    let body = json!({"payment_method": method, "return_url": "https://shop.example/back"});
    let said = caller.post(&path, &key, &body.to_string()).await;
    let told = said.json();
    match said.status {
        200 if told["status"] == "requires_action" => authenticate(site, caller, &told).await,
        200 | 402 => {}
        409 => {
            let codes = ["order_not_payable", "payment_state"];
            assert!(codes.iter().any(|code| told["code"] == *code), "{told}");
        }
        _ => panic!("{said:?}"),
    }
}

/// Goes where the customer has to go, and does there what is to be done; or does not, or never goes.
async fn authenticate(site: &Site, caller: &mut Caller, told: &Value) {
    let (url, outcome) = (told["redirect_url"].as_str(), caller.dice.below(5));
    let Some((page, secret)) = url.and_then(|url| url.split_once('?')) else {
        return;
    };
    let outcome = match outcome {
        0 => return,
        1 => "fail",
        _ => "complete",
    };
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    let http = http.build().expect("a client");
    for _ in 0..5 {
        // where the provider is away, it is tried again, or not
        let form = http
            .post(page)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("{secret}&outcome={outcome}"));
        if form
            .send()
            .await
            .is_ok_and(|page| page.status().as_u16() < 400)
        {
            return;
        }
        sleep(caller.dice.time(100, 600)).await;
    }
    let _ = site;
}

/// A text of an answer.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} of {value}"))
}
