//! RPCs that lag, lie, and are down.

use std::sync::Arc;

use counterfoil::anchor::publish;
use counterfoil::anchor::startup::Ready;
use counterfoil::chain::{At, Chain, Finality, Profile};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::anchored::Anchored;
use crate::anchored_wire::{Call, Proxy, Rewrite, Wire};

#[tokio::test]
async fn a_wire_does_what_it_is_told() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish_and_mine().await;
    it.local.mine(4).await;
    let (wire, direct) = (Proxy::before(&it.local.url).await, &it.publisher.chain);
    let chain = Chain::new(&wire.url).unwrap();
    let newest = direct.latest().await.unwrap();
    wire.set(|wire| wire.lag = 3);
    let seen = chain.latest().await.unwrap();
    assert_eq!(seen.number, newest.number - 3);
    let account = it.publisher.signer.account();
    let at_newest = At::Block(newest.hash);
    assert!(chain.nonce(account, at_newest).await.is_err());
    assert_eq!(
        chain.finalized().await.unwrap().unwrap().number,
        newest.number - 5
    );
    assert_eq!(chain.nonce(account, At::Latest).await.unwrap(), 1);
    wire.set(|wire| wire.lag = 5);
    assert_eq!(chain.nonce(account, At::Latest).await.unwrap(), 0);

    wire.set(|wire| *wire = Wire::default());
    assert_eq!(chain.latest().await.unwrap(), newest);
    wire.set(|wire| wire.old_nonce = 1);
    assert_eq!(chain.nonce(account, At::Latest).await.unwrap(), 0);
    let lie = |call: &Call, result: &mut serde_json::Value| {
        if call.method == "eth_chainId" {
            *result = json!("0x7");
        }
    };
    wire.set(|wire| wire.rewrite = Some(Arc::new(lie)));
    assert_eq!(chain.chain_id().await.unwrap(), 7);
    wire.refuse().await;
    assert!(chain.chain_id().await.is_err());
    wire.set(|wire| *wire = Wire::default());
    wire.listen().await;
    assert_eq!(chain.chain_id().await.unwrap(), 31337);
    assert_eq!(
        wire.calls("eth_chainId"),
        2,
        "a call that is refused is none"
    );
}

/// So many RPCs before one chain, which the publisher of an [`Anchored`] now uses.
struct Rpcs {
    it: Anchored,
    wires: Vec<Proxy>,
    ready: Ready,
}

impl Rpcs {
    /// With one batch sealed and enough blocks for an RPC to be behind.
    async fn start(count: usize) -> Self {
        let mut it = Anchored::start().await;
        it.local.mine(20).await;
        let mut wires = Vec::new();
        for _ in 0..count {
            wires.push(Proxy::before(&it.local.url).await);
        }
        let urls: Vec<SecretString> = wires.iter().map(|wire| wire.url.clone()).collect();
        it.publisher.chain = Chain::of(&Profile::of(31337), &urls).expect("the chain");
        let ready = it.check().await.expect("a chain that passes");
        it.seal_batches(1).await;
        Self { it, wires, ready }
    }

    fn chain(&self) -> &Chain {
        &self.it.publisher.chain
    }

    async fn sign(&self) -> publish::Outcome {
        let (pool, publisher) = (&self.it.db.worker, &self.it.publisher);
        publish::step(pool, publisher, &self.ready, &self.it.clock)
            .await
            .expect("the step")
    }

    async fn sign_and_send(&self) {
        let outcome = self.sign().await;
        assert!(
            matches!(outcome, publish::Outcome::Signed { .. }),
            "{outcome:?}"
        );
        assert_eq!(self.it.broadcast().await, 1);
    }

    /// Mines one block, and then enough for it to be final, watching after each.
    async fn mine_and_watch(&self) {
        self.it.local.mine(1).await;
        self.it.watch().await;
        self.it.local.mine(2).await;
        self.it.watch().await;
    }

    async fn state(&self) -> String {
        self.it.db.text("select state from anchor").await
    }

