//! An exported directory, checked without a database: `batch-N.json`, the batch file of SPEC, and
//! `batch-N.sales.jsonl`, the receipts of its sales, one a line, in the order of its marks and of their
//! numbers. N goes from 1 on without a gap.
//!
//! Memory holds one batch, one receipt, and a head for each merchant.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use counterfoil_proofs::Hash;
use counterfoil_proofs::manifest::{BatchFile, Mark, next_head};
use counterfoil_proofs::receipt::{self, Outcome as Checked, Receipt, Step};
use uuid::Uuid;

use super::finding::{Findings, Part, Subject, short};
use super::steps::{Audit, Counts, Phase};

/// The file of a batch.
pub fn batch_file(directory: &Path, batch: u64) -> PathBuf {
    directory.join(format!("batch-{batch}.json"))
}

/// The receipts of a batch's sales.
pub fn sales_file(directory: &Path, batch: u64) -> PathBuf {
    directory.join(format!("batch-{batch}.sales.jsonl"))
}

/// Where a merchant stands: the last number and the running hash.
type Heads = HashMap<[u8; 16], (u64, Hash)>;

impl Audit<'_> {
    /// Checks a directory, and gives the roots of its batches from 1 on.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn directory(&self, directory: &Path) -> std::io::Result<Vec<Hash>> {
        let mut roots: Vec<Hash> = Vec::new();
        let mut heads = Heads::new();
        loop {
            let batch = roots.len() as u64 + 1;
            let path = batch_file(directory, batch);
            if !path.exists() {
                return Ok(roots);
            }
            let mut findings = Findings::default();
            let mut counts = Counts {
                batches: 1,
                ..Counts::default()
            };
            let root = match read_batch(&path, batch, roots.last(), &mut findings)? {
                Some((file, root)) => {
                    let lines = File::open(sales_file(directory, batch))?;
                    let mut sales = Sales {
                        batch: i64::try_from(batch).unwrap_or(i64::MAX),
                        root,
                        file: &file,
                        heads: &mut heads,
                        findings: &mut findings,
                    };
                    counts.sales = sales.check(BufReader::new(lines))?;
                    root
                }
                None => [0; 32],
            };
            roots.push(root);
            let part = super::steps::Part {
                findings,
                counts,
                ..Default::default()
            };
            self.take(Phase::Batches, part);
        }
    }
}

fn read_batch(
    path: &Path,
    batch: u64,
    previous: Option<&Hash>,
    findings: &mut Findings,
) -> std::io::Result<Option<(BatchFile, Hash)>> {
    let subject = Subject::Batch {
        batch: i64::try_from(batch).unwrap_or(i64::MAX),
    };
    let mut json = Vec::new();
    File::open(path)?
        .take(BatchFile::MAX_JSON_BYTES as u64 + 1)
        .read_to_end(&mut json)?;
    let file = match BatchFile::parse(&json) {
        Ok(file) => file,
        Err(error) => {
            findings.add(&subject, Part::Manifest, error.to_string());
            return Ok(None);
        }
    };
    let root = match file.check() {
        Ok(root) => root,
        Err(error) => {
            findings.add(&subject, Part::Manifest, error.to_string());
            return Ok(None);
        }
    };
    let numbered = file.manifest.batch == batch;
    findings.check(
        numbered,
        &subject,
        Part::Batch,
        "the file is of another batch",
    );
    let previous = previous.copied().unwrap_or_default();
    let follows = file.manifest.previous == previous;
    let what = "it follows another root than that of the batch before";
    findings.check(follows, &subject, Part::Batch, what);
    Ok(Some((file, root)))
}

/// The sales of one batch, as they are read.
struct Sales<'a> {
    batch: i64,
    root: Hash,
    file: &'a BatchFile,
    heads: &'a mut Heads,
    findings: &'a mut Findings,
}

