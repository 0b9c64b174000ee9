//! A programme as its merchant writes it, and what it means.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

use super::points::{DECIMALS, Points};
use super::terms::{Earn, Redeem, Terms, Tier, TierDrop};
use crate::http::codes::{self, Code};
use crate::http::object::{Field, Object, Quantity, Read, Shape};
use crate::http::problem::{Fault, Problem};
use crate::limits;
use crate::money::{AmountError, Currency, canonical_decimal, parse_minor};

/// A programme.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProgrammeRequest, example = json!({
    "decimals": 0, "earn": [{"currency": "INR", "rate": "0.01", "minimum": "100.00"}],
    "first_purchase_bonus": "50", "daily_limit": "500",
    "tiers": [{"name": "silver", "from": "1000", "multiplier": "1.25"}], "tier_drop": "at_period_end",
    "pending_days": 14, "expiry_days": 365,
    "redeem": {"minimum": "100", "maximum": "10000", "value": [{"currency": "INR", "value": "0.25"}]}
}))]
pub struct Offer {
    /// Decimals of earned points, 0 to 4: what a sale earns is rounded up to them, once.
    #[schema(value_type = i32)]
    pub decimals: Option<Quantity>,
    /// What is earned, by currency; nothing in one that is not named.
    #[schema(value_type = Vec<EarnOffer>)]
    pub earn: Vec<Object<EarnOffer>>,
    /// Points for a member's first purchase.
    pub first_purchase_bonus: Option<String>,
    /// What a member earns in a day of UTC at most, without that bonus.
    pub daily_limit: Option<String>,
    /// In rising order.
    #[schema(value_type = Option<Vec<TierOffer>>)]
    pub tiers: Option<Vec<Object<TierOffer>>>,
    /// `at_once` (the default): a tier is lost when its points are older than twelve months. `at_period_end`:
    /// twelve months after the day on which it was last reached.
    pub tier_drop: Option<String>,
    /// Days until earned points can be spent, at most 365.
    #[schema(value_type = Option<i32>)]
    pub pending_days: Option<Quantity>,
    /// Days until they are lost, 1 to 3650; never unless given.
    #[schema(value_type = Option<i32>)]
    pub expiry_days: Option<Quantity>,
    /// How they are spent.
    #[schema(value_type = Option<RedeemOffer>)]
    pub redeem: Option<Object<RedeemOffer>>,
}

/// What is earned in a currency.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EarnOffer {
    /// ISO 4217.
    pub currency: String,
    /// Points for one unit of it, at most six decimals.
    pub rate: String,
    /// A smaller sale earns nothing.
    pub minimum: Option<String>,
}

/// A tier.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TierOffer {
    /// What people call it.
    pub name: String,
    /// Points earned in twelve months that it begins with.
    pub from: String,
    /// How many times the points are earned in it, 1 to 100.
    pub multiplier: String,
}

/// How points are spent.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedeemOffer {
    /// The fewest at once.
    pub minimum: Option<String>,
    /// The most at once.
    pub maximum: Option<String>,
    /// What a point is worth.
    #[schema(value_type = Option<Vec<ValueOffer>>)]
    pub value: Option<Vec<Object<ValueOffer>>>,
}

/// What a point is worth in a currency.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueOffer {
    /// ISO 4217.
    pub currency: String,
    /// Units of it, at most six decimals.
    pub value: String,
}

/// The shape of [`Offer`].
pub(super) static OFFER: &[Field] = &[
    Field::optional("decimals", Shape::Quantity),
    Field::required(
        "earn",
        Shape::List(&[
            Field::required("currency", Shape::Text),
            Field::required("rate", Shape::Decimal),
            Field::optional("minimum", Shape::Decimal),
        ]),
    ),
    Field::optional("first_purchase_bonus", Shape::Decimal),
    Field::optional("daily_limit", Shape::Decimal),
    Field::optional(
        "tiers",
        Shape::List(&[
            Field::required("name", Shape::Text),
            Field::required("from", Shape::Decimal),
            Field::required("multiplier", Shape::Decimal),
        ]),
    ),
    Field::optional("tier_drop", Shape::Text),
    Field::optional("pending_days", Shape::Quantity),
    Field::optional("expiry_days", Shape::Quantity),
    Field::optional(
        "redeem",
        Shape::Object(&[
            Field::optional("minimum", Shape::Decimal),
            Field::optional("maximum", Shape::Decimal),
            Field::optional(
                "value",
                Shape::List(&[
                    Field::required("currency", Shape::Text),
                    Field::required("value", Shape::Decimal),
                ]),
            ),
        ]),
    ),
];

