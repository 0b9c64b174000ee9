//! Reading request bodies: first straight into the typed struct; only when that fails, a second time,
//! slowly, collecting every fault of shape by its JSON pointer.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::codes;
use super::problem::{Fault, Problem};

/// What a value must look like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A string.
    Text,
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

/// A body that was read, and what is wrong with its shape. Where there are faults, the value at each
/// fault's pointer is a stand-in, so that the rest can still be judged.
pub struct Read<T> {
    /// The body.
    pub body: T,
    /// Empty when the body has the right shape.
    pub faults: Vec<Fault>,
}

/// Reads `json` into `T`, whose shape `fields` describes.
///
/// # Errors
/// When `json` is no JSON, or no object.
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
    let mut faults = Vec::new();
    let cleaned = clean(raw, Shape::Object(fields), "", &mut faults);
    match serde_json::from_value(cleaned) {
        Ok(body) if !faults.is_empty() => Ok(Read { body, faults }),
        Ok(_) => Err(Problem::new(
            &codes::INVALID_JSON,
            "the body could not be read",
        )),
        Err(_) if !faults.is_empty() => Err(Problem::of_faults(faults)),
        Err(e) => Err(invalid_json(&e)),
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
#[derive(Debug, Clone, Default)]
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
#[derive(Debug, Clone, Default)]
pub struct TextMap(pub BTreeMap<String, String>);

impl<'de> Deserialize<'de> for TextMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries: Entries<String> = Entries::deserialize(deserializer)?;
        let count = entries.0.len();
        let map: BTreeMap<String, String> = entries.0.into_iter().collect();
        if map.len() == count {
            Ok(Self(map))
        } else {
            Err(D::Error::custom("repeated key"))
        }
    }
}

/// A quantity's text; an integer is taken as its digits.
#[derive(Debug, Clone, Default)]
pub struct Quantity(pub String);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct QuantityVisitor;
        impl Visitor<'_> for QuantityVisitor {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a decimal string")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_owned()))
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
        }
        deserializer.deserialize_any(QuantityVisitor)
    }
}

/// A number's own text, never a float; or a string.
#[derive(Debug, Clone, Default)]
pub struct Decimal(pub String);

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'"') => serde_json::from_str(text)
                .map(Self)
                .map_err(D::Error::custom),
            Some(b'-' | b'0'..=b'9') => Ok(Self(text.to_owned())),
            _ => Err(D::Error::custom("a number or a decimal string")),
        }
    }
}

/// The entries of an object as they stand, repeated keys included.
struct Entries<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
            type Value = Entries<V>;
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
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

/// `raw` with everything of the wrong shape replaced by a stand-in, and a fault for each.
fn clean(raw: &RawValue, shape: Shape, at: &str, faults: &mut Vec<Fault>) -> Value {
    let text = raw.get();
    let first = text.as_bytes().first().copied().unwrap_or(b' ');
    match (shape, first) {
        (Shape::Text | Shape::Decimal | Shape::Quantity | Shape::Number, b'"') => {
            match serde_json::from_str(text) {
                Ok(string) => return Value::String(string),
                Err(_) => faults.push(Fault::new(at, &codes::INVALID_TEXT, "not valid Unicode")),
            }
        }
        (Shape::Number, b'-' | b'0'..=b'9') => return Value::String(text.to_owned()),
        (Shape::Quantity, b'-' | b'0'..=b'9') => {
            if text.bytes().all(|b| b == b'-' || b.is_ascii_digit()) {
                return Value::String(text.to_owned());
            }
            faults.push(Fault::new(
                at,
                &codes::QUANTITY_NOT_INTEGER,
                "an integer or a decimal string belongs here",
            ));
        }
        (Shape::Decimal | Shape::Money(_), b'-' | b'0'..=b'9') => {
            faults.push(Fault::new(
                at,
                &codes::MONEY_MUST_BE_STRING,
                "money is a decimal string, not a number",
            ));
        }
        (Shape::Object(fields) | Shape::Money(fields), b'{') => {
            return clean_object(text, fields, at, faults);
        }
        (Shape::List(fields), b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            let cleaned = items.iter().enumerate().map(|(index, item)| {
                clean(
                    item,
                    Shape::Object(fields),
                    &format!("{at}/{index}"),
                    faults,
                )
            });
            return cleaned.collect();
        }
        (Shape::TextMap, b'{') => return clean_text_map(text, at, faults),
        _ => faults.push(Fault::new(
            at,
            &codes::WRONG_TYPE,
            format!("{} belongs here", expected(shape)),
        )),
    }
    stand_in(shape)
}

fn clean_object(text: &str, fields: &'static [Field], at: &str, faults: &mut Vec<Fault>) -> Value {
    let entries = entries(text, at, faults);
    let mut cleaned = Map::new();
    for (name, raw) in &entries {
        let here = format!("{at}/{}", escape(name));
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            faults.push(Fault::new(
                here,
                &codes::UNKNOWN_FIELD,
                format!("there is no field {name:?} here"),
            ));
            continue;
        };
        if cleaned.contains_key(field.name) {
            faults.push(Fault::new(
                here,
                &codes::REPEATED_FIELD,
                format!("{name:?} stands more than once"),
            ));
        } else if raw.get() != "null" {
            cleaned.insert(
                field.name.to_owned(),
                clean(raw, field.shape, &here, faults),
            );
        } else if !field.required {
            cleaned.insert(field.name.to_owned(), Value::Null);
        }
    }
    for field in fields.iter().filter(|field| field.required) {
        if !cleaned.contains_key(field.name) {
            let here = format!("{at}/{}", field.name);
            faults.push(Fault::new(
                here,
                &codes::MISSING_FIELD,
                format!("{:?} is required", field.name),
            ));
            cleaned.insert(field.name.to_owned(), stand_in(field.shape));
        }
    }
    Value::Object(cleaned)
}

fn clean_text_map(text: &str, at: &str, faults: &mut Vec<Fault>) -> Value {
    let mut cleaned = Map::new();
    for (name, raw) in entries(text, at, faults) {
        let here = format!("{at}/{}", escape(&name));
        if cleaned.contains_key(&name) {
            faults.push(Fault::new(
                here,
                &codes::REPEATED_FIELD,
                format!("{name:?} stands more than once"),
            ));
        } else {
            let value = clean(raw, Shape::Text, &here, faults);
            cleaned.insert(name, value);
        }
    }
    Value::Object(cleaned)
}

fn entries<'a>(text: &'a str, at: &str, faults: &mut Vec<Fault>) -> Vec<(String, &'a RawValue)> {
    match serde_json::from_str::<Entries<&RawValue>>(text) {
        Ok(entries) => entries.0,
        Err(_) => {
            faults.push(Fault::new(
                at,
                &codes::INVALID_TEXT,
                "a key is not valid Unicode",
            ));
            Vec::new()
        }
    }
}

/// A value of the right shape, so that the typed struct can be made.
fn stand_in(shape: Shape) -> Value {
    match shape {
        Shape::Text | Shape::Decimal | Shape::Quantity | Shape::Number => {
            Value::String(String::new())
        }
        Shape::List(_) => Value::Array(Vec::new()),
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
        Shape::Decimal => "a decimal string",
        Shape::Quantity => "an integer or a decimal string",
        Shape::Number => "a number or a decimal string",
        Shape::Object(_) | Shape::Money(_) => "an object",
        Shape::List(_) => "a list",
        Shape::TextMap => "an object of strings",
    }
}

/// A name as a token of a JSON pointer.
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
