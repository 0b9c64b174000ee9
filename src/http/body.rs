//! The bytes of a JSON body, or a problem that says why there are none.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use http_body_util::BodyExt;

use super::codes;
use super::problem::Problem;
use crate::limits;

/// The bytes of a body that says it is JSON, `LIMIT` at the most.
pub struct JsonBytes<const LIMIT: usize = { limits::BODY_BYTES }>(pub Bytes);

impl<S: Send + Sync, const LIMIT: usize> FromRequest<S> for JsonBytes<LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
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
        read(request.into_body(), LIMIT).await.map(Self)
    }
}

/// Reads a body. Of one that is too large the rest is read too, within a bound, and thrown away: many
/// clients read no answer before they have sent everything, and would see a broken connection instead.
async fn read(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut bytes = Vec::new();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Problem::new(
                &codes::BODY_INCOMPLETE,
                "the body ended before it was whole",
            )
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        received += data.len();
        if received <= limit {
            bytes.extend_from_slice(&data);
        } else if received > limit + limits::BODY_DRAINED_BYTES {
            break;
        } else {
            bytes = Vec::new();
        }
    }
    if received <= limit {
        return Ok(bytes.into());
    }
    Err(Problem::new(
        &codes::BODY_TOO_LARGE,
        format!("the body has more than the {limit} bytes that this route takes"),
    ))
}
