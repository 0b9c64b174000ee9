//! Why a call of the provider has no answer.

use std::sync::Arc;
use std::time::Duration;

use super::amount::AmountError;
use super::object::{Decline, Intent};

/// Why a call has no answer. What matters to a caller is whether it happened:
///
/// | error | happened | what to do |
/// |---|---|---|
/// | `Declined` | the attempt did, no money moved | have the customer pay otherwise |
/// | `WrongState` | no | read the state that came with it |
/// | `Missing`, `Invalid`, `KeyReused`, `NotAllowed`, `Amount` | no | repeating changes nothing: somebody has to look |
/// | `RateLimited`, `Unavailable` | no | the same again, later |
/// | `Unknown` | it may have | the same again with the same key, within [`super::provider::KEYS_KEPT`] |
///
/// Of the provider's address only the host is ever part of it.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// The payment was tried and refused.
    #[error("{call}: declined: {}", .decline.code)]
    Declined {
        /// The call.
        call: &'static str,
        /// Why, as far as the issuer says.
        decline: Decline,
        /// The intent after it.
        intent: Option<Box<Intent>>,
    },
    /// The object is in a state in which this cannot be done.
    #[error("{call}: refused in this state: {code}")]
    WrongState {
        /// The call.
        call: &'static str,
        /// The provider's code.
        code: String,
        /// The intent as it is.
        intent: Option<Box<Intent>>,
    },
    /// The provider has no such object.
    #[error("{call}: the payment provider knows no such object")]
    Missing {
        /// The call.
        call: &'static str,
    },
    /// The request makes no sense to the provider.
    #[error("{call}: refused with status {status}, {code}: {message}")]
    Invalid {
        /// The call.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// The provider's code or type.
        code: String,
        /// What it says about it.
        message: String,
    },
    /// The key was used for another request.
    #[error("{call}: the idempotency key was used for another request")]
    KeyReused {
        /// The call.
        call: &'static str,
    },
    /// Our secret key is wrong, revoked or restricted.
    #[error("{call}: {host} does not take our key (status {status})")]
    NotAllowed {
        /// The call.
        call: &'static str,
        /// Where.
        host: Arc<str>,
        /// The HTTP status.
        status: u16,
    },
    /// Too many requests.
    #[error("{call}: {host} takes no more requests for now")]
    RateLimited {
        /// The call.
        call: &'static str,
        /// Where.
        host: Arc<str>,
        /// How long to wait at least, where it said so.
        retry_after: Option<Duration>,
    },
    /// It did not happen: nobody was reached, or a read has no answer.
    #[error("{call}: {host} cannot be used: {reason}")]
    Unavailable {
        /// The call.
        call: &'static str,
        /// Where.
        host: Arc<str>,
        /// What is wrong.
        reason: String,
    },
    /// It may have happened.
    #[error("{call}: it is not known whether {host} did it: {reason}")]
    Unknown {
        /// The call.
        call: &'static str,
        /// Where.
        host: Arc<str>,
        /// What is wrong.
        reason: String,
    },
    /// The amount cannot be charged.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

impl PaymentError {
    /// Whether the same request, with the same key, may do better later.
    pub fn may_be_repeated(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. } | Self::Unavailable { .. } | Self::Unknown { .. }
        )
    }

    /// Whether it is certain that nothing was changed.
    pub fn did_nothing(&self) -> bool {
        !matches!(self, Self::Declined { .. } | Self::Unknown { .. })
    }

    /// The class, as it stands in the metrics.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Declined { .. } => "declined",
            Self::WrongState { .. } => "wrong_state",
            Self::Missing { .. } => "missing",
            Self::Invalid { .. } | Self::Amount(_) => "invalid",
            Self::KeyReused { .. } => "key_reused",
            Self::NotAllowed { .. } => "not_allowed",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable { .. } => "unavailable",
            Self::Unknown { .. } => "unknown",
        }
    }
}
