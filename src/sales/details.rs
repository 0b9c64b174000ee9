//! The details of a sale as they are hashed: canonical JSON (RFC 8785). Fields stand in the order of
//! their names and strings are all there is, so `serde_json` writes the canonical form directly, once: what
//! the server adds (points, rate, salt and version) is put into what was written.

use counterfoil_proofs::hex;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// What a sale's `details` commit to, but for what the server adds when it is recorded: points, rate, salt
/// and version.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the fields of the request, in canonical form")]
pub struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cashier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_ref: Option<String>,
    /// Decimals of the currency.
    pub decimals: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount_total: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub payments: Vec<Payment>,
    // "points" and "rate" stand here
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    // "salt" stands here
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sold_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_total: Option<String>,
    // and "v" here
}

impl Details {
    /// Empty details of a sale in a currency with this many decimals.
    pub fn new(decimals: usize) -> Self {
        Self {
            cashier: None,
            customer_ref: None,
            decimals: decimals.to_string(),
            discount_total: None,
            lines: Vec::new(),
            metadata: Metadata::default(),
            payments: Vec::new(),
            register: None,
            sold_at: None,
            tax_total: None,
        }
    }

    /// Writes them.
    pub fn unsalted(&self) -> Unsalted {
        // strings, lists and maps of strings: nothing here can fail to be written
        let json = to_raw_value(self).unwrap_or_default();
        // times and amounts have no characters that are written as others
        let field = |name: &str, value: &Option<String>| {
            value
                .as_ref()
                .map_or(0, |value| ",\"\":\"\"".len() + name.len() + value.len())
        };
        let after = field("sold_at", &self.sold_at) + field("tax_total", &self.tax_total);
        let salt_at = json.get().len() - after - "}".len();
        // a register has any characters, so it is measured as it is written
        let register = self.register.as_ref().map_or(0, |register| {
            let written = to_raw_value(register).unwrap_or_default();
            ",\"register\":".len() + written.get().len()
        });
        Unsalted {
            added_at: salt_at - register,
            salt_at,
            json,
        }
    }
}

/// Details in canonical form without what the server adds.
#[derive(Debug, Clone)]
pub struct Unsalted {
    json: Box<RawValue>,
    /// Where points and rate belong. Before them stands a field at least: the decimals.
    added_at: usize,
    /// Where the salt belongs.
    salt_at: usize,
}

impl Unsalted {
    /// As JSON.
    pub fn json(&self) -> &RawValue {
        &self.json
    }

    /// The bytes whose hash the leaf commits to.
    pub fn salted(&self, salt: &[u8; 32], supplement: &Supplement) -> Vec<u8> {
        const VERSION: &str = ",\"v\":1}";
        let (before, after) = self.json.get().split_at(self.salt_at);
        let (before, register) = before.split_at(self.added_at);
        let after = &after[..after.len() - "}".len()];
        let salt = hex::encode(salt);
        [
            before,
            &supplement.0,
            register,
            ",\"salt\":\"",
            &salt,
            "\"",
            after,
            VERSION,
        ]
        .concat()
        .into_bytes()
    }

    /// Whether so much more goes into them: a verifier reads no larger details.
    pub fn has_room_for(&self, supplement: &Supplement) -> bool {
        const SALT_AND_VERSION: usize = 128;
        self.json.get().len() + supplement.0.len() + SALT_AND_VERSION
            <= counterfoil_proofs::details::MAX_BYTES
    }
}

/// What the server knows of a sale when it records it, and its caller does not say: the points and the rate,
/// as they stand in the details. It is no part of the command, so a retry that would be given another rate
/// is still the same sale.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Supplement(String);

impl Supplement {
    /// Of objects of strings whose fields are declared in the order of their names.
    pub fn new(points: Option<&impl Serialize>, rate: Option<&impl Serialize>) -> Self {
        let mut text = String::new();
        // strings: nothing here can fail to be written
        if let Some(points) = points.and_then(|points| to_raw_value(points).ok()) {
            text = [POINTS, points.get()].concat();
        }
        if let Some(rate) = rate.and_then(|rate| to_raw_value(rate).ok()) {
            text.push_str(RATE);
            text.push_str(rate.get());
        }
        Self(text)
    }

