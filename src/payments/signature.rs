//! `Stripe-Signature`: that a delivery comes from the provider, and when it was signed.
//!
//! `t=1700000000,v1=<hex>[,v1=<hex>]`: each `v1` is HMAC-SHA256 (RFC 2104) with a secret of the endpoint over
//! the time, a point and the body's bytes as they came. While a secret is rotated the provider signs with
//! both, and we take both. The scheme is described in Stripe's documentation of webhooks.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use time::OffsetDateTime;

/// The header of a delivery.
pub const HEADER: &str = "stripe-signature";
/// How far a delivery's time may be from ours, either way: an older one is a replay.
pub const TOLERANCE: Duration = Duration::from_secs(300);
/// Characters of the header.
const HEADER_CHARS: usize = 4096;
/// Signatures of one delivery.
const SIGNATURES: usize = 16;
/// Secrets of an endpoint: the one in use, those that were, and those that will be.
const SECRETS: usize = 8;
/// Characters of a secret, so that none is guessed or left empty.
const SECRET_CHARS: usize = 16;

/// Why a delivery is not shown to come from the provider. It says which check failed, and never what would
/// have passed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no header.
    #[error("the delivery has no Stripe-Signature header")]
    Missing,
    /// The header is not of the scheme, or has no signature of version 1.
    #[error("the Stripe-Signature header is malformed, or has no signature v1")]
    Malformed,
    /// None of the signatures is by any of our secrets over this body.
    #[error("no signature fits the body")]
    Mismatch,
    /// It was signed too long ago.
    #[error("the delivery was signed too long ago")]
    TooOld,
    /// It was signed in our future.
    #[error("the delivery was signed in the future; is this machine's clock right?")]
    TooNew,
}

/// Secrets that are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// None, or too many.
    #[error("an endpoint has 1 to {SECRETS} webhook secrets")]
    Count,
    /// One that anybody could guess.
    #[error("a webhook secret has at least {SECRET_CHARS} characters; Stripe's begin with whsec_")]
    Short,
}

/// The secrets of our endpoint. A delivery that is signed with any of them is taken.
#[derive(Debug, Clone)]
pub struct WebhookSecrets(Arc<[SecretString]>);

impl WebhookSecrets {
    /// These secrets; space around them is the file's or the shell's.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub fn new(secrets: Vec<SecretString>) -> Result<Self, SecretsError> {
        if secrets.is_empty() || secrets.len() > SECRETS {
            return Err(SecretsError::Count);
        }
        let trimmed: Vec<SecretString> = secrets
            .iter()
            .map(|secret| secret.expose_secret().trim().into())
            .collect();
        let is_short =
            |secret: &SecretString| secret.expose_secret().chars().count() < SECRET_CHARS;
        if trimmed.iter().any(is_short) {
            return Err(SecretsError::Short);
        }
        Ok(Self(trimmed.into()))
    }

    /// When the delivery was signed, if it was with one of these secrets and within [`TOLERANCE`] of `now`.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(
        &self,
        header: Option<&[u8]>,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, SignatureError> {
        let Claim { time, signatures } = read(header.ok_or(SignatureError::Missing)?)?;
        // every secret with every signature: how long it takes says nothing of either
        let mut fits = Choice::from(0);
        for secret in self.0.iter() {
            let right = digest(secret, time, body);
            for signature in &signatures {
                fits |= right.ct_eq(signature);
            }
        }
        if !bool::from(fits) {
            return Err(SignatureError::Mismatch);
        }
        let seconds = time.parse().map_err(|_| SignatureError::Malformed)?;
        let signed_at =
            OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| SignatureError::Malformed)?;
        if now - signed_at > TOLERANCE {
            Err(SignatureError::TooOld)
        } else if signed_at - now > TOLERANCE {
            Err(SignatureError::TooNew)
        } else {
            Ok(signed_at)
        }
    }
}

/// What a header claims.
struct Claim<'a> {
    /// The time as it stands there: these characters are signed.
    time: &'a str,
    signatures: Vec<[u8; 32]>,
}

fn read(header: &[u8]) -> Result<Claim<'_>, SignatureError> {
    let malformed = SignatureError::Malformed;
    if header.len() > HEADER_CHARS {
        return Err(malformed);
    }
    let header = std::str::from_utf8(header).map_err(|_| malformed)?;
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=').ok_or(malformed)? {
            ("t", value) if time.is_none() && is_time(value) => time = Some(value),
            ("t", _) => return Err(malformed),
            ("v1", value) => signatures.push(hash(value).ok_or(malformed)?),
            // other versions: v0 is of the provider's own tests
            _ => {}
        }
    }
    match time {
        Some(time) if !signatures.is_empty() && signatures.len() <= SIGNATURES => {
            Ok(Claim { time, signatures })
        }
        _ => Err(malformed),
    }
}

/// Seconds since 1970, at most as many digits as a calendar has.
fn is_time(text: &str) -> bool {
    (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes());
    bytes.ok()?.try_into().ok()
}

fn digest(secret: &SecretString, time: &str, body: &[u8]) -> [u8; 32] {
    // a key of any length is one (RFC 2104)
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        return [0; 32];
    };
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// The header's value for a body that is sent now: what the local provider signs with.
pub fn sign(secrets: &[SecretString], body: &[u8], at: OffsetDateTime) -> String {
    let time = at.unix_timestamp().to_string();
    secrets.iter().fold(format!("t={time}"), |header, secret| {
        let hash = data_encoding::HEXLOWER.encode(&digest(secret, &time, body));
        format!("{header},v1={hash}")
    })
}
