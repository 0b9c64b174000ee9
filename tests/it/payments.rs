//! The payment provider: our client against the local provider, over real sockets, each error included.

mod calls;
mod events;
mod faults;
mod program;
mod signatures;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use counterfoil::clock::Clock;
use counterfoil::money::Currency;
use counterfoil::payments::amount::Amount;
use counterfoil::payments::event::ProviderEvent;
use counterfoil::payments::object::Intent;
use counterfoil::payments::provider::{NewIntent, NewRefund, Provider};
use counterfoil::payments::{PaymentError, Payments};

use crate::harness::{LocalProvider, eventually};

/// What events are signed with.
const SECRET: &str = "whsec_the_secret_of_these_tests";
/// The means of payment that pays.
const VISA: &str = "pm_card_visa";

/// An amount.
fn amount(minor: i64, code: &str) -> Amount {
    let currency = Currency::from_code(code).expect("a currency");
    Amount { minor, currency }
}

/// An intent of 15.00 EUR under our own id.
fn new(ours: &str) -> NewIntent<'_> {
    NewIntent {
        amount: amount(1_500, "EUR"),
        merchant: "mer_1",
        order: "ord_1",
        intent: ours,
    }
}

/// A refund under our own id.
fn back<'a>(paid: &'a Intent, minor: i64, ours: &'a str) -> NewRefund<'a> {
    NewRefund {
        paid: &paid.id,
        amount: Amount {
            minor,
            currency: paid.amount.currency,
        },
        merchant: "mer_1",
        order: "ord_1",
        refund: ours,
    }
}

/// An intent that is paid with this.
async fn paid(provider: &Provider, ours: &str, method: &str) -> Intent {
    let made = provider.create_intent(&new(ours), ours).await;
    let id = made.expect("an intent").id;
    let key = format!("{ours}:pay");
    let paid = provider.confirm_intent(&id, method, None, &key).await;
    paid.expect("a payment")
}

/// Somebody who takes events.
struct Inbox {
    url: String,
    state: Arc<Desk>,
}

/// What came, and what is answered.
struct Desk {
    payments: Payments,
    came: Mutex<Vec<ProviderEvent>>,
    answer: Mutex<StatusCode>,
}

impl Inbox {
    /// One that takes all events of a provider that has their signature.
    async fn open(local: &mut LocalProvider) -> Self {
        let state = Arc::new(Desk {
            payments: local.payments(),
            came: Mutex::default(),
            answer: Mutex::new(StatusCode::OK),
        });
        let router = Router::new()
            .route("/hook", post(take))
            .with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        let url = format!("http://{address}/hook");
        local.tell(&url);
        Self { url, state }
    }

    fn answers(&self, status: StatusCode) {
        *self.state.answer.lock().expect("the answer") = status;
    }

    /// The types of what came, in order.
    fn kinds(&self) -> Vec<String> {
        let came = self.state.came.lock().expect("events");
        came.iter().map(|event| event.kind.clone()).collect()
    }

    fn events(&self) -> Vec<ProviderEvent> {
        self.state.came.lock().expect("events").clone()
    }

    /// Waits until so many events came.
    async fn until(&self, count: usize) -> Vec<String> {
        let what = format!("{count} events");
        eventually(&what, async || {
            let kinds = self.kinds();
            (kinds.len() >= count).then_some(kinds)
        })
        .await
    }

    /// Waits until an event of this type came.
    async fn until_kind(&self, kind: &str) -> ProviderEvent {
        eventually(kind, async || {
            self.events().into_iter().find(|event| event.kind == kind)
        })
        .await
    }
}

async fn take(State(state): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = headers.get("stripe-signature");
    let header = header.map(|value| value.as_bytes());
    let now = Clock::system().now();
    match state.payments.receive(header, &body, now) {
        Ok(event) => {
            let answer = *state.answer.lock().expect("the answer");
            state.came.lock().expect("events").push(event);
            answer
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

/// Fails unless a call was refused in this class.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, PaymentError>, class: &str) -> PaymentError {
    let error = answer.expect_err(class);
    assert_eq!(error.class(), class, "{error:?}");
    error
}

/// A little while.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}
