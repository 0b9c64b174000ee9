//! What the routes are given: each request has it several times, so it is one reference.

use std::sync::Arc;

use axum::extract::FromRef;
use sqlx::PgPool;

use crate::database::trust::Trust;
use crate::http::Site;
use crate::sales::Sales;

/// The state of all routes; each takes the part that it needs.
#[derive(Clone)]
pub(super) struct Shared(Arc<Parts>);

/// The parts.
pub(super) struct Parts {
    /// Sales, and the ground that everything stands on.
    pub(super) sales: Sales,
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

impl FromRef<Shared> for Trust {
    fn from_ref(shared: &Shared) -> Self {
        shared.0.sales.trust.clone()
    }
}
