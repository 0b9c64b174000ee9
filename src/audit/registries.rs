//! What files say of batches, against registries of the reader's choice.
//!
//! A reader names registries, and perhaps for which batches each is trusted. A chain tells with which batch
//! a registry begins. Where several of a chain could have a batch, the one that begins last has it: it is the
//! successor of the others, and what those took from then on may be a thief's.

use std::ops::RangeInclusive;

use counterfoil_proofs::Hash;
use counterfoil_proofs::caip::Caip10;

use super::chains::{Asked, ROOTS};
use super::directory::Root;
use super::finding::{Findings, Part, Subject, short};
use super::steps::Audit;
use crate::chain::{Account, At, Chain, ChainError, runtime_code_hash};

/// Why files were not compared with registries.
#[derive(Debug, thiserror::Error)]
pub enum RegistriesError {
    /// The chain.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
    /// Nobody can tell which of two is right.
    #[error(
        "{} and {} both begin with batch {batch}: say which is trusted for which batches (--trust), or name \
         one of them", .pair[0], .pair[1])]
    Ambiguous {
        /// Their first batch.
        batch: u64,
        /// The two.
        pair: [Caip10; 2],
    },
}

/// A registry that a reader trusts for a range of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trusted {
    /// Its address.
    pub registry: Account,
    /// The first batch that it is trusted for.
    pub first_batch: u64,
    /// The last; none for all that come.
    pub last_batch: Option<u64>,
}

/// A registry, and the batches that it is asked about.
#[derive(Debug, Clone)]
struct Ranged {
    registry: Account,
    batches: RangeInclusive<u64>,
    /// The batch that it takes next.
    next: u64,
}

impl Audit<'_> {
    /// Compares what a directory has of its batches with the registries that are trusted on some chains.
    ///
    /// # Errors
    /// [`RegistriesError`]; findings up to then were told.
    pub async fn roots_on_chains(
        &self,
        batches: &[(u64, Root)],
        chains: &[(&Chain, Vec<Trusted>)],
    ) -> Result<Asked, RegistriesError> {
        let mut asked = Asked::default();
        let (mut chain_ids, mut covered) = (Vec::new(), Vec::new());
        for (chain, trusted) in chains {
            let mut comparing = Comparing {
                chain,
                chain_id: chain.chain_id().await?,
                asked: &mut asked,
                findings: Findings::default(),
            };
            chain_ids.push(comparing.chain_id);
            let compared = comparing.check(batches, trusted).await;
            self.tell(&comparing.findings.0);
            covered.extend(compared?);
        }
        for (batch, root) in batches {
            let anywhere = covered.iter().any(|one| one.batches.contains(batch));
            asked.uncovered += u64::from(!anywhere && *root != Root::Unknown);
        }
        asked.not_asked = lost_elsewhere(batches, &chain_ids);
        Ok(asked)
    }
}

/// The chains beside these that are said to have lost batches.
fn lost_elsewhere(batches: &[(u64, Root)], chain_ids: &[u64]) -> Vec<String> {
    let roots = batches.iter().filter_map(|(_, root)| match root {
        Root::Declared(roots) => Some(roots),
        Root::Computed(_) | Root::Unknown => None,
    });
    let mut chains: Vec<u64> = roots.flatten().map(|(chain, _)| *chain).collect();
    chains.sort_unstable();
    chains.dedup();
    chains.retain(|chain| !chain_ids.contains(chain));
    let told =
        |chain| format!("chain {chain}, which is said to have batches that were declared lost");
    chains.into_iter().map(told).collect()
}

/// One chain, and what it came to.
struct Comparing<'a> {
    chain: &'a Chain,
    chain_id: u64,
    asked: &'a mut Asked,
    findings: Findings,
}

