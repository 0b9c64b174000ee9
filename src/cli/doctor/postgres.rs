//! The database: whether it can be used, how it is set, and how the work in it goes.

use secrecy::SecretString;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::{Checks, span};
use crate::anchor::store::chains::{self, ChainHead, Registry};
use crate::clock::Clock;
use crate::database::{self, trust};
use crate::limits;

/// A sale that waits longer for its batch than this is late, seconds. Intervals are a minute as a rule.
const LATE: i64 = 15 * 60;
/// How far the clocks may differ before it is worth a word, and before it is a fault; seconds.
const CLOCKS: [f64; 2] = [2.0, 60.0];

/// What later checks need of the rows.
pub(super) struct Known {
    pub(super) registries: Vec<(Registry, Option<ChainHead>)>,
}

/// Everything that the database alone tells; none where it does not.
pub(super) async fn check(url: &SecretString, pool: &PgPool, checks: &mut Checks) -> Option<Known> {
    if let Err(error) = database::check_version(url).await {
        checks.fail("schema", format!("{:#}", anyhow::Error::from(error)));
        return None;
    }
    checks.ok("schema", "the version of this program");
    let done: sqlx::Result<Known> = async {
        let mut db = pool.acquire().await?;
        check_trust(&mut db, checks).await?;
        check_settings(&mut db, checks).await?;
        check_clock(&mut db, checks).await?;
        check_roles(&mut db, checks).await?;
        check_months(&mut db, checks).await?;
        check_queue(&mut db, checks).await?;
        check_chains(&mut db, checks).await
    }
    .await;
    match done {
        Ok(known) => Some(known),
        Err(error) => {
            let error = anyhow::Error::from(error);
            let mend = "does not answer, or not everything (grant counterfoil_reader)";
            checks.fail("database", format!("{mend}: {error:#}"));
            None
        }
    }
}

async fn check_trust(db: &mut PgConnection, checks: &mut Checks) -> sqlx::Result<()> {
    match trust::examine(db).await? {
        None => checks.ok("identity", "the database that the installation is in"),
        Some(doubt) => checks.fail(
            "identity",
            format!("{doubt}; nothing is recorded, run `counterfoil recover`"),
        ),
    }
    Ok(())
}

async fn check_settings(db: &mut PgConnection, checks: &mut Checks) -> sqlx::Result<()> {
    let set = sqlx::query!(
        r#"select current_setting('fsync') = 'on' as "fsync!",
                  current_setting('full_page_writes') = 'on' as "full_page_writes!",
                  current_setting('autovacuum') = 'on' as "autovacuum!",
                  current_setting('archive_mode') as "archive_mode!",
                  current_setting('server_version') as "version!",
                  pg_is_in_recovery() as "standby!""#
    )
    .fetch_one(db)
    .await?;
    let on = |is: bool| if is { "on" } else { "off" };
    checks.hold(
        "fsync",
        set.fsync,
        "on",
        "off: a power cut loses what was acknowledged; set it on",
    );
    if set.full_page_writes {
        checks.ok("full_page_writes", "on");
    } else {
        let mend = "off: set it on, unless the file system writes pages whole";
        checks.warn("full_page_writes", mend);
    }
    checks.hold(
        "autovacuum",
        set.autovacuum,
        "on",
        "off: the queue is never cleaned up; set it on",
    );
    let place = if set.standby {
        "a standby"
    } else {
        "takes writes"
    };
    checks.ok(
        "postgres",
        format!(
            "{}, {place}, archive_mode {}, autovacuum {}",
            set.version,
            set.archive_mode,
            on(set.autovacuum)
        ),
    );
    Ok(())
}

async fn check_clock(db: &mut PgConnection, checks: &mut Checks) -> sqlx::Result<()> {
    let clock = Clock::system();
    let before = clock.now();
    let there: OffsetDateTime = sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#)
        .fetch_one(db)
        .await?;
    let taken: time::Duration = clock.now() - before;
    let middle: OffsetDateTime = before + taken / 2;
    let apart = (there - middle).as_seconds_f64().abs();
    let says = format!("{apart:.1} s from the clock here");
    let [word, fault] = CLOCKS;
    if apart < word {
        checks.ok("clock", says);
    } else if apart < fault {
        checks.warn("clock", format!("{says}: have both follow NTP"));
    } else {
        checks.fail("clock", format!("{says}: have both follow NTP"));
    }
    Ok(())
}

