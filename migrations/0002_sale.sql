-- Sales, what makes each of them happen once, and the queue of those that are not sealed yet.
--
-- No foreign keys here: record_sales is the only writer, it holds the merchant's lock, and a check a
-- row would cost more than the row.

create table sale (
    merchant_id  uuid        not null,
    -- UUIDv7, so that the table can be partitioned by time
    sale_id      uuid        not null,
    seq          bigint      not null,
    order_id     text        collate "C" not null,
    -- 1 sale, 2 refund
    kind         smallint    not null,
    -- the sale that a refund refers to, where it does
    refers_to    uuid,
    -- an account address, 20 bytes
    customer     bytea,
    currency     text        collate "C" not null,
    -- minor units of the currency
    amount_minor bigint      not null,
    -- the database's clock, whole milliseconds
    recorded_at  timestamptz not null,
    -- what the till said; a claim. A copy of the value in details, for filters only
    sold_at      timestamptz,
    -- canonical JSON (RFC 8785), the exact bytes whose hash is in the leaf
    details      bytea       not null,
    details_hash bytea       not null,
    salt         bytea       not null,
    -- SHA-256 of the parsed command
    fingerprint  bytea       not null,
    -- written once, by the sealer; in no index, so that its update stays on the page
    leaf         bytea,
    batch_id     bigint,
    leaf_index   integer,
    -- 32-byte siblings from the leaf up, the manifest's hash last
    proof        bytea,
    constraint sale_pkey primary key (merchant_id, sale_id),
    constraint sale_kind check (kind in (1, 2)),
    constraint sale_seq check (seq >= 1),
    constraint sale_amount check (amount_minor >= 0),
    constraint sale_sealed_whole check (
        (leaf is null and batch_id is null and leaf_index is null and proof is null)
        or (leaf is not null and batch_id is not null and leaf_index is not null and proof is not null))
) with (fillfactor = 60);

-- a batch's sales are found by the sequence ranges of its marks, a merchant's rows in their order
create index sale_seq_order on sale (merchant_id, seq);
create index sale_sold_at on sale (merchant_id, sold_at) where sold_at is not null;

-- Order ids are unique here and not on sale, which may be partitioned by sale_id.
create table sale_order (
    merchant_id uuid not null,
    order_id    text collate "C" not null,
    sale_id     uuid not null,
    constraint sale_order_pkey primary key (merchant_id, order_id)
);

-- What has been given back of a sale so far.
create table refund_total (
    merchant_id    uuid   not null,
    sale_id        uuid   not null,
    sale_minor     bigint not null,
    refunded_minor bigint not null,
    constraint refund_total_pkey primary key (merchant_id, sale_id),
    constraint refund_total_within_sale check (refunded_minor between 0 and sale_minor)
);

create table idempotency_key (
    merchant_id uuid        not null,
    -- 0 keys that callers chose; 1 order ids used as keys by POST /transactions/record
    space       smallint    not null,
    key         text        collate "C" not null,
    fingerprint bytea       not null,
    -- the version of the answer that the key was given: 1 /v1/sales, 2 /transactions
    answer      smallint    not null,
    -- exactly one of the two: the sale the key made, or the refusal it was given (kept 24 hours)
    sale_id     uuid,
    refusal     jsonb,
    created_at  timestamptz not null,
    constraint idempotency_key_pkey primary key (merchant_id, space, key),
    constraint idempotency_key_one_result check (num_nonnulls(sale_id, refusal) = 1)
);

-- refusals are the only keys that are purged
create index idempotency_key_refusal_age on idempotency_key (created_at) where refusal is not null;

create table pending_sale (
    merchant_id uuid        not null,
    seq         bigint      not null,
    sale_id     uuid        not null,
    recorded_at timestamptz not null,
    constraint pending_sale_pkey primary key (merchant_id, seq)
);
