//! The body of a sale or refund, as callers send it: shapes only. What the values mean is judged in
//! [`super::command`].

use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::object::{Field, Object, Quantity, Shape, TextMap};

/// A sale or a refund.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "order_id": "A-1001", "kind": "sale", "amount": {"value": "1500.75", "currency": "INR"},
    "sold_at": "2026-01-31T10:00:00Z", "register": "till-2",
    "lines": [{"sku": "23084", "name": "Night light", "quantity": 3, "unit_price": "500.25"}],
    "payments": [{"method": "card", "amount": "1500.75"}], "metadata": {"country": "IN"}
}))]
pub struct SaleRequest {
    /// Your name for it, unique within the merchant: 1 to 64 visible ASCII characters without `"` and `\`.
    pub order_id: String,
    /// `sale` (the default) or `refund`.
    #[schema(example = "sale")]
    pub kind: Option<String>,
    /// What was charged, or is given back. The lines need not add up to it.
    #[schema(value_type = Money)]
    pub amount: Object<Money>,
    /// Of a refund: the order id or sale id of the sale it refers to.
    pub refers_to: Option<String>,
    /// Your name for the customer.
    pub customer_ref: Option<String>,
    /// The customer's account address, 0x and 40 hexadecimal digits.
    pub customer_address: Option<String>,
    /// The till.
    pub register: Option<String>,
    /// Who sold.
    pub cashier: Option<String>,
    /// When the till rang it up, RFC 3339; a claim. At most 24 hours ahead.
    #[schema(format = "date-time")]
    pub sold_at: Option<String>,
    /// The basket, at most 2,000 lines.
    #[schema(value_type = Option<Vec<Line>>)]
    pub lines: Option<Vec<Object<Line>>>,
    /// How it was paid.
    #[schema(value_type = Option<Vec<Payment>>)]
    pub payments: Option<Vec<Object<Payment>>>,
    /// Tax in the amount, a decimal string in its currency.
    pub tax_total: Option<String>,
    /// Discount already taken off, a decimal string in its currency.
    pub discount_total: Option<String>,
    /// Whatever else belongs to the sale: at most 50 keys of 40 characters, values of 500.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    pub metadata: Option<TextMap>,
    /// The value of the `Idempotency-Key` header, where the body carries it too; required in a batch.
    pub idempotency_key: Option<String>,
}

/// An amount of money.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// A decimal string with at most the currency's decimals.
    #[schema(example = "1500.75")]
    pub value: String,
    /// ISO 4217.
    #[schema(example = "INR")]
    pub currency: String,
}

/// A line of a basket.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The article's number.
    pub sku: Option<String>,
    /// The article's name.
    pub name: Option<String>,
    /// An integer or a decimal string of at most six decimals.
    #[schema(value_type = String, example = "3")]
    pub quantity: Quantity,
    /// A decimal string of at most six decimals.
    #[schema(example = "500.25")]
    pub unit_price: String,
    /// Tax on the line, a decimal string of at most six decimals.
    pub tax: Option<String>,
    /// Discount on the line, a decimal string of at most six decimals.
    pub discount: Option<String>,
}

/// One of the ways a sale was paid.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// cash, card, upi, ….
    #[schema(example = "card")]
    pub method: String,
    /// A decimal string in the sale's currency.
    #[schema(example = "1500.75")]
    pub amount: String,
}

/// The shape of [`SaleRequest`], for naming all its faults.
pub static SALE: &[Field] = &[
    Field::required("order_id", Shape::Text),
    Field::optional("kind", Shape::Text),
    Field::required("amount", Shape::Money(MONEY)),
    Field::optional("refers_to", Shape::Text),
    Field::optional("customer_ref", Shape::Text),
    Field::optional("customer_address", Shape::Text),
    Field::optional("register", Shape::Text),
    Field::optional("cashier", Shape::Text),
    Field::optional("sold_at", Shape::Text),
    Field::optional("lines", Shape::List(LINE)),
    Field::optional("payments", Shape::List(PAYMENT)),
    Field::optional("tax_total", Shape::Decimal),
    Field::optional("discount_total", Shape::Decimal),
    Field::optional("metadata", Shape::TextMap),
    Field::optional("idempotency_key", Shape::Text),
];

/// The shape of [`Money`].
pub static MONEY: &[Field] = &[
    Field::required("value", Shape::Decimal),
    Field::required("currency", Shape::Text),
];

static LINE: &[Field] = &[
    Field::optional("sku", Shape::Text),
    Field::optional("name", Shape::Text),
    Field::required("quantity", Shape::Quantity),
    Field::required("unit_price", Shape::Decimal),
    Field::optional("tax", Shape::Decimal),
    Field::optional("discount", Shape::Decimal),
];

static PAYMENT: &[Field] = &[
    Field::required("method", Shape::Text),
    Field::required("amount", Shape::Decimal),
];
