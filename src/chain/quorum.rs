//! What several RPCs say together. Which rule a question has, [`Chain`](super::Chain) says; here the
//! rules are plain functions of the answers, and one function that asks.
//!
//! What decides needs two RPCs to say the same, where two or more are configured; what is only shown, or
//! only helps to send, needs the most common answer of those that answer. A tie is no answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;

use super::node::{Mark, Node};
use super::rpc::ChainError;
use super::{At, Block, Chain};
use crate::telemetry;

/// RPCs that must agree on what decides, where there are as many.
pub(super) const AGREE: usize = 2;
/// An RPC so many blocks behind the others is not asked about what is shown.
const BEHIND_BLOCKS: u64 = 3;

/// The answer that more give than any other, and at least `least`.
fn agreed<T: PartialEq>(answers: &[T], least: usize) -> Option<&T> {
    let votes = |answer: &T| answers.iter().filter(|other| *other == answer).count();
    let most = answers.iter().max_by_key(|answer| votes(answer))?;
    let alone = answers
        .iter()
        .all(|other| other == most || votes(other) < votes(most));
    (alone && votes(most) >= least).then_some(most)
}

/// Whether nothing that `outstanding` more answers could say would change what is agreed.
fn is_settled<T: PartialEq>(answers: &[T], outstanding: usize, least: usize) -> bool {
    let Some(most) = agreed(answers, least) else {
        return false;
    };
    let votes = |answer: &T| answers.iter().filter(|other| *other == answer).count();
    let runner_up = answers
        .iter()
        .filter(|other| *other != most)
        .map(votes)
        .max()
        .unwrap_or(0);
    runner_up + outstanding < votes(most)
}

/// The highest that at least `least` have reached: of two the lower, of three the one in the middle.
pub(super) fn reached<T: Ord + Copy>(answers: &[T], least: usize) -> Option<T> {
    let mut sorted = answers.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.get(least.saturating_sub(1)).copied()
}

