//! What those who work in the shop do all day: the till sells beside it, the office counts, prices and gives
//! back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::caller::Caller;
use super::customers::text;
use super::site::{Site, programme};
use crate::harness::Dice;

/// Waits a moment, milliseconds.
pub(super) async fn pause(dice: &Dice, least: u64, most: u64) {
    sleep(dice.time(least, most)).await;
}

/// Who serves a customer with the administrator's key.
pub(super) struct Office(Caller);

impl Office {
    pub(super) fn new(caller: Caller) -> Self {
        Self(caller)
    }

    /// Cancels an order, whatever the customer thinks.
    pub(super) async fn cancel(&mut self, order: &Value) {
        pause(&self.0.dice, 0, 60).await;
        let key = self.0.key("cancel");
        let path = format!("/v1/orders/{}/cancel", text(order, "id"));
        let answer = self.0.command(&path, &key, "").await;
        let is_paid = answer.status == 409 && answer.json()["code"] == "order_paid";
        assert!(answer.status == 200 || is_paid, "{answer:?}");
    }

    /// Waits for a moment whether an order is paid, gives some of it back, and spends points of its customer.
    pub(super) async fn serve(&mut self, order: &Value) {
        let path = format!("/v1/orders/{}", text(order, "id"));
        for _ in 0..=self.0.dice.below(8) {
            let now = self.0.get(&path).await.expect(200).json();
            if now["state"] != "PENDING" {
                break;
            }
            pause(&self.0.dice, 50, 200).await;
        }
        if self.0.is_so(45) {
            for _ in 0..=self.0.dice.below(3) {
                self.refund(order).await;
            }
        }
        if self.0.is_so(30) {
            self.redeem(text(order, "customer_id")).await;
        }
    }

    /// Gives everything back, or an amount, or pieces.
    async fn refund(&mut self, order: &Value) {
        let caller = &mut self.0;
        let items = order["items"].as_array().expect("items");
        let item = caller.dice.pick(items);
        let pieces = json!([{"product_id": item["product_id"], "quantity": 1}]);
        let value = format!("{}.{:02}", caller.dice.below(30), 1 + caller.dice.below(99));
        let body = match caller.dice.below(4) {
            0 => json!({}),
            1 => json!({"amount": {"value": value, "currency": "INR"}, "reason": "late"}),
            2 => json!({"items": pieces, "restock": caller.is_so(50)}),
            _ => json!({"items": pieces, "amount": {"value": value, "currency": "INR"}}),
        };
        let key = caller.key("refund");
        let path = format!("/v1/orders/{}/refunds", text(order, "id"));
        let answer = caller.command(&path, &key, &body.to_string()).await;
        if answer.status != 201 {
            let code = answer.json()["code"].clone();
            let told = [
                "order_not_paid",
                "nothing_to_refund",
                "refund_exceeds",
                "pieces_invalid",
            ];
            assert!(told.iter().any(|known| code == *known), "{answer:?}");
        }
    }

    /// Spends points, and gives some of them back now and then.
    async fn redeem(&mut self, member: &str) {
        let caller = &mut self.0;
        let points = format!("{}.{}", 1 + caller.dice.below(40), 1 + caller.dice.below(9));
        let body = json!({"member": member, "points": points, "currency": "INR"});
        let key = caller.key("redeem");
        let made = caller
            .command("/v1/loyalty/redemptions", &key, &body.to_string())
            .await;
        if made.status != 201 {
            assert_eq!(made.json()["code"], "points_insufficient", "{made:?}");
        } else if caller.is_so(40) {
            let made = made.json();
            let path = format!("/v1/loyalty/redemptions/{}/give_back", text(&made, "id"));
            let back = format!("{}.5", caller.dice.below(30));
            let key = caller.key("back");
            let body = json!({ "points": back }).to_string();
            let answer = caller.command(&path, &key, &body).await;
            assert!([200, 409, 422].contains(&answer.status), "{answer:?}");
        }
    }
}

