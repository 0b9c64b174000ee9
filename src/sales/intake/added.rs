//! What the server adds to a command when it becomes a sale.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::ids::MerchantId;
use crate::sales::command::SaleCommand;
use crate::sales::stored::StoredSale;

/// The columns of a sale that do not follow from its command.
pub(super) struct Added {
    pub(super) sale_id: Uuid,
    pub(super) seq: i64,
    pub(super) recorded_at: OffsetDateTime,
    pub(super) refers_to: Option<Uuid>,
    /// The command's own, with all that the server adds.
    pub(super) details: Vec<u8>,
    pub(super) details_hash: [u8; 32],
    pub(super) salt: [u8; 32],
}

impl Added {
    /// The row as the database holds it, without reading it.
    pub(super) fn to(self, command: &SaleCommand, merchant: MerchantId) -> StoredSale {
        StoredSale {
            merchant_id: merchant.0,
            sale_id: self.sale_id,
            seq: self.seq,
            order_id: command.order_id().as_str().to_owned(),
            kind: command.kind() as i16,
            refers_to: self.refers_to,
            customer: command.customer().map(|customer| customer.to_vec()),
            currency: command.currency().code().to_owned(),
            amount_minor: command.amount_minor(),
            recorded_at: self.recorded_at,
            details: self.details,
            details_hash: self.details_hash.to_vec(),
            salt: self.salt.to_vec(),
        }
    }
}
