//! Rates from a real feed on this machine, with everything that a feed does wrong; and the wei that sales are
//! given by them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{Response, header};
use axum::routing::get;
use counterfoil::clock::{Clock, from_unix_ms, unix_ms};
use counterfoil::config::RateArgs;
use counterfoil::limits;
use counterfoil::money::Currency;
use counterfoil::rates::exchange::{Conversion, Exchange};
use counterfoil::rates::refresh::Refresher;
use counterfoil::rates::settings;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::harness::{App, Client, Running, sale};

const START_MS: i64 = 1_800_000_000_000;

/// What the feed does next.
#[derive(Debug, Clone)]
enum Does {
    Answers(u16, String),
    /// 429, after so long.
    Limits(Option<String>),
    /// Not before that.
    Late(Duration),
    /// Sends more than anybody reads.
    Floods,
}

#[derive(Clone)]
struct Feed {
    does: Arc<Mutex<Does>>,
    asked: Arc<Mutex<Vec<String>>>,
    url: String,
}

async fn answer(State(feed): State<Feed>, RawQuery(query): RawQuery) -> Response<Body> {
    feed.asked
        .lock()
        .expect("a lock")
        .push(query.unwrap_or_default());
    let does = feed.does.lock().expect("a lock").clone();
    let response = Response::builder();
    let response = match does {
        Does::Answers(status, text) => response.status(status).body(text.into()),
        Does::Limits(None) => response.status(429).body(Body::empty()),
        Does::Limits(Some(after)) => response
            .status(429)
            .header(header::DATE, "Fri, 15 Jan 2027 08:00:00 GMT")
            .header(header::RETRY_AFTER, after)
            .body(Body::empty()),
        Does::Late(pause) => {
            tokio::time::sleep(pause).await;
            response.body(Body::empty())
        }
        Does::Floods => response.body(vec![b' '; limits::RATE_BYTES + 1].into()),
    };
    response.expect("an answer")
}

impl Feed {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!(
            "http://{}/api/v3",
            listener.local_addr().expect("an address")
        );
        let feed = Self {
            does: Arc::new(Mutex::new(Does::Answers(500, String::new()))),
            asked: Arc::default(),
            url,
        };
        let routes = Router::new()
            .route("/api/v3/simple/price", get(answer))
            .with_state(feed.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        feed
    }

    fn does(&self, what: Does) {
        *self.does.lock().expect("a lock") = what;
    }

    /// Has it say that an ETH is worth so many rupees since `at`.
    fn says(&self, inr: &str, at: &Clock) {
        let seconds = unix_ms(at.now()) / 1000;
        let text = format!(r#"{{"ethereum":{{"inr":{inr},"last_updated_at":{seconds}}}}}"#);
        self.does(Does::Answers(200, text));
    }
}

struct Rates {
    feed: Feed,
    clock: Clock,
    exchange: Exchange,
    refresher: Refresher,
}

impl Rates {
    async fn start(emergency: &[&str]) -> Self {
        let feed = Feed::start().await;
        let clock = Clock::manual(from_unix_ms(START_MS));
        let args = RateArgs {
            rate_currencies: vec!["INR".to_owned()],
            rate_url: feed.url.clone(),
            rate_key: None,
            rate_emergency: emergency.iter().map(|&text| text.to_owned()).collect(),
        };
        let (exchange, refresher) = settings::of(&args, &clock).expect("rates");
        Self {
            feed,
            clock,
            exchange,
            refresher: refresher.expect("a feed"),
        }
    }

    /// The rate of 1,500.75 rupees now.
    fn rate(&self) -> Option<Conversion> {
        let inr = Currency::from_code("INR").expect("rupees");
        self.exchange.convert(150_075, inr, self.clock.now())
    }

    fn told(&self) -> Option<(String, &'static str)> {
        self.rate().map(|rate| (rate.value, rate.tier))
    }