    /// As it stands in the details; empty where there is neither.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What [`Self::text`] gave.
    pub fn from_text(text: &str) -> Option<Self> {
        let (fields, rest) = Self::split(text)?;
        (fields.len() == text.len() && rest.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The supplement at the beginning of `text`, and what comes after it.
    fn split(text: &str) -> Option<(&str, &str)> {
        let mut at = 0;
        for name in [POINTS, RATE] {
            if text[at..].starts_with(name) {
                // an object of strings in which no brace stands
                at += text[at..].find('}')? + 1;
            }
        }
        Some(text.split_at(at))
    }

    /// The supplement of stored details, and those details without it. A name with an object behind it
    /// stands in no string, where quotation marks are escaped, and metadata has strings alone.
    pub fn take(details: &str) -> Option<(Self, String)> {
        let found = [POINTS, RATE]
            .iter()
            .find_map(|name| details.find(&[name, "{"].concat()));
        let Some(at) = found else {
            return Some((Self::default(), details.to_owned()));
        };
        let (supplement, rest) = Self::split(details.get(at..)?)?;
        Some((Self(supplement.to_owned()), [&details[..at], rest].concat()))
    }
}

const POINTS: &str = ",\"points\":";
const RATE: &str = ",\"rate\":";

/// A line, its numbers in canonical form.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the fields of the request, in canonical form")]
pub struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub quantity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax: Option<String>,
    pub unit_price: String,
}

/// A payment, its amount with all the currency's decimals.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the fields of the request, in canonical form")]
pub struct Payment {
    pub amount: String,
    pub method: String,
}

/// Keys and values in the order of RFC 8785: by UTF-16 code units.
#[derive(Debug, Clone, Default)]
pub struct Metadata(Vec<(String, String)>);

impl Metadata {
    /// The entries in their canonical order. No key may stand twice.
    pub fn new(entries: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        Self(entries)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_proofs::details::check_canonical;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn what_is_written_is_canonical(
            texts in proptest::collection::vec(proptest::option::of(any::<String>()), 6),
            times in proptest::collection::vec(proptest::option::of("[0-9T:.Z-]{1,30}"), 2),
            metadata in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..8),
            lines in 0_usize..4,
        ) {
            let mut details = Details::new(2);
            details.cashier = texts[0].clone();
            details.customer_ref = texts[1].clone();
            details.register = texts[2].clone();
            details.sold_at = times[0].clone();
            details.tax_total = times[1].clone();
            details.metadata = Metadata::new(metadata);
            details.lines = vec![Line {
                discount: None, name: texts[5].clone(), quantity: "1".into(), sku: texts[0].clone(),
                tax: texts[1].clone(), unit_price: "1.00".into(),
            }; lines];
            details.payments = vec![Payment { amount: "1.00".into(), method: "cash".into() }; lines];
            let unsalted = details.unsalted();
            let plain = unsalted.salted(&[7; 32], &Supplement::default());
            prop_assert!(check_canonical(&plain).is_ok(), "{}", String::from_utf8_lossy(&plain));
            let plain = String::from_utf8(plain).unwrap();
            for supplement in supplements() {
                let bytes = unsalted.salted(&[7; 32], &supplement);
                prop_assert!(check_canonical(&bytes).is_ok(), "{}", String::from_utf8_lossy(&bytes));
                let text = String::from_utf8(bytes).unwrap();
                prop_assert_eq!(Supplement::take(&text), Some((supplement, plain.clone())));
            }
        }
    }

    fn supplements() -> Vec<Supplement> {
        let points = json!({ "base": "15.5", "programme": "3" });
        let rate =
            json!({ "age_ms": "5", "as_of": "2026-01-02T03:04:05.000Z", "value": "250000.5" });
        let none = None::<&serde_json::Value>;
        vec![
            Supplement::new(none, none),
            Supplement::new(Some(&points), none),
            Supplement::new(none, Some(&rate)),
            Supplement::new(Some(&points), Some(&rate)),
        ]
    }

    #[test]
    fn a_supplement_is_found_among_texts_that_look_like_one() {
        let looks = ",\"points\":{\"base\":\"1\"},\"rate\":{}";
        let mut details = Details::new(2);
        details.metadata = Metadata::new([
            ("points".into(), "{".into()),
            ("rate".into(), looks.into()),
            (looks.into(), "x".into()),
        ]);
        details.register = Some(looks.into());
        details.cashier = Some("\\\"".into());
        for supplement in supplements() {
            let bytes = details.unsalted().salted(&[7; 32], &supplement);
            check_canonical(&bytes).unwrap();
            let (found, _) = Supplement::take(std::str::from_utf8(&bytes).unwrap()).unwrap();
            assert_eq!(found, supplement);
            assert_eq!(Supplement::from_text(found.text()), Some(supplement));
        }
        for none in ["x", ",\"points\":{", ",\"rate\":{},\"points\":{}"] {
            assert_eq!(Supplement::from_text(none), None, "{none}");
        }
    }

    #[test]
    fn metadata_is_ordered_by_utf16_code_units() {
        // U+10000 is above U+FFFD as a character, below it in UTF-16
        let mut details = Details::new(2);
        details.metadata = Metadata::new([
            ("\u{FFFD}".into(), String::new()),
            ("\u{10000}".into(), String::new()),
        ]);
        assert!(
            check_canonical(&details.unsalted().salted(&[0; 32], &Supplement::default())).is_ok()
        );
    }
}
