//! What waits to be recorded, a lane a merchant. Nothing in here waits, locks or knows of a database, so
//! that a test can try every interleaving of callers and flushes.
//!
//! A lane exists for as long as somebody flushes it: the push that makes it says so, and the flusher goes
//! on taking until nothing is left. So there is one flush of a merchant at a time, and what arrives during
//! one goes together in the next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::MerchantId;
use crate::limits;

/// An amount of rows and of their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Rows.
    pub rows: usize,
    /// Bytes that they hold in memory, about.
    pub bytes: usize,
}

impl Load {
    /// The load of one row.
    pub fn row(bytes: usize) -> Self {
        Self { rows: 1, bytes }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            bytes: self.bytes + other.bytes,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            rows: self.rows - other.rows,
            bytes: self.bytes - other.bytes,
        }
    }

    fn fits(self, bound: Self) -> bool {
        self.rows <= bound.rows && self.bytes <= bound.bytes
    }
}

/// How much may wait and be written at once.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of all merchants.
    pub queue: Load,
    /// Of one merchant, so that it leaves room for others.
    pub lane: Load,
    /// In one flush; a row that is larger goes alone.
    pub flush: Load,
}

/// The bounds of the product.
pub const BOUNDS: Bounds = Bounds {
    queue: Load {
        rows: limits::QUEUE_ROWS,
        bytes: limits::QUEUE_BYTES,
    },
    lane: Load {
        rows: limits::LANE_ROWS,
        bytes: limits::LANE_BYTES,
    },
    flush: Load {
        rows: limits::FLUSH_ROWS,
        bytes: limits::FLUSH_BYTES,
    },
};

/// There is no room for all the rows of a push; none was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What a push asks of the one who pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "without a flusher the lane waits for ever"]
pub enum Pushed {
    /// Nothing: the lane is being flushed.
    Waits,
    /// To flush the lane: call [`Queue::next`] until it gives nothing.
    Flush,
}

/// The lanes of all merchants.
#[derive(Debug)]
pub struct Queue<T> {
    bounds: Bounds,
    lanes: HashMap<MerchantId, Lane<T>>,
    load: Load,
}

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<(T, Load)>,
    /// Of what waits and what is in the flush.
    load: Load,
    /// Of what is in the flush.
    flushing: Load,
}

impl<T> Queue<T> {
    /// An empty one.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            lanes: HashMap::new(),
            load: Load::default(),
        }
    }

    /// Rows that wait or are being written.
    pub fn rows(&self) -> usize {
        self.load.rows
    }

    /// Puts rows at the end of their merchant's lane, in their order: all of them or none. No rows ask
    /// for nothing.
    ///
    /// # Errors
    /// [`Full`] when they would pass a bound.
    pub fn push(&mut self, merchant: MerchantId, rows: Vec<(T, Load)>) -> Result<Pushed, Full> {
        if rows.is_empty() {
            return Ok(Pushed::Waits);
        }
        let pushed = rows
            .iter()
            .fold(Load::default(), |sum, (_, load)| sum.plus(*load));
        let lane = self
            .lanes
            .get(&merchant)
            .map_or(Load::default(), |l| l.load);
        let fits = lane.plus(pushed).fits(self.bounds.lane)
            && self.load.plus(pushed).fits(self.bounds.queue);
        if !fits {
            return Err(Full);
        }
        self.load = self.load.plus(pushed);
        let is_new = !self.lanes.contains_key(&merchant);
        let lane = self.lanes.entry(merchant).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            load: Load::default(),
            flushing: Load::default(),
        });
        lane.load = lane.load.plus(pushed);
        lane.waiting.extend(rows);
        Ok(if is_new { Pushed::Flush } else { Pushed::Waits })
    }

    /// Ends the flush that a lane is in, whose rows make room, and takes those of the next: the oldest,
    /// as many as fit. When none wait the lane is gone and its flusher is to end.
    pub fn next(&mut self, merchant: MerchantId) -> Vec<T> {
        let Some(lane) = self.lanes.get_mut(&merchant) else {
            return Vec::new();
        };
        let ended = std::mem::take(&mut lane.flushing);
        lane.load = lane.load.minus(ended);
        self.load = self.load.minus(ended);
        let mut rows = Vec::new();
        while let Some((_, load)) = lane.waiting.front() {
            let sum = lane.flushing.plus(*load);
            if !rows.is_empty() && !sum.fits(self.bounds.flush) {
                break;
            }
            lane.flushing = sum;
            rows.extend(lane.waiting.pop_front().map(|(row, _)| row));
        }
        if rows.is_empty() {
            self.lanes.remove(&merchant);
        }
        rows
    }
}

