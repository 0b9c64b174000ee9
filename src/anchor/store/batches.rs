//! Batches as they are read again.

use counterfoil_proofs::Hash;
use counterfoil_proofs::manifest::{BatchFile, Manifest, Mark};
use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
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

/// The newest batch, lost ones included; none before the first.
pub async fn newest(conn: &mut PgConnection) -> Result<Option<i64>> {
    sqlx::query_scalar!(
        "select greatest((select max(batch_id) from batch), (select max(batch_id) from batch_lost))"
    )
    .fetch_one(conn)
    .await
}

/// When the oldest sale of a batch was recorded; none where there is no such batch.
pub async fn oldest_sale(conn: &mut PgConnection, batch: i64) -> Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!(
        "select oldest_recorded_at from batch where batch_id = $1",
        batch
    )
    .fetch_optional(conn)
    .await
}

/// The roots of a range of batches, both ends included, in its order; of lost ones those that the
/// registries have.
pub async fn roots(conn: &mut PgConnection, first: i64, last: i64) -> Result<Vec<(i64, Hash)>> {
    let rows = sqlx::query!(
        r#"select batch_id as "batch_id!", root as "root!: Hash" from batch
           where batch_id between $1 and $2
           union
           select batch_id, root from batch_lost where batch_id between $1 and $2
           order by 1"#,
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
    let Some((manifest, root, _)) = manifest(conn, batch).await? else {
        return Ok(None);
    };
    let leaves = sqlx::query_scalar!("select leaves from batch where batch_id = $1", batch)
        .fetch_one(&mut *conn)
        .await?;
    // a rest cannot be: the table checks the length
    let leaves = leaves.as_chunks::<32>().0.to_vec();
    let marks = marks(conn, batch).await?;
    Ok(Some(StoredBatch {
        file: BatchFile {
            manifest,
            marks,
            leaves,
        },
        root,
    }))
}

/// The manifest, the root and the state of a batch; none where there is no such batch.
pub async fn manifest(
    conn: &mut PgConnection,
    batch: i64,
) -> Result<Option<(Manifest, Hash, String)>> {
    let found = sqlx::query!(
        r#"select b.root as "root: Hash", b.previous as "previous: Hash", b.tree_root as "tree: Hash",
                  b.leaf_count, b.sealed_at, b.signer as "signer: [u8; 20]",
                  b.marks_hash as "marks: Hash", b.salt as "salt: Hash",
                  (select v.state from batch_state v where v.batch_id = b.batch_id) as "state!"
           from batch b
           where b.batch_id = $1"#,
        batch
    );
    Ok(found.fetch_optional(conn).await?.map(|row| {
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
        (manifest, row.root, row.state)
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

/// A batch with sales of one merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Listed {
    pub batch_id: i64,
    pub root: Hash,
    pub sealed_at: OffsetDateTime,
    pub state: String,
    pub first_seq: i64,
    pub last_seq: i64,
}

/// Batches with sales of a merchant that are older than `edge`, the newest first.
pub async fn list_older(
    conn: &mut PgConnection,
    merchant: Uuid,
    edge: i64,
    limit: i64,
) -> Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select b.batch_id, b.root as "root: Hash", b.sealed_at,
                  (select v.state from batch_state v where v.batch_id = m.batch_id) as "state!",
                  m.first_seq, m.last_seq
           -- a merchant's marks ascend in number as in batch, and by number they have an index
           from (select * from batch_mark where merchant_id = $1 and batch_id < $2
                   and first_seq < coalesce((select e.first_seq from batch_mark e
                                             where e.merchant_id = $1 and e.batch_id = $2),
                                            9223372036854775807)
                 order by first_seq desc limit $3) m
           join batch b on b.batch_id = m.batch_id
           order by m.first_seq desc"#,
        merchant,
        edge,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Batches with sales of a merchant that are newer than `edge`, the oldest first.
pub async fn list_newer(
    conn: &mut PgConnection,
    merchant: Uuid,
    edge: i64,
    limit: i64,
) -> Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select b.batch_id, b.root as "root: Hash", b.sealed_at,
                  (select v.state from batch_state v where v.batch_id = m.batch_id) as "state!",
                  m.first_seq, m.last_seq
           from (select * from batch_mark where merchant_id = $1 and batch_id > $2
                   and first_seq > coalesce((select e.first_seq from batch_mark e
                                             where e.merchant_id = $1 and e.batch_id = $2), 0)
                 order by first_seq limit $3) m
           join batch b on b.batch_id = m.batch_id
           order by m.first_seq"#,
        merchant,
        edge,
        limit
    )
    .fetch_all(conn)
    .await
}
