//! One RPC of a chain, in the types of [`Chain`](super::Chain): what it says, whether it is of the right
//! chain, how far it has been, and whether it is worth asking.

use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, Bytes, U64, U128, U256};
use counterfoil_proofs::{Hash, keccak256};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::registry::{anchored_topic, decode_root_of, root_of_call};
use super::rpc::{ChainError, Rpc};
use super::{Account, Anchored, At, Block, Finality, GasPrice, TxReceipt};

/// An RPC that failed is left alone for so many times as long as the failure took: one that refuses
/// connections is asked again at once, one that is silent costs a quarter of the time at most.
const REST: u32 = 3;

/// Blocks whose base fees say what gas usually costs: the last hour of a chain with blocks of 12 s.
const RECENT_BLOCKS: u64 = 300;

/// An RPC of a chain.
#[derive(Debug)]
pub(super) struct Node {
    rpc: Rpc,
    expected: Option<u64>,
    identity: OnceCell<u64>,
    seen: Mutex<Seen>,
}

/// How long an RPC may stay below the highest block it has told of. After that the height was wrong, or
/// the chain itself went back, and what it says now counts.
const BELOW: Duration = Duration::from_secs(600);

/// What an RPC was seen to be.
#[derive(Debug, Default)]
struct Seen {
    /// The highest block it has told of, and when it last was there.
    head: Option<(u64, Instant)>,
    /// It is behind the others.
    behind: bool,
    /// It is not asked before.
    rests_until: Option<Instant>,
}

impl Seen {
    /// Takes note of the newest block's height; an error with the highest where that is below it.
    fn reach(&mut self, height: u64, now: Instant) -> Result<(), u64> {
        match self.head {
            Some((highest, at)) if height < highest && now.duration_since(at) < BELOW => {
                Err(highest)
            }
            _ => {
                self.head = Some((height, now));
                Ok(())
            }
        }
    }
}

/// How far an RPC is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Height of its newest block.
    pub(super) head: u64,
    /// Height of the newest that is final; none on a young chain.
    pub(super) finalized: Option<u64>,
}

impl Node {
    /// The RPC at an address, of which chain it must be where that is known. Nothing is sent yet.
    pub(super) fn new(url: &SecretString, expected: Option<u64>) -> Result<Self, ChainError> {
        Ok(Self {
            rpc: Rpc::new(url)?,
            expected,
            identity: OnceCell::new(),
            seen: Mutex::default(),
        })
    }

    pub(super) fn host(&self) -> &str {
        self.rpc.host()
    }

    /// Whether it is worth asking now.
    pub(super) fn is_awake(&self) -> bool {
        self.seen()
            .rests_until
            .is_none_or(|until| until <= Instant::now())
    }

    /// Whether it was behind the others when that was last looked at.
    pub(super) fn is_behind(&self) -> bool {
        self.seen().behind
    }

    pub(super) fn set_behind(&self, behind: bool) {
        self.seen().behind = behind;
        if behind {
            self.rpc.count("behind");
        }
    }

