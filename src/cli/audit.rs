//! `counterfoil audit`: the whole database, computed again and compared.
//!
//! Exit codes: 0 clean; 1 something is wrong; 2 nothing is wrong, but not everything was checked.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use counterfoil_proofs::caip::Caip10;
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::SecretString;
use serde_json::json;

use super::trust::{RegistryName, Trust, parse_registry};
use crate::audit::{Asked, Audit, Counts, Finding, Outcome, Phase, Progress};
use crate::chain::{Chain, Profile};
use crate::clock::{Entropy, rfc3339_ms};
use crate::config::ArchiveArgs;
use crate::database::{self, DatabaseRole};

/// Ranges that are checked at a time: each takes a core of Postgres' and one of ours.
const WORKERS: usize = 2;

/// `counterfoil audit`
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// JSON-RPC address of a chain that you trust; once for each chain, several of one chain must agree. It is
    /// told numbers of batches only
    #[arg(long)]
    rpc: Vec<SecretString>,
    /// One JSON object a line: each finding, at last the verdict
    #[arg(long)]
    json: bool,
    /// A directory that `counterfoil export --all` made, in place of the database
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// With --dir: the shop's registry from a source that you trust: CAIP-10 (eip155:1:0x…), or its address on
    /// the RPC's chain. Once for each, successors too
    #[arg(long, requires = "dir", value_parser = parse_registry)]
    registry: Vec<RegistryName>,
    /// With --dir: a copy of the shop's /.well-known/counterfoil.json, from its own domain
    #[arg(long, requires = "dir", value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Percent of the time that it works; the rest is left to whoever sells meanwhile. 30 is little felt beside
    /// full load, and takes over three times as long
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    pace: u8,
    #[command(flatten)]
    archives: ArchiveArgs,
    /// Postgres, e.g. postgres://user:password@host:5432/counterfoil; not needed with --dir
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        required_unless_present = "dir"
    )]
    database_url: Option<SecretString>,
}

pub(super) async fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let report = Report::new(args.json);
    let entropy = Entropy::system();
    let audit = Audit::new(&entropy, &report)
        .with_archives(args.archives.archive_dir.clone())
        .at_pace(args.pace);
    let mut not_checked = Vec::new();
    let asked = match everything(&args, &audit).await {
        Ok(asked) => asked,
        Err(error) => {
            not_checked.push(format!("{error:#}"));
            None
        }
    };
    report.bar.finish_and_clear();
    let unread = audit.outcome().counts.unread;
    if unread > 0 && args.archives.archive_dir.is_none() {
        not_checked.push(format!(
            "the receipts of {unread} archived sales were not read (--archive-dir)"
        ));
    }
    match &asked {
        Some(asked) => {
            let rpcs = asked.not_asked.iter();
            not_checked
                .extend(rpcs.map(|registry| format!("no RPC was given for {registry} (--rpc)")));
            if asked.uncovered > 0 {
                not_checked.push(format!(
                    "{} batches are of none of the registries that were named: name those before them too \
                     (--registry, --trust)",
                    asked.uncovered
                ));
            }
        }
        None if args.rpc.is_empty() => {
            not_checked.push("the chain was not asked: no RPC was given (--rpc)".to_owned());
        }
        None => {}
    }
    report.verdict(&audit.outcome(), asked.as_ref(), &not_checked)
}

/// The database, then the chains where an RPC was given.
async fn everything(args: &AuditArgs, audit: &Audit<'_>) -> anyhow::Result<Option<Asked>> {
    if let Some(directory) = &args.dir {
        return files(args, directory, audit).await;
    }
    let url = args
        .database_url
        .as_ref()
        .context("DATABASE_URL or --dir is needed")?;
    database::check_version(url).await?;
    let pool = database::pool(url, DatabaseRole::Reader, WORKERS as u32)?;
    audit.database(&pool, WORKERS).await?;
    if args.rpc.is_empty() {
        return Ok(None);
    }
    let chains: Vec<Chain> = connect(&args.rpc).await?.into_values().collect();
    Ok(Some(audit.chains(&pool, &chains).await?))
}

/// The chains that RPCs are of. Several of one chain must agree from then on.
async fn connect(rpcs: &[SecretString]) -> anyhow::Result<BTreeMap<u64, Chain>> {
    let mut urls: BTreeMap<u64, Vec<SecretString>> = BTreeMap::new();
    for rpc in rpcs {
        let chain_id = Chain::new(rpc)?.chain_id().await?;
        urls.entry(chain_id).or_default().push(rpc.clone());
    }
    let chains = urls
        .into_iter()
        .map(|(chain_id, urls)| Ok((chain_id, Chain::of(&Profile::of(chain_id), &urls)?)));
    chains.collect()
}

