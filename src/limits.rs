//! The bounds of every input, in one place. Each has an error code of its own where it is checked.

use std::time::Duration;

/// Body of a request, bytes.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Body of `POST /v1/sales:batch`, bytes.
pub const BATCH_BODY_BYTES: usize = 8 * 1024 * 1024;
/// How much of a body beyond its limit is read and thrown away before it is answered, bytes.
pub const BODY_DRAINED_BYTES: usize = 16 * 1024 * 1024;
/// Items of `POST /v1/sales:batch`.
pub const BATCH_ITEMS: usize = 500;
/// Time a request may take.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);
/// A request that takes this long is logged although it succeeded.
pub const SLOW_REQUEST: Duration = Duration::from_secs(1);
/// How long a connection may take to send the head of its next request.
pub const HEAD_TIME: Duration = Duration::from_secs(30);
/// Connections held open by one listener.
pub const CONNECTIONS: usize = 4096;
/// Requests worked on at once by one process.
pub const CONCURRENT_REQUESTS: usize = 1024;

/// Sales of all merchants that one process has waiting or in writing.
pub const QUEUE_ROWS: usize = 16_384;
/// Their bytes, about.
pub const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Sales of one merchant among them, so that it leaves room for others.
pub const LANE_ROWS: usize = 8_192;
/// Their bytes, about.
pub const LANE_BYTES: usize = 32 * 1024 * 1024;
/// Sales that one flush of the intake writes.
pub const FLUSH_ROWS: usize = 500;
/// Their bytes, about.
pub const FLUSH_BYTES: usize = 4 * 1024 * 1024;
/// How long one flush may take, waiting for its merchant's lock and a second try among it.
pub const FLUSH_TIME: Duration = Duration::from_secs(25);

/// Reads of single sales that go to the database at once; each holds a connection.
pub const READERS: usize = 2;
/// Reads of single sales that go in one statement.
pub const READS_TOGETHER: usize = 32;
/// How long one of those statements may take, with the connection for it.
pub const READ_TIME: Duration = Duration::from_secs(10);

/// How long a final answer is kept in Redis.
pub const KEPT_TIME: Duration = Duration::from_secs(60 * 60);
/// A final answer that is kept in Redis, bytes.
pub const KEPT_BYTES: usize = 64 * 1024;
/// How long it is known that an answer was asked for: again within it, it is kept.
pub const ASKED_TIME: Duration = Duration::from_secs(10 * 60);
/// Of how many answers that is known.
pub const ASKED_RECEIPTS: u64 = 100_000;

/// Requests a second of one key unless configured: far above a shop's rush hour, and far below what one
/// process can do.
pub const KEY_REQUESTS: u32 = 5_000;
/// Requests a second without a valid key from one address unless configured.
pub const ADDRESS_REQUESTS: u32 = 500;

/// `Idempotency-Key`, characters.
pub const IDEMPOTENCY_KEY_CHARS: usize = 255;
/// How long a repeat waits for the first request with its key.
pub const IN_FLIGHT_WAIT: Duration = Duration::from_secs(2);
/// How long one write may wait for its merchant's lock in Postgres, and a sale for its flush.
pub const MERCHANT_LOCK_WAIT: Duration = Duration::from_secs(10);
/// `X-Request-Id` taken from a caller, characters.
pub const REQUEST_ID_CHARS: usize = 128;
/// A revoked key stops working within this time.
pub const KEY_CACHE_TIME: Duration = Duration::from_secs(4);

/// An amount in minor units: 10^15 keeps every sum of a shop's life inside 64 bits.
pub const AMOUNT_MINOR: i64 = 1_000_000_000_000_000;
/// Digits before the point of a unit price or quantity.
pub const DECIMAL_INTEGER_DIGITS: usize = 12;
/// Digits after the point of a unit price or quantity.
pub const DECIMAL_FRACTION_DIGITS: usize = 6;
/// Lines of a sale.
pub const LINES: usize = 2_000;
/// Payments of a sale.
pub const PAYMENTS: usize = 100;
/// Short texts (register, cashier, customer reference, sku, payment method), characters.
pub const SHORT_TEXT_CHARS: usize = 64;
/// A line's name, characters.
pub const NAME_CHARS: usize = 200;
/// Keys of `metadata`.
pub const METADATA_KEYS: usize = 50;
/// A key of `metadata`, characters.
pub const METADATA_KEY_CHARS: usize = 40;
/// A value of `metadata`, characters.
pub const METADATA_VALUE_CHARS: usize = 500;
/// How far ahead of the server's clock `sold_at` may be.
pub const SOLD_AT_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
/// Errors named in one answer.
pub const FAULTS: usize = 100;

/// API keys of a merchant that work at a time.
pub const KEYS: i64 = 1_000;

/// Rows of a page unless asked for.
pub const PAGE: i64 = 25;
/// Rows of a page at most.
pub const PAGE_MAX: i64 = 100;

/// Leaves of a batch at most, unless configured.
pub const BATCH_LEAVES: usize = 131_072;
/// Sales that do not wait for the end of the interval, unless configured. Beside full load sealing them
/// takes a tenth of a second, in which few other sales have to wait; a root costs each of them 6 gas.
pub const SEAL_AT: usize = 4_096;
/// Batches one anchor transaction may carry; the registry refuses more.
pub const ANCHOR_BATCHES: i64 = 256;
/// Gas that a transaction of ours may have: no more goes into a block of Ethereum (EIP-7825).
pub const TRANSACTION_GAS: u64 = 1 << 24;
/// How long a worker's lease holds without being renewed: after a crash another goes on then.
pub const LEASE_TIME: Duration = Duration::from_secs(15);
/// Months after this one that have a partition of `sale`.
pub const SALE_MONTHS_AHEAD: i32 = 3;
/// How long a remembered refusal is kept.
pub const REFUSAL_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long Redis remembers an answer.
pub const ANSWER_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// One call of Redis.
pub const CACHE_TIME: Duration = Duration::from_millis(50);
/// How long it holds which database answered.
pub const EPOCH_TIME: Duration = Duration::from_secs(3);
/// One call of an RPC.
pub const RPC_TIME: Duration = Duration::from_secs(10);

/// When a caller whose sale was not recorded because the database is in doubt is to come back: a person
/// has to look first. Seconds.
pub const DOUBT_RETRY_SECONDS: u64 = 30;
