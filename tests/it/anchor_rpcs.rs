//! RPCs that lag, lie, and are down.

use std::sync::Arc;

use counterfoil::chain::{At, Chain};
use serde_json::json;

use crate::anchored::Anchored;
use crate::anchored_wire::{Call, Proxy, Wire};

#[tokio::test]
async fn a_wire_does_what_it_is_told() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish_and_mine().await;
    it.local.mine(4).await;
    let (wire, direct) = (Proxy::before(&it.local.url).await, &it.publisher.chain);
    let chain = Chain::new(&wire.url).unwrap();
    let newest = direct.latest().await.unwrap();
    assert_eq!(chain.latest().await.unwrap(), newest);

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
