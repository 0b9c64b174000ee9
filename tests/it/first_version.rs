//! The endpoints of the first version, as its callers know them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, App, sale};

const ADDRESS: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
const JSON: (&str, &str) = ("content-type", "application/json");

/// Posts without an `Idempotency-Key`.
async fn record(app: &App, body: String) -> Answer {
    app.admin
        .send(Method::POST, "/transactions/record", &[JSON], body)
        .await
}

fn body(order: &str, amount: &str) -> String {
    format!(r#"{{"orderid":"{order}","customeraddress":"{ADDRESS}","amountINR":{amount}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_answered_and_read_in_the_old_words() {
    let app = App::start().await;
    let answer = record(&app, body("A-1", "1500.75")).await.expect(201);
    let made = answer.json();
    let names: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "transaction_id",
            "orderid",
            "customeraddress",
            "amountINR",
            "amount_wei",
            "loyalty_points",
            "status",
            "receipt_url"
        ]
    );
    assert_eq!(
        (
            &made["orderid"],
            &made["customeraddress"],
            &made["amountINR"]
        ),
        (&json!("A-1"), &json!(ADDRESS), &json!("1500.75"))
    );
    assert_eq!(
        (
            &made["amount_wei"],
            &made["loyalty_points"],
            &made["status"]
        ),
        (&Value::Null, &Value::Null, &json!("pending"))
    );

    let id = made["transaction_id"].as_str().unwrap();
    let read = app
        .admin
        .get(&format!("/transactions/{id}"))
        .await
        .expect(200)
        .json();
    for (name, value) in made.as_object().unwrap() {
        assert_eq!(&read[name], value, "{name}");
    }
    assert_eq!(read["tx_hash"], Value::Null);
    // the same sale in the new words
    let sale = app
        .admin
        .get(&format!("/v1/sales/{id}"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        sale["amount"],
        json!({"value": "1500.75", "currency": "INR", "minor": 150_075})
    );
    assert_eq!(
        (&sale["receipt_url"], &sale["kind"]),
        (&made["receipt_url"], &json!("sale"))
    );
    let receipt = made["receipt_url"]
        .as_str()
        .unwrap()
        .strip_prefix(crate::harness::PUBLIC_URL)
        .unwrap();
    app.admin.with_key(None).get(receipt).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_is_read_from_its_own_text() {
    let app = App::start().await;
    let check = async |amount: &str, expected: Result<&str, &str>| {
        let order = format!(
            "o{:?}",
            amount.bytes().map(u32::from).sum::<u32>() * 1000
                + u32::try_from(amount.len()).unwrap()
        );
        let answer = record(&app, body(&order, amount)).await;
        match expected {
            Ok(value) => assert_eq!(answer.expect(201).json()["amountINR"], value, "{amount}"),
            Err(code) => {
                answer.problem(code);
                assert_eq!(
                    answer.faults(),
                    [("/amountINR".to_owned(), code.to_owned())],
                    "{amount}"
                );
            }
        }
    };
    for (amount, expected) in [
        ("0.1", Ok("0.10")),
        ("\"10.50\"", Ok("10.50")),
        ("10", Ok("10.00")),
        ("0", Ok("0.00")),
        ("9999999999999.99", Ok("9999999999999.99")),
        // what a float would have made of these is another amount
        ("90071992547409.93", Err("money_too_large")),
        ("4503599627370.49", Ok("4503599627370.49")),
        ("12345678901234567890", Err("money_too_large")),
        ("1e3", Err("money_malformed")),
        ("1E-2", Err("money_malformed")),
        ("1.005", Err("money_too_many_decimals")),
        (
            "1.10000000000000000000000000001",
            Err("money_too_many_decimals"),
        ),
        ("-1", Err("money_negative")),
        ("-0.0", Err("money_negative")),
        ("\"1,000\"", Err("money_malformed")),
        ("\"\"", Err("money_malformed")),
        ("true", Err("wrong_type")),
        ("[1]", Err("wrong_type")),
        ("{\"value\":\"1\"}", Err("wrong_type")),
        ("null", Err("missing_field")),
    ] {
        check(amount, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_named_by_the_old_fields() {
    let app = App::start().await;
    let check = async |body: &str, expected: &[(&str, &str)]| {
        let before = app.db.row_counts().await;
        let expected: Vec<_> = expected
            .iter()
            .map(|(p, c)| ((*p).to_owned(), (*c).to_owned()))
            .collect();
        assert_eq!(
            record(&app, body.to_owned()).await.faults(),
            expected,
            "{body}"
        );
        assert_eq!(app.db.row_counts().await, before);
    };
    check(
        "{}",
        &[
            ("/amountINR", "missing_field"),
            ("/customeraddress", "missing_field"),
            ("/orderid", "missing_field"),
        ],
    )
    .await;
    check(
        r#"{"orderid":"a b","customeraddress":"0x0","amountINR":"1.005","kind":"refund"}"#,
        &[
            ("/amountINR", "money_too_many_decimals"),
            ("/customeraddress", "address_invalid"),
            ("/kind", "unknown_field"),
            ("/orderid", "order_id_invalid"),
        ],
    )
    .await;
    check(
        r#"{"orderid":5,"orderid":"A","customeraddress":null,"amountINR":1}"#,
        &[
            ("/customeraddress", "missing_field"),
            ("/orderid", "repeated_field"),
            ("/orderid", "wrong_type"),
        ],
    )
    .await;
    check(&body("", "1"), &[("/orderid", "order_id_invalid")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_order_id_is_the_key() {
    let app = App::start().await;
    let first = record(&app, body("A-1", "10.5")).await.expect(201);
    let again = record(&app, body("A-1", "\"10.50\"")).await.expect(201);
    assert_eq!(
        (again.text.as_str(), again.header("idempotent-replayed")),
        (first.text.as_str(), "true")
    );
    record(&app, body("A-1", "10.51"))
        .await
        .problem("idempotency_key_reused");
    // with a key it is that one which counts
    let key = [JSON, ("idempotency-key", "k-1")];
    let keyed = app
        .admin
        .send(
            Method::POST,
            "/transactions/record",
            &key,
            body("A-1", "10.51"),
        )
        .await;
    keyed.problem("order_exists");
    let bad = [JSON, ("idempotency-key", "a b")];
    let answer = app
        .admin
        .send(
            Method::POST,
            "/transactions/record",
            &bad,
            body("A-1", "10.5"),
        )
        .await;
    answer.problem("idempotency_key_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_transaction_is_not_read_as_one() {
    let app = App::start().await;
    let pounds = app.admin.record("k", &sale("A-1")).await.expect(201).json();
    let id = pounds["sale_id"].as_str().unwrap();
    for id in [id, "sale_00000000000000000000000000", "A-1", "x"] {
        app.admin
            .get(&format!("/transactions/{id}"))
            .await
            .problem("not_found");
    }
}
