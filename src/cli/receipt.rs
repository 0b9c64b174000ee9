//! `counterfoil receipt`

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use counterfoil_proofs::receipt::{Anchor, Receipt};
use serde::Deserialize;

use super::client::ApiArgs;

/// Prints the receipt of an order: the file that a customer keeps
///
/// Whatever its state, exactly as it is served; the state goes to standard error. With --explorer it
/// prints the text for each box of verifySale in a block explorer instead.
///
/// Example: counterfoil receipt A-1001 > receipt.json; counterfoil verify receipt.json --rpc …
#[derive(Debug, Args)]
pub(super) struct ReceiptArgs {
    /// The order id
    order_id: String,
    #[command(flatten)]
    api: ApiArgs,
    /// What to paste into a block explorer, to have the contract itself check the sale
    #[arg(long)]
    explorer: bool,
}

/// The part of an order's proof that is needed here.
#[derive(Deserialize)]
struct Proof {
    sale_id: String,
    state: String,
}

pub(super) async fn run(args: ReceiptArgs) -> anyhow::Result<ExitCode> {
    let api = args.api.client()?;
    let proof: Proof = api
        .get_json(&["v1", "orders", &args.order_id, "proof"])
        .await?;
    let file = api.get(&["v1", "receipts", &proof.sale_id]).await?;
    let mut out = std::io::stdout().lock();
    if args.explorer {
        let receipt = Receipt::parse(&file).context("the server's receipt is none")?;
        out.write_all(explorer_text(&receipt)?.as_bytes())?;
    } else {
        out.write_all(&file)?;
        eprintln!("{}", proof.state);
    }
    Ok(ExitCode::SUCCESS)
}

/// What goes into the boxes of `verifySale(uint64 batch, Sale sale, bytes32[] proof)`. Explorers take a
/// tuple as a JSON list; those that show a box for each field take the fields, which follow.
fn explorer_text(receipt: &Receipt) -> anyhow::Result<String> {
    let Some(batch) = receipt.batch else {
        bail!("the sale is in no batch yet; try again after the next one is sealed");
    };
    let fields = fields(receipt)?;
    let tuple: Vec<&str> = fields.iter().map(|(_, value)| value.as_str()).collect();
    let proof: Vec<String> = receipt
        .proof
        .iter()
        .map(|sibling| counterfoil_proofs::hex::encode(sibling))
        .collect();
    let mut text = String::new();
    for anchor in &receipt.anchors {
        text.push_str(&where_to_look(anchor));
    }
    text.push_str(&format!("\nbatch (uint64)\n{}\n", batch.id));
    text.push_str(&format!(
        "\nsale (tuple)\n{}\n",
        serde_json::to_string(&tuple)?
    ));
    text.push_str(&format!(
        "\nproof (bytes32[])\n{}\n",
        serde_json::to_string(&proof)?
    ));
    text.push_str("\nsale, field by field\n");
    for (name, value) in fields {
        text.push_str(&format!("{name} {value}\n"));
    }
    text.push_str("\nThe answer must be true.\n");
    Ok(text)
}

fn where_to_look(anchor: &Anchor) -> String {
    let Anchor {
        registry,
        state,
        explorer_url,
        ..
    } = anchor;
    let address = counterfoil_proofs::hex::encode(&registry.address);
    let link = explorer_url
        .as_deref()
        .and_then(|url| url.split_once("/tx/"));
    let link = link
        .map(|(site, _)| format!("{site}/address/{address}#readContract\n"))
        .unwrap_or_default();
    format!(
        "registry {address} on chain {} ({state})\n{link}function verifySale\n",
        registry.chain_id
    )
}

/// The fields of the struct in its order, as a receipt writes them.
fn fields(receipt: &Receipt) -> anyhow::Result<Vec<(&'static str, String)>> {
    const NAMES: [&str; 12] = [
        "merchant",
        "sale",
        "seq",
        "orderId",
        "kind",
        "refersTo",
        "customer",
        "currency",
        "amount",
        "recordedAt",
        "details",
        "salt",
    ];
    let sale = serde_json::to_value(&receipt.sale)?;
    NAMES
        .iter()
        .map(|name| match &sale[name] {
            serde_json::Value::String(text) => Ok((*name, text.clone())),
            serde_json::Value::Number(number) => Ok((*name, number.to_string())),
            _ => bail!("the receipt's {name} is neither a text nor a number"),
        })
        .collect()
}
