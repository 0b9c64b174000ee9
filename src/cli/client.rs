//! The commands' way to the HTTP interface: the address, the key, and errors as a person reads them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::limits;

/// How long connecting may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How much longer than the server works on a request an answer is waited for.
const ANSWER_GRACE: Duration = Duration::from_secs(15);

/// Where the interface is, and as whom.
#[derive(Debug, Clone, Args)]
pub(super) struct ApiArgs {
    /// Address of the HTTP interface
    #[arg(long, env = "COUNTERFOIL_URL", default_value = "http://127.0.0.1:8080")]
    pub(super) url: Url,
    /// The API key; better in the environment or a file, where the process list does not show it
    #[arg(long, env = "COUNTERFOIL_KEY", hide_env_values = true)]
    pub(super) key: Option<SecretString>,
    /// A file that holds the API key
    #[arg(long, conflicts_with = "key")]
    pub(super) key_file: Option<PathBuf>,
}

impl ApiArgs {
    /// A client with this address and key.
    ///
    /// # Errors
    /// When there is no key, or its file cannot be read.
    pub(super) fn client(&self) -> anyhow::Result<Api> {
        let key = match (&self.key, &self.key_file) {
            (Some(key), _) => key.clone(),
            (None, Some(file)) => std::fs::read_to_string(file)
                .with_context(|| format!("the key file {} cannot be read", file.display()))?
                .into(),
            (None, None) => bail!("an API key is needed: set COUNTERFOIL_KEY or give --key-file"),
        };
        Api::new(self.url.clone(), &key)
    }
}

/// A client of one installation with one key.
#[derive(Debug, Clone)]
pub(super) struct Api {
    http: reqwest::Client,
    base: Url,
}

impl Api {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address cannot be one, or the key has characters that no key has.
    pub(super) fn new(base: Url, key: &SecretString) -> anyhow::Result<Self> {
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            bail!("--url is an address such as https://pay.shop.example");
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret().trim()))
            .context("the API key has characters that no key has")?;
        bearer.set_sensitive(true);
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIME)
            .timeout(limits::REQUEST_TIME + ANSWER_GRACE)
            .default_headers(HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]))
            // a key goes to the address it was given for and nowhere else
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("the HTTP client cannot be set up")?;
        Ok(Self { http, base })
    }

    /// A request to the path of these segments, each percent-encoded where it needs to be.
    pub(super) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self.http.request(method, url)
    }

    /// The body of an answer to GET.
    ///
    /// # Errors
    /// When nobody answers, or with a problem.
    pub(super) async fn get(&self, segments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let response = self.request(Method::GET, segments).send().await;
        let response = response.with_context(|| format!("{} does not answer", self.base))?;
        if response.status() != StatusCode::OK {
            return Err(Refusal::read(response).await.into());
        }
        Ok(response
            .bytes()
            .await
            .context("the answer broke off")?
            .to_vec())
    }

    /// The same, read as JSON.
    ///
    /// # Errors
    /// As [`Api::get`], or when the answer has another shape.
    pub(super) async fn get_json<T: DeserializeOwned>(
        &self,
        segments: &[&str],
    ) -> anyhow::Result<T> {
        let body = self.get(segments).await?;
        serde_json::from_slice(&body).context("the answer is not one of Counterfoil's")
    }
}

/// An answer that is an error.
#[derive(Debug, thiserror::Error)]
#[error("the server answers {} {code}: {detail} (request {request_id})", .status.as_u16())]
pub(super) struct Refusal {
    /// The status.
    pub(super) status: StatusCode,
    /// The stable code; "unknown" from what is not Counterfoil.
    pub(super) code: String,
    /// The same for people.
    pub(super) detail: String,
    /// What the server's log calls it.
    pub(super) request_id: String,
    /// Seconds after which to come back, where the server said.
    pub(super) retry_after: Option<u64>,
}

/// The part of a problem document (RFC 9457) that is shown.
#[derive(Debug, Deserialize)]
pub(super) struct ProblemBody {
    /// The stable code.
    pub(super) code: String,
    /// The same for people.
    pub(super) detail: String,
    /// What the server's log calls it.
    pub(super) request_id: String,
    /// Each fault.
    #[serde(default)]
    pub(super) errors: Vec<FaultBody>,
}

/// One fault of a problem document.
#[derive(Debug, Deserialize)]
pub(super) struct FaultBody {
    /// Where: RFC 6901.
    pub(super) pointer: String,
    /// What.
    pub(super) code: String,
    /// The same for people.
    pub(super) detail: String,
}

impl Refusal {
    /// The error that an answer is, whoever gave it.
    pub(super) async fn read(response: Response) -> Self {
        let status = response.status();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<ProblemBody>(&body) {
            Ok(ProblemBody {
                code,
                detail,
                request_id,
                ..
            }) => Self {
                status,
                code,
                detail,
                request_id,
                retry_after,
            },
            Err(_) => Self {
                status,
                code: "unknown".to_owned(),
                detail: "the answer is not one of Counterfoil's; is the address right?".to_owned(),
                request_id: "unknown".to_owned(),
                retry_after,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_id_makes_one_path_segment() {
        let api =
            |base: &str| Api::new(base.parse().unwrap(), &SecretString::from("cf_test_0")).unwrap();
        for (base, order, path) in [
            ("http://h:1", "A-1", "/v1/orders/A-1/proof"),
            (
                "http://h:1/",
                "a/b?c#d%2F",
                "/v1/orders/a%2Fb%3Fc%23d%252F/proof",
            ),
            ("http://h:1/pay/", "..a", "/pay/v1/orders/..a/proof"),
        ] {
            crate::chain::install_tls();
            let request = api(base)
                .request(Method::GET, &["v1", "orders", order, "proof"])
                .build()
                .unwrap();
            assert_eq!(request.url().path(), path);
        }
    }
}