/// The fault of a text that is no such number.
pub(super) fn number_fault(at: &str, error: AmountError) -> Fault {
    let code = match error {
        AmountError::Malformed => &codes::MONEY_MALFORMED,
        AmountError::Negative => &codes::MONEY_NEGATIVE,
        AmountError::TooManyDecimals { .. } => &codes::MONEY_TOO_MANY_DECIMALS,
        AmountError::TooLarge => &codes::MONEY_TOO_LARGE,
    };
    Fault::new(at, code, error.to_string())
}

/// What is wrong with an offer, collected.
struct Judge<'a>(&'a mut Read<Offer>);

impl Judge<'_> {
    fn fault(&mut self, at: &str, code: &'static Code, detail: impl Into<String>) {
        self.0.add(Fault::new(at, code, detail));
    }

    fn points(&mut self, at: &str, text: Option<&str>) -> Option<i64> {
        match Points::parse(text?, DECIMALS) {
            Ok(points) => Some(points.0),
            Err(error) => {
                self.0.add(number_fault(at, error));
                None
            }
        }
    }

    fn decimal(&mut self, at: &str, text: &str) -> String {
        canonical_decimal(text, 0).unwrap_or_else(|error| {
            self.0.add(number_fault(at, error));
            String::new()
        })
    }

    fn days(
        &mut self,
        at: &str,
        text: Option<&Quantity>,
        within: std::ops::RangeInclusive<i32>,
    ) -> Option<i32> {
        let days = text?.0.parse().ok().filter(|days| within.contains(days));
        if days.is_none() {
            let detail = format!("an integer from {} to {}", within.start(), within.end());
            self.fault(at, &codes::TERMS_INVALID, detail);
        }
        days
    }

    fn currency(&mut self, at: &str, code: &str) -> Option<Currency> {
        let currency = Currency::from_code(code);
        if currency.is_none() {
            let detail = "three letters of ISO 4217";
            self.fault(at, &codes::CURRENCY_UNKNOWN, detail);
        }
        currency
    }

    fn repeated(&mut self, at: &str) {
        let detail = "the currency stands more than once";
        self.fault(at, &codes::TERMS_INVALID, detail);
    }

    fn count(&mut self, at: &str, count: usize, most: usize) {
        if count > most {
            let detail = format!("at most {most}, not {count}");
            self.fault(at, &codes::TERMS_INVALID, detail);
        }
    }

    fn earn(&mut self, offers: Vec<Object<EarnOffer>>) -> BTreeMap<String, Earn> {
        let mut earn = BTreeMap::new();
        self.count("/earn", offers.len(), limits::PROGRAMME_CURRENCIES);
        for (index, Object(offer)) in offers
            .into_iter()
            .take(limits::PROGRAMME_CURRENCIES)
            .enumerate()
        {
            let at = |name: &str| format!("/earn/{index}/{name}");
            let Some(currency) = self.currency(&at("currency"), &offer.currency) else {
                continue;
            };
            let minimum = offer.minimum.as_deref().unwrap_or("0");
            let minimum_minor = parse_minor(minimum, currency).unwrap_or_else(|error| {
                self.0.add(number_fault(&at("minimum"), error));
                0
            });
            let one = Earn {
                rate: self.decimal(&at("rate"), &offer.rate),
                minimum_minor,
                minor_digits: currency.decimals(),
            };
            if earn.insert(offer.currency, one).is_some() {
                self.repeated(&at("currency"));
            }
        }
        earn
    }

    fn tiers(&mut self, offers: Vec<Object<TierOffer>>) -> Vec<Tier> {
        self.count("/tiers", offers.len(), limits::PROGRAMME_TIERS);
        let mut tiers: Vec<Tier> = Vec::new();
        for (index, Object(offer)) in offers.into_iter().take(limits::PROGRAMME_TIERS).enumerate() {
            let at = |name: &str| format!("/tiers/{index}/{name}");
            if offer.name.is_empty() {
                self.fault(&at("name"), &codes::TEXT_EMPTY, "name the tier");
            }
            self.text(&at("name"), &offer.name);
            let from = self.points(&at("from"), Some(&offer.from)).unwrap_or(0);
            let rises = tiers.last().map_or(0, |tier| tier.from) < from;
            if !rises {
                let detail =
                    "each tier begins with more points than the one before, the first above 0";
                self.fault(&at("from"), &codes::TERMS_INVALID, detail);
            }
            let multiplier = self.decimal(&at("multiplier"), &offer.multiplier);
            // at least 1, at most 100: a tier is no fine
            let whole = multiplier
                .split('.')
                .next()
                .and_then(|whole| whole.parse::<u32>().ok());
            if !multiplier.is_empty()
                && !whole.is_some_and(|whole| (1..100).contains(&whole))
                && multiplier != "100"
            {
                self.fault(&at("multiplier"), &codes::TERMS_INVALID, "1 to 100");
            }
            tiers.push(Tier {
                name: offer.name,
                from,
                multiplier,
            });
        }
        tiers
    }

    fn text(&mut self, at: &str, text: &str) {
        if text.contains('\0') {
            self.fault(at, &codes::TEXT_HAS_NUL, "U+0000 is not allowed");
        }
        if text.chars().count() > limits::SHORT_TEXT_CHARS {
            let detail = format!("at most {} characters", limits::SHORT_TEXT_CHARS);
            self.fault(at, &codes::TEXT_TOO_LONG, detail);
        }
    }

    fn redeem(&mut self, offer: RedeemOffer) -> Redeem {
        let minimum = self
            .points("/redeem/minimum", offer.minimum.as_deref())
            .unwrap_or(0);
        let maximum = self.points("/redeem/maximum", offer.maximum.as_deref());
        if maximum.is_some_and(|maximum| maximum < minimum) {
            let detail = "it is below the minimum";
            self.fault("/redeem/maximum", &codes::TERMS_INVALID, detail);
        }
        let mut value = BTreeMap::new();
        let offers = offer.value.unwrap_or_default();
        self.count("/redeem/value", offers.len(), limits::PROGRAMME_CURRENCIES);
        for (index, Object(offer)) in offers
            .into_iter()
            .take(limits::PROGRAMME_CURRENCIES)
            .enumerate()
        {
            let at = |name: &str| format!("/redeem/value/{index}/{name}");
            let worth = self.decimal(&at("value"), &offer.value);
            let known = self.currency(&at("currency"), &offer.currency);
            if known.is_some() && value.insert(offer.currency, worth).is_some() {
                self.repeated(&at("currency"));
            }
        }
        Redeem {
            minimum,
            maximum,
            value,
        }
    }
}

