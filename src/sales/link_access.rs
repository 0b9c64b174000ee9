//! Who may read one sale: a key of its merchant, or the link that the slip carries. Without either,
//! and for a sale that does not exist, the same 404.

use counterfoil_proofs::link;
use subtle::ConstantTimeEq;

use super::stored::{StoredSale, fixed};
use crate::http::auth::{Action, Authenticated};
use crate::http::codes;
use crate::http::paging::Params;
use crate::http::problem::Problem;
use crate::ids::MerchantId;

/// The 404 of all that cannot be read.
pub fn missing() -> Problem {
    Problem::new(
        &codes::NOT_FOUND,
        "there is no such sale, or it takes a key or its link to read it",
    )
}

/// Who asks for a sale of a merchant, and by what right.
#[derive(Debug)]
pub struct Asker {
    /// The merchant.
    pub merchant: MerchantId,
    right: Right,
}

#[derive(Debug)]
enum Right {
    /// A key of that merchant.
    Key,
    /// This link, if it is the sale's.
    Link(String),
}

impl Asker {
    /// Of this request. Takes `merchant` and `link` from the query.
    ///
    /// # Errors
    /// 404 when it has no right to any sale; a parameter that is wrong.
    pub fn of(caller: Option<&Authenticated>, mut params: Params) -> Result<Self, Problem> {
        let named: Option<String> = params.take("merchant")?;
        let link = params.take("link")?;
        params.finish()?;
        let named: Option<MerchantId> = match named {
            Some(text) => Some(text.parse().map_err(|_| missing())?),
            None => None,
        };
        // a customer is no reader of the shop's sales, and shows a link as anybody does
        let own = caller
            .filter(|Authenticated(caller)| caller.require(Action::ReadNamed).is_ok())
            .map(|Authenticated(caller)| caller.merchant);
        let (merchant, right) = match (own, named, link) {
            (Some(own), named, _) if named.is_none_or(|named| named == own) => (own, Right::Key),
            (_, Some(named), Some(link)) => (named, Right::Link(link)),
            _ => return Err(missing()),
        };
        Ok(Self { merchant, right })
    }

    /// Whether a sale of this merchant is theirs to read, when this is its link.
    pub fn may_read(&self, link: &str) -> bool {
        match &self.right {
            Right::Key => true,
            Right::Link(given) => link.as_bytes().ct_eq(given.as_bytes()).into(),
        }
    }
}

/// The link of a sale; none for a row that nobody of us wrote.
pub fn link_of(sale: &StoredSale) -> Option<String> {
    fixed(&sale.salt).map(|salt| link::link(&salt))
}