impl Sales<'_> {
    /// Follows the marks; each takes the lines of its numbers.
    fn check(&mut self, mut lines: impl BufRead) -> std::io::Result<u64> {
        let mut read = 0;
        let mut next = self.next(&mut lines)?;
        for mark in &self.file.marks {
            let (last, head) = self.heads.get(&mark.merchant).copied().unwrap_or_default();
            let follows = last + 1 == mark.first_seq;
            let what = format!("its run begins at {}, not at {}", mark.first_seq, last + 1);
            self.findings
                .check(follows, &self.mark(mark), Part::Mark, &what);
            let mut head = follows.then_some(head);
            for seq in mark.first_seq..=mark.last_seq {
                let is_it = |receipt: &Receipt| {
                    receipt.sale.merchant == mark.merchant && receipt.sale.seq == seq
                };
                let Some(receipt) = next.take_if(|receipt| is_it(receipt)) else {
                    let subject = subject(mark.merchant, seq, None);
                    let what = format!("batch {} has it, and the line is another", self.batch);
                    self.findings.add(&subject, Part::Missing, what);
                    head = None;
                    break;
                };
                read += 1;
                let leaf = self.check_sale(&receipt);
                head = head.zip(leaf).map(|(head, leaf)| next_head(&head, &leaf));
                next = self.next(&mut lines)?;
            }
            if let Some(head) = head
                && head != mark.head
            {
                let what = format!("its leaves give {}", short(&head));
                self.findings.add(&self.mark(mark), Part::Mark, what);
            }
            self.heads.insert(mark.merchant, (mark.last_seq, mark.head));
        }
        if let Some(receipt) = next {
            let sale = &receipt.sale;
            let subject = subject(sale.merchant, sale.seq, Some(sale.sale));
            let what = "no mark has it here";
            self.findings.add(&subject, Part::Double, what);
        }
        Ok(read)
    }

    fn mark(&self, mark: &Mark) -> Subject {
        Subject::Mark {
            batch: self.batch,
            merchant: Uuid::from_bytes(mark.merchant),
        }
    }

    /// The next receipt; a line that is none is a finding, and the end.
    fn next(&mut self, lines: &mut impl BufRead) -> std::io::Result<Option<Receipt>> {
        let mut line = Vec::new();
        lines
            .take(receipt::MAX_BYTES as u64 + 2)
            .read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        match Receipt::parse(line.trim_ascii_end()) {
            Ok(receipt) => Ok(Some(receipt)),
            Err(error) => {
                let subject = Subject::Batch { batch: self.batch };
                let what = format!("a line of its sales is no receipt: {error}");
                self.findings.add(&subject, Part::Fields, what);
                Ok(None)
            }
        }
    }

    /// The leaf, if the batch has it.
    fn check_sale(&mut self, receipt: &Receipt) -> Option<Hash> {
        let sale = &receipt.sale;
        let subject = subject(sale.merchant, sale.seq, Some(sale.sale));
        let checked = receipt.check();
        let sealed = self.file.leaves.binary_search(&checked.leaf).is_ok();
        if !sealed {
            let what = format!(
                "they give the leaf {}, which is not in the batch",
                short(&checked.leaf)
            );
            self.findings.add(&subject, Part::Fields, what);
        }
        for (step, outcome) in &checked.steps {
            let part = match step {
                Step::DetailsForm | Step::DetailsHash => Part::Details,
                _ => Part::Proof,
            };
            if let Checked::Failed(error) = outcome
                && (sealed || part == Part::Details)
            {
                self.findings.add(&subject, part, error.to_string());
            }
        }
        let same = receipt.batch.is_some_and(|batch| {
            batch.id.cast_signed() == self.batch
                && batch.root == self.root
                && batch.sealed_at.millis() == self.file.manifest.sealed_at
        });
        let what = "its batch is not this one";
        self.findings.check(same, &subject, Part::Batch, what);
        sealed.then_some(checked.leaf)
    }
}

fn subject(merchant: [u8; 16], seq: u64, sale: Option<[u8; 16]>) -> Subject {
    Subject::Sale {
        merchant: Uuid::from_bytes(merchant),
        seq: seq.cast_signed(),
        sale: sale.map(Uuid::from_bytes),
    }
}
