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
        let backup = self.directory("backup");
        let mut command = self.program("pg_basebackup");
        command
            .args(["--checkpoint=fast", "--wal-method=stream", "--dbname"])
            .arg(database_url)
            .arg("--pgdata")
            .arg(&backup);
        self.run(command).await;
        backup
    }

    /// A dump of all that the running cluster holds, as `pg_dumpall` makes it.
    pub(crate) async fn dump(&self, database_url: &str) -> PathBuf {
        let dump = self.directory("dump").join("all.sql");
        let mut command = self.program("pg_dumpall");
        command
            .args(["--dbname", database_url, "--file"])
            .arg(&dump);
        // it does not hand on what the address says to the dumps of each database
        let address = reqwest::Url::parse(database_url).expect("an address");
        command.env("PGPASSWORD", address.password().expect("a password"));
        self.run(command).await;
        dump
    }

    /// A stopped cluster of its own, made anew, into which a dump is loaded.
    pub(crate) async fn load(&self, dump: &Path) -> PathBuf {
        let (files, socket) = (self.directory("loaded"), self.directory("socket"));
        let mut initdb = self.program("initdb");
        initdb
            .args(["--username=counterfoil", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--pgdata"])
            .arg(&files);
        self.run(initdb).await;
        let quiet = format!("-c listen_addresses= -k {}", socket.display());
        self.ctl_of(&files, &["start", "--options", &quiet]).await;
        let mut psql = self.program("psql");
        psql.args(["--no-psqlrc", "--quiet", "--username=counterfoil"])
            .args(["--dbname=postgres", "--host"])
            .arg(&socket)
            .arg("--file")
            .arg(dump);
        self.run(psql).await;
        self.ctl_of(&files, &["stop", "--mode", "fast"]).await;
        let access = |cluster: &Path| cluster.join("pg_hba.conf");
        fs::copy(access(&self.cluster), access(&files)).expect("who may connect");
        files
    }

    /// An empty directory beside the cluster, which its owner may write into.
    fn directory(&self, name: &str) -> PathBuf {
        let directory = self.cluster.with_file_name(name);
        fs::create_dir(&directory).expect("a directory");
        self.give_away(&directory);
        directory
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
        self.ctl_of(&self.cluster, arguments).await;
    }

    async fn ctl_of(&self, cluster: &Path, arguments: &[&str]) {
        let mut command = self.program("pg_ctl");
        command.args(arguments).args(["--silent", "--pgdata"]);
        command.arg(cluster);
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
            .stdout(Stdio::null());
        // a server that is started here keeps what it is given, so it is a file
        let said = self.cluster.with_file_name("said");
        command.stderr(fs::File::create(&said).expect("a file"));
        let status = timeout(PATIENCE, command.status()).await.expect("in time");
        let said = fs::read_to_string(&said).unwrap_or_default();
        let status = status.expect("a program of Postgres'");
        assert!(status.success(), "{command:?}: {said}{}", self.log());
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
