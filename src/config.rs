//! The configuration: flags of `serve` and the environment, one struct.

mod chains;
mod rates;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use secrecy::SecretString;
use serde::Deserialize;

use crate::limits;

pub use chains::{ChainSettings, ChainsError, FeeSettings};
pub use rates::RateArgs;

/// Which parts of the engine a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The HTTP interface.
    Api,
    /// Sealing, publishing, watching and purging.
    Worker,
    /// Both.
    All,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Where the database is.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// Postgres, e.g. postgres://user:password@host:5432/counterfoil
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,
}

/// Where archived months are.
#[derive(Debug, Clone, Default, Args)]
pub struct ArchiveArgs {
    /// The directory of the archives; it is needed where months were archived
    #[arg(long, env = "COUNTERFOIL_ARCHIVE_DIR")]
    pub archive_dir: Option<PathBuf>,
}

/// Which registry on which chain, and through which RPCs.
#[derive(Debug, Clone, Args)]
pub struct ChainArgs {
    /// A TOML file of the chains to anchor on, in place of the flags for one; see "Chains" in
    /// docs/OPERATIONS.md
    #[arg(long, env = "COUNTERFOIL_CHAINS", value_name = "FILE")]
    pub chains: Option<PathBuf>,
    /// The chain's JSON-RPC address, or several of them separated by commas; only hosts are ever logged
    #[arg(long, env = "RPC_URL", hide_env_values = true, value_delimiter = ',')]
    pub rpc_url: Vec<SecretString>,
    /// The registry contract as CAIP-10, e.g. eip155:1:0x…; the one pinned in the database unless given
    #[arg(long, env = "COUNTERFOIL_REGISTRY")]
    pub registry: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described on the struct")]
    pub key: PublisherKeyArgs,
    /// How often the chain is looked at; twice a block unless given, and once a second at most
    #[arg(long, env = "COUNTERFOIL_CHAIN_POLL", value_parser = humantime::parse_duration)]
    pub chain_poll: Option<Duration>,
}

/// Where a key is: exactly one of `key`, `env`, `file`, and `signer` with `account`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeySource {
    /// The key itself, 32 bytes as hex. A configuration file does not hold it.
    #[serde(skip)]
    pub key: Option<SecretString>,
    /// The environment variable that holds it.
    pub env: Option<String>,
    /// A file that holds it, as hex or as an encrypted keystore (Web3 Secret Storage, version 3).
    pub file: Option<PathBuf>,
    /// The file of the keystore's password.
    pub password_file: Option<PathBuf>,
    /// The environment variable of the keystore's password, where there is no such file.
    pub password_env: Option<String>,
    /// The address of an outside signer that answers `eth_signTransaction`.
    pub signer: Option<SecretString>,
    /// The account that the outside signer signs for.
    pub account: Option<String>,
}

impl KeySource {
    /// Whether nothing is said of a key.
    pub fn is_empty(&self) -> bool {
        self.key.is_none() && self.env.is_none() && self.file.is_none() && self.signer.is_none()
    }
}

/// Where the publisher's key is: one of these.
#[derive(Debug, Clone, Default, Args)]
pub struct PublisherKeyArgs {
    /// The publisher's private key, 32 bytes as hex
    #[arg(long, env = "COUNTERFOIL_PUBLISHER_KEY", hide_env_values = true)]
    pub publisher_key: Option<SecretString>,
    /// A file that holds the publisher's private key, as hex or as an encrypted keystore (version 3), whose
    /// password is in COUNTERFOIL_PUBLISHER_KEY_PASSWORD or in a file
    #[arg(
        long,
        env = "COUNTERFOIL_PUBLISHER_KEY_FILE",
        conflicts_with = "publisher_key"
    )]
    pub publisher_key_file: Option<PathBuf>,
    /// The file of the keystore's password
    #[arg(long, env = "COUNTERFOIL_PUBLISHER_KEY_PASSWORD_FILE")]
    pub publisher_key_password_file: Option<PathBuf>,
    /// An outside signer that has the publisher's key: the address of its JSON-RPC, which answers
    /// eth_signTransaction
    #[arg(long, env = "COUNTERFOIL_PUBLISHER_SIGNER", hide_env_values = true,
          conflicts_with_all = ["publisher_key", "publisher_key_file"])]
    pub publisher_signer: Option<SecretString>,
    /// The account that the outside signer signs for
    #[arg(
        long,
        env = "COUNTERFOIL_PUBLISHER_ACCOUNT",
        requires = "publisher_signer"
    )]
    pub publisher_account: Option<String>,
}

