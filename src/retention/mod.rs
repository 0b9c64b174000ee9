//! What is kept where, and for how long: the months of sales, and what may be thrown away.
//!
//! # Layout
//! - [`partitions`]: makes the coming months of `sale` ahead of time
//! - [`purge`]: deletes refusals that were remembered for their time

pub mod partitions;
pub mod purge;
