//! What bare Postgres does with the same rows: pgbench, one transaction a sale, statement by statement.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use counterfoil::clock::{Clock, unix_ms};
use sqlx::PgConnection;
use tokio::process::Command;

use super::load::Window;
use super::stage::Installed;

/// pgbench's own threads.
const THREADS: &str = "2";
/// Different rows that it writes in turn, where they are not all alike. Each is planned once a client.
const ROWS: usize = 8;
/// The latest sales that those rows are taken from.
const SAMPLE: i64 = 4_000;

/// What is written for each sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statements {
    /// Five: the merchant read, where `record_sales` counts; key, sale, order id, queue.
    Five,
    /// The four that write.
    Writes,
}

/// A database of its own on the same cluster, and scripts that write rows of the same size.
#[derive(Debug)]
pub(crate) struct Bare {
    program: PathBuf,
    on: Installed,
    directory: PathBuf,
    runs: u32,
}

/// The scripts for one kind of basket.
#[derive(Debug, Clone)]
pub(crate) struct Scripts {
    five: Vec<PathBuf>,
    writes: Vec<PathBuf>,
    /// Mean length of the details they write, bytes.
    pub(crate) details_bytes: usize,
}

impl Bare {
    /// `postgres` is the running server's pid: pgbench lies beside its program.
    pub(crate) fn new(on: Installed, postgres: u32, out: &Path) -> anyhow::Result<Self> {
        let server = fs::read_link(format!("/proc/{postgres}/exe"))
            .context("the path of Postgres' program cannot be read")?;
        let program = server.with_file_name("pgbench");
        ensure!(
            program.exists(),
            "{} is not there: on Debian it comes with the package postgresql",
            program.display()
        );
        let directory = out.join("pgbench");
        fs::create_dir_all(&directory)
            .with_context(|| format!("{} cannot be made", directory.display()))?;
        Ok(Self {
            program,
            on,
            directory,
            runs: 0,
        })
    }

    /// Scripts with the details of sales that were just recorded for `merchant`, of all lengths.
    pub(crate) async fn scripts(
        &self,
        db: &mut PgConnection,
        merchant: uuid::Uuid,
        name: &str,
    ) -> anyhow::Result<Scripts> {
        let mut details: Vec<Vec<u8>> = sqlx::query_scalar(
            "select details from sale where merchant_id = $1 order by seq desc limit $2",
        )
        .bind(merchant)
        .bind(SAMPLE)
        .fetch_all(db)
        .await?;
        ensure!(
            !details.is_empty(),
            "nothing was recorded that pgbench could write too"
        );
        details.sort_by_key(Vec::len);
        let alike = details[0].len() * 2 > details[details.len() - 1].len();
        let rows = if alike { 1 } else { ROWS.min(details.len()) };
        // the middle one of each of so many equal parts
        let picked: Vec<&[u8]> = (0..rows)
            .map(|row| details[(2 * row + 1) * details.len() / (2 * rows)].as_slice())
            .collect();
        let mut scripts = Scripts {
            five: Vec::new(),
            writes: Vec::new(),
            details_bytes: picked.iter().map(|row| row.len()).sum::<usize>() / rows,
        };
        for (number, details) in picked.into_iter().enumerate() {
            for statements in [Statements::Five, Statements::Writes] {
                let path = self
                    .directory
                    .join(format!("{name}-{number}-{statements:?}.sql"));
                fs::write(&path, self.script(details, statements))
                    .with_context(|| format!("{} cannot be written", path.display()))?;
                match statements {
                    Statements::Five => scripts.five.push(path),
                    Statements::Writes => scripts.writes.push(path),
                }
            }
        }
        Ok(scripts)
    }

