//! Connections to Postgres that fall out of step: an answer that belongs to no question comes in between.
//! It is no fault of the sale that was being written, so its caller must not feel it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use counterfoil::clock::Clock;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{App, Client, Running, sale};

/// A message that no statement is answered with: BackendKeyData, of a process and a key.
const STRAY: [u8; 13] = [b'K', 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 2];

/// A wire to Postgres that puts a stray message before the answer to whatever carries the `marker`.
struct Wire {
    url: SecretString,
    strays: Arc<AtomicUsize>,
}

impl Wire {
    async fn before(database: &SecretString, marker: &'static str) -> Self {
        let options: PgConnectOptions = database.expose_secret().parse().expect("an address");
        let upstream = (options.get_host().to_owned(), options.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let strays = Arc::new(AtomicUsize::new(0));
        let left = strays.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&upstream).await.expect("Postgres");
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let asked = Arc::new(AtomicBool::new(false));
                tokio::spawn(questions(from_client, to_server, marker, asked.clone()));
                tokio::spawn(answers(from_server, to_client, asked, left.clone()));
            }
        });
        let mut url = reqwest::Url::parse(database.expose_secret()).expect("an address");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(port)).expect("a port");
        Self {
            url: SecretString::from(url.to_string()),
            strays,
        }
    }
}

async fn questions(
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
    marker: &str,
    asked: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = client.read(&mut buffer).await {
        let has_marker = |part: &[u8]| part == marker.as_bytes();
        if buffer[..length].windows(marker.len()).any(has_marker) {
            asked.store(true, Ordering::SeqCst);
        }
        if server.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut server: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    asked: Arc<AtomicBool>,
    left: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = server.read(&mut buffer).await {
        let one_less = |left: usize| left.checked_sub(1);
        let stray = asked.swap(false, Ordering::SeqCst)
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                .is_ok();
        let before: &[u8] = if stray { &STRAY } else { &[] };
        let all = [before, &buffer[..length]].concat();
        if client.write_all(&all).await.is_err() {
            return;
        }
    }
}

/// A server whose connections go over a wire, and a client of it.
async fn over(wire: &Wire, app: &mut App) -> (Running, Client) {
    let straight = std::mem::replace(&mut app.db.url, wire.url.clone());
    let server = Running::start(&app.db, Clock::system()).await;
    app.db.url = straight;
    let till = app.admin.at(&server.url);
    (server, till)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_out_of_step_costs_no_sale_its_answer() {
    let mut app = App::start().await;
    let wire = Wire::before(&app.db.url, "order-out-of-step").await;
    let (_server, till) = over(&wire, &mut app).await;
    till.record("k-0", &sale("before")).await.expect(201);
    wire.strays.store(1, Ordering::SeqCst);
    let alone = till
        .record("k-1", &sale("order-out-of-step-1"))
        .await
        .expect(201);
    assert_eq!(
        wire.strays.load(Ordering::SeqCst),
        0,
        "the stray was in between"
    );
    assert_eq!(alone.header("idempotent-replayed"), "");
    wire.strays.store(1, Ordering::SeqCst);
    let items: Vec<_> = (2..5)
        .map(|n| {
            let mut item = sale(&format!("order-out-of-step-{n}"));
            item["idempotency_key"] = json!(format!("k-{n}"));
            item
        })
        .collect();
    let batch = till.record_batch(&items).await.expect(200);
    assert_eq!(wire.strays.load(Ordering::SeqCst), 0);
    for item in batch.json()["items"].as_array().expect("items") {
        assert_eq!(item["status"], 201, "{item}");
    }
    let seqs: Vec<i64> = sqlx::query_scalar("select seq from sale order by seq")
        .fetch_all(&app.db.owner)
        .await
        .expect("the sales");
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
}
