//! `/v1/payment_intents/{intent_id}`: how an order is paid. The provider is asked outside of any transaction;
//! that money has come is believed of its events ([`super::events`]), which upkeep asks for where they do not come.

use axum::Json;
use axum::extract::{Path, State};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::orders::owner;
use super::store::intents::{self as store, Intent};
use super::{Shop, money};
use crate::clock::rfc3339_ms;
use crate::http::auth::{Action, Authenticated, Caller};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::commands::Command;
use crate::http::idempotency::IdempotencyKey;
use crate::http::keys::Mode;
use crate::http::object::{self, Field, Read, Shape};
use crate::http::paging::Params;
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::ids::{IntentId, MerchantId, PurchaseId};
use crate::limits;
use crate::money::Currency;
use crate::payments::amount::Amount;
use crate::payments::object::{Intent as Told, IntentState};
use crate::payments::provider::{KEYS_KEPT, NewIntent};
use crate::payments::{PaymentError, Provider};
use crate::sales::answer::MoneyAnswer;

/// A means of payment.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Confirmation, example = json!({"payment_method": "pm_card_visa"}))]
pub struct ConfirmRequest {
    /// The provider's name for it, `pm_…`, as its own form in the browser gives it.
    pub payment_method: String,
    /// Where the customer comes back to after authenticating elsewhere.
    pub return_url: Option<String>,
}

static CONFIRM: &[Field] = &[
    Field::required("payment_method", Shape::Text),
    Field::optional("return_url", Shape::Text),
];

/// A payment intent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PaymentIntent)]
pub struct IntentView {
    /// Its id.
    #[schema(value_type = String, example = "pi_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub id: IntentId,
    /// The order that it pays.
    #[schema(value_type = String)]
    pub order_id: PurchaseId,
    /// `requires_payment_method`, `requires_confirmation`, `requires_action`, `processing`,
    /// `requires_capture`, `canceled` or `succeeded`: that last once the provider's event is here.
    #[schema(example = "requires_payment_method")]
    pub status: String,
    /// What is to be paid.
    pub amount: MoneyAnswer,
    /// The provider's words for the last refusal.
    pub last_error: Option<String>,
    /// What the provider's own form in the browser needs; while it can be paid.
    pub client_secret: Option<String>,
    /// Where the customer has to go, of `requires_action`.
    pub redirect_url: Option<String>,
    /// When it was made.
    pub created_at: String,
}

