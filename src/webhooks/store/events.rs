//! Events as their merchant sees them.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::paging::Paging;
use crate::ids::{EndpointId, EventId, MerchantId};

/// An event.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Listed {
    pub event_id: Uuid,
    pub r#type: String,
    /// JSON text.
    pub data: String,
    pub created_at: OffsetDateTime,
}

/// What became of a wish to tell an event again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Replayed {
    /// It is due now.
    Replayed,
    /// The merchant has no such event.
    NoEvent,
    /// The merchant has no such endpoint.
    NoEndpoint,
    /// The endpoint is told nothing.
    NotEnabled,
}

/// One event of a merchant.
pub async fn find(
    conn: &mut PgConnection,
    merchant: MerchantId,
    id: EventId,
) -> Result<Option<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select event_id, type, data::text as "data!", created_at
           from event where merchant_id = $1 and event_id = $2"#,
        merchant.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// A page of events and one more, from the edge that is asked for: the newest first, or of an `ending_before` the
/// oldest first.
pub async fn list(
    conn: &mut PgConnection,
    merchant: MerchantId,
    of_type: Option<&str>,
    paging: &Paging<EventId>,
) -> Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select event_id, type, data::text as "data!", created_at from event
           where merchant_id = $1 and ($2::text is null or type = $2)
             and ($3::uuid is null or event_id < $3) and ($4::uuid is null or event_id > $4)
           order by case when $4::uuid is null then event_id end desc, event_id
           limit $5"#,
        merchant.0,
        of_type,
        paging.starting_after.map(|id| id.0),
        paging.ending_before.map(|id| id.0),
        paging.limit + 1,
    )
    .fetch_all(conn)
    .await
}

/// Has an event told to an endpoint again.
pub async fn replay(
    conn: &mut PgConnection,
    merchant: MerchantId,
    event: EventId,
    endpoint: EndpointId,
    now: OffsetDateTime,
) -> Result<Replayed> {
    sqlx::query_scalar!(
        r#"select replay_event($1, $2, $3, $4) as "replayed!: Replayed""#,
        merchant.0,
        event.0,
        endpoint.0,
        now,
    )
    .fetch_one(conn)
    .await
}
