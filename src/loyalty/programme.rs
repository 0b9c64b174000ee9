//! The versions of programmes that this process has read. A version never changes, so it is read once.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use sqlx::PgConnection;

use super::points::Points;
use super::store;
use super::terms::Terms;
use crate::ids::MerchantId;
use crate::money::Currency;

/// A version of a merchant's programme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programme {
    /// From 1.
    pub version: i32,
    /// What it says.
    pub terms: Terms,
}

/// What the details of a sale say of points: what sale and programme alone determine. Its fields stand in the
/// order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Base {
    /// The points, without what other rows decide.
    pub base: Points,
    /// The programme's version.
    pub programme: String,
}

impl Programme {
    /// What a sale of this amount earns by itself.
    pub fn base(&self, amount_minor: i64, currency: Currency) -> Base {
        Base {
            base: self.terms.base(amount_minor, currency),
            programme: self.version.to_string(),
        }
    }
}

/// The version of each merchant's programme that was last seen to hold. Which one does hold the database says
/// when a sale is recorded, so nothing here has to be fresh.
#[derive(Debug, Clone, Default)]
pub struct Programmes(Arc<RwLock<HashMap<MerchantId, Arc<Programme>>>>);

impl Programmes {
    /// The version that was seen last; none where the merchant has no programme, or none is known yet.
    pub fn of(&self, merchant: MerchantId) -> Option<Arc<Programme>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&merchant).cloned()
    }

    /// Reads the version that holds now, unless it is known.
    ///
    /// # Errors
    /// The database's; also where there is no such version.
    pub async fn learn(
        &self,
        conn: &mut PgConnection,
        merchant: MerchantId,
        version: i32,
    ) -> Result<Option<Arc<Programme>>, sqlx::Error> {
        let known = self.of(merchant).filter(|known| known.version == version);
        if known.is_some() {
            return Ok(known);
        }
        let read = match version {
            0 => None,
            _ => Some(Arc::new(store::programme(conn, merchant, version).await?)),
        };
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match &read {
            Some(programme) => known.insert(merchant, programme.clone()),
            None => known.remove(&merchant),
        };
        Ok(read)
    }
}
