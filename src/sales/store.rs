//! The SQL that reads sales.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::stored::StoredSale;
use crate::http::paging::Period;
use crate::ids::{MerchantId, SaleId};

/// The sales with these ids, in no order.
pub async fn by_ids(
    db: &mut PgConnection,
    merchant: MerchantId,
    ids: &[Uuid],
) -> Result<Vec<StoredSale>, sqlx::Error> {
    sqlx::query_as!(
        StoredSale,
        "select merchant_id, sale_id, seq, order_id, kind, refers_to, customer, currency, amount_minor,
                recorded_at, details, details_hash, salt
         from sale where merchant_id = $1 and sale_id = any($2)",
        merchant.0,
        ids,
    )
    .fetch_all(db)
    .await
}

/// Which sales a list is to hold.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the filters of GET /v1/sales")]
pub struct Filter {
    pub order_id: Option<String>,
    pub kind: Option<i16>,
    pub state: Option<String>,
    pub sold: Period,
}

/// A row of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The sale.
    pub sale: StoredSale,
    /// Its state.
    pub state: String,
    /// Its batch, once sealed.
    pub batch_id: Option<i64>,
    /// When that was sealed.
    pub sealed_at: Option<OffsetDateTime>,
}

/// The sales with these order ids, archived or not, each beside its order id.
pub async fn ids_of_orders(
    db: &mut PgConnection,
    merchant: MerchantId,
    order_ids: &[String],
) -> Result<Vec<(String, Uuid)>, sqlx::Error> {
    let rows = sqlx::query!(
        "select order_id, sale_id from sale_order where merchant_id = $1 and order_id = any($2)",
        merchant.0,
        order_ids,
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    Ok(rows.map(|row| (row.order_id, row.sale_id)).collect())
}

/// The sequence number of a sale.
pub async fn seq_of(
    db: &mut PgConnection,
    merchant: MerchantId,
    sale: SaleId,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select seq as "seq!" from recorded_sale where merchant_id = $1 and sale_id = $2"#,
        merchant.0,
        sale.0
    )
    .fetch_optional(db)
    .await
}

/// A page of sales in one direction; a macro, because an order cannot be a parameter.
macro_rules! page {
    ($db:expr, $merchant:expr, $filter:expr, $edge:expr, $rows:expr, $beyond:literal, $order:literal) => {
        sqlx::query!(
            r#"select s.merchant_id, s.sale_id, s.seq, s.order_id, s.kind, s.refers_to, s.customer, s.currency,
                      s.amount_minor, s.recorded_at, s.details, s.details_hash, s.salt,
                      s.batch_id, b.sealed_at as "sealed_at?", v.state as "state!"
               from sale s
               left join batch b on b.batch_id = s.batch_id
               -- a scalar subquery: as a join the state of all batches would be computed for it
               cross join lateral (select coalesce(
                   (select v.state from batch_state v where v.batch_id = s.batch_id), 'pending') as state
                   offset 0) v
               where s.merchant_id = $1 and s.seq "#
                + $beyond
                + r#" $2
                 and ($3::text is null or s.sale_id = (
                      select sale_id from sale_order where merchant_id = $1 and order_id = $3))
                 and ($4::smallint is null or s.kind = $4)
                 and ($5::text is null or v.state = $5)
                 -- what is not final stands at the end of the sequence
                 and ($5::text is null or $5 = 'finalized' or s.seq >= case $5
                     when 'pending' then coalesce(
                         (select h.last_seq + 1 from mark_head h where h.merchant_id = $1), 1)
                     else (
                         select min(m.first_seq) from batch_mark m
                         where m.merchant_id = $1 and m.batch_id > (
                             select coalesce(min(f.last_batch), 0) from (
                                 select coalesce(max(a.last_batch), 0) as last_batch
                                 from registry r
                                 left join anchor a on a.chain_id = r.chain_id and a.state = 'finalized'
                                 where r.last_batch is null
                                 group by r.chain_id) f))
                     end)
                 and ($6::timestamptz is null or s.sold_at >= $6)
                 and ($7::timestamptz is null or s.sold_at > $7)
                 and ($8::timestamptz is null or s.sold_at <= $8)
                 and ($9::timestamptz is null or s.sold_at < $9)
               order by s.seq "#
                + $order
                + " limit $10",
            $merchant.0,
            $edge,
            $filter.order_id.as_deref(),
            $filter.kind,
            $filter.state.as_deref(),
            $filter.sold.from,
            $filter.sold.after,
            $filter.sold.to,
            $filter.sold.before,
            $rows,
        )
        .map(|row| Listed {
            state: row.state,
            batch_id: row.batch_id,
            sealed_at: row.sealed_at,
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
        })
        .fetch_all($db)
        .await
    };
}

/// The `rows` newest sales that are older than number `before`, newest first.
pub async fn list_older(
    db: &mut PgConnection,
    merchant: MerchantId,
    filter: &Filter,
    before: i64,
    rows: i64,
) -> Result<Vec<Listed>, sqlx::Error> {
    page!(db, merchant, filter, before, rows, "<", "desc")
}

/// The `rows` oldest sales that are newer than number `after`, oldest first.
pub async fn list_newer(
    db: &mut PgConnection,
    merchant: MerchantId,
    filter: &Filter,
    after: i64,
    rows: i64,
) -> Result<Vec<Listed>, sqlx::Error> {
    page!(db, merchant, filter, after, rows, ">", "asc")
}
