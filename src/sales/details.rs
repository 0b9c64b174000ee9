//! The details of a sale as they are hashed: canonical JSON (RFC 8785). Fields stand in the order of
//! their names and strings are all there is, so `serde_json` writes the canonical form directly, once: salt
//! and version are put into what was written.

use counterfoil_proofs::hex;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// What a sale's `details` commit to, but for salt and version, which come to them when it is recorded.
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
        Unsalted {
            salt_at: json.get().len() - after - "}".len(),
            json,
        }
    }
}

/// Details in canonical form without their salt and version.
#[derive(Debug, Clone)]
pub struct Unsalted {
    json: Box<RawValue>,
    /// Where the salt belongs. Before it stands a field at least: the decimals.
    salt_at: usize,
}

impl Unsalted {
    /// As JSON.
    pub fn json(&self) -> &RawValue {
        &self.json
    }

    /// The bytes whose hash the leaf commits to.
    pub fn salted(&self, salt: &[u8; 32]) -> Vec<u8> {
        const VERSION: &str = ",\"v\":1}";
        let (before, after) = self.json.get().split_at(self.salt_at);
        let after = &after[..after.len() - "}".len()];
        let salt = hex::encode(salt);
        [before, ",\"salt\":\"", &salt, "\"", after, VERSION]
            .concat()
            .into_bytes()
    }
}

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
            let bytes = details.unsalted().salted(&[7; 32]);
            prop_assert!(check_canonical(&bytes).is_ok(), "{}", String::from_utf8_lossy(&bytes));
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
        assert!(check_canonical(&details.unsalted().salted(&[0; 32])).is_ok());
    }
}
