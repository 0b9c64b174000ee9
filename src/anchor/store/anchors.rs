//! Anchors, their signed transactions, and their states. Every change of a state names the state it
//! expects and says whether it found it. A time that is written is never before the one that it follows:
//! the clocks of two workers may be hours apart.

use counterfoil_proofs::Hash;
use sqlx::{PgConnection, Result};
use time::OffsetDateTime;

use crate::chain::{Account, Block, Signed, Transaction, TxReceipt};
use crate::clock::from_unix_ms;

/// The state of an anchor, as the migration describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[expect(missing_docs, reason = "states, described in the migration")]
pub enum State {
    Reserved,
    Submitted,
    Mined,
    Finalized,
    Reverted,
}

/// A nonce of an account, and the batches it is reserved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Anchor {
    pub anchor_id: i64,
    pub registry: Account,
    pub account: Account,
    pub nonce: i64,
    pub first_batch: i64,
    pub last_batch: i64,
    pub state: State,
}

/// A signed transaction of an anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its number among the anchor's, from 1.
    pub attempt: i32,
    /// By which the chain knows it.
    pub tx_hash: Hash,
    /// The bytes that are sent.
    pub raw: Vec<u8>,
    /// When it was signed.
    pub signed_at: OffsetDateTime,
    /// When the RPC took it; none where that is not known.
    pub sent_at: Option<OffsetDateTime>,
    /// Height of the block it is in, as far as is known.
    pub block_number: Option<i64>,
    /// Hash of that block.
    pub block_hash: Option<Hash>,
}

/// Anchors that are not final, in order of nonce.
pub async fn open(conn: &mut PgConnection, chain_id: i64) -> Result<Vec<Anchor>> {
    sqlx::query_as!(
        Anchor,
        r#"select anchor_id, registry as "registry: Account", account as "account: Account", nonce,
                  first_batch, last_batch, state as "state: State"
           from anchor where chain_id = $1 and state in ('reserved', 'submitted', 'mined')
           order by nonce"#,
        chain_id
    )
    .fetch_all(conn)
    .await
}

/// The last anchor of a chain that is final; none before the first.
pub async fn last_finalized(conn: &mut PgConnection, chain_id: i64) -> Result<Option<Anchor>> {
    sqlx::query_as!(
        Anchor,
        r#"select anchor_id, registry as "registry: Account", account as "account: Account", nonce,
                  first_batch, last_batch, state as "state: State"
           from anchor where chain_id = $1 and state = 'finalized'
           order by last_batch desc limit 1"#,
        chain_id
    )
    .fetch_optional(conn)
    .await
}

/// All signed transactions of an anchor, the oldest first.
pub async fn attempts(conn: &mut PgConnection, anchor_id: i64) -> Result<Vec<Attempt>> {
    sqlx::query_as!(
        Attempt,
        r#"select attempt, tx_hash as "tx_hash: Hash", raw, signed_at, sent_at, block_number,
                  block_hash as "block_hash: Hash"
           from anchor_attempt where anchor_id = $1 order by attempt"#,
        anchor_id
    )
    .fetch_all(conn)
    .await
}

/// Reserves a nonce and a range of batches.
pub async fn reserve(
    conn: &mut PgConnection,
    chain_id: i64,
    anchor: &Anchor,
    now: OffsetDateTime,
) -> Result<i64> {
    sqlx::query_scalar!(
        "insert into anchor (chain_id, registry, account, nonce, first_batch, last_batch, state, reserved_at)
         values ($1, $2, $3, $4, $5, $6, 'reserved', $7) returning anchor_id",
        chain_id,
        &anchor.registry,
        &anchor.account,
        anchor.nonce,
        anchor.first_batch,
        anchor.last_batch,
        now
    )
    .fetch_one(conn)
    .await
}

