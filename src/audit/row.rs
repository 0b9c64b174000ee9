//! One stored sale: what it says of itself, before anything else is asked.

use counterfoil_proofs::details::{self, check_canonical};
use counterfoil_proofs::leaf::{Kind, Sale};
use counterfoil_proofs::{Hash, keccak256};
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::finding::{Findings, Part, Subject};
use crate::clock::rfc3339_ms;
use crate::sales::command::fingerprint;
use crate::sales::stored::StoredSale;

/// A row of `sale`, and what other tables have of it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) sale: StoredSale,
    /// Whether it is no row any more, but a receipt: it has no `sold_at` and no `leaf_index`.
    pub(super) archived: bool,
    pub(super) sold_at: Option<OffsetDateTime>,
    pub(super) fingerprint: Vec<u8>,
    pub(super) leaf: Option<Vec<u8>>,
    pub(super) batch_id: Option<i64>,
    pub(super) leaf_index: Option<i32>,
    pub(super) proof: Option<Vec<u8>>,
    /// The sale that `sale_order` has for its order id.
    pub(super) order_sale: Option<Uuid>,
    /// The sale that it refunds, where there is one.
    pub(super) target: Option<Target>,
}

/// The sale that a refund is of.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) kind: i16,
    pub(super) currency: String,
    /// None where it is archived and cannot be read.
    pub(super) order_id: Option<String>,
}

/// A row that could be read as a sale.
pub(super) struct Read {
    pub(super) sale: Sale,
    pub(super) leaf: Hash,
    /// Its leaf with the hash of the details' bytes in place of the stored hash, where they differ.
    pub(super) leaf_of_bytes: Option<Hash>,
}

/// The only field of the details that a column repeats.
#[derive(Deserialize)]
struct Repeated<'a> {
    #[serde(borrow)]
    sold_at: Option<&'a str>,
}

impl Row {
    pub(super) fn subject(&self) -> Subject {
        Subject::Sale {
            merchant: self.sale.merchant_id,
            seq: self.sale.seq,
            sale: Some(self.sale.sale_id),
        }
    }

    /// The sale that the columns are, if they are one. Findings name what the leaf cannot tell: columns
    /// that no sale has, and values that stand for the same leaf.
    pub(super) fn read(&self, findings: &mut Findings) -> Option<Read> {
        let subject = self.subject();
        let bytes_hash = details::hash(&self.sale.details);
        let stored_hash = <Hash>::try_from(self.sale.details_hash.as_slice()).ok();
        let with_hash = |hash: &Hash| {
            let mut stored = self.sale.clone();
            stored.details_hash = hash.to_vec();
            stored.to_sale()
        };
        let of_bytes = match with_hash(&bytes_hash) {
            Ok(sale) => sale,
            Err(error) => {
                findings.add(&subject, Part::Fields, error.to_string());
                return None;
            }
        };
        self.check_equivalents(&subject, findings);
        let Some(stored_hash) = stored_hash else {
            findings.add(
                &subject,
                Part::Details,
                "details_hash does not have 32 bytes",
            );
            return None;
        };
        let sale = Sale {
            details: stored_hash,
            ..of_bytes.clone()
        };
        let leaf_of_bytes = (stored_hash != bytes_hash).then(|| of_bytes.leaf());
        Some(Read {
            leaf: sale.leaf(),
            sale,
            leaf_of_bytes,
        })
    }

    /// Columns with two values of the same leaf: only one of them is written.
    fn check_equivalents(&self, subject: &Subject, findings: &mut Findings) {
        let whole = self.sale.recorded_at.nanosecond().is_multiple_of(1_000_000);
        findings.check(
            whole,
            subject,
            Part::Fields,
            "recorded_at is not in whole milliseconds",
        );
        let no_zero = self.sale.refers_to != Some(Uuid::nil())
            && self.sale.customer.as_deref() != Some(&[0; 20]);
        findings.check(
            no_zero,
            subject,
            Part::Fields,
            "refers_to or customer is zero instead of none",
        );
    }

    /// What is derived from the committed fields: the details' form, `sold_at`, the fingerprint, the
    /// order id, the sale that is refunded.
    pub(super) fn check_derived(&self, read: &Read, findings: &mut Findings) {
        let subject = self.subject();
        if read.leaf_of_bytes.is_some() {
            // nothing of it can be derived; whether bytes or hash are wrong is for the batch to say
            return;
        }
        if let Err(error) = check_canonical(&self.sale.details) {
            findings.add(&subject, Part::Details, error.to_string());
            return;
        }
        let repeated = serde_json::from_slice::<Repeated<'_>>(&self.sale.details).ok();
        let told = repeated.and_then(|details| details.sold_at);
        let whole = self
            .sold_at
            .is_none_or(|at| at.nanosecond().is_multiple_of(1_000_000));
        let same = self.archived || self.sold_at.map(rfc3339_ms).as_deref() == told && whole;
        findings.check(
            same,
            &subject,
            Part::Copy,
            "sold_at is not that of the details",
        );
        let target = self.target.as_ref();
        let order = target.and_then(|target| target.order_id.as_deref());
        let derived = fingerprint::of_recorded(&read.sale, &self.sale.details, order);
        // the request may have named it by an order id that stands in the archive alone
        let unknown = target.is_some_and(|target| target.order_id.is_none());
        let same = unknown || derived.iter().any(|one| *one == *self.fingerprint);
        findings.check(
            same,
            &subject,
            Part::Copy,
            "fingerprint is not that of the sale",
        );
        let same = self.order_sale == Some(self.sale.sale_id);
        findings.check(
            same,
            &subject,
            Part::Copy,
            "sale_order does not lead from its order id to it",
        );
        self.check_reference(&read.sale, &subject, findings);
    }

    fn check_reference(&self, sale: &Sale, subject: &Subject, findings: &mut Findings) {
        let fault = match (sale.kind, &self.sale.refers_to, &self.target) {
            (_, None, _) => None,
            (Kind::Sale, Some(_), _) => Some("it is a sale and refers to another"),
            (Kind::Refund, Some(_), None) => Some("it refunds a sale that is not there"),
            (Kind::Refund, Some(_), Some(target)) => {
                if target.kind != 1 {
                    Some("it refunds a refund")
                } else if target.currency != self.sale.currency {
                    Some("it refunds a sale in another currency")
                } else {
                    None
                }
            }
        };
        if let Some(fault) = fault {
            findings.add(subject, Part::Fields, fault);
        }
    }

    /// What it adds to the sum of its merchant's refunds: see [`RefundSums`].
    pub(super) fn refund(&self) -> Option<(Uuid, i64)> {
        let target = self.sale.refers_to?;
        (self.sale.kind == 2).then_some((target, self.sale.amount_minor))
    }
}

/// Compares the refunds of a merchant with `refund_total` in memory that does not grow: the sum over all
/// refunds of amount × weight of the refunded sale, modulo 2^128. Weights are secret, so that nobody can
/// choose amounts that cancel out.
#[derive(Clone)]
pub(super) struct RefundSums {
    secret: [u8; 32],
}

impl RefundSums {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    pub(super) fn term(&self, sale: Uuid, minor: i64) -> u128 {
        let hash = keccak256(&[self.secret.as_slice(), sale.as_bytes()].concat());
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = hash;
        u128::from_be_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
            .wrapping_mul(i128::from(minor).cast_unsigned())
    }
}
