//! The calls that go wrong: each failure as "did not happen", as "happened and was told as failed", and as
//! nothing told at all.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::any;
use counterfoil::clock::Clock;
use counterfoil::config::PaymentArgs;
use counterfoil::dev::payments::Plan;
use counterfoil::http::keys::Mode;
use counterfoil::payments::object::{IntentState, RefundState};
use counterfoil::payments::provider::{CancelReason, Provider, ProviderSettings, SettingsError};
use counterfoil::payments::{PaymentError, Payments, PaymentsError};

use super::{SECRET, VISA, a_moment, back, new, paid, refused};
use crate::harness::{LocalProvider, PAYMENT_KEY};

#[tokio::test]
async fn a_cut_after_the_work_is_unknown_and_the_repeat_finds_it_done() {
    let local = LocalProvider::alone(SECRET).await;
    let provider = local.provider();
    let cut = || {
        local.set_plan(Plan {
            cut: 1,
            ..Plan::default()
        });
    };
    cut();
    let error = refused(provider.create_intent(&new("pi_1"), "k1").await, "unknown");
    assert!(error.may_be_repeated() && !error.did_nothing());
    assert_eq!(local.intents_of("pi_1"), 1, "it happened");
    let made = provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    assert_eq!(local.intents_of("pi_1"), 1, "once");
    cut();
    let paying = provider.confirm_intent(&made.id, VISA, None, "k2").await;
    refused(paying, "unknown");
    let paid = provider.confirm_intent(&made.id, VISA, None, "k2").await;
    let paid = paid.unwrap();
    assert_eq!(paid.state, IntentState::Succeeded);
    cut();
    let refund = back(&paid, 1_500, "re_1");
    refused(provider.create_refund(&refund, "k3").await, "unknown");
    let done = provider.create_refund(&refund, "k3").await.unwrap();
    assert_eq!(done.state, RefundState::Succeeded);
    assert_eq!(local.refunds().len(), 1);
    // a read that is cut off did nothing, and a cut is for what changes something
    cut();
    provider.retrieve_intent(&made.id).await.unwrap();
}

#[tokio::test]
async fn two_hundred_at_once_with_one_key_are_one() {
    let local = LocalProvider::alone(SECRET).await;
    let provider = local.provider();
    let intent = new("pi_1");
    let all = (0..200).map(|_| provider.create_intent(&intent, "k1"));
    let all = futures_util::future::join_all(all).await;
    let ids: BTreeSet<String> = all.into_iter().map(|made| made.unwrap().id).collect();
    assert_eq!((ids.len(), local.intents_of("pi_1")), (1, 1));
    // and two who pay and cancel at once: one of them is told no
    let id = ids.first().expect("an id");
    let (paid, cancelled) = tokio::join!(
        provider.confirm_intent(id, VISA, None, "k2"),
        provider.cancel_intent(id, CancelReason::Abandoned, "k3"),
    );
    let read = provider.retrieve_intent(id).await.unwrap();
    if paid.is_ok() {
        refused(cancelled, "wrong_state");
        assert_eq!(read.state, IntentState::Succeeded);
    } else {
        refused(paid, "wrong_state");
        assert_eq!(read.state, IntentState::Canceled);
    }
}

#[tokio::test]
async fn an_answer_that_is_late_is_unknown_and_a_read_that_is_late_is_not() {
    let local = LocalProvider::alone(SECRET).await;
    let (patient, impatient) = (
        local.provider(),
        local.impatient(Duration::from_millis(100)),
    );
    let slow = || {
        local.set_plan(Plan {
            slow: 1,
            slow_ms: 1_000,
            ..Plan::default()
        });
    };
    slow();
    let error = refused(impatient.create_intent(&new("pi_1"), "k1").await, "unknown");
    assert!(error.to_string().contains("no answer in time"), "{error}");
    let made = patient.create_intent(&new("pi_1"), "k1").await.unwrap();
    assert_eq!(local.intents_of("pi_1"), 1);
    slow();
    let read = impatient.retrieve_intent(&made.id).await;
    let error = refused(read, "unavailable");
    assert!(error.did_nothing() && error.may_be_repeated());
    patient.retrieve_intent(&made.id).await.unwrap();
}

