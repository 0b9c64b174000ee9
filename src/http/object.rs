//! Reading request bodies: first straight into the typed struct; only when that fails, a second time,
//! slowly, collecting every fault of shape by its JSON pointer.

mod faults;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::codes;
use super::problem::{Fault, Problem};
use crate::limits;

/// What a value must look like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
    /// A string that holds a decimal; a number there has an error of its own.
    Decimal,
    /// A string that holds a decimal, or an integer.
    Quantity,
    /// A number, taken as its own text, or a string.
    Number,
    /// An object with these fields.
    Object(&'static [Field]),
    /// An object with these fields that stands for money; a number there has an error of its own.
    Money(&'static [Field]),
    /// A list of objects with these fields.
    List(&'static [Field]),
    /// A list whose items are read by themselves.
    Items,
    /// A list of strings.
    Texts,
    /// An object of strings.
    TextMap,
}

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its shape.
    pub shape: Shape,
    /// Whether it must be there. `null` is the same as not being there.
    pub required: bool,
}

impl Field {
    /// A field that must be there.
    pub const fn required(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            shape,
            required: true,
        }
    }

    /// A field that may be left out.
    pub const fn optional(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            shape,
            required: false,
        }
    }
}

/// A body that was read, and what is wrong with its shape. Where there are faults, the value at each
/// fault's pointer is a stand-in, so that the rest can still be judged.
pub struct Read<T> {
    /// The body.
    pub body: T,
    /// Empty when the body has the right shape.
    pub faults: Vec<Fault>,
}

impl<T> Read<T> {
    /// Adds a fault, unless there is one at its place or above it already, or there are enough.
    pub fn add(&mut self, fault: Fault) {
        let covers = |known: &Fault| {
            let below = fault.pointer.strip_prefix(&known.pointer);
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if self.faults.len() <= limits::FAULTS && !self.faults.iter().any(covers) {
            self.faults.push(fault);
        }
    }
}

/// Reads `json` into `T`, whose shape `fields` describes.
///
/// # Errors
/// When `json` is no JSON.
pub fn read<T: DeserializeOwned>(
    json: &[u8],
    fields: &'static [Field],
) -> Result<Read<T>, Problem> {
    if let Ok(Object(body)) = serde_json::from_slice::<Object<T>>(json) {
        return Ok(Read {
            body,
            faults: Vec::new(),
        });
    }
    let raw: &RawValue = serde_json::from_slice(json).map_err(|e| invalid_json(&e))?;
    let (cleaned, faults) = faults::collect(raw, fields);
    match serde_json::from_value(cleaned) {
        Ok(body) if !faults.is_empty() => Ok(Read { body, faults }),
        // the two passes disagree, which a property test looks for: refuse what one of them refuses
        _ => Err(Problem::new(
            &codes::INVALID_JSON,
            "the body could not be read",
        )),
    }
}

/// The problem of a text that is no JSON.
pub fn invalid_json(error: &serde_json::Error) -> Problem {
    Problem::new(
        &codes::INVALID_JSON,
        format!("line {}, column {}: not JSON", error.line(), error.column()),
    )
}

/// A struct read from a JSON object and from nothing else (serde also takes an array for a struct).
#[derive(Debug, Clone, Default, Serialize)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// An object of strings in which no key stands twice.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TextMap(pub BTreeMap<String, String>);

impl TextMap {
    /// What is wrong with it as metadata that stands at a pointer: its number of keys, their lengths, its texts.
    pub fn faults_of_metadata(&self, at: &str) -> Vec<Fault> {
        let Self(map) = self;
        let mut faults = Vec::new();
        if map.len() > limits::METADATA_KEYS {
            let detail = format!("at most {} keys, not {}", limits::METADATA_KEYS, map.len());
            faults.push(Fault::new(at, &codes::TOO_MANY_KEYS, detail));
        }
        for (key, value) in map.iter().take(limits::METADATA_KEYS) {
            let wrong = [
                Fault::of_text("", key, limits::METADATA_KEY_CHARS),
                key.is_empty()
                    .then(|| Fault::new("", &codes::TEXT_EMPTY, "a key is not empty")),
                Fault::of_text("", value, limits::METADATA_VALUE_CHARS),
            ];
            // where it stands is written only where something is wrong
            faults.extend(wrong.into_iter().flatten().map(|fault| Fault {
                pointer: format!("{at}/{}", escape(key)),
                ..fault
            }));
        }
        faults
    }
}

impl<'de> Deserialize<'de> for TextMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextMapVisitor;
        impl<'de> Visitor<'de> for TextMapVisitor {
            type Value = TextMap;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<TextMap, A::Error> {
                let mut map = BTreeMap::new();
                while let Some((key, value)) = entries.next_entry()? {
                    if map.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key stands more than once"));
                    }
                }
                Ok(TextMap(map))
            }
        }
        deserializer.deserialize_map(TextMapVisitor)
    }
}

/// A quantity's text; an integer of any length is taken as its digits.
#[derive(Debug, Clone, Default)]
pub struct Quantity(pub String);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get().starts_with('"') || is_integer(raw.get()) {
            return text_of(&raw).map(Self);
        }
        Err(D::Error::custom("an integer or a decimal string"))
    }
}

/// A number without a fraction and an exponent, by its text.
fn is_integer(number: &str) -> bool {
    number.bytes().all(|b| b == b'-' || b.is_ascii_digit())
}

/// A number's own text, never a float; or a string.
#[derive(Debug, Clone, Default)]
pub struct Decimal(pub String);

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_of(&Box::<RawValue>::deserialize(deserializer)?).map(Self)
    }
}

/// The text of a string, or of a number as it stands.
fn text_of<E: serde::de::Error>(raw: &RawValue) -> Result<String, E> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map_err(E::custom),
        Some(b'-' | b'0'..=b'9') => Ok(text.to_owned()),
        _ => Err(E::custom("a number or a decimal string")),
    }
}

/// A name as a token of a JSON pointer (RFC 6901).
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
