//! What the audit reads, by ranges of keys. Columns whose length nothing holds are read as they are, so
//! that a wrong one is a finding and not a failure.
//!
//! # Layout
//! - [`batches`]: batches, their marks and their sales
//! - [`merchants`]: heads, tails and queues of merchants, sums of refunds
//! - [`pointers`]: what leads to sales: order ids and idempotency keys
//! - [`archives`]: archives, their runs of numbers and their sales
//! - [`anchors`]: anchors, their transactions, registries and heads of chains

pub(super) mod anchors;
pub(super) mod archives;
pub(super) mod batches;
pub(super) mod merchants;
pub(super) mod pointers;
