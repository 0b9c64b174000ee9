//! What holds each column of the database: what the roots commit to, what follows from that, what is only
//! kept within bounds, and what nothing holds. Section 11 of SPEC says the same to readers. Tests hold
//! this list to the catalogue and to SPEC, and change every column that is committed to or derived.

use super::finding::Part;
use Part::{
    Anchor, Archive, Attempt, Batch, Chain, Copy, Details, Double, Fields, Leaf, Leaves, Manifest,
    Mark, Missing, Proof, Queue, Root, State,
};
use Tie::{Bounded, Committed, Derived, Free};

/// What holds a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// A leaf, a manifest or a signed transaction commits to it.
    Committed,
    /// It follows from what is committed to; any other value is found.
    Derived,
    /// It is found outside of bounds, or by a chain; within them it is a claim.
    Bounded,
    /// Nothing.
    Free,
}

/// A table and its columns: what holds each, and the parts of which one is named when it is changed.
pub type Table = (
    &'static str,
    &'static [(&'static str, Tie, &'static [Part])],
);

/// Tables of which nothing holds any column: what stands around the sales. What must be true of them their
/// own constraints and the tests of their features hold.
pub const UNHELD: &[&str] = &[
    "account",
    "account_mail",
    "account_token",
    "cart",
    "cart_item",
    "command_key",
    "event",
    "loyalty_award",
    "loyalty_day",
    "loyalty_entry",
    "loyalty_first",
    "loyalty_lot",
    "loyalty_member",
    "loyalty_programme",
    "loyalty_redemption",
    "payment_intent",
    "product",
    "provider_event",
    "session",
    "shop_order",
    "shop_order_item",
    "shop_refund",
    "shop_refund_item",
    "sign_in_attempt",
    "stock",
    "stock_movement",
    "wallet_nonce",
    "webhook_attempt",
    "webhook_delivery",
    "webhook_endpoint",
    "webhook_secret",
];

