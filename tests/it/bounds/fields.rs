//! Identifiers and money.

use super::{check_all, long, rows};

#[tokio::test(flavor = "multi_thread")]
async fn identifiers_have_bounds_of_their_own() {
    let all = rows(
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
    check_all(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_references_and_addresses_have_bounds_of_their_own() {
    let mut all = Vec::new();
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
    let all = rows(
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
    check_all(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn currencies_and_totals_have_bounds_of_their_own() {
    let mut all = Vec::new();
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
