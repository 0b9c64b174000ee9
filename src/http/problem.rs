//! Errors as RFC 9457 problem documents, with every fault of a request at once.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::codes::{self, Code};
use crate::database::was_read_only;
use crate::limits;
use crate::money::AmountError;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: a JSON pointer (RFC 6901) into the body.
    pub pointer: String,
    /// What.
    pub code: &'static Code,
    /// The same for people, with the bound or value in question.
    pub detail: String,
}

impl Fault {
    /// A fault at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static Code, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
        }
    }
}

impl Fault {
    /// What is wrong with an amount at `pointer`.
    pub fn of_amount(pointer: impl Into<String>, error: AmountError) -> Self {
        let code = match error {
            AmountError::Malformed => &codes::MONEY_MALFORMED,
            AmountError::Negative => &codes::MONEY_NEGATIVE,
            AmountError::TooManyDecimals { .. } => &codes::MONEY_TOO_MANY_DECIMALS,
            AmountError::TooLarge => &codes::MONEY_TOO_LARGE,
        };
        Self::new(pointer, code, error.to_string())
    }

    /// What is wrong with a text of at most `most` characters at `pointer`, if anything is.
    pub fn of_text(pointer: &str, text: &str, most: usize) -> Option<Self> {
        if text.contains('\0') {
            return Some(Self::new(
                pointer,
                &codes::TEXT_HAS_NUL,
                "U+0000 is not allowed",
            ));
        }
        // no character has less than a byte
        let too_long = text.len() > most && text.chars().count() > most;
        too_long.then(|| {
            let detail = format!("at most {most} characters");
            Self::new(pointer, &codes::TEXT_TOO_LONG, detail)
        })
    }
}

/// An error answer before it knows the request it belongs to.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What went wrong.
    pub code: &'static Code,
    // boxed, so that a `Result` with a problem is no larger than one with an answer
    rest: Box<Rest>,
}

#[derive(Debug, Clone, Default)]
struct Rest {
    detail: String,
    faults: Vec<Fault>,
    meta: Map<String, Value>,
    retry_after: Option<u64>,
    allow: Option<HeaderValue>,
}

impl Problem {
    /// A problem with a detail for people.
    pub fn new(code: &'static Code, detail: impl Into<String>) -> Self {
        let retry_after = (code.retryable && code.status != StatusCode::BAD_REQUEST).then_some(1);
        let rest = Rest {
            detail: detail.into(),
            retry_after,
            ..Rest::default()
        };
        Self {
            code,
            rest: Box::new(rest),
        }
    }

    /// The problem of a request with these faults; at least one. It takes the code of a single fault.
    pub fn of_faults(mut faults: Vec<Fault>) -> Self {
        let malformed = faults
            .iter()
            .any(|fault| fault.code.status == StatusCode::BAD_REQUEST);
        let several = if malformed {
            &codes::REQUEST_MALFORMED
        } else {
            &codes::REQUEST_INVALID
        };
        let total = faults.len();
        faults.truncate(limits::FAULTS);
        let mut problem = match faults.as_slice() {
            [only] => Self::new(only.code, only.detail.clone()),
            _ if total > limits::FAULTS => {
                let most = limits::FAULTS;
                Self::new(
                    several,
                    format!("more than {most} faults; the first {most} are named"),
                )
            }
            _ => Self::new(several, format!("{total} faults")),
        };
        problem.rest.faults = faults;
        problem
    }