/// The terms that an offer means, or all that is wrong with it.
pub(super) fn judge(mut read: Read<Offer>) -> Result<Terms, Problem> {
    let offer = read.body.clone();
    let mut judge = Judge(&mut read);
    let decimals = judge
        .days("/decimals", offer.decimals.as_ref(), 0..=4)
        .unwrap_or(0);
    let tier_drop = match offer.tier_drop.as_deref() {
        None | Some("at_once") => TierDrop::AtOnce,
        Some("at_period_end") => TierDrop::AtPeriodEnd,
        Some(_) => {
            judge.fault(
                "/tier_drop",
                &codes::TERMS_INVALID,
                "at_once or at_period_end",
            );
            TierDrop::AtOnce
        }
    };
    let pending_days = judge
        .days("/pending_days", offer.pending_days.as_ref(), 0..=365)
        .unwrap_or(0);
    let expiry_days = judge.days("/expiry_days", offer.expiry_days.as_ref(), 1..=3650);
    if expiry_days.is_some_and(|days| days <= pending_days) {
        let detail = "points would be lost before they can be spent";
        judge.fault("/expiry_days", &codes::TERMS_INVALID, detail);
    }
    let bonus = judge.points(
        "/first_purchase_bonus",
        offer.first_purchase_bonus.as_deref(),
    );
    let terms = Terms {
        decimals: usize::try_from(decimals).unwrap_or(0),
        earn: judge.earn(offer.earn),
        first_purchase_bonus: bonus.unwrap_or(0),
        daily_limit: judge.points("/daily_limit", offer.daily_limit.as_deref()),
        tiers: judge.tiers(offer.tiers.unwrap_or_default()),
        tier_drop,
        pending_days,
        expiry_days,
        redeem: judge.redeem(offer.redeem.unwrap_or_default().0),
    };
    if read.faults.is_empty() {
        return Ok(terms);
    }
    Err(Problem::of_faults(read.faults))
}