/// Every other table, every column.
pub const TABLES: &[Table] = &[
    (
        "sale",
        &[
            ("merchant_id", Committed, &[Fields, Missing]),
            ("sale_id", Committed, &[Fields]),
            ("seq", Committed, &[Fields, Missing]),
            ("order_id", Committed, &[Fields]),
            ("kind", Committed, &[Fields]),
            ("refers_to", Committed, &[Fields]),
            ("customer", Committed, &[Fields]),
            ("currency", Committed, &[Fields]),
            ("amount_minor", Committed, &[Fields]),
            ("recorded_at", Committed, &[Fields]),
            ("details", Committed, &[Details]),
            ("details_hash", Committed, &[Details]),
            ("salt", Committed, &[Fields]),
            ("sold_at", Derived, &[Copy]),
            ("fingerprint", Derived, &[Copy]),
            ("leaf", Derived, &[Leaf]),
            ("batch_id", Derived, &[Batch]),
            ("leaf_index", Derived, &[Leaf]),
            ("proof", Derived, &[Proof]),
        ],
    ),
    (
        "batch",
        &[
            ("batch_id", Committed, &[Missing, Batch]),
            ("previous", Committed, &[Manifest]),
            ("tree_root", Committed, &[Manifest]),
            ("leaf_count", Committed, &[Manifest, Leaves]),
            ("sealed_at", Committed, &[Manifest]),
            ("signer", Committed, &[Manifest]),
            ("marks_hash", Committed, &[Manifest]),
            ("salt", Committed, &[Manifest]),
            ("leaves", Committed, &[Leaves]),
            ("root", Derived, &[Root, Manifest]),
            ("oldest_recorded_at", Derived, &[Copy]),
            ("chains", Bounded, &[Chain]),
        ],
    ),
    (
        "batch_mark",
        &[
            ("batch_id", Committed, &[Mark]),
            ("merchant_id", Committed, &[Mark]),
            ("first_seq", Committed, &[Mark]),
            ("last_seq", Committed, &[Mark]),
            ("head", Committed, &[Mark]),
            ("salt", Committed, &[Mark]),
        ],
    ),
    (
        "anchor",
        &[
            ("chain_id", Committed, &[Anchor]),
            ("registry", Committed, &[Anchor]),
            ("account", Committed, &[Anchor]),
            ("nonce", Committed, &[Anchor]),
            ("first_batch", Committed, &[Anchor]),
            ("last_batch", Committed, &[Anchor]),
            ("anchor_id", Derived, &[State, Attempt]),
            ("state", Derived, &[State]),
            ("reserved_at", Bounded, &[]),
            ("mined_at", Bounded, &[]),
            ("finalized_at", Bounded, &[]),
        ],
    ),
    (
        "anchor_attempt",
        &[
            ("raw", Committed, &[Attempt]),
            ("tx_hash", Committed, &[Attempt]),
            ("max_fee_per_gas", Committed, &[Attempt]),
            ("max_priority_fee_per_gas", Committed, &[Attempt]),
            ("gas_limit", Committed, &[Attempt]),
            ("anchor_id", Derived, &[State, Anchor, Attempt]),
            ("attempt", Derived, &[Attempt]),
            ("signed_at", Bounded, &[]),
            ("sent_at", Bounded, &[]),
            ("block_number", Bounded, &[]),
            ("block_hash", Bounded, &[]),
            ("block_time", Bounded, &[]),
            ("gas_used", Bounded, &[]),
            ("gas_price", Bounded, &[]),
            ("rollup_fee", Bounded, &[]),
        ],
    ),
    (
        "registry",
        &[
            ("chain_id", Derived, &[Anchor]),
            ("address", Derived, &[Anchor]),
            ("code_hash", Derived, &[Chain]),
            ("first_batch", Bounded, &[]),
            ("last_batch", Bounded, &[]),
            ("pinned_at", Free, &[]),
        ],
    ),
    (
        "sale_order",
        &[
            ("merchant_id", Derived, &[Copy]),
            ("order_id", Derived, &[Copy]),
            ("sale_id", Derived, &[Copy]),
        ],
    ),
    (
        "refund_total",
        &[
            ("merchant_id", Derived, &[Copy]),
            ("sale_id", Derived, &[Copy]),
            ("sale_minor", Derived, &[Copy]),
            ("refunded_minor", Derived, &[Copy]),
        ],
    ),
    (
        "idempotency_key",
        &[
            ("merchant_id", Derived, &[Copy]),
            ("sale_id", Derived, &[Copy]),
            ("fingerprint", Derived, &[Copy]),
            ("space", Free, &[]),
            ("key", Free, &[]),
            ("answer", Free, &[]),
            ("refusal", Free, &[]),
            ("created_at", Free, &[]),
        ],
    ),
    (
        "pending_sale",
        &[
            ("merchant_id", Derived, &[Queue]),
            ("seq", Derived, &[Queue]),
            ("sale_id", Derived, &[Queue]),
            ("recorded_at", Derived, &[Queue]),
        ],
    ),
    (
        "merchant",
        &[
            ("merchant_id", Derived, &[Missing]),
            ("next_seq", Derived, &[Copy, Missing]),
            ("last_recorded_at", Bounded, &[]),
            ("legal_name", Free, &[]),
            ("mode", Free, &[]),
            ("created_at", Free, &[]),
            ("loyalty_version", Free, &[]),
        ],
    ),
    (
        "mark_head",
        &[
            ("merchant_id", Derived, &[Copy]),
            ("last_seq", Derived, &[Copy]),
            ("head", Derived, &[Copy]),
        ],
    ),
    (
        "seal_head",
        &[
            ("next_batch", Derived, &[Missing, Double]),
            ("last_root", Derived, &[Copy]),
            ("last_sealed_at", Derived, &[Copy]),
            ("only_row", Free, &[]),
            ("seal_requested_at", Free, &[]),
        ],
    ),
    (
        "chain_head",
        &[
            ("chain_id", Derived, &[Copy]),
            ("next_nonce", Derived, &[Copy]),
            ("next_batch", Derived, &[Copy]),
            ("account", Bounded, &[]),
            ("halted", Free, &[]),
            ("paused_at", Free, &[]),
            ("bump_requested_at", Free, &[]),
            ("rotating_to", Free, &[]),
        ],
    ),
    (
        "lease",
        &[
            ("work", Free, &[]),
            ("holder", Free, &[]),
            ("held_until", Free, &[]),
        ],
    ),
    (
        "archived_sale",
        &[
            ("merchant_id", Derived, &[Archive, Missing]),
            ("sale_id", Derived, &[Archive]),
            ("seq", Derived, &[Archive, Missing]),
            ("kind", Derived, &[Copy]),
            ("currency", Derived, &[Copy]),
            ("amount_minor", Derived, &[Copy]),
            ("fingerprint", Derived, &[Copy]),
            ("batch_id", Derived, &[Batch]),
            ("archive_id", Derived, &[Archive]),
            ("position", Derived, &[Archive]),
            ("length", Derived, &[Archive]),
        ],
    ),
    (
        "sale_archive",
        &[
            ("archive_id", Derived, &[Archive]),
            ("name", Derived, &[Archive]),
            ("from_id", Derived, &[Archive]),
            ("to_id", Derived, &[Archive]),
            ("sales", Derived, &[Archive]),
            ("first_batch", Derived, &[Archive]),
            ("last_batch", Derived, &[Archive]),
            ("file", Derived, &[Archive]),
            ("bytes", Derived, &[Archive]),
            ("sha256", Derived, &[Archive]),
            ("archived_at", Bounded, &[]),
        ],
    ),
    (
        "sale_archive_run",
        &[
            ("merchant_id", Derived, &[Archive]),
            ("first_seq", Derived, &[Archive]),
            ("last_seq", Derived, &[Archive]),
            ("archive_id", Derived, &[Archive]),
            ("first_batch", Derived, &[Archive]),
            ("last_batch", Derived, &[Archive]),
        ],
    ),
    (
        "seal_hold",
        &[
            ("merchant_id", Free, &[]),
            ("seq", Free, &[]),
            ("reason", Free, &[]),
            ("since", Free, &[]),
        ],
    ),
    (
        "api_key",
        &[
            ("merchant_id", Free, &[]),
            ("key_id", Free, &[]),
            ("role", Free, &[]),
            ("scopes", Free, &[]),
            ("secret_hash", Free, &[]),
            ("label", Free, &[]),
            ("created_at", Free, &[]),
            ("expires_at", Free, &[]),
            ("revoked_at", Free, &[]),
        ],
    ),
    (
        "installation",
        &[
            ("only_row", Free, &[]),
            ("system_identifier", Free, &[]),
            ("timeline", Free, &[]),
            ("created_at", Free, &[]),
            ("doubt", Free, &[]),
            ("doubted_at", Free, &[]),
            ("settled", Free, &[]),
        ],
    ),
    (
        "batch_lost",
        &[
            ("chain_id", Free, &[]),
            ("batch_id", Free, &[]),
            ("root", Free, &[]),
            ("declared_at", Free, &[]),
        ],
    ),
    (
        "seq_gap",
        &[
            ("merchant_id", Free, &[]),
            ("first_seq", Free, &[]),
            ("last_seq", Free, &[]),
            ("declared_at", Free, &[]),
            ("reason", Free, &[]),
        ],
    ),
];
