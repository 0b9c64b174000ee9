//! Intents: made, confirmed, authenticated, settled, cancelled.

use axum::http::StatusCode;
use serde_json::Value;

use super::book::{Charge, Draft, Intent, Row};
use super::form::Fields;
use super::methods::{self, Outcome};
use super::refusal::Refusal;
use crate::payments::amount::Amount;
use crate::payments::event::INTENT_SUCCEEDED;
use crate::payments::object::{Decline, IntentState};

/// The largest amount: Stripe's eight digits are twelve for some currencies.
const AMOUNT: i64 = 999_999_999_999;

pub(super) fn create(draft: &mut Draft<'_>, fields: &Fields) -> Result<Value, Refusal> {
    fields.only(&[
        "amount",
        "currency",
        "capture_method",
        "payment_method_types",
        "metadata",
        "description",
    ])?;
    fields.need("amount")?;
    let amount = fields.number("amount", 1..=AMOUNT)?.unwrap_or_default();
    let currency = fields.need("currency")?;
    let is_charged = Amount::of_provider(amount, currency).and_then(|amount| amount.for_provider());
    if is_charged.is_err() {
        let detail = "it is not charged, or not in such steps";
        return Err(Refusal::parameter("invalid_currency", "currency", detail));
    }
    if !matches!(fields.get("capture_method"), None | Some("automatic")) {
        let detail = "here it is automatic";
        return Err(Refusal::parameter(
            "parameter_unknown",
            "capture_method",
            detail,
        ));
    }
    let intent = Intent {
        id: draft.id("pi_"),
        secret: draft.id(""),
        status: IntentState::RequiresPaymentMethod,
        amount,
        received: 0,
        currency: currency.to_owned(),
        created: draft.seconds(),
        metadata: fields.metadata()?,
        payment_method: None,
        return_url: None,
        last_error: None,
        charge: None,
        canceled_at: None,
        cancellation_reason: None,
        settles: None,
    };
    let answer = intent.to_json(draft.base);
    draft.tell_intent("payment_intent.created", intent);
    Ok(answer)
}

pub(super) fn confirm(draft: &mut Draft<'_>, id: &str, fields: &Fields) -> Result<Value, Refusal> {
    fields.only(&["payment_method", "return_url"])?;
    let method = fields.need("payment_method")?;
    let Some(outcome) = methods::outcome(method) else {
        let status = StatusCode::BAD_REQUEST;
        let refusal = Refusal::missing("PaymentMethod", method, "payment_method", status);
        return Err(refusal);
    };
    let return_url = fields.get("return_url");
    if return_url.is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        return Err(Refusal::parameter("url_invalid", "return_url", "no URL"));
    }
    let mut intent = find(draft, id)?;
    require(
        draft,
        &intent,
        "confirm",
        &[
            IntentState::RequiresPaymentMethod,
            IntentState::RequiresConfirmation,
            IntentState::RequiresAction,
        ],
    )?;
    intent.payment_method = Some(method.to_owned());
    intent.return_url = return_url.map(str::to_owned);
    intent.last_error = None;
    match outcome {
        Outcome::Pays => Ok(succeed(draft, intent)),
        Outcome::Declines(decline) => {
            let intent = fail(draft, intent, decline.clone());
            Err(Refusal::declined(&decline, &intent, draft.base))
        }
        Outcome::Authenticates => {
            intent.status = IntentState::RequiresAction;
            let answer = intent.to_json(draft.base);
            draft.tell_intent("payment_intent.requires_action", intent);
            Ok(answer)
        }
        Outcome::TakesTime { well } => {
            intent.status = IntentState::Processing;
            intent.settles = Some(draft.settles(well));
            let answer = intent.to_json(draft.base);
            draft.tell_intent("payment_intent.processing", intent);
            Ok(answer)
        }
    }
}

/// The customer has authenticated, or could not.
pub(super) fn authenticate(draft: &mut Draft<'_>, id: &str, well: bool) -> Result<Value, Refusal> {
    let intent = find(draft, id)?;
    require(
        draft,
        &intent,
        "authenticate",
        &[IntentState::RequiresAction],
    )?;
    Ok(if well {
        succeed(draft, intent)
    } else {
        let intent = fail(draft, intent, methods::not_authenticated());
        intent.to_json(draft.base)
    })
}

/// What takes its time has taken it.
pub(super) fn settle(draft: &mut Draft<'_>, id: &str) {
    let Ok(intent) = find(draft, id) else { return };
    let Some(settles) = intent.settles else {
        return;
    };
    if settles.well {
        succeed(draft, intent);
    } else {
        fail(draft, intent, methods::fails_later());
    }
}

pub(super) fn cancel(draft: &mut Draft<'_>, id: &str, fields: &Fields) -> Result<Value, Refusal> {
    fields.only(&["cancellation_reason"])?;
    let reason = fields.get("cancellation_reason");
    let known = [
        "duplicate",
        "fraudulent",
        "requested_by_customer",
        "abandoned",
    ];
    if reason.is_some_and(|reason| !known.contains(&reason)) {
        let detail = "no such reason";
        return Err(Refusal::parameter(
            "parameter_invalid_string",
            "cancellation_reason",
            detail,
        ));
    }
    let mut intent = find(draft, id)?;
    require(
        draft,
        &intent,
        "cancel",
        &[
            IntentState::RequiresPaymentMethod,
            IntentState::RequiresConfirmation,
            IntentState::RequiresAction,
            IntentState::RequiresCapture,
        ],
    )?;
    intent.status = IntentState::Canceled;
    intent.canceled_at = Some(draft.seconds());
    intent.cancellation_reason = reason.map(str::to_owned);
    let answer = intent.to_json(draft.base);
    draft.tell_intent("payment_intent.canceled", intent);
    Ok(answer)
}

pub(super) fn find(draft: &Draft<'_>, id: &str) -> Result<Intent, Refusal> {
    let missing = || Refusal::missing("payment_intent", id, "intent", StatusCode::NOT_FOUND);
    draft.book.intents.get(id).cloned().ok_or_else(missing)
}

fn require(
    draft: &Draft<'_>,
    intent: &Intent,
    verb: &str,
    states: &[IntentState],
) -> Result<(), Refusal> {
    if states.contains(&intent.status) {
        return Ok(());
    }
    let state = intent.status.as_str();
    let detail = format!("You cannot {verb} this PaymentIntent: its status is {state}.");
    let code = Some("payment_intent_unexpected_state");
    Err(Refusal::state(code, &detail, Some((intent, draft.base))))
}

fn succeed(draft: &mut Draft<'_>, mut intent: Intent) -> Value {
    let charge = Charge {
        id: draft.id("ch_"),
        intent: intent.id.clone(),
        amount: intent.amount,
        refunded: 0,
        currency: intent.currency.clone(),
        created: draft.seconds(),
        payment_method: intent.payment_method.clone().unwrap_or_default(),
    };
    intent.status = IntentState::Succeeded;
    intent.received = intent.amount;
    intent.charge = Some(charge.id.clone());
    intent.settles = None;
    let told = charge.to_json();
    draft.write(Row::Charge(charge));
    draft.tell("charge.succeeded", &told);
    let answer = intent.to_json(draft.base);
    draft.tell_intent(INTENT_SUCCEEDED, intent);
    answer
}

fn fail(draft: &mut Draft<'_>, mut intent: Intent, decline: Decline) -> Intent {
    intent.status = IntentState::RequiresPaymentMethod;
    intent.payment_method = None;
    intent.last_error = Some(decline);
    intent.settles = None;
    draft.tell_intent("payment_intent.payment_failed", intent.clone());
    intent
}
