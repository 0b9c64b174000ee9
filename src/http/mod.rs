//! What every route uses: errors as problem documents, authentication, bodies, idempotency keys,
//! conditional answers, paging and request ids.

pub mod address;
pub mod auth;
pub mod body;
pub mod cache;
pub mod codes;
pub mod commands;
pub mod health;
pub mod idempotency;
pub mod keys;
pub mod layers;
pub mod object;
pub mod pages;
pub mod paging;
pub mod problem;
pub mod rate;
pub mod scopes;
pub mod tokens;
pub mod version;

use std::sync::Arc;

use crate::clock::{Clock, Entropy};

/// What handlers know of the installation they run in.
#[derive(Clone)]
pub struct Site {
    /// The address customers reach this installation under, without a trailing slash.
    pub public_url: Arc<str>,
    /// How long an answer that may still change may be cached: the batch interval, seconds.
    pub pending_max_age: u64,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
}
