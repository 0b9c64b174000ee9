//! JSON-RPC over HTTP: one request, one answer, one time limit, errors by class.
//!
//! Written here and not taken from the chain library, whose transport puts the whole address of the
//! RPC (and with it the customer's key) into its spans and errors.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::{limits, telemetry};

/// Why a call of an RPC has no answer. Of the address only the host is ever part of it.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// It has no http or https address.
    #[error("the RPC's address is not one of http or https")]
    Address,
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    /// It did not answer in time.
    #[error("{method} at {host}: no answer within {} s", .limit.as_secs())]
    Timeout {
        /// The call.
        method: &'static str,
        /// Where.
        host: Arc<str>,
        /// How long was waited.
        limit: Duration,
    },
    /// It cannot be reached, or hung up.
    #[error("{method} at {host}: the connection failed")]
    Connection {
        /// The call.
        method: &'static str,
        /// Where.
        host: Arc<str>,
        /// What failed, without the address.
        #[source]
        source: reqwest::Error,
    },
    /// It answered with an HTTP error.
    #[error("{method} at {host}: HTTP status {status}")]
    Status {
        /// The call.
        method: &'static str,
        /// Where.
        host: Arc<str>,
        /// The status.
        status: u16,
    },
    /// It answered with an error of JSON-RPC.
    #[error("{method} at {host}: refused with code {code}: {message}")]
    Refused {
        /// The call.
        method: &'static str,
        /// Where.
        host: Arc<str>,
        /// The error's code.
        code: i64,
        /// The error's text.
        message: String,
    },
    /// It answered with something else.
    #[error("{method} at {host}: malformed answer: {reason}")]
    Malformed {
        /// The call.
        method: &'static str,
        /// Where.
        host: Arc<str>,
        /// What is wrong with it.
        reason: String,
    },
    /// It answers for a chain that it had told more of before.
    #[error("{host} is behind: its newest block is {number}, it had told of {highest}")]
    Behind {
        /// Where.
        host: Arc<str>,
        /// Height of its newest block.
        number: u64,
        /// Height of the newest it had told of.
        highest: u64,
    },
    /// It is of another chain than it was configured for.
    #[error("{host} is of chain {found}, not of chain {expected}")]
    OtherChain {
        /// Where.
        host: Arc<str>,
        /// Which chain it was to be.
        expected: u64,
        /// Which it is.
        found: u64,
    },
    /// Too few RPCs say the same.
    #[error("{method}: {answered} RPCs answered, and no {least} agree")]
    Disagree {
        /// The call.
        method: &'static str,
        /// How many gave an answer.
        answered: usize,
        /// How many must give the same.
        least: usize,
    },
    /// A call was cut off.
    #[error("a call was cut off")]
    CutOff(#[source] tokio::task::JoinError),
}

impl ChainError {
    /// Whether RPCs answered, and too few alike: what they were asked stays unknown.
    pub fn is_undecided(&self) -> bool {
        matches!(self, Self::Disagree { .. })
    }

    /// The class, as it stands in the metrics.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Address | Self::Client(_) => "configuration",
            Self::Timeout { .. } => "timeout",
            Self::Connection { .. } => "connection",
            Self::Status { .. } => "status",
            Self::Refused { .. } => "refused",
            Self::Malformed { .. } => "malformed",
            Self::Behind { .. } => "behind",
            Self::OtherChain { .. } => "other_chain",
            Self::Disagree { .. } => "disagrees",
            Self::CutOff(_) => "cut_off",
        }
    }
}

/// Chooses the cryptography of TLS for this process. May be called any number of times.
pub fn install_tls() {
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        tracing::trace!("the cryptography of TLS was chosen before");
    }
}

/// An endpoint.
#[derive(Debug, Clone)]
pub(super) struct Rpc {
    http: reqwest::Client,
    url: Arc<SecretString>,
    host: Arc<str>,
}

impl Rpc {
    pub(super) fn new(url: &SecretString) -> Result<Self, ChainError> {
        install_tls();
        let parsed = Url::parse(url.expose_secret()).map_err(|_| ChainError::Address)?;
        let host = match (parsed.scheme(), parsed.host_str()) {
            ("http" | "https", Some(host)) => host.into(),
            _ => return Err(ChainError::Address),
        };
        let http = reqwest::Client::builder()
            .timeout(limits::RPC_TIME)
            .build()
            .map_err(|error| ChainError::Client(error.without_url()))?;
        Ok(Self {
            http,
            url: Arc::new(url.clone()),
            host,
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// One call.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, ChainError> {
        let answer = self.request(method, params).await;
        if let Err(error) = &answer {
            self.count(error.class());
        }
        answer
    }

    /// Counts a failure.
    pub(super) fn count(&self, class: &'static str) {
        metrics::counter!(telemetry::RPC_ERRORS, "rpc" => self.host.to_string(), "class" => class)
            .increment(1);
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, ChainError> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let sent = self
            .http
            .post(self.url.expose_secret())
            .json(&request)
            .send()
            .await;
        let response = sent.map_err(|error| self.broken(method, error))?;
        let status = response.status();
        let body = response
            .bytes()
            .await
            .map_err(|error| self.broken(method, error))?;
        let reply: Reply = match serde_json::from_slice(&body) {
            Ok(reply) => reply,
            Err(_) if !status.is_success() => {
                return Err(ChainError::Status {
                    method,
                    host: self.host.clone(),
                    status: status.as_u16(),
                });
            }
            Err(error) => return Err(self.malformed(method, &error.to_string())),
        };
        if let Some(ErrorObject { code, message }) = reply.error {
            return Err(ChainError::Refused {
                method,
                host: self.host.clone(),
                code,
                message,
            });
        }
        let result = reply
            .result
            .ok_or_else(|| self.malformed(method, "neither result nor error"))?;
        serde_json::from_value(result).map_err(|error| self.malformed(method, &error.to_string()))
    }

    /// An answer that is none.
    pub(super) fn malformed(&self, method: &'static str, reason: &str) -> ChainError {
        ChainError::Malformed {
            method,
            host: self.host.clone(),
            reason: reason.to_owned(),
        }
    }

    fn broken(&self, method: &'static str, error: reqwest::Error) -> ChainError {
        let host = self.host.clone();
        if error.is_timeout() {
            ChainError::Timeout {
                method,
                host,
                limit: limits::RPC_TIME,
            }
        } else {
            ChainError::Connection {
                method,
                host,
                source: error.without_url(),
            }
        }
    }
}

#[derive(Deserialize)]
struct Reply {
    // null is an answer, and not the same as none
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    #[serde(default)]
    message: String,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_only_the_host_is_shown() {
        let url = SecretString::from("https://rpc.example.org/v3/the-key?also=the-key");
        let rpc = Rpc::new(&url).unwrap();
        assert_eq!(rpc.host(), "rpc.example.org");
        assert!(!format!("{rpc:?}").contains("the-key"));
        for bad in [
            "",
            "rpc.example.org",
            "ws://rpc.example.org",
            "file:///tmp/rpc",
        ] {
            assert!(
                matches!(Rpc::new(&SecretString::from(bad)), Err(ChainError::Address)),
                "{bad}"
            );
        }
    }

    #[tokio::test]
    async fn an_error_does_not_hold_the_address() {
        // port 1 refuses connections
        let rpc = Rpc::new(&SecretString::from("http://127.0.0.1:1/the-key")).unwrap();
        let error = rpc
            .call::<Value>("eth_chainId", json!([]))
            .await
            .unwrap_err();
        assert_eq!(error.class(), "connection");
        assert!(!format!("{error:?}").contains("the-key"));
    }
}
