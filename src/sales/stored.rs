//! A sale as Postgres holds it, and the struct that its leaf commits to.

use counterfoil_proofs::leaf::{Currency, Kind, OrderId, Sale};
use counterfoil_proofs::receipt::Receipt;
use counterfoil_proofs::{U256, details};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clock::{from_unix_ms, unix_ms};

/// The columns of `sale` that its leaf commits to, and the details' bytes.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct StoredSale {
    pub merchant_id: Uuid,
    pub sale_id: Uuid,
    pub seq: i64,
    pub order_id: String,
    pub kind: i16,
    pub refers_to: Option<Uuid>,
    pub customer: Option<Vec<u8>>,
    pub currency: String,
    pub amount_minor: i64,
    pub recorded_at: OffsetDateTime,
    pub details: Vec<u8>,
    pub details_hash: Vec<u8>,
    pub salt: Vec<u8>,
}

/// A stored row that is no sale: somebody else wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored {column} is not one that the intake writes")]
pub struct StoredSaleError {
    /// The column that is wrong.
    pub column: &'static str,
}

impl StoredSale {
    /// The struct of the leaf.
    ///
    /// # Errors
    /// The first column that cannot have been written by the intake, a hash of the details that is not
    /// theirs among them.
    pub fn to_sale(&self) -> Result<Sale, StoredSaleError> {
        let sale = self.committed().to_sale()?;
        if details::hash(&self.details) != sale.details {
            return Err(StoredSaleError { column: "details" });
        }
        Ok(sale)
    }

    /// The row as it was, by a receipt that shows its details; none for one that does not, or for
    /// numbers that no column holds.
    pub fn from_receipt(receipt: &Receipt) -> Option<Self> {
        let sale = &receipt.sale;
        Some(Self {
            merchant_id: Uuid::from_bytes(sale.merchant),
            sale_id: Uuid::from_bytes(sale.sale),
            seq: i64::try_from(sale.seq).ok()?,
            order_id: sale.order_id.as_str().to_owned(),
            kind: sale.kind as i16,
            refers_to: sale.refers_to.map(Uuid::from_bytes),
            customer: sale.customer.map(|customer| customer.to_vec()),
            currency: sale.currency.as_str().to_owned(),
            amount_minor: i64::try_from(sale.amount).ok()?,
            recorded_at: from_unix_ms(i64::try_from(sale.recorded_at).ok()?),
            details: receipt.details.clone()?.into_bytes(),
            details_hash: sale.details.to_vec(),
            salt: sale.salt.to_vec(),
        })
    }

    /// Its columns without the details' bytes, for what shows none of them.
    pub fn committed(&self) -> Committed<'_> {
        Committed {
            merchant_id: self.merchant_id,
            sale_id: self.sale_id,
            seq: self.seq,
            order_id: &self.order_id,
            kind: self.kind,
            refers_to: self.refers_to,
            customer: self.customer.as_deref(),
            currency: &self.currency,
            amount_minor: self.amount_minor,
            recorded_at: self.recorded_at,
            details_hash: &self.details_hash,
            salt: &self.salt,
        }
    }
}

/// The columns that a leaf commits to, without the details' bytes: their hash stands for them.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Committed<'a> {
    pub merchant_id: Uuid,
    pub sale_id: Uuid,
    pub seq: i64,
    pub order_id: &'a str,
    pub kind: i16,
    pub refers_to: Option<Uuid>,
    pub customer: Option<&'a [u8]>,
    pub currency: &'a str,
    pub amount_minor: i64,
    pub recorded_at: OffsetDateTime,
    pub details_hash: &'a [u8],
    pub salt: &'a [u8],
}

impl Committed<'_> {
    /// The struct of the leaf.
    ///
    /// # Errors
    /// The first column that cannot have been written by the intake.
    pub fn to_sale(&self) -> Result<Sale, StoredSaleError> {
        let wrong = |column| StoredSaleError { column };
        Ok(Sale {
            merchant: self.merchant_id.into_bytes(),
            sale: self.sale_id.into_bytes(),
            seq: u64::try_from(self.seq).map_err(|_| wrong("seq"))?,
            order_id: OrderId::parse(self.order_id).map_err(|_| wrong("order_id"))?,
            kind: match self.kind {
                1 => Kind::Sale,
                2 => Kind::Refund,
                _ => return Err(wrong("kind")),
            },
            refers_to: self.refers_to.map(Uuid::into_bytes),
            customer: match self.customer {
                Some(bytes) => Some(fixed(bytes).ok_or(wrong("customer"))?),
                None => None,
            },
            currency: Currency::parse(self.currency).map_err(|_| wrong("currency"))?,
            amount: u64::try_from(self.amount_minor)
                .map(U256::from)
                .map_err(|_| wrong("amount_minor"))?,
            recorded_at: u64::try_from(unix_ms(self.recorded_at))
                .map_err(|_| wrong("recorded_at"))?,
            details: fixed(self.details_hash).ok_or(wrong("details_hash"))?,
            salt: fixed(self.salt).ok_or(wrong("salt"))?,
        })
    }
}

/// `bytes` as an array, if it is that long.
pub fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}
