//! The calls that go well, and the refusals that are part of the business.

use std::time::Duration;

use counterfoil::clock::{Clock, from_unix_ms};
use counterfoil::http::keys::Mode;
use counterfoil::payments::PaymentError;
use counterfoil::payments::amount::AmountError;
use counterfoil::payments::object::{IntentState, RefundState};
use counterfoil::payments::provider::{CancelReason, KEYS_KEPT};
use secrecy::ExposeSecret;

use super::{SECRET, VISA, amount, back, new, paid, refused};
use crate::harness::{LocalProvider, eventually};

#[tokio::test]
async fn an_intent_is_made_paid_and_read_again() {
    let local = LocalProvider::alone(SECRET).await;
    let provider = local.provider();
    assert_eq!(provider.mode(), Mode::Test);
    let made = provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    assert_eq!(made.state, IntentState::RequiresPaymentMethod);
    assert_eq!(made.amount, amount(1_500, "EUR"));
    assert_eq!((made.received_minor, made.mode), (0, Mode::Test));
    assert_eq!(made.ours(), Some("pi_1"));
    let secret = made.client_secret.expect("a client secret");
    assert!(secret.expose_secret().starts_with(&made.id));

    let paid = provider.confirm_intent(&made.id, VISA, None, "k2").await;
    let paid = paid.unwrap();
    assert_eq!((&paid.id, paid.state), (&made.id, IntentState::Succeeded));
    assert_eq!(paid.received_minor, 1_500);
    let read = provider.retrieve_intent(&made.id).await.unwrap();
    assert_eq!(read.state, IntentState::Succeeded);
    assert_eq!(read.metadata["order_id"], "ord_1");
    assert_eq!(read.metadata["merchant_id"], "mer_1");
}

