//! The calls of the provider: Stripe's API over HTTP, with form-encoded bodies.
//!
//! Each POST carries an `Idempotency-Key` of the caller's choice. While the provider keeps it
//! ([`KEYS_KEPT`]), the same call with the same key does nothing new and has the same answer, refusals and
//! errors among them: so a call whose answer was lost is repeated as it was. After that a key means
//! nothing, and a lost object is found by our own id in its metadata ([`Provider::find_intent`],
//! [`Provider::find_refund`]) before anything is made anew. It is looked for by listing, not by the
//! provider's search, whose index is behind by a minute or an hour and which is not offered in India.

mod form;
mod wire;

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::amount::Amount;
use super::event::{self, ProviderEvent};
use super::failure::PaymentError;
use super::object::{self, Intent, Refund};
use crate::http::keys::Mode;
use crate::limits;
pub use form::Form;
use wire::Wire;
pub use wire::{ProviderSettings, SettingsError};

/// How long the provider keeps an idempotency key at least.
pub const KEYS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How far the provider's clock may be from ours when something is looked for by its time.
const CLOCK_SPAN: Duration = Duration::from_secs(300);
/// Objects of a page when something is looked for.
const PAGE: usize = 100;
/// Pages that are looked through.
const PAGES: usize = 50;

/// A client of the provider. Cloned it shares its connections.
#[derive(Debug, Clone)]
pub struct Provider {
    wire: Wire,
    mode: Mode,
}

/// An intent to make.
#[derive(Debug, Clone)]
pub struct NewIntent<'a> {
    /// What is to be paid.
    pub amount: Amount,
    /// Our merchant's id.
    pub merchant: &'a str,
    /// Our order's id.
    pub order: &'a str,
    /// Our intent's id.
    pub intent: &'a str,
}

/// A refund to make.
#[derive(Debug, Clone)]
pub struct NewRefund<'a> {
    /// The provider's id of the intent that was paid.
    pub paid: &'a str,
    /// What goes back, at most what was paid and is not back yet.
    pub amount: Amount,
    /// Our merchant's id.
    pub merchant: &'a str,
    /// Our order's id.
    pub order: &'a str,
    /// Our refund's id.
    pub refund: &'a str,
}

/// Why an intent is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// Nobody paid in time.
    Abandoned,
    /// The customer wanted it.
    RequestedByCustomer,
}

impl CancelReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::RequestedByCustomer => "requested_by_customer",
        }
    }
}

