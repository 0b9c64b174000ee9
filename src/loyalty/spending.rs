//! `POST /v1/loyalty/redemptions`, what is given back of them, and `POST /v1/loyalty/adjustments`.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use time::Duration;
use utoipa::ToSchema;

use super::member::Member;
use super::members::no_programme;
use super::offer::number_fault;
use super::points::{DECIMALS, Points};
use super::redeeming::{self, Wanted};
use super::store::{self, Adjustment, Changed};
use super::{Desk, members};
use crate::clock::rfc3339_ms;
use crate::http::auth::{Action, Authenticated, Caller};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::commands::{self, Command, Kept};
use crate::http::idempotency::IdempotencyKey;
use crate::http::object::{self, Field, Read, Shape};
use crate::http::paging::Params;
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::ids::RedemptionId;
use crate::limits;
use crate::money::{Currency, format_minor};

/// Points to redeem.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"member": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8", "points": "100",
    "currency": "INR", "reference": "A-1001"}))]
pub struct RedemptionRequest {
    /// An account (`cus_…`) or the address of a wallet.
    pub member: String,
    /// How many, a decimal string.
    pub points: String,
    /// What they are to be worth something in.
    pub currency: Option<String>,
    /// Your name for what they are spent on, at most 64 characters.
    pub reference: Option<String>,
}

static REDEMPTION: &[Field] = &[
    Field::required("member", Shape::Text),
    Field::required("points", Shape::Decimal),
    Field::optional("currency", Shape::Text),
    Field::optional("reference", Shape::Text),
];

/// A redemption.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redemption)]
pub struct RedemptionView {
    /// Its id.
    #[schema(value_type = String, example = "rdm_01JQ8Z6Y5W4V3U2T1S0R9Q8P7N")]
    pub id: RedemptionId,
    /// Whose points.
    #[schema(value_type = String)]
    pub member: Option<Member>,
    /// How many.
    #[schema(value_type = String)]
    pub points: Points,
    /// How many of them were given back.
    #[schema(value_type = String)]
    pub given_back: Points,
    /// The currency in which they were worth something.
    pub currency: Option<String>,
    /// What they were worth in it, rounded down.
    pub value: Option<String>,
    /// What they were spent on.
    pub reference: Option<String>,
    /// When.
    #[schema(format = "date-time")]
    pub created_at: String,
}

impl RedemptionView {
    fn new(row: store::Redemption) -> Self {
        let currency = row.currency.as_deref().and_then(Currency::from_code);
        let value = currency.zip(row.value_minor);
        Self {
            id: RedemptionId(row.redemption_id),
            member: Member::from_bytes(&row.member),
            points: Points(row.points),
            given_back: Points(row.given_back),
            currency: row.currency,
            value: value.map(|(currency, minor)| format_minor(minor, currency)),
            reference: row.reference,
            created_at: rfc3339_ms(row.created_at),
        }
    }
}

/// What is wrong with a body, collected while it is judged.
struct Judge<T>(Read<T>);

impl<T> Judge<T> {
    fn member(&mut self, at: &str, text: &str) -> Option<Member> {
        let member = text.parse().ok();
        if member.is_none() {
            let detail = "an account (cus_…) or the address of a wallet";
            self.0.add(Fault::new(at, &codes::MEMBER_INVALID, detail));
        }
        member
    }

    fn points(&mut self, at: &str, text: &str, signed: bool) -> Option<Points> {
        let read = match signed {
            true => Points::parse_signed(text, DECIMALS),
            false => Points::parse(text, DECIMALS),
        };
        let read = read
            .map_err(|error| number_fault(at, error))
            .and_then(|points| {
                let detail = "0 points change nothing";
                let fault = || Fault::new(at, &codes::POINTS_OUT_OF_BOUNDS, detail);
                (points.0 != 0).then_some(points).ok_or_else(fault)
            });
        read.map_err(|fault| self.0.add(fault)).ok()
    }

    fn currency(&mut self, text: Option<&str>) -> Option<Currency> {
        let currency = Currency::from_code(text?);
        if currency.is_none() {
            let detail = "three letters of ISO 4217";
            self.0
                .add(Fault::new("/currency", &codes::CURRENCY_UNKNOWN, detail));
        }
        currency
    }

