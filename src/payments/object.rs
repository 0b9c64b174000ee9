//! Intents, refunds and charges, as the provider tells them in answers and events.
//!
//! Read strictly where we rely on something (ids, states, integers, currencies) and loosely elsewhere: the
//! provider may add fields at any time.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;

use super::amount::Amount;
use crate::http::keys::Mode;

/// The key of our intent's id in the metadata of intents and refunds.
pub const OUR_INTENT: &str = "intent_id";
/// The key of our order's id.
pub const OUR_ORDER: &str = "order_id";
/// The key of our merchant's id.
pub const OUR_MERCHANT: &str = "merchant_id";
/// The key of our refund's id.
pub const OUR_REFUND: &str = "refund_id";
/// Characters of an id of the provider's.
const ID_CHARS: usize = 255;
/// Characters of a text that people read, such as a reason for a decline.
const TEXT_CHARS: usize = 500;

/// Where an intent stands: Stripe's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentState {
    /// It waits for a means of payment: at first, and after each that was declined.
    RequiresPaymentMethod,
    /// It has one and waits to be confirmed.
    RequiresConfirmation,
    /// The customer has to do something, as a rule to authenticate at the bank.
    RequiresAction,
    /// The means of payment takes its time.
    Processing,
    /// The money is set aside and waits to be taken; not with automatic capture.
    RequiresCapture,
    /// It is over without money.
    Canceled,
    /// The money is there.
    Succeeded,
}

impl IntentState {
    /// The provider's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresAction => "requires_action",
            Self::Processing => "processing",
            Self::RequiresCapture => "requires_capture",
            Self::Canceled => "canceled",
            Self::Succeeded => "succeeded",
        }
    }

    /// Whether it never changes again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Canceled | Self::Succeeded)
    }
}

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// The money is on its way.
    Pending,
    /// The customer has to do something.
    RequiresAction,
    /// The money is back with the customer, as far as the provider knows: it may still fail.
    Succeeded,
    /// The money came back to us: the customer has to be paid otherwise.
    Failed,
    /// It was taken back before it was sent.
    Canceled,
}

impl RefundState {
    /// The provider's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::RequiresAction => "requires_action",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// Why a payment was refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Decline {
    /// The provider's code, e.g. `card_declined`.
    #[serde(default, deserialize_with = "short_or_nothing")]
    pub code: String,
    /// The issuer's reason, e.g. `insufficient_funds`.
    #[serde(default)]
    pub decline_code: Option<String>,
    /// The same for the customer.
    #[serde(default, deserialize_with = "short_or_nothing")]
    pub message: String,
}

/// A payment intent.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "IntentBody")]
pub struct Intent {
    /// The provider's id, `pi_…`.
    pub id: String,
    /// Where it stands.
    pub state: IntentState,
    /// What is to be paid.
    pub amount: Amount,
    /// What was paid, in minor units of ISO 4217.
    pub received_minor: i64,
    /// What a customer's browser pays with; never in a log.
    pub client_secret: Option<SecretString>,
    /// Where the customer has to go, while the state is [`IntentState::RequiresAction`]; whoever has the
    /// address may act for the customer.
    pub redirect_url: Option<SecretString>,
    /// Why the last attempt failed.
    pub last_decline: Option<Decline>,
    /// Ours.
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// Whether its money is real.
    pub mode: Mode,
}

/// A refund.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RefundBody")]
pub struct Refund {
    /// The provider's id, `re_…`.
    pub id: String,
    /// Where it stands.
    pub state: RefundState,
    /// What goes back.
    pub amount: Amount,
    /// The intent that was paid.
    pub intent: Option<String>,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// Ours.
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// A charge: one payment that went through.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "ChargeBody")]
pub struct Charge {
    /// The provider's id, `ch_…`.
    pub id: String,
    /// The intent that it paid.
    pub intent: Option<String>,
    /// What was paid.
    pub amount: Amount,
    /// What of it went back so far, in minor units of ISO 4217.
    pub refunded_minor: i64,
}

impl Intent {
    /// Our own id of it.
    pub fn ours(&self) -> Option<&str> {
        self.metadata.get(OUR_INTENT).map(String::as_str)
    }
}

impl Refund {
    /// Our own id of it.
    pub fn ours(&self) -> Option<&str> {
        self.metadata.get(OUR_REFUND).map(String::as_str)
    }
}

#[derive(Deserialize)]
struct IntentBody {
    id: String,
    object: String,
    status: IntentState,
    amount: i64,
    #[serde(default)]
    amount_received: i64,
    currency: String,
    client_secret: Option<SecretString>,
    next_action: Option<NextAction>,
    last_payment_error: Option<Decline>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    created: i64,
    livemode: bool,
}

#[derive(Deserialize)]
struct NextAction {
    redirect_to_url: Option<RedirectToUrl>,
}

#[derive(Deserialize)]
struct RedirectToUrl {
    url: Option<SecretString>,
}

/// An object by its id, or whole where the provider expands it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reference {
    Id(String),
    Whole { id: String },
}

