//! Sign-in messages (EIP-4361), parsed as strictly as its grammar: a line more, a space more or another order
//! is no message.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::chain::{Account, parse_account};

/// A message of the right form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInMessage {
    /// The scheme before the domain, where there is one.
    pub scheme: Option<String>,
    /// Who asks: host and port (RFC 3986, authority).
    pub domain: String,
    /// Who signs.
    pub account: Account,
    /// What people read.
    pub statement: Option<String>,
    /// What is signed in to.
    pub uri: String,
    /// The chain on which a contract's signature is checked (EIP-155).
    pub chain_id: u64,
    /// 8 or more letters and digits.
    pub nonce: String,
    /// When it was made.
    pub issued_at: OffsetDateTime,
    /// From when on it is not good any more.
    pub expiration_time: Option<OffsetDateTime>,
    /// From when on it is good.
    pub not_before: Option<OffsetDateTime>,
}

/// What of a text is not as in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("EIP-4361: {0}")]
pub struct MessageError(&'static str);

const WANTS: &str = " wants you to sign in with your Ethereum account:";

impl SignInMessage {
    /// Reads a message.
    ///
    /// # Errors
    /// Which part is not as it has to be.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let mut lines = Lines(text.split('\n').peekable());
        let first = lines.next("it is empty")?;
        let asking = first.strip_suffix(WANTS).ok_or(MessageError(
            "the first line is: domain wants you to sign in with your Ethereum account:",
        ))?;
        let (scheme, domain) = match asking.split_once("://") {
            Some((scheme, domain)) => (Some(scheme.to_owned()), domain),
            None => (None, asking),
        };
        let address = lines.next("the second line is the account's address")?;
        let account =
            address_of(address).ok_or(MessageError("the address has the checksum of EIP-55"))?;
        lines.empty("a blank line follows the address")?;
        let statement = match lines.next("a statement or a blank line is missing")? {
            "" => None,
            statement => {
                lines.empty("a blank line follows the statement")?;
                Some(statement.to_owned())
            }
        };
        if statement
            .as_deref()
            .is_some_and(|text| !text.bytes().all(is_printable))
        {
            return Err(MessageError("the statement is printable ASCII on one line"));
        }
        let uri = lines.field("URI: ", "URI: is missing")?.to_owned();
        if lines.field("Version: ", "Version: is missing")? != "1" {
            return Err(MessageError("Version: is 1"));
        }
        let chain_id = decimal(lines.field("Chain ID: ", "Chain ID: is missing")?)
            .ok_or(MessageError("Chain ID: is a decimal number"))?;
        let nonce = lines.field("Nonce: ", "Nonce: is missing")?.to_owned();
        if nonce.len() < 8 || !nonce.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(MessageError("Nonce: has 8 or more letters and digits"));
        }
        let issued_at = date(lines.field("Issued At: ", "Issued At: is missing")?)?;
        let expiration_time = lines.optional("Expiration Time: ").map(date).transpose()?;
        let not_before = lines.optional("Not Before: ").map(date).transpose()?;
        lines.rest()?;
        Ok(Self {
            scheme,
            domain: domain.to_owned(),
            account,
            statement,
            uri,
            chain_id,
            nonce,
            issued_at,
            expiration_time,
            not_before,
        })
    }
}

/// The lines of a message, one after the other.
struct Lines<'a>(std::iter::Peekable<std::str::Split<'a, char>>);

impl<'a> Lines<'a> {
    fn next(&mut self, missing: &'static str) -> Result<&'a str, MessageError> {
        self.0.next().ok_or(MessageError(missing))
    }

    fn empty(&mut self, missing: &'static str) -> Result<(), MessageError> {
        match self.next(missing)? {
            "" => Ok(()),
            _ => Err(MessageError(missing)),
        }
    }

    fn field(&mut self, name: &str, missing: &'static str) -> Result<&'a str, MessageError> {
        let line = self.next(missing)?;
        line.strip_prefix(name).ok_or(MessageError(missing))
    }

    fn optional(&mut self, name: &str) -> Option<&'a str> {
        let line = self.0.peek()?.strip_prefix(name)?;
        self.0.next();
        Some(line)
    }

    /// The parts that change nothing here: the request's id and the resources.
    fn rest(&mut self) -> Result<(), MessageError> {
        if let Some(id) = self.optional("Request ID: ")
            && !id.bytes().all(is_printable)
        {
            return Err(MessageError("Request ID: is printable ASCII"));
        }
        if self
            .optional("Resources:")
            .is_some_and(|rest| !rest.is_empty())
        {
            return Err(MessageError("each resource stands on a line of its own"));
        }
        while let Some(resource) = self.optional("- ") {
            if !is_uri(resource) {
                return Err(MessageError("a resource is a URI"));
            }
        }
        match self.0.next() {
            None => Ok(()),
            Some(_) => Err(MessageError("there is a line that does not belong there")),
        }
    }
}

/// An address with its checksum.
fn address_of(text: &str) -> Option<Account> {
    let account = parse_account(text).ok()?;
    // an address without a letter has but one form
    let checked = text.bytes().any(|b| b.is_ascii_uppercase())
        || !text.bytes().skip(2).any(|b| b.is_ascii_alphabetic());
    checked.then_some(account)
}

/// A number without a sign or leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

fn date(text: &str) -> Result<OffsetDateTime, MessageError> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| MessageError("a time is as RFC 3339 has it, such as 2026-01-31T10:00:00Z"))
}

