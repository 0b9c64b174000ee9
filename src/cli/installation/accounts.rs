//! What accounts need: the keys that their access tokens are signed with, made once, and a directory that
//! mails are written into.

use std::path::Path;

use crate::cli::token_key;
use crate::config::AccountArgs;

/// The file of the token keys in the data directory.
const TOKEN_KEYS: &str = "token-keys";
/// The directory of mails in it.
const MAIL: &str = "mail";
/// Whom mails come from.
const MAIL_FROM: &str = "The Lantern Room <no-reply@shop.example>";

/// The accounts of an installation on this machine. Wallets may be contracts of its local chain.
pub(super) fn args(data_dir: &Path, chain_id: u64, rpc_url: &str) -> anyhow::Result<AccountArgs> {
    let token_keys = data_dir.join(TOKEN_KEYS);
    token_key::keep_or_make(&token_keys)?;
    Ok(AccountArgs {
        token_keys: Some(token_keys),
        mail_dir: Some(data_dir.join(MAIL)),
        mail_from: Some(MAIL_FROM.to_owned()),
        wallet_rpc: vec![format!("{chain_id}={rpc_url}").into()],
        ..AccountArgs::default()
    })
}
