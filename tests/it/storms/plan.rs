//! What the clients of a storm send: requests that make so many sales, whoever wins where they clash.

use serde_json::{Value, json};

use crate::harness::Dice;

/// A request, the same whoever sends it and how often.
pub(super) struct Request {
    pub(super) key: String,
    pub(super) body: Value,
    /// The code it may be refused with for good; none for one that nothing speaks against.
    pub(super) refusal: Option<&'static str>,
}

/// Requests of which so many are to become sales.
struct Group {
    members: Vec<usize>,
    sales: usize,
}

/// All requests of a storm.
pub(super) struct Plan {
    pub(super) requests: Vec<Request>,
    groups: Vec<Group>,
}

impl Plan {
    /// Requests that make `sales` sales: most of them plain ones, some refunds, and of every forty
    /// one pair that wants the same order id, one pair with the same key, and five refunds of a sale
    /// that has enough for two.
    pub(super) fn new(sales: usize, dice: &Dice) -> Self {
        let mut plan = Self {
            requests: Vec::new(),
            groups: Vec::new(),
        };
        let mut round = 0;
        while plan.sales() < sales {
            let left = sales - plan.sales();
            match round % 40 {
                7 => plan.same_order(round, dice),
                17 => plan.same_key(round, dice),
                27 if left >= 3 => plan.refund_race(round, dice),
                at if at % 8 == 1 => plan.refund(round),
                _ => plan.plain(round, dice),
            }
            round += 1;
        }
        plan
    }

    /// How many sales they make.
    pub(super) fn sales(&self) -> usize {
        self.groups.iter().map(|group| group.sales).sum()
    }

    /// The groups that made another number of sales than they must, `recorded` being the requests that
    /// were answered with one.
    pub(super) fn faults(&self, recorded: impl Fn(usize) -> bool) -> Vec<String> {
        let fault = |group: &Group| {
            let made: Vec<usize> = group
                .members
                .iter()
                .copied()
                .filter(|n| recorded(*n))
                .collect();
            (made.len() != group.sales).then(|| {
                let keys: Vec<&str> = group
                    .members
                    .iter()
                    .map(|n| self.requests[*n].key.as_str())
                    .collect();
                format!("{keys:?} made {} sales, not {}", made.len(), group.sales)
            })
        };
        self.groups.iter().filter_map(fault).collect()
    }

    fn group(
        &mut self,
        sales: usize,
        requests: Vec<(String, Value)>,
        refusal: Option<&'static str>,
    ) {
        let first = self.requests.len();
        self.groups.push(Group {
            members: (first..first + requests.len()).collect(),
            sales,
        });
        self.requests
            .extend(
                requests
                    .into_iter()
                    .map(|(key, body)| Request { key, body, refusal }),
            );
    }

    fn plain(&mut self, n: usize, dice: &Dice) {
        let body = basket(&format!("o-{n}"), dice);
        self.group(1, vec![(format!("k-{n}"), body)], None);
    }

    /// A penny back of the sale before, by the order id of which it may not be known yet.
    fn refund(&mut self, n: usize) {
        let of = n - 1;
        let body = refund(&format!("o-{n}"), &format!("o-{of}"), "0.01");
        self.group(1, vec![(format!("k-{n}"), body)], None);
    }

    fn same_order(&mut self, n: usize, dice: &Dice) {
        let order = format!("o-{n}");
        let rivals = ["a", "b"].map(|rival| {
            let mut body = basket(&order, dice);
            body["register"] = json!(rival);
            (format!("k-{n}-{rival}"), body)
        });
        self.group(1, rivals.into(), Some("order_exists"));
    }

    fn same_key(&mut self, n: usize, dice: &Dice) {
        let rivals = ["a", "b"].map(|rival| {
            let body = basket(&format!("o-{n}-{rival}"), dice);
            (format!("k-{n}"), body)
        });
        self.group(1, rivals.into(), Some("idempotency_key_reused"));
    }

    fn refund_race(&mut self, n: usize, dice: &Dice) {
        let order = format!("o-{n}");
        let mut sold = basket(&order, dice);
        sold["amount"]["value"] = json!("10.00");
        self.group(1, vec![(format!("k-{n}"), sold)], None);
        let refunds = (0..5).map(|rival| {
            let body = refund(&format!("o-{n}-{rival}"), &order, "4.00");
            (format!("k-{n}-{rival}"), body)
        });
        self.group(2, refunds.collect(), Some("refund_exceeds"));
    }
}

/// A sale with some lines, a customer or a register, or none of them.
fn basket(order: &str, dice: &Dice) -> Value {
    let pence = 100 + dice.below(100_000);
    let value = format!("{}.{:02}", pence / 100, pence % 100);
    let mut body = json!({"order_id": order, "amount": {"value": value, "currency": "GBP"}});
    if dice.below(3) == 0 {
        body["customer_address"] = json!(format!("0x{:040x}", 1 + dice.below(50)));
    }
    if dice.below(3) == 0 {
        body["register"] = json!(format!("till-{}", dice.below(9)));
    }
    let lines: Vec<Value> = (0..dice.below(4))
        .map(|line| json!({"sku": format!("S{line}"), "name": "tea & milk", "quantity": 2, "unit_price": "1.25"}))
        .collect();
    if !lines.is_empty() {
        body["lines"] = json!(lines);
    }
    body
}

fn refund(order: &str, of: &str, value: &str) -> Value {
    json!({"order_id": order, "kind": "refund", "refers_to": of, "amount": {"value": value, "currency": "GBP"}})
}
