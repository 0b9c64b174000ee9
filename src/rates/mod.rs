//! Rates: what an amount of money is in wei when its sale is recorded.
//!
//! # Layout
//! - [`exchange`]: the rates that are believed, and the conversion of an amount
//! - [`price`]: prices as exact decimals, and the arithmetic
//! - [`feed`]: one question to the feed of live prices
//! - [`settings`]: what the configuration wants
//! - [`refresh`]: the task that keeps them warm; no request waits for it

pub mod exchange;
pub mod feed;
pub mod price;
pub mod refresh;
pub mod settings;
