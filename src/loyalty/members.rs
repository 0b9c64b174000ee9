//! Where a member stands, its entries, and what a purchase would earn it.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::member::Member;
use super::offer::number_fault;
use super::points::Points;
use super::programme::Programme;
use super::programmes::TierView;
use super::store::{self, Entry};
use crate::clock::rfc3339_ms;
use crate::http::Site;
use crate::http::auth::{Action, Authenticated, Caller, Role};
use crate::http::codes;
use crate::http::paging::{Page, Paging, Params};
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::{MerchantId, RedemptionId, SaleId};
use crate::money::{Currency, format_minor, parse_minor};

/// Where a member stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub struct MemberView {
    /// An account or the address of a wallet.
    #[schema(value_type = String, example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8")]
    pub member: Member,
    /// The sum of its entries.
    #[schema(value_type = String)]
    pub balance: Points,
    /// What it can spend now.
    #[schema(value_type = String)]
    pub available: Points,
    /// What it can spend later.
    #[schema(value_type = String)]
    pub pending: Points,
    /// What was taken back of points that were spent already; it is settled with what is earned next.
    #[schema(value_type = String)]
    pub debt: Points,
    /// What was earned in the twelve months before today (UTC).
    #[schema(value_type = String)]
    pub earned_in_12_months: Points,
    /// Its tier by that, or the one that it still holds where the programme says `at_period_end`.
    pub tier: Option<TierView>,
    /// What is lost next unless it is spent.
    pub next_expiry: Option<ExpiryView>,
}

/// Points that are lost at a time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Expiry)]
pub struct ExpiryView {
    /// How many.
    #[schema(value_type = String)]
    pub points: Points,
    /// When.
    #[schema(format = "date-time")]
    pub at: String,
}

/// Where a member stands; all zero where it never had points.
pub(super) async fn view(
    conn: &mut PgConnection,
    merchant: MerchantId,
    member: Member,
    now: OffsetDateTime,
) -> Result<MemberView, sqlx::Error> {
    let standing = store::standing(conn, merchant, member, now).await?;
    let current = match &standing {
        Some(_) => store::current(conn, merchant).await?,
        None => None,
    };
    let points = |units: fn(&store::Standing) -> i64| Points(standing.as_ref().map_or(0, units));
    let tier = standing.as_ref().zip(current.as_ref());
    let tier = tier.and_then(|(standing, (programme, _))| programme.terms.tier(standing.tier));
    let next_expiry = standing.as_ref().and_then(|standing| {
        Some(ExpiryView {
            points: Points(standing.expiring?),
            at: rfc3339_ms(standing.expires_at?),
        })
    });
    Ok(MemberView {
        member,
        balance: points(|standing| standing.balance),
        available: points(|standing| standing.available),
        pending: points(|standing| standing.pending),
        debt: points(|standing| standing.owed),
        earned_in_12_months: points(|standing| standing.rolling),
        tier: tier.map(TierView::new),
        next_expiry,
    })
}