impl Comparing<'_> {
    async fn check(
        &mut self,
        batches: &[(u64, Root)],
        trusted: &[Trusted],
    ) -> Result<Vec<Ranged>, RegistriesError> {
        let registries = self.ranges(trusted).await?;
        let newest = batches.last().map_or(0, |(batch, _)| *batch);
        let following = newest.saturating_add(1);
        let ahead = registries
            .iter()
            .find(|one| one.next > following && one.batches.contains(&following));
        if let Some(one) = ahead {
            let what = format!("the registry has batches up to {}", one.next - 1);
            self.findings
                .add(&Subject::batch(following), Part::Missing, what);
        }
        let finalized = self.chain.finalized().await?;
        for one in &registries {
            let from = batches.partition_point(|(batch, _)| batch < one.batches.start());
            let to = batches.partition_point(|(batch, _)| batch <= one.batches.end());
            let Some(block) = &finalized else {
                self.asked.waiting += (to - from) as u64;
                continue;
            };
            let pages = batches[from..to]
                .chunk_by(|(one, _), (next, _)| one + 1 == *next)
                .flat_map(|run| run.chunks(ROOTS as usize));
            for page in pages {
                let range = page[0].0..=page[page.len() - 1].0;
                let at = At::Block(block.hash);
                let found = self.chain.roots_of(one.registry, range, at).await?;
                for ((batch, root), found) in page.iter().zip(found) {
                    self.compare(*batch, root, found);
                }
            }
        }
        Ok(registries)
    }

    /// Which registry is asked about which batches: each from where it begins to where the next one does.
    async fn ranges(&mut self, trusted: &[Trusted]) -> Result<Vec<Ranged>, RegistriesError> {
        let mut ranges = Vec::with_capacity(trusted.len());
        for trusted in trusted {
            let code = self.chain.code_hash(trusted.registry, At::Latest).await?;
            let known = code == Some(runtime_code_hash());
            let account = self.account(trusted.registry);
            let what = format!("the code of {account} is not the registry's");
            let subject = Subject::Chain {
                chain: self.chain_id.cast_signed(),
            };
            self.findings.check(known, &subject, Part::Chain, &what);
            if !known {
                continue;
            }
            let next = self.chain.next_batch(trusted.registry, At::Latest).await?;
            let first = self.first_batch(trusted, next).await?;
            let range = Ranged {
                registry: trusted.registry,
                batches: first..=trusted.last_batch.unwrap_or(u64::MAX),
                next,
            };
            let named_twice = ranges.iter().any(|one: &Ranged| {
                (one.registry, &one.batches) == (range.registry, &range.batches)
            });
            if !range.batches.is_empty() && !named_twice {
                ranges.push(range);
            }
        }
        ranges.sort_by_key(|one| *one.batches.start());
        for index in 1..ranges.len() {
            let (first, pair) = (*ranges[index].batches.start(), [index - 1, index]);
            let before = &mut ranges[index - 1].batches;
            if *before.start() == first {
                return Err(RegistriesError::Ambiguous {
                    batch: first,
                    pair: pair.map(|one| self.account(ranges[one].registry)),
                });
            }
            *before = *before.start()..=(first - 1).min(*before.end());
        }
        Ok(ranges)
    }

    fn account(&self, address: Account) -> Caip10 {
        let chain_id = self.chain_id;
        Caip10 { chain_id, address }
    }

    /// The first batch that a registry has, or takes next where it has none yet, and is trusted for. It has
    /// all from its first to its last.
    async fn first_batch(&self, trusted: &Trusted, next: u64) -> Result<u64, ChainError> {
        let (mut without, mut with) = (trusted.first_batch.max(1), next);
        while without < with {
            let between = without + (with - without) / 2;
            let root = self.chain.root_of(trusted.registry, between, At::Latest);
            match root.await? {
                Some(_) => with = between,
                None => without = between + 1,
            }
        }
        Ok(without)
    }

    /// Compares what the directory has of a batch with what the registry has.
    fn compare(&mut self, batch: u64, root: &Root, found: Option<Hash>) {
        let mut wrong = |what: &str| {
            self.findings
                .add(&Subject::batch(batch), Part::Chain, what.to_owned());
        };
        // a batch that was lost may be anchored on more chains later, with the root that one had
        let (ours, must) = match root {
            Root::Computed(root) => (Some(root), false),
            Root::Declared(roots) => {
                let own = roots.iter().find(|(chain, _)| *chain == self.chain_id);
                (own.or(roots.first()).map(|(_, root)| root), own.is_some())
            }
            Root::Unknown => return,
        };
        match found {
            Some(found) if ours == Some(&found) => self.asked.finalized += 1,
            Some(found) => wrong(&format!("the registry has the root {}", short(&found))),
            None if must => wrong("it was declared lost, and no registry has it"),
            None => self.asked.waiting += 1,
        }
    }
}
