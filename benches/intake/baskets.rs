//! What is sold: bodies of requests, of three lines each or as a real shop's.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::draw::Draw;
use super::request::{ORDER_PLACE, REFERS_PLACE, Template};

/// Made-up baskets of the shop's distribution, where its data is not there.
const MADE_UP: usize = 600;
/// Of a thousand requests of the shop, its refunds.
const REFUNDS_PER_MILLE: usize = 90;
/// Sales of three lines for each refund that refers to none.
const SALES_A_REFUND: usize = 20;

/// The bodies that a load is made of.
#[derive(Debug)]
pub(crate) struct Baskets {
    /// What they are called in the report.
    pub(crate) name: &'static str,
    /// Sales, and refunds that refer to none.
    pub(crate) templates: Vec<Template>,
    /// A refund of an earlier sale, where they have one.
    pub(crate) refund: Option<Template>,
    /// Mean length of a body, bytes.
    pub(crate) mean_bytes: usize,
}

impl Baskets {
    /// Three lines each; nine of a hundred are refunds, every second of them of an earlier sale.
    pub(crate) fn three_lines() -> anyhow::Result<Self> {
        let sale = three_lines("sale", "59.85");
        let refund = three_lines("refund", "19.95");
        let mut bodies = vec![sale; SALES_A_REFUND];
        bodies.push(refund);
        let mut referring = three_lines("refund", "19.95");
        referring["refers_to"] = json!(REFERS_PLACE);
        let mut baskets = Self::new("three lines", bodies)?;
        baskets.refund = Some(Template::new(&referring)?);
        Ok(baskets)
    }

    /// Three lines each, without refunds, of so many customers with a wallet.
    pub(crate) fn of_members(count: usize) -> anyhow::Result<Self> {
        let mut bodies = vec![three_lines("sale", "59.85"); count];
        for (number, body) in bodies.iter_mut().enumerate() {
            body["customer_address"] = json!(format!("0x{:040x}", number + 1));
        }
        Self::new("three lines of members", bodies)
    }

    /// The shop's own, refunds among them, which as in its books refer to nothing.
    pub(crate) fn shop(directory: &Path) -> anyhow::Result<Self> {
        let bodies = read(directory)?;
        if bodies.is_empty() {
            eprintln!("no sales in {}: baskets are made up", directory.display());
            let mut draw = Draw::new(0x5a1e);
            return Self::new(
                "as the shop's, made up",
                (0..MADE_UP).map(|_| made_up(&mut draw)).collect(),
            );
        }
        Self::new("the shop's own", bodies)
    }

    fn new(name: &'static str, bodies: Vec<Value>) -> anyhow::Result<Self> {
        let bytes: usize = bodies.iter().map(|body| body.to_string().len()).sum();
        let mean_bytes = bytes / bodies.len();
        let templates = bodies
            .iter()
            .map(Template::new)
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            name,
            templates,
            refund: None,
            mean_bytes,
        })
    }
}

fn three_lines(kind: &str, amount: &str) -> Value {
    json!({
        "order_id": ORDER_PLACE, "kind": kind, "amount": {"value": amount, "currency": "GBP"},
        "sold_at": "2026-01-31T10:00:00Z", "register": "till-2", "customer_ref": "14075",
        "lines": [
            {"sku": "23084", "name": "RABBIT NIGHT LIGHT", "quantity": 3, "unit_price": "1.79"},
            {"sku": "22467", "name": "GUMBALL COAT RACK", "quantity": 6, "unit_price": "2.55"},
            {"sku": "23544", "name": "FELTCRAFT GIRL AMELIE KIT", "quantity": 8, "unit_price": "4.95"},
        ],
        "payments": [{"method": "card", "amount": amount}],
    })
}

/// The requests in a directory's `*.jsonl`, ready for an order id; none where there is no such directory.
fn read(directory: &Path) -> anyhow::Result<Vec<Value>> {
    let mut files: Vec<_> = match fs::read_dir(directory) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => return Ok(Vec::new()),
    };
    files.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
    files.sort();
    let mut bodies = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        for line in text.lines() {
            let mut body: Value = serde_json::from_str(line)
                .with_context(|| format!("{} holds a line that is no JSON", file.display()))?;
            let object = body.as_object_mut().context("a request is an object")?;
            object.remove("idempotency_key");
            let known = object.insert("order_id".to_owned(), json!(ORDER_PLACE));
            ensure!(known.is_some(), "{}: no order_id", file.display());
            bodies.push(body);
        }
    }
    Ok(bodies)
}

/// A basket with lines in the shop's distribution: many small ones, few very large, 20 on average.
fn made_up(draw: &mut Draw) -> Value {
    let lines = ((-draw.fraction().ln() * 20.0) as usize).clamp(1, 200);
    let lines: Vec<Value> = (0..lines)
        .map(|_| {
            json!({
                "sku": format!("{}", 20_000 + draw.below(5_000)),
                "name": format!("ARTICLE {:07} IN A BOX OF {:02}", draw.below(10_000_000), draw.below(99)),
                "quantity": 1 + draw.below(24),
                "unit_price": format!("{}.{:02}", draw.below(10), draw.below(100)),
            })
        })
        .collect();
    let kind = if draw.happens(REFUNDS_PER_MILLE) {
        "refund"
    } else {
        "sale"
    };
    json!({
        "order_id": ORDER_PLACE, "kind": kind,
        "amount": {"value": format!("{}.{:02}", draw.below(500), draw.below(100)), "currency": "GBP"},
        "customer_ref": format!("{}", 12_000 + draw.below(6_000)),
        "sold_at": "2011-12-05T08:38:00Z", "lines": lines,
        "metadata": {"country": "United Kingdom"},
    })
}
