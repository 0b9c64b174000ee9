//! `GET /v1/orders/{order_id}/proof` and `GET /v1/receipts/{sale_id}`: what outlives us, in every state.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::leaf::OrderId;
use counterfoil_proofs::receipt::{
    Anchor, AnchorState, BatchRef, Block, MEDIA_TYPE, Receipt, Version,
};
use counterfoil_proofs::timestamp::Timestamp;
use counterfoil_proofs::{hex, verify};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::Sales;
use super::link_access::{Wanted, missing, readable_sale};
use super::store::{self, AnchorRow};
use super::stored::{StoredSale, fixed};
use crate::chain;
use crate::clock::{rfc3339_ms, unix_ms};
use crate::http::auth::Authenticated;
use crate::http::cache::{Keep, conditional};
use crate::http::codes;
use crate::http::paging::Params;
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::{MerchantId, SaleId};
use crate::telemetry;

/// A receipt and the state of its sale.
pub struct Issued {
    /// The receipt.
    pub receipt: Receipt,
    /// `pending`, `sealed`, `submitted`, `mined` or `finalized`.
    pub state: String,
}

impl Issued {
    fn keep(&self, sales: &Sales) -> Keep {
        // with no chain there is nothing left to wait for, but a chain may be added
        let last = self.state == "finalized" && !self.receipt.anchors.is_empty();
        if last {
            Keep::Immutable
        } else {
            Keep::Seconds(sales.site.pending_max_age)
        }
    }
}

/// The receipt of a stored sale. Its proof is verified before it leaves.
///
/// # Errors
/// `self_check_failed` when what is stored does not verify; the database's.
pub async fn issue(sales: &Sales, stored: &StoredSale) -> Result<Issued, Problem> {
    let sale = stored
        .to_sale()
        .map_err(|error| self_check(stored, &error.to_string()))?;
    let details = String::from_utf8(stored.details.clone()).ok();
    let mut receipt = Receipt {
        version: Version::V1,
        sale,
        details,
        proof: Vec::new(),
        batch: None,
        anchors: Vec::new(),
    };
    let mut db = sales.pool.acquire().await?;
    let id = SaleId(stored.sale_id);
    let Some(seal) = store::seal(&mut db, MerchantId(stored.merchant_id), id).await? else {
        return Ok(Issued {
            receipt,
            state: "pending".to_owned(),
        });
    };
    let anchors = store::anchors(&mut db, seal.batch_id).await?;
    drop(db);

    let leaf = receipt.sale.leaf();
    let broken = |what: &str| self_check(stored, what);
    let root = fixed(&seal.root).ok_or_else(|| broken("the root"))?;
    receipt.proof = verify::siblings(&seal.proof).map_err(|_| broken("the proof's length"))?;
    if seal.leaf != leaf || verify::inclusion(&leaf, &receipt.proof, &root).is_err() {
        return Err(broken("the proof"));
    }
    let sealed_at = timestamp(seal.sealed_at).ok_or_else(|| broken("sealed_at"))?;
    let id = u64::try_from(seal.batch_id).map_err(|_| broken("the batch"))?;
    receipt.batch = Some(BatchRef {
        id,
        root,
        sealed_at,
    });
    receipt.anchors = anchors.iter().filter_map(anchor).collect();
    Ok(Issued {
        receipt,
        state: seal.state,
    })
}

fn self_check(stored: &StoredSale, what: &str) -> Problem {
    metrics::counter!(telemetry::SELF_CHECK_FAILURES, "check" => "proof").increment(1);
    tracing::error!(sale_id = %SaleId(stored.sale_id), what, "a stored proof does not verify; it is not served");
    Problem::new(
        &codes::SELF_CHECK_FAILED,
        "the stored proof does not verify",
    )
}

fn timestamp(time: OffsetDateTime) -> Option<Timestamp> {
    Timestamp::from_millis(u64::try_from(unix_ms(time)).ok()?)
}

/// An anchor as a receipt shows it; none for a row that nobody of us wrote.
pub fn anchor(row: &AnchorRow) -> Option<Anchor> {
    let registry = Caip10 {
        chain_id: u64::try_from(row.chain_id).ok()?,
        address: fixed(&row.registry)?,
    };
    let tx = row.tx_hash.as_deref().and_then(fixed);
    let state = match row.state.as_str() {
        "finalized" => AnchorState::Finalized,
        "mined" => AnchorState::Mined,
        "submitted" => AnchorState::Submitted,
        _ => AnchorState::Sealed,
    };
    let block = || {
        Some(Block {
            number: u64::try_from(row.block_number?).ok()?,
            hash: fixed(row.block_hash.as_deref()?)?,
            time: timestamp(row.block_time?)?,
        })
    };
    let explorer_url = tx.and_then(|tx| chain::explorer_tx_url(registry.chain_id, &tx));
    Some(Anchor {
        registry,
        tx,
        block: block(),
        state,
        explorer_url,
    })
}

