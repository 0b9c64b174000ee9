//! The test merchant and its key: made once, and kept in the data directory.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, anyhow};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;

use super::ready::write_secret;
use crate::cli::merchant;
use crate::clock::{Clock, Entropy};
use crate::database::{self, DatabaseRole};
use crate::http::auth::Role;
use crate::http::keys::{self, Keys, Mode, NewKey};
use crate::ids::MerchantId;

/// The file in the data directory that holds the merchant and its key.
const FILE: &str = "shop.json";
/// The merchant's legal name.
const NAME: &str = "The Lantern Room (test)";

/// A merchant and a key that may do all of it.
pub(in crate::cli) struct Shop {
    /// The merchant.
    pub(in crate::cli) merchant: MerchantId,
    /// A key with the role admin.
    pub(in crate::cli) key: SecretString,
}

#[derive(Deserialize)]
struct Kept {
    merchant_id: String,
    api_key: String,
}

/// The shop of the last start while its key is good, else a new one.
pub(super) async fn open(
    data_dir: &Path,
    db: &mut PgConnection,
    database: &SecretString,
) -> anyhow::Result<Shop> {
    let file = data_dir.join(FILE);
    if let Some(shop) = kept(&file)?
        && is_good(&shop, database).await?
    {
        return Ok(shop);
    }
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let merchant = merchant::create(db, &clock, &entropy, NAME, Mode::Test).await?;
    let new = NewKey {
        merchant,
        role: Role::Admin,
        label: "made by counterfoil dev",
        expires_at: None,
    };
    let made = keys::create(db, &clock, &entropy, &new).await?;
    let (_, key) = made.context("the merchant is gone as soon as it was made")?;
    let content = json!({ "merchant_id": merchant, "api_key": key.expose_secret() });
    write_secret(&file, &format!("{content:#}\n"))?;
    Ok(Shop { merchant, key })
}

fn kept(file: &Path) -> anyhow::Result<Option<Shop>> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("{} cannot be read", file.display()))?,
    };
    let damaged = || {
        format!(
            "{} is damaged; remove it to have another key made",
            file.display()
        )
    };
    let kept: Kept = serde_json::from_str(&text).with_context(damaged)?;
    Ok(Some(Shop {
        merchant: kept.merchant_id.parse().with_context(damaged)?,
        key: kept.api_key.into(),
    }))
}

/// Whether the key is that merchant's and may do all of it; not after the database was begun anew.
async fn is_good(shop: &Shop, database: &SecretString) -> anyhow::Result<bool> {
    let pool = database::pool(database, DatabaseRole::Api, 1)?;
    let keys = Keys::new(pool, Clock::system());
    let caller = keys.check(&shop.key, || Ok(())).await;
    let caller = caller.map_err(|problem| anyhow!(problem.code.title))?;
    Ok(caller.is_some_and(|caller| caller.merchant == shop.merchant && caller.role == Role::Admin))
}
