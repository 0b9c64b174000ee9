//! `counterfoil verify`: checks a receipt step by step, trusting nobody but the reader's own sources.
//!
//! Exit codes: 0 everything was checked, at a finalized block, against a registry and a merchant that
//! came from the reader; 1 the receipt is not valid; 2 it was not fully checked.

mod chains;
mod on_chain;
mod policy;
mod trust;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use counterfoil_proofs::hex;
use counterfoil_proofs::receipt::{self, Outcome, Receipt};
use secrecy::SecretString;

pub use on_chain::{NotOnChain, receipt_on_chain};

use super::trust::{RegistryName, Trust, parse_merchant, parse_registry};
use policy::Policy;

/// `counterfoil verify RECEIPT.json`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The receipt's file; - reads standard input
    receipt: PathBuf,
    /// JSON-RPC address of a chain that you trust; it is told the batch's number, never a field. Once for
    /// each chain; several of one chain must agree
    #[arg(long)]
    rpc: Vec<SecretString>,
    /// The shop's registry from a source that you trust: CAIP-10 (eip155:1:0x…), or its address on the
    /// RPC's chain. Once for each chain
    #[arg(long, value_parser = parse_registry)]
    registry: Vec<RegistryName>,
    /// On how many of the chains whose registries you trust for the batch it must be final: any, all, or a
    /// number. One that contradicts the receipt makes it invalid whatever the others say
    #[arg(long, default_value = "any")]
    policy: Policy,
    /// The shop's merchant id, mer_… or 16 bytes as hex, from a source that you trust
    #[arg(long, value_parser = parse_merchant)]
    merchant: Option<[u8; 16]>,
    /// A copy of the shop's /.well-known/counterfoil.json, from its own domain
    #[arg(long)]
    trust: Option<PathBuf>,
}

/// How a step ended.
enum Step {
    Ok(String),
    Failed(String),
    NotChecked(String),
    /// Said, without being part of the verdict.
    Note(String),
}

/// The steps so far, each printed as it ends.
#[derive(Default)]
struct Report {
    failed: Option<String>,
    failures: usize,
    not_checked: Vec<String>,
}

impl Report {
    fn add(&mut self, name: &str, step: Step) {
        self.print(name, &step);
        match step {
            Step::Failed(text) => {
                self.failures += 1;
                self.failed.get_or_insert(format!("{name}: {text}"));
            }
            Step::NotChecked(text) => self.not_checked.push(format!("{name}: {text}")),
            Step::Ok(_) | Step::Note(_) => {}
        }
    }

    fn print(&self, name: &str, step: &Step) {
        let (mark, text) = match step {
            Step::Ok(text) => ("ok", text),
            Step::Failed(text) => ("failed", text),
            Step::NotChecked(text) => ("not checked", text),
            Step::Note(text) => ("note", text),
        };
        println!("{mark:<12} {name}: {text}");
    }

    fn verdict(&self) -> ExitCode {
        println!();
        if let Some(step) = &self.failed {
            println!("NOT VALID\n  {step}");
            ExitCode::from(1)
        } else if self.not_checked.is_empty() {
            println!("VALID\n  checked from the sale's fields to a finalized block");
            ExitCode::SUCCESS
        } else {
            println!("NOT FULLY CHECKED\n  {}", self.not_checked.join("\n  "));
            ExitCode::from(2)
        }
    }
}

/// Runs the command.
///
/// # Errors
/// None that is not part of the report.
pub async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    if let Some(receipt) = read_receipt(&args.receipt, &mut report) {
        check_receipt(&receipt, &mut report);
        match Trust::read(args.trust.as_deref(), &args.registry, args.merchant) {
            Ok(trust) => check_trusted(&args, &trust, &receipt, &mut report).await,
            Err(error) => report.add("trust", Step::NotChecked(format!("{error:#}"))),
        }
    }
    Ok(report.verdict())
}

fn read_receipt(path: &Path, report: &mut Report) -> Option<Receipt> {
    let name = "receipt";
    let bytes = match read_bounded(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            report.add(
                name,
                Step::NotChecked(format!("{} cannot be read: {error}", path.display())),
            );
            return None;
        }
    };
    match Receipt::parse(&bytes) {
        Ok(receipt) => {
            let order = receipt.sale.order_id.as_str();
            report.add(name, Step::Ok(format!("well formed, of order {order}")));
            Some(receipt)
        }
        Err(error) => {
            report.add(name, Step::Failed(error.to_string()));
            None
        }
    }
}

/// No more than a receipt may have; one byte above, so that a longer one is refused for its length.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let most = receipt::MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?
            .take(most)
            .read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// What needs nobody: the details, the leaf, the proof.
fn check_receipt(receipt: &Receipt, report: &mut Report) {
    let checked = receipt.check();
    for (step, outcome) in &checked.steps {
        let step_name = step.to_string();
        report.add(
            &step_name,
            match outcome {
                Outcome::Passed if *step == receipt::Step::Leaf => {
                    Step::Ok(hex::encode(&checked.leaf))
                }
                Outcome::Passed => Step::Ok("yes".to_owned()),
                Outcome::Skipped(why) if *step == receipt::Step::Proof => {
                    Step::NotChecked((*why).to_owned())
                }
                // a receipt may leave its details out and is none the worse for it
                Outcome::Skipped(why) => Step::Note((*why).to_owned()),
                Outcome::Failed(error) => Step::Failed(on_one_line(error)),
            },
        );
    }
    if let Some(batch) = &receipt.batch
        && batch.sealed_at.millis() < receipt.sale.recorded_at
    {
        report.add(
            "times",
            Step::Failed("the batch is dated before the sale".to_owned()),
        );
    }
}

/// What needs the reader's own sources: whose sale it is, and what the chain says.
async fn check_trusted(args: &VerifyArgs, trust: &Trust, receipt: &Receipt, report: &mut Report) {
    report.add("merchant", trust.merchant(&receipt.sale.merchant));
    let Some(batch) = &receipt.batch else { return };
    if args.rpc.is_empty() {
        let why = "no RPC was given (--rpc)".to_owned();
        report.add("chain", Step::NotChecked(why));
        return;
    }
    let mut doubts = Vec::new();
    let asked = chains::connect(&args.rpc, report, &mut doubts).await;
    let mut proved = 0;
    for chain in &asked {
        let proves = chain.proves(trust, receipt, batch.id, report, &mut doubts);
        proved += usize::from(proves.await);
    }
    let ids: Vec<u64> = asked.iter().map(|chain| chain.chain_id).collect();
    let chains = trust.chains(receipt, batch.id, &ids);
    let least = args.policy.least(chains);
    let text = format!("proved on {proved} of {chains} chains, {least} must");
    if proved >= least {
        report.add("chains", Step::Ok(text));
    } else {
        report.not_checked.append(&mut doubts);
        report.add("chains", Step::NotChecked(text));
    }
}

/// An error and what caused it.
fn on_one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
