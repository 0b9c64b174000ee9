//! The registry contract: its calls, what they answer, and the code that creates it.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use alloy::primitives::{Address, B256};
use alloy::sol_types::{SolCall, SolEvent, SolValue};
use counterfoil_proofs::{Hash, hex};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::{Account, Anchored, At, Chain, ChainError};

/// Roots that are asked for at a time.
const CALLS_AT_ONCE: usize = 16;

mod abi {
    //! The part of the contract's interface that we call.
    alloy::sol! {
        function anchor(uint64 first, bytes32[] roots) external;
        function setPublisher(address newPublisher) external;
        function publisher() external view returns (address);
        function owner() external view returns (address);
        function nextBatch() external view returns (uint64);
        function rootOf(uint64 batch) external view returns (bytes32);
        event Anchored(uint64 indexed batch, bytes32 indexed root);
    }
}

/// Input of `anchor(first, roots)`, which anchors the batches `first`, `first + 1`, ….
pub fn anchor_call(first: u64, roots: &[Hash]) -> Vec<u8> {
    abi::anchorCall {
        first,
        roots: roots.iter().map(|root| B256::from(*root)).collect(),
    }
    .abi_encode()
}

/// Input of the transaction that creates a registry whose first batch is `first_batch`.
pub fn creation_code(owner: Account, publisher: Account, first_batch: u64) -> Vec<u8> {
    let arguments = (Address::from(owner), Address::from(publisher), first_batch);
    [
        ARTIFACT.creation_code.as_slice(),
        &arguments.abi_encode_params(),
    ]
    .concat()
}

/// keccak-256 of the code that every registry has.
pub fn runtime_code_hash() -> Hash {
    ARTIFACT.runtime_code_hash
}

/// Input of `setPublisher(account)`, which is for the owner alone; zero stops all anchoring.
pub fn set_publisher_call(account: Account) -> Vec<u8> {
    let to = Address::from(account);
    abi::setPublisherCall { newPublisher: to }.abi_encode()
}

/// The address of the contract that an account's transaction with this nonce creates.
pub fn created_address(account: Account, nonce: u64) -> Account {
    Address::from(account).create(nonce).into()
}

fn publisher_call() -> Vec<u8> {
    abi::publisherCall {}.abi_encode()
}

fn decode_publisher(output: &[u8]) -> Option<Account> {
    abi::publisherCall::abi_decode_returns_validate(output)
        .ok()
        .map(Into::into)
}

fn owner_call() -> Vec<u8> {
    abi::ownerCall {}.abi_encode()
}

fn decode_owner(output: &[u8]) -> Option<Account> {
    abi::ownerCall::abi_decode_returns_validate(output)
        .ok()
        .map(Into::into)
}

fn next_batch_call() -> Vec<u8> {
    abi::nextBatchCall {}.abi_encode()
}

fn decode_next_batch(output: &[u8]) -> Option<u64> {
    abi::nextBatchCall::abi_decode_returns_validate(output).ok()
}

pub(super) fn root_of_call(batch: u64) -> Vec<u8> {
    abi::rootOfCall { batch }.abi_encode()
}

/// Zero for no root. No output at all is what an address without code answers: at an older block the
/// registry may not have been there yet, and so had no root.
pub(super) fn decode_root_of(output: &[u8]) -> Option<Hash> {
    if output.is_empty() {
        return Some([0; 32]);
    }
    abi::rootOfCall::abi_decode_returns_validate(output)
        .ok()
        .map(Into::into)
}

/// By which the event of an anchored batch is known.
pub(super) fn anchored_topic() -> B256 {
    abi::Anchored::SIGNATURE_HASH
}

impl Chain {
    /// The account that may anchor; zero where nobody may.
    pub async fn publisher(&self, registry: Account, at: At) -> Result<Account, ChainError> {
        let (input, decode) = (publisher_call(), decode_publisher);
        self.call(registry, input, at, decode).await
    }

    /// The account that may replace the publisher.
    pub async fn owner(&self, registry: Account, at: At) -> Result<Account, ChainError> {
        let (input, decode) = (owner_call(), decode_owner);
        self.call(registry, input, at, decode).await
    }

    /// The batch that the registry takes next.
    pub async fn next_batch(&self, registry: Account, at: At) -> Result<u64, ChainError> {
        let (input, decode) = (next_batch_call(), decode_next_batch);
        self.call(registry, input, at, decode).await
    }

