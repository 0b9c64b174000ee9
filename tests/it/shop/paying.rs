//! Payments on bad days: late, twice, out of order, cut off, and for orders that nobody wants any more.

use counterfoil::dev::payments::{Plan, Release};
use serde_json::json;

use super::{Store, ordered, pay, put, read, until};
use crate::catalogue::stocked;
use crate::harness::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nobody_signed_is_refused() {
    let store = Store::open().await;
    let nobody = store.admin.with_key(None);
    let json = [("content-type", "application/json")];
    let path = "/v1/payments/webhook";
    let event =
        json!({"id": "evt_1", "object": "event", "type": "payment_intent.succeeded"}).to_string();
    nobody
        .send(reqwest::Method::POST, path, &json, event.clone())
        .await
        .problem("signature_invalid");
    let forged = [
        ("content-type", "application/json"),
        ("stripe-signature", "t=1,v1=00"),
    ];
    nobody
        .send(reqwest::Method::POST, path, &forged, event)
        .await
        .problem("signature_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_may_be_followed_by_a_good_one() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 4).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 1).await;
    let declined = pay(&customer, &order, "pm_card_visa_chargeDeclined", "one").await;
    let problem = declined.problem("payment_declined");
    assert!(
        problem["errors"][0]["meta"]["decline_code"].is_string(),
        "{problem}"
    );
    // the same key asks for nothing new
    pay(&customer, &order, "pm_card_visa_chargeDeclined", "one")
        .await
        .problem("payment_declined");
    pay(&customer, &order, "pm_card_visa", "one")
        .await
        .problem("idempotency_key_reused");
    // one that is none, and one that the provider does not know
    for method in ["pm card", "pm_1NoSuchCard"] {
        pay(&customer, &order, method, "two")
            .await
            .problem("payment_method_invalid");
    }
    pay(&customer, &order, "pm_card_visa", "two")
        .await
        .expect(200);
    until(&customer, &order, "PAID").await;
    pay(&customer, &order, "pm_card_visa", "three")
        .await
        .problem("payment_state");
    assert_eq!(store.provider.intents().len(), 1);
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_asks_its_bank_waits_for_the_customer() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 4).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 1).await;
    let asked = pay(&customer, &order, "pm_card_authenticationRequired", "one").await;
    let asked = asked.expect(200).json();
    assert_eq!(asked["status"], "requires_action");
    assert!(
        asked["redirect_url"]
            .as_str()
            .is_some_and(|url| url.starts_with("http")),
        "{asked}"
    );
    assert_eq!(read(&customer, &order).await["state"], "PENDING");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_charges_nobody_twice() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 4).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 1).await;
    // the intent is made there, and we are not told
    store.provider.set_plan(Plan {
        cut: 1,
        ..Plan::default()
    });
    pay(&customer, &order, "pm_card_visa", "one")
        .await
        .problem("payment_unavailable");
    assert_eq!(store.provider.intents().len(), 1);
    // asked again it is the same one
    let intent = order["payment_intent"]["id"].as_str().unwrap();
    let path = format!("/v1/payment_intents/{intent}");
    let told = customer.get(&path).await.expect(200).json();
    assert!(told["client_secret"].is_string(), "{told}");
    // the payment is taken, and we are not told
    store.provider.set_plan(Plan {
        cut: 1,
        ..Plan::default()
    });
    pay(&customer, &order, "pm_card_visa", "one")
        .await
        .problem("payment_unavailable");
    until(&customer, &order, "PAID").await;
    // and the same request once more is told what came of it
    let paid = pay(&customer, &order, "pm_card_visa", "one").await;
    assert_eq!(paid.expect(200).json()["status"], "succeeded");
    assert_eq!(store.provider.intents().len(), 1);
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_may_come_late_twice_and_in_no_order() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 9).await;
    store.provider.set_plan(Plan {
        webhook_hold: true,
        webhook_copies: 3,
        ..Plan::default()
    });
    let mut all = Vec::new();
    for _ in 0..4 {
        let customer = store.customer().await;
        let order = ordered(&customer, &lamp, 2).await;
        pay(&customer, &order, "pm_card_visa_chargeDeclined", "no")
            .await
            .problem("payment_declined");
        pay(&customer, &order, "pm_card_visa", "yes")
            .await
            .expect(200);
        all.push((customer, order));
    }
    for (customer, order) in &all {
        assert_eq!(
            read(customer, order).await["state"],
            "PENDING",
            "only an event says so"
        );
    }
    store.provider.release(Release::Reversed).await;
    for (customer, order) in &all {
        until(customer, order, "PAID").await;
    }
    let events = store.provider.events();
    for event in &events {
        assert!(
            store.provider.resend(event["id"].as_str().unwrap()).await,
            "{event}"
        );
    }
    for (customer, order) in &all {
        assert_eq!(read(customer, order).await["state"], "PAID");
    }
    assert_eq!(store.stock(&lamp).await, (1, 0));
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_for_a_cancelled_order_goes_back() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 4).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 1).await;
    store.provider.set_plan(Plan {
        webhook_hold: true,
        ..Plan::default()
    });
    pay(&customer, &order, "pm_card_visa", "yes")
        .await
        .expect(200);
    let path = format!("/v1/orders/{}/cancel", order["id"].as_str().unwrap());
    let ending = customer.post(&path, "c", "").await.expect(200).json();
    assert_eq!(
        (&ending["state"], &ending["ending"]),
        (&json!("PENDING"), &json!("customer"))
    );
    // the provider refuses to cancel what is paid, so the money goes back
    let cancelled = until(&customer, &order, "CANCELLED").await;
    assert_eq!(cancelled["refunded"], cancelled["total"]);
    store.provider.release(Release::AsMade).await;
    store.provider.set_plan(Plan::default());
    eventually("the money is back", async || {
        let refunds = store.provider.refunds();
        (refunds.len() == 1 && refunds[0]["status"] == "succeeded").then_some(())
    })
    .await;
    assert_eq!(store.stock(&lamp).await, (4, 0));
    assert!(cancelled["sale_id"].is_null(), "{cancelled}");
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_once_the_payment_that_is_under_way_has_failed() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 4).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 1).await;
    store.provider.set_plan(Plan {
        settle_ms: 1_000,
        ..Plan::default()
    });
    pay(&customer, &order, "pm_local_processingFails", "yes")
        .await
        .expect(200);
    // the provider refuses to cancel what is under way, and is asked again
    let path = format!("/v1/orders/{}/cancel", order["id"].as_str().unwrap());
    let ending = customer.post(&path, "c", "").await.expect(200).json();
    assert_eq!(ending["state"], "PENDING");
    let cancelled = until(&customer, &order, "CANCELLED").await;
    assert_eq!(cancelled["payment_intent"]["status"], "canceled");
    assert_eq!(store.stock(&lamp).await, (4, 0));
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_payment_is_good_while_the_pieces_are_there() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 4).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 3).await;
    store.provider.set_plan(Plan {
        webhook_hold: true,
        ..Plan::default()
    });
    pay(&customer, &order, "pm_card_visa", "yes")
        .await
        .expect(200);
    store.let_orders_expire().await;
    // its time is over, and the provider, which is asked to cancel it, has its money
    let paid = until(&customer, &order, "PAID").await;
    assert!(paid["ending"].is_null(), "{paid}");
    assert_eq!(store.stock(&lamp).await, (1, 0));
    store.provider.release(Release::AsMade).await;
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_event_told_is_asked_for() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 4).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 1).await;
    store.provider.set_plan(Plan {
        webhook_hold: true,
        ..Plan::default()
    });
    pay(&customer, &order, "pm_card_visa", "yes")
        .await
        .expect(200);
    store
        .run("update payment_intent set updated_at = now() - interval '10 minutes'")
        .await;
    until(&customer, &order, "PAID").await;
    // by the event that was not delivered; when it comes at last, it is known
    let kept = "select (select paid_event from shop_order) like 'evt_%'
                   and (select count(*) from provider_event where event_id = (select paid_event from shop_order)) = 1";
    let kept: bool = sqlx::query_scalar(kept)
        .fetch_one(&store.db.owner)
        .await
        .expect("an order");
    assert!(kept);
    store.provider.release(Release::AsMade).await;
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_recorded_is_paid_and_parked() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 4).await;
    let customer = store.customer().await;
    put(&customer, &lamp, 1).await.expect(200);
    let order = super::checkout(&customer, "k").await.expect(201).json();
    let id = order["id"].as_str().unwrap();
    // somebody has written into the record
    store
        .run(&format!("insert into sale_order (merchant_id, order_id, sale_id) select merchant_id, '{id}', gen_random_uuid() from merchant"))
        .await;
    pay(&customer, &order, "pm_card_visa", "yes")
        .await
        .expect(200);
    let paid = until(&customer, &order, "PAID").await;
    assert!(
        paid["sale_id"].is_null() && paid.get("parked").is_none(),
        "{paid}"
    );
    let path = format!("/v1/orders/{id}");
    let seen = store.admin.get(&path).await.expect(200).json();
    assert!(seen["parked"].is_string(), "{seen}");
    check_told_once(&store).await;
    store
        .admin
        .post(&format!("{path}/refunds"), "r", "{}")
        .await
        .problem("order_parked");
    // once that is mended it is recorded by itself
    store
        .run(&format!("delete from sale_order where order_id = '{id}'"))
        .await;
    store
        .run(&format!("delete from idempotency_key where key = '{id}'"))
        .await;
    store.run("update shop_order set record_at = now()").await;
    eventually("it is recorded", async || {
        let order = read(&customer, &order).await;
        order["sale_id"].is_string().then_some(())
    })
    .await;
    store.check_books().await;
}

