//! One stored batch: whether its leaves, marks, manifest and root agree, and which of them does not.

use counterfoil_proofs::Hash;
use counterfoil_proofs::manifest::{Manifest, Mark, anchored_root, marks_hash};
use counterfoil_proofs::tree::Tree;
use time::OffsetDateTime;
use uuid::Uuid;

use super::finding::{Findings, Part, Subject, short};
use crate::clock::unix_ms;
use crate::sales::stored::fixed;

/// A row of `batch`, and what its neighbours say of it.
#[derive(Debug, Clone)]
pub(super) struct BatchRow {
    pub(super) batch_id: i64,
    pub(super) root: Vec<u8>,
    pub(super) previous: Vec<u8>,
    pub(super) tree_root: Vec<u8>,
    pub(super) leaf_count: i32,
    pub(super) sealed_at: OffsetDateTime,
    pub(super) signer: Vec<u8>,
    pub(super) marks_hash: Vec<u8>,
    pub(super) salt: Vec<u8>,
    pub(super) leaves: Vec<u8>,
    pub(super) chains: Vec<i64>,
    pub(super) oldest_recorded_at: OffsetDateTime,
    /// Root and time of the batch before; none for the first, or where there is none.
    pub(super) before: Option<(Vec<u8>, OffsetDateTime)>,
    /// What the next batch, or the head for the last one, has as the root of this.
    pub(super) follower: Option<Vec<u8>>,
}

/// A row of `batch_mark`, and the merchant's mark before it.
#[derive(Debug, Clone)]
pub(super) struct MarkRow {
    pub(super) merchant_id: Uuid,
    pub(super) first_seq: i64,
    pub(super) last_seq: i64,
    pub(super) head: Vec<u8>,
    pub(super) salt: Vec<u8>,
    pub(super) before: Option<MarkBefore>,
    /// The number that its run has to begin with: after the mark before, and a declared gap.
    pub(super) expected_first: i64,
}

/// Where a merchant stood before a mark.
#[derive(Debug, Clone)]
pub(super) struct MarkBefore {
    pub(super) batch_id: i64,
    pub(super) head: Vec<u8>,
}

/// What a sale's seal is compared with.
pub(super) struct Batch {
    pub(super) id: i64,
    /// The root that was anchored, as far as the batch's own parts tell.
    pub(super) root: Hash,
    pub(super) sealed_at_ms: i64,
    /// The tree and the manifest's hash, where both are those that the root commits to.
    pub(super) tree: Option<(Tree, Hash)>,
    /// Whether the marks are those that the manifest commits to.
    pub(super) marks_hold: bool,
}

impl MarkRow {
    pub(super) fn subject(&self, batch: i64) -> Subject {
        let merchant = self.merchant_id;
        Subject::Mark { batch, merchant }
    }

    fn mark(&self) -> Option<Mark> {
        Some(Mark {
            merchant: self.merchant_id.into_bytes(),
            first_seq: u64::try_from(self.first_seq).ok()?,
            last_seq: u64::try_from(self.last_seq).ok()?,
            head: fixed(&self.head)?,
            salt: fixed(&self.salt)?,
        })
    }
}

impl BatchRow {
    fn subject(&self) -> Subject {
        Subject::Batch {
            batch: self.batch_id,
        }
    }

    fn manifest(&self) -> Option<Manifest> {
        Some(Manifest {
            batch: self.batch_id.cast_unsigned(),
            previous: fixed(&self.previous)?,
            tree: fixed(&self.tree_root)?,
            leaves: u64::try_from(self.leaf_count).ok()?,
            sealed_at: u64::try_from(unix_ms(self.sealed_at)).ok()?,
            signer: fixed(&self.signer)?,
            marks: fixed(&self.marks_hash)?,
            salt: fixed(&self.salt)?,
        })
    }

    /// Checks the batch in itself and against its neighbours. None where its columns are no batch.
    pub(super) fn check(&self, marks: &[MarkRow], findings: &mut Findings) -> Option<Batch> {
        let subject = self.subject();
        let (Some(stated), Some(stored_root)) = (self.manifest(), fixed::<32>(&self.root)) else {
            findings.add(&subject, Part::Manifest, "a column has another length");
            return None;
        };
        let tree = self.tree();
        let given_marks = self.marks_hash_of(marks);
        let computed = anchored_root(&stated.tree, &stated.hash());
        let (root, manifest) = if computed == stored_root {
            (stored_root, Some(stated.clone()))
        } else {
            self.name_root_or_manifest(&stated, tree.as_ref(), given_marks, findings)
        };
        // what the root commits to, where that is known
        let sealed = manifest.as_ref().unwrap_or(&stated);
        let tree = tree.filter(|tree| tree.root() == sealed.tree);
        if tree.is_none() {
            let what = "the leaves are not those of the tree's root";
            findings.add(&subject, Part::Leaves, what);
        }
        let marks_hold = given_marks == Some(sealed.marks);
        self.check_neighbours(sealed, findings);
        Some(Batch {
            id: self.batch_id,
            root,
            sealed_at_ms: unix_ms(self.sealed_at),
            tree: tree.zip(manifest.map(|manifest| manifest.hash())),
            marks_hold,
        })
    }

