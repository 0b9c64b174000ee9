//! What the shop does by itself: orders whose time is over give their pieces back, what the provider was not
//! heard of is asked about, refunds are carried out, and what could not be recorded is tried again.
//!
//! Each process that serves runs it. What two of them do at once is decided by the database, and a call of
//! the provider that two make is one there, by its key.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::events::{self, Said};
use super::intents::{self, Unasked};
use super::store::intents as intent_store;
use super::store::orders::{self, Ended};
use super::store::refunds::{self as refund_store, Claimed};
use super::{Shop, points, sale};
use crate::clock::unix_ms;
use crate::database;
use crate::http::keys::Mode;
use crate::http::problem::Problem;
use crate::ids::{IntentId, MerchantId, PurchaseId, RefundId};
use crate::payments::PaymentError;
use crate::payments::event::{EventObject, INTENT_SUCCEEDED, ProviderEvent};
use crate::payments::object::{Intent, IntentState, Refund};
use crate::payments::provider::{CancelReason, NewRefund};
use crate::telemetry;

/// The pause between two rounds.
const EVERY: Duration = Duration::from_secs(2);
/// An intent that was not heard of for this long is asked about.
const UNHEARD: Duration = Duration::from_secs(60);
/// When a refund that the provider works on is asked about again, and for how long one process has it.
pub(super) const REFUND_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause between two tries of a refund.
const REFUND_LONGEST: Duration = Duration::from_secs(60 * 60);
/// Rows of one round, of each kind.
const ROWS: i64 = 50;

/// What is done in a round.
#[derive(Clone, Copy)]
enum Round {
    Books,
    Provider,
}

/// Runs until `stop` is cancelled. A provider that is slow holds up what waits for it and nothing else.
pub async fn run(shop: Shop, stop: CancellationToken) {
    tokio::join!(
        rounds(&shop, &stop, Round::Books),
        rounds(&shop, &stop, Round::Provider)
    );
}

async fn rounds(shop: &Shop, stop: &CancellationToken, round: Round) {
    while !stop.is_cancelled() {
        if shop.trust.is_sound() {
            let done = match round {
                Round::Books => keep_books(shop).await,
                Round::Provider => ask_provider(shop).await,
            };
            if let Err(problem) = done {
                let code = problem.code.name;
                tracing::warn!(code, "a round of the shop's upkeep broke off");
            }
        }
        let _ = tokio::time::timeout(EVERY, stop.cancelled()).await;
    }
}

/// What needs the database alone: orders whose time is over, sales that are not recorded, what is parked.
async fn keep_books(shop: &Shop) -> Result<(), Problem> {
    let now = shop.site.clock.now();
    let mut db = shop.pool.acquire().await?;
    let expired = orders::expired(&mut db, now, ROWS).await?;
    let parked = orders::parked(&mut db).await?;
    drop(db);
    metrics::gauge!(telemetry::ORDERS_PARKED).set(parked as f64);
    for (merchant, order) in expired {
        // one that cannot be ended does not keep the others
        if let Err(problem) = expire(shop, merchant, order).await {
            let code = problem.code.name;
            tracing::warn!(code, %order, "an order whose time is over waits for the next round");
        }
    }
    record_left(shop).await
}

async fn expire(shop: &Shop, merchant: MerchantId, order: PurchaseId) -> Result<(), Problem> {
    let now = shop.site.clock.now();
    let mut tx = database::begin(&shop.pool).await?;
    let ended = orders::end(&mut *tx, merchant, order, None, "expired", None, now).await?;
    if ended == Ended::Cancelled {
        points::give_back(&mut tx, merchant, order, now).await?;
    }
    Ok(tx.commit().await?)
}

/// What only the provider can say. What it takes its time with of the one holds up nothing of the other.
async fn ask_provider(shop: &Shop) -> Result<(), Problem> {
    let Ok(payments) = shop.payments() else {
        return Ok(());
    };
    let mode = payments.provider().mode();
    tokio::try_join!(ask_about_intents(shop, mode), carry_out_refunds(shop))?;
    Ok(())
}

/// Intents that are to end or were not heard of.
async fn ask_about_intents(shop: &Shop, mode: Mode) -> Result<(), Problem> {
    let now = shop.site.clock.now();
    let mut db = shop.pool.acquire().await?;
    let waiting = intent_store::waiting(&mut db, mode, now - UNHEARD, ROWS).await?;
    drop(db);
    for (merchant, intent, is_ending) in waiting {
        let asked = match is_ending {
            true => cancel(shop, merchant, intent).await,
            false => ask(shop, merchant, intent).await,
        };
        if let Err(unasked) = asked {
            unasked.log(intent);
            // behind the others, which may fare better
            let now = shop.site.clock.now();
            intent_store::defer(&shop.pool, merchant, intent, now).await?;
            if unasked.is_of_all() {
                break;
            }
        }
    }
    Ok(())
}

