//! A caller of the API, as a till or an integrator writes one.

use counterfoil::clock::Entropy;
use counterfoil::ids::MerchantId;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Method};
use serde_json::{Value, json};

use super::PASSWORD;

/// An HTTP client with a key, or without.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    key: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body as it came.
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header's text; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a header in ASCII"))
    }

    /// The answer, if its status is `expected`.
    #[track_caller]
    pub(crate) fn expect(self, expected: u16) -> Self {
        assert_eq!(self.status, expected, "{}", self.text);
        self
    }
}

impl Client {
    /// A client of the server at `url`.
    pub(crate) fn new(url: &str, key: Option<&str>) -> Self {
        // the features chosen for the product leave this choice to the program
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        Self {
            http,
            url: url.to_owned(),
            key: key.map(str::to_owned),
        }
    }

    /// The key.
    pub(crate) fn key(&self) -> &str {
        self.key.as_deref().expect("a client with a key")
    }

    /// The same with another key.
    pub(crate) fn with_key(&self, key: Option<&str>) -> Self {
        Self {
            key: key.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The same towards another server.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..self.clone()
        }
    }

    /// Sends a request and reads its answer. A header given here replaces the client's own.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Result<Answer, reqwest::Error> {
        let mut all = HeaderMap::new();
        if let Some(key) = &self.key {
            all.insert(
                AUTHORIZATION,
                HeaderValue::from_str(&format!("Bearer {key}")).expect("a key in ASCII"),
            );
        }
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a header's name");
            // as bytes, so that what is no text can be sent as well
            all.insert(
                name,
                HeaderValue::from_bytes(value.as_bytes()).expect("a header's value"),
            );
        }
        let request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .headers(all)
            .body(body);
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer {
            status,
            headers,
            text: response.text().await?,
        })
    }

    /// The same, where the connection holds.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        self.try_send(method, path, headers, body)
            .await
            .expect("an answer")
    }

    /// Reads.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// Posts JSON without an `Idempotency-Key`.
    pub(crate) async fn send_json(&self, path: &str, body: &Value) -> Answer {
        let json = [(CONTENT_TYPE.as_str(), "application/json")];
        self.send(Method::POST, path, &json, body.to_string()).await
    }

    /// Posts JSON text under an `Idempotency-Key`.
    pub(crate) async fn post(&self, path: &str, key: &str, body: impl Into<Body>) -> Answer {
        let headers = [
            (CONTENT_TYPE.as_str(), "application/json"),
            ("idempotency-key", key),
        ];
        self.send(Method::POST, path, &headers, body).await
    }

    /// Registers a customer, who comes from an address of its own where the server believes that.
    pub(crate) async fn sign_up(&self, merchant: MerchantId, email: &str) -> Self {
        let [a, b, c] = Entropy::system().bytes();
        let from = format!("10.{a}.{b}.{c}");
        let headers = [
            (CONTENT_TYPE.as_str(), "application/json"),
            ("x-forwarded-for", from.as_str()),
        ];
        let merchant = merchant.to_string();
        let body = json!({"merchant_id": merchant, "email": email, "password": PASSWORD});
        let made = self
            .with_key(None)
            .send(
                Method::POST,
                "/v1/auth/register",
                &headers,
                body.to_string(),
            )
            .await;
        let made = made.expect(201).json();
        self.with_key(Some(
            made["tokens"]["access_token"].as_str().expect("a token"),
        ))
    }

    /// Records a sale.
    pub(crate) async fn record(&self, key: &str, body: &Value) -> Answer {
        self.post("/v1/sales", key, body.to_string()).await
    }

    /// Records several.
    pub(crate) async fn record_batch(&self, items: &[Value]) -> Answer {
        let body = json!({ "items": items }).to_string();
        self.send(
            Method::POST,
            "/v1/sales:batch",
            &[(CONTENT_TYPE.as_str(), "application/json")],
            body,
        )
        .await
    }
}

/// The smallest sale there is: ten pounds.
pub(crate) fn sale(order_id: &str) -> Value {
    json!({"order_id": order_id, "amount": {"value": "10.00", "currency": "GBP"}})
}
