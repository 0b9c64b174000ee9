//! Tills that sell all the time, and ask again until they are told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use counterfoil::ids::MerchantId;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Client, Dice, sale};

/// The pause between two sales of a till, and between two tries of one.
const PAUSE: Duration = Duration::from_millis(40);
/// How long a till waits for an answer before it asks somebody else.
const ANSWER: Duration = Duration::from_secs(4);
/// How often it is looked whether there were so many sales.
const POLL: Duration = Duration::from_millis(20);
/// Sales of a batch at most.
const BATCH: usize = 12;

/// What the tills were told: each order of each merchant, with the number of its sale.
#[derive(Default)]
pub(super) struct Told {
    orders: Mutex<BTreeMap<(MerchantId, String), i64>>,
    over: AtomicBool,
}

impl Told {
    fn hear(&self, merchant: MerchantId, answer: &Value) {
        let order = answer["order_id"].as_str().expect("an order id").to_owned();
        let seq = answer["seq"].as_i64().expect("a number");
        let before = self
            .orders
            .lock()
            .expect("the orders")
            .insert((merchant, order), seq);
        assert!(before.is_none(), "told twice: {answer}");
    }

    /// How many sales.
    pub(super) fn count(&self) -> usize {
        self.orders.lock().expect("the orders").len()
    }

    /// The orders of each merchant with their numbers.
    pub(super) fn orders(&self) -> BTreeMap<(MerchantId, String), i64> {
        self.orders.lock().expect("the orders").clone()
    }

    /// Waits for so many more sales, or until the time is up: with everything down there are none.
    pub(super) async fn more(&self, sales: usize, at_most: Duration) {
        let (enough, end) = (self.count() + sales, Instant::now() + at_most);
        while self.count() < enough && Instant::now() < end {
            sleep(POLL).await;
        }
    }
}

/// The tills of a site.
pub(super) struct Sellers {
    told: Arc<Told>,
    tills: JoinSet<()>,
}

impl Sellers {
    /// Opens a till for each key.
    pub(super) fn open(keys: Vec<(MerchantId, String)>, urls: &[String], seed: u64) -> Self {
        let told = Arc::new(Told::default());
        let mut tills = JoinSet::new();
        for (number, (merchant, key)) in keys.into_iter().enumerate() {
            let till = Till {
                number,
                merchant,
                client: Client::new(&urls[0], Some(&key)),
                urls: urls.to_vec(),
                dice: Dice::new(seed, 1_000 + number as u64),
                told: told.clone(),
            };
            tills.spawn(till.sell());
        }
        Self { told, tills }
    }

    /// What they were told so far.
    pub(super) fn told(&self) -> &Told {
        &self.told
    }

    /// Closes the tills when each has its last answer.
    pub(super) async fn close(mut self) -> Arc<Told> {
        self.told.over.store(true, Ordering::Release);
        while let Some(till) = self.tills.join_next().await {
            till.expect("a till");
        }
        self.told
    }
}

struct Till {
    number: usize,
    merchant: MerchantId,
    client: Client,
    urls: Vec<String>,
    dice: Dice,
    told: Arc<Told>,
}

impl Till {
    async fn sell(self) {
        let mut sold = 0;
        while !self.told.over.load(Ordering::Acquire) {
            let count = match self.dice.below(5) {
                0 => 2 + self.dice.below(BATCH - 1),
                _ => 1,
            };
            let orders = (sold..sold + count).map(|n| format!("{}-{n}", self.number));
            let orders: Vec<String> = orders.collect();
            while !self.try_to_sell(&orders).await {
                sleep(PAUSE).await;
            }
            sold += count;
            sleep(PAUSE).await;
        }
    }

    /// Sends these sales to any process; whether all were answered.
    async fn try_to_sell(&self, orders: &[String]) -> bool {
        let url: &String = self.dice.pick(&self.urls);
        let client = self.client.at(url);
        let json = ("content-type", "application/json");
        let sent = async {
            if let [order] = orders {
                let headers = [json, ("idempotency-key", order.as_str())];
                let body = sale(order).to_string();
                return client
                    .try_send(Method::POST, "/v1/sales", &headers, body)
                    .await;
            }
            let items = orders.iter().map(|order| {
                let mut item = sale(order);
                item["idempotency_key"] = json!(order);
                item
            });
            let body = json!({ "items": items.collect::<Vec<_>>() }).to_string();
            client
                .try_send(Method::POST, "/v1/sales:batch", &[json], body)
                .await
        };
        let Ok(Ok(answer)) = timeout(ANSWER, sent).await else {
            return false;
        };
        let items = match answer.status {
            201 => vec![json!({ "status": 201, "body": answer.json() })],
            200 => answer.json()["items"].as_array().expect("items").clone(),
            409 | 503 => return false,
            _ => panic!("{}", answer.text),
        };
        if items.iter().any(|item| item["status"] != json!(201)) {
            let later = |item: &Value| [201, 409, 503].map(Value::from).contains(&item["status"]);
            assert!(items.iter().all(later), "{}", answer.text);
            return false;
        }
        for item in &items {
            self.told.hear(self.merchant, &item["body"]);
        }
        true
    }
}
