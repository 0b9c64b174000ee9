//! From a file of sales to receipts and completeness that are checked without the server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use counterfoil::chain::{At, Chain};
use counterfoil::cli::verify::receipt_on_chain;
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::completeness::{self, Verdict};
use counterfoil_proofs::leaf::{OrderId, Sale};
use counterfoil_proofs::manifest::BatchFile;
use counterfoil_proofs::receipt::Receipt;
use counterfoil_proofs::{Hash, hex};
use secrecy::SecretString;
use sqlx::{Connection, PgConnection};

use super::program::{Dev, Scratch, run, sales};

/// How long the sales may take until they are final.
const FINAL_WITHIN: Duration = Duration::from_secs(90);

/// All that an auditor holds: a merchant's receipts, the files of all batches, and the chain's roots.
pub(crate) struct Holdings {
    /// Receipts in order of seq.
    pub(crate) receipts: Vec<Receipt>,
    /// Batches from the first.
    pub(crate) batches: Vec<BatchFile>,
    /// What the registry has at a finalized block.
    pub(crate) anchored: BTreeMap<u64, Hash>,
    merchant: [u8; 16],
}

impl Holdings {
    /// Exports everything by the program.
    pub(crate) async fn collect(dev: &Dev, scratch: &Scratch) -> Self {
        let file = scratch.join("receipts.jsonl");
        let merchant = &dev.ready.merchant_id;
        let export = &["export", "--merchant", merchant, "--out"];
        run(dev.operator(export).arg(&file)).await.expect(0);
        let text = std::fs::read_to_string(&file).expect("the export");
        let receipts: Vec<Receipt> = text
            .lines()
            .map(|line| Receipt::parse(line.as_bytes()).expect("a receipt"))
            .collect();
        let last = receipts
            .iter()
            .filter_map(|receipt| receipt.batch.map(|batch| batch.id))
            .max()
            .expect("a batch");
        let (chain, registry) = chain(dev);
        let block = chain.finalized().await.expect("the chain");
        let at = At::Block(block.expect("a finalized block").hash);
        let mut batches = Vec::new();
        let mut anchored = BTreeMap::new();
        for batch in 1..=last {
            let ended = run(&mut dev.operator(&["export", "--batch", &batch.to_string()])).await;
            let exported = ended.expect(0).stdout;
            batches.push(BatchFile::parse(exported.as_bytes()).expect("a batch file"));
            let root = chain.root_of(registry.address, batch, at).await;
            anchored.extend(root.expect("the chain").map(|root| (batch, root)));
        }
        let merchant = receipts[0].sale.merchant;
        Self {
            receipts,
            batches,
            anchored,
            merchant,
        }
    }

    /// The rows that the receipts are of.
    pub(crate) fn rows(&self) -> Vec<Sale> {
        self.receipts
            .iter()
            .map(|receipt| receipt.sale.clone())
            .collect()
    }

    /// What `proofs` alone says of these rows.
    pub(crate) fn judge(&self, rows: &[Sale]) -> Verdict {
        completeness::verify(self.merchant, rows, &self.batches, |batch| {
            self.anchored.get(&batch).copied()
        })
    }
}

/// The local chain and the registry on it.
pub(crate) fn chain(dev: &Dev) -> (Chain, Caip10) {
    let chain = &dev.ready.chains[0];
    let rpc = SecretString::from(chain.rpc_url.clone());
    counterfoil::chain::install_tls();
    (
        Chain::new(&rpc).expect("an address"),
        Caip10 {
            chain_id: chain.chain_id,
            address: hex::decode(&chain.registry).expect("an address"),
        },
    )
}

