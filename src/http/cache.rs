//! Conditional answers: an `ETag` over the body, 304 where the caller has it (RFC 9110, 8.8.3).

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// How long an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It never changes.
    Immutable,
    /// It may change after this many seconds.
    Seconds(u64),
}

/// `body` with its `ETag` and `Cache-Control`, or 304 when `request` already has it. Always `private`:
/// the addresses carry capabilities.
pub fn conditional(
    request: &HeaderMap,
    content_type: &'static str,
    body: String,
    keep: Keep,
) -> Response {
    let digest = Sha256::digest(body.as_bytes());
    let etag = format!(
        "\"{}\"",
        data_encoding::BASE64URL_NOPAD.encode(&digest[..16])
    );
    let control = match keep {
        Keep::Immutable => "private, max-age=31536000, immutable".to_owned(),
        Keep::Seconds(seconds) => format!("private, max-age={seconds}"),
    };
    let known = request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value.to_str().is_ok_and(|tags| {
            tags.split(',').any(|tag| matches!(tag.trim().trim_start_matches("W/"), tag if tag == etag || tag == "*"))
        })
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        body.into_response()
    };
    let headers = response.headers_mut();
    if !known {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    for (name, value) in [(header::ETAG, etag), (header::CACHE_CONTROL, control)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    headers.append(header::VARY, HeaderValue::from_static("authorization"));
    response
}
