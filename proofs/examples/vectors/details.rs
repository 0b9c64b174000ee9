//! `details.json`: texts that are details of a sale, and texts that are not.

use counterfoil_proofs::{details, hex};
use serde::Serialize;

use super::draw;

#[derive(Serialize)]
pub(crate) struct File {
    valid: Vec<Valid>,
    invalid: Vec<Invalid>,
}

#[derive(Serialize)]
struct Valid {
    name: &'static str,
    text: String,
    hash: String,
}

#[derive(Serialize)]
struct Invalid {
    name: &'static str,
    text: String,
}

/// A letter that comes after an emoji in UTF-16, and before it as a code point.
const DALET: char = '\u{fb33}';

/// The details of an ordinary sale.
pub(crate) fn of_sale(seq: u64) -> String {
    let salt = hex::encode(&draw::hash("details: salt", seq));
    let (rupees, paise) = (1500 + seq, 75);
    format!(
        r#"{{"decimals":"2","lines":[{{"name":"Masala dosa","quantity":"1","sku":"DOSA-1","unit_price":"{rupees}.{paise}"}}],"metadata":{{"table":"{seq}"}},"payments":[{{"amount":"{rupees}.{paise}","method":"upi"}}],"register":"till-1","salt":"{salt}","sold_at":"2026-01-02T03:04:05.000Z","v":1}}"#
    )
}

pub(crate) fn file() -> File {
    let valid = valid().into_iter().map(|(name, text)| Valid {
        name,
        hash: hex::encode(&details::hash(text.as_bytes())),
        text,
    });
    let invalid = invalid()
        .into_iter()
        .map(|(name, text)| Invalid { name, text });
    File {
        valid: valid.collect(),
        invalid: invalid.collect(),
    }
}

fn salt() -> String {
    hex::encode(&draw::hash("details: salt", 0))
}

fn valid() -> Vec<(&'static str, String)> {
    let salt = salt();
    vec![
        ("an ordinary sale", of_sale(1)),
        (
            "nothing but version and salt",
            format!(r#"{{"salt":"{salt}","v":1}}"#),
        ),
        (
            "keys in order of UTF-16 code units, not of code points",
            format!(
                r#"{{"metadata":{{"":"","\r":"","1":"","A":"","a":"","é":"","€":"","😀":"","{DALET}":""}},"salt":"{salt}","v":1}}"#
            ),
        ),
        (
            "every escape that is needed, and none that is not",
            format!(
                r#"{{"register":"\b\t\n\f\r\"\\\u0000\u001f/ \u2028é😀","salt":"{salt}","v":1}}"#
            )
            .replace(r"\u2028", "\u{7f}\u{2028}"),
        ),
        (
            "booleans, empty lists and objects",
            format!(
                r#"{{"a":true,"b":false,"lines":[],"metadata":{{}},"payments":[[]],"salt":"{salt}","v":1}}"#
            ),
        ),
        (
            "eight levels",
            format!(r#"{{"a":[[[[[[["x"]]]]]]],"salt":"{salt}","v":1}}"#),
        ),
        (
            "points, and a rate: 1,500.75 at 250,000.5 for 1 ETH",
            format!(
                r#"{{"decimals":"2","payments":[{{"amount":"1500.75","method":"upi"}}],"points":{{"base":"15.5","programme":"3"}},"rate":{{"age_ms":"1250","as_of":"2026-01-02T03:04:03.750Z","base":"ETH","quote":"INR","source":"api.coingecko.com","tier":"live","value":"250000.5","wei":"6002987994024012"}},"register":"till-1","salt":"{salt}","sold_at":"2026-01-02T03:04:05.000Z","v":1}}"#
            ),
        ),
        (
            "a rate that was fixed, and text that looks like one",
            format!(
                r#"{{"decimals":"0","metadata":{{",\"points\":{{":"x","rate":"{{}}"}},"rate":{{"age_ms":"60000","as_of":"2026-01-02T03:03:05.000Z","base":"ETH","quote":"JPY","source":"configuration","tier":"emergency","value":"3","wei":"666666666666666667"}},"salt":"{salt}","v":1}}"#
            ),
        ),
    ]
}

fn invalid() -> Vec<(&'static str, String)> {
    let salt = salt();
    let with = |field: &str| format!(r#"{{{field}"salt":"{salt}","v":1}}"#);
    vec![
        ("empty", String::new()),
        ("not an object", "[]".to_owned()),
        ("not JSON", with("a:1,")),
        ("cut off", with("").trim_end_matches('}').to_owned()),
        ("a second value", with("") + "{}"),
        ("a space", with("").replace(':', ": ")),
        ("a newline at the end", with("") + "\n"),
        ("keys out of order", format!(r#"{{"v":1,"salt":"{salt}"}}"#)),
        (
            "keys in order of code points, not of UTF-16 code units",
            format!(r#"{{"metadata":{{"{DALET}":"","😀":""}},"salt":"{salt}","v":1}}"#),
        ),
        ("a repeated key", with(r#""a":"1","a":"1","#)),
        (
            "a repeated key in a list",
            with(r#""lines":[{"sku":"1","sku":"2"}],"#),
        ),
        ("an escape that is not needed", with(r#""a":"\/","#)),
        (
            "an escape that is longer than needed",
            with(r#""a":"\u000a","#),
        ),
        ("an escape in upper case", with(r#""a":"\u001F","#)),
        ("an escaped letter", with(r#""a":"\u0061","#)),
        ("half of a surrogate pair", with(r#""a":"\ud83d","#)),
        (
            "the halves of a surrogate pair exchanged",
            with(r#""a":"\ude00\ud83d","#),
        ),
        ("a raw control character", with("\"a\":\"\n\",")),
        ("a null", with(r#""a":null,"#)),
        ("a number", with(r#""a":2,"#)),
        ("a number in a list", with(r#""lines":[{"quantity":2}],"#)),
        ("a version that is not at the top", with(r#""a":{"v":1},"#)),
        ("version 2", format!(r#"{{"salt":"{salt}","v":2}}"#)),
        ("version 1.0", format!(r#"{{"salt":"{salt}","v":1.0}}"#)),
        ("version 1e0", format!(r#"{{"salt":"{salt}","v":1e0}}"#)),
        (
            "a version that is a string",
            format!(r#"{{"salt":"{salt}","v":"1"}}"#),
        ),
        ("no version", format!(r#"{{"salt":"{salt}"}}"#)),
        ("no salt", r#"{"v":1}"#.to_owned()),
        (
            "a salt of 31 bytes",
            format!(r#"{{"salt":"{}","v":1}}"#, &salt[..64]),
        ),
        (
            "a salt in upper case",
            format!(r#"{{"salt":"0x{}","v":1}}"#, "AB".repeat(32)),
        ),
        ("nine levels", with(r#""a":[[[[[[[["x"]]]]]]]],"#)),
        (
            "a rate with a number in it",
            with(r#""rate":{"wei":6002987994024012},"#),
        ),
        ("points that are none", with(r#""points":null,"#)),
    ]
}
