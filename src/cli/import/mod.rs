//! `counterfoil import`: sale requests from a file, one a line, to the HTTP interface.
//!
//! - [`lines`]: reads the file line by line and says which are none
//! - [`upload`]: sends batches, again where it may help
//! - [`verdict`]: what the answer says of each line

mod lines;
mod upload;
mod verdict;

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::fs::File;
use tokio::io::BufReader;

use super::client::ApiArgs;
use crate::limits;
use lines::{Item, Line, Lines};
use upload::Upload;
use verdict::Verdict;

/// Room for `{"items":[]}` around the lines of a batch.
const ENVELOPE_BYTES: usize = 64;
/// The longest line, bytes: what a request of one line may hold.
const LINE_BYTES: usize = limits::BATCH_BODY_BYTES - ENVELOPE_BYTES;
/// Lines that go together unless one alone is longer, bytes: a fraction of what a request may hold, so
/// that a slow server answers it in time.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// What is read from the file at once, bytes.
const READ_BYTES: usize = 256 * 1024;

/// Sends a file of sales, one JSON object a line, each with its idempotency_key
///
/// May be run again at any time: nothing doubles. A line that cannot be read, or that the server refuses,
/// is named on standard error, and the rest goes on. A server that is away or restarts is waited for.
///
/// Exits with 0 if every line is recorded or was there already, with 1 otherwise.
///
/// Example: COUNTERFOIL_KEY=cf_test_… counterfoil import sales.jsonl --url http://127.0.0.1:8080
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The file; - for standard input
    file: PathBuf,
    #[command(flatten)]
    api: ApiArgs,
    /// How long nothing may be recorded before the import gives up
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    give_up_after: Duration,
}

/// What became of the lines so far.
#[derive(Debug, Default)]
struct Tally {
    recorded: u64,
    already_there: u64,
    refused: u64,
    unreadable: u64,
}

pub(super) async fn run(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let upload = Upload::new(args.api.client()?, args.give_up_after);
    let (source, size) = open(&args.file).await?;
    let bar = progress(size);
    let mut tally = Tally::default();
    let ended = send_all(Lines::new(source, LINE_BYTES), &upload, &bar, &mut tally).await;
    bar.finish_and_clear();
    let Tally {
        recorded,
        already_there,
        refused,
        unreadable,
    } = tally;
    writeln!(
        std::io::stdout(),
        "{recorded} recorded, {already_there} already there, {refused} refused, {unreadable} unreadable"
    )?;
    ended?;
    Ok(if refused + unreadable == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn open(file: &Path) -> anyhow::Result<(BufReader<File>, Option<u64>)> {
    let cannot = || format!("{} cannot be read", file.display());
    let opened = if file.as_os_str() == "-" {
        let stdin = std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .with_context(cannot)?;
        File::from_std(stdin.into())
    } else {
        File::open(file).await.with_context(cannot)?
    };
    let metadata = opened.metadata().await.with_context(cannot)?;
    anyhow::ensure!(!metadata.is_dir(), "{} is a directory", file.display());
    // a pipe has no size
    let size = metadata.is_file().then_some(metadata.len());
    Ok((BufReader::with_capacity(READ_BYTES, opened), size))
}

/// A bar over the bytes of the file, where somebody looks at a terminal.
fn progress(size: Option<u64>) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (
            ProgressBar::new(size),
            "{wide_bar} {bytes}/{total_bytes}  {eta} left  {msg}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}  {msg}"),
    };
    bar.with_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    )
}

/// Sends the lines, a batch at a time and in their order, as a refund comes after its sale.
async fn send_all(
    mut lines: Lines<BufReader<File>>,
    upload: &Upload,
    bar: &ProgressBar,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut batch: Vec<Item> = Vec::new();
    let mut bytes = 0;
    loop {
        let line = lines
            .next()
            .await
            .context("the file cannot be read any further")?;
        let is_last = line.is_none();
        match line {
            Some(Line::Item(item)) => {
                let full =
                    batch.len() == limits::BATCH_ITEMS || bytes + item.text.len() + 1 > BATCH_BYTES;
                if full {
                    send(std::mem::take(&mut batch), upload, bar, tally).await?;
                    bytes = 0;
                }
                bytes += item.text.len() + 1;
                batch.push(item);
            }
            Some(Line::Unreadable { number, why }) => {
                tally.unreadable += 1;
                bar.suspend(|| eprintln!("line {number}: {why}"));
            }
            None => {}
        }
        if is_last {
            return send(batch, upload, bar, tally).await;
        }
        bar.set_position(lines.bytes_read());
    }
}

async fn send(
    batch: Vec<Item>,
    upload: &Upload,
    bar: &ProgressBar,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let note = |text: &str| bar.suspend(|| eprintln!("{text}"));
    let mut verdicts = Vec::with_capacity(batch.len());
    let sent = upload.send(batch, &mut verdicts, &note).await;
    verdicts.sort_by_key(|(number, _)| *number);
    for (number, verdict) in verdicts {
        match verdict {
            Verdict::Recorded => tally.recorded += 1,
            Verdict::AlreadyThere => tally.already_there += 1,
            Verdict::Refused(why) => {
                tally.refused += 1;
                note(&format!("line {number}: {why}"));
            }
        }
    }
    bar.set_message(format!("{} recorded", tally.recorded + tally.already_there));
    sent
}
