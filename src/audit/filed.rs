//! Archived sales as rows again: each from its receipt in an archive's file, so that the audit asks the
//! same of it as of a sale in the table.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use counterfoil_proofs::receipt::{MAX_BYTES, Receipt};
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::Batch;
use super::finding::{Findings, Part, Subject};
use super::row::{Row, Target};
use super::store::archives::{self as store, ArchivedRow};
use crate::anchor::store::seal;
use crate::sales::stored::StoredSale;

/// The directory of the archives, where it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Archives(pub(super) Option<PathBuf>);

/// A sealed sale, wherever it is.
pub(super) enum Found {
    /// Its row, or its receipt as a row.
    Row(Box<Row>),
    /// Archived, and its receipt was not read: no directory is known, or what stands there is a finding.
    Unread(Box<ArchivedRow>),
}

impl Found {
    pub(super) fn merchant(&self) -> Uuid {
        match self {
            Self::Row(row) => row.sale.merchant_id,
            Self::Unread(row) => row.merchant_id,
        }
    }

    pub(super) fn seq(&self) -> i64 {
        match self {
            Self::Row(row) => row.sale.seq,
            Self::Unread(row) => row.seq,
        }
    }
}

impl ArchivedRow {
    pub(super) fn subject(&self) -> Subject {
        Subject::Sale {
            merchant: self.merchant_id,
            seq: self.seq,
            sale: Some(self.sale_id),
        }
    }
}

impl Archives {
    /// The files, to read in.
    pub(super) fn files(&self) -> Option<Files<'_>> {
        self.0.as_deref().map(|directory| Files {
            directory,
            open: HashMap::new(),
        })
    }

    /// The rows of a read and the archived sales of the same numbers, by merchant and number.
    pub(super) async fn join(
        &self,
        conn: &mut PgConnection,
        page: &[seal::Run],
        rows: Vec<Row>,
        batch: &Batch,
        findings: &mut Findings,
    ) -> Result<Vec<Found>, sqlx::Error> {
        let archived = store::sales(&mut *conn, page).await?;
        let mut found: Vec<Found> = rows.into_iter().map(Box::new).map(Found::Row).collect();
        let mut files = self.files();
        if !archived.is_empty() {
            found.extend(as_rows(conn, files.as_mut(), archived, batch, findings).await?);
            found.sort_by_key(|found| (found.merchant(), found.seq()));
        }
        if let Some(files) = &mut files {
            name_targets(conn, files, &mut found).await?;
        }
        Ok(found)
    }
}

/// Archived sales as rows, where their receipts can be read.
async fn as_rows(
    conn: &mut PgConnection,
    files: Option<&mut Files<'_>>,
    archived: Vec<ArchivedRow>,
    batch: &Batch,
    findings: &mut Findings,
) -> Result<Vec<Found>, sqlx::Error> {
    let mut found = Vec::with_capacity(archived.len());
    let mut read = Vec::with_capacity(archived.len());
    let mut files = files;
    for row in archived {
        let sale = files
            .as_deref_mut()
            .and_then(|files| row.read(files, batch, findings));
        match sale {
            Some(sale) => read.push((row, sale)),
            None => {
                let what = format!(
                    "it is in batch {}, the archive says {}",
                    batch.id, row.batch_id
                );
                findings.check(row.batch_id == batch.id, &row.subject(), Part::Batch, &what);
                found.push(Found::Unread(Box::new(row)));
            }
        }
    }
    let merchants: Vec<Uuid> = read.iter().map(|(row, _)| row.merchant_id).collect();
    let orders: Vec<String> = read
        .iter()
        .map(|(_, it)| it.sale.order_id.clone())
        .collect();
    let targets: Vec<Option<Uuid>> = read.iter().map(|(_, it)| it.sale.refers_to).collect();
    let around = store::around(conn, &merchants, &orders, &targets).await?;
    for ((row, read), around) in read.into_iter().zip(around) {
        found.push(Found::Row(Box::new(Row {
            archived: true,
            sold_at: None,
            fingerprint: row.fingerprint,
            leaf: Some(read.leaf.to_vec()),
            batch_id: Some(row.batch_id),
            leaf_index: None,
            proof: Some(read.proof),
            sale: read.sale,
            order_sale: around.order_sale,
            target: match (around.target_kind, around.target_currency) {
                (Some(kind), Some(currency)) => Some(Target {
                    kind,
                    currency,
                    order_id: around.target_order,
                }),
                _ => None,
            },
        })));
    }
    Ok(found)
}

