//! What waits to be recorded, a lane a merchant. Nothing in here waits, locks or knows of a database, so
//! that a test can try every interleaving of callers and flushes.
//!
//! A lane exists for as long as somebody drains it: the push that makes it says so, and whoever drains it
//! goes on taking until nothing is left. So one flush of a merchant is written at a time, and what arrives
//! during one goes together in the next, about which is asked meanwhile.

mod drain;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::MerchantId;
use crate::limits;

pub use drain::drain;

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

/// Rows, each with its load.
pub type Loaded<T> = Vec<(T, Load)>;

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
#[must_use = "a lane that nobody drains waits for ever"]
pub enum Pushed {
    /// Nothing: the lane is being drained.
    Waits,
    /// To [`drain`] the lane.
    Drain,
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
    /// Of what waits, and of what was taken and has not ended.
    load: Load,
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

    /// Rows that wait, are asked about or are being written.
    pub fn rows(&self) -> usize {
        self.load.rows
    }

    /// Puts rows at the end of their merchant's lane, in their order: all of them or none. No rows ask
    /// for nothing.
    ///
    /// # Errors
    /// [`Full`] when they would pass a bound.
    pub fn push(&mut self, merchant: MerchantId, rows: Loaded<T>) -> Result<Pushed, Full> {
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
        });
        lane.load = lane.load.plus(pushed);
        lane.waiting.extend(rows);
        Ok(if is_new { Pushed::Drain } else { Pushed::Waits })
    }

    /// Takes the oldest rows of a lane that fit into a flush beside those that are in it already; none while
    /// fewer than `least` wait. They keep their place until they have ended.
    pub fn take(&mut self, merchant: MerchantId, beside: Load, least: usize) -> Loaded<T> {
        let mut rows = Vec::new();
        let Some(lane) = self.lanes.get_mut(&merchant) else {
            return rows;
        };
        if lane.waiting.len() < least {
            return rows;
        }
        let mut sum = beside;
        while let Some((_, load)) = lane.waiting.front() {
            sum = sum.plus(*load);
            if sum.rows > 1 && !sum.fits(self.bounds.flush) {
                break;
            }
            rows.extend(lane.waiting.pop_front());
        }
        rows
    }

    /// Gives the places of rows back that were taken.
    pub fn end(&mut self, merchant: MerchantId, ended: Load) {
        if let Some(lane) = self.lanes.get_mut(&merchant) {
            lane.load = lane.load.minus(ended);
            self.load = self.load.minus(ended);
        }
    }

    /// Closes a lane of which every row has ended; false while one waits.
    pub fn close(&mut self, merchant: MerchantId) -> bool {
        let is_empty = |lane: &Lane<T>| lane.waiting.is_empty();
        if !self.lanes.get(&merchant).is_none_or(is_empty) {
            return false;
        }
        self.lanes.remove(&merchant);
        true
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

    fn taken(queue: &mut Queue<u32>, merchant: MerchantId, beside: Load, least: usize) -> Vec<u32> {
        let rows = queue.take(merchant, beside, least);
        rows.into_iter().map(|(row, _)| row).collect()
    }

    #[test]
    fn a_lane_is_there_from_its_first_push_until_nothing_waits_in_it() {
        let mut queue = Queue::new(SMALL);
        let (a, none) = (merchant(1), Load::default());
        assert_eq!(queue.push(a, rows(0..1, 1)), Ok(Pushed::Drain));
        assert!(!queue.close(a));
        assert_eq!(taken(&mut queue, a, none, 1), [0]);
        assert_eq!(queue.push(a, rows(1..2, 1)), Ok(Pushed::Waits));
        assert_eq!(queue.push(a, rows(2..4, 1)), Ok(Pushed::Waits));
        queue.end(a, Load::row(1));
        assert!(!queue.close(a));
        assert_eq!(taken(&mut queue, a, none, 4), [0u32; 0], "too few");
        assert_eq!(taken(&mut queue, a, none, 3), [1, 2, 3]);
        assert_eq!(taken(&mut queue, a, none, 1), [0u32; 0]);
        queue.end(a, Load { rows: 3, bytes: 3 });
        assert!(queue.close(a) && queue.close(a));
        assert_eq!(
            queue.push(a, rows(4..5, 1)),
            Ok(Pushed::Drain),
            "a new lane"
        );
        assert_eq!(queue.push(merchant(2), Vec::new()), Ok(Pushed::Waits));
        assert_eq!(queue.rows(), 1);
    }

    #[test]
    fn a_flush_is_bounded_in_rows_and_bytes_and_a_large_row_goes_alone() {
        let mut queue = Queue::new(SMALL);
        let (a, none) = (merchant(1), Load::default());
        let _ = queue.push(a, rows(0..4, 1));
        let beside = Load { rows: 1, bytes: 1 };
        assert_eq!(taken(&mut queue, a, beside, 1), [0, 1], "rows beside one");
        assert_eq!(taken(&mut queue, a, none, 1), [2, 3]);
        queue.end(a, Load { rows: 4, bytes: 4 });
        let _ = queue.push(a, rows(4..6, 60));
        let _ = queue.push(a, rows(6..7, 200));
        assert_eq!(taken(&mut queue, a, none, 1), [4], "bytes");
        assert_eq!(taken(&mut queue, a, Load::row(60), 1), [0u32; 0]);
        assert_eq!(taken(&mut queue, a, none, 1), [5]);
        assert_eq!(taken(&mut queue, a, Load::row(1), 1), [0u32; 0]);
        assert_eq!(taken(&mut queue, a, none, 1), [6], "larger than a flush");
        queue.end(
            a,
            Load {
                rows: 3,
                bytes: 320,
            },
        );
        assert!(queue.close(a));
        assert_eq!(queue.load, Load::default());
    }

    #[test]
    fn rows_hold_their_place_until_they_have_ended() {
        let mut queue = Queue::new(SMALL);
        let (a, b, none) = (merchant(1), merchant(2), Load::default());
        let _ = queue.push(a, rows(0..3, 1));
        assert_eq!(taken(&mut queue, a, none, 1), [0, 1, 2]);
        assert_eq!(queue.push(a, rows(3..5, 1)), Err(Full), "the lane's rows");
        assert_eq!(
            queue.push(a, rows(3..4, 398)),
            Err(Full),
            "the lane's bytes"
        );
        assert_eq!(queue.push(a, rows(3..4, 1)), Ok(Pushed::Waits));
        assert_eq!(queue.push(b, rows(5..8, 1)), Err(Full), "the queue's rows");
        assert_eq!(queue.push(b, rows(5..7, 1)), Ok(Pushed::Drain));
        queue.end(a, Load { rows: 3, bytes: 3 });
        assert_eq!(queue.push(b, rows(7..9, 1)), Ok(Pushed::Waits));
        assert_eq!(queue.rows(), 5);
    }
}
