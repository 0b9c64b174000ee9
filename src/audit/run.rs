//! The run of one merchant's sales in one batch: each row against the batch's tree, all of them against
//! the mark.

use counterfoil_proofs::manifest::next_head;
use counterfoil_proofs::{Hash, verify};
use time::OffsetDateTime;

use super::batch::{Batch, MarkRow};
use super::finding::{Findings, Part, Subject, short};
use super::row::{Read, Row};
use super::store::archives::ArchivedRow;

/// How far a run has been followed.
pub(super) struct Run<'a> {
    mark: &'a MarkRow,
    batch: i64,
    /// Whether the mark is the one that was sealed; if not, rows say more than it does.
    marks_hold: bool,
    /// The number that comes next.
    next: i64,
    /// The running hash so far; none where a leaf is not known.
    head: Option<Hash>,
    recorded_at: Option<OffsetDateTime>,
    /// Whether the rows contradict the mark.
    contradicted: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(mark: &'a MarkRow, batch: &Batch, findings: &mut Findings) -> Self {
        let subject = mark.subject(batch.id);
        let expected = mark.expected_first;
        let follows = mark.first_seq == expected;
        if !follows {
            let what = format!("its run begins at {}, not at {expected}", mark.first_seq);
            findings.add(&subject, Part::Mark, what);
        }
        let later = mark
            .before
            .as_ref()
            .is_some_and(|before| before.batch_id >= batch.id);
        findings.check(
            !later,
            &subject,
            Part::Mark,
            "a later batch has an earlier run",
        );
        let head = match &mark.before {
            None => Some([0; 32]),
            Some(before) => <Hash>::try_from(before.head.as_slice()).ok(),
        };
        Self {
            mark,
            batch: batch.id,
            marks_hold: batch.marks_hold,
            next: mark.first_seq,
            head: head.filter(|_| follows),
            recorded_at: None,
            contradicted: !follows,
        }
    }

    pub(super) fn mark(&self) -> &MarkRow {
        self.mark
    }

    /// Takes the next row; rows come in the order of their numbers.
    pub(super) fn add(&mut self, row: &Row, batch: &Batch, findings: &mut Findings) {
        let subject = row.subject();
        let seq = row.sale.seq;
        if !self.marks_hold && row.batch_id != Some(self.batch) {
            self.contradict(
                &format!("its run has sale {seq}, which is in another batch"),
                findings,
            );
            return;
        }
        let new = self.reach(seq, &subject, findings);
        let read = row.read(findings);
        let leaf = read
            .as_ref()
            .and_then(|read| batch.check_seal(row, read, findings));
        if let Some(read) = &read {
            row.check_derived(read, findings);
        }
        if new {
            self.head = self
                .head
                .zip(leaf)
                .map(|(head, leaf)| next_head(&head, &leaf));
        }
        let earlier = self.recorded_at.replace(row.sale.recorded_at);
        let in_order = earlier.is_none_or(|earlier| earlier <= row.sale.recorded_at);
        let what = "it was recorded before the sale before";
        findings.check(in_order, &subject, Part::Times, what);
    }

    /// Takes a sale whose receipt was not read: the batch's leaves stand for it.
    pub(super) fn pass(&mut self, row: &ArchivedRow, findings: &mut Findings) {
        self.reach(row.seq, &row.subject(), findings);
        self.head = None;
    }

    /// Goes on to the sale of a number. Returns whether it is the first of that number.
    fn reach(&mut self, seq: i64, subject: &Subject, findings: &mut Findings) -> bool {
        if seq < self.next {
            let what = format!("number {seq} is there already");
            findings.add(subject, Part::Double, what);
            return false;
        }
        if seq > self.next {
            self.miss(seq - 1, findings);
        }
        self.next = seq.saturating_add(1);
        true
    }

    /// Names the mark, once: it is not the one that was sealed, and this shows which it is.
    fn contradict(&mut self, what: &str, findings: &mut Findings) {
        if !std::mem::replace(&mut self.contradicted, true) {
            findings.add(&self.mark.subject(self.batch), Part::Mark, what);
        }
        self.head = None;
    }

    fn miss(&mut self, last: i64, findings: &mut Findings) {
        let first = std::mem::replace(&mut self.next, last.saturating_add(1));
        if !self.marks_hold {
            self.contradict("its run has numbers without sales", findings);
            return;
        }
        let subject = Subject::Sale {
            merchant: self.mark.merchant_id,
            seq: first,
            sale: None,
        };
        let what = if last == first {
            format!("batch {} has it, and there is no row", self.batch)
        } else {
            format!(
                "batch {} has it and those up to {last}, and there are no rows",
                self.batch
            )
        };
        findings.add(&subject, Part::Missing, what);
        self.head = None;
    }

    /// Compares the running hash with the mark, after the last row.
    /// Returns whether the rows contradict it.
    pub(super) fn finish(mut self, findings: &mut Findings) -> bool {
        if self.next <= self.mark.last_seq {
            self.miss(self.mark.last_seq, findings);
        }
        if let Some(head) = self.head
            && head != *self.mark.head
        {
            let subject = self.mark.subject(self.batch);
            let what = format!(
                "its head is {}, the leaves up to it give {}",
                short(&self.mark.head),
                short(&head)
            );
            findings.add(&subject, Part::Mark, what);
            self.contradicted = true;
        }
        self.contradicted
    }
}

