//! `counterfoil key create`, `key list` and `key revoke`

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use sqlx::PgConnection;

use crate::clock::{Clock, Entropy, rfc3339_ms};
use crate::config::DatabaseArgs;
use crate::database;
use crate::http::auth::Role;
use crate::http::keys::{self, NewKey};
use crate::ids::{KeyId, MerchantId};
use crate::limits;

/// Makes API keys, lists and revokes them
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes a key and prints it, this once
    ///
    /// The key alone goes to standard output, so that it can go straight into a file or a secret store.
    ///
    /// Example: counterfoil key create --merchant mer_… --role pos --label till-2 --expires-in 90d > key
    Create(NewKeyArgs),
    /// Lists the keys: id, merchant, role, state, label
    List {
        /// Of this merchant alone
        #[arg(long)]
        merchant: Option<MerchantId>,
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Revokes a key; running servers follow within five seconds
    Revoke {
        /// The key's id, key_…
        key: KeyId,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

#[derive(Debug, Args)]
struct NewKeyArgs {
    /// Whose key it is
    #[arg(long)]
    merchant: MerchantId,
    /// pos records, and reads what it names; auditor reads; admin does all of its merchant
    #[arg(long, value_parser = role)]
    role: Role,
    /// What people call it
    #[arg(long, default_value = "")]
    label: String,
    /// When it stops working, e.g. 90d; never unless given
    #[arg(long, value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
    #[command(flatten)]
    database: DatabaseArgs,
}

fn role(name: &str) -> Result<Role, String> {
    Role::of_key(name).ok_or_else(|| "a role is pos, auditor or admin".to_owned())
}

pub(super) async fn run(args: KeyArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Create(new) => create(&new).await?,
        Action::List { merchant, database } => {
            let mut db = database::connect(&database.database_url).await?;
            list(&mut db, merchant).await?;
        }
        Action::Revoke { key, database } => {
            let mut db = database::connect(&database.database_url).await?;
            revoke(&mut db, key).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(new: &NewKeyArgs) -> anyhow::Result<()> {
    let clock = Clock::system();
    let expires_at = match new.expires_in {
        Some(time) => Some(
            clock
                .now()
                .checked_add(time.try_into()?)
                .context("--expires-in is too far ahead")?,
        ),
        None => None,
    };
    let mut db = database::connect(&new.database.database_url).await?;
    let key = NewKey {
        merchant: new.merchant,
        role: new.role,
        label: &new.label,
        expires_at,
    };
    let made = keys::create(&mut db, &clock, &Entropy::system(), &key).await?;
    let (id, secret) =
        made.context("there is no such merchant; counterfoil merchant list names them")?;
    writeln!(std::io::stdout(), "{}", secret.expose_secret())?;
    eprintln!("{id}: this is the only time the key is shown");
    Ok(())
}

async fn list(db: &mut PgConnection, merchant: Option<MerchantId>) -> anyhow::Result<()> {
    let keys = sqlx::query!(
        "select merchant_id, key_id, role, label, expires_at, revoked_at from api_key
         where $1::uuid is null or merchant_id = $1 order by merchant_id, key_id",
        merchant.map(|merchant| merchant.0),
    )
    .fetch_all(db)
    .await?;
    let mut out = std::io::stdout().lock();
    for key in keys {
        let state = match (key.revoked_at, key.expires_at) {
            (Some(at), _) => format!("revoked {}", rfc3339_ms(at)),
            (None, Some(at)) => format!("until {}", rfc3339_ms(at)),
            (None, None) => "for ever".to_owned(),
        };
        writeln!(
            out,
            "{}  {}  {}  {state}  {}",
            KeyId(key.key_id),
            MerchantId(key.merchant_id),
            key.role,
            key.label
        )?;
    }
    Ok(())
}

async fn revoke(db: &mut PgConnection, key: KeyId) -> anyhow::Result<()> {
    let revoked = sqlx::query!(
        "update api_key set revoked_at = coalesce(revoked_at, $2) where key_id = $1",
        key.0,
        Clock::system().now(),
    )
    .execute(db)
    .await?;
    if revoked.rows_affected() == 0 {
        bail!("there is no key {key}; counterfoil key list names them");
    }
    eprintln!(
        "revoked; servers stop taking it within {} seconds",
        limits::KEY_CACHE_TIME.as_secs() + 1
    );
    Ok(())
}
