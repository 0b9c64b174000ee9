//! The shop: what it sells, who wants it, what was ordered and paid for.
//!
//! A cart becomes an order, which holds its pieces of the stock; the provider's word makes it PAID, and a
//! PAID order becomes a sale of the record, in the same transaction. What of this belongs together is one
//! function of the database each (`migrations/0033` to `0037`, `0045` and `0046`); handlers here read requests,
//! call them and word their outcomes.
//!
//! # Layout
//! - [`products`]: the catalogue; [`stock`]: what of it is on hand
//! - [`cart`], [`checkout`], [`orders`]: from choosing to ordering
//! - [`intents`], [`events`]: paying, and what the provider tells of it
//! - [`refunds`]: giving back; [`unpark`]: what somebody had to look at
//! - `points`: a part of the price; [`shipping`]: where it goes; [`sale`]: the sale that an order becomes
//! - [`upkeep`]: what the shop does by itself: orders whose time is over, what the provider was not heard of
//! - [`store`]: the SQL of all of them

pub mod cart;
pub mod checkout;
pub mod events;
pub mod intents;
pub mod orders;
mod points;
pub mod products;
pub mod refunds;
pub mod sale;
pub mod shipping;
pub mod stock;
pub mod store;
pub mod unpark;
pub mod upkeep;

use std::ops::Deref;
use std::sync::Arc;

use sqlx::PgPool;

use crate::database::trust::Trust;
use crate::http::Site;
use crate::http::codes;
use crate::http::keys::Mode;
use crate::http::problem::Problem;
use crate::money::{Currency, format_minor};
use crate::payments::{Payments, Provider};
use crate::sales::answer::MoneyAnswer;
use crate::sales::intake::Intake;

/// The state of the shop's routes.
#[derive(Clone)]
pub struct Shop(Arc<Services>);

/// What the routes of this folder share.
pub struct Services {
    /// The database.
    pub pool: PgPool,
    /// Whether it is the one that it was.
    pub trust: Trust,
    /// The installation.
    pub site: Site,
    /// What makes sales of orders.
    pub intake: Intake,
    /// Who takes the customers' money; nothing is ordered here without.
    pub payments: Option<Payments>,
}

impl Shop {
    /// The state with these services.
    pub fn new(services: Services) -> Self {
        Self(Arc::new(services))
    }

    /// Who takes the customers' money.
    ///
    /// # Errors
    /// Where nobody does.
    fn payments(&self) -> Result<&Payments, Problem> {
        self.payments.as_ref().ok_or_else(|| {
            let detail = "no payment provider is configured, so nothing can be ordered";
            Problem::new(&codes::PAYMENTS_OFF, detail)
        })
    }

    /// The provider, for a merchant of this mode.
    ///
    /// # Errors
    /// Where there is none, or one of the other mode.
    fn provider_for(&self, mode: Mode) -> Result<&Provider, Problem> {
        let provider = self.payments()?.provider_for(mode);
        provider.map_err(|other| Problem::new(&codes::PAYMENTS_OFF, other.to_string()))
    }

    /// A database that may lack commits is not written to.
    fn check_sound(&self) -> Result<(), Problem> {
        if self.trust.is_sound() {
            return Ok(());
        }
        Err(Problem::in_doubt("nothing was done; try again later"))
    }
}

impl Deref for Shop {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

/// An amount as answers show it. A currency that stands in the database is one.
fn money(minor: i64, code: &str) -> MoneyAnswer {
    MoneyAnswer {
        value: Currency::from_code(code).map_or_else(String::new, |c| format_minor(minor, c)),
        currency: code.to_owned(),
        minor,
    }
}
