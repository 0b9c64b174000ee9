//! JSON text (RFC 8259) into a tree that keeps what was written: repeated keys, and numbers as
//! their text.

use std::borrow::Cow;

use super::{Fault, ParseError};

/// Nesting beyond this is refused, so that no input exhausts the stack.
const MAX_DEPTH: usize = 32;

/// A JSON value that borrows from its text.
#[derive(Debug, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// In the order of the text, repeated keys included.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Parses a whole document of at most `max_bytes` bytes.
pub(crate) fn parse(bytes: &[u8], max_bytes: usize) -> Result<Json<'_>, ParseError> {
    let refuse = |fault| ParseError {
        pointer: String::new(),
        fault,
    };
    if bytes.len() > max_bytes {
        return Err(refuse(Fault::TooLong { max: max_bytes }));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        refuse(Fault::NotUtf8 {
            offset: error.valid_up_to(),
        })
    })?;
    let mut parser = Parser { text, at: 0 };
    let parsed = parser.value(0).and_then(|value| {
        parser.skip_whitespace();
        if parser.at == text.len() {
            Ok(value)
        } else {
            Err("more than one value")
        }
    });
    parsed.map_err(|problem| {
        refuse(Fault::Syntax {
            offset: parser.at,
            problem,
        })
    })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

