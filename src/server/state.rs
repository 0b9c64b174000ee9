//! What the routes are given: each request has it several times, so it is one reference.

use std::sync::Arc;

use axum::extract::FromRef;
use sqlx::PgPool;

use crate::accounts::Accounts;
use crate::database::trust::Trust;
use crate::http::Site;
use crate::loyalty::Desk;
use crate::sales::Sales;
use crate::shop::Shop;
use crate::webhooks::Webhooks;

/// The state of all routes; each takes the part that it needs.
#[derive(Clone)]
pub(super) struct Shared(Arc<Parts>);

/// The parts.
pub(super) struct Parts {
    /// Sales, and the ground that everything stands on.
    pub(super) sales: Sales,
    /// The shop.
    pub(super) shop: Shop,
    /// Accounts and their tokens.
    pub(super) accounts: Accounts,
    /// Who is told of events.
    pub(super) webhooks: Webhooks,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl FromRef<Shared> for Sales {
    fn from_ref(shared: &Shared) -> Self {
        shared.0.sales.clone()
    }
}

impl FromRef<Shared> for Shop {
    fn from_ref(shared: &Shared) -> Self {
        shared.0.shop.clone()
    }
}

impl FromRef<Shared> for Accounts {
    fn from_ref(shared: &Shared) -> Self {
        shared.0.accounts.clone()
    }
}

impl FromRef<Shared> for Webhooks {
    fn from_ref(shared: &Shared) -> Self {
        shared.0.webhooks.clone()
    }
}

impl FromRef<Shared> for PgPool {
    fn from_ref(shared: &Shared) -> Self {
        shared.0.sales.pool.clone()
    }
}

impl FromRef<Shared> for Site {
    fn from_ref(shared: &Shared) -> Self {
        shared.0.sales.site.clone()
    }
}

impl FromRef<Shared> for Desk {
    fn from_ref(shared: &Shared) -> Self {
        let sales = &shared.0.sales;
        Self {
            pool: sales.pool.clone(),
            site: sales.site.clone(),
            trust: sales.trust.clone(),
        }
    }
}

impl FromRef<Shared> for Trust {
    fn from_ref(shared: &Shared) -> Self {
        shared.0.sales.trust.clone()
    }
}
