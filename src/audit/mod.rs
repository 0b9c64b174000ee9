//! The audit: everything that is stored, computed again and compared, down to the row that is wrong.
//!
//! It only reads, in short transactions over ranges of keys, each with a snapshot of its own, so that
//! recording, sealing and anchoring go on beside it. Memory does not grow with the database, but with
//! the largest batch and the number of merchants.
//!
//! # Layout
//! - [`steps`]: the phases, their steps, and who takes them
//! - [`finding`]: what can be wrong: which row, which part
//! - [`batches`]: a step over batches; [`batch`]: one of them; [`run`]: a merchant's sales in it;
//!   [`row`]: one sale
//! - [`merchants`]: what no batch has yet, queues, heads, refunds
//! - [`filed`]: archived sales as rows again, by their receipts; [`archives`]: the archives themselves
//! - [`pointers`]: order ids and idempotency keys
//! - [`anchors`]: anchors and signed transactions; [`chains`]: roots against the chains
//! - [`directory`]: the same of exported files, without a database; [`registries`]: its roots against the chains
//! - [`columns`]: what holds each column, the audit and what it follows
//! - [`store`]: the SQL of all of it

mod anchors;
mod archives;
mod batch;
mod batches;
pub mod chains;
pub mod columns;
pub mod directory;
mod filed;
pub mod finding;
mod merchants;
mod pointers;
pub mod registries;
mod row;
mod run;
pub mod steps;
mod store;

pub use chains::Asked;
pub use finding::{Finding, Part, Subject};
pub use steps::{Audit, Counts, Outcome, Phase, Progress};
