//! Where Redis is: an address in one of three forms, and how it is connected to.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisFuture,
    RedisResult, Value,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::CacheError;

/// The port of a Sentinel that names none.
const SENTINEL_PORT: u16 = 26379;
/// How often a Cluster's node is asked again after a redirection.
const REDIRECTIONS: u32 = 2;

/// What an address names.
pub(super) enum Server {
    /// One server.
    Alone(Client),
    /// The master of a service, asked of Sentinels each time anew.
    Sentinel(Mutex<SentinelClient>),
    /// The nodes of a Cluster.
    Cluster(ClusterClient),
}

/// A connection; clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Reads an address.
///
/// # Errors
/// [`CacheError::Address`], without the library's own words: they may repeat it.
pub(super) fn parse(url: &SecretString) -> Result<Server, CacheError> {
    server(url.expose_secret())
        .and_then(Result::ok)
        .ok_or(CacheError::Address)
}

fn server(url: &str) -> Option<RedisResult<Server>> {
    let (scheme, rest) = url.split_once("://")?;
    let (protocol, form) = scheme.split_once('+').unwrap_or((scheme, "alone"));
    if !matches!(protocol, "redis" | "rediss") {
        return None;
    }
    match form {
        "alone" => Some(Client::open(url).map(Server::Alone)),
        "sentinel" => sentinel(protocol, &Nodes::read(rest)?),
        "cluster" => cluster(protocol, &Nodes::read(rest)?),
        _ => None,
    }
}

/// `user:password@host:port,host:port/path`
struct Nodes<'a> {
    /// With the `@`, or empty.
    login: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
}

impl<'a> Nodes<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let login_end = text.rfind('@').map_or(0, |at| at + 1);
        let (login, rest) = text.split_at(login_end);
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts: Vec<&str> = hosts.split(',').collect();
        (!hosts.contains(&"")).then_some(Self { login, hosts, path })
    }
}

fn cluster(protocol: &str, nodes: &Nodes<'_>) -> Option<RedisResult<Server>> {
    // a Cluster has database 0 alone
    if !nodes.path.is_empty() {
        return None;
    }
    let urls = nodes
        .hosts
        .iter()
        .map(|host| format!("{protocol}://{}{host}/", nodes.login));
    let client = ClusterClient::builder(urls).retries(REDIRECTIONS).build();
    Some(client.map(Server::Cluster))
}

/// `/service` or `/service/database`; the login is that of the servers, Sentinels are asked without.
fn sentinel(protocol: &str, nodes: &Nodes<'_>) -> Option<RedisResult<Server>> {
    let (service, database) = nodes.path.split_once('/').unwrap_or((nodes.path, "0"));
    if service.is_empty() {
        return None;
    }
    Some(build_sentinel(protocol, nodes, service, database))
}

fn build_sentinel(
    protocol: &str,
    nodes: &Nodes<'_>,
    service: &str,
    database: &str,
) -> RedisResult<Server> {
    // the login and the database, as the library reads them
    let server = format!("{protocol}://{}host/{database}", nodes.login).into_connection_info()?;
    let sentinels = nodes
        .hosts
        .iter()
        .map(|host| sentinel_address(protocol, host))
        .collect::<RedisResult<Vec<_>>>()?;
    let addresses = sentinels.iter().map(|info| info.addr().clone());
    let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?
        .set_client_to_redis_db(server.redis_settings().db());
    if let Some(username) = server.redis_settings().username() {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = server.redis_settings().password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if protocol == "rediss" {
        builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
    }
    let client = builder.build()?;
    Ok(Server::Sentinel(Mutex::new(client)))
}

fn sentinel_address(protocol: &str, host: &str) -> RedisResult<ConnectionInfo> {
    // what follows the last colon is a port, unless that is inside of an IPv6 address
    let named = host
        .rsplit_once(':')
        .is_some_and(|(_, end)| !end.contains(']'));
    if named {
        format!("{protocol}://{host}/").into_connection_info()
    } else {
        format!("{protocol}://{host}:{SENTINEL_PORT}/").into_connection_info()
    }
}

impl Server {
    /// A new connection, each step of which may take `time`.
    pub(super) async fn connect(&self, time: Duration) -> RedisResult<Connection> {
        // calls have a time of their own
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(time))
            .set_response_timeout(None);
        match self {
            Self::Alone(client) => client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .map(Connection::One),
            Self::Sentinel(client) => client
                .lock()
                .await
                .get_async_connection_with_config(&config)
                .await
                .map(Connection::One),
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a redis::Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipe: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipe, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipe, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_one_of_three_forms() {
        let check = |url: &str, expected: Option<&str>| {
            let form = match parse(&SecretString::from(url)) {
                Ok(Server::Alone(_)) => Some("alone"),
                Ok(Server::Sentinel(_)) => Some("sentinel"),
                Ok(Server::Cluster(_)) => Some("cluster"),
                Err(CacheError::Address) => None,
            };
            assert_eq!(form, expected, "{url}");
        };
        check("redis://127.0.0.1", Some("alone"));
        check("redis://user:p%40ss@[::1]:6380/3", Some("alone"));
        check("rediss://:secret@cache.example/0", Some("alone"));
        check("redis+sentinel://a,b:26380/shop", Some("sentinel"));
        check("redis+sentinel://:secret@[::1],b/shop/2", Some("sentinel"));
        check("rediss+sentinel://u:p@a/shop", Some("sentinel"));
        check("redis+cluster://a:7000,b", Some("cluster"));
        check("rediss+cluster://u:p@a:7000/", Some("cluster"));
        for none in [
            "",
            "127.0.0.1:6379",
            "http://127.0.0.1",
            "redis+http://127.0.0.1",
            "redis://127.0.0.1/shop",
            "redis://",
            "redis+sentinel://a,b",
            "redis+sentinel://a,b/",
            "redis+sentinel://a,,b/shop",
            "redis+sentinel://a/shop/first",
            "redis+cluster://a,b/1",
            "redis+cluster://",
        ] {
            check(none, None);
        }
    }

    #[test]
    fn an_address_that_is_none_is_not_repeated() {
        let error = parse(&SecretString::from("redis://:hunter2@host:port/")).err();
        let text = format!(
            "{error:?} {}",
            error.map_or(String::new(), |e| e.to_string())
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
}
