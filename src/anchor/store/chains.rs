//! Registries, and the head of each chain that reserving locks.

use counterfoil_proofs::Hash;
use sqlx::{PgConnection, Result};
use time::OffsetDateTime;

use crate::chain::Account;

/// A registry that is pinned: a contract, and the batches it is trusted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registry {
    /// Which chain it is on.
    pub chain_id: i64,
    /// The contract.
    pub address: Account,
    /// keccak-256 of the contract's code.
    pub code_hash: Hash,
    /// The first batch it takes.
    pub first_batch: i64,
    /// The last it is trusted for; none while it is the chain's current one.
    pub last_batch: Option<i64>,
}

/// Where anchoring on a chain stands. The row is locked while an anchor is reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainHead {
    /// Whose nonces.
    pub account: Account,
    /// The nonce of the next anchor.
    pub next_nonce: i64,
    /// Its first batch.
    pub next_batch: i64,
    /// Why anchoring has stopped, where it has.
    pub halted: Option<String>,
    /// Whether an operator lets nothing new be signed for now.
    pub is_paused: bool,
    /// Whether its account is being replaced, so that nothing new is signed either.
    pub is_rotating: bool,
    /// When an operator asked for the waiting transaction to be replaced.
    pub bump_requested_at: Option<OffsetDateTime>,
}

/// The chains that batches are anchored on now, ascending.
pub async fn current(conn: &mut PgConnection) -> Result<Vec<i64>> {
    sqlx::query_scalar!("select chain_id from registry where last_batch is null order by chain_id")
        .fetch_all(conn)
        .await
}

/// All registries, by chain and first batch.
pub async fn registries(conn: &mut PgConnection) -> Result<Vec<Registry>> {
    sqlx::query_as!(
        Registry,
        r#"select chain_id, address as "address: Account", code_hash as "code_hash: Hash",
                  first_batch, last_batch
           from registry order by chain_id, first_batch"#
    )
    .fetch_all(conn)
    .await
}

/// The current registry of a chain.
pub async fn registry(conn: &mut PgConnection, chain_id: i64) -> Result<Option<Registry>> {
    sqlx::query_as!(
        Registry,
        r#"select chain_id, address as "address: Account", code_hash as "code_hash: Hash",
                  first_batch, last_batch
           from registry where chain_id = $1 and last_batch is null"#,
        chain_id
    )
    .fetch_optional(conn)
    .await
}

/// Pins a registry as its chain's current one.
pub async fn insert_registry(
    conn: &mut PgConnection,
    registry: &Registry,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "insert into registry (chain_id, address, code_hash, first_batch, last_batch, pinned_at)
         values ($1, $2, $3, $4, $5, $6)",
        registry.chain_id,
        &registry.address,
        &registry.code_hash,
        registry.first_batch,
        registry.last_batch,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The head of a chain; none before anything was anchored there.
pub async fn head(conn: &mut PgConnection, chain_id: i64) -> Result<Option<ChainHead>> {
    sqlx::query_as!(
        ChainHead,
        r#"select account as "account: Account", next_nonce, next_batch, halted, bump_requested_at,
                  paused_at is not null as "is_paused!",
                  rotating_to is not null as "is_rotating!"
           from chain_head where chain_id = $1"#,
        chain_id
    )
    .fetch_optional(conn)
    .await
}

/// The head of a chain, locked until the transaction ends.
pub async fn lock_head(conn: &mut PgConnection, chain_id: i64) -> Result<Option<ChainHead>> {
    sqlx::query_as!(
        ChainHead,
        r#"select account as "account: Account", next_nonce, next_batch, halted, bump_requested_at,
                  paused_at is not null as "is_paused!",
                  rotating_to is not null as "is_rotating!"
           from chain_head where chain_id = $1 for update"#,
        chain_id
    )
    .fetch_optional(conn)
    .await
}

/// Begins a chain; false where it was begun meanwhile.
pub async fn insert_head(
    conn: &mut PgConnection,
    chain_id: i64,
    account: Account,
    next_nonce: i64,
    next_batch: i64,
) -> Result<bool> {
    let done = sqlx::query!(
        "insert into chain_head (chain_id, account, next_nonce, next_batch) values ($1, $2, $3, $4)
         on conflict on constraint chain_head_pkey do nothing",
        chain_id,
        &account,
        next_nonce,
        next_batch
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Takes back an operator's request to replace a transaction, unless it was made again since.
pub async fn bump_answered(
    conn: &mut PgConnection,
    chain_id: i64,
    requested_at: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update chain_head set bump_requested_at = null
         where chain_id = $1 and bump_requested_at = $2",
        chain_id,
        requested_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves a locked head back to a range that is free again, and behind the last nonce that is given out.
pub async fn move_head_back(
    conn: &mut PgConnection,
    chain_id: i64,
    first_batch: i64,
) -> Result<u64> {
    let done = sqlx::query!(
        "update chain_head h
         set next_batch = least(h.next_batch, $2),
             next_nonce = coalesce((select max(a.nonce) + 1 from anchor a
                                    where a.chain_id = h.chain_id and a.account = h.account), h.next_nonce)
         where h.chain_id = $1",
        chain_id,
        first_batch
    );
    Ok(done.execute(conn).await?.rows_affected())
}

/// Moves a locked head past a reserved anchor; the number of rows that were where they were expected.
pub async fn move_head(
    conn: &mut PgConnection,
    chain_id: i64,
    from: &ChainHead,
    next_batch: i64,
) -> Result<u64> {
    let done = sqlx::query!(
        "update chain_head set next_nonce = next_nonce + 1, next_batch = $4
         where chain_id = $1 and next_nonce = $2 and next_batch = $3 and halted is null",
        chain_id,
        from.next_nonce,
        from.next_batch,
        next_batch
    );
    Ok(done.execute(conn).await?.rows_affected())
}

/// Stops anchoring on a chain until somebody has looked; false where it was stopped before.
pub async fn halt(conn: &mut PgConnection, chain_id: i64, reason: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update chain_head set halted = $2 where chain_id = $1 and halted is null",
        chain_id,
        reason
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}
