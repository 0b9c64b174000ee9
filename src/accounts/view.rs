//! An account as callers see it.

use counterfoil_proofs::hex;
use serde::Serialize;
use utoipa::ToSchema;

use super::sessions::TokensView;
use super::store::accounts::Account;
use crate::clock::rfc3339_ms;
use crate::ids::{AccountId, MerchantId};

/// An account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub struct AccountView {
    /// Its id.
    #[schema(value_type = String, example = "cus_01JQ8Z6Y5W4V3U2T1S0R9Q8P7N")]
    pub id: AccountId,
    /// Whose it is.
    #[schema(value_type = String, example = "mer_01JQ8Z6Y5W4V3U2T1S0R9Q8P7N")]
    pub merchant_id: MerchantId,
    /// `customer`, `pos`, `auditor` or `admin`.
    pub role: String,
    /// Its e-mail address; null for one that has a wallet only.
    pub email: Option<String>,
    /// What people call it.
    pub name: String,
    /// The Ethereum account that signs in for it; null where there is none.
    pub wallet: Option<String>,
    /// Whether it can sign in with a password.
    pub has_password: bool,
    /// When it was made.
    pub created_at: String,
    /// When it was closed; null where it was not.
    pub closed_at: Option<String>,
}

impl AccountView {
    /// The account of a row.
    pub(super) fn of(merchant: MerchantId, row: Account) -> Self {
        Self {
            id: AccountId(row.account_id),
            merchant_id: merchant,
            role: row.role,
            email: row.email,
            name: row.name,
            wallet: row.wallet.map(|address| hex::encode(&address)),
            has_password: row.has_password,
            created_at: rfc3339_ms(row.created_at),
            closed_at: row.closed_at.map(rfc3339_ms),
        }
    }
}

/// An account that has signed in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SignedIn)]
pub struct SignedInView {
    /// The account.
    pub account: AccountView,
    /// What it goes on with.
    pub tokens: TokensView,
}
