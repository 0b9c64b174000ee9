//! Signers behind HTTP: one that does what it is asked, and those that do not.

use std::sync::{Arc, Mutex};

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::Encodable2718;
use alloy::eips::eip2930::{AccessList, AccessListItem};
use alloy::primitives::{Address, Signature, U256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use counterfoil::chain::{Fees, KeyError, OutsideError, Signed, Signer, Transaction};
use counterfoil_proofs::hex;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::anchored::Anchored;

/// What a signer answers a transaction with.
type Answer = dyn Fn(&Transaction) -> Response + Send + Sync;

/// A signer behind HTTP.
struct Outside {
    url: SecretString,
    answer: Arc<Mutex<Arc<Answer>>>,
}

impl Outside {
    async fn start() -> Self {
        let answer: Arc<Answer> = Arc::new(honest);
        let answer = Arc::new(Mutex::new(answer));
        let router = Router::new()
            .route("/the-token", post(asked))
            .with_state(answer.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!(
            "http://{}/the-token",
            listener.local_addr().expect("a port")
        );
        tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        let url = url.into();
        Self { url, answer }
    }

    fn answers(&self, answer: impl Fn(&Transaction) -> Response + Send + Sync + 'static) {
        *self.answer.lock().expect("the answer") = Arc::new(answer);
    }

    fn signer(&self) -> Signer {
        Signer::outside(&self.url, key(1).address().into()).expect("an address")
    }
}

async fn asked(
    State(answer): State<Arc<Mutex<Arc<Answer>>>>,
    Json(request): Json<Value>,
) -> Response {
    assert_eq!(request["method"], "eth_signTransaction");
    let asked = &request["params"][0];
    let number = |field: &str| {
        let text = asked[field].as_str().expect("a quantity");
        u128::from_str_radix(text.trim_start_matches("0x"), 16).expect("a quantity")
    };
    let account: Address = key(1).address();
    assert_eq!(asked["from"], json!(account));
    assert_eq!(number("value"), 0);
    let transaction = Transaction {
        chain_id: number("chainId") as u64,
        nonce: number("nonce") as u64,
        to: asked["to"]
            .as_str()
            .map(|to| hex::decode(to).expect("an account")),
        input: hex::decode_vec(asked["data"].as_str().expect("hex")).expect("hex"),
        gas_limit: number("gas") as u64,
        fees: Fees {
            max_fee_per_gas: number("maxFeePerGas"),
            max_priority_fee_per_gas: number("maxPriorityFeePerGas"),
        },
    };
    let answer = answer.lock().expect("the answer").clone();
    answer(&transaction)
}

/// A development account's key, as the signer outside holds it.
fn key(index: u8) -> PrivateKeySigner {
    let keys = [
        "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
        "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    ];
    keys[usize::from(index)].parse().expect("a key")
}

fn plain(asked: &Transaction) -> TxEip1559 {
    TxEip1559 {
        chain_id: asked.chain_id,
        nonce: asked.nonce,
        gas_limit: asked.gas_limit,
        max_fee_per_gas: asked.fees.max_fee_per_gas,
        max_priority_fee_per_gas: asked.fees.max_priority_fee_per_gas,
        to: asked.to.map(Address::from).into(),
        input: asked.input.clone().into(),
        ..TxEip1559::default()
    }
}

fn sign(tx: &TxEip1559, key: &PrivateKeySigner) -> Signature {
    key.sign_hash_sync(&tx.signature_hash())
        .expect("a signature")
}

fn raw(tx: TxEip1559, signature: Signature) -> Vec<u8> {
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}

fn answer(raw: &[u8]) -> Response {
    Json(json!({ "jsonrpc": "2.0", "id": 1, "result": hex::encode(raw) })).into_response()
}

fn honest(asked: &Transaction) -> Response {
    let tx = plain(asked);
    let signature = sign(&tx, &key(1));
    answer(&raw(tx, signature))
}

fn some_transaction() -> Transaction {
    Transaction {
        chain_id: 31337,
        nonce: 5,
        to: Some([3; 20]),
        input: vec![1, 2, 3],
        gas_limit: 60_000,
        fees: Fees {
            max_fee_per_gas: 9,
            max_priority_fee_per_gas: 1,
        },
    }
}

#[tokio::test]
async fn an_outside_signer_signs_as_a_key_here_does() {
    let outside = Outside::start().await;
    let (here, there) = (Signer::development(1).unwrap(), outside.signer());
    let mut transaction = some_transaction();
    for to in [Some([3; 20]), None] {
        transaction.to = to;
        let signed = there.sign(&transaction).await.unwrap();
        assert_eq!(signed, here.sign(&transaction).await.unwrap());
        assert_eq!(
            Signed::read(&signed.raw),
            Some((transaction.clone(), here.account()))
        );
    }
    // a node's own answer has the transaction beside the bytes
    outside.answers(|asked| {
        let tx = plain(asked);
        let signature = sign(&tx, &key(1));
        let raw = hex::encode(&raw(tx, signature));
        Json(json!({ "jsonrpc": "2.0", "id": 1, "result": { "raw": raw, "tx": {} } }))
            .into_response()
    });
    assert!(there.sign(&transaction).await.is_ok());
}

/// Changes a transaction before it is signed.
type Lie = fn(&mut TxEip1559);

#[tokio::test]
async fn another_transaction_than_was_asked_is_named_by_its_field() {
    let outside = Outside::start().await;
    let lies: [(&str, Lie); 9] = [
        ("chain id", |tx| tx.chain_id = 1),
        ("nonce", |tx| tx.nonce += 1),
        ("to", |tx| tx.to = Address::repeat_byte(4).into()),
        ("input", |tx| tx.input = vec![1, 2].into()),
        ("gas limit", |tx| tx.gas_limit += 1),
        ("max fee per gas", |tx| tx.max_fee_per_gas += 1),
        ("max priority fee per gas", |tx| {
            tx.max_priority_fee_per_gas = 0
        }),
        ("value", |tx| tx.value = U256::from(1)),
        ("access list", |tx| {
            tx.access_list = AccessList(vec![AccessListItem::default()]);
        }),
    ];
    for (field, lie) in lies {
        outside.answers(move |asked| {
            let mut tx = plain(asked);
            lie(&mut tx);
            let signature = sign(&tx, &key(1));
            answer(&raw(tx, signature))
        });
        refused_for(&outside, field).await;
    }
    outside.answers(|asked| {
        let tx = plain(asked);
        let signature = sign(&tx, &key(1));
        answer(&[raw(tx, signature), vec![0]].concat())
    });
    refused_for(&outside, "length").await;
    outside.answers(|_| answer(&[2, 0xc0]));
    refused_for(&outside, "encoding").await;
    // the same signature, turned round: the same account, another hash, and no chain takes it
    outside.answers(|asked| {
        let tx = plain(asked);
        let signature = sign(&tx, &key(1));
        let order = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let order: U256 = order.parse().unwrap();
        let turned = Signature::new(signature.r(), order - signature.s(), !signature.v());
        answer(&raw(tx, turned))
    });
    refused_for(&outside, "signature").await;
}

async fn refused_for(outside: &Outside, expected: &str) {
    match outside.signer().sign(&some_transaction()).await {
        Err(KeyError::Outside(OutsideError::Differs { field, .. })) => assert_eq!(field, expected),
        other => panic!("{expected}: {other:?}"),
    }
}

#[tokio::test]
async fn another_key_than_was_asked_is_an_error() {
    let outside = Outside::start().await;
    outside.answers(|asked| {
        let tx = plain(asked);
        let signature = sign(&tx, &key(0));
        answer(&raw(tx, signature))
    });
    let error = outside
        .signer()
        .sign(&some_transaction())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, KeyError::Outside(OutsideError::OtherKey { .. })),
        "{text}"
    );
    assert!(text.contains("signed as 0xf39fd6e5"), "{text}");
}

#[tokio::test]
async fn a_signer_that_has_no_signature_is_an_error() {
    let outside = Outside::start().await;
    let answers: [fn(&Transaction) -> Response; 5] = [
        |_| "not JSON".into_response(),
        |_| Json(json!({ "jsonrpc": "2.0", "id": 1, "result": "0xzz" })).into_response(),
        |_| Json(json!({ "jsonrpc": "2.0", "id": 1, "result": null })).into_response(),
        |_| {
            let error = json!({ "code": -32000, "message": "account locked" });
            Json(json!({ "jsonrpc": "2.0", "id": 1, "error": error })).into_response()
        },
        |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    ];
    for answer in answers {
        outside.answers(answer);
        let error = outside
            .signer()
            .sign(&some_transaction())
            .await
            .unwrap_err();
        let text = format!("{error:?}");
        assert!(
            matches!(error, KeyError::Outside(OutsideError::Rpc(_))),
            "{text}"
        );
        // of its address only the host is shown
        assert!(!text.contains("the-token"), "{text}");
    }
}

#[tokio::test]
async fn a_signer_that_does_not_answer_is_not_waited_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let signer = Signer::outside(&url.into(), key(1).address().into()).unwrap();
    let error = signer.sign(&some_transaction()).await.unwrap_err();
    let text = format!("{:#}", anyhow::Error::from(error));
    assert!(text.contains("no answer within 10 s"), "{text}");
}

#[tokio::test]
async fn a_day_is_anchored_by_a_signer_outside() {
    let mut it = Anchored::start().await;
    let outside = Outside::start().await;
    it.publisher.signer = outside.signer();
    it.seal_batches(2).await;
    it.publish_and_mine().await;
    it.local.mine(3).await;
    assert_eq!(it.watch().await.finalized, 1);
    assert_eq!(it.states().await, ["finalized"]);
}

/// A signer that we did not write.
#[tokio::test]
async fn a_day_is_anchored_by_a_node_that_holds_the_key() {
    let mut it = Anchored::start().await;
    let account = it.publisher.signer.account();
    it.publisher.signer = Signer::outside(&it.local.url, account).expect("an address");
    it.seal_batches(2).await;
    it.publish_and_mine().await;
    it.local.mine(3).await;
    assert_eq!(it.watch().await.finalized, 1);
    let by = it.publisher.signer.sign(&some_transaction()).await.unwrap();
    let here = Signer::development(1).unwrap();
    assert_eq!(by, here.sign(&some_transaction()).await.unwrap());
}
