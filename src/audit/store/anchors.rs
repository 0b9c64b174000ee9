//! Anchors, their transactions, registries and heads of chains.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;

/// A row of `anchor`, and what the chain's other rows say of its range.
#[derive(Debug)]
pub(in crate::audit) struct AnchorRow {
    pub(in crate::audit) anchor_id: i64,
    pub(in crate::audit) chain_id: i64,
    pub(in crate::audit) registry: Vec<u8>,
    pub(in crate::audit) account: Vec<u8>,
    pub(in crate::audit) nonce: i64,
    pub(in crate::audit) first_batch: i64,
    pub(in crate::audit) last_batch: i64,
    pub(in crate::audit) state: String,
    pub(in crate::audit) reserved_at: OffsetDateTime,
    pub(in crate::audit) mined_at: Option<OffsetDateTime>,
    pub(in crate::audit) finalized_at: Option<OffsetDateTime>,
    /// Whether another live anchor of the chain ends just before it, or its registry begins with it.
    pub(in crate::audit) follows: bool,
    /// The first batch of the registry; none where there is no such registry.
    pub(in crate::audit) registry_first: Option<i64>,
    /// Its last batch, if it is closed.
    pub(in crate::audit) registry_last: Option<i64>,
}

/// The anchors after `after`, a page of them.
pub(in crate::audit) async fn page(
    conn: &mut PgConnection,
    after: i64,
    limit: i64,
) -> Result<Vec<AnchorRow>> {
    sqlx::query_as!(
        AnchorRow,
        r#"select a.anchor_id, a.chain_id, a.registry, a.account, a.nonce, a.first_batch, a.last_batch,
                  a.state, a.reserved_at, a.mined_at, a.finalized_at,
                  (exists (select from anchor p where p.chain_id = a.chain_id
                               and (p.state <> 'reverted' or a.state <> 'finalized')
                               and int8range(p.first_batch, p.last_batch, '[]') @> (a.first_batch - 1)
                               and p.last_batch = a.first_batch - 1)
                   or exists (select from registry g where g.chain_id = a.chain_id
                               and g.first_batch = a.first_batch)) as "follows!",
                  r.first_batch as "registry_first?", r.last_batch as "registry_last?"
           from anchor a
           left join registry r on r.chain_id = a.chain_id and r.address = a.registry
           where a.anchor_id > $1 order by a.anchor_id limit $2"#,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// A row of `anchor_attempt`; fees as decimal text.
#[derive(Debug)]
pub(in crate::audit) struct AttemptRow {
    pub(in crate::audit) anchor_id: i64,
    pub(in crate::audit) attempt: i32,
    pub(in crate::audit) tx_hash: Vec<u8>,
    pub(in crate::audit) raw: Vec<u8>,
    pub(in crate::audit) max_fee: String,
    pub(in crate::audit) max_priority_fee: String,
    pub(in crate::audit) gas_limit: i64,
    pub(in crate::audit) signed_at: OffsetDateTime,
    pub(in crate::audit) sent_at: Option<OffsetDateTime>,
    pub(in crate::audit) block_number: Option<i64>,
    pub(in crate::audit) block_hash: Option<Vec<u8>>,
    pub(in crate::audit) block_time: Option<OffsetDateTime>,
    pub(in crate::audit) gas_used: Option<i64>,
    pub(in crate::audit) gas_price: Option<String>,
    pub(in crate::audit) rollup_fee: Option<String>,
}

/// The signed transactions of some anchors, in the order of their ids and numbers.
pub(in crate::audit) async fn attempts(
    conn: &mut PgConnection,
    anchors: &[i64],
) -> Result<Vec<AttemptRow>> {
    sqlx::query_as!(
        AttemptRow,
        r#"select anchor_id, attempt, tx_hash, raw, max_fee_per_gas::text as "max_fee!",
                  max_priority_fee_per_gas::text as "max_priority_fee!", gas_limit, signed_at, sent_at,
                  block_number, block_hash, block_time, gas_used,
                  gas_price::text as gas_price, rollup_fee::text as rollup_fee
           from anchor_attempt where anchor_id = any($1) order by anchor_id, attempt"#,
        anchors
    )
    .fetch_all(conn)
    .await
}

/// Signed transactions of an anchor that is not there.
pub(in crate::audit) async fn orphans(conn: &mut PgConnection) -> Result<Vec<(i64, i32)>> {
    let rows = sqlx::query!(
        "select t.anchor_id, t.attempt from anchor_attempt t
         where not exists (select from anchor a where a.anchor_id = t.anchor_id)
         order by t.anchor_id, t.attempt limit 1000"
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows.map(|row| (row.anchor_id, row.attempt)).collect())
}

/// Root and time of sealing of a range of batches, both ends included, in its order.
pub(in crate::audit) async fn roots(
    conn: &mut PgConnection,
    first: i64,
    last: i64,
) -> Result<Vec<(i64, Vec<u8>, OffsetDateTime)>> {
    // a lost one was sealed nobody knows when
    let rows = sqlx::query!(
        r#"select batch_id as "batch_id!", root as "root!", sealed_at as "sealed_at!" from batch
           where batch_id between $1 and $2
           union
           select batch_id, root, 'epoch' from batch_lost where batch_id between $1 and $2
           order by 1"#,
        first,
        last
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows
        .map(|row| (row.batch_id, row.root, row.sealed_at))
        .collect())
}

/// A row of `registry`.
#[derive(Debug, Clone)]
pub(in crate::audit) struct RegistryRow {
    pub(in crate::audit) chain_id: i64,
    pub(in crate::audit) address: Vec<u8>,
    pub(in crate::audit) code_hash: Vec<u8>,
    pub(in crate::audit) first_batch: i64,
    pub(in crate::audit) last_batch: Option<i64>,
}

/// All registries, by chain and first batch.
pub(in crate::audit) async fn registries(conn: &mut PgConnection) -> Result<Vec<RegistryRow>> {
    sqlx::query_as!(
        RegistryRow,
        "select chain_id, address, code_hash, first_batch, last_batch
         from registry order by chain_id, first_batch, last_batch"
    )
    .fetch_all(conn)
    .await
}

/// The head of a chain beside its newest live anchor.
#[derive(Debug)]
pub(in crate::audit) struct ChainRow {
    pub(in crate::audit) chain_id: i64,
    pub(in crate::audit) account: Vec<u8>,
    pub(in crate::audit) next_nonce: i64,
    pub(in crate::audit) next_batch: i64,
    pub(in crate::audit) halted: Option<String>,
    pub(in crate::audit) last_batch: Option<i64>,
    /// The first batch of the first anchor whose range is free again.
    pub(in crate::audit) first_free: Option<i64>,
    /// Whether a registry of the chain begins with the next batch.
    pub(in crate::audit) begins: bool,
    /// Of the head's account.
    pub(in crate::audit) last_nonce: Option<i64>,
}

/// All chains that were begun.
pub(in crate::audit) async fn chains(conn: &mut PgConnection) -> Result<Vec<ChainRow>> {
    sqlx::query_as!(
        ChainRow,
        r#"select h.chain_id, h.account, h.next_nonce, h.next_batch, h.halted,
                  (select max(a.last_batch) from anchor a
                   where a.chain_id = h.chain_id and a.state <> 'reverted') as last_batch,
                  (select min(a.first_batch) from anchor a
                   where a.chain_id = h.chain_id and a.state = 'reverted' and not exists (
                       select from anchor l where l.chain_id = a.chain_id and l.state <> 'reverted'
                       and int8range(l.first_batch, l.last_batch, '[]') @> a.first_batch)) as first_free,
                  exists (select from registry r where r.chain_id = h.chain_id
                          and r.first_batch = h.next_batch) as "begins!",
                  (select max(a.nonce) from anchor a
                   where a.chain_id = h.chain_id and a.account = h.account) as last_nonce
           from chain_head h order by h.chain_id"#
    )
    .fetch_all(conn)
    .await
}

/// The last batch up to which every one is finalized on a chain, as the database says; 0 before any.
pub(in crate::audit) async fn finalized_up_to(
    conn: &mut PgConnection,
    chain_id: i64,
) -> Result<i64> {
    sqlx::query_scalar!(
        r#"select coalesce(max(last_batch), 0) as "last!" from anchor
           where chain_id = $1 and state = 'finalized'"#,
        chain_id
    )
    .fetch_one(conn)
    .await
}
