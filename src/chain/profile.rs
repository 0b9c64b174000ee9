//! What is known of particular chains: how they become final, what a transaction can expect there, and
//! what is at stake.

use std::time::Duration;

use counterfoil_proofs::{Hash, hex};

/// When a block of a chain cannot be reorganised any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// When the RPC's `finalized` tag has reached it.
    Tag,
    /// When so many blocks are above it; for chains whose RPCs do not know the tag.
    Confirmations(u64),
}

/// What is at stake on a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stake {
    /// It runs on a developer's machine, where well-known keys do no harm.
    Local,
    /// A public chain for tests.
    Test,
    /// Anchors there are for ever. Every chain that is not known to be another is one.
    Production,
}

/// A chain as we have to treat it. What is not known of a chain has the values of [`Profile::of`] an
/// unknown one, and the configuration may say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Which chain it is (EIP-155).
    pub chain_id: u64,
    /// What people call it.
    pub name: String,
    /// What is at stake.
    pub stake: Stake,
    /// When a block is final.
    pub finality: Finality,
    /// Whether a waiting transaction can be replaced at higher fees: not on a chain that keeps none waiting.
    pub replaces: bool,
    /// About how often a block is made.
    pub block_time: Duration,
    /// Where transactions can be looked at by anybody, such as `https://etherscan.io/tx/`.
    pub explorer: Option<&'static str>,
}

/// However fast a chain is, its RPCs are asked no more often.
const SHORTEST_POLL: Duration = Duration::from_secs(1);
/// Block time of a chain that is not known: that of Ethereum.
const DEFAULT_BLOCK_MS: u64 = 12_000;

/// Chain id, name, stake, milliseconds a block, explorer. All of them answer to the `finalized` tag:
/// Polygon's is its milestones, Avalanche's every accepted block, Base's what Ethereum has finalized.
/// All of them replace: Base shows nobody what waits, but its sequencer keeps it, by the pool's usual rules.
#[rustfmt::skip]
const KNOWN: [(u64, &str, Stake, u64, Option<&str>); 14] = [
    (1, "Ethereum", Stake::Production, 12_000, Some("https://etherscan.io/tx/")),
    (10, "OP Mainnet", Stake::Production, 2_000, Some("https://optimistic.etherscan.io/tx/")),
    (137, "Polygon PoS", Stake::Production, 2_000, Some("https://polygonscan.com/tx/")),
    (8_453, "Base", Stake::Production, 2_000, Some("https://basescan.org/tx/")),
    (42_161, "Arbitrum One", Stake::Production, 1_000, Some("https://arbiscan.io/tx/")),
    (43_114, "Avalanche C-Chain", Stake::Production, 2_000, Some("https://snowtrace.io/tx/")),
    (17_000, "Holesky", Stake::Test, 12_000, None),
    (43_113, "Avalanche Fuji", Stake::Test, 2_000, Some("https://testnet.snowtrace.io/tx/")),
    (80_002, "Polygon Amoy", Stake::Test, 2_000, Some("https://amoy.polygonscan.com/tx/")),
    (84_532, "Base Sepolia", Stake::Test, 2_000, Some("https://sepolia.basescan.org/tx/")),
    (560_048, "Hoodi", Stake::Test, 12_000, None),
    (11_155_111, "Sepolia", Stake::Test, 12_000, Some("https://sepolia.etherscan.io/tx/")),
    (31_337, "local chain", Stake::Local, 1_000, None),
    (1_337, "local chain", Stake::Local, 1_000, None),
];

impl Profile {
    /// What is known of a chain. One that is not known is taken for a production chain that has the
    /// `finalized` tag, replaces, and makes a block in 12 s.
    pub fn of(chain_id: u64) -> Self {
        let known = KNOWN.into_iter().find(|known| known.0 == chain_id);
        let (_, name, stake, block_ms, explorer) =
            known.unwrap_or((chain_id, "", Stake::Production, DEFAULT_BLOCK_MS, None));
        let name = match name {
            "" => format!("chain {chain_id}"),
            name => name.to_owned(),
        };
        Self {
            chain_id,
            name,
            stake,
            finality: Finality::Tag,
            replaces: true,
            block_time: Duration::from_millis(block_ms),
            explorer,
        }
    }

    /// How often it is worth to look at the chain: twice a block, once a second at most.
    pub fn poll(&self) -> Duration {
        (self.block_time / 2).max(SHORTEST_POLL)
    }
}

/// Whether a chain is one on which anchors matter: every chain that is not known to be for tests.
pub fn is_production(chain_id: u64) -> bool {
    Profile::of(chain_id).stake == Stake::Production
}

/// Whether a chain runs on a developer's machine, where well-known keys do no harm.
pub fn is_local(chain_id: u64) -> bool {
    Profile::of(chain_id).stake == Stake::Local
}

/// Where a transaction can be looked at by anybody; none for a chain without a public explorer.
pub fn explorer_tx_url(chain_id: u64, tx: &Hash) -> Option<String> {
    let explorer = Profile::of(chain_id).explorer?;
    Some(format!("{explorer}{}", hex::encode(tx)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_is_not_known_to_be_for_tests_is_a_production_chain() {
        for (id, stake) in [
            (1, Stake::Production),
            (137, Stake::Production),
            (8_453, Stake::Production),
            (43_114, Stake::Production),
            (424_242, Stake::Production),
            (31_337, Stake::Local),
            (11_155_111, Stake::Test),
        ] {
            assert_eq!(Profile::of(id).stake, stake, "{id}");
            assert_eq!(is_production(id), stake == Stake::Production, "{id}");
            assert_eq!(is_local(id), stake == Stake::Local, "{id}");
        }
    }

    #[test]
    fn a_transaction_is_looked_at_where_its_chain_is() {
        let url = explorer_tx_url(43_114, &[0x11; 32]);
        let hash = "11".repeat(32);
        assert_eq!(url, Some(format!("https://snowtrace.io/tx/0x{hash}")));
        assert_eq!(explorer_tx_url(31_337, &[0x11; 32]), None);
    }

    #[test]
    fn of_an_unknown_chain_the_cautious_is_supposed() {
        let profile = Profile::of(424_242);
        assert_eq!(profile.name, "chain 424242");
        assert_eq!(profile.finality, Finality::Tag);
        assert_eq!(profile.poll(), Duration::from_secs(6));
        assert_eq!(Profile::of(42_161).poll(), Duration::from_secs(1));
    }
}
