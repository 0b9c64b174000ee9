//! Sales: what callers send, the intake that records it once, and what can be read of it: sales,
//! proofs and receipts.
//!
//! A request becomes a [`command::SaleCommand`], which cannot be wrong; the [`intake`] has the database
//! record a slice of them; [`answer`] is a pure function of the stored sale, so a replay gives the same
//! bytes.

pub mod answer;
pub mod archive;
pub mod command;
pub mod details;
pub mod filed;
pub mod first_version;
pub mod intake;
pub mod kept;
pub mod link_access;
pub mod lookup;
pub mod read;
pub mod receipts;
pub mod record;
pub mod request;
pub mod store;
pub mod stored;
pub mod well_known;

use std::ops::Deref;
use std::sync::Arc;

use sqlx::PgPool;

use crate::database::trust::Trust;
use crate::http::Site;
use crate::http::keys::Keys;
use intake::Intake;
use kept::Keeper;
use lookup::Lookup;

/// The state of the routes: each request has it several times, so it is one reference.
#[derive(Clone)]
pub struct Sales(Arc<Services>);

/// What the routes of this folder share.
pub struct Services {
    /// The database.
    pub pool: PgPool,
    /// Whether it is the one that it was.
    pub trust: Trust,
    /// The intake.
    pub intake: Intake,
    /// Finds single sales.
    pub lookup: Lookup,
    /// Keeps final answers.
    pub kept: Keeper,
    /// The callers.
    pub keys: Keys,
    /// The installation.
    pub site: Site,
}

impl Sales {
    /// The state with these services.
    pub fn new(services: Services) -> Self {
        Self(Arc::new(services))
    }
}

impl Deref for Sales {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}
