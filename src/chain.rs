//! A chain, through the RPC of whoever runs us: the only part of the project that talks to one.
//!
//! # Layout
//! - [`Chain`]: what is read from a chain, and the one thing that is sent to it
//! - `rpc`: JSON-RPC over HTTP, its time limit and its errors
//! - `registry`: the registry contract's calls and its creation code
//! - `signer`: keys, signers and signed transactions; `account`: addresses as text
//! - `network`: what is known of particular chains

mod account;
mod network;
mod registry;
mod rpc;
mod signer;

use std::ops::RangeInclusive;

use alloy::primitives::{Address, B256, Bytes, U64, U128, U256};
use counterfoil_proofs::{Hash, keccak256};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

pub use account::{Account, AccountError, parse_account};
pub use network::{explorer_tx_url, is_local, is_production};
pub use registry::{anchor_call, creation_code, runtime_code_hash};
pub use rpc::{ChainError, install_tls};
pub use signer::{KeyError, OutsideError, Signed, Signer, Transaction, check_account};

use rpc::Rpc;

/// Calls of one RPC at a time.
const CALLS_AT_ONCE: usize = 16;
/// Blocks whose base fees say what gas usually costs: the last hour of a chain with blocks of 12 s.
const RECENT_BLOCKS: u64 = 300;

/// A block of a chain, as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Height.
    pub number: u64,
    /// Hash of the header.
    pub hash: Hash,
    /// Seconds since 1970 UTC.
    pub time: u64,
    /// Wei a unit of gas; none on a chain without EIP-1559.
    pub base_fee: Option<u128>,
}

/// At which block a state is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The newest block, whichever that is when the call arrives.
    Latest,
    /// The newest block and what waits to be mined.
    Pending,
    /// The block with this hash (EIP-1898); an error when it is no longer on the chain.
    Block(Hash),
}

/// What a chain says of a transaction that is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxReceipt {
    /// Hash of the block.
    pub block_hash: Hash,
    /// Height of the block.
    pub block_number: u64,
    /// Whether it did what it was meant to; a reverted one only used its nonce and its gas.
    pub succeeded: bool,
    /// Units of gas.
    pub gas_used: u64,
    /// The contract it created.
    pub created: Option<Account>,
}

/// Where a registry took a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchored {
    /// The transaction.
    pub tx: Hash,
    /// Height of its block.
    pub block_number: u64,
    /// Hash of its block.
    pub block_hash: Hash,
}

/// The fee caps of a transaction (EIP-1559), wei a unit of gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// The most that is paid in all.
    pub max_fee_per_gas: u128,
    /// The most of it that goes to whoever makes the block.
    pub max_priority_fee_per_gas: u128,
}

/// What gas costs on a chain, wei a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GasPrice {
    /// The base fee of the next block.
    pub base_fee: u128,
    /// The median of the recent blocks' base fees.
    pub usual_base_fee: u128,
    /// The tip that the RPC suggests.
    pub tip: u128,
}

/// A chain behind one RPC. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Chain {
    rpc: Rpc,
}

impl Chain {
    /// A chain at the address of its JSON-RPC. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is none of http or https.
    pub fn new(url: &SecretString) -> Result<Self, ChainError> {
        Ok(Self {
            rpc: Rpc::new(url)?,
        })
    }

    /// The host of the RPC: the only part of its address that may be shown.
    pub fn host(&self) -> &str {
        self.rpc.host()
    }

    /// Which chain it is (EIP-155).
    ///
    /// # Errors
    /// [`ChainError`], as of every call below.
    pub async fn chain_id(&self) -> Result<u64, ChainError> {
        let id: U64 = self.rpc.call("eth_chainId", json!([])).await?;
        Ok(id.to())
    }

    /// keccak-256 of the code of a contract; none where there is no code.
    pub async fn code_hash(&self, account: Account, at: At) -> Result<Option<Hash>, ChainError> {
        let params = json!([Address::from(account), block_param(at)]);
        let code: Bytes = self.rpc.call("eth_getCode", params).await?;
        Ok((!code.is_empty()).then(|| keccak256(&code)))
    }