#[tokio::test]
async fn amounts_go_as_the_provider_counts_them() {
    let local = LocalProvider::alone(SECRET).await;
    let provider = local.provider();
    for (minor, code, theirs) in [
        (500, "JPY", 500),
        (500, "ISK", 50_000),
        (300, "MGA", 3),
        (5_120, "KWD", 5_120),
        (150_075, "INR", 150_075),
    ] {
        let mut intent = new(code);
        intent.amount = amount(minor, code);
        let made = provider.create_intent(&intent, code).await.unwrap();
        assert_eq!(made.amount, intent.amount, "{code}");
        let told = local.intents().pop().expect("an intent");
        assert_eq!(told["amount"], theirs, "{code}");
        assert_eq!(told["currency"], code.to_ascii_lowercase());
    }
    let before = local.intents().len();
    for (minor, code) in [(5_124, "KWD"), (150, "MGA"), (1, "CLF"), (0, "EUR")] {
        let mut intent = new(code);
        intent.amount = amount(minor, code);
        let answer = provider.create_intent(&intent, "never").await;
        let error = refused(answer, "invalid");
        assert!(matches!(error, PaymentError::Amount(_)), "{code}");
    }
    let mut intent = new("x");
    intent.amount = amount(1, "CLF");
    match provider.create_intent(&intent, "never").await {
        Err(PaymentError::Amount(AmountError::NotCharged { currency })) => {
            assert_eq!(currency, "CLF");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(local.intents().len(), before, "nothing was asked");
}

#[tokio::test]
async fn a_decline_says_why_and_the_next_card_may_pay() {
    let local = LocalProvider::alone(SECRET).await;
    let provider = local.provider();
    let made = provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    for (key, method, code, decline_code) in [
        (
            "k2",
            "pm_card_visa_chargeDeclined",
            "card_declined",
            Some("generic_decline"),
        ),
        (
            "k3",
            "pm_card_visa_chargeDeclinedInsufficientFunds",
            "card_declined",
            Some("insufficient_funds"),
        ),
        (
            "k4",
            "pm_card_chargeDeclinedExpiredCard",
            "expired_card",
            None,
        ),
    ] {
        let answer = provider.confirm_intent(&made.id, method, None, key).await;
        let PaymentError::Declined {
            decline, intent, ..
        } = refused(answer, "declined")
        else {
            panic!("declined")
        };
        assert_eq!(decline.code, code);
        assert_eq!(decline.decline_code.as_deref(), decline_code);
        assert!(decline.message.starts_with("Your card"));
        let intent = intent.expect("the intent after it");
        assert_eq!(intent.state, IntentState::RequiresPaymentMethod);
        assert_eq!(intent.last_decline, Some(decline));
    }
    let paid = provider.confirm_intent(&made.id, VISA, None, "k5").await;
    let paid = paid.unwrap();
    assert_eq!(paid.state, IntentState::Succeeded);
    assert_eq!(paid.last_decline, None);
    // a key that was declined is answered the same for ever: the attempt was one
    let again = provider.confirm_intent(&made.id, "pm_card_visa_chargeDeclined", None, "k2");
    refused(again.await, "declined");
}

#[tokio::test]
async fn what_is_under_way_ends_by_itself() {
    let local = LocalProvider::alone(SECRET).await;
    let provider = local.provider();
    let mut plan = local.plan();
    plan.settle_ms = 100;
    local.set_plan(plan);
    for (method, end) in [
        ("pm_local_processing", IntentState::Succeeded),
        (
            "pm_local_processingFails",
            IntentState::RequiresPaymentMethod,
        ),
    ] {
        let confirmed = paid(&provider, method, method).await;
        assert_eq!(confirmed.state, IntentState::Processing);
        let cancelled =
            provider.cancel_intent(&confirmed.id, CancelReason::Abandoned, end.as_str());
        let PaymentError::WrongState { intent, .. } = refused(cancelled.await, "wrong_state")
        else {
            panic!("wrong state")
        };
        assert_eq!(intent.expect("it").state, IntentState::Processing);
        let ended = eventually(method, async || {
            let read = provider.retrieve_intent(&confirmed.id).await.unwrap();
            (read.state != IntentState::Processing).then_some(read)
        })
        .await;
        assert_eq!(ended.state, end);
        assert_eq!(ended.last_decline.is_some(), end != IntentState::Succeeded);
    }
}

#[tokio::test]
async fn a_cancelled_intent_is_never_paid_and_a_paid_one_never_cancelled() {
    let local = LocalProvider::alone(SECRET).await;
    let provider = local.provider();
    let made = provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    let reason = CancelReason::Abandoned;
    let cancelled = provider
        .cancel_intent(&made.id, reason, "k2")
        .await
        .unwrap();
    assert_eq!(cancelled.state, IntentState::Canceled);
    assert_eq!(local.intents()[0]["cancellation_reason"], "abandoned");
    let late = provider.confirm_intent(&made.id, VISA, None, "k3").await;
    let PaymentError::WrongState { code, intent, .. } = refused(late, "wrong_state") else {
        panic!("wrong state")
    };
    assert_eq!(code, "payment_intent_unexpected_state");
    assert_eq!(intent.expect("it").state, IntentState::Canceled);

    let paid = paid(&provider, "pi_2", VISA).await;
    let late = provider.cancel_intent(&paid.id, reason, "k4").await;
    let PaymentError::WrongState { intent, .. } = refused(late, "wrong_state") else {
        panic!("wrong state")
    };
    assert_eq!(intent.expect("it").state, IntentState::Succeeded);
}

#[tokio::test]
async fn money_goes_back_in_parts_and_never_more_than_was_paid() {
    let local = LocalProvider::alone(SECRET).await;
    let provider = local.provider();
    let it = paid(&provider, "pi_1", VISA).await;
    let first = provider.create_refund(&back(&it, 500, "re_1"), "r1").await;
    let first = first.unwrap();
    assert_eq!(first.state, RefundState::Succeeded);
    assert_eq!(first.amount, amount(500, "EUR"));
    assert_eq!(first.intent.as_deref(), Some(it.id.as_str()));
    // the same again is the same
    let again = provider.create_refund(&back(&it, 500, "re_1"), "r1").await;
    assert_eq!(again.unwrap().id, first.id);
    let too_much = provider
        .create_refund(&back(&it, 1_001, "re_2"), "r2")
        .await;
    refused(too_much, "invalid");
    let rest = provider
        .create_refund(&back(&it, 1_000, "re_3"), "r3")
        .await;
    let rest = rest.unwrap();
    let nothing_left = provider.create_refund(&back(&it, 1, "re_4"), "r4").await;
    refused(nothing_left, "wrong_state");
    assert_eq!(
        provider.retrieve_refund(&rest.id).await.unwrap().ours(),
        Some("re_3")
    );
    assert_eq!(local.refunds().len(), 2);
    let found = provider.find_refund(&it.id, "re_1").await.unwrap();
    assert_eq!(found.expect("a refund").id, first.id);
    assert!(
        provider
            .find_refund(&it.id, "re_2")
            .await
            .unwrap()
            .is_none()
    );
    // what nobody paid has nothing to give back
    let made = provider.create_intent(&new("pi_2"), "k").await.unwrap();
    let none = provider.create_refund(&back(&made, 1, "re_5"), "r5").await;
    refused(none, "invalid");
}

#[tokio::test]
async fn a_lost_intent_is_found_by_our_own_id() {
    let clock = Clock::manual(from_unix_ms(1_700_000_000_000));
    let local = LocalProvider::by(clock.clone(), SECRET).await;
    let provider = local.provider();
    for at in 0..150 {
        let ours = format!("pi_{at}");
        provider.create_intent(&new(&ours), &ours).await.unwrap();
        clock.advance(Duration::from_secs(10));
    }
    let (from, to) = (from_unix_ms(1_700_000_000_000), clock.now());
    for ours in ["pi_0", "pi_77", "pi_149"] {
        let found = provider.find_intent(ours, from, to).await.unwrap();
        assert_eq!(found.expect(ours).ours(), Some(ours));
    }
    assert!(
        provider
            .find_intent("pi_150", from, to)
            .await
            .unwrap()
            .is_none()
    );
    // the clocks may differ by five minutes, and no more is looked through
    let at = from_unix_ms(1_700_000_700_000);
    let near = provider.find_intent("pi_77", at, at).await.unwrap();
    assert!(near.is_some());
    let far = provider.find_intent("pi_149", at, at).await.unwrap();
    assert!(far.is_none());
}

#[tokio::test]
async fn a_key_is_once_for_a_day_and_for_one_request() {
    let clock = Clock::manual(from_unix_ms(1_700_000_000_000));
    let local = LocalProvider::by(clock.clone(), SECRET).await;
    let provider = local.provider();
    let first = provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    clock.advance(KEYS_KEPT - Duration::from_secs(1));
    let again = provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    assert_eq!(again.id, first.id);
    let mut other = new("pi_1");
    other.amount = amount(1_600, "EUR");
    refused(provider.create_intent(&other, "k1").await, "key_reused");
    refused(
        provider.confirm_intent(&first.id, VISA, None, "k1").await,
        "key_reused",
    );
    // after a day the key means nothing: without looking first there would be two
    clock.advance(Duration::from_secs(2));
    let second = provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(local.intents_of("pi_1"), 2);
    for bad in ["", " ", "a b", "ü", &"k".repeat(256)] {
        refused(provider.create_intent(&new("pi_2"), bad).await, "invalid");
    }
    assert_eq!(local.intents_of("pi_2"), 0);
}

#[tokio::test]
async fn what_is_not_there_is_missing() {
    let local = LocalProvider::alone(SECRET).await;
    let provider = local.provider();
    for id in ["pi_none", "", ".", "..", "pi_1/confirm", "pi 1", "pi_1?x=1"] {
        refused(provider.retrieve_intent(id).await, "missing");
        refused(provider.retrieve_refund(id).await, "missing");
        let key = format!("k{}", id.len());
        let paying = provider.confirm_intent(id, VISA, None, &key);
        refused(paying.await, "missing");
    }
    let made = provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    let no_card = provider.confirm_intent(&made.id, "pm_of_nobody", None, "k2");
    refused(no_card.await, "invalid");
    let no_page = provider.confirm_intent(&made.id, VISA, Some("javascript:1"), "k3");
    let error = refused(no_page.await, "invalid");
    assert!(error.did_nothing() && !error.may_be_repeated());
    // what was refused before any work is not kept under its key
    let right = provider.confirm_intent(&made.id, VISA, Some("https://shop.example/"), "k3");
    assert_eq!(right.await.unwrap().state, IntentState::Succeeded);
}
