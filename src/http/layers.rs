//! What is around every route: a request id, one log line, one measurement, errors as documents, and bounds
//! on what is worked on at once and for how long.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::Service;
use tracing::Instrument;
use tracing::field::Empty;

use super::auth::Who;
use super::codes;
use super::problem::Problem;
use crate::clock::Entropy;
use crate::limits;
use crate::telemetry;

/// The header that names a request.
pub const REQUEST_ID: &str = "x-request-id";

/// The id of the request, for handlers and errors.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// The route that a request has found, as far as it has; it is found within what surrounds all routes, and
/// told there.
#[derive(Debug, Clone, Default)]
struct Route(Arc<OnceLock<MatchedPath>>);

impl Route {
    fn name(&self) -> &str {
        self.0.get().map_or("unmatched", MatchedPath::as_str)
    }
}

/// Tells what surrounds all routes which one this is.
pub fn note_route(found: &Extensions) {
    if let (Some(route), Some(path)) = (found.get::<Route>(), found.get::<MatchedPath>()) {
        // a request has one route
        let _ = route.0.set(path.clone());
        tracing::Span::current().record("route", route.name());
    }
}

/// The layer of routes that have no other which notes the route.
pub async fn named(request: Request, next: Next) -> Response {
    note_route(request.extensions());
    next.run(request).await
}

/// What surrounds all routes. It is one service and no layers, as each layer of a router is a box that is
/// cloned for every request, with all that are within it.
#[derive(Clone)]
pub struct Surrounded(Arc<Around>);

struct Around {
    routes: Router,
    entropy: Entropy,
    places: Semaphore,
}

impl Surrounded {
    /// Around these routes.
    pub fn new(routes: Router, entropy: Entropy) -> Self {
        Self(Arc::new(Around {
            routes,
            entropy,
            places: Semaphore::new(limits::CONCURRENT_REQUESTS),
        }))
    }
}

impl Service<Request> for Surrounded {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let around = self.0.clone();
        Box::pin(async move { Ok(around.observe(request).await) })
    }
}

impl Around {
    /// Names the request, runs it, writes its error as a document, and measures it. What failed or was slow
    /// is logged, the rest for those who ask for it.
    async fn observe(&self, mut request: Request) -> Response {
        let id = RequestId(request_id(request.headers(), &self.entropy));
        let route = Route::default();
        let found = request.extensions_mut();
        found.insert(id.clone());
        found.insert(route.clone());
        let method = request.method().clone();
        let span = tracing::info_span!(
            "request", request_id = %id.0, method = known(&method), route = Empty, traceparent = Empty
        );
        let trace = request.headers().get("traceparent");
        let trace = trace.and_then(|value| value.to_str().ok());
        if let Some(trace) = trace.filter(|trace| trace.len() <= limits::REQUEST_ID_CHARS) {
            span.record("traceparent", trace);
        }

        let start = Instant::now();
        let answer = self.run(request).instrument(span.clone()).await;
        let who = answer.extensions().get::<Who>().copied();
        let mut response = render(answer, &id.0);
        if let Ok(value) = HeaderValue::from_str(&id.0) {
            response.headers_mut().insert(REQUEST_ID, value);
        }

        let (status, elapsed) = (response.status().as_u16(), start.elapsed());
        let (ms, who) = (elapsed.as_millis(), who.map(tracing::field::display));
        // a line for every request would cost the intake more than the request itself
        if status >= 400 || elapsed >= limits::SLOW_REQUEST {
            span.in_scope(|| tracing::info!(status, ms, who, "answered"));
        } else {
            span.in_scope(|| tracing::debug!(status, ms, who, "answered"));
        }
        let labels = [
            ("route", route.name().to_owned()),
            ("method", known(&method).to_owned()),
            ("status", status.to_string()),
        ];
        metrics::histogram!(telemetry::REQUEST_SECONDS, &labels).record(elapsed);
        response
    }

    /// Runs a request, unless too many are worked on already, for as long as it may take. A panic costs its
    /// own request only.
    async fn run(&self, request: Request) -> Response {
        let Ok(_place) = self.places.try_acquire() else {
            let detail = "too many requests at once; try again";
            return Problem::new(&codes::OVERLOADED, detail).into_response();
        };
        let answered = AssertUnwindSafe(self.routes.clone().call(request)).catch_unwind();
        match timeout(limits::REQUEST_TIME, answered).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Err(panic)) => {
                let said = panic.downcast_ref::<&str>().copied();
                let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                tracing::error!(panic = said, "a handler panicked");
                let detail = "the request could not be completed";
                Problem::new(&codes::INTERNAL, detail).into_response()
            }
            Err(_) => Problem::new(&codes::TIMEOUT, codes::TIMEOUT.title).into_response(),
        }
    }
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

fn render(mut response: Response, id: &str) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let mut rendered = problem.render(id);
        // what was added between, but for the length of the body that is replaced
        response.headers_mut().remove(header::CONTENT_LENGTH);
        let between = std::mem::take(response.headers_mut());
        rendered.headers_mut().extend(between);
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
