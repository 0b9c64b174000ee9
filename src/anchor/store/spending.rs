//! What anchoring has cost, derived from the signed transactions.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;

/// Wei that the anchors of a chain cost, or may still cost, whose last transaction was signed after
/// `since`, which were mined after it, or which wait; the anchor `except` is left out. What is mined counts
/// as it was, anything else as the most that its transactions allow; what a rollup asks for beside the gas
/// is known only then.
pub async fn since(
    conn: &mut PgConnection,
    chain_id: i64,
    since: OffsetDateTime,
    except: i64,
) -> Result<u128> {
    let wei = sqlx::query_scalar!(
        r#"with recent as (
               select t.anchor_id from anchor_attempt t where t.signed_at > $2
               union select a.anchor_id from anchor a where a.chain_id = $1 and a.state = 'submitted'
               union select a.anchor_id from anchor a where a.chain_id = $1 and a.mined_at > $2
           ), cost as (
               select coalesce(max(t.gas_used * coalesce(t.gas_price, t.max_fee_per_gas) + coalesce(t.rollup_fee, 0)),
                               max(t.gas_limit * t.max_fee_per_gas)) as wei
               from recent r
               join anchor a on a.anchor_id = r.anchor_id and a.chain_id = $1
               join anchor_attempt t on t.anchor_id = a.anchor_id
               where a.anchor_id <> $3
               group by a.anchor_id
           )
           select coalesce(sum(wei), 0)::text as "wei!" from cost"#,
        chain_id,
        since,
        except
    )
    .fetch_one(conn)
    .await?;
    // more than the type holds is more than any budget
    Ok(wei.parse().unwrap_or(u128::MAX))
}
