//! What a recovery has declared lost.

use counterfoil_proofs::Hash;
use counterfoil_proofs::manifest::{Declared, Gap, LostBatch};
use sqlx::{PgConnection, Result};

/// All of it, in the order that it is written in.
pub async fn read(conn: &mut PgConnection) -> Result<Declared> {
    let lost = sqlx::query!(
        r#"select chain_id, batch_id, root as "root: Hash" from batch_lost order by batch_id, chain_id"#
    );
    let lost = lost.fetch_all(&mut *conn).await?.into_iter();
    let gaps = sqlx::query!(
        "select merchant_id, first_seq, last_seq, reason from seq_gap order by merchant_id, first_seq"
    );
    let gaps = gaps.fetch_all(conn).await?.into_iter();
    Ok(Declared {
        lost_batches: lost
            .map(|row| LostBatch {
                chain_id: row.chain_id.cast_unsigned(),
                batch: row.batch_id.cast_unsigned(),
                root: row.root,
            })
            .collect(),
        gaps: gaps
            .map(|row| Gap {
                merchant: row.merchant_id.into_bytes(),
                first_seq: row.first_seq.cast_unsigned(),
                last_seq: row.last_seq.cast_unsigned(),
                reason: row.reason,
            })
            .collect(),
    })
}