/// Sells over the counter until the shop closes.
pub(super) async fn sell(site: Arc<Site>, mut till: Caller) {
    let mut sold = Vec::new();
    while !site.over.load(Ordering::Acquire) {
        let is_refund = !sold.is_empty() && till.is_so(25);
        let key = till.key("P");
        let minor = 1 + till.dice.below(9_999) as i64;
        let mut body = json!({"order_id": key,
            "amount": {"value": format!("{}.{:02}", minor / 100, minor % 100), "currency": "INR"}});
        if is_refund {
            let refers: &String = till.dice.pick(&sold);
            body["kind"] = json!("refund");
            body["refers_to"] = json!(refers);
        } else if till.is_so(60) {
            body["customer_address"] = json!(crate::loyalty::ADA);
        }
        let answer = till.post("/v1/sales", &key, &body.to_string()).await;
        if answer.status == 201 {
            let came_to = if is_refund { -minor } else { minor };
            let mut told = site.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.insert(key.clone(), came_to);
            drop(told);
            if !is_refund {
                sold.push(key);
            }
        } else {
            assert!(
                is_refund && answer.json()["code"] == "refund_exceeds",
                "{answer:?}"
            );
        }
        pause(&till.dice, 20, 200).await;
    }
}

/// Runs the office until the shop closes: deliveries, prices, what is not for sale today, the programme.
pub(super) async fn manage(site: Arc<Site>, mut office: Caller) {
    while !site.over.load(Ordering::Acquire) {
        let product = office.dice.pick(&site.products).0.clone();
        match office.dice.below(8) {
            0..=2 => count(&site, &mut office, &product).await,
            3 => {
                let price = format!(
                    "{}.{:02}",
                    1 + office.dice.below(90),
                    office.dice.below(100)
                );
                let price = json!({"price": {"value": price, "currency": "INR"}});
                change(&office, &product, &price).await;
            }
            4 => {
                change(&office, &product, &json!({"active": false})).await;
                pause(&office.dice, 50, 400).await;
                change(&office, &product, &json!({"active": true})).await;
            }
            5 => set_programme(&office).await,
            _ => {
                let all = office.get("/v1/orders?limit=20").await;
                all.expect(200);
            }
        }
        pause(&office.dice, 50, 500).await;
    }
}

async fn count(site: &Site, office: &mut Caller, product: &str) {
    let pieces = office.dice.below(12) as i64 - 3;
    if pieces == 0 {
        return;
    }
    let key = office.key("count");
    let body = json!({"quantity": pieces, "reason": "counted"}).to_string();
    let path = format!("/v1/products/{product}/stock");
    let answer = office.command(&path, &key, &body).await;
    if answer.status == 200 {
        let mut counted = site.counted.lock().unwrap_or_else(PoisonError::into_inner);
        *counted.entry(product.to_owned()).or_default() += pieces;
    } else {
        assert_eq!(answer.json()["code"], "insufficient_stock", "{answer:?}");
    }
}

/// A change of the version that it has; of a repeat the version differs.
async fn change(office: &Caller, product: &str, body: &Value) {
    let path = format!("/v1/products/{product}");
    let now = office.get(&path).await.expect(200);
    let etag = now.header("etag").to_owned();
    let headers = [("content-type", "application/json"), ("if-match", &*etag)];
    let answer = office
        .ask(Method::PATCH, &path, &headers, &body.to_string())
        .await;
    assert!([200, 412].contains(&answer.status), "{answer:?}");
}

async fn set_programme(office: &Caller) {
    let path = "/v1/loyalty/programme";
    let now = office.get(path).await.expect(200);
    let seen = format!("\"{}\"", now.json()["version"]);
    let rate = format!("0.0{}", 1 + office.dice.below(9));
    let headers = [("content-type", "application/json"), ("if-match", &*seen)];
    let body = programme(&rate).to_string();
    let answer = office.ask(Method::PUT, path, &headers, &body).await;
    assert!([200, 412].contains(&answer.status), "{answer:?}");
}
