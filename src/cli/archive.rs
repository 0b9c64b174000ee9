//! `counterfoil archive`

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use counterfoil_proofs::hex;
use time::{Date, Month};

use crate::clock::Clock;
use crate::config::{ArchiveArgs, DatabaseArgs};
use crate::database;
use crate::retention::archive;

/// Moves old months of finalized sales out of the database, each into a file of its receipts
///
/// What decides about new sales stays: keys and order ids for ever, refunds up to the amount. Receipts
/// are read from the files, so every `serve` needs the directory (COUNTERFOIL_ARCHIVE_DIR). A month goes
/// when all its sales are finalized; otherwise nothing is done and the first that is not is named. It may
/// be ended at any time and run again. The login is the tables' owner.
///
/// Example: counterfoil archive --before 2026-01 --archive-dir /var/lib/counterfoil/archive
#[derive(Debug, Args)]
pub(super) struct ArchiveCommand {
    /// The months that end before this one, such as 2026-01
    #[arg(long, value_parser = month)]
    before: Date,
    #[command(flatten)]
    archives: ArchiveArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: ArchiveCommand) -> anyhow::Result<ExitCode> {
    let before = args.before.midnight().assume_utc();
    ensure!(
        before <= Clock::system().now(),
        "--before is in the future: a month goes when it is over"
    );
    let directory = args
        .archives
        .archive_dir
        .context("where to? --archive-dir or COUNTERFOIL_ARCHIVE_DIR is needed")?;
    let mut db = database::connect(&args.database.database_url).await?;
    archive::reserve(&mut db).await?;
    let months = archive::months(&mut db, before).await?;
    if months.is_empty() {
        eprintln!("there is no month that ends before it");
    }
    for month in months {
        let done = archive::archive(&mut db, &month, &directory)
            .await
            .with_context(|| format!("{} was not archived", month.name))?;
        eprintln!(
            "{}: {} sales, {} bytes, SHA-256 {}",
            done.path.display(),
            done.sales,
            done.bytes,
            hex::encode(&done.sha256)
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn month(text: &str) -> Result<Date, String> {
    let parse = || {
        let (year, month) = text.split_once('-')?;
        let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
        Date::from_calendar_date(year.parse().ok()?, month, 1).ok()
    };
    parse().ok_or_else(|| "a month is written like 2026-01".to_owned())
}