/// An exported directory, then the registries that were named.
async fn files(
    args: &AuditArgs,
    directory: &Path,
    audit: &Audit<'_>,
) -> anyhow::Result<Option<Asked>> {
    let trust = Trust::read(args.trust.as_deref(), &args.registry, None)?;
    let batches = audit
        .directory(directory)
        .with_context(|| format!("{} cannot be read", directory.display()))?;
    if args.rpc.is_empty() {
        return Ok(None);
    }
    let chains = connect(&args.rpc).await?;
    let ids: Vec<u64> = chains.keys().copied().collect();
    let mut trusted = Vec::with_capacity(chains.len());
    for (chain_id, chain) in &chains {
        let on_chain = trust.on(*chain_id);
        anyhow::ensure!(
            !on_chain.is_empty(),
            "whose registry it is on chain {chain_id} is not known (--registry or --trust)"
        );
        trusted.push((chain, on_chain));
    }
    let mut asked = audit.roots_on_chains(&batches, &trusted).await?;
    let elsewhere = trust.elsewhere(&ids);
    asked
        .not_asked
        .extend(elsewhere.iter().map(Caip10::to_string));
    Ok(Some(asked))
}

/// What is told while it goes on: findings on standard output, a bar where somebody looks.
struct Report {
    json: bool,
    bar: ProgressBar,
}

impl Report {
    fn new(json: bool) -> Self {
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("{spinner} {elapsed}  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { json, bar }
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| {
            // nowhere to say that it could not be said
            let _ = writeln!(std::io::stdout(), "{text}");
        });
    }

    fn verdict(
        &self,
        outcome: &Outcome,
        asked: Option<&Asked>,
        not_checked: &[String],
    ) -> anyhow::Result<ExitCode> {
        let (verdict, code) = if outcome.counts.findings > 0 {
            ("not_clean", 1)
        } else if not_checked.is_empty() {
            ("clean", 0)
        } else {
            ("not_fully_checked", 2)
        };
        let oldest = outcome.oldest_queued.map(rfc3339_ms);
        let mut out = std::io::stdout().lock();
        if self.json {
            let object = json!({
                "verdict": verdict, "counts": outcome.counts, "oldest_queued_at": oldest,
                "chains": asked, "not_checked": not_checked,
            });
            writeln!(out, "{object}")?;
            return Ok(ExitCode::from(code));
        }
        let findings = outcome.counts.findings;
        write!(out, "{}", counted(&outcome.counts, oldest))?;
        if let Some(Asked {
            finalized, waiting, ..
        }) = asked
        {
            writeln!(
                out,
                "{finalized} roots are final on chain, {waiting} are not yet"
            )?;
        }
        let not_checked = not_checked.join("\n  ");
        match verdict {
            "clean" => writeln!(out, "\nCLEAN")?,
            "not_clean" if not_checked.is_empty() => {
                writeln!(out, "\nNOT CLEAN\n  {findings} findings")?
            }
            "not_clean" => writeln!(
                out,
                "\nNOT CLEAN\n  {findings} findings\n  not checked: {not_checked}"
            )?,
            _ => writeln!(out, "\nNOT FULLY CHECKED\n  {not_checked}")?,
        }
        Ok(ExitCode::from(code))
    }
}

/// What there is, as people read it.
fn counted(counts: &Counts, oldest_queued: Option<String>) -> String {
    let Counts {
        batches,
        sales,
        unsealed,
        archived,
        lost_batches,
        gaps,
        unread,
        archives,
        merchants,
        anchors,
        ..
    } = *counts;
    let since = oldest_queued.map_or_else(String::new, |at| format!(", the oldest since {at}"));
    let mut text =
        format!("{sales} sales of {merchants} merchants; {unsealed} wait for a batch{since}\n");
    if archived > 0 {
        text += &format!(
            "{archived} of them are in {archives} archives, {unread} of these were not read: the leaves of \
             their batches stand for them\n"
        );
    }
    text += &format!("{batches} batches, {anchors} anchors\n");
    text + &declared_lost(lost_batches, gaps)
}

/// What a recovery has declared, and the audit accepts.
fn declared_lost(batches: u64, gaps: u64) -> String {
    match (batches, gaps) {
        (0, 0) => String::new(),
        _ => format!(
            "declared lost: {batches} batches that a registry has, {gaps} runs of numbers\n"
        ),
    }
}

impl Progress for Report {
    fn found(&self, finding: &Finding) {
        if self.json {
            self.line(&json!(finding).to_string());
        } else {
            self.line(&format!("wrong        {finding}"));
        }
    }

    fn reached(&self, phase: Phase, counts: &Counts) {
        let doing = match phase {
            Phase::Batches => "batches",
            Phase::Merchants => "merchants",
            Phase::Orders => "order ids",
            Phase::Keys => "idempotency keys",
            Phase::Archives | Phase::ArchivedSales => "archives",
            Phase::Anchors => "anchors",
        };
        self.bar.set_message(format!(
            "{doing}: {} sales, {} batches, {} findings",
            counts.sales, counts.batches, counts.findings
        ));
    }
}
