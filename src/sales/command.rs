//! A sale that cannot be wrong: what a request means, with every bound checked, once.

pub mod fingerprint;
mod judge;

use counterfoil_proofs::leaf::{Kind, OrderId};
use time::OffsetDateTime;

use super::details::{Details, Unsalted};
use super::request::SaleRequest;
use crate::clock::rfc3339_ms;
use crate::http::codes;
use crate::http::object::Object;
use crate::http::problem::Fault;
use crate::ids::{AccountId, PurchaseId, RefundId, SaleId};
use crate::money::Currency;
use judge::Judge;

/// What the ids begin with that the shop gives its own orders and refunds.
const RESERVED: [&str; 2] = [PurchaseId::PREFIX, RefundId::PREFIX];

/// What a command has at most as it is hashed: a verifier reads no larger details, and their salt and
/// version come to them when they are recorded.
const DETAILS_BYTES: usize = counterfoil_proofs::details::MAX_BYTES - 128;

/// What a refund refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The sale with this order id.
    Order(OrderId),
    /// The sale with this id.
    Sale(SaleId),
}

/// The command to record one sale or refund.
#[derive(Debug, Clone)]
pub struct SaleCommand {
    order_id: OrderId,
    kind: Kind,
    refers_to: Option<Reference>,
    customer: Option<[u8; 20]>,
    account: Option<AccountId>,
    currency: Currency,
    amount_minor: i64,
    sold_at: Option<OffsetDateTime>,
    details: Unsalted,
    fingerprint: [u8; 32],
}

#[expect(
    missing_docs,
    reason = "the fields, as the struct of the leaf describes them"
)]
impl SaleCommand {
    pub fn order_id(&self) -> &OrderId {
        &self.order_id
    }
    pub fn kind(&self) -> Kind {
        self.kind
    }
    pub fn refers_to(&self) -> Option<&Reference> {
        self.refers_to.as_ref()
    }
    pub fn customer(&self) -> Option<[u8; 20]> {
        self.customer
    }
    /// The customer's account, where `customer_ref` is the id of one.
    pub fn account(&self) -> Option<AccountId> {
        self.account
    }
    pub fn currency(&self) -> Currency {
        self.currency
    }
    pub fn amount_minor(&self) -> i64 {
        self.amount_minor
    }
    pub fn sold_at(&self) -> Option<OffsetDateTime> {
        self.sold_at
    }
    /// SHA-256 of the parsed command: the same for the same sale by any route.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
    pub fn details(&self) -> &Unsalted {
        &self.details
    }
}

impl SaleCommand {
    /// What `request` means, judged at the time `now`.
    ///
    /// # Errors
    /// Every bound that it breaks, not the first alone; an order id of the shop's among them.
    pub fn parse(request: SaleRequest, now: OffsetDateTime) -> Result<Self, Vec<Fault>> {
        let mut judge = Judge { faults: Vec::new() };
        if is_reserved(&request.order_id) {
            let detail = "ids that begin with ord_ or re_ are the shop's";
            judge.fault("/order_id", &codes::ORDER_ID_RESERVED, detail);
        }
        if request.refers_to.as_deref().is_some_and(is_reserved) {
            let detail =
                "ids that begin with ord_ are of orders of the shop, with re_ of their refunds";
            judge.fault("/refers_to", &codes::REFUND_OF_ORDER, detail);
        }
        judge.command(request, now)
    }

    /// What the shop's own `request` means: the sale of an order, or the refund of one.
    ///
    /// # Errors
    /// Every bound that it breaks; an order id that is not the shop's among them.
    pub fn of_shop(request: SaleRequest, now: OffsetDateTime) -> Result<Self, Vec<Fault>> {
        let mut judge = Judge { faults: Vec::new() };
        if !is_reserved(&request.order_id) {
            let detail = "the shop's ids begin with ord_ or re_";
            judge.fault("/order_id", &codes::ORDER_ID_INVALID, detail);
        }
        judge.command(request, now)
    }
}

/// Whether an order id is one that only the shop gives.
fn is_reserved(order_id: &str) -> bool {
    RESERVED.iter().any(|prefix| order_id.starts_with(prefix))
}

impl Judge {
    /// The command, if nothing is wrong with it.
    fn command(
        mut self,
        request: SaleRequest,
        now: OffsetDateTime,
    ) -> Result<SaleCommand, Vec<Fault>> {
        let judge = &mut self;
        let order_id = judge.order_id("/order_id", &request.order_id);
        let kind = judge.kind(request.kind.as_deref());
        let refers_to = judge.refers_to(kind, request.refers_to.as_deref());
        let customer = judge.address(request.customer_address.as_deref());
        let Object(amount) = request.amount;
        let currency = Currency::from_code(&amount.currency);
        if currency.is_none() {
            judge.fault(
                "/amount/currency",
                &codes::CURRENCY_UNKNOWN,
                "three letters of ISO 4217",
            );
        }
        let amount_minor = judge.minor("/amount/value", &amount.value, currency);
        let sold_at = judge.sold_at(request.sold_at.as_deref(), now);

        let mut details = Details::new(currency.map_or(0, Currency::decimals));
        details.cashier = judge.short("/cashier", request.cashier);
        details.customer_ref = judge.short("/customer_ref", request.customer_ref);
        let account = details.customer_ref.as_deref();
        let account = account.and_then(|text| text.parse().ok());
        details.register = judge.short("/register", request.register);
        details.sold_at = sold_at.map(rfc3339_ms);
        details.tax_total = judge.total("/tax_total", request.tax_total.as_deref(), currency);
        details.discount_total = judge.total(
            "/discount_total",
            request.discount_total.as_deref(),
            currency,
        );
        details.lines = judge.lines(request.lines.unwrap_or_default(), currency);
        details.payments = judge.payments(request.payments.unwrap_or_default(), currency);
        details.metadata = judge.metadata(request.metadata.unwrap_or_default());

        match (order_id, kind, currency, amount_minor) {
            (Some(order_id), Some(kind), Some(currency), Some(amount_minor))
                if judge.faults.is_empty() =>
            {
                let mut command = SaleCommand {
                    order_id,
                    kind,
                    refers_to,
                    customer,
                    account,
                    currency,
                    amount_minor,
                    sold_at,
                    details: details.unsalted(),
                    fingerprint: [0; 32],
                };
                let (fingerprint, bytes) = command.digest();
                if bytes > DETAILS_BYTES {
                    let detail = format!("the details have more than {DETAILS_BYTES} bytes");
                    return Err(vec![Fault::new("", &codes::DETAILS_TOO_LARGE, detail)]);
                }
                command.fingerprint = fingerprint;
                Ok(command)
            }
            _ => Err(self.faults),
        }
    }
}
