//! The shop's SQL. What of it takes several steps is a function of the database, described where that is made
//! (`migrations/0033` to `0037`, `0045` and `0046`).

pub mod carts;
pub mod intents;
pub mod orders;
pub mod products;
pub mod refunds;
pub mod stock;
