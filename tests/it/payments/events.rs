//! What the provider tells by itself: each event signed, until it is taken, whatever the network does.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use counterfoil::clock::Clock;
use counterfoil::dev::payments::{Plan, Release};
use counterfoil::http::keys::Mode;
use counterfoil::payments::event::{EVENT_BYTES, EventError, EventObject, ProviderEvent, read};
use counterfoil::payments::object::{IntentState, RefundState};
use counterfoil::payments::provider::CancelReason;
use counterfoil::payments::{Refused, signature};
use reqwest::redirect;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Inbox, SECRET, VISA, a_moment, amount, back, new, paid};
use crate::harness::{LocalProvider, eventually};

/// A plan that wastes no time.
fn quick() -> Plan {
    Plan {
        retry_ms: 10,
        settle_ms: 50,
        ..Plan::default()
    }
}

#[tokio::test]
async fn a_payment_tells_each_step_once() {
    let mut local = LocalProvider::alone(SECRET).await;
    let inbox = Inbox::open(&mut local).await;
    let provider = local.provider();
    let it = paid(&provider, "pi_1", VISA).await;
    let told: BTreeSet<String> = inbox.until(3).await.into_iter().collect();
    let expected = [
        "charge.succeeded",
        "payment_intent.created",
        "payment_intent.succeeded",
    ];
    assert_eq!(told, expected.map(str::to_owned).into());
    let event = inbox.until_kind("payment_intent.succeeded").await;
    assert!(event.id.starts_with("evt_"));
    assert_eq!(event.mode, Mode::Test);
    let EventObject::Intent(intent) = event.object else {
        panic!("an intent: {event:?}")
    };
    assert_eq!((&intent.id, intent.state), (&it.id, IntentState::Succeeded));
    assert_eq!(intent.amount, amount(1_500, "EUR"));
    assert_eq!(
        (intent.received_minor, intent.ours()),
        (1_500, Some("pi_1"))
    );
    a_moment().await;
    assert_eq!(inbox.events().len(), 3, "none came twice");
    // repeats of a call tell nothing new
    paid(&provider, "pi_1", VISA).await;
    a_moment().await;
    assert_eq!(inbox.events().len(), 3);
}

#[tokio::test]
async fn what_did_not_go_well_is_told_too() {
    let mut local = LocalProvider::alone(SECRET).await;
    local.set_plan(quick());
    let inbox = Inbox::open(&mut local).await;
    let provider = local.provider();
    let made = provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    let declined = "pm_card_visa_chargeDeclined";
    let answer = provider.confirm_intent(&made.id, declined, None, "k2");
    assert!(answer.await.is_err());
    let failed = inbox.until_kind("payment_intent.payment_failed").await;
    let EventObject::Intent(intent) = failed.object else {
        panic!("an intent")
    };
    assert_eq!(intent.state, IntentState::RequiresPaymentMethod);
    assert_eq!(intent.last_decline.expect("why").code, "card_declined");
    let reason = CancelReason::RequestedByCustomer;
    provider
        .cancel_intent(&made.id, reason, "k3")
        .await
        .unwrap();
    let cancelled = inbox.until_kind("payment_intent.canceled").await;
    let EventObject::Intent(intent) = cancelled.object else {
        panic!("an intent")
    };
    assert_eq!(intent.state, IntentState::Canceled);
    paid(&provider, "pi_2", "pm_local_processingFails").await;
    inbox.until_kind("payment_intent.processing").await;
}

