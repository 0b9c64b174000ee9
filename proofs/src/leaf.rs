//! A sale as it is committed to: an EIP-712 struct, hashed once more.

mod json;
mod values;

pub use values::{Currency, Kind, OrderId, ValueError};

use crate::{Hash, U256, eip712::Encoder, hex};

/// The struct's type, as EIP-712 encodes it.
pub const SALE_TYPE: &str = "Sale(bytes16 merchant,bytes16 sale,uint64 seq,string orderId,\
uint8 kind,bytes16 refersTo,address customer,string currency,uint256 amount,uint64 recordedAt,\
bytes32 details,bytes32 salt)";

/// `keccak256` of [`SALE_TYPE`].
pub const SALE_TYPEHASH: Hash =
    hex::constant("03502728be3b7e4c3c96b9c350b4da73f2f7c70a8ceca55042ddb2cbe4eeb8bd");

/// A sale or a refund, with every field that its leaf commits to.
///
/// As JSON (in a receipt, or a line of an export): the struct's fields by the names of
/// [`SALE_TYPE`], all twelve always present; wide integers as decimal strings, bytes as
/// lower-case hex, zero where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// Whose sale it is.
    pub merchant: [u8; 16],
    /// Its id, a UUID.
    pub sale: [u8; 16],
    /// Its number among the merchant's sales, from 1 without gaps.
    pub seq: u64,
    /// The merchant's own number of the order.
    pub order_id: OrderId,
    /// Sale or refund.
    pub kind: Kind,
    /// The id of the sale that a refund is of; committed to as zero where there is none.
    pub refers_to: Option<[u8; 16]>,
    /// The customer's address on a chain; committed to as zero where there is none.
    pub customer: Option<[u8; 20]>,
    /// The currency of `amount`.
    pub currency: Currency,
    /// In minor units of the currency.
    pub amount: U256,
    /// Milliseconds since 1970 UTC, by the database's clock.
    pub recorded_at: u64,
    /// keccak-256 of the bytes of the [details](crate::details).
    pub details: Hash,
    /// 32 random bytes, so that nobody guesses a sale from its leaf.
    pub salt: Hash,
}

impl Sale {
    /// The leaf: `keccak256(hashStruct(sale))`. Its pre-image is 32 bytes and a node's is 64, so
    /// neither passes for the other.
    pub fn leaf(&self) -> Hash {
        self.encoder().commitment()
    }

    /// `hashStruct` of EIP-712, without a domain.
    pub fn hash_struct(&self) -> Hash {
        self.encoder().hash_struct()
    }

    fn encoder(&self) -> Encoder {
        Encoder::new(&SALE_TYPEHASH, 12)
            .bytes(&self.merchant)
            .bytes(&self.sale)
            .uint(U256::from(self.seq))
            .string(self.order_id.as_str())
            .uint(U256::from(self.kind as u8))
            .bytes(&self.refers_to.unwrap_or_default())
            .address(&self.customer.unwrap_or_default())
            .string(self.currency.as_str())
            .uint(self.amount)
            .uint(U256::from(self.recorded_at))
            .bytes(&self.details)
            .bytes(&self.salt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keccak256;

    #[test]
    fn typehash_is_the_hash_of_the_type() {
        assert_eq!(keccak256(SALE_TYPE.as_bytes()), SALE_TYPEHASH);
    }
}
