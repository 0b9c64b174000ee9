//! A server process of the model through its lives, and what is checked of its queue at every step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use shuttle::future::JoinHandle;

use super::super::{Load, Queue};
use super::{BOUNDS, Row, held};
use crate::ids::MerchantId;

/// One life of a server process.
pub(super) struct Life {
    pub(super) queue: Mutex<Queue<Row>>,
    lanes: Mutex<BTreeMap<MerchantId, Lane>>,
}

/// What was seen of a lane.
#[derive(Default)]
struct Lane {
    arrived: u64,
    asked: u64,
    flushed: u64,
    is_asking: bool,
    is_flushing: bool,
    /// Of the rows that were taken in and have not ended.
    load: Load,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            queue: Mutex::new(Queue::new(BOUNDS)),
            lanes: Mutex::default(),
        }
    }
}

/// A server process through its lives.
#[derive(Default)]
pub(super) struct Process {
    pub(super) life: Mutex<Arc<Life>>,
    pub(super) flushers: Mutex<Vec<JoinHandle<()>>>,
}

impl Process {
    /// Begins another life; what is left of this one.
    pub(super) fn die(&self) -> (Arc<Life>, Vec<JoinHandle<()>>) {
        (
            std::mem::take(&mut *held(&self.life)),
            std::mem::take(&mut *held(&self.flushers)),
        )
    }
}

impl Life {
    /// The last place in a lane's order of arrival that was given.
    pub(super) fn arrived(&self, merchant: MerchantId) -> u64 {
        held(&self.lanes).entry(merchant).or_default().arrived
    }

    /// Rows are taken if and only if there is room for all of them.
    pub(super) fn check_push(&self, merchant: MerchantId, loads: &[Load], is_taken: bool) {
        let mut lanes = held(&self.lanes);
        let pushed = sum(loads.iter().copied());
        let all = sum(lanes.values().map(|lane| lane.load));
        let lane = lanes.entry(merchant).or_default();
        let fits = all.plus(pushed).fits(BOUNDS.queue) && lane.load.plus(pushed).fits(BOUNDS.lane);
        assert_eq!(is_taken, fits, "{pushed:?} beside {all:?}");
        if is_taken {
            lane.load = lane.load.plus(pushed);
            lane.arrived += loads.len() as u64;
        }
    }

    /// Rows are asked about in the order of arrival, and not twice at once.
    pub(super) fn check_asked(&self, merchant: MerchantId, rows: &[(Row, Load)]) {
        let mut lanes = held(&self.lanes);
        let lane = lanes.entry(merchant).or_default();
        assert!(!std::mem::replace(&mut lane.is_asking, true) && !rows.is_empty());
        for (row, _) in rows {
            assert_eq!(row.arrival, lane.asked + 1, "not in the order of arrival");
            lane.asked = row.arrival;
        }
    }

    /// Rows are asked about; some of them have ended and make room.
    pub(super) fn ended(&self, merchant: MerchantId, ended: Load) {
        let mut lanes = held(&self.lanes);
        let lane = lanes.entry(merchant).or_default();
        lane.is_asking = false;
        lane.load = lane.load.minus(ended);
    }

    /// A flush is within its bounds, alone, and in the order of arrival.
    pub(super) fn check_flush(&self, merchant: MerchantId, rows: &[Row]) {
        let load = sum(rows.iter().map(|row| row.load));
        assert!(!rows.is_empty() && (rows.len() == 1 || load.fits(BOUNDS.flush)));
        let mut lanes = held(&self.lanes);
        let lane = lanes.entry(merchant).or_default();
        assert!(!lane.is_flushing, "two flushes of a lane at once");
        lane.is_flushing = true;
        for row in rows {
            assert!(row.arrival > lane.flushed, "not in the order of arrival");
            lane.flushed = row.arrival;
        }
    }

    /// The flush has ended, and its rows make room.
    pub(super) fn flushed(&self, merchant: MerchantId, load: Load) {
        let mut lanes = held(&self.lanes);
        let lane = lanes.entry(merchant).or_default();
        lane.is_flushing = false;
        lane.load = lane.load.minus(load);
    }
}

/// What so many rows are together.
pub(super) fn sum(loads: impl IntoIterator<Item = Load>) -> Load {
    loads
        .into_iter()
        .fold(Load::default(), |sum, load| sum.plus(load))
}