    async fn is_halted(&self) -> bool {
        let halted = "select count(*) from chain_head where halted is not null";
        self.it.db.count(halted).await > 0
    }
}

/// Answers of one method that are changed.
fn lie(method: &'static str, change: impl Fn(&mut Value) + Send + Sync + 'static) -> Rewrite {
    Arc::new(move |call: &Call, result: &mut Value| {
        if call.method == method {
            change(result);
        }
    })
}

/// An RPC that says of every transaction that it is in the newest block, and whether it worked.
fn invented_receipt(status: &'static str) -> Rewrite {
    lie("eth_getTransactionReceipt", move |result| {
        *result = json!({
            "blockHash": format!("0x{}", "77".repeat(32)), "blockNumber": "0x2", "status": status,
            "gasUsed": "0x5208", "contractAddress": null,
        });
    })
}

/// An RPC whose registry answers every call with the same 32 bytes.
pub(crate) fn other_root() -> Rewrite {
    Arc::new(|call: &Call, result: &mut Value| {
        // rootOf(uint64)
        let input = call.params[0]["input"].as_str().unwrap_or_default();
        if call.method == "eth_call" && input.starts_with("0x9d7384d9") {
            *result = json!(format!("0x{}", "99".repeat(32)));
        }
    })
}

fn lies() -> Vec<(&'static str, Rewrite)> {
    let none = |result: &mut Value| *result = Value::Null;
    let says = |text: &'static str| move |result: &mut Value| *result = json!(text);
    vec![
        ("a root", other_root()),
        ("a chain", lie("eth_chainId", says("0x1"))),
        ("a receipt", invented_receipt("0x1")),
        ("a revert", invented_receipt("0x0")),
        ("an old nonce", lie("eth_getTransactionCount", says("0x0"))),
        ("a late nonce", lie("eth_getTransactionCount", says("0xff"))),
        (
            "a fee",
            lie("eth_maxPriorityFeePerGas", says("0xffffffffffffff")),
        ),
        ("no transaction", lie("eth_getTransactionByHash", none)),
    ]
}

#[tokio::test]
async fn a_liar_of_two_decides_nothing() {
    for (what, lie) in lies() {
        let rpcs = Rpcs::start(2).await;
        rpcs.wires[0].set(|wire| wire.rewrite = Some(lie));
        rpcs.sign_and_send().await;
        rpcs.it.watch().await;
        assert_eq!(rpcs.state().await, "submitted", "{what}");
        rpcs.mine_and_watch().await;
        assert!(!rpcs.is_halted().await, "{what}");
        rpcs.wires[0].set(|wire| *wire = Wire::default());
        rpcs.it.watch().await;
        assert_eq!(rpcs.state().await, "finalized", "{what}");
    }
}

#[tokio::test]
async fn a_liar_of_three_delays_nothing() {
    for (what, lie) in lies() {
        let rpcs = Rpcs::start(3).await;
        rpcs.wires[0].set(|wire| wire.rewrite = Some(lie));
        rpcs.sign_and_send().await;
        rpcs.mine_and_watch().await;
        assert_eq!(rpcs.state().await, "finalized", "{what}");
        let dear = "select max(max_priority_fee_per_gas)::bigint from anchor_attempt";
        assert!(rpcs.it.db.count(dear).await < 100_000_000_000, "{what}");
    }
}

