//! What accounts need of the configuration: keys, mail, and where wallets sign in.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;

use crate::accounts::Accounts;
use crate::accounts::mail::Mailer;
use crate::accounts::wallet::checks::Wallets;
use crate::chain::{Chain, Profile};
use crate::config::{AccountArgs, Config};
use crate::http::Site;
use crate::http::tokens::{SigningKeys, Tokens};

/// Accounts, whose tokens are signed with the configured keys.
pub(super) fn accounts(config: &Config, pool: &PgPool, site: &Site) -> anyhow::Result<Accounts> {
    let keys = config.accounts.token_keys.as_deref().map(token_keys);
    let tokens = Tokens::new(
        pool.clone(),
        site.clock.clone(),
        site.public_url.clone(),
        keys.transpose()?,
    );
    let sends_mail = mailer(config)?.is_some();
    let wallets = wallets(config, site)?;
    Ok(Accounts::new(tokens, wallets, sends_mail, &site.entropy))
}

fn token_keys(file: &Path) -> anyhow::Result<SigningKeys> {
    let mode = std::fs::metadata(file).map(|it| it.permissions().mode());
    anyhow::ensure!(
        mode.is_ok_and(|mode| mode & 0o007 == 0),
        "the token keys in {} cannot be read, or everybody may read them: chmod o=",
        file.display()
    );
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the token keys in {} cannot be read", file.display()))?;
    SigningKeys::parse(&text.into())
        .with_context(|| format!("the token keys in {} are not usable", file.display()))
}

/// What sends mails to accounts, where that is configured.
pub(super) fn mailer(config: &Config) -> anyhow::Result<Option<Mailer>> {
    let AccountArgs {
        smtp_url,
        mail_dir,
        mail_from,
        password_page,
        ..
    } = &config.accounts;
    let Some(from) = mail_from else {
        return Ok(None);
    };
    let page = password_page.clone();
    Ok(match (smtp_url, mail_dir) {
        (Some(url), _) => Some(Mailer::smtp(url, from, page)?),
        (None, Some(directory)) => Some(Mailer::directory(directory.clone(), from, page)?),
        (None, None) => None,
    })
}

fn wallets(config: &Config, site: &Site) -> anyhow::Result<Wallets> {
    let mut domains: Vec<String> = Vec::new();
    for domain in &config.accounts.wallet_domains {
        domains.push(domain.trim().to_owned());
    }
    if domains.is_empty() {
        let origins = config.http.cors_origins.iter().map(|origin| origin.trim());
        let all = std::iter::once(&*site.public_url).chain(origins);
        domains.extend(all.filter_map(host_of));
    }
    let mut chains = BTreeMap::new();
    for one in &config.accounts.wallet_rpc {
        let (id, url) =
            rpc(one).context("--wallet-rpc is a list of CHAIN=URL, such as 1=https://…")?;
        let chain = Chain::of(&Profile::of(id), &[url])
            .with_context(|| format!("--wallet-rpc has no address for chain {id}"))?;
        let is_first = chains.insert(id, chain).is_none();
        anyhow::ensure!(is_first, "--wallet-rpc names chain {id} twice");
    }
    Ok(Wallets::new(domains, chains))
}

/// Host and port of an address, as they stand in it.
fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    Some(host.to_ascii_lowercase())
}

fn rpc(text: &SecretString) -> Option<(u64, SecretString)> {
    let (id, url) = text.expose_secret().split_once('=')?;
    Some((id.trim().parse().ok()?, url.trim().into()))
}