/// The middle of what they say; of two in the middle the lower.
pub(super) fn lower_middle<T: Ord + Copy>(answers: &[T]) -> Option<T> {
    let mut sorted = answers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// The middle of what they say; of two in the middle the higher.
pub(super) fn upper_middle<T: Ord + Copy>(answers: &[T]) -> Option<T> {
    let mut sorted = answers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

/// What was answered, each with its RPC, and the first error.
pub(super) struct Answers<T> {
    /// In the order in which they came.
    pub(super) given: Vec<(Arc<Node>, T)>,
    /// Of those that gave none.
    pub(super) error: Option<ChainError>,
}

impl<T> Answers<T> {
    /// The answers alone.
    pub(super) fn values(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.given.iter().map(|(_, value)| value.clone()).collect()
    }

    /// How many give the most common answer.
    pub(super) fn common(&self) -> usize
    where
        T: PartialEq,
    {
        let votes = |(_, one): &(_, T)| self.given.iter().filter(|(_, other)| other == one).count();
        self.given.iter().map(votes).max().unwrap_or(0)
    }

    /// What at least `least` agree on. Whoever contradicts that is counted.
    pub(super) fn agreed(self, what: &'static str, least: usize) -> Result<T, ChainError>
    where
        T: Clone + PartialEq,
    {
        let values = self.values();
        let Some(agreed) = agreed(&values, least) else {
            return Err(self.disagree(what, least));
        };
        for (node, value) in &self.given {
            if value != agreed {
                node.contradicted();
            }
        }
        Ok(agreed.clone())
    }

    /// Why there is no answer: the error, where nobody answered or all that did would have agreed.
    pub(super) fn disagree(self, what: &'static str, least: usize) -> ChainError {
        match self.error {
            Some(error) if self.given.is_empty() => error,
            _ => ChainError::Disagree {
                method: what,
                answered: self.given.len(),
                least,
            },
        }
    }
}

/// Asks several RPCs at once, until `enough` says so of what has been answered and how many have yet to.
pub(super) async fn ask<T, F>(
    nodes: &[Arc<Node>],
    call: impl Fn(Arc<Node>) -> F,
    enough: impl Fn(&[(Arc<Node>, T)], usize) -> bool,
) -> Answers<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ChainError>> + Send + 'static,
{
    let mut answers = Answers {
        given: Vec::new(),
        error: None,
    };
    let mut asked = JoinSet::new();
    for node in nodes {
        let answer = call(node.clone());
        let node = node.clone();
        asked.spawn(async move { (node, answer.await) });
    }
    while let Some(done) = asked.join_next().await {
        match done {
            Ok((node, Ok(value))) => answers.given.push((node, value)),
            Ok((_, Err(error))) => {
                answers.error.get_or_insert(error);
            }
            // only a panic in a call, which is not ours to hide, or the end of the runtime
            Err(error) => {
                answers.error.get_or_insert(ChainError::CutOff(error));
            }
        }
        if enough(&answers.given, asked.len()) {
            // a transaction that one has taken still goes to the others
            asked.detach_all();
            break;
        }
    }
    answers
}

impl Chain {
    /// Reads what all RPCs should say alike. At a block named by its hash it decides.
    pub(super) async fn read<T, F>(
        &self,
        method: &'static str,
        at: At,
        call: impl Fn(Arc<Node>) -> F,
    ) -> Result<T, ChainError>
    where
        T: Clone + PartialEq + Send + 'static,
        F: Future<Output = Result<T, ChainError>> + Send + 'static,
    {
        let (nodes, least) = match at {
            At::Block(_) => (self.awake(), self.least()),
            At::Latest | At::Pending => (self.current(), 1),
        };
        self.ask_until_settled(nodes, least, call)
            .await
            .agreed(method, least)
    }

    /// Reads what an RPC may not know. No answer is "unknown", and so is one that others contradict.
    pub(super) async fn known<T, F>(
        &self,
        method: &'static str,
        call: impl Fn(Arc<Node>) -> F,
    ) -> Result<Option<T>, ChainError>
    where
        T: Clone + PartialEq + Send + 'static,
        F: Future<Output = Result<Option<T>, ChainError>> + Send + 'static,
    {
        match self.read(method, At::Latest, call).await {
            Err(error) if error.is_undecided() => Ok(None),
            answer => answer,
        }
    }

    pub(super) async fn ask_until_settled<T, F>(
        &self,
        nodes: Vec<Arc<Node>>,
        least: usize,
        call: impl Fn(Arc<Node>) -> F,
    ) -> Answers<T>
    where
        T: Clone + PartialEq + Send + 'static,
        F: Future<Output = Result<T, ChainError>> + Send + 'static,
    {
        ask(&nodes, call, |given, outstanding| {
            let values: Vec<T> = given.iter().map(|(_, value)| value.clone()).collect();
            is_settled(&values, outstanding, least)
        })
        .await
    }

    pub(super) async fn ask<T, F>(
        &self,
        nodes: Vec<Arc<Node>>,
        call: impl Fn(Arc<Node>) -> F,
    ) -> Answers<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ChainError>> + Send + 'static,
    {
        ask(&nodes, call, |_, _| false).await
    }

    /// How many RPCs must agree on what decides.
    pub(super) fn least(&self) -> usize {
        AGREE.min(self.nodes.len())
    }

    /// The RPCs that have not just failed; all of them where each has.
    pub(super) fn awake(&self) -> Vec<Arc<Node>> {
        self.those(|node| node.is_awake())
    }

    /// Of those the ones that are not behind the others.
    pub(super) fn current(&self) -> Vec<Arc<Node>> {
        self.those(|node| node.is_awake() && !node.is_behind())
    }

    fn those(&self, which: impl Fn(&Node) -> bool) -> Vec<Arc<Node>> {
        let chosen = self.nodes.iter().filter(|node| which(node)).cloned();
        let chosen: Vec<Arc<Node>> = chosen.collect();
        if chosen.is_empty() {
            return self.nodes.clone();
        }
        chosen
    }

    /// Marks the RPCs that are behind what the others have reached: two of them, where there are three.
    pub(super) fn look_who_is_behind(&self, marks: &Answers<Mark>) {
        let heads: Vec<u64> = marks.given.iter().map(|(_, mark)| mark.head).collect();
        let ahead = if heads.len() > AGREE { AGREE } else { 1 };
        let Some(height) = reached(&heads, ahead) else {
            return;
        };
        for (node, mark) in &marks.given {
            node.set_behind(mark.head + BEHIND_BLOCKS < height);
        }
    }

    /// Says how many agree on what is final, and what that is.
    pub(super) fn report(&self, agreeing: usize, block: Option<Block>) {
        let Some(chain_id) = self.chain_id else {
            return;
        };
        let chain = chain_id.to_string();
        metrics::gauge!(telemetry::RPCS_AGREEING, "chain" => chain.clone()).set(agreeing as f64);
        metrics::gauge!(telemetry::RPCS_NEEDED, "chain" => chain.clone()).set(self.least() as f64);
        if let Some(block) = block {
            metrics::gauge!(telemetry::FINALIZED_HEIGHT, "chain" => chain).set(block.number as f64);
        }
        let before = self.agreeing.swap(agreeing, Ordering::Relaxed);
        let (of, enough) = (self.nodes.len(), self.least());
        if agreeing < enough && before != agreeing {
            tracing::warn!(
                chain_id,
                agreeing,
                of,
                "too few RPCs agree: nothing becomes final"
            );
        } else if agreeing >= enough && before < enough {
            tracing::info!(chain_id, agreeing, of, "RPCs agree on what is final");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_needs_two_and_no_tie() {
        for (answers, least, expected) in [
            (&[][..], 1, None),
            (&[1], 1, Some(1)),
            (&[1], 2, None),
            (&[1, 1], 2, Some(1)),
            (&[1, 2], 1, None),
            (&[1, 2], 2, None),
            (&[2, 1, 1], 2, Some(1)),
            (&[1, 2, 3], 1, None),
            (&[1, 1, 2, 2], 2, None),
            (&[1, 1, 2, 2, 1], 2, Some(1)),
        ] {
            assert_eq!(agreed(answers, least).copied(), expected, "{answers:?}");
        }
    }

    #[test]
    fn what_is_outstanding_is_waited_for_only_where_it_matters() {
        for (answers, outstanding, least, expected) in [
            (&[1][..], 1, 1, false),
            (&[1], 0, 1, true),
            (&[1], 1, 2, false),
            (&[1, 1], 1, 2, true),
            (&[1, 2], 1, 2, false),
            (&[1, 1], 2, 2, false),
            (&[1, 1, 2], 1, 2, false),
            (&[1, 1, 1], 2, 2, true),
        ] {
            let settled = is_settled(answers, outstanding, least);
            assert_eq!(settled, expected, "{answers:?} and {outstanding}");
        }
    }

    #[test]
    fn of_two_heights_the_lower_counts() {
        for (heights, least, expected) in [
            (&[][..], 1, None),
            (&[7], 1, Some(7)),
            (&[7], 2, None),
            (&[7, 9], 2, Some(7)),
            (&[1_000_000, 9, 8], 2, Some(9)),
            (&[9, 0, 8], 2, Some(8)),
        ] {
            assert_eq!(reached(heights, least), expected, "{heights:?}");
        }
    }

    #[test]
    fn an_absurd_number_is_not_in_the_middle() {
        for (numbers, lower, upper) in [
            (&[][..], None, None),
            (&[5], Some(5), Some(5)),
            (&[u64::MAX, 5], Some(5), Some(u64::MAX)),
            (&[u64::MAX, 5, 6], Some(6), Some(6)),
            (&[0, 5, 6], Some(5), Some(5)),
        ] {
            assert_eq!(lower_middle(numbers), lower, "{numbers:?}");
            assert_eq!(upper_middle(numbers), upper, "{numbers:?}");
        }
    }
}
