//! The details of a sale: the basket, the payments, everything that is committed to as one hash.
//!
//! They are canonical JSON (RFC 8785) of an object with `"v": 1`, a `salt` of 32 random bytes,
//! no number but `v` and no null. They are hashed once and kept as bytes; nobody needs to be able
//! to write them again, and a verifier refuses bytes that are not their own canonical form.

use std::collections::BTreeSet;

use crate::{
    Hash, hex,
    json::{Json, ParseError, parse, write_canonical},
    keccak256,
};

/// The most bytes that details have.
pub const MAX_BYTES: usize = 2 << 20;
/// The most levels: the object is the first, a list in it the second.
pub const MAX_DEPTH: usize = 8;

/// What a leaf commits to: keccak-256 of the bytes.
pub fn hash(bytes: &[u8]) -> Hash {
    keccak256(bytes)
}

/// Checks that `bytes` are details in their canonical form.
///
/// # Errors
/// [`DetailsError`], the first fault.
pub fn check_canonical(bytes: &[u8]) -> Result<(), DetailsError> {
    if canonical_form(bytes)?.as_bytes() == bytes {
        Ok(())
    } else {
        Err(DetailsError::Form)
    }
}

/// The canonical bytes of `value`, which must serialize to an object that keeps the rules of
/// details: nulls are refused, so leave out what there is not.
///
/// # Errors
/// [`DetailsError`]; nothing is dropped or rounded to make a value fit.
pub fn canonical<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, DetailsError> {
    let json = serde_json::to_vec(value).map_err(DetailsError::Serialize)?;
    canonical_form(&json).map(String::into_bytes)
}

/// Why bytes are not the details of a sale.
#[derive(Debug, thiserror::Error)]
pub enum DetailsError {
    /// The value has no JSON form.
    #[error("the details cannot be written as JSON")]
    Serialize(#[source] serde_json::Error),
    /// Not JSON, or too long.
    #[error("the details cannot be read")]
    Parse(#[source] ParseError),
    /// JSON, but not in the form that RFC 8785 gives it.
    #[error("the details are not in canonical form (RFC 8785)")]
    Form,
    /// Not an object.
    #[error("the details are not an object")]
    NotAnObject,
    /// `v` is missing or another number than 1.
    #[error("the details' v is not the number 1")]
    Version,
    /// `salt` is missing or not 32 bytes of lower-case hex.
    #[error("the details' salt is not 32 bytes of lower-case hex")]
    Salt,
    /// A number other than `v`.
    #[error("the details have a JSON number at {0}")]
    Number(String),
    /// A null.
    #[error("the details have a null at {0}")]
    Null(String),
    /// A key a second time.
    #[error("the details repeat the key {0}")]
    Repeated(String),
    /// Too many levels.
    #[error("the details have more than {MAX_DEPTH} levels at {0}")]
    TooDeep(String),
}

fn canonical_form(bytes: &[u8]) -> Result<String, DetailsError> {
    let json = parse(bytes, MAX_BYTES).map_err(DetailsError::Parse)?;
    let Json::Object(fields) = &json else {
        return Err(DetailsError::NotAnObject);
    };
    let field = |name| {
        fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    };
    if field("v") != Some(&Json::Number("1")) {
        return Err(DetailsError::Version);
    }
    match field("salt") {
        Some(Json::String(text)) if hex::decode::<32>(text).is_ok() => {}
        _ => return Err(DetailsError::Salt),
    }
    check_fields(fields, "", 1)?;
    let mut form = String::with_capacity(bytes.len());
    write_canonical(&json, &mut form);
    Ok(form)
}

fn check(json: &Json<'_>, pointer: &str, depth: usize) -> Result<(), DetailsError> {
    match json {
        Json::Number(_) if pointer != "/v" => Err(DetailsError::Number(pointer.to_owned())),
        Json::Null => Err(DetailsError::Null(pointer.to_owned())),
        Json::Array(_) | Json::Object(_) if depth > MAX_DEPTH => {
            Err(DetailsError::TooDeep(pointer.to_owned()))
        }
        Json::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(i, item)| check(item, &format!("{pointer}/{i}"), depth + 1)),
        Json::Object(fields) => check_fields(fields, pointer, depth),
        Json::Bool(_) | Json::String(_) | Json::Number(_) => Ok(()),
    }
}

fn check_fields<K: AsRef<str>>(
    fields: &[(K, Json<'_>)],
    pointer: &str,
    depth: usize,
) -> Result<(), DetailsError> {
    let mut seen = BTreeSet::new();
    for (key, value) in fields {
        let key = key.as_ref();
        let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        if !seen.insert(key) {
            return Err(DetailsError::Repeated(pointer));
        }
        check(value, &pointer, depth + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SALT: &str = "0x5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

    #[test]
    fn values_are_written_in_canonical_form() {
        let value = json!({ "v": 1, "salt": SALT, "name": "\u{1f}\"/é", "lines": [{ "b": "2", "a": true }] });
        let bytes = canonical(&value).unwrap();
        let expected = format!(
            r#"{{"lines":[{{"a":true,"b":"2"}}],"name":"\u001f\"/é","salt":"{SALT}","v":1}}"#
        );
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
        check_canonical(&bytes).unwrap();
    }

    #[test]
    fn nothing_is_dropped_or_rounded_to_fit() {
        let refused = |extra: serde_json::Value| {
            canonical(&json!({ "v": 1, "salt": SALT, "a": extra }))
                .unwrap_err()
                .to_string()
        };
        for number in [
            json!(1),
            json!(-1),
            json!(1.5),
            json!(u64::MAX),
            json!([{ "n": 0 }]),
        ] {
            assert!(refused(number.clone()).contains("number at /a"), "{number}");
        }
        for null in [
            json!(null),
            json!([null]),
            json!({ "b": null }),
            json!(f64::NAN),
        ] {
            assert!(refused(null.clone()).contains("null at /a"), "{null}");
        }
    }

    #[test]
    fn a_long_list_is_read_to_its_end() {
        let lines: Vec<_> = (0..2000).map(|i| json!({ "sku": i.to_string() })).collect();
        let bytes = canonical(&json!({ "v": 1, "salt": SALT, "lines": lines })).unwrap();
        check_canonical(&bytes).unwrap();
        let changed = String::from_utf8(bytes)
            .unwrap()
            .replace("\"1999\"", "1999");
        let error = check_canonical(changed.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the details have a JSON number at /lines/1999/sku"
        );
    }
}
