//! Loyalty: a merchant's programme, its members, and the ledger of their points.
//!
//! # Layout
//! - [`programmes`]: the routes of the programme; [`offer`]: what a merchant writes, and what it means
//! - [`members`]: the routes of members: where they stand, their entries, what a purchase would earn
//! - [`spending`]: the routes that redeem, give back and adjust; [`first_version`]: those of the first version
//! - [`redeeming`]: redeeming within a caller's transaction, for the shop too
//! - [`expiry`]: the worker's step
//! - [`programme`]: the versions of programmes; what a sale earns by itself, which its details name
//! - [`terms`]: what a version says
//! - [`member`], [`points`]: whose and how many
//! - [`store`]: the SQL; what sales earn and refunds take back the database enters itself (`record_sales_3`)

pub mod expiry;
pub mod first_version;
pub mod member;
pub mod members;
pub mod offer;
pub mod points;
pub mod programme;
pub mod programmes;
pub mod redeeming;
pub mod spending;
pub mod store;
pub mod terms;

use sqlx::PgPool;

use crate::database::trust::Trust;
use crate::http::Site;
use crate::http::problem::Problem;

/// What the routes that change the ledger need.
#[derive(Clone)]
pub struct Desk {
    /// Connections with the API's role.
    pub pool: PgPool,
    /// The installation.
    pub site: Site,
    /// Whether the database is the one that it was.
    pub trust: Trust,
}

impl Desk {
    fn check_sound(&self) -> Result<(), Problem> {
        check_sound(&self.trust)
    }
}

/// A database that may lack commits is not written to.
fn check_sound(trust: &Trust) -> Result<(), Problem> {
    if trust.is_sound() {
        return Ok(());
    }
    Err(Problem::in_doubt("nothing was changed; try again later"))
}
