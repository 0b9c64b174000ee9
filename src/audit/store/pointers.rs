//! What leads to sales: order ids and idempotency keys. Each check is one statement over a range of
//! keys, and gives only what does not hold.

use sqlx::{PgConnection, Result};
use uuid::Uuid;

use super::archives::ArchivedRow;

/// A row of `sale_order` by its key.
pub(in crate::audit) type OrderKey = (Uuid, String);
/// A row of `idempotency_key` by its key.
pub(in crate::audit) type RequestKey = (Uuid, i16, String);

/// The last of the next `rows` order ids after a key; none at the end.
pub(in crate::audit) async fn order_range_end(
    conn: &mut PgConnection,
    after: &OrderKey,
    rows: i64,
) -> Result<Option<OrderKey>> {
    let found = sqlx::query!(
        r#"select merchant_id as "merchant_id!", order_id as "order_id!"
           from (select merchant_id, order_id from sale_order where (merchant_id, order_id) > ($1, $2)
                 order by merchant_id, order_id limit $3) page
           order by merchant_id desc, order_id desc limit 1"#,
        after.0,
        after.1,
        rows
    );
    let found = found.fetch_optional(conn).await?;
    Ok(found.map(|row| (row.merchant_id, row.order_id)))
}

/// The order ids of a range that do not lead to a sale that has them.
pub(in crate::audit) async fn orders_wrong(
    conn: &mut PgConnection,
    after: &OrderKey,
    to: &OrderKey,
) -> Result<Vec<OrderKey>> {
    let rows = sqlx::query!(
        r#"select o.merchant_id as "merchant_id!", o.order_id as "order_id!"
         from (select * from sale_order
               where (merchant_id, order_id) > ($1, $2) and (merchant_id, order_id) <= ($3, $4)
               order by merchant_id, order_id offset 0) o
         left join sale s on s.merchant_id = o.merchant_id and s.sale_id = o.sale_id
         where s.order_id is distinct from o.order_id
           -- the order id of an archived sale stands in the archive alone
           and not exists (select from archived_sale a
                           where a.merchant_id = o.merchant_id and a.sale_id = o.sale_id)"#,
        after.0,
        after.1,
        to.0,
        to.1
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows.map(|row| (row.merchant_id, row.order_id)).collect())
}

/// The order ids of a range that lead to archived sales, which stand in the archives alone.
pub(in crate::audit) async fn orders_archived(
    conn: &mut PgConnection,
    after: &OrderKey,
    to: &OrderKey,
) -> Result<Vec<(String, ArchivedRow)>> {
    let rows = sqlx::query!(
        r#"select o.order_id as "order_id!", s.merchant_id, s.sale_id, s.seq, s.kind, s.currency,
                  s.amount_minor, s.fingerprint, s.batch_id, s.position, s.length, a.file as "file?"
           from (select * from sale_order
                 where (merchant_id, order_id) > ($1, $2) and (merchant_id, order_id) <= ($3, $4)
                 order by merchant_id, order_id offset 0) o
           join archived_sale s on s.merchant_id = o.merchant_id and s.sale_id = o.sale_id
           left join sale_archive a on a.archive_id = s.archive_id
           order by a.file, s.position"#,
        after.0,
        after.1,
        to.0,
        to.1
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows
        .map(|row| {
            let archived = ArchivedRow {
                merchant_id: row.merchant_id,
                sale_id: row.sale_id,
                seq: row.seq,
                kind: row.kind,
                currency: row.currency,
                amount_minor: row.amount_minor,
                fingerprint: row.fingerprint,
                batch_id: row.batch_id,
                position: row.position,
                length: row.length,
                file: row.file,
            };
            (row.order_id, archived)
        })
        .collect())
}

/// The last of the next `rows` idempotency keys after a key; none at the end.
pub(in crate::audit) async fn key_range_end(
    conn: &mut PgConnection,
    after: &RequestKey,
    rows: i64,
) -> Result<Option<RequestKey>> {
    let found = sqlx::query!(
        r#"select merchant_id as "merchant_id!", space as "space!", key as "key!"
           from (select merchant_id, space, key from idempotency_key
                 where (merchant_id, space, key) > ($1, $2, $3)
                 order by merchant_id, space, key limit $4) page
           order by merchant_id desc, space desc, key desc limit 1"#,
        after.0,
        after.1,
        after.2,
        rows
    );
    let found = found.fetch_optional(conn).await?;
    Ok(found.map(|row| (row.merchant_id, row.space, row.key)))
}

/// The idempotency keys of a range that name a sale which is not there, or has another fingerprint.
pub(in crate::audit) async fn keys_wrong(
    conn: &mut PgConnection,
    after: &RequestKey,
    to: &RequestKey,
) -> Result<Vec<RequestKey>> {
    let rows = sqlx::query!(
        r#"select k.merchant_id as "merchant_id!", k.space as "space!", k.key as "key!"
         from (select * from idempotency_key
               where (merchant_id, space, key) > ($1, $2, $3)
                 and (merchant_id, space, key) <= ($4, $5, $6)
               order by merchant_id, space, key offset 0) k
         left join lateral (select r.fingerprint from recorded_sale r
                            where r.merchant_id = k.merchant_id and r.sale_id = k.sale_id limit 1) s
             on true
         where (k.sale_id is not null and s.fingerprint is distinct from k.fingerprint)
            or num_nonnulls(k.sale_id, k.refusal) <> 1"#,
        after.0,
        after.1,
        after.2,
        to.0,
        to.1,
        to.2
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows
        .map(|row| (row.merchant_id, row.space, row.key))
        .collect())
}
