//! The chains that a process anchors on, as a file says: TOML, one `[[chain]]` each. The flags of `serve`
//! are the short form of one of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

use super::{ChainArgs, KeySource};

/// One chain to anchor on. What is left out is as it is for a chain of that kind.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainSettings {
    /// What it is called in logs.
    pub name: Option<String>,
    /// Which chain it is (EIP-155). In a file it is always said.
    pub chain_id: Option<u64>,
    /// Addresses of its RPCs: each the address itself, `env:NAME` or `file:PATH`.
    #[serde(deserialize_with = "addresses")]
    pub rpc_urls: Vec<SecretString>,
    /// The registry as CAIP-10; the one pinned in the database unless given.
    pub registry: Option<String>,
    /// Where the publisher's key is.
    pub key: KeySource,
    /// How often the chain is looked at.
    #[serde(default, deserialize_with = "pause")]
    pub poll: Option<Duration>,
    /// How many blocks must be above one that is final; the `finalized` tag says so unless given.
    pub confirmations: Option<u64>,
    /// What anchoring may cost, and how long it may wait.
    #[serde(default)]
    pub fees: FeeSettings,
}

/// What anchoring on a chain may cost, and how long it may wait to become cheaper.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeeSettings {
    /// The most that is offered for a unit of gas, gwei.
    pub max_fee_gwei: Option<u64>,
    /// The most that is spent in 24 hours, gwei.
    pub budget_a_day_gwei: Option<u64>,
    /// How old the oldest sale may become while gas is dearer than usual.
    #[serde(deserialize_with = "duration")]
    pub patience: Option<Duration>,
    /// Whether a transaction that waits is replaced at higher fees.
    pub replace: Option<bool>,
    /// How long it waits before, while no sale is old.
    #[serde(deserialize_with = "pause")]
    pub replace_after: Option<Duration>,
    /// The age of the oldest sale at which that time is half as long.
    #[serde(deserialize_with = "duration")]
    pub urgent_after: Option<Duration>,
}

/// Why a file names no chains to anchor on. No secret of the file is part of it.
#[derive(Debug, thiserror::Error)]
pub enum ChainsError {
    /// It cannot be read.
    #[error("{} cannot be read", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// It is not what it should be.
    #[error("{}, line {line}: {reason}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Its chains do not go together.
    #[error("{}: {reason}", file.display())]
    Chains {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An address is kept where there is none.
    #[error("the address of an RPC is to be in {0}, which is not there")]
    Address(String),
}

impl ChainSettings {
    /// The chains of a file.
    ///
    /// # Errors
    /// [`ChainsError`]: an unknown field, a value of the wrong kind, a chain without an id or an RPC, a
    /// chain twice.
    pub fn read(file: &Path) -> Result<Vec<Self>, ChainsError> {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|source| ChainsError::File(file.to_owned(), source))?;
        Self::parse(file, &text)
    }

    fn parse(file: &Path, text: &str) -> Result<Vec<Self>, ChainsError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Chains {
            chain: Vec<ChainSettings>,
        }
        let Chains { chain: chains } = toml::from_str(text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start);
            let before = text.get(..before).unwrap_or_default();
            ChainsError::Format {
                file: file.to_owned(),
                line: 1 + before.matches('\n').count(),
                reason: without_text(error.message()),
            }
        })?;
        let mut ids = Vec::new();
        for chain in &chains {
            let fault = match chain.chain_id {
                None => "a chain has no chain_id".to_owned(),
                Some(id) if ids.contains(&id) => format!("chain {id} is there twice"),
                Some(id) if chain.rpc_urls.is_empty() => format!("chain {id} has no rpc_urls"),
                Some(id) if chain.key.is_empty() => format!("chain {id} has no key"),
                Some(id) => {
                    ids.push(id);
                    continue;
                }
            };
            return Err(ChainsError::Chains {
                file: file.to_owned(),
                reason: fault,
            });
        }
        Ok(chains)
    }

    /// The addresses of its RPCs, from where they are kept.
    ///
    /// # Errors
    /// [`ChainsError::Address`].
    pub fn addresses(&self) -> Result<Vec<SecretString>, ChainsError> {
        self.rpc_urls.iter().map(address).collect()
    }
}

impl From<&ChainArgs> for ChainSettings {
    fn from(args: &ChainArgs) -> Self {
        Self {
            rpc_urls: args.rpc_url.clone(),
            registry: args.registry.clone(),
            key: args.key.source(),
            ..Self::default()
        }
    }
}