/// Looks up the order ids of archived sales that are refunded: a refund's fingerprint may name them.
async fn name_targets(
    conn: &mut PgConnection,
    files: &mut Files<'_>,
    found: &mut [Found],
) -> Result<(), sqlx::Error> {
    let mut wanted: HashMap<(Uuid, Uuid), Option<String>> = HashMap::new();
    for row in found.iter_mut().filter_map(Found::archived_target) {
        wanted.insert(row.0, None);
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let (merchants, sales): (Vec<Uuid>, Vec<Uuid>) = wanted.keys().copied().unzip();
    for row in store::sales_by_id(conn, &merchants, &sales).await? {
        let receipt = files.receipt(&row).ok();
        let order = receipt.map(|receipt| receipt.sale.order_id.as_str().to_owned());
        wanted.insert((row.merchant_id, row.sale_id), order);
    }
    for (key, order) in found.iter_mut().filter_map(Found::archived_target) {
        *order = wanted.get(&key).cloned().flatten();
    }
    Ok(())
}

impl Found {
    /// The sale that it refunds, if that is archived, and where its order id is to stand.
    fn archived_target(&mut self) -> Option<((Uuid, Uuid), &mut Option<String>)> {
        let Self::Row(row) = self else { return None };
        let key = (row.sale.merchant_id, row.sale.refers_to?);
        let order = &mut row.target.as_mut()?.order_id;
        order.is_none().then_some((key, order))
    }
}

/// What a receipt says of its sale.
struct Read {
    sale: StoredSale,
    leaf: [u8; 32],
    proof: Vec<u8>,
}

impl ArchivedRow {
    /// The sale by its receipt, if that is its own. What is kept of it in the database is compared.
    fn read(&self, files: &mut Files<'_>, batch: &Batch, findings: &mut Findings) -> Option<Read> {
        let subject = self.subject();
        let receipt = match files.receipt(self) {
            Ok(receipt) => receipt,
            Err(what) => {
                findings.add(&subject, Part::Archive, what);
                return None;
            }
        };
        let sale = StoredSale::from_receipt(&receipt).filter(|sale| {
            sale.merchant_id == self.merchant_id
                && sale.sale_id == self.sale_id
                && sale.seq == self.seq
        });
        let Some(sale) = sale else {
            let what = "the receipt in its place is another's, or without details";
            findings.add(&subject, Part::Archive, what);
            return None;
        };
        let same = sale.kind == self.kind
            && sale.currency == self.currency
            && sale.amount_minor == self.amount_minor;
        let what = "kind, currency or amount_minor is not its receipt's";
        findings.check(same, &subject, Part::Copy, what);
        let same = receipt.batch.is_some_and(|of| {
            of.id.cast_signed() == batch.id
                && of.root == batch.root
                && i128::from(of.sealed_at.millis()) == i128::from(batch.sealed_at_ms)
        });
        let what = "its receipt names another batch, root or time";
        findings.check(same, &subject, Part::Archive, what);
        Some(Read {
            leaf: receipt.sale.leaf(),
            proof: receipt.proof.concat(),
            sale,
        })
    }
}

/// Files of archives, each opened once.
pub(super) struct Files<'a> {
    directory: &'a Path,
    open: HashMap<String, Option<File>>,
}

impl Files<'_> {
    /// The receipt that stands where an archived sale's should.
    pub(super) fn receipt(&mut self, row: &ArchivedRow) -> Result<Receipt, String> {
        let name = row.file.as_ref().ok_or("there is no such archive")?;
        if !self.open.contains_key(name) {
            let file = File::open(self.directory.join(name)).ok();
            self.open.insert(name.clone(), file);
        }
        let file = self.open.get(name).and_then(Option::as_ref);
        let file = file.ok_or_else(|| format!("{name} cannot be read"))?;
        let length = usize::try_from(row.length).unwrap_or(0).min(MAX_BYTES);
        // with the end of the line, and no other
        let mut line = vec![0; length + 1];
        file.read_exact_at(&mut line, row.position.cast_unsigned())
            .map_err(|_| format!("{name} has no line in its place"))?;
        let line = line
            .strip_suffix(b"\n")
            .filter(|line| !line.contains(&b'\n'));
        let line = line.ok_or_else(|| format!("in its place in {name} is another part of it"))?;
        Receipt::parse(line).map_err(|error| format!("in its place in {name}: {error}"))
    }
}
