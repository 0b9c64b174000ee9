//! Heads, tails and queues of merchants, and the sums of their refunds.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

/// A merchant as its heads say, and its marks.
#[derive(Debug)]
pub(in crate::audit) struct MerchantRow {
    pub(in crate::audit) merchant_id: Uuid,
    /// None where rows are of a merchant that is not there.
    pub(in crate::audit) next_seq: Option<i64>,
    pub(in crate::audit) last_recorded_at: Option<OffsetDateTime>,
    /// When its last sale was recorded.
    pub(in crate::audit) last_sale_at: Option<OffsetDateTime>,
    /// Its `mark_head`: last number and running hash.
    pub(in crate::audit) head: Option<(i64, Vec<u8>)>,
    /// Its last mark: last number and running hash.
    pub(in crate::audit) last_mark: Option<(i64, Vec<u8>)>,
    /// The last number of its marks up to the batch that was asked for; 0 before the first.
    pub(in crate::audit) covered: i64,
    /// Numbers that were declared as lost, first and last, ascending.
    pub(in crate::audit) gaps: Vec<(i64, i64)>,
    /// The first number of one that sales have numbers of.
    pub(in crate::audit) gap_with_sales: Option<i64>,
    pub(in crate::audit) hold: Option<(i64, String)>,
    pub(in crate::audit) queued: i64,
    pub(in crate::audit) oldest_queued: Option<OffsetDateTime>,
}

/// The merchants after `after` that any table knows, a page of them.
pub(in crate::audit) async fn ids(
    conn: &mut PgConnection,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"with recursive known(merchant_id, number) as (
               select $1::uuid, 0::bigint
               union all
               select least(
                   (select m.merchant_id from merchant m where m.merchant_id > k.merchant_id
                    order by m.merchant_id limit 1),
                   (select s.merchant_id from sale s where s.merchant_id > k.merchant_id
                    order by s.merchant_id limit 1),
                   (select p.merchant_id from pending_sale p where p.merchant_id > k.merchant_id
                    order by p.merchant_id limit 1),
                   (select q.merchant_id from batch_mark q where q.merchant_id > k.merchant_id
                    order by q.merchant_id limit 1),
                   (select h.merchant_id from mark_head h where h.merchant_id > k.merchant_id
                    order by h.merchant_id limit 1),
                   (select f.merchant_id from refund_total f where f.merchant_id > k.merchant_id
                    order by f.merchant_id limit 1)), k.number + 1
               from known k where k.merchant_id is not null and k.number < $2
           )
           select merchant_id as "merchant_id!" from known
           where number > 0 and merchant_id is not null order by number"#,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Some merchants, in the order of their ids.
pub(in crate::audit) async fn rows(
    conn: &mut PgConnection,
    ids: &[Uuid],
    batch: i64,
) -> Result<Vec<MerchantRow>> {
    let rows = sqlx::query!(
        r#"select i.merchant_id as "merchant_id!", m.next_seq as "next_seq?",
                  m.last_recorded_at as "last_recorded_at?",
                  (select s.recorded_at from sale s where s.merchant_id = i.merchant_id
                   order by s.seq desc limit 1) as "last_sale_at?",
                  h.last_seq as "head_seq?", h.head as "head?",
                  k.last_seq as "mark_seq?", k.head as "mark_head?",
                  coalesce((select q.last_seq from batch_mark q
                            where q.merchant_id = i.merchant_id and q.batch_id <= $2
                            order by q.first_seq desc limit 1), 0) as "covered!",
                  array(select g.first_seq from seq_gap g where g.merchant_id = i.merchant_id
                        order by g.first_seq) as "gap_firsts!: Vec<i64>",
                  array(select g.last_seq from seq_gap g where g.merchant_id = i.merchant_id
                        order by g.first_seq) as "gap_lasts!: Vec<i64>",
                  (select min(g.first_seq) from seq_gap g
                   where g.merchant_id = i.merchant_id
                     and exists (select from recorded_sale s where s.merchant_id = g.merchant_id
                                 and s.seq between g.first_seq and g.last_seq)) as "gap_with_sales?",
                  w.seq as "hold_seq?", w.reason as "hold_reason?",
                  (select count(*) from pending_sale p where p.merchant_id = i.merchant_id) as "queued!",
                  (select p.recorded_at from pending_sale p where p.merchant_id = i.merchant_id
                   order by p.seq limit 1) as "oldest_queued?"
           from unnest($1::uuid[]) as i(merchant_id)
           left join merchant m on m.merchant_id = i.merchant_id
           left join mark_head h on h.merchant_id = i.merchant_id
           left join seal_hold w on w.merchant_id = i.merchant_id
           left join lateral (select q.last_seq, q.head from batch_mark q
                              where q.merchant_id = i.merchant_id
                              order by q.first_seq desc limit 1) k on true
           order by i.merchant_id"#,
        ids,
        batch
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows
        .map(|row| MerchantRow {
            merchant_id: row.merchant_id,
            next_seq: row.next_seq,
            last_recorded_at: row.last_recorded_at,
            last_sale_at: row.last_sale_at,
            head: row.head_seq.zip(row.head),
            last_mark: row.mark_seq.zip(row.mark_head),
            covered: row.covered,
            gaps: row.gap_firsts.into_iter().zip(row.gap_lasts).collect(),
            gap_with_sales: row.gap_with_sales,
            hold: row.hold_seq.zip(row.hold_reason),
            queued: row.queued,
            oldest_queued: row.oldest_queued,
        })
        .collect())
}

