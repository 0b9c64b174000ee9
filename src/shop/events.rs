//! `POST /v1/payments/webhook`: what the provider tells. Each event is taken in once, in the transaction of
//! what follows from it: an order is PAID, its pieces are sold, and it is a sale of the record, together or
//! not at all.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use sqlx::{PgConnection, PgTransaction};
use utoipa::ToSchema;

use super::sale::{self, Recorded};
use super::store::intents::{self as store, Paid, Settled};
use super::store::refunds;
use super::{Shop, points, upkeep};
use crate::database;
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::{IntentId, MerchantId, PurchaseId, RefundId};
use crate::payments::Refused;
use crate::payments::event::{EventObject, ProviderEvent};
use crate::payments::object::{self, Intent, IntentState, Refund, RefundState};

/// The header with the provider's signature.
const SIGNATURE: &str = "stripe-signature";

/// That an event is here.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventReceived)]
pub struct Received {
    /// Always true.
    pub received: bool,
}

/// For the payment provider: tell of an event
///
/// Signed as `Stripe-Signature` describes it. An event that was told before does nothing.
#[utoipa::path(
    post, path = "/v1/payments/webhook", tag = "Orders", request_body = Object,
    params(("Stripe-Signature" = String, Header, description = "t=…,v1=…")),
    responses(
        (status = 200, body = Received),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn receive_event(
    State(shop): State<Shop>,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Json<Received>, Problem> {
    let payments = shop.payments()?;
    let header = headers.get(SIGNATURE).map(|value| value.as_bytes());
    let event = match payments.receive(header, &bytes, shop.site.clock.now()) {
        Ok(event) => event,
        // the provider's, and of something else than ours: it is not to be sent again for days
        Err(Refused::Event(error)) => {
            tracing::warn!(error = %error, "a payment event cannot be read, and is passed over");
            return Ok(Json(Received { received: true }));
        }
        Err(refused) => {
            tracing::warn!(error = %refused, "a payment event was refused");
            return Err(Problem::new(&codes::SIGNATURE_INVALID, refused.to_string()));
        }
    };
    shop.check_sound()?;
    take_in(&shop, &event).await?;
    Ok(Json(Received { received: true }))
}

/// Takes an event in, and does what follows from it.
pub(super) async fn take_in(shop: &Shop, event: &ProviderEvent) -> Result<(), Problem> {
    match &event.object {
        EventObject::Intent(told) => {
            let Some((merchant, intent)) = ours(&told.metadata, object::OUR_INTENT) else {
                return Ok(());
            };
            let now = shop.site.clock.now();
            let mut tx = database::begin(&shop.pool).await?;
            let named = (event.id.as_str(), event.kind.as_str());
            if !store::receive(&mut *tx, merchant, named, Some(intent), now).await? {
                return Ok(());
            }
            let said = Said {
                told,
                at: event.created_at,
                source: &event.id,
            };
            apply_intent(shop, tx, (merchant, intent), &said).await
        }
        EventObject::Refund(told) => {
            let Some((merchant, refund)) = ours(&told.metadata, object::OUR_REFUND) else {
                return Ok(());
            };
            let now = shop.site.clock.now();
            let mut tx = database::begin(&shop.pool).await?;
            let named = (event.id.as_str(), event.kind.as_str());
            if !store::receive(&mut *tx, merchant, named, None, now).await? {
                return Ok(());
            }
            let recorded = apply_refund(shop, &mut tx, (merchant, refund), told).await?;
            tx.commit().await?;
            recorded.acknowledge(shop);
            Ok(())
        }
        EventObject::Charge(told) => {
            let Some(paid) = &told.intent else {
                return Ok(());
            };
            if store::note_charge(&shop.pool, paid, told.refunded_minor).await? {
                tracing::error!(
                    intent = %paid, "money was given back at the provider: see \"Parked orders\" in docs/OPERATIONS.md"
                );
            }
            Ok(())
        }
        EventObject::Other => Ok(()),
    }
}

/// The merchant and the id of ours that an object of the provider carries; none of what is not ours.
fn ours<Id: FromStr>(metadata: &BTreeMap<String, String>, name: &str) -> Option<(MerchantId, Id)> {
    let merchant = metadata.get(object::OUR_MERCHANT)?.parse().ok()?;
    Some((merchant, metadata.get(name)?.parse().ok()?))
}

/// What the provider says of an intent.
pub(super) struct Said<'a> {
    /// The intent.
    pub(super) told: &'a Intent,
    /// When it was so.
    pub(super) at: time::OffsetDateTime,
    /// How it is known: the event's id.
    pub(super) source: &'a str,
}

/// Does what follows from an intent's state, and commits.
pub(super) async fn apply_intent(
    shop: &Shop,
    mut tx: PgTransaction<'_>,
    (merchant, intent): (MerchantId, IntentId),
    said: &Said<'_>,
) -> Result<(), Problem> {
    let now = shop.site.clock.now();
    let told = said.told;
    let refund = RefundId::new(&shop.site.clock, &shop.site.entropy);
    let outcome = match told.state {
        IntentState::Succeeded => {
            let paid = Paid {
                provider_ref: &told.id,
                amount_minor: told.received_minor,
                currency: told.amount.currency.code(),
                event: said.source,
                refund,
            };
            Some(store::settle(&mut *tx, merchant, intent, &paid, now).await?)
        }
        IntentState::Canceled => {
            Some(store::cancel(&mut *tx, merchant, intent, Some(&told.id), now).await?)
        }
        state => {
            let error = told
                .last_decline
                .as_ref()
                .map(|decline| decline.message.as_str());
            let words = (told.id.as_str(), state.as_str(), error);
            store::note(&mut *tx, merchant, intent, words, said.at, now).await?;
            None
        }
    };
    if outcome == Some(Settled::Unknown) {
        tracing::error!(%merchant, %intent, "the provider tells of an intent that is not here");
        // a database that lacks it may have it again: the provider tells it once more
        if told.state == IntentState::Succeeded {
            let detail = "the intent is not known here";
            return Err(Problem::new(&codes::PAYMENT_UNAVAILABLE, detail));
        }
    }
    if matches!(outcome, Some(Settled::Refunding | Settled::Cancelled))
        && let Some(row) = store::find(&mut tx, merchant, intent, None).await?
    {
        points::give_back(&mut tx, merchant, PurchaseId(row.order_id), now).await?;
    }
    let recorded = match (outcome, told.state) {
        (Some(Settled::Paid), IntentState::Succeeded) => {
            sale::record_paid(shop, &mut tx, merchant, intent).await?
        }
        _ => Recorded::NONE,
    };
    tx.commit().await?;
    recorded.acknowledge(shop);
    match outcome {
        Some(Settled::Mismatch) => tracing::error!(
            %merchant, %intent, "the provider has another amount than the order's: see \"Parked orders\" in docs/OPERATIONS.md"
        ),
        Some(Settled::Refunding) => {
            tracing::warn!(%merchant, %intent, "a payment came too late and goes back");
            let shop = shop.clone();
            tokio::spawn(async move { upkeep::refund_now(&shop, merchant, refund).await });
        }
        _ => {}
    }
    Ok(())
}

/// Does what follows from a refund's state; the caller commits.
pub(super) async fn apply_refund(
    shop: &Shop,
    db: &mut PgConnection,
    named: (MerchantId, RefundId),
    told: &Refund,
) -> Result<Recorded, Problem> {
    let now = shop.site.clock.now();
    let id = Some(told.id.as_str());
    let reason = told.failure_reason.as_deref();
    let outcome = match told.state {
        RefundState::Pending | RefundState::RequiresAction => {
            let next = now + upkeep::REFUND_PAUSE;
            refunds::note(&mut *db, named, id, reason, next).await?;
            return Ok(Recorded::NONE);
        }
        RefundState::Succeeded => refunds::settle(&mut *db, named, id, Ok(()), now).await?,
        RefundState::Failed | RefundState::Canceled => {
            let reason = reason.unwrap_or("the provider could not give it back");
            refunds::settle(&mut *db, named, id, Err(reason), now).await?
        }
    };
    let (merchant, refund) = named;
    if matches!(
        outcome,
        refunds::Settled::Record | refunds::Settled::Settled
    ) && told.state == RefundState::Succeeded
        && let Some(row) = refunds::find(db, merchant, refund).await?
    {
        points::give_back_share(db, merchant, PurchaseId(row.order_id), now).await?;
    }
    match outcome {
        refunds::Settled::Record => return sale::record_refund(shop, db, merchant, refund).await,
        refunds::Settled::Reversed => tracing::error!(
            %merchant, %refund, "a refund failed after it had succeeded: see \"Parked orders\" in docs/OPERATIONS.md"
        ),
        _ => {}
    }
    Ok(Recorded::NONE)
}
