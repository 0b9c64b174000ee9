//! Refunds: made, settled, and failed after all.

use axum::http::StatusCode;
use serde_json::Value;

use super::book::{Charge, Draft, Refund, Row, Settles};
use super::form::Fields;
use super::intents;
use super::methods::{self, Back};
use super::refusal::Refusal;
use crate::payments::object::RefundState;

pub(super) fn create(draft: &mut Draft<'_>, fields: &Fields) -> Result<Value, Refusal> {
    fields.only(&["payment_intent", "amount", "reason", "metadata"])?;
    let paid = fields.need("payment_intent")?;
    let wanted = fields.number("amount", 1..=i64::MAX)?;
    let metadata = fields.metadata()?;
    let intent = intents::find(draft, paid)?;
    let charge = intent
        .charge
        .as_ref()
        .and_then(|id| draft.book.charges.get(id));
    let Some(mut charge) = charge.cloned() else {
        let detail = format!("This PaymentIntent ({paid}) has no successful charge to refund.");
        return Err(Refusal::state(None, &detail, None));
    };
    let left = charge.amount - charge.refunded;
    if left == 0 {
        let detail = format!("Charge {} is refunded.", charge.id);
        return Err(Refusal::state(
            Some("charge_already_refunded"),
            &detail,
            None,
        ));
    }
    let amount = wanted.unwrap_or(left);
    if amount > left {
        let detail = format!("{amount} is more than what is left of the charge, {left}.");
        return Err(Refusal::state(None, &detail, None));
    }
    charge.refunded += amount;
    let (status, settles) = match methods::back(&charge.payment_method) {
        Back::Arrives => (RefundState::Succeeded, None),
        Back::ArrivesLater => (RefundState::Pending, Some(draft.settles(true))),
        Back::Fails => (RefundState::Succeeded, Some(draft.settles(false))),
    };
    let refund = Refund {
        id: draft.id("re_"),
        status,
        amount,
        currency: charge.currency.clone(),
        created: draft.seconds(),
        intent: intent.id,
        charge: charge.id.clone(),
        reason: fields.get("reason").map(str::to_owned),
        failure_reason: None,
        metadata,
        settles,
    };
    let answer = refund.to_json();
    write(draft, refund, charge);
    draft.tell("refund.created", &answer);
    Ok(answer)
}

/// Both rows, and the event of the charge.
fn write(draft: &mut Draft<'_>, refund: Refund, charge: Charge) {
    let told = charge.to_json();
    draft.write(Row::Refund(refund));
    draft.write(Row::Charge(charge));
    draft.tell("charge.refunded", &told);
}

/// What takes its time has taken it.
pub(super) fn settle(draft: &mut Draft<'_>, id: &str) {
    let Some(mut refund) = draft.book.refunds.get(id).cloned() else {
        return;
    };
    let Some(Settles { well, .. }) = refund.settles.take() else {
        return;
    };
    if well {
        refund.status = RefundState::Succeeded;
        let told = refund.to_json();
        draft.write(Row::Refund(refund));
        draft.tell("refund.updated", &told);
        draft.tell("charge.refund.updated", &told);
        return;
    }
    refund.status = RefundState::Failed;
    refund.failure_reason = Some("expired_or_canceled_card".to_owned());
    if let Some(mut charge) = draft.book.charges.get(&refund.charge).cloned() {
        charge.refunded -= refund.amount;
        draft.write(Row::Charge(charge));
    }
    let told = refund.to_json();
    draft.write(Row::Refund(refund));
    for kind in ["refund.updated", "charge.refund.updated", "refund.failed"] {
        draft.tell(kind, &told);
    }
}

pub(super) fn find(draft: &Draft<'_>, id: &str) -> Result<Value, Refusal> {
    let missing = || Refusal::missing("refund", id, "id", StatusCode::NOT_FOUND);
    let refund = draft.book.refunds.get(id);
    refund.map(Refund::to_json).ok_or_else(missing)
}
