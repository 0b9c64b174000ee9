//! The HTTP server: the whole route table, its layers, and serving until told to stop.

mod description;
mod state;
mod told;

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, header};
use axum::routing::get;
use axum::{Router, middleware};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::util::Either;
use tower::{Layer, Service};
use tower_http::cors::{Cors, CorsLayer};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounts::{
    Accounts, key_set, keys, login, me, password, refresh, register, reset, staff, wallet,
};
use crate::anchor::batches;
use crate::http::address::Peer;
use crate::http::layers::{self, Surrounded};
use crate::http::problem::Problem;
use crate::http::rate::{self, Gate, Rates};
use crate::http::{codes, health, pages};
use crate::limits;
use crate::loyalty::{first_version as wallets, members, programmes, spending};
use crate::sales::{Sales, first_version, read, receipts, record, well_known};
use crate::shop::{
    Shop, cart, checkout, events, intents, orders, products, refunds, stock, unpark,
};
use crate::webhooks::{self, Webhooks, address::Addresses};
use description::Description;
use state::{Parts, Shared};

/// What a server is made of.
pub struct Server {
    /// The state of the routes.
    pub sales: Sales,
    /// The state of the shop's.
    pub shop: Shop,
    /// Accounts and their tokens.
    pub accounts: Accounts,
    /// Where webhooks may go.
    pub webhooks: Addresses,
    /// Whether the first version's endpoints are served.
    pub first_version: bool,
    /// Origins whose pages may call.
    pub cors_origins: Vec<HeaderValue>,
    /// How many requests are taken.
    pub rates: Rates,
}

/// The routes that are behind the gate, with their description.
fn gated(first_version: bool) -> OpenApiRouter<Shared> {
    let mut routes = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(record::record_sale, read::list_sales))
        .routes(routes!(record::batch::record_batch))
        .routes(routes!(read::read_sale))
        .routes(routes!(receipts::read_proof))
        .routes(routes!(receipts::read_receipt))
        .routes(routes!(batches::list_batches))
        .routes(routes!(batches::read_batch))
        .routes(routes!(keys::issue_key, keys::list_keys))
        .routes(routes!(keys::read_key, keys::revoke_key))
        .routes(routes!(products::create_product, products::list_products))
        .routes(routes!(products::read_product, products::change_product))
        .routes(routes!(stock::change_stock))
        .routes(routes!(stock::list_movements))
        .routes(routes!(cart::read_cart, cart::empty_cart))
        .routes(routes!(cart::put_item, cart::take_item))
        .routes(routes!(checkout::checkout))
        .routes(routes!(orders::list_orders))
        .routes(routes!(orders::read_order))
        .routes(routes!(orders::cancel_order))
        .routes(routes!(unpark::unpark_order))
        .routes(routes!(intents::read_intent))
        .routes(routes!(intents::confirm_intent))
        .routes(routes!(refunds::refund_order, refunds::list_refunds))
        .routes(routes!(refunds::read_refund))
        .routes(routes!(events::receive_event))
        .routes(routes!(register::register))
        .routes(routes!(login::log_in))
        .routes(routes!(refresh::refresh))
        .routes(routes!(refresh::log_out))
        .routes(routes!(reset::forgotten))
        .routes(routes!(reset::reset))
        .routes(routes!(wallet::give_nonce))
        .routes(routes!(wallet::sign_in))
        .routes(routes!(wallet::link::link, wallet::link::unlink))
        .routes(routes!(me::read_me))
        .routes(routes!(refresh::end_sessions))
        .routes(routes!(password::change_password))
        .routes(routes!(staff::invite, staff::list_accounts))
        .routes(routes!(staff::read_account, staff::close_account))
        .routes(routes!(key_set::key_set))
        .routes(routes!(
            programmes::read_programme,
            programmes::set_programme
        ))
        .routes(routes!(members::read_member))
        .routes(routes!(members::list_entries))
        .routes(routes!(members::read_my_points))
        .routes(routes!(members::list_my_entries))
        .routes(routes!(members::quote_points))
        .routes(routes!(spending::redeem_points))
        .routes(routes!(spending::read_redemption))
        .routes(routes!(spending::give_points_back))
        .routes(routes!(spending::adjust_points))
        .routes(routes!(well_known::trust))
        .merge(telling());
    if first_version {
        routes = routes
            .routes(routes!(first_version::record_transaction))
            .routes(routes!(first_version::read_transaction))
            .routes(routes!(wallets::balance_of_wallet))
            .routes(routes!(wallets::redeem_of_wallet));
    }
    description::limited(routes.get_openapi_mut());
    routes
}

