//! Query parameters, each taken once and none ignored, and pages by keyset, newest first.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};
use utoipa::ToSchema;
use uuid::Uuid;

use super::codes;
use super::problem::Problem;
use crate::clock::unix_ms;
use crate::limits;

/// The query parameters of a request, taken one by one.
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Takes a parameter; none where it is not given.
    ///
    /// # Errors
    /// When it is given twice.
    pub fn take(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let Some(index) = self.0.iter().position(|(given, _)| given == name) else {
            return Ok(None);
        };
        let (_, value) = self.0.swap_remove(index);
        if self.0.iter().any(|(given, _)| given == name) {
            return Err(invalid(format!("{name} stands more than once")));
        }
        Ok(Some(value))
    }

    /// Takes a parameter that the database is asked for.
    ///
    /// # Errors
    /// When it is given twice, or holds a NUL, which no text of the database has.
    pub fn take_text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        self.take_as(name, "a text without NUL", |text| {
            (!text.contains('\0')).then(|| text.to_owned())
        })
    }

    /// Takes a parameter and reads it.
    ///
    /// # Errors
    /// When it is given twice, or cannot be read as `expected` says.
    pub fn take_as<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        match self.take(name)? {
            None => Ok(None),
            Some(text) => read(&text)
                .map(Some)
                .ok_or_else(|| invalid(format!("{name} must be {expected}"))),
        }
    }

    /// Ends the taking.
    ///
    /// # Errors
    /// When a parameter is left that nobody took.
    pub fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(format!("there is no parameter {name:?} here"))),
        }
    }
}

fn invalid(detail: String) -> Problem {
    Problem::new(&codes::INVALID_PARAMETER, detail)
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map(|Query(pairs)| Self(pairs))
            .map_err(|_| invalid("the query is not valid".to_owned()))
    }
}

/// How far the time in an id and the time beside it lie apart at most.
const SLACK: Duration = Duration::minutes(1);

/// The times that a list is narrowed to: all of those that are given hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// At this time or later.
    pub from: Option<OffsetDateTime>,
    /// Later.
    pub after: Option<OffsetDateTime>,
    /// At this time or earlier.
    pub to: Option<OffsetDateTime>,
    /// Earlier.
    pub before: Option<OffsetDateTime>,
}

impl Period {
    /// Takes `name[gte]`, `name[gt]`, `name[lte]` and `name[lt]`.
    ///
    /// # Errors
    /// When one of them is no time.
    pub fn take(params: &mut Params, name: &str) -> Result<Self, Problem> {
        let mut time = |bound: &str| {
            params.take_as(&format!("{name}[{bound}]"), "an RFC 3339 time", |text| {
                // an offset may put it past the end of the calendar
                OffsetDateTime::parse(text, &Rfc3339)
                    .ok()?
                    .checked_to_offset(UtcOffset::UTC)
            })
        };
        Ok(Self {
            from: time("gte")?,
            after: time("gt")?,
            to: time("lte")?,
            before: time("lt")?,
        })
    }

    /// The first and the last id (UUIDv7, RFC 9562) that what was made within can have, generously: by them an index
    /// on ids finds the period. An id is made a moment before or after the time that is kept beside it.
    pub fn ids(&self) -> (Uuid, Uuid) {
        let first = self
            .from
            .max(self.after)
            .map(|at| unix_ms(at.saturating_sub(SLACK)));
        let last = [self.to, self.before].into_iter().flatten().min();
        let last = last.map(|at| unix_ms(at.saturating_add(SLACK)));
        let id = |ms: i64| Uuid::from_u128(u128::try_from(ms).unwrap_or(0) << 80);
        (first.map_or(Uuid::nil(), id), last.map_or(Uuid::max(), id))
    }
}

/// Which page of a list is wanted, by the ids at its edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging<Id> {
    /// Rows, 1 to 100.
    pub limit: i64,
    /// The page begins after this one (older than it).
    pub starting_after: Option<Id>,
    /// The page ends before this one (newer than it).
    pub ending_before: Option<Id>,
}

impl<Id> Paging<Id> {
    /// Takes `limit`, `starting_after` and `ending_before`.
    ///
    /// # Errors
    /// When one of them is wrong, or both edges are given.
    pub fn take(params: &mut Params, read: impl Fn(&str) -> Option<Id>) -> Result<Self, Problem> {
        let limit = params.take_as("limit", "1 to 100", |text| {
            text.parse()
                .ok()
                .filter(|limit| (1..=limits::PAGE_MAX).contains(limit))
        })?;
        let starting_after =
            params.take_as("starting_after", "an id from an earlier page", &read)?;
        let ending_before = params.take_as("ending_before", "an id from an earlier page", &read)?;
        if starting_after.is_some() && ending_before.is_some() {
            return Err(invalid(
                "starting_after and ending_before exclude each other".to_owned(),
            ));
        }
        Ok(Self {
            limit: limit.unwrap_or(limits::PAGE),
            starting_after,
            ending_before,
        })
    }

    /// The page that `rows` make. They are newest first, or oldest first when `ending_before` was
    /// given, and one more than `limit` where there are more.
    pub fn page<T>(&self, mut rows: Vec<T>, id: impl Fn(&T) -> String) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        if self.ending_before.is_some() {
            rows.reverse();
        }
        let edge = if self.ending_before.is_some() {
            rows.first()
        } else {
            rows.last()
        };
        let next_cursor = edge.filter(|_| has_more).map(id);
        Page {
            data: rows,
            has_more,
            next_cursor,
        }
    }
}

/// One page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Whether there are more in the direction asked for.
    pub has_more: bool,
    /// What to give as `starting_after` (or `ending_before`) for the next page; null on the last.
    pub next_cursor: Option<String>,
}
