//! Encrypted key files (Web3 Secret Storage, version 3): what geth, foundry and most wallets write.

use std::path::Path;

use alloy::signers::local::{LocalSignerError, PrivateKeySigner};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::KeyError;

/// The parts whose form the library that decrypts takes for granted.
#[derive(Deserialize)]
struct Keystore {
    version: u8,
    crypto: Crypto,
}

#[derive(Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    kdfparams: KdfParams,
}

#[derive(Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Deserialize)]
struct KdfParams {
    dklen: u8,
}

/// Whether a file's text is a keystore's rather than a bare key.
pub(super) fn is_keystore(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Decrypts a keystore; by its own parameters that takes about a second.
pub(super) fn open(
    file: &Path,
    text: &str,
    password: &SecretString,
) -> Result<PrivateKeySigner, KeyError> {
    let refused = |reason| KeyError::Keystore {
        file: file.to_owned(),
        reason,
    };
    let Ok(Keystore { version, crypto }) = serde_json::from_str(text) else {
        return Err(refused("it has not the form of one"));
    };
    let known = version == 3
        && crypto.cipher == "aes-128-ctr"
        && crypto.cipherparams.iv.len() == 32
        && crypto.kdfparams.dklen == 32;
    if !known {
        return Err(refused("it is not of version 3 with aes-128-ctr"));
    }
    PrivateKeySigner::decrypt_keystore(file, password.expose_secret()).map_err(|error| {
        refused(match error {
            // the one that a person can do something about
            LocalSignerError::EthKeystoreError(error) if error.to_string() == "Mac Mismatch" => {
                "the password is not its own"
            }
            _ => "it is damaged",
        })
    })
}
