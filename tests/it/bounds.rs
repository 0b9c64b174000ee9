//! Every field of a sale, at its bound and just beyond it; and that all faults are named at once.

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
async fn identifiers_have_bounds_of_their_own() {
    let mut all = rows(
        "/order_id",
        &[
            r#""a/b""#,
            r#""%2e%2E""#,
            r#""...""#,
            r#""a?b#c&d=;e""#,
            r#""\u0041""#,
            r#""'--""#,
            &long('x', 64),
        ],
        &[
            (
                "order_id_invalid",
                &[
                    r#""""#,
                    r#""a b""#,
                    r#""a\"b""#,
                    r#""a\\b""#,
                    r#"".""#,
                    r#""..""#,
                    r#""é""#,
                    r#""a\u0000""#,
                    r#""\u007f""#,
                    r#""a\n""#,
                    r#""😀""#,
                    &long('x', 65),
                    &long('x', 5000),
                ],
            ),
            ("wrong_type", &["5", "[]", "{}", "true", r#"["a"]"#]),
            ("missing_field", &["null"]),
            (
                "invalid_text",
                &[r#""\ud800""#, r#""\udc00\ud800""#, r#""a\ud83d""#],
            ),
        ],
    );
    all.extend(rows(
        "/kind",
        &["null", r#""sale""#],
        &[
            ("kind_unknown", &[r#""SALE""#, r#""""#, r#""return""#]),
            ("wrong_type", &["1", "[]"]),
        ],
    ));
    all.extend(rows(
        "/refers_to",
        &["null"],
        &[
            ("refers_to_invalid", &[r#""A-1""#, r#""""#]),
            ("wrong_type", &["7"]),
        ],
    ));
    let checksummed = r#""0x70997970C51812dc3A010C7d01b50e0d17dc79C8""#;
    all.extend(rows(
        "/customer_address",
        &[
            "null",
            checksummed,
            r#""0x70997970C51812DC3A010C7D01B50E0D17DC79C8""#,
        ],
        &[
            (
                "address_invalid",
                &[
                    &checksummed.replace("dc3A", "dc3a"),
                    &format!(r#""0x{}""#, "0".repeat(40)),
                    r#""0x7099""#,
                    r#""70997970c51812dc3a010c7d01b50e0d17dc79c8""#,
                    r#""""#,
                    &format!(r#""0x{}""#, "é".repeat(20)),
                    r#""0X70997970c51812dc3a010c7d01b50e0d17dc79c8""#,
                    r#""0x70997970c51812dc3a010c7d01b50e0d17dc79cg""#,
                ],
            ),
            ("wrong_type", &["643", "[112]"]),
        ],
    ));
    check_all(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_exact_or_refused() {
    let mut all = rows(
        "/amount/value",
        &[r#""0""#, r#""0.00""#, r#""1.5""#, r#""10000000000000.00""#],
        &[
            (
                "money_must_be_string",
                &[
                    "10",
                    "10.0",
                    "1e3",
                    "-1",
                    "0",
                    "1E400",
                    &"9".repeat(400),
                    "0.1",
                ],
            ),
            (
                "money_malformed",
                &[
                    r#""1e3""#,
                    r#""NaN""#,
                    r#""Infinity""#,
                    r#""-""#,
                    r#""+1""#,
                    r#""1,000""#,
                    r#"" 1""#,
                    r#""1 ""#,
                    r#""""#,
                    r#""1.""#,
                    r#"".5""#,
                    r#""0x10""#,
                    r#""01""#,
                    r#""00""#,
                    r#""१""#,
                    r#""１""#,
                    r#""1.0.0""#,
                    r#""1\u0000""#,
                    r#""-1e3""#,
                    r#""--1""#,
                    r#""1_000""#,
                    r#""1.5.""#,
                ],
            ),
            ("money_negative", &[r#""-1.00""#, r#""-0""#, r#""-0.001""#]),
            (
                "money_too_many_decimals",
                &[
                    r#""1.005""#,
                    r#""1.000""#,
                    &format!(r#""0.{}""#, "0".repeat(400)),
                ],
            ),
            (
                "money_too_large",
                &[
                    r#""10000000000000.01""#,
                    r#""99999999999999999999""#,
                    &long('9', 400),
                ],
            ),
            ("wrong_type", &["true", "[]", "{}", r#"["1"]"#]),
            ("missing_field", &["null"]),
        ],
    );
    all.extend(rows(
        "/amount/currency",
        &[r#""USD""#],
        &[
            (
                "currency_unknown",
                &[
                    r#""gbp""#,
                    r#""XXX""#,
                    r#""XAU""#,
                    r#""ZZZ""#,
                    r#""""#,
                    r#""GBPP""#,
                    r#""G\u0000P""#,
                ],
            ),
            ("wrong_type", &["826", "[]"]),
            ("missing_field", &["null"]),
        ],
    ));
    all.extend(rows(
        "/amount",
        &[],
        &[
            ("money_must_be_string", &["10", "1.5e3"]),
            ("wrong_type", &[r#""10.00""#, r#"["10.00","GBP"]"#, "true"]),
            ("missing_field", &["null"]),
        ],
    ));
    for total in ["/tax_total", "/discount_total"] {
        all.extend(rows(
            total,
            &["null", r#""0""#, r#""1.5""#],
            &[
                ("money_must_be_string", &["1", "1.5"]),
                ("money_too_many_decimals", &[r#""1.005""#]),
                ("money_negative", &[r#""-1""#]),
                ("wrong_type", &["{}"]),
            ],
        ));
    }
    check_all(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_and_payments_have_bounds_of_their_own() {
    let line = |price: &str| format!(r#"{{"quantity":1,"unit_price":"{price}"}}"#);
    let list = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
    let payment = r#"{"method":"cash","amount":"1"}"#;
    let mut all = rows(
        "/lines",
        &["null", "[]", &list(&line("0.001"), 2000)],
        &[
            ("too_many_lines", &[&list(&line("1"), 2001)]),
            ("wrong_type", &["{}", r#""x""#, "5"]),
        ],
    );
    all.extend(rows(
        "/lines/0",
        &[],
        &[(
            "wrong_type",
            &["5", "[]", "null", r#"["s","n",1,"1"]"#, r#""x""#],
        )],
    ));
    all.extend(rows(
        "/lines/0/sku",
        &["null", &long('é', 64)],
        &[
            ("text_too_long", &[&long('é', 65)]),
            ("text_has_nul", &[r#""a\u0000b""#]),
            ("wrong_type", &["5"]),
        ],
    ));
    all.extend(rows(
        "/lines/0/name",
        &["null", &long('😀', 200), r#""\"\\\/\b\f\n\r\t\u2028""#],
        &[
            ("text_too_long", &[&long('x', 201)]),
            ("text_has_nul", &[r#""\u0000""#]),
            ("invalid_text", &[r#""\udfff""#]),
        ],
    ));
    all.extend(rows(
        "/lines/0/quantity",
        &["0", "3", r#""0.250""#, r#""0""#, "999999999999"],
        &[
            (
                "money_negative",
                &["-1", r#""-0.5""#, "-0", "-9223372036854775809"],
            ),
            (
                "quantity_not_integer",
                &["1.5", "1e2", "1E400", "0.0", "-1.5"],
            ),
            ("money_malformed", &[r#""1e2""#, r#""""#, r#""one""#]),
            ("money_too_many_decimals", &[r#""0.0000001""#]),
            (
                "money_too_large",
                &[
                    "1000000000000",
                    "18446744073709551616",
                    &"9".repeat(400),
                    &long('9', 400),
                ],
            ),
            (
                "wrong_type",
                &["true", "[]", r#"{"$serde_json::private::RawValue":"1"}"#],
            ),
            ("missing_field", &["null"]),
        ],
    ));
    for (price, needed) in [
        ("/lines/0/unit_price", true),
        ("/lines/0/tax", false),
        ("/lines/0/discount", false),
    ] {
        all.extend(rows(
            price,
            &[r#""0.001""#, r#""999999999999.999999""#],
            &[
                ("money_must_be_string", &["1", "0.5"]),
                ("money_negative", &[r#""-1""#]),
                ("money_too_many_decimals", &[r#""1.0000001""#]),
                ("money_too_large", &[r#""1000000000000""#]),
            ],
        ));
        all.push((
            price,
            "null".to_owned(),
            if needed { "missing_field" } else { "" },
        ));
    }
    all.extend(rows(
        "/payments",
        &["null", "[]", &list(payment, 100)],
        &[
            ("too_many_lines", &[&list(payment, 101)]),
            ("wrong_type", &["{}"]),
        ],
    ));
    all.extend(rows(
        "/payments/0/method",
        &[&long('m', 64)],
        &[
            ("text_empty", &[r#""""#]),
            ("text_too_long", &[&long('m', 65)]),
            ("missing_field", &["null"]),
        ],
    ));
    all.extend(rows(
        "/payments/0/amount",
        &[r#""0""#],
        &[
            ("money_must_be_string", &["1"]),
            ("money_too_many_decimals", &[r#""1.005""#]),
            ("missing_field", &["null"]),
        ],
    ));
    check_all(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_times_and_metadata_have_bounds_of_their_own() {
    let mut all = Vec::new();
    for text in ["/customer_ref", "/register", "/cashier"] {
        all.extend(rows(
            text,
            &["null", &long('é', 64)],
            &[
                ("text_too_long", &[&long('x', 65)]),
                ("text_has_nul", &[r#""\u0000""#]),
                ("invalid_text", &[r#""\ud800x""#]),
                ("wrong_type", &["5", "[]"]),
            ],
        ));
    }
    let ahead = |hours: i64| {
        let time = counterfoil::clock::Clock::system().now() + time::Duration::hours(hours);
        format!("\"{}\"", counterfoil::clock::rfc3339_ms(time))
    };
    all.extend(rows(
        "/sold_at",
        &[
            "null",
            r#""1970-01-01T00:00:00Z""#,
            r#""2026-01-31T10:00:00.123456789+05:30""#,
            &ahead(23),
        ],
        &[
            (
                "time_in_future",
                &[
                    &ahead(25),
                    r#""9999-12-31T23:59:59Z""#,
                    r#""9999-12-31T23:59:59-23:59""#,
                ],
            ),
            (
                "time_invalid",
                &[
                    r#""2026-01-31""#,
                    r#""2026-01-31T10:00:00""#,
                    r#""2026-02-30T10:00:00Z""#,
                    r#""1969-12-31T23:59:59.999Z""#,
                    r#""1970-01-01T00:00:00+00:01""#,
                    r#""0000-01-01T00:00:00+23:59""#,
                    r#""now""#,
                    r#""""#,
                    r#""1700000000""#,
                ],
            ),
            ("wrong_type", &["1700000000"]),
        ],
    ));
    let map = |count: usize| {
        let entries: Vec<String> = (0..count).map(|n| format!(r#""k{n}":"""#)).collect();
        format!("{{{}}}", entries.join(","))
    };
    all.extend(rows(
        "/metadata",
        &["null", "{}", &map(50)],
        &[
            ("too_many_keys", &[&map(51)]),
            ("wrong_type", &["[]", r#""x""#, r#"[["k","v"]]"#]),
        ],
    ));
    all.extend(rows(
        "/metadata/k",
        &[&long('é', 500), r#""""#],
        &[
            ("text_too_long", &[&long('x', 501)]),
            ("text_has_nul", &[r#""\u0000""#]),
            ("wrong_type", &["5", "null", "{}", r#"{"a":"b"}"#]),
        ],
    ));
    let (fits, too_long) = (
        format!("/metadata/{}", "é".repeat(40)),
        format!("/metadata/{}", "é".repeat(41)),
    );
    all.push((&fits, r#""v""#.to_owned(), ""));
    all.push((&too_long, r#""v""#.to_owned(), "text_too_long"));
    all.push(("/metadata/", r#""v""#.to_owned(), "text_empty"));
    all.push(("/metadata/a~1b~0c", "5".to_owned(), "wrong_type"));
    all.extend(rows(
        "/idempotency_key",
        &["null"],
        &[
            ("idempotency_key_differs", &[r#""other""#, r#""""#]),
            ("wrong_type", &["5"]),
        ],
    ));
    for unknown in [
        "/colour",
        "/lines/0/colour",
        "/payments/0/colour",
        "/amount/minor",
        "/a~1b",
        "/Order_id",
    ] {
        all.push((unknown, "1".to_owned(), "unknown_field"));
    }
    check_all(&all).await;
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
