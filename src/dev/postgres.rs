//! The private Postgres: a cluster of the data directory, durable, on a loopback port.
//!
//! A port and not a socket, because every client takes such an address and a data directory may
//! be too deep for a socket's 107 bytes. Others on the machine reach the port too, hence the
//! password.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, test_kill_process};
use tokio::io::AsyncWriteExt;

use super::DevError;
use super::data_dir::{DataDir, random_hex};
use super::process::{Identity, Process, User, free_port, isolate, read_pid};
use super::programs::PostgresPrograms;
use super::service::{self, Running, Service};

/// The cluster's name in the data directory.
pub(super) const CLUSTER: &str = "postgres";
/// The cluster's superuser and our database in it.
const NAME: &str = "counterfoil";
/// How the name of a cluster begins that is being made, or that is kept elsewhere.
const UNFINISHED: &str = "postgres-";
/// Where clusters go whose data directory their user cannot reach.
const ELSEWHERE: &str = "/var/lib/counterfoil";
/// After a crash it replays its log first.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Who may connect: nobody but who knows the password, from this machine.
const ACCESS: &str = "host all all 127.0.0.1/32 scram-sha-256\n";

/// Settings that hold whatever the cluster's own configuration says. What is acknowledged has to
/// survive a crash here as in production, or the drills would prove nothing.
///
/// A batch is some 300 MB of rows: in less than that of buffers they are written out and read again
/// while they are sealed.
const SETTINGS: [&str; 10] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
    "max_connections=200",
    "shared_buffers=512MB",
    "max_wal_size=4GB",
    "timezone=UTC",
    "log_timezone=UTC",
];

/// Adopts or starts the Postgres of a data directory, making its cluster the first time.
pub(super) async fn start(
    data_dir: &DataDir,
    installed: &[PostgresPrograms],
    settings: &[String],
) -> Result<Running<String>, DevError> {
    let user = unprivileged_user()?;
    let password = data_dir.password("postgres.password")?;
    let link = data_dir.join(CLUSTER);
    let version = fs::read_to_string(link.join("PG_VERSION")).ok();
    let programs = choose(installed, version.as_deref().map(str::trim), &link)?;
    if version.is_none() {
        create_cluster(data_dir, programs, user, &password).await?;
    }
    let cluster = link.canonicalize().map_err(DevError::io("find", &link))?;
    service::adopt_or_start(&Postgres {
        program: &programs.postgres,
        pid_file: cluster.join("postmaster.pid"),
        cluster,
        log: data_dir.join("postgres.log"),
        user,
        password,
        settings,
    })
    .await
}

/// Stops it with a fast shutdown: sessions are cut off, nothing that was committed is lost.
pub(super) async fn stop(mut running: Running<String>) -> Result<(), DevError> {
    service::stop(Postgres::NAME, &mut running.process, Signal::INT).await
}

struct Postgres<'a> {
    program: &'a Path,
    cluster: PathBuf,
    pid_file: PathBuf,
    log: PathBuf,
    user: Option<User>,
    password: String,
    settings: &'a [String],
}

impl Service for Postgres<'_> {
    const NAME: &'static str = "Postgres";
    const ADVICE: &'static str = "its log says why";
    type Endpoint = String;

    fn identity(&self) -> Identity {
        Identity {
            program: "postgres",
            directory: self.cluster.clone(),
        }
    }

    fn pid_file(&self) -> &Path {
        &self.pid_file
    }

    fn log(&self) -> &Path {
        &self.log
    }

    fn start_limit(&self) -> Duration {
        START_LIMIT
    }

    fn launch(&self) -> Result<Process, DevError> {
        self.remove_stale_pid_file()?;
        let mut command = Command::new(self.program);
        command.arg("-D").arg(&self.cluster);
        // of two of one name the last counts
        let settings = self.settings.iter().map(String::as_str);
        for setting in SETTINGS.into_iter().chain(settings) {
            command.args(["-c", setting]);
        }
        command.args(["-c", &format!("port={}", free_port()?)]);
        run_as(&mut command, self.user);
        Process::detach(command, self.identity(), &self.log)
    }

    /// Postgres notes its port in the fourth line of its pid file, and its state in the eighth.
    fn endpoint(&self, pid: i32) -> Option<String> {
        let content = fs::read_to_string(&self.pid_file).ok()?;
        let lines: Vec<&str> = content.lines().map(str::trim).collect();
        let port: u16 = lines.get(3)?.parse().ok()?;
        let is_ready = lines[0] == pid.to_string() && *lines.get(7)? == "ready";
        is_ready.then(|| {
            let password = &self.password;
            format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{NAME}")
        })
    }
}

impl Postgres<'_> {
    /// After a reboot the pid in the file may be another program's, and Postgres refuses to start
    /// as it takes that for itself. Where the pid is nobody's, Postgres sees to the file, and to
    /// more than we could.
    fn remove_stale_pid_file(&self) -> Result<(), DevError> {
        let recorded = read_pid(&self.pid_file).and_then(Pid::from_raw);
        if recorded.is_some_and(|pid| test_kill_process(pid).is_ok()) {
            fs::remove_file(&self.pid_file).map_err(DevError::io("delete", &self.pid_file))?;
        }
        Ok(())
    }
}

