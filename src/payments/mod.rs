//! Payments by a provider with Stripe's HTTP interface: what is asked of it, and what it tells us.
//!
//! Nothing here knows an order or a database. The shop decides what an answer means.
//!
//! # Layout
//! - [`Payments`]: the provider and the secrets of its events, from the configuration
//! - [`provider`]: the calls: intents and refunds, made, confirmed, cancelled, read and found again
//! - [`failure`]: why a call has no answer, by what that says about whether it happened
//! - [`object`]: intents, refunds and charges as the provider tells them
//! - [`amount`]: minor units of ISO 4217 as the provider counts them
//! - [`signature`]: `Stripe-Signature`, made and verified
//! - [`event`]: what a verified body says

pub mod amount;
pub mod event;
pub mod failure;
pub mod object;
pub mod provider;
pub mod signature;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use time::OffsetDateTime;

use crate::config::PaymentArgs;
use crate::http::keys::Mode;
use event::{EventError, ProviderEvent};
pub use failure::PaymentError;
pub use provider::Provider;
use provider::{ProviderSettings, SettingsError};
use signature::{SecretsError, SignatureError, WebhookSecrets};

/// The provider and the secrets of its events.
#[derive(Debug, Clone)]
pub struct Payments {
    provider: Provider,
    secrets: WebhookSecrets,
}

/// Why the configuration makes no payments.
#[derive(Debug, thiserror::Error)]
pub enum PaymentsError {
    /// A key alone would take money and never learn of it.
    #[error(
        "payments have a key and no webhook secret: set COUNTERFOIL_PAYMENT_WEBHOOK_SECRET, or nobody would learn that an order was paid"
    )]
    NoWebhookSecret,
    /// A secret alone does nothing.
    #[error("payments have a webhook secret and no key: set COUNTERFOIL_PAYMENT_KEY")]
    NoKey,
    /// The key's file cannot be read.
    #[error("the payment key's file {} cannot be read", .file.display())]
    File {
        /// Which one.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Everybody on the machine may read the key.
    #[error("everybody on this machine may read the payment key's file {}: chmod o= it", .0.display())]
    Open(PathBuf),
    /// The address or the key is none.
    #[error(transparent)]
    Provider(#[from] SettingsError),
    /// A webhook secret is none.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
}

/// A merchant of the other mode than the provider's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the payment provider's key is of mode {}, and the merchant is of mode {}", .provider.as_str(), .merchant.as_str())]
pub struct OtherMode {
    /// The key's.
    pub provider: Mode,
    /// The merchant's.
    pub merchant: Mode,
}

/// Why a delivery is not an event for us.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is not shown to come from the provider.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It comes from the provider and cannot be read.
    #[error(transparent)]
    Event(#[from] EventError),
    /// It is of the provider's other mode: real money where the key is for tests, or the reverse.
    #[error("the event is of mode {}, and the key is not", .0.as_str())]
    Mode(Mode),
}

impl Payments {
    /// What the configuration says; none where it says nothing of payments.
    ///
    /// # Errors
    /// [`PaymentsError`]; nothing of a key or a secret is in it.
    pub fn open(args: &PaymentArgs) -> Result<Option<Self>, PaymentsError> {
        let key = match (&args.payment_key, &args.payment_key_file) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(file)) => Some(read_key(file)?),
            (None, None) => None,
        };
        match (key, args.payment_webhook_secret.is_empty()) {
            (None, true) => Ok(None),
            (None, false) => Err(PaymentsError::NoKey),
            (Some(_), true) => Err(PaymentsError::NoWebhookSecret),
            (Some(key), false) => {
                let provider = Provider::new(&ProviderSettings::new(&args.payment_url, key))?;
                let secrets = WebhookSecrets::new(args.payment_webhook_secret.clone())?;
                Ok(Some(Self::new(provider, secrets)))
            }
        }
    }

    /// A provider and the secrets of its events.
    pub fn new(provider: Provider, secrets: WebhookSecrets) -> Self {
        Self { provider, secrets }
    }

    /// The provider, whoever it is asked for.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// The provider, for a merchant of this mode: real money never pays a test merchant's orders, and test
    /// cards never a real merchant's.
    ///
    /// # Errors
    /// [`OtherMode`] when the key is of the other mode.
    pub fn provider_for(&self, merchant: Mode) -> Result<&Provider, OtherMode> {
        let provider = self.provider.mode();
        if provider == merchant {
            Ok(&self.provider)
        } else {
            Err(OtherMode { provider, merchant })
        }
    }

    /// The event of a delivery: its signature verified over the bytes as they came, its time within
    /// [`signature::TOLERANCE`] of `now`, its content read, its mode the key's. `header` is the value of
    /// `Stripe-Signature`. Whether it came before is for an inbox to say.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn receive(
        &self,
        header: Option<&[u8]>,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<ProviderEvent, Refused> {
        self.secrets.verify(header, body, now)?;
        let event = event::read(body)?;
        if event.mode == self.provider.mode() {
            Ok(event)
        } else {
            Err(Refused::Mode(event.mode))
        }
    }
}

fn read_key(path: &Path) -> Result<SecretString, PaymentsError> {
    let read = || {
        let mut file = File::open(path)?;
        let is_open = file.metadata()?.mode() & 0o004 != 0;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok((text, is_open))
    };
    match read() {
        Ok((_, true)) => Err(PaymentsError::Open(path.to_owned())),
        Ok((text, false)) => Ok(text.into()),
        Err(source) => Err(PaymentsError::File {
            file: path.to_owned(),
            source,
        }),
    }
}