impl Batch {
    /// Checks what is stored of a sale's seal. Returns the leaf that was sealed with it, if it is known.
    fn check_seal(&self, row: &Row, read: &Read, findings: &mut Findings) -> Option<Hash> {
        let subject = row.subject();
        if row.batch_id != Some(self.id) {
            let what = match row.batch_id {
                Some(other) => format!("it is in batch {}, the row says {other}", self.id),
                None => format!("batch {} covers it, and the row is not sealed", self.id),
            };
            findings.add(&subject, Part::Batch, what);
        }
        match &self.tree {
            Some((tree, _)) => {
                let at = |leaf: &Hash| tree.index_of(leaf).map(|index| (*leaf, index));
                let (leaf, index) = match (at(&read.leaf), &read.leaf_of_bytes) {
                    (Some(found), of_bytes) => {
                        let same = of_bytes.is_none();
                        let what = "their bytes are not those that were sealed";
                        findings.check(same, &subject, Part::Details, what);
                        found
                    }
                    (None, Some(of_bytes)) if tree.index_of(of_bytes).is_some() => {
                        let what = "details_hash is not the hash of the details that were sealed";
                        findings.add(&subject, Part::Details, what);
                        at(of_bytes)?
                    }
                    (None, _) => {
                        self.name_unsealed(&subject, read, findings);
                        let stored = row
                            .leaf
                            .as_deref()
                            .and_then(|leaf| <Hash>::try_from(leaf).ok());
                        stored.as_ref().and_then(at).or_else(|| {
                            findings.add(
                                &subject,
                                Part::Leaf,
                                "the stored leaf is not in the batch",
                            );
                            None
                        })?
                    }
                };
                self.check_place(row, &leaf, index, findings);
                Some(leaf)
            }
            None => self.check_by_proof(row, read, findings),
        }
    }

    fn name_unsealed(&self, subject: &Subject, read: &Read, findings: &mut Findings) {
        let what = format!(
            "they give the leaf {}, which is not in batch {}",
            short(&read.leaf),
            self.id
        );
        findings.add(subject, Part::Fields, what);
    }

    /// Leaf, index and proof of a leaf whose place in the tree is known.
    fn check_place(&self, row: &Row, leaf: &Hash, index: usize, findings: &mut Findings) {
        let Some((tree, manifest_hash)) = &self.tree else {
            return;
        };
        let subject = row.subject();
        if row.batch_id.is_none() {
            return;
        }
        let same = row.leaf.as_deref() == Some(leaf.as_slice());
        findings.check(
            same,
            &subject,
            Part::Leaf,
            "the stored leaf is not that of the fields",
        );
        let stored_index = row.leaf_index.and_then(|index| usize::try_from(index).ok());
        let what = format!("leaf_index is {:?}, not {index}", row.leaf_index);
        let same = row.archived || stored_index == Some(index);
        findings.check(same, &subject, Part::Leaf, &what);
        let mut proof = tree.proof(index);
        proof.push(*manifest_hash);
        let same = row.proof.as_deref() == Some(proof.as_flattened());
        findings.check(
            same,
            &subject,
            Part::Proof,
            "it does not lead to the batch's root",
        );
    }

    /// Without a tree the proof alone tells whether the fields are those that were sealed.
    pub(super) fn check_by_proof(
        &self,
        row: &Row,
        read: &Read,
        findings: &mut Findings,
    ) -> Option<Hash> {
        let subject = row.subject();
        let proof = row.proof.as_deref().unwrap_or_default();
        let leads = |leaf: &Hash| {
            verify::siblings(proof)
                .and_then(|siblings| verify::inclusion(leaf, &siblings, &self.root))
                .is_ok()
        };
        let stored = row
            .leaf
            .as_deref()
            .and_then(|leaf| <Hash>::try_from(leaf).ok());
        if leads(&read.leaf) {
            let same = read.leaf_of_bytes.is_none();
            let what = "their bytes are not those that were sealed";
            findings.check(same, &subject, Part::Details, what);
            let same = stored == Some(read.leaf);
            findings.check(
                same,
                &subject,
                Part::Leaf,
                "the stored leaf is not that of the fields",
            );
            return Some(read.leaf);
        }
        if let Some(of_bytes) = read.leaf_of_bytes.filter(leads) {
            let what = "details_hash is not the hash of the details that were sealed";
            findings.add(&subject, Part::Details, what);
            return Some(of_bytes);
        }
        if let Some(stored) = stored.filter(leads) {
            self.name_unsealed(&subject, read, findings);
            return Some(stored);
        }
        if stored == Some(read.leaf) {
            let what = "it does not lead to the batch's root";
            findings.add(&subject, Part::Proof, what);
            // the fields and the stored leaf vouch for each other
            return stored;
        }
        self.name_unsealed(&subject, read, findings);
        None
    }
}
