//! Services of a storm's own and several `serve` processes on them, all of which may be killed, frozen
//! and started again. What one storm breaks is nobody else's.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use counterfoil::clock::{Clock, Entropy};
use counterfoil::dev::{ChainOptions, Options, Services};
use counterfoil::http::auth::Role;
use counterfoil::http::keys::{self, NewKey};
use counterfoil::ids::MerchantId;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::process::Child;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::program::{Scratch, program, run};
use crate::harness::{Client, Redis};

/// How long a process or a service may take to be up.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(20);

/// The services and the processes.
pub(super) struct Fleet {
    pub(super) processes: Vec<Process>,
    pub(super) redis: Mutex<Redis>,
    pub(super) postgres: Postgres,
    /// The database, as its owner.
    pub(super) owner: PgPool,
    database_url: String,
    // in this order: what is last is dropped last
    _services: Kept,
    scratch: Scratch,
}

impl Fleet {
    /// Starts the services and `count` processes. Each serves, and seals every second.
    pub(super) async fn start(count: usize) -> Self {
        let scratch = Scratch::new();
        let services = Kept::start(&scratch.join("data")).await;
        let running = services.running();
        let database_url = running.database_url().to_owned();
        run(program(&["migrate"]).env("DATABASE_URL", &database_url))
            .await
            .expect(0);
        let redis = Redis::start(&[]).await;
        let postgres = Postgres::of(running.data_dir());
        let processes = (0..count)
            .map(|number| Process::new(number, &database_url, &redis, &scratch))
            .collect();
        let owner = PgPoolOptions::new()
            .max_connections(4)
            .connect_lazy(&database_url)
            .expect("an address");
        let fleet = Self {
            processes,
            redis: Mutex::new(redis),
            postgres,
            owner,
            database_url,
            _services: services,
            scratch,
        };
        for process in &fleet.processes {
            process.start().await;
        }
        fleet
    }

    /// The addresses of the processes.
    pub(super) fn urls(&self) -> Vec<String> {
        self.processes
            .iter()
            .map(|process| process.url.clone())
            .collect()
    }

    /// A new merchant with the keys of this many tills.
    pub(super) async fn merchant(&self, tills: usize) -> (MerchantId, Vec<String>) {
        let mut create = program(&["merchant", "create", "--name", "Shop"]);
        let made = run(create.env("DATABASE_URL", &self.database_url)).await;
        let merchant: MerchantId = made.expect(0).stdout.trim().parse().expect("an id");
        let mut owner = PgConnection::connect(&self.database_url)
            .await
            .expect("the database");
        let mut texts = Vec::new();
        for _ in 0..tills {
            let new = NewKey {
                merchant,
                role: Role::Pos,
                label: "till",
                expires_at: None,
            };
            let made = keys::create(&mut owner, &Clock::system(), &Entropy::system(), &new).await;
            let (_, text) = made.expect("a key").expect("the merchant exists");
            texts.push(text.expose_secret().to_owned());
        }
        (merchant, texts)
    }

    /// Ends every connection of the processes to the database.
    pub(super) async fn cut_connections(&self) {
        let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                   where datname = current_database() and application_name = 'counterfoil'";
        let _: i64 = sqlx::query_scalar(cut)
            .fetch_one(&self.owner)
            .await
            .expect("the connections");
    }

    /// The deadlocks that Postgres counted in this database, and those in its logs: a crash empties the
    /// counters.
    pub(super) async fn deadlocks(&self) -> (i64, usize) {
        let counted: i64 = sqlx::query_scalar(
            "select deadlocks from pg_stat_database where datname = current_database()",
        )
        .fetch_one(&self.owner)
        .await
        .expect("the counters");
        let logged = self.postgres.log().matches("deadlock detected").count();
        (counted, logged)
    }

    /// What a process wrote that no process may write, with the process.
    pub(super) fn panics(&self) -> Vec<String> {
        let logs = (0..self.processes.len()).map(|number| log_of(&self.scratch, number));
        logs.flat_map(|log| {
            let text = fs::read_to_string(&log).unwrap_or_default();
            text.lines()
                .filter(|line| line.contains("panicked"))
                .map(|line| format!("{}: {line}", log.display()))
                .collect::<Vec<_>>()
        })
        .collect()
    }

    /// The last warnings and errors of the processes, for people.
    pub(super) fn last_words(&self) -> String {
        let logs = (0..self.processes.len()).map(|number| log_of(&self.scratch, number));
        let tails = logs.map(|log| {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(20).collect();
            let lines: Vec<&str> = lines.into_iter().rev().collect();
            format!("{}:\n{}", log.display(), lines.join("\n"))
        });
        tails.collect::<Vec<_>>().join("\n")
    }
}