/// What the group roles may; a table that was made by hand, or rights that were given by hand.
async fn check_roles(db: &mut PgConnection, checks: &mut Checks) -> sqlx::Result<()> {
    let missing = sqlx::query_scalar!(
        r#"select r.name as "name!"
           from unnest(array['counterfoil_api', 'counterfoil_worker', 'counterfoil_reader']) as r(name)
           where to_regrole(r.name) is null"#
    )
    .fetch_all(&mut *db)
    .await?;
    if !missing.is_empty() {
        let mend = "is not there: run `counterfoil migrate` as a login with CREATEROLE";
        checks.fail("roles", format!("{} {mend}", missing.join(", ")));
        return Ok(());
    }
    let may = sqlx::query!(
        r#"select (select coalesce(bool_and(has_function_privilege('counterfoil_api', p.oid, 'execute')), false)
                   from pg_proc p where p.proname in ('record_sales_3', 'raise_doubt')) as "records!",
                  has_table_privilege('counterfoil_api', 'sale', 'insert, update, delete') as "api_writes!",
                  has_table_privilege('counterfoil_worker', 'sale', 'insert, delete') as "worker_writes!",
                  has_column_privilege('counterfoil_worker', 'sale', 'leaf', 'update') as "seals!""#
    )
    .fetch_one(db)
    .await?;
    let holds = may.records && may.seals && !may.api_writes && !may.worker_writes;
    checks.hold(
        "roles",
        holds,
        "may do what they need and no more",
        "have other rights than the migrations give: compare with migrations/0005_role.sql",
    );
    Ok(())
}

async fn check_months(db: &mut PgConnection, checks: &mut Checks) -> sqlx::Result<()> {
    let ahead = sqlx::query!(
        r#"select (select count(*) from sale_partition
                   where from_id > first_sale_id(clock_timestamp())) as "months!",
                  (select count(*) from stray_sale) as "stray!""#
    )
    .fetch_one(db)
    .await?;
    let needed = i64::from(limits::SALE_MONTHS_AHEAD);
    let says = format!("{} months ahead have a partition", ahead.months);
    if ahead.months + 1 < needed {
        checks.fail(
            "months",
            format!("{says}: run a worker, or `counterfoil migrate`"),
        );
    } else if ahead.stray > 0 {
        let stray = ahead.stray;
        checks.warn(
            "months",
            format!("{stray} sales are of no month there is: mend the servers' clocks"),
        );
    } else {
        checks.ok("months", says);
    }
    Ok(())
}

async fn check_queue(db: &mut PgConnection, checks: &mut Checks) -> sqlx::Result<()> {
    let queue = sqlx::query!(
        r#"with recursive queue as (
               (select p.merchant_id from pending_sale p order by p.merchant_id limit 1)
               union all
               select (select p.merchant_id from pending_sale p where p.merchant_id > q.merchant_id
                       order by p.merchant_id limit 1)
               from queue q where q.merchant_id is not null
           )
           select extract(epoch from clock_timestamp() - min(oldest.recorded_at))::bigint as age,
                  (select count(*) from seal_hold) as "holds!",
                  (select string_agg(distinct w.reason, '; ') from seal_hold w) as reasons
           from queue q
           join merchant m on m.merchant_id = q.merchant_id and m.mode = 'live'
           cross join lateral (select p.recorded_at from pending_sale p
                               where p.merchant_id = q.merchant_id order by p.seq limit 1) oldest"#
    )
    .fetch_one(db)
    .await?;
    match queue.age {
        Some(age) if age > LATE => checks.fail(
            "queue",
            format!(
                "a sale has waited {} for its batch: does a worker run, and what does it log?",
                span(age)
            ),
        ),
        Some(age) => checks.ok(
            "queue",
            format!("the oldest sale in it is {} old", span(age)),
        ),
        None => checks.ok("queue", "empty"),
    }
    checks.hold(
        "holds",
        queue.holds == 0,
        "no merchant is held back",
        &format!(
            "{} merchants are held back ({}): see \"A merchant is held\" in docs/OPERATIONS.md",
            queue.holds,
            queue.reasons.unwrap_or_default()
        ),
    );
    Ok(())
}

async fn check_chains(db: &mut PgConnection, checks: &mut Checks) -> sqlx::Result<Known> {
    let mut known = Known {
        registries: Vec::new(),
    };
    for registry in chains::registries(db).await? {
        if registry.last_batch.is_some() {
            continue;
        }
        let chain_id = registry.chain_id;
        let head = chains::head(db, chain_id).await?;
        let paused = sqlx::query_scalar!(
            "select paused_at from chain_head where chain_id = $1",
            chain_id
        )
        .fetch_optional(&mut *db)
        .await?
        .flatten();
        let name = format!("chain {chain_id}");
        match (&head, paused) {
            (Some(head), _) if head.halted.is_some() => checks.fail(
                name,
                format!(
                    "halted: {}; see \"A chain is halted\" in docs/OPERATIONS.md",
                    head.halted.clone().unwrap_or_default()
                ),
            ),
            (_, Some(at)) => checks.warn(name, format!("paused by an operator since {at}")),
            (None, None) => checks.warn(name, "nothing was anchored on it yet: run a worker"),
            (Some(_), None) => checks.ok(name, "anchoring goes on"),
        }
        known.registries.push((registry, head));
    }
    checks.hold(
        "registries",
        !known.registries.is_empty(),
        "pinned",
        "none is pinned, so nothing is sealed: run `counterfoil registry deploy`",
    );
    Ok(known)
}
