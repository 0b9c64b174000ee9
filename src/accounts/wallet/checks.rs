//! Whether a sign-in message is meant for this installation, now, and signed by whom it names.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::message::SignInMessage;
use crate::chain::{Chain, signer_of_message};
use crate::http::codes;
use crate::http::problem::{Fault, Problem};
use crate::limits;

/// Which messages are taken, and the chains on which contracts are asked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Wallets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    domains: Vec<String>,
    chains: BTreeMap<u64, Chain>,
    places: Semaphore,
}

impl Wallets {
    /// Messages for these domains (host and port), on these chains; where there is none, on any, and without
    /// contracts.
    pub fn new(domains: Vec<String>, chains: BTreeMap<u64, Chain>) -> Self {
        Self(Arc::new(Inner {
            domains,
            chains,
            places: Semaphore::new(limits::WALLET_CALLS),
        }))
    }

    /// The domains.
    pub(super) fn domains(&self) -> &[String] {
        &self.0.domains
    }

    /// The chains' ids; none: any.
    pub(super) fn chain_ids(&self) -> Vec<u64> {
        self.0.chains.keys().copied().collect()
    }

    /// Checks all of a message but its nonce and its signature.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(
        &self,
        message: &SignInMessage,
        now: OffsetDateTime,
    ) -> Result<(), Problem> {
        let Inner {
            domains, chains, ..
        } = &*self.0;
        if !domains.contains(&message.domain) || !is_at(message) {
            let detail = format!(
                "domain, and the host of URI, must be one of: {}",
                domains.join(", ")
            );
            return Err(fault(&codes::WALLET_DOMAIN_UNKNOWN, detail));
        }
        if !chains.is_empty() && !chains.contains_key(&message.chain_id) {
            let ids: Vec<String> = chains.keys().map(u64::to_string).collect();
            let detail = format!("Chain ID must be one of: {}", ids.join(", "));
            return Err(fault(&codes::WALLET_CHAIN_UNKNOWN, detail));
        }
        let (issued, skew) = (message.issued_at, limits::WALLET_CLOCK_SKEW);
        let detail = if issued > now + skew || issued < now - limits::WALLET_NONCE_TIME - skew {
            "Issued At is not the time now"
        } else if message.expiration_time.is_some_and(|at| at <= now) {
            "Expiration Time is over"
        } else if message.not_before.is_some_and(|at| at > now) {
            "Not Before lies ahead"
        } else {
            return Ok(());
        };
        Err(fault(&codes::WALLET_MESSAGE_OVER, detail))
    }

    /// Checks a signature: by the account's key, else by the contract that it may be.
    ///
    /// # Errors
    /// 401 when it is not the account's; 503 when the chain does not answer in time.
    pub(super) async fn check_signature(
        &self,
        message: &SignInMessage,
        text: &str,
        signature: &[u8],
    ) -> Result<(), Problem> {
        if signer_of_message(text, signature) == Some(message.account) {
            return Ok(());
        }
        let Some(chain) = self.0.chains.get(&message.chain_id) else {
            return Err(wrong());
        };
        let Ok(_place) = self.0.places.try_acquire() else {
            return Err(unavailable("too many contracts are being asked"));
        };
        let asking = chain.contract_takes(message.account, text, signature);
        match timeout(limits::WALLET_CALL_TIME, asking).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(wrong()),
            Ok(Err(error)) => {
                tracing::warn!(%error, chain = message.chain_id, "a wallet's contract cannot be asked");
                Err(unavailable("the chain cannot be asked"))
            }
            Err(_) => {
                tracing::warn!(
                    chain = message.chain_id,
                    "a wallet's contract was not answered for in time"
                );
                Err(unavailable("the chain did not answer in time"))
            }
        }
    }
}

/// Whether the URI that is signed in to is at the message's domain.
fn is_at(message: &SignInMessage) -> bool {
    let Ok(uri) = reqwest::Url::parse(&message.uri) else {
        return false;
    };
    let same_scheme = message
        .scheme
        .as_deref()
        .is_none_or(|scheme| scheme == uri.scheme());
    let domain = reqwest::Url::parse(&format!("{}://{}/", uri.scheme(), message.domain));
    let same_place = domain.is_ok_and(|domain| domain.origin() == uri.origin());
    ["http", "https"].contains(&uri.scheme()) && same_scheme && same_place && !has_user(&uri)
}

fn has_user(uri: &reqwest::Url) -> bool {
    !uri.username().is_empty() || uri.password().is_some()
}

fn fault(code: &'static codes::Code, detail: impl Into<String>) -> Problem {
    Problem::of_faults(vec![Fault::new("/message", code, detail)])
}

fn wrong() -> Problem {
    let detail = "the signature is not the account's, of this message";
    Problem::new(&codes::WALLET_SIGNATURE_WRONG, detail)
}

fn unavailable(detail: &str) -> Problem {
    Problem::new(&codes::CHAIN_UNAVAILABLE, detail).retry_after(5)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::from_unix_ms;

    fn message() -> SignInMessage {
        SignInMessage {
            scheme: None,
            domain: "shop.example".to_owned(),
            account: [1; 20],
            statement: None,
            uri: "https://shop.example/login?next=1".to_owned(),
            chain_id: 1,
            nonce: "12345678".to_owned(),
            issued_at: from_unix_ms(1_000_000_000_000),
            expiration_time: None,
            not_before: None,
        }
    }

    #[test]
    fn a_message_is_for_here_and_now() {
        let here = Wallets::new(
            vec!["shop.example".to_owned(), "localhost:3000".to_owned()],
            BTreeMap::new(),
        );
        let now = message().issued_at;
        let check = |change: &dyn Fn(&mut SignInMessage), expected: Option<&str>| {
            let mut message = message();
            change(&mut message);
            let found = here
                .check(&message, now)
                .err()
                .map(|problem| problem.code.name);
            assert_eq!(found, expected, "{message:?}");
        };
        check(&|_| {}, None);
        check(&|it| it.scheme = Some("https".to_owned()), None);
        check(
            &|it| {
                it.domain = "localhost:3000".to_owned();
                it.uri = "http://localhost:3000/".to_owned();
            },
            None,
        );
        let other = Some("wallet_domain_unknown");
        check(&|it| it.scheme = Some("http".to_owned()), other);
        check(&|it| it.domain = "evil.example".to_owned(), other);
        check(&|it| it.domain = "shop.example:8080".to_owned(), other);
        for uri in [
            "https://evil.example/",
            "https://shop.example.evil.example/",
            "https://shop.example@evil.example/",
            "https://a@shop.example/",
            "https://shop.example:8443/",
            "ipfs://shop.example/",
            "shop.example",
        ] {
            check(&|it| it.uri = uri.to_owned(), other);
        }
        let over = Some("wallet_message_over");
        let second = Duration::from_secs(1);
        check(&|it| it.issued_at += Duration::from_secs(60), None);
        check(&|it| it.issued_at += Duration::from_secs(61), over);
        check(&|it| it.issued_at -= Duration::from_secs(360), None);
        check(&|it| it.issued_at -= Duration::from_secs(361), over);
        check(&|it| it.expiration_time = Some(now + second), None);
        check(&|it| it.expiration_time = Some(now), over);
        check(&|it| it.not_before = Some(now), None);
        check(&|it| it.not_before = Some(now + second), over);
    }
}
