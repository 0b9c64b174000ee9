//! Two pages for a person with a browser: one to pay an intent on, one to authenticate on. Plain HTML, no
//! scripts; whoever has the intent's client secret may use them.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use reqwest::Url;
use secrecy::SecretString;

use super::book::{Draft, Intent};
use super::desk::Desk;
use super::form::Fields;
use super::{intents, methods};
use crate::money;
use crate::payments::amount::Amount;
use crate::payments::object::IntentState;

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/pay/{id}", get(show_pay).post(pay))
        .route(
            "/authenticate/{id}",
            get(show_authenticate).post(authenticate),
        )
}

/// Why a page is not shown.
enum No {
    /// There is no such intent, or the secret is another's.
    Unknown,
    /// The file cannot be written.
    Broken,
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Unknown => (StatusCode::NOT_FOUND, "There is no such payment."),
            Self::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "Something is broken."),
        };
        (status, page("No payment", &format!("<p>{text}</p>"))).into_response()
    }
}

async fn show_pay(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, No> {
    let query = query.unwrap_or_default();
    let intent = with(&desk, &id, query.as_bytes(), |_, intent, _| intent).await?;
    Ok(pay_page(&intent))
}

async fn pay(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, No> {
    let intent = with(&desk, &id, &body, |draft, intent, fields| {
        let mut asked = format!(
            "payment_method={}",
            fields.get("payment_method").unwrap_or_default()
        );
        if let Some(url) = &intent.return_url {
            let encoded: String = form_urlencoded::byte_serialize(url.as_bytes()).collect();
            asked.push_str(&format!("&return_url={encoded}"));
        }
        // what comes of it, a refusal too, is told by the intent
        if let Ok(fields) = Fields::read(asked.as_bytes()) {
            let _ = intents::confirm(draft, &id, &fields);
        }
        intents::find(draft, &id).unwrap_or(intent)
    })
    .await?;
    Ok(if intent.status == IntentState::RequiresAction {
        Redirect::to(&intent.authenticate_url(desk.base())).into_response()
    } else {
        pay_page(&intent)
    })
}

async fn show_authenticate(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, No> {
    let query = query.unwrap_or_default();
    let intent = with(&desk, &id, query.as_bytes(), |_, intent, _| intent).await?;
    Ok(authenticate_page(&intent))
}

/// `outcome` is `complete`; anything else fails.
async fn authenticate(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, No> {
    let intent = with(&desk, &id, &body, |draft, intent, fields| {
        let well = fields.get("outcome") == Some("complete");
        // one that is not to be authenticated any more is shown as it is
        let _ = intents::authenticate(draft, &id, well);
        intents::find(draft, &id).unwrap_or(intent)
    })
    .await?;
    Ok(match return_to(&intent) {
        Some(url) => Redirect::to(url.as_str()).into_response(),
        None => pay_page(&intent),
    })
}

/// Where the customer came from, told how it went.
fn return_to(intent: &Intent) -> Option<Url> {
    let mut url: Url = intent.return_url.as_ref()?.parse().ok()?;
    let went = if intent.status == IntentState::Succeeded {
        "succeeded"
    } else {
        "failed"
    };
    url.query_pairs_mut()
        .append_pair("payment_intent", &intent.id)
        .append_pair("payment_intent_client_secret", &intent.client_secret())
        .append_pair("redirect_status", went);
    Some(url)
}

/// Does something with an intent, for whoever has its client secret.
async fn with<R>(
    desk: &Arc<Desk>,
    id: &str,
    fields: &[u8],
    work: impl FnOnce(&mut Draft<'_>, Intent, &Fields) -> R,
) -> Result<R, No> {
    let fields = Fields::read(fields).map_err(|_| No::Unknown)?;
    let secret = SecretString::from(fields.get("secret").unwrap_or_default());
    let done = desk.change(None, |draft| {
        let intent = draft.book.intents.get(id).cloned();
        let intent = intent.filter(|intent| intent.is_of(&secret))?;
        Some(work(draft, intent, &fields))
    });
    done.await.map_err(|_| No::Broken)?.ok_or(No::Unknown)
}

fn pay_page(intent: &Intent) -> Response {
    let mut content = format!("<p class=\"amount\">{}</p>", amount(intent));
    if let Some(decline) = &intent.last_error {
        content.push_str(&format!("<p class=\"no\">{}</p>", escape(&decline.message)));
    }
    match intent.status {
        IntentState::Succeeded => content.push_str("<p class=\"yes\">It is paid. Thank you.</p>"),
        IntentState::Canceled => content.push_str("<p>It is cancelled and cannot be paid.</p>"),
        IntentState::Processing => {
            content.push_str("<p>The payment is under way. Load this page again in a moment.</p>");
        }
        IntentState::RequiresAction => content.push_str(&format!(
            "<p><a href=\"/authenticate/{}?secret={}\">Go on at your bank</a></p>",
            intent.id,
            intent.client_secret()
        )),
        IntentState::RequiresPaymentMethod
        | IntentState::RequiresConfirmation
        | IntentState::RequiresCapture => content.push_str(&choice(intent)),
    }
    page("Pay", &content)
}

fn choice(intent: &Intent) -> String {
    let buttons: String = methods::OFFERED
        .iter()
        .map(|(method, what)| {
            format!("<button name=\"payment_method\" value=\"{method}\">Pay with {what}</button>")
        })
        .collect();
    form(intent, "pay", &buttons)
}

fn authenticate_page(intent: &Intent) -> Response {
    if intent.status != IntentState::RequiresAction {
        return pay_page(intent);
    }
    let buttons = "<button name=\"outcome\" value=\"complete\">It is me</button>\
                   <button name=\"outcome\" value=\"fail\">Refuse</button>";
    let asked = format!(
        "<p class=\"amount\">{}</p><p>Your bank asks: is this payment yours?</p>",
        amount(intent)
    );
    page(
        "Your bank",
        &(asked + &form(intent, "authenticate", buttons)),
    )
}

fn form(intent: &Intent, action: &str, buttons: &str) -> String {
    format!(
        "<form method=\"post\" action=\"/{action}/{}\"><input type=\"hidden\" name=\"secret\" \
         value=\"{}\">{buttons}</form>",
        intent.id,
        intent.client_secret()
    )
}

fn amount(intent: &Intent) -> String {
    match Amount::of_provider(intent.amount, &intent.currency) {
        Ok(Amount { minor, currency }) => {
            format!(
                "{} {}",
                money::format_minor(minor, currency),
                currency.code()
            )
        }
        Err(_) => String::new(),
    }
}

fn page(title: &str, content: &str) -> Response {
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ];
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>\
         body{{font:16px/1.5 system-ui,sans-serif;max-width:26em;margin:3em auto;padding:0 1em}}\
         button{{display:block;width:100%;font:inherit;padding:.6em;margin:.4em 0;cursor:pointer}}\
         .amount{{font-size:2em;margin:.2em 0}}.no{{color:#a00}}.yes{{color:#060}}\
         small{{color:#666}}</style><h1>{title}</h1>{content}\
         <p><small>A local payment provider for tests. No money moves.</small></p></html>"
    );
    (headers, Html(text)).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