/// reserved → submitted; false where it was not reserved.
pub async fn submitted(conn: &mut PgConnection, anchor_id: i64) -> Result<bool> {
    let done = sqlx::query!(
        "update anchor set state = 'submitted' where anchor_id = $1 and state = 'reserved'",
        anchor_id
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Commits the bytes of an anchor's signed transaction with this number.
pub async fn insert_attempt(
    conn: &mut PgConnection,
    anchor_id: i64,
    attempt: i32,
    transaction: &Transaction,
    signed: &Signed,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "insert into anchor_attempt (anchor_id, attempt, tx_hash, raw, max_fee_per_gas,
                                     max_priority_fee_per_gas, gas_limit, signed_at)
         values ($1, $2, $3, $4, $5::text::numeric, $6::text::numeric, $7,
                 greatest($8, (select reserved_at from anchor where anchor_id = $1)))",
        anchor_id,
        attempt,
        &signed.hash,
        &signed.raw,
        transaction.fees.max_fee_per_gas.to_string(),
        transaction.fees.max_priority_fee_per_gas.to_string(),
        transaction.gas_limit.cast_signed(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that the RPC took a transaction.
pub async fn sent(
    conn: &mut PgConnection,
    anchor_id: i64,
    attempt: i32,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update anchor_attempt set sent_at = greatest($3, signed_at)
         where anchor_id = $1 and attempt = $2",
        anchor_id,
        attempt,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down in which block an attempt is. The anchor's other attempts are in none: they share its
/// nonce.
pub async fn set_block(
    conn: &mut PgConnection,
    anchor_id: i64,
    attempt: i32,
    receipt: &TxReceipt,
    block: &Block,
) -> Result<()> {
    sqlx::query!(
        "update anchor_attempt
         set block_number = case when attempt = $2 then $3::bigint end,
             block_hash = case when attempt = $2 then $4::bytea end,
             block_time = case when attempt = $2 then $5::timestamptz end,
             gas_used = case when attempt = $2 then $6::bigint end,
             gas_price = case when attempt = $2 then $7::text::numeric end,
             rollup_fee = case when attempt = $2 then $8::text::numeric end
         where anchor_id = $1 and (attempt = $2 or block_hash is not null)",
        anchor_id,
        attempt,
        block.number.cast_signed(),
        &block.hash,
        from_unix_ms(block.time.cast_signed().saturating_mul(1000)),
        receipt.gas_used.cast_signed(),
        receipt.gas_price.map(|price| price.to_string()),
        receipt.rollup_fee.map(|fee| fee.to_string())
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// submitted → mined; false where it was not submitted.
pub async fn mined(conn: &mut PgConnection, anchor_id: i64, now: OffsetDateTime) -> Result<bool> {
    let done = sqlx::query!(
        "update anchor set state = 'mined', mined_at = greatest($2, reserved_at)
         where anchor_id = $1 and state = 'submitted'",
        anchor_id,
        now
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// mined → submitted, where the block that it was in is gone; false where it was not mined.
pub async fn unmined(conn: &mut PgConnection, anchor_id: i64) -> Result<bool> {
    let done = sqlx::query!(
        "update anchor set state = 'submitted', mined_at = null where anchor_id = $1 and state = 'mined'",
        anchor_id
    );
    if done.execute(&mut *conn).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!(
        "update anchor_attempt
         set block_number = null, block_hash = null, block_time = null, gas_used = null, gas_price = null,
             rollup_fee = null
         where anchor_id = $1 and block_hash is not null",
        anchor_id
    )
    .execute(conn)
    .await?;
    Ok(true)
}

/// finalized → submitted for every anchor of a registry from a batch on, where the chain went back further
/// than its finality says.
pub async fn unfinalized(
    conn: &mut PgConnection,
    chain_id: i64,
    registry: Account,
    from_batch: i64,
) -> Result<()> {
    sqlx::query!(
        "with gone as (
             update anchor set state = 'submitted', mined_at = null, finalized_at = null
             where chain_id = $1 and registry = $2 and state = 'finalized' and last_batch >= $3
             returning anchor_id
         )
         update anchor_attempt
         set block_number = null, block_hash = null, block_time = null, gas_used = null, gas_price = null,
             rollup_fee = null
         where anchor_id in (select anchor_id from gone) and block_hash is not null",
        chain_id,
        &registry,
        from_batch
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// mined → finalized; false where it was not mined.
pub async fn finalized(
    conn: &mut PgConnection,
    anchor_id: i64,
    now: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "update anchor set state = 'finalized', finalized_at = greatest($2, mined_at)
         where anchor_id = $1 and state = 'mined'",
        anchor_id,
        now
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// submitted → finalized, where the registry has the roots without a transaction of this anchor; false
/// where it was not submitted.
pub async fn finalized_by_others(
    conn: &mut PgConnection,
    anchor_id: i64,
    now: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "update anchor set state = 'finalized', finalized_at = greatest($2, reserved_at)
         where anchor_id = $1 and state = 'submitted'",
        anchor_id,
        now
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// submitted → reverted; false where it was not submitted.
pub async fn reverted(conn: &mut PgConnection, anchor_id: i64) -> Result<bool> {
    let done = sqlx::query!(
        "update anchor set state = 'reverted' where anchor_id = $1 and state = 'submitted'",
        anchor_id
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Takes back what is reserved on a chain and not signed; how many there were.
pub async fn take_back(conn: &mut PgConnection, chain_id: i64) -> Result<u64> {
    let done = sqlx::query!(
        "delete from anchor where chain_id = $1 and state = 'reserved'",
        chain_id
    );
    Ok(done.execute(conn).await?.rows_affected())
}

/// The state of an anchor, whose row is locked until the transaction ends.
pub async fn lock(conn: &mut PgConnection, anchor_id: i64) -> Result<State> {
    sqlx::query_scalar!(
        r#"select state as "state: State" from anchor where anchor_id = $1 for update"#,
        anchor_id
    )
    .fetch_one(conn)
    .await
}