impl PublisherKeyArgs {
    /// Where the key is.
    pub fn source(&self) -> KeySource {
        KeySource {
            key: self.publisher_key.clone(),
            env: None,
            file: self.publisher_key_file.clone(),
            password_file: self.publisher_key_password_file.clone(),
            password_env: Some("COUNTERFOIL_PUBLISHER_KEY_PASSWORD".to_owned()),
            signer: self.publisher_signer.clone(),
            account: self.publisher_account.clone(),
        }
    }
}

/// What the HTTP interface needs to know.
#[derive(Debug, Clone, Args)]
pub struct HttpArgs {
    /// Address of the HTTP interface
    #[arg(long, env = "COUNTERFOIL_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Address customers reach it under; stands in every receipt's link, so it must not change
    /// [default: http:// and the listen address]
    #[arg(long, env = "COUNTERFOIL_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Origins whose pages may call the interface, separated by commas
    #[arg(long, env = "COUNTERFOIL_CORS_ORIGINS", value_delimiter = ',')]
    pub cors_origins: Vec<String>,
    /// Requests a second that one key may send to this process; a second's worth may come at once; 0 for
    /// any number
    #[arg(long, env = "COUNTERFOIL_RATE_LIMIT", default_value_t = limits::KEY_REQUESTS)]
    pub rate_limit: u32,
    /// Requests a second without a valid key that one address may send to this process; 0 for any number
    #[arg(long, env = "COUNTERFOIL_ADDRESS_RATE_LIMIT", default_value_t = limits::ADDRESS_REQUESTS)]
    pub address_rate_limit: u32,
    /// Proxies whose X-Forwarded-For names the caller's address, such as 10.0.0.0/8, separated by commas
    #[arg(long, env = "COUNTERFOIL_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<String>,
    /// Serve the first version's endpoints, POST /transactions/record and GET /transactions/{id}
    #[arg(long, env = "COUNTERFOIL_FIRST_VERSION")]
    pub first_version: bool,
}

/// The payment provider. Without a key the shop takes no payments, and everything else is as it was.
#[derive(Debug, Clone, Args)]
pub struct PaymentArgs {
    /// Address of the payment provider's API; only its host is ever logged
    #[arg(
        long,
        env = "COUNTERFOIL_PAYMENT_URL",
        default_value = "https://api.stripe.com"
    )]
    pub payment_url: String,
    /// The payment provider's secret key, sk_live_… or sk_test_…; one for tests serves test merchants alone
    #[arg(long, env = "COUNTERFOIL_PAYMENT_KEY", hide_env_values = true)]
    pub payment_key: Option<SecretString>,
    /// A file that holds the payment provider's secret key
    #[arg(
        long,
        env = "COUNTERFOIL_PAYMENT_KEY_FILE",
        conflicts_with = "payment_key"
    )]
    pub payment_key_file: Option<PathBuf>,
    /// The signing secret of our webhook endpoint at the payment provider, whsec_…; several separated by
    /// commas while one replaces another
    #[arg(
        long,
        env = "COUNTERFOIL_PAYMENT_WEBHOOK_SECRET",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub payment_webhook_secret: Vec<SecretString>,
}

