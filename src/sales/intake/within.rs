//! Recording a sale within a caller's own transaction, as the last thing that it does: what made the sale
//! (an order that was paid, a refund) and the sale commit together. Neither the queue nor Redis has a part.

use sqlx::{Connection, PgConnection};

use super::{Draft, Intake, IntakeError, Outcome, write};
use crate::ids::MerchantId;

/// Records one draft on `conn`, whose transaction the caller has begun and commits. It holds the merchant's
/// row until then, so nothing slow may follow. Where the database raises, only this is rolled back (to a
/// savepoint), and the caller's transaction goes on.
///
/// After the commit the caller tells [`acknowledge`].
///
/// # Errors
/// [`IntakeError`]: nothing of the sale was written. The transaction can still be committed where the
/// connection is there.
pub async fn record(
    conn: &mut PgConnection,
    merchant: MerchantId,
    draft: Draft,
    intake: &Intake,
) -> Result<Outcome, IntakeError> {
    if !intake.flusher.trust().is_sound() {
        return Err(IntakeError::InDoubt);
    }
    let prepared = intake.prepare(merchant, draft);
    let (archive, programmes) = (intake.flusher.archive(), &intake.programmes);
    let mut savepoint = conn.begin().await?;
    let outcome = write::one(&mut savepoint, archive, programmes, merchant, prepared).await;
    match outcome {
        Ok(_) => savepoint.commit().await?,
        Err(_) => savepoint.rollback().await?,
    }
    outcome
}

/// Keeps the number of a sale that was recorded with [`record`] and is committed: a database without it has
/// lost commits.
pub fn acknowledge(intake: &Intake, merchant: MerchantId, outcome: &Outcome) {
    if let Outcome::Sale {
        sale,
        replayed: false,
        ..
    } = outcome
    {
        intake.flusher.trust().acknowledge(merchant.0, sale.seq);
    }
}
