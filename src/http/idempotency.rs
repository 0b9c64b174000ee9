//! The `Idempotency-Key` header: a bare token or a quoted string (RFC 8941), the same key either way.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::codes;
use super::problem::Problem;
use crate::limits;

/// The header that carries the key.
pub const HEADER: &str = "idempotency-key";
/// The header that marks an answer as one that was given before.
pub const REPLAYED: &str = "idempotent-replayed";

/// The caller's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub String);

impl IdempotencyKey {
    /// Checks a key that is not in a header.
    ///
    /// # Errors
    /// When it is not 1 to 255 visible ASCII characters.
    pub fn parse(key: &str) -> Result<Self, Problem> {
        let visible = key.bytes().all(|b| (0x21..=0x7e).contains(&b));
        if key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY_CHARS || !visible {
            return Err(Problem::new(
                &codes::IDEMPOTENCY_KEY_INVALID,
                "1 to 255 visible ASCII characters",
            ));
        }
        Ok(Self(key.to_owned()))
    }

    /// The header's key; none where there is no header.
    ///
    /// # Errors
    /// When there are several, or one that is not usable.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let invalid = |detail: &str| Problem::new(&codes::IDEMPOTENCY_KEY_INVALID, detail);
        if values.next().is_some() {
            return Err(invalid("the header stands more than once"));
        }
        let text = value
            .to_str()
            .map_err(|_| invalid("1 to 255 visible ASCII characters"))?
            .trim();
        match text.strip_prefix('"') {
            None => Self::parse(text).map(Some),
            Some(rest) => {
                let inner = rest
                    .strip_suffix('"')
                    .ok_or_else(|| invalid("the quoted string does not end"))?;
                Self::parse(
                    &unquote(inner).ok_or_else(|| invalid("the quoted string is malformed"))?,
                )
                .map(Some)
            }
        }
    }
}

/// The inside of a quoted string with its escapes resolved (RFC 8941, 3.3.3).
fn unquote(inner: &str) -> Option<String> {
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            '"' => return None,
            other => plain.push(other),
        }
    }
    Some(plain)
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::from_headers(&parts.headers)?.ok_or_else(|| {
            Problem::new(
                &codes::IDEMPOTENCY_KEY_MISSING,
                "send an Idempotency-Key, best a UUID v4",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bare_or_quoted_and_the_same_either_way() {
        let check = |value: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, value.parse().unwrap());
            let key = IdempotencyKey::from_headers(&headers)
                .ok()
                .flatten()
                .map(|key| key.0);
            assert_eq!(key.as_deref(), expected, "{value}");
        };
        check("abc", Some("abc"));
        check("\"abc\"", Some("abc"));
        check(r#""a\"b\\c""#, Some(r#"a"b\c"#));
        check(r#"a"b"#, Some(r#"a"b"#));
        check(&"k".repeat(255), Some(&"k".repeat(255)));
        for bad in ["", "\"\"", "\"abc", "\"a\\bc\"", "a b", &"k".repeat(256)] {
            check(bad, None);
        }
    }
}
