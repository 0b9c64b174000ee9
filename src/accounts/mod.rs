//! Who may call, as far as a merchant decides it itself.
//!
//! # Layout
//! - [`keys`]: a merchant's API keys: issued, listed and revoked by its administrators
//! - [`store`]: their SQL
//!
//! Whose key a request carries is found in [`crate::http::keys`], before any route is reached.

pub mod keys;
pub mod store;