/// Flushes a lane until nothing waits in it: what a push that answers [`Pushed::Flush`] asks for. The
/// lock is held for a step and never while writing. `write` must not panic, or the lane has no flusher
/// any more.
pub async fn drain<T, W: Future<Output = ()>>(
    queue: &Mutex<Queue<T>>,
    merchant: MerchantId,
    mut write: impl FnMut(Vec<T>) -> W,
) {
    loop {
        let rows = lock(queue).next(merchant);
        if rows.is_empty() {
            return;
        }
        write(rows).await;
    }
}

/// The queue, whoever panicked while holding it: no step leaves it half done.
pub(super) fn lock<T>(queue: &Mutex<Queue<T>>) -> MutexGuard<'_, Queue<T>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod interleavings;

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const SMALL: Bounds = Bounds {
        queue: Load {
            rows: 6,
            bytes: 600,
        },
        lane: Load {
            rows: 4,
            bytes: 400,
        },
        flush: Load {
            rows: 3,
            bytes: 100,
        },
    };

    fn merchant(n: u128) -> MerchantId {
        MerchantId(Uuid::from_u128(n))
    }

    fn rows(range: std::ops::Range<u32>, bytes: usize) -> Vec<(u32, Load)> {
        range.map(|row| (row, Load::row(bytes))).collect()
    }

    #[test]
    fn what_arrives_during_a_flush_goes_together_in_the_next_in_order() {
        let mut queue = Queue::new(SMALL);
        let a = merchant(1);
        assert_eq!(queue.push(a, rows(0..1, 1)), Ok(Pushed::Flush));
        assert_eq!(queue.next(a), [0]);
        assert_eq!(queue.push(a, rows(1..2, 1)), Ok(Pushed::Waits));
        assert_eq!(queue.push(a, rows(2..4, 1)), Ok(Pushed::Waits));
        assert_eq!(queue.next(a), [1, 2, 3]);
        assert_eq!(queue.next(a), [0u32; 0]);
        assert_eq!(
            queue.push(a, rows(4..5, 1)),
            Ok(Pushed::Flush),
            "a new lane"
        );
        assert_eq!(queue.push(merchant(2), Vec::new()), Ok(Pushed::Waits));
        assert_eq!(queue.rows(), 1);
    }

    #[test]
    fn a_flush_is_bounded_in_rows_and_bytes_and_a_large_row_goes_alone() {
        let mut queue = Queue::new(SMALL);
        let a = merchant(1);
        let _ = queue.push(a, rows(0..4, 1));
        assert_eq!(queue.next(a), [0, 1, 2], "rows");
        assert_eq!(queue.next(a), [3]);
        let _ = queue.push(a, rows(4..6, 60));
        let _ = queue.push(a, rows(6..7, 200));
        assert_eq!(queue.next(a), [4], "bytes");
        assert_eq!(queue.next(a), [5]);
        assert_eq!(queue.next(a), [6], "larger than a flush");
        assert_eq!(queue.next(a), [0u32; 0]);
        assert_eq!(queue.load, Load::default());
    }

    #[test]
    fn rows_hold_their_place_until_their_flush_has_ended() {
        let mut queue = Queue::new(SMALL);
        let (a, b) = (merchant(1), merchant(2));
        let _ = queue.push(a, rows(0..3, 1));
        assert_eq!(queue.next(a), [0, 1, 2]);
        assert_eq!(queue.push(a, rows(3..5, 1)), Err(Full), "the lane's rows");
        assert_eq!(
            queue.push(a, rows(3..4, 398)),
            Err(Full),
            "the lane's bytes"
        );
        assert_eq!(queue.push(a, rows(3..4, 1)), Ok(Pushed::Waits));
        assert_eq!(queue.push(b, rows(5..8, 1)), Err(Full), "the queue's rows");
        assert_eq!(queue.push(b, rows(5..7, 1)), Ok(Pushed::Flush));
        assert_eq!(queue.next(a), [3], "the first flush has ended");
        assert_eq!(queue.push(b, rows(7..9, 1)), Ok(Pushed::Waits));
        assert_eq!(queue.rows(), 5);
    }
}
