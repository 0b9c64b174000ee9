//! Lines, payments, metadata, texts and times.

use super::{check_all, long, rows};

#[tokio::test(flavor = "multi_thread")]
async fn lines_have_bounds_of_their_own() {
    let line = |price: &str| format!(r#"{{"quantity":1,"unit_price":"{price}"}}"#);
    let list = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
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
    check_all(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quantities_and_prices_are_exact_or_refused() {
    let mut all = Vec::new();
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
    check_all(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_have_bounds_of_their_own() {
    let mut all = Vec::new();
    let list = |count: usize| {
        format!(
            "[{}]",
            vec![r#"{"method":"cash","amount":"1"}"#; count].join(",")
        )
    };
    all.extend(rows(
        "/payments",
        &["null", "[]", &list(100)],
        &[("too_many_lines", &[&list(101)]), ("wrong_type", &["{}"])],
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
async fn texts_and_times_have_bounds_of_their_own() {
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
    check_all(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_fields_that_are_none_have_bounds_of_their_own() {
    let mut all = Vec::new();
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
