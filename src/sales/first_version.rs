//! The endpoints of the first version: a thin translation to the same commands. Here, and only here,
//! money may be a JSON number, read from its own text.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use counterfoil_proofs::hex;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Sales;
use super::answer::TransactionAnswer;
use super::filed::Wanted;
use super::intake::{AnswerVersion, Draft, Slot};
use super::link_access::missing;
use super::receipts::issue;
use super::record::{Answered, judge, respond};
use super::request::{Money, SaleRequest};
use crate::http::auth::{Action, Authenticated};
use crate::http::body::JsonBytes;
use crate::http::idempotency::IdempotencyKey;
use crate::http::layers::RequestId;
use crate::http::object::{self, Decimal, Field, Object, Read, Shape};
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::SaleId;

/// A sale in rupees.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(non_snake_case, reason = "published so")]
#[schema(example = json!({"orderid": "A-1003", "customeraddress": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8", "amountINR": 1500.75}))]
pub struct TransactionRequest {
    /// Your name for it.
    pub orderid: String,
    /// The customer's account address.
    pub customeraddress: String,
    /// A number or a decimal string, at most two decimals.
    #[schema(value_type = f64)]
    pub amountINR: Decimal,
}

static TRANSACTION: &[Field] = &[
    Field {
        name: "orderid",
        shape: Shape::Text,
        required: true,
    },
    Field {
        name: "customeraddress",
        shape: Shape::Text,
        required: true,
    },
    Field {
        name: "amountINR",
        shape: Shape::Number,
        required: true,
    },
];

/// Where each field of the new command comes from.
const POINTERS: [(&str, &str); 3] = [
    ("/order_id", "/orderid"),
    ("/customer_address", "/customeraddress"),
    ("/amount/value", "/amountINR"),
];

/// Record a sale in rupees (first version)
///
/// Without an `Idempotency-Key` the order id is the key.
#[utoipa::path(
    post, path = "/transactions/record", tag = "First version", request_body = TransactionRequest,
    security(("key" = [])), params(("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 201, body = TransactionAnswer),
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
pub async fn record_transaction(
    State(sales): State<Sales>,
    Authenticated(caller): Authenticated,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::Record)?;
    let key = IdempotencyKey::from_headers(&headers)?;
    let Read { body, mut faults } = object::read::<TransactionRequest>(&bytes, TRANSACTION)?;
    for fault in &mut faults {
        if let Some((new, _)) = POINTERS.iter().find(|(_, old)| *old == fault.pointer) {
            fault.pointer = (*new).to_owned();
        }
    }
    let slot = match key {
        Some(key) => Slot {
            space: 0,
            key: key.0,
        },
        None => Slot {
            space: 1,
            key: body.orderid.clone(),
        },
    };
    let command = judge(
        Read {
            body: translate(body),
            faults,
        },
        &sales,
    )
    .map_err(|problem| {
        problem.renamed(|pointer| {
            POINTERS
                .iter()
                .find(|(new, _)| *new == pointer)
                .map(|(_, old)| *old)
        })
    })?;
    let draft = Draft {
        command,
        slot,
        answer: AnswerVersion::Transaction,
        request_id,
    };
    let outcome = sales.intake.record_one(caller.merchant, draft).await?;
    Ok(respond(Answered::new(outcome, &sales)?))
}

fn translate(body: TransactionRequest) -> SaleRequest {
    SaleRequest {
        order_id: body.orderid,
        kind: None,
        amount: Object(Money {
            value: body.amountINR.0,
            currency: "INR".to_owned(),
        }),
        refers_to: None,
        customer_ref: None,
        customer_address: Some(body.customeraddress),
        register: None,
        cashier: None,
        sold_at: None,
        lines: None,
        payments: None,
        tax_total: None,
        discount_total: None,
        metadata: None,
        idempotency_key: None,
    }
}

/// A transaction with its state.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransactionView {
    /// The transaction.
    #[serde(flatten)]
    pub transaction: TransactionAnswer,
    /// The chain's transaction that anchors it, once there is one.
    pub tx_hash: Option<String>,
}

/// Read a transaction (first version)
#[utoipa::path(
    get, path = "/transactions/{transaction_id}", tag = "First version", security(("key" = [])),
    params(("transaction_id" = String, Path)),
    responses(
        (status = 200, body = TransactionView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_transaction(
    State(sales): State<Sales>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<axum::Json<TransactionView>, Problem> {
    caller.require(Action::ReadNamed)?;
    let id: SaleId = id.parse().map_err(|_| missing())?;
    let filed = sales.lookup.find(caller.merchant, Wanted::Sale(id)).await?;
    let filed = filed
        .filter(|filed| filed.sale.currency == "INR")
        .ok_or_else(missing)?;
    let transaction = TransactionAnswer::new(&filed.sale, &sales.site.public_url, filed.state())?;
    let issued = issue(filed)?;
    let tx_hash = issued
        .receipt
        .anchors
        .iter()
        .find_map(|anchor| anchor.tx)
        .map(|tx| hex::encode(&tx));
    Ok(axum::Json(TransactionView {
        transaction,
        tx_hash,
    }))
}
