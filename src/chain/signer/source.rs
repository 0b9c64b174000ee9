//! Opens a key where the configuration says that it is.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use secrecy::SecretString;

use super::{KeyError, Signer, keystore};
use crate::chain::parse_account;
use crate::config::KeySource;

impl Signer {
    /// The signer whose key is there. A keystore is decrypted, which takes about a second; an outside
    /// signer is not asked yet.
    ///
    /// # Errors
    /// [`KeyError`]; nothing of a key or a password is in it.
    pub fn open(source: &KeySource) -> Result<Self, KeyError> {
        let KeySource {
            key,
            env,
            file,
            signer,
            account,
            ..
        } = source;
        match (key, env, file, signer, account) {
            (Some(key), None, None, None, None) => Self::parse(key),
            (None, Some(name), None, None, None) => Self::parse(&variable(name)?),
            (None, None, Some(file), None, None) => open_file(source, file),
            (None, None, None, Some(url), Some(account)) => {
                let account = parse_account(account).map_err(KeyError::Account)?;
                Self::outside(url, account)
            }
            _ => Err(KeyError::Source),
        }
    }
}

fn open_file(source: &KeySource, file: &Path) -> Result<Signer, KeyError> {
    let Content { text, is_open } = read(file)?;
    if !keystore::is_keystore(&text) {
        return closed(file, is_open).and_then(|()| Signer::parse(&text.into()));
    }
    let password = password(source)?;
    let password = password.ok_or_else(|| KeyError::NoPassword(file.to_owned()))?;
    keystore::open(file, &text, &password).map(Signer::here)
}

fn password(source: &KeySource) -> Result<Option<SecretString>, KeyError> {
    match (&source.password_file, &source.password_env) {
        (Some(file), _) => {
            let Content { text, is_open } = read(file)?;
            closed(file, is_open)?;
            // the end of the line is the editor's, everything before it the password's
            Ok(Some(text.trim_end_matches(['\r', '\n']).into()))
        }
        (None, Some(name)) => Ok(variable(name).ok()),
        (None, None) => Ok(None),
    }
}

/// What a file holds, and whether everybody on the machine may read it.
struct Content {
    text: String,
    is_open: bool,
}

fn read(path: &Path) -> Result<Content, KeyError> {
    let read = || {
        let mut file = File::open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let is_open = file.metadata()?.mode() & 0o004 != 0;
        Ok(Content { text, is_open })
    };
    read().map_err(|source| KeyError::File {
        file: path.to_owned(),
        source,
    })
}

fn closed(file: &Path, is_open: bool) -> Result<(), KeyError> {
    if is_open {
        return Err(KeyError::Open(file.to_owned()));
    }
    Ok(())
}

fn variable(name: &str) -> Result<SecretString, KeyError> {
    std::env::var(name)
        .map(SecretString::from)
        .map_err(|_| KeyError::Unset(name.to_owned()))
}
