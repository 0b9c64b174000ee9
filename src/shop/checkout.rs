//! `POST /v1/checkout`: the cart becomes an order, which holds its pieces for as long as it may be paid.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::cart::ProblemView;
use super::orders::{self, OrderView};
use super::shipping::{self, SHIPPING, Shipping};
use super::store::carts;
use super::store::intents as intent_store;
use super::store::orders::{self as store, Order, Place, Placed};
use super::{Shop, intents};
use crate::http::auth::{Authenticated, Caller};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::commands::{self, Command, Kept};
use crate::http::idempotency::IdempotencyKey;
use crate::http::keys::Mode;
use crate::http::object::{self, Field, Object, Read, Shape, TextMap};
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::ids::{AccountId, IntentId, PurchaseId, account_address};
use crate::limits;
use crate::loyalty::points::{DECIMALS, Points};

/// How the cart is to be ordered.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Checkout, example = json!({
    "metadata": {"gift": "yes"},
    "shipping": {"name": "Ada Byron", "address": {"line1": "12 St James's Square", "city": "London", "country": "GB"}}
}))]
pub struct CheckoutRequest {
    /// The customer's account address that is to stand on the sale.
    pub customer_address: Option<String>,
    /// Points that are to pay a part, a decimal string: what they are worth is taken off. They are given back
    /// when the order is cancelled, or all of its money is given back.
    pub redeem_points: Option<String>,
    /// Whatever else belongs to the order: at most 50 keys of 40 characters, values of 500. It stands in the details
    /// of the sale, so it is anchored with it, whoever has the receipt reads it, and it cannot be taken back: nothing
    /// personal belongs here.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    pub metadata: Option<TextMap>,
    /// Where the pieces are to be sent. It is in no sale, receipt or event.
    #[schema(value_type = Option<Shipping>)]
    pub shipping: Option<Object<Shipping>>,
}

static CHECKOUT: &[Field] = &[
    Field::optional("customer_address", Shape::Text),
    Field::optional("redeem_points", Shape::Decimal),
    Field::optional("metadata", Shape::TextMap),
    Field::optional("shipping", Shape::Object(SHIPPING)),
];

/// A request that makes sense.
struct Wanted {
    customer: Option<[u8; 20]>,
    points: Option<Points>,
    metadata: TextMap,
    shipping: Option<Shipping>,
}

impl Wanted {
    /// Whether nothing is said of the order itself.
    fn is_bare(&self) -> bool {
        self.metadata.0.is_empty() && self.shipping.is_none()
    }

    fn command<'a>(&self, caller: &'a Caller, key: &'a IdempotencyKey) -> Command<'a> {
        let points = self.points.map(|points| points.0);
        // what could be asked for by the first version has the fingerprint that it had
        if self.is_bare() {
            return Command::new(caller, key, "checkout/1", &(self.customer, points));
        }
        let what = (self.customer, points, &self.metadata, &self.shipping);
        Command::new(caller, key, "checkout/2", &what)
    }
}