async fn carry_out_refunds(shop: &Shop) -> Result<(), Problem> {
    for _ in 0..ROWS {
        let now = shop.site.clock.now();
        match refund_store::claim(&shop.pool, None, REFUND_PAUSE, now).await? {
            Some(claimed) => refund(shop, &claimed).await?,
            None => break,
        }
    }
    Ok(())
}

/// Tries again to record what was paid or given back and is no sale or refund of the record yet.
async fn record_left(shop: &Shop) -> Result<(), Problem> {
    let now = shop.site.clock.now();
    let mut db = shop.pool.acquire().await?;
    let orders = orders::unrecorded(&mut db, now, ROWS).await?;
    drop(db);
    for (merchant, order) in orders {
        let mut tx = database::begin(&shop.pool).await?;
        if orders::note_sale(&mut *tx, merchant, order, None).await? {
            let recorded = sale::record_order(shop, &mut tx, merchant, order).await?;
            tx.commit().await?;
            recorded.acknowledge(shop);
        }
    }
    let mut db = shop.pool.acquire().await?;
    let refunds = refund_store::unrecorded(&mut db, now, ROWS).await?;
    drop(db);
    for (merchant, refund) in refunds {
        let mut tx = database::begin(&shop.pool).await?;
        if refund_store::note_sale(&mut *tx, (merchant, refund), None).await? {
            let recorded = sale::record_refund(shop, &mut tx, merchant, refund).await?;
            tx.commit().await?;
            recorded.acknowledge(shop);
        }
    }
    Ok(())
}

/// Asks about an intent that was not heard of.
async fn ask(shop: &Shop, merchant: MerchantId, intent: IntentId) -> Result<(), Unasked> {
    let mut db = shop.pool.acquire().await?;
    let row = intent_store::find(&mut db, merchant, intent, None).await?;
    drop(db);
    let Some(row) = row else { return Ok(()) };
    let told = intents::at_provider(shop, &row).await?;
    apply(shop, &row, &told).await
}

/// Has the provider cancel the intent of an order that is to end, now: what it does not come to, the next
/// round does.
pub(super) async fn cancel_at_provider(shop: &Shop, merchant: MerchantId, intent: IntentId) {
    if let Err(unasked) = cancel(shop, merchant, intent).await {
        unasked.log(intent);
    }
}

/// Has the provider cancel an intent. What it says instead is done.
async fn cancel(shop: &Shop, merchant: MerchantId, intent: IntentId) -> Result<(), Unasked> {
    let mut db = shop.pool.acquire().await?;
    let row = intent_store::find(&mut db, merchant, intent, None).await?;
    drop(db);
    let Some(row) = row else { return Ok(()) };
    let provider = shop.provider_for(Mode::of(&row.mode))?;
    // made there now, if its answer was lost: what is not known of cannot be canceled
    let told = match intents::at_provider(shop, &row).await {
        // it refuses to make it, so it never had it
        Err(Unasked::Provider(PaymentError::Amount(_) | PaymentError::Invalid { .. }))
            if row.provider_ref.is_none() =>
        {
            return never_made(shop, merchant, &row).await;
        }
        told => told?,
    };
    if told.state.is_final() {
        return apply(shop, &row, &told).await;
    }
    let reason = match row.ending.as_deref() {
        Some("customer") => CancelReason::RequestedByCustomer,
        _ => CancelReason::Abandoned,
    };
    // twice does no harm, while the provider remembers by its key what it refused as the payment was under way
    let key = format!("cancel_{intent}_{}", unix_ms(shop.site.clock.now()));
    let told = match provider.cancel_intent(&told.id, reason, &key).await {
        Ok(told) => told,
        // paid a moment ago, or being paid: it is read as it is
        Err(PaymentError::WrongState { .. }) => provider
            .retrieve_intent(&told.id)
            .await
            .map_err(Unasked::Provider)?,
        Err(error) => return Err(Unasked::Provider(error)),
    };
    apply(shop, &row, &told).await
}

/// Cancels an order whose intent the provider would not make.
async fn never_made(
    shop: &Shop,
    merchant: MerchantId,
    row: &intent_store::Intent,
) -> Result<(), Unasked> {
    let now = shop.site.clock.now();
    let mut tx = database::begin(&shop.pool).await?;
    intent_store::cancel(&mut *tx, merchant, IntentId(row.intent_id), None, now).await?;
    points::give_back(&mut tx, merchant, PurchaseId(row.order_id), now).await?;
    tx.commit().await?;
    Ok(())
}

/// Does what follows from what the provider says when it is asked. That money has come is believed of the event that
/// tells of it; where that cannot be had (the provider keeps events for 30 days), of the provider's answer.
async fn apply(shop: &Shop, row: &intent_store::Intent, told: &Intent) -> Result<(), Unasked> {
    if told.state == IntentState::Succeeded
        && let Some(event) = success(shop, row, told).await?
    {
        events::take_in(shop, &event).await?;
        return Ok(());
    }
    let said = Said {
        told,
        at: shop.site.clock.now(),
        source: "asked",
    };
    let intent = (MerchantId(row.merchant_id), IntentId(row.intent_id));
    let tx = database::begin(&shop.pool).await?;
    events::apply_intent(shop, tx, intent, &said).await?;
    Ok(())
}

