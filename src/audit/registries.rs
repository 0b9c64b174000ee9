//! What files say of batches, against registries of the reader's choice.

use counterfoil_proofs::Hash;

use super::chains::{Asked, ROOTS};
use super::directory::Root;
use super::finding::{Findings, Part, Subject, short};
use super::steps::Audit;
use crate::chain::{Account, At, Chain, ChainError, runtime_code_hash};

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

impl Trusted {
    fn covers(&self, batch: u64) -> bool {
        self.first_batch <= batch && self.last_batch.is_none_or(|last| batch <= last)
    }
}

impl Audit<'_> {
    /// Compares what a directory has of its batches with the registries that are trusted on one chain. A
    /// root counts where one registry that is trusted for its batch has it.
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub async fn roots_on_chain(
        &self,
        batches: &[(u64, Root)],
        chain: &Chain,
        trusted: &[Trusted],
    ) -> Result<Asked, ChainError> {
        let mut comparing = Comparing {
            chain,
            chain_id: chain.chain_id().await?,
            trusted,
            reached: 0,
            asked: Asked::default(),
            findings: Findings::default(),
        };
        let newest = batches.last().map_or(0, |(batch, _)| *batch);
        let compared = match comparing.check_registries(newest).await {
            Ok(()) => comparing.compare(batches).await,
            Err(error) => Err(error),
        };
        self.tell(&comparing.findings.0);
        compared.map(|()| comparing.asked)
    }
}

struct Comparing<'a> {
    chain: &'a Chain,
    chain_id: u64,
    trusted: &'a [Trusted],
    /// The batch that the furthest of them takes next, at the finalized block.
    reached: u64,
    asked: Asked,
    findings: Findings,
}

impl Comparing<'_> {
    /// That each is a registry, and that none has more batches than the directory.
    async fn check_registries(&mut self, newest: u64) -> Result<(), ChainError> {
        for trusted in self.trusted {
            let code = self.chain.code_hash(trusted.registry, At::Latest).await?;
            let known = code == Some(runtime_code_hash());
            let what = "the code at the registry's address is not the registry's";
            self.findings
                .check(known, &self.subject(), Part::Chain, what);
            let next = self.chain.next_batch(trusted.registry, At::Latest).await?;
            if next > newest + 1 && trusted.covers(newest + 1) {
                let what = format!("the registry has batches up to {}", next - 1);
                self.findings
                    .add(&Subject::batch(newest + 1), Part::Missing, what);
            }
        }
        Ok(())
    }

    async fn compare(&mut self, batches: &[(u64, Root)]) -> Result<(), ChainError> {
        let finalized = self.chain.finalized().await?;
        if let Some(block) = finalized {
            for trusted in self.trusted {
                let at = At::Block(block.hash);
                let next = self.chain.next_batch(trusted.registry, at).await?;
                self.reached = self.reached.max(next);
            }
        }
        for page in batches
            .chunk_by(|(one, _), (next, _)| one + 1 == *next)
            .flat_map(|run| run.chunks(ROOTS as usize))
        {
            let (Some(block), [(first, _), ..]) = (finalized, page) else {
                self.asked.waiting += page.len() as u64;
                continue;
            };
            let range = *first..=first + page.len() as u64 - 1;
            let mut found = Vec::with_capacity(self.trusted.len());
            for trusted in self.trusted {
                let roots = self
                    .chain
                    .roots_of(trusted.registry, range.clone(), At::Block(block.hash))
                    .await?;
                found.push((trusted, roots));
            }
            for (index, (batch, root)) in page.iter().enumerate() {
                let roots = found.iter().filter(|(trusted, _)| trusted.covers(*batch));
                let roots: Vec<Hash> = roots
                    .filter_map(|(_, roots)| roots.get(index).copied().flatten())
                    .collect();
                self.compare_one(*batch, root, &roots);
            }
        }
        Ok(())
    }

    /// Compares what the directory has of a batch with what registries have.
    fn compare_one(&mut self, batch: u64, root: &Root, found: &[Hash]) {
        let ours = match root {
            Root::Computed(root) => Some(*root),
            Root::Declared(roots) => roots
                .iter()
                .find(|(chain, _)| *chain == self.chain_id)
                .map(|(_, root)| *root),
            Root::Unknown => return,
        };
        match (ours, found) {
            (Some(ours), found) if found.contains(&ours) => self.asked.finalized += 1,
            (_, [other, ..]) => {
                let what = format!("the registry has the root {}", short(other));
                self.findings.add(&Subject::batch(batch), Part::Chain, what);
            }
            (Some(_), []) if matches!(root, Root::Declared(_)) => {
                let what = "it was declared lost, and no registry has it";
                self.findings.add(&Subject::batch(batch), Part::Chain, what);
            }
            (Some(_), []) if batch < self.reached => self.asked.passed += 1,
            (Some(_), []) => self.asked.waiting += 1,
            // lost on another chain, and never anchored here
            (None, []) => {}
        }
    }

    fn subject(&self) -> Subject {
        Subject::Chain {
            chain: self.chain_id.cast_signed(),
        }
    }
}
