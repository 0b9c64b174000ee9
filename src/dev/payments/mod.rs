//! The local payment provider: a small HTTP server with Stripe's calls and signed webhooks, for
//! development, demonstrations and tests. No money moves.
//!
//! It does what Stripe's test mode does with intents, refunds, events and idempotency keys, as far as an
//! engine like ours asks for it, and can be told to be late, to fail and to break off (`/_control`). What
//! it has answered or sent survives a kill: it is in a file first.
//!
//! # Layout
//! - [`start`], [`LocalProvider`]: starting one and telling it what to do
//! - `serve`: connections, and cutting them
//! - `routes`, `intents`, `refunds`, `lists`: the calls
//! - `methods`: the means of payment that there are, and what comes of each
//! - `desk`: a change and its answer: once a key, in the file, then told
//! - `book`, `journal`: what there is, in memory and in the file
//! - `webhooks`: events on their way
//! - `control`: its bad days, made to order
//! - `pages`: paying and authenticating by hand in a browser
//! - `form`, `refusal`: bodies in, errors out

mod book;
mod control;
mod desk;
mod form;
mod intents;
mod journal;
mod lists;
mod methods;
mod pages;
mod refunds;
mod refusal;
mod routes;
mod serve;
mod webhooks;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::DevError;
use super::data_dir::{make_private, random_hex, write_secret};
use crate::clock::{Clock, Entropy};
pub use control::{Plan, Release};
use desk::Desk;
pub use webhooks::{Delivery, Webhook};

/// What a local provider is to be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where its file is; made if it is missing, and its alone.
    pub directory: PathBuf,
    /// The secret key that callers have, `sk_test_…`.
    pub key: SecretString,
    /// Where its events go; nowhere until [`LocalProvider::deliver_to`], when none.
    pub webhook: Option<Webhook>,
    /// Its clock: events and signatures have its time.
    pub clock: Clock,
    /// Its ids.
    pub entropy: Entropy,
}

/// The secrets of a local provider: made once, and kept beside its file.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The secret key that callers have.
    pub key: SecretString,
    /// What its webhooks are signed with.
    pub webhook: SecretString,
}

impl Secrets {
    /// Those of the last start in this directory, else new ones.
    ///
    /// # Errors
    /// When they can be neither read nor written.
    pub fn open(directory: &Path) -> Result<Self, DevError> {
        make_private(directory)?;
        Ok(Self {
            key: kept(&directory.join("key"), "sk_test_")?,
            webhook: kept(&directory.join("webhook-secret"), "whsec_")?,
        })
    }
}

fn kept(path: &Path, prefix: &str) -> Result<SecretString, DevError> {
    match std::fs::read_to_string(path) {
        Ok(secret) => Ok(secret.trim().into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = format!("{prefix}{}", random_hex::<24>()?);
            write_secret(path, &secret)?;
            Ok(secret.into())
        }
        Err(error) => Err(DevError::io("read", path)(error)),
    }
}

/// A local provider that serves. Dropped it stops, as if it was killed.
#[derive(Debug)]
pub struct LocalProvider {
    desk: Arc<Desk>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// Starts one on a listener of loopback. What it has in its directory goes on where it ended: payments
/// that were under way, and events that nobody took.
///
/// # Errors
/// A directory that cannot be used, is another one's, or holds what is not of a local provider.
pub async fn start(listener: TcpListener, options: Options) -> Result<LocalProvider, DevError> {
    let address = listener
        .local_addr()
        .map_err(DevError::io("listen on", Path::new("127.0.0.1")))?;
    let stop = CancellationToken::new();
    let desk = Desk::open(options, format!("http://{address}"), stop.clone()).await?;
    desk.resume();
    let service = routes::all(desk.clone());
    let serving = tokio::spawn(serve::serve(listener, service, stop.clone()));
    Ok(LocalProvider {
        desk,
        stop,
        serving,
    })
}

impl LocalProvider {
    /// Its address, for `--payment-url`.
    pub fn url(&self) -> &str {
        self.desk.base()
    }

    /// Sends events there from now on, those that nobody took yet among them.
    pub fn deliver_to(&self, webhook: Webhook) {
        self.desk.deliver_to(webhook);
    }

    /// What it is told to do wrong, in place of what it was told before.
    pub fn set_plan(&self, plan: Plan) {
        self.desk.set_plan(plan);
    }

    /// What of its plan is left.
    pub fn plan(&self) -> Plan {
        self.desk.plan()
    }

    /// Sends the events that were held, one after the other, and holds none any more. How many were sent.
    pub async fn release(&self, order: Release) -> usize {
        self.desk.release(order).await
    }

    /// Sends an event once more, whether it was taken or not. Whether it was taken now.
    pub async fn resend(&self, event: &str) -> bool {
        self.desk.attempt(event).await
    }

    /// Each attempt to deliver an event, oldest first, since it was started.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.desk.deliveries()
    }

    /// All intents, oldest first, as its calls tell them.
    pub fn intents(&self) -> Vec<Value> {
        self.desk.intents()
    }

    /// All refunds, oldest first.
    pub fn refunds(&self) -> Vec<Value> {
        self.desk.refunds()
    }

    /// All events, oldest first.
    pub fn events(&self) -> Vec<Value> {
        self.desk.events()
    }

    /// Serves until `stop`, then ends in good order.
    pub async fn run_until(self, stop: CancellationToken) {
        stop.cancelled().await;
        self.stop().await;
    }

    /// Ends in good order: what is in hand is answered, and the next start can have the file.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // a task that was ended has nothing to tell
        let _ = (&mut self.serving).await;
        self.desk.ended().await;
    }
}

impl Drop for LocalProvider {
    fn drop(&mut self) {
        self.stop.cancel();
        self.serving.abort();
    }
}
