//! A chain, through the RPC of whoever runs us: the only part of the project that talks to one.
//!
//! # Layout
//! - [`Chain`]: what is read from a chain, and the one thing that is sent to it
//! - `quorum`: what several RPCs say together; `node`: one of them
//! - `rpc`: JSON-RPC over HTTP, its time limit and its errors
//! - [`Profile`]: what is known of particular chains
//! - `registry`: the registry contract: its calls, what it says, and its creation code
//! - `wallet`: whose signature of a message it is, by its key or by its contract
//! - `signer`: keys, signers and signed transactions; `account`: addresses as text

mod account;
mod node;
mod profile;
mod quorum;
mod registry;
mod rpc;
mod signer;
mod wallet;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use counterfoil_proofs::Hash;
use secrecy::SecretString;

pub use account::{Account, AccountError, parse_account};
pub use profile::{Finality, Profile, Stake, explorer_tx_url, is_local, is_production};
pub use registry::{
    anchor_call, created_address, creation_code, runtime_code_hash, set_publisher_call,
};
pub use rpc::{ChainError, install_tls};
pub use signer::{KeyError, OutsideError, Signed, Signer, Transaction, check_account};
pub use wallet::signer_of_message;

use node::Node;
use quorum::{AGREE, ask, lower_middle, reached, upper_middle};

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
    /// The block with this hash (EIP-1898); an error when it is no longer on the chain. What is read so
    /// decides.
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
    /// Wei that a unit of gas cost; none where the RPC does not say.
    pub gas_price: Option<u128>,
    /// Wei that a rollup asked for beside the gas, for its data on the chain below (`l1Fee` of the OP
    /// Stack); none elsewhere.
    pub rollup_fee: Option<u128>,
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

impl GasPrice {
    /// Caps for one of the next blocks: twice the base fee, which outlasts six full blocks, and the tip.
    pub fn asked(&self) -> Fees {
        Fees {
            max_fee_per_gas: self.base_fee.saturating_mul(2).saturating_add(self.tip),
            max_priority_fee_per_gas: self.tip,
        }
    }
}

/// A chain behind one or more RPCs. Cheap to clone.
///
/// With several, what decides needs two of them to say the same: what is read at a block named by its
/// hash, which block is final, and which transaction is [`included`](Self::included). With one of two
/// down, nothing becomes final. What is read of the newest block is for showing and sending, and is the
/// most common answer of those that answer.
#[derive(Debug, Clone)]
pub struct Chain {
    nodes: Vec<Arc<Node>>,
    hosts: Arc<str>,
    finality: Finality,
    chain_id: Option<u64>,
    /// The highest block that was seen to be final.
    finalized: Arc<Mutex<Option<Block>>>,
    /// How many RPCs agreed on that last.
    agreeing: Arc<AtomicUsize>,
}

impl Chain {
    /// Whichever chain the JSON-RPC at this address is of, final by the `finalized` tag. Nothing is sent
    /// yet.
    ///
    /// # Errors
    /// When the address is none of http or https.
    pub fn new(url: &SecretString) -> Result<Self, ChainError> {
        Self::open(std::slice::from_ref(url), None, Finality::Tag)
    }

    /// A chain at the addresses of its RPCs; one that is of another chain is not believed. Nothing is sent
    /// yet.
    ///
    /// # Errors
    /// When there is no address, or one is none of http or https.
    pub fn of(profile: &Profile, urls: &[SecretString]) -> Result<Self, ChainError> {
        Self::open(urls, Some(profile.chain_id), profile.finality)
    }

