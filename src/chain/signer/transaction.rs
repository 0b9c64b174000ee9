//! Transactions before and after they are signed (EIP-1559).

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::{Decodable2718, Encodable2718};
use alloy::primitives::{Address, TxKind};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use counterfoil_proofs::Hash;

use super::KeyError;
use crate::chain::{Account, Fees};

/// A transaction without value, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The chain it is for (EIP-155): no other takes it.
    pub chain_id: u64,
    /// Its number among the account's.
    pub nonce: u64,
    /// The contract; none creates one.
    pub to: Option<Account>,
    /// The call, or the code that creates.
    pub input: Vec<u8>,
    /// Units of gas it may use.
    pub gas_limit: u64,
    /// What it pays a unit of gas.
    pub fees: Fees,
}

impl Transaction {
    /// Signs with a key that is here.
    pub(super) fn sign(&self, key: &PrivateKeySigner) -> Result<Signed, KeyError> {
        let tx = TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.fees.max_fee_per_gas,
            max_priority_fee_per_gas: self.fees.max_priority_fee_per_gas,
            to: self
                .to
                .map_or(TxKind::Create, |to| TxKind::Call(Address::from(to))),
            input: self.input.clone().into(),
            ..TxEip1559::default()
        };
        let signature = key
            .sign_hash_sync(&tx.signature_hash())
            .map_err(|_| KeyError::Malformed)?;
        let envelope = TxEnvelope::from(tx.into_signed(signature));
        Ok(Signed {
            hash: envelope.tx_hash().0,
            raw: envelope.encoded_2718(),
        })
    }

    /// The first field in which another transaction is not this one.
    pub(super) fn differs_in(&self, other: &Self) -> Option<&'static str> {
        let same = [
            ("chain id", self.chain_id == other.chain_id),
            ("nonce", self.nonce == other.nonce),
            ("to", self.to == other.to),
            ("input", self.input == other.input),
            ("gas limit", self.gas_limit == other.gas_limit),
            (
                "max fee per gas",
                self.fees.max_fee_per_gas == other.fees.max_fee_per_gas,
            ),
            (
                "max priority fee per gas",
                self.fees.max_priority_fee_per_gas == other.fees.max_priority_fee_per_gas,
            ),
        ];
        same.into_iter()
            .find_map(|(field, same)| (!same).then_some(field))
    }
}

/// A signed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Its hash, by which the chain knows it.
    pub hash: Hash,
    /// The bytes to send (EIP-2718).
    pub raw: Vec<u8>,
}

impl Signed {
    /// What the bytes of a signed transaction say, and whose signature it is. None for bytes that are not
    /// one that [`Signer::sign`](super::Signer::sign) makes.
    pub fn read(raw: &[u8]) -> Option<(Transaction, Account)> {
        decode(raw).ok()
    }
}

/// As [`Signed::read`], or what it is about the bytes that we never sign.
pub(super) fn decode(raw: &[u8]) -> Result<(Transaction, Account), &'static str> {
    let mut rest = raw;
    let envelope = TxEnvelope::decode_2718(&mut rest).map_err(|_| "encoding")?;
    let TxEnvelope::Eip1559(signed) = envelope else {
        return Err("type");
    };
    if !rest.is_empty() {
        return Err("length");
    }
    let hash = signed.signature_hash();
    let signature = signed.signature();
    // the other of the two signatures that there are for each: no chain takes it (EIP-2)
    if signature.normalize_s().is_some() {
        return Err("signature");
    }
    let account = signature.recover_address_from_prehash(&hash);
    let account = account.map_err(|_| "signature")?;
    let tx = signed.strip_signature();
    if !tx.value.is_zero() {
        return Err("value");
    }
    if !tx.access_list.is_empty() {
        return Err("access list");
    }
    let transaction = Transaction {
        chain_id: tx.chain_id,
        nonce: tx.nonce,
        to: match tx.to {
            TxKind::Call(to) => Some(to.into()),
            TxKind::Create => None,
        },
        input: tx.input.to_vec(),
        gas_limit: tx.gas_limit,
        fees: Fees {
            max_fee_per_gas: tx.max_fee_per_gas,
            max_priority_fee_per_gas: tx.max_priority_fee_per_gas,
        },
    };
    Ok((transaction, account.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Signer;

    #[tokio::test]
    async fn what_is_signed_can_be_read_again() {
        let signer = Signer::from_bytes(&[7; 32]).unwrap();
        let transaction = Transaction {
            chain_id: 31337,
            nonce: 5,
            to: Some([3; 20]),
            input: vec![1, 2, 3],
            gas_limit: 60_000,
            fees: Fees {
                max_fee_per_gas: 9,
                max_priority_fee_per_gas: 1,
            },
        };
        let signed = signer.sign(&transaction).await.unwrap();
        let read = Signed::read(&signed.raw);
        assert_eq!(read, Some((transaction.clone(), signer.account())));
        for at in 0..signed.raw.len() {
            let mut other = signed.raw.clone();
            other[at] ^= 1;
            assert_ne!(Signed::read(&other), read, "byte {at}");
        }
        let longer = [signed.raw.as_slice(), &[0]].concat();
        assert_eq!(Signed::read(&longer), None);
    }
}
