//! The SQL of programmes, members and their ledger. What changes is changed by functions of the database.

use sqlx::types::Json;
use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use super::member::Member;
use super::points::Points;
use super::programme::Programme;
use super::terms::Terms;
use crate::ids::{MerchantId, PurchaseId};
use crate::money::Currency;

/// A version of a merchant's programme.
pub async fn programme(
    conn: &mut PgConnection,
    merchant: MerchantId,
    version: i32,
) -> Result<Programme> {
    let terms = sqlx::query_scalar!(
        r#"select terms as "terms: Json<Terms>" from loyalty_programme
           where merchant_id = $1 and version = $2"#,
        merchant.0,
        version,
    )
    .fetch_one(conn)
    .await?;
    Ok(Programme {
        version,
        terms: terms.0,
    })
}

/// The version that holds now and since when; none where the merchant has no programme.
pub async fn current(
    conn: &mut PgConnection,
    merchant: MerchantId,
) -> Result<Option<(Programme, OffsetDateTime)>> {
    of_version(conn, merchant, None).await
}

/// A version, of those that there ever were, and since when it held; without one, the one that holds now.
pub async fn of_version(
    conn: &mut PgConnection,
    merchant: MerchantId,
    version: Option<i32>,
) -> Result<Option<(Programme, OffsetDateTime)>> {
    let row = sqlx::query!(
        r#"select p.version, p.terms as "terms: Json<Terms>", p.created_at from merchant m
           join loyalty_programme p on p.merchant_id = m.merchant_id and p.version = coalesce($2, m.loyalty_version)
           where m.merchant_id = $1"#,
        merchant.0,
        version,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let programme = Programme {
            version: row.version,
            terms: row.terms.0,
        };
        (programme, row.created_at)
    }))
}

/// Sets the programme, if `seen` is the version that holds (0 for none); the new version's number.
pub async fn set_programme(
    conn: &mut PgConnection,
    merchant: MerchantId,
    seen: i32,
    terms: &Terms,
    by: Uuid,
    now: OffsetDateTime,
) -> Result<Option<i32>> {
    sqlx::query_scalar!(
        "select set_loyalty_programme($1, $2, $3, $4, $5)",
        merchant.0,
        seen,
        Json(terms) as _,
        by,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Where a member stands.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Standing {
    pub balance: i64,
    pub owed: i64,
    pub available: i64,
    pub pending: i64,
    /// What was earned in the twelve months before today.
    pub rolling: i64,
    /// What its tier begins with; 0 for none.
    pub tier: i64,
    /// What is lost next, and when.
    pub expiring: Option<i64>,
    pub expires_at: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
}

/// Where a member stands at the time `now`; none where it never had points, or there is no programme.
pub async fn standing(
    conn: &mut PgConnection,
    merchant: MerchantId,
    member: Member,
    now: OffsetDateTime,
) -> Result<Option<Standing>> {
    sqlx::query_as!(
        Standing,
        r#"select m.balance, m.owed, loyalty_available($1, $2, $3) as "available!",
                  (select coalesce(sum(l.points_left), 0)::bigint from loyalty_lot l
                   where l.merchant_id = $1 and l.member = $2 and l.points_left > 0
                     and l.available_at > $3) as "pending!",
                  r.rolling as "rolling!",
                  loyalty_standing(p.terms, r.rolling, m.held, m.held_until, r.day) as "tier!",
                  x.points as "expiring?", x.expires_at as "expires_at?", m.created_at
           from loyalty_member m
           join merchant o on o.merchant_id = m.merchant_id
           join loyalty_programme p on p.merchant_id = m.merchant_id and p.version = o.loyalty_version
           cross join lateral (
               select d.day, loyalty_rolling($1, $2, d.day) as rolling
               from (select ($3::timestamptz at time zone 'UTC')::date as day) d) r
           left join lateral (
               select l.expires_at, sum(l.points_left)::bigint as points from loyalty_lot l
               where l.merchant_id = $1 and l.member = $2 and l.points_left > 0 and l.expires_at > $3
               group by l.expires_at order by l.expires_at limit 1) x on true
           where m.merchant_id = $1 and m.member = $2"#,
        merchant.0,
        member.as_bytes(),
        now,
    )
    .fetch_optional(conn)
    .await
}

/// What a purchase would earn.
#[derive(Debug, Clone)]
pub struct Quote {
    /// In its tier, before the limit of a day.
    pub full: i64,
    /// What sales of today have earned already.
    pub counted: i64,
    /// Whether it has bought before.
    pub has_bought: bool,
}

/// What a purchase of a member in this tier would earn now.
pub async fn quote(
    conn: &mut PgConnection,
    merchant: MerchantId,
    member: Option<Member>,
    (programme, tier): (&Programme, i64),
    (amount_minor, currency): (i64, Currency),
    now: OffsetDateTime,
) -> Result<Quote> {
    sqlx::query_as!(
        Quote,
        r#"select loyalty_points(p.terms, $4, $5, loyalty_multiplier(p.terms, $6)) as "full!",
                  coalesce((select d.counted from loyalty_day d
                            where d.merchant_id = $1 and d.member = $3
                              and d.day = ($7::timestamptz at time zone 'UTC')::date), 0) as "counted!",
                  exists (select from loyalty_first f
                          where f.merchant_id = $1 and f.member = $3) as "has_bought!"
           from loyalty_programme p where p.merchant_id = $1 and p.version = $2"#,
        merchant.0,
        programme.version,
        member.as_ref().map(Member::as_bytes),
        currency.code(),
        amount_minor,
        tier,
        now,
    )
    .fetch_one(conn)
    .await
}

/// An entry of the ledger.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Entry {
    pub entry: i64,
    pub kind: String,
    pub rule: Option<String>,
    pub lot: Option<i64>,
    pub points: i64,
    pub sale_id: Option<Uuid>,
    pub refund_id: Option<Uuid>,
    pub redemption_id: Option<Uuid>,
    pub reason: Option<String>,
    pub available_at: Option<OffsetDateTime>,
    pub expires_at: Option<OffsetDateTime>,
    pub recorded_at: OffsetDateTime,
}

/// A member's entries before number `edge`, the newest first.
pub async fn entries_older(
    conn: &mut PgConnection,
    merchant: MerchantId,
    member: Member,
    edge: i64,
    limit: i64,
) -> Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        "select entry, kind, rule, lot, points, sale_id, refund_id, redemption_id, reason, available_at,
                expires_at, recorded_at
         from loyalty_entry where merchant_id = $1 and member = $2 and entry < $3
         order by entry desc limit $4",
        merchant.0,
        member.as_bytes(),
        edge,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// A member's entries after number `edge`, the oldest first.
pub async fn entries_newer(
    conn: &mut PgConnection,
    merchant: MerchantId,
    member: Member,
    edge: i64,
    limit: i64,
) -> Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        "select entry, kind, rule, lot, points, sale_id, refund_id, redemption_id, reason, available_at,
                expires_at, recorded_at
         from loyalty_entry where merchant_id = $1 and member = $2 and entry > $3
         order by entry limit $4",
        merchant.0,
        member.as_bytes(),
        edge,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// What became of a change of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Changed {
    /// The points were spent.
    Redeemed,
    /// They are back.
    GivenBack,
    /// They were adjusted.
    Adjusted,
    /// The member has fewer.
    TooFew,
    /// So many were not redeemed, or were given back already.
    TooMany,
    /// The redemption is there already.
    Exists,
    /// There is no such redemption, or no such customer.
    Unknown,
}

