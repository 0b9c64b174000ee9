//! A file of JSON objects, one a line, of any size: read as bytes and held one line at a time.

use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// U+FEFF in UTF-8, which some programs put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line that is not empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A JSON object.
    Item(Item),
    /// Something else.
    Unreadable {
        /// Its number, from 1.
        number: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// A JSON object on a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// The line's number, from 1.
    pub(super) number: u64,
    /// Its text, as it stands in the file.
    pub(super) text: String,
}

/// The lines of a file.
pub(super) struct Lines<R> {
    source: R,
    max_bytes: usize,
    number: u64,
    bytes_read: u64,
}

/// A line as bytes, without what ends it.
struct Raw {
    /// The first bytes of it, at most as many as a line may have and one more.
    bytes: Vec<u8>,
    length: usize,
    /// Whether a line feed ended it, and not the end of the file.
    is_ended: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// The lines of `source`, of at most `max_bytes` each.
    pub(super) fn new(source: R, max_bytes: usize) -> Self {
        Self {
            source,
            max_bytes,
            number: 0,
            bytes_read: 0,
        }
    }

    /// How much of the file is behind us.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next line that is not empty; none at the end.
    ///
    /// # Errors
    /// The source's.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<Line>> {
        while let Some(mut raw) = self.raw().await? {
            self.number += 1;
            if self.number == 1 && raw.bytes.starts_with(BYTE_ORDER_MARK) {
                raw.bytes.drain(..BYTE_ORDER_MARK.len());
            }
            if raw.bytes.last() == Some(&b'\r') && raw.bytes.len() == raw.length {
                raw.bytes.pop();
            }
            if raw.bytes.iter().all(u8::is_ascii_whitespace) && raw.length <= self.max_bytes {
                continue;
            }
            let number = self.number;
            return Ok(Some(match read(raw, self.max_bytes) {
                Ok(text) => Line::Item(Item { number, text }),
                Err(why) => Line::Unreadable { number, why },
            }));
        }
        Ok(None)
    }

    async fn raw(&mut self) -> std::io::Result<Option<Raw>> {
        let mut raw = Raw {
            bytes: Vec::new(),
            length: 0,
            is_ended: false,
        };
        loop {
            let buffer = self.source.fill_buf().await?;
            if buffer.is_empty() {
                return Ok((raw.length > 0).then_some(raw));
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            let room = (self.max_bytes + 1).saturating_sub(raw.bytes.len());
            raw.bytes.extend_from_slice(&part[..part.len().min(room)]);
            raw.length += part.len();
            let used = part.len() + usize::from(end.is_some());
            self.source.consume(used);
            self.bytes_read += used as u64;
            if end.is_some() {
                raw.is_ended = true;
                return Ok(Some(raw));
            }
        }
    }
}

/// The text of a line that is a JSON object; otherwise what it is.
fn read(raw: Raw, max_bytes: usize) -> Result<String, String> {
    if raw.length > max_bytes {
        return Err(format!(
            "{} bytes long; a line has at most {max_bytes}",
            raw.length
        ));
    }
    let text = String::from_utf8(raw.bytes)
        .map_err(|error| format!("not UTF-8 after {} bytes", error.utf8_error().valid_up_to()))?;
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(value) if value.get().starts_with('{') => Ok(text),
        Ok(_) => Err("not a JSON object".to_owned()),
        Err(error) if error.is_eof() && !raw.is_ended => {
            Err("not JSON: the file ends in the middle of the line; it may be truncated".to_owned())
        }
        Err(error) if error.is_eof() => Err("not JSON: the line ends too early".to_owned()),
        Err(error) => Err(format!("not JSON at column {}", error.column())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 40;

    async fn lines(file: &[u8]) -> Vec<(u64, Result<String, String>)> {
        // a small buffer, so that lines come in parts
        let mut lines = Lines::new(tokio::io::BufReader::with_capacity(7, file), MAX);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push(match line {
                Line::Item(Item { number, text }) => (number, Ok(text)),
                Line::Unreadable { number, why } => (number, Err(why)),
            });
        }
        assert_eq!(lines.bytes_read(), file.len() as u64);
        found
    }

    #[tokio::test]
    async fn objects_go_through_unchanged() {
        let file = "\u{feff}{\"a\":1.50}\r\n\n \t\r\n  {\"b\" : \"ö\\u0000\"} \n{}";
        let found = lines(file.as_bytes()).await;
        let texts: Vec<_> = found
            .into_iter()
            .map(|(number, line)| (number, line.unwrap()))
            .collect();
        let expected = [
            (1, "{\"a\":1.50}"),
            (4, "  {\"b\" : \"ö\\u0000\"} "),
            (5, "{}"),
        ];
        assert_eq!(
            texts,
            expected.map(|(number, text)| (number, text.to_owned()))
        );
    }

    #[tokio::test]
    async fn what_is_no_object_is_named_and_the_rest_goes_on() {
        let long = [b"{\"a\":\"".as_slice(), &[b'x'; MAX], b"\"}"].concat();
        let cases: [(&[u8], &str); 8] = [
            (b"{\"a\":\"\xff\"}", "not UTF-8 after 6 bytes"),
            (b"[1]", "not a JSON object"),
            (b"7", "not a JSON object"),
            (b"{\"a\":1", "not JSON: the line ends too early"),
            (b"{\"a\":1}}", "not JSON at column 8"),
            (b"{a:1}", "not JSON at column 2"),
            (b"{\"a\":1}{\"b\":1}", "not JSON at column 8"),
            (&long, "48 bytes long; a line has at most 40"),
        ];
        for (line, why) in cases {
            let found = lines(&[b"{}\n", line, b"\n{}\n"].concat()).await;
            let expected = [
                (1, Ok("{}".to_owned())),
                (2, Err(why.to_owned())),
                (3, Ok("{}".to_owned())),
            ];
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(line));
        }
    }

    #[tokio::test]
    async fn a_truncated_file_is_called_that() {
        let found = lines(b"{}\n{\"a\":\"tw").await;
        assert_eq!(found.len(), 2);
        assert!(
            found[1].1.as_ref().unwrap_err().contains("truncated"),
            "{found:?}"
        );
        assert_eq!(lines(b"").await, []);
        assert_eq!(lines(b"\n\n").await, []);
    }

    #[tokio::test]
    async fn a_line_of_exactly_the_bound_is_read() {
        let line = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX - 8));
        assert_eq!(line.len(), MAX);
        assert_eq!(lines(line.as_bytes()).await, [(1, Ok(line.clone()))]);
    }
}
