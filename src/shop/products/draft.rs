//! A product as its editor sends it, and what of it can be stored.

use serde::Deserialize;
use utoipa::ToSchema;

use super::store::{Draft, Listed};
use crate::http::codes;
use crate::http::object::{Field, Object, Read, Shape};
use crate::http::problem::{Fault, Problem};
use crate::limits;
use crate::money::{AmountError, Currency, parse_minor};
use crate::sales::request::{MONEY, Money};

/// Millionths of a percent's hundredth: 1 % is so many.
const PPM_PERCENT: i32 = 10_000;
/// Decimals of a tax rate in percent.
const TAX_DECIMALS: usize = 4;

/// A product for the catalogue.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "sku": "85123A", "name": "White hanging heart light holder", "price": {"value": "249.00", "currency": "INR"},
    "tax_rate": "18"
}))]
pub struct ProductRequest {
    /// The article's number: 1 to 64 characters, unique within the shop.
    pub sku: String,
    /// 1 to 200 characters.
    pub name: String,
    /// At most 2,000 characters.
    pub description: Option<String>,
    /// Of one piece.
    #[schema(value_type = Money)]
    pub price: Object<Money>,
    /// Percent, a decimal string of at most four decimals, 0 to 100; 0 unless given.
    pub tax_rate: Option<String>,
    /// Whether the price holds the tax, as on a shelf (the default), or it comes on top.
    pub tax_included: Option<bool>,
    /// Whether it can be bought; true unless given.
    pub active: Option<bool>,
}

pub(super) static PRODUCT: &[Field] = &[
    Field::required("sku", Shape::Text),
    Field::required("name", Shape::Text),
    Field::optional("description", Shape::Text),
    Field::required("price", Shape::Money(MONEY)),
    Field::optional("tax_rate", Shape::Decimal),
    Field::optional("tax_included", Shape::Flag),
    Field::optional("active", Shape::Flag),
];

/// What is to be another. What is left out stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProductChange, example = json!({"price": {"value": "199.00", "currency": "INR"}}))]
pub struct Change {
    /// 1 to 64 characters.
    pub sku: Option<String>,
    /// 1 to 200 characters.
    pub name: Option<String>,
    /// At most 2,000 characters.
    pub description: Option<String>,
    /// Of one piece.
    #[schema(value_type = Option<Money>)]
    pub price: Option<Object<Money>>,
    /// Percent, a decimal string.
    pub tax_rate: Option<String>,
    /// Whether the price holds the tax.
    pub tax_included: Option<bool>,
    /// Whether it can be bought.
    pub active: Option<bool>,
}

pub(super) static CHANGE: &[Field] = &[
    Field::optional("sku", Shape::Text),
    Field::optional("name", Shape::Text),
    Field::optional("description", Shape::Text),
    Field::optional("price", Shape::Money(MONEY)),
    Field::optional("tax_rate", Shape::Decimal),
    Field::optional("tax_included", Shape::Flag),
    Field::optional("active", Shape::Flag),
];

/// The product that a request describes, or all that is wrong with it.
pub(super) fn judge(read: Read<ProductRequest>) -> Result<Draft, Problem> {
    let Read { body, faults } = read;
    let blank = Draft {
        sku: String::new(),
        name: String::new(),
        description: String::new(),
        currency: String::new(),
        price_minor: 0,
        tax_ppm: 0,
        tax_included: true,
        active: true,
    };
    let change = Change {
        sku: Some(body.sku),
        name: Some(body.name),
        description: body.description,
        price: Some(body.price),
        tax_rate: body.tax_rate,
        tax_included: body.tax_included,
        active: body.active,
    };
    apply(
        blank,
        Read {
            body: change,
            faults,
        },
    )
}

/// The product that a change makes of a stored one, or all that is wrong with it.
pub(super) fn changed(row: &Listed, read: Read<Change>) -> Result<Draft, Problem> {
    let stored = Draft {
        sku: row.sku.clone(),
        name: row.name.clone(),
        description: row.description.clone(),
        currency: row.currency.clone(),
        price_minor: row.price_minor,
        tax_ppm: row.tax_ppm,
        tax_included: row.tax_included,
        active: row.active,
    };
    apply(stored, read)
}

