//! The local payment provider in this process, and the engine's side of it.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use counterfoil::clock::{Clock, Entropy};
use counterfoil::dev::payments::{self, Options, Webhook};
use counterfoil::payments::provider::{Provider, ProviderSettings};
use counterfoil::payments::signature::WebhookSecrets;
use counterfoil::payments::{Payments, object};
use secrecy::SecretString;
use tokio::net::TcpListener;

/// The secret key of all local providers of tests.
pub(crate) const PAYMENT_KEY: &str = "sk_test_the_key_of_the_tests";

/// A local provider on a directory of its own. What it is told to do wrong, and what it knows, is that of
/// [`payments::LocalProvider`], to which this dereferences. Dropped, it is gone with its directory.
pub(crate) struct LocalProvider {
    running: Option<payments::LocalProvider>,
    address: SocketAddr,
    directory: PathBuf,
    webhook: Option<Webhook>,
    secret: SecretString,
    clock: Clock,
}

impl LocalProvider {
    /// One whose events go to `webhook_url`, signed with `secret`.
    pub(crate) async fn start(webhook_url: &str, secret: &str) -> Self {
        let webhook = webhook(webhook_url, secret);
        Self::with(Some(webhook), secret, Clock::system()).await
    }

    /// One whose events go nowhere until [`Self::tell`].
    pub(crate) async fn alone(secret: &str) -> Self {
        Self::with(None, secret, Clock::system()).await
    }

    /// The same by a clock of the test's own.
    pub(crate) async fn by(clock: Clock, secret: &str) -> Self {
        Self::with(None, secret, clock).await
    }

    async fn with(webhook: Option<Webhook>, secret: &str, clock: Clock) -> Self {
        let name: [u8; 8] = Entropy::system().bytes();
        let name = u64::from_le_bytes(name);
        let directory = std::env::temp_dir().join(format!("counterfoil-payments-{name:016x}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut this = Self {
            running: None,
            address: listener.local_addr().expect("an address"),
            directory,
            webhook,
            secret: secret.into(),
            clock,
        };
        this.run(listener).await;
        this
    }

    async fn run(&mut self, listener: TcpListener) {
        let options = Options {
            directory: self.directory.clone(),
            key: PAYMENT_KEY.into(),
            webhook: self.webhook.clone(),
            clock: self.clock.clone(),
            entropy: Entropy::system(),
        };
        let running = payments::start(listener, options).await;
        self.running = Some(running.expect("a local provider"));
    }

    /// Sends events there from now on.
    pub(crate) fn tell(&mut self, webhook_url: &str) {
        let webhook = Webhook {
            url: webhook_url.to_owned(),
            secrets: vec![self.secret.clone()],
        };
        self.webhook = Some(webhook.clone());
        self.deliver_to(webhook);
    }

    /// Ends it without a word, as a kill does.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// Starts it again on its directory and its port.
    pub(crate) async fn restart(&mut self) {
        self.running = None;
        let mut listener = TcpListener::bind(self.address).await;
        while listener.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            listener = TcpListener::bind(self.address).await;
        }
        self.run(listener.expect("a port")).await;
    }

    /// The file of what it knows.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("provider.jsonl")
    }

    /// Its address, also while it does not run.
    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client that waits for answers as long as it does in production.
    pub(crate) fn provider(&self) -> Provider {
        let settings = ProviderSettings::new(&self.address(), PAYMENT_KEY.into());
        Provider::new(&settings).expect("a provider")
    }

    /// A client that waits so long.
    pub(crate) fn impatient(&self, timeout: Duration) -> Provider {
        let mut settings = ProviderSettings::new(&self.address(), PAYMENT_KEY.into());
        settings.timeout = timeout;
        Provider::new(&settings).expect("a provider")
    }

    /// The client and the secret of its events, as the engine has them.
    pub(crate) fn payments(&self) -> Payments {
        let secrets = WebhookSecrets::new(vec![self.secret.clone()]).expect("a secret");
        Payments::new(self.provider(), secrets)
    }

    /// How many intents it has of ours, by our own id: more than one is money taken twice.
    pub(crate) fn intents_of(&self, ours: &str) -> usize {
        let intents = self.intents();
        let is_ours = |id: &serde_json::Value| id.as_str() == Some(ours);
        let count = intents
            .iter()
            .filter(|intent| is_ours(&intent["metadata"][object::OUR_INTENT]));
        count.count()
    }
}

impl Deref for LocalProvider {
    type Target = payments::LocalProvider;

    fn deref(&self) -> &payments::LocalProvider {
        self.running.as_ref().expect("a provider that runs")
    }
}

impl Drop for LocalProvider {
    fn drop(&mut self) {
        self.running = None;
        // a rest in the directory for temporary files does no harm
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn webhook(url: &str, secret: &str) -> Webhook {
    Webhook {
        url: url.to_owned(),
        secrets: vec![secret.into()],
    }
}