/// What accounts need.
#[derive(Debug, Clone, Default, Args)]
pub struct AccountArgs {
    /// The file of the keys that access tokens are signed with, one a line, as `counterfoil token-key` prints
    /// them: the first signs, all verify. Without it API keys work, and nobody signs in
    #[arg(long, env = "COUNTERFOIL_TOKEN_KEYS", value_name = "FILE")]
    pub token_keys: Option<PathBuf>,
    /// The mail server that mails to accounts go to: smtps://user:password@host, or
    /// smtp://user:password@host:587?tls=required
    #[arg(
        long,
        env = "COUNTERFOIL_SMTP_URL",
        hide_env_values = true,
        requires = "mail_from"
    )]
    pub smtp_url: Option<SecretString>,
    /// A directory that mails are written into instead, as files .eml: for development
    #[arg(
        long,
        env = "COUNTERFOIL_MAIL_DIR",
        requires = "mail_from",
        conflicts_with = "smtp_url"
    )]
    pub mail_dir: Option<PathBuf>,
    /// Whom mails come from, such as Shop <no-reply@shop.example>
    #[arg(long, env = "COUNTERFOIL_MAIL_FROM")]
    pub mail_from: Option<String>,
    /// The page of the shop on which a password is chosen; mails lead there, with #token=… at the end
    /// [default: none; mails hold the token alone]
    #[arg(long, env = "COUNTERFOIL_PASSWORD_PAGE", value_name = "URL")]
    pub password_page: Option<String>,
    /// Hosts, with their port, of the pages on which people sign in with a wallet, separated by commas
    /// [default: those of the public address and of the CORS origins]
    #[arg(long, env = "COUNTERFOIL_WALLET_DOMAINS", value_delimiter = ',')]
    pub wallet_domains: Vec<String>,
    /// RPCs that are asked whether a wallet's contract has signed (ERC-1271), as CHAIN=URL, separated by
    /// commas; messages must name one of these chains then. Without it wallets are keys, and of any chain
    #[arg(
        long,
        env = "COUNTERFOIL_WALLET_RPC",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "CHAIN=URL"
    )]
    pub wallet_rpc: Vec<SecretString>,
}

/// What others are told.
#[derive(Debug, Clone, Default, Args)]
pub struct WebhookArgs {
    /// Let webhooks go to http and to addresses of this machine and its networks: for development
    #[arg(long, env = "COUNTERFOIL_WEBHOOKS_ALLOW_PRIVATE")]
    pub webhooks_allow_private: bool,
}

/// Everything `serve` is told.
#[derive(Debug, Clone, Args)]
pub struct Config {
    #[command(flatten)]
    #[expect(missing_docs, reason = "described on the struct")]
    pub database: DatabaseArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described on the struct")]
    pub archives: ArchiveArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described on the struct")]
    pub http: HttpArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described on the struct")]
    pub accounts: AccountArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described on the struct")]
    pub chain: ChainArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described on the struct")]
    pub payments: PaymentArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described on the struct")]
    pub rates: RateArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described on the struct")]
    pub webhooks: WebhookArgs,
    /// Redis, which makes repeats and receipts faster: redis://:password@host:6379/0,
    /// redis+sentinel://:password@host:26379,host/service or redis+cluster://:password@host,host; rediss
    /// for TLS
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<SecretString>,
    /// Connections to Postgres that the interface may hold
    #[arg(long, env = "COUNTERFOIL_DATABASE_CONNECTIONS", default_value_t = 16)]
    pub database_connections: u32,
    /// Address of the Prometheus metrics; keep it off the public network
    #[arg(
        long,
        env = "COUNTERFOIL_METRICS_LISTEN",
        default_value = "127.0.0.1:9464"
    )]
    pub metrics_listen: SocketAddr,
    /// Which parts to run
    #[arg(long, env = "COUNTERFOIL_ROLE", default_value = "all")]
    pub role: Role,
    /// Apply outstanding migrations before starting
    #[arg(long, env = "COUNTERFOIL_MIGRATE")]
    pub migrate: bool,
    /// How long sales wait for their batch at most
    #[arg(long, env = "COUNTERFOIL_BATCH_INTERVAL", default_value = "1m", value_parser = humantime::parse_duration)]
    pub batch_interval: Duration,
    /// Sales that are sealed before the interval is over, once so many wait (1 to 1048576)
    #[arg(long, env = "COUNTERFOIL_SEAL_AT", default_value_t = limits::SEAL_AT as u32,
          value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub seal_at: u32,
    /// Sales of a batch at most (1 to 1048576)
    #[arg(long, env = "COUNTERFOIL_BATCH_LEAVES", default_value_t = limits::BATCH_LEAVES as u32,
          value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub batch_leaves: u32,
    /// How log lines look
    #[arg(long, env = "COUNTERFOIL_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
}
