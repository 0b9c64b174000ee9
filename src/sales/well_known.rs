//! `GET /.well-known/counterfoil.json`: what a verifier is to trust of this shop. A shop publishes it on
//! its own domain. It says nothing of volumes.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::hex;
use serde::Serialize;
use utoipa::ToSchema;

use super::Sales;
use super::stored::fixed;
use crate::http::cache::{Keep, conditional};
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::MerchantId;

/// Registries and merchants.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrustAnswer {
    /// The registries, each with the batches it is to be trusted for.
    pub registries: Vec<RegistryAnswer>,
    /// The merchants.
    pub merchants: Vec<MerchantAnswer>,
}

/// A registry contract.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegistryAnswer {
    /// CAIP-10.
    #[schema(example = "eip155:1:0x5fbdb2315678afecb367f032d93f642f64180aa3")]
    pub registry: String,
    /// Its first batch.
    pub first_batch: i64,
    /// Its last batch; null while it is the current one.
    pub last_batch: Option<i64>,
}

/// A merchant.
#[derive(Debug, Serialize, ToSchema)]
pub struct MerchantAnswer {
    /// As the interface names it.
    #[schema(value_type = String)]
    pub merchant_id: MerchantId,
    /// As the leaf names it, 16 bytes.
    pub merchant: String,
    /// Its legal name.
    pub legal_name: String,
    /// `live` or `test`.
    pub mode: String,
}

/// What to trust: registries and merchants
#[utoipa::path(
    get, path = "/.well-known/counterfoil.json", tag = "Proofs",
    responses(
        (status = 200, body = TrustAnswer),
        (status = 304),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn trust(State(sales): State<Sales>, headers: HeaderMap) -> Result<Response, Problem> {
    let mut db = sales.pool.acquire().await?;
    let registries = sqlx::query!(
        "select chain_id, address, first_batch, last_batch from registry
                     where last_batch is null or last_batch >= first_batch
                     order by first_batch, chain_id"
    )
    .fetch_all(&mut *db)
    .await?;
    let merchants =
        sqlx::query!("select merchant_id, legal_name, mode from merchant order by merchant_id")
            .fetch_all(&mut *db)
            .await?;
    let answer = TrustAnswer {
        registries: registries
            .into_iter()
            .filter_map(|row| {
                let chain_id = u64::try_from(row.chain_id).ok()?;
                let registry = Caip10 {
                    chain_id,
                    address: fixed(&row.address)?,
                }
                .to_string();
                Some(RegistryAnswer {
                    registry,
                    first_batch: row.first_batch,
                    last_batch: row.last_batch,
                })
            })
            .collect(),
        merchants: merchants
            .into_iter()
            .map(|row| MerchantAnswer {
                merchant_id: MerchantId(row.merchant_id),
                merchant: hex::encode(row.merchant_id.as_bytes()),
                legal_name: row.legal_name,
                mode: row.mode,
            })
            .collect(),
    };
    let body = serde_json::to_string(&answer).unwrap_or_default();
    Ok(conditional(
        &headers,
        "application/json",
        body,
        Keep::Seconds(60),
    ))
}
