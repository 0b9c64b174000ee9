//! How many requests a second are taken: of a key, and of an address for what comes without a valid one.
//! Decided before a body is read, and told to callers as draft-ietf-httpapi-ratelimit-headers-11 has it
//! (an Internet-Draft, not an RFC).
//!
//! The limits are this process's own: two processes behind a balancer take twice as many.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{self, Clock as _};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::address::{ClientAddress, Network, Peer, client};
use super::auth::{self, Verdict, Who};
use super::codes;
use super::keys::{self, Keys};
use super::layers;
use super::problem::Problem;
use super::tokens::Tokens;
use crate::clock::Clock;

/// What is to be limited, and what of a request's address is believed.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// Requests a second of one key; none: any number.
    pub of_key: Option<NonZeroU32>,
    /// Requests a second without a valid key from one address; none: any number.
    pub of_address: Option<NonZeroU32>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
}

/// Finds out who calls, and whether they may do so again already. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    keys: Keys,
    tokens: Tokens,
    by_key: Option<Limit<Who>>,
    by_address: Option<Limit<IpAddr>>,
    trusted: Vec<Network>,
}

impl Gate {
    /// A gate for the holders of these keys and tokens.
    pub fn new(rates: Rates, keys: Keys, tokens: Tokens, clock: &Clock) -> Self {
        Self(Arc::new(Inner {
            keys,
            tokens,
            by_key: rates.of_key.map(|most| Limit::new("key", most, clock)),
            by_address: rates
                .of_address
                .map(|most| Limit::new("address", most, clock)),
            trusted: rates.trusted_proxies,
        }))
    }

    /// Who calls, from where, and what they have left.
    async fn admit(&self, request: &Parts) -> (Verdict, ClientAddress, Option<Allowance>) {
        let Inner {
            keys,
            tokens,
            by_key,
            by_address,
            trusted,
        } = &*self.0;
        let peer = request.extensions.get::<Peer>();
        let address = client(peer, &request.headers, trusted);
        let stranger = || by_address.as_ref().map(|limit| limit.take(address));
        // whoever tries keys has the database look for them
        let look_up = || stranger().map_or(Ok(()), |left| left.check());
        let verdict = match auth::token(&request.headers) {
            Ok(Some(token)) => {
                let known = match keys::is_key(&token) {
                    true => keys.check(&token, look_up).await,
                    false => tokens.check(&token, look_up).await,
                };
                known.and_then(|caller| caller.map(Some).ok_or_else(auth::denied))
            }
            Ok(None) => Ok(None),
            Err(denied) => Err(denied),
        };
        let left = match &verdict {
            Ok(Some(caller)) => by_key.as_ref().map(|limit| limit.take(caller.who)),
            _ => stranger(),
        };
        (Verdict(verdict), ClientAddress(address), left)
    }
}

/// Refuses whoever calls too often, and tells everybody how much they have left.
pub async fn limit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    layers::note_route(&parts.extensions);
    let (verdict, address, left) = gate.admit(&parts).await;
    let who = verdict.caller().map(|caller| caller.who);
    parts.extensions.insert(verdict);
    parts.extensions.insert(address);
    let mut response = match left.as_ref().map_or(Ok(()), Allowance::check) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refused) => refused.into_response(),
    };
    if let Some(left) = left {
        left.show(response.headers_mut());
    }
    // for the log
    if let Some(who) = who {
        response.extensions_mut().insert(who);
    }
    response
}

/// A limit on requests a second, for each `K`. A second's worth may come at once.
struct Limit<K: Hash + Eq + Clone> {
    policy: Policy,
    limiter: RateLimiter<K, DashMapStateStore<K>, Ticks, StateInformationMiddleware>,
    taken: AtomicU32,
}

#[derive(Debug, Clone, Copy)]
struct Policy {
    name: &'static str,
    a_second: NonZeroU32,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    /// Requests after which whoever was not seen for a second is forgotten.
    const FORGET_AFTER: u32 = 1 << 16;

    fn new(name: &'static str, a_second: NonZeroU32, clock: &Clock) -> Self {
        let quota = Quota::per_second(a_second);
        Self {
            policy: Policy { name, a_second },
            limiter: RateLimiter::dashmap_with_clock(quota, Ticks(clock.clone()))
                .with_middleware::<StateInformationMiddleware>(),
            taken: AtomicU32::new(0),
        }
    }

    fn take(&self, of: K) -> Allowance {
        if self
            .taken
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(Self::FORGET_AFTER)
        {
            self.limiter.retain_recent();
        }
        let left = self
            .limiter
            .check_key(&of)
            .map(|state| state.remaining_burst_capacity())
            .map_err(|until| until.wait_time_from(self.limiter.clock().now()));
        Allowance {
            policy: self.policy,
            left,
        }
    }
}

/// What is left of a limit: so many requests, or none for that long.
#[derive(Debug)]
struct Allowance {
    policy: Policy,
    left: Result<u32, Duration>,
}

impl Allowance {
    fn check(&self) -> Result<(), Problem> {
        let Err(wait) = self.left else {
            return Ok(());
        };
        let Policy { name, a_second } = self.policy;
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        let detail = format!("more than {a_second} requests a second of one {name}");
        let problem = Problem::new(&codes::RATE_LIMITED, detail);
        Err(problem.retry_after(u64::try_from(seconds).unwrap_or(1)))
    }

    fn show(&self, headers: &mut HeaderMap) {
        let Policy { name, a_second } = self.policy;
        let left = self.left.unwrap_or(0);
        let fields = [
            (
                "ratelimit-policy",
                format!("\"{name}\";q={a_second};w={WINDOW}"),
            ),
            ("ratelimit", format!("\"{name}\";r={left};t={WINDOW}")),
        ];
        for (field, value) in fields {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(field), value);
            }
        }
    }
}

/// The seconds that a quota is of, and within which a used one is whole again.
const WINDOW: u32 = 1;

/// Time as the limiter counts it.
#[derive(Clone)]
struct Ticks(Clock);

impl clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
