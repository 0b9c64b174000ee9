//! What is sent with each type of event, for the API's description. The database writes the data (migrations 0041
//! to 0046): a test holds each that is told against what is described here.

#![expect(
    dead_code,
    reason = "the database builds the data: the types are its description alone"
)]

use std::collections::HashMap;

use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::SchemaFormat;
use utoipa::openapi::{
    Components, ContentBuilder, HttpMethod, KnownFormat, Object, ObjectBuilder, OpenApi, PathItem,
    Paths, PathsBuilder, Ref, Required, ResponseBuilder, Type,
};
use utoipa::{PartialSchema, ToSchema};

use crate::sales::answer::MoneyAnswer;
use crate::webhooks::event_type::EventType;

/// A sale or a refund, as it was recorded.
#[derive(Debug, ToSchema)]
pub(super) struct SaleTold {
    /// Our name for it.
    #[schema(example = "sale_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub sale_id: String,
    /// Whose it is.
    #[schema(example = "mer_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub merchant_id: String,
    /// Your name for it.
    pub order_id: String,
    /// `sale` or `refund`.
    pub kind: String,
    /// Of a refund that refers to a sale: that sale.
    pub refers_to: Option<String>,
    /// Its number among the merchant's.
    pub seq: i64,
    /// What was charged, or is given back.
    pub amount: MoneyAnswer,
    /// The customer's account address, lower case.
    pub customer_address: Option<String>,
    /// When it was committed.
    #[schema(format = "date-time")]
    pub recorded_at: String,
    /// keccak-256 of the details' bytes.
    pub details_hash: String,
}

/// A batch, and which of the merchant's sales are in it.
#[derive(Debug, ToSchema)]
pub(super) struct BatchTold {
    /// Its number.
    pub batch_id: i64,
    /// The root of its tree.
    pub root: String,
    /// When it was sealed.
    #[schema(format = "date-time")]
    pub sealed_at: String,
    /// How many of the merchant's sales are in it.
    pub sales: i64,
    /// The number of the first of them.
    pub first_seq: i64,
    /// The number of the last of them.
    pub last_seq: i64,
}

/// A batch on a chain for good, and which of the merchant's sales are in it.
#[derive(Debug, ToSchema)]
pub(super) struct AnchorTold {
    /// Its number.
    pub batch_id: i64,
    /// The root of its tree.
    pub root: String,
    /// How many of the merchant's sales are in it.
    pub sales: i64,
    /// The number of the first of them.
    pub first_seq: i64,
    /// The number of the last of them.
    pub last_seq: i64,
    /// The chain, by CAIP-2.
    #[schema(example = "eip155:1")]
    pub chain: String,
    /// The registry there, by CAIP-10.
    pub registry: String,
    /// The transaction; none where others brought the root there.
    pub tx: Option<String>,
    /// The transaction's block.
    pub block: Option<BlockTold>,
    /// When it was seen to be final.
    #[schema(format = "date-time")]
    pub finalized_at: String,
}

/// A block of a chain.
#[derive(Debug, ToSchema)]
pub(super) struct BlockTold {
    /// Its number.
    pub number: i64,
    /// Its hash.
    pub hash: String,
    /// Its own time.
    #[schema(format = "date-time")]
    pub time: String,
}

/// An amount in minor units.
#[derive(Debug, ToSchema)]
pub(super) struct MinorTold {
    /// ISO 4217.
    #[schema(example = "INR")]
    pub currency: String,
    /// Minor units.
    #[schema(example = 150_075)]
    pub minor: i64,
}

/// An order, as it is then.
#[derive(Debug, ToSchema)]
pub(super) struct OrderTold {
    /// Its id.
    #[schema(example = "ord_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub id: String,
    /// `PENDING`, `PAID` or `CANCELLED`.
    pub state: String,
    /// Why it was to be cancelled, where it was.
    #[schema(nullable = false)]
    pub ending: Option<String>,
    /// Whose it is.
    #[schema(example = "cus_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub customer_id: String,
    /// What it costs.
    pub total: MinorTold,
    /// What of that was given back, or is about to be.
    pub refunded: MinorTold,
    /// What was said of it at checkout.
    pub metadata: HashMap<String, String>,
    /// Of `order.paid`: the sale that it became; absent where that could not be recorded yet, and is told of by
    /// `sale.recorded` later.
    #[schema(nullable = false, example = "sale_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub sale_id: Option<String>,
    /// Of `order.parked`: why somebody has to look.
    #[schema(nullable = false)]
    pub parked: Option<String>,
    /// When it was placed.
    #[schema(format = "date-time")]
    pub created_at: String,
}

/// A parked order that somebody has dealt with.
#[derive(Debug, ToSchema)]
pub(super) struct UnparkedTold {
    /// Its id.
    #[schema(example = "ord_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub id: String,
    /// What it and its refunds were parked for.
    pub was: Vec<String>,
    /// What was done.
    pub reason: String,
    /// The key or account that said so.
    #[schema(example = "key_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub by: String,
}

/// A payment that was declined or failed.
#[derive(Debug, ToSchema)]
pub(super) struct PaymentTold {
    /// Its intent.
    #[schema(example = "pi_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub id: String,
    /// What it is to pay.
    #[schema(example = "ord_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub order_id: String,
    /// The intent's status now.
    #[schema(example = "requires_payment_method")]
    pub status: String,
    /// How much.
    pub amount: MinorTold,
    /// The provider's words.
    pub last_error: String,
}

