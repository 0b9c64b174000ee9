//! The calls, and who may make them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::desk::Desk;
use super::refusal::Refusal;
use super::serve::Cut;
use super::{control, intents, lists, pages, refunds};

/// All routes.
pub(super) fn all(desk: Arc<Desk>) -> Router {
    let calls = Router::new()
        .route("/v1/payment_intents", get(list_intents).post(create_intent))
        .route("/v1/payment_intents/{id}", get(read_intent))
        .route("/v1/payment_intents/{id}/confirm", post(confirm_intent))
        .route("/v1/payment_intents/{id}/cancel", post(cancel_intent))
        .route("/v1/refunds", get(list_refunds).post(create_refund))
        .route("/v1/refunds/{id}", get(read_refund))
        .route("/v1/events", get(list_events))
        .route("/v1/events/{id}", get(read_event))
        .layer(from_fn_with_state(desk.clone(), troubled));
    calls
        .merge(control::routes())
        .layer(from_fn_with_state(desk.clone(), ours_alone))
        .merge(pages::routes())
        .with_state(desk)
}

/// The secret key, or nothing.
async fn ours_alone(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    if desk.is_ours(request.headers()) {
        next.run(request).await
    } else {
        Refusal::unauthorised().into_response()
    }
}

/// What the plan has for this call.
async fn troubled(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let changes = request.method() == Method::POST;
    let trouble = desk.with_plan(|plan| plan.take(changes));
    if let Some(status) = trouble.refuse {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        return Refusal::own(status).into_response();
    }
    let mut response = next.run(request).await;
    if let Some(late) = trouble.slow_ms {
        tokio::time::sleep(Duration::from_millis(late)).await;
    }
    if trouble.cut {
        response.extensions_mut().insert(Cut);
    }
    response
}

async fn create_intent(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> Response {
    desk.post(&headers, uri.path(), &body, intents::create)
        .await
}

async fn confirm_intent(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> Response {
    desk.post(&headers, uri.path(), &body, |draft, fields| {
        intents::confirm(draft, &id, fields)
    })
    .await
}

async fn cancel_intent(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> Response {
    desk.post(&headers, uri.path(), &body, |draft, fields| {
        intents::cancel(draft, &id, fields)
    })
    .await
}

async fn create_refund(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> Response {
    desk.post(&headers, uri.path(), &body, refunds::create)
        .await
}

async fn read_intent(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Response {
    desk.get(None, |draft, _| {
        Ok(intents::find(draft, &id)?.to_json(draft.base))
    })
    .await
}

async fn read_refund(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Response {
    desk.get(None, |draft, _| refunds::find(draft, &id)).await
}

async fn read_event(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Response {
    desk.get(None, |draft, _| lists::event(draft, &id)).await
}

async fn list_intents(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> Response {
    desk.get(query.as_deref(), lists::intents).await
}

async fn list_refunds(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> Response {
    desk.get(query.as_deref(), lists::refunds).await
}

async fn list_events(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> Response {
    desk.get(query.as_deref(), lists::events).await
}