/// The installed Postgres of the cluster's version; the preferred one for a new cluster.
fn choose<'a>(
    installed: &'a [PostgresPrograms],
    version: Option<&str>,
    cluster: &Path,
) -> Result<&'a PostgresPrograms, DevError> {
    installed
        .iter()
        .find(|programs| version.is_none_or(|version| version == programs.version))
        .ok_or_else(|| DevError::PostgresVersion {
            data_dir: cluster.to_owned(),
            cluster: version.unwrap_or_default().to_owned(),
            installed: installed
                .iter()
                .map(|programs| programs.version.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// Makes a cluster with our database in it. It gets its name when it is whole, so a start that
/// was killed here leaves nothing behind that looks like one.
async fn create_cluster(
    data_dir: &DataDir,
    programs: &PostgresPrograms,
    user: Option<User>,
    password: &str,
) -> Result<(), DevError> {
    let parent = cluster_parent(data_dir, user)?;
    delete_unfinished(data_dir.path());
    let new = parent.join(format!("{UNFINISHED}{}", random_hex::<8>()?));
    DirBuilder::new()
        .mode(0o700)
        .create(&new)
        .map_err(DevError::io("make the directory", &new))?;
    if let Some(user) = user {
        chown(&new, Some(user.uid), Some(user.gid)).map_err(DevError::io("give away", &new))?;
    }

    let mut initdb = Command::new(&programs.initdb);
    initdb.arg("-D").arg(&new).args([
        &format!("--username={NAME}"),
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--data-checksums",
    ]);
    run(initdb, "initdb", &new, user, "").await?;
    let access = new.join("pg_hba.conf");
    fs::write(&access, ACCESS).map_err(DevError::io("write", &access))?;

    // the single-user mode needs neither a port nor a client
    let mut single = Command::new(&programs.postgres);
    single.args(["--single", "-D"]).arg(&new).arg("postgres");
    let statements = format!(
        "alter role {NAME} password '{password}'\n\
         create database {NAME}\n"
    );
    run(single, "postgres --single", &new, user, &statements).await?;

    let cluster = data_dir.join(CLUSTER);
    if parent == data_dir.path() {
        fs::rename(&new, &cluster).map_err(DevError::io("rename", &new))
    } else {
        tracing::info!(cluster = %new.display(), "Postgres' user cannot reach the data directory, so the cluster is elsewhere");
        symlink(&new, &cluster).map_err(DevError::io("link", &cluster))
    }
}

/// Where the cluster goes: into the data directory, unless Postgres' user cannot get there.
fn cluster_parent(data_dir: &DataDir, user: Option<User>) -> Result<PathBuf, DevError> {
    let here = data_dir.path();
    let mut test = Command::new("/bin/sh");
    test.args(["-c", r#"test -x "$1""#, "sh"])
        .arg(here)
        .current_dir("/");
    run_as(&mut test, user);
    let status = test
        .status()
        .map_err(DevError::io("run", Path::new("/bin/sh")))?;
    if status.success() {
        return Ok(here.to_owned());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(ELSEWHERE)
        .map_err(DevError::io("make the directory", Path::new(ELSEWHERE)))?;
    Ok(PathBuf::from(ELSEWHERE))
}

/// Deletes what killed starts left behind. An `initdb` of theirs may still write, so this may
/// fail; then the next start has another go.
fn delete_unfinished(data_dir: &Path) {
    for entry in fs::read_dir(data_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Runs a program of the set-up to its end. The single-user mode exits with 0 also after an
/// error in a statement, so what it says counts as well.
async fn run(
    mut command: Command,
    program: &'static str,
    directory: &Path,
    user: Option<User>,
    input: &str,
) -> Result<(), DevError> {
    run_as(isolate(&mut command, directory), user);
    let name = PathBuf::from(command.get_program());
    let output = output_of(command, input)
        .await
        .map_err(DevError::io("run", &name))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let refused = ["ERROR:", "FATAL:", "PANIC:"]
        .iter()
        .any(|word| said.contains(word));
    if output.status.success() && !refused {
        return Ok(());
    }
    Err(DevError::SetUp {
        program,
        output: format!("{}{said}", String::from_utf8_lossy(&output.stdout)),
    })
}

async fn output_of(command: Command, input: &str) -> std::io::Result<Output> {
    let mut child = tokio::process::Command::from(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for us to answer
        .process_group(0)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    child.wait_with_output().await
}

fn run_as(command: &mut Command, user: Option<User>) {
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
}

/// Who runs Postgres: ourselves, or as root somebody else.
fn unprivileged_user() -> Result<Option<User>, DevError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| {
            let uid = id_of("-u", name)?;
            let gid = id_of("-g", name)?;
            Some(Some(User { uid, gid }))
        })
        .ok_or(DevError::NoUnprivilegedUser)
}

fn id_of(option: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([option, name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
