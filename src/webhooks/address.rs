//! Where deliveries may go: to the public internet by https, and nowhere else, unless a developer says so.
//!
//! A name is resolved once for a connection; every address that it has is judged, and the connection is made to
//! these very addresses. A name that resolves otherwise a moment later (DNS rebinding) gains nothing by it.

mod ranges;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::timeout;

use crate::limits;

pub use ranges::is_public;

/// Ports below 1024 that are taken: those of other services are not for us to knock at.
const LOW_PORTS: [u16; 1] = [443];

/// Whether addresses of this machine and of its networks are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// https, and public addresses alone.
    #[default]
    Public,
    /// http too, any port, and any address: for development.
    Anywhere,
}

/// Why nothing is told to an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no address of the web, or not one for a webhook; why.
    #[error("{0}")]
    Url(&'static str),
    /// Its name has no address.
    #[error("the host's name has no address")]
    Unknown,
    /// It is one that is not public.
    #[error("the host has an address that is not public")]
    Private,
}

/// Finds and judges addresses. Cheap to clone.
#[derive(Clone)]
pub struct Addresses {
    reach: Reach,
    resolver: Arc<dyn Resolve>,
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses")
            .field("reach", &self.reach)
            .finish_non_exhaustive()
    }
}

impl Addresses {
    /// With the machine's own resolver.
    pub fn new(reach: Reach) -> Self {
        Self::resolving(reach, Arc::new(Machine))
    }

    /// With another resolver.
    pub fn resolving(reach: Reach, resolver: Arc<dyn Resolve>) -> Self {
        Self { reach, resolver }
    }

    /// Judges an address as it is written. Its name is not resolved.
    ///
    /// # Errors
    /// [`AddressError::Url`], and [`AddressError::Private`] for an IP address that is not public.
    pub fn judge(&self, text: &str) -> Result<Url, AddressError> {
        let wrong = |why| Err(AddressError::Url(why));
        if text.chars().count() > limits::URL_CHARS {
            return wrong("it is too long");
        }
        let Ok(url) = Url::parse(text) else {
            return wrong("it is no address such as https://shop.example/webhooks");
        };
        let anywhere = self.reach == Reach::Anywhere;
        if url.scheme() != "https" && !(anywhere && url.scheme() == "http") {
            return wrong("it has to begin with https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("it must not hold a user name or a password");
        }
        if url.fragment().is_some() {
            return wrong("it must not have a fragment");
        }
        let port = url.port_or_known_default().unwrap_or(0);
        if !anywhere && port < 1024 && !LOW_PORTS.contains(&port) {
            return wrong("its port is 443 or one from 1024 on");
        }
        match literal(&url) {
            Some(address) => self.check(address)?,
            None if url.host_str().is_none_or(str::is_empty) => return wrong("it has no host"),
            None => {}
        }
        Ok(url)
    }

    /// Judges an address, and all that its name resolves to now.
    ///
    /// # Errors
    /// [`AddressError`]
    pub async fn look_up(&self, text: &str) -> Result<Url, AddressError> {
        let url = self.judge(text)?;
        if literal(&url).is_none() {
            let name: Name = url
                .host_str()
                .and_then(|host| host.parse().ok())
                .ok_or(AddressError::Unknown)?;
            let looking = self.resolver.resolve(name);
            let found = timeout(limits::WEBHOOK_LOOK_UP_TIME, looking).await;
            match found {
                Ok(Ok(found)) => self.all(found).map(drop)?,
                _ => return Err(AddressError::Unknown),
            }
        }
        Ok(url)
    }

    fn check(&self, address: IpAddr) -> Result<(), AddressError> {
        if self.reach == Reach::Anywhere || is_public(address) {
            return Ok(());
        }
        Err(AddressError::Private)
    }

    /// All of what a name resolved to, if all of it may be connected to.
    fn all(&self, found: Addrs) -> Result<Vec<SocketAddr>, AddressError> {
        let found: Vec<SocketAddr> = found.collect();
        if found.is_empty() {
            return Err(AddressError::Unknown);
        }
        found
            .iter()
            .try_for_each(|address| self.check(address.ip()))?;
        Ok(found)
    }
}

/// What a client of HTTP connects to: the addresses that were judged, and no others.
impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let found = this.resolver.resolve(name).await?;
            let found = this.all(found)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The machine's resolver.
struct Machine;

impl Resolve for Machine {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // the port is that of the address
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// The host of an address where it is an IP address. A client connects to one without asking a resolver.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}
