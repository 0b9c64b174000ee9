//! The fields that several requests have: each parsed into what cannot be wrong, or a fault at its place.

use secrecy::{ExposeSecret, SecretString};

use crate::http::codes;
use crate::http::object::Read;
use crate::http::problem::{Fault, Problem};
use crate::http::scopes;
use crate::ids::MerchantId;
use crate::limits;

/// The merchant with this id.
pub(super) fn merchant<T>(read: &mut Read<T>, text: &str) -> Option<MerchantId> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        read.add(Fault::new(
            "/merchant_id",
            &codes::MERCHANT_UNKNOWN,
            UNKNOWN,
        ));
    }
    parsed
}

const UNKNOWN: &str = "there is no merchant with this id";

/// A merchant that is well written and is not there.
pub(super) fn unknown_merchant() -> Problem {
    let fault = Fault::new("/merchant_id", &codes::MERCHANT_UNKNOWN, UNKNOWN);
    Problem::of_faults(vec![fault])
}

/// An e-mail address, as it was given.
pub(super) fn email<T>(read: &mut Read<T>, text: &str) -> Option<String> {
    let text = text.trim();
    if is_email(text) {
        return Some(text.to_owned());
    }
    let detail = "local@domain in visible ASCII, the domain with a dot";
    read.add(Fault::new("/email", &codes::EMAIL_INVALID, detail));
    None
}

/// An address that another account has.
pub(super) fn taken() -> Problem {
    let detail = "another account has this address";
    Problem::of_faults(vec![Fault::new("/email", &codes::EMAIL_TAKEN, detail)])
}

/// The form that mail servers take (RFC 5321, 4.1.2), without quoted strings and addresses in brackets.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    let dotted = |text: &str, is_part: &dyn Fn(&str) -> bool| text.split('.').all(is_part);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= limits::EMAIL_CHARS
        && (1..=limits::EMAIL_LOCAL_CHARS).contains(&local.len())
        && dotted(local, &|part| !part.is_empty() && part.bytes().all(atom))
        && domain.contains('.')
        && dotted(domain, &is_label)
}

/// A new password of the account with this e-mail address.
pub(super) fn password<T>(
    read: &mut Read<T>,
    pointer: &str,
    password: &SecretString,
    email: Option<&str>,
) {
    let text = password.expose_secret();
    let chars = text.chars().count();
    let (least, most) = (limits::PASSWORD_LEAST, limits::PASSWORD_CHARS);
    let detail = if chars < least || chars > most {
        format!("{least} to {most} characters")
    } else if email.is_some_and(|email| email.eq_ignore_ascii_case(text)) {
        "it must not be the e-mail address".to_owned()
    } else {
        return;
    };
    read.add(Fault::new(pointer, &codes::PASSWORD_UNFIT, detail));
}

/// A password that somebody signs in with: too long a one is nobody's, and costs no hashing.
pub(super) fn given_password<T>(read: &mut Read<T>, pointer: &str, password: &SecretString) {
    if password.expose_secret().chars().count() > limits::PASSWORD_CHARS {
        let detail = format!("at most {} characters", limits::PASSWORD_CHARS);
        read.add(Fault::new(pointer, &codes::TEXT_TOO_LONG, detail));
    }
}

/// What people call an account.
pub(super) fn name<T>(read: &mut Read<T>, text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    if text.contains('\0') {
        let detail = "U+0000 is not allowed";
        read.add(Fault::new("/name", &codes::TEXT_HAS_NUL, detail));
    }
    if text.chars().count() > limits::NAME_CHARS {
        let detail = format!("at most {} characters", limits::NAME_CHARS);
        read.add(Fault::new("/name", &codes::TEXT_TOO_LONG, detail));
    }
    text.to_owned()
}

/// Scopes, separated by spaces: those that a key or session is narrowed to. None at all are every one.
pub(super) fn scope<T>(read: &mut Read<T>, text: Option<&str>) -> Option<Vec<String>> {
    let mut names: Vec<String> = text?.split(' ').map(str::to_owned).collect();
    names.sort();
    names.dedup();
    if let Some(unknown) = names.iter().find(|name| !scopes::is_known(name)) {
        let shown: String = unknown.chars().take(limits::SHORT_TEXT_CHARS).collect();
        let detail = format!("there is no scope {shown:?}");
        read.add(Fault::new("/scope", &codes::SCOPE_UNKNOWN, detail));
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_is_one_that_mail_servers_take() {
        for (text, right) in [
            ("a@b.c", true),
            ("Ada.Lovelace+shop@Mail.Example", true),
            ("o'brien@xn--bcher-kva.example", true),
            (&format!("{}@b.example", "a".repeat(64)), true),
            (&format!("{}@b.example", "a".repeat(65)), false),
            (&format!("a@{}.example", "b".repeat(64)), false),
            (&format!("a@{}example", "b.".repeat(125)), false),
            ("", false),
            ("a", false),
            ("@b.c", false),
            ("a@", false),
            ("a@b", false),
            ("a@b..c", false),
            ("a@-b.c", false),
            ("a..b@c.d", false),
            (".a@c.d", false),
            ("a b@c.d", false),
            ("a@b@c.d", false),
            ("ä@b.c", false),
            ("a\r\n@b.c", false),
            ("\"a\"@b.c", false),
            ("a@[127.0.0.1]", false),
        ] {
            assert_eq!(is_email(text), right, "{text}");
        }
    }
}