    fn open(
        urls: &[SecretString],
        chain_id: Option<u64>,
        finality: Finality,
    ) -> Result<Self, ChainError> {
        let open = |url| Node::new(url, chain_id).map(Arc::new);
        let nodes = urls.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(ChainError::Address);
        }
        let hosts: Vec<&str> = nodes.iter().map(|node| node.host()).collect();
        Ok(Self {
            hosts: hosts.join(", ").into(),
            nodes,
            finality,
            chain_id,
            finalized: Arc::default(),
            agreeing: Arc::default(),
        })
    }

    /// The hosts of the RPCs: the only part of their addresses that may be shown.
    pub fn host(&self) -> &str {
        &self.hosts
    }

    /// Which chain it is (EIP-155).
    ///
    /// # Errors
    /// [`ChainError`], as of every call below.
    pub async fn chain_id(&self) -> Result<u64, ChainError> {
        self.read("eth_chainId", At::Latest, |node| async move {
            node.chain_id().await
        })
        .await
    }

    /// keccak-256 of the code of a contract; none where there is no code.
    pub async fn code_hash(&self, account: Account, at: At) -> Result<Option<Hash>, ChainError> {
        self.read("eth_getCode", at, move |node| async move {
            node.code_hash(account, at).await
        })
        .await
    }

    /// The newest block that every RPC that counts has: of two the lower.
    pub async fn latest(&self) -> Result<Block, ChainError> {
        if let [only] = self.nodes.as_slice() {
            return only.latest().await;
        }
        let heads = self
            .ask(self.current(), |node| async move { node.latest().await })
            .await;
        let numbers: Vec<u64> = heads.given.iter().map(|(_, block)| block.number).collect();
        let Some(number) = reached(&numbers, AGREE.min(numbers.len())) else {
            return Err(heads.disagree("eth_getBlockByNumber", 1));
        };
        let block = self.block_at(number).await?;
        block.ok_or(ChainError::Disagree {
            method: "eth_getBlockByNumber",
            answered: numbers.len(),
            least: 1,
        })
    }

    /// The newest block that cannot be reorganised, as two RPCs say where there are two: of two the
    /// lower. None on a young chain. It never goes back.
    pub async fn finalized(&self) -> Result<Option<Block>, ChainError> {
        let finality = self.finality;
        let marks = self
            .ask(self.awake(), move |node| async move {
                node.mark(finality).await
            })
            .await;
        self.look_who_is_behind(&marks);
        let heights: Vec<Option<u64>> = marks.given.iter().map(|(_, it)| it.finalized).collect();
        let Some(height) = reached(&heights, self.least()) else {
            self.report(heights.len(), None);
            return Err(marks.disagree("eth_getBlockByNumber", self.least()));
        };
        let Some(number) = height else {
            return Ok(None);
        };
        let blocks = self
            .ask(self.awake(), move |node| async move {
                node.block_at(number).await
            })
            .await;
        let agreeing = blocks.common();
        let block = blocks.agreed("eth_getBlockByNumber", self.least());
        self.report(agreeing, block.as_ref().ok().copied().flatten());
        let block = block?;
        let mut highest = self
            .finalized
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if block.is_some_and(|block| highest.is_none_or(|highest| block.number >= highest.number)) {
            *highest = block;
        }
        Ok(*highest)
    }

    /// The block with this hash, on the chain or not; none where no RPC knows it, or they do not agree.
    pub async fn block(&self, hash: Hash) -> Result<Option<Block>, ChainError> {
        self.known("eth_getBlockByHash", move |node| async move {
            node.block(hash).await
        })
        .await
    }

    /// The block of the chain at this height; none where the chain is not that high, or the RPCs do not
    /// agree.
    pub async fn block_at(&self, number: u64) -> Result<Option<Block>, ChainError> {
        self.known("eth_getBlockByNumber", move |node| async move {
            node.block_at(number).await
        })
        .await
    }

    /// The number of transactions an account has sent: its next nonce.
    pub async fn nonce(&self, account: Account, at: At) -> Result<u64, ChainError> {
        self.read("eth_getTransactionCount", at, move |node| async move {
            node.nonce(account, at).await
        })
        .await
    }

    /// The receipt of a transaction. None means that no RPC knows of one now, or that they do not agree:
    /// the transaction may be waiting, dropped, mined a moment ago or not yet indexed.
    pub async fn receipt(&self, tx: Hash) -> Result<Option<TxReceipt>, ChainError> {
        self.known("eth_getTransactionReceipt", move |node| async move {
            node.receipt(tx).await
        })
        .await
    }

    /// The bytes of a signed transaction (EIP-2718); none where no RPC knows it.
    pub async fn raw_transaction(&self, tx: Hash) -> Result<Option<Vec<u8>>, ChainError> {
        self.known("eth_getRawTransactionByHash", move |node| async move {
            node.raw_transaction(tx).await
        })
        .await
    }

    /// The receipt of a transaction and its block, where two RPCs say, if there are two, that the block is
    /// the chain's at its height: what decides. None where they say that there is none now.
    pub async fn included(&self, tx: Hash) -> Result<Option<(TxReceipt, Block)>, ChainError> {
        let least = self.least();
        self.ask_until_settled(self.awake(), least, move |node| async move {
            node.included(tx).await
        })
        .await
        .agreed("eth_getTransactionReceipt", least)
    }

    /// Whether every RPC that answers has this transaction, in a block or waiting for one.
    pub async fn knows(&self, tx: Hash) -> Result<bool, ChainError> {
        let known = self
            .ask(
                self.awake(),
                move |node| async move { node.knows(tx).await },
            )
            .await;
        if known.given.is_empty() {
            return Err(known.disagree("eth_getTransactionByHash", 1));
        }
        Ok(known.given.iter().all(|(_, known)| *known))
    }

    /// What gas costs now, and what it did of late. Of what several RPCs say the middle, of two the lower.
    pub async fn gas_price(&self) -> Result<GasPrice, ChainError> {
        let prices = self
            .ask(self.current(), |node| async move { node.gas_price().await })
            .await;
        let middle = |of: fn(&GasPrice) -> u128| {
            let said: Vec<u128> = prices.given.iter().map(|(_, price)| of(price)).collect();
            lower_middle(&said)
        };
        let price = (
            middle(|it| it.base_fee),
            middle(|it| it.usual_base_fee),
            middle(|it| it.tip),
        );
        match price {
            (Some(base_fee), Some(usual_base_fee), Some(tip)) => Ok(GasPrice {
                base_fee,
                usual_base_fee,
                tip,
            }),
            _ => Err(prices.disagree("eth_feeHistory", 1)),
        }
    }

    /// What an account has, wei.
    pub async fn balance(&self, account: Account, at: At) -> Result<u128, ChainError> {
        self.read("eth_getBalance", at, move |node| async move {
            node.balance(account, at).await
        })
        .await
    }

    /// The gas that a transaction would need now. Of several estimates the middle one, of two the
    /// higher: what is not used is not paid.
    pub async fn estimate_gas(
        &self,
        from: Account,
        to: Option<Account>,
        input: &[u8],
    ) -> Result<u64, ChainError> {
        let input: Arc<[u8]> = input.into();
        let gas = self
            .ask(self.current(), |node| {
                let input = input.clone();
                async move { node.estimate_gas(from, to, &input).await }
            })
            .await;
        upper_middle(&gas.values()).ok_or_else(|| gas.disagree("eth_estimateGas", 1))
    }

    /// Hands a signed transaction to every RPC; one that takes it is enough. An error says nothing of
    /// whether it arrived.
    pub async fn send_raw(&self, raw: &[u8]) -> Result<(), ChainError> {
        let raw: Arc<[u8]> = raw.into();
        let send = |node: Arc<Node>| {
            let raw = raw.clone();
            async move { node.send_raw(&raw).await }
        };
        let taken = ask(&self.nodes, send, |taken, _| !taken.is_empty()).await;
        match taken.given.is_empty() {
            true => Err(taken.disagree("eth_sendRawTransaction", 1)),
            false => Ok(()),
        }
    }
}
