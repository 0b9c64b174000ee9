//! Where mails go: to a mail server, or into a directory while developing.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body, Mailbox};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::{AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use tokio::fs;

use super::letter::Letter;
use crate::accounts::store::mails::Due;
use crate::limits;

/// Sends mails. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailer {
    way: Way,
    from: Mailbox,
    page: Option<String>,
}

#[derive(Debug, Clone)]
enum Way {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Directory(PathBuf),
}

/// Why there is no mailer, or a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The sender is no address.
    #[error("--mail-from is no sender such as Shop <no-reply@shop.example>")]
    From(#[source] lettre::address::AddressError),
    /// The mail server's address is none. lettre's own error may repeat it, with its password.
    #[error(
        "--smtp-url is no address such as smtps://user:password@mail.example or smtp://user:password@mail.example:587?tls=required"
    )]
    Url,
    /// Mails hold tokens.
    #[error(
        "--smtp-url has no TLS; add ?tls=required, or use smtps://: only a mail server on this machine may go without"
    )]
    Plain,
    /// The mail cannot be put together.
    #[error("the mail cannot be written")]
    Message(#[source] lettre::error::Error),
    /// The account's address is none to the mail library.
    #[error("the mail's receiver is no address")]
    To(#[source] lettre::address::AddressError),
    /// The mail server refused it or does not answer.
    #[error("the mail server did not take it")]
    Smtp(#[source] lettre::transport::smtp::Error),
    /// The directory cannot be written.
    #[error("{} cannot be written", .0.display())]
    Directory(PathBuf, #[source] io::Error),
}

impl Mailer {
    /// One that hands mails to a mail server. `page` is the page of the shop that takes a mail's token.
    ///
    /// # Errors
    /// When the address or the sender is none, or mails would cross a network unencrypted.
    pub fn smtp(url: &SecretString, from: &str, page: Option<String>) -> Result<Self, MailError> {
        let url = url.expose_secret();
        let parsed = reqwest::Url::parse(url).map_err(|_| MailError::Url)?;
        let is_here = match parsed.host_str() {
            Some("localhost" | "127.0.0.1" | "[::1]") => true,
            Some(_) => false,
            None => return Err(MailError::Url),
        };
        let tls = parsed
            .query_pairs()
            .any(|(name, value)| name == "tls" && value == "required");
        if parsed.scheme() != "smtps" && !tls && !is_here {
            return Err(MailError::Plain);
        }
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            .map_err(|_| MailError::Url)?
            .timeout(Some(limits::MAIL_SEND_TIME))
            .build();
        Self::new(Way::Smtp(transport), from, page)
    }

    /// One that writes each mail into a directory, as a file `.eml`.
    ///
    /// # Errors
    /// When the sender is none.
    pub fn directory(path: PathBuf, from: &str, page: Option<String>) -> Result<Self, MailError> {
        Self::new(Way::Directory(path), from, page)
    }

    fn new(way: Way, from: &str, page: Option<String>) -> Result<Self, MailError> {
        let from = from.parse().map_err(MailError::From)?;
        Ok(Self { way, from, page })
    }

    /// The page of the shop that takes a mail's token.
    pub(super) fn page(&self) -> Option<&str> {
        self.page.as_deref()
    }

    /// Sends a mail.
    pub(super) async fn send(
        &self,
        due: &Due,
        letter: &Letter,
        now: OffsetDateTime,
    ) -> Result<(), MailError> {
        let to: lettre::Address = due.email.parse().map_err(MailError::To)?;
        let id = format!(
            "<{}.{}@{}>",
            due.mail_id.simple(),
            due.tries,
            self.from.email.domain()
        );
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject.clone())
            .message_id(Some(id))
            .date(SystemTime::from(now))
            .header(ContentType::TEXT_PLAIN)
            .body(body(&letter.text))
            .map_err(MailError::Message)?;
        match &self.way {
            Way::Smtp(transport) => transport
                .send(message)
                .await
                .map(drop)
                .map_err(MailError::Smtp),
            Way::Directory(directory) => {
                let name = format!("{}-{}.eml", due.mail_id.simple(), due.tries);
                let file = directory.join(name);
                write(directory, &file, &message.formatted())
                    .await
                    .map_err(|error| MailError::Directory(file, error))
            }
        }
    }
}

/// A text as it is where it may be (RFC 5322, 2.1.1): the encoding that the library prefers cuts lines, and
/// tokens, at 76 characters.
fn body(text: &str) -> Body {
    let fits = |line: &str| line.len() <= 998 && !line.contains(['\0', '\r']);
    if text.is_ascii() && text.lines().all(fits) {
        let lines = text.replace('\n', "\r\n").into_bytes();
        return Body::dangerous_pre_encoded(lines, ContentTransferEncoding::SevenBit);
    }
    Body::new(text.to_owned())
}

/// Whoever waits for the name finds the mail whole; it holds a token, so only its owner reads it.
async fn write(directory: &PathBuf, file: &PathBuf, content: &[u8]) -> io::Result<()> {
    use tokio::io::AsyncWriteExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .await?;
    let unfinished = file.with_extension("unfinished");
    let mut open = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .await?;
    open.write_all(content).await?;
    open.flush().await?;
    fs::rename(&unfinished, file).await
}