#[tokio::test]
async fn refunds_are_told_and_some_fail_afterwards() {
    let mut local = LocalProvider::alone(SECRET).await;
    local.set_plan(quick());
    let inbox = Inbox::open(&mut local).await;
    let provider = local.provider();
    let it = paid(&provider, "pi_1", VISA).await;
    provider
        .create_refund(&back(&it, 400, "re_1"), "r1")
        .await
        .unwrap();
    let EventObject::Charge(charge) = inbox.until_kind("charge.refunded").await.object else {
        panic!("a charge")
    };
    assert_eq!(charge.refunded_minor, 400);
    assert_eq!(charge.intent.as_deref(), Some(it.id.as_str()));
    let EventObject::Refund(refund) = inbox.until_kind("refund.created").await.object else {
        panic!("a refund")
    };
    assert_eq!((refund.ours(), refund.amount.minor), (Some("re_1"), 400));

    let later = paid(&provider, "pi_2", "pm_card_pendingRefund").await;
    let pending = provider
        .create_refund(&back(&later, 1_500, "re_2"), "r2")
        .await;
    assert_eq!(pending.unwrap().state, RefundState::Pending);
    let EventObject::Refund(refund) = inbox.until_kind("refund.updated").await.object else {
        panic!("a refund")
    };
    assert_eq!(refund.state, RefundState::Succeeded);

    let fails = paid(&provider, "pi_3", "pm_card_refundFail").await;
    let seems_well = provider
        .create_refund(&back(&fails, 1_500, "re_3"), "r3")
        .await;
    assert_eq!(seems_well.unwrap().state, RefundState::Succeeded);
    let EventObject::Refund(refund) = inbox.until_kind("refund.failed").await.object else {
        panic!("a refund")
    };
    assert_eq!(
        (refund.state, refund.ours()),
        (RefundState::Failed, Some("re_3"))
    );
    assert!(refund.failure_reason.is_some());
    // the money is ours again, and can be sent once more
    let again = provider
        .create_refund(&back(&fails, 1_500, "re_4"), "r4")
        .await;
    assert_eq!(again.unwrap().amount.minor, 1_500);
}

#[tokio::test]
async fn an_event_comes_again_until_it_is_taken() {
    let mut local = LocalProvider::alone(SECRET).await;
    local.set_plan(Plan {
        webhook_drop: 2,
        ..quick()
    });
    let inbox = Inbox::open(&mut local).await;
    inbox.answers(StatusCode::INTERNAL_SERVER_ERROR);
    let made = local.provider().create_intent(&new("pi_1"), "k1").await;
    made.unwrap();
    inbox.until(2).await;
    inbox.answers(StatusCode::OK);
    let deliveries = eventually("it is taken", async || {
        let deliveries = local.deliveries();
        let is_taken = deliveries
            .last()
            .is_some_and(|last| last.status == Some(200));
        is_taken.then_some(deliveries)
    })
    .await;
    let statuses: Vec<Option<u16>> = deliveries.iter().map(|one| one.status).collect();
    assert_eq!(statuses[..4], [None, None, Some(500), Some(500)]);
    let ids: BTreeSet<&str> = deliveries.iter().map(|one| one.event.as_str()).collect();
    assert_eq!(ids.len(), 1, "the same event");
    let count = inbox.events().len();
    a_moment().await;
    assert_eq!(inbox.events().len(), count, "what was taken comes no more");
    // but when it is asked for
    assert!(local.resend(&deliveries[0].event).await);
    assert_eq!(inbox.events().len(), count + 1);
    assert!(!local.resend("evt_none").await);
}

#[tokio::test]
async fn whoever_waited_too_long_reads_the_events_themselves() {
    let mut local = LocalProvider::alone(SECRET).await;
    let inbox = Inbox::open(&mut local).await;
    local.set_plan(Plan {
        webhook_hold: true,
        ..quick()
    });
    let provider = local.provider();
    let from = Clock::system().now();
    for at in 0..60 {
        paid(&provider, &format!("pi_{at}"), VISA).await;
    }
    let (ours, to) = (["payment_intent.succeeded"], Clock::system().now());
    let read = provider.events(&ours, from, to).await.unwrap();
    assert_eq!(read.len(), 60);
    for (at, event) in read.iter().enumerate() {
        let EventObject::Intent(intent) = &event.object else {
            panic!("an intent: {event:?}")
        };
        assert_eq!(intent.ours(), Some(format!("pi_{at}").as_str()), "in order");
        assert_eq!(intent.state, IntentState::Succeeded);
    }
    let both = ["payment_intent.created", "charge.succeeded"];
    let both = provider.events(&both, from, to).await.unwrap();
    assert_eq!(both.len(), 120, "more than a page");
    let ten = Duration::from_secs(600);
    let before = provider.events(&ours, from - ten, from - ten).await;
    assert!(before.unwrap().is_empty());
    // when they come after all, they are the same: an inbox takes each once
    local.release(Release::AsMade).await;
    let came = inbox.events();
    let came = came.iter().filter(|event| event.kind == ours[0]);
    let came: Vec<&str> = came.map(|event| event.id.as_str()).collect();
    let read: Vec<&str> = read.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(came, read);
}