/// A `serve` process on an address of its own, which it keeps over its deaths.
pub(super) struct Process {
    /// Where it listens.
    pub(super) url: String,
    number: usize,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Process {
    fn new(number: usize, database_url: &str, redis: &Redis, scratch: &Scratch) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let environment = vec![
            ("DATABASE_URL", database_url.to_owned()),
            ("REDIS_URL", redis.url().expose_secret().to_owned()),
            ("COUNTERFOIL_LISTEN", listen.clone()),
            ("COUNTERFOIL_METRICS_LISTEN", "127.0.0.1:0".to_owned()),
            // the same on all, as behind one name
            (
                "COUNTERFOIL_PUBLIC_URL",
                "https://receipts.example".to_owned(),
            ),
            ("COUNTERFOIL_BATCH_INTERVAL", "1s".to_owned()),
        ];
        Self {
            url: format!("http://{listen}"),
            number,
            environment,
            log: log_of(scratch, number),
            child: Mutex::new(None),
        }
    }

    /// Starts it, again and again while it cannot, as whatever watches over a service does.
    pub(super) async fn start(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut held = self.child.lock().await;
        let anybody = Client::new(&self.url, None);
        loop {
            let mut child = self.spawn();
            while let Ok(None) = child.try_wait() {
                let asking = anybody.try_send(Method::GET, "/livez", &[], "");
                let alive = timeout(Duration::from_secs(1), asking).await;
                if alive.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200)) {
                    *held = Some(child);
                    return;
                }
                assert!(Instant::now() < deadline, "process {} hangs", self.number);
                sleep(POLL).await;
            }
            assert!(
                Instant::now() < deadline,
                "process {} does not start",
                self.number
            );
            sleep(POLL).await;
        }
    }

    fn spawn(&self) -> Child {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log");
        let errors = log.try_clone().expect("a log");
        program(&["serve", "--log-format", "text"])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts")
    }

    /// SIGKILL.
    pub(super) async fn kill(&self) {
        if let Some(mut child) = self.child.lock().await.take() {
            child.kill().await.expect("a process to kill");
        }
    }

    /// Neither runs nor lets go of anything, for a while.
    pub(super) async fn freeze(&self, time: Duration) {
        let held = self.child.lock().await;
        let pid = held.as_ref().and_then(Child::id);
        let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.expect("a process");
        kill_process(pid, Signal::STOP).expect("a process to stop");
        sleep(time).await;
        kill_process(pid, Signal::CONT).expect("a stopped process");
    }
}

fn log_of(scratch: &Scratch, number: usize) -> PathBuf {
    scratch.join(&format!("serve-{number}.log"))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// The cluster of the storm's services.
pub(super) struct Postgres {
    cluster: PathBuf,
    logs: [PathBuf; 2],
    pg_ctl: PathBuf,
}

impl Postgres {
    fn of(data_dir: &Path) -> Self {
        let cluster = data_dir.join("postgres").canonicalize().expect("a cluster");
        // the command line that it was started with: its program, quoted arguments
        let command = fs::read_to_string(cluster.join("postmaster.opts")).expect("its command");
        let postgres = command.split(' ').next().expect("its program");
        Self {
            pg_ctl: Path::new(postgres).with_file_name("pg_ctl"),
            // the second is written after a restart
            logs: [data_dir.join("postgres.log"), cluster.join("restarted.log")],
            cluster,
        }
    }

    /// Stops it and starts it again on the same port; `mode` is `fast`, which ends sessions, or
    /// `immediate`, which is a crash with recovery.
    pub(super) async fn restart(&self, mode: &str) {
        use std::os::unix::fs::MetadataExt;
        let owner = fs::metadata(&self.cluster).expect("the cluster");
        let mut restart = tokio::process::Command::new(&self.pg_ctl);
        restart
            .args([
                "restart",
                "--wait",
                "--silent",
                "--timeout=60",
                "--mode",
                mode,
                "--pgdata",
            ])
            .arg(&self.cluster)
            .arg("--log")
            .arg(&self.logs[1])
            .current_dir(&self.cluster)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .uid(owner.uid())
            .gid(owner.gid());
        let status = timeout(PATIENCE, restart.status()).await.expect("in time");
        assert!(status.expect("pg_ctl").success(), "{}", self.log());
    }

    /// All that it logged.
    pub(super) fn log(&self) -> String {
        let read = |log: &PathBuf| fs::read_to_string(log).unwrap_or_default();
        self.logs.iter().map(read).collect()
    }
}

/// Services that are stopped and deleted when dropped, also a Postgres that was started again meanwhile.
struct Kept {
    services: Option<Services>,
    options: Options,
}

impl Kept {
    async fn start(data_dir: &Path) -> Self {
        let options = Options {
            data_dir: data_dir.to_owned(),
            reset_chain: false,
            chain: ChainOptions::default(),
        };
        let services = Services::start(&options).await.expect("the services");
        Self {
            services: Some(services),
            options,
        }
    }

    fn running(&self) -> &Services {
        self.services.as_ref().expect("until it is dropped")
    }
}

impl Drop for Kept {
    /// Let go of and taken up again, so that a Postgres that was started anew is found by its pid file. On a thread with a runtime of its own: dropping cannot wait.
    fn drop(&mut self) {
        drop(self.services.take());
        let options = self.options.clone();
        let ending = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let services = Services::start(&options).await.expect("the services");
                services.discard().await.expect("they end");
            });
        });
        if ending.join().is_err() {
            eprintln!("services were left in {}", self.options.data_dir.display());
        }
    }
}
