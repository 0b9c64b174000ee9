//! Signatures of messages: by a key (EIP-191), and by a contract (ERC-1271).

use alloy::primitives::{Address, B256, Bytes, Signature, eip191_hash_message};
use alloy::sol_types::SolCall;
use serde_json::json;

use super::node::Node;
use super::{Account, At, Chain, ChainError};

mod abi {
    //! The interface of a contract that signs.
    alloy::sol! {
        function isValidSignature(bytes32 hash, bytes signature) external view returns (bytes4);
    }
}

/// What a contract answers when the signature is good: the selector of the function, padded to a word.
const MAGIC: [u8; 4] = abi::isValidSignatureCall::SELECTOR;

/// The account whose key made a signature of 65 bytes over a message (`personal_sign`); none for what is no
/// such signature.
pub fn signer_of_message(message: &str, signature: &[u8]) -> Option<Account> {
    let signature = Signature::from_raw(signature).ok()?;
    let signer = signature
        .recover_address_from_msg(message.as_bytes())
        .ok()?;
    Some(signer.into())
}

impl Chain {
    /// Whether the contract at `account` takes a signature of a message for its own, now. What is no contract
    /// takes none.
    ///
    /// # Errors
    /// [`ChainError`] when no RPC says so or otherwise.
    pub async fn contract_takes(
        &self,
        account: Account,
        message: &str,
        signature: &[u8],
    ) -> Result<bool, ChainError> {
        let call = abi::isValidSignatureCall {
            hash: eip191_hash_message(message.as_bytes()),
            signature: Bytes::copy_from_slice(signature),
        };
        let input: Bytes = call.abi_encode().into();
        self.read("eth_call", At::Latest, move |node| {
            let input = input.clone();
            async move { node.takes(account, input).await }
        })
        .await
    }
}

impl Node {
    async fn takes(&self, account: Account, input: Bytes) -> Result<bool, ChainError> {
        let call = json!({ "to": Address::from(account), "input": input });
        match self
            .call::<Bytes>("eth_call", json!([call, "latest"]))
            .await
        {
            Ok(output) => Ok(<[u8; 32]>::try_from(&output[..])
                .is_ok_and(|word| B256::from(word) == B256::right_padding_from(&MAGIC))),
            // the contract has refused, whatever it says
            Err(ChainError::Refused { code, message, .. }) if is_revert(code, &message) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether an RPC's error says that the call was made and did not end well: code 3 where the RPC follows
/// geth, a text elsewhere.
fn is_revert(code: i64, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let said = [
        "revert",
        "invalid opcode",
        "out of gas",
        "vm execution error",
    ];
    code == 3 || said.iter().any(|text| message.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Signer;

    #[test]
    fn a_contract_answers_with_its_own_selector() {
        assert_eq!(MAGIC, [0x16, 0x26, 0xba, 0x7e]);
    }

    #[test]
    fn a_revert_is_an_answer_and_a_failure_is_none() {
        for (code, message, is) in [
            (3, "execution reverted: no", true),
            (-32000, "execution reverted", true),
            (-32015, "VM execution error.", true),
            (-32603, "EVM error InvalidOpcode: invalid opcode", true),
            (-32005, "limit exceeded", false),
            (-32000, "header not found", false),
        ] {
            assert_eq!(is_revert(code, message), is, "{code} {message}");
        }
    }

    #[test]
    fn a_signature_of_another_message_is_somebody_elses() {
        let owner = Signer::development(3).expect("a key").account();
        assert_eq!(signer_of_message("hello", &[]), None);
        assert_eq!(signer_of_message("hello", &[0; 65]), None);
        assert_ne!(signer_of_message("hello", &[1; 65]), Some(owner));
    }
}
