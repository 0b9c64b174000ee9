//! Points as a part of the price of an order: redeemed when it is placed, and given back when it is cancelled, or
//! in proportion to the money that is refunded. They pay as a voucher does: the tax stays that of the whole price.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::orders;
use super::store::orders as order_store;
use super::store::refunds;
use crate::http::codes;
use crate::http::problem::Problem;
use crate::ids::{AccountId, MerchantId, PurchaseId};
use crate::loyalty::member::Member;
use crate::loyalty::points::Points;
use crate::loyalty::redeeming::{give_back_of_order, redeem_for_order};
use crate::money::Currency;

/// Redeems points for an order that was placed in this transaction.
///
/// # Errors
/// What the programme says of so many points, or that nothing would be left to pay; the database's.
pub(super) async fn redeem(
    db: &mut PgConnection,
    merchant: MerchantId,
    (order, account): (PurchaseId, AccountId),
    points: Points,
    now: OffsetDateTime,
) -> Result<(), Problem> {
    let row = order_store::find(db, merchant, order, None).await?;
    let row = row.ok_or_else(orders::missing)?;
    let currency = Currency::from_code(&row.currency).ok_or_else(orders::missing)?;
    let most = (currency, row.total_minor);
    let member = (order, Member::Account(account));
    let minor = redeem_for_order(db, merchant, member, points, most, now).await?;
    if minor == 0 {
        let detail = format!("so few points are worth nothing in {}", currency.code());
        return Err(Problem::new(&codes::POINTS_OUT_OF_BOUNDS, detail));
    }
    if order_store::discount(db, merchant, order, minor).await? {
        return Ok(());
    }
    // only a payment makes an order PAID
    let detail = "nothing would be left to pay; redeem fewer points";
    Err(Problem::new(&codes::ORDER_FREE, detail))
}

/// Gives the points of an order back that was cancelled.
///
/// # Errors
/// The database's.
pub(super) async fn give_back(
    db: &mut PgConnection,
    merchant: MerchantId,
    order: PurchaseId,
    now: OffsetDateTime,
) -> Result<(), Problem> {
    give_back_of_order(db, merchant, order, (1, 1), now).await?;
    Ok(())
}

/// Gives the points of an order back in proportion to the money that is: in whole points, and all that are left with
/// the last of it.
///
/// # Errors
/// The database's.
pub(super) async fn give_back_share(
    db: &mut PgConnection,
    merchant: MerchantId,
    order: PurchaseId,
    now: OffsetDateTime,
) -> Result<(), Problem> {
    let row = order_store::find(db, merchant, order, None).await?;
    let Some(row) = row.filter(|row| row.discount_minor > 0) else {
        return Ok(());
    };
    let given = refunds::given(db, merchant, order).await?;
    give_back_of_order(db, merchant, order, (given, row.total_minor), now).await?;
    Ok(())
}
