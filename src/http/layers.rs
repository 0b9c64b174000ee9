//! The layers around every route: a request id, one log line, one measurement, errors as documents,
//! and a bound on what is worked on at once.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tracing::Instrument;
use tracing::field::Empty;

use super::codes;
use super::problem::Problem;
use crate::clock::Entropy;
use crate::ids::KeyId;
use crate::limits;
use crate::telemetry;

/// The header that names a request.
pub const REQUEST_ID: &str = "x-request-id";

/// The id of the request, for handlers and errors.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// Names the request, runs it, writes its error as a document, and measures it. What failed or was slow is
/// logged, the rest for those who ask for it.
pub async fn observe(State(entropy): State<Entropy>, mut request: Request, next: Next) -> Response {
    let id = RequestId(request_id(request.headers(), &entropy));
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let span = tracing::info_span!(
        "request", request_id = %id.0, method = known(&method), route = path, traceparent = Empty
    );
    let trace = request.headers().get("traceparent");
    let trace = trace.and_then(|value| value.to_str().ok());
    if let Some(trace) = trace.filter(|trace| trace.len() <= limits::REQUEST_ID_CHARS) {
        span.record("traceparent", trace);
    }

    let start = Instant::now();
    let answer = next.run(request).instrument(span.clone()).await;
    let key = answer.extensions().get::<KeyId>().copied();
    let mut response = render(answer, &id.0);
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }

    let (status, elapsed) = (response.status().as_u16(), start.elapsed());
    let (ms, key) = (elapsed.as_millis(), key.map(tracing::field::display));
    // a line for every request would cost the intake more than the request itself
    if status >= 400 || elapsed >= limits::SLOW_REQUEST {
        span.in_scope(|| tracing::info!(status, ms, key, "answered"));
    } else {
        span.in_scope(|| tracing::debug!(status, ms, key, "answered"));
    }
    let labels = [
        ("route", path),
        ("method", known(&method).to_owned()),
        ("status", status.to_string()),
    ];
    metrics::histogram!(telemetry::REQUEST_SECONDS, &labels).record(elapsed);
    response
}

/// The method as a label. A caller may make up methods, and a label's values are never forgotten.
fn known(method: &Method) -> &str {
    let all = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
    ];
    if all.contains(method) {
        method.as_str()
    } else {
        "other"
    }
}

/// The caller's id when it is sane, else a new one.
fn request_id(headers: &HeaderMap, entropy: &Entropy) -> Arc<str> {
    let sane = |id: &&str| {
        (1..=limits::REQUEST_ID_CHARS).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let given = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(sane);
    given.map_or_else(
        || counterfoil_proofs::base32::encode(&entropy.bytes()).into(),
        Into::into,
    )
}

fn render(response: Response, id: &str) -> Response {
    if let Some(problem) = response.extensions().get::<Problem>() {
        let mut rendered = problem.render(id);
        // what the layers between have added
        rendered.headers_mut().extend(response.headers().clone());
        return rendered;
    }
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| !value.as_bytes().starts_with(b"text/plain"));
    match Problem::of_framework(&response) {
        Some(problem) if !is_page => problem.render(id),
        _ => response,
    }
}

/// Refuses at once what would be worked on beyond the bound.
pub async fn bound(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    match places.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => {
            Problem::new(&codes::OVERLOADED, "too many requests at once; try again").into_response()
        }
    }
}