    /// Adds a value that programs may want.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.rest.meta.insert(name.to_owned(), value.into());
        self
    }

    /// The same with its pointers renamed, where `name` has a name for them.
    pub fn renamed(mut self, name: impl Fn(&str) -> Option<&'static str>) -> Self {
        for fault in &mut self.rest.faults {
            if let Some(pointer) = name(&fault.pointer) {
                pointer.clone_into(&mut fault.pointer);
            }
        }
        self
    }

    /// The database may lack commits, so nothing is written into it.
    pub fn in_doubt(detail: impl Into<String>) -> Self {
        Self::new(&codes::DATABASE_IN_DOUBT, detail).retry_after(limits::DOUBT_RETRY_SECONDS)
    }

    /// Says when to come back.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.rest.retry_after = Some(seconds);
        self
    }

    /// The document, as it answers the request with this id.
    pub fn document(&self, request_id: &str) -> Value {
        let mut errors: Vec<Value> = self
            .rest
            .faults
            .iter()
            .map(|f| json!({"pointer": f.pointer, "code": f.code.name, "detail": f.detail}))
            .collect();
        if errors.is_empty() {
            errors.push(json!({"pointer": "", "code": self.code.name, "detail": self.rest.detail}));
        }
        if !self.rest.meta.is_empty() {
            errors[0]["meta"] = Value::Object(self.rest.meta.clone());
        }
        json!({
            "type": format!("/errors/{}", self.code.name),
            "title": self.code.title,
            "status": self.code.status.as_u16(),
            "detail": self.rest.detail,
            "instance": format!("urn:counterfoil:request:{request_id}"),
            "code": self.code.name,
            "request_id": request_id,
            "retryable": self.code.retryable,
            "errors": errors,
        })
    }

    /// The answer to the request with this id.
    pub fn render(&self, request_id: &str) -> Response {
        let mut response = Response::new(Body::from(self.document(request_id).to_string()));
        *response.status_mut() = self.code.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.rest.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"counterfoil\""),
            );
        }
        if let Some(allow) = &self.rest.allow {
            headers.insert(header::ALLOW, allow.clone());
        }
        response
    }

    /// What the framework answered by itself, as one of ours; none for an answer that is no error.
    pub fn of_framework(response: &Response) -> Option<Self> {
        let code = match response.status() {
            StatusCode::NOT_FOUND => &codes::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED => &codes::METHOD_NOT_ALLOWED,
            StatusCode::PAYLOAD_TOO_LARGE => &codes::BODY_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => &codes::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::REQUEST_TIMEOUT => &codes::TIMEOUT,
            status if status.is_server_error() => &codes::INTERNAL,
            status if status.is_client_error() => &codes::INVALID_PARAMETER,
            _ => return None,
        };
        let mut problem = Self::new(code, code.title);
        problem.rest.allow = response.headers().get(header::ALLOW).cloned();
        Some(problem)
    }
}

impl IntoResponse for Problem {
    /// The status alone; the outermost layer knows the request's id and writes the document.
    fn into_response(self) -> Response {
        let mut response = self.code.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<sqlx::Error> for Problem {
    /// Lost connections and exhausted pools are the caller's to retry; all else is ours and is logged.
    fn from(error: sqlx::Error) -> Self {
        if is_unavailable(&error) {
            tracing::warn!(error = %error, "the database is unavailable");
            return Self::new(
                &codes::DATABASE_UNAVAILABLE,
                "the database does not answer; try again",
            );
        }
        if was_read_only(&error) {
            return Self::in_doubt("nothing was written; try again later");
        }
        tracing::error!(error = %error, "a statement failed");
        Self::new(&codes::INTERNAL, "the request could not be completed")
    }
}

/// Whether the database could not be reached, is starting or stopping, or gave up waiting for a lock.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Tls(_) => true,
        // class 08 connection, 53 resources, 57 operator intervention, 40 rollback, 28 and 3D nobody or
        // nothing to connect to; 55000 takes no connections, 55P03 lock timeout
        sqlx::Error::Database(e) => e.code().is_some_and(|code| {
            let codes = ["08", "53", "57", "40", "28", "3D", "55000", "55P03"];
            codes.iter().any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

/// A problem document, for the API's description.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
#[expect(missing_docs, reason = "described by RFC 9457 and the conventions")]
pub struct ProblemDocument {
    /// The page of the code.
    #[schema(example = "/errors/order_exists")]
    pub r#type: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub instance: String,
    /// What programs switch on.
    pub code: String,
    pub request_id: String,
    /// Whether sending the same request again may succeed.
    pub retryable: bool,
    /// Every fault of the request.
    pub errors: Vec<FaultDocument>,
}

/// One fault of a request, for the API's description.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Fault)]
#[expect(missing_docs, reason = "described by the conventions")]
pub struct FaultDocument {
    /// RFC 6901.
    pub pointer: String,
    pub code: String,
    pub detail: String,
    #[serde(default)]
    pub meta: Option<Map<String, Value>>,
}
