//! Deliveries: taken, settled, and as an administrator sees them.

use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::paging::Paging;
use crate::ids::{EndpointId, EventId, MerchantId};
use crate::limits;

/// A delivery that this worker has taken.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Claimed {
    pub merchant_id: Uuid,
    pub endpoint_id: Uuid,
    pub event_id: Uuid,
    pub claim: i32,
    pub tried: i32,
    pub url: String,
    pub r#type: String,
    /// JSON text.
    pub data: String,
    pub created_at: OffsetDateTime,
    /// The newest first.
    pub hmac_keys: Vec<Vec<u8>>,
    pub seeds: Vec<Vec<u8>>,
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered 2xx.
    Succeeded,
    /// It did not.
    Failed,
    /// It answered 410: it wants no more.
    Gone,
}

impl Outcome {
    /// As the database has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}

/// What is written of a try.
#[derive(Debug)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Settled<'a> {
    pub outcome: Outcome,
    /// None where it is not tried again.
    pub next_at: Option<OffsetDateTime>,
    pub status: Option<i16>,
    pub error: Option<&'a str>,
    pub response: &'a str,
    pub took_ms: i32,
}

/// Takes deliveries that are due, `most` at the most, beside those to the endpoints of `busy`.
pub async fn claim(
    conn: &mut PgConnection,
    most: usize,
    busy: &[Uuid],
    now: OffsetDateTime,
) -> Result<Vec<Claimed>> {
    sqlx::query_as!(
        Claimed,
        r#"select merchant_id as "merchant_id!", endpoint_id as "endpoint_id!", event_id as "event_id!",
                  claim as "claim!", tried as "tried!", url as "url!", type as "type!", data as "data!",
                  created_at as "created_at!", coalesce(hmac_keys, '{}') as "hmac_keys!",
                  coalesce(seeds, '{}') as "seeds!"
           from claim_webhook_deliveries($1, $2, $3, $4, $5)"#,
        now,
        now + limits::WEBHOOK_CLAIM_TIME,
        i64::try_from(most).unwrap_or(i64::MAX),
        limits::WEBHOOK_ENDPOINT_DELIVERIES,
        busy,
    )
    .fetch_all(conn)
    .await
}

/// Writes down what came of a try: the delivery's new state; none where it is not ours any more.
pub async fn settle(
    conn: &mut PgConnection,
    delivery: &Claimed,
    settled: &Settled<'_>,
    now: OffsetDateTime,
) -> Result<Option<String>> {
    let patience = PgInterval::try_from(limits::WEBHOOK_PATIENCE).map_err(sqlx::Error::Encode)?;
    sqlx::query_scalar!(
        "select settle_webhook_delivery($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        delivery.merchant_id,
        delivery.endpoint_id,
        delivery.event_id,
        delivery.claim,
        settled.outcome.as_str(),
        settled.next_at,
        patience,
        settled.status,
        settled.error,
        settled.response,
        settled.took_ms,
        now,
    )
    .fetch_one(conn)
    .await
}

/// A delivery as its merchant sees it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Listed {
    pub event_id: Uuid,
    pub endpoint_id: Uuid,
    pub r#type: String,
    pub state: String,
    pub next_at: OffsetDateTime,
    pub attempts: i32,
    pub created_at: OffsetDateTime,
    pub ended_at: Option<OffsetDateTime>,
}

/// A try as its merchant sees it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Attempt {
    pub event_id: Uuid,
    pub attempt: i32,
    pub took_ms: i32,
    pub status: Option<i16>,
    pub error: Option<String>,
    pub response: String,
    pub at: OffsetDateTime,
}

/// A page of an endpoint's deliveries and one more, from the edge that is asked for: of the newest event first, or
/// of an `ending_before` of the oldest.
pub async fn list(
    conn: &mut PgConnection,
    merchant: MerchantId,
    endpoint: EndpointId,
    state: Option<&str>,
    paging: &Paging<EventId>,
) -> Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        "select d.event_id, d.endpoint_id, v.type, d.state, d.next_at, d.attempts, d.created_at, d.ended_at
         from webhook_delivery d join event v on v.merchant_id = d.merchant_id and v.event_id = d.event_id
         where d.merchant_id = $1 and d.endpoint_id = $2 and ($3::text is null or d.state = $3)
           and ($4::uuid is null or d.event_id < $4) and ($5::uuid is null or d.event_id > $5)
         order by case when $5::uuid is null then d.event_id end desc, d.event_id
         limit $6",
        merchant.0,
        endpoint.0,
        state,
        paging.starting_after.map(|id| id.0),
        paging.ending_before.map(|id| id.0),
        paging.limit + 1,
    )
    .fetch_all(conn)
    .await
}

/// What became of an event, endpoint by endpoint.
pub async fn of_event(
    conn: &mut PgConnection,
    merchant: MerchantId,
    event: EventId,
) -> Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        "select d.event_id, d.endpoint_id, v.type, d.state, d.next_at, d.attempts, d.created_at, d.ended_at
         from webhook_delivery d join event v on v.merchant_id = d.merchant_id and v.event_id = d.event_id
         where d.merchant_id = $1 and d.event_id = $2 order by d.endpoint_id",
        merchant.0,
        event.0,
    )
    .fetch_all(conn)
    .await
}

/// The last ten tries of some deliveries to an endpoint, the newest first.
pub async fn attempts(
    conn: &mut PgConnection,
    merchant: MerchantId,
    endpoint: EndpointId,
    events: &[Uuid],
) -> Result<Vec<Attempt>> {
    sqlx::query_as!(
        Attempt,
        "select a.event_id, a.attempt, a.took_ms, a.status, a.error, a.response, a.at
         from webhook_attempt a
         join webhook_delivery d
             on d.merchant_id = a.merchant_id and d.endpoint_id = a.endpoint_id and d.event_id = a.event_id
         where a.merchant_id = $1 and a.endpoint_id = $2 and a.event_id = any($3) and a.attempt > d.attempts - 10
         order by a.event_id, a.attempt desc",
        merchant.0,
        endpoint.0,
        events,
    )
    .fetch_all(conn)
    .await
}
