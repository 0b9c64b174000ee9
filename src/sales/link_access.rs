//! Who may read one sale: a key of its merchant, or the link that the slip carries. Without either,
//! and for a sale that does not exist, the same 404.

use counterfoil_proofs::leaf::OrderId;
use counterfoil_proofs::link;
use subtle::ConstantTimeEq;

use super::Sales;
use super::store;
use super::stored::{StoredSale, fixed};
use crate::http::auth::Authenticated;
use crate::http::codes;
use crate::http::paging::Params;
use crate::http::problem::Problem;
use crate::ids::{MerchantId, SaleId};

/// Which sale is wanted.
pub enum Wanted {
    /// The one with this id.
    Sale(SaleId),
    /// The one with this order id.
    Order(OrderId),
}

/// The 404 of all that cannot be read.
pub fn missing() -> Problem {
    Problem::new(
        &codes::NOT_FOUND,
        "there is no such sale, or it takes a key or its link to read it",
    )
}

/// The sale, if the request may read it. Takes `merchant` and `link` from the query.
///
/// # Errors
/// 404, the same one whatever is missing; the database's.
pub async fn readable_sale(
    sales: &Sales,
    caller: Option<Authenticated>,
    mut params: Params,
    wanted: Wanted,
) -> Result<StoredSale, Problem> {
    let named: Option<String> = params.take("merchant")?;
    let given = params.take("link")?;
    params.finish()?;
    let named: Option<MerchantId> = match named {
        Some(text) => Some(text.parse().map_err(|_| missing())?),
        None => None,
    };
    let by_key = caller.map(|Authenticated(caller)| caller.merchant);
    let merchant = match (by_key, named, &given) {
        (Some(own), None, _) => own,
        (Some(own), Some(named), _) if own == named => own,
        (_, Some(named), Some(_)) => named,
        _ => return Err(missing()),
    };
    let mut db = sales.pool.acquire().await?;
    let id = match wanted {
        Wanted::Sale(id) => id,
        Wanted::Order(order) => store::id_of_order(&mut db, merchant, order.as_str())
            .await?
            .ok_or_else(missing)?,
    };
    let sale = store::by_ids(&mut db, merchant, &[id.0])
        .await?
        .pop()
        .ok_or_else(missing)?;
    if by_key == Some(merchant) {
        return Ok(sale);
    }
    let own = fixed(&sale.salt)
        .map(|salt| link::link(&salt))
        .ok_or_else(missing)?;
    let given = given.unwrap_or_default();
    if bool::from(own.as_bytes().ct_eq(given.as_bytes())) {
        Ok(sale)
    } else {
        Err(missing())
    }
}
