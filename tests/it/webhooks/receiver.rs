//! A receiver of webhooks: a real server of HTTP beside the test, which answers what it is told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use ring::{hmac, signature};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What a receiver was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Sent {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("ASCII")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// How many of its signatures are by this secret (`whsec_…`) and this public key (`whpk_…`), computed with
    /// another library than the product's, over what came.
    pub(crate) fn signatures_by(&self, secret: &str, public_key: &str) -> (usize, usize) {
        let bytes = |text: &str| BASE64.decode(text.as_bytes()).expect("base 64");
        let secret = bytes(secret.strip_prefix("whsec_").expect("a secret"));
        let public_key = bytes(public_key.strip_prefix("whpk_").expect("a key"));
        let (id, at) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let content = [format!("{id}.{at}.").as_bytes(), &self.body].concat();
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let public_key = signature::UnparsedPublicKey::new(&signature::ED25519, public_key);
        let mut found = (0, 0);
        for one in self.header("webhook-signature").split(' ') {
            let (version, text) = one.split_once(',').expect("a version");
            match version {
                "v1" if hmac::verify(&secret, &content, &bytes(text)).is_ok() => found.0 += 1,
                "v1a" if public_key.verify(&content, &bytes(text)).is_ok() => found.1 += 1,
                _ => {}
            }
        }
        found
    }
}

/// What a receiver answers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    header: Option<(&'static str, String)>,
    after: Duration,
}

impl Reply {
    pub(crate) fn of(status: u16) -> Self {
        Self {
            status,
            header: None,
            after: Duration::ZERO,
        }
    }

    pub(crate) fn with(self, name: &'static str, value: &str) -> Self {
        Self {
            header: Some((name, value.to_owned())),
            ..self
        }
    }

    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

#[derive(Default)]
struct Inner {
    sent: Mutex<Vec<Sent>>,
    replies: Mutex<VecDeque<Reply>>,
}

/// It answers 200 unless told otherwise, and stops when dropped.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let inner = Arc::new(Inner::default());
        let routes = Router::new().fallback(take).with_state(inner.clone());
        let task = tokio::spawn(async move { axum_serve(listener, routes).await });
        Self { port, inner, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/webhooks", self.port)
    }

    /// What it answers next, one after the other.
    pub(crate) fn answer(&self, replies: impl IntoIterator<Item = Reply>) {
        self.inner.replies.lock().expect("a lock").extend(replies);
    }

    /// What it was sent so far.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.inner.sent.lock().expect("a lock").clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn axum_serve(listener: TcpListener, routes: Router) {
    counterfoil::server::serve(listener, routes, std::future::pending()).await;
}

async fn take(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    inner
        .sent
        .lock()
        .expect("a lock")
        .push(Sent { headers, body });
    let reply = inner.replies.lock().expect("a lock").pop_front();
    let reply = reply.unwrap_or_else(|| Reply::of(200));
    tokio::time::sleep(reply.after).await;
    let status = StatusCode::from_u16(reply.status).expect("a status");
    let mut response = (status, format!("answered {status}")).into_response();
    if let Some((name, value)) = reply.header {
        response.headers_mut().insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(&value).expect("a value"),
        );
    }
    response
}
