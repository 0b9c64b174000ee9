//! Batches, their marks and their sales.

use sqlx::{PgConnection, Result};
use uuid::Uuid;

use crate::anchor::store::seal::Run;
use crate::audit::batch::{BatchRow, MarkBefore, MarkRow};
use crate::audit::row::{Row, Target};
use crate::sales::stored::StoredSale;

/// The batches after `after` and how many leaves each has, a page of them.
pub(in crate::audit) async fn sizes(
    conn: &mut PgConnection,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, i32)>> {
    let rows = sqlx::query!(
        "select batch_id, leaf_count from batch where batch_id > $1 order by batch_id limit $2",
        after,
        limit
    );
    let rows = rows.fetch_all(conn).await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.batch_id, row.leaf_count))
        .collect())
}

/// A batch, with what its neighbours say of it.
pub(in crate::audit) async fn batch(
    conn: &mut PgConnection,
    batch: i64,
) -> Result<Option<BatchRow>> {
    let found = sqlx::query!(
        r#"select b.*, p.root as "before_root?",
                  case when p.root is not null then
                      coalesce((select e.sealed_at from batch e where e.batch_id < b.batch_id
                                order by e.batch_id desc limit 1), 'epoch') end as "before_sealed_at?",
                  coalesce((select n.previous from batch n where n.batch_id = b.batch_id + 1),
                           (select h.last_root from seal_head h where h.next_batch = b.batch_id + 1))
                      as "follower?"
           from batch b
           left join lateral (select root from batch where batch_id = b.batch_id - 1
                              union select root from batch_lost where batch_id = b.batch_id - 1
                              limit 1) p on true
           where b.batch_id = $1"#,
        batch
    );
    Ok(found.fetch_optional(conn).await?.map(|row| BatchRow {
        batch_id: row.batch_id,
        root: row.root,
        previous: row.previous,
        tree_root: row.tree_root,
        leaf_count: row.leaf_count,
        sealed_at: row.sealed_at,
        signer: row.signer,
        marks_hash: row.marks_hash,
        salt: row.salt,
        leaves: row.leaves,
        chains: row.chains,
        oldest_recorded_at: row.oldest_recorded_at,
        before: row.before_root.zip(row.before_sealed_at),
        follower: row.follower,
    }))
}

/// The marks of a batch, ascending by merchant, each with its merchant's mark before it.
pub(in crate::audit) async fn marks(conn: &mut PgConnection, batch: i64) -> Result<Vec<MarkRow>> {
    let rows = sqlx::query!(
        r#"select k.merchant_id, k.first_seq, k.last_seq, k.head, k.salt,
                  p.batch_id as "before_batch?", p.head as "before_head?",
                  coalesce((select g.last_seq from seq_gap g
                            where g.merchant_id = k.merchant_id
                              and g.first_seq = coalesce(p.last_seq, 0) + 1),
                           p.last_seq, 0) + 1 as "expected_first!"
           from batch_mark k
           left join lateral (select q.batch_id, q.last_seq, q.head from batch_mark q
                              where q.merchant_id = k.merchant_id and q.first_seq < k.first_seq
                              order by q.first_seq desc limit 1) p on true
           where k.batch_id = $1 order by k.merchant_id"#,
        batch
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows
        .map(|row| MarkRow {
            merchant_id: row.merchant_id,
            first_seq: row.first_seq,
            last_seq: row.last_seq,
            head: row.head,
            salt: row.salt,
            expected_first: row.expected_first,
            before: match (row.before_batch, row.before_head) {
                (Some(batch_id), Some(head)) => Some(MarkBefore { batch_id, head }),
                _ => None,
            },
        })
        .collect())
}

