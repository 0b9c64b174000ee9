//! The clients of a storm. Each sends every request, in an order of its own, to any of the processes,
//! alone or in batches; hangs up in the middle, loses patience, and comes again until it has an answer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::plan::Plan;
use crate::harness::{Answer, Client, Dice, check_document};

/// How long a patient client waits: longer than the server may take.
const PATIENT: Duration = Duration::from_secs(45);
/// Items of a batch at most.
const BATCH: usize = 25;
/// What says "not yet": nothing was decided.
const LATER: [&str; 5] = [
    "idempotency_in_flight",
    "database_unavailable",
    "overloaded",
    "rate_limited",
    "timeout",
];

/// An answer for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definite {
    pub(super) status: u16,
    /// The body, byte for byte; of a refusal that is not kept, its code.
    pub(super) text: String,
}

/// What the clients of a storm share.
pub(super) struct Storm {
    pub(super) plan: Plan,
    /// Requests up to this one may be sent.
    pub(super) released: AtomicUsize,
    /// Nothing more will break.
    pub(super) over: AtomicBool,
    answers: Mutex<Vec<Option<Definite>>>,
    /// How often each thing was met.
    pub(super) tally: Tally,
}

/// Counts of what the clients met.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) sales: AtomicUsize,
    pub(super) refusals: AtomicUsize,
    pub(super) in_flight: AtomicUsize,
    pub(super) unavailable: AtomicUsize,
    pub(super) limited: AtomicUsize,
    pub(super) too_early: AtomicUsize,
    pub(super) hung_up: AtomicUsize,
    pub(super) broken: AtomicUsize,
}

impl Tally {
    fn of_code(&self, code: &str) -> &AtomicUsize {
        match code {
            "idempotency_in_flight" => &self.in_flight,
            "rate_limited" => &self.limited,
            "refund_sale_unknown" => &self.too_early,
            _ => &self.unavailable,
        }
    }
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Storm {
    /// Nothing is released yet.
    pub(super) fn new(plan: Plan) -> Self {
        let answers = plan.requests.iter().map(|_| None).collect();
        Self {
            plan,
            released: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            answers: Mutex::new(answers),
            tally: Tally::default(),
        }
    }

    /// What was answered so far.
    pub(super) fn answers(&self) -> Vec<Option<Definite>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.clone()
    }

    /// Takes an answer to a request; whether it is one for good. Such a one is the same for everybody,
    /// always.
    fn hear(&self, number: usize, status: u16, text: &str) -> bool {
        let request = &self.plan.requests[number];
        let definite = if status == 201 {
            count(&self.tally.sales);
            Definite {
                status,
                text: text.to_owned(),
            }
        } else {
            let problem: Value = serde_json::from_str(text).expect("JSON");
            check_document(&problem);
            let code = problem["code"].as_str().expect("a code");
            let too_early = code == "refund_sale_unknown" && request.body["refers_to"].is_string();
            if LATER.contains(&code) || too_early {
                count(self.tally.of_code(code));
                return false;
            }
            assert_eq!(Some(code), request.refusal, "{}: {text}", request.key);
            count(&self.tally.refusals);
            // what the database keeps is the same to the last byte, its request's id among them
            let is_kept = code != "idempotency_key_reused";
            let text = if is_kept { text } else { code };
            Definite {
                status,
                text: text.to_owned(),
            }
        };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match &answers[number] {
            Some(first) => assert_eq!(&definite, first, "{} had another answer", request.key),
            None => answers[number] = Some(definite),
        }
        true
    }
}

/// How an attempt is made.
enum Mood {
    /// Waits for the answer.
    Patient,
    /// Hangs up after this time.
    Impatient(Duration),
    /// Hangs up when this part of a hundred of the request is written.
    Torn(usize),
}

/// One client.
pub(super) struct Till {
    client: Client,
    urls: Vec<String>,
    storm: Arc<Storm>,
    dice: Dice,
    answered: Vec<bool>,
}

impl Till {
    /// A client with a key of the storm's merchant, for processes at these addresses.
    pub(super) fn new(storm: &Arc<Storm>, urls: &[String], key: &str, dice: Dice) -> Self {
        Self {
            client: Client::new(&urls[0], Some(key)),
            urls: urls.to_vec(),
            storm: storm.clone(),
            dice,
            answered: vec![false; storm.plan.requests.len()],
        }
    }

    /// Sends until every request has its answer and the storm is over; what it has is sent again
    /// meanwhile.
    pub(super) async fn run(mut self) {
        loop {
            let is_over = self.storm.over.load(Ordering::Acquire);
            let released = self.storm.released.load(Ordering::Acquire);
            let mut open: Vec<usize> = (0..released).filter(|n| !self.answered[*n]).collect();
            let has_all = open.is_empty();
            if is_over && has_all {
                return;
            }
            if has_all {
                sleep(self.dice.time(5, 25)).await;
                open = (0..released).collect();
            }
            if !open.is_empty() && !self.attempt(open).await {
                sleep(self.dice.time(5, 60)).await;
            }
        }
    }

