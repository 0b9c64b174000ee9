//! Receipts checked against the chain as a reader checks them, and what the interface says of batches.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use counterfoil::chain::Chain;
use counterfoil::cli::verify::{self, NotOnChain, VerifyArgs, receipt_on_chain};
use counterfoil::clock::{Clock, Entropy};
use counterfoil::http::auth::Role;
use counterfoil::ids::MerchantId;
use counterfoil_proofs::hex;
use counterfoil_proofs::receipt::Receipt;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::anchored::Anchored;
use crate::harness::{self, Client, Running, sale};

/// A shop whose server runs, with some sales recorded over HTTP.
struct Shop {
    it: Anchored,
    server: Running,
    client: Client,
    merchant: MerchantId,
    sales: Vec<String>,
}

impl Shop {
    async fn start() -> Self {
        let it = Anchored::start().await;
        let server = Running::start(&it.db.db, Clock::system()).await;
        let merchant = harness::merchant(&it.db.db, "live").await;
        let key = harness::key(&it.db.db, merchant, Role::Admin, None).await;
        let client = Client::new(&server.url, Some(&key));
        let mut sales = Vec::new();
        for order in ["A-1", "A-2", "A-3"] {
            let answer = client.record(order, &sale(order)).await.expect(201).json();
            sales.push(answer["sale_id"].as_str().expect("a text").to_owned());
        }
        Self {
            it,
            server,
            client,
            merchant,
            sales,
        }
    }

    async fn receipt(&self, index: usize) -> String {
        self.client
            .get(&format!("/v1/receipts/{}", self.sales[index]))
            .await
            .expect(200)
            .text
    }

    /// What a reader says who trusts this shop and this chain.
    fn flags(&self) -> [String; 6] {
        let rpc = self.it.local.url.expose_secret().to_owned();
        let registry = self.it.registry.registry.to_string();
        [
            "--rpc".into(),
            rpc,
            "--registry".into(),
            registry,
            "--merchant".into(),
            self.merchant.to_string(),
        ]
    }

    /// Seals, publishes, and mines as many blocks on top.
    async fn anchor(&self, blocks: u32) {
        self.it.seal().await;
        self.it.publish_and_mine().await;
        if blocks > 0 {
            self.it.local.mine(blocks).await;
        }
        self.it.watch().await;
    }
}

/// A file that is gone when dropped.
struct File(PathBuf);

impl File {
    fn with(text: &str) -> Self {
        let name = format!(
            "counterfoil-it-{}",
            hex::encode(&Entropy::system().bytes::<16>())
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a file");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a text")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).expect("the file is there");
    }
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: VerifyArgs,
}