/// The event by which the provider tells, or would have told, that an intent has succeeded.
async fn success(
    shop: &Shop,
    row: &intent_store::Intent,
    told: &Intent,
) -> Result<Option<ProviderEvent>, Unasked> {
    let provider = shop.provider_for(Mode::of(&row.mode))?;
    let now = shop.site.clock.now();
    let events = provider.events(&[INTENT_SUCCEEDED], told.created_at, now);
    let is_its = |event: &ProviderEvent| matches!(&event.object, EventObject::Intent(one) if one.id == told.id);
    match events.await {
        Ok(events) => Ok(events.into_iter().find(is_its)),
        // what it says of the intent is its word too
        Err(error) => {
            tracing::warn!(error = %error, intent = %told.id, "its event cannot be asked for");
            Ok(None)
        }
    }
}

/// Carries a refund out that was begun a moment ago.
pub(super) async fn refund_now(shop: &Shop, merchant: MerchantId, id: RefundId) {
    let named = Some((merchant, id));
    let now = shop.site.clock.now();
    let done = async {
        if let Some(claimed) = refund_store::claim(&shop.pool, named, REFUND_PAUSE, now).await? {
            refund(shop, &claimed).await?;
        }
        Ok::<(), Problem>(())
    };
    if let Err(problem) = done.await {
        tracing::warn!(code = problem.code.name, refund = %id, "a refund waits for the next round");
    }
}

/// Asks the provider for a refund, and does what follows from its answer.
async fn refund(shop: &Shop, claimed: &Claimed) -> Result<(), Problem> {
    let named = (MerchantId(claimed.merchant_id), RefundId(claimed.refund_id));
    let now = shop.site.clock.now();
    let told = match refund_at_provider(shop, claimed).await {
        Ok(told) => told,
        Err(error) if is_refused(&error, claimed) => {
            tracing::error!(error = %error, refund = %named.1, "the provider refuses a refund");
            let error = error.to_string();
            refund_store::settle(&shop.pool, named, None, Err(&error), now).await?;
            return Ok(());
        }
        // an error is not the provider's word that no money went
        Err(error) => {
            tracing::warn!(error = %error, refund = %named.1, "a refund is asked for again");
            let doubled = 2_u32.saturating_pow(claimed.tries.unsigned_abs().min(16));
            let next = now + EVERY.saturating_mul(doubled).min(REFUND_LONGEST);
            let error = error.to_string();
            refund_store::note(&shop.pool, named, None, Some(&error), next).await?;
            return Ok(());
        }
    };
    let mut tx = database::begin(&shop.pool).await?;
    let recorded = events::apply_refund(shop, &mut tx, named, &told).await?;
    tx.commit().await?;
    recorded.acknowledge(shop);
    Ok(())
}

/// Whether a refund that somebody asked for did not happen and never will. Money of nobody's order is tried
/// for as long as it takes.
fn is_refused(error: &PaymentError, claimed: &Claimed) -> bool {
    let for_good = matches!(
        error,
        PaymentError::Amount(_)
            | PaymentError::Invalid { .. }
            | PaymentError::WrongState { .. }
            | PaymentError::Missing { .. }
    );
    for_good && claimed.cause == "requested" && claimed.provider_ref.is_none()
}

async fn refund_at_provider(shop: &Shop, claimed: &Claimed) -> Result<Refund, PaymentError> {
    let missing = || PaymentError::Missing {
        call: "create_refund",
    };
    let provider = shop.provider_for(Mode::of(&claimed.mode));
    let provider = provider.map_err(|problem| PaymentError::Unavailable {
        call: "create_refund",
        host: "the provider".into(),
        reason: problem.code.title.to_owned(),
    })?;
    if let Some(id) = &claimed.provider_ref {
        return provider.retrieve_refund(id).await;
    }
    let paid = claimed.intent_ref.as_deref().ok_or(missing())?;
    let id = RefundId(claimed.refund_id).to_string();
    let merchant = MerchantId(claimed.merchant_id).to_string();
    let order = PurchaseId(claimed.order_id).to_string();
    if claimed.tries > 1
        && let Some(found) = provider.find_refund(paid, &id).await?
    {
        return Ok(found);
    }
    let new = NewRefund {
        paid,
        amount: intents::amount(claimed.amount_minor, &claimed.currency)?,
        merchant: &merchant,
        order: &order,
        refund: &id,
    };
    provider.create_refund(&new, &id).await
}

impl Unasked {
    /// Whether the next intent would fare no better: the provider is away.
    fn is_of_all(&self) -> bool {
        matches!(self, Self::Provider(error) if error.may_be_repeated())
    }

    /// Says why the provider was not asked; it is, the next time.
    fn log(&self, intent: IntentId) {
        match self {
            Self::NotPayable => {}
            Self::Provider(error) => {
                tracing::warn!(error = %error, %intent, "the payment provider is asked again");
            }
            Self::Problem(problem) => {
                tracing::warn!(code = problem.code.name, %intent, "an intent waits for the next round");
            }
        }
    }
}
