//! Who gets how many leaves of a batch, when more sales wait than it takes.

use crate::anchor::store::seal::{Run, Waiting};
use counterfoil_proofs::Hash;

/// A merchant's run of sales for a batch, and its running hash before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// The run.
    pub(super) run: Run,
    /// The hash over all sales before it.
    pub(super) head: Hash,
}

/// Divides `leaves` among those who wait: nobody gets more than waits, and what a small merchant does
/// not use goes to the larger ones, so that one with a million sales delays nobody. If there are more
/// merchants than leaves, those who have waited longest get one each. Ascending by merchant.
pub(super) fn fair(waiting: &[Waiting], leaves: usize) -> Vec<Share> {
    let mut served: Vec<&Waiting> = waiting
        .iter()
        .filter(|one| one.last_seq >= one.first_seq)
        .collect();
    served.sort_by_key(|one| (one.oldest, one.merchant_id));
    served.truncate(leaves);
    served.sort_by_key(|one| one.last_seq - one.first_seq);
    let mut left = leaves as i64;
    let mut merchants_left = served.len() as i64;
    let mut shares = Vec::with_capacity(served.len());
    for one in served {
        let share = (one.last_seq - one.first_seq + 1).min(left / merchants_left);
        left -= share;
        merchants_left -= 1;
        let last_seq = one.first_seq + share - 1;
        let run = Run {
            merchant_id: one.merchant_id,
            first_seq: one.first_seq,
            last_seq,
        };
        shares.push(Share {
            run,
            head: one.head,
        });
    }
    shares.sort_by_key(|share| share.run.merchant_id);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_unix_ms;
    use uuid::Uuid;

    fn shares(waiting: &[i64], leaves: usize) -> Vec<i64> {
        let merchants: Vec<Waiting> = waiting
            .iter()
            .enumerate()
            .map(|(i, count)| Waiting {
                merchant_id: Uuid::from_u128(i as u128),
                first_seq: 11,
                last_seq: 10 + count,
                // who stands later in the list has waited longer
                oldest: from_unix_ms(-(i as i64)),
                head: [i as u8; 32],
            })
            .collect();
        let given = fair(&merchants, leaves);
        let of = |merchant: &Waiting| {
            let share = given
                .iter()
                .find(|share| share.run.merchant_id == merchant.merchant_id);
            share.map_or(0, |share| {
                assert_eq!((share.run.first_seq, share.head), (11, merchant.head));
                share.run.last_seq - 10
            })
        };
        assert!(given.is_sorted_by_key(|share| share.run.merchant_id));
        merchants.iter().map(of).collect()
    }

    #[test]
    fn a_batch_is_divided_fairly() {
        for (waiting, leaves, expected) in [
            (vec![], 10, vec![]),
            (vec![3], 10, vec![3]),
            (vec![30], 10, vec![10]),
            (vec![1_000_000, 5, 7], 100, vec![88, 5, 7]),
            (vec![1_000_000, 1_000_000, 7], 100, vec![47, 46, 7]),
            (vec![50, 50, 50], 100, vec![34, 33, 33]),
            (vec![0, 4], 10, vec![0, 4]),
            // more merchants than leaves: the last two of the list have waited longest
            (vec![9, 9, 9, 9], 2, vec![0, 0, 1, 1]),
        ] {
            assert_eq!(
                shares(&waiting, leaves),
                expected,
                "{waiting:?} of {leaves}"
            );
        }
    }
}
