//! The sending of mails: a step that takes the next one whose time has come, makes its token, keeps the
//! token's hash, and sends it. The token is in no row, so a mail that is tried again carries another one.
//!
//! - [`Mailer`]: by SMTP, or into a directory
//! - [`letter`]: what they say

pub mod letter;
mod mailer;

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::PgPool;

use super::reset::ResetToken;
use super::store::mails::{self as store, Due, Kind, NewToken};
use crate::clock::{Clock, Entropy};
use crate::ids::{AccountId, MerchantId};
use crate::limits;
use letter::Letter;
pub use mailer::{MailError, Mailer};

/// The first pause before another try; doubled after each, an hour at most.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No mail's time has come.
    Nothing,
    /// One was sent.
    Sent,
    /// One was for an address that no account has.
    NobodysAddress,
    /// One was given up: it could not be sent for [`limits::MAIL_TIME`].
    GivenUp,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The database's.
    #[error("the mails to send cannot be read")]
    Database(#[from] sqlx::Error),
    /// The mail server's.
    #[error("a mail cannot be sent; it is tried again")]
    Mail(#[source] MailError),
}

/// Sends the next mail whose time has come.
///
/// # Errors
/// When the database fails, or the mail cannot be sent: then it is tried again later.
pub async fn step(
    pool: &PgPool,
    mailer: &Mailer,
    clock: &Clock,
    entropy: &Entropy,
) -> Result<Outcome, StepError> {
    let now = clock.now();
    let mut db = pool.acquire().await?;
    // nobody else takes it while it is being sent here
    let Some(due) = store::take(&mut db, now, now + FIRST_PAUSE).await? else {
        return Ok(Outcome::Nothing);
    };
    let Some(account) = due.account_id.map(AccountId) else {
        store::forget(&mut db, &due).await?;
        return Ok(Outcome::NobodysAddress);
    };
    if clock.since(due.created_at) > limits::MAIL_TIME {
        store::forget(&mut db, &due).await?;
        tracing::error!(%account, kind = ?due.kind, "a mail could not be sent for a day; it is given up");
        return Ok(Outcome::GivenUp);
    }
    let merchant = MerchantId(due.merchant_id);
    let token = ResetToken::new(merchant, clock, entropy);
    let new = NewToken {
        merchant,
        account,
        token: token.id,
        secret_hash: &token.hash(),
        expires_at: now + lasts(due.kind),
    };
    store::keep_token(&mut db, &new, now).await?;
    // no connection is held while the mail server is talked to
    drop(db);
    let text = token.text();
    let letter = Letter::new(&due, text.expose_secret(), mailer.page());
    let sent = mailer.send(&due, &letter, now).await;
    let mut db = pool.acquire().await?;
    match sent {
        Ok(()) => {
            store::forget(&mut db, &due).await?;
            Ok(Outcome::Sent)
        }
        Err(error) => {
            store::put_off(&mut db, &due, clock.now() + pause_after(&due)).await?;
            Err(StepError::Mail(error))
        }
    }
}

fn lasts(kind: Kind) -> Duration {
    match kind {
        Kind::Reset => limits::RESET_TIME,
        Kind::Invitation => limits::INVITATION_TIME,
    }
}

fn pause_after(due: &Due) -> Duration {
    let tries = due.tries.max(1).unsigned_abs();
    let doubled = 2u32.saturating_pow(tries - 1);
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}
