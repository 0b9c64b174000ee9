//! Batches as they are read again.

use counterfoil_proofs::Hash;
use counterfoil_proofs::manifest::{BatchFile, Manifest, Mark};
use sqlx::{PgConnection, Result};
use uuid::Uuid;

use crate::clock::unix_ms;

/// A batch with all its leaves, and the root that is stored for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBatch {
    /// What the root is computed from.
    pub file: BatchFile,
    /// The root that is stored.
    pub root: Hash,
}

/// The newest batch; none before the first.
pub async fn newest(conn: &mut PgConnection) -> Result<Option<i64>> {
    sqlx::query_scalar!("select batch_id from batch order by batch_id desc limit 1")
        .fetch_optional(conn)
        .await
}

/// The stored roots of a range of batches, both ends included, in its order.
pub async fn roots(conn: &mut PgConnection, first: i64, last: i64) -> Result<Vec<(i64, Hash)>> {
    let rows = sqlx::query!(
        r#"select batch_id, root as "root: Hash" from batch where batch_id between $1 and $2
           order by batch_id"#,
        first,
        last
    );
    let rows = rows.fetch_all(conn).await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.batch_id, row.root))
        .collect())
}

/// A batch with its marks and leaves; none where there is no such batch.
pub async fn load(conn: &mut PgConnection, batch: i64) -> Result<Option<StoredBatch>> {
    let found = sqlx::query!(
        r#"select root as "root: Hash", previous as "previous: Hash", tree_root as "tree: Hash",
                  leaf_count, sealed_at, signer as "signer: [u8; 20]", marks_hash as "marks: Hash",
                  salt as "salt: Hash", leaves
           from batch where batch_id = $1"#,
        batch
    );
    let Some(row) = found.fetch_optional(&mut *conn).await? else {
        return Ok(None);
    };
    let manifest = Manifest {
        batch: batch.cast_unsigned(),
        previous: row.previous,
        tree: row.tree,
        leaves: u64::from(row.leaf_count.cast_unsigned()),
        sealed_at: unix_ms(row.sealed_at).cast_unsigned(),
        signer: row.signer,
        marks: row.marks,
        salt: row.salt,
    };
    // a rest cannot be: the table checks the length
    let leaves = row.leaves.as_chunks::<32>().0.to_vec();
    let file = BatchFile {
        manifest,
        marks: marks(conn, batch).await?,
        leaves,
    };
    Ok(Some(StoredBatch {
        file,
        root: row.root,
    }))
}

/// The marks of a batch, ascending by merchant.
pub async fn marks(conn: &mut PgConnection, batch: i64) -> Result<Vec<Mark>> {
    let rows = sqlx::query!(
        r#"select merchant_id, first_seq, last_seq, head as "head: Hash", salt as "salt: Hash"
           from batch_mark where batch_id = $1 order by merchant_id"#,
        batch
    );
    let mark = |merchant: Uuid, first: i64, last: i64, head, salt| Mark {
        merchant: merchant.into_bytes(),
        first_seq: first.cast_unsigned(),
        last_seq: last.cast_unsigned(),
        head,
        salt,
    };
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows
        .map(|row| {
            mark(
                row.merchant_id,
                row.first_seq,
                row.last_seq,
                row.head,
                row.salt,
            )
        })
        .collect())
}
