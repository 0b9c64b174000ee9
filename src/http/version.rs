//! `If-Match` on what people edit (RFC 9110, 13.1.1): the ETag is the version, in quotation marks.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use super::codes;
use super::problem::Problem;

/// The version that a change was made from.
///
/// # Errors
/// 428 without the header, 412 for what is the ETag of no version.
pub fn expected_version(headers: &HeaderMap) -> Result<i64, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        let detail =
            "send If-Match with the ETag that it was read with, \"0\" for what is not there yet";
        return Err(Problem::new(&codes::IF_MATCH_MISSING, detail));
    };
    let version = value.to_str().ok().and_then(|text| {
        let version = text.trim().strip_prefix('"')?.strip_suffix('"')?;
        version.parse().ok()
    });
    version.ok_or_else(|| Problem::new(&codes::VERSION_DIFFERS, "that is the ETag of no version"))
}

/// 412 for a change that was made from another version than the one that there is now.
pub fn differs(now: i64) -> Problem {
    let detail = format!("it is at version {now} now; read it again");
    Problem::new(&codes::VERSION_DIFFERS, detail)
}

/// An answer with the ETag of its version. It is asked for again each time.
pub fn tagged(mut response: Response, version: i64) -> Response {
    let headers = response.headers_mut();
    // digits in quotation marks
    if let Ok(etag) = HeaderValue::try_from(format!("\"{version}\"")) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
