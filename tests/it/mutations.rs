//! A valid request, changed at random: the answer is a sale or a whole problem document, and the two
//! passes over a body never disagree.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::harness::App;

/// JSON texts that have broken readers before.
const NASTY: [&str; 32] = [
    "null",
    "true",
    "0",
    "-0",
    "-1",
    "1.5",
    "1e3",
    "1E400",
    "-9223372036854775809",
    "18446744073709551616",
    "\"\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"1e3\"",
    "\"NaN\"",
    "\"-1\"",
    "\"1.005\"",
    "\" \"",
    "[]",
    "{}",
    "[[]]",
    "[null]",
    "{\"\":{}}",
    "[1,2]",
    "{\"quantity\":1}",
    "\"9999-12-31T23:59:59-23:59\"",
    "\"sale_00000000000000000000000000\"",
    "\"..\"",
    "{\"value\":1}",
    "\"refund\"",
    "[{}]",
    "\"\u{10ffff}\"",
];

fn valid(order: usize) -> Value {
    json!({
        "order_id": format!("M-{order}"), "kind": "sale", "amount": {"value": "10.00", "currency": "GBP"},
        "customer_ref": "c", "register": "r", "cashier": "a", "sold_at": "2026-01-31T10:00:00Z",
        "customer_address": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
        "lines": [{"sku": "s", "name": "n", "quantity": 1, "unit_price": "1", "tax": "0", "discount": "0"}, {"quantity": "2.5", "unit_price": "4"}],
        "payments": [{"method": "cash", "amount": "10.00"}],
        "tax_total": "0", "discount_total": "0", "metadata": {"k": "v", "l": "w"},
    })
}

/// Where something may be changed: every value of the request.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, v)| pointers(v, &format!("{at}/{name}"), into)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(i, v)| pointers(v, &format!("{at}/{i}"), into)),
        _ => {}
    }
}

/// A change of the text of a request.
#[derive(Debug, Clone)]
enum Change {
    /// The value at a place becomes this text.
    Replace(prop::sample::Index, &'static str),
    /// An object gets another entry, whose name it may have already.
    Insert(prop::sample::Index, &'static str, &'static str),
    /// A value goes.
    Remove(prop::sample::Index),
    /// The text is cut off, or gets another byte in its middle.
    Cut(prop::sample::Index),
    Byte(prop::sample::Index, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<prop::sample::Index>;
    let nasty = || prop::sample::select(NASTY.as_slice());
    let name = prop::sample::select(
        [
            "order_id", "value", "kind", "quantity", "lines", "k", "colour", "\\ud800", "",
        ]
        .as_slice(),
    );
    prop_oneof![
        8 => (place(), nasty()).prop_map(|(at, text)| Change::Replace(at, text)),
        4 => (place(), name, nasty()).prop_map(|(at, name, text)| Change::Insert(at, name, text)),
        3 => place().prop_map(Change::Remove),
        1 => place().prop_map(Change::Cut),
        1 => (place(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
    ]
}

/// Texts that no `Value` holds stand in it as a marker and are put in when it is written.
fn apply(mut body: Value, changes: &[Change]) -> Vec<u8> {
    let mut texts = Vec::new();
    for change in changes {
        let mut places = Vec::new();
        pointers(&body, "", &mut places);
        match change {
            Change::Replace(at, text) => {
                let place = body.pointer_mut(at.get(&places).as_str()).expect("a place");
                *place = marker(&mut texts, (*text).to_owned());
            }
            Change::Insert(at, name, text) => {
                if let Some(Value::Object(fields)) = body.pointer_mut(at.get(&places).as_str()) {
                    // under a name of its own, which the text gives up again
                    let index = texts.len();
                    fields.insert(format!("\u{2603}key{index}\u{2603}"), json!(0));
                    texts.push(format!("\"{name}\":{text}"));
                }
            }
            Change::Remove(at) => {
                let place = at.get(&places).rsplit_once('/');
                if let Some((Some(Value::Object(fields)), name)) =
                    place.map(|(parent, name)| (body.pointer_mut(parent), name))
                {
                    fields.remove(name);
                }
            }
            Change::Cut(_) | Change::Byte(..) => {}
        }
    }
    let mut written = body.to_string();
    for (index, text) in texts.iter().enumerate() {
        written = written.replace(&format!("\"\u{2603}key{index}\u{2603}\":0"), text);
        written = written.replace(&format!("\"\u{2603}{index}\u{2603}\""), text);
    }
    let mut bytes = written.into_bytes();
    for change in changes {
        match change {
            Change::Cut(at) if !bytes.is_empty() => bytes.truncate(at.index(bytes.len())),
            Change::Byte(at, byte) if !bytes.is_empty() => {
                let place = at.index(bytes.len());
                bytes[place] = *byte;
            }
            _ => {}
        }
    }
    bytes
}

fn marker(texts: &mut Vec<String>, text: String) -> Value {
    texts.push(text);
    json!(format!("\u{2603}{}\u{2603}", texts.len() - 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn any_change_of_a_request_is_answered_by_a_sale_or_a_whole_problem() {
    const CASES: usize = 1500;
    let app = App::start().await;
    let mut runner = TestRunner::default();
    let strategy = prop::collection::vec(change(), 0..4);
    let mut recorded = 0;
    for case in 0..CASES {
        let changes = strategy.new_tree(&mut runner).expect("a case").current();
        let body = apply(valid(case), &changes);
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answer = app
            .admin
            .post("/v1/sales", &format!("k-{case}"), body)
            .await;
        match answer.status {
            // a changed byte may make it another case's order again
            201 if answer.header("idempotent-replayed") == "true" => {}
            201 => recorded += 1,
            400 | 409 | 413 | 422 => {
                let problem = answer.any_problem();
                // what the code answers when the quick pass refuses and the thorough one finds nothing
                assert_ne!(problem["detail"], "the body could not be read", "{shown}");
            }
            other => panic!("{other} for {shown}: {}", answer.text),
        }
    }
    let stored: i64 = sqlx::query_scalar("select count(*) from sale")
        .fetch_one(&app.db.owner)
        .await
        .expect("a count");
    assert_eq!(stored, recorded, "as many sales as were acknowledged");
    assert!(
        recorded > 100,
        "{recorded} of {CASES} recorded: the changes are too rough to test much"
    );
}
