//! Endpoints and the public halves of their secrets.

use secrecy::ExposeSecret;
use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::draft::Draft;
use super::super::signature::Secret;
use crate::http::paging::Paging;
use crate::ids::{EndpointId, MerchantId};
use crate::limits;

/// An endpoint.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Listed {
    pub endpoint_id: Uuid,
    pub url: String,
    pub types: Vec<String>,
    pub description: String,
    pub state: String,
    pub version: i64,
    pub failing_since: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// A secret, without what is secret of it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Public {
    pub endpoint_id: Uuid,
    pub public_key: Vec<u8>,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
}

/// What became of a change of secrets or endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Changed {
    /// The endpoint is there.
    Created,
    /// The endpoint has another secret.
    Rotated,
    /// There are so many already.
    TooMany,
    /// The merchant has no such endpoint.
    Unknown,
}

/// Puts an endpoint there, unless the merchant has too many.
pub async fn create(
    conn: &mut PgConnection,
    merchant: MerchantId,
    id: EndpointId,
    draft: &Draft,
    secret: &Secret,
    now: OffsetDateTime,
) -> Result<Changed> {
    sqlx::query_scalar!(
        r#"select create_webhook_endpoint($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as "changed!: Changed""#,
        merchant.0,
        id.0,
        draft.url,
        &draft.types,
        draft.description,
        secret.hmac_key.expose_secret(),
        secret.seed.expose_secret(),
        &secret.public_key[..],
        now,
        limits::WEBHOOK_ENDPOINTS,
    )
    .fetch_one(conn)
    .await
}

/// Changes an endpoint that is still at version `expected`; whether it was.
pub async fn update(
    conn: &mut PgConnection,
    merchant: MerchantId,
    id: EndpointId,
    expected: i64,
    draft: &Draft,
    now: OffsetDateTime,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select change_webhook_endpoint($1, $2, $3, $4, $5, $6, $7, $8) as "changed!""#,
        merchant.0,
        id.0,
        expected,
        draft.url,
        &draft.types,
        draft.description,
        draft.enabled,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Deletes an endpoint; whether it was there.
pub async fn delete(
    conn: &mut PgConnection,
    merchant: MerchantId,
    id: EndpointId,
    now: OffsetDateTime,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select delete_webhook_endpoint($1, $2, $3) as "deleted!""#,
        merchant.0,
        id.0,
        now
    )
    .fetch_one(conn)
    .await
}

/// Gives an endpoint another secret; the ones before are signed with until `until`.
pub async fn rotate(
    conn: &mut PgConnection,
    merchant: MerchantId,
    id: EndpointId,
    secret: &Secret,
    until: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Changed> {
    sqlx::query_scalar!(
        r#"select rotate_webhook_secret($1, $2, $3, $4, $5, $6, $7, $8) as "changed!: Changed""#,
        merchant.0,
        id.0,
        secret.hmac_key.expose_secret(),
        secret.seed.expose_secret(),
        &secret.public_key[..],
        until,
        now,
        limits::WEBHOOK_SECRETS,
    )
    .fetch_one(conn)
    .await
}

/// A ping for an endpoint: its event's id. None where the endpoint is not enabled.
pub async fn ping(
    conn: &mut PgConnection,
    merchant: MerchantId,
    id: EndpointId,
    now: OffsetDateTime,
) -> Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "select ping_webhook_endpoint($1, $2, $3)",
        merchant.0,
        id.0,
        now
    )
    .fetch_one(conn)
    .await
}

/// One endpoint of a merchant.
pub async fn find(
    conn: &mut PgConnection,
    merchant: MerchantId,
    id: EndpointId,
) -> Result<Option<Listed>> {
    sqlx::query_as!(
        Listed,
        "select endpoint_id, url, types, description, state, version, failing_since, created_at, updated_at
         from webhook_endpoint where merchant_id = $1 and endpoint_id = $2 and state <> 'deleted'",
        merchant.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// A page of endpoints and one more, from the edge that is asked for: the newest first, or of an `ending_before`
/// the oldest first.
pub async fn list(
    conn: &mut PgConnection,
    merchant: MerchantId,
    paging: &Paging<EndpointId>,
) -> Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        "select endpoint_id, url, types, description, state, version, failing_since, created_at, updated_at
         from webhook_endpoint
         where merchant_id = $1 and state <> 'deleted'
           and ($2::uuid is null or endpoint_id < $2) and ($3::uuid is null or endpoint_id > $3)
         order by case when $3::uuid is null then endpoint_id end desc, endpoint_id
         limit $4",
        merchant.0,
        paging.starting_after.map(|id| id.0),
        paging.ending_before.map(|id| id.0),
        paging.limit + 1,
    )
    .fetch_all(conn)
    .await
}

/// The public keys of a merchant's endpoints that deliveries are signed with now, the newest first.
pub async fn public_keys(
    conn: &mut PgConnection,
    merchant: MerchantId,
    now: OffsetDateTime,
) -> Result<Vec<Public>> {
    sqlx::query_as!(
        Public,
        "select endpoint_id, public_key, created_at, expires_at from webhook_secret
         where merchant_id = $1 and (expires_at is null or expires_at > $2) order by secret_no desc",
        merchant.0,
        now,
    )
    .fetch_all(conn)
    .await
}