    /// The root of a batch; none where the registry has none.
    pub async fn root_of(
        &self,
        registry: Account,
        batch: u64,
        at: At,
    ) -> Result<Option<Hash>, ChainError> {
        self.read("eth_call", at, move |node| async move {
            node.root_of(registry, batch, at).await
        })
        .await
    }

    /// The roots of a range of batches in its order, a few calls at a time.
    pub async fn roots_of(
        &self,
        registry: Account,
        batches: RangeInclusive<u64>,
        at: At,
    ) -> Result<Vec<Option<Hash>>, ChainError> {
        let mut waiting = batches.clone();
        let mut calls = JoinSet::new();
        let mut roots = Vec::new();
        loop {
            while calls.len() < CALLS_AT_ONCE
                && let Some(batch) = waiting.next()
            {
                let chain = self.clone();
                calls.spawn(async move { (batch, chain.root_of(registry, batch, at).await) });
            }
            match calls.join_next().await {
                Some(Ok((batch, root))) => roots.push((batch, root?)),
                // only a panic in a call, which is not ours to hide, or the end of the runtime
                Some(Err(error)) => return Err(ChainError::CutOff(error)),
                None => break,
            }
        }
        roots.sort_unstable_by_key(|(batch, _)| *batch);
        Ok(roots.into_iter().map(|(_, root)| root).collect())
    }

    /// The event by which a registry says that it took a batch, if it is in the block at this height.
    pub async fn anchored_at(
        &self,
        registry: Account,
        batch: u64,
        block_number: u64,
    ) -> Result<Option<Anchored>, ChainError> {
        self.anchored_within(registry, batch, block_number..=block_number)
            .await
    }

    /// The same, if it is in one of these blocks. RPCs refuse ranges of more than some thousand.
    pub async fn anchored_within(
        &self,
        registry: Account,
        batch: u64,
        blocks: RangeInclusive<u64>,
    ) -> Result<Option<Anchored>, ChainError> {
        self.read("eth_getLogs", At::Latest, move |node| {
            let blocks = blocks.clone();
            async move { node.anchored_within(registry, batch, blocks).await }
        })
        .await
    }

    async fn call<T: Clone + PartialEq + Send + 'static>(
        &self,
        contract: Account,
        input: Vec<u8>,
        at: At,
        decode: fn(&[u8]) -> Option<T>,
    ) -> Result<T, ChainError> {
        self.read("eth_call", at, move |node| {
            let input = input.clone();
            async move { node.read(contract, &input, at, decode).await }
        })
        .await
    }
}

struct Artifact {
    creation_code: Vec<u8>,
    runtime_code_hash: Hash,
}

static ARTIFACT: LazyLock<Artifact> = LazyLock::new(|| {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct File {
        bytecode: String,
        runtime_code_hash: String,
    }
    let json = include_str!("../../contracts/artifacts/CounterfoilRegistry.json");
    let file: File = serde_json::from_str(json).expect("the committed artifact is JSON");
    Artifact {
        creation_code: hex::decode_vec(&file.bytecode).expect("the committed bytecode is hex"),
        runtime_code_hash: hex::decode(&file.runtime_code_hash).expect("the committed hash is one"),
    }
});

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_proofs::keccak256;

    #[test]
    fn the_calls_have_the_selectors_of_the_artifact() {
        let json = include_str!("../../contracts/artifacts/CounterfoilRegistry.json");
        let artifact: serde_json::Value = serde_json::from_str(json).unwrap();
        for (signature, input) in [
            ("anchor(uint64,bytes32[])", anchor_call(1, &[])),
            ("setPublisher(address)", set_publisher_call([1; 20])),
            ("publisher()", publisher_call()),
            ("owner()", owner_call()),
            ("nextBatch()", next_batch_call()),
            ("rootOf(uint64)", root_of_call(1)),
        ] {
            let selector = artifact["methodIdentifiers"][signature].as_str().unwrap();
            assert_eq!(
                hex::encode(&input[..4]),
                format!("0x{selector}"),
                "{signature}"
            );
        }
        let runtime = hex::decode_vec(artifact["deployedBytecode"].as_str().unwrap()).unwrap();
        assert_eq!(keccak256(&runtime), runtime_code_hash());
    }

    #[test]
    fn an_answer_that_is_too_short_is_none() {
        assert_eq!(decode_next_batch(&[]), None);
        assert_eq!(decode_root_of(&[0; 31]), None);
        assert_eq!(decode_publisher(&[0xff; 32]), None);
    }
}
