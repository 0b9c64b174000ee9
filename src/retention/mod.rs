//! What is kept where, and for how long: the months of sales, and what may be thrown away.
//!
//! # Layout
//! - [`partitions`]: makes the coming months of `sale` ahead of time
//! - [`archive`]: moves a month of finalized sales into a file of receipts; [`file`] is its format
//! - [`purge`]: deletes refusals that were remembered for their time

pub mod archive;
pub mod file;
pub mod partitions;
pub mod purge;
