//! A wire between us and a chain that misbehaves as it is told to: [`Proxy`] stands before one RPC, hears
//! every call, and answers as its [`Wire`] says. Several of them before one chain are several RPCs.
//!
//!     let rpc = Proxy::before(&local.url).await;
//!     rpc.set(|wire| wire.lag = 10);                     // ten blocks behind
//!     rpc.set(|wire| wire.old_nonce = 3);                // nonces are three too low
//!     rpc.set(|wire| wire.silent = true);                // takes calls and never answers
//!     rpc.set(|wire| wire.rewrite = Some(Arc::new(|call, result| …)));  // tells lies
//!     rpc.refuse().await; rpc.listen().await;            // its port is closed, and open again
//!     rpc.set(|wire| *wire = Wire::default());           // honest again

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::CONTENT_LENGTH;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Where a [`Proxy`] cuts the connection of a call that sends a transaction.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Cut {
    #[default]
    Nowhere,
    BeforeTheChain,
    AfterTheChain,
}

/// A call as it arrived.
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) params: Value,
}

/// Changes the result of a call.
pub(crate) type Rewrite = Arc<dyn Fn(&Call, &mut Value) + Send + Sync>;

/// How a [`Proxy`] behaves; honest by default.
#[derive(Clone, Default)]
pub(crate) struct Wire {
    /// Where sending a transaction is cut off.
    pub(crate) cut: Cut,
    /// Takes calls and answers none.
    pub(crate) silent: bool,
    /// Blocks that it is behind.
    pub(crate) lag: u64,
    /// By how much its nonces are too low.
    pub(crate) old_nonce: u64,
    /// What it says in place of the truth.
    pub(crate) rewrite: Option<Rewrite>,
}

/// A wire between us and the chain.
pub(crate) struct Proxy {
    pub(crate) url: SecretString,
    relay: Relay,
    open: Mutex<CancellationToken>,
}

#[derive(Clone)]
struct Relay {
    upstream: String,
    http: reqwest::Client,
    wire: Arc<Mutex<Wire>>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) async fn before(chain: &SecretString) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        counterfoil::chain::install_tls();
        let relay = Relay {
            upstream: chain.expose_secret().to_owned(),
            http: reqwest::Client::new(),
            wire: Arc::default(),
            calls: Arc::default(),
        };
        let open = CancellationToken::new();
        tokio::spawn(accept(listener, relay.clone(), open.clone()));
        Self {
            url: SecretString::from(format!("http://{address}")),
            relay,
            open: Mutex::new(open),
        }
    }

    /// Changes how it behaves from the next call on.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Wire)) {
        change(&mut self.relay.wire.lock().expect("the wire"));
    }

    pub(crate) fn cut(&self, cut: Cut) {
        self.set(|wire| wire.cut = cut);
    }

    /// How often a method was called.
    pub(crate) fn calls(&self, method: &str) -> usize {
        let calls = self.relay.calls.lock().expect("the calls");
        calls.iter().filter(|call| *call == method).count()
    }

    /// Closes the port: connections break off, and new ones are refused.
    pub(crate) async fn refuse(&self) {
        self.open.lock().expect("the switch").cancel();
        let address = self.url.expose_secret().trim_start_matches("http://");
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Opens the port again.
    pub(crate) async fn listen(&self) {
        let address = self.url.expose_secret().trim_start_matches("http://");
        let listener = TcpListener::bind(address).await.expect("its port again");
        let open = CancellationToken::new();
        tokio::spawn(accept(listener, self.relay.clone(), open.clone()));
        *self.open.lock().expect("the switch") = open;
    }
}

async fn accept(listener: TcpListener, relay: Relay, open: CancellationToken) {
    while let Some(Ok((client, _))) = open.run_until_cancelled(listener.accept()).await {
        let (relay, open) = (relay.clone(), open.clone());
        tokio::spawn(async move { open.run_until_cancelled(relay.serve(client)).await });
    }
}