#[tokio::test]
async fn events_come_late_twice_and_out_of_order_as_they_are_told_to() {
    let mut local = LocalProvider::alone(SECRET).await;
    let inbox = Inbox::open(&mut local).await;
    local.set_plan(Plan {
        webhook_hold: true,
        ..quick()
    });
    let provider = local.provider();
    paid(&provider, "pi_1", VISA).await;
    a_moment().await;
    assert!(inbox.kinds().is_empty(), "they are held");
    assert_eq!(local.release(Release::Reversed).await, 3);
    assert_eq!(
        inbox.kinds(),
        [
            "payment_intent.succeeded",
            "charge.succeeded",
            "payment_intent.created"
        ]
    );
    local.set_plan(Plan {
        webhook_copies: 1,
        webhook_delay_ms: 200,
        ..quick()
    });
    provider.create_intent(&new("pi_2"), "k").await.unwrap();
    assert_eq!(inbox.events().len(), 3, "it comes late");
    inbox.until(5).await;
    let ids: Vec<String> = inbox.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids[3], ids[4], "twice");
}

#[tokio::test]
async fn what_nobody_took_is_told_after_a_kill() {
    let mut local = LocalProvider::start("http://127.0.0.1:1/nobody", SECRET).await;
    paid(&local.provider(), "pi_1", VISA).await;
    local.kill();
    local.restart().await;
    let inbox = Inbox::open(&mut local).await;
    inbox.until(3).await;
    let taken = async || {
        let text = std::fs::read_to_string(local.file()).unwrap();
        (text.matches("\"taken\"").count() == 3).then_some(())
    };
    eventually("all is kept as taken", taken).await;
    local.restart().await;
    a_moment().await;
    assert_eq!(inbox.events().len(), 3, "and what was taken is not");
}

#[tokio::test]
async fn a_customer_authenticates_in_a_browser_or_does_not() {
    let mut local = LocalProvider::alone(SECRET).await;
    let inbox = Inbox::open(&mut local).await;
    let provider = local.provider();
    let browser = browser();
    for (ours, outcome, state, went) in [
        ("pi_1", "complete", IntentState::Succeeded, "succeeded"),
        ("pi_2", "fail", IntentState::RequiresPaymentMethod, "failed"),
    ] {
        let made = provider.create_intent(&new(ours), ours).await.unwrap();
        let method = "pm_card_authenticationRequired";
        let back = Some("https://shop.example/done?order=1");
        let confirmed = provider.confirm_intent(&made.id, method, back, went).await;
        let confirmed = confirmed.unwrap();
        assert_eq!(confirmed.state, IntentState::RequiresAction);
        let page = confirmed.redirect_url.expect("a page");
        let page = page.expose_secret().to_owned();
        let shown = browser.get(&page).send().await.unwrap();
        assert_eq!(shown.status(), 200);
        assert!(shown.text().await.unwrap().contains("15.00 EUR"));
        let (page, secret) = page.split_once("?secret=").expect("a secret");
        let stranger = browser.post(page).body("secret=wrong&outcome=complete");
        assert_eq!(stranger.send().await.unwrap().status(), 404);
        let answer = browser
            .post(page)
            .body(format!("secret={secret}&outcome={outcome}"))
            .send()
            .await
            .unwrap();
        let to = answer.headers()["location"].to_str().unwrap().to_owned();
        assert!(to.starts_with("https://shop.example/done?order=1&"), "{to}");
        assert!(to.ends_with(&format!("redirect_status={went}")), "{to}");
        let read = provider.retrieve_intent(&made.id).await.unwrap();
        assert_eq!(read.state, state);
        assert!(read.redirect_url.is_none());
    }
    inbox.until_kind("payment_intent.requires_action").await;
    inbox.until_kind("payment_intent.succeeded").await;
    let failed = inbox.until_kind("payment_intent.payment_failed").await;
    let EventObject::Intent(intent) = failed.object else {
        panic!("an intent")
    };
    let code = intent.last_decline.expect("why").code;
    assert_eq!(code, "payment_intent_authentication_failure");
}

