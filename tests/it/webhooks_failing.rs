//! Webhooks that are not taken: endpoints that fail, are slow or gone, workers that are killed, and addresses that
//! nothing is told to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use counterfoil::clock::Entropy;
use counterfoil::database::DatabaseRole;
use counterfoil::limits;
use counterfoil::webhooks::address::{AddressError, Addresses, Reach};
use counterfoil::webhooks::deliver::Deliverer;
use counterfoil::webhooks::event_type::EventType;
use counterfoil::webhooks::send::Sender;
use counterfoil::webhooks::store::deliveries::{Outcome, Settled, claim, settle};
use counterfoil::webhooks::upkeep;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::App;
use crate::openapi::check_told;
use crate::webhooks::receiver::{Receiver, Reply};
use crate::webhooks::{
    a_clock, deliver, deliverer, deliveries, emit, endpoint, post, reaching, register, text,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_tried_for_75_hours_and_then_given_up() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    receiver.answer(vec![Reply::of(500); 10]);
    let made = register(&app, &receiver.url(), &["order.paid"]).await;
    emit(&app, EventType::OrderPaid, json!({"id": "ord_1"})).await;
    let clock = a_clock();
    let mut deliverer = deliverer(&app, &clock);
    assert_eq!(deliver(&mut deliverer).await, 1);
    let begun = clock.now();
    for (tried, pause) in limits::WEBHOOK_PAUSES.iter().enumerate() {
        clock.advance(*pause - Duration::from_millis(1));
        assert_eq!(deliver(&mut deliverer).await, 0, "try {tried} is early");
        clock.advance(*pause / 10 + Duration::from_millis(1));
        assert_eq!(deliver(&mut deliverer).await, 1, "try {tried} is due");
    }
    assert!(clock.now() - begun > Duration::from_secs(75 * 3600));
    clock.advance(Duration::from_secs(100 * 3600));
    assert_eq!(deliver(&mut deliverer).await, 0);
    let sent = receiver.sent();
    assert_eq!(sent.len(), 10);
    for one in &sent {
        assert_eq!(one.header("webhook-id"), sent[0].header("webhook-id"));
        assert_eq!(one.body, sent[0].body);
    }
    assert_ne!(
        sent[0].header("webhook-signature"),
        sent[9].header("webhook-signature"),
        "each try is signed with its own time"
    );
    let log = deliveries(&app, text(&made, "/id")).await;
    assert_eq!(
        (&log[0]["state"], &log[0]["attempts"]),
        (&json!("exhausted"), &json!(10))
    );
    // nothing is overdue, and what was given up is counted for a day
    let ended = clock.now() - Duration::from_secs(100 * 3600);
    let worker = app.db.pool(DatabaseRole::Worker);
    let gauges = upkeep::measure(&worker, ended).await.unwrap();
    assert_eq!((gauges.overdue_ms, gauges.exhausted), (0, 1));
    let gauges = upkeep::measure(&worker, clock.now()).await.unwrap();
    assert_eq!(gauges.exhausted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_says_when_to_come_back() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    let clock = a_clock();
    let date = "%a, %d %b %Y %H:%M:%S GMT";
    let until = (clock.now() + Duration::from_secs(7200))
        .format(&time::format_description::parse_strftime_owned(date).unwrap())
        .unwrap();
    receiver.answer([
        Reply::of(429).with("retry-after", "3600"),
        Reply::of(503).with("retry-after", &until),
        Reply::of(500).with("retry-after", "9999"),
    ]);
    register(&app, &receiver.url(), &["order.paid"]).await;
    emit(&app, EventType::OrderPaid, json!({})).await;
    let mut deliverer = deliverer(&app, &clock);
    assert_eq!(deliver(&mut deliverer).await, 1);
    for (early, rest) in [(3599, 1), (3599, 1)] {
        clock.advance(Duration::from_secs(early));
        assert_eq!(deliver(&mut deliverer).await, 0);
        clock.advance(Duration::from_secs(rest));
        assert_eq!(deliver(&mut deliverer).await, 1);
    }
    // a plain failure is not heard
    clock.advance(limits::WEBHOOK_PAUSES[2] * 11 / 10);
    assert_eq!(deliver(&mut deliverer).await, 1);
    assert_eq!(receiver.sent().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_told_no_more() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply::of(410)]);
    let made = register(&app, &receiver.url(), &["*"]).await;
    let id = text(&made, "/id");
    emit(&app, EventType::OrderPaid, json!({})).await;
    let clock = a_clock();
    let mut deliverer = deliverer(&app, &clock);
    assert_eq!(deliver(&mut deliverer).await, 1);
    assert_eq!(endpoint(&app, id).await["state"], "gone");
    emit(&app, EventType::OrderPaid, json!({})).await;
    clock.advance(Duration::from_secs(3600));
    assert_eq!(deliver(&mut deliverer).await, 0);
    assert_eq!(receiver.sent().len(), 1);
    let page = app
        .admin
        .get("/v1/events?type=webhook_endpoint.disabled")
        .await;
    let data = page.expect(200).json()["data"][0]["data"].clone();
    check_told("webhook_endpoint.disabled", &data);
    assert_eq!(
        (&data["id"], &data["reason"]),
        (&made["id"], &json!("gone"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_for_days_is_disabled() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    receiver.answer(vec![
        Reply::of(302).with("location", "http://127.0.0.1:9/");
        3
    ]);
    let made = register(&app, &receiver.url(), &["order.paid"]).await;
    let id = text(&made, "/id");
    let clock = a_clock();
    let mut deliverer = deliverer(&app, &clock);
    for days in [3, 3, 0] {
        emit(&app, EventType::OrderPaid, json!({})).await;
        deliver(&mut deliverer).await;
        clock.advance(Duration::from_secs(days * 24 * 3600));
    }
    let found = endpoint(&app, id).await;
    assert_eq!(found["state"], "failing");
    assert!(found["failing_since"].is_string());
    let log = deliveries(&app, id).await;
    let tried = log.iter().find(|one| one["attempts"] == 1).expect("a try");
    assert_eq!(tried["tries"][0]["status"], 302);
    assert!(text(tried, "/tries/0/error").contains("redirects"));
    assert_eq!(deliver(&mut deliverer).await, 0, "what waited is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_succeeds_again_is_failing_no_more() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply::of(500)]);
    let made = register(&app, &receiver.url(), &["order.paid"]).await;
    let clock = a_clock();
    let mut deliverer = deliverer(&app, &clock);
    for is_failing in [true, false] {
        emit(&app, EventType::OrderPaid, json!({})).await;
        assert_eq!(deliver(&mut deliverer).await, 1);
        let found = endpoint(&app, text(&made, "/id")).await;
        assert_eq!(found["failing_since"].is_string(), is_failing, "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_had_taken_comes_back() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    register(&app, &receiver.url(), &["order.paid"]).await;
    emit(&app, EventType::OrderPaid, json!({})).await;
    let clock = a_clock();
    let worker = app.db.pool(DatabaseRole::Worker);
    let mut db = worker.acquire().await.unwrap();
    // it is taken, and the worker dies before it has told anybody
    let taken = claim(&mut db, 64, &[], clock.now()).await.unwrap();
    assert_eq!(taken.len(), 1);
    let mut deliverer = deliverer(&app, &clock);
    assert_eq!(deliver(&mut deliverer).await, 0);
    clock.advance(limits::WEBHOOK_CLAIM_TIME);
    // or it lives, and is only slow: then the endpoint is told twice, and what it writes changes nothing
    assert_eq!(deliverer.step().await.unwrap(), 1);
    let late = Settled {
        outcome: Outcome::Failed,
        next_at: None,
        status: Some(500),
        error: None,
        response: "",
        took_ms: 1,
    };
    let settled = settle(&mut db, &taken[0], &late, clock.now())
        .await
        .unwrap();
    assert_eq!(settled, None);
    deliverer.finish().await;
    assert_eq!(receiver.sent().len(), 1);
    let states: Vec<(String, i32)> = sqlx::query_as("select state, attempts from webhook_delivery")
        .fetch_all(&app.db.owner)
        .await
        .unwrap();
    assert_eq!(states, [("succeeded".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_endpoint_keeps_no_other_waiting() {
    let app = App::start().await;
    let (slow, fast) = (Receiver::start().await, Receiver::start().await);
    let wait = Duration::from_secs(5);
    slow.answer(vec![Reply::of(200).after(wait); 200]);
    for receiver in [&slow, &fast] {
        register(&app, &receiver.url(), &["order.paid"]).await;
    }
    for id in 0..100 {
        emit(&app, EventType::OrderPaid, json!({ "id": id })).await;
    }
    let clock = a_clock();
    let mut deliverer = deliverer(&app, &clock);
    let begun = Instant::now();
    while fast.sent().len() < 100 {
        deliverer.step().await.unwrap();
        deliverer.wait(Duration::from_millis(20)).await;
        assert!(begun.elapsed() < wait, "{} were told", fast.sent().len());
    }
    let most = usize::try_from(limits::WEBHOOK_ENDPOINT_DELIVERIES).unwrap();
    assert!(slow.sent().len() <= most, "{}", slow.sent().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_to_addresses_that_are_not_public() {
    let addresses = Addresses::new(Reach::Public);
    for (url, expected) in [
        ("https://127.0.0.1/", AddressError::Private),
        ("https://2130706433/", AddressError::Private),
        ("https://0x7f.1/", AddressError::Private),
        ("https://[::1]/", AddressError::Private),
        ("https://[::ffff:10.0.0.1]/", AddressError::Private),
        (
            "https://169.254.169.254/latest/meta-data",
            AddressError::Private,
        ),
        ("https://localhost/", AddressError::Private),
        (
            "http://1.1.1.1/",
            AddressError::Url("it has to begin with https://"),
        ),
        (
            "https://1.1.1.1:22/",
            AddressError::Url("its port is 443 or one from 1024 on"),
        ),
    ] {
        let found = addresses.look_up(url).await;
        assert_eq!(found.err(), Some(expected), "{url}");
    }
    assert!(addresses.look_up("https://1.1.1.1/").await.is_ok());
    assert!(addresses.look_up("https://1.1.1.1:8443/").await.is_ok());

    // one that was registered in development is refused at the door
    let app = App::start().await;
    let receiver = Receiver::start().await;
    let made = register(&app, &receiver.url(), &["order.paid"]).await;
    let local = format!("https://localhost:{}/", receiver.port);
    let by_name = register(&app, &local, &["order.paid"]).await;
    emit(&app, EventType::OrderPaid, json!({})).await;
    let clock = a_clock();
    assert_eq!(deliver(&mut reaching(&app, &clock, Reach::Public)).await, 2);
    assert!(receiver.sent().is_empty());
    for (endpoint, why) in [(&made, "https://"), (&by_name, "not public")] {
        let log = deliveries(&app, text(endpoint, "/id")).await;
        let error = text(&log[0], "/tries/0/error");
        assert!(error.contains(why), "{error}");
        assert!(!error.contains(&receiver.port.to_string()), "{error}");
    }
}

/// A resolver whose answers follow one another; the last one stays.
struct Changing {
    answers: Mutex<Vec<Vec<SocketAddr>>>,
    asked: Arc<AtomicUsize>,
}

impl Resolve for Changing {
    fn resolve(&self, _: Name) -> Resolving {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().expect("a lock");
        let answer = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.remove(0),
        };
        Box::pin(std::future::ready(
            Ok(Box::new(answer.into_iter()) as Addrs),
        ))
    }
}

fn changing(reach: Reach, answers: &[&[&str]]) -> (Addresses, Arc<AtomicUsize>) {
    let address = |text: &&str| SocketAddr::new(text.parse().expect("an address"), 0);
    let answers = answers.iter().map(|all| all.iter().map(address).collect());
    let asked = Arc::new(AtomicUsize::new(0));
    let resolver = Changing {
        answers: Mutex::new(answers.collect()),
        asked: asked.clone(),
    };
    (Addresses::resolving(reach, Arc::new(resolver)), asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_resolves_otherwise_later_gains_nothing() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    let clock = a_clock();
    let send = async |addresses: Addresses| {
        emit(&app, EventType::OrderPaid, json!({})).await;
        let pool = app.db.pool(DatabaseRole::Worker);
        let sender = Sender::new(addresses, clock.clone()).expect("a client");
        let mut deliverer = Deliverer::new(pool, sender, clock.clone(), Entropy::system());
        assert_eq!(deliver(&mut deliverer).await, 1);
        clock.advance(Duration::from_secs(1));
    };
    let url = format!("https://shop.example:{}/", receiver.port);
    let (addresses, _) = changing(Reach::Public, &[&["1.1.1.1"], &["127.0.0.1"]]);
    assert!(
        addresses.look_up(&url).await.is_ok(),
        "public when registered"
    );
    let made = register(&app, "http://127.0.0.1:9/", &["order.paid"]).await;
    let point = async |url: &str| {
        sqlx::query("update webhook_endpoint set url = $1")
            .bind(url)
            .execute(&app.db.owner)
            .await
            .unwrap();
    };
    point(&url).await;
    send(addresses).await;
    let log = deliveries(&app, text(&made, "/id")).await;
    let error = text(&log[0], "/tries/0/error");
    assert!(error.contains("not public"), "{error}");
    // one address that is not public among others is enough
    let (addresses, _) = changing(Reach::Public, &[&["1.1.1.1", "10.0.0.1"]]);
    assert_eq!(
        addresses.look_up(&url).await.err(),
        Some(AddressError::Private)
    );
    assert!(receiver.sent().is_empty());

    // it is asked once a connection, and connected to is what it said
    sqlx::query(
        "update webhook_delivery set state = 'dropped', ended_at = now() where state = 'pending'",
    )
    .execute(&app.db.owner)
    .await
    .unwrap();
    point(&format!("http://shop.example:{}/", receiver.port)).await;
    let (addresses, asked) = changing(Reach::Anywhere, &[&["127.0.0.1"], &["192.0.2.1"]]);
    send(addresses).await;
    assert_eq!(receiver.sent().len(), 1);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(
        receiver.sent()[0].header("host"),
        format!("shop.example:{}", receiver.port)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_listen_is_tried_again() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    let url = receiver.url();
    drop(receiver);
    let made = register(&app, &url, &["ping"]).await;
    let path = format!("/v1/webhook_endpoints/{}/test", text(&made, "/id"));
    post(&app.admin, &path, &json!({})).await.expect(202);
    let clock = a_clock();
    assert_eq!(deliver(&mut deliverer(&app, &clock)).await, 1);
    let log = deliveries(&app, text(&made, "/id")).await;
    assert_eq!(log[0]["state"], "pending");
    assert!(text(&log[0], "/tries/0/error").starts_with("no connection"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_counts_however_slowly_the_rest_comes() {
    let app = App::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/told", listener.local_addr().unwrap());
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // an answer before anything was asked would be no answer to it
        let asked = stream.read(&mut [0; 4096]).await.unwrap();
        assert!(asked > 0);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nslow";
        stream.write_all(answer).await.unwrap();
        std::future::pending::<()>().await;
    });
    let made = register(&app, &url, &["order.paid"]).await;
    emit(&app, EventType::OrderPaid, json!({})).await;
    let mut deliverer = deliverer(&app, &a_clock());
    assert_eq!(deliver(&mut deliverer).await, 1);
    answering.abort();
    let log = deliveries(&app, text(&made, "/id")).await;
    assert_eq!(log[0]["state"], "succeeded", "{log:?}");
    assert_eq!(log[0]["tries"][0]["response"], "slow");
}
