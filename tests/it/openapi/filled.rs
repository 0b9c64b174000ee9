//! What the examples of the description cannot know: ids, tokens and signatures of this moment.

use counterfoil::clock::Clock;
use counterfoil::webhooks::event_type::EventType;
use serde_json::{Value, json};

use crate::accounts::log_in;
use crate::accounts_mail::{PostOffice, token_of};
use crate::accounts_wallet::{message, nonce, sign, wallet};
use crate::harness::{App, PASSWORD};
use crate::webhooks::{emit, register, text};

/// Tokens that are good once.
pub(super) struct Filled {
    refresh: Value,
    logout: Value,
    reset: String,
    endpoint: String,
    event: String,
}

impl Filled {
    /// Of an account that is no other test's.
    pub(super) async fn of(app: &App) -> Self {
        for email in ["ada@shop.example", "bob@shop.example"] {
            app.customer_called(email).await;
        }
        let refresh_token = async || {
            let entered = log_in(app, "ada@shop.example", PASSWORD).await.expect(200);
            entered.json()["tokens"]["refresh_token"].clone()
        };
        let forgotten =
            json!({"merchant_id": app.merchant.to_string(), "email": "bob@shop.example"});
        let asked = app
            .admin
            .send_json("/v1/auth/password/forgotten", &forgotten);
        asked.await.expect(202);
        let mails = PostOffice::new(app, &Clock::system()).deliver().await;
        // where nobody listens
        let endpoint = register(app, "http://127.0.0.1:9/", &["ping"]).await;
        let event = emit(app, EventType::OrderPaid, json!({"id": "ord_1"})).await;
        Self {
            endpoint: text(&endpoint, "/id").to_owned(),
            event: event.expect("an event").to_string(),
            refresh: refresh_token().await,
            logout: refresh_token().await,
            reset: token_of(&mails[0]),
        }
    }

    /// A path with what there is in it.
    pub(super) fn path(&self, path: &str) -> String {
        path.replace("{endpoint_id}", &self.endpoint)
            .replace("{event_id}", &self.event)
    }

    /// Puts into an example of a route what it cannot know.
    pub(super) async fn fill_in(&self, app: &App, path: &str, example: &mut Value) {
        if let Some(merchant) = example.get_mut("merchant_id") {
            *merchant = app.merchant.to_string().into();
        }
        match path {
            "/v1/auth/refresh" => example["refresh_token"] = self.refresh.clone(),
            "/v1/auth/logout" => example["refresh_token"] = self.logout.clone(),
            "/v1/auth/password/reset" => example["token"] = self.reset.clone().into(),
            "/v1/webhook_endpoints" => example["url"] = "http://127.0.0.1:9/".into(),
            "/v1/events/{event_id}/replay" => {
                example["endpoint_id"] = self.endpoint.clone().into();
            }
            "/v1/auth/wallet/login" | "/v1/me/wallet" => {
                let key = wallet();
                let text = message(key.address(), &nonce(app, &app.admin).await);
                example["signature"] = sign(&key, &text).into();
                example["message"] = text.into();
            }
            _ => {}
        }
        if path == "/v1/me/wallet" {
            // another example has changed it before
            example["password"] = "a longer sentence is better".into();
        }
    }
}
