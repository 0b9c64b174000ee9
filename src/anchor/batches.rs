//! `GET /v1/batches` and `GET /v1/batches/{id}`.
//!
//! A manifest and the hashes of all its marks are for every merchant, so that anybody can compute the
//! anchored root again. A mark itself says how many sales a merchant had, so a merchant is shown its own.

use axum::Json;
use axum::extract::{Path, State};
use counterfoil_proofs::hex;
use counterfoil_proofs::manifest::{Manifest, Mark};
use counterfoil_proofs::receipt::Anchor;
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::store::batches::{self as store, Listed};
use crate::clock::{from_unix_ms, rfc3339_ms};
use crate::http::auth::{Action, Authenticated};
use crate::http::codes;
use crate::http::paging::{Page, Paging, Params};
use crate::http::problem::{Problem, ProblemDocument};
use crate::sales;

/// A batch with sales of the caller.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchSummary)]
pub struct BatchView {
    /// Its number, from 1 without gaps.
    pub id: i64,
    /// The anchored root.
    pub root: String,
    /// When it was sealed.
    pub sealed_at: String,
    /// `sealed`, `submitted`, `mined` or `finalized`.
    pub state: String,
    /// The number of your first sale in it.
    pub first_seq: i64,
    /// The number of your last.
    pub last_seq: i64,
}

/// All that the anchored root of a batch is computed from, but its leaves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Batch)]
pub struct BatchAnswer {
    /// Its number.
    pub id: i64,
    /// The anchored root.
    pub root: String,
    /// `sealed`, `submitted`, `mined` or `finalized`.
    pub state: String,
    /// When it was sealed.
    pub sealed_at: String,
    /// The manifest, its fields by the names of the EIP-712 struct.
    #[schema(value_type = Object)]
    pub manifest: Manifest,
    /// What the manifest's `marks` is the hash of: one entry a merchant, ascending.
    pub marks: Vec<MarkAnswer>,
    /// Where it is anchored, or will be.
    #[schema(value_type = Vec<Object>)]
    pub anchors: Vec<Anchor>,
}

/// A merchant's mark in a batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchMark)]
pub struct MarkAnswer {
    /// The merchant, as the leaf names it.
    pub merchant: String,
    /// keccak-256 of the mark's struct hash.
    pub hash: String,
    /// The mark, its fields by the names of the EIP-712 struct; only your own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub mark: Option<Mark>,
}

/// List the batches that your sales are in, newest first
#[utoipa::path(
    get, path = "/v1/batches", tag = "Proofs", security(("key" = [])),
    params(
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this batch"),
    ),
    responses(
        (status = 200, body = Page<BatchView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_batches(
    State(pool): State<PgPool>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Json<Page<BatchView>>, Problem> {
    let paging = Paging::take(&mut params, batch_id)?;
    params.finish()?;
    caller.require(Action::ReadAll)?;
    let mut db = pool.acquire().await?;
    let (merchant, limit) = (caller.merchant.0, paging.limit + 1);
    let rows = match (paging.starting_after, paging.ending_before) {
        (_, Some(edge)) => store::list_newer(&mut db, merchant, edge, limit).await?,
        (edge, None) => {
            store::list_older(&mut db, merchant, edge.unwrap_or(i64::MAX), limit).await?
        }
    };
    let views = rows.into_iter().map(view).collect();
    Ok(Json(paging.page(views, |batch| batch.id.to_string())))
}

/// Read a batch
///
/// The manifest and the hashes of all marks, from which with the leaves anybody computes the anchored
/// root again.
#[utoipa::path(
    get, path = "/v1/batches/{id}", tag = "Proofs", security(("key" = [])),
    params(("id" = i64, Path)),
    responses(
        (status = 200, body = BatchAnswer),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_batch(
    State(pool): State<PgPool>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<BatchAnswer>, Problem> {
    params.finish()?;
    caller.require(Action::ReadAll)?;
    let missing = || Problem::new(&codes::NOT_FOUND, "there is no such batch");
    let id = batch_id(&id).ok_or_else(missing)?;
    let mut db = pool.acquire().await?;
    let (manifest, root, state) = store::manifest(&mut db, id).await?.ok_or_else(missing)?;
    let marks = store::marks(&mut db, id).await?;
    let anchors = sales::filed::anchors(&mut db, id).await?;
    let own = caller.merchant.bytes();
    Ok(Json(BatchAnswer {
        id,
        root: hex::encode(&root),
        state,
        sealed_at: rfc3339_ms(from_unix_ms(manifest.sealed_at.cast_signed())),
        manifest,
        marks: marks
            .into_iter()
            .map(|mark| mark_answer(mark, &own))
            .collect(),
        anchors: anchors.iter().filter_map(sales::receipts::anchor).collect(),
    }))
}

/// A batch's number as a path or cursor has it.
fn batch_id(text: &str) -> Option<i64> {
    text.parse()
        .ok()
        .filter(|id: &i64| *id >= 1 && id.to_string() == text)
}

fn view(row: Listed) -> BatchView {
    BatchView {
        id: row.batch_id,
        root: hex::encode(&row.root),
        sealed_at: rfc3339_ms(row.sealed_at),
        state: row.state,
        first_seq: row.first_seq,
        last_seq: row.last_seq,
    }
}

fn mark_answer(mark: Mark, own: &[u8; 16]) -> MarkAnswer {
    MarkAnswer {
        merchant: hex::encode(&mark.merchant),
        hash: hex::encode(&mark.hash()),
        mark: (mark.merchant == *own).then_some(mark),
    }
}