type Parsed<T> = Result<T, &'static str>;

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Parsed<Json<'a>> {
        if depth == MAX_DEPTH {
            return Err("too many levels");
        }
        self.skip_whitespace();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b't') => self.literal("true", Json::Bool(true)),
            Some(b'f') => self.literal("false", Json::Bool(false)),
            Some(b'n') => self.literal("null", Json::Null),
            Some(_) => Err("no value"),
            None => Err("the end"),
        }
    }

    fn object(&mut self, depth: usize) -> Parsed<Json<'a>> {
        let mut fields = Vec::new();
        self.expect(b'{', "no object")?;
        self.skip_whitespace();
        if self.take(b'}') {
            return Ok(Json::Object(fields));
        }
        loop {
            self.skip_whitespace();
            let key = self.string()?;
            self.skip_whitespace();
            self.expect(b':', "a key without a colon")?;
            fields.push((key, self.value(depth + 1)?));
            self.skip_whitespace();
            if self.take(b'}') {
                return Ok(Json::Object(fields));
            }
            self.expect(b',', "an object without its end")?;
        }
    }

    fn array(&mut self, depth: usize) -> Parsed<Json<'a>> {
        let mut items = Vec::new();
        self.expect(b'[', "no list")?;
        self.skip_whitespace();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_whitespace();
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            self.expect(b',', "a list without its end")?;
        }
    }

    fn string(&mut self) -> Parsed<Cow<'a, str>> {
        self.expect(b'"', "no string")?;
        let plain = self.plain_run()?;
        if self.take(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        while !self.take(b'"') {
            self.at += 1; // plain_run stops at a quote or a backslash only
            text.push(self.escape()?);
            text.push_str(self.plain_run()?);
        }
        Ok(Cow::Owned(text))
    }

    /// The text up to the next quote or backslash.
    fn plain_run(&mut self) -> Parsed<&'a str> {
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"' | b'\\') => return Ok(&self.text[start..self.at]),
                Some(0..0x20) => return Err("a control character in a string"),
                Some(_) => self.at += 1,
                None => return Err("a string without its end"),
            }
        }
    }

    fn escape(&mut self) -> Parsed<char> {
        let escaped = self.peek().ok_or("the end")?;
        self.at += 1;
        Ok(match escaped {
            b'"' | b'\\' | b'/' => char::from(escaped),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err("an unknown escape"),
        })
    }

    fn unicode_escape(&mut self) -> Parsed<char> {
        const LONE: &str = "half of a surrogate pair";
        let unit = self.hex4()?;
        if !(0xD800..0xE000).contains(&unit) {
            return char::from_u32(unit).ok_or(LONE);
        }
        if !(self.take(b'\\') && self.take(b'u')) {
            return Err(LONE);
        }
        let low = self.hex4()?;
        if unit >= 0xDC00 || !(0xDC00..0xE000).contains(&low) {
            return Err(LONE);
        }
        char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00)).ok_or(LONE)
    }

    fn hex4(&mut self) -> Parsed<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|c| char::from(c).to_digit(16));
            unit = unit << 4 | digit.ok_or("an escape without four digits")?;
            self.at += 1;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Parsed<&'a str> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Parsed<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start {
            Ok(())
        } else {
            Err("a number without a digit")
        }
    }

    fn literal(&mut self, word: &str, value: Json<'a>) -> Parsed<Json<'a>> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(value)
        } else {
            Err("no value")
        }
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, problem: &'static str) -> Parsed<()> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(problem)
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same document by a parser that many rely on, which merges repeated keys.
    fn reference(text: &str) -> Option<serde_json::Value> {
        serde_json::from_str(text).ok()
    }

    /// That parser also refuses numbers that no double holds; the grammar has no such bound.
    fn beyond_a_double(text: &str) -> bool {
        let read = serde_json::from_str::<serde_json::Value>(text);
        read.is_err_and(|error| error.to_string().starts_with("number out of range"))
    }

    fn same(ours: &Json<'_>, theirs: &serde_json::Value) -> bool {
        use serde_json::Value;
        match (ours, theirs) {
            (Json::Null, Value::Null) => true,
            (Json::Bool(a), Value::Bool(b)) => a == b,
            (Json::Number(a), Value::Number(_)) => reference(a).as_ref() == Some(theirs),
            (Json::String(a), Value::String(b)) => a == b,
            (Json::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Json::Object(a), Value::Object(b)) => {
                let last = |key: &str| a.iter().rev().find(|(name, _)| name == key);
                b.iter()
                    .all(|(key, b)| last(key).is_some_and(|(_, a)| same(a, b)))
                    && a.iter().all(|(key, _)| b.contains_key(key.as_ref()))
            }
            _ => false,
        }
    }

    /// Pieces that JSON is made of, right and wrong, so that many a random row of them is JSON.
    fn document() -> impl Strategy<Value = String> {
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\"a\"",
            "\"a\":1",
            "\"\\u00e9\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\ud83d\\u0041\"",
            "\"\\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"é😀\"",
            "\"\u{7f}\"",
            "\"\n\"",
            "1",
            "-1",
            "0",
            "-0",
            "01",
            "-",
            "1.5",
            "1.",
            ".5",
            "1e9",
            "1E-9",
            "1e",
            "true",
            "false",
            "null",
            "tru",
            "nul",
            " ",
            "\t",
            "\r\n",
            "\u{a0}",
            "//",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn what_is_json_is_read_and_nothing_else(text in document()) {
            prop_assume!(!beyond_a_double(&text));
            let (ours, theirs) = (parse(text.as_bytes(), 1000), reference(&text));
            prop_assert_eq!(ours.is_ok(), theirs.is_some(), "{}", text);
            if let (Ok(ours), Some(theirs)) = (ours, theirs) {
                prop_assert!(same(&ours, &theirs), "{}", text);
            }
        }

        #[test]
        fn every_string_is_read_as_it_was_written(text: String) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(parse(json.as_bytes(), json.len()), Ok(Json::String(text.into())));
        }
    }

    #[test]
    fn bounds_hold() {
        let fault = |bytes: &[u8]| parse(bytes, 70).map_err(|error| error.fault).err();
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(fault(nested(32).as_bytes()), None);
        let problem = "too many levels";
        assert_eq!(
            fault(nested(33).as_bytes()),
            Some(Fault::Syntax {
                offset: 32,
                problem
            })
        );
        assert_eq!(
            fault(nested(36).as_bytes()),
            Some(Fault::TooLong { max: 70 })
        );
        assert_eq!(fault(b"\"ab\xff\""), Some(Fault::NotUtf8 { offset: 3 }));
    }
}
