//! Who may call, as far as a merchant and its customers decide it themselves: accounts that sign in, and API
//! keys.
//!
//! # Layout
//! - [`register`], [`login`]: customers make accounts, and everybody signs in
//! - [`sessions`]: what a sign-in opens; [`refresh`]: going on with it, and ending it
//! - [`reset`], [`password`]: a new password, by mail or by the old one; [`mail`]: the sending of mails
//! - [`wallet`]: signing in with an Ethereum account
//! - [`staff`]: administrators invite staff, list accounts and close them
//! - [`passwords`]: Argon2id; [`throttle`]: how often somebody may try
//! - [`me`]: the account that has signed in; [`key_set`]: the keys that verify its tokens
//! - [`keys`]: a merchant's API keys: issued, listed and revoked by its administrators
//! - [`store`]: the SQL of all of them
//!
//! Whose key or token a request carries is found in [`crate::http`], before any route is reached.

mod fields;
pub mod key_set;
pub mod keys;
pub mod login;
pub mod mail;
pub mod me;
pub mod password;
pub mod passwords;
pub mod refresh;
pub mod register;
pub mod reset;
pub mod sessions;
pub mod staff;
pub mod store;
mod throttle;
pub mod view;
pub mod wallet;

use std::ops::Deref;
use std::sync::Arc;

use crate::clock::Entropy;
use crate::database::trust::Trust;
use crate::http::codes;
use crate::http::problem::Problem;
use crate::http::tokens::Tokens;
use passwords::Passwords;
use wallet::checks::Wallets;

/// What the routes of this folder share. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Parts>);

/// The parts.
pub struct Parts {
    /// Access tokens.
    pub tokens: Tokens,
    /// The hashing of passwords.
    pub passwords: Passwords,
    /// Which sign-in messages are taken.
    pub wallets: Wallets,
    /// Whether somebody sends mails.
    pub sends_mail: bool,
}

impl Accounts {
    /// Accounts whose tokens these are.
    pub fn new(tokens: Tokens, wallets: Wallets, sends_mail: bool, entropy: &Entropy) -> Self {
        Self(Arc::new(Parts {
            tokens,
            wallets,
            passwords: Passwords::new(entropy),
            sends_mail,
        }))
    }

    /// That mails are sent.
    ///
    /// # Errors
    /// 503 where nobody is told how.
    fn check_mail(&self) -> Result<(), Problem> {
        if self.sends_mail {
            return Ok(());
        }
        let detail = "mail is not configured: start the servers with --smtp-url and --mail-from";
        Err(Problem::new(&codes::MAIL_NOT_CONFIGURED, detail).retry_after(60))
    }
}

impl Deref for Accounts {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// A database that may lack commits is not written to.
fn check_sound(trust: &Trust) -> Result<(), Problem> {
    if trust.is_sound() {
        return Ok(());
    }
    Err(Problem::in_doubt("nothing was changed; try again later"))
}

/// What is not there though it was a moment ago.
fn vanished() -> Problem {
    tracing::error!("an account is not as it was left");
    Problem::new(&codes::INTERNAL, "the request could not be completed")
}
