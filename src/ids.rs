//! Identifiers as callers see them: a prefix and a UUIDv7 in Crockford base32, opaque to them.

use std::fmt;
use std::str::FromStr;

use alloy::primitives::Address;
use counterfoil_proofs::base32;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::clock::{Clock, Entropy};

/// An identifier that is none, or one of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that begins with {prefix}")]
pub struct IdError {
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What its text begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A new one, ordered by time.
            pub fn new(clock: &Clock, entropy: &Entropy) -> Self {
                Self(entropy.uuid_v7(clock))
            }

            /// The 16 bytes that the formats commit to.
            pub fn bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), base32::encode(self.0.as_bytes()))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .and_then(base32::decode)
                    .map(|bytes| Self(Uuid::from_bytes(bytes)))
                    .ok_or(IdError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

ids! {
    /// A merchant.
    MerchantId = "mer_";
    /// A sale or a refund.
    SaleId = "sale_";
    /// An API key.
    KeyId = "key_";
    /// An account: a customer's, or one of the shop's staff.
    AccountId = "cus_";
    /// A session of an account: from when it signed in until it ends.
    SessionId = "ses_";
    /// A product of the catalogue.
    ProductId = "prd_";
    /// A cart.
    CartId = "cart_";
    /// An order of the shop.
    PurchaseId = "ord_";
    /// A payment intent.
    IntentId = "pi_";
    /// A refund of an order.
    RefundId = "re_";
    /// A redemption of points.
    RedemptionId = "rdm_";
    /// An event that is told to others.
    EventId = "evt_";
    /// An endpoint that is told of events.
    EndpointId = "we_";
}

/// An account address, 20 bytes: 0x and 40 hexadecimal digits, in one case or with the checksum of EIP-55.
/// The zero address is none.
pub fn account_address(text: &str) -> Option<[u8; 20]> {
    let digits = text.strip_prefix("0x")?;
    let one_case = !digits.bytes().any(|b| b.is_ascii_uppercase())
        || !digits.bytes().any(|b| b.is_ascii_lowercase());
    let address = if digits.len() != 40 {
        None
    } else if one_case {
        text.parse::<Address>().ok()
    } else {
        Address::parse_checksummed(text, None).ok()
    };
    address.filter(|address| !address.is_zero()).map(Into::into)
}
