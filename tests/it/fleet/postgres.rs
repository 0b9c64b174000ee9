//! The cluster of a fleet's services: stopped, crashed, copied, replaced by a copy and promoted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use super::PATIENCE;

/// The cluster of these services.
pub(crate) struct Postgres {
    cluster: PathBuf,
    logs: [PathBuf; 2],
    programs: PathBuf,
    /// What the server is started with.
    options: String,
}

impl Postgres {
    pub(super) fn of(data_dir: &Path) -> Self {
        let cluster = data_dir.join("postgres").canonicalize().expect("a cluster");
        // the command line that it was started with: its program, quoted arguments
        let command = fs::read_to_string(cluster.join("postmaster.opts")).expect("its command");
        let (postgres, options) = command.trim().split_once(' ').expect("its program");
        Self {
            programs: Path::new(postgres)
                .parent()
                .expect("a directory")
                .to_owned(),
            // the second is written after a restart
            logs: [data_dir.join("postgres.log"), cluster.join("restarted.log")],
            options: options.to_owned(),
            cluster,
        }
    }

    /// Stops it and starts it again on the same port; `mode` is `fast`, which ends sessions, or
    /// `immediate`, which is a crash with recovery.
    pub(crate) async fn restart(&self, mode: &str) {
        self.ctl(&["restart", "--mode", mode]).await;
    }

    /// Stops it, so that all it has acknowledged is in its files.
    pub(crate) async fn stop(&self) {
        self.ctl(&["stop", "--mode", "fast"]).await;
    }

    /// A backup of the running cluster, as `pg_basebackup` makes it, beside it.
    pub(crate) async fn base_backup(&self, database_url: &str) -> PathBuf {
        let access = self.cluster.join("pg_hba.conf");
        let allowed = fs::read_to_string(&access).expect("who may connect");
        let backups = "host replication all 127.0.0.1/32 scram-sha-256\n";
        fs::write(&access, allowed + backups).expect("who may connect");
        self.ctl(&["reload"]).await;
        let backup = self.cluster.with_file_name("backup");
        let mut command = self.program("pg_basebackup");
        command
            .args(["--checkpoint=fast", "--wal-method=stream", "--dbname"])
            .arg(database_url)
            .arg("--pgdata")
            .arg(&backup);
        // its owner may not write beside the cluster
        fs::create_dir(&backup).expect("a directory");
        self.give_away(&backup);
        self.run(command).await;
        backup
    }

    /// A copy of the files of a stopped cluster.
    pub(crate) async fn copy(&self) -> PathBuf {
        let copy = self.cluster.with_file_name("copy");
        let mut command = Command::new("cp");
        command.arg("-a").arg(&self.cluster).arg(&copy);
        let status = command.status().await.expect("cp");
        assert!(status.success());
        copy
    }

    /// Starts other files in place of the stopped cluster's, on its port; promoted, as a standby that takes
    /// over is.
    pub(crate) async fn start_in_place(&self, files: &Path, promoted: bool) {
        fs::rename(&self.cluster, self.cluster.with_file_name("gone")).expect("the old files");
        fs::rename(files, &self.cluster).expect("the new files");
        if promoted {
            let signal = self.cluster.join("standby.signal");
            fs::write(&signal, "").expect("a file");
            self.give_away(&signal);
        }
        self.ctl(&["start", "--options", &self.options]).await;
        if promoted {
            self.ctl(&["promote"]).await;
        }
    }

    /// All that it logged.
    pub(crate) fn log(&self) -> String {
        let read = |log: &PathBuf| fs::read_to_string(log).unwrap_or_default();
        self.logs.iter().map(read).collect()
    }

    async fn ctl(&self, arguments: &[&str]) {
        let mut command = self.program("pg_ctl");
        command.args(arguments).args(["--silent", "--pgdata"]);
        command.arg(&self.cluster);
        if arguments[0] != "reload" {
            command.args(["--wait", "--timeout=60"]);
        }
        if ["start", "restart"].contains(&arguments[0]) {
            command.arg("--log").arg(&self.logs[1]);
        }
        self.run(command).await;
    }

    /// A program of Postgres', as the cluster's owner.
    fn program(&self, name: &str) -> Command {
        let owner = fs::metadata(self.cluster.parent().expect("a directory").join("postgres"));
        let owner = owner.expect("the cluster");
        let mut command = Command::new(self.programs.join(name));
        command.uid(owner.uid()).gid(owner.gid());
        command
    }

    async fn run(&self, mut command: Command) {
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = timeout(PATIENCE, command.status()).await.expect("in time");
        let status = status.expect("a program of Postgres'");
        assert!(status.success(), "{command:?}: {}", self.log());
    }

    /// Has what we made belong to the cluster's owner.
    fn give_away(&self, file: &Path) {
        let owner = fs::metadata(&self.cluster).expect("the cluster");
        std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid())).expect("its owner");
        let mode = if file.is_dir() { 0o700 } else { 0o600 };
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(file, mode).expect("its mode");
    }
}
