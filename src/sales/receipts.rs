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
use counterfoil_proofs::{Hash, hex, verify};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Sales;
use super::filed::{AnchorRow, Filed, Wanted};
use super::kept::Kept;
use super::link_access::{Asker, link_of, missing};
use super::stored::fixed;
use crate::chain;
use crate::clock::{from_unix_ms, unix_ms};
use crate::http::auth::Authenticated;
use crate::http::cache::{Keep, conditional};
use crate::http::codes;
use crate::http::paging::Params;
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::{MerchantId, SaleId};
use crate::telemetry;

/// A receipt and the state of its sale.
#[derive(Debug)]
pub struct Issued {
    /// The receipt.
    pub receipt: Receipt,
    /// Its sale's leaf.
    pub leaf: Hash,
    /// `pending`, `sealed`, `submitted`, `mined` or `finalized`.
    pub state: String,
}

impl Issued {
    /// Whether nothing in it changes any more. With no chain there is nothing left to wait for, but a
    /// chain may be added.
    fn is_final(&self) -> bool {
        self.state == "finalized" && !self.receipt.anchors.is_empty()
    }
}

/// The receipt of a sale. Its proof is verified before it leaves.
///
/// # Errors
/// `self_check_failed` when what is stored does not verify.
pub fn issue(filed: Filed) -> Result<Issued, Problem> {
    let state = filed.state().to_owned();
    let Filed { sale: stored, seal } = filed;
    let broken = |what: &str| self_check(SaleId(stored.sale_id), what);
    let sale = stored
        .to_sale()
        .map_err(|error| broken(&error.to_string()))?;
    let mut receipt = Receipt {
        version: Version::V1,
        sale,
        details: None,
        proof: Vec::new(),
        batch: None,
        anchors: Vec::new(),
    };
    let leaf = receipt.sale.leaf();
    if let Some(seal) = seal {
        let root = fixed(&seal.root).ok_or_else(|| broken("the root"))?;
        receipt.proof = verify::siblings(&seal.proof).map_err(|_| broken("the proof's length"))?;
        if seal.leaf != leaf || verify::inclusion(&leaf, &receipt.proof, &root).is_err() {
            return Err(broken("the proof"));
        }
        receipt.batch = Some(BatchRef {
            id: u64::try_from(seal.batch_id).map_err(|_| broken("the batch"))?,
            root,
            sealed_at: timestamp(seal.sealed_at).ok_or_else(|| broken("sealed_at"))?,
        });
        receipt.anchors = seal.anchors.iter().filter_map(anchor).collect();
    }
    receipt.details = String::from_utf8(stored.details).ok();
    Ok(Issued {
        receipt,
        leaf,
        state,
    })
}

fn self_check(sale: SaleId, what: &str) -> Problem {
    metrics::counter!(telemetry::SELF_CHECK_FAILURES, "check" => "proof").increment(1);
    tracing::error!(sale_id = %sale, what, "a stored proof does not verify; it is not served");
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

/// The row that an anchor of a receipt was made of.
pub fn anchor_row(anchor: &Anchor) -> AnchorRow {
    let block = anchor.block.as_ref();
    AnchorRow {
        chain_id: anchor.registry.chain_id.cast_signed(),
        registry: anchor.registry.address.to_vec(),
        state: anchor.state.as_str().to_owned(),
        tx_hash: anchor.tx.map(|hash| hash.to_vec()),
        block_number: block.map(|block| block.number.cast_signed()),
        block_hash: block.map(|block| block.hash.to_vec()),
        block_time: block.map(|block| from_unix_ms(block.time.millis().cast_signed())),
    }
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
    pub batch: Option<BatchRef>,
    /// Where the batch is anchored, or will be.
    #[schema(value_type = Vec<Object>)]
    pub anchors: Vec<Anchor>,
}

impl ProofAnswer {
    fn new(issued: Issued) -> Self {
        let Issued {
            receipt,
            leaf,
            state,
        } = issued;
        let recorded_at = Timestamp::from_millis(receipt.sale.recorded_at);
        Self {
            merchant_id: MerchantId(Uuid::from_bytes(receipt.sale.merchant)),
            sale_id: SaleId(Uuid::from_bytes(receipt.sale.sale)),
            order_id: receipt.sale.order_id.as_str().to_owned(),
            state,
            recorded_at: recorded_at.map_or_else(String::new, |time| time.to_string()),
            sealed_at: receipt.batch.map(|batch| batch.sealed_at.to_string()),
            leaf: hex::encode(&leaf),
            proof: receipt
                .proof
                .iter()
                .map(|sibling| hex::encode(sibling))
                .collect(),
            batch: receipt.batch,
            anchors: receipt.anchors,
        }
    }
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
    let asker = Asker::of(caller.as_ref(), params)?;
    let order_id = OrderId::parse(&order_id).map_err(|_| missing())?;
    let wanted = Wanted::Order(order_id.as_str().to_owned());
    answer(&sales, &asker, wanted, Form::Proof, &headers).await
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
    let asker = Asker::of(caller.as_ref(), params)?;
    let id = sale_id.parse().map_err(|_| missing())?;
    answer(&sales, &asker, Wanted::Sale(id), Form::Receipt, &headers).await
}

/// What of a sale is shown.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Where it stands, and its proof.
    Proof,
    /// The whole file.
    Receipt,
}

impl Form {
    /// What it is kept as. Of another shape it has another number.
    fn kind(self) -> &'static str {
        match self {
            Self::Proof => "proof1",
            Self::Receipt => "receipt1",
        }
    }

    fn answer(self, request: &HeaderMap, body: String, keep: Keep) -> Response {
        let media_type = match self {
            Self::Proof => "application/json",
            Self::Receipt => MEDIA_TYPE,
        };
        conditional(request, media_type, body, keep)
    }

    fn write(self, issued: Issued) -> String {
        match self {
            // strings and integers: nothing in it can fail to be written
            Self::Proof => serde_json::to_string(&ProofAnswer::new(issued)).unwrap_or_default(),
            Self::Receipt => issued.receipt.to_json(),
        }
    }
}

async fn answer(
    sales: &Sales,
    asker: &Asker,
    wanted: Wanted,
    form: Form,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let place = sales
        .kept
        .place(asker.merchant, form.kind(), &wanted.name())
        .await;
    let kept = match &place {
        Some(place) => place.get().await,
        None => None,
    };
    // who has no right to it goes on as if it did not exist, and is told so by the database
    if let Some(kept) = kept.filter(|kept| asker.may_read(&kept.link)) {
        return Ok(form.answer(headers, kept.body, Keep::Immutable));
    }
    let filed = sales.lookup.find(asker.merchant, wanted).await?;
    let filed = filed.ok_or_else(missing)?;
    let link = link_of(&filed.sale)
        .filter(|link| asker.may_read(link))
        .ok_or_else(missing)?;
    let issued = issue(filed)?;
    let (is_final, body) = (issued.is_final(), form.write(issued));
    if !is_final {
        let keep = Keep::Seconds(sales.site.pending_max_age);
        return Ok(form.answer(headers, body, keep));
    }
    let kept = Kept { link, body };
    if let Some(place) = place {
        place.put(&kept);
    }
    Ok(form.answer(headers, kept.body, Keep::Immutable))
}
