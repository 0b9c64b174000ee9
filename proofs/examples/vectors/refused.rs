//! Receipts that a parser must refuse, made from one that is valid by changing one thing.

use counterfoil_proofs::{hex, receipt::Receipt};

/// Name, what is there exactly once, and what comes in its place.
const REPLACED: &[(&str, &str, &str)] = &[
    ("an unknown field", VERSION, r#""version":1,"note":"","#),
    ("a repeated field", VERSION, r#""version":1,"version":1,"#),
    ("a missing field", VERSION, ""),
    ("another version", VERSION, r#""version":2,"#),
    ("a version that is a string", VERSION, r#""version":"1","#),
    ("a version with a fraction", VERSION, r#""version":1.0,"#),
    (
        "an unknown field of the sale",
        KIND,
        r#""kind":1,"state":"","#,
    ),
    (
        "a repeated field of the sale",
        KIND,
        r#""kind":1,"kind":1,"#,
    ),
    ("a missing field of the sale", KIND, ""),
    ("a kind that is none", KIND, r#""kind":3,"#),
    ("a number where a string belongs", SEQ, r#""seq":3"#),
    ("a leading zero", SEQ, r#""seq":"03""#),
    ("a sign", SEQ, r#""seq":"+3""#),
    (
        "2^64 where it does not fit",
        SEQ,
        r#""seq":"18446744073709551616""#,
    ),
    ("an empty number", SEQ, r#""seq":"""#),
    ("an amount in hex", "150375", "0x24b67"),
    ("an amount with a fraction", "150375", "1503.75"),
    ("a negative amount", "150375", "-1"),
    ("2^256", "150375", TWO_TO_256),
    ("an order id with a quote", ORDER, r#"2026\""#),
    ("an order id with a space", ORDER, "2026 3"),
    ("an empty order id", ORDER, ""),
    ("a currency in lower case", r#""INR""#, r#""inr""#),
    (
        "a sibling that is short",
        r#""proof":["0x"#,
        r#""proof":["0x00","0x"#,
    ),
    (
        "a time without milliseconds",
        "03:05:10.000Z\"}",
        "03:05:10Z\"}",
    ),
    (
        "a registry on another kind of chain",
        "eip155:8453:",
        "solana:8453:",
    ),
    (
        "a state that is none",
        r#""state":"sealed""#,
        r#""state":"pending""#,
    ),
    (
        "a link that would run",
        "https://explorer.example",
        "javascript:explorer",
    ),
];

const VERSION: &str = r#""version":1,"#;
const KIND: &str = r#""kind":1,"#;
const SEQ: &str = r#""seq":"3""#;
const ORDER: &str = "2026-000003";
const TWO_TO_256: &str =
    "115792089237316195423570985008687907853269984665640564039457584007913129639936";

/// Name and text of each, made from a receipt that has everything.
pub(crate) fn cases(receipt: &Receipt) -> Vec<(&'static str, String)> {
    let text = receipt.to_json();
    let replaced = REPLACED
        .iter()
        .map(|&(name, from, to)| (name, replace(&text, from, to)));
    broken(&text)
        .into_iter()
        .chain(replaced)
        .chain(computed(receipt, &text))
        .collect()
}

/// Replaces what is there exactly once.
pub(crate) fn replace(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

/// What is not one JSON object.
fn broken(text: &str) -> Vec<(&'static str, String)> {
    vec![
        ("empty", String::new()),
        ("not an object", "[]".to_owned()),
        ("cut off", text[..text.len() - 1].to_owned()),
        ("a second value", text.to_owned() + "{}"),
    ]
}

fn computed(receipt: &Receipt, text: &str) -> Vec<(&'static str, String)> {
    let customer = hex::encode(&receipt.sale.customer.unwrap_or_default());
    let of_customer = |to: &str| replace(text, &customer, to);
    let siblings = format!("\"0x{}\",", "00".repeat(32)).repeat(61);
    let with_siblings = format!(r#""proof":[{siblings}"#);
    vec![
        (
            "an amount of 400 digits",
            replace(text, "150375", &"9".repeat(400)),
        ),
        ("an address that is short", of_customer(&customer[..40])),
        (
            "an address in upper case",
            of_customer(&format!("0x{}", "AB".repeat(20))),
        ),
        ("an address without 0x", of_customer(&customer[2..])),
        ("a null", replace(text, &format!("\"{customer}\""), "null")),
        ("details that are no string", unquote_details(text)),
        ("no proof in a batch", empty_proof(text)),
        ("65 siblings", replace(text, r#""proof":["#, &with_siblings)),
        (
            "a batch without anchors",
            end_before(text, r#","anchors":["#),
        ),
        (
            "a proof before the batch",
            end_before(text, r#","batch":{"#),
        ),
    ]
}

fn unquote_details(text: &str) -> String {
    let start = text.find(r#""details":"{"#).expect("the details") + r#""details":"#.len();
    let end = text.find(r#"","proof""#).expect("the proof");
    format!("{}{{}}{}", &text[..start], &text[end + 1..])
}

fn empty_proof(text: &str) -> String {
    let start = text.find(r#""proof":["#).expect("the proof") + r#""proof":["#.len();
    let end = start + text[start..].find(']').expect("its end");
    format!("{}{}", &text[..start], &text[end..])
}

/// Cuts everything from `field` to the end of the receipt.
fn end_before(text: &str, field: &str) -> String {
    format!("{}}}", &text[..text.find(field).expect("the field")])
}