#[tokio::test]
async fn of_two_rpcs_the_lower_says_what_is_final() {
    let rpcs = Rpcs::start(2).await;
    rpcs.wires[1].set(|wire| wire.lag = 10);
    // or it would have gone back
    rpcs.it.local.mine(10).await;
    rpcs.sign_and_send().await;
    rpcs.mine_and_watch().await;
    assert_eq!(rpcs.state().await, "mined", "one is far behind");
    let final_before = rpcs.chain().finalized().await.unwrap().unwrap().number;
    rpcs.wires[1].set(|wire| wire.lag = 1);
    assert!(
        rpcs.chain().finalized().await.unwrap().unwrap().number > final_before,
        "it catches up"
    );
    rpcs.it.watch().await;
    assert_eq!(rpcs.state().await, "mined", "one is a block behind");
    rpcs.wires[1].set(|wire| wire.lag = 0);
    rpcs.it.watch().await;
    assert_eq!(rpcs.state().await, "finalized");

    let highest = rpcs.chain().finalized().await.unwrap();
    rpcs.wires[0].set(|wire| wire.lag = 5);
    assert!(rpcs.chain().finalized().await.unwrap_err().is_undecided());
    rpcs.wires[0].set(|wire| wire.lag = 0);
    assert_eq!(rpcs.chain().finalized().await.unwrap(), highest);
}

#[tokio::test]
async fn with_one_of_two_down_nothing_becomes_final_and_all_else_goes_on() {
    let rpcs = Rpcs::start(2).await;
    rpcs.wires[0].refuse().await;
    rpcs.sign_and_send().await;
    rpcs.mine_and_watch().await;
    assert_eq!(rpcs.state().await, "mined");
    assert!(rpcs.it.check().await.is_err(), "to begin needs both");
    rpcs.wires[0].listen().await;
    rpcs.it.watch().await;
    assert_eq!(rpcs.state().await, "finalized");
}

#[tokio::test]
async fn one_of_three_may_be_down() {
    let rpcs = Rpcs::start(3).await;
    rpcs.wires[1].refuse().await;
    rpcs.it.check().await.unwrap();
    rpcs.sign_and_send().await;
    rpcs.mine_and_watch().await;
    assert_eq!(rpcs.state().await, "finalized");
    rpcs.wires[0].refuse().await;
    rpcs.it.seal_batches(1).await;
    rpcs.sign_and_send().await;
    rpcs.mine_and_watch().await;
    assert_eq!(rpcs.it.states().await, ["finalized", "mined"]);
}

#[tokio::test]
async fn rpcs_that_come_and_go_anchor_once() {
    let rpcs = Rpcs::start(2).await;
    for round in 0..6 {
        let wire = &rpcs.wires[round % 2];
        wire.refuse().await;
        rpcs.sign().await;
        rpcs.it.broadcast().await;
        rpcs.mine_and_watch().await;
        wire.listen().await;
        rpcs.it.watch().await;
        rpcs.it.seal_batches(1).await;
    }
    assert_eq!(rpcs.it.states().await, ["finalized"; 6]);
    assert_eq!(rpcs.it.nonces_used().await, 6);
    assert!(
        rpcs.wires
            .iter()
            .all(|wire| wire.calls("eth_sendRawTransaction") > 0)
    );
}

#[tokio::test]
async fn an_rpc_that_goes_back_is_not_believed_meanwhile() {
    let it = Anchored::start().await;
    it.local.mine(20).await;
    let wire = Proxy::before(&it.local.url).await;
    let chain = Chain::new(&wire.url).unwrap();
    let newest = chain.latest().await.unwrap();
    wire.set(|wire| wire.lag = 4);
    assert_eq!(chain.latest().await.unwrap_err().class(), "behind");
    assert_eq!(chain.finalized().await.unwrap_err().class(), "behind");
    it.local.mine(4).await;
    assert_eq!(chain.latest().await.unwrap(), newest);
}

#[tokio::test]
async fn finality_may_be_a_number_of_blocks() {
    let it = Anchored::start().await;
    let profile = Profile {
        finality: Finality::Confirmations(5),
        ..Profile::of(31337)
    };
    let chain = Chain::of(&profile, std::slice::from_ref(&it.local.url)).unwrap();
    assert_eq!(chain.finalized().await.unwrap(), None, "a young chain");
    it.local.mine(20).await;
    let newest = chain.latest().await.unwrap();
    let block = chain.finalized().await.unwrap().unwrap();
    assert_eq!(block.number, newest.number - 5);
    assert_eq!(chain.block_at(block.number).await.unwrap(), Some(block));
}
