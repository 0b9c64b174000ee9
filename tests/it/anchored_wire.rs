//! A wire between us and the chain that can be cut: before a transaction arrives, or before the answer
//! comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Where a [`Proxy`] cuts the connection of a call that sends a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Nowhere = 0,
    BeforeTheChain = 1,
    AfterTheChain = 2,
}

/// A wire between us and the chain that can be cut.
pub(crate) struct Proxy {
    pub(crate) url: SecretString,
    cut: Arc<AtomicU8>,
}

impl Proxy {
    pub(crate) async fn before(chain: &SecretString) -> Self {
        let upstream = chain
            .expose_secret()
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a connection");
        let url = SecretString::from(format!(
            "http://{}",
            listener.local_addr().expect("a connection")
        ));
        let cut = Arc::new(AtomicU8::new(Cut::Nowhere as u8));
        let current = cut.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, upstream.clone(), current.clone()));
            }
        });
        Self { url, cut }
    }

    pub(crate) fn cut(&self, cut: Cut) {
        self.cut.store(cut as u8, Ordering::SeqCst);
    }
}

async fn relay(mut client: TcpStream, upstream: String, cut: Arc<AtomicU8>) {
    let mut chain = TcpStream::connect(upstream).await.expect("a connection");
    while let Some(request) = message(&mut client).await {
        let sends = String::from_utf8_lossy(&request).contains("eth_sendRawTransaction");
        let cut = if sends {
            cut.load(Ordering::SeqCst)
        } else {
            Cut::Nowhere as u8
        };
        if cut == Cut::BeforeTheChain as u8 {
            return;
        }
        chain.write_all(&request).await.expect("a connection");
        let answer = message(&mut chain).await.expect("a connection");
        if cut == Cut::AfterTheChain as u8 {
            return;
        }
        client.write_all(&answer).await.expect("a connection");
    }
}

/// One HTTP message with a length; none at the end of the connection.
async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let body_at = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..body_at]).to_lowercase();
    let length = head
        .split("content-length:")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let length: usize = length.map_or(0, |length| length.trim().parse().expect("a valid value"));
    while bytes.len() < body_at + length {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    Some(bytes)
}