/// Points that are to be spent.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Spent<'a> {
    pub redemption_id: Uuid,
    pub member: Member,
    pub points: Points,
    pub value: Option<(Currency, i64)>,
    pub reference: Option<&'a str>,
}

/// Spends points, first in, first out.
pub async fn redeem(
    conn: &mut PgConnection,
    merchant: MerchantId,
    spent: &Spent<'_>,
    now: OffsetDateTime,
) -> Result<Changed> {
    sqlx::query_scalar!(
        r#"select redeem_points($1, $2, $3, $4, $5, $6, $7, $8) as "changed!: Changed""#,
        merchant.0,
        spent.redemption_id,
        spent.member.as_bytes(),
        spent.points.0,
        spent.value.map(|(currency, _)| currency.code()),
        spent.value.map(|(_, minor)| minor),
        spent.reference,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Gives points of a redemption back. Locks the merchant's row.
pub async fn give_back(
    conn: &mut PgConnection,
    merchant: MerchantId,
    redemption: Uuid,
    points: Points,
    now: OffsetDateTime,
) -> Result<Changed> {
    sqlx::query_scalar!(
        r#"select give_points_back($1, $2, $3, $4) as "changed!: Changed""#,
        merchant.0,
        redemption,
        points.0,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Points that are to be adjusted by hand.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Adjustment<'a> {
    pub member: Member,
    pub points: Points,
    pub expires_at: Option<OffsetDateTime>,
    pub reason: &'a str,
    pub by: Uuid,
}

/// Adjusts points by hand.
pub async fn adjust(
    conn: &mut PgConnection,
    merchant: MerchantId,
    adjustment: &Adjustment<'_>,
    now: OffsetDateTime,
) -> Result<Changed> {
    sqlx::query_scalar!(
        r#"select adjust_points($1, $2, $3, $4, $5, $6, $7) as "changed!: Changed""#,
        merchant.0,
        adjustment.member.as_bytes(),
        adjustment.points.0,
        adjustment.expires_at,
        adjustment.reason,
        adjustment.by,
        now,
    )
    .fetch_one(conn)
    .await
}

/// A redemption.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Redemption {
    pub redemption_id: Uuid,
    pub member: Vec<u8>,
    pub points: i64,
    pub given_back: i64,
    pub currency: Option<String>,
    pub value_minor: Option<i64>,
    pub reference: Option<String>,
    pub created_at: OffsetDateTime,
}

impl Redemption {
    /// Whether an order of the shop was paid with it: it has the order's id, by which it is called.
    pub fn is_of_order(&self) -> bool {
        self.reference == Some(PurchaseId(self.redemption_id).to_string())
    }
}

/// A redemption of a merchant.
pub async fn redemption(
    conn: &mut PgConnection,
    merchant: MerchantId,
    id: Uuid,
) -> Result<Option<Redemption>> {
    sqlx::query_as!(
        Redemption,
        "select redemption_id, member, points, given_back, currency, value_minor, reference, created_at
         from loyalty_redemption where merchant_id = $1 and redemption_id = $2",
        merchant.0,
        id,
    )
    .fetch_optional(conn)
    .await
}