/// Runs the command on a receipt and asserts its exit code.
pub(crate) async fn assert_exit(receipt: &str, flags: &[&str], expected: u8) {
    let file = File::with(receipt);
    let command = Command::parse_from(["verify", file.path()].iter().chain(flags));
    let code = verify::run(command.args).await.expect("it");
    let expected = ExitCode::from(expected);
    assert_eq!(
        format!("{code:?}"),
        format!("{expected:?}"),
        "{flags:?} {receipt}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_valid_once_it_is_final() {
    let shop = Shop::start().await;
    let flags = shop.flags();
    let all: Vec<&str> = flags.iter().map(String::as_str).collect();
    assert_exit(&shop.receipt(0).await, &all, 2).await;
    shop.it.seal().await;
    assert_exit(&shop.receipt(0).await, &all, 2).await;
    shop.it.publish_and_mine().await;
    assert_exit(&shop.receipt(0).await, &all, 2).await;
    shop.it.local.mine(2).await;
    shop.it.watch().await;
    let receipt = shop.receipt(0).await;
    assert!(receipt.contains("finalized"));
    assert_exit(&receipt, &all, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_valid_only_when_the_reader_says_whom_to_trust() {
    let shop = Shop::start().await;
    shop.anchor(2).await;
    let receipt = shop.receipt(0).await;
    let rpc = Some(shop.it.local.url.expose_secret());
    let registry = shop.it.registry.registry.to_string();
    let elsewhere = registry.replace("eip155:31337", "eip155:1");
    let merchant = shop.merchant.to_string();
    let bytes = hex::encode(&shop.merchant.bytes());
    let stranger = MerchantId::new(&Clock::system(), &Entropy::system()).to_string();
    let (registry, elsewhere) = (Some(registry.as_str()), Some(elsewhere.as_str()));
    let [merchant, bytes, stranger] = [&merchant, &bytes, &stranger].map(|id| Some(id.as_str()));
    for (rpc, registry, merchant, expected) in [
        (rpc, registry, merchant, 0),
        (rpc, registry, bytes, 0),
        (rpc, registry, stranger, 1),
        (rpc, elsewhere, merchant, 2),
        (Some("http://127.0.0.1:1"), registry, merchant, 2),
        (None, registry, merchant, 2),
        (rpc, None, merchant, 2),
        (rpc, registry, None, 2),
        (rpc, None, None, 2),
        (None, None, None, 2),
    ] {
        let named = [
            ("--rpc", rpc),
            ("--registry", registry),
            ("--merchant", merchant),
        ];
        let given = named
            .into_iter()
            .filter_map(|(name, value)| Some([name, value?]));
        assert_exit(&receipt, &given.flatten().collect::<Vec<_>>(), expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shops_own_list_says_whom_to_trust() {
    let shop = Shop::start().await;
    shop.anchor(2).await;
    let receipt = shop.receipt(0).await;
    let answer = shop.client.get("/.well-known/counterfoil.json").await;
    let list = answer.expect(200).json();
    let mut narrower = list.clone();
    narrower["registries"][0]["first_batch"] = json!(2);
    let mut strangers = list.clone();
    strangers["merchants"] = json!([]);
    let broken = json!({ "registries": [] });
    for (list, expected) in [(list, 0), (narrower, 1), (strangers, 2), (broken, 2)] {
        let file = File::with(&list.to_string());
        let flags = [
            "--rpc",
            shop.it.local.url.expose_secret(),
            "--trust",
            file.path(),
        ];
        assert_exit(&receipt, &flags, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_character_of_a_receipt_is_found() {
    let shop = Shop::start().await;
    shop.anchor(2).await;
    let flags = shop.flags();
    let all: Vec<&str> = flags.iter().map(String::as_str).collect();
    let receipt = shop.receipt(1).await;
    let value: Value = serde_json::from_str(&receipt).unwrap();
    let mut texts = Vec::new();
    texts_of(&value, String::new(), &mut texts);
    assert!(texts.len() > 20);
    for (pointer, text) in texts {
        // nobody can tell when a batch was sealed from its receipt alone
        if pointer.ends_with("/sealed_at") {
            continue;
        }
        for at in [0, text.len() / 2, text.len() - 1] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            let mut changed = value.clone();
            *changed.pointer_mut(&pointer).unwrap() = json!(String::from_utf8(bytes).unwrap());
            if changed != value {
                assert_exit(&changed.to_string(), &all, 1).await;
            }
        }
    }
    for bad in [
        "",
        "{",
        "[]",
        &receipt[1..],
        &receipt.replace("\"version\"", "\"version\":1,\"version\""),
    ] {
        assert_exit(bad, &all, 1).await;
    }
}

fn texts_of(value: &Value, pointer: String, texts: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => texts.push((pointer, text.clone())),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                texts_of(item, format!("{pointer}/{i}"), texts);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                texts_of(field, format!("{pointer}/{name}"), texts);
            }
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_another_batch_or_chain_is_not_proved() {
    let shop = Shop::start().await;
    shop.anchor(0).await;
    let chain = Chain::new(&shop.it.local.url).unwrap();
    let registry = shop.it.registry.registry;
    let mut receipt = Receipt::parse(shop.receipt(0).await.as_bytes()).unwrap();
    let check = async |receipt: &Receipt| receipt_on_chain(receipt, &chain, registry).await;
    assert!(matches!(
        check(&receipt).await,
        Err(NotOnChain::OnlyMined { batch: 1 })
    ));
    shop.it.local.mine(2).await;
    assert_eq!(
        check(&receipt).await.unwrap().number,
        chain.finalized().await.unwrap().unwrap().number
    );
    shop.it.seal_batches(1).await;
    shop.anchor(2).await;

    let batch = receipt.batch.as_mut().unwrap();
    batch.id = 2;
    assert!(matches!(
        check(&receipt).await,
        Err(NotOnChain::OtherRoot { batch: 2, .. })
    ));
    receipt.batch.as_mut().unwrap().id = 3;
    assert!(matches!(
        check(&receipt).await,
        Err(NotOnChain::NotAnchored { batch: 3 })
    ));
    receipt.batch = None;
    assert!(matches!(check(&receipt).await, Err(NotOnChain::NotSealed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_shown_with_the_callers_own_mark_alone() {
    let shop = Shop::start().await;
    let other = shop.it.db.merchant("live").await;
    shop.it.db.record(other, 2).await;
    shop.anchor(2).await;
    shop.it.db.record(other, 1).await;
    shop.it.seal().await;
    let batch = shop.client.get("/v1/batches/1").await.expect(200).json();
    assert_eq!(
        (&batch["state"], &batch["anchors"][0]["state"]),
        (&json!("finalized"), &json!("finalized"))
    );
    let marks = batch["marks"].as_array().unwrap();
    assert_eq!(marks.len(), 2);
    for mark in marks {
        let own = mark["merchant"] == json!(hex::encode(&shop.merchant.bytes()));
        assert_eq!(mark.get("mark").is_some(), own);
    }
    // what is shown is what the manifest commits to
    let hashes: Vec<String> = marks
        .iter()
        .map(|mark| {
            [&mark["merchant"], &mark["hash"]]
                .map(|text| text.as_str().unwrap()[2..].to_owned())
                .concat()
        })
        .collect();
    let bytes = hex::decode_vec(&format!("0x{}", hashes.concat())).unwrap();
    assert_eq!(
        batch["manifest"]["marks"],
        json!(hex::encode(&counterfoil_proofs::keccak256(&bytes)))
    );

    assert_eq!(
        shop.client.get("/v1/batches/2").await.expect(200).json()["marks"][0].get("mark"),
        None
    );
    let list = shop.client.get("/v1/batches").await.expect(200).json();
    let ids: Vec<&Value> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|batch| &batch["id"])
        .collect();
    assert_eq!(ids, [&json!(1)], "those with sales of one's own");
    for missing in ["3", "0", "01", "-1", "x", "9223372036854775808"] {
        shop.client
            .get(&format!("/v1/batches/{missing}"))
            .await
            .expect(404);
    }
    shop.client
        .with_key(None)
        .get("/v1/batches")
        .await
        .expect(401);
    let till = harness::key(&shop.it.db.db, shop.merchant, Role::Pos, None).await;
    shop.client
        .with_key(Some(&till))
        .get("/v1/batches/1")
        .await
        .expect(403);
    shop.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_listed_in_pages_both_ways() {
    let shop = Shop::start().await;
    shop.it.seal().await;
    for order in 4..=7 {
        let order = format!("A-{order}");
        shop.client.record(&order, &sale(&order)).await.expect(201);
        shop.it.seal().await;
    }
    let page = async |query: &str| {
        let page = shop
            .client
            .get(&format!("/v1/batches?{query}"))
            .await
            .expect(200)
            .json();
        let ids: Vec<i64> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["id"].as_i64().unwrap())
            .collect();
        (ids, page["has_more"].as_bool().unwrap())
    };
    assert_eq!(page("").await, (vec![5, 4, 3, 2, 1], false));
    assert_eq!(page("limit=2").await, (vec![5, 4], true));
    assert_eq!(page("limit=2&starting_after=4").await, (vec![3, 2], true));
    assert_eq!(page("limit=2&starting_after=2").await, (vec![1], false));
    assert_eq!(page("limit=2&ending_before=2").await, (vec![4, 3], true));
    shop.client.get("/v1/batches?limit=0").await.expect(400);
    shop.client.get("/v1/batches?since=1").await.expect(400);
}
