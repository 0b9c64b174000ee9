//! Services of a test's own and several `serve` processes on them, all of which may be killed, frozen
//! and started again. What one test breaks is nobody else's.

mod postgres;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use counterfoil::clock::{Clock, Entropy};
use counterfoil::dev::{ChainOptions, DevError, Options, Services};
use counterfoil::http::auth::Role;
use counterfoil::http::keys::{self, NewKey};
use counterfoil::ids::MerchantId;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use postgres::Postgres;

use crate::cli::program::{Scratch, program, run};
use crate::harness::{Client, Redis};

/// How long a process or a service may take to be up.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(20);

/// The services and the processes.
pub(crate) struct Fleet {
    pub(crate) processes: Vec<Process>,
    pub(crate) redis: Mutex<Redis>,
    pub(crate) postgres: Postgres,
    /// The database, as its owner.
    pub(crate) owner: PgPool,
    pub(crate) database_url: String,
    // in this order: what is last is dropped last
    services: Kept,
    /// Where its files are.
    pub(crate) scratch: Scratch,
}

impl Fleet {
    /// Starts the services and `count` processes. Each serves, and seals every second.
    pub(crate) async fn start(count: usize) -> Self {
        let fleet = Self::prepare(count).await;
        for process in &fleet.processes {
            process.start().await;
        }
        fleet
    }

    /// Starts the services; the processes may be told more before they are started.
    pub(crate) async fn prepare(count: usize) -> Self {
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
        Self {
            processes,
            redis: Mutex::new(redis),
            postgres,
            owner,
            database_url,
            services,
            scratch,
        }
    }

    /// A command of the operator, who knows the database.
    pub(crate) fn operator(&self, args: &[&str]) -> Command {
        let mut command = program(args);
        command.env("DATABASE_URL", &self.database_url);
        command
    }

    /// The chain of the services.
    pub(crate) fn rpc_url(&self) -> &str {
        self.services.running().rpc_url()
    }

    /// The addresses of the processes.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.processes
            .iter()
            .map(|process| process.url.clone())
            .collect()
    }

    /// A new merchant with the keys of this many tills.
    pub(crate) async fn merchant(&self, tills: usize) -> (MerchantId, Vec<String>) {
        let made = run(&mut self.operator(&["merchant", "create", "--name", "Shop"])).await;
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
    pub(crate) async fn cut_connections(&self) {
        let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                   where datname = current_database() and application_name = 'counterfoil'";
        let _: i64 = sqlx::query_scalar(cut)
            .fetch_one(&self.owner)
            .await
            .expect("the connections");
    }

    /// The deadlocks that Postgres counted in this database, and those in its logs: a crash empties the
    /// counters.
    pub(crate) async fn deadlocks(&self) -> (i64, usize) {
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
    pub(crate) fn panics(&self) -> Vec<String> {
        self.lines_with("panicked")
    }

    /// The lines of the processes' logs in which something stands, with the process.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<String> {
        self.logs()
            .iter()
            .flat_map(|log| {
                let lines = fs::read_to_string(log).unwrap_or_default();
                lines
                    .lines()
                    .filter(|line| line.contains(text))
                    .map(|line| format!("{}: {line}", log.display()))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// The files of what the processes log.
    pub(crate) fn logs(&self) -> Vec<PathBuf> {
        (0..self.processes.len())
            .map(|number| log_of(&self.scratch, number))
            .collect()
    }

    /// The last warnings and errors of the processes, for people.
    pub(crate) fn last_words(&self) -> String {
        let tails = self.logs().into_iter().map(|log| {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(20).collect();
            let lines: Vec<&str> = lines.into_iter().rev().collect();
            format!("{}:\n{}", log.display(), lines.join("\n"))
        });
        tails.collect::<Vec<_>>().join("\n")
    }
}

/// A `serve` process on an address of its own, which it keeps over its deaths.
pub(crate) struct Process {
    /// Where it listens.
    pub(crate) url: String,
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

    /// What it is told beside where everything is, from its next start on.
    pub(crate) fn tell(&mut self, name: &'static str, value: &str) {
        self.environment.push((name, value.to_owned()));
    }

    /// Starts it, again and again while it cannot, as whatever watches over a service does.
    pub(crate) async fn start(&self) {
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
    pub(crate) async fn kill(&self) {
        if let Some(mut child) = self.child.lock().await.take() {
            child.kill().await.expect("a process to kill");
        }
    }

    /// Neither runs nor lets go of anything, for a while.
    pub(crate) async fn freeze(&self, time: Duration) {
        let held = self.child.lock().await;
        let pid = held.as_ref().and_then(pid_of).expect("a process");
        kill_process(pid, Signal::STOP).expect("a process to stop");
        sleep(time).await;
        kill_process(pid, Signal::CONT).expect("a stopped process");
    }

    /// Tells it to stop and waits for that; whether it was up.
    pub(crate) async fn stop(&self) -> bool {
        let Some(mut child) = self.child.lock().await.take() else {
            return false;
        };
        let pid = pid_of(&child).expect("a process");
        kill_process(pid, Signal::TERM).expect("a process to stop");
        let ended = timeout(PATIENCE, child.wait()).await;
        let status = ended.expect("it stops in time").expect("a process");
        assert!(status.success(), "process {} ended: {status}", self.number);
        true
    }

    /// Whether it was started and neither killed nor stopped.
    pub(crate) async fn is_up(&self) -> bool {
        self.child.lock().await.is_some()
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

fn log_of(scratch: &Scratch, number: usize) -> PathBuf {
    scratch.join(&format!("serve-{number}.log"))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
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
            postgres: Vec::new(),
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
    /// Let go of and taken up again, so that a Postgres that was started anew is found by its pid file. On a
    /// thread with a runtime of its own: dropping cannot wait.
    fn drop(&mut self) {
        drop(self.services.take());
        let options = self.options.clone();
        let ending = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                taken_up(&options).await.discard().await.expect("they end");
            });
        });
        if ending.join().is_err() {
            eprintln!("services were left in {}", self.options.data_dir.display());
        }
    }
}

/// Services that were let go of. A process that is being started by another thread has our lock on them
/// until it is its own program.
async fn taken_up(options: &Options) -> Services {
    let mut tries = 0;
    loop {
        match Services::start(options).await {
            Err(DevError::InUse { .. }) if tries < 50 => tries += 1,
            services => return services.expect("the services"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}
