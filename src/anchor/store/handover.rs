//! Handing over: to another account, to another registry, or to nobody. Every statement runs in a
//! transaction that holds the chain's head, so nothing is reserved meanwhile.

use sqlx::{PgConnection, Result};

use crate::chain::Account;

/// Begins a rotation to an account, or goes on with it; false while there is one to another.
pub async fn begin_rotation(conn: &mut PgConnection, chain_id: i64, to: Account) -> Result<bool> {
    let done = sqlx::query!(
        "update chain_head set rotating_to = $2
         where chain_id = $1 and (rotating_to is null or rotating_to = $2)",
        chain_id,
        &to
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// The account that a chain is being handed over to.
pub async fn rotating_to(conn: &mut PgConnection, chain_id: i64) -> Result<Option<Account>> {
    let found = sqlx::query_scalar!(
        r#"select rotating_to as "rotating_to: Account" from chain_head where chain_id = $1"#,
        chain_id
    );
    Ok(found.fetch_optional(conn).await?.flatten())
}

/// Gives back what is reserved and not signed: nonce and batches are free as before.
pub async fn free_reserved(conn: &mut PgConnection, chain_id: i64) -> Result<()> {
    sqlx::query!(
        "with gone as (
             delete from anchor where chain_id = $1 and state = 'reserved' returning nonce, first_batch)
         update chain_head set next_nonce = least(next_nonce, (select min(nonce) from gone)),
                               next_batch = least(next_batch, (select min(first_batch) from gone))
         where chain_id = $1",
        chain_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets another account go on where the old one ended; false where something is open, or this is not the
/// rotation that is under way.
pub async fn hand_over(
    conn: &mut PgConnection,
    chain_id: i64,
    from: Account,
    to: Account,
    next_nonce: i64,
) -> Result<bool> {
    let done = sqlx::query!(
        "update chain_head h set account = $3, next_nonce = $4, rotating_to = null
         where chain_id = $1 and account = $2 and rotating_to = $3
           and not exists (select from anchor a where a.chain_id = h.chain_id
                           and a.state in ('reserved', 'submitted', 'mined'))",
        chain_id,
        &from,
        &to,
        next_nonce
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Frees the batches from one on that were signed for a registry which never takes them.
pub async fn free_signed(conn: &mut PgConnection, chain_id: i64, from: i64) -> Result<u64> {
    let done = sqlx::query!(
        "update anchor set state = 'reverted'
         where chain_id = $1 and first_batch >= $2 and state = 'submitted'",
        chain_id,
        from
    );
    Ok(done.execute(conn).await?.rows_affected())
}

/// The last batch that is final in a registry; none before the first.
pub async fn last_final(
    conn: &mut PgConnection,
    chain_id: i64,
    registry: Account,
) -> Result<Option<i64>> {
    sqlx::query_scalar!(
        "select max(last_batch) from anchor
         where chain_id = $1 and registry = $2 and state = 'finalized'",
        chain_id,
        &registry
    )
    .fetch_one(conn)
    .await
}

/// The last batch that any registry of a chain was trusted for; none on a new chain.
pub async fn last_trusted(conn: &mut PgConnection, chain_id: i64) -> Result<Option<i64>> {
    sqlx::query_scalar!(
        "select max(last_batch) from registry where chain_id = $1",
        chain_id
    )
    .fetch_one(conn)
    .await
}

/// Ends a chain's current registry with a batch; false where it is not the current one.
pub async fn close_registry(
    conn: &mut PgConnection,
    chain_id: i64,
    registry: Account,
    last: i64,
) -> Result<bool> {
    let done = sqlx::query!(
        "update registry set last_batch = $3
         where chain_id = $1 and address = $2 and last_batch is null",
        chain_id,
        &registry,
        last
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Puts a chain's head where its next registry begins, whatever has stopped it.
pub async fn move_head(
    conn: &mut PgConnection,
    chain_id: i64,
    account: Account,
    next_nonce: i64,
    next_batch: i64,
) -> Result<()> {
    sqlx::query!(
        "update chain_head set account = $2, next_nonce = $3, next_batch = $4,
                               halted = null, rotating_to = null
         where chain_id = $1",
        chain_id,
        &account,
        next_nonce,
        next_batch
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a chain off the batches from one on: they wait for it no longer.
pub async fn leave_chain(conn: &mut PgConnection, chain_id: i64, from: i64) -> Result<u64> {
    let done = sqlx::query!(
        "update batch set chains = array_remove(chains, $1)
         where batch_id >= $2 and $1 = any(chains)",
        chain_id,
        from
    );
    Ok(done.execute(conn).await?.rows_affected())
}

/// Lets the batches from one on that are not final wait for a chain as well.
pub async fn join_chain(conn: &mut PgConnection, chain_id: i64, from: i64) -> Result<u64> {
    let done = sqlx::query!(
        "update batch b
         set chains = (select array_agg(c order by c) from unnest(array_append(b.chains, $1)) as c)
         where b.batch_id >= $2 and $1 <> all(b.chains)
           and (select s.state from batch_state s where s.batch_id = b.batch_id) <> 'finalized'",
        chain_id,
        from
    );
    Ok(done.execute(conn).await?.rows_affected())
}

/// Forgets all that was anchored on a chain that is no more. The batches stay.
pub async fn forget_chain(conn: &mut PgConnection, chain_id: i64) -> Result<()> {
    sqlx::query!(
        "delete from anchor_attempt where anchor_id in (select anchor_id from anchor where chain_id = $1)",
        chain_id
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("delete from anchor where chain_id = $1", chain_id)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("delete from chain_head where chain_id = $1", chain_id)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("delete from registry where chain_id = $1", chain_id)
        .execute(conn)
        .await?;
    Ok(())
}
