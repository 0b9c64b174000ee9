//! The API's description: whole in itself, and its examples are requests that work.

mod filled;

use std::collections::BTreeSet;

use counterfoil::webhooks::event_type::EventType;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::App;
use crate::loyalty::{ADA, with_points};
use filled::Filled;

pub(crate) fn description() -> Value {
    serde_json::to_value(counterfoil::server::openapi()).expect("JSON")
}

/// Every value below `value`, with its pointer.
fn walk<'a>(value: &'a Value, at: String, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(&at, value);
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, inner)| {
            walk(inner, format!("{at}/{}", name.replace('/', "~1")), visit)
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(i, inner)| walk(inner, format!("{at}/{i}"), visit)),
        _ => {}
    }
}

/// The operations, with their method and path.
pub(crate) fn operations(description: &Value) -> Vec<(Method, String, &Value)> {
    let paths = description["paths"].as_object().expect("paths");
    let mut all = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("operations") {
            let method = method.to_uppercase().parse().expect("a method");
            all.push((method, path.clone(), operation));
        }
    }
    all
}

#[test]
fn the_description_is_whole_in_itself() {
    let whole = description();
    assert!(whole["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(whole["info"]["license"]["identifier"].is_string());
    walk(&whole, String::new(), &mut |at, value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference
                .strip_prefix('#')
                .unwrap_or_else(|| panic!("{at} leads elsewhere: {reference}"));
            assert!(
                whole.pointer(pointer).is_some(),
                "{at} leads to {reference}, which is not there"
            );
        }
    });
}