/// Money that goes back, or could not.
#[derive(Debug, ToSchema)]
pub(super) struct RefundTold {
    /// Its id.
    #[schema(example = "re_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub id: String,
    /// Of which order.
    #[schema(example = "ord_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub order_id: String,
    /// `pending`, `succeeded` or `failed`.
    pub status: String,
    /// `requested`; or why the shop gave it back by itself, `out_of_stock` or `order_cancelled`.
    pub cause: String,
    /// How much.
    pub amount: MinorTold,
    /// The provider's words, where it refused.
    #[schema(nullable = false)]
    pub last_error: Option<String>,
}

/// What became of a member's points.
#[derive(Debug, ToSchema)]
pub(super) struct PointsTold {
    /// An account or a wallet's address.
    #[schema(example = "cus_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub member: String,
    /// How many more they are; fewer with a minus sign. A decimal string.
    #[schema(example = "20")]
    pub points: String,
    /// The sale that earned them.
    #[schema(nullable = false)]
    pub sale_id: Option<String>,
    /// The sale of the refund that took them back.
    #[schema(nullable = false)]
    pub refund_id: Option<String>,
    /// What they were redeemed by; of an order, its id with another prefix.
    #[schema(nullable = false, example = "rdm_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub redemption_id: Option<String>,
    /// An administrator's reason.
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// An endpoint that is told nothing more until it is enabled.
#[derive(Debug, ToSchema)]
pub(super) struct EndpointTold {
    /// Its id.
    #[schema(example = "we_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub id: String,
    /// Its address.
    pub url: String,
    /// `gone`: it answered 410; `failing`: nothing arrived for days.
    pub reason: String,
}

/// A test of an endpoint.
#[derive(Debug, ToSchema)]
pub(super) struct PingTold {
    /// The endpoint.
    #[schema(example = "we_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub endpoint_id: String,
}

/// The reference to the schema of what is told with a type of event, once that is among the components.
fn data(what: EventType, components: &mut Components) -> Ref {
    use EventType as E;
    match what {
        E::SaleRecorded => named::<SaleTold>(components),
        E::BatchSealed => named::<BatchTold>(components),
        E::AnchorFinalized => named::<AnchorTold>(components),
        E::OrderUnparked => named::<UnparkedTold>(components),
        E::OrderCreated | E::OrderPaid | E::OrderCancelled | E::OrderParked => {
            named::<OrderTold>(components)
        }
        E::PaymentFailed => named::<PaymentTold>(components),
        E::OrderRefunded | E::PaymentReturned | E::RefundFailed => named::<RefundTold>(components),
        E::PointsEarned
        | E::PointsRedeemed
        | E::PointsGivenBack
        | E::PointsClawedBack
        | E::PointsAdjusted
        | E::PointsExpired => named::<PointsTold>(components),
        E::EndpointDisabled => named::<EndpointTold>(components),
        E::Ping => named::<PingTold>(components),
    }
}

fn named<T: ToSchema + PartialSchema>(components: &mut Components) -> Ref {
    let name = T::name();
    let mut schemas = Vec::new();
    T::schemas(&mut schemas);
    components.schemas.extend(schemas);
    components.schemas.insert(name.to_string(), T::schema());
    Ref::from_schema_name(name)
}

/// Adds what is sent to endpoints to the API's description: its `webhooks` (OpenAPI 3.1).
pub(super) fn describe(openapi: &mut OpenApi) {
    let components = openapi.components.get_or_insert_default();
    let mut webhooks = PathsBuilder::new();
    for what in EventType::ALL {
        let data = data(*what, components);
        let item = PathItem::new(HttpMethod::Post, operation(*what, data));
        webhooks = webhooks.path(what.as_str(), item);
    }
    let webhooks: Paths = webhooks.build();
    openapi.webhooks = Some(webhooks);
}

fn operation(what: EventType, data: Ref) -> OperationBuilder {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let body = ObjectBuilder::new()
        .property("type", text().enum_values(Some([what.as_str()])))
        .required("type")
        .property(
            "timestamp",
            text()
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
                .description(Some("When it happened")),
        )
        .required("timestamp")
        .property("data", data)
        .required("data");
    let content = ContentBuilder::new().schema(Some(body)).build();
    let header = |name: &str, text: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .description(Some(text))
            .schema(Some(Object::with_type(Type::String)))
    };
    let answer = |text: &str| ResponseBuilder::new().description(text);
    OperationBuilder::new()
        .operation_id(Some(what.as_str()))
        .tag("Webhooks")
        .summary(Some(what.meaning().trim_end_matches('.')))
        .parameter(header("webhook-id", "The event's id, the same at every try: do what it asks for once"))
        .parameter(header("webhook-timestamp", "When it is sent, in seconds: refuse what is older than five minutes"))
        .parameter(header(
            "webhook-signature",
            "Of id, timestamp and body, as Standard Webhooks has it: v1 (HMAC-SHA256) and v1a (Ed25519)",
        ))
        .request_body(Some(
            RequestBodyBuilder::new()
                .content("application/json", content)
                .required(Some(Required::True))
                .build(),
        ))
        .response("2XX", answer("You have it. Answer at once, and work on it afterwards"))
        .response("410", answer("You want no more: the endpoint is disabled"))
        .response("default", answer("It is sent again, for 75 hours"))
}