/// The payment is told of without a sale, and that somebody has to look, however often it is tried again.
async fn check_told_once(store: &Store) {
    let told = async |what: &str| {
        let page = store.admin.get(&format!("/v1/events?type={what}")).await;
        let page = page.expect(200).json();
        page["data"].as_array().expect("events").clone()
    };
    let paid = told("order.paid").await;
    assert!(paid[0]["data"].get("sale_id").is_none(), "{paid:?}");
    store.run("update shop_order set record_at = now()").await;
    eventually("it is tried again", async || {
        let sql = "select parked is not null and record_at > now() from shop_order";
        let tried: bool = sqlx::query_scalar(sql)
            .fetch_one(&store.db.owner)
            .await
            .expect("an order");
        tried.then_some(())
    })
    .await;
    assert_eq!(told("order.parked").await.len(), 1);
    // the next try would forget what else it was parked for, so nothing else is noted until it is recorded
    let note = "select note_charge(provider_ref, 400) from payment_intent";
    store.run(note).await;
    let noted = "update shop_order set elsewhere_minor = 0 where elsewhere_minor > 0";
    assert_eq!(store.run(noted).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_double_click_is_told_what_the_first_was() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 9).await;
    for round in 0..6 {
        let customer = store.customer().await;
        let order = ordered(&customer, &lamp, 1).await;
        let clicks = (0..10).map(|_| pay(&customer, &order, "pm_card_visa", "click"));
        for answer in futures_util::future::join_all(clicks).await {
            let told = answer.expect(200).json();
            assert!(
                [json!("processing"), json!("succeeded")].contains(&told["status"]),
                "round {round}: {told}"
            );
        }
        until(&customer, &order, "PAID").await;
        assert_eq!(store.provider.intents().len(), round + 1);
    }
    store.check_books().await;
}
