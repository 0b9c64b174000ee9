//! Who is calling, and what each role may do.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use axum::http::header;
use axum::http::request::Parts;
use secrecy::SecretString;

use super::codes;
use super::keys::Keys;
use super::problem::Problem;
use crate::ids::{KeyId, MerchantId};

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Records, and reads what it names.
    Pos,
    /// Reads.
    Auditor,
    /// All of its merchant.
    Admin,
}

impl Role {
    /// As it stands in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pos => "pos",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// The role with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pos, Self::Auditor, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == name)
    }

    /// The table of roles.
    pub fn may(self, action: Action) -> bool {
        match action {
            Action::Record => matches!(self, Self::Pos | Self::Admin),
            Action::ReadNamed => true,
            Action::ReadAll => matches!(self, Self::Auditor | Self::Admin),
        }
    }
}

/// What a route does with what belongs to a merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Writes sales.
    Record,
    /// Reads one thing whose id the caller knows.
    ReadNamed,
    /// Lists.
    ReadAll,
}

/// The holder of a valid key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose key it is.
    pub merchant: MerchantId,
    /// Which key.
    pub key: KeyId,
    /// What it may do.
    pub role: Role,
}

impl Caller {
    /// Checks the table of roles.
    ///
    /// # Errors
    /// 403 when the role does not allow it.
    pub fn require(&self, action: Action) -> Result<(), Problem> {
        if self.role.may(action) {
            return Ok(());
        }
        let detail = format!("a key with the role {} may not do this", self.role.as_str());
        Err(Problem::new(&codes::FORBIDDEN, detail))
    }
}

async fn caller(parts: &Parts, keys: &Keys) -> Result<Option<Arc<Caller>>, Problem> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let only_one = values.next().is_none();
    let denied = || {
        Problem::new(
            &codes::UNAUTHENTICATED,
            "the key is unknown, expired or revoked",
        )
    };
    let token = value
        .to_str()
        .ok()
        .filter(|_| only_one)
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| SecretString::from(token.trim()))
        .ok_or_else(denied)?;
    match keys.check(&token).await {
        Ok(Some(caller)) => {
            tracing::Span::current().record("key", tracing::field::display(caller.key));
            Ok(Some(caller))
        }
        Ok(None) => Err(denied()),
        Err(error) => {
            tracing::warn!(error = %error, "a key could not be checked");
            Err(Problem::new(
                &codes::DATABASE_UNAVAILABLE,
                "the key could not be checked; try again",
            ))
        }
    }
}

/// The caller of a route that needs one.
pub struct Authenticated(pub Arc<Caller>);

impl<S> FromRequestParts<S> for Authenticated
where
    Keys: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        caller(parts, &Keys::from_ref(state))
            .await?
            .map(Self)
            .ok_or_else(|| {
                Problem::new(
                    &codes::UNAUTHENTICATED,
                    "send Authorization: Bearer and an API key",
                )
            })
    }
}

impl<S> OptionalFromRequestParts<S> for Authenticated
where
    Keys: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Problem> {
        Ok(caller(parts, &Keys::from_ref(state)).await?.map(Self))
    }
}
