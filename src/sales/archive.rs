//! Reading archived sales: those whose month has left the database for a file.
//!
//! The file is JSON Lines: the finalized receipts of the month, ordered by merchant and sale id, as
//! `retention::archive` wrote them. `archived_sale` says where each one stands.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterfoil_proofs::receipt::{MAX_BYTES, Receipt};
use sqlx::PgConnection;
use uuid::Uuid;

use super::filed::{self, Filed, Seal, Wanted};
use super::receipts::anchor_row;
use super::stored::StoredSale;
use crate::clock::from_unix_ms;
use crate::http::codes;
use crate::http::problem::Problem;
use crate::ids::MerchantId;

/// The directory of the archives, where one is configured. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Archive(Option<Arc<Path>>);

/// Why an archived sale could not be read, although it is there.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// No directory is configured.
    #[error("the sale is archived in {file}, and no directory of archives is configured")]
    NoDirectory {
        /// The archive's file.
        file: String,
    },
    /// The file cannot be read there.
    #[error("the sale is archived in {file}, which cannot be read")]
    Unreadable {
        /// The archive's file.
        file: String,
        /// What the file system said.
        source: std::io::Error,
    },
    /// What stands there is not the receipt of that sale.
    #[error("the sale is archived in {file}, which holds another thing in its place")]
    Damaged {
        /// The archive's file.
        file: String,
    },
}

impl ArchiveError {
    /// Logs it, with what the file system said.
    pub fn log(&self) {
        let source = self.source().map(tracing::field::display);
        tracing::error!(error = %self, source, "an archived sale is not served");
    }

    /// The answer, once it is logged what happened.
    pub fn into_problem(self) -> Problem {
        self.log();
        match self {
            Self::NoDirectory { .. } | Self::Unreadable { .. } => Problem::new(
                &codes::ARCHIVE_UNAVAILABLE,
                "the sale is archived, and its archive cannot be read here",
            ),
            Self::Damaged { .. } => Problem::new(
                &codes::SELF_CHECK_FAILED,
                "the archived receipt does not verify",
            ),
        }
    }
}

/// Where the receipt of an archived sale stands.
struct Place {
    merchant: Uuid,
    sale: Uuid,
    file: String,
    position: u64,
    length: usize,
    batch_id: i64,
    root: Vec<u8>,
}

impl Archive {
    /// Archives in this directory; without one, archived sales cannot be read.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self(directory.map(Arc::from))
    }

    /// These sales, in this order, wherever they are; none for one that does not exist.
    ///
    /// # Errors
    /// The database's. Each archived sale has an error of its own.
    pub async fn find(
        &self,
        db: &mut PgConnection,
        wanted: &[(MerchantId, Wanted)],
    ) -> Result<Vec<Result<Option<Filed>, ArchiveError>>, sqlx::Error> {
        let live = filed::read(&mut *db, wanted).await?;
        if live.iter().all(Option::is_some) {
            return Ok(live.into_iter().map(Ok).collect());
        }
        // asked after, so that a sale which is archived between the two is found
        let archived = self.read(db, wanted).await?;
        let either =
            |(live, archived): (Option<Filed>, _)| live.map_or(archived, |live| Ok(Some(live)));
        Ok(live.into_iter().zip(archived).map(either).collect())
    }

    /// Those of the sales that are archived, in the same order; none for the others.
    ///
    /// # Errors
    /// The database's. Each sale has an error of its own.
    pub async fn read(
        &self,
        db: &mut PgConnection,
        wanted: &[(MerchantId, Wanted)],
    ) -> Result<Vec<Result<Option<Filed>, ArchiveError>>, sqlx::Error> {
        let mut found = Vec::with_capacity(wanted.len());
        for place in places(db, wanted).await? {
            found.push(match place {
                None => Ok(None),
                Some(place) => self.open(place).await.map(Some),
            });
        }
        Ok(found)
    }

    async fn open(&self, place: Place) -> Result<Filed, ArchiveError> {
        let Some(directory) = self.0.clone() else {
            return Err(ArchiveError::NoDirectory { file: place.file });
        };
        let reading = tokio::task::spawn_blocking(move || {
            let line = line(&directory, &place).map_err(|source| ArchiveError::Unreadable {
                file: place.file.clone(),
                source,
            })?;
            place
                .filed(&line)
                .ok_or(ArchiveError::Damaged { file: place.file })
        });
        reading.await.unwrap_or_else(|broken_off| {
            Err(ArchiveError::Unreadable {
                file: String::new(),
                source: std::io::Error::other(broken_off),
            })
        })
    }
}

fn line(directory: &Path, place: &Place) -> std::io::Result<Vec<u8>> {
    let mut line = vec![0; place.length];
    File::open(directory.join(&place.file))?.read_exact_at(&mut line, place.position)?;
    Ok(line)
}

/// Where the sales stand that are archived, in the same order.
async fn places(
    db: &mut PgConnection,
    wanted: &[(MerchantId, Wanted)],
) -> Result<Vec<Option<Place>>, sqlx::Error> {
    let (merchants, ids, orders) = filed::columns(wanted);
    let rows = sqlx::query!(
        r#"select w.ord as "ord!", s.merchant_id, s.sale_id, s.position, s.length, s.batch_id, a.file, b.root
           from unnest($1::uuid[], $2::uuid[], $3::text[]) with ordinality
                as w(merchant_id, sale_id, order_id, ord)
           join archived_sale s on s.merchant_id = w.merchant_id
            and s.sale_id = coalesce(w.sale_id, (
                select o.sale_id from sale_order o
                where o.merchant_id = w.merchant_id and o.order_id = w.order_id))
           join sale_archive a on a.archive_id = s.archive_id
           join batch b on b.batch_id = s.batch_id"#,
        &merchants,
        &ids as &[Option<Uuid>],
        &orders as &[Option<&str>],
    )
    .fetch_all(db)
    .await?;
    let mut places: Vec<Option<Place>> = wanted.iter().map(|_| None).collect();
    for row in rows {
        let at = usize::try_from(row.ord - 1).ok();
        if let Some(place) = at.and_then(|at| places.get_mut(at)) {
            *place = Some(Place {
                merchant: row.merchant_id,
                sale: row.sale_id,
                file: row.file,
                position: row.position.cast_unsigned(),
                // a column that says more is not ours, and then it is no receipt either
                length: usize::try_from(row.length).map_or(0, |length| length.min(MAX_BYTES)),
                batch_id: row.batch_id,
                root: row.root,
            });
        }
    }
    Ok(places)
}

impl Place {
    /// The sale as its row was, by its receipt; none if that is another's. The root is the database's,
    /// so that a proof which was changed in the file does not verify.
    fn filed(&self, line: &[u8]) -> Option<Filed> {
        let receipt = Receipt::parse(line).ok()?;
        let sale = StoredSale::from_receipt(&receipt)?;
        let batch = receipt.batch?;
        if (sale.merchant_id, sale.sale_id) != (self.merchant, self.sale)
            || batch.id != self.batch_id.cast_unsigned()
        {
            return None;
        }
        let seal = Seal {
            leaf: receipt.sale.leaf().to_vec(),
            proof: receipt.proof.concat(),
            batch_id: self.batch_id,
            root: self.root.clone(),
            sealed_at: from_unix_ms(batch.sealed_at.millis().cast_signed()),
            // only those are archived
            state: "finalized".to_owned(),
            anchors: receipt.anchors.iter().map(anchor_row).collect(),
        };
        Some(Filed {
            sale,
            seal: Some(seal),
        })
    }
}
