//! Who of a merchant's writers may go to the database. Its row lets one in at a time anyway, so more of
//! them would only hold connections that other merchants and readers need.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::IntakeError;
use crate::ids::MerchantId;
use crate::limits;

/// One that writes, and one that is there when it is done.
const WRITERS: usize = 2;

/// The turns of all merchants that this process has recorded for.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<MerchantId, Arc<Semaphore>>>>);

impl Turns {
    /// Waits for a turn, for as long as the merchant's lock may be waited for.
    pub(super) async fn take(
        &self,
        merchant: MerchantId,
    ) -> Result<OwnedSemaphorePermit, IntakeError> {
        let turns = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(WRITERS));
            all.entry(merchant).or_insert_with(new).clone()
        };
        let turn = timeout(limits::MERCHANT_LOCK_WAIT, turns.acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(IntakeError::Busy)
    }
}
