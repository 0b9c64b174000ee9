//! A client of HTTP/1.1 that keeps its connection and costs little: it shares the machine with what it
//! measures.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How long a server that is gone is tried again.
const RECONNECT: Duration = Duration::from_secs(10);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// A connection to the server.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    input: Vec<u8>,
}

/// What the head of an answer says; its body lies in the connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    body: Range<usize>,
}

impl Connection {
    /// Connects; a server that is not there yet is tried for a while.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = connect(address).await?;
        Ok(Self {
            address,
            stream,
            input: Vec::with_capacity(4096),
        })
    }

    /// A new connection in place of one that broke.
    pub(crate) async fn reopen(&mut self) -> io::Result<()> {
        self.stream = connect(self.address).await?;
        Ok(())
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.input.clear();
        loop {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some(head) = head(&self.input)? else {
                continue;
            };
            while self.input.len() < head.body.end {
                if self.stream.read_buf(&mut self.input).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            return Ok(head);
        }
    }

    /// The body of the last answer.
    pub(crate) fn body(&self, answer: &Answer) -> &[u8] {
        &self.input[answer.body.clone()]
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let deadline = Instant::now() + RECONNECT;
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Reads the head of an answer, once it is there as a whole.
fn head(input: &[u8]) -> io::Result<Option<Answer>> {
    let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let text = std::str::from_utf8(&input[..end]).map_err(|_| malformed())?;
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    let length = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let start = end + 4;
    Ok(Some(Answer {
        status: status.ok_or_else(malformed)?,
        body: start..start + length.ok_or_else(malformed)?,
    }))
}