/// The sales of some runs, ascending by merchant and number, with what other tables have of them.
pub(in crate::audit) async fn sales(conn: &mut PgConnection, runs: &[Run]) -> Result<Vec<Row>> {
    let merchants: Vec<Uuid> = runs.iter().map(|run| run.merchant_id).collect();
    let firsts: Vec<i64> = runs.iter().map(|run| run.first_seq).collect();
    let lasts: Vec<i64> = runs.iter().map(|run| run.last_seq).collect();
    let rows = sqlx::query!(
        r#"select s.merchant_id, s.sale_id, s.seq, s.order_id, s.kind, s.refers_to, s.customer,
                  s.currency, s.amount_minor, s.recorded_at, s.details, s.details_hash, s.salt,
                  s.sold_at, s.fingerprint, s.leaf, s.batch_id, s.leaf_index, s.proof,
                  o.sale_id as "order_sale?", t.kind as "target_kind?",
                  t.currency as "target_currency?", u.order_id as "target_order?"
           from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as run(merchant_id, first_seq, last_seq)
           -- the offset keeps a run one scan of its index; the limits keep what belongs to a sale one probe of
           -- an index each: joined, it was read whole for every range
           cross join lateral (select s.* from sale s
                               where s.merchant_id = run.merchant_id
                                 and s.seq between run.first_seq and run.last_seq
                               order by s.seq offset 0) s
           left join lateral (select o.sale_id from sale_order o
                              where o.merchant_id = s.merchant_id and o.order_id = s.order_id limit 1) o on true
           left join lateral (select r.kind, r.currency from recorded_sale r
                              where s.refers_to is not null and r.merchant_id = s.merchant_id
                                and r.sale_id = s.refers_to limit 1) t on true
           left join lateral (select u.order_id from sale u
                              where s.refers_to is not null and u.merchant_id = s.merchant_id
                                and u.sale_id = s.refers_to limit 1) u on true
           order by s.merchant_id, s.seq"#,
        &merchants,
        &firsts,
        &lasts
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows
        .map(|row| Row {
            sale: StoredSale {
                merchant_id: row.merchant_id,
                sale_id: row.sale_id,
                seq: row.seq,
                order_id: row.order_id,
                kind: row.kind,
                refers_to: row.refers_to,
                customer: row.customer,
                currency: row.currency,
                amount_minor: row.amount_minor,
                recorded_at: row.recorded_at,
                details: row.details,
                details_hash: row.details_hash,
                salt: row.salt,
            },
            archived: false,
            sold_at: row.sold_at,
            fingerprint: row.fingerprint,
            leaf: row.leaf,
            batch_id: row.batch_id,
            leaf_index: row.leaf_index,
            proof: row.proof,
            order_sale: row.order_sale,
            target: match (row.target_kind, row.target_currency) {
                (Some(kind), Some(currency)) => Some(Target {
                    kind,
                    currency,
                    order_id: row.target_order,
                }),
                _ => None,
            },
        })
        .collect())
}

/// The time and root of the newest batch, and the head that should say the same.
pub(in crate::audit) struct Heads {
    pub(in crate::audit) newest: Option<(i64, Vec<u8>, time::OffsetDateTime)>,
    pub(in crate::audit) next_batch: i64,
    pub(in crate::audit) last_root: Vec<u8>,
    pub(in crate::audit) last_sealed_at: time::OffsetDateTime,
}

/// The head of sealing beside the newest batch.
pub(in crate::audit) async fn heads(conn: &mut PgConnection) -> Result<Option<Heads>> {
    let found = sqlx::query!(
        r#"select h.next_batch, h.last_root, h.last_sealed_at,
                  b.batch_id as "batch_id?", b.root as "root?",
                  coalesce((select sealed_at from batch order by batch_id desc limit 1), 'epoch') as "sealed_at?"
           from seal_head h
           left join lateral (select batch_id, root from batch union select batch_id, root from batch_lost
                              order by batch_id desc limit 1) b on true"#
    );
    Ok(found.fetch_optional(conn).await?.map(|row| Heads {
        newest: match (row.batch_id, row.root, row.sealed_at) {
            (Some(batch), Some(root), Some(sealed_at)) => Some((batch, root, sealed_at)),
            _ => None,
        },
        next_batch: row.next_batch,
        last_root: row.last_root,
        last_sealed_at: row.last_sealed_at,
    }))
}

/// The batches after `after` and before `before` that were declared lost, ascending.
pub(in crate::audit) async fn lost(
    conn: &mut PgConnection,
    after: i64,
    before: i64,
) -> Result<Vec<i64>> {
    sqlx::query_scalar!(
        "select distinct batch_id from batch_lost where batch_id > $1 and batch_id < $2 order by batch_id",
        after,
        before
    )
    .fetch_all(conn)
    .await
}
