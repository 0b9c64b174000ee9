//! A day of a shop that sells lamps and candles: the same day for the same seed.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::clock::{Entropy, rfc3339_ms};

/// What the shop sells: number, name, price in paise.
const ARTICLES: [(&str, &str, u64); 14] = [
    ("LR-101", "Brass oil lamp, small", 44_900),
    ("LR-102", "Brass oil lamp, large", 129_900),
    ("LR-110", "Storm lantern, red", 84_950),
    ("LR-111", "Storm lantern, blue", 84_950),
    ("LR-120", "Paper star, 60 cm", 59_900),
    ("LR-121", "Paper star, 90 cm", 99_900),
    ("LR-130", "String of 40 lights", 74_900),
    ("LR-201", "Beeswax candle", 12_500),
    ("LR-202", "Tea lights, pack of 50", 24_900),
    ("LR-203", "Pillar candle, 7 × 15 cm", 34_900),
    ("LR-204", "Sandalwood candle in glass", 64_900),
    ("LR-301", "Cotton wicks, pack of 100", 9_900),
    ("LR-302", "Lamp oil, 1 l", 27_500),
    ("LR-303", "Long matches", 6_500),
];
const PAYMENTS: [&str; 4] = ["upi", "upi", "card", "cash"];
const CASHIERS: [&str; 3] = ["Asha", "Imran", "Leela"];
/// One sale in so many is brought back, whole or in part.
const REFUND_ONE_IN: u64 = 14;
/// One customer in so many has an account on a chain.
const ADDRESS_ONE_IN: u64 = 5;
/// Seconds between two customers, at least, and how many more at most.
const PAUSE: (u64, u64) = (20, 180);

/// A request of `POST /v1/sales` and the key it is sent with.
pub(super) struct Request {
    /// `Idempotency-Key`.
    pub(super) key: String,
    /// Its order id.
    pub(super) order_id: String,
    /// The body.
    pub(super) body: Value,
}

/// `count` sales from `opening` on, and the refunds among them.
pub(super) fn generate(seed: u64, opening: OffsetDateTime, count: u64) -> Vec<Request> {
    let dice = Dice(Entropy::seeded(seed));
    let mut time = opening;
    let mut requests = Vec::new();
    for number in 1..=count {
        time += Duration::seconds((PAUSE.0 + dice.below(PAUSE.1)).cast_signed());
        let sale = sale(&dice, number, time);
        let refund = (dice.below(REFUND_ONE_IN) == 0).then(|| refund(&dice, number, &sale, time));
        requests.push(request(sale.body));
        requests.extend(refund.map(request));
    }
    requests
}

struct Sale {
    body: Value,
    total: u64,
}

fn sale(dice: &Dice, number: u64, time: OffsetDateTime) -> Sale {
    let mut total = 0;
    let lines: Vec<Value> = (0..=dice.below(4))
        .map(|_| {
            let (sku, name, price) = dice.one_of(&ARTICLES);
            let quantity = 1 + dice.below(3);
            total += price * quantity;
            json!({"sku": sku, "name": name, "quantity": quantity, "unit_price": rupees(price)})
        })
        .collect();
    let mut body = json!({
        "order_id": format!("LR-{number:05}"),
        "kind": "sale",
        "amount": {"value": rupees(total), "currency": "INR"},
        "sold_at": rfc3339_ms(time),
        "register": format!("till-{}", 1 + dice.below(2)),
        "cashier": dice.one_of(&CASHIERS),
        "lines": lines,
        "payments": [{"method": dice.one_of(&PAYMENTS), "amount": rupees(total)}],
    });
    if dice.below(ADDRESS_ONE_IN) == 0 {
        body["customer_address"] = json!(counterfoil_proofs::hex::encode(&dice.0.bytes::<20>()));
    }
    Sale { body, total }
}

/// Some of the sale's amount, or all of it, a while later.
fn refund(dice: &Dice, number: u64, sale: &Sale, time: OffsetDateTime) -> Value {
    let back = if dice.below(2) == 0 {
        sale.total
    } else {
        sale.total / 2
    };
    json!({
        "order_id": format!("LR-{number:05}-R"),
        "kind": "refund",
        "refers_to": sale.body["order_id"],
        "amount": {"value": rupees(back), "currency": "INR"},
        "sold_at": rfc3339_ms(time + Duration::seconds((1 + dice.below(PAUSE.0)).cast_signed())),
        "register": sale.body["register"],
    })
}

fn request(body: Value) -> Request {
    let order_id = body["order_id"].as_str().unwrap_or_default().to_owned();
    Request {
        key: format!("demo-{order_id}"),
        order_id,
        body,
    }
}

fn rupees(paise: u64) -> String {
    format!("{}.{:02}", paise / 100, paise % 100)
}

struct Dice(Entropy);

impl Dice {
    /// 0 to `n - 1`.
    fn below(&self, n: u64) -> u64 {
        u64::from_le_bytes(self.0.bytes()) % n
    }

    fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices[index]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn paise(body: &Value) -> u64 {
        body["amount"]["value"]
            .as_str()
            .unwrap()
            .replace('.', "")
            .parse()
            .unwrap()
    }

    #[test]
    fn a_day_is_plausible_and_always_the_same() {
        let day = |seed| generate(seed, OffsetDateTime::UNIX_EPOCH, 200);
        let bodies = |day: &[Request]| {
            day.iter()
                .map(|request| request.body.clone())
                .collect::<Vec<_>>()
        };
        let first = day(1);
        assert_eq!(bodies(&first), bodies(&day(1)));
        assert_ne!(bodies(&first), bodies(&day(2)));

        let mut sold = BTreeMap::new();
        let mut refunds = 0;
        for Request { body, order_id, .. } in &first {
            if body["kind"] == "sale" {
                assert!(
                    sold.insert(order_id.clone(), paise(body)).is_none(),
                    "{order_id} twice"
                );
            } else {
                let of = body["refers_to"].as_str().unwrap();
                assert!(paise(body) <= sold[of], "more than {of}");
                refunds += 1;
            }
        }
        assert_eq!(sold.len(), 200);
        assert!((5..40).contains(&refunds), "{refunds} refunds");
    }
}
