//! What every error answer has, whatever the error (RFC 9457 and the conventions).

use counterfoil::http::codes;
use serde_json::Value;

use super::Answer;

impl Answer {
    /// The problem document, if it is a whole one with this code; the answer is no replay.
    #[track_caller]
    pub(crate) fn problem(&self, code: &str) -> Value {
        let document = self.any_problem();
        assert_eq!(document["code"], code, "{}", self.text);
        document
    }

    /// The problem document, if it is a whole one.
    #[track_caller]
    pub(crate) fn any_problem(&self) -> Value {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        assert_eq!(self.header("cache-control"), "no-store");
        let document = self.json();
        check_document(&document);
        assert_eq!(document["status"], self.status, "{document}");
        if self.header("idempotent-replayed").is_empty() {
            assert_eq!(document["request_id"], self.header("x-request-id"));
        }
        if self.status == 401 {
            assert!(self.header("www-authenticate").starts_with("Bearer "));
        }
        if [429, 503].contains(&self.status) || document["code"] == "idempotency_in_flight" {
            let seconds: Result<u32, _> = self.header("retry-after").parse();
            assert!(seconds.is_ok_and(|seconds| seconds >= 1), "{self:?}");
        }
        document
    }

    /// The faults of a problem: pointers and codes, in an order of their own.
    #[track_caller]
    pub(crate) fn faults(&self) -> Vec<(String, String)> {
        faults_of(&self.any_problem())
    }
}

/// The faults of a problem document: pointers and codes, sorted.
pub(crate) fn faults_of(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let errors = document["errors"].as_array().expect("a list of errors");
    let mut faults: Vec<_> = errors
        .iter()
        .map(|error| (text(&error["pointer"]), text(&error["code"])))
        .collect();
    faults.sort();
    faults
}

/// Checks every member of a problem document, alone or within the answer to a batch.
#[track_caller]
pub(crate) fn check_document(document: &Value) {
    let text = |name: &str| {
        document[name]
            .as_str()
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| panic!("no {name} in {document}"))
    };
    let code = codes::find(text("code")).expect("a known code");
    assert_eq!(text("type"), format!("/errors/{}", code.name));
    assert_eq!(text("title"), code.title);
    assert_eq!(document["status"], code.status.as_u16());
    assert_eq!(document["retryable"], code.retryable);
    assert!(!text("detail").is_empty());
    assert!(text("instance").ends_with(text("request_id")));
    let faults = faults_of(document);
    assert!(!faults.is_empty(), "{document}");
    for (pointer, name) in faults {
        assert!(
            pointer.is_empty() || pointer.starts_with('/'),
            "{pointer:?}"
        );
        assert!(codes::find(&name).is_some(), "{name}");
    }
    for leak in [
        "sqlx",
        "postgres",
        "PgDatabase",
        "src/",
        "panicked",
        "select ",
    ] {
        assert!(!document.to_string().contains(leak), "{document}");
    }
}
