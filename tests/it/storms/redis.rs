//! The Redis of a storm, and what may happen to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::fleet::freeze;

/// A private Redis with the directory it works in.
pub(super) struct RedisServer {
    client: redis::Client,
    directory: PathBuf,
    /// The one that was started after a kill.
    again: Mutex<Option<Child>>,
}

impl RedisServer {
    /// The Redis of the services.
    pub(super) fn of(url: &str, directory: &Path) -> Self {
        Self {
            client: redis::Client::open(url).expect("an address"),
            directory: directory.to_owned(),
            again: Mutex::new(None),
        }
    }

    /// Has it do something.
    pub(super) async fn command(&self, words: &[&str]) {
        let connection = self.client.get_multiplexed_async_connection().await;
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        let mut connection = connection.expect("a connection to Redis");
        let _: redis::Value = command
            .query_async(&mut connection)
            .await
            .expect("Redis answers");
    }

    /// Takes connections and answers nothing, for a while.
    pub(super) async fn freeze(&self, time: Duration) {
        freeze(self.pid(), time).await;
    }

    /// SIGKILL, and another one at the same address after a while, empty.
    pub(super) async fn replace(&self, after: Duration) {
        let mut again = self.again.lock().await;
        kill_process(Pid::from_raw(self.pid()).expect("a pid"), Signal::KILL)
            .expect("a Redis to kill");
        if let Some(mut child) = again.take() {
            child.wait().await.expect("it ended");
        }
        sleep(after).await;
        let child = Command::new("redis-server")
            .arg("redis.conf")
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server");
        let pid = child.id().expect("a process");
        fs::write(self.pid_file(), format!("{pid}\n")).expect("its pid file");
        *again = Some(child);
        while self
            .client
            .get_multiplexed_async_connection()
            .await
            .is_err()
        {
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join("redis.pid")
    }

    fn pid(&self) -> i32 {
        let pid = fs::read_to_string(self.pid_file()).expect("its pid file");
        pid.trim().parse().expect("a pid")
    }
}
