//! The second, slow pass over a body: every fault of shape, by its JSON pointer.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Field, Shape, escape, is_integer};
use crate::http::codes::{self, Code};
use crate::http::problem::Fault;
use crate::limits;

/// `raw` with everything of the wrong shape replaced by a stand-in, and a fault for each. Past
/// [`limits::FAULTS`] the rest is not looked at.
pub(super) fn collect(raw: &RawValue, fields: &'static [Field]) -> (Value, Vec<Fault>) {
    let mut collector = Collector { faults: Vec::new() };
    let cleaned = collector.clean(raw, Shape::Object(fields), "");
    (cleaned, collector.faults)
}

struct Collector {
    faults: Vec<Fault>,
}

impl Collector {
    fn fault(&mut self, at: &str, code: &'static Code, detail: impl Into<String>) {
        self.faults.push(Fault::new(at, code, detail));
    }

    fn is_full(&self) -> bool {
        self.faults.len() > limits::FAULTS
    }

    fn clean(&mut self, raw: &RawValue, shape: Shape, at: &str) -> Value {
        let text = raw.get();
        let number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        match (shape, text.as_bytes().first()) {
            (Shape::Text | Shape::Decimal | Shape::Quantity | Shape::Number, Some(b'"')) => {
                match serde_json::from_str(text) {
                    Ok(string) => return Value::String(string),
                    Err(_) => self.fault(at, &codes::INVALID_TEXT, "not valid Unicode"),
                }
            }
            (Shape::Flag, Some(b't' | b'f')) => return Value::Bool(text == "true"),
            (Shape::Number, _) if number => return Value::String(text.to_owned()),
            (Shape::Quantity, _) if number && is_integer(text) => {
                return Value::String(text.to_owned());
            }
            (Shape::Quantity, _) if number => {
                let detail = "an integer or a decimal string belongs here";
                self.fault(at, &codes::QUANTITY_NOT_INTEGER, detail);
            }
            (Shape::Decimal | Shape::Money(_), _) if number => {
                let detail = "money is a decimal string, not a number";
                self.fault(at, &codes::MONEY_MUST_BE_STRING, detail);
            }
            (Shape::Object(fields) | Shape::Money(fields), Some(b'{')) => {
                return self.clean_object(text, fields, at);
            }
            (Shape::List(fields), Some(b'[')) => return self.clean_list(text, fields, at),
            (Shape::Items, Some(b'[')) => {}
            (Shape::Texts, Some(b'[')) => return self.clean_texts(text, at),
            (Shape::TextMap, Some(b'{')) => return self.clean_text_map(text, at),
            _ => {
                let detail = format!("{} belongs here", expected(shape));
                self.fault(at, &codes::WRONG_TYPE, detail);
            }
        }
        stand_in(shape)
    }

    fn clean_list(&mut self, text: &str, fields: &'static [Field], at: &str) -> Value {
        let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        let mut cleaned = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if self.is_full() {
                break;
            }
            cleaned.push(self.clean(item, Shape::Object(fields), &format!("{at}/{index}")));
        }
        Value::Array(cleaned)
    }

    fn clean_texts(&mut self, text: &str, at: &str) -> Value {
        let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        let mut cleaned = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if self.is_full() {
                break;
            }
            cleaned.push(self.clean(item, Shape::Text, &format!("{at}/{index}")));
        }
        Value::Array(cleaned)
    }

    fn clean_object(&mut self, text: &str, fields: &'static [Field], at: &str) -> Value {
        let mut cleaned = Map::new();
        let mut seen = BTreeSet::new();
        for (name, raw) in entries(text) {
            if self.is_full() {
                break;
            }
            let Some(name) = self.key(name, at, &mut seen) else {
                continue;
            };
            let here = format!("{at}/{}", escape(&name));
            let Some(field) = fields.iter().find(|field| field.name == name) else {
                let detail = format!("there is no field {name:?} here");
                self.fault(&here, &codes::UNKNOWN_FIELD, detail);
                continue;
            };
            if raw.get() != "null" {
                let value = self.clean(raw, field.shape, &here);
                cleaned.insert(name, value);
            }
        }
        for field in fields.iter().filter(|field| field.required) {
            if !cleaned.contains_key(field.name) {
                let here = format!("{at}/{}", field.name);
                // a null that stood twice has its fault already
                if !self.faults.iter().any(|known| known.pointer == here) {
                    let detail = format!("{:?} is required", field.name);
                    self.fault(&here, &codes::MISSING_FIELD, detail);
                }
                cleaned.insert(field.name.to_owned(), stand_in(field.shape));
            }
        }
        Value::Object(cleaned)
    }

    fn clean_text_map(&mut self, text: &str, at: &str) -> Value {
        let mut cleaned = Map::new();
        let mut seen = BTreeSet::new();
        for (name, raw) in entries(text) {
            if self.is_full() {
                break;
            }
            if let Some(name) = self.key(name, at, &mut seen) {
                let value = self.clean(raw, Shape::Text, &format!("{at}/{}", escape(&name)));
                cleaned.insert(name, value);
            }
        }
        Value::Object(cleaned)
    }

    /// A key's name, unless it is no text or stands there for the second time.
    fn key(&mut self, raw: &RawValue, at: &str, seen: &mut BTreeSet<String>) -> Option<String> {
        let Ok(name) = serde_json::from_str::<String>(raw.get()) else {
            // no name can be given, so the pointer shows it as it was written
            let here = format!("{at}/{}", escape(raw.get().trim_matches('"')));
            self.fault(&here, &codes::INVALID_TEXT, "the key is not valid Unicode");
            return None;
        };
        if !seen.insert(name.clone()) {
            let here = format!("{at}/{}", escape(&name));
            let detail = format!("{name:?} stands more than once");
            self.fault(&here, &codes::REPEATED_FIELD, detail);
            return None;
        }
        Some(name)
    }
}

/// The entries of an object as they are written, repeated keys included.
fn entries(text: &str) -> Vec<(&RawValue, &RawValue)> {
    // the text was seen to be an object
    serde_json::from_str::<Entries<'_>>(text).map_or_else(|_| Vec::new(), |entries| entries.0)
}

struct Entries<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// A value of the right shape, so that the typed struct can be made.
fn stand_in(shape: Shape) -> Value {
    match shape {
        Shape::Text | Shape::Decimal | Shape::Quantity | Shape::Number => {
            Value::String(String::new())
        }
        Shape::Flag => Value::Bool(false),
        Shape::List(_) | Shape::Items | Shape::Texts => Value::Array(Vec::new()),
        Shape::TextMap => Value::Object(Map::new()),
        Shape::Object(fields) | Shape::Money(fields) => fields
            .iter()
            .filter(|field| field.required)
            .map(|field| (field.name.to_owned(), stand_in(field.shape)))
            .collect(),
    }
}

fn expected(shape: Shape) -> &'static str {
    match shape {
        Shape::Text => "a string",
        Shape::Flag => "true or false",
        Shape::Decimal => "a decimal string",
        Shape::Quantity => "an integer or a decimal string",
        Shape::Number => "a number or a decimal string",
        Shape::Object(_) | Shape::Money(_) => "an object",
        Shape::List(_) | Shape::Items => "a list",
        Shape::Texts => "a list of strings",
        Shape::TextMap => "an object of strings",
    }
}
