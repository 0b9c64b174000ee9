//! Somebody who calls the shop: at any of the processes, again and again until there is an answer, with the
//! same key; who sometimes hangs up, and sometimes asks once more for what is answered already.

use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::site::{Kept, Site};
use crate::harness::{Answer, Client, Dice, PASSWORD};

/// How long one answer is waited for: then the process is frozen.
const PATIENT: Duration = Duration::from_secs(15);
/// How long one is tried for.
const STUBBORN: Duration = Duration::from_secs(120);
/// What says "not yet": nothing was decided.
const LATER: [&str; 6] = [
    "idempotency_in_flight",
    "database_unavailable",
    "payment_unavailable",
    "overloaded",
    "rate_limited",
    "timeout",
];

/// A caller.
pub(super) struct Caller {
    site: Arc<Site>,
    /// Who, whatever the token of the moment.
    name: String,
    client: Client,
    urls: Vec<String>,
    pub(super) dice: Dice,
    keys: u64,
}

impl Caller {
    /// One of this name with a key or a token.
    pub(super) fn new(site: &Arc<Site>, name: &str, key: &str, dice: Dice) -> Self {
        let urls = site.fleet.urls();
        Self {
            client: Client::new(&urls[0], Some(key)),
            site: site.clone(),
            name: name.to_owned(),
            urls,
            dice,
            keys: 0,
        }
    }

    /// An idempotency key that nobody has used.
    pub(super) fn key(&mut self, what: &str) -> String {
        self.keys += 1;
        format!("{what}-{}-{}", self.keys, self.dice.below(1_000_000_000))
    }

    /// Whether something happens that happens this often of a hundred.
    pub(super) fn is_so(&self, of_a_hundred: usize) -> bool {
        self.dice.below(100) < of_a_hundred
    }

    /// Reads.
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    /// Puts.
    pub(super) async fn put(&self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.ask(Method::PUT, path, &headers, &body.to_string())
            .await
    }

    /// Posts under a key that is remembered by nobody but the payment provider.
    pub(super) async fn post(&self, path: &str, key: &str, body: &str) -> Answer {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        self.ask(Method::POST, path, &headers, body).await
    }

    /// Has something done once: the answer is kept, and the same to the last byte whenever it is asked for.
    pub(super) async fn command(&self, path: &str, key: &str, body: &str) -> Answer {
        let answer = self.post(path, key, body).await;
        if !(200..300).contains(&answer.status) {
            return answer;
        }
        let kept = Kept {
            path: path.to_owned(),
            body: body.to_owned(),
            status: answer.status,
            text: answer.text.clone(),
        };
        if self.is_so(20) {
            self.repeat(key, &kept).await;
        }
        let mut all = self
            .site
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = all.insert((self.name.clone(), key.to_owned()), kept);
        assert!(before.is_none(), "{key} was used twice");
        answer
    }

    /// Asks again for what is answered.
    pub(super) async fn repeat(&self, key: &str, kept: &Kept) {
        let again = self.post(&kept.path, key, &kept.body).await;
        assert_eq!(
            (again.status, &again.text),
            (kept.status, &kept.text),
            "{key} has another answer than before"
        );
        assert_eq!(again.header("idempotent-replayed"), "true", "{again:?}");
    }

    /// Asks until it is answered for good.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let began = Instant::now();
        while began.elapsed() < STUBBORN {
            let client = self.client.at(self.dice.pick::<String>(&self.urls));
            let sending = client.try_send(method.clone(), path, headers, body.to_owned());
            let patience = match self.dice.below(10) {
                0 => self.dice.time(1, 60),
                _ => PATIENT,
            };
            if let Ok(Ok(answer)) = timeout(patience, sending).await
                && is_final(&answer, path)
            {
                return answer;
            }
            sleep(self.dice.time(10, 250)).await;
        }
        panic!("{method} {path} {body} has no answer");
    }

    /// A new token, of a customer whose last one is too old.
    pub(super) async fn log_in(&mut self, email: &str) {
        let body = json!({"merchant_id": self.site.merchant, "email": email, "password": PASSWORD});
        let headers = [("content-type", "application/json")];
        let nobody = self.client.with_key(None);
        let began = Instant::now();
        while began.elapsed() < STUBBORN {
            let client = nobody.at(self.dice.pick::<String>(&self.urls));
            let sending =
                client.try_send(Method::POST, "/v1/auth/login", &headers, body.to_string());
            if let Ok(Ok(answer)) = timeout(PATIENT, sending).await
                && answer.status == 200
            {
                let token = answer.json()["tokens"]["access_token"]
                    .as_str()
                    .map(str::to_owned);
                self.client = self.client.with_key(token.as_deref());
                return;
            }
            sleep(self.dice.time(200, 1_000)).await;
        }
        panic!("{email} cannot sign in");
    }
}

/// Whether an answer is one for good; none may be a fault of ours.
fn is_final(answer: &Answer, path: &str) -> bool {
    if answer.status < 400 {
        return true;
    }
    let problem = answer.any_problem();
    let code = problem["code"].as_str().expect("a code");
    if LATER.contains(&code) {
        return false;
    }
    assert!(answer.status < 500, "{path}: {}", answer.text);
    true
}
