//! Connections of the local provider. Not `axum::serve`: here an answer may be that there is none.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::limits;

/// The pause after a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(100);
/// How long requests in hand may take when it ends.
const GRACE: Duration = Duration::from_secs(2);

/// On a response: it is not sent, and the connection ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut;

/// The end of a connection that was cut on purpose.
#[derive(Debug, thiserror::Error)]
#[error("cut on purpose")]
struct WasCut;

/// Serves until `stop`. Dropped, it takes its connections with it.
pub(super) async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIME);
    let open = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => break,
        };
        let Ok((stream, _)) = taken else {
            // out of file descriptors, as a rule: some will be given back
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // answers are small and wanted at once
        let _ = stream.set_nodelay(true);
        let routes = routes.clone();
        let one = service_fn(move |request| answer(routes.clone(), request));
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), one));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "a connection ended early");
            }
        });
    }
    drop(listener);
    // whoever waits longer is cut off
    let _ = tokio::time::timeout(GRACE, open.shutdown()).await;
}

async fn answer(routes: Router, request: Request<Incoming>) -> Result<Response<Body>, WasCut> {
    let Ok(response) = routes.oneshot(request.map(Body::new)).await;
    if response.extensions().get::<Cut>().is_some() {
        return Err(WasCut);
    }
    Ok(response)
}