    /// Counts an answer that the others contradict.
    pub(super) fn contradicted(&self) {
        self.rpc.count("disagrees");
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call, of an RPC that is of the right chain.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, ChainError> {
        let start = Instant::now();
        let answer = match self.identify().await {
            Ok(()) => self.rpc.call(method, params).await,
            Err(error) => Err(error),
        };
        let gone = matches!(
            answer,
            Err(ChainError::Timeout { .. } | ChainError::Connection { .. })
        );
        self.seen().rests_until = gone.then(|| Instant::now() + start.elapsed() * REST);
        answer
    }

    async fn identify(&self) -> Result<(), ChainError> {
        let Some(expected) = self.expected else {
            return Ok(());
        };
        let found = *self.identity.get_or_try_init(|| self.chain_id()).await?;
        if found == expected {
            return Ok(());
        }
        let host = self.rpc.host().into();
        let error = ChainError::OtherChain {
            host,
            expected,
            found,
        };
        self.rpc.count(error.class());
        Err(error)
    }

    pub(super) async fn chain_id(&self) -> Result<u64, ChainError> {
        let id: U64 = self.rpc.call("eth_chainId", json!([])).await?;
        Ok(id.to())
    }

    pub(super) async fn code_hash(
        &self,
        account: Account,
        at: At,
    ) -> Result<Option<Hash>, ChainError> {
        let params = json!([Address::from(account), block_param(at)]);
        let code: Bytes = self.call("eth_getCode", params).await?;
        Ok((!code.is_empty()).then(|| keccak256(&code)))
    }

    /// How far it is. An error where it was further before: then another machine answers under its name,
    /// and what it does not know means nothing.
    pub(super) async fn mark(&self, finality: Finality) -> Result<Mark, ChainError> {
        let head = self.latest().await?.number;
        let finalized = match finality {
            Finality::Confirmations(blocks) => head.checked_sub(blocks),
            Finality::Tag => {
                let block = self
                    .header("eth_getBlockByNumber", json!("finalized"))
                    .await?;
                block.map(|block| block.number)
            }
        };
        Ok(Mark { head, finalized })
    }

    pub(super) async fn latest(&self) -> Result<Block, ChainError> {
        let block = self.header("eth_getBlockByNumber", json!("latest")).await?;
        let block =
            block.ok_or_else(|| self.malformed("eth_getBlockByNumber", "no latest block"))?;
        let reached = self.seen().reach(block.number, Instant::now());
        if let Err(highest) = reached {
            self.set_behind(true);
            return Err(ChainError::Behind {
                host: self.rpc.host().into(),
                number: block.number,
                highest,
            });
        }
        Ok(block)
    }

    pub(super) async fn block(&self, hash: Hash) -> Result<Option<Block>, ChainError> {
        self.header("eth_getBlockByHash", json!(B256::from(hash)))
            .await
    }

    pub(super) async fn block_at(&self, number: u64) -> Result<Option<Block>, ChainError> {
        self.header("eth_getBlockByNumber", json!(U64::from(number)))
            .await
    }

    async fn header(&self, method: &'static str, id: Value) -> Result<Option<Block>, ChainError> {
        let header: Option<Header> = self.call(method, json!([id, false])).await?;
        Ok(header.map(|header| Block {
            number: header.number.to(),
            hash: header.hash.0,
            time: header.timestamp.to(),
            base_fee: header.base_fee_per_gas.map(|fee| fee.to()),
        }))
    }

    pub(super) async fn nonce(&self, account: Account, at: At) -> Result<u64, ChainError> {
        let params = json!([Address::from(account), block_param(at)]);
        let nonce: U64 = self.call("eth_getTransactionCount", params).await?;
        Ok(nonce.to())
    }

    pub(super) async fn receipt(&self, tx: Hash) -> Result<Option<TxReceipt>, ChainError> {
        let params = json!([B256::from(tx)]);
        let receipt: Option<RawReceipt> = self.call("eth_getTransactionReceipt", params).await?;
        Ok(receipt.map(|receipt| TxReceipt {
            block_hash: receipt.block_hash.0,
            block_number: receipt.block_number.to(),
            succeeded: receipt.status == U64::from(1),
            gas_used: receipt.gas_used.to(),
            gas_price: receipt.effective_gas_price.map(|price| price.to()),
            rollup_fee: receipt.l1_fee.map(|fee| fee.to()),
            created: receipt.contract_address.map(Into::into),
        }))
    }

    /// The bytes of a signed transaction (EIP-2718); none where the RPC does not know it.
    pub(super) async fn raw_transaction(&self, tx: Hash) -> Result<Option<Vec<u8>>, ChainError> {
        let params = json!([B256::from(tx)]);
        let raw: Option<Bytes> = self.call("eth_getRawTransactionByHash", params).await?;
        Ok(raw.map(|raw| raw.to_vec()))
    }

    /// The receipt of a transaction and its block, where that block is the chain's at its height.
    pub(super) async fn included(
        &self,
        tx: Hash,
    ) -> Result<Option<(TxReceipt, Block)>, ChainError> {
        let Some(receipt) = self.receipt(tx).await? else {
            return Ok(None);
        };
        let block = self.block_at(receipt.block_number).await?;
        Ok(block
            .filter(|block| block.hash == receipt.block_hash)
            .map(|block| (receipt, block)))
    }

    pub(super) async fn knows(&self, tx: Hash) -> Result<bool, ChainError> {
        let params = json!([B256::from(tx)]);
        let found: Option<Value> = self.call("eth_getTransactionByHash", params).await?;
        Ok(found.is_some())
    }

    pub(super) async fn gas_price(&self) -> Result<GasPrice, ChainError> {
        let params = json!([U64::from(RECENT_BLOCKS), "latest", []]);
        let FeeHistory {
            base_fee_per_gas: mut fees,
        } = self.call("eth_feeHistory", params).await?;
        // one more than the blocks: the last is that of the block to come
        let Some(next) = fees.pop() else {
            return Err(self.malformed("eth_feeHistory", "the chain has no base fee"));
        };
        fees.sort_unstable();
        let usual = fees.get(fees.len() / 2).copied().unwrap_or(next);
        let tip: U128 = self.call("eth_maxPriorityFeePerGas", json!([])).await?;
        Ok(GasPrice {
            base_fee: next.to(),
            usual_base_fee: usual.to(),
            tip: tip.to(),
        })
    }

    pub(super) async fn balance(&self, account: Account, at: At) -> Result<u128, ChainError> {
        let params = json!([Address::from(account), block_param(at)]);
        let balance: U256 = self.call("eth_getBalance", params).await?;
        Ok(balance.saturating_to())
    }

    pub(super) async fn estimate_gas(
        &self,
        from: Account,
        to: Option<Account>,
        input: &[u8],
    ) -> Result<u64, ChainError> {
        let mut tx = json!({ "from": Address::from(from), "input": hex(input) });
        if let Some(to) = to {
            tx["to"] = json!(Address::from(to));
        }
        let gas: U64 = self.call("eth_estimateGas", json!([tx])).await?;
        Ok(gas.to())
    }

    /// Hands a signed transaction over, unless it has it: then it would refuse it.
    pub(super) async fn send_raw(&self, raw: &[u8]) -> Result<(), ChainError> {
        if self.knows(keccak256(raw)).await? {
            return Ok(());
        }
        let _: B256 = self
            .call("eth_sendRawTransaction", json!([hex(raw)]))
            .await?;
        Ok(())
    }

    pub(super) async fn root_of(
        &self,
        registry: Account,
        batch: u64,
        at: At,
    ) -> Result<Option<Hash>, ChainError> {
        let input = root_of_call(batch);
        let root = self.read(registry, &input, at, decode_root_of).await?;
        Ok((root != [0; 32]).then_some(root))
    }

    pub(super) async fn anchored_within(
        &self,
        registry: Account,
        batch: u64,
        blocks: RangeInclusive<u64>,
    ) -> Result<Option<Anchored>, ChainError> {
        let filter = json!({
            "address": Address::from(registry),
            "fromBlock": U64::from(*blocks.start()), "toBlock": U64::from(*blocks.end()),
            "topics": [anchored_topic(), B256::from(U256::from(batch))],
        });
        let logs: Vec<Log> = self.call("eth_getLogs", json!([filter])).await?;
        Ok(logs.first().map(|log| Anchored {
            tx: log.transaction_hash.0,
            block_number: log.block_number.to(),
            block_hash: log.block_hash.0,
        }))
    }

    /// What a contract answers to a call.
    pub(super) async fn read<T>(
        &self,
        contract: Account,
        input: &[u8],
        at: At,
        decode: fn(&[u8]) -> Option<T>,
    ) -> Result<T, ChainError> {
        let call = json!({ "to": Address::from(contract), "input": hex(input) });
        let output: Bytes = self
            .call("eth_call", json!([call, block_param(at)]))
            .await?;
        decode(&output).ok_or_else(|| self.malformed("eth_call", "not what the registry answers"))
    }

    fn malformed(&self, method: &'static str, reason: &str) -> ChainError {
        self.rpc.malformed(method, reason)
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
    effective_gas_price: Option<U128>,
    l1_fee: Option<U128>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absurd_height_is_forgotten() {
        let start = Instant::now();
        let mut seen = Seen::default();
        for (height, after, expected) in [
            (7, 0, Ok(())),
            (u64::MAX, 1, Ok(())),
            (8, 2, Err(u64::MAX)),
            (9, 600, Err(u64::MAX)),
            (10, 601, Ok(())),
            (9, 602, Err(10)),
            (10, 603, Ok(())),
        ] {
            let found = seen.reach(height, start + Duration::from_secs(after));
            assert_eq!(found, expected, "{height} after {after} s");
        }
    }
}
