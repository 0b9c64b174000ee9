//! The local payment provider of an installation: its listener and secrets first, since the engine is told
//! of them, and the provider itself once the engine listens, since it is told of that.

use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::SecretString;
use tokio::net::TcpListener;

use super::loopback;
use crate::clock::{Clock, Entropy};
use crate::config::PaymentArgs;
use crate::dev::payments::{self, LocalProvider, Options, Secrets, Webhook};

/// The provider's directory in the data directory.
const DIRECTORY: &str = "payments";
/// The file that remembers its port, which stands in the addresses of its pages.
const PORT_FILE: &str = "port";
/// Where the engine takes the provider's events.
const WEBHOOK_PATH: &str = "/v1/payments/webhook";

/// A provider that listens and does not answer yet.
pub(super) struct Opened {
    listener: TcpListener,
    directory: PathBuf,
    secrets: Secrets,
    url: String,
}

impl Opened {
    /// The one of the last start, with the same secrets and if possible the same port.
    ///
    /// # Errors
    /// A directory that cannot be used, or no free port.
    pub(super) async fn new(data_dir: &Path) -> anyhow::Result<Self> {
        let directory = data_dir.join(DIRECTORY);
        let secrets = Secrets::open(&directory)?;
        let file = directory.join(PORT_FILE);
        let remembered = std::fs::read_to_string(&file);
        let port = remembered.ok().and_then(|text| text.trim().parse().ok());
        let listener = match TcpListener::bind(loopback(port.unwrap_or(0))).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(loopback(0))
                .await
                .context("the payment provider has no port to listen on")?,
        };
        let address = listener.local_addr()?;
        std::fs::write(&file, address.port().to_string())
            .with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(Self {
            listener,
            directory,
            secrets,
            url: format!("http://{address}"),
        })
    }

    /// Its address.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Its secret key.
    pub(super) fn key(&self) -> &SecretString {
        &self.secrets.key
    }

    /// What the engine is to know of it.
    pub(super) fn args(&self) -> PaymentArgs {
        PaymentArgs {
            payment_url: self.url.clone(),
            payment_key: Some(self.secrets.key.clone()),
            payment_key_file: None,
            payment_webhook_secret: vec![self.secrets.webhook.clone()],
        }
    }

    /// Starts it, for the engine at `api_url`.
    ///
    /// # Errors
    /// When its file cannot be used.
    pub(super) async fn start(self, api_url: &str) -> anyhow::Result<LocalProvider> {
        let options = Options {
            directory: self.directory,
            key: self.secrets.key,
            webhook: Some(Webhook {
                url: format!("{api_url}{WEBHOOK_PATH}"),
                secrets: vec![self.secrets.webhook],
            }),
            clock: Clock::system(),
            entropy: Entropy::system(),
        };
        Ok(payments::start(self.listener, options).await?)
    }
}
