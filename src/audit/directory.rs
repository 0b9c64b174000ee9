//! An exported directory, checked without a database: `batch-N.json`, the batch file of SPEC, and
//! `batch-N.sales.jsonl`, the receipts of its sales, one a line, in the order of its marks and of their
//! numbers. N goes from 1 on without a gap, but for batches that `declared.json` declares lost.
//!
//! Memory holds one batch, one receipt, and a head for each merchant.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use counterfoil_proofs::Hash;
use counterfoil_proofs::manifest::{BatchFile, Declared, Mark, next_head};
use counterfoil_proofs::receipt::{self, Outcome as Checked, Receipt, Step};
use uuid::Uuid;

use super::finding::{Findings, Part as Of, Subject, short};
use super::steps::{Audit, Part, Phase};

/// The file of a batch.
pub fn batch_file(directory: &Path, batch: u64) -> PathBuf {
    directory.join(format!("batch-{batch}.json"))
}

/// The receipts of a batch's sales.
pub fn sales_file(directory: &Path, batch: u64) -> PathBuf {
    directory.join(format!("batch-{batch}.sales.jsonl"))
}

/// What was declared lost.
pub fn declared_file(directory: &Path) -> PathBuf {
    directory.join("declared.json")
}

/// What a directory has of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// The root that its file gives.
    Computed(Hash),
    /// The roots that registries are said to have of a lost one, each with its chain.
    Declared(Vec<(u64, Hash)>),
    /// Nothing that could be read; that was told.
    Unknown,
}

impl Root {
    /// Whether the next batch may name this root as the one before.
    fn is(&self, previous: &Hash) -> bool {
        match self {
            Self::Computed(root) => root == previous,
            Self::Declared(roots) => roots.iter().any(|(_, root)| root == previous),
            Self::Unknown => true,
        }
    }
}

/// Where each merchant stands: the last number and the running hash.
type Heads = HashMap<[u8; 16], (u64, Hash)>;

impl Audit<'_> {
    /// Checks a directory, and gives what it has of each batch, ascending.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn directory(&self, directory: &Path) -> std::io::Result<Vec<(u64, Root)>> {
        let mut first = Part::default();
        let declared = read_declared(directory, &mut first.findings)?;
        first.counts.gaps = declared.gaps.len() as u64;
        self.take(Phase::Batches, first);
        let mut roots: Vec<(u64, Root)> = Vec::new();
        let (mut heads, mut branch) = (Heads::new(), None::<Heads>);
        let nothing = Declared::default();
        for batch in batches(directory, &declared)? {
            let mut part = Part::default();
            let expected = roots
                .last()
                .map_or(1, |(before, _)| before.saturating_add(1));
            if batch > expected {
                let what = format!("the directory goes on with batch {batch}");
                let subject = Subject::batch(expected);
                part.findings.add(&subject, Of::Missing, what);
                roots.push((batch - 1, Root::Unknown));
            }
            let before = roots
                .last()
                .map_or(Root::Computed([0; 32]), |(_, root)| root.clone());
            let lost: Vec<_> = declared.roots_of(batch).collect();
            let root = match (batch_file(directory, batch).exists(), lost.is_empty()) {
                (false, _) => {
                    part.counts.lost_batches = 1;
                    Root::Declared(lost.clone())
                }
                (true, true) => {
                    branch = None;
                    let files = (directory, batch, &declared);
                    check_batch(files, &before, &mut heads, &mut part)?
                }
                // what was lost is here from before the loss: another line, which ends
                (true, false) => {
                    let heads = branch.get_or_insert_with(|| heads.clone());
                    let files = (directory, batch, &nothing);
                    check_batch(files, &before, heads, &mut part)?
                }
            };
            check_lost(batch, &root, &lost, &mut part.findings);
            roots.push((batch, root));
            self.take(Phase::Batches, part);
        }
        let mut last = Part::default();
        last.counts.merchants = heads.len() as u64;
        self.take(Phase::Batches, last);
        Ok(roots)
    }
}

/// That there is one root of a lost batch, and that its files, where they are from before the loss, have it.
fn check_lost(batch: u64, root: &Root, lost: &[(u64, Hash)], findings: &mut Findings) {
    let subject = Subject::batch(batch);
    let one = lost.windows(2).all(|pair| pair[0].1 == pair[1].1);
    let what = "it was declared lost with two roots";
    findings.check(one, &subject, Of::Root, what);
    if let Root::Computed(root) = root {
        let same = lost.iter().all(|(_, lost)| lost == root);
        let what = "its file gives another root than the one that was declared lost";
        findings.check(same, &subject, Of::Root, what);
    }
}

/// The batches that there are files of, or that were declared lost.
fn batches(directory: &Path, declared: &Declared) -> std::io::Result<BTreeSet<u64>> {
    let mut batches: BTreeSet<u64> = declared.lost_batches.iter().map(|it| it.batch).collect();
    for entry in directory.read_dir()? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("batch-"));
        let number = number.and_then(|rest| rest.strip_suffix(".json")?.parse().ok());
        // other ways to write the number are other files
        let is_name = |batch: &u64| *batch > 0 && batch_file(directory, *batch).ends_with(&name);
        batches.extend(number.filter(is_name));
    }
    Ok(batches)
}