/// Of those, the routes of what others are told.
fn telling() -> OpenApiRouter<Shared> {
    use webhooks::{deliveries, endpoints, events};
    OpenApiRouter::new()
        .routes(routes!(
            endpoints::create_webhook_endpoint,
            endpoints::list_webhook_endpoints
        ))
        .routes(routes!(
            endpoints::read_webhook_endpoint,
            endpoints::change_webhook_endpoint,
            endpoints::delete_webhook_endpoint
        ))
        .routes(routes!(endpoints::rotate_webhook_secret))
        .routes(routes!(endpoints::test_webhook_endpoint))
        .routes(routes!(deliveries::list_webhook_deliveries))
        .routes(routes!(events::list_events))
        .routes(routes!(events::read_event))
        .routes(routes!(events::replay_event))
}

/// The routes that anybody may ask at any rate: whoever watches over the process is never refused.
fn open() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
}

/// The API's description, with the first version's endpoints in it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    description::complete(gated(true).merge(open()).split_for_parts().1)
}

/// What serves: all routes and what surrounds them, for pages elsewhere too where that was wanted.
pub type Serving = Either<Cors<Surrounded>, Surrounded>;

/// The routes within what surrounds them.
pub fn service(server: Server) -> Serving {
    let entropy = server.sales.site.entropy.clone();
    let gate = Gate::new(
        server.rates,
        server.sales.keys.clone(),
        server.accounts.tokens.clone(),
        &server.sales.site.clock,
    );
    let (routes, openapi) = gated(server.first_version)
        .layer(middleware::from_fn_with_state(gate, rate::limit))
        .merge(open().layer(middleware::from_fn(layers::named)))
        .split_for_parts();
    let pages = pages::routes(description::complete(openapi));
    let webhooks = Webhooks {
        pool: server.sales.pool.clone(),
        site: server.sales.site.clone(),
        trust: server.sales.trust.clone(),
        addresses: server.webhooks,
    };
    let routes = routes
        .with_state(Shared::new(Parts {
            sales: server.sales,
            shop: server.shop,
            accounts: server.accounts,
            webhooks,
        }))
        .merge(pages.layer(middleware::from_fn(layers::named)))
        .fallback(|| async { Problem::new(&codes::NOT_FOUND, "there is nothing at this address") });
    let surrounded = Surrounded::new(routes, entropy);
    // without origins no preflight is answered either
    match server.cors_origins {
        none if none.is_empty() => Either::Right(surrounded),
        origins => Either::Left(cors(origins).layer(surrounded)),
    }
}

fn cors(origins: Vec<HeaderValue>) -> CorsLayer {
    let ours = ["idempotency-key", layers::REQUEST_ID, "traceparent"].map(HeaderName::from_static);
    let exposed = [
        "x-request-id",
        "idempotent-replayed",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "location",
        "etag",
    ];
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers(
            [
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_MATCH,
                header::IF_NONE_MATCH,
            ]
            .into_iter()
            .chain(ours)
            .collect::<Vec<_>>(),
        )
        .expose_headers(exposed.map(HeaderName::from_static))
        .max_age(Duration::from_secs(3600))
}

/// Serves HTTP/1.1 until `shutdown` is done, then finishes the requests in hand. A connection that does
/// not send its next request's head in time is closed, and beyond [`limits::CONNECTIONS`] none is taken:
/// `axum::serve` bounds neither, and a caller needs no key to open connections. What fails in one
/// connection ends that one.
pub async fn serve<S>(
    listener: TcpListener,
    service: S,
    shutdown: impl Future<Output = ()> + Send + 'static,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIME);
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let open = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, peer, place) = tokio::select! {
            taken = take(&listener, &places) => taken,
            () = &mut shutdown => break,
        };
        let all = service.clone();
        let one = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            // always ready: what is too much is answered
            all.clone().call(request.map(Body::new))
        });
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), one));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    open.shutdown().await;
}

/// The next connection, once there is a place for it.
async fn take(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Peer, Option<OwnedSemaphorePermit>) {
    // never closed, so there is always a place in the end
    let place = places.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // answers are small and wanted at once
                let _ = stream.set_nodelay(true);
                return (stream, Peer(peer.ip()), place);
            }
            Err(error) => {
                tracing::warn!(error = %error, "no connection can be taken");
                // out of file descriptors, as a rule: some will be given back
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The routes of the metrics' own listener. `/livez` is there too: a worker has no other.
pub fn metrics_router(handle: PrometheusHandle) -> Router {
    Router::new()
        .route("/metrics", get(move || std::future::ready(handle.render())))
        .route("/livez", get(health::livez))
}
