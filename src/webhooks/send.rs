//! One try of a delivery: a POST, and what came of it.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT};
use reqwest::{Client, Response, StatusCode, redirect};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::{Instant, timeout_at};

use super::address::{AddressError, Addresses};
use super::signature::{Keys, SecretError};
use super::store::deliveries::Claimed;
use crate::clock::{Clock, rfc3339_ms};
use crate::ids::EventId;
use crate::limits;

/// How long a connection that was used is kept for the next delivery.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// Characters of an error that are kept.
const ERROR_CHARS: usize = 200;

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// What the endpoint answered.
    pub status: Option<u16>,
    /// Why there was no answer, or none that counts.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub response: String,
    /// How long the endpoint wants to be left alone.
    pub retry_after: Option<Duration>,
    /// How long it took.
    pub took: Duration,
}

impl Tried {
    /// Whether the endpoint has it.
    pub fn is_success(&self) -> bool {
        self.error.is_none()
            && self
                .status
                .is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether the endpoint wants no more of them.
    pub fn is_gone(&self) -> bool {
        self.status == Some(StatusCode::GONE.as_u16())
    }
}

/// Sends deliveries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sender {
    http: Client,
    addresses: Addresses,
    clock: Clock,
}

impl Sender {
    /// One that connects to these addresses alone, by no proxy: it would resolve names by itself.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(addresses: Addresses, clock: Clock) -> Result<Self, reqwest::Error> {
        // the features chosen for the product leave this choice to the program
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder()
            .dns_resolver(addresses.clone())
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .pool_idle_timeout(IDLE_TIME)
            .timeout(limits::WEBHOOK_TIME)
            .build()?;
        Ok(Self {
            http,
            addresses,
            clock,
        })
    }

    /// Tells an endpoint of an event.
    pub async fn send(&self, delivery: &Claimed) -> Tried {
        let start = self.clock.elapsed();
        let mut tried = match self.post(delivery).await {
            Ok(tried) => tried,
            Err(error) => failed(error.to_string()),
        };
        tried.took = self.clock.elapsed().saturating_sub(start);
        tried
    }

    async fn post(&self, delivery: &Claimed) -> Result<Tried, SendError> {
        // a name that is an IP address is asked of no resolver
        let url = self.addresses.judge(&delivery.url)?;
        let body = body(delivery);
        let request = self.http.post(url).headers(self.headers(delivery, &body)?);
        let response = request.body(body).send().await.map_err(Unsent::new)?;
        Ok(read(response, self.clock.now()).await)
    }

    fn headers(&self, delivery: &Claimed, body: &str) -> Result<HeaderMap, SendError> {
        let id = EventId(delivery.event_id).to_string();
        let timestamp = self.clock.now().unix_timestamp();
        let keys = Keys::new(delivery.hmac_keys.clone(), &delivery.seeds)?;
        let signature = keys.sign(&id, timestamp, body.as_bytes())?;
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", id),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signature),
        ] {
            // all of it is ASCII
            if let Ok(value) = value.try_into() {
                headers.insert(name, value);
            }
        }
        headers.insert(
            CONTENT_TYPE,
            "application/json".parse().map_err(|_| SecretError)?,
        );
        headers.insert(
            USER_AGENT,
            "counterfoil-webhooks/1".parse().map_err(|_| SecretError)?,
        );
        Ok(headers)
    }
}

/// What is sent: the same bytes every time.
pub fn body(delivery: &Claimed) -> String {
    let Claimed {
        r#type,
        data,
        created_at,
        ..
    } = delivery;
    // a type is ASCII without quotation marks
    let timestamp = rfc3339_ms(*created_at);
    format!(r#"{{"type":"{type}","timestamp":"{timestamp}","data":{data}}}"#)
}

/// Why nothing was answered.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("{0}")]
    Address(#[from] AddressError),
    #[error("{0}")]
    Secret(#[from] SecretError),
    #[error("{0}")]
    Unsent(#[from] Unsent),
}

/// The words of a client's error that are of use to whoever runs the endpoint; never its whole address, which
/// may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unsent(String);

impl Unsent {
    fn new(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut words = if error.is_timeout() {
            "no answer in time".to_owned()
        } else if error.is_connect() {
            "no connection".to_owned()
        } else {
            "the connection ended before an answer".to_owned()
        };
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            source = cause.source();
            // the innermost says why
            if source.is_none() {
                words.push_str(": ");
                words.push_str(&cause.to_string());
            }
        }
        Self(words)
    }
}

fn failed(error: String) -> Tried {
    Tried {
        status: None,
        error: Some(error.chars().take(ERROR_CHARS).collect()),
        response: String::new(),
        retry_after: None,
        took: Duration::ZERO,
    }
}

async fn read(mut response: Response, now: OffsetDateTime) -> Tried {
    let status = response.status();
    let retry_after = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => wait(&response, now),
        _ => None,
    };
    let mut bytes = Vec::new();
    // the status is the answer, whatever becomes of the rest and however slowly it comes
    let until = Instant::now() + limits::WEBHOOK_ANSWER_TIME;
    while let Ok(Ok(Some(chunk))) = timeout_at(until, response.chunk()).await {
        let room = limits::WEBHOOK_ANSWER_BYTES - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if bytes.len() == limits::WEBHOOK_ANSWER_BYTES {
            break;
        }
    }
    let error = status
        .is_redirection()
        .then(|| "redirects are not followed: register the address that it leads to".to_owned());
    let text = String::from_utf8_lossy(&bytes);
    let kept = text.chars().filter(|c| *c != '\0');
    Tried {
        status: Some(status.as_u16()),
        error,
        response: kept.take(limits::WEBHOOK_ANSWER_CHARS).collect(),
        retry_after,
        took: Duration::ZERO,
    }
}

/// How long the endpoint wants to be left alone: seconds, or until a date (RFC 9110, 10.2.3).
fn wait(response: &Response, now: OffsetDateTime) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Duration::try_from(until - now).ok()
}
