//! Accounts on a chain, by name: CAIP-10 of the `eip155` namespace.

use std::{fmt, str::FromStr};

use crate::hex;

/// `eip155:<chain id>:<address>`, the address in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caip10 {
    /// Chain id of EIP-155, at least 1.
    pub chain_id: u64,
    /// Address of the contract.
    pub address: [u8; 20],
}

impl fmt::Display for Caip10 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "eip155:{}:{}", self.chain_id, hex::encode(&self.address))
    }
}

impl FromStr for Caip10 {
    type Err = Caip10Error;

    /// Reads exactly what `Display` writes.
    fn from_str(text: &str) -> Result<Caip10, Caip10Error> {
        let rest = text.strip_prefix("eip155:").ok_or(Caip10Error)?;
        let (chain_id, address) = rest.split_once(':').ok_or(Caip10Error)?;
        let read = Caip10 {
            chain_id: chain_id.parse().map_err(|_| Caip10Error)?,
            address: hex::decode(address).map_err(|_| Caip10Error)?,
        };
        // Writing it again is what refuses `+1` and `01`.
        if read.chain_id == 0 || read.to_string() != text {
            Err(Caip10Error)
        } else {
            Ok(read)
        }
    }
}

impl serde::Serialize for Caip10 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not of the form `eip155:<chain id>:0x<40 lower-case digits>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not of the form eip155:<chain id>:0x<40 lower-case digits>")]
pub struct Caip10Error;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_is_read() {
        let account = Caip10 {
            chain_id: 1,
            address: [0xab; 20],
        };
        let text = format!("eip155:1:0x{}", "ab".repeat(20));
        assert_eq!(account.to_string(), text);
        assert_eq!(text.parse(), Ok(account));
        for text in [
            format!("eip155:01:0x{}", "ab".repeat(20)),
            format!("eip155:+1:0x{}", "ab".repeat(20)),
            format!("eip155:0:0x{}", "ab".repeat(20)),
            format!("eip155:1:0x{}", "AB".repeat(20)),
            format!("eip155:1:{}", "ab".repeat(20)),
            format!("eip155:0x{}", "ab".repeat(20)),
            format!("solana:1:0x{}", "ab".repeat(20)),
            format!("eip155:18446744073709551616:0x{}", "ab".repeat(20)),
        ] {
            assert_eq!(text.parse::<Caip10>(), Err(Caip10Error), "{text}");
        }
    }
}