#[tokio::test]
async fn a_person_pays_by_hand() {
    let local = LocalProvider::alone(SECRET).await;
    let made = local.provider().create_intent(&new("pi_1"), "k1").await;
    let made = made.unwrap();
    let told = &local.intents()[0];
    let secret = told["client_secret"].as_str().unwrap();
    let browser = browser();
    let page = format!("{}/pay/{}", local.address(), made.id);
    let pay = async |method: &str| {
        let body = format!("secret={secret}&payment_method={method}");
        let answer = browser.post(&page).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let shown = browser.get(format!("{page}?secret={secret}")).send().await;
    let shown = shown.unwrap();
    let policy = &shown.headers()["content-security-policy"];
    assert!(policy.to_str().unwrap().starts_with("default-src 'none'"));
    assert!(shown.text().await.unwrap().contains("pm_card_visa"));
    let unknown = browser.get(format!("{page}?secret=no")).send().await;
    assert_eq!(unknown.unwrap().status(), 404);
    let (_, declined) = pay("pm_card_visa_chargeDeclined").await;
    assert!(declined.contains("Your card was declined."), "{declined}");
    let (status, _) = pay("pm_card_authenticationRequired").await;
    assert_eq!(status, 303, "on to the bank");
    let (_, paid) = pay(VISA).await;
    assert!(paid.contains("It is paid"), "{paid}");
    let read = local.provider().retrieve_intent(&made.id).await.unwrap();
    assert_eq!(read.state, IntentState::Succeeded);
}

fn browser() -> reqwest::Client {
    let redirect = redirect::Policy::none();
    let client = reqwest::Client::builder().no_proxy().redirect(redirect);
    client.build().expect("a browser")
}

/// The smallest event of an intent.
fn event() -> Value {
    json!({
        "id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "created": 1,
        "livemode": false, "a_field_of_tomorrow": 1.5,
        "data": { "object": {
            "id": "pi_1", "object": "payment_intent", "status": "succeeded", "amount": 5,
            "amount_received": 5, "currency": "jpy", "created": 1, "livemode": false,
            "metadata": { "intent_id": "pi_x" }, "tomorrow": {},
        }},
    })
}

fn parse(event: &Value) -> Result<ProviderEvent, EventError> {
    read(event.to_string().as_bytes())
}

#[test]
fn an_event_is_read_and_what_it_lacks_is_an_error() {
    let it = parse(&event()).unwrap();
    assert_eq!(
        (it.id.as_str(), it.created_at.unix_timestamp()),
        ("evt_1", 1)
    );
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 14] = [
        ("no id", |it| it["id"] = Value::Null),
        ("an id of another kind", |it| it["id"] = json!("pi_1")),
        ("an id that is a path", |it| it["id"] = json!("evt_/..")),
        ("another object", |it| it["object"] = json!("list")),
        ("a time that is none", |it| it["created"] = json!(i64::MAX)),
        ("a time in parts", |it| it["created"] = json!(1.5)),
        ("no mode", |it| it["livemode"] = Value::Null),
        ("no data", |it| it["data"] = json!({})),
        ("an object of another kind", |it| {
            it["data"]["object"]["object"] = json!("charge");
        }),
        ("money in parts", |it| {
            it["data"]["object"]["amount"] = json!(5.0)
        }),
        ("money below nothing", |it| {
            it["data"]["object"]["amount_received"] = json!(-5);
        }),
        ("money as text", |it| {
            it["data"]["object"]["amount"] = json!("5")
        }),
        ("money of nowhere", |it| {
            it["data"]["object"]["currency"] = json!("xxx");
        }),
        ("a state of nobody", |it| {
            it["data"]["object"]["status"] = json!("paid");
        }),
    ];
    for (what, change) in changes {
        let mut changed = event();
        change(&mut changed);
        assert!(parse(&changed).is_err(), "{what}");
    }
    for bytes in [&b""[..], b"[]", b"null", b"{", b"\xff"] {
        assert!(matches!(read(bytes), Err(EventError::Shape(_))));
    }
    let large = vec![b' '; EVENT_BYTES + 1];
    assert!(matches!(read(&large), Err(EventError::TooLarge)));
}

#[test]
fn an_unknown_type_is_kept_and_does_nothing() {
    let mut unknown = event();
    unknown["type"] = json!("customer.created");
    let read = parse(&unknown).unwrap();
    assert!(matches!(read.object, EventObject::Other));
    assert_eq!(read.kind, "customer.created");
    unknown["data"]["object"] = json!([]);
    assert!(parse(&unknown).is_err());
}

#[tokio::test]
async fn an_event_of_the_other_mode_is_refused() {
    let local = LocalProvider::alone(SECRET).await;
    let mut live = event();
    live["livemode"] = json!(true);
    let now = Clock::system().now();
    let body = live.to_string();
    let header = signature::sign(&[SECRET.into()], body.as_bytes(), now);
    let header = Some(header.as_bytes());
    let payments = local.payments();
    match payments.receive(header, body.as_bytes(), now) {
        Err(Refused::Mode(Mode::Live)) => {}
        other => panic!("{other:?}"),
    }
    let late = now + Duration::from_secs(301);
    let refused = payments.receive(header, body.as_bytes(), late);
    assert!(matches!(refused, Err(Refused::Signature(_))));
}
