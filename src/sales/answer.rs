//! What a caller is told of a sale: pure functions of the stored row, so that a replay gives the same
//! bytes without having kept them.

use counterfoil_proofs::{hex, link};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::intake::AnswerVersion;
use super::stored::{StoredSale, StoredSaleError, fixed};
use crate::clock::rfc3339_ms;
use crate::ids::{MerchantId, SaleId};
use crate::money::{Currency, format_minor};

/// An amount of money.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MoneyAnswer {
    /// A decimal string with all the currency's decimals.
    #[schema(example = "1500.75")]
    pub value: String,
    /// ISO 4217.
    #[schema(example = "INR")]
    pub currency: String,
    /// The same in minor units.
    #[schema(example = 150_075)]
    pub minor: i64,
}

/// A recorded sale. Nothing in it ever changes.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Sale)]
pub struct SaleAnswer {
    /// Our name for it.
    #[schema(value_type = String, example = "sale_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub sale_id: SaleId,
    /// Whose it is.
    #[schema(value_type = String, example = "mer_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub merchant_id: MerchantId,
    /// Your name for it.
    pub order_id: String,
    /// `sale` or `refund`.
    pub kind: &'static str,
    /// Of a refund that refers to a sale: that sale.
    #[schema(value_type = Option<String>)]
    pub refers_to: Option<SaleId>,
    /// Its number: a merchant's sales are numbered from 1 without gaps.
    pub seq: i64,
    /// What was charged, or is given back.
    pub amount: MoneyAnswer,
    /// The customer's account address, lower case.
    pub customer_address: Option<String>,
    /// When it was committed, by the database's clock.
    #[schema(format = "date-time")]
    pub recorded_at: String,
    /// keccak-256 of the details' bytes.
    pub details_hash: String,
    /// The leaf that its proof will be for.
    pub leaf: String,
    /// Where its receipt is; whoever has this address may read it. Fit for a QR code.
    pub receipt_url: String,
}

impl SaleAnswer {
    /// The answer for a stored sale. Of the details it shows the hash alone.
    ///
    /// # Errors
    /// When the row is none that the intake wrote.
    pub fn new(stored: &StoredSale, public_url: &str) -> Result<Self, StoredSaleError> {
        let sale = stored.committed().to_sale()?;
        Ok(Self {
            sale_id: SaleId(stored.sale_id),
            merchant_id: MerchantId(stored.merchant_id),
            order_id: stored.order_id.clone(),
            kind: kind_name(stored.kind),
            refers_to: stored.refers_to.map(SaleId),
            seq: stored.seq,
            amount: money(stored)?,
            customer_address: sale.customer.map(|address| hex::encode(&address)),
            recorded_at: rfc3339_ms(stored.recorded_at),
            details_hash: hex::encode(&sale.details),
            leaf: hex::encode(&sale.leaf()),
            receipt_url: receipt_url(stored, public_url),
        })
    }
}

/// A sale with its state and its details.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SaleView {
    /// The sale.
    #[serde(flatten)]
    pub sale: SaleAnswer,
    /// `pending`, `sealed`, `submitted`, `mined` or `finalized`.
    #[schema(example = "finalized")]
    pub state: String,
    /// The batch it is sealed in.
    pub batch_id: Option<i64>,
    /// When that was sealed.
    #[schema(format = "date-time")]
    pub sealed_at: Option<String>,
    /// What was sold and how it was paid, as it was hashed.
    #[schema(value_type = Object)]
    pub details: Value,
}

/// The answer of the first version.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[expect(non_snake_case, reason = "published so")]
#[schema(as = Transaction)]
pub struct TransactionAnswer {
    /// Our name for it.
    #[schema(value_type = String)]
    pub transaction_id: SaleId,
    /// Your name for it.
    pub orderid: String,
    /// The customer's account address.
    pub customeraddress: Option<String>,
    /// The amount, a decimal string.
    pub amountINR: String,
    /// The amount in wei by the rate of its recording; null where there was none.
    pub amount_wei: Option<String>,
    /// The points that the sale and its programme alone determine; null where there is no programme.
    pub loyalty_points: Option<String>,
    /// `pending` when it is recorded; `sealed`, `submitted`, `mined`, `finalized` later.
    pub status: String,
    /// Where its receipt is.
    pub receipt_url: String,
}

impl TransactionAnswer {
    /// The answer for a stored sale.
    ///
    /// # Errors
    /// When the row is none that the intake wrote.
    pub fn new(
        stored: &StoredSale,
        public_url: &str,
        status: &str,
    ) -> Result<Self, StoredSaleError> {
        let told = Told::read(&stored.details);
        Ok(Self {
            transaction_id: SaleId(stored.sale_id),
            orderid: stored.order_id.clone(),
            customeraddress: stored.customer.as_deref().map(hex::encode),
            amountINR: money(stored)?.value,
            amount_wei: told.rate.map(|rate| rate.wei.to_owned()),
            loyalty_points: told.points.map(|points| points.base.to_owned()),
            status: status.to_owned(),
            receipt_url: receipt_url(stored, public_url),
        })
    }
}

/// What the details say that the server added to them.
#[derive(Debug, Default, Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    points: Option<ToldPoints<'a>>,
    #[serde(borrow)]
    rate: Option<ToldRate<'a>>,
}

#[derive(Debug, Deserialize)]
struct ToldPoints<'a> {
    base: &'a str,
}

#[derive(Debug, Deserialize)]
struct ToldRate<'a> {
    wei: &'a str,
}

impl<'a> Told<'a> {
    /// Nothing where somebody else wrote the details: their hash tells that elsewhere.
    fn read(details: &'a [u8]) -> Self {
        serde_json::from_slice(details).unwrap_or_default()
    }
}

/// The body of a 201, in the version that the sale's key was given. Its fields stand in their own order,
/// whatever map `serde_json` is built with, so that a replay after an upgrade gives the same bytes.
///
/// # Errors
/// When the row is none that the intake wrote.
pub fn body(
    stored: &StoredSale,
    version: AnswerVersion,
    public_url: &str,
) -> Result<Box<RawValue>, StoredSaleError> {
    let written = match version {
        AnswerVersion::Sale => to_raw_value(&SaleAnswer::new(stored, public_url)?),
        AnswerVersion::Transaction => {
            to_raw_value(&TransactionAnswer::new(stored, public_url, "pending")?)
        }
    };
    // strings and integers: nothing in either can fail to be written
    Ok(written.unwrap_or_default())
}

/// Where a sale's receipt is, with the capability to read it.
pub fn receipt_url(stored: &StoredSale, public_url: &str) -> String {
    let merchant = MerchantId(stored.merchant_id);
    let link = fixed(&stored.salt)
        .map(|salt| link::link(&salt))
        .unwrap_or_default();
    format!(
        "{public_url}/v1/receipts/{}?merchant={merchant}&link={link}",
        SaleId(stored.sale_id)
    )
}

/// `sale` or `refund`.
pub fn kind_name(kind: i16) -> &'static str {
    if kind == 2 { "refund" } else { "sale" }
}

fn money(stored: &StoredSale) -> Result<MoneyAnswer, StoredSaleError> {
    let currency =
        Currency::from_code(&stored.currency).ok_or(StoredSaleError { column: "currency" })?;
    Ok(MoneyAnswer {
        value: format_minor(stored.amount_minor, currency),
        currency: currency.code().to_owned(),
        minor: stored.amount_minor,
    })
}
