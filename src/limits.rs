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

/// Points that one sale earns, or one request names, at most.
pub const POINTS: i64 = 1_000_000_000;
/// Currencies that a programme names.
pub const PROGRAMME_CURRENCIES: usize = 50;
/// Tiers of a programme.
pub const PROGRAMME_TIERS: usize = 20;
/// Why points are adjusted, characters.
pub const REASON_CHARS: usize = 200;
/// How long a live rate is used after it was fetched.
pub const RATE_AGE: Duration = Duration::from_secs(60);
/// How old a price may be that the feed gives.
pub const RATE_FEED_AGE: Duration = Duration::from_secs(5 * 60);
/// How often the feed is asked.
pub const RATE_REFRESH: Duration = Duration::from_secs(20);
/// After how long a price that is far from the last is looked at again.
pub const RATE_SECOND_LOOK: Duration = Duration::from_secs(5);
/// One question to the feed.
pub const RATE_TIME: Duration = Duration::from_secs(5);
/// Its answer, bytes.
pub const RATE_BYTES: usize = 64 * 1024;
/// The longest that the feed is left alone because it said so.
pub const RATE_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Endpoints of a merchant that are told of events.
pub const WEBHOOK_ENDPOINTS: i64 = 16;
/// Types that one of them names.
pub const WEBHOOK_TYPES: usize = 64;
/// Its description, characters.
pub const WEBHOOK_DESCRIPTION_CHARS: usize = 200;
/// Its secrets that are signed with at a time, while it is rotated.
pub const WEBHOOK_SECRETS: i64 = 4;
/// How long a secret is signed with that another has replaced.
pub const WEBHOOK_ROTATION: Duration = Duration::from_secs(24 * 60 * 60);
/// How long one try of a delivery may take, with its name's resolution.
pub const WEBHOOK_TIME: Duration = Duration::from_secs(15);
/// How long a name may take to be resolved when an endpoint is registered.
pub const WEBHOOK_LOOK_UP_TIME: Duration = Duration::from_secs(5);
/// How long the rest of an endpoint's answer is waited for once its status is there.
pub const WEBHOOK_ANSWER_TIME: Duration = Duration::from_secs(2);
/// What is read of an endpoint's answer, bytes.
pub const WEBHOOK_ANSWER_BYTES: usize = 16 * 1024;
/// What is kept of it, characters.
pub const WEBHOOK_ANSWER_CHARS: usize = 500;
/// Deliveries that a worker has in hand at a time.
pub const WEBHOOK_DELIVERIES: usize = 64;
/// Deliveries to one endpoint among them; to one that is failing, one.
pub const WEBHOOK_ENDPOINT_DELIVERIES: i64 = 8;
/// After this time a delivery that a worker took and did not settle is due again.
pub const WEBHOOK_CLAIM_TIME: Duration = Duration::from_secs(60);
/// The pauses between the tries of a delivery; the first try is at once. Together 75 hours and 35 minutes.
pub const WEBHOOK_PAUSES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(5 * 60 * 60),
    Duration::from_secs(10 * 60 * 60),
    Duration::from_secs(14 * 60 * 60),
    Duration::from_secs(20 * 60 * 60),
    Duration::from_secs(24 * 60 * 60),
];
/// The longest pause that an endpoint's `Retry-After` is heard with.
pub const WEBHOOK_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// How long every delivery to an endpoint may fail until it is disabled.
pub const WEBHOOK_PATIENCE: Duration = Duration::from_secs(5 * 24 * 60 * 60);
/// How long events are kept, with what became of them.
pub const EVENTS_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// API keys of a merchant that work at a time.
pub const KEYS: i64 = 1_000;

