//! A private key, and the transactions that it signs (EIP-1559).

use std::path::Path;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::{Decodable2718, Encodable2718};
use alloy::primitives::{Address, B256, TxKind};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use counterfoil_proofs::Hash;
use secrecy::{ExposeSecret, SecretString};

use super::{Account, Fees, is_local};

/// The accounts that the local development chains give money to. Everybody has their keys.
const DEVELOPMENT_KEYS: [&str; 10] = [
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "0x4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "0xdbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
];

/// Why a text is no private key that may be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not one.
    #[error("a private key is 32 bytes as hex, of a number that secp256k1 takes")]
    Malformed,
    /// The file cannot be read.
    #[error("the file of the private key cannot be read")]
    File(#[source] std::io::Error),
    /// Everybody has it.
    #[error(
        "the account {account} is a well-known development account: everybody has its key, so it is \
         used on a local chain only, and this is chain {chain_id}"
    )]
    WellKnown {
        /// The key's account.
        account: Address,
        /// The chain it was to be used on.
        chain_id: u64,
    },
}

/// A private key and its account.
#[derive(Clone)]
pub struct Signer(PrivateKeySigner);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signer").field(&self.0.address()).finish()
    }
}

impl Signer {
    /// The key that `text` is: 32 bytes as hex, with or without `0x`.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn parse(text: &SecretString) -> Result<Self, KeyError> {
        text.expose_secret()
            .trim()
            .parse()
            .map(Self)
            .map_err(|_| KeyError::Malformed)
    }

    /// The key that a file holds.
    ///
    /// # Errors
    /// [`KeyError::File`] and [`KeyError::Malformed`].
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(file).map_err(KeyError::File)?;
        Self::parse(&SecretString::from(text))
    }

    /// The well-known development account with this index, 0 to 9; none above.
    pub fn development(index: usize) -> Option<Self> {
        DEVELOPMENT_KEYS
            .get(index)
            .and_then(|key| key.parse().ok())
            .map(Self)
    }

    /// A key of its own for each seed, for accounts that live as long as a test.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for the few numbers that are no key.
    pub fn from_bytes(key: &[u8; 32]) -> Result<Self, KeyError> {
        PrivateKeySigner::from_bytes(&B256::from(*key))
            .map(Self)
            .map_err(|_| KeyError::Malformed)
    }

    /// The key's account.
    pub fn account(&self) -> Account {
        self.0.address().into()
    }

    /// Refuses a well-known key on any chain but a local one.
    ///
    /// # Errors
    /// [`KeyError::WellKnown`].
    pub fn check_for(&self, chain_id: u64) -> Result<(), KeyError> {
        check_account(self.account(), chain_id)
    }

    /// Signs. The key may be elsewhere, so it may take a while.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] if the key cannot sign, which no key that was read does.
    pub async fn sign(&self, transaction: &Transaction) -> Result<Signed, KeyError> {
        let tx = TxEip1559 {
            chain_id: transaction.chain_id,
            nonce: transaction.nonce,
            gas_limit: transaction.gas_limit,
            max_fee_per_gas: transaction.fees.max_fee_per_gas,
            max_priority_fee_per_gas: transaction.fees.max_priority_fee_per_gas,
            to: transaction
                .to
                .map_or(TxKind::Create, |to| TxKind::Call(Address::from(to))),
            input: transaction.input.clone().into(),
            ..TxEip1559::default()
        };
        let signature = self
            .0
            .sign_hash_sync(&tx.signature_hash())
            .map_err(|_| KeyError::Malformed)?;
        let envelope = TxEnvelope::from(tx.into_signed(signature));
        Ok(Signed {
            hash: envelope.tx_hash().0,
            raw: envelope.encoded_2718(),
        })
    }
}

/// Refuses an account whose key everybody has on any chain but a local one.
///
/// # Errors
/// [`KeyError::WellKnown`].
pub fn check_account(account: Account, chain_id: u64) -> Result<(), KeyError> {
    let well_known = DEVELOPMENT_KEYS
        .iter()
        .filter_map(|key| key.parse::<PrivateKeySigner>().ok())
        .any(|known| known.address() == Address::from(account));
    if well_known && !is_local(chain_id) {
        return Err(KeyError::WellKnown {
            account: account.into(),
            chain_id,
        });
    }
    Ok(())
}

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
    /// one that [`Signer::sign`] makes.
    pub fn read(raw: &[u8]) -> Option<(Transaction, Account)> {
        let mut rest = raw;
        let TxEnvelope::Eip1559(signed) = TxEnvelope::decode_2718(&mut rest).ok()? else {
            return None;
        };
        let hash = signed.signature_hash();
        let account = signed
            .signature()
            .recover_address_from_prehash(&hash)
            .ok()?;
        let tx = signed.strip_signature();
        let plain = tx.value.is_zero() && tx.access_list.is_empty() && rest.is_empty();
        plain.then(|| {
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
            (transaction, account.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_known_key_is_refused_where_it_matters() {
        let known = Signer::development(1).unwrap();
        assert!(known.check_for(31337).is_ok());
        for chain_id in [1, 11_155_111] {
            assert!(matches!(
                known.check_for(chain_id),
                Err(KeyError::WellKnown { .. })
            ));
        }
        let own = Signer::from_bytes(&[7; 32]).unwrap();
        assert!(own.check_for(1).is_ok());
        assert!(!format!("{own:?}").contains("0707"));
        assert!(Signer::development(10).is_none());
    }

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

    #[test]
    fn a_key_is_32_bytes_of_hex() {
        for text in [
            "",
            "0x",
            "0x00",
            &"00".repeat(32),
            &"0x11".repeat(33),
            "not hex at all",
        ] {
            assert!(Signer::parse(&SecretString::from(text)).is_err(), "{text}");
        }
        let with_newline = format!("{}\n", DEVELOPMENT_KEYS[0]);
        let signer = Signer::parse(&SecretString::from(with_newline)).unwrap();
        assert_eq!(signer.account()[..2], [0xf3, 0x9f]);
    }
}
