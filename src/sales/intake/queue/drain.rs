//! The loop that drains a lane.

use std::future::pending;
use std::pin::Pin;
use std::sync::Mutex;

use super::{Load, Loaded, Queue, lock};
use crate::ids::MerchantId;

/// Rows that wait while others are written, and are worth a question of their own meanwhile. Fewer are asked
/// about when the write has ended.
const WORTH_ASKING: usize = 16;

/// Drains a lane until nothing waits in it: what a push that answers [`Pushed::Drain`](super::Pushed) asks for.
///
/// `ask` finds out which rows are to be written, in their order, and `write` writes these; a flush is asked
/// about while the one before is written. The lock is held for a step and never meanwhile. Neither may panic,
/// or nobody drains the lane any more.
pub async fn drain<T, R, A, W>(
    queue: &Mutex<Queue<T>>,
    merchant: MerchantId,
    mut ask: impl FnMut(Loaded<T>) -> A,
    mut write: impl FnMut(Vec<R>) -> W,
) where
    A: Future<Output = Loaded<R>>,
    W: Future<Output = ()>,
{
    let mut ready: Loaded<R> = Vec::new();
    let mut asking: Option<Step<A>> = None;
    let mut writing: Option<Step<W>> = None;
    loop {
        if writing.is_none() && !ready.is_empty() {
            let load = sum(&ready);
            let rows = ready.drain(..).map(|(row, _)| row).collect();
            writing = Some(Step::new(write(rows), load));
        }
        if asking.is_none() {
            let least = if writing.is_some() { WORTH_ASKING } else { 1 };
            let rows = lock(queue).take(merchant, sum(&ready), least);
            if !rows.is_empty() {
                let load = sum(&rows);
                asking = Some(Step::new(ask(rows), load));
            }
        }
        if asking.is_none() && writing.is_none() {
            if lock(queue).close(merchant) {
                return;
            }
            // a row came since
            continue;
        }
        tokio::select! {
            // the order of polling decides nothing, and a model repeats it
            biased;
            (rows, asked) = Step::end(&mut asking) => {
                // what is answered, or waits elsewhere, makes room
                lock(queue).end(merchant, asked.minus(sum(&rows)));
                ready.extend(rows);
            }
            ((), written) = Step::end(&mut writing) => lock(queue).end(merchant, written),
        }
    }
}

/// What is done with some rows.
struct Step<F> {
    doing: Pin<Box<F>>,
    load: Load,
}

impl<F: Future> Step<F> {
    fn new(doing: F, load: Load) -> Self {
        Self {
            doing: Box::pin(doing),
            load,
        }
    }

    /// Waits until it is done, then takes it away; for ever where there is none.
    async fn end(step: &mut Option<Self>) -> (F::Output, Load) {
        let Some(Self { doing, load }) = step else {
            return pending().await;
        };
        let (done, load) = (doing.await, *load);
        *step = None;
        (done, load)
    }
}

fn sum<T>(rows: &[(T, Load)]) -> Load {
    rows.iter()
        .fold(Load::default(), |sum, (_, load)| sum.plus(*load))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::BOUNDS;
    use super::*;

    fn rows(range: std::ops::Range<u32>) -> Loaded<u32> {
        range.map(|row| (row, Load::row(1))).collect()
    }

    #[tokio::test]
    async fn what_arrives_while_a_flush_is_written_is_asked_about_meanwhile() {
        let queue = Mutex::new(Queue::new(BOUNDS));
        let a = MerchantId(Uuid::from_u128(1));
        let _ = lock(&queue).push(a, rows(0..1));
        let seen = Mutex::new(Vec::new());
        let note = |what: &str, rows: usize| seen.lock().unwrap().push((what.to_owned(), rows));
        let ask = |rows: Loaded<u32>| {
            note("asked", rows.len());
            // every other one is answered already
            async move { rows.into_iter().filter(|(row, _)| row % 2 == 0).collect() }
        };
        let write = |rows: Vec<u32>| {
            if rows == [0] {
                let _ = lock(&queue).push(a, self::rows(1..31));
            }
            note("writes", rows.len());
            let note = &note;
            async move {
                tokio::task::yield_now().await;
                note("written", rows.len());
            }
        };
        drain(&queue, a, ask, write).await;
        let expected = [
            ("asked", 1),
            ("writes", 1),
            ("asked", 30),
            ("written", 1),
            ("writes", 15),
            ("written", 15),
        ];
        assert_eq!(
            *seen.lock().unwrap(),
            expected.map(|(what, rows)| (what.to_owned(), rows))
        );
        assert!(lock(&queue).lanes.is_empty());
        assert_eq!(lock(&queue).load, Load::default());
    }
}
