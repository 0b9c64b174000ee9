//! On how many chains a receipt must be proved.

use std::str::FromStr;

/// On how many of the chains that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// On one of them.
    Any,
    /// On every one.
    All,
    /// On so many.
    AtLeast(usize),
}

impl Policy {
    /// On how many of `chains` that is; more than there are where more are asked for.
    pub(super) fn least(self, chains: usize) -> usize {
        match self {
            Self::Any => 1,
            Self::All => chains.max(1),
            Self::AtLeast(count) => count,
        }
    }
}

impl FromStr for Policy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "any" => Ok(Self::Any),
            "all" => Ok(Self::All),
            _ => match text.parse() {
                Ok(0) | Err(_) => Err("any, all, or a number from 1"),
                Ok(count) => Ok(Self::AtLeast(count)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_number_of_chains() {
        for (text, chains, least) in [
            ("any", 3, 1),
            ("all", 3, 3),
            ("all", 0, 1),
            ("2", 3, 2),
            ("4", 3, 4),
        ] {
            let policy: Policy = text.parse().unwrap();
            assert_eq!(policy.least(chains), least, "{text} of {chains}");
        }
        for text in ["0", "-1", "most", ""] {
            assert!(text.parse::<Policy>().is_err(), "{text}");
        }
    }
}
