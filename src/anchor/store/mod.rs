//! The SQL of anchoring. Every function takes a connection; none begins or commits.
//!
//! # Layout
//! - [`seal`]: what waits, the head that sealing locks; [`sealed`]: a batch as it is written
//! - [`batches`]: batches as they are read again
//! - [`chains`]: registries, the head that reserving locks, which database this is
//! - [`handover`]: to another account, registry or chain
//! - [`operator`]: what an operator asks of the workers
//! - [`anchors`]: anchors, their signed transactions, and their states
//! - [`leases`]: which worker does what
//! - [`spending`]: what anchoring has cost
//! - [`declared`]: what a recovery has declared lost

pub mod anchors;
pub mod batches;
pub mod chains;
pub mod declared;
pub mod handover;
pub mod leases;
pub mod operator;
pub mod seal;
pub mod sealed;
pub mod spending;

/// A statement that was to touch an exact number of rows touched another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{statement} touched {found} rows instead of {expected}")]
pub struct RowCount {
    /// Which statement.
    pub statement: &'static str,
    /// How many rows there were to be.
    pub expected: u64,
    /// How many there were.
    pub found: u64,
}

impl RowCount {
    /// Compares.
    ///
    /// # Errors
    /// When the counts differ.
    pub fn check(statement: &'static str, expected: usize, found: u64) -> Result<(), Self> {
        let expected = expected as u64;
        if expected == found {
            Ok(())
        } else {
            Err(Self {
                statement,
                expected,
                found,
            })
        }
    }
}
