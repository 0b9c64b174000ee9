//! Every field of a sale, at its bound and just beyond it; and that all faults are named at once.

mod fields;
mod lists;

use serde_json::{Value, json};

use crate::harness::{App, Client};

/// A sale with every field.
fn full_sale() -> Value {
    json!({
        "order_id": "bounds", "kind": "sale", "amount": {"value": "10.00", "currency": "GBP"},
        "customer_ref": "c-1", "customer_address": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
        "register": "till-1", "cashier": "Ada", "sold_at": "2026-01-31T10:00:00Z",
        "lines": [{"sku": "s", "name": "n", "quantity": 1, "unit_price": "10.00", "tax": "1.67", "discount": "0"}],
        "payments": [{"method": "cash", "amount": "10.00"}],
        "tax_total": "1.67", "discount_total": "0.00", "metadata": {"k": "v"},
    })
}

/// The JSON text of `body` with `text`, which may be what no `Value` holds, put at `pointer`.
fn put(mut body: Value, pointer: &str, text: &str) -> String {
    const PLACE: &str = "\u{2603}";
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = body.pointer_mut(parent).expect("a parent");
    match parent {
        Value::Object(fields) => {
            let name = name.replace("~1", "/").replace("~0", "~");
            fields.insert(name, json!(PLACE));
        }
        other => other[name.parse::<usize>().expect("an index")] = json!(PLACE),
    }
    body.to_string().replacen(&format!("\"{PLACE}\""), text, 1)
}

/// Sends a sale with `text` at `pointer`, and expects it to be recorded when `code` is empty, else to
/// be refused for that one reason at that place.
async fn check(till: &Client, pointer: &str, text: &str, code: &str) {
    let shown = format!("{pointer} = {}", text.chars().take(80).collect::<String>());
    let mut body = full_sale();
    let name = format!("n{:?}", std::hash::BuildHasher::hash_one(&FIXED, &shown));
    body["order_id"] = json!(name);
    let answer = till
        .post("/v1/sales", &format!("k-{name}"), put(body, pointer, text))
        .await;
    if code.is_empty() {
        assert_eq!(answer.status, 201, "{shown}: {}", answer.text);
    } else {
        assert_eq!(
            answer.faults(),
            [(pointer.to_owned(), code.to_owned())],
            "{shown}"
        );
        assert_eq!(answer.problem(code)["code"], code, "{shown}");
    }
}

/// Names for rows, the same in every run.
static FIXED: std::hash::BuildHasherDefault<std::hash::DefaultHasher> =
    std::hash::BuildHasherDefault::new();

/// Runs the rows, and sees that the refused ones left nothing behind in any table.
async fn check_all(rows: &[(&str, String, &str)]) {
    let app = App::start().await;
    let (refused, recorded): (Vec<_>, Vec<_>) = rows.iter().partition(|row| !row.2.is_empty());
    let before = app.db.row_counts().await;
    for (pointer, text, code) in refused {
        check(&app.admin, pointer, text, code).await;
    }
    assert_eq!(
        app.db.row_counts().await,
        before,
        "a refused sale left a row"
    );
    for (pointer, text, code) in &recorded {
        check(&app.admin, pointer, text, code).await;
    }
    let stored: i64 = sqlx::query_scalar("select count(*) from sale")
        .fetch_one(&app.db.owner)
        .await
        .expect("a count");
    assert_eq!(usize::try_from(stored).expect("a count"), recorded.len());
}

/// Rows of one field: those that are recorded and those that are refused, as JSON texts.
fn rows<'a>(
    pointer: &'a str,
    fine: &[&str],
    wrong: &[(&'a str, &[&str])],
) -> Vec<(&'a str, String, &'a str)> {
    let fine = fine.iter().map(|text| (pointer, (*text).to_owned(), ""));
    let wrong = wrong.iter().flat_map(|(code, texts)| {
        texts
            .iter()
            .map(move |text| (pointer, (*text).to_owned(), *code))
    });
    fine.chain(wrong).collect()
}

/// A JSON string of this many characters.
fn long(character: char, count: usize) -> String {
    format!("\"{}\"", character.to_string().repeat(count))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_faults_of_a_request_are_named_at_once() {
    let app = App::start().await;
    let check = async |body: &str, code: &str, expected: &[(&str, &str)]| {
        let answer = app
            .admin
            .post("/v1/sales", "k-faults", body.to_owned())
            .await;
        answer.problem(code);
        let expected: Vec<_> = expected
            .iter()
            .map(|(p, c)| ((*p).to_owned(), (*c).to_owned()))
            .collect();
        assert_eq!(answer.faults(), expected, "{body}");
    };
    // shape and meaning together
    check(
        r#"{"order_id": "a b", "kind": 5, "colour": "red", "amount": {"value": 10.5, "currency": "gbp"},
            "lines": [{"quantity": 1.5, "unit_price": "-1"}, {}], "metadata": {"": "x", "k": 1}}"#,
        "request_malformed",
        &[
            ("/amount/currency", "currency_unknown"),
            ("/amount/value", "money_must_be_string"),
            ("/colour", "unknown_field"),
            ("/kind", "wrong_type"),
            ("/lines/0/quantity", "quantity_not_integer"),
            ("/lines/0/unit_price", "money_negative"),
            ("/lines/1/quantity", "missing_field"),
            ("/lines/1/unit_price", "missing_field"),
            ("/metadata/", "text_empty"),
            ("/metadata/k", "wrong_type"),
            ("/order_id", "order_id_invalid"),
        ],
    )
    .await;
    // meaning alone
    check(
        r#"{"order_id": "", "kind": "gift", "amount": {"value": "1.005", "currency": "GBP"}, "sold_at": "soon",
            "payments": [{"method": "", "amount": "1,5"}], "idempotency_key": "k-faults"}"#,
        "request_invalid",
        &[
            ("/amount/value", "money_too_many_decimals"),
            ("/kind", "kind_unknown"),
            ("/order_id", "order_id_invalid"),
            ("/payments/0/amount", "money_malformed"),
            ("/payments/0/method", "text_empty"),
            ("/sold_at", "time_invalid"),
        ],
    )
    .await;
    // the key that differs is a fault among others
    check(
        r#"{"order_id": "", "amount": {"value": 1, "currency": "JPY"}, "idempotency_key": "other"}"#,
        "request_malformed",
        &[
            ("/amount/value", "money_must_be_string"),
            ("/idempotency_key", "idempotency_key_differs"),
            ("/order_id", "order_id_invalid"),
        ],
    )
    .await;
    // where the currency is not known, the form of amounts is judged, not their size in it
    check(
        r#"{"order_id": "A", "amount": {"value": "100000000000000", "currency": "ZZZ"}, "tax_total": "x"}"#,
        "request_invalid",
        &[("/amount/currency", "currency_unknown"), ("/tax_total", "money_malformed")],
    )
    .await;
}
