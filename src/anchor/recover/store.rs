//! The SQL of recovery; it runs as the tables' owner.

use counterfoil_proofs::Hash;
use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{FoundAnchor, Lost};
use crate::anchor::store::anchors;
use crate::chain::Account;
use crate::database::trust::Cluster;

/// Numbers that are left out: of a merchant, how many from its next on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub merchant_id: Uuid,
    /// Its next number.
    pub first_seq: i64,
    /// How many.
    pub numbers: i64,
}

/// The gap of each merchant: `skip` numbers, or else a hundred times as many as its rate so far gives for
/// the time since the newest sale of all, and at least ten thousand.
pub(super) async fn gaps(db: &mut PgConnection, skip: Option<i64>) -> Result<Vec<Gap>> {
    sqlx::query_as!(
        Gap,
        r#"with lost(seconds) as (
               select extract(epoch from clock_timestamp() - max(m.last_recorded_at)) from merchant m
           )
           select m.merchant_id, m.next_seq as first_seq,
                  coalesce($1, least(1000000000000000, greatest(10000,
                      ceil(100 * (m.next_seq - 1) * greatest(l.seconds, 1) / greatest(1, extract(
                          epoch from m.last_recorded_at - coalesce(s.recorded_at, m.last_recorded_at))))
                  ))::bigint) as "numbers!"
           from merchant m cross join lost l
           left join lateral (select s.recorded_at from sale s where s.merchant_id = m.merchant_id
                              order by s.seq limit 1) s on true
           order by m.merchant_id"#,
        skip
    )
    .fetch_all(db)
    .await
}

