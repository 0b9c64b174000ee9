//! Keys that a request of this process is working on, so that a repeat waits for the first and not in
//! the database. Across processes the merchant's lock does the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};

use super::Slot;
use crate::ids::MerchantId;
use crate::limits;

type Table = HashMap<(MerchantId, Slot), Arc<AsyncMutex<()>>>;

/// The table of keys in flight.
#[derive(Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<Table>>);

/// Keys this request may work on; given back when dropped.
pub(super) struct Held {
    table: InFlight,
    merchant: MerchantId,
    // those it still waits for, or waited for in vain, among them: their places are given back too
    slots: BTreeMap<Slot, Option<OwnedMutexGuard<()>>>,
}

impl Held {
    /// Whether this request may work on the key.
    pub(super) fn holds(&self, slot: &Slot) -> bool {
        self.slots.get(slot).is_some_and(Option::is_some)
    }
}

impl InFlight {
    /// Takes the keys, in their order so that two slices cannot wait for each other, and waits for those
    /// that are taken, all in all at most [`limits::IN_FLIGHT_WAIT`].
    pub(super) async fn enter(&self, merchant: MerchantId, slots: BTreeSet<Slot>) -> Held {
        let deadline = Instant::now() + limits::IN_FLIGHT_WAIT;
        let mut held = Held {
            table: self.clone(),
            merchant,
            slots: BTreeMap::new(),
        };
        for slot in slots {
            let place = {
                let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                table.entry((merchant, slot.clone())).or_default().clone()
            };
            held.slots.insert(slot.clone(), None);
            let guard = timeout_at(deadline, place.lock_owned()).await.ok();
            held.slots.insert(slot, guard);
        }
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (slot, guard) in std::mem::take(&mut self.slots) {
            drop(guard);
            let entry = (self.merchant, slot);
            // the table's own reference is the last one: nobody waits
            if table
                .get(&entry)
                .is_some_and(|place| Arc::strong_count(place) == 1)
            {
                table.remove(&entry);
            }
        }
    }
}