/// A product's price, minor units: so many pieces as a cart holds still count in 64 bits.
pub const PRICE_MINOR: i64 = 1_000_000_000_000;
/// A product's description, characters.
pub const DESCRIPTION_CHARS: usize = 2_000;
/// Pieces that are counted in or out of the stock at a time.
pub const STOCK_PIECES: i64 = 1_000_000_000;
/// An address of the web, characters.
pub const URL_CHARS: usize = 2_000;
/// Products of a cart.
pub const CART_PRODUCTS: i64 = 100;
/// Pieces of one product in a cart.
pub const CART_PIECES: i64 = 10_000;
/// Orders of one account that hold pieces and are not paid.
pub const PENDING_ORDERS: i64 = 20;
/// How long an order holds its pieces while it is not paid.
pub const HOLD_TIME: Duration = Duration::from_secs(15 * 60);
/// How long an access token works.
pub const ACCESS_TOKEN_TIME: Duration = Duration::from_secs(10 * 60);
/// An access token, characters.
pub const ACCESS_TOKEN_CHARS: usize = 2_048;
/// How long after a refresh the token that it was done with gives the same answer again: the first one may
/// have been lost on its way, or two pages of one browser have asked at once.
pub const REFRESH_GRACE: Duration = Duration::from_secs(30);
/// How long a session lasts without being refreshed.
pub const SESSION_IDLE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a session lasts however often it is refreshed.
pub const SESSION_TIME: Duration = Duration::from_secs(180 * 24 * 60 * 60);
/// An e-mail address, characters (RFC 5321 with its erratum 1690).
pub const EMAIL_CHARS: usize = 254;
/// What stands before the @, characters (RFC 5321, 4.5.3.1.1).
pub const EMAIL_LOCAL_CHARS: usize = 64;
/// A password's least characters.
pub const PASSWORD_LEAST: usize = 10;
/// A password's most characters.
pub const PASSWORD_CHARS: usize = 256;
/// How long a password may wait to be hashed beside others.
pub const PASSWORD_WAIT: Duration = Duration::from_secs(5);
/// Tries to sign in with one e-mail address that may come at once.
pub const EMAIL_ATTEMPTS: i32 = 10;
/// How soon one of them is there again.
pub const EMAIL_ATTEMPT_EVERY: Duration = Duration::from_secs(60);
/// Mails to one address that may be asked for at once.
pub const MAILS: i32 = 3;
/// How soon another may be.
pub const MAIL_EVERY: Duration = Duration::from_secs(10 * 60);
/// How long the token of a mail that resets a password is good.
pub const RESET_TIME: Duration = Duration::from_secs(20 * 60);
/// How long the token of an invitation is good.
pub const INVITATION_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long it is tried to send a mail.
pub const MAIL_TIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How long one try may take.
pub const MAIL_SEND_TIME: Duration = Duration::from_secs(30);
/// How long the nonce of a sign-in message is good.
pub const WALLET_NONCE_TIME: Duration = Duration::from_secs(5 * 60);
/// How long ago an account without a password may have signed in that links another wallet.
pub const WALLET_LINK_TIME: Duration = Duration::from_secs(5 * 60);
/// How far the clock of whoever made a sign-in message may be ahead or behind.
pub const WALLET_CLOCK_SKEW: Duration = Duration::from_secs(60);
/// A sign-in message, bytes.
pub const WALLET_MESSAGE_BYTES: usize = 4_096;
/// A signature of one, bytes: a contract's may be many keys' together.
pub const WALLET_SIGNATURE_BYTES: usize = 4_096;
/// How long a chain may take to say whether a contract has signed.
pub const WALLET_CALL_TIME: Duration = Duration::from_secs(2);
/// How many contracts are asked at once.
pub const WALLET_CALLS: usize = 16;
/// Tries to sign in or to register from one network address that may come at once: a shop or a street may
/// be behind it.
pub const ADDRESS_ATTEMPTS: i32 = 100;
/// How soon one of them is there again.
pub const ADDRESS_ATTEMPT_EVERY: Duration = Duration::from_secs(6);

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
/// One call of the payment provider: well below a request, which asks it.
pub const PAYMENT_TIME: Duration = Duration::from_secs(20);
/// One call of an RPC.
pub const RPC_TIME: Duration = Duration::from_secs(10);

/// When a caller whose sale was not recorded because the database is in doubt is to come back: a person
/// has to look first. Seconds.
pub const DOUBT_RETRY_SECONDS: u64 = 30;
