//! Archives, the sales that have left for them, and their runs of numbers.

use sqlx::{PgConnection, Result};
use uuid::Uuid;

use crate::anchor::store::seal::Run;

/// A row of `archived_sale`, and the file that its receipt stands in.
#[derive(Debug, Clone)]
pub(in crate::audit) struct ArchivedRow {
    pub(in crate::audit) merchant_id: Uuid,
    pub(in crate::audit) sale_id: Uuid,
    pub(in crate::audit) seq: i64,
    pub(in crate::audit) kind: i16,
    pub(in crate::audit) currency: String,
    pub(in crate::audit) amount_minor: i64,
    pub(in crate::audit) fingerprint: Vec<u8>,
    pub(in crate::audit) batch_id: i64,
    pub(in crate::audit) position: i64,
    pub(in crate::audit) length: i32,
    /// None where there is no such archive.
    pub(in crate::audit) file: Option<String>,
}

/// The archived sales of some runs, ascending by merchant and number.
pub(in crate::audit) async fn sales(
    conn: &mut PgConnection,
    runs: &[Run],
) -> Result<Vec<ArchivedRow>> {
    let merchants: Vec<Uuid> = runs.iter().map(|run| run.merchant_id).collect();
    let firsts: Vec<i64> = runs.iter().map(|run| run.first_seq).collect();
    let lasts: Vec<i64> = runs.iter().map(|run| run.last_seq).collect();
    sqlx::query_as!(
        ArchivedRow,
        r#"select s.merchant_id, s.sale_id, s.seq, s.kind, s.currency, s.amount_minor, s.fingerprint,
                  s.batch_id, s.position, s.length, a.file as "file?"
           from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as run(merchant_id, first_seq, last_seq)
           cross join lateral (select s.* from archived_sale s
                               where s.merchant_id = run.merchant_id
                                 and s.seq between run.first_seq and run.last_seq
                               order by s.seq offset 0) s
           left join sale_archive a on a.archive_id = s.archive_id
           order by s.merchant_id, s.seq"#,
        &merchants,
        &firsts,
        &lasts
    )
    .fetch_all(conn)
    .await
}

/// Those of some sales that are archived.
pub(in crate::audit) async fn sales_by_id(
    conn: &mut PgConnection,
    merchants: &[Uuid],
    sales: &[Uuid],
) -> Result<Vec<ArchivedRow>> {
    sqlx::query_as!(
        ArchivedRow,
        r#"select s.merchant_id, s.sale_id, s.seq, s.kind, s.currency, s.amount_minor, s.fingerprint,
                  s.batch_id, s.position, s.length, a.file as "file?"
           from unnest($1::uuid[], $2::uuid[]) as w(merchant_id, sale_id)
           join archived_sale s on s.merchant_id = w.merchant_id and s.sale_id = w.sale_id
           left join sale_archive a on a.archive_id = s.archive_id"#,
        merchants,
        sales
    )
    .fetch_all(conn)
    .await
}