    /// Says `inr`, is asked, and what sales are told then.
    async fn next(&mut self, inr: &str) -> (Option<(String, &'static str)>, Duration) {
        self.feed.says(inr, &self.clock);
        let pause = self.refresher.step().await;
        (self.told(), pause)
    }

    /// The same a second later.
    async fn later(&mut self, inr: &str) -> (Option<(String, &'static str)>, Duration) {
        self.clock.advance(Duration::from_secs(1));
        self.next(inr).await
    }
}

fn live(value: &str) -> Option<(String, &'static str)> {
    Some((value.to_owned(), "live"))
}

fn fixed(value: &str) -> Option<(String, &'static str)> {
    Some((value.to_owned(), "emergency"))
}

#[tokio::test]
async fn a_cold_start_uses_the_emergency_rate_and_says_so() {
    let mut rates = Rates::start(&["INR=240000.00"]).await;
    rates.clock.advance(Duration::from_secs(2));
    let rate = rates.rate().expect("a rate");
    assert_eq!(
        (rate.tier, rate.source.as_str()),
        ("emergency", "configuration")
    );
    assert_eq!(
        (rate.value.as_str(), rate.age_ms.as_str()),
        ("240000", "2000")
    );
    // 1,500.75 ÷ 240,000
    assert_eq!(rate.wei, "6253125000000000");
    let (told, pause) = rates.next("250000.50").await;
    assert_eq!((told, pause), (live("250000.5"), limits::RATE_REFRESH));
    let rate = rates.rate().expect("a rate");
    assert_eq!(
        (rate.base, rate.quote, rate.source.as_str()),
        ("ETH", "INR", "127.0.0.1")
    );
    assert_eq!(rate.as_of, "2027-01-15T08:00:02.000Z");
    let asked = rates.feed.asked.lock().unwrap().clone();
    assert!(
        asked[0].contains("ids=ethereum&vs_currencies=inr&include_last_updated_at=true"),
        "{asked:?}"
    );
    // without either there is none
    let none = Rates::start(&[]).await;
    assert_eq!(none.rate(), None);
}

#[tokio::test]
async fn a_live_rate_is_used_for_a_minute() {
    let mut rates = Rates::start(&["INR=240000"]).await;
    assert_eq!(rates.next("250000").await.0, live("250000"));
    rates.clock.advance(Duration::from_secs(60));
    assert_eq!(rates.told(), live("250000"));
    assert_eq!(rates.rate().expect("a rate").age_ms, "60000");
    rates.clock.advance(Duration::from_millis(1));
    assert_eq!(rates.told(), fixed("240000"));
    assert_eq!(rates.next("251000").await.0, live("251000"));
}

#[tokio::test]
async fn what_is_no_answer_changes_nothing() {
    let mut rates = Rates::start(&["INR=240000"]).await;
    assert_eq!(rates.next("250000").await.0, live("250000"));
    let old = unix_ms(rates.clock.now()) / 1000 - 301;
    let ahead = old + 301 + 61;
    let price = |price: &str, at: i64| {
        format!(r#"{{"ethereum":{{"inr":{price},"last_updated_at":{at}}}}}"#)
    };
    let now = ahead - 61;
    let ok = |text: &str| Does::Answers(200, text.to_owned());
    for does in [
        Does::Answers(500, String::new()),
        Does::Answers(302, String::new()),
        Does::Answers(404, price("260000", now)),
        ok(""),
        ok("{}"),
        ok("[]"),
        ok("<html>"),
        ok(r#"{"ethereum":{}}"#),
        ok(r#"{"ethereum":{"inr":260000}}"#),
        ok(&price("0", now)),
        ok(&price("-260000", now)),
        ok(&price("\"260000\"", now)),
        ok(&price("null", now)),
        ok(&price("1e400", now)),
        // stale, and from a clock that is wrong
        ok(&price("260000", old)),
        ok(&price("260000", ahead)),
        Does::Floods,
    ] {
        rates.feed.does(does.clone());
        rates.refresher.step().await;
        assert_eq!(rates.told(), live("250000"), "{does:?}");
    }
    rates.feed.does(Does::Late(limits::RATE_TIME * 4));
    let began = tokio::time::Instant::now();
    rates.refresher.step().await;
    assert!(began.elapsed() < limits::RATE_TIME * 2);
    assert_eq!(rates.told(), live("250000"));
    assert_eq!(
        rates.next("251000").await,
        (live("251000"), limits::RATE_REFRESH)
    );
}

#[tokio::test]
async fn a_feed_that_wants_to_be_left_alone_is() {
    let mut rates = Rates::start(&["INR=240000"]).await;
    for (after, pause) in [
        (Some("120"), Duration::from_secs(120)),
        (
            Some("Fri, 15 Jan 2027 08:05:00 GMT"),
            Duration::from_secs(300),
        ),
        (Some("1000000"), limits::RATE_PAUSE),
        (Some("soon"), limits::RATE_AGE),
        (None, limits::RATE_AGE),
    ] {
        rates.feed.does(Does::Limits(after.map(str::to_owned)));
        assert_eq!(rates.refresher.step().await, pause, "{after:?}");
    }
    // other failures are tried again soon, and less and less often
    rates.next("250000").await;
    rates.feed.does(Does::Answers(503, String::new()));
    let mut pauses = Vec::new();
    for _ in 0..7 {
        pauses.push(rates.refresher.step().await.as_secs());
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
}

#[tokio::test]
async fn a_jump_is_not_believed_without_a_second_look() {
    let mut rates = Rates::start(&["INR=240000"]).await;
    assert_eq!(rates.later("250000").await.0, live("250000"));
    // 30 per cent are no jump
    assert_eq!(rates.later("325000").await.0, live("325000"));
    // one wrong answer
    let (told, pause) = rates.later("3250").await;
    assert_eq!((told, pause), (live("325000"), limits::RATE_SECOND_LOOK));
    assert_eq!(rates.later("324000").await.0, live("324000"));
    // two that say different things
    rates.later("500000").await;
    assert_eq!(rates.later("600000").await.0, live("324000"));
    // and a third that agrees with the second
    assert_eq!(
        rates.later("610000").await,
        (live("610000"), limits::RATE_REFRESH)
    );
    // at a cold start the emergency rate is what is compared with
    let mut cold = Rates::start(&["INR=240000"]).await;
    assert_eq!(cold.later("24").await.0, fixed("240000"));
    // what a feed says again of the same moment is no second look
    assert_eq!(cold.next("24").await.0, fixed("240000"));
    assert_eq!(cold.later("24").await.0, live("24"));
}

/// A server that converts by these fixed rates.
async fn serving(app: &App, emergency: &[&str]) -> (Running, Client) {
    let args = RateArgs {
        rate_emergency: emergency.iter().map(|&text| text.to_owned()).collect(),
        ..RateArgs::default()
    };
    let (exchange, _) = settings::of(&args, &Clock::system()).expect("rates");
    let server = Running::converting(&app.db, exchange, None).await;
    let client = app.admin.at(&server.url);
    (server, client)
}

fn details(view: &Value) -> &Value {
    &view["details"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_keeps_the_rate_that_it_was_recorded_by() {
    let app = App::start().await;
    let (_first, first) = serving(&app, &["INR=250000.00"]).await;
    let (_second, second) = serving(&app, &["INR=300000.00"]).await;
    let body = r#"{"orderid":"A-1","customeraddress":"0x70997970c51812dc3a010c7d01b50e0d17dc79c8","amountINR":1500.75}"#;
    let made = first
        .post("/transactions/record", "k", body)
        .await
        .expect(201);
    assert_eq!(made.json()["amount_wei"], "6003000000000000");
    // a retry that would be given another rate is the same sale, with the same bytes
    for client in [&second, &app.admin] {
        let again = client
            .post("/transactions/record", "k", body)
            .await
            .expect(201);
        assert_eq!(again.text, made.text);
        assert_eq!(again.header("idempotent-replayed"), "true");
    }
    let id = made.json()["transaction_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let view = app
        .admin
        .get(&format!("/v1/sales/{id}"))
        .await
        .expect(200)
        .json();
    let rate = &details(&view)["rate"];
    assert_eq!(rate["wei"], "6003000000000000");
    assert_eq!(
        (&rate["tier"], &rate["value"]),
        (&"emergency".into(), &"250000".into())
    );
    // a currency without a rate has none, and a server without rates neither
    let pounds = first.record("k-2", &sale("A-2")).await.expect(201).json();
    let view = first
        .get(&format!(
            "/v1/sales/{}",
            pounds["sale_id"].as_str().expect("an id")
        ))
        .await;
    assert!(details(&view.json()).get("rate").is_none());
    let other = body.replace("A-1", "A-3");
    let none = app
        .admin
        .post("/transactions/record", "k-3", other)
        .await
        .expect(201);
    assert_eq!(none.json()["amount_wei"], Value::Null);
}
