//! Everything about a receipt that needs no chain.

use std::fmt;

use super::Receipt;
use crate::{
    Hash,
    details::{self, DetailsError},
    hex,
    verify::{self, ProofError},
};

impl Receipt {
    /// Computes everything again from the sale's fields. What is left for a chain to say is
    /// whether [`Checked::root`] is the root of this batch in the registry that the shop names,
    /// at a final block.
    pub fn check(&self) -> Checked {
        let leaf = self.sale.leaf();
        let root = self
            .batch
            .map(|_| verify::root_from_proof(&leaf, &self.proof));
        let steps = vec![
            (Step::DetailsForm, self.check_details_form()),
            (Step::DetailsHash, self.check_details_hash()),
            (Step::Leaf, Outcome::Passed),
            (Step::Proof, self.check_proof(&leaf)),
        ];
        Checked { leaf, root, steps }
    }

    fn check_details_form(&self) -> Outcome {
        let Some(details) = &self.details else {
            return Outcome::Skipped(NO_DETAILS);
        };
        details::check_canonical(details.as_bytes())
            .map_err(CheckError::Details)
            .into()
    }

    fn check_details_hash(&self) -> Outcome {
        let Some(details) = &self.details else {
            return Outcome::Skipped(NO_DETAILS);
        };
        let (found, expected) = (details::hash(details.as_bytes()), self.sale.details);
        if found == expected {
            Outcome::Passed
        } else {
            Outcome::Failed(CheckError::DetailsHash { found, expected })
        }
    }

    fn check_proof(&self, leaf: &Hash) -> Outcome {
        let Some(batch) = &self.batch else {
            return Outcome::Skipped("the sale is not sealed yet");
        };
        verify::inclusion(leaf, &self.proof, &batch.root)
            .map_err(CheckError::Proof)
            .into()
    }
}

const NO_DETAILS: &str = "the receipt leaves its details out";

/// What [`Receipt::check`] found.
#[derive(Debug)]
pub struct Checked {
    /// The leaf that the sale's fields give.
    pub leaf: Hash,
    /// The root that the proof leads to from there, which the chain must have; `None` until the
    /// sale is sealed.
    pub root: Option<Hash>,
    /// Each step in its order.
    pub steps: Vec<(Step, Outcome)>,
}

impl Checked {
    /// Whether no step failed. Steps may have been skipped.
    pub fn is_valid(&self) -> bool {
        self.first_failure().is_none()
    }

    /// The first step that failed.
    pub fn first_failure(&self) -> Option<(Step, &CheckError)> {
        self.steps.iter().find_map(|(step, outcome)| match outcome {
            Outcome::Failed(error) => Some((*step, error)),
            _ => None,
        })
    }
}

/// A step of the verification. `Display` is a line for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The details are their own canonical form.
    DetailsForm,
    /// The sale's `details` is their hash.
    DetailsHash,
    /// The leaf is computed from the sale's fields.
    Leaf,
    /// The proof leads from the leaf to the batch's root.
    Proof,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::DetailsForm => "details are in canonical form",
            Step::DetailsHash => "details hash to the sale's details",
            Step::Leaf => "leaf computed from the sale's fields",
            Step::Proof => "proof leads from the leaf to the batch's root",
        })
    }
}

/// How a step ended.
#[derive(Debug)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed(CheckError),
    /// The receipt has nothing to check there, and why.
    Skipped(&'static str),
}

impl From<Result<(), CheckError>> for Outcome {
    fn from(result: Result<(), CheckError>) -> Outcome {
        result.map_or_else(Outcome::Failed, |()| Outcome::Passed)
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The text is not that of details.
    #[error("the details are not what was hashed at the till")]
    Details(#[source] DetailsError),
    /// The text is of another sale, or was changed.
    #[error("the details hash to {}, the sale says {}", hex::encode(.found), hex::encode(.expected))]
    DetailsHash {
        /// Hash of the text.
        found: Hash,
        /// What the sale says.
        expected: Hash,
    },
    /// The proof does not hold.
    #[error("the sale is not in the batch")]
    Proof(#[source] ProofError),
}
