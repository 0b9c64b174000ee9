//! One call over HTTP: one request, one answer or the reason why there is none.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::form::Form;
use crate::chain::install_tls;
use crate::http::keys::Mode;
use crate::payments::failure::PaymentError;
use crate::payments::object::{Decline, Intent, short};
use crate::telemetry;

/// The version of the API that answers are read by; an account's own default may be another.
const VERSION: &str = "2024-12-18.acacia";
/// How long connecting may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Bytes of an answer: a page of 100 intents is a third of it.
const ANSWER_BYTES: usize = 2 * 1024 * 1024;
/// Characters of an idempotency key.
const KEY_CHARS: usize = 255;

/// Where the provider is and as whom.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Its address, e.g. <https://api.stripe.com>.
    pub url: String,
    /// The secret key.
    pub key: SecretString,
    /// How long a call may take.
    pub timeout: Duration,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address is none.
    #[error("the payment provider's address is one such as https://api.stripe.com")]
    Address,
    /// The key would be readable on the way.
    #[error("a live payment key goes over https alone")]
    Plain,
    /// The key is none, or one that is public.
    #[error(
        "the payment key is a secret one: it begins with sk_test_ or sk_live_, or rk_ where it is restricted"
    )]
    Key,
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// The connection to a provider.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    http: reqwest::Client,
    base: Arc<Url>,
    host: Arc<str>,
}

/// What went on with a call, for the error.
#[derive(Clone, Copy)]
struct Call<'a> {
    name: &'static str,
    host: &'a Arc<str>,
    /// Whether it asks for something to be done.
    changes: bool,
}

impl Wire {
    pub(super) fn new(settings: &ProviderSettings) -> Result<(Self, Mode), SettingsError> {
        install_tls();
        let base = Url::parse(&settings.url).map_err(|_| SettingsError::Address)?;
        let host: Arc<str> = match (base.scheme(), base.host_str()) {
            ("http" | "https", Some(host)) if base.query().is_none() => host.into(),
            _ => return Err(SettingsError::Address),
        };
        let key = settings.key.expose_secret().trim();
        let mode = mode_of(key).ok_or(SettingsError::Key)?;
        if mode == Mode::Live && base.scheme() != "https" {
            return Err(SettingsError::Plain);
        }
        let mut bearer =
            HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| SettingsError::Key)?;
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
        headers.insert("stripe-version", HeaderValue::from_static(VERSION));
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIME)
            .timeout(settings.timeout)
            .default_headers(headers)
            // a key goes to the address it was given for and nowhere else
            .redirect(redirect::Policy::none());
        if is_loopback(&host) {
            client = client.no_proxy();
        }
        let http = client
            .build()
            .map_err(|error| SettingsError::Client(error.without_url()))?;
        let base = Arc::new(base);
        Ok((Self { http, base, host }, mode))
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Reads.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        name: &'static str,
        path: &[&str],
        query: &Form,
    ) -> Result<T, PaymentError> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.set_query(Some(&query.encode()));
        }
        let call = Call {
            name,
            host: &self.host,
            changes: false,
        };
        counted(name, call.send(self.http.get(url)).await)
    }

    /// Has something done, once for all repeats with this key.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        name: &'static str,
        path: &[&str],
        form: &Form,
        key: &str,
    ) -> Result<T, PaymentError> {
        let visible = !key.is_empty()
            && key.len() <= KEY_CHARS
            && key.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible {
            return Err(PaymentError::Invalid {
                call: name,
                status: 0,
                code: "idempotency_key".to_owned(),
                message: format!("a key has 1 to {KEY_CHARS} visible ASCII characters"),
            });
        }
        let request = self
            .http
            .post(self.url(path))
            .header("idempotency-key", key)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.encode());
        let call = Call {
            name,
            host: &self.host,
            changes: true,
        };
        counted(name, call.send(request).await)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = Url::clone(&self.base);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        url
    }
}

fn counted<T>(call: &'static str, answer: Result<T, PaymentError>) -> Result<T, PaymentError> {
    let outcome = match &answer {
        Ok(_) => "answered",
        Err(error) => error.class(),
    };
    metrics::counter!(telemetry::PAYMENT_CALLS, "call" => call, "outcome" => outcome).increment(1);
    answer
}