impl Reference {
    fn id(self) -> String {
        match self {
            Self::Id(id) | Self::Whole { id } => id,
        }
    }
}

impl TryFrom<IntentBody> for Intent {
    type Error = String;

    fn try_from(body: IntentBody) -> Result<Self, String> {
        is_kind(&body.object, "payment_intent")?;
        let amount = of_provider(body.amount, &body.currency)?;
        let received = of_provider(body.amount_received, &body.currency)?;
        Ok(Self {
            id: id(body.id, "pi_")?,
            state: body.status,
            amount,
            received_minor: received.minor,
            client_secret: body.client_secret,
            redirect_url: body
                .next_action
                .and_then(|action| action.redirect_to_url?.url),
            last_decline: body.last_payment_error,
            metadata: body.metadata,
            created_at: at(body.created)?,
            mode: mode(body.livemode),
        })
    }
}

#[derive(Deserialize)]
struct RefundBody {
    id: String,
    object: String,
    status: RefundState,
    amount: i64,
    currency: String,
    payment_intent: Option<Reference>,
    failure_reason: Option<String>,
    // null where there is none, in what events show
    metadata: Option<BTreeMap<String, String>>,
    created: i64,
}

impl TryFrom<RefundBody> for Refund {
    type Error = String;

    fn try_from(body: RefundBody) -> Result<Self, String> {
        is_kind(&body.object, "refund")?;
        Ok(Self {
            // re_…, or pyr_… for some means of payment
            id: id(body.id, "")?,
            state: body.status,
            amount: of_provider(body.amount, &body.currency)?,
            intent: body.payment_intent.map(Reference::id),
            failure_reason: body.failure_reason,
            metadata: body.metadata.unwrap_or_default(),
            created_at: at(body.created)?,
        })
    }
}

#[derive(Deserialize)]
struct ChargeBody {
    id: String,
    object: String,
    amount: i64,
    amount_refunded: i64,
    currency: String,
    payment_intent: Option<Reference>,
}

impl TryFrom<ChargeBody> for Charge {
    type Error = String;

    fn try_from(body: ChargeBody) -> Result<Self, String> {
        is_kind(&body.object, "charge")?;
        Ok(Self {
            id: id(body.id, "")?,
            intent: body.payment_intent.map(Reference::id),
            amount: of_provider(body.amount, &body.currency)?,
            refunded_minor: of_provider(body.amount_refunded, &body.currency)?.minor,
        })
    }
}

fn is_kind(object: &str, expected: &str) -> Result<(), String> {
    if object == expected {
        return Ok(());
    }
    Err(format!("not a {expected}"))
}

/// Whether a text can be an id of the provider's: it goes into addresses.
pub(super) fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= ID_CHARS && text.bytes().all(allowed)
}

/// An id of the kind that begins with `prefix`.
pub(super) fn id(text: String, prefix: &str) -> Result<String, String> {
    if is_id(&text) && text.starts_with(prefix) {
        return Ok(text);
    }
    Err(format!("no id that begins with {prefix:?}"))
}

pub(super) fn at(seconds: i64) -> Result<OffsetDateTime, String> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| "a time that is none".to_owned())
}

pub(super) fn mode(is_live: bool) -> Mode {
    if is_live { Mode::Live } else { Mode::Test }
}

fn of_provider(amount: i64, currency: &str) -> Result<Amount, String> {
    Amount::of_provider(amount, currency).map_err(|error| error.to_string())
}

/// At most so much of a text as people read.
pub(super) fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

fn short_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.as_deref().map(short).unwrap_or_default())
}