#[tokio::test]
async fn a_refusal_before_the_work_did_nothing_or_says_that_it_may_have() {
    let local = LocalProvider::alone(SECRET).await;
    let provider = local.provider();
    let refuse = |status| {
        local.set_plan(Plan {
            refuse: 1,
            refuse_status: status,
            ..Plan::default()
        });
    };
    for (status, class) in [(429, "rate_limited"), (500, "unknown"), (503, "unknown")] {
        refuse(status);
        let answer = provider.create_intent(&new("pi_1"), "k1").await;
        let error = refused(answer, class);
        assert!(error.may_be_repeated(), "{status}");
        assert_eq!(local.intents_of("pi_1"), 0, "{status}");
        refuse(status);
        let read = provider.retrieve_intent("pi_none").await;
        let class = if status == 429 { class } else { "unavailable" };
        refused(read, class);
    }
    provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    assert_eq!(local.intents_of("pi_1"), 1);
}

#[tokio::test]
async fn nobody_there_did_nothing() {
    let mut local = LocalProvider::alone(SECRET).await;
    let provider = local.provider();
    let made = provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    local.kill();
    // connections of before may still be ending
    a_moment().await;
    let error = refused(
        local.provider().create_intent(&new("pi_2"), "k2").await,
        "unavailable",
    );
    assert!(error.did_nothing() && error.may_be_repeated());
    local.restart().await;
    let read = local.provider().retrieve_intent(&made.id).await.unwrap();
    assert_eq!(read.ours(), Some("pi_1"));
    assert_eq!(local.intents_of("pi_2"), 0);
}

#[tokio::test]
async fn what_was_answered_survives_a_kill_and_keys_do_too() {
    let mut local = LocalProvider::alone(SECRET).await;
    local.set_plan(Plan {
        settle_ms: 400,
        ..Plan::default()
    });
    let provider = local.provider();
    let it = paid(&provider, "pi_1", VISA).await;
    let refund = back(&it, 500, "re_1");
    let first = provider.create_refund(&refund, "r1").await.unwrap();
    let under_way = paid(&provider, "pi_2", "pm_local_processing").await;
    assert_eq!(under_way.state, IntentState::Processing);
    local.kill();
    // the kill came in the middle of a line
    let mut text = std::fs::read_to_string(local.file()).unwrap();
    text.push_str("[{\"intent\":{\"id\":\"pi_torn");
    std::fs::write(local.file(), text).unwrap();
    local.restart().await;

    let provider = local.provider();
    let read = provider.retrieve_intent(&it.id).await.unwrap();
    assert_eq!(read.state, IntentState::Succeeded);
    let again = provider.create_refund(&refund, "r1").await.unwrap();
    assert_eq!((again.id, local.refunds().len()), (first.id, 1));
    let settled = crate::harness::eventually("it is settled", async || {
        let read = provider.retrieve_intent(&under_way.id).await.unwrap();
        (read.state == IntentState::Succeeded).then_some(read)
    })
    .await;
    assert_eq!(settled.received_minor, 1_500);
    // and what comes after the torn line is kept as well
    local.restart().await;
    assert_eq!(local.intents().len(), 2);
    let read = local.provider().retrieve_intent(&under_way.id).await;
    assert_eq!(read.unwrap().state, IntentState::Succeeded);
}

