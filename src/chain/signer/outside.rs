//! A signer behind JSON-RPC (`eth_signTransaction`, as Web3Signer offers it). It has the key, and nothing
//! else of it is believed: what it returns is decoded, hashed and recovered again.

use alloy::primitives::{Address, Bytes, U64, U128};
use counterfoil_proofs::{hex, keccak256};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::transaction::{Signed, Transaction, decode};
use crate::chain::rpc::Rpc;
use crate::chain::{Account, ChainError};

const METHOD: &str = "eth_signTransaction";

/// Why an outside signer's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// It did not answer, or refused.
    #[error("the outside signer cannot be asked")]
    Rpc(#[from] ChainError),
    /// It signed something else.
    #[error(
        "the outside signer at {host} signed another transaction than was asked: its {field} differs"
    )]
    Differs {
        /// Where it is.
        host: String,
        /// The first field that is not as asked.
        field: &'static str,
    },
    /// It signed with another key.
    #[error("the outside signer at {host} signed as {}, not as {}", hex::encode(.found), hex::encode(.account))]
    OtherKey {
        /// Where it is.
        host: String,
        /// Whose signature it is.
        found: Account,
        /// Whose it was to be.
        account: Account,
    },
}

/// A signer, and the account that it has the key of.
pub(super) struct OutsideSigner {
    rpc: Rpc,
    account: Account,
}

/// The bytes alone, as Web3Signer gives them, or beside the transaction, as nodes do.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Raw(Bytes),
    Beside { raw: Bytes },
}

impl OutsideSigner {
    pub(super) fn new(url: &SecretString, account: Account) -> Result<Self, OutsideError> {
        let rpc = Rpc::new(url)?;
        Ok(Self { rpc, account })
    }

    pub(super) fn account(&self) -> Account {
        self.account
    }

    pub(super) async fn sign(&self, asked: &Transaction) -> Result<Signed, OutsideError> {
        let mut params = json!({
            "from": Address::from(self.account),
            "chainId": U64::from(asked.chain_id),
            "nonce": U64::from(asked.nonce),
            "gas": U64::from(asked.gas_limit),
            "maxFeePerGas": U128::from(asked.fees.max_fee_per_gas),
            "maxPriorityFeePerGas": U128::from(asked.fees.max_priority_fee_per_gas),
            "value": "0x0",
            "data": hex::encode(&asked.input),
        });
        if let Some(to) = asked.to {
            params["to"] = json!(Address::from(to));
        }
        let answer: Answer = self.rpc.call(METHOD, json!([params])).await?;
        let (Answer::Raw(raw) | Answer::Beside { raw }) = answer;
        self.check(asked, &raw)?;
        Ok(Signed {
            hash: keccak256(&raw),
            raw: raw.into(),
        })
    }

    fn check(&self, asked: &Transaction, raw: &[u8]) -> Result<(), OutsideError> {
        let differs = |field| OutsideError::Differs {
            host: self.rpc.host().to_owned(),
            field,
        };
        let (signed, found) = decode(raw).map_err(differs)?;
        if let Some(field) = asked.differs_in(&signed) {
            return Err(differs(field));
        }
        if found != self.account {
            return Err(OutsideError::OtherKey {
                host: self.rpc.host().to_owned(),
                found,
                account: self.account,
            });
        }
        Ok(())
    }
}