fn apply(mut draft: Draft, mut read: Read<Change>) -> Result<Draft, Problem> {
    let change = std::mem::take(&mut read.body);
    if let Some(sku) = change.sku {
        draft.sku = text(&mut read, "/sku", sku, limits::SHORT_TEXT_CHARS);
    }
    if let Some(name) = change.name {
        draft.name = text(&mut read, "/name", name, limits::NAME_CHARS);
    }
    if let Some(description) = change.description {
        let fault = Fault::of_text("/description", &description, limits::DESCRIPTION_CHARS);
        fault.into_iter().for_each(|fault| read.add(fault));
        draft.description = description;
    }
    if let Some(Object(price)) = change.price {
        match Currency::from_code(&price.currency) {
            None => read.add(Fault::new(
                "/price/currency",
                &codes::CURRENCY_UNKNOWN,
                "three letters of ISO 4217",
            )),
            Some(currency) => {
                draft.currency = currency.code().to_owned();
                let minor = parse_minor(&price.value, currency)
                    .and_then(|minor| at_most(minor, limits::PRICE_MINOR));
                match minor {
                    Ok(minor) => draft.price_minor = minor,
                    Err(error) => read.add(Fault::of_amount("/price/value", error)),
                }
            }
        }
    }
    if let Some(rate) = change.tax_rate {
        match ppm(&rate) {
            Ok(ppm) => draft.tax_ppm = ppm,
            Err(error) => read.add(Fault::of_amount("/tax_rate", error)),
        }
    }
    draft.tax_included = change.tax_included.unwrap_or(draft.tax_included);
    draft.active = change.active.unwrap_or(draft.active);
    if read.faults.is_empty() {
        Ok(draft)
    } else {
        Err(Problem::of_faults(read.faults))
    }
}

fn at_most(minor: i64, most: i64) -> Result<i64, AmountError> {
    if minor > most {
        return Err(AmountError::TooLarge);
    }
    Ok(minor)
}

/// A text that is not empty.
fn text(read: &mut Read<Change>, at: &str, text: String, most: usize) -> String {
    if text.trim().is_empty() {
        read.add(Fault::new(at, &codes::TEXT_EMPTY, "name it"));
    }
    if let Some(fault) = Fault::of_text(at, &text, most) {
        read.add(fault);
    }
    text
}

/// Percent as millionths: 18 is 180000.
fn ppm(percent: &str) -> Result<i32, AmountError> {
    let canonical = crate::money::canonical_decimal(percent, TAX_DECIMALS)?;
    // four decimals at least, by the line above
    let (whole, fraction) = canonical.split_once('.').unwrap_or((&canonical, "0000"));
    if fraction.len() > TAX_DECIMALS {
        return Err(AmountError::TooManyDecimals {
            allowed: TAX_DECIMALS,
        });
    }
    let digits = |text: &str| text.parse::<i32>().map_err(|_| AmountError::TooLarge);
    let (whole, fraction) = (digits(whole)?, digits(fraction)?);
    let ppm = whole
        .checked_mul(PPM_PERCENT)
        .and_then(|ppm| ppm.checked_add(fraction));
    ppm.filter(|ppm| *ppm <= 100 * PPM_PERCENT)
        .ok_or(AmountError::TooLarge)
}

/// Millionths as percent: 180000 is 18.
pub fn percent(ppm: i32) -> String {
    let (whole, fraction) = (ppm / PPM_PERCENT, ppm % PPM_PERCENT);
    let text = format!("{whole}.{fraction:04}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tax_rate_is_read_and_written_exactly() {
        for (text, expected) in [
            ("0", Ok((0, "0"))),
            ("18", Ok((180_000, "18"))),
            ("7.70", Ok((77_000, "7.7"))),
            ("0.0001", Ok((1, "0.0001"))),
            ("100", Ok((1_000_000, "100"))),
            ("100.0001", Err(AmountError::TooLarge)),
            ("99999999999", Err(AmountError::TooLarge)),
            ("1.00001", Err(AmountError::TooManyDecimals { allowed: 4 })),
            ("-1", Err(AmountError::Negative)),
            ("1e1", Err(AmountError::Malformed)),
        ] {
            let read = ppm(text);
            assert_eq!(read, expected.map(|(ppm, _)| ppm), "{text}");
            if let (Ok(ppm), Ok((_, written))) = (read, expected) {
                assert_eq!(percent(ppm), written);
            }
        }
    }
}