#[test]
fn every_operation_is_described() {
    let whole = description();
    let tags: BTreeSet<&str> = whole["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&whole) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} names two operations");
        assert!(
            !operation["summary"].as_str().unwrap_or("").is_empty(),
            "{method} {path} has no summary"
        );
        assert!(
            operation["tags"]
                .as_array()
                .unwrap()
                .iter()
                .all(|tag| tags.contains(tag.as_str().unwrap()))
        );
        let parameters: Vec<&Value> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        for name in path
            .split('{')
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap())
        {
            let found = parameters
                .iter()
                .any(|p| p["name"] == name && p["in"] == "path" && p["required"] == true);
            assert!(found, "{method} {path} says nothing of {name}");
        }
        let schemes = operation["security"].as_array().into_iter().flatten();
        for name in schemes.flat_map(|scheme| scheme.as_object().unwrap().keys()) {
            assert!(
                whole["components"]["securitySchemes"].get(name).is_some(),
                "{name}"
            );
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(
                !response["description"].as_str().unwrap_or("").is_empty(),
                "{method} {path} {status} has no description"
            );
            let content = response["content"].as_object();
            let is_error = status.parse::<u16>().unwrap() >= 400;
            let problem =
                content.is_some_and(|content| content.keys().eq(["application/problem+json"]));
            assert_eq!(problem, is_error, "{method} {path} {status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_is_what_is_described() {
    let app = App::start().await;
    let served = app
        .admin
        .with_key(None)
        .get("/openapi.json")
        .await
        .expect(200);
    assert!(
        served
            .header("content-type")
            .starts_with("application/json")
    );
    assert_eq!(served.json(), description());
    for (method, path, operation) in operations(&description()) {
        let known = operation["responses"].as_object().unwrap();
        let path = path
            .replace("{sale_id}", "sale_x")
            .replace("{transaction_id}", "x")
            .replace("{order_id}", "x")
            .replace("{product_id}", "x")
            .replace("{refund_id}", "x")
            .replace("{intent_id}", "x");
        let path = path.replace("{batch_id}", "1");
        for client in [&app.admin, &app.admin.with_key(None)] {
            let answer = client.send(method.clone(), &path, &[], "").await;
            assert_ne!(answer.status, 405, "{method} {path}");
            assert!(
                known.contains_key(&answer.status.to_string()),
                "{method} {path} answers {} unannounced",
                answer.status
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_are_requests_that_work() {
    let app = App::start().await;
    let filled = Filled::of(&app).await;
    let customer = app.customer().await;
    with_points(&app).await;
    let whole = description();
    let spent = json!({"member": ADA, "points": "100"}).to_string();
    let spent = app.admin.post("/v1/loyalty/redemptions", "k", spent).await;
    let redemption = spent.expect(201).json()["id"].as_str().unwrap().to_owned();
    let mut tried = 0;
    for (method, path, operation) in operations(&whole) {
        let Some(content) = operation["requestBody"]["content"].get("application/json") else {
            continue;
        };
        // they need a shop around them
        if crate::shop::examples::TAGS.contains(&operation["tags"][0].as_str().unwrap()) {
            continue;
        }
        let schema = resolve(&whole, &content["schema"]);
        let mut example =
            example_of(&whole, schema).unwrap_or_else(|| panic!("{path} has no example"));
        filled.fill_in(&app, &path, &mut example).await;
        // what takes no key takes the token of an account
        let schemes = operation["security"].as_array().into_iter().flatten();
        let is_for_keys = schemes.flat_map(|scheme| scheme.as_object().unwrap().keys());
        let client = match is_for_keys.map(String::as_str).collect::<Vec<_>>()[..] {
            ["token"] => &customer,
            _ => &app.admin,
        };
        let key = format!("key-{tried}");
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key.as_str()),
            // of the programme, which is the first thing that is edited
            ("if-match", "\"1\""),
        ];
        let path = filled.path(&path.replace("{redemption_id}", &redemption));
        let answer = client
            .send(method, &path, &headers, example.to_string())
            .await;
        assert!(
            [200, 201, 202, 204].contains(&answer.status),
            "{path} {example}: {}",
            answer.text
        );
        tried += 1;
        if answer.text.is_empty() {
            continue;
        }
        let body = answer.json();
        for item in body["items"].as_array().into_iter().flatten() {
            assert_eq!(item["status"], 201, "{item}");
        }
        let described = &operation["responses"][answer.status.to_string()]["content"]["application/json"]
            ["schema"];
        check_shape(&whole, resolve(&whole, described), &body, &path);
    }
    assert_eq!(tried, 23);
}

/// Checks that what is told with a type of event is described so, among the `webhooks`.
pub(crate) fn check_told(what: &str, data: &Value) {
    let whole = description();
    let body = &whole["webhooks"][what]["post"]["requestBody"]["content"]["application/json"];
    let described = &body["schema"]["properties"]["data"];
    let schema = resolve(&whole, described);
    assert!(schema["properties"].is_object(), "{what} is not described");
    check_shape(&whole, schema, data, what);
}

#[test]
fn every_type_of_event_is_described() {
    let whole = description();
    let described = whole["webhooks"].as_object().unwrap();
    let types = EventType::ALL.iter().map(|what| what.as_str());
    assert_eq!(
        types.collect::<BTreeSet<_>>(),
        described.keys().map(String::as_str).collect()
    );
    for (what, item) in described {
        let body = &item["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body["properties"]["type"]["enum"], json!([what]));
        assert!(item["post"]["summary"].as_str().unwrap().len() > 10);
    }
}

pub(crate) fn resolve<'a>(whole: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => whole.pointer(&reference[1..]).expect("a schema"),
        None => schema,
    }
}

/// The example of a schema, whole or put together from those of its fields.
pub(crate) fn example_of(whole: &Value, schema: &Value) -> Option<Value> {
    let schema = resolve(whole, schema);
    if let Some(example) = schema.get("example").or_else(|| schema["examples"].get(0)) {
        return Some(example.clone());
    }
    let fields = schema["properties"].as_object()?;
    fields
        .iter()
        .map(|(name, field)| Some((name.clone(), example_of(whole, field)?)))
        .collect::<Option<serde_json::Map<_, _>>>()
        .map(Value::Object)
}

/// Checks that an answer has the fields that its schema describes, and no other.
pub(crate) fn check_shape(whole: &Value, schema: &Value, answer: &Value, at: &str) {
    let schema = resolve(whole, schema);
    match answer {
        Value::Object(fields) => {
            let Some(described) = schema["properties"].as_object() else {
                return;
            };
            for (name, value) in fields {
                let field = described
                    .get(name)
                    .unwrap_or_else(|| panic!("{at}: {name} is not described"));
                check_shape(whole, field, value, &format!("{at}/{name}"));
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(
                    fields.contains_key(name.as_str().unwrap_or("")),
                    "{at} has no {name}"
                );
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| check_shape(whole, &schema["items"], item, at)),
        other => {
            let kind = match other {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "integer",
                _ => "string",
            };
            let allowed = &schema["type"];
            let fits = allowed == kind
                || allowed
                    .as_array()
                    .is_some_and(|kinds| kinds.contains(&json!(kind)));
            assert!(
                fits || allowed.is_null(),
                "{at} is a {kind}, described as {allowed}"
            );
        }
    }
}
