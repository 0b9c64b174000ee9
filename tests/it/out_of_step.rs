//! Connections to Postgres that fall out of step: an answer that belongs to no question comes in between.
//! It is no fault of the sale that was being written, so its caller must not feel it.

use counterfoil::clock::Clock;
use serde_json::json;

use crate::database_wire::{DatabaseWire, Fault};
use crate::harness::{App, Client, Running, sale};

/// A server whose connections go over a wire, and a client of it.
async fn over(wire: &DatabaseWire, app: &mut App) -> (Running, Client) {
    let straight = std::mem::replace(&mut app.db.url, wire.url.clone());
    let server = Running::start(&app.db, Clock::system()).await;
    app.db.url = straight;
    let till = app.admin.at(&server.url);
    (server, till)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_out_of_step_costs_no_sale_its_answer() {
    let mut app = App::start().await;
    let wire = DatabaseWire::before(&app.db.url, "order-out-of-step").await;
    let (_server, till) = over(&wire, &mut app).await;
    till.record("k-0", &sale("before")).await.expect(201);
    wire.plan(Fault::Stray, 0);
    let alone = till
        .record("k-1", &sale("order-out-of-step-1"))
        .await
        .expect(201);
    assert!(!wire.is_planned(), "the stray was in between");
    assert_eq!(alone.header("idempotent-replayed"), "");
    wire.plan(Fault::Stray, 0);
    let items: Vec<_> = (2..5)
        .map(|n| {
            let mut item = sale(&format!("order-out-of-step-{n}"));
            item["idempotency_key"] = json!(format!("k-{n}"));
            item
        })
        .collect();
    let batch = till.record_batch(&items).await.expect(200);
    assert!(!wire.is_planned());
    for item in batch.json()["items"].as_array().expect("items") {
        assert_eq!(item["status"], 201, "{item}");
    }
    let seqs: Vec<i64> = sqlx::query_scalar("select seq from sale order by seq")
        .fetch_all(&app.db.owner)
        .await
        .expect("the sales");
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
}
