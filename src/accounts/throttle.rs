//! How often somebody may try to sign in: with one e-mail address, whether an account has it or not, and
//! from one network address. The tries are counted in the database, before anything is compared.

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::fields;
use super::store::attempts::{self, Allowance};
use crate::database::violated;
use crate::http::codes;
use crate::http::problem::Problem;
use crate::ids::MerchantId;
use crate::limits;

/// Whose tries are counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    /// An e-mail address.
    Email(&'a str),
    /// An e-mail address that a mail is sent to.
    Mail(&'a str),
    /// A network address.
    Address(IpAddr),
}

impl Subject<'_> {
    fn hash(self) -> [u8; 32] {
        let text = match self {
            Self::Email(email) => format!("email {}", email.to_ascii_lowercase()),
            Self::Mail(email) => format!("mail {}", email.to_ascii_lowercase()),
            Self::Address(address) => format!("address {address}"),
        };
        Sha256::digest(text.as_bytes()).into()
    }

    fn allowance(self) -> Allowance {
        match self {
            Self::Email(_) => Allowance {
                burst: limits::EMAIL_ATTEMPTS,
                every: limits::EMAIL_ATTEMPT_EVERY,
            },
            Self::Mail(_) => Allowance {
                burst: limits::MAILS,
                every: limits::MAIL_EVERY,
            },
            Self::Address(_) => Allowance {
                burst: limits::ADDRESS_ATTEMPTS,
                every: limits::ADDRESS_ATTEMPT_EVERY,
            },
        }
    }
}

/// Takes a try of each subject.
///
/// # Errors
/// 429 when one of them has none; 422 when there is no such merchant; the database's.
pub(super) async fn take(
    conn: &mut PgConnection,
    merchant: MerchantId,
    subjects: &[Subject<'_>],
    now: OffsetDateTime,
) -> Result<(), Problem> {
    for subject in subjects {
        let taken = attempts::take(conn, merchant, &subject.hash(), subject.allowance(), now).await;
        let until = match taken {
            Err(error) if violated(&error, "sign_in_attempt_merchant") => {
                return Err(fields::unknown_merchant());
            }
            taken => taken?,
        };
        if let Some(until) = until {
            return Err(refused(*subject, until - now));
        }
    }
    Ok(())
}

fn refused(subject: Subject<'_>, wait: time::Duration) -> Problem {
    let of = match subject {
        Subject::Email(_) | Subject::Mail(_) => "with this e-mail address",
        Subject::Address(_) => "from your network address",
    };
    let seconds = wait
        .whole_milliseconds()
        .max(1)
        .unsigned_abs()
        .div_ceil(1000);
    let detail = format!("too many tries {of}; wait {seconds} s");
    Problem::new(&codes::TOO_MANY_ATTEMPTS, detail)
        .retry_after(u64::try_from(seconds).unwrap_or(u64::MAX))
}

/// Gives back what a success took: of an e-mail address every try, of a network address this one.
///
/// # Errors
/// The database's.
pub(super) async fn give_back(
    conn: &mut PgConnection,
    merchant: MerchantId,
    subjects: &[Subject<'_>],
) -> Result<(), sqlx::Error> {
    for subject in subjects {
        let all = matches!(subject, Subject::Email(_));
        attempts::give_back(conn, merchant, &subject.hash(), subject.allowance(), all).await?;
    }
    Ok(())
}