    /// The newest block.
    pub async fn latest(&self) -> Result<Block, ChainError> {
        let block = self.header("eth_getBlockByNumber", json!("latest")).await?;
        block.ok_or_else(|| {
            self.rpc
                .malformed("eth_getBlockByNumber", "no latest block")
        })
    }

    /// The newest block that cannot be reorganised; none on a young chain.
    pub async fn finalized(&self) -> Result<Option<Block>, ChainError> {
        self.header("eth_getBlockByNumber", json!("finalized"))
            .await
    }

    /// The block with this hash, on the chain or not; none where the RPC does not know it.
    pub async fn block(&self, hash: Hash) -> Result<Option<Block>, ChainError> {
        self.header("eth_getBlockByHash", json!(B256::from(hash)))
            .await
    }

    /// The block of the chain at this height; none where the chain is not that high.
    pub async fn block_at(&self, number: u64) -> Result<Option<Block>, ChainError> {
        self.header("eth_getBlockByNumber", json!(U64::from(number)))
            .await
    }

    async fn header(&self, method: &'static str, id: Value) -> Result<Option<Block>, ChainError> {
        let header: Option<Header> = self.rpc.call(method, json!([id, false])).await?;
        Ok(header.map(|header| Block {
            number: header.number.to(),
            hash: header.hash.0,
            time: header.timestamp.to(),
            base_fee: header.base_fee_per_gas.map(|fee| fee.to()),
        }))
    }

    /// The number of transactions an account has sent: its next nonce.
    pub async fn nonce(&self, account: Account, at: At) -> Result<u64, ChainError> {
        let params = json!([Address::from(account), block_param(at)]);
        let nonce: U64 = self.rpc.call("eth_getTransactionCount", params).await?;
        Ok(nonce.to())
    }

    /// The receipt of a transaction. None means that this RPC does not know of one now: the
    /// transaction may be waiting, dropped, mined a moment ago or not yet indexed.
    pub async fn receipt(&self, tx: Hash) -> Result<Option<TxReceipt>, ChainError> {
        let params = json!([B256::from(tx)]);
        let receipt: Option<RawReceipt> =
            self.rpc.call("eth_getTransactionReceipt", params).await?;
        Ok(receipt.map(|receipt| TxReceipt {
            block_hash: receipt.block_hash.0,
            block_number: receipt.block_number.to(),
            succeeded: receipt.status == U64::from(1),
            gas_used: receipt.gas_used.to(),
            created: receipt.contract_address.map(Into::into),
        }))
    }

    /// Whether the RPC has this transaction, in a block or waiting for one.
    pub async fn knows(&self, tx: Hash) -> Result<bool, ChainError> {
        let params = json!([B256::from(tx)]);
        let found: Option<Value> = self.rpc.call("eth_getTransactionByHash", params).await?;
        Ok(found.is_some())
    }

    /// What gas costs now, and what it did of late.
    pub async fn gas_price(&self) -> Result<GasPrice, ChainError> {
        let params = json!([U64::from(RECENT_BLOCKS), "latest", []]);
        let FeeHistory {
            base_fee_per_gas: mut fees,
        } = self.rpc.call("eth_feeHistory", params).await?;
        // one more than the blocks: the last is that of the block to come
        let Some(next) = fees.pop() else {
            let reason = "the chain has no base fee";
            return Err(self.rpc.malformed("eth_feeHistory", reason));
        };
        fees.sort_unstable();
        let usual = fees.get(fees.len() / 2).copied().unwrap_or(next);
        let tip: U128 = self.rpc.call("eth_maxPriorityFeePerGas", json!([])).await?;
        Ok(GasPrice {
            base_fee: next.to(),
            usual_base_fee: usual.to(),
            tip: tip.to(),
        })
    }

    /// Fee caps for a transaction that should be in one of the next blocks: twice the base fee, which
    /// outlasts six full blocks, and the tip that the RPC suggests.
    pub async fn fees(&self) -> Result<Fees, ChainError> {
        let price = self.gas_price().await?;
        Ok(Fees {
            max_fee_per_gas: price.base_fee.saturating_mul(2).saturating_add(price.tip),
            max_priority_fee_per_gas: price.tip,
        })
    }

