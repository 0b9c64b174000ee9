//! Accounts as people write them.

use alloy::primitives::Address;

/// An account on a chain: a contract's address or a key's.
pub type Account = [u8; 20];

/// A text that is no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an account is 0x and 40 hexadecimal digits, with the right checksum if their case is mixed"
)]
pub struct AccountError;

/// Reads an account: all lower-case, or mixed case with the checksum of EIP-55.
///
/// # Errors
/// [`AccountError`] for everything else.
pub fn parse_account(text: &str) -> Result<Account, AccountError> {
    let plain = text.strip_prefix("0x").ok_or(AccountError)?;
    let address: Address = if plain.bytes().any(|c| c.is_ascii_uppercase()) {
        Address::parse_checksummed(text, None).map_err(|_| AccountError)?
    } else {
        plain.parse().map_err(|_| AccountError)?
    };
    Ok(address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_account_is_none() {
        let account = parse_account("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266").unwrap();
        assert_eq!(
            parse_account("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"),
            Ok(account)
        );
        for text in [
            "0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
            "f39fd6e51aad88f6f4ce6ab8827279cfffb92266",
            "0xf39fd6e51aad88f6f4ce6ab8827279cfffb9226",
            "0xf39fd6e51aad88f6f4ce6ab8827279cfffb9226g",
            "0x0xf39fd6e51aad88f6f4ce6ab8827279cfffb922",
            "",
        ] {
            assert_eq!(parse_account(text), Err(AccountError), "{text}");
        }
    }
}
