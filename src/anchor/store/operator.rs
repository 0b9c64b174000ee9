//! What an operator asks of the workers: requests in the head rows, and what was asked.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;

use crate::chain::Account;

/// A chain as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatedChain {
    /// Which.
    pub chain_id: i64,
    /// Why anchoring there has stopped, where it has.
    pub halted: Option<String>,
    /// Since when nothing new is signed there, because an operator said so.
    pub paused_at: Option<OffsetDateTime>,
    /// The account that it is being handed over to.
    pub rotating_to: Option<Account>,
    /// Anchors that are signed and in no block.
    pub waiting: i64,
}

/// All chains that were begun.
pub async fn chains(conn: &mut PgConnection) -> Result<Vec<OperatedChain>> {
    sqlx::query_as!(
        OperatedChain,
        r#"select h.chain_id, h.halted, h.paused_at, h.rotating_to as "rotating_to: Account",
                  (select count(*) from anchor a where a.chain_id = h.chain_id
                   and a.state = 'submitted') as "waiting!"
           from chain_head h order by h.chain_id"#
    )
    .fetch_all(conn)
    .await
}

/// Lets nothing new be signed on a chain; false where that was so before.
pub async fn pause(conn: &mut PgConnection, chain_id: i64, now: OffsetDateTime) -> Result<bool> {
    let done = sqlx::query!(
        "update chain_head set paused_at = $2 where chain_id = $1 and paused_at is null",
        chain_id,
        now
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Takes a pause back; false where there was none.
pub async fn resume(conn: &mut PgConnection, chain_id: i64) -> Result<bool> {
    let done = sqlx::query!(
        "update chain_head set paused_at = null where chain_id = $1 and paused_at is not null",
        chain_id
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Lets a chain that has stopped go on; false where it has stopped for another reason, or has not.
pub async fn clear_halt(conn: &mut PgConnection, chain_id: i64, reason: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update chain_head set halted = null where chain_id = $1 and halted = $2",
        chain_id,
        reason
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Asks for the waiting transaction of a chain to be replaced now.
pub async fn request_bump(
    conn: &mut PgConnection,
    chain_id: i64,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update chain_head set bump_requested_at = $2 where chain_id = $1",
        chain_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Asks for what waits to be sealed now.
pub async fn request_seal(conn: &mut PgConnection, now: OffsetDateTime) -> Result<()> {
    sqlx::query!("update seal_head set seal_requested_at = $1", now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether somebody asked for what waits to be sealed; asked once, it is true once.
pub async fn take_seal_request(conn: &mut PgConnection) -> Result<bool> {
    let asked = sqlx::query_scalar!("select seal_requested_at from seal_head")
        .fetch_one(&mut *conn)
        .await?;
    let Some(asked) = asked else {
        return Ok(false);
    };
    // a later request is another one
    let done = sqlx::query!(
        "update seal_head set seal_requested_at = null where seal_requested_at = $1",
        asked
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}