/// A row of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit) struct Queued {
    pub(in crate::audit) seq: i64,
    pub(in crate::audit) sale_id: Uuid,
    pub(in crate::audit) recorded_at: OffsetDateTime,
}

/// The queue of a merchant after a number, a page of it.
pub(in crate::audit) async fn queue(
    conn: &mut PgConnection,
    merchant: Uuid,
    after: i64,
    limit: i64,
) -> Result<Vec<Queued>> {
    sqlx::query_as!(
        Queued,
        "select seq, sale_id, recorded_at from pending_sale
         where merchant_id = $1 and seq > $2 order by seq limit $3",
        merchant,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// The roots of some batches.
pub(in crate::audit) async fn roots(
    conn: &mut PgConnection,
    batches: &[i64],
) -> Result<Vec<(i64, Vec<u8>)>> {
    let rows = sqlx::query!(
        "select batch_id, root from batch where batch_id = any($1)",
        batches
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows.map(|row| (row.batch_id, row.root)).collect())
}

/// A row of `refund_total`, and the amount of the sale it is of.
#[derive(Debug)]
pub(in crate::audit) struct RefundTotal {
    pub(in crate::audit) sale_id: Uuid,
    pub(in crate::audit) sale_minor: i64,
    pub(in crate::audit) refunded_minor: i64,
    pub(in crate::audit) amount_minor: Option<i64>,
}

/// What is noted as refunded of a merchant's sales after a sale, a page of it.
pub(in crate::audit) async fn refund_totals(
    conn: &mut PgConnection,
    merchant: Uuid,
    after: Uuid,
    limit: i64,
) -> Result<Vec<RefundTotal>> {
    sqlx::query_as!(
        RefundTotal,
        r#"select f.sale_id, f.sale_minor, f.refunded_minor, s.amount_minor as "amount_minor?"
           from refund_total f
           left join lateral (select r.amount_minor from recorded_sale r
                              where r.merchant_id = f.merchant_id and r.sale_id = f.sale_id limit 1) s
               on true
           where f.merchant_id = $1 and f.sale_id > $2 order by f.sale_id limit $3"#,
        merchant,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// The sales of a merchant whose refunds add up to another sum than is noted: only for saying which they
/// are, as it reads all of the merchant's sales. `archived` are refunds that are not in the table.
pub(in crate::audit) async fn refund_differences(
    conn: &mut PgConnection,
    merchant: Uuid,
    archived: &[(Uuid, i64)],
) -> Result<Vec<Uuid>> {
    let (sales, minors): (Vec<Uuid>, Vec<i64>) = archived.iter().copied().unzip();
    sqlx::query_scalar!(
        r#"select coalesce(f.sale_id, r.refers_to) as "sale_id!"
           from (select refers_to, sum(amount_minor) as minor
                 from (select s.refers_to, s.amount_minor from sale s
                       where s.merchant_id = $1 and s.kind = 2 and s.refers_to is not null
                       union all select * from unnest($2::uuid[], $3::bigint[])) every
                 group by refers_to) r
           full join (select sale_id, refunded_minor from refund_total where merchant_id = $1) f
               on f.sale_id = r.refers_to
           where r.minor is distinct from f.refunded_minor
           order by 1 limit 1000"#,
        merchant,
        &sales,
        &minors
    )
    .fetch_all(conn)
    .await
}

/// The number of a merchant's first sale from a number on.
pub(in crate::audit) async fn next_sale(
    conn: &mut PgConnection,
    merchant: Uuid,
    from: i64,
) -> Result<Option<i64>> {
    sqlx::query_scalar!(
        "select seq from sale where merchant_id = $1 and seq >= $2 order by seq limit 1",
        merchant,
        from
    )
    .fetch_optional(conn)
    .await
}

/// The numbers of a merchant's queue of which no sale waits.
pub(in crate::audit) async fn strays(conn: &mut PgConnection, merchant: Uuid) -> Result<Vec<i64>> {
    sqlx::query_scalar!(
        "select p.seq from pending_sale p
         where p.merchant_id = $1
           and not exists (select from sale s where s.merchant_id = p.merchant_id and s.seq = p.seq
                               and s.batch_id is null)
         order by p.seq limit 1000",
        merchant
    )
    .fetch_all(conn)
    .await
}

/// Whether sales of a merchant have left the database for an archive.
pub(in crate::audit) async fn has_archive(conn: &mut PgConnection, merchant: Uuid) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from sale_archive_run where merchant_id = $1) as "archived!""#,
        merchant
    )
    .fetch_one(conn)
    .await
}