    fn text(&mut self, at: &str, text: &str, most: usize) {
        if text.contains('\0') {
            let detail = "U+0000 is not allowed";
            self.0.add(Fault::new(at, &codes::TEXT_HAS_NUL, detail));
        }
        if text.chars().count() > most {
            let detail = format!("at most {most} characters");
            self.0.add(Fault::new(at, &codes::TEXT_TOO_LONG, detail));
        }
    }
}

/// Redeem a member's points
///
/// The oldest first. In a currency they are worth what the programme says, rounded down.
#[utoipa::path(
    post, path = "/v1/loyalty/redemptions", tag = "Loyalty", request_body = RedemptionRequest,
    security(("key" = [])), params(("Idempotency-Key" = String, Header)),
    responses(
        (status = 201, body = RedemptionView, headers(("Location" = String), ("Idempotent-Replayed" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn redeem_points(
    State(desk): State<Desk>,
    Authenticated(caller): Authenticated,
    key: IdempotencyKey,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::RedeemPoints)?;
    let mut judge = Judge(object::read::<RedemptionRequest>(&bytes, REDEMPTION)?);
    let request = judge.0.body.clone();
    let member = judge.member("/member", &request.member);
    let points = judge.points("/points", &request.points, false);
    let currency = judge.currency(request.currency.as_deref());
    let reference = request.reference.as_deref();
    judge.text(
        "/reference",
        reference.unwrap_or_default(),
        limits::SHORT_TEXT_CHARS,
    );
    let (Some(member), Some(points), true) = (member, points, judge.0.faults.is_empty()) else {
        return Err(Problem::of_faults(judge.0.faults));
    };
    let what = (member, points, currency.map(Currency::code), reference);
    let command = Command::new(&caller, &key, "redeem points", &what);
    let id = RedemptionId::new(&desk.site.clock, &desk.site.entropy);
    let wanted = Wanted {
        id: id.0,
        member,
        points,
        currency,
        most_minor: None,
        reference,
    };
    desk.once(&command, async |conn: &mut PgConnection| {
        redeeming::redeem(conn, caller.merchant, &wanted, desk.site.clock.now()).await?;
        let view = redemption(conn, &caller, id).await?;
        Ok(Kept::created(
            format!("/v1/loyalty/redemptions/{id}"),
            &view,
        ))
    })
    .await
}

async fn redemption(
    conn: &mut PgConnection,
    caller: &Caller,
    id: RedemptionId,
) -> Result<RedemptionView, Problem> {
    let found = store::redemption(conn, caller.merchant, id.0).await?;
    let missing = || {
        Problem::new(
            &codes::NOT_FOUND,
            "there is no such redemption, or it is not yours",
        )
    };
    found.map(RedemptionView::new).ok_or_else(missing)
}

/// Read a redemption
#[utoipa::path(
    get, path = "/v1/loyalty/redemptions/{redemption_id}", tag = "Loyalty", security(("key" = [])),
    params(("redemption_id" = String, Path)),
    responses(
        (status = 200, body = RedemptionView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_redemption(
    State(pool): State<PgPool>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<RedemptionView>, Problem> {
    params.finish()?;
    caller.require(Action::ReadNamed)?;
    let id = redemption_id(&id)?;
    let mut db = pool.acquire().await?;
    Ok(Json(redemption(&mut db, &caller, id).await?))
}

fn redemption_id(text: &str) -> Result<RedemptionId, Problem> {
    let missing = |_| {
        Problem::new(
            &codes::NOT_FOUND,
            "there is no such redemption, or it is not yours",
        )
    };
    text.parse().map_err(missing)
}

/// How many points are to be given back.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"points": "40"}))]
pub struct GiveBackRequest {
    /// How many, a decimal string.
    pub points: String,
}

static GIVE_BACK: &[Field] = &[Field::required("points", Shape::Decimal)];

/// Give points of a redemption back
///
/// Because what they were spent on was cancelled. They go back into the lots that they came from; what has
/// expired meanwhile can be spent for thirty days more.
#[utoipa::path(
    post, path = "/v1/loyalty/redemptions/{redemption_id}/give_back", tag = "Loyalty",
    request_body = GiveBackRequest,
    security(("key" = [])), params(("redemption_id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, body = RedemptionView, headers(("Idempotent-Replayed" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn give_points_back(
    State(desk): State<Desk>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    key: IdempotencyKey,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::RedeemPoints)?;
    let id = redemption_id(&id)?;
    let mut judge = Judge(object::read::<GiveBackRequest>(&bytes, GIVE_BACK)?);
    let text = judge.0.body.points.clone();
    let points = judge.points("/points", &text, false);
    let (Some(points), true) = (points, judge.0.faults.is_empty()) else {
        return Err(Problem::of_faults(judge.0.faults));
    };
    let command = Command::new(&caller, &key, "give points back", &(id, points));
    desk.once(&command, async |conn: &mut PgConnection| {
        let now = desk.site.clock.now();
        let found = store::redemption(conn, caller.merchant, id.0).await?;
        if found.is_some_and(|found| found.is_of_order()) {
            let detail =
                "these points paid a part of an order of the shop, and go back with its money";
            return Err(Problem::new(&codes::REFUND_OF_ORDER, detail));
        }
        redeeming::give_back(conn, caller.merchant, id.0, points, now).await?;
        Ok(Kept::ok(&redemption(conn, &caller, id).await?))
    })
    .await
}

/// Points to adjust by hand.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"member": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8", "points": "250",
    "reason": "the till was down on 31 January"}))]
pub struct AdjustmentRequest {
    /// An account (`cus_…`) or the address of a wallet.
    pub member: String,
    /// How many, a decimal string; below zero they are taken, the oldest first.
    pub points: String,
    /// Why, at most 200 characters.
    pub reason: String,
}

static ADJUSTMENT: &[Field] = &[
    Field::required("member", Shape::Text),
    Field::required("points", Shape::Decimal),
    Field::required("reason", Shape::Text),
];

/// Adjust a member's points by hand
///
/// Given points can be spent at once, and expire as earned ones do. What a member owes is settled first.
#[utoipa::path(
    post, path = "/v1/loyalty/adjustments", tag = "Loyalty", request_body = AdjustmentRequest,
    security(("key" = [])), params(("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, body = members::MemberView, headers(("Idempotent-Replayed" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn adjust_points(
    State(desk): State<Desk>,
    Authenticated(caller): Authenticated,
    key: IdempotencyKey,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::ManageLoyalty)?;
    let mut judge = Judge(object::read::<AdjustmentRequest>(&bytes, ADJUSTMENT)?);
    let request = judge.0.body.clone();
    let member = judge.member("/member", &request.member);
    let points = judge.points("/points", &request.points, true);
    judge.text("/reason", &request.reason, limits::REASON_CHARS);
    if request.reason.is_empty() {
        let detail = "say why";
        judge
            .0
            .add(Fault::new("/reason", &codes::TEXT_EMPTY, detail));
    }
    let (Some(member), Some(points), true) = (member, points, judge.0.faults.is_empty()) else {
        return Err(Problem::of_faults(judge.0.faults));
    };
    let what = (member, points, request.reason.as_str());
    let command = Command::new(&caller, &key, "adjust points", &what);
    desk.once(&command, async |conn: &mut PgConnection| {
        adjusted(conn, &desk, &caller, member, points, &request.reason).await
    })
    .await
}

async fn adjusted(
    conn: &mut PgConnection,
    desk: &Desk,
    caller: &Caller,
    member: Member,
    points: Points,
    reason: &str,
) -> Result<Kept, Problem> {
    let now = desk.site.clock.now();
    let current = store::current(conn, caller.merchant).await?;
    let (programme, _) = current.ok_or_else(no_programme)?;
    let expiry = programme.terms.expiry_days.map(i64::from);
    let adjustment = Adjustment {
        member,
        points,
        expires_at: expiry.map(|days| now + Duration::days(days)),
        reason,
        by: caller.who.id(),
    };
    match store::adjust(conn, caller.merchant, &adjustment, now).await? {
        Changed::Adjusted => {
            let view = members::view(conn, caller.merchant, member, now).await?;
            Ok(Kept::ok(&view))
        }
        Changed::Unknown => {
            let detail = "there is no such customer, or the account is closed; a wallet is named by its address, 0x…";
            let fault = Fault::new("/member", &codes::MEMBER_INVALID, detail);
            Err(Problem::of_faults(vec![fault]))
        }
        _ => Err(Problem::new(
            &codes::POINTS_INSUFFICIENT,
            "the member has fewer points than are to be taken",
        )),
    }
}

impl Desk {
    /// Does a command once, where the database is sound.
    pub(super) async fn once(
        &self,
        command: &Command<'_>,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<Kept, Problem>,
    ) -> Result<Response, Problem> {
        self.check_sound()?;
        commands::once(&self.pool, command, self.site.clock.now(), work).await
    }
}