/// Whether a secret key is one for real money.
fn mode_of(key: &str) -> Option<Mode> {
    let is = |prefixes: [&str; 2]| {
        prefixes
            .iter()
            .any(|prefix| key.len() > prefix.len() && key.starts_with(prefix))
    };
    if is(["sk_live_", "rk_live_"]) {
        Some(Mode::Live)
    } else if is(["sk_test_", "rk_test_"]) {
        Some(Mode::Test)
    } else {
        None
    }
}

fn is_loopback(host: &str) -> bool {
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl Call<'_> {
    async fn send<T: DeserializeOwned>(self, request: RequestBuilder) -> Result<T, PaymentError> {
        let sent = request.send().await;
        let mut response = sent.map_err(|error| self.broken(&error))?;
        let body = self.body(&mut response).await?;
        if response.status().is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| self.unclear(format!("an answer that cannot be read: {error}")));
        }
        Err(self.refusal(&response, &body))
    }

    async fn body(self, response: &mut Response) -> Result<Vec<u8>, PaymentError> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.broken(&error))?
        {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(self.unclear("the answer is too large".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// A request without an answer. One that found nobody to take it did not happen.
    fn broken(self, error: &reqwest::Error) -> PaymentError {
        if error.is_connect() {
            return PaymentError::Unavailable {
                call: self.name,
                host: self.host.clone(),
                reason: "no connection".to_owned(),
            };
        }
        let reason = if error.is_timeout() {
            "no answer in time"
        } else {
            "the connection was cut"
        };
        self.unclear(reason.to_owned())
    }

    /// No answer: what was asked for may have been done; a read can simply be repeated.
    fn unclear(self, reason: String) -> PaymentError {
        let (call, host) = (self.name, self.host.clone());
        if self.changes {
            PaymentError::Unknown { call, host, reason }
        } else {
            PaymentError::Unavailable { call, host, reason }
        }
    }

    /// An answer that says no.
    fn refusal(self, response: &Response, body: &[u8]) -> PaymentError {
        let (call, host) = (self.name, self.host.clone());
        let status = response.status().as_u16();
        // a proxy's error is no JSON of the provider's
        let ErrorBody { error } = serde_json::from_slice(body).unwrap_or_default();
        let code = error.code.clone().or(error.kind.clone());
        let code = short(&code.unwrap_or_default());
        match (status, error.kind.as_deref(), code.as_str()) {
            (429, ..) => PaymentError::RateLimited {
                call,
                host,
                retry_after: retry_after(response.headers()),
            },
            (401 | 403, ..) => PaymentError::NotAllowed { call, host, status },
            (402, Some("card_error"), _) => PaymentError::Declined {
                call,
                decline: Decline {
                    code,
                    decline_code: error.decline_code.as_deref().map(short),
                    message: short(&error.message),
                },
                intent: error.payment_intent.map(Box::new),
            },
            (409, ..) => self.unclear("the same request is still under way".to_owned()),
            (400, Some("idempotency_error"), _) => PaymentError::KeyReused { call },
            // a means of payment that is none is the customer's mistake, not a lost object of ours
            (400..=499, _, "resource_missing")
                if error.param.as_deref() == Some("payment_method") =>
            {
                PaymentError::Invalid {
                    call,
                    status,
                    code,
                    message: short(&error.message),
                }
            }
            (404, Some(_), _) | (_, _, "resource_missing") => PaymentError::Missing { call },
            (400, _, "payment_intent_unexpected_state" | "charge_already_refunded") => {
                PaymentError::WrongState {
                    call,
                    code,
                    intent: error.payment_intent.map(Box::new),
                }
            }
            (400..=499, Some(_), _) => PaymentError::Invalid {
                call,
                status,
                code,
                message: short(&error.message),
            },
            // an error of the provider's own, or somebody else's answer: both may come after the work
            _ => self.unclear(format!("HTTP status {status}")),
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse();
    seconds.ok().map(Duration::from_secs)
}

#[derive(Deserialize, Default)]
struct ErrorBody {
    error: ErrorObject,
}

#[derive(Deserialize, Default)]
struct ErrorObject {
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    param: Option<String>,
    #[serde(default)]
    message: String,
    payment_intent: Option<Intent>,
}
