//! `/livez` and `/readyz`.

use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::codes;
use super::problem::{Problem, ProblemDocument};
use crate::database::trust::Trust;

/// That all is well.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    status: &'static str,
}

/// Is the process alive
#[utoipa::path(get, path = "/livez", tag = "Operations", responses((status = 200, body = Health)))]
pub async fn livez() -> axum::Json<Health> {
    axum::Json(Health { status: "ok" })
}

/// Can sales be recorded
///
/// A chain or a cache being down is no reason not to be: sales are recorded and anchored later. A
/// database that may have lost sales is one; the detail says why it is in doubt.
#[utoipa::path(
    get, path = "/readyz", tag = "Operations",
    responses(
        (status = 200, body = Health),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn readyz(
    State(pool): State<PgPool>,
    State(trust): State<Trust>,
) -> Result<axum::Json<Health>, Problem> {
    let check = async { trust.look(&mut *pool.acquire().await?).await };
    match tokio::time::timeout(Duration::from_secs(2), check).await {
        Ok(Ok(None)) => Ok(axum::Json(Health { status: "ok" })),
        Ok(Ok(Some(doubt))) => Err(Problem::in_doubt(format!(
            "{doubt}; run `counterfoil recover`"
        ))),
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "not ready");
            Err(Problem::new(
                &codes::DATABASE_UNAVAILABLE,
                "the database does not answer",
            ))
        }
        Err(_) => Err(Problem::new(
            &codes::DATABASE_UNAVAILABLE,
            "the database does not answer within 2 s",
        )),
    }
}
