//! The sale that a PAID order becomes, and the refund beside it: of the same command, leaf and receipt as
//! those of a till.
//!
//! They are recorded in the transaction that makes them so, as its last step. A refusal there never undoes
//! it: the order is parked with an alarm, and [`super::upkeep`] tries again.

use std::sync::Arc;

use sqlx::PgConnection;

use super::Shop;
use super::store::intents;
use super::store::orders::{self, Item, Order};
use super::store::refunds;
use crate::database;
use crate::http::codes;
use crate::http::object::{Object, Quantity, TextMap};
use crate::http::problem::{Fault, Problem};
use crate::ids::{AccountId, IntentId, MerchantId, PurchaseId, RefundId};
use crate::money::{Currency, format_minor};
use crate::sales::command::SaleCommand;
use crate::sales::intake::{AnswerVersion, Draft, IntakeError, Outcome, Slot, within};
use crate::sales::request::{Line, Money, Payment, SaleRequest};

/// The space of keys that are the shop's own order and refund ids.
const SPACE: i16 = 2;

/// A sale that was recorded in a transaction, until that is committed: then it is to be acknowledged.
#[must_use]
pub(super) struct Recorded(Option<(MerchantId, Outcome)>);

impl Recorded {
    /// Nothing was recorded.
    pub(super) const NONE: Self = Self(None);

    /// After the commit.
    pub(super) fn acknowledge(self, shop: &Shop) {
        if let Some((merchant, outcome)) = self.0 {
            within::acknowledge(&shop.intake, merchant, &outcome);
        }
    }
}

/// Records the order of an intent, which was made PAID in this transaction.
///
/// # Errors
/// The database's; then nothing of the transaction is to be kept.
pub(super) async fn record_paid(
    shop: &Shop,
    db: &mut PgConnection,
    merchant: MerchantId,
    intent: IntentId,
) -> Result<Recorded, Problem> {
    match intents::find(db, merchant, intent, None).await? {
        Some(row) => record_order(shop, db, merchant, PurchaseId(row.order_id)).await,
        None => Ok(Recorded::NONE),
    }
}

/// Records a PAID order, of which it was noted in this transaction that it is about to be.
///
/// # Errors
/// The database's; then nothing of the transaction is to be kept.
pub(super) async fn record_order(
    shop: &Shop,
    db: &mut PgConnection,
    merchant: MerchantId,
    id: PurchaseId,
) -> Result<Recorded, Problem> {
    let Some(order) = orders::find(db, merchant, id, None).await? else {
        return Ok(Recorded::NONE);
    };
    let items = orders::items(db, merchant, &[id.0]).await?;
    match record(shop, db, merchant, of_order(id, &order, &items)).await? {
        Ok(recorded) => Ok(recorded),
        Err(why) => {
            say(&id.to_string(), &why);
            orders::note_sale(db, merchant, id, Some(&why)).await?;
            Ok(Recorded::NONE)
        }
    }
}

/// Records a refund that was given, of which it was noted in this transaction that it is about to be.
///
/// # Errors
/// The database's; then nothing of the transaction is to be kept.
pub(super) async fn record_refund(
    shop: &Shop,
    db: &mut PgConnection,
    merchant: MerchantId,
    id: RefundId,
) -> Result<Recorded, Problem> {
    let Some(refund) = refunds::find(db, merchant, id).await? else {
        return Ok(Recorded::NONE);
    };
    match record(shop, db, merchant, of_refund(id, &refund)).await? {
        Ok(recorded) => Ok(recorded),
        Err(why) => {
            say(&id.to_string(), &why);
            refunds::note_sale(db, (merchant, id), Some(&why)).await?;
            Ok(Recorded::NONE)
        }
    }
}

fn say(id: &str, why: &str) {
    tracing::error!(
        order_id = id,
        why,
        "what was paid could not be recorded as a sale: see \"Parked orders\" in docs/OPERATIONS.md"
    );
}