/// Read a payment intent
///
/// The provider is asked for what only it knows; where it does not answer, that is null and the rest is told.
#[utoipa::path(
    get, path = "/v1/payment_intents/{intent_id}", tag = "Orders", security(("token" = []), ("key" = [])),
    params(("intent_id" = String, Path)),
    responses(
        (status = 200, body = IntentView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_intent(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<IntentView>, Problem> {
    params.finish()?;
    let row = find(&shop, &caller, &id).await?;
    // what only the customer may have is asked for the customer alone
    let is_customers = caller.customer().is_ok() && row.is_payable;
    let told = match is_customers && shop.payments().is_ok() && shop.trust.is_sound() {
        false => None,
        true => match at_provider(&shop, &row).await {
            Ok(told) => Some(told),
            Err(Unasked::NotPayable) => None,
            Err(Unasked::Provider(error)) => {
                tracing::warn!(error = %error, intent = %id, "an intent is told without its provider");
                None
            }
            Err(Unasked::Problem(problem)) => return Err(problem),
        },
    };
    let row = find(&shop, &caller, &id).await?;
    Ok(Json(view(row, told.as_ref())))
}

/// Pay an order
///
/// With a means of payment of the provider's. The answer says how far it came: `requires_action` with a
/// `redirect_url`, or `processing`; the order is PAID once the provider's event is here, as a rule within a
/// second. A repeat with the same key asks for nothing new. With test keys, and with the local provider of
/// development, Stripe's test cards pay: `pm_card_visa` does, `pm_card_authenticationRequired` asks the customer
/// first, `pm_card_visa_chargeDeclined` is declined.
#[utoipa::path(
    post, path = "/v1/payment_intents/{intent_id}/confirm", tag = "Orders", request_body = ConfirmRequest,
    security(("token" = [])),
    params(("intent_id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, body = IntentView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 402, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn confirm_intent(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    key: IdempotencyKey,
    Path(id): Path<String>,
    JsonBytes(bytes): JsonBytes,
) -> Result<Json<IntentView>, Problem> {
    caller.customer()?;
    let wanted = judge(object::read(&bytes, CONFIRM)?)?;
    let row = find(&shop, &caller, &id).await?;
    shop.check_sound()?;
    let intent = IntentId(row.intent_id);
    let told = match at_provider(&shop, &row).await {
        // perhaps made and paid since it was read, by the same click a second time
        Err(Unasked::NotPayable) => {
            let row = find(&shop, &caller, &id).await?;
            at_provider(&shop, &row).await
        }
        told => told,
    }?;
    // one key of the caller's is one of the provider's: that remembers for us what was asked with it
    let command = Command::new(&caller, &key, "confirm/1", &(intent, &key.0));
    let repeat = format!(
        "confirm_{}",
        counterfoil_proofs::hex::encode(&command.fingerprint)
    );
    let (method, back) = (&wanted.payment_method, wanted.return_url.as_deref());
    let provider = shop.provider_for(Mode::of(&row.mode))?;
    // cancelled meanwhile, or its time is over: nobody is charged for what is not to be had. What is paid is
    // not charged again; a repeat is given its answer
    let now = shop.site.clock.now();
    let is_paid = told.state == IntentState::Succeeded;
    if !is_paid
        && !store::ask(&shop.pool, caller.merchant, intent, now).await?
        // paid since it was asked
        && find(&shop, &caller, &id).await?.state != IntentState::Succeeded.as_str()
    {
        return Err(Unasked::NotPayable.into());
    }
    let confirmed = provider
        .confirm_intent(&told.id, method, back, &repeat)
        .await;
    let said = match &confirmed {
        // that it is paid the event says, a moment later
        Ok(told) if told.state.is_final() => Some(("processing", None)),
        Ok(told) => Some((told.state.as_str(), None)),
        Err(PaymentError::Declined { decline, .. }) => {
            Some(("requires_payment_method", Some(decline.message.as_str())))
        }
        Err(_) => None,
    };
    if let Some((state, refusal)) = said {
        let now = shop.site.clock.now();
        let said = (told.id.as_str(), state, refusal);
        store::note(&shop.pool, caller.merchant, intent, said, now, now).await?;
    }
    let told = confirmed.map_err(refused)?;
    let row = find(&shop, &caller, &id).await?;
    Ok(Json(view(row, Some(&told))))
}

/// Why the provider has not said anything of an intent.
pub(super) enum Unasked {
    /// The order is not to be paid any more, and the provider never heard of it.
    NotPayable,
    /// It could not be asked.
    Provider(PaymentError),
    /// Something on our side.
    Problem(Problem),
}

impl From<Unasked> for Problem {
    fn from(unasked: Unasked) -> Self {
        match unasked {
            Unasked::NotPayable => Self::new(
                &codes::ORDER_NOT_PAYABLE,
                "it is paid, cancelled, or its time is over",
            ),
            // asked to make an intent, it has nothing to say of a means of payment
            Unasked::Provider(PaymentError::Invalid { message, .. }) => {
                Self::new(&codes::AMOUNT_NOT_CHARGEABLE, message)
            }
            Unasked::Provider(error) => refused(error),
            Unasked::Problem(problem) => problem,
        }
    }
}

impl From<Problem> for Unasked {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<sqlx::Error> for Unasked {
    fn from(error: sqlx::Error) -> Self {
        Self::Problem(error.into())
    }
}

/// An intent as the provider has it now; it is made there where it is not yet. Before the first time it is
/// written down that the provider was asked, so that an answer that is lost is asked for again.
pub(super) async fn at_provider(shop: &Shop, row: &Intent) -> Result<Told, Unasked> {
    let provider = shop.provider_for(Mode::of(&row.mode))?;
    if let Some(id) = &row.provider_ref {
        return provider
            .retrieve_intent(id)
            .await
            .map_err(Unasked::Provider);
    }
    let (merchant, intent) = (MerchantId(row.merchant_id), IntentId(row.intent_id));
    let now = shop.site.clock.now();
    if !store::ask(&shop.pool, merchant, intent, now).await? && row.asked_at.is_none() {
        return Err(Unasked::NotPayable);
    }
    let told = make(provider, row, now).await.map_err(Unasked::Provider)?;
    if !told.state.is_final() {
        let said = (told.id.as_str(), told.state.as_str(), None);
        store::note(&shop.pool, merchant, intent, said, told.created_at, now).await?;
    }
    Ok(told)
}

/// Makes an intent at the provider, or finds the one that was made and whose answer was lost.
async fn make(
    provider: &Provider,
    row: &Intent,
    now: time::OffsetDateTime,
) -> Result<Told, PaymentError> {
    let id = IntentId(row.intent_id).to_string();
    if let Some(asked_at) = row.asked_at.filter(|at| now - *at > KEYS_KEPT)
        && let Some(told) = provider.find_intent(&id, asked_at, now).await?
    {
        return Ok(told);
    }
    let merchant = MerchantId(row.merchant_id).to_string();
    let order = PurchaseId(row.order_id).to_string();
    let new = NewIntent {
        amount: amount(row.amount_minor, &row.currency)?,
        merchant: &merchant,
        order: &order,
        intent: &id,
    };
    provider.create_intent(&new, &id).await
}

/// An amount to charge or give back.
pub(super) fn amount(minor: i64, currency: &str) -> Result<Amount, PaymentError> {
    let currency = Currency::from_code(currency);
    let currency = currency.ok_or(crate::payments::amount::AmountError::Unknown)?;
    Ok(Amount { minor, currency })
}

/// What a caller is told where the provider did not do what was asked.
pub(super) fn refused(error: PaymentError) -> Problem {
    match error {
        PaymentError::Declined { decline, .. } => {
            let problem = Problem::new(&codes::PAYMENT_DECLINED, decline.message);
            problem.with("decline_code", decline.decline_code.unwrap_or(decline.code))
        }
        PaymentError::WrongState { code, .. } => {
            let detail = format!("the provider says {code}; read the intent for its state");
            Problem::new(&codes::PAYMENT_STATE, detail)
        }
        PaymentError::Invalid { message, .. } => {
            Problem::new(&codes::PAYMENT_METHOD_INVALID, message)
        }
        PaymentError::KeyReused { .. } => {
            let detail = "the key was used with another request";
            Problem::new(&codes::IDEMPOTENCY_KEY_REUSED, detail)
        }
        PaymentError::Amount(error) => {
            Problem::new(&codes::AMOUNT_NOT_CHARGEABLE, error.to_string())
        }
        error => {
            tracing::error!(error = %error, "the payment provider cannot be used");
            Problem::new(&codes::PAYMENT_UNAVAILABLE, "try again in a moment")
        }
    }
}

async fn find(shop: &Shop, caller: &Caller, id: &str) -> Result<Intent, Problem> {
    let missing = || {
        let detail = "there is no such payment intent, or it is not yours";
        Problem::new(&codes::NOT_FOUND, detail)
    };
    let account = owner(caller, Action::ReadNamed)?;
    let id = id.parse().map_err(|_| missing())?;
    let mut db = shop.pool.acquire().await?;
    let row = store::find(&mut db, caller.merchant, id, account).await?;
    row.ok_or_else(missing)
}

fn judge(mut read: Read<ConfirmRequest>) -> Result<ConfirmRequest, Problem> {
    let body = read.body.clone();
    let method = &body.payment_method;
    let known = method.starts_with("pm_") && method.len() <= limits::SHORT_TEXT_CHARS;
    if !(known
        && method
            .bytes()
            .all(|b| b == b'_' || b.is_ascii_alphanumeric()))
    {
        let detail = "the provider's id of a means of payment, pm_…";
        read.add(Fault::new(
            "/payment_method",
            &codes::PAYMENT_METHOD_INVALID,
            detail,
        ));
    }
    if let Some(url) = &body.return_url {
        let web = url.starts_with("https://") || url.starts_with("http://");
        if !web || url.len() > limits::URL_CHARS || url.chars().any(|c| c.is_control() || c == ' ')
        {
            let detail = format!(
                "an address of the web, at most {} characters",
                limits::URL_CHARS
            );
            read.add(Fault::new("/return_url", &codes::URL_INVALID, detail));
        }
    }
    if read.faults.is_empty() {
        Ok(body)
    } else {
        Err(Problem::of_faults(read.faults))
    }
}

fn view(row: Intent, told: Option<&Told>) -> IntentView {
    let secret = told.and_then(|told| told.client_secret.as_ref());
    IntentView {
        id: IntentId(row.intent_id),
        order_id: PurchaseId(row.order_id),
        amount: money(row.amount_minor, &row.currency),
        client_secret: secret
            .filter(|_| row.is_payable)
            .map(|secret| secret.expose_secret().to_owned()),
        redirect_url: told
            .and_then(|told| told.redirect_url.as_ref())
            .map(|url| url.expose_secret().to_owned()),
        status: row.state,
        last_error: row.last_error,
        created_at: rfc3339_ms(row.created_at),
    }
}