impl Relay {
    /// Answers one connection's calls, until one is cut off.
    async fn serve(&self, mut client: TcpStream) -> Option<()> {
        loop {
            let request: Value = serde_json::from_slice(&body(&mut client).await?).expect("JSON");
            let call = Call {
                method: request["method"].as_str().expect("a method").to_owned(),
                params: request["params"].clone(),
            };
            self.calls
                .lock()
                .expect("the calls")
                .push(call.method.clone());
            let wire = self.wire.lock().expect("the wire").clone();
            let mut answer = self.answer(&wire, &call).await?;
            answer["jsonrpc"] = json!("2.0");
            answer["id"] = request["id"].clone();
            let text = answer.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{CONTENT_LENGTH}: {}\r\n\r\n",
                text.len()
            );
            client.write_all((head + &text).as_bytes()).await.ok()?;
        }
    }

    /// `result` or `error` of a call; none where the connection is cut.
    async fn answer(&self, wire: &Wire, call: &Call) -> Option<Value> {
        if wire.silent {
            std::future::pending::<()>().await;
        }
        let sends = call.method == "eth_sendRawTransaction";
        if sends && wire.cut == Cut::BeforeTheChain {
            return None;
        }
        let mut answer = match wire.lag {
            0 => self.ask(&call.method, call.params.clone()).await?,
            lag => self.behind(lag, call).await?,
        };
        if sends && wire.cut == Cut::AfterTheChain {
            return None;
        }
        if call.method == "eth_getTransactionCount" && wire.old_nonce > 0 {
            let nonce = quantity(&answer["result"])?.saturating_sub(wire.old_nonce);
            answer["result"] = json!(format!("0x{nonce:x}"));
        }
        if let (Some(rewrite), Some(result)) = (&wire.rewrite, answer.get_mut("result")) {
            rewrite(call, result);
        }
        Some(answer)
    }

    /// What an honest RPC would have said of a call so many blocks ago.
    async fn behind(&self, lag: u64, call: &Call) -> Option<Value> {
        let newest = self.ask("eth_blockNumber", json!([])).await?;
        let newest = quantity(&newest["result"])?;
        let head = newest.saturating_sub(lag);
        let mut params = call.params.clone();
        let place = match call.method.as_str() {
            "eth_blockNumber" => return Some(json!({ "result": format!("0x{head:x}") })),
            "eth_getBlockByNumber" => 0,
            _ => 1,
        };
        if let Some(at) = params.get_mut(place) {
            match at.as_str() {
                Some("latest" | "pending") => *at = json!(format!("0x{head:x}")),
                Some("finalized") => {
                    let tagged = self.ask(&call.method, call.params.clone()).await?;
                    let number = quantity(&tagged["result"]["number"])?.saturating_sub(lag);
                    *at = json!(format!("0x{number:x}"));
                }
                _ => {}
            }
            if let Some(hash) = at.get("blockHash").cloned() {
                let block = self.ask("eth_getBlockByHash", json!([hash, false])).await?;
                if quantity(&block["result"]["number"]).is_none_or(|number| number > head) {
                    return Some(
                        json!({ "error": { "code": -32001, "message": "unknown block" } }),
                    );
                }
            }
        }
        let mut answer = self.ask(&call.method, params).await?;
        let result = answer.get_mut("result")?;
        let number = match call.method.as_str() {
            "eth_getBlockByNumber" | "eth_getBlockByHash" => &result["number"],
            "eth_getTransactionReceipt" | "eth_getTransactionByHash" => &result["blockNumber"],
            _ => &Value::Null,
        };
        if quantity(number).is_some_and(|number| number > head) {
            *result = Value::Null;
        }
        Some(answer)
    }

    async fn ask(&self, method: &str, params: Value) -> Option<Value> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let sent = self.http.post(&self.upstream).json(&request).send();
        sent.await.ok()?.json().await.ok()
    }
}

fn quantity(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// The body of one HTTP request with a length; none at the end of the connection.
async fn body(stream: &mut TcpStream) -> Option<Vec<u8>> {
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
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(bytes.split_off(body_at))
}