/// Records one sale as the last thing of a transaction; or why it was refused: then nothing of it is there.
async fn record(
    shop: &Shop,
    db: &mut PgConnection,
    merchant: MerchantId,
    request: SaleRequest,
) -> Result<Result<Recorded, String>, Problem> {
    let key = request.order_id.clone();
    let command = match SaleCommand::of_shop(request, shop.site.clock.now()) {
        Ok(command) => command,
        Err(faults) => {
            let faults = faults.iter().map(|fault| {
                let Fault { pointer, code, .. } = fault;
                format!("{pointer} {}", code.name)
            });
            return Ok(Err(faults.collect::<Vec<_>>().join(", ")));
        }
    };
    let draft = Draft {
        command,
        slot: Slot {
            space: SPACE,
            key: key.clone(),
        },
        answer: AnswerVersion::Sale,
        request_id: Arc::from(key),
    };
    Ok(
        match within::record(db, merchant, draft, &shop.intake).await {
            Ok(outcome @ Outcome::Sale { .. }) => Ok(Recorded(Some((merchant, outcome)))),
            Ok(Outcome::Refused { refusal, .. }) => Err(refusal.code),
            Ok(other) => Err(format!("{other:?}")),
            // then nothing is known of the whole transaction
            Err(IntakeError::Database(error)) if database::was_cut(&error) => {
                let detail = "the database does not answer";
                return Err(Problem::new(&codes::DATABASE_UNAVAILABLE, detail));
            }
            Err(error) => Err(error.to_string()),
        },
    )
}

fn of_order(id: PurchaseId, order: &Order, items: &[Item]) -> SaleRequest {
    let amount = |minor| decimal(minor, &order.currency);
    let lines = items.iter().map(|item| {
        Object(Line {
            sku: Some(item.sku.clone()),
            name: Some(item.name.clone()),
            quantity: Quantity(item.quantity.to_string()),
            unit_price: amount(item.price_minor),
            tax: Some(amount(item.tax_minor)),
            discount: None,
        })
    });
    let discount = (order.discount_minor > 0).then(|| amount(order.discount_minor));
    SaleRequest {
        order_id: id.to_string(),
        kind: None,
        amount: money(order.total_minor, &order.currency),
        refers_to: None,
        customer_ref: Some(AccountId(order.account_id).to_string()),
        customer_address: order
            .customer
            .as_deref()
            .map(counterfoil_proofs::hex::encode),
        register: None,
        cashier: None,
        sold_at: None,
        lines: Some(lines.collect()),
        payments: Some(paid(order.total_minor, &order.currency)),
        tax_total: Some(amount(order.tax_minor)),
        discount_total: discount,
        metadata: (!order.metadata.is_empty()).then(|| TextMap(order.metadata.0.clone())),
        idempotency_key: None,
    }
}

fn of_refund(id: RefundId, refund: &refunds::Refund) -> SaleRequest {
    SaleRequest {
        order_id: id.to_string(),
        kind: Some("refund".to_owned()),
        amount: money(refund.amount_minor, &refund.currency),
        refers_to: Some(PurchaseId(refund.order_id).to_string()),
        customer_ref: Some(AccountId(refund.account_id).to_string()),
        customer_address: refund
            .customer
            .as_deref()
            .map(counterfoil_proofs::hex::encode),
        register: None,
        cashier: None,
        sold_at: None,
        lines: None,
        payments: Some(paid(refund.amount_minor, &refund.currency)),
        tax_total: None,
        discount_total: None,
        metadata: None,
        idempotency_key: None,
    }
}

fn paid(minor: i64, currency: &str) -> Vec<Object<Payment>> {
    vec![Object(Payment {
        method: "card".to_owned(),
        amount: decimal(minor, currency),
    })]
}

fn money(minor: i64, currency: &str) -> Object<Money> {
    Object(Money {
        value: decimal(minor, currency),
        currency: currency.to_owned(),
    })
}

/// A currency that stands in the database is one.
fn decimal(minor: i64, currency: &str) -> String {
    Currency::from_code(currency).map_or_else(String::new, |currency| format_minor(minor, currency))
}