/// Order your cart
///
/// The order is PENDING, and holds its pieces for 15 minutes. Pay its `payment_intent` in that time; it is
/// PAID once the payment provider has told of it. What has changed since the cart was filled is told in
/// `meta.problems` of the error, and nothing is ordered.
#[utoipa::path(
    post, path = "/v1/checkout", tag = "Cart", request_body = CheckoutRequest, security(("token" = [])),
    params(("Idempotency-Key" = String, Header)),
    responses(
        (status = 201, body = OrderView, headers(("Location" = String), ("Idempotent-Replayed" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn checkout(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    key: IdempotencyKey,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let account = caller.customer()?;
    let wanted = judge(object::read(&bytes, CHECKOUT)?)?;
    shop.payments()?;
    shop.check_sound()?;
    let command = wanted.command(&caller, &key);
    let (clock, entropy) = (&shop.site.clock, &shop.site.entropy);
    let now = clock.now();
    let place = Place {
        order: PurchaseId::new(clock, entropy),
        intent: IntentId::new(clock, entropy),
        customer: wanted.customer,
        expires_at: now + limits::HOLD_TIME,
    };
    commands::once(&shop.pool, &command, now, async |db| {
        let order = order_cart(db, &caller, account, &place, &wanted, now).await?;
        check_chargeable(db, &shop, &caller, &order).await?;
        let view = orders::view(db, &shop, &caller, order).await?;
        Ok(Kept::created(format!("/v1/orders/{}", place.order), &view))
    })
    .await
}

/// Makes the order, with what was said of it and what points pay of it.
async fn order_cart(
    db: &mut PgConnection,
    caller: &Caller,
    account: AccountId,
    place: &Place,
    wanted: &Wanted,
    now: OffsetDateTime,
) -> Result<Order, Problem> {
    let (merchant, order) = (caller.merchant, place.order);
    let outcome = store::place(db, merchant, account, place, now).await?;
    if outcome != Placed::Placed {
        return Err(refused(db, caller, account, outcome).await?);
    }
    if !wanted.is_bare() {
        let (metadata, shipping) = (&wanted.metadata, wanted.shipping.as_ref());
        if !store::describe(db, merchant, order, metadata, shipping).await? {
            return Err(orders::missing());
        }
    }
    if let Some(points) = wanted.points {
        super::points::redeem(db, merchant, (order, account), points, now).await?;
    }
    let found = store::find(db, merchant, order, None).await?;
    found.ok_or_else(orders::missing)
}

/// What nobody could pay is not ordered: an amount that the provider cannot charge, or a merchant whose mode
/// is not that of its key.
async fn check_chargeable(
    db: &mut PgConnection,
    shop: &Shop,
    caller: &Caller,
    order: &Order,
) -> Result<(), Problem> {
    let intent = IntentId(order.intent_id);
    if let Some(row) = intent_store::find(db, caller.merchant, intent, None).await? {
        shop.provider_for(Mode::of(&row.mode))?;
    }
    let charged = intents::amount(order.total_minor, &order.currency)
        .and_then(|amount| Ok(amount.for_provider()?));
    charged.map(drop).map_err(intents::refused)
}

fn judge(mut read: Read<CheckoutRequest>) -> Result<Wanted, Problem> {
    let text = read.body.customer_address.take();
    let address = text.as_deref().map(account_address);
    if address == Some(None) {
        let detail =
            "0x and 40 hexadecimal digits, in one case or with the checksum of EIP-55, not zero";
        read.add(Fault::new(
            "/customer_address",
            &codes::ADDRESS_INVALID,
            detail,
        ));
    }
    let points = read.body.redeem_points.take();
    let points = points.map(|text| Points::parse(&text, DECIMALS));
    if let Some(Err(error)) = points {
        read.add(Fault::of_amount("/redeem_points", error));
    }
    let metadata = read.body.metadata.take().unwrap_or_default();
    for fault in metadata.faults_of_metadata("/metadata") {
        read.add(fault);
    }
    let shipping = read.body.shipping.take().map(|Object(shipping)| shipping);
    if let Some(shipping) = &shipping {
        shipping::judge(&mut read, shipping);
    }
    if read.faults.is_empty() {
        Ok(Wanted {
            customer: address.flatten(),
            points: points.and_then(Result::ok),
            metadata,
            shipping,
        })
    } else {
        Err(Problem::of_faults(read.faults))
    }
}

/// Why nothing was ordered.
async fn refused(
    db: &mut PgConnection,
    caller: &Caller,
    account: AccountId,
    outcome: Placed,
) -> Result<Problem, Problem> {
    Ok(match outcome {
        Placed::Empty => Problem::new(&codes::CART_EMPTY, "put something into the cart first"),
        Placed::TooLarge => Problem::new(&codes::ORDER_TOO_LARGE, "order it in parts"),
        Placed::Pending => {
            let most = limits::PENDING_ORDERS;
            let detail = format!("{most} orders of yours are not paid; pay or cancel one of them");
            Problem::new(&codes::TOO_MANY_PENDING, detail)
        }
        Placed::Zero => Problem::new(&codes::ORDER_FREE, "there is nothing to pay"),
        Placed::Placed | Placed::Problems => {
            let problems = carts::problems(db, caller.merchant, account).await?;
            let has = |code: &str| problems.iter().any(|problem| problem.code == code);
            let (code, detail) = if has("product_inactive") {
                (
                    &codes::PRODUCT_INACTIVE,
                    "a product is not for sale any more; take it out of the cart",
                )
            } else if has("price_changed") || has("tax_changed") {
                (
                    &codes::PRICE_CHANGED,
                    "a price or tax has changed; put the product into the cart again to take it",
                )
            } else {
                (
                    &codes::INSUFFICIENT_STOCK,
                    "there are fewer pieces than the cart has",
                )
            };
            let views: Vec<_> = problems.into_iter().map(ProblemView::from).collect();
            let views = serde_json::to_value(views).unwrap_or_default();
            Problem::new(code, detail).with("problems", views)
        }
    })
}
