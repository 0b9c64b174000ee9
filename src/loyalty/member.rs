//! Whose points they are: a customer's account or a wallet, as a sale names it.

use std::fmt;
use std::str::FromStr;

use counterfoil_proofs::hex;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::ids::{AccountId, account_address};

/// A member of a merchant's programme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// The account that `customer_ref` names.
    Account(AccountId),
    /// The wallet with this address.
    Wallet([u8; 20]),
}

/// A text that names no member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a member is an account (cus_…) or the address of a wallet (0x and 40 hexadecimal digits)")]
pub struct MemberError;

impl Member {
    /// Whose a sale's points are: the account's, where there is one.
    pub fn of_sale(account: Option<AccountId>, customer: Option<[u8; 20]>) -> Option<Self> {
        account
            .map(Self::Account)
            .or_else(|| customer.map(Self::Wallet))
    }

    /// As the database has it: 16 bytes or 20.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Account(account) => account.0.as_bytes(),
            Self::Wallet(address) => address,
        }
    }

    /// What [`Self::as_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if let Ok(address) = bytes.try_into() {
            return Some(Self::Wallet(address));
        }
        let account = Uuid::from_slice(bytes).ok()?;
        Some(Self::Account(AccountId(account)))
    }
}

impl FromStr for Member {
    type Err = MemberError;

    fn from_str(text: &str) -> Result<Self, MemberError> {
        if let Ok(account) = text.parse() {
            return Ok(Self::Account(account));
        }
        account_address(text).map(Self::Wallet).ok_or(MemberError)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => account.fmt(f),
            Self::Wallet(address) => f.write_str(&hex::encode(address)),
        }
    }
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_one_form_and_is_its_bytes() {
        let account = AccountId(Uuid::from_u128(7)).to_string();
        let wallet = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
        for text in [account.as_str(), wallet] {
            let member: Member = text.parse().unwrap();
            assert_eq!(member.to_string(), text);
            assert_eq!(Member::from_bytes(member.as_bytes()), Some(member));
        }
        let mixed: Member = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
            .parse()
            .unwrap();
        assert_eq!(mixed.to_string(), wallet);
        let zero = format!("0x{}", "0".repeat(40));
        for none in ["", "x", "cus_", "0x7099", zero.as_str()] {
            assert_eq!(none.parse::<Member>(), Err(MemberError), "{none}");
        }
    }
}
