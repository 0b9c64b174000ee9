//! Typed reading of a parsed document that knows where it is.

use std::{fmt::Display, str::FromStr};

use super::{Fault, Json, ParseError};
use crate::hex;

/// A value of a document and the way to it.
pub(crate) struct Cursor<'c> {
    json: &'c Json<'c>,
    parent: Option<&'c Cursor<'c>>,
    step: Step<'c>,
}

enum Step<'c> {
    Root,
    Key(&'c str),
    Index(usize),
}

impl<'c> Cursor<'c> {
    pub(crate) fn root(json: &'c Json<'c>) -> Cursor<'c> {
        Cursor {
            json,
            parent: None,
            step: Step::Root,
        }
    }

    /// An object that has no other than these fields, and none of them twice.
    pub(crate) fn object(&'c self, known: &[&str]) -> Result<Object<'c>, ParseError> {
        let Json::Object(fields) = self.json else {
            return Err(self.fault(Fault::Type("an object")));
        };
        for (i, (key, _)) in fields.iter().enumerate() {
            if !known.contains(&key.as_ref()) {
                return Err(self.field_fault(key, Fault::Unknown));
            }
            // Quadratic, but over no more fields than are known.
            if fields[..i].iter().any(|(earlier, _)| earlier == key) {
                return Err(self.field_fault(key, Fault::Repeated));
            }
        }
        Ok(Object { at: self, fields })
    }

    /// A list of at most `max` items.
    pub(crate) fn list(
        &'c self,
        max: usize,
    ) -> Result<impl ExactSizeIterator<Item = Cursor<'c>>, ParseError> {
        match self.json {
            Json::Array(items) if items.len() <= max => Ok(items
                .iter()
                .enumerate()
                .map(|(i, json)| self.child(json, Step::Index(i)))),
            Json::Array(_) => Err(self.fault(Fault::TooLong { max })),
            _ => Err(self.fault(Fault::Type("a list"))),
        }
    }

    pub(crate) fn string(&self) -> Result<&'c str, ParseError> {
        match self.json {
            Json::String(text) => Ok(text),
            _ => Err(self.fault(Fault::Type("a string"))),
        }
    }

    /// The text of a JSON number.
    pub(crate) fn number(&self) -> Result<&'c str, ParseError> {
        match self.json {
            Json::Number(text) => Ok(text),
            _ => Err(self.fault(Fault::Type("a number"))),
        }
    }

    /// A string that `parse` accepts.
    pub(crate) fn parsed<T, E: Into<Fault>>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ParseError> {
        parse(self.string()?).map_err(|error| self.fault(error.into()))
    }

    pub(crate) fn hex<const N: usize>(&self) -> Result<[u8; N], ParseError> {
        self.parsed(hex::decode)
    }

    /// A string of decimal digits without leading zeros that fits `T`.
    pub(crate) fn decimal<T: FromStr + Display>(&self) -> Result<T, ParseError> {
        let text = self.string()?;
        // Written again it must be the same: other forms that `T` reads (a sign, a leading zero,
        // another base) end here.
        let canonical = |value: &T| value.to_string() == text;
        text.parse().ok().filter(canonical).ok_or_else(|| {
            self.fault(Fault::Value(
                "a decimal number without leading zeros that fits its type",
            ))
        })
    }

    pub(crate) fn fault(&self, fault: Fault) -> ParseError {
        ParseError {
            pointer: self.pointer(),
            fault,
        }
    }

    fn field_fault(&'c self, key: &str, fault: Fault) -> ParseError {
        ParseError {
            pointer: self.pointer() + &Step::Key(key).pointer(),
            fault,
        }
    }

    fn pointer(&self) -> String {
        self.parent.map(Cursor::pointer).unwrap_or_default() + &self.step.pointer()
    }

    fn child(&'c self, json: &'c Json<'c>, step: Step<'c>) -> Cursor<'c> {
        Cursor {
            json,
            parent: Some(self),
            step,
        }
    }
}

impl Step<'_> {
    fn pointer(&self) -> String {
        match self {
            Step::Root => String::new(),
            Step::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => format!("/{index}"),
        }
    }
}

/// The fields of an object whose names are known to be right.
pub(crate) struct Object<'c> {
    at: &'c Cursor<'c>,
    fields: &'c [(std::borrow::Cow<'c, str>, Json<'c>)],
}

impl<'c> Object<'c> {
    pub(crate) fn required(&self, key: &'c str) -> Result<Cursor<'c>, ParseError> {
        self.optional(key).ok_or_else(|| self.missing(key))
    }

    pub(crate) fn missing(&self, key: &str) -> ParseError {
        self.at.field_fault(key, Fault::Missing)
    }

    pub(crate) fn optional(&self, key: &'c str) -> Option<Cursor<'c>> {
        let (_, json) = self.fields.iter().find(|(name, _)| name == key)?;
        Some(self.at.child(json, Step::Key(key)))
    }
}
