//! What the API's description says beside its routes.

use axum::http::StatusCode;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    self, ContentBuilder, HeaderBuilder, Object, PathItem, Ref, RefOr, ResponseBuilder, Type,
};
use utoipa::{Modify, OpenApi};

use super::told;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Counterfoil",
        description = "Records a shop's sales and anchors them on a chain, so that anyone can check a receipt.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    modifiers(&Schemes),
    tags(
        (name = "Sales", description = "Recording and reading sales and refunds"),
        (name = "Proofs", description = "Receipts, proofs and batches: what a verifier needs"),
        (name = "Accounts", description = "Customers and staff: registering, signing in, passwords"),
        (name = "Keys", description = "The API keys of a merchant, for its administrators"),
        (name = "Catalogue", description = "What the shop sells, and what of it is on hand"),
        (name = "Cart", description = "What a customer is about to order"),
        (name = "Orders", description = "What was ordered, paid for and given back"),
        (name = "Loyalty", description = "The programme, its members and their points"),
        (name = "Webhooks", description = "Who is told of what happens, and the log of it"),
        (name = "First version", description = "The endpoints of the first version, where they are configured"),
        (name = "Operations", description = "Health"),
    )
)]
pub(super) struct Description;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut openapi::OpenApi) {
        let bearer = |format: &str, text: &str| {
            let scheme = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format(format)
                .description(Some(text))
                .build();
            SecurityScheme::Http(scheme)
        };
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme(
            "key",
            bearer("cf_live_… or cf_test_…", "An API key of the merchant"),
        );
        components.add_security_scheme(
            "token",
            bearer("JWT", "The access token of an account that has signed in"),
        );
    }
}

/// The description with what webhooks say, and with a text for every response, which OpenAPI 3.1 requires: its
/// status's name, where the route says no more.
pub(super) fn complete(mut openapi: openapi::OpenApi) -> openapi::OpenApi {
    let operations = openapi.paths.paths.values_mut().flat_map(operations);
    for operation in operations {
        for (status, response) in &mut operation.responses.responses {
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                let status: Option<StatusCode> = status.parse().ok();
                let name = status.and_then(|status| status.canonical_reason());
                name.unwrap_or("The answer")
                    .clone_into(&mut response.description);
            }
        }
    }
    told::describe(&mut openapi);
    openapi
}

/// Adds what the gate answers to every operation.
pub(super) fn limited(openapi: &mut openapi::OpenApi) {
    let header = |text: &str| {
        HeaderBuilder::new()
            .schema(Some(Object::with_type(Type::String)))
            .description(Some(text))
            .build()
    };
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let refused = ResponseBuilder::new()
        .content("application/problem+json", problem)
        .header("Retry-After", header("seconds"))
        .header(
            "RateLimit-Policy",
            header("the limit: q requests in w seconds"),
        )
        .header(
            "RateLimit",
            header("what is left of it: r requests, whole again in t seconds"),
        )
        .build();
    for operation in openapi.paths.paths.values_mut().flat_map(operations) {
        let responses = &mut operation.responses.responses;
        responses.insert("429".to_owned(), RefOr::T(refused.clone()));
        // whatever a key may, the access token of an account of the same role may too
        let key = SecurityRequirement::new::<_, [&str; 0], &str>("key", []);
        let token = SecurityRequirement::new::<_, [&str; 0], &str>("token", []);
        if let Some(security) = &mut operation.security
            && !security.contains(&token)
            && let Some(at) = security.iter().position(|scheme| *scheme == key)
        {
            security.insert(at + 1, token);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut openapi::path::Operation> {
    let (get, post) = (item.get.iter_mut(), item.post.iter_mut());
    let (put, patch) = (item.put.iter_mut(), item.patch.iter_mut());
    let read = get.chain(post);
    read.chain(put).chain(patch).chain(item.delete.iter_mut())
}