fn is_uri(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok() && text.bytes().all(|b| (0x21..=0x7e).contains(&b))
}

fn is_printable(b: u8) -> bool {
    (0x20..=0x7e).contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of EIP-4361.
    const EXAMPLE: &str = "example.com wants you to sign in with your Ethereum account:\n\
        0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2\n\
        \n\
        I accept the ExampleOrg Terms of Service: https://example.com/tos\n\
        \n\
        URI: https://example.com/login\n\
        Version: 1\n\
        Chain ID: 1\n\
        Nonce: 32891756\n\
        Issued At: 2021-09-30T16:25:24Z\n\
        Resources:\n\
        - ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/\n\
        - https://example.com/my-web2-claim.json";

    #[test]
    fn the_standards_own_example_is_read() {
        let message = SignInMessage::parse(EXAMPLE).unwrap();
        assert_eq!(message.domain, "example.com");
        assert_eq!(message.uri, "https://example.com/login");
        assert_eq!((message.chain_id, message.nonce.as_str()), (1, "32891756"));
        assert_eq!(message.issued_at.unix_timestamp(), 1_633_019_124);
        assert_eq!(message.scheme, None);
        // with a scheme, without a statement, with all times
        let other = EXAMPLE
            .replace("example.com wants", "https://example.com wants")
            .replace("I accept the ExampleOrg Terms of Service: https://example.com/tos\n", "")
            .replace(
                "24Z\n",
                "24Z\nExpiration Time: 2021-09-30T16:30:24Z\nNot Before: 2021-09-30T16:25:00Z\nRequest ID: a 1\n",
            );
        let message = SignInMessage::parse(&other).unwrap();
        assert_eq!(message.scheme.as_deref(), Some("https"));
        assert_eq!(message.statement, None);
        assert!(message.expiration_time.is_some() && message.not_before.is_some());
    }

    #[test]
    fn what_is_a_little_other_is_no_message() {
        for (from, to) in [
            ("sign in with", "sign in  with"),
            ("account:\n", "account:\r\n"),
            ("0xC02aaA", "0xc02aaa"),
            ("Cc2\n\n", "Cc2\n"),
            ("tos\n\n", "tos\n"),
            ("tos\n", "tos\nand more\n"),
            ("tos\n", "tös\n"),
            ("URI: ", "Uri: "),
            ("URI: ", ""),
            ("Version: 1", "Version: 2"),
            ("Version: 1\n", ""),
            ("Version: 1\nChain ID: 1", "Chain ID: 1\nVersion: 1"),
            ("Chain ID: 1", "Chain ID: 01"),
            ("Chain ID: 1", "Chain ID: 0"),
            ("Chain ID: 1", "Chain ID: +1"),
            ("Chain ID: 1", "Chain ID: 0x1"),
            ("Nonce: 32891756", "Nonce: 3289175"),
            ("Nonce: 32891756", "Nonce: 3289-1756"),
            ("Nonce: 32891756", "Nonce: 32891756 "),
            ("2021-09-30T16:25:24Z", "2021-09-30 16:25"),
            ("2021-09-30T16:25:24Z", "2021-09-30T16:25:24"),
            (
                "24Z\n",
                "24Z\nNot Before: 2021-09-30T16:25:00Z\nExpiration Time: 2021-09-30T16:30:24Z\n",
            ),
            ("24Z\n", "24Z\nExpiration Time: never\n"),
            ("Resources:\n", "Resources: \n"),
            ("- ipfs", "* ipfs"),
            ("claim.json", "claim.json\n"),
            ("claim.json", "claim.json\nNonce: 32891757"),
        ] {
            let text = EXAMPLE.replace(from, to);
            assert_ne!(text, EXAMPLE, "{from:?}");
            assert!(SignInMessage::parse(&text).is_err(), "{from:?} → {to:?}");
        }
        assert!(SignInMessage::parse("").is_err());
    }
}
