//! An endpoint as an administrator sends it, and what of it can be stored.

use std::collections::BTreeSet;

use serde::Deserialize;
use utoipa::ToSchema;

use super::address::{AddressError, Addresses};
use super::event_type::EventType;
use super::store::endpoints::Listed;
use crate::http::codes;
use crate::http::object::{Field, Read, Shape};
use crate::http::problem::{Fault, Problem};
use crate::limits;

/// All types.
const ALL: &str = "*";

/// An endpoint that is to be told of events.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookEndpointRequest, example = json!({
    "url": "https://shop.example/webhooks", "types": ["order.paid", "sale.recorded"], "description": "the warehouse"
}))]
pub struct EndpointRequest {
    /// Where it is told: https, and on the public internet.
    pub url: String,
    /// The types of events that it is told of; `["*"]` for all of them.
    pub types: Vec<String>,
    /// What people call it, at most 200 characters.
    pub description: Option<String>,
}

pub(super) static ENDPOINT: &[Field] = &[
    Field::required("url", Shape::Text),
    Field::required("types", Shape::Texts),
    Field::optional("description", Shape::Text),
];

/// What is to be another. What is left out stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookEndpointChange, example = json!({"types": ["*"]}))]
pub struct Change {
    /// Where it is told.
    pub url: Option<String>,
    /// The types of events that it is told of.
    pub types: Option<Vec<String>>,
    /// What people call it.
    pub description: Option<String>,
    /// Whether it is told at all. What waits for one that is disabled is dropped.
    pub enabled: Option<bool>,
}

pub(super) static CHANGE: &[Field] = &[
    Field::optional("url", Shape::Text),
    Field::optional("types", Shape::Texts),
    Field::optional("description", Shape::Text),
    Field::optional("enabled", Shape::Flag),
];

/// What can be stored.
#[derive(Debug, Clone)]
pub struct Draft {
    pub url: String,
    pub types: Vec<String>,
    pub description: String,
    pub enabled: bool,
}

/// The endpoint that a request describes, or all that is wrong with it.
pub(super) async fn judge(
    read: Read<EndpointRequest>,
    addresses: &Addresses,
) -> Result<Draft, Problem> {
    let Read { body, faults } = read;
    let change = Change {
        url: Some(body.url),
        types: Some(body.types),
        description: body.description,
        enabled: None,
    };
    let blank = Draft {
        url: String::new(),
        types: Vec::new(),
        description: String::new(),
        enabled: true,
    };
    apply(
        blank,
        Read {
            body: change,
            faults,
        },
        addresses,
    )
    .await
}

/// What a stored endpoint becomes.
pub(super) async fn change(
    stored: Listed,
    read: Read<Change>,
    addresses: &Addresses,
) -> Result<Draft, Problem> {
    let draft = Draft {
        url: stored.url,
        types: stored.types,
        description: stored.description,
        enabled: stored.state == "enabled",
    };
    apply(draft, read, addresses).await
}

async fn apply(
    mut draft: Draft,
    mut read: Read<Change>,
    addresses: &Addresses,
) -> Result<Draft, Problem> {
    let Change {
        url,
        types,
        description,
        enabled,
    } = read.body.clone();
    if let Some(types) = types {
        types_faults(&types).into_iter().for_each(|it| read.add(it));
        draft.types = types;
    }
    if let Some(description) = description {
        if description.contains('\0') {
            let detail = "U+0000 is not allowed";
            read.add(Fault::new("/description", &codes::TEXT_HAS_NUL, detail));
        }
        if description.chars().count() > limits::WEBHOOK_DESCRIPTION_CHARS {
            let most = limits::WEBHOOK_DESCRIPTION_CHARS;
            let detail = format!("at most {most} characters");
            read.add(Fault::new("/description", &codes::TEXT_TOO_LONG, detail));
        }
        draft.description = description;
    }
    if let Some(url) = url {
        match addresses.look_up(&url).await {
            Ok(url) => draft.url = url.into(),
            Err(error) => read.add(url_fault(&error)),
        }
    }
    draft.enabled = enabled.unwrap_or(draft.enabled);
    if read.faults.is_empty() {
        return Ok(draft);
    }
    Err(Problem::of_faults(read.faults))
}

fn url_fault(error: &AddressError) -> Fault {
    let code = match error {
        AddressError::Url(_) => &codes::WEBHOOK_URL_INVALID,
        AddressError::Unknown => &codes::WEBHOOK_HOST_UNKNOWN,
        AddressError::Private => &codes::WEBHOOK_ADDRESS_REFUSED,
    };
    Fault::new("/url", code, error.to_string())
}

fn types_faults(types: &[String]) -> Vec<Fault> {
    let distinct: BTreeSet<&String> = types.iter().collect();
    let is_all = types.iter().any(|name| name == ALL);
    if types.is_empty()
        || types.len() > limits::WEBHOOK_TYPES
        || distinct.len() < types.len()
        || (is_all && types.len() > 1)
    {
        let most = limits::WEBHOOK_TYPES;
        let detail = format!("1 to {most} types, each once, or \"*\" alone");
        return vec![Fault::new("/types", &codes::EVENT_TYPES_COUNT, detail)];
    }
    let known = EventType::ALL.iter().map(|one| one.as_str());
    let known: Vec<&str> = known.collect();
    let unknown = types.iter().enumerate().filter(|(_, name)| {
        let name = name.as_str();
        name != ALL && EventType::parse(name).is_none()
    });
    unknown
        .map(|(at, _)| {
            let detail = format!("the types are {}", known.join(", "));
            Fault::new(format!("/types/{at}"), &codes::EVENT_TYPE_UNKNOWN, detail)
        })
        .collect()
}
