//! Webhooks out: others are told of what happens to a merchant, as Standard Webhooks 1.0 has it.
//!
//! An event is written in the transaction of the change that it tells of, with a delivery for each endpoint that
//! wants it (`emit_event` of `migrations/0040`); a worker makes the deliveries, at least once each, and writes
//! down what became of every try. The same event has the same `webhook-id` however often it is told.
//!
//! # Layout
//! - [`event_type`]: what is told of, by triggers (`migrations/0042` and `0043`) in the transaction of the change
//! - [`endpoints`]: who wants to know; `draft` judges what an administrator sends
//! - [`events`], [`deliveries`]: the log of what was told, and telling it again
//! - [`deliver`]: the worker's step; [`send`] is one try, [`schedule`] when the next one is
//! - [`signature`]: secrets, and the signatures of a delivery
//! - [`address`]: where deliveries may go
//! - [`upkeep`]: what is measured and thrown away
//! - [`store`]: the SQL of all of them

pub mod address;
pub mod deliver;
pub mod deliveries;
mod draft;
pub mod endpoints;
pub mod event_type;
pub mod events;
pub mod schedule;
pub mod send;
pub mod signature;
pub mod store;
pub mod upkeep;

use sqlx::PgPool;

use crate::database::trust::Trust;
use crate::http::Site;
use crate::http::codes;
use crate::http::problem::Problem;
use address::Addresses;

/// The state of the routes of this folder.
#[derive(Clone)]
pub struct Webhooks {
    /// The database.
    pub pool: PgPool,
    /// The installation.
    pub site: Site,
    /// Whether the database is the one that it was.
    pub trust: Trust,
    /// Where deliveries may go.
    pub addresses: Addresses,
}

impl Webhooks {
    /// A database that may lack commits is not written to.
    fn check_sound(&self) -> Result<(), Problem> {
        if self.trust.is_sound() {
            return Ok(());
        }
        Err(Problem::in_doubt("nothing was changed; try again later"))
    }
}

fn missing(what: &str) -> Problem {
    let detail = format!("there is no such {what}, or it is not yours");
    Problem::new(&codes::NOT_FOUND, detail)
}

fn disabled() -> Problem {
    let detail = "the endpoint is disabled, so nothing is told to it";
    Problem::new(&codes::WEBHOOK_DISABLED, detail)
}
