//! What leads to sales: every order id to the sale that has it, every idempotency key to a sale of its
//! fingerprint. (That every sale has its order id is checked with the sale.)

use sqlx::PgConnection;

use super::filed::Archives;
use super::finding::{Part as Of, Subject};
use super::steps::Part;
use super::store::pointers::{self as store, OrderKey, RequestKey};

/// Rows of a step.
const ROWS: i64 = 10_000;

pub(super) async fn next_orders(
    conn: &mut PgConnection,
    after: &OrderKey,
) -> Result<Option<OrderKey>, sqlx::Error> {
    store::order_range_end(conn, after, ROWS).await
}

pub(super) async fn check_orders(
    conn: &mut PgConnection,
    archives: &Archives,
    after: &OrderKey,
    to: &OrderKey,
) -> Result<Part, sqlx::Error> {
    let mut part = Part::default();
    let mut wrong = store::orders_wrong(&mut *conn, after, to).await?;
    if let Some(mut files) = archives.files() {
        for (order, row) in store::orders_archived(conn, after, to).await? {
            // a receipt that cannot be read is named with its batch
            let receipt = files.receipt(&row).ok();
            if receipt.is_some_and(|receipt| receipt.sale.order_id.as_str() != order) {
                wrong.push((row.merchant_id, order));
            }
        }
    }
    for (merchant, order) in wrong {
        let subject = Subject::Order { merchant, order };
        let what = "it does not lead to a sale that has it";
        part.findings.add(&subject, Of::Copy, what);
    }
    Ok(part)
}

pub(super) async fn next_keys(
    conn: &mut PgConnection,
    after: &RequestKey,
) -> Result<Option<RequestKey>, sqlx::Error> {
    store::key_range_end(conn, after, ROWS).await
}

pub(super) async fn check_keys(
    conn: &mut PgConnection,
    after: &RequestKey,
    to: &RequestKey,
) -> Result<Part, sqlx::Error> {
    let mut part = Part::default();
    for (merchant, space, key) in store::keys_wrong(conn, after, to).await? {
        let subject = Subject::Key {
            merchant,
            space,
            key,
        };
        let what = "it names a sale that is not there, or has another fingerprint";
        part.findings.add(&subject, Of::Copy, what);
    }
    Ok(part)
}