    /// The root that was anchored and, where it can be told, the manifest it commits to, when the two
    /// that are stored do not agree: the neighbours, the leaves and the marks say which of them is wrong.
    fn name_root_or_manifest(
        &self,
        stated: &Manifest,
        tree: Option<&Tree>,
        marks: Option<Hash>,
        findings: &mut Findings,
    ) -> (Hash, Option<Manifest>) {
        let subject = self.subject();
        let stored_root = fixed(&self.root).unwrap_or_default();
        let computed = anchored_root(&stated.tree, &stated.hash());
        if self.follower.as_deref() == Some(computed.as_slice()) {
            let what = "it is not the one of the manifest, which the next batch follows";
            findings.add(&subject, Part::Root, what);
            return (computed, Some(stated.clone()));
        }
        let before = self.before.as_ref().and_then(|(root, _)| fixed(root));
        let repairs = [
            (
                "tree_root",
                Manifest {
                    tree: tree.map_or(stated.tree, Tree::root),
                    ..stated.clone()
                },
            ),
            (
                "marks_hash",
                Manifest {
                    marks: marks.unwrap_or(stated.marks),
                    ..stated.clone()
                },
            ),
            (
                "previous",
                Manifest {
                    previous: before.unwrap_or_default(),
                    ..stated.clone()
                },
            ),
        ];
        for (column, manifest) in repairs {
            if anchored_root(&manifest.tree, &manifest.hash()) == stored_root {
                findings.add(
                    &subject,
                    Part::Manifest,
                    format!("{column} is not what the root commits to"),
                );
                return (stored_root, Some(manifest));
            }
        }
        let what = format!(
            "its fields give the root {}, stored is {}",
            short(&computed),
            short(&stored_root)
        );
        findings.add(&subject, Part::Manifest, what);
        (stored_root, None)
    }

    fn tree(&self) -> Option<Tree> {
        let (leaves, rest) = self.leaves.as_chunks::<32>();
        let ascending = leaves.windows(2).all(|pair| pair[0] < pair[1]);
        let whole = rest.is_empty() && i64::from(self.leaf_count) == leaves.len() as i64;
        (ascending && whole)
            .then(|| Tree::build(leaves.to_vec()).ok())
            .flatten()
    }

    fn marks_hash_of(&self, marks: &[MarkRow]) -> Option<Hash> {
        let marks: Option<Vec<Mark>> = marks.iter().map(MarkRow::mark).collect();
        marks_hash(&marks?).ok()
    }

    fn check_neighbours(&self, sealed: &Manifest, findings: &mut Findings) {
        let subject = self.subject();
        let before = self.before.as_ref();
        let previous = match before {
            Some((root, _)) => fixed(root),
            None => (self.batch_id == 1).then_some([0; 32]),
        };
        // a batch that is missing is named as such
        if let Some(previous) = previous
            && previous != sealed.previous
        {
            let what = "it follows another root than the stored one of the batch before";
            findings.add(&subject, Part::Batch, what);
        }
        let in_order = before.is_none_or(|(_, sealed_at)| *sealed_at <= self.sealed_at);
        let whole = self.sealed_at.nanosecond().is_multiple_of(1_000_000);
        findings.check(
            whole,
            &subject,
            Part::Manifest,
            "sealed_at is not in whole milliseconds",
        );
        findings.check(
            in_order,
            &subject,
            Part::Times,
            "it is dated before the batch before",
        );
    }

    /// Names the marks that are not those of the manifest: the ones that contradict the rows, or where
    /// none does, all that it may be.
    pub(super) fn name_marks(
        &self,
        marks: &[MarkRow],
        contradicted: &[bool],
        findings: &mut Findings,
    ) {
        let what = "the batch's marks are not those that its manifest commits to";
        match marks {
            [only] => findings.add(&only.subject(self.batch_id), Part::Mark, what),
            [] => findings.add(&self.subject(), Part::Mark, "it has no marks"),
            _ if contradicted.contains(&true) => {}
            _ => findings.add(&self.subject(), Part::Mark, what),
        }
    }
}
