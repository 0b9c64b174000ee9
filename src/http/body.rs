//! The bytes of a JSON body, or a problem that says why there are none.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};

use super::codes;
use super::problem::Problem;

/// The bytes of a body that says it is JSON. Its size is bounded by the route.
pub struct JsonBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let declared = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let essence = declared
            .and_then(|value| value.split(';').next())
            .unwrap_or("")
            .trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(
                &codes::UNSUPPORTED_MEDIA_TYPE,
                "send Content-Type: application/json",
            ));
        }
        Bytes::from_request(request, state)
            .await
            .map(Self)
            .map_err(|rejection| refused(&rejection))
    }
}

fn refused(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(
            &codes::BODY_TOO_LARGE,
            "the body is larger than this route takes",
        )
    } else {
        Problem::new(
            &codes::BODY_INCOMPLETE,
            "the body ended before it was whole",
        )
    }
}
