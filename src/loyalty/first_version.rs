//! The endpoints of the first version: a wallet's balance, and redeeming by its address.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;

use super::member::Member;
use super::offer::number_fault;
use super::points::{DECIMALS, Points};
use super::redeeming::{self, Wanted};
use super::{Desk, members};
use crate::http::Site;
use crate::http::auth::{Action, Authenticated};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::commands::{Command, Kept};
use crate::http::idempotency::IdempotencyKey;
use crate::http::object::{self, Decimal, Field, Shape};
use crate::http::paging::Params;
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::ids::RedemptionId;

/// What a wallet has.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LoyaltyBalance)]
pub struct BalanceAnswer {
    /// The wallet's address.
    #[schema(value_type = String)]
    pub customer_address: Member,
    /// What it can spend now.
    #[schema(value_type = String)]
    pub points_balance: Points,
    /// What it can spend later.
    #[schema(value_type = String)]
    pub points_pending: Points,
}

/// Read a wallet's balance (first version)
#[utoipa::path(
    get, path = "/loyalty/balance/{address}", tag = "First version", security(("key" = [])),
    params(("address" = String, Path)),
    responses(
        (status = 200, body = BalanceAnswer),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn balance_of_wallet(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    Authenticated(caller): Authenticated,
    Path(address): Path<String>,
    params: Params,
) -> Result<Json<BalanceAnswer>, Problem> {
    params.finish()?;
    caller.require(Action::ReadNamed)?;
    let missing = || {
        Problem::new(
            &codes::NOT_FOUND,
            "0x and 40 hexadecimal digits name a wallet",
        )
    };
    let wallet = wallet(&address).ok_or_else(missing)?;
    let mut db = pool.acquire().await?;
    let view = members::view(&mut db, caller.merchant, wallet, site.clock.now()).await?;
    Ok(Json(BalanceAnswer {
        customer_address: wallet,
        points_balance: view.available,
        points_pending: view.pending,
    }))
}

fn wallet(text: &str) -> Option<Member> {
    let member = text.parse().ok()?;
    matches!(member, Member::Wallet(_)).then_some(member)
}

/// Points to redeem.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"customer_address": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8", "points_amount": 100}))]
pub struct RedeemRequest {
    /// The wallet's address.
    pub customer_address: String,
    /// A number or a decimal string.
    #[schema(value_type = f64)]
    pub points_amount: Decimal,
}

static REDEEM: &[Field] = &[
    Field::required("customer_address", Shape::Text),
    Field::required("points_amount", Shape::Number),
];

/// What was redeemed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LoyaltyRedeemed)]
pub struct RedeemAnswer {
    /// Our name for it.
    #[schema(value_type = String)]
    pub redemption_id: RedemptionId,
    /// The wallet's address.
    #[schema(value_type = String)]
    pub customer_address: Member,
    /// What was redeemed.
    #[schema(value_type = String)]
    pub points_redeemed: Points,
    /// What the wallet can spend after it.
    #[schema(value_type = String)]
    pub points_balance: Points,
}

/// Redeem a wallet's points (first version)
#[utoipa::path(
    post, path = "/loyalty/redeem", tag = "First version", request_body = RedeemRequest,
    security(("key" = [])), params(("Idempotency-Key" = String, Header)),
    responses(
        (status = 201, body = RedeemAnswer, headers(("Location" = String), ("Idempotent-Replayed" = String))),
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
pub async fn redeem_of_wallet(
    State(desk): State<Desk>,
    Authenticated(caller): Authenticated,
    key: IdempotencyKey,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::RedeemPoints)?;
    let mut read = object::read::<RedeemRequest>(&bytes, REDEEM)?;
    let request = read.body.clone();
    let member = wallet(&request.customer_address);
    if member.is_none() {
        let detail = "0x and 40 hexadecimal digits, not zero";
        read.add(Fault::new(
            "/customer_address",
            &codes::ADDRESS_INVALID,
            detail,
        ));
    }
    let points = Points::parse(&request.points_amount.0, DECIMALS);
    let points = points.map_err(|error| read.add(number_fault("/points_amount", error)));
    let (Some(member), Ok(points), true) = (member, points, read.faults.is_empty()) else {
        return Err(Problem::of_faults(read.faults));
    };
    let command = Command::new(&caller, &key, "redeem a wallet's points", &(member, points));
    let id = RedemptionId::new(&desk.site.clock, &desk.site.entropy);
    let wanted = Wanted {
        id: id.0,
        member,
        points,
        currency: None,
        most_minor: None,
        reference: None,
    };
    desk.once(&command, async |conn: &mut PgConnection| {
        let now = desk.site.clock.now();
        redeeming::redeem(conn, caller.merchant, &wanted, now).await?;
        let view = members::view(conn, caller.merchant, member, now).await?;
        let answer = RedeemAnswer {
            redemption_id: id,
            customer_address: member,
            points_redeemed: points,
            points_balance: view.available,
        };
        Ok(Kept::created(
            format!("/v1/loyalty/redemptions/{id}"),
            &answer,
        ))
    })
    .await
}