impl Provider {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SettingsError`]; nothing of the key is in it.
    pub fn new(settings: &ProviderSettings) -> Result<Self, SettingsError> {
        let (wire, mode) = Wire::new(settings)?;
        Ok(Self { wire, mode })
    }

    /// Whether the key is one for real money: `sk_live_` and `rk_live_` are, `sk_test_` and `rk_test_` are not.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Where it is asked.
    pub fn host(&self) -> &str {
        self.wire.host()
    }

    /// Makes an intent whose money is taken as soon as it is paid. `key` is its idempotency key: 1 to 255
    /// visible ASCII characters, the same for every repeat and for nothing else.
    ///
    /// # Errors
    /// [`PaymentError`]; among them an amount that the provider cannot charge exactly.
    pub async fn create_intent(
        &self,
        new: &NewIntent<'_>,
        key: &str,
    ) -> Result<Intent, PaymentError> {
        let amount = new.amount.for_provider()?;
        let form = Form::default()
            .with("amount", &amount.to_string())
            .with("currency", &new.amount.provider_currency())
            .with("capture_method", "automatic")
            // cards (wallets among them) can be confirmed from here too, with or without a page to return to
            .with("payment_method_types[0]", "card")
            .with(&metadata(object::OUR_MERCHANT), new.merchant)
            .with(&metadata(object::OUR_ORDER), new.order)
            .with(&metadata(object::OUR_INTENT), new.intent);
        self.wire
            .post("create_intent", &["payment_intents"], &form, key)
            .await
    }

    /// An intent by the provider's id.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn retrieve_intent(&self, id: &str) -> Result<Intent, PaymentError> {
        let call = "retrieve_intent";
        let path = ["payment_intents", known(call, id)?];
        self.wire.get(call, &path, &Form::default()).await
    }

    /// The intent that was made under our own id between these times, by our clock; none where there is
    /// none. For when the answer to [`Provider::create_intent`] was lost and its key is kept no more. An
    /// answer of none holds once the request itself is over for certain: its time-out later.
    ///
    /// # Errors
    /// [`PaymentError`]; [`PaymentError::Unavailable`] too where more than 5,000 intents were made between
    /// these times.
    pub async fn find_intent(
        &self,
        ours: &str,
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> Result<Option<Intent>, PaymentError> {
        let query = between(from, to);
        let is_it = |intent: &Intent| intent.ours() == Some(ours);
        let id = |intent: &Intent| intent.id.clone();
        self.find("find_intent", "payment_intents", query, is_it, id)
            .await
    }

    /// Pays an intent with a means of payment of the provider's (`pm_…`). `return_url` is where the customer
    /// comes back to after authenticating elsewhere. The answer's state says what is next.
    ///
    /// # Errors
    /// [`PaymentError`]; [`PaymentError::Declined`] where the attempt was refused.
    pub async fn confirm_intent(
        &self,
        id: &str,
        payment_method: &str,
        return_url: Option<&str>,
        key: &str,
    ) -> Result<Intent, PaymentError> {
        let call = "confirm_intent";
        let mut form = Form::default().with("payment_method", payment_method);
        if let Some(url) = return_url {
            form = form.with("return_url", url);
        }
        let path = ["payment_intents", known(call, id)?, "confirm"];
        self.wire.post(call, &path, &form, key).await
    }

    /// Cancels an intent that has no money: nobody can pay it afterwards. One that has, or whose payment
    /// is under way, is [`PaymentError::WrongState`], with the intent as it is.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn cancel_intent(
        &self,
        id: &str,
        reason: CancelReason,
        key: &str,
    ) -> Result<Intent, PaymentError> {
        let call = "cancel_intent";
        let form = Form::default().with("cancellation_reason", reason.as_str());
        let path = ["payment_intents", known(call, id)?, "cancel"];
        self.wire.post(call, &path, &form, key).await
    }

    /// Sends money back. That it succeeded is not the last word: it may fail days later, and an event says
    /// so.
    ///
    /// # Errors
    /// [`PaymentError`]; [`PaymentError::WrongState`] where nothing is left to send back.
    pub async fn create_refund(
        &self,
        new: &NewRefund<'_>,
        key: &str,
    ) -> Result<Refund, PaymentError> {
        let call = "create_refund";
        let amount = new.amount.for_provider()?;
        let form = Form::default()
            .with("payment_intent", known(call, new.paid)?)
            .with("amount", &amount.to_string())
            .with(&metadata(object::OUR_MERCHANT), new.merchant)
            .with(&metadata(object::OUR_ORDER), new.order)
            .with(&metadata(object::OUR_REFUND), new.refund);
        self.wire.post(call, &["refunds"], &form, key).await
    }

    /// A refund by the provider's id.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn retrieve_refund(&self, id: &str) -> Result<Refund, PaymentError> {
        let call = "retrieve_refund";
        let path = ["refunds", known(call, id)?];
        self.wire.get(call, &path, &Form::default()).await
    }

    /// The refund of a paid intent (by the provider's id) that was made under our own id; none where there
    /// is none. For when the answer to [`Provider::create_refund`] was lost and its key is kept no more.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn find_refund(
        &self,
        paid: &str,
        ours: &str,
    ) -> Result<Option<Refund>, PaymentError> {
        let call = "find_refund";
        let query = Form::default().with("payment_intent", known(call, paid)?);
        let is_it = |refund: &Refund| refund.ours() == Some(ours);
        let id = |refund: &Refund| refund.id.clone();
        self.find(call, "refunds", query, is_it, id).await
    }

    /// The events of these types (at most 20) that were made between these times, by our clock, oldest
    /// first: each the same, with the same id, as it is delivered. For whoever has waited for a delivery
    /// too long. The provider keeps events for 30 days. One that cannot be read is left out, with a line in
    /// the log.
    ///
    /// # Errors
    /// [`PaymentError`]; [`PaymentError::Unavailable`] too where there are more than 5,000 of them.
    pub async fn events(
        &self,
        kinds: &[&str],
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> Result<Vec<ProviderEvent>, PaymentError> {
        let mut query = between(from, to);
        for (at, kind) in kinds.iter().enumerate() {
            query = query.with(&format!("types[{at}]"), kind);
        }
        let mut all: Vec<ProviderEvent> = Vec::new();
        let keep = |listed: &Listed| {
            all.extend(listed.read(self.mode));
            false
        };
        let id = |listed: &Listed| listed.id.clone();
        self.find("events", "events", query, keep, id).await?;
        all.reverse();
        Ok(all)
    }

    /// The first object of a list that is looked for, newest first.
    async fn find<T: DeserializeOwned>(
        &self,
        call: &'static str,
        list: &str,
        query: Form,
        mut is_it: impl FnMut(&T) -> bool,
        id: impl Fn(&T) -> String,
    ) -> Result<Option<T>, PaymentError> {
        let query = query.with("limit", &PAGE.to_string());
        let mut after: Option<String> = None;
        for _ in 0..PAGES {
            let query = match &after {
                Some(id) => query.clone().with("starting_after", id),
                None => query.clone(),
            };
            let page: List<T> = self.wire.get(call, &[list], &query).await?;
            after = page.data.last().map(&id);
            if let Some(found) = page.data.into_iter().find(|one| is_it(one)) {
                return Ok(Some(found));
            }
            if !page.has_more || after.is_none() {
                return Ok(None);
            }
        }
        Err(PaymentError::Unavailable {
            call,
            host: self.wire.host().into(),
            reason: format!("more than {} objects to look through", PAGE * PAGES),
        })
    }
}

impl ProviderSettings {
    /// A provider at this address with this secret key.
    pub fn new(url: &str, key: SecretString) -> Self {
        Self {
            url: url.to_owned(),
            key,
            timeout: limits::PAYMENT_TIME,
        }
    }
}

#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
    has_more: bool,
}

/// The name of a form's field for a key of the metadata.
fn metadata(key: &str) -> String {
    format!("metadata[{key}]")
}

/// An event of a list, as it stands there.
#[derive(Deserialize)]
#[serde(try_from = "Box<RawValue>")]
struct Listed {
    id: String,
    text: Box<RawValue>,
}

impl TryFrom<Box<RawValue>> for Listed {
    type Error = serde_json::Error;

    fn try_from(text: Box<RawValue>) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Id {
            id: String,
        }
        let Id { id } = serde_json::from_str(text.get())?;
        Ok(Self { id, text })
    }
}

impl Listed {
    fn read(&self, mode: Mode) -> Option<ProviderEvent> {
        match event::read(self.text.get().as_bytes()) {
            Ok(event) => (event.mode == mode).then_some(event),
            Err(error) => {
                tracing::warn!(error = %error, "an event of the payment provider cannot be read");
                None
            }
        }
    }
}

/// Made between these times, by either's clock.
fn between(from: OffsetDateTime, to: OffsetDateTime) -> Form {
    Form::default()
        .with("created[gte]", &seconds(from - CLOCK_SPAN))
        .with("created[lte]", &seconds(to + CLOCK_SPAN))
}

fn seconds(time: OffsetDateTime) -> String {
    time.unix_timestamp().max(0).to_string()
}

/// An id that can be one of the provider's: what is none is not asked for.
fn known<'a>(call: &'static str, id: &'a str) -> Result<&'a str, PaymentError> {
    if object::is_id(id) {
        Ok(id)
    } else {
        Err(PaymentError::Missing { call })
    }
}
