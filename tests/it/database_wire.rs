//! A wire between us and Postgres that breaks once, at a message that a test names by a text in it, and
//! counts the statements that go over it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A message that no statement is answered with: BackendKeyData, of a process and a key.
const STRAY: [u8; 13] = [b'K', 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 2];

/// What becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is answered, but something that belongs to no question comes first.
    Stray,
    /// It never arrives, and the connection ends.
    CutBefore,
    /// Postgres has it and answers, but the connection ends before the answer is here.
    CutAfter,
}

/// What is going to happen, and after how many messages that pass.
#[derive(Clone, Copy)]
struct Plan {
    fault: Fault,
    passing: usize,
}

/// The wire.
pub(crate) struct DatabaseWire {
    /// The database's address by this wire.
    pub(crate) url: SecretString,
    plan: Arc<Mutex<Option<Plan>>>,
    statements: Arc<AtomicUsize>,
}

impl DatabaseWire {
    /// Before a database; messages with the `marker` in them count.
    pub(crate) async fn before(database: &SecretString, marker: &'static str) -> Self {
        let options: PgConnectOptions = database.expose_secret().parse().expect("an address");
        let upstream = (options.get_host().to_owned(), options.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (plan, statements) = (Arc::default(), Arc::default());
        let (shared, counter) = (Arc::clone(&plan), Arc::clone(&statements));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&upstream).await.expect("Postgres");
                Line::open(client, server, marker, &shared, &counter);
            }
        });
        let mut url = reqwest::Url::parse(database.expose_secret()).expect("an address");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(port)).expect("a port");
        Self {
            url: SecretString::from(url.to_string()),
            plan,
            statements,
        }
    }

    /// How many statements were sent so far.
    pub(crate) fn statements(&self) -> usize {
        self.statements.load(Ordering::SeqCst)
    }

    /// One fault, at the message after so many that pass.
    pub(crate) fn plan(&self, fault: Fault, passing: usize) {
        *lock(&self.plan) = Some(Plan { fault, passing });
    }

    /// Whether the fault is still to come.
    pub(crate) fn is_planned(&self) -> bool {
        lock(&self.plan).is_some()
    }
}

/// One connection.
#[derive(Clone)]
struct Line {
    marker: &'static str,
    plan: Arc<Mutex<Option<Plan>>>,
    /// What happens to the next answer.
    next: Arc<Mutex<Option<Fault>>>,
    statements: Arc<AtomicUsize>,
    ended: CancellationToken,
}

impl Line {
    fn open(
        client: TcpStream,
        server: TcpStream,
        marker: &'static str,
        plan: &Arc<Mutex<Option<Plan>>>,
        statements: &Arc<AtomicUsize>,
    ) {
        let line = Self {
            marker,
            plan: Arc::clone(plan),
            next: Arc::default(),
            statements: Arc::clone(statements),
            ended: CancellationToken::new(),
        };
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        let ended = line.ended.clone();
        tokio::spawn(
            ended.run_until_cancelled_owned(line.clone().questions(from_client, to_server)),
        );
        let ended = line.ended.clone();
        tokio::spawn(ended.run_until_cancelled_owned(line.answers(from_server, to_client)));
    }

    async fn questions(self, mut client: OwnedReadHalf, mut server: OwnedWriteHalf) {
        let mut buffer = vec![0; 1 << 16];
        let mut frames = Frames::default();
        while let Ok(length @ 1..) = client.read(&mut buffer).await {
            let run = frames.statements_in(&buffer[..length]);
            self.statements.fetch_add(run, Ordering::SeqCst);
            let message = &buffer[..length];
            let has_marker = |part: &[u8]| part == self.marker.as_bytes();
            if message.windows(self.marker.len()).any(has_marker) {
                *lock(&self.next) = self.due();
            }
            if *lock(&self.next) == Some(Fault::CutBefore)
                || server.write_all(message).await.is_err()
            {
                break;
            }
        }
        self.ended.cancel();
    }

    async fn answers(self, mut server: OwnedReadHalf, mut client: OwnedWriteHalf) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = server.read(&mut buffer).await {
            let next = lock(&self.next).take();
            if next == Some(Fault::CutAfter) {
                break;
            }
            let before: &[u8] = if next == Some(Fault::Stray) {
                &STRAY
            } else {
                &[]
            };
            let all = [before, &buffer[..length]].concat();
            if client.write_all(&all).await.is_err() {
                break;
            }
        }
        self.ended.cancel();
    }

    /// The fault, if this message is the one.
    fn due(&self) -> Option<Fault> {
        let mut plan = lock(&self.plan);
        match &mut *plan {
            Some(Plan { fault, passing: 0 }) => {
                let fault = *fault;
                *plan = None;
                Some(fault)
            }
            Some(Plan { passing, .. }) => {
                *passing -= 1;
                None
            }
            None => None,
        }
    }
}

/// The messages of a client, as they come in parts.
#[derive(Default)]
struct Frames {
    rest: Vec<u8>,
    is_started: bool,
}

impl Frames {
    /// How many statements these bytes run: an Execute, or a Query (Postgres' documentation, 55.7).
    fn statements_in(&mut self, bytes: &[u8]) -> usize {
        self.rest.extend_from_slice(bytes);
        let mut statements = 0;
        loop {
            // before and in the start-up message no kind stands before the length
            let kind = if self.is_started { 1 } else { 0 };
            let Some(length) = self.rest.get(kind..kind + 4) else {
                return statements;
            };
            let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            if self.rest.len() < kind + length {
                return statements;
            }
            let frame: Vec<u8> = self.rest.drain(..kind + length).collect();
            if self.is_started {
                statements += usize::from(matches!(frame[0], b'E' | b'Q'));
            } else {
                // a request for TLS is eight bytes long, and answered before the start
                self.is_started = length > 8;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