    /// Sends some of these; whether the answer came.
    async fn attempt(&mut self, mut open: Vec<usize>) -> bool {
        self.dice.shuffle(&mut open);
        let url = self.dice.pick(&self.urls).clone();
        let client = self.client.at(&url);
        let mood = match self.dice.below(10) {
            0 => Mood::Torn(1 + self.dice.below(100)),
            1..=2 => Mood::Impatient(self.dice.time(1, 120)),
            _ => Mood::Patient,
        };
        if self.dice.below(3) == 0 {
            open.truncate(1 + self.dice.below(BATCH));
            self.send_batch(&client, &mood, &open).await
        } else {
            self.send_one(&client, &url, &mood, open[0]).await
        }
    }

    /// Sends one request alone.
    async fn send_one(&mut self, client: &Client, url: &str, mood: &Mood, number: usize) -> bool {
        let storm = self.storm.clone();
        let request = &storm.plan.requests[number];
        let body = request.body.to_string();
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", &*request.key),
        ];
        if let Mood::Torn(part) = mood {
            let lines: String = headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}\r\n"))
                .collect();
            let text = format!(
                "POST /v1/sales HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{lines}content-length: {}\r\n\r\n{body}",
                client.key(),
                body.len()
            );
            self.tear(url, &text[..text.len() * part / 100]).await;
            return false;
        }
        let sending = client.try_send(reqwest::Method::POST, "/v1/sales", &headers, body);
        let Some(answer) = self.wait(mood, sending).await else {
            return false;
        };
        let was_answered = self.answered[number];
        let is_definite = self.hear(number, &answer);
        if was_answered && answer.status == 201 {
            assert_eq!(answer.header("idempotent-replayed"), "true", "{answer:?}");
        }
        is_definite
    }

    /// Sends a request until it is answered for good, when nothing is broken any more.
    pub(super) async fn settle(&mut self, url: &str, number: usize) {
        let client = self.client.at(url);
        for _ in 0..300 {
            if self.send_one(&client, url, &Mood::Patient, number).await {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let key = &self.storm.plan.requests[number].key;
        panic!("{key} has no answer though all is well");
    }

    fn hear(&mut self, number: usize, answer: &Answer) -> bool {
        if answer.status != 201 {
            answer.any_problem();
        }
        let is_definite = self.storm.hear(number, answer.status, &answer.text);
        self.answered[number] |= is_definite;
        is_definite
    }

    /// Sends several in a batch, if its items are few enough for the mood.
    async fn send_batch(&mut self, client: &Client, mood: &Mood, numbers: &[usize]) -> bool {
        #[derive(Deserialize)]
        struct Item {
            status: u16,
            body: Box<RawValue>,
        }
        #[derive(Deserialize)]
        struct Items {
            items: Vec<Item>,
        }
        let storm = self.storm.clone();
        let items: Vec<Value> = numbers
            .iter()
            .map(|number| {
                let request = &storm.plan.requests[*number];
                let mut item = request.body.clone();
                item["idempotency_key"] = json!(request.key);
                item
            })
            .collect();
        let headers = [("content-type", "application/json")];
        let body = json!({ "items": items }).to_string();
        let sending = client.try_send(reqwest::Method::POST, "/v1/sales:batch", &headers, body);
        let Some(answer) = self.wait(mood, sending).await else {
            return false;
        };
        if answer.status != 200 {
            let problem = answer.any_problem();
            let code = problem["code"].as_str().expect("a code");
            assert!(LATER.contains(&code), "{}", answer.text);
            count(storm.tally.of_code(code));
            return false;
        }
        let answered: Items = serde_json::from_str(&answer.text).expect("items");
        assert_eq!(answered.items.len(), numbers.len());
        let mut all = true;
        for (number, item) in numbers.iter().zip(answered.items) {
            let is_definite = storm.hear(*number, item.status, item.body.get());
            self.answered[*number] |= is_definite;
            all &= is_definite;
        }
        all
    }

    /// The answer, unless the connection breaks or the mood is for hanging up.
    async fn wait(
        &self,
        mood: &Mood,
        sending: impl Future<Output = Result<Answer, reqwest::Error>>,
    ) -> Option<Answer> {
        let time = match mood {
            Mood::Patient => PATIENT,
            Mood::Impatient(time) => *time,
            Mood::Torn(_) => Duration::from_millis(1),
        };
        let tally = &self.storm.tally;
        match timeout(time, sending).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(_)) => count(&tally.broken),
            Err(_) => {
                assert!(
                    !matches!(mood, Mood::Patient),
                    "a request got no answer at all"
                );
                count(&tally.hung_up);
            }
        }
        None
    }

    /// Writes so much of a request and hangs up.
    async fn tear(&self, url: &str, text: &str) {
        let address = url.trim_start_matches("http://");
        let torn = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(text.as_bytes()).await
        };
        match torn.await {
            Ok(()) => count(&self.storm.tally.hung_up),
            Err(_) => count(&self.storm.tally.broken),
        }
    }
}
