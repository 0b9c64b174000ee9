//! `leaves.json`: a sale for every edge of every field.

use counterfoil_proofs::{
    U256, hex, keccak256,
    leaf::{Currency, Kind, OrderId, SALE_TYPE, SALE_TYPEHASH, Sale},
    link::link,
};
use serde::Serialize;

use super::draw;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct File {
    sale_type: &'static str,
    sale_typehash: String,
    cases: Vec<Case>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    sale: Sale,
    hash_struct: String,
    leaf: String,
    link: String,
}

pub(crate) fn file() -> File {
    let cases = edges().into_iter().map(|(name, sale)| Case {
        hash_struct: hex::encode(&sale.hash_struct()),
        leaf: hex::encode(&sale.leaf()),
        link: link(&sale.salt),
        name,
        sale,
    });
    File {
        sale_type: SALE_TYPE,
        sale_typehash: hex::encode(&SALE_TYPEHASH),
        cases: cases.collect(),
    }
}

/// An ordinary sale of number `seq` of a merchant.
pub(crate) fn ordinary(merchant: [u8; 16], seq: u64) -> Sale {
    let label = format!("sale of {}", hex::encode(&merchant));
    Sale {
        merchant,
        sale: draw::bytes(&(label.clone() + ": id"), seq),
        seq,
        order_id: order_id(&format!("2026-{seq:06}")),
        kind: Kind::Sale,
        refers_to: None,
        customer: None,
        currency: currency("INR"),
        amount: U256::from(150_075 + 100 * seq),
        recorded_at: 1_767_323_045_678 + 1000 * seq,
        details: keccak256(super::details::of_sale(seq).as_bytes()),
        salt: draw::hash(&(label + ": salt"), seq),
    }
}

pub(crate) fn order_id(text: &str) -> OrderId {
    OrderId::parse(text).expect("an order id")
}

fn currency(text: &str) -> Currency {
    Currency::parse(text).expect("a currency")
}

fn edges() -> Vec<(String, Sale)> {
    let base = ordinary(draw::bytes("merchant", 1), 1);
    let mut cases = vec![("ordinary sale".to_owned(), base.clone())];
    let mut case = |name: &str, change: &dyn Fn(&mut Sale)| {
        let mut sale = base.clone();
        change(&mut sale);
        cases.push((name.to_owned(), sale));
    };
    for (name, pattern) in patterns::<16>() {
        case(&format!("merchant {name}"), &|sale| sale.merchant = pattern);
        case(&format!("sale {name}"), &|sale| sale.sale = pattern);
        case(&format!("refund of sale {name}"), &|sale| {
            sale.kind = Kind::Refund;
            // Zero is how a leaf says that there is none.
            sale.refers_to = (pattern != [0; 16]).then_some(pattern);
        });
    }
    for (name, pattern) in patterns::<20>() {
        let customer = (pattern != [0; 20]).then_some(pattern);
        case(&format!("customer {name}"), &|sale| {
            sale.customer = customer
        });
    }
    for (name, pattern) in patterns::<32>() {
        case(&format!("details {name}"), &|sale| sale.details = pattern);
        case(&format!("salt {name}"), &|sale| sale.salt = pattern);
    }
    for seq in [1, 255, 256, (1 << 32) + 1, (1 << 53) + 1, u64::MAX] {
        case(&format!("seq {seq}"), &|sale| sale.seq = seq);
        case(&format!("recordedAt {seq}"), &|sale| sale.recorded_at = seq);
    }
    case("recordedAt 0", &|sale| sale.recorded_at = 0);
    let wide = [
        U256::ZERO,
        U256::from(1),
        U256::from(u64::MAX),
        U256::from(1) << 64,
    ];
    for amount in wide.into_iter().chain([U256::from(1) << 255, U256::MAX]) {
        case(&format!("amount {amount}"), &|sale| sale.amount = amount);
    }
    for code in ["AAA", "EUR", "JPY", "ZZZ"] {
        case(&format!("currency {code}"), &|sale| {
            sale.currency = currency(code)
        });
    }
    let (longest, all) = ("x".repeat(64), all_characters());
    let orders = [
        "1", "!", "~", "...", ".a", "a/b", "a%2Fb", "0x00", "null", "'", &longest,
    ];
    for text in orders.into_iter().chain([&all[..46], &all[46..]]) {
        case(&format!("orderId {text}"), &|sale| {
            sale.order_id = order_id(text)
        });
    }
    cases
}

/// Every character that an order id may have, once.
fn all_characters() -> String {
    ('!'..='~').filter(|&c| c != '"' && c != '\\').collect()
}

/// Bytes that show on which side they are padded.
fn patterns<const N: usize>() -> [(&'static str, [u8; N]); 5] {
    let mut leading = [0x11; N];
    leading[..N / 2].fill(0);
    let mut trailing = [0x11; N];
    trailing[N / 2..].fill(0);
    let mut last = [0; N];
    last[N - 1] = 1;
    [
        ("all zero", [0; N]),
        ("all ff", [0xff; N]),
        ("leading zero bytes", leading),
        ("trailing zero bytes", trailing),
        ("last bit alone", last),
    ]
}