fn address(said: &SecretString) -> Result<SecretString, ChainsError> {
    let text = said.expose_secret();
    let found = if let Some(name) = text.strip_prefix("env:") {
        std::env::var(name).ok()
    } else if let Some(path) = text.strip_prefix("file:") {
        std::fs::read_to_string(path).ok()
    } else {
        return Ok(said.clone());
    };
    let found = found.ok_or_else(|| ChainsError::Address(text.to_owned()))?;
    Ok(found.trim().into())
}

/// A message that does not repeat a text of the file, which may be a key in the wrong place.
fn without_text(message: &str) -> String {
    let kind = message.split(" string ").next().unwrap_or_default();
    match message.rsplit_once("expected ") {
        Some((before, expected)) if before.contains(" string ") => {
            format!("{kind} a text, expected {expected}")
        }
        _ => message.to_owned(),
    }
}

fn addresses<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<SecretString>, D::Error> {
    // not a list of secrets at once: the error of one that is no list would repeat it
    let value = toml::Value::deserialize(value)?;
    let list = value.as_array().and_then(|list| {
        let texts = list
            .iter()
            .map(|text| text.as_str().map(SecretString::from));
        texts.collect::<Option<Vec<_>>>()
    });
    list.ok_or_else(|| de::Error::custom("rpc_urls is a list of addresses"))
}

fn duration<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(value)?;
    let duration = humantime::parse_duration(&text);
    duration
        .map(Some)
        .map_err(|_| de::Error::custom("no duration such as 5s or 10m"))
}

/// A duration that something waits each time, so that it may not be none.
fn pause<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    const SHORTEST: Duration = Duration::from_millis(100);
    match duration(value)? {
        Some(time) if time < SHORTEST => Err(de::Error::custom("shorter than 100ms")),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"
[[chain]]
chain_id = 1
rpc_urls = ["https://a.example/the-key", "env:PATH"]
key = { file = "publisher.json", password_env = "PASSWORD" }
poll = "4s"
confirmations = 64
fees = { max_fee_gwei = 90, patience = "2h", replace = false }
"#;

    fn parse(text: &str) -> Result<Vec<ChainSettings>, String> {
        ChainSettings::parse(Path::new("chains.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_chain_is_as_its_file_says() {
        let chains = parse(ONE).unwrap();
        let [chain] = chains.as_slice() else {
            panic!("{} chains", chains.len())
        };
        assert_eq!(chain.chain_id, Some(1));
        assert_eq!(chain.poll, Some(Duration::from_secs(4)));
        assert_eq!(chain.confirmations, Some(64));
        assert_eq!(chain.fees.patience, Some(Duration::from_secs(7200)));
        assert_eq!(chain.fees.replace, Some(false));
        assert!(!format!("{chain:?}").contains("the-key"));
        let addresses = chain.addresses().unwrap();
        assert_eq!(addresses[0].expose_secret(), "https://a.example/the-key");
        assert_eq!(
            addresses[1].expose_secret(),
            std::env::var("PATH").unwrap().trim()
        );
    }

    #[test]
    fn a_mistake_is_named_by_its_line_and_no_secret_is_repeated() {
        let twice = format!("{ONE}{ONE}");
        for (text, expected) in [
            (ONE.replace("poll", "pol"), "line 6: unknown field `pol`"),
            (ONE.replace("\"4s\"", "\"4\""), "line 6: no duration"),
            (ONE.replace("4s", "0s"), "line 6: shorter than 100ms"),
            (
                ONE.replace("patience = \"2h\"", "replace_after = \"0s\""),
                "line 8: shorter than 100ms",
            ),
            (ONE.replace("90", "\"90\""), "line 8: invalid type: a text"),
            (
                ONE.replace("[\"https", "\"https")
                    .replace("key\",", "key\"\n#"),
                "line 4: rpc_urls is a list",
            ),
            (
                ONE.replace("{ file", "\"the-key\"\n#{ file"),
                "line 5: invalid type: a text",
            ),
            (ONE.replace("chain_id = 1", ""), "a chain has no chain_id"),
            (twice, "chain 1 is there twice"),
            (ONE.replace("key =", "#"), "line 2: missing field `key`"),
            (String::new(), "line 1: missing field `chain`"),
        ] {
            let said = parse(&text).unwrap_err();
            assert!(said.contains(expected), "{said:?} without {expected:?}");
            assert!(!said.contains("the-key"), "{said}");
        }
    }

    #[test]
    fn an_address_that_is_kept_nowhere_is_named_by_where_it_should_be() {
        let text = ONE.replace("env:PATH", "file:/nowhere/rpc");
        let chains = parse(&text).unwrap();
        let said = chains[0].addresses().unwrap_err().to_string();
        assert!(said.contains("file:/nowhere/rpc"), "{said}");
    }
}
