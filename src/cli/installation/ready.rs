//! The ready file: what a program needs to use the installation, written once all of it is up.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::hex;
use secrecy::ExposeSecret;
use serde::{Serialize, Serializer};

use super::payments::Opened;
use super::shop::Shop;
use crate::dev::Services;
use crate::ids::MerchantId;

/// The content of the ready file. It holds secrets.
#[derive(Clone, Serialize)]
pub(in crate::cli) struct Ready {
    /// Address of the HTTP interface.
    pub(in crate::cli) api_url: String,
    /// Where the metrics are; for people, so not in the file.
    #[serde(skip)]
    pub(in crate::cli) metrics_url: String,
    /// The private Postgres, as its superuser.
    pub(in crate::cli) database_url: String,
    /// The private Redis; null where there is none.
    pub(in crate::cli) redis_url: Option<String>,
    /// The chains that are anchored on.
    pub(in crate::cli) chains: Vec<ReadyChain>,
    /// The local payment provider.
    pub(in crate::cli) payment_url: String,
    /// Its secret key, which its controls take too.
    pub(in crate::cli) payment_key: String,
    /// The test merchant.
    pub(in crate::cli) merchant_id: MerchantId,
    /// A key of it with the role admin.
    pub(in crate::cli) api_key: String,
}

/// A chain of the ready file.
#[derive(Clone, Serialize)]
pub(in crate::cli) struct ReadyChain {
    /// For people.
    pub(in crate::cli) name: String,
    /// EIP-155.
    pub(in crate::cli) chain_id: u64,
    /// Its JSON-RPC.
    pub(in crate::cli) rpc_url: String,
    /// The registry on it; in the file its address, since the chain stands beside it.
    #[serde(serialize_with = "address")]
    pub(in crate::cli) registry: Caip10,
}

fn address<S: Serializer>(registry: &Caip10, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(&registry.address))
}

impl Ready {
    /// What is to be told of an installation.
    pub(super) fn new(
        address: SocketAddr,
        metrics: SocketAddr,
        services: &Services,
        registry: Caip10,
        shop: &Shop,
        payments: &Opened,
    ) -> Self {
        Self {
            api_url: format!("http://{address}"),
            metrics_url: format!("http://{metrics}/metrics"),
            database_url: services.database_url().to_owned(),
            redis_url: services.redis_url().map(str::to_owned),
            chains: vec![ReadyChain {
                name: "local".to_owned(),
                chain_id: registry.chain_id,
                rpc_url: services.rpc_url().to_owned(),
                registry,
            }],
            payment_url: payments.url().to_owned(),
            payment_key: payments.key().expose_secret().to_owned(),
            merchant_id: shop.merchant,
            api_key: shop.key.expose_secret().to_owned(),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::cli) fn write(&self, file: &Path) -> anyhow::Result<()> {
        write_secret(file, &format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    /// Takes away the file of an earlier run, which says what is not so any more.
    ///
    /// # Errors
    /// When there is one and it cannot be taken away.
    pub(in crate::cli) fn remove(file: &Path) -> anyhow::Result<()> {
        match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} cannot be removed", file.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Writes a file that only its owner reads. Whoever waits for its name finds it whole.
pub(in crate::cli) fn write_secret(path: &Path, content: &str) -> anyhow::Result<()> {
    let unfinished = path.with_added_extension("unfinished");
    let cannot = || format!("{} cannot be written", path.display());
    Ready::remove(&unfinished)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .with_context(cannot)?;
    file.write_all(content.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(cannot)?;
    fs::rename(&unfinished, path).with_context(cannot)
}
