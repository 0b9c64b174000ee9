//! What is known of particular chains.

use counterfoil_proofs::{Hash, hex};

/// Chains on which nothing is at stake: local ones and public test chains.
const TEST_CHAINS: [u64; 8] = [
    31_337, 1_337, 11_155_111, 17_000, 560_048, 80_002, 43_113, 84_532,
];
/// Chains that run on the machine of a developer.
const LOCAL_CHAINS: [u64; 2] = [31_337, 1_337];

/// Whether a chain is one on which anchors matter: every chain that is not known to be for tests.
pub fn is_production(chain_id: u64) -> bool {
    !TEST_CHAINS.contains(&chain_id)
}

/// Whether a chain runs on a developer's machine, where well-known keys do no harm.
pub fn is_local(chain_id: u64) -> bool {
    LOCAL_CHAINS.contains(&chain_id)
}

/// Where a transaction can be looked at by anybody; none for a chain without a public explorer.
pub fn explorer_tx_url(chain_id: u64, tx: &Hash) -> Option<String> {
    let host = match chain_id {
        1 => "etherscan.io",
        10 => "optimistic.etherscan.io",
        137 => "polygonscan.com",
        8_453 => "basescan.org",
        42_161 => "arbiscan.io",
        80_002 => "amoy.polygonscan.com",
        84_532 => "sepolia.basescan.org",
        11_155_111 => "sepolia.etherscan.io",
        _ => return None,
    };
    Some(format!("https://{host}/tx/{}", hex::encode(tx)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_is_not_known_to_be_for_tests_is_a_production_chain() {
        for (id, production, local) in [
            (1, true, false),
            (10, true, false),
            (137, true, false),
            (31_337, false, true),
            (11_155_111, false, false),
        ] {
            assert_eq!(
                (is_production(id), is_local(id)),
                (production, local),
                "{id}"
            );
        }
    }
}