/// Where an order stands, and its proof.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Proof)]
pub struct ProofAnswer {
    /// Whose it is.
    #[schema(value_type = String)]
    pub merchant_id: MerchantId,
    /// Its sale.
    #[schema(value_type = String)]
    pub sale_id: SaleId,
    /// Its order id.
    pub order_id: String,
    /// `pending`, `sealed`, `submitted`, `mined` or `finalized`. Until it is finalized it may go back.
    pub state: String,
    /// When the sale was committed.
    pub recorded_at: String,
    /// When its batch was sealed.
    pub sealed_at: Option<String>,
    /// keccak-256 of the sale's struct hash.
    pub leaf: String,
    /// The siblings from the leaf up; empty until sealed.
    pub proof: Vec<String>,
    /// The batch: its number, its root, when it was sealed; null until sealed.
    #[schema(value_type = Option<Object>)]
    pub batch: Option<serde_json::Value>,
    /// Where the batch is anchored, or will be.
    #[schema(value_type = Vec<Object>)]
    pub anchors: serde_json::Value,
}

/// Read the proof of an order
///
/// With a key of the merchant, or with `merchant` and `link` from the receipt's address.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}/proof", tag = "Proofs", security(("key" = []), ()),
    params(
        ("order_id" = String, Path, description = "percent-encoded where it needs to be"),
        ("merchant" = Option<String>, Query), ("link" = Option<String>, Query),
    ),
    responses(
        (status = 200, body = ProofAnswer),
        (status = 304),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_proof(
    State(sales): State<Sales>,
    caller: Option<Authenticated>,
    Path(order_id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let order_id = OrderId::parse(&order_id).map_err(|_| missing())?;
    let stored = readable_sale(&sales, caller, params, Wanted::Order(order_id)).await?;
    let issued = issue(&sales, &stored).await?;
    let receipt: serde_json::Value =
        serde_json::from_str(&issued.receipt.to_json()).unwrap_or_default();
    let answer = ProofAnswer {
        merchant_id: MerchantId(stored.merchant_id),
        sale_id: SaleId(stored.sale_id),
        order_id: stored.order_id.clone(),
        state: issued.state.clone(),
        recorded_at: rfc3339_ms(stored.recorded_at),
        sealed_at: issued
            .receipt
            .batch
            .map(|batch| batch.sealed_at.to_string()),
        leaf: hex::encode(&issued.receipt.sale.leaf()),
        proof: issued
            .receipt
            .proof
            .iter()
            .map(|sibling| hex::encode(sibling))
            .collect(),
        batch: receipt.get("batch").cloned(),
        anchors: receipt
            .get("anchors")
            .cloned()
            .unwrap_or_else(|| serde_json::json!([])),
    };
    let body = serde_json::to_string(&answer).unwrap_or_default();
    Ok(conditional(
        &headers,
        "application/json",
        body,
        issued.keep(&sales),
    ))
}

/// Read a receipt
///
/// The whole file, in every state; before sealing it has no proof. With a key of the merchant, or at the
/// address that the slip carries. It never changes once the sale is finalized.
#[utoipa::path(
    get, path = "/v1/receipts/{sale_id}", tag = "Proofs", security(("key" = []), ()),
    params(("sale_id" = String, Path), ("merchant" = Option<String>, Query), ("link" = Option<String>, Query)),
    responses(
        (status = 200, content_type = "application/vnd.counterfoil.receipt+json", body = serde_json::Value),
        (status = 304),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_receipt(
    State(sales): State<Sales>,
    caller: Option<Authenticated>,
    Path(sale_id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id: SaleId = sale_id.parse().map_err(|_| missing())?;
    let stored = readable_sale(&sales, caller, params, Wanted::Sale(id)).await?;
    let issued = issue(&sales, &stored).await?;
    Ok(conditional(
        &headers,
        MEDIA_TYPE,
        issued.receipt.to_json(),
        issued.keep(&sales),
    ))
}
