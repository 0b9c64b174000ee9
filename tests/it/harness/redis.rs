//! Redis of a test's own, alone, as a Cluster or behind a Sentinel, which it may kill, freeze and fill.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use counterfoil::clock::Entropy;
use redis::Client;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;

use super::eventually;

/// A `redis-server`; killed when dropped.
pub(crate) struct Redis {
    port: u16,
    directory: PathBuf,
    process: Child,
}

/// Three nodes that share the slots of a Cluster.
pub(crate) struct Cluster {
    /// In the order of their slots.
    pub(crate) nodes: Vec<Redis>,
}

/// A master, its replica, and the Sentinel that promotes it.
pub(crate) struct Watched {
    /// Master of the service `shop`, at first.
    pub(crate) master: Redis,
    _replica: Redis,
    sentinel: Redis,
}

impl Redis {
    /// With these further lines in its configuration.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        Self::launch(&[&["save \"\"", "appendonly no"], settings].concat()).await
    }

    async fn launch(settings: &[&str]) -> Self {
        let name = u64::from_le_bytes(Entropy::system().bytes());
        let directory = std::env::temp_dir().join(format!("counterfoil-redis-{name:016x}"));
        std::fs::create_dir(&directory).expect("a directory");
        let port = free_port();
        let configuration = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\n{}\n",
            directory.display(),
            settings.join("\n")
        );
        std::fs::write(directory.join("redis.conf"), configuration).expect("its configuration");
        let process = spawn(&directory);
        let redis = Self {
            port,
            directory,
            process,
        };
        redis.is_up().await;
        redis
    }

    /// Its port on this machine.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub(crate) fn url(&self) -> SecretString {
        SecretString::from(format!("redis://127.0.0.1:{}/", self.port))
    }

    /// Kills it without a word.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("its own process");
        self.process.wait().expect("its own process");
    }

    /// Starts it again on its port, empty.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(&self.directory);
        self.is_up().await;
    }

    /// Stops it in its tracks; connections stay open.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it for something, beside the product.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command)
            .await
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    async fn try_ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let client = Client::open(format!("redis://127.0.0.1:{}/", self.port))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut cmd = redis::cmd(command[0]);
        cmd.arg(&command[1..]);
        cmd.query_async(&mut connection).await
    }

    async fn is_up(&self) {
        eventually("Redis answers", || async {
            match self.try_ask::<redis::Value>(&["PING"]).await {
                Ok(_) => Some(()),
                // it wants a password: it is there
                Err(error) => (error.code() == Some("NOAUTH")).then_some(()),
            }
        })
        .await;
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal).expect("its own process");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A port that nobody listens on at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn spawn(directory: &Path) -> Child {
    let mut command = Command::new("redis-server");
    command.arg("redis.conf");
    let configuration = std::fs::read_to_string(directory.join("redis.conf"));
    if configuration.is_ok_and(|text| text.contains("sentinel monitor")) {
        command.arg("--sentinel");
    }
    command
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server: tools/setup installs it")
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let mut nodes = Vec::new();
        let slots = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        let mut buses = Vec::new();
        for (first, last) in slots {
            // unless told, a node's bus listens 10,000 ports above it, where there may be none
            let bus = format!("cluster-port {}", free_port());
            let settings = ["cluster-enabled yes", "cluster-node-timeout 1000", &bus];
            let node = Redis::start(&settings).await;
            node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", first, last])
                .await;
            buses.push(bus.trim_start_matches("cluster-port ").to_owned());
            nodes.push(node);
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            let port = node.port.to_string();
            nodes[0]
                .ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, bus])
                .await;
        }
        let cluster = Self { nodes };
        for node in &cluster.nodes {
            eventually("the Cluster is whole", async || {
                let info: String = node.ask(&["CLUSTER", "INFO"]).await;
                let whole = info.contains("cluster_state:ok") && info.contains("cluster_size:3");
                whole.then_some(())
            })
            .await;
        }
        cluster
    }

    /// By two of its nodes.
    pub(crate) fn url(&self) -> SecretString {
        let [first, second, ..] = self.nodes.as_slice() else {
            panic!("three nodes")
        };
        SecretString::from(format!(
            "redis+cluster://127.0.0.1:{},127.0.0.1:{}",
            first.port, second.port
        ))
    }
}

impl Watched {
    pub(crate) async fn start() -> Self {
        let master = Redis::start(&[]).await;
        let replicaof = format!("replicaof 127.0.0.1 {}", master.port);
        let replica = Redis::start(&[&replicaof, "repl-diskless-sync-delay 0"]).await;
        eventually("the replica follows", async || {
            let info: String = replica.ask(&["INFO", "replication"]).await;
            info.contains("master_link_status:up").then_some(())
        })
        .await;
        let monitor = format!("sentinel monitor shop 127.0.0.1 {} 1", master.port);
        let sentinel = Redis::launch(&[
            &monitor,
            "sentinel down-after-milliseconds shop 500",
            "sentinel failover-timeout shop 2000",
        ])
        .await;
        eventually("the Sentinel knows the replica", async || {
            let known: Vec<redis::Value> = sentinel.ask(&["SENTINEL", "REPLICAS", "shop"]).await;
            (!known.is_empty()).then_some(())
        })
        .await;
        Self {
            master,
            _replica: replica,
            sentinel,
        }
    }

    /// By a Sentinel that is not there, and the one that is.
    pub(crate) fn url(&self) -> SecretString {
        SecretString::from(format!(
            "redis+sentinel://127.0.0.1:1,127.0.0.1:{}/shop",
            self.sentinel.port
        ))
    }
}