/// What was declared lost; nothing where there is no such file.
fn read_declared(directory: &Path, findings: &mut Findings) -> std::io::Result<Declared> {
    let file = match File::open(declared_file(directory)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Declared::default()),
        file => file?,
    };
    let json = read(file, Declared::MAX_JSON_BYTES)?;
    Ok(Declared::parse(&json).unwrap_or_else(|error| {
        let what = format!("declared.json is not what it should be: {error}");
        findings.add(&Subject::Heads, Of::Fields, what);
        Declared::default()
    }))
}

fn read(file: File, most: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Checks the two files of a batch.
fn check_batch(
    (directory, batch, declared): (&Path, u64, &Declared),
    before: &Root,
    heads: &mut Heads,
    part: &mut Part,
) -> std::io::Result<Root> {
    part.counts.batches = 1;
    let path = batch_file(directory, batch);
    let Some((file, root)) = read_batch(&path, batch, before, &mut part.findings)? else {
        return Ok(Root::Unknown);
    };
    let lines = match File::open(sales_file(directory, batch)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let what = "there is no file of its sales";
            part.findings.add(&Subject::batch(batch), Of::Missing, what);
            let ends = |mark: &Mark| (mark.merchant, (mark.last_seq, mark.head));
            heads.extend(file.marks.iter().map(ends));
            return Ok(Root::Computed(root));
        }
        lines => lines?,
    };
    let mut sales = Sales {
        batch: batch.cast_signed(),
        root,
        file: &file,
        declared,
        heads,
        findings: &mut part.findings,
    };
    part.counts.sales = sales.check(BufReader::new(lines))?;
    Ok(Root::Computed(root))
}

fn read_batch(
    path: &Path,
    batch: u64,
    before: &Root,
    findings: &mut Findings,
) -> std::io::Result<Option<(BatchFile, Hash)>> {
    let subject = Subject::batch(batch);
    let json = read(File::open(path)?, BatchFile::MAX_JSON_BYTES)?;
    let checked = BatchFile::parse(&json)
        .map_err(|error| error.to_string())
        .and_then(|file| match file.check() {
            Ok(root) => Ok((file, root)),
            Err(error) => Err(error.to_string()),
        });
    let (file, root) = match checked {
        Ok(checked) => checked,
        Err(error) => {
            findings.add(&subject, Of::Manifest, error);
            return Ok(None);
        }
    };
    let numbered = file.manifest.batch == batch;
    let what = "the file is of another batch";
    findings.check(numbered, &subject, Of::Batch, what);
    let follows = before.is(&file.manifest.previous);
    let what = "it follows another root than that of the batch before";
    findings.check(follows, &subject, Of::Batch, what);
    Ok(Some((file, root)))
}

/// The sales of one batch, as they are read.
struct Sales<'a> {
    batch: i64,
    root: Hash,
    file: &'a BatchFile,
    declared: &'a Declared,
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
            let next_seq = self
                .declared
                .past_gap(&mark.merchant, last.saturating_add(1));
            let follows = next_seq == mark.first_seq;
            let what = format!("its run begins at {}, not at {next_seq}", mark.first_seq);
            self.findings
                .check(follows, &self.mark(mark), Of::Mark, &what);
            self.check_gap(mark);
            let mut head = follows.then_some(head);
            for seq in mark.first_seq..=mark.last_seq {
                let is_it = |receipt: &Receipt| {
                    receipt.sale.merchant == mark.merchant && receipt.sale.seq == seq
                };
                let Some(receipt) = next.take_if(|receipt| is_it(receipt)) else {
                    let subject = subject(mark.merchant, seq, None);
                    let what = format!("batch {} has it, and the line is another", self.batch);
                    self.findings.add(&subject, Of::Missing, what);
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
                self.findings.add(&self.mark(mark), Of::Mark, what);
            }
            self.heads.insert(mark.merchant, (mark.last_seq, mark.head));
        }
        if let Some(receipt) = next {
            let sale = &receipt.sale;
            let subject = subject(sale.merchant, sale.seq, Some(sale.sale));
            let what = "no mark has it here";
            self.findings.add(&subject, Of::Double, what);
        }
        Ok(read)
    }

    /// A number of a declared gap is no sale's.
    fn check_gap(&mut self, mark: &Mark) {
        let (first, last) = (mark.first_seq, mark.last_seq);
        if let Some(gap) = self.declared.gap_within(&mark.merchant, first, last) {
            let (first, last) = (gap.first_seq, gap.last_seq);
            let what = format!("it has numbers of a gap that was declared, {first} to {last}");
            self.findings.add(&self.mark(mark), Of::Mark, what);
        }
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
                self.findings.add(&subject, Of::Fields, what);
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
            self.findings.add(&subject, Of::Fields, what);
        }
        for (step, outcome) in &checked.steps {
            let part = match step {
                Step::DetailsForm | Step::DetailsHash => Of::Details,
                _ => Of::Proof,
            };
            if let Checked::Failed(error) = outcome
                && (sealed || part == Of::Details)
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
        self.findings.check(same, &subject, Of::Batch, what);
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
