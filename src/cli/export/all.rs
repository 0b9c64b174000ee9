//! `counterfoil export --all`: every batch and its sales as files, for an audit without a database.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use counterfoil_proofs::manifest::BatchFile;
use counterfoil_proofs::receipt::{BatchRef, Receipt, Version};
use counterfoil_proofs::timestamp::Timestamp;
use counterfoil_proofs::{Hash, verify};
use sqlx::PgConnection;

use super::{checked_batch, rows_after};
use crate::anchor::store::batches;
use crate::anchor::store::declared;
use crate::audit::directory::{batch_file, declared_file, sales_file};
use crate::ids::MerchantId;
use crate::sales::archive::Archive;
use crate::sales::filed::Wanted;

/// Rows that are read at once.
const ROWS: i64 = 500;

/// Writes all batches, their sales as receipts, and what was declared lost. A batch whose files are there is
/// left as it is.
pub(super) async fn export(
    db: &mut PgConnection,
    archive: &Archive,
    directory: &Path,
) -> anyhow::Result<u64> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("{} cannot be made", directory.display()))?;
    let newest = batches::newest(db).await?.unwrap_or(0);
    // read after the newest: what is sealed after a gap was declared finds it here
    let declared = declared::read(db).await?;
    for batch in 1..=newest {
        let id = batch.cast_unsigned();
        if declared.roots_of(id).next().is_some() {
            continue;
        }
        // it is written last, so it says that both are whole
        let path = batch_file(directory, id);
        if path.exists() {
            continue;
        }
        let (file, root) = checked_batch(db, batch).await?;
        write(&sales_file(directory, id), async |out| {
            export_sales(db, archive, &file, root, out).await
        })
        .await?;
        write(&path, async |out| Ok(writeln!(out, "{}", file.to_json())?)).await?;
    }
    let path = declared_file(directory);
    write(&path, async |out| {
        Ok(writeln!(out, "{}", declared.to_json())?)
    })
    .await?;
    Ok(newest.cast_unsigned())
}

/// Writes a file that has its name once it is whole.
async fn write(
    path: &Path,
    fill: impl AsyncFnOnce(&mut BufWriter<File>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be written", path.display());
    let unfinished = path.with_added_extension("unfinished");
    let mut out = BufWriter::new(File::create(&unfinished).with_context(cannot)?);
    fill(&mut out).await.with_context(cannot)?;
    out.flush().with_context(cannot)?;
    std::fs::rename(&unfinished, path).with_context(cannot)
}

async fn export_sales(
    db: &mut PgConnection,
    archive: &Archive,
    file: &BatchFile,
    root: Hash,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let batch = BatchRef {
        id: file.manifest.batch,
        root,
        sealed_at: Timestamp::from_millis(file.manifest.sealed_at).context("the batch's time")?,
    };
    for mark in &file.marks {
        let merchant = MerchantId(uuid::Uuid::from_bytes(mark.merchant));
        let last = mark.last_seq.cast_signed();
        let mut after = mark.first_seq.cast_signed() - 1;
        while after < last {
            let mut rows = rows_after(db, merchant, after, ROWS).await?;
            rows.retain(|(seq, _)| *seq <= last);
            let Some((end, _)) = rows.last() else { break };
            after = *end;
            let wanted: Vec<_> = rows
                .iter()
                .map(|(_, id)| (merchant, Wanted::Sale(*id)))
                .collect();
            let found = archive.find(&mut *db, &wanted).await?;
            for ((seq, _), filed) in rows.iter().zip(found) {
                let what = || format!("sale {seq} of {merchant} is damaged; run audit");
                let filed = filed?.with_context(what)?;
                let proof = filed.seal.map(|seal| seal.proof).unwrap_or_default();
                let receipt = Receipt {
                    version: Version::V1,
                    sale: filed.sale.to_sale().with_context(what)?,
                    details: Some(String::from_utf8(filed.sale.details).with_context(what)?),
                    proof: verify::siblings(&proof).with_context(what)?,
                    batch: Some(batch),
                    // hints, which change until they are final, and are not needed here
                    anchors: Vec::new(),
                };
                writeln!(out, "{}", receipt.to_json())?;
            }
        }
    }
    Ok(())
}
