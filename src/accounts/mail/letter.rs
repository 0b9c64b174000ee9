//! What mails say: plain text, short, and nothing that is not needed.

use crate::accounts::store::mails::{Due, Kind};

/// A mail's subject and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// Lines of plain text.
    pub text: String,
}

impl Letter {
    /// The mail that is due, with this token, and the page that takes it where there is one.
    pub fn new(due: &Due, token: &str, page: Option<&str>) -> Self {
        // a line of its own each, whatever the shop or the account is called
        let shop = one_line(&due.legal_name);
        let name = one_line(due.name.as_deref().unwrap_or_default());
        let greeting = match name.as_str() {
            "" => "Hello,".to_owned(),
            name => format!("Hello {name},"),
        };
        let how = match page {
            // a fragment is not sent to the page's server, and stands in no log
            Some(page) => format!("Choose a password here:\n\n{page}#token={token}"),
            None => format!("Choose a password with this token:\n\n{token}"),
        };
        let (subject, why, until) = match due.kind {
            Kind::Reset => (
                format!("{shop}: a new password"),
                format!("somebody asked for a new password for your account with {shop}."),
                "It works once, for 20 minutes. If it was not you, do nothing: your password stays as it is.",
            ),
            Kind::Invitation => (
                format!("{shop}: your account"),
                format!("{shop} has made an account for you."),
                "It works once, for 7 days. Later, ask for a new password with your e-mail address.",
            ),
        };
        Self {
            subject,
            text: format!("{greeting}\n\n{why} {how}\n\n{until}\n"),
        }
    }
}

fn one_line(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_letter_is_plain_and_short() {
        let due = Due {
            merchant_id: Uuid::nil(),
            mail_id: Uuid::nil(),
            kind: Kind::Reset,
            email: "ada@shop.example".to_owned(),
            created_at: OffsetDateTime::UNIX_EPOCH,
            tries: 1,
            account_id: Some(Uuid::nil()),
            name: Some("Ada\r\nBcc: eve@shop.example".to_owned()),
            legal_name: "The\nShop".to_owned(),
        };
        let letter = Letter::new(&due, "cf_reset_1", Some("https://shop.example/password"));
        assert_eq!(letter.subject, "The Shop: a new password");
        assert_eq!(
            letter.text,
            "Hello Ada  Bcc: eve@shop.example,\n\n\
             somebody asked for a new password for your account with The Shop. Choose a password here:\n\n\
             https://shop.example/password#token=cf_reset_1\n\n\
             It works once, for 20 minutes. If it was not you, do nothing: your password stays as it is.\n"
        );
    }
}