/// Moves each merchant past its gap, and declares it; one that follows another gap makes that longer.
pub(super) async fn declare(
    db: &mut PgConnection,
    gaps: &[Gap],
    reason: &str,
    now: OffsetDateTime,
) -> Result<()> {
    let merchants: Vec<Uuid> = gaps.iter().map(|gap| gap.merchant_id).collect();
    let numbers: Vec<i64> = gaps.iter().map(|gap| gap.numbers).collect();
    sqlx::query!(
        "with taken as (
             update merchant m set next_seq = m.next_seq + g.numbers
             from unnest($1::uuid[], $2::bigint[]) as g(merchant_id, numbers)
             where m.merchant_id = g.merchant_id and g.numbers > 0
             returning m.merchant_id, m.next_seq - g.numbers as first_seq, m.next_seq - 1 as last_seq
         ), longer as (
             update seq_gap q set last_seq = t.last_seq from taken t
             where q.merchant_id = t.merchant_id and q.last_seq = t.first_seq - 1
             returning q.merchant_id
         )
         insert into seq_gap (merchant_id, first_seq, last_seq, declared_at, reason)
         select t.merchant_id, t.first_seq, t.last_seq, $3, $4 from taken t
         where not exists (select from longer l where l.merchant_id = t.merchant_id)",
        &merchants,
        &numbers,
        now,
        reason
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A batch from this one on that is in a transaction which is mined, or was.
pub(super) async fn anchored_from(db: &mut PgConnection, from: i64) -> Result<Option<i64>> {
    sqlx::query_scalar!(
        "select last_batch from anchor where last_batch >= $1 and state in ('mined', 'finalized') limit 1",
        from
    )
    .fetch_optional(db)
    .await
}

/// Takes the batches from this one on apart: their sales wait again.
pub(super) async fn discard(db: &mut PgConnection, from: i64) -> Result<()> {
    sqlx::query!(
        "with again as (
             update sale s set leaf = null, batch_id = null, leaf_index = null, proof = null
             from batch_mark k
             where k.batch_id >= $1 and s.merchant_id = k.merchant_id and s.batch_id = k.batch_id
               and s.seq between k.first_seq and k.last_seq
             returning s.merchant_id, s.seq, s.sale_id, s.recorded_at
         )
         insert into pending_sale (merchant_id, seq, sale_id, recorded_at)
         select merchant_id, seq, sale_id, recorded_at from again",
        from
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "with moved as (
             update mark_head h set last_seq = p.last_seq, head = p.head
             from (select distinct on (merchant_id) merchant_id, last_seq, head from batch_mark
                   where batch_id < $1 order by merchant_id, first_seq desc) p
             where h.merchant_id = p.merchant_id and h.last_seq > p.last_seq
         )
         delete from mark_head h
         where not exists (select from batch_mark k where k.merchant_id = h.merchant_id and k.batch_id < $1)",
        from
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!("delete from batch_mark where batch_id >= $1", from)
        .execute(&mut *db)
        .await?;
    sqlx::query!("delete from batch where batch_id >= $1", from)
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn insert_lost(
    db: &mut PgConnection,
    lost: &Lost,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "insert into batch_lost (chain_id, batch_id, root, declared_at) values ($1, $2, $3, $4)",
        lost.chain_id,
        lost.batch,
        &lost.root,
        now
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The batch that is sealed next, and the root that it follows.
pub(super) async fn set_seal_head(
    db: &mut PgConnection,
    next_batch: i64,
    last_root: &Hash,
) -> Result<()> {
    sqlx::query!(
        "update seal_head set next_batch = $1, last_root = $2,
             last_sealed_at = coalesce((select sealed_at from batch order by batch_id desc limit 1), 'epoch')",
        next_batch,
        last_root
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets an anchor that cannot be mined any more.
pub(super) async fn delete_anchor(db: &mut PgConnection, anchor_id: i64) -> Result<()> {
    sqlx::query!("delete from anchor_attempt where anchor_id = $1", anchor_id)
        .execute(&mut *db)
        .await?;
    sqlx::query!("delete from anchor where anchor_id = $1", anchor_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Writes down a transaction that the chain has at a finalized block. It was reserved and signed no later
/// than its block says.
pub(super) async fn insert_found(
    db: &mut PgConnection,
    chain_id: i64,
    (registry, account): (Account, Account),
    found: &FoundAnchor,
    now: OffsetDateTime,
) -> Result<()> {
    let block_time = OffsetDateTime::from_unix_timestamp(found.block.time.cast_signed());
    let block_time = block_time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let anchor_id = sqlx::query_scalar!(
        "insert into anchor (chain_id, registry, account, nonce, first_batch, last_batch, state,
                             reserved_at, mined_at, finalized_at)
         values ($1, $2, $3, $4, $5, $6, 'finalized', $7::timestamptz,
                 greatest($7::timestamptz, $8::timestamptz), greatest($7::timestamptz, $8::timestamptz))
         returning anchor_id",
        chain_id,
        &registry,
        &account,
        found.transaction.nonce.cast_signed(),
        found.first_batch,
        found.last_batch,
        block_time,
        now
    )
    .fetch_one(&mut *db)
    .await?;
    anchors::insert_attempt(
        db,
        anchor_id,
        1,
        &found.transaction,
        &found.signed,
        block_time,
    )
    .await?;
    anchors::set_block(db, anchor_id, 1, &found.receipt, &found.block).await
}

/// Where anchoring on a chain goes on.
pub(super) async fn set_chain_head(
    db: &mut PgConnection,
    chain_id: i64,
    account: Account,
    next_nonce: i64,
    next_batch: i64,
) -> Result<()> {
    sqlx::query!(
        "insert into chain_head (chain_id, account, next_nonce, next_batch) values ($1, $2, $3, $4)
         on conflict on constraint chain_head_pkey do update
         set next_nonce = excluded.next_nonce, next_batch = excluded.next_batch, halted = null",
        chain_id,
        &account,
        next_nonce,
        next_batch
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Accepts the database, unless another doubt was settled meanwhile.
pub(super) async fn accept(db: &mut PgConnection, found: Cluster, settled: i32) -> Result<bool> {
    let done = sqlx::query!(
        "update installation
         set system_identifier = $1, timeline = $2, doubt = null, doubted_at = null, settled = settled + 1
         where settled = $3",
        found.system_identifier,
        found.timeline,
        settled
    );
    Ok(done.execute(db).await?.rows_affected() == 1)
}
