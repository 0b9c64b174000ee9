//! Errors, in Stripe's shape.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::book::Intent;
use crate::payments::object::Decline;

/// A call that was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    /// Whether a repeat with the same key gets it again: from where the work begins, not for what was
    /// refused before.
    pub(super) is_kept: bool,
}

impl Refusal {
    fn new(status: StatusCode, error: Value) -> Self {
        Self {
            status,
            body: json!({ "error": error }),
            is_kept: false,
        }
    }

    fn kept(mut self) -> Self {
        self.is_kept = true;
        self
    }

    pub(super) fn parameter(code: &str, parameter: &str, detail: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            json!({
                "type": "invalid_request_error",
                "code": code,
                "param": parameter,
                "message": format!("{parameter}: {detail}"),
            }),
        )
    }

    pub(super) fn missing(kind: &str, id: &str, parameter: &str, status: StatusCode) -> Self {
        Self::new(
            status,
            json!({
                "type": "invalid_request_error",
                "code": "resource_missing",
                "param": parameter,
                "message": format!("No such {kind}: '{id}'"),
            }),
        )
    }

    pub(super) fn unauthorised() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            json!({
                "type": "invalid_request_error",
                "message": "the secret key is missing or wrong",
            }),
        )
    }

    pub(super) fn key_reused() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            json!({
                "type": "idempotency_error",
                "message": "this key was used with another path or other parameters",
            }),
        )
    }

    /// An error of the provider's own.
    pub(super) fn own(status: StatusCode) -> Self {
        let kind = if status == StatusCode::TOO_MANY_REQUESTS {
            ("invalid_request_error", "rate_limit")
        } else {
            ("api_error", "api_error")
        };
        Self::new(
            status,
            json!({ "type": kind.0, "code": kind.1, "message": "told to fail" }),
        )
    }

    /// The work cannot be done as things stand.
    pub(super) fn state(code: Option<&str>, detail: &str, intent: Option<(&Intent, &str)>) -> Self {
        let mut error = json!({ "type": "invalid_request_error", "message": detail });
        if let Some(code) = code {
            error["code"] = json!(code);
        }
        if let Some((intent, base)) = intent {
            error["payment_intent"] = intent.to_json(base);
        }
        Self::new(StatusCode::BAD_REQUEST, error).kept()
    }

    pub(super) fn declined(decline: &Decline, intent: &Intent, base: &str) -> Self {
        let error = json!({
            "type": "card_error",
            "code": decline.code,
            "decline_code": decline.decline_code,
            "message": decline.message,
            "payment_intent": intent.to_json(base),
        });
        Self::new(StatusCode::PAYMENT_REQUIRED, error).kept()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
