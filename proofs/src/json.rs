//! Strict JSON: what is read must be exactly what the formats allow, and an error names the JSON
//! pointer (RFC 6901) of the first fault.
//!
//! The parser is our own because every other one forgives something that matters here: repeated
//! keys are merged, numbers become floats, or behave as some other crate's features decide.

mod cursor;
mod parser;
mod write;

pub(crate) use cursor::Cursor;
pub(crate) use parser::{Json, parse};
pub(crate) use write::{Decimal, Hex, write_canonical};

use crate::{caip::Caip10Error, hex::HexError, leaf::ValueError, timestamp::TimestampError};

/// A document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at {}: {fault}", if .pointer.is_empty() { "the document" } else { .pointer.as_str() })]
pub struct ParseError {
    /// JSON pointer of the faulty value; empty for the whole document.
    pub pointer: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The document, or a list in it, is longer than its bound.
    #[error("is too long; {max} is the most")]
    TooLong {
        /// Bytes of a document, items of a list.
        max: usize,
    },
    /// The bytes are not UTF-8.
    #[error("is not UTF-8 after {offset} bytes")]
    NotUtf8 {
        /// How many bytes are.
        offset: usize,
    },
    /// The bytes are not JSON.
    #[error("is not JSON: {problem} after {offset} bytes")]
    Syntax {
        /// How many bytes are.
        offset: usize,
        /// What was met there.
        problem: &'static str,
    },
    /// A field that must be there is not.
    #[error("is missing")]
    Missing,
    /// A field that nobody knows.
    #[error("is not a known field")]
    Unknown,
    /// A field a second time.
    #[error("is repeated")]
    Repeated,
    /// A value of another JSON type.
    #[error("is not {0}")]
    Type(&'static str),
    /// A value out of its domain.
    #[error("is not {0}")]
    Value(&'static str),
    /// Not the lower-case hex of so many bytes.
    #[error("{0}")]
    Hex(HexError),
    /// Not a field of a sale.
    #[error("{0}")]
    Sale(ValueError),
    /// Not a time.
    #[error("{0}")]
    Timestamp(TimestampError),
    /// Not an account on a chain.
    #[error("{0}")]
    Account(Caip10Error),
}

impl From<HexError> for Fault {
    fn from(error: HexError) -> Fault {
        Fault::Hex(error)
    }
}

impl From<ValueError> for Fault {
    fn from(error: ValueError) -> Fault {
        Fault::Sale(error)
    }
}

impl From<TimestampError> for Fault {
    fn from(error: TimestampError) -> Fault {
        Fault::Timestamp(error)
    }
}

impl From<Caip10Error> for Fault {
    fn from(error: Caip10Error) -> Fault {
        Fault::Account(error)
    }
}