#[tokio::test]
async fn a_wrong_key_is_said_and_never_shown() {
    let local = LocalProvider::alone(SECRET).await;
    let settings = ProviderSettings::new(&local.address(), "sk_test_wrong_key".into());
    let stranger = Provider::new(&settings).unwrap();
    let error = refused(
        stranger.create_intent(&new("pi_1"), "k1").await,
        "not_allowed",
    );
    let client = local.provider();
    for shown in [
        format!("{error} {error:?} {stranger:?}"),
        format!("{client:?} {:?}", local.payments()),
    ] {
        assert!(!shown.contains("wrong_key"), "{shown}");
        assert!(!shown.contains(&PAYMENT_KEY[8..]), "{shown}");
        assert!(!shown.contains(SECRET), "{shown}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_unknown() {
    type Answer = fn() -> axum::response::Response;
    let answers: [(Answer, &str); 6] = [
        (|| "no JSON".into_response(), "unknown"),
        (|| "{\"id\":\"pi_1\"}".into_response(), "unknown"),
        (|| "x".repeat(3 * 1024 * 1024).into_response(), "unknown"),
        (
            || (StatusCode::BAD_GATEWAY, "<html>").into_response(),
            "unknown",
        ),
        (
            || (StatusCode::NOT_FOUND, "<html>").into_response(),
            "unknown",
        ),
        (
            || (StatusCode::FOUND, [("location", "http://127.0.0.1:1/")]).into_response(),
            "unknown",
        ),
    ];
    for (at, (answer, class)) in answers.into_iter().enumerate() {
        let router = Router::new().fallback(any(move || async move { answer() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let settings = ProviderSettings::new(&url, PAYMENT_KEY.into());
        let provider = Provider::new(&settings).unwrap();
        let answer = provider.create_intent(&new("pi_1"), "k1").await;
        let error = refused(answer, class);
        assert!(matches!(error, PaymentError::Unknown { .. }), "{at}");
        refused(provider.retrieve_intent("pi_1").await, "unavailable");
    }
}

#[tokio::test]
async fn an_address_and_a_key_that_make_no_sense_are_refused_at_the_start() {
    let open = |url: &str, key: &str| Provider::new(&ProviderSettings::new(url, key.into()));
    for url in ["", "api.stripe.com", "ftp://x", "file:///x", "http://"] {
        let refused = open(url, PAYMENT_KEY);
        assert!(matches!(refused, Err(SettingsError::Address)), "{url}");
    }
    for key in ["", "sk_test_", "pk_test_1", "whsec_1", "sk_test_\n1\n2"] {
        let refused = open("https://api.stripe.com", key);
        assert!(matches!(refused, Err(SettingsError::Key)), "{key}");
    }
    let plain = open("http://10.0.0.1", "sk_live_1");
    assert!(matches!(plain, Err(SettingsError::Plain)));
    let live = open("https://api.stripe.com", " sk_live_1\n").unwrap();
    assert_eq!((live.mode(), live.host()), (Mode::Live, "api.stripe.com"));
    assert_eq!(
        open("https://x.example/base/", "rk_test_1").unwrap().mode(),
        Mode::Test
    );
}

#[tokio::test]
async fn the_configuration_has_all_of_it_or_nothing() {
    let args = |key: Option<&str>, secrets: &[&str]| PaymentArgs {
        payment_url: "https://api.stripe.com".to_owned(),
        payment_key: key.map(Into::into),
        payment_key_file: None,
        payment_webhook_secret: secrets.iter().map(|&secret| secret.into()).collect(),
    };
    assert!(Payments::open(&args(None, &[])).unwrap().is_none());
    let refused = Payments::open(&args(Some(PAYMENT_KEY), &[]));
    assert!(matches!(refused, Err(PaymentsError::NoWebhookSecret)));
    let refused = Payments::open(&args(None, &[SECRET]));
    assert!(matches!(refused, Err(PaymentsError::NoKey)));
    let refused = Payments::open(&args(Some(PAYMENT_KEY), &["short"]));
    assert!(matches!(refused, Err(PaymentsError::Secrets(_))));
    let test = Payments::open(&args(Some(PAYMENT_KEY), &[SECRET]));
    let test = test.unwrap().expect("payments");
    assert!(test.provider_for(Mode::Test).is_ok());
    let error = test.provider_for(Mode::Live).unwrap_err();
    assert_eq!((error.provider, error.merchant), (Mode::Test, Mode::Live));
    let live = Payments::open(&args(Some("sk_live_1"), &[SECRET]));
    let live = live.unwrap().expect("payments");
    assert!(live.provider_for(Mode::Live).is_ok());
    assert!(live.provider_for(Mode::Test).is_err());
}

#[tokio::test]
async fn a_key_file_that_everybody_reads_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let local = LocalProvider::alone(SECRET).await;
    let file = local.file().with_file_name("the-key");
    std::fs::write(&file, format!("{PAYMENT_KEY}\n")).unwrap();
    let args = PaymentArgs {
        payment_url: local.address(),
        payment_key: None,
        payment_key_file: Some(file.clone()),
        payment_webhook_secret: vec![SECRET.into()],
    };
    let permit = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode));
    permit(0o644).unwrap();
    let refused = Payments::open(&args);
    assert!(matches!(refused, Err(PaymentsError::Open(_))));
    permit(0o600).unwrap();
    let payments = Payments::open(&args).unwrap().expect("payments");
    let provider = payments.provider();
    provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    std::fs::remove_file(&file).unwrap();
    let gone = Payments::open(&args);
    assert!(matches!(gone, Err(PaymentsError::File { .. })));
    let never = payments.receive(None, b"{}", Clock::system().now());
    assert!(never.is_err());
}
