//! Who is calling, and what each role may do.

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use secrecy::SecretString;
use uuid::Uuid;

use super::codes;
use super::problem::Problem;
use super::scopes::Scopes;
use crate::ids::{AccountId, KeyId, MerchantId, SessionId};

/// What a key or an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Records, and reads what it names.
    Pos,
    /// Reads.
    Auditor,
    /// All of its merchant.
    Admin,
    /// Buys: its own cart, orders and points. Only accounts have it, no keys.
    Customer,
}

impl Role {
    /// As it stands in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pos => "pos",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
            Self::Customer => "customer",
        }
    }

    /// The role with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pos, Self::Auditor, Self::Admin, Self::Customer]
            .into_iter()
            .find(|role| role.as_str() == name)
    }

    /// The role with this name that a key may have.
    pub fn of_key(name: &str) -> Option<Self> {
        Self::parse(name).filter(|role| *role != Self::Customer)
    }

    /// The table of roles.
    pub fn may(self, action: Action) -> bool {
        match action {
            Action::Record => matches!(self, Self::Pos | Self::Admin),
            Action::ReadNamed => matches!(self, Self::Pos | Self::Auditor | Self::Admin),
            Action::ReadAll => matches!(self, Self::Auditor | Self::Admin),
            Action::Shop => matches!(self, Self::Customer),
            Action::RedeemPoints => matches!(self, Self::Pos | Self::Admin),
            Action::ManageKeys
            | Action::ManageAccounts
            | Action::ManageCatalogue
            | Action::ManageOrders
            | Action::ManageLoyalty
            | Action::ManageWebhooks => matches!(self, Self::Admin),
        }
    }
}

/// What a route does with what belongs to a merchant. Its name is a scope ([`Scopes`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Writes sales.
    Record,
    /// Reads one thing whose id the caller knows.
    ReadNamed,
    /// Lists.
    ReadAll,
    /// Buys, in one's own name.
    Shop,
    /// Redeems a member's points.
    RedeemPoints,
    /// Issues, lists and revokes keys.
    ManageKeys,
    /// Invites staff, lists and closes accounts.
    ManageAccounts,
    /// Changes products and their stock.
    ManageCatalogue,
    /// Cancels and refunds orders.
    ManageOrders,
    /// Changes the programme, adjusts points.
    ManageLoyalty,
    /// Changes who is told of events.
    ManageWebhooks,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Record,
        Self::ReadNamed,
        Self::ReadAll,
        Self::Shop,
        Self::RedeemPoints,
        Self::ManageKeys,
        Self::ManageAccounts,
        Self::ManageCatalogue,
        Self::ManageOrders,
        Self::ManageLoyalty,
        Self::ManageWebhooks,
    ];

    /// Its name: what it is about, and what is done.
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "sales:record",
            Self::ReadNamed => "sales:read",
            Self::ReadAll => "sales:list",
            Self::Shop => "shop:buy",
            Self::RedeemPoints => "points:redeem",
            Self::ManageKeys => "keys:manage",
            Self::ManageAccounts => "accounts:manage",
            Self::ManageCatalogue => "catalogue:manage",
            Self::ManageOrders => "orders:manage",
            Self::ManageLoyalty => "loyalty:manage",
            Self::ManageWebhooks => "webhooks:manage",
        }
    }
}

/// What a caller showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// An API key.
    Key(KeyId),
    /// An account's access token.
    Account(AccountId),
}

impl Who {
    /// The id alone.
    pub fn id(self) -> Uuid {
        match self {
            Self::Key(id) => id.0,
            Self::Account(id) => id.0,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Account(id) => id.fmt(f),
        }
    }
}

/// The holder of a valid key or access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose it is.
    pub merchant: MerchantId,
    /// Which key, or which account.
    pub who: Who,
    /// What it may do.
    pub role: Role,
    /// What it is narrowed to.
    pub scopes: Scopes,
    /// The session of an account's token.
    pub session: Option<SessionId>,
}

impl Caller {
    /// Checks the table of roles, and the scopes that the key or session is narrowed to.
    ///
    /// # Errors
    /// 403 when one of them does not allow it.
    pub fn require(&self, action: Action) -> Result<(), Problem> {
        if !self.role.may(action) {
            let detail = format!("the role {} may not do this", self.role.as_str());
            return Err(Problem::new(&codes::FORBIDDEN, detail));
        }
        if !self.scopes.have(action) {
            let detail = format!("it is narrowed to scopes without {}", action.name());
            return Err(Problem::new(&codes::SCOPE_MISSING, detail));
        }
        Ok(())
    }

    /// The account that has signed in, whatever its role.
    ///
    /// # Errors
    /// 403 for a key.
    pub fn account(&self) -> Result<(AccountId, SessionId), Problem> {
        match (self.who, self.session) {
            (Who::Account(account), Some(session)) => Ok((account, session)),
            _ => Err(Problem::new(
                &codes::FORBIDDEN,
                "a key has no account: sign in, and send the access token",
            )),
        }
    }

    /// The account that buys.
    ///
    /// # Errors
    /// 403 for whoever is not a customer.
    pub fn customer(&self) -> Result<AccountId, Problem> {
        self.require(Action::Shop)?;
        match self.who {
            Who::Account(account) => Ok(account),
            Who::Key(_) => Err(Problem::new(
                &codes::FORBIDDEN,
                "only a customer who has signed in may do this",
            )),
        }
    }
}

/// What is known of a request's key before its handler runs: whose it is, that there is none, or why it
/// is not taken.
#[derive(Clone)]
pub(super) struct Verdict(pub(super) Result<Option<Arc<Caller>>, Problem>);

impl Verdict {
    /// The holder of a valid key.
    pub(super) fn caller(&self) -> Option<&Caller> {
        self.0.as_ref().ok()?.as_deref()
    }
}

/// The key that a request carries.
///
/// # Errors
/// 401 for what is no key.
pub(super) fn token(headers: &HeaderMap) -> Result<Option<SecretString>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let only_one = values.next().is_none();
    value
        .to_str()
        .ok()
        .filter(|_| only_one)
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| Some(SecretString::from(token.trim())))
        .ok_or_else(denied)
}

/// 401 for a key or token that is not valid.
pub(super) fn denied() -> Problem {
    let detail = "the key or token is unknown, expired or revoked";
    Problem::new(&codes::UNAUTHENTICATED, detail)
}

fn caller(parts: &Parts) -> Result<Option<Arc<Caller>>, Problem> {
    match parts.extensions.get::<Verdict>() {
        Some(Verdict(verdict)) => verdict.clone(),
        None => {
            tracing::error!("a route that needs a caller stands outside the gate");
            Err(Problem::new(
                &codes::INTERNAL,
                "the request could not be completed",
            ))
        }
    }
}

/// The caller of a route that needs one.
pub struct Authenticated(pub Arc<Caller>);

impl<S: Send + Sync> FromRequestParts<S> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        caller(parts)?.map(Self).ok_or_else(|| {
            Problem::new(
                &codes::UNAUTHENTICATED,
                "send Authorization: Bearer and an API key or access token",
            )
        })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Ok(caller(parts)?.map(Self))
    }
}