/// A merchant's archived refunds after a sale, a page of them.
pub(in crate::audit) async fn refunds(
    conn: &mut PgConnection,
    merchant: Uuid,
    after: Uuid,
    limit: i64,
) -> Result<Vec<ArchivedRow>> {
    sqlx::query_as!(
        ArchivedRow,
        r#"select s.merchant_id, s.sale_id, s.seq, s.kind, s.currency, s.amount_minor, s.fingerprint,
                  s.batch_id, s.position, s.length, a.file as "file?"
           from archived_sale s left join sale_archive a on a.archive_id = s.archive_id
           where s.merchant_id = $1 and s.sale_id > $2 and s.kind = 2 order by s.sale_id limit $3"#,
        merchant,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// What other tables have of an archived sale.
#[derive(Debug)]
pub(in crate::audit) struct Around {
    pub(in crate::audit) order_sale: Option<Uuid>,
    pub(in crate::audit) target_kind: Option<i16>,
    pub(in crate::audit) target_currency: Option<String>,
    pub(in crate::audit) target_order: Option<String>,
}

/// What other tables have of some sales, by their order ids and the sales they refund; in this order.
pub(in crate::audit) async fn around(
    conn: &mut PgConnection,
    merchants: &[Uuid],
    orders: &[String],
    targets: &[Option<Uuid>],
) -> Result<Vec<Around>> {
    sqlx::query_as!(
        Around,
        r#"select o.sale_id as "order_sale?", t.kind as "target_kind?",
                  t.currency as "target_currency?", u.order_id as "target_order?"
           from unnest($1::uuid[], $2::text[], $3::uuid[]) with ordinality
                as w(merchant_id, order_id, refers_to, ord)
           left join sale_order o on o.merchant_id = w.merchant_id and o.order_id = w.order_id
           left join lateral (select r.kind, r.currency from recorded_sale r
                              where w.refers_to is not null and r.merchant_id = w.merchant_id
                                and r.sale_id = w.refers_to limit 1) t on true
           left join sale u on u.merchant_id = w.merchant_id and u.sale_id = w.refers_to
           order by w.ord"#,
        merchants,
        orders,
        targets as &[Option<Uuid>]
    )
    .fetch_all(conn)
    .await
}

/// A row of `sale_archive`.
#[derive(Debug)]
pub(in crate::audit) struct ArchiveRow {
    pub(in crate::audit) archive_id: i32,
    pub(in crate::audit) sales: i64,
    pub(in crate::audit) first_batch: Option<i64>,
    pub(in crate::audit) last_batch: Option<i64>,
    pub(in crate::audit) file: String,
    pub(in crate::audit) bytes: i64,
    pub(in crate::audit) sha256: Vec<u8>,
    /// Whether its file has its name.
    pub(in crate::audit) named: bool,
    /// Whether it begins where another archive ends, or is the first.
    pub(in crate::audit) follows: bool,
    /// Whether another archive or a partition begins where it ends.
    pub(in crate::audit) followed: bool,
    /// Whether it was archived after its month was over.
    pub(in crate::audit) in_time: bool,
}

/// The archive after `after`.
pub(in crate::audit) async fn archive(
    conn: &mut PgConnection,
    after: i32,
) -> Result<Option<ArchiveRow>> {
    sqlx::query_as!(
        ArchiveRow,
        r#"select a.archive_id, a.sales, a.first_batch, a.last_batch, a.file, a.bytes, a.sha256,
                  a.file = a.name || '.jsonl' as "named!",
                  (case when a.from_id is null
                        then not exists (select from sale_archive p where p.to_id < a.to_id)
                        else exists (select from sale_archive p where p.to_id = a.from_id) end) as "follows!",
                  (exists (select from sale_archive n where n.from_id = a.to_id)
                   or exists (select from sale_partition n where n.from_id = a.to_id)) as "followed!",
                  a.archived_at >= sale_id_time(a.to_id)
                      and a.archived_at = date_trunc('milliseconds', a.archived_at) as "in_time!"
           from sale_archive a where a.archive_id > $1 order by a.archive_id limit 1"#,
        after
    )
    .fetch_optional(conn)
    .await
}

/// A row of `sale_archive_run`, and what the archived sales of its numbers come to.
#[derive(Debug)]
pub(in crate::audit) struct RunRow {
    pub(in crate::audit) merchant_id: Uuid,
    pub(in crate::audit) first_seq: i64,
    pub(in crate::audit) last_seq: i64,
    pub(in crate::audit) first_batch: i64,
    pub(in crate::audit) last_batch: i64,
    /// Its sales, the batches they are in, and the bytes of their lines.
    pub(in crate::audit) sales: i64,
    pub(in crate::audit) sales_first_batch: Option<i64>,
    pub(in crate::audit) sales_last_batch: Option<i64>,
    pub(in crate::audit) bytes: i64,
    /// Whether the same archive has the number before it or after it: then it is not whole.
    pub(in crate::audit) goes_on: bool,
}

/// The runs of an archive after a merchant's number, a page of them.
pub(in crate::audit) async fn runs(
    conn: &mut PgConnection,
    archive: i32,
    after: (Uuid, i64),
    limit: i64,
) -> Result<Vec<RunRow>> {
    sqlx::query_as!(
        RunRow,
        r#"select r.merchant_id, r.first_seq, r.last_seq, r.first_batch, r.last_batch,
                  s.sales as "sales!", s.first_batch as sales_first_batch, s.last_batch as sales_last_batch,
                  s.bytes as "bytes!",
                  exists (select from archived_sale n
                          where n.merchant_id = r.merchant_id and n.archive_id = r.archive_id
                            and n.seq in (r.first_seq - 1, r.last_seq + 1)) as "goes_on!"
           from (select * from sale_archive_run
                 where archive_id = $1 and (merchant_id, first_seq) > ($2, $3)
                 order by merchant_id, first_seq limit $4) r
           cross join lateral (
               select count(*) as sales, min(s.batch_id) as first_batch, max(s.batch_id) as last_batch,
                      coalesce(sum(s.length + 1), 0)::bigint as bytes
               from archived_sale s
               where s.merchant_id = r.merchant_id and s.seq between r.first_seq and r.last_seq
                 and s.archive_id = r.archive_id) s
           order by r.merchant_id, r.first_seq"#,
        archive,
        after.0,
        after.1,
        limit
    )
    .fetch_all(conn)
    .await
}

/// A row of `archived_sale` by its key.
pub(in crate::audit) type SaleKey = (Uuid, Uuid);

/// The last of the next `rows` archived sales after a key; none at the end.
pub(in crate::audit) async fn sale_range_end(
    conn: &mut PgConnection,
    after: SaleKey,
    rows: i64,
) -> Result<Option<SaleKey>> {
    let found = sqlx::query!(
        r#"select merchant_id as "merchant_id!", sale_id as "sale_id!"
           from (select merchant_id, sale_id from archived_sale where (merchant_id, sale_id) > ($1, $2)
                 order by merchant_id, sale_id limit $3) page
           order by merchant_id desc, sale_id desc limit 1"#,
        after.0,
        after.1,
        rows
    );
    let found = found.fetch_optional(conn).await?;
    Ok(found.map(|row| (row.merchant_id, row.sale_id)))
}

/// A row of `archived_sale` that is where it does not belong.
#[derive(Debug)]
pub(in crate::audit) struct Astray {
    pub(in crate::audit) merchant_id: Uuid,
    pub(in crate::audit) sale_id: Uuid,
    pub(in crate::audit) seq: i64,
}

/// The archived sales of a range that no mark covers, that no run of their archive has, or whose id is
/// not of its month.
pub(in crate::audit) async fn astray(
    conn: &mut PgConnection,
    after: SaleKey,
    to: SaleKey,
) -> Result<Vec<Astray>> {
    sqlx::query_as!(
        Astray,
        r#"select s.merchant_id as "merchant_id!", s.sale_id as "sale_id!", s.seq as "seq!"
           from (select * from archived_sale
                 where (merchant_id, sale_id) > ($1, $2) and (merchant_id, sale_id) <= ($3, $4)
                 order by merchant_id, sale_id offset 0) s
           where not exists (select from sale_archive_run r
                             where r.merchant_id = s.merchant_id and r.archive_id = s.archive_id
                               and s.seq between r.first_seq and r.last_seq)
              or not exists (select from sale_archive a
                             where a.archive_id = s.archive_id and s.sale_id < a.to_id
                               and (a.from_id is null or s.sale_id >= a.from_id))
              or not exists (select from batch_mark k
                             where k.merchant_id = s.merchant_id and k.batch_id = s.batch_id
                               and s.seq between k.first_seq and k.last_seq)"#,
        after.0,
        after.1,
        to.0,
        to.1
    )
    .fetch_all(conn)
    .await
}

/// The runs of an archive that is not there.
pub(in crate::audit) async fn runs_of_no_archive(
    conn: &mut PgConnection,
) -> Result<Vec<(Uuid, i64)>> {
    let rows = sqlx::query!(
        "select r.merchant_id, r.first_seq from sale_archive_run r
         where not exists (select from sale_archive a where a.archive_id = r.archive_id)
         order by r.merchant_id, r.first_seq limit 1000"
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows.map(|row| (row.merchant_id, row.first_seq)).collect())
}
