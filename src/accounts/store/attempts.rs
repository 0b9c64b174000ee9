//! How often somebody may still try to sign in.

use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, Result};
use time::OffsetDateTime;

use crate::ids::MerchantId;

/// How many tries there are, and how they come back.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// How many may come at once.
    pub burst: i32,
    /// How soon one is there again.
    pub every: std::time::Duration,
}

impl Allowance {
    fn interval(&self) -> PgInterval {
        PgInterval {
            months: 0,
            days: 0,
            microseconds: i64::try_from(self.every.as_micros()).unwrap_or(i64::MAX),
        }
    }
}

/// Takes a try: none when it was there, else when there will be one.
pub async fn take(
    conn: &mut PgConnection,
    merchant: MerchantId,
    subject: &[u8; 32],
    allowance: Allowance,
    now: OffsetDateTime,
) -> Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!(
        "select take_sign_in_attempt($1, $2, $3, $4, $5)",
        merchant.0,
        &subject[..],
        allowance.interval(),
        allowance.burst,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Gives one try back, or all of them.
pub async fn give_back(
    conn: &mut PgConnection,
    merchant: MerchantId,
    subject: &[u8; 32],
    allowance: Allowance,
    all: bool,
) -> Result<()> {
    sqlx::query!(
        "select give_sign_in_attempts_back($1, $2, $3, $4)",
        merchant.0,
        &subject[..],
        allowance.interval(),
        all,
    )
    .execute(conn)
    .await
    .map(drop)
}