/// Waits until every sale is in a batch that is finalized, and there are `count` of them.
pub(crate) async fn until_final(dev: &Dev, count: i64) {
    let mut db = PgConnection::connect(&dev.ready.database_url)
        .await
        .expect("the database");
    let finalized =
        "select count(*) from sale join batch_state using (batch_id) where state = 'finalized'";
    let waiting = async {
        loop {
            let done: i64 = sqlx::query_scalar(finalized)
                .fetch_one(&mut db)
                .await
                .expect("the sales");
            if done >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(FINAL_WITHIN, waiting)
        .await
        .expect("all sales are final in time");
    let all: i64 = sqlx::query_scalar("select count(*) from sale")
        .fetch_one(&mut db)
        .await
        .expect("the sales");
    assert_eq!(all, count);
}

/// The files of a real shop, where they are on this machine.
fn sample_files() -> Vec<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let directory = std::env::var_os("COUNTERFOIL_SAMPLE_DATA").map_or(beside, PathBuf::from);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    files.sort();
    if files.is_empty() {
        eprintln!(
            "no sample files in {}; the generated one alone is imported",
            directory.display()
        );
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_is_anchored_verified_and_complete() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch, "1s").await;
    let mut files = sample_files();
    files.push(scratch.file("generated.jsonl", sales("G", 730)));
    let mut count = 0;
    for file in &files {
        let lines = std::fs::read_to_string(file)
            .expect("a file")
            .lines()
            .count();
        let ended = dev.import(file).await.expect(0);
        assert_eq!(
            ended.stdout,
            format!("{lines} recorded, 0 already there, 0 refused, 0 unreadable\n")
        );
        count += lines;
    }
    until_final(&dev, i64::try_from(count).expect("few")).await;

    let holdings = Holdings::collect(&dev, &scratch).await;
    assert_eq!(holdings.receipts.len(), count);
    let (chain, registry) = chain(&dev);
    for receipt in &holdings.receipts {
        let order = receipt.sale.order_id.as_str();
        let verified = receipt_on_chain(receipt, &chain, registry).await;
        verified.unwrap_or_else(|error| panic!("{order}: {error}"));
    }
    check_files(&dev, &scratch, &holdings).await;
    check_completeness(&holdings);
    assert_eq!(dev.stop().await, Some(0));
}

/// The receipts of some orders as files, by the program: verified as they are, refused when changed.
async fn check_files(dev: &Dev, scratch: &Scratch, holdings: &Holdings) {
    let chain = &dev.ready.chains[0];
    let step = holdings.receipts.len() / 5;
    for receipt in holdings.receipts.iter().step_by(step.max(1)) {
        let order = receipt.sale.order_id.as_str();
        let served = run(&mut dev.program(&["receipt", order])).await.expect(0);
        assert_eq!(served.stdout, receipt.to_json(), "{order}");
        let changed = served
            .stdout
            .replace(r#""currency":"EUR""#, r#""currency":"EUS""#);
        let changed = changed.replace(r#""currency":"GBP""#, r#""currency":"GBQ""#);
        for (text, code) in [(&served.stdout, 0), (&changed, 1)] {
            let file = scratch.file("receipt.json", text);
            let mut verify = dev.program(&["verify"]);
            verify
                .arg(file)
                .args(["--rpc", &chain.rpc_url, "--registry", &chain.registry])
                .args(["--merchant", &dev.ready.merchant_id]);
            run(&mut verify).await.expect(code);
        }
    }
    let first = &holdings.receipts[0];
    let order = first.sale.order_id.as_str();
    let boxes = run(&mut dev.program(&["receipt", order, "--explorer"])).await;
    let boxes = boxes.expect(0).stdout;
    let lines: Vec<&str> = boxes.lines().collect();
    let below = |title: &str| {
        let at = lines.iter().position(|line| *line == title);
        lines[at.unwrap_or_else(|| panic!("{title}: {boxes}")) + 1]
    };
    assert_eq!(
        below("batch (uint64)"),
        first.batch.expect("sealed").id.to_string()
    );
    let tuple: Vec<String> = serde_json::from_str(below("sale (tuple)")).expect("a list");
    assert_eq!((tuple.len(), tuple[3].as_str()), (12, order));
    let proof: Vec<String> = serde_json::from_str(below("proof (bytes32[])")).expect("a list");
    let siblings: Vec<String> = first.proof.iter().map(|hash| hex::encode(hash)).collect();
    assert_eq!(proof, siblings);
}

/// Complete as it is; refused, with the sale named, after each thing that can be done to the rows.
fn check_completeness(holdings: &Holdings) {
    let rows = holdings.rows();
    let verdict = holdings.judge(&rows);
    assert!(verdict.is_complete(), "{:?}", verdict.findings);

    let middle = rows.len() / 2;
    let order = rows[middle].order_id.as_str();
    let check = |what: &str, change: &dyn Fn(&mut Vec<Sale>), code: &str, name: &str| {
        let mut changed = rows.clone();
        change(&mut changed);
        let verdict = holdings.judge(&changed);
        let named = verdict
            .findings
            .iter()
            .any(|finding| finding.code() == code && finding.to_string().contains(name));
        assert!(named, "{what}: {:?}", verdict.findings);
        assert!(!verdict.is_complete());
    };
    let seq = rows[middle].seq;
    let gone = |rows: &mut Vec<Sale>| drop(rows.remove(middle));
    check("taken out", &gone, "missing", &format!("sale {seq} "));
    let added = |rows: &mut Vec<Sale>| {
        let mut more = rows[middle].clone();
        more.sale = [7; 16];
        more.order_id = OrderId::parse("INVENTED").expect("an order id");
        rows.push(more);
    };
    check("added", &added, "added", "INVENTED");
    let renumbered = |rows: &mut Vec<Sale>| {
        rows.remove(middle + 1);
        rows[middle].seq += 1;
    };
    check("renumbered", &renumbered, "renumbered", order);
    let swapped = |rows: &mut Vec<Sale>| {
        rows[middle].seq += 1;
        rows[middle + 1].seq -= 1;
    };
    check("swapped", &swapped, "renumbered", order);
    let cheaper = |rows: &mut Vec<Sale>| rows[middle].salt[0] ^= 1;
    check("changed", &cheaper, "changed", order);
}
