//! Whether a merchant's rows are all its sales: nothing missing, added, double or moved.
//!
//! Each anchored root commits, for every merchant in its batch, to the run of sequence numbers and
//! to a running hash over all the merchant's leaves so far, and to the root before it. So whoever
//! holds the rows and the files of all batches needs nobody's word but the chain's.

mod chain;
mod finding;
mod rows;
mod runs;

pub use finding::{Finding, SaleName};

use crate::{Hash, leaf::Sale, manifest::BatchFile};

/// Checks `rows`, all the sales that `merchant` is said to have made, against `batches`, the files
/// of all batches from the first to the last that is anchored. The rows may be in any order, the
/// batches ascend.
///
/// `anchored` is what the chain has as the root of a batch, from a source of the caller's own
/// choice; `None` or zero when it has none.
pub fn verify(
    merchant: [u8; 16],
    rows: &[Sale],
    batches: &[BatchFile],
    anchored: impl Fn(u64) -> Option<Hash>,
) -> Verdict {
    // A registry has the root zero for a batch that it does not have.
    let anchored = |batch| anchored(batch).filter(|root| *root != [0; 32]);
    let mut findings = Vec::new();
    let sealed = chain::check(batches, anchored, &mut findings);
    let unsealed = rows::check(merchant, rows, &sealed, &mut findings);
    Verdict { findings, unsealed }
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Everything that is wrong, batches before rows, ascending.
    pub findings: Vec<Finding>,
    /// The rows that come after the last sealed one in an unbroken run: no batch says anything of
    /// them yet. Ascending by `seq`.
    pub unsealed: Vec<SaleName>,
}

impl Verdict {
    /// Whether the rows are exactly the sales that the batches commit to. Rows that are not
    /// sealed yet are not: leave them out, or look at [`findings`](Verdict::findings) alone.
    pub fn is_complete(&self) -> bool {
        self.findings.is_empty() && self.unsealed.is_empty()
    }
}
