//! `GET /v1/loyalty/programme` and `PUT /v1/loyalty/programme`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::offer::{OFFER, Offer, judge};
use super::points::Points;
use super::programme::Programme;
use super::terms::{Tier, TierDrop};
use super::{check_sound, store};
use crate::clock::rfc3339_ms;
use crate::database::trust::Trust;
use crate::http::Site;
use crate::http::auth::{Action, Authenticated};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::object;
use crate::http::paging::Params;
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::version;
use crate::money::{Currency, format_minor};

/// A programme with its version.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Programme)]
#[expect(missing_docs, reason = "the fields of the request")]
pub struct ProgrammeView {
    /// It rises with each change. Sales name the one that they were recorded by.
    pub version: i32,
    /// Since when it holds.
    #[schema(format = "date-time")]
    pub created_at: String,
    pub decimals: i32,
    pub earn: Vec<EarnView>,
    pub first_purchase_bonus: String,
    pub daily_limit: Option<String>,
    pub tiers: Vec<TierView>,
    #[schema(value_type = String, example = "at_once")]
    pub tier_drop: TierDrop,
    pub pending_days: i32,
    pub expiry_days: Option<i32>,
    pub redeem: RedeemView,
}

/// What is earned in a currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Earn)]
#[expect(missing_docs, reason = "the fields of the request")]
pub struct EarnView {
    pub currency: String,
    pub rate: String,
    pub minimum: String,
}

/// A tier.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tier)]
#[expect(missing_docs, reason = "the fields of the request")]
pub struct TierView {
    pub name: String,
    pub from: String,
    pub multiplier: String,
}

/// How points are spent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redeem)]
#[expect(missing_docs, reason = "the fields of the request")]
pub struct RedeemView {
    pub minimum: String,
    pub maximum: Option<String>,
    pub value: Vec<ValueView>,
}

/// What a point is worth.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PointValue)]
#[expect(missing_docs, reason = "the fields of the request")]
pub struct ValueView {
    pub currency: String,
    pub value: String,
}

impl TierView {
    pub(super) fn new(tier: &Tier) -> Self {
        Self {
            name: tier.name.clone(),
            from: Points(tier.from).to_string(),
            multiplier: tier.multiplier.clone(),
        }
    }
}

impl ProgrammeView {
    pub(super) fn new(programme: &Programme, created_at: OffsetDateTime) -> Self {
        let terms = &programme.terms;
        let earn = terms.earn.iter().map(|(code, earn)| EarnView {
            currency: code.clone(),
            rate: earn.rate.clone(),
            minimum: Currency::from_code(code).map_or_else(String::new, |currency| {
                format_minor(earn.minimum_minor, currency)
            }),
        });
        let value = terms
            .redeem
            .value
            .iter()
            .map(|(currency, value)| ValueView {
                currency: currency.clone(),
                value: value.clone(),
            });
        let points = |units: i64| Points(units).to_string();
        Self {
            version: programme.version,
            created_at: rfc3339_ms(created_at),
            decimals: i32::try_from(terms.decimals).unwrap_or(0),
            earn: earn.collect(),
            first_purchase_bonus: points(terms.first_purchase_bonus),
            daily_limit: terms.daily_limit.map(points),
            tiers: terms.tiers.iter().map(TierView::new).collect(),
            tier_drop: terms.tier_drop,
            pending_days: terms.pending_days,
            expiry_days: terms.expiry_days,
            redeem: RedeemView {
                minimum: points(terms.redeem.minimum),
                maximum: terms.redeem.maximum.map(points),
                value: value.collect(),
            },
        }
    }
}

/// Read the programme
///
/// Any caller of the merchant may, its customers too. The points that stand in a sale's details are by the version
/// that stands beside them: versions never change, and each can be read for ever.
#[utoipa::path(
    get, path = "/v1/loyalty/programme", tag = "Loyalty", security(("key" = [])),
    params(("version" = Option<i32>, Query, description = "one that there was; the one that holds unless given", minimum = 1)),
    responses(
        (status = 200, body = ProgrammeView, headers(("ETag" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_programme(
    State(pool): State<PgPool>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Response, Problem> {
    let version = params.take_as("version", "a number from 1 on", |text| {
        text.parse().ok().filter(|version: &i32| *version >= 1)
    })?;
    params.finish()?;
    let mut db = pool.acquire().await?;
    let found = store::of_version(&mut db, caller.merchant, version).await?;
    let (programme, since) = found.ok_or_else(|| {
        let detail = match version {
            None => "the merchant has no programme yet",
            Some(_) => "there was no such version yet",
        };
        Problem::new(&codes::NOT_FOUND, detail)
    })?;
    Ok(answer(&programme, since))
}

/// Set the programme
///
/// It holds for every sale that is recorded from then on; what was earned before stays as it was earned. The
/// first is set with `If-Match: "0"`, a later one with the ETag of the one that it follows.
#[utoipa::path(
    put, path = "/v1/loyalty/programme", tag = "Loyalty", request_body = Offer, security(("key" = [])),
    params(("If-Match" = String, Header, description = "the ETag it was read with, `\"0\"` where there is none yet")),
    responses(
        (status = 200, body = ProgrammeView, headers(("ETag" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 428, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn set_programme(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    Authenticated(caller): Authenticated,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::ManageLoyalty)?;
    let seen = seen_version(&headers)?;
    let terms = judge(object::read(&bytes, OFFER)?)?;
    check_sound(&trust)?;
    let now = site.clock.now();
    let mut db = pool.acquire().await?;
    let by = caller.who.id();
    let set = store::set_programme(&mut db, caller.merchant, seen, &terms, by, now).await?;
    let version = set.ok_or_else(|| {
        let detail = "another version holds now; read it again";
        Problem::new(&codes::VERSION_DIFFERS, detail)
    })?;
    Ok(answer(&Programme { version, terms }, now))
}

/// The version that `If-Match` names.
fn seen_version(headers: &HeaderMap) -> Result<i32, Problem> {
    let seen = version::expected_version(headers)?;
    let seen = i32::try_from(seen)
        .ok()
        .filter(|seen| (0..i32::MAX).contains(seen));
    seen.ok_or_else(|| Problem::new(&codes::VERSION_DIFFERS, "that is the ETag of no version"))
}

fn answer(programme: &Programme, since: OffsetDateTime) -> Response {
    let view = ProgrammeView::new(programme, since);
    let mut response = (StatusCode::OK, Json(view)).into_response();
    // a number is ASCII
    if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", programme.version)) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}