/// Read where a member stands
///
/// A member is an account (`cus_…`) or the address of a wallet. One that never had points has none.
#[utoipa::path(
    get, path = "/v1/loyalty/members/{member}", tag = "Loyalty", security(("key" = [])),
    params(("member" = String, Path)),
    responses(
        (status = 200, body = MemberView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_member(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    Authenticated(caller): Authenticated,
    Path(member): Path<String>,
    params: Params,
) -> Result<Json<MemberView>, Problem> {
    params.finish()?;
    caller.require(Action::ReadNamed)?;
    let member = member.parse().map_err(|_| no_member())?;
    let mut db = pool.acquire().await?;
    Ok(Json(
        view(&mut db, caller.merchant, member, site.clock.now()).await?,
    ))
}

/// Read where you stand
#[utoipa::path(
    get, path = "/v1/loyalty/me", tag = "Loyalty", security(("token" = [])),
    responses(
        (status = 200, body = MemberView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_my_points(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    Authenticated(caller): Authenticated,
    params: Params,
) -> Result<Json<MemberView>, Problem> {
    params.finish()?;
    let member = Member::Account(caller.customer()?);
    let mut db = pool.acquire().await?;
    Ok(Json(
        view(&mut db, caller.merchant, member, site.clock.now()).await?,
    ))
}

/// An entry of a member's ledger.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LoyaltyEntry)]
pub struct EntryView {
    /// A member's entries are numbered from 1 without gaps.
    pub entry: i64,
    /// `earn`, `redeem`, `give_back`, `expire`, `adjust`, `claw_back` or `settle`.
    pub kind: String,
    /// Of what is earned: `base`, `tier` or `first_purchase`.
    pub rule: Option<String>,
    /// The entry that opened the lot it changes; null for what is owed.
    pub lot: Option<i64>,
    /// How many points, below zero where they are taken.
    #[schema(value_type = String)]
    pub points: Points,
    /// The sale that earned them, or whose refund takes them back.
    #[schema(value_type = Option<String>)]
    pub sale_id: Option<SaleId>,
    /// The refund that takes them back.
    #[schema(value_type = Option<String>)]
    pub refund_id: Option<SaleId>,
    /// The redemption that spent them, or of which they came back.
    #[schema(value_type = Option<String>)]
    pub redemption_id: Option<RedemptionId>,
    /// Why they were adjusted.
    pub reason: Option<String>,
    /// From when on they can be spent.
    #[schema(format = "date-time")]
    pub available_at: Option<String>,
    /// When they are lost.
    #[schema(format = "date-time")]
    pub expires_at: Option<String>,
    /// When it was entered.
    #[schema(format = "date-time")]
    pub recorded_at: String,
}

fn entry_view(row: Entry) -> EntryView {
    EntryView {
        entry: row.entry,
        kind: row.kind,
        rule: row.rule,
        lot: row.lot,
        points: Points(row.points),
        sale_id: row.sale_id.map(SaleId),
        refund_id: row.refund_id.map(SaleId),
        redemption_id: row.redemption_id.map(RedemptionId),
        reason: row.reason,
        available_at: row.available_at.map(rfc3339_ms),
        expires_at: row.expires_at.map(rfc3339_ms),
        recorded_at: rfc3339_ms(row.recorded_at),
    }
}

async fn entries(
    pool: &PgPool,
    merchant: MerchantId,
    member: Member,
    paging: &Paging<i64>,
) -> Result<Page<EntryView>, Problem> {
    let mut db = pool.acquire().await?;
    let limit = paging.limit + 1;
    let rows = match (paging.starting_after, paging.ending_before) {
        (_, Some(edge)) => store::entries_newer(&mut db, merchant, member, edge, limit).await?,
        (edge, None) => {
            let edge = edge.unwrap_or(i64::MAX);
            store::entries_older(&mut db, merchant, member, edge, limit).await?
        }
    };
    let views = rows.into_iter().map(entry_view).collect();
    Ok(paging.page(views, |view: &EntryView| view.entry.to_string()))
}

/// List a member's entries, newest first
#[utoipa::path(
    get, path = "/v1/loyalty/members/{member}/entries", tag = "Loyalty", security(("key" = [])),
    params(
        ("member" = String, Path),
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this entry"),
    ),
    responses(
        (status = 200, body = Page<EntryView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_entries(
    State(pool): State<PgPool>,
    Authenticated(caller): Authenticated,
    Path(member): Path<String>,
    mut params: Params,
) -> Result<Json<Page<EntryView>>, Problem> {
    let paging = Paging::take(&mut params, |text| text.parse().ok())?;
    params.finish()?;
    caller.require(Action::ReadNamed)?;
    let member = member.parse().map_err(|_| no_member())?;
    Ok(Json(
        entries(&pool, caller.merchant, member, &paging).await?,
    ))
}

/// List your entries, newest first
#[utoipa::path(
    get, path = "/v1/loyalty/me/entries", tag = "Loyalty", security(("token" = [])),
    params(
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this entry"),
    ),
    responses(
        (status = 200, body = Page<EntryView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_my_entries(
    State(pool): State<PgPool>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Json<Page<EntryView>>, Problem> {
    let paging = Paging::take(&mut params, |text| text.parse().ok())?;
    params.finish()?;
    let member = Member::Account(caller.customer()?);
    Ok(Json(
        entries(&pool, caller.merchant, member, &paging).await?,
    ))
}

/// What a purchase would earn.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quote)]
pub struct QuoteView {
    /// The version of the programme.
    pub programme: i32,
    /// All of it: in the member's tier, within the limit of its day, with the bonus.
    #[schema(value_type = String)]
    pub points: Points,
    /// What the amount earns by itself; this stands in the sale's details.
    #[schema(value_type = String)]
    pub base: Points,
    /// The bonus for a first purchase in it.
    #[schema(value_type = String)]
    pub first_purchase_bonus: Points,
    /// The member's tier.
    pub tier: Option<TierView>,
    /// What the member can spend now.
    #[schema(value_type = String)]
    pub available: Points,
    /// What that is worth in the currency; null where points are worth nothing in it.
    pub available_value: Option<String>,
}

/// Ask what a purchase would earn
///
/// As things are now: by the time it is recorded the tier may be another, or the day's limit used up. A
/// customer asks for itself.
#[utoipa::path(
    get, path = "/v1/loyalty/quote", tag = "Loyalty", security(("key" = [])),
    params(
        ("amount" = String, Query, description = "a decimal string", example = "1500.75"),
        ("currency" = String, Query, description = "ISO 4217", example = "INR"),
        ("member" = Option<String>, Query, description = "an account or the address of a wallet"),
    ),
    responses(
        (status = 200, body = QuoteView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn quote_points(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Json<QuoteView>, Problem> {
    let currency = params.take_as("currency", "a currency of ISO 4217", Currency::from_code)?;
    let amount = params.take("amount")?;
    let member = params.take_as("member", "an account or the address of a wallet", |text| {
        text.parse().ok()
    })?;
    params.finish()?;
    let member = whose(&caller, member)?;
    let missing = |name| Problem::new(&codes::INVALID_PARAMETER, format!("{name} is needed"));
    let currency = currency.ok_or_else(|| missing("currency"))?;
    let amount = amount.ok_or_else(|| missing("amount"))?;
    let amount_minor = parse_minor(&amount, currency)
        .map_err(|error| Problem::of_faults(vec![number_fault("", error)]))?;
    let now = site.clock.now();
    let mut db = pool.acquire().await?;
    let current = store::current(&mut db, caller.merchant).await?;
    let (programme, _) = current.ok_or_else(no_programme)?;
    let asked = (amount_minor, currency);
    Ok(Json(
        quoted(&mut db, &caller, member, &programme, asked, now).await?,
    ))
}

async fn quoted(
    conn: &mut PgConnection,
    caller: &Caller,
    member: Option<Member>,
    programme: &Programme,
    (amount_minor, currency): (i64, Currency),
    now: OffsetDateTime,
) -> Result<QuoteView, sqlx::Error> {
    let standing = match member {
        Some(member) => store::standing(conn, caller.merchant, member, now).await?,
        None => None,
    };
    let tier = standing.as_ref().map_or(0, |standing| standing.tier);
    let available = Points(standing.as_ref().map_or(0, |standing| standing.available));
    let (of, amount) = ((programme, tier), (amount_minor, currency));
    let quote = store::quote(conn, caller.merchant, member, of, amount, now).await?;
    let terms = &programme.terms;
    let base = terms.base(amount_minor, currency);
    let room = terms
        .daily_limit
        .map(|limit| (limit - quote.counted).max(0));
    let is_first = member.is_some() && !quote.has_bought && base.0 > 0;
    let bonus = if is_first {
        terms.first_purchase_bonus
    } else {
        0
    };
    let value = terms.value_minor(available, currency);
    Ok(QuoteView {
        programme: programme.version,
        points: Points(room.unwrap_or(i64::MAX).min(quote.full) + bonus),
        base,
        first_purchase_bonus: Points(bonus),
        tier: terms.tier(tier).map(TierView::new),
        available,
        available_value: value.map(|minor| format_minor(minor, currency)),
    })
}

/// Whom a quote is for: a customer asks for itself.
fn whose(caller: &Caller, named: Option<Member>) -> Result<Option<Member>, Problem> {
    if caller.role != Role::Customer {
        caller.require(Action::ReadNamed)?;
        return Ok(named);
    }
    let own = Member::Account(caller.customer()?);
    if named.is_some_and(|named| named != own) {
        let detail = "a customer asks for itself: leave member out";
        return Err(Problem::new(&codes::FORBIDDEN, detail));
    }
    Ok(Some(own))
}

pub(super) fn no_programme() -> Problem {
    let detail = "the merchant has no programme yet";
    Problem::new(&codes::PROGRAMME_MISSING, detail)
}

fn no_member() -> Problem {
    let detail = "a member is an account (cus_…) or the address of a wallet (0x…)";
    Problem::new(&codes::NOT_FOUND, detail)
}