    /// Transactions a second with so many clients, in the time that is measured.
    pub(crate) async fn run(
        &mut self,
        scripts: &Scripts,
        statements: Statements,
        clients: u32,
        window: Window,
    ) -> anyhow::Result<f64> {
        self.runs += 1;
        let base = unix_ms(Clock::system().now());
        let mut command = Command::new(&self.program);
        command
            .args(["-n", "-M", "prepared", "-j", THREADS])
            .args(["-c", &clients.to_string()])
            .args([
                "-T",
                &(window.warm_up + window.measured).as_secs().to_string(),
            ])
            .args(["-P", "1"])
            .args(["-D", &format!("base={base}")])
            .args(["-D", &format!("run={}", self.runs)])
            .args(["-D", "n=0"]);
        for script in match statements {
            Statements::Five => &scripts.five,
            Statements::Writes => &scripts.writes,
        } {
            command.arg("-f").arg(script);
        }
        // planned once, not with each of the first values
        command.env(
            "PGOPTIONS",
            "-c synchronous_commit=on -c plan_cache_mode=force_generic_plan",
        );
        connect(&mut command, &self.on.url)?;
        let output = command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .process_group(0)
            .output()
            .await
            .context("pgbench cannot be run")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pgbench failed: {failed}");
        let none_failed =
            said.contains("number of failed transactions: 0 ") || !said.contains("failed");
        ensure!(none_failed, "pgbench had transactions fail: {said}{failed}");
        let rates: Vec<f64> = failed
            .lines()
            .filter_map(progress)
            .filter(|(second, _)| *second > window.warm_up.as_secs_f64() + 0.5)
            .map(|(_, rate)| rate)
            .collect();
        ensure!(!rates.is_empty(), "pgbench said no rates: {said}{failed}");
        Ok(rates.iter().sum::<f64>() / rates.len() as f64)
    }

    /// A transaction with these details. Ids are UUIDv7 of about now, keys without order, as ours are.
    fn script(&self, details: &[u8], statements: Statements) -> String {
        let merchant = self.on.merchants[0].0.0;
        let details = details.iter().fold(String::new(), |mut hex, byte| {
            // writing to a text cannot fail
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let hash = "5a".repeat(32);
        let sale = "(lpad(to_hex(:ms::bigint), 12, '0') || '7' || lpad(:run::text, 3, '0') || '8000' \
                    || lpad(:client_id::text, 12, '0'))::uuid";
        let key = "md5(:run::text || '-' || :client_id::text || '-' || :n::text)::uuid::text";
        let order = "'B' || lpad(:run::text, 5, '0') || '-' || lpad(:client_id::text, 5, '0') || '-' \
                     || lpad(:n::text, 10, '0')";
        let read = match statements {
            Statements::Five => {
                format!("select last_recorded_at from merchant where merchant_id = '{merchant}';\n")
            }
            Statements::Writes => String::new(),
        };
        format!(
            "\\set n :n + 1\n\
             \\set ms :base + :n\n\
             \\set seq :run * 1000000000000 + :client_id * 1000000000 + :n\n\
             begin;\n\
             {read}\
             insert into idempotency_key (merchant_id, space, key, fingerprint, answer, sale_id, created_at) \
             values ('{merchant}', 0, {key}, '\\x{hash}', 1, {sale}, now()) on conflict do nothing;\n\
             insert into sale (merchant_id, sale_id, seq, order_id, kind, currency, amount_minor, recorded_at, \
             sold_at, details, details_hash, salt, fingerprint) \
             values ('{merchant}', {sale}, :seq, {order}, 1, 'GBP', 5985, now(), now(), '\\x{details}', \
             '\\x{hash}', '\\x{hash}', '\\x{hash}');\n\
             insert into sale_order (merchant_id, order_id, sale_id) values ('{merchant}', {order}, {sale});\n\
             insert into pending_sale (merchant_id, seq, sale_id, recorded_at) \
             values ('{merchant}', :seq, {sale}, now());\n\
             commit;\n"
        )
    }
}

/// The second and the rate in "progress: 3.0 s, 8123.4 tps, lat …".
fn progress(line: &str) -> Option<(f64, f64)> {
    let (second, rest) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
    let (rate, _) = rest.split_once(" tps")?;
    Some((second.parse().ok()?, rate.parse().ok()?))
}

/// Gives a program of Postgres an address, and the password where others cannot list it.
fn connect(command: &mut Command, url: &str) -> anyhow::Result<()> {
    let url = reqwest::Url::parse(url).context("a database's address")?;
    command
        .args(["-h", url.host_str().unwrap_or("127.0.0.1")])
        .args(["-p", &url.port().unwrap_or(5432).to_string()])
        .args(["-U", url.username()])
        .arg(url.path().trim_start_matches('/'))
        .env("PGPASSWORD", url.password().unwrap_or_default());
    Ok(())
}
