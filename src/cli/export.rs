//! `counterfoil export`

mod all;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::{ArgGroup, Args};
use counterfoil_proofs::manifest::BatchFile;
use counterfoil_proofs::{Hash, hex};
use sqlx::PgConnection;

use crate::anchor::store::batches;
use crate::config::{ArchiveArgs, DatabaseArgs};
use crate::database;
use crate::ids::{MerchantId, SaleId};
use crate::sales::archive::Archive;
use crate::sales::filed::Wanted;
use crate::sales::receipts::issue;

/// Sales that are read at once.
const ROWS: i64 = 100;

/// Writes what others need to check everything themselves, from the database
///
/// --batch: the manifest, the marks and all leaves of a batch, as JSON: enough to compute its anchored
/// root. --merchant: all sales of a merchant in their order, one receipt a line. The files of all batches
/// and a merchant's receipts together prove that nothing is missing, double or moved. --all: a directory
/// with the files of all batches, the receipts of their sales, and what a recovery has declared lost, for
/// `counterfoil audit --dir`; it may be run again, and adds what is new.
///
/// Example: counterfoil export --batch 1 --out batch-1.json
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["batch", "merchant", "all"])))]
pub(super) struct ExportArgs {
    /// The batch's number
    #[arg(long)]
    batch: Option<i64>,
    /// The merchant, mer_…
    #[arg(long)]
    merchant: Option<MerchantId>,
    /// A directory for everything; it is made where it is missing
    #[arg(long, value_name = "DIR")]
    all: Option<PathBuf>,
    /// Where to write; standard output unless given
    #[arg(long, conflicts_with = "all")]
    out: Option<PathBuf>,
    #[command(flatten)]
    archives: ArchiveArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: ExportArgs) -> anyhow::Result<ExitCode> {
    let mut db = database::connect(&args.database.database_url).await?;
    let archive = Archive::new(args.archives.archive_dir);
    if let Some(directory) = &args.all {
        let batches = all::export(&mut db, &archive, directory).await?;
        eprintln!("{batches} batches are in {}", directory.display());
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = Output::create(args.out)?;
    match (args.batch, args.merchant) {
        (Some(batch), _) => export_batch(&mut db, batch, &mut out.writer).await?,
        (None, Some(merchant)) => {
            export_merchant(&mut db, &archive, merchant, &mut out.writer).await?;
        }
        (None, None) => bail!("--batch, --merchant or --all is needed"),
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Where an export goes: standard output, or a file that has its name once it is whole.
struct Output {
    writer: BufWriter<Box<dyn Write>>,
    unfinished: Option<(PathBuf, PathBuf)>,
}

impl Output {
    fn create(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            let writer: Box<dyn Write> = Box::new(std::io::stdout());
            return Ok(Self {
                writer: BufWriter::new(writer),
                unfinished: None,
            });
        };
        let unfinished = path.with_added_extension("unfinished");
        let file = File::create(&unfinished)
            .with_context(|| format!("{} cannot be written", unfinished.display()))?;
        let writer: Box<dyn Write> = Box::new(file);
        Ok(Self {
            writer: BufWriter::new(writer),
            unfinished: Some((unfinished, path)),
        })
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.writer
            .flush()
            .context("the export cannot be written")?;
        match self.unfinished {
            Some((from, to)) => std::fs::rename(&from, &to)
                .with_context(|| format!("{} cannot be written", to.display())),
            None => Ok(()),
        }
    }
}

async fn export_batch(
    db: &mut PgConnection,
    batch: i64,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (file, _) = checked_batch(db, batch).await?;
    writeln!(out, "{}", file.to_json())?;
    Ok(())
}

/// A batch that gives its stored root, and the root.
async fn checked_batch(db: &mut PgConnection, batch: i64) -> anyhow::Result<(BatchFile, Hash)> {
    let stored = batches::load(db, batch)
        .await?
        .with_context(|| format!("there is no batch {batch}"))?;
    let root = stored
        .file
        .check()
        .with_context(|| format!("the stored batch {batch} is damaged"))?;
    anyhow::ensure!(
        root == stored.root,
        "the stored batch {batch} is damaged: it gives the root {}",
        hex::encode(&root)
    );
    Ok((stored.file, root))
}

/// One receipt a line, some rows at a time, so that memory does not grow with the merchant.
async fn export_merchant(
    db: &mut PgConnection,
    archive: &Archive,
    merchant: MerchantId,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let known = sqlx::query_scalar!(
        "select next_seq from merchant where merchant_id = $1",
        merchant.0
    );
    known
        .fetch_optional(&mut *db)
        .await?
        .with_context(|| format!("there is no merchant {merchant}"))?;
    let mut after = 0;
    loop {
        let rows = rows_after(db, merchant, after, ROWS).await?;
        let Some((last, _)) = rows.last() else {
            return Ok(());
        };
        after = *last;
        let wanted: Vec<_> = rows
            .iter()
            .map(|(_, id)| (merchant, Wanted::Sale(*id)))
            .collect();
        let found = archive.find(&mut *db, &wanted).await?;
        for ((seq, _), filed) in rows.iter().zip(found) {
            let filed = filed?.with_context(|| format!("sale {seq} is gone"))?;
            let issued = issue(filed).map_err(|problem| {
                let why = problem.code.title;
                anyhow!("sale {seq} of the merchant cannot be shown: {why}")
            })?;
            writeln!(out, "{}", issued.receipt.to_json())?;
        }
    }
}

async fn rows_after(
    db: &mut PgConnection,
    merchant: MerchantId,
    seq: i64,
    limit: i64,
) -> Result<Vec<(i64, SaleId)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select seq as "seq!", sale_id as "sale_id!" from recorded_sale
           where merchant_id = $1 and seq > $2 order by seq limit $3"#,
        merchant.0,
        seq,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.seq, SaleId(row.sale_id)))
        .collect())
}
