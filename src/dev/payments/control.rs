//! Bad days, made to order: `/_control`, for whoever has the secret key.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::desk::Desk;

/// What goes wrong from now on. Those that count go down to 0 as they are used up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Milliseconds that an event waits before it is first sent.
    pub webhook_delay_ms: u64,
    /// How often each event is sent beyond once, at the same time.
    pub webhook_copies: u32,
    /// So many of the next attempts to send an event are lost on the way.
    pub webhook_drop: u32,
    /// Events are held until they are released.
    pub webhook_hold: bool,
    /// The pause before an event is sent the second time, milliseconds; it doubles with each attempt.
    pub retry_ms: u64,
    /// So many of the next calls are refused without having done anything.
    pub refuse: u32,
    /// With which status: 500 or more, or 429.
    pub refuse_status: u16,
    /// So many of the next calls are answered late, having done their work in time.
    pub slow: u32,
    /// How late, milliseconds.
    pub slow_ms: u64,
    /// Of so many of the next calls that change something the connection is cut after the work.
    pub cut: u32,
    /// How long what takes its time takes, milliseconds.
    pub settle_ms: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            webhook_delay_ms: 0,
            webhook_copies: 0,
            webhook_drop: 0,
            webhook_hold: false,
            retry_ms: 250,
            refuse: 0,
            refuse_status: 503,
            slow: 0,
            slow_ms: 0,
            cut: 0,
            settle_ms: 3_000,
        }
    }
}

/// In which order held events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// As they were made.
    AsMade,
    /// The newest first.
    Reversed,
}

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trouble {
    pub(super) refuse: Option<u16>,
    pub(super) slow_ms: Option<u64>,
    pub(super) cut: bool,
}

impl Plan {
    /// What goes wrong with the next call.
    pub(super) fn take(&mut self, changes: bool) -> Trouble {
        let take = |count: &mut u32| {
            let is_left = *count > 0;
            *count = count.saturating_sub(1);
            is_left
        };
        if take(&mut self.refuse) {
            return Trouble {
                refuse: Some(self.refuse_status),
                ..Trouble::default()
            };
        }
        Trouble {
            refuse: None,
            slow_ms: take(&mut self.slow).then_some(self.slow_ms),
            cut: changes && take(&mut self.cut),
        }
    }
}

/// The routes, without their check of the key.
pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/_control/plan", get(read_plan).put(set_plan))
        .route("/_control/release/{order}", post(release))
        .route("/_control/resend/{event}", post(resend))
        .route("/_control/deliveries", get(deliveries))
        .route("/_control/intents", get(intents))
        .route("/_control/refunds", get(refunds))
        .route("/_control/events", get(events))
}

async fn read_plan(State(desk): State<Arc<Desk>>) -> Response {
    Json(desk.plan()).into_response()
}

/// Fields that are left out are as at the start.
async fn set_plan(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    match serde_json::from_slice::<Plan>(&body) {
        Ok(plan) => {
            desk.set_plan(plan);
            read_plan(State(desk)).await
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

async fn release(State(desk): State<Arc<Desk>>, Path(order): Path<String>) -> Response {
    let order = match order.as_str() {
        "as_made" => Release::AsMade,
        "reversed" => Release::Reversed,
        _ => return (StatusCode::NOT_FOUND, "as_made or reversed").into_response(),
    };
    Json(json!({ "released": desk.release(order).await })).into_response()
}

async fn resend(State(desk): State<Arc<Desk>>, Path(event): Path<String>) -> Response {
    if desk.book().events.get(&event).is_none() {
        return (StatusCode::NOT_FOUND, "no such event").into_response();
    }
    Json(json!({ "taken": desk.attempt(&event).await })).into_response()
}

async fn deliveries(State(desk): State<Arc<Desk>>) -> Response {
    Json(desk.deliveries()).into_response()
}

async fn intents(State(desk): State<Arc<Desk>>) -> Response {
    Json(desk.intents()).into_response()
}

async fn refunds(State(desk): State<Arc<Desk>>) -> Response {
    Json(desk.refunds()).into_response()
}

async fn events(State(desk): State<Arc<Desk>>) -> Response {
    Json(desk.events()).into_response()
}
