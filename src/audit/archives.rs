//! A step over archives: what the database keeps of one against its runs, its sales and its file; and a
//! step over archived sales. (That each sale's receipt is the one that was sealed is checked with its batch.)

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::filed::Archives;
use super::finding::{Findings, Part as Of, Subject};
use super::steps::Part;
use super::store::archives::{self as store, ArchiveRow, RunRow, SaleKey};

/// Archived sales of a step.
const SALES: i64 = 10_000;
/// Runs that are added up at once.
const RUNS: i64 = 64;
/// Bytes of a file that are read at once.
const CHUNK: usize = 1 << 16;

/// Before the first archive.
pub(super) const BEFORE_FIRST: i32 = -1;

/// The archive of the next step. The first is there without one: it looks for runs of none.
pub(super) async fn next(conn: &mut PgConnection, after: i32) -> Result<Option<i32>, sqlx::Error> {
    let found = store::archive(conn, after).await?;
    Ok(found
        .map(|archive| archive.archive_id)
        .or((after == BEFORE_FIRST).then_some(0)))
}

/// Checks the archive after `after`; with the first, that no run is of one that is not there.
pub(super) async fn check(
    conn: &mut PgConnection,
    archives: &Archives,
    after: i32,
) -> Result<Part, sqlx::Error> {
    let mut part = Part::default();
    if after == BEFORE_FIRST {
        for (merchant, seq) in store::runs_of_no_archive(conn).await? {
            let subject = Subject::ArchiveRun { merchant, seq };
            part.findings
                .add(&subject, Of::Archive, "there is no such archive");
        }
    }
    let Some(archive) = store::archive(conn, after).await? else {
        return Ok(part);
    };
    part.counts.archives = 1;
    let kept = add_up(conn, archive.archive_id, &mut part.findings).await?;
    archive.check(&kept, &mut part.findings);
    if let Some(directory) = &archives.0 {
        archive.check_file(directory, &mut part.findings);
    }
    Ok(part)
}

/// What the runs of an archive come to.
#[derive(Default)]
struct Kept {
    sales: i64,
    bytes: i64,
    first_batch: Option<i64>,
    last_batch: Option<i64>,
}

async fn add_up(
    conn: &mut PgConnection,
    archive: i32,
    findings: &mut Findings,
) -> Result<Kept, sqlx::Error> {
    let mut kept = Kept::default();
    let mut after = (Uuid::nil(), 0);
    loop {
        let runs = store::runs(conn, archive, after, RUNS).await?;
        let Some(last) = runs.last() else {
            return Ok(kept);
        };
        after = (last.merchant_id, last.first_seq);
        for run in &runs {
            run.check(findings);
            kept.sales += run.sales;
            kept.bytes += run.bytes;
            kept.first_batch = super::steps::earliest(kept.first_batch, run.sales_first_batch);
            kept.last_batch = kept.last_batch.max(run.sales_last_batch);
        }
    }
}

impl RunRow {
    fn check(&self, findings: &mut Findings) {
        let subject = Subject::ArchiveRun {
            merchant: self.merchant_id,
            seq: self.first_seq,
        };
        let mut check =
            |holds: bool, what: &str| findings.check(holds, &subject, Of::Archive, what);
        let whole = self.last_seq - self.first_seq + 1 == self.sales && !self.goes_on;
        check(whole, "its numbers are not those of the archived sales");
        let same = self.sales_first_batch == Some(self.first_batch)
            && self.sales_last_batch == Some(self.last_batch);
        check(same, "its batches are not those of its sales");
    }
}

impl ArchiveRow {
    fn subject(&self) -> Subject {
        Subject::Archive {
            archive: self.archive_id,
        }
    }

    fn check(&self, kept: &Kept, findings: &mut Findings) {
        let subject = self.subject();
        let mut check =
            |holds: bool, what: &str| findings.check(holds, &subject, Of::Archive, what);
        check(self.sales == kept.sales, "sales is not how many there are");
        let same = (self.first_batch, self.last_batch) == (kept.first_batch, kept.last_batch);
        check(same, "its batches are not those of its sales");
        check(self.bytes == kept.bytes, "bytes is not what its lines have");
        check(self.named, "file is not named after it");
        check(self.follows, "it does not begin where an archive ends");
        check(
            self.followed,
            "no archive and no month in the table begins where it ends",
        );
        findings.check(
            self.in_time,
            &subject,
            Of::Times,
            "it was archived before its month was over",
        );
    }

    /// The file's length and hash.
    fn check_file(&self, directory: &Path, findings: &mut Findings) {
        let subject = self.subject();
        let what = match sum(&directory.join(&self.file)) {
            Err(error) => format!("{} cannot be read: {error}", self.file),
            Ok((bytes, _)) if bytes != self.bytes.cast_unsigned() => {
                format!("{} has {bytes} bytes, not {}", self.file, self.bytes)
            }
            Ok((_, sha256)) if sha256 != *self.sha256 => {
                format!("{} is not the file that was archived", self.file)
            }
            Ok(_) => return,
        };
        findings.add(&subject, Of::Archive, what);
    }
}

/// Length and SHA-256 of a file.
fn sum(path: &Path) -> std::io::Result<(u64, [u8; 32])> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok((bytes, hash.finalize().into()));
        }
        hash.update(&chunk[..read]);
        bytes += read as u64;
    }
}

/// The end of the next range of archived sales.
pub(super) async fn next_sales(
    conn: &mut PgConnection,
    after: SaleKey,
) -> Result<Option<SaleKey>, sqlx::Error> {
    store::sale_range_end(conn, after, SALES).await
}

/// Checks that archived sales of a range are in a run of their archive, in its month and in their batch.
pub(super) async fn check_sales(
    conn: &mut PgConnection,
    after: SaleKey,
    to: SaleKey,
) -> Result<Part, sqlx::Error> {
    let mut part = Part::default();
    for row in store::astray(conn, after, to).await? {
        let subject = Subject::Sale {
            merchant: row.merchant_id,
            seq: row.seq,
            sale: Some(row.sale_id),
        };
        let what = "it is not in a run of its archive, in its month, or in its batch";
        part.findings.add(&subject, Of::Archive, what);
    }
    Ok(part)
}
