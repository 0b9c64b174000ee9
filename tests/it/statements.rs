//! What the hot paths cost in statements.

use counterfoil::clock::Clock;
use serde_json::json;

use crate::database_wire::DatabaseWire;
use crate::harness::{App, Client, Running, sale};

/// What is looked at once a second beside must not be taken for part of a request.
const TRIES: usize = 12;

/// The statements of the cheapest of several tries.
async fn cheapest(wire: &DatabaseWire, mut request: impl AsyncFnMut(usize)) -> usize {
    // connections and keys are looked up once
    request(0).await;
    let mut least = usize::MAX;
    for n in 1..=TRIES {
        let before = wire.statements();
        request(n).await;
        least = least.min(wire.statements() - before);
    }
    least
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_is_one_statement_and_so_is_a_read() {
    let mut app = App::start().await;
    let wire = DatabaseWire::before(&app.db.url, "nothing is cut").await;
    let straight = std::mem::replace(&mut app.db.url, wire.url.clone());
    let server = Running::start(&app.db, Clock::system()).await;
    app.db.url = straight;
    let till: Client = app.admin.at(&server.url);

    let one = cheapest(&wire, async |n| {
        let order = format!("A-{n}");
        till.record(&order, &sale(&order)).await.expect(201);
    });
    assert_eq!(one.await, 1, "a sale");
    let twenty = cheapest(&wire, async |n| {
        let items: Vec<_> = (0..20)
            .map(|item| {
                let mut item = sale(&format!("B-{n}-{item}"));
                item["idempotency_key"] = json!(item["order_id"]);
                item
            })
            .collect();
        till.record_batch(&items).await.expect(200);
    });
    assert_eq!(twenty.await, 1, "twenty sales that come together");
    let recorded = till.record("A-0", &sale("A-0")).await.expect(201).json();
    let id = recorded["sale_id"].as_str().expect("an id");
    for path in [
        "/v1/orders/A-0/proof".to_owned(),
        format!("/v1/receipts/{id}"),
        format!("/v1/sales/{id}"),
    ] {
        let read = cheapest(&wire, async |_| drop(till.get(&path).await.expect(200)));
        assert_eq!(read.await, 1, "{path}");
    }
}
