//! A Redis of a test's own, which it may kill, freeze and fill.

use std::net::TcpListener;
use std::path::PathBuf;
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
    arguments: Vec<String>,
    process: Child,
}

impl Redis {
    /// With these further settings, as arguments.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        Self::start_on(free_port(), settings).await
    }

    /// On a certain port.
    pub(crate) async fn start_on(port: u16, settings: &[&str]) -> Self {
        let name = u64::from_le_bytes(Entropy::system().bytes());
        let directory = std::env::temp_dir().join(format!("counterfoil-redis-{name:016x}"));
        std::fs::create_dir(&directory).expect("a directory");
        let arguments: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        let process = spawn(port, &directory, &arguments);
        let redis = Self {
            port,
            directory,
            arguments,
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
        self.process = spawn(self.port, &self.directory, &self.arguments);
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

fn spawn(port: u16, directory: &PathBuf, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .args(arguments)
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server: tools/setup installs it")
}