    /// What an account has, wei.
    pub async fn balance(&self, account: Account, at: At) -> Result<u128, ChainError> {
        let params = json!([Address::from(account), block_param(at)]);
        let balance: U256 = self.rpc.call("eth_getBalance", params).await?;
        Ok(balance.saturating_to())
    }

    /// The gas that a transaction would need now.
    pub async fn estimate_gas(
        &self,
        from: Account,
        to: Option<Account>,
        input: &[u8],
    ) -> Result<u64, ChainError> {
        let mut tx = json!({ "from": Address::from(from), "input": hex(input) });
        if let Some(to) = to {
            tx["to"] = json!(Address::from(to));
        }
        let gas: U64 = self.rpc.call("eth_estimateGas", json!([tx])).await?;
        Ok(gas.to())
    }

    /// Hands a signed transaction over. An error says nothing of whether it arrived.
    pub async fn send_raw(&self, raw: &[u8]) -> Result<(), ChainError> {
        let _: B256 = self
            .rpc
            .call("eth_sendRawTransaction", json!([hex(raw)]))
            .await?;
        Ok(())
    }

    /// The account that may anchor; zero where nobody may.
    pub async fn publisher(&self, registry: Account, at: At) -> Result<Account, ChainError> {
        let input = registry::publisher_call();
        self.read(registry, &input, at, registry::decode_publisher)
            .await
    }

    /// The account that may replace the publisher.
    pub async fn owner(&self, registry: Account, at: At) -> Result<Account, ChainError> {
        self.read(
            registry,
            &registry::owner_call(),
            at,
            registry::decode_owner,
        )
        .await
    }

    /// The batch that the registry takes next.
    pub async fn next_batch(&self, registry: Account, at: At) -> Result<u64, ChainError> {
        let input = registry::next_batch_call();
        self.read(registry, &input, at, registry::decode_next_batch)
            .await
    }

    /// The root of a batch; none where the registry has none.
    pub async fn root_of(
        &self,
        registry: Account,
        batch: u64,
        at: At,
    ) -> Result<Option<Hash>, ChainError> {
        let input = registry::root_of_call(batch);
        let root = self
            .read(registry, &input, at, registry::decode_root_of)
            .await?;
        Ok((root != [0; 32]).then_some(root))
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
                Some(Err(error)) => return Err(self.rpc.malformed("eth_call", &error.to_string())),
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
        let height = U64::from(block_number);
        let filter = json!({
            "address": Address::from(registry), "fromBlock": height, "toBlock": height,
            "topics": [registry::anchored_topic(), B256::from(U256::from(batch))],
        });
        let logs: Vec<Log> = self.rpc.call("eth_getLogs", json!([filter])).await?;
        Ok(logs.first().map(|log| Anchored {
            tx: log.transaction_hash.0,
            block_number: log.block_number.to(),
            block_hash: log.block_hash.0,
        }))
    }

    async fn read<T>(
        &self,
        contract: Account,
        input: &[u8],
        at: At,
        decode: fn(&[u8]) -> Option<T>,
    ) -> Result<T, ChainError> {
        let call = json!({ "to": Address::from(contract), "input": hex(input) });
        let output: Bytes = self
            .rpc
            .call("eth_call", json!([call, block_param(at)]))
            .await?;
        decode(&output).ok_or_else(|| {
            self.rpc
                .malformed("eth_call", "not what the registry answers")
        })
    }
}

/// The fields of a header that we use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    number: U64,
    hash: B256,
    timestamp: U64,
    base_fee_per_gas: Option<U128>,
}

/// The part of a history of fees that we use: the base fees, the oldest first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FeeHistory {
    base_fee_per_gas: Vec<U128>,
}

/// The fields of a receipt that we use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawReceipt {
    block_hash: B256,
    block_number: U64,
    status: U64,
    gas_used: U64,
    contract_address: Option<Address>,
}

/// The fields of a log that we use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    transaction_hash: B256,
    block_number: U64,
    block_hash: B256,
}

fn block_param(at: At) -> Value {
    match at {
        At::Latest => json!("latest"),
        At::Pending => json!("pending"),
        At::Block(hash) => json!({ "blockHash": B256::from(hash), "requireCanonical": true }),
    }
}

fn hex(bytes: &[u8]) -> String {
    counterfoil_proofs::hex::encode(bytes)
}
