//! The SQL of accounts: [`keys`], [`accounts`], their [`sessions`], the tries to sign in ([`attempts`]),
//! [`mails`] and their tokens, what administrators do ([`staff`]),
//! and [`wallets`].

pub mod accounts;
pub mod attempts;
pub mod keys;
pub mod mails;
pub mod sessions;
pub mod staff;
pub mod wallets;
