//! Who signs for an account: a private key that is here, or a signer outside that has it.
//!
//! - `transaction`: what is signed, and what comes of it (EIP-1559)
//! - `source`: opens a key where the configuration says that it is
//! - `keystore`: encrypted key files
//! - `outside`: signers behind JSON-RPC, which are not believed

mod keystore;
mod outside;
mod source;
mod transaction;

use std::path::PathBuf;
use std::sync::Arc;

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use secrecy::{ExposeSecret, SecretString};

use super::{Account, AccountError, is_local};

pub use outside::OutsideError;
use outside::OutsideSigner;
pub use transaction::{Signed, Transaction};

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

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not one.
    #[error("a private key is 32 bytes as hex, of a number that secp256k1 takes")]
    Malformed,
    /// The environment has no such variable.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// It is said in two ways at once, or in half a way.
    #[error(
        "say once where the key is: itself, an environment variable, a file, or an outside signer with \
         its account"
    )]
    Source,
    /// The outside signer's account is none.
    #[error("the outside signer's account is none")]
    Account(#[source] AccountError),
    /// The file cannot be read.
    #[error("the file {} cannot be read", .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Everybody on the machine may read the file.
    #[error("everybody may read {}: chmod o= it, and think of the key as known", .0.display())]
    Open(PathBuf),
    /// A keystore without its password.
    #[error("{} is an encrypted keystore, and its password is not configured", .0.display())]
    NoPassword(PathBuf),
    /// A keystore that is damaged, or of another password.
    #[error("{} is a keystore that does not open: {reason}", .file.display())]
    Keystore {
        /// Which.
        file: PathBuf,
        /// Why, without anything of its content.
        reason: &'static str,
    },
    /// The signer that is asked has another answer than a signature, or none.
    #[error(transparent)]
    Outside(#[from] OutsideError),
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

/// Who signs for an account. Cheap to clone; nothing of a key is ever shown.
#[derive(Clone)]
pub struct Signer(Held);

#[derive(Clone)]
enum Held {
    Here(PrivateKeySigner),
    Outside(Arc<OutsideSigner>),
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signer")
            .field(&Address::from(self.account()))
            .finish()
    }
}

impl Signer {
    /// The key that `text` is: 32 bytes as hex, with or without `0x`.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn parse(text: &SecretString) -> Result<Self, KeyError> {
        let key = text.expose_secret().trim().parse();
        key.map(Self::here).map_err(|_| KeyError::Malformed)
    }

    /// An account whose key is elsewhere: with a signer that answers `eth_signTransaction` at this address,
    /// as Web3Signer does. Nothing is asked yet.
    ///
    /// # Errors
    /// When the address is none of http or https.
    pub fn outside(url: &SecretString, account: Account) -> Result<Self, KeyError> {
        let signer = OutsideSigner::new(url, account)?;
        Ok(Self(Held::Outside(Arc::new(signer))))
    }

    fn here(key: PrivateKeySigner) -> Self {
        Self(Held::Here(key))
    }

    /// The well-known development account with this index, 0 to 9; none above.
    pub fn development(index: usize) -> Option<Self> {
        DEVELOPMENT_KEYS
            .get(index)
            .and_then(|key| key.parse().ok())
            .map(Self::here)
    }

    /// A key of its own for each seed, for accounts that live as long as a test.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for the few numbers that are no key.
    pub fn from_bytes(key: &[u8; 32]) -> Result<Self, KeyError> {
        PrivateKeySigner::from_bytes(&B256::from(*key))
            .map(Self::here)
            .map_err(|_| KeyError::Malformed)
    }

    /// The account that it signs for.
    pub fn account(&self) -> Account {
        match &self.0 {
            Held::Here(key) => key.address().into(),
            Held::Outside(signer) => signer.account(),
        }
    }

    /// Refuses a well-known key on any chain but a local one.
    ///
    /// # Errors
    /// [`KeyError::WellKnown`].
    pub fn check_for(&self, chain_id: u64) -> Result<(), KeyError> {
        check_account(self.account(), chain_id)
    }

    /// Signs. Where the key is with an outside signer, what it gives is read again, and is what was asked
    /// for, signed by the configured account.
    ///
    /// # Errors
    /// [`KeyError::Outside`] of an outside signer; a key that is here always signs.
    pub async fn sign(&self, transaction: &Transaction) -> Result<Signed, KeyError> {
        match &self.0 {
            Held::Here(key) => transaction.sign(key),
            Held::Outside(signer) => Ok(signer.sign(transaction).await?),
        }
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
