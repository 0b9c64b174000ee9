//! The shop on real parts: a server, the local payment provider, and customers who have signed up.

mod bounds;
mod buying;
mod described;
mod drill;
pub(crate) mod examples;
mod last_piece;
mod paying;
mod points;
mod refunds;
mod telling;

use counterfoil::clock::Clock;
use counterfoil::http::auth::Role;
use counterfoil::ids::MerchantId;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::harness::{
    Answer, Client, Database, LocalProvider, Running, eventually, key, merchant, someone,
};

/// A shop that is open.
pub(crate) struct Store {
    pub(crate) provider: LocalProvider,
    _server: Running,
    pub(crate) merchant: MerchantId,
    /// A client with the administrator's key.
    pub(crate) admin: Client,
    pub(crate) db: Database,
}

impl Store {
    /// A test merchant's, whose payments the local provider takes.
    pub(crate) async fn open() -> Self {
        let db = Database::create().await;
        let mut provider = LocalProvider::alone("whsec_of_the_shop").await;
        let server = Running::selling(&db, Clock::system(), provider.payments()).await;
        provider.tell(&format!("{}/v1/payments/webhook", server.url));
        let merchant = merchant(&db, "test").await;
        let key = key(&db, merchant, Role::Admin, None).await;
        let admin = Client::new(&server.url, Some(&key));
        Self {
            provider,
            _server: server,
            merchant,
            admin,
            db,
        }
    }

    /// A customer who has just signed up.
    pub(crate) async fn customer(&self) -> Client {
        self.admin.sign_up(self.merchant, &someone()).await
    }

    /// What of a product is on hand, and what of that is held.
    pub(crate) async fn stock(&self, product: &str) -> (i64, i64) {
        let row = self.admin.get(&format!("/v1/products/{product}")).await;
        let row = row.expect(200).json();
        let count = |name: &str| row[name].as_i64().expect("a count");
        (count("on_hand"), count("held"))
    }

    /// Runs a statement as the database's owner.
    pub(crate) async fn run(&self, statement: &str) -> u64 {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        let done = sqlx::query(statement).execute(&self.db.owner).await;
        done.expect("a statement").rows_affected()
    }

    /// Lets the time of all pending orders be over.
    pub(crate) async fn let_orders_expire(&self) {
        self.run("update shop_order set expires_at = now() - interval '1 second' where state = 'PENDING'")
            .await;
    }

    /// What must be true whatever happened.
    pub(crate) async fn check_books(&self) {
        check_books(
            &self.db.owner,
            &self.provider.intents(),
            &self.provider.refunds(),
        )
        .await;
    }
}

/// What must be true whatever happened: the ledger sums to the stock, nothing is held for nobody, and
/// what was taken and not given back is what was sold.
pub(crate) async fn check_books(owner: &PgPool, intents: &[Value], refunds: &[Value]) {
    let off: Vec<String> = sqlx::query_scalar(
            "select 'stock of ' || s.product_id || ': ' || s.on_hand || ', ' || s.held
             from stock s,
                  lateral (select sum(m.on_hand) as on_hand, sum(m.held) as held from stock_movement m
                           where m.merchant_id = s.merchant_id and m.product_id = s.product_id) m
             where (s.on_hand, s.held) is distinct from (m.on_hand, m.held)
             union all
             select 'held of ' || s.product_id || ': ' || s.held
             from stock s
             where s.held <> coalesce((
                 select sum(i.quantity) from shop_order_item i
                 join shop_order o using (merchant_id, order_id)
                 where o.hold = 'held' and i.merchant_id = s.merchant_id and i.product_id = s.product_id), 0)
             union all
             select 'order ' || o.order_id || ' is ' || o.state || ' and recorded ' || o.recorded
             from shop_order o
             where o.parked is null and (o.state = 'PAID') <> o.recorded",
        )
        .fetch_all(owner)
        .await
        .expect("the books");
    assert!(off.is_empty(), "{off:#?}");
    let taken: i64 = intents.iter().map(received).sum();
    let back: i64 = refunds
        .iter()
        .filter(|refund| refund["status"] == "succeeded")
        .map(|refund| refund["amount"].as_i64().expect("an amount"))
        .sum();
    let sold: i64 = sqlx::query_scalar(
            "select coalesce(sum(case kind when 1 then amount_minor else -amount_minor end), 0)::bigint from sale
             where order_id like 'ord\\_%' or order_id like 're\\_%'",
        )
        .fetch_one(owner)
        .await
        .expect("the sales");
    assert_eq!(
        taken - back,
        sold,
        "money taken and kept, and the record of sales"
    );
}

fn received(intent: &Value) -> i64 {
    intent["amount_received"].as_i64().expect("an amount")
}

/// Puts pieces into a cart.
pub(crate) async fn put(customer: &Client, product: &str, pieces: i64) -> Answer {
    let json = [("content-type", "application/json")];
    let path = format!("/v1/cart/items/{product}");
    let body = json!({ "quantity": pieces }).to_string();
    customer
        .send(reqwest::Method::PUT, &path, &json, body)
        .await
}

/// Orders what is in the cart.
pub(crate) async fn checkout(customer: &Client, key: &str) -> Answer {
    customer.post("/v1/checkout", key, "{}").await
}

/// Pays an order with a means of payment of the provider's.
pub(crate) async fn pay(customer: &Client, order: &Value, method: &str, key: &str) -> Answer {
    let intent = order["payment_intent"]["id"].as_str().expect("an intent");
    let body = json!({ "payment_method": method }).to_string();
    let path = format!("/v1/payment_intents/{intent}/confirm");
    customer.post(&path, key, body).await
}

/// The order as it is.
pub(crate) async fn read(customer: &Client, order: &Value) -> Value {
    let path = format!("/v1/orders/{}", order["id"].as_str().expect("an id"));
    customer.get(&path).await.expect(200).json()
}

/// Waits until an order is in a state.
pub(crate) async fn until(customer: &Client, order: &Value, state: &str) -> Value {
    eventually(state, async || {
        let order = read(customer, order).await;
        (order["state"] == state).then_some(order)
    })
    .await
}

/// An order of pieces of one product, not paid yet.
pub(crate) async fn ordered(customer: &Client, product: &str, pieces: i64) -> Value {
    put(customer, product, pieces).await.expect(200);
    let key = format!("order {product} {pieces}");
    checkout(customer, &key.replace(' ', "-"))
        .await
        .expect(201)
        .json()
}
