//! Redeeming points within a caller's transaction: at a till, and for an order of the shop.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::member::Member;
use super::points::Points;
use super::store::{self, Changed, Spent};
use super::terms::Terms;
use crate::http::codes;
use crate::http::problem::Problem;
use crate::ids::{MerchantId, PurchaseId};
use crate::money::{Currency, format_minor};

/// Why points were not redeemed or not given back; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The merchant has no programme.
    #[error("there is no programme")]
    NoProgramme,
    /// Points are worth nothing in this currency.
    #[error("points are worth nothing in {0}")]
    NoValue(&'static str),
    /// Fewer than the programme redeems at once.
    #[error("at least {0} points are redeemed at once")]
    BelowMinimum(Points),
    /// More than it does.
    #[error("at most {0} points are redeemed at once")]
    AboveMaximum(Points),
    /// They are worth more than is to be paid.
    #[error("they are worth {0}, more than is to be paid")]
    AboveAmount(String),
    /// The member can spend fewer.
    #[error("fewer points can be spent")]
    TooFew,
    /// Points were redeemed for the same already.
    #[error("points were redeemed for it already")]
    Exists,
    /// There is no such redemption.
    #[error("there is no such redemption")]
    Unknown,
    /// So many were not redeemed, or were given back already.
    #[error("fewer points are left of the redemption")]
    TooMany,
    /// A statement failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// What is to be redeemed.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The redemption's own id; one redemption has it.
    pub id: Uuid,
    /// Whose points.
    pub member: Member,
    /// How many.
    pub points: Points,
    /// What they are to be worth something in; none where the caller only takes them.
    pub currency: Option<Currency>,
    /// What they may be worth at most, in minor units; none for any amount.
    pub most_minor: Option<i64>,
    /// What the caller calls it.
    pub reference: Option<&'a str>,
}

/// Redeems points, the oldest first; what they are worth in minor units of the currency, rounded down. The
/// member's row is locked until the transaction ends.
///
/// # Errors
/// [`RedeemError`]
pub async fn redeem(
    conn: &mut PgConnection,
    merchant: MerchantId,
    wanted: &Wanted<'_>,
    now: OffsetDateTime,
) -> Result<Option<i64>, RedeemError> {
    let current = store::current(conn, merchant).await?;
    let (programme, _) = current.ok_or(RedeemError::NoProgramme)?;
    let value = judge(&programme.terms, wanted)?;
    let spent = Spent {
        redemption_id: wanted.id,
        member: wanted.member,
        points: wanted.points,
        value: wanted.currency.zip(value),
        reference: wanted.reference,
    };
    match store::redeem(conn, merchant, &spent, now).await? {
        Changed::Exists => Err(RedeemError::Exists),
        Changed::Redeemed => Ok(value),
        _ => Err(RedeemError::TooFew),
    }
}

/// What the points are worth, if the terms allow them.
fn judge(terms: &Terms, wanted: &Wanted<'_>) -> Result<Option<i64>, RedeemError> {
    let redeem = &terms.redeem;
    let least = redeem.minimum.max(1);
    if wanted.points.0 < least {
        return Err(RedeemError::BelowMinimum(Points(least)));
    }
    if let Some(most) = redeem.maximum.filter(|most| wanted.points.0 > *most) {
        return Err(RedeemError::AboveMaximum(Points(most)));
    }
    let Some(currency) = wanted.currency else {
        return Ok(None);
    };
    let value = terms.value_minor(wanted.points, currency);
    let value = value.ok_or(RedeemError::NoValue(currency.code()))?;
    if wanted.most_minor.is_some_and(|most| value > most) {
        let value = format!("{} {}", format_minor(value, currency), currency.code());
        return Err(RedeemError::AboveAmount(value));
    }
    Ok(Some(value))
}

/// Gives points of a redemption back: all that is left of it, or so many. Locks the merchant's row first, so
/// it may stand before a sale that is recorded in the same transaction.
///
/// # Errors
/// [`RedeemError`]
pub async fn give_back(
    conn: &mut PgConnection,
    merchant: MerchantId,
    redemption: Uuid,
    points: Points,
    now: OffsetDateTime,
) -> Result<(), RedeemError> {
    match store::give_back(conn, merchant, redemption, points, now).await? {
        Changed::GivenBack => Ok(()),
        Changed::TooMany => Err(RedeemError::TooMany),
        _ => Err(RedeemError::Unknown),
    }
}

/// Redeems points for an order of the shop, which is to cost `most_minor` at most: what they take off its
/// price, in minor units. An order redeems once.
///
/// # Errors
/// [`RedeemError`]
pub async fn redeem_for_order(
    conn: &mut PgConnection,
    merchant: MerchantId,
    (order, member): (PurchaseId, Member),
    points: Points,
    (currency, most_minor): (Currency, i64),
    now: OffsetDateTime,
) -> Result<i64, RedeemError> {
    let reference = order.to_string();
    let wanted = Wanted {
        id: order.0,
        member,
        points,
        currency: Some(currency),
        most_minor: Some(most_minor),
        reference: Some(&reference),
    };
    let value = redeem(conn, merchant, &wanted, now).await?;
    Ok(value.unwrap_or(0))
}

/// Gives points of an order back that was cancelled or refunded, so that this share of what it redeemed is back, as
/// a numerator and a denominator: in whole points, rounded down (FLOOR), and all with the whole of it. What is back
/// already stays so.
///
/// # Errors
/// [`RedeemError`]
pub async fn give_back_of_order(
    conn: &mut PgConnection,
    merchant: MerchantId,
    order: PurchaseId,
    share: (i64, i64),
    now: OffsetDateTime,
) -> Result<(), RedeemError> {
    let Some(redeemed) = store::redemption(conn, merchant, order.0).await? else {
        return Ok(());
    };
    let points = share_of(redeemed.points, share) - redeemed.given_back;
    if points > 0 {
        give_back(conn, merchant, order.0, Points(points), now).await?;
    }
    Ok(())
}

fn share_of(points: i64, (part, whole): (i64, i64)) -> i64 {
    if part >= whole {
        return points;
    }
    let share = i128::from(points) * i128::from(part.max(0)) / i128::from(whole);
    let share = i64::try_from(share).unwrap_or(points);
    share - share % Points::ONE.0
}

impl From<RedeemError> for Problem {
    fn from(error: RedeemError) -> Self {
        let detail = error.to_string();
        match error {
            RedeemError::NoProgramme => Self::new(&codes::PROGRAMME_MISSING, detail),
            RedeemError::TooFew => Self::new(&codes::POINTS_INSUFFICIENT, detail),
            RedeemError::Exists | RedeemError::TooMany => {
                Self::new(&codes::POINTS_REDEEMED, detail)
            }
            RedeemError::Unknown => Self::new(&codes::NOT_FOUND, detail),
            RedeemError::Database(error) => error.into(),
            RedeemError::NoValue(_)
            | RedeemError::BelowMinimum(_)
            | RedeemError::AboveMaximum(_)
            | RedeemError::AboveAmount(_) => Self::new(&codes::POINTS_OUT_OF_BOUNDS, detail),
        }
    }
}
