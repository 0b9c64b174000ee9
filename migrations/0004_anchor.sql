-- Batches, the chains they are anchored on, and the transactions that do it. All of it belongs to the
-- installation, not to a merchant, so no foreign key runs between these tables and a merchant's.

create extension if not exists btree_gist;

-- Which database this is: a restored or failed-over one differs, and is not anchored from.
create table installation (
    only_row          boolean     not null default true,
    system_identifier bigint      not null,
    timeline          integer     not null,
    created_at        timestamptz not null,
    constraint installation_pkey primary key (only_row),
    constraint installation_only_row check (only_row)
);

create table batch (
    batch_id           bigint      not null,
    -- R, the anchored root: node(tree_root, manifest)
    root               bytea       not null,
    -- the manifest's fields; batch_id is one of them
    previous           bytea       not null,
    tree_root          bytea       not null,
    leaf_count         integer     not null,
    sealed_at          timestamptz not null,
    signer             bytea       not null,
    marks_hash         bytea       not null,
    salt               bytea       not null,
    -- all leaves, 32 bytes each, ascending: the root is computed again without touching a sale
    leaves             bytea       not null,
    -- the chains it is to be anchored on, fixed when it is sealed
    chains             bigint[]    not null,
    oldest_recorded_at timestamptz not null,
    constraint batch_pkey primary key (batch_id),
    constraint batch_id_from_one check (batch_id >= 1),
    constraint batch_leaves_whole check (octet_length(leaves) = 32 * leaf_count and leaf_count >= 1)
);
-- hashes do not compress
alter table batch alter column leaves set storage external;

create table batch_mark (
    batch_id    bigint not null,
    merchant_id uuid   not null,
    first_seq   bigint not null,
    last_seq    bigint not null,
    head        bytea  not null,
    salt        bytea  not null,
    constraint batch_mark_pkey primary key (batch_id, merchant_id),
    constraint batch_mark_batch foreign key (batch_id) references batch (batch_id),
    constraint batch_mark_range check (first_seq >= 1 and last_seq >= first_seq)
);
create unique index batch_mark_run on batch_mark (merchant_id, first_seq);

-- Sealing locks this one row, so batch ids have no gaps with any number of workers.
create table seal_head (
    only_row       boolean     not null default true,
    next_batch     bigint      not null,
    last_root      bytea       not null,
    last_sealed_at timestamptz not null,
    constraint seal_head_pkey primary key (only_row),
    constraint seal_head_only_row check (only_row)
);
insert into seal_head (next_batch, last_root, last_sealed_at)
values (1, decode(repeat('00', 32), 'hex'), 'epoch');

-- Where each merchant's running hash stands: last_seq and head of its last mark.
create table mark_head (
    merchant_id uuid   not null,
    last_seq    bigint not null,
    head        bytea  not null,
    constraint mark_head_pkey primary key (merchant_id)
);

-- A sale that could not be sealed: its merchant waits until somebody has looked; no other does.
create table seal_hold (
    merchant_id uuid        not null,
    seq         bigint      not null,
    reason      text        not null,
    since       timestamptz not null,
    constraint seal_hold_pkey primary key (merchant_id)
);

-- A registry contract and the batches it is to be trusted for. Another registry is a new row.
create table registry (
    chain_id    bigint      not null,
    address     bytea       not null,
    code_hash   bytea       not null,
    first_batch bigint      not null,
    -- null while it is the chain's current one
    last_batch  bigint,
    pinned_at   timestamptz not null,
    constraint registry_pkey primary key (chain_id, address),
    constraint registry_address check (octet_length(address) = 20),
    constraint registry_range check (first_batch >= 1 and (last_batch is null or last_batch >= first_batch))
);
create unique index registry_current on registry (chain_id) where last_batch is null;

-- Reserving locks the chain's row, so a nonce and a batch are given out once.
create table chain_head (
    chain_id    bigint not null,
    account     bytea  not null,
    next_nonce  bigint not null,
    next_batch  bigint not null,
    -- set when anchoring on this chain has stopped until somebody has looked
    halted      text,
    constraint chain_head_pkey primary key (chain_id),
    constraint chain_head_account check (octet_length(account) = 20)
);

create table anchor (
    anchor_id    bigint      generated always as identity,
    chain_id     bigint      not null,
    registry     bytea       not null,
    account      bytea       not null,
    nonce        bigint      not null,
    first_batch  bigint      not null,
    last_batch   bigint      not null,
    -- reserved:  nonce and range are taken, nothing is signed
    -- submitted: at least one signed transaction is committed, none is known to be mined
    -- mined:     one of them is in a block that may still be reorganised
    -- finalized: the registry holds our roots at a finalized block
    -- reverted:  ours was mined and reverted, at a finalized block; the range is free again
    state        text        not null,
    reserved_at  timestamptz not null,
    mined_at     timestamptz,
    finalized_at timestamptz,
    constraint anchor_pkey primary key (anchor_id),
    constraint anchor_nonce unique (chain_id, account, nonce),
    constraint anchor_state check (state in ('reserved', 'submitted', 'mined', 'finalized', 'reverted')),
    constraint anchor_range check (first_batch >= 1 and last_batch >= first_batch and last_batch - first_batch < 256),
    constraint anchor_live_ranges exclude using gist
        (chain_id with =, int8range(first_batch, last_batch, '[]') with &&) where (state <> 'reverted'),
    constraint anchor_registry foreign key (chain_id, registry) references registry (chain_id, address)
);
create index anchor_open on anchor (chain_id, nonce) where state in ('reserved', 'submitted', 'mined');

-- One row a signed transaction of an anchor, committed before it is broadcast.
create table anchor_attempt (
    anchor_id                bigint      not null,
    attempt                  integer     not null,
    tx_hash                  bytea       not null,
    raw                      bytea       not null,
    -- wei
    max_fee_per_gas          numeric(39) not null,
    max_priority_fee_per_gas numeric(39) not null,
    gas_limit                bigint      not null,
    signed_at                timestamptz not null,
    sent_at                  timestamptz,
    -- where it is mined, as far as is known; cleared when a reorganisation takes it away
    block_number             bigint,
    block_hash               bytea,
    block_time               timestamptz,
    gas_used                 bigint,
    constraint anchor_attempt_pkey primary key (anchor_id, attempt),
    constraint anchor_attempt_tx unique (tx_hash),
    constraint anchor_attempt_anchor foreign key (anchor_id) references anchor (anchor_id),
    constraint anchor_attempt_block check (num_nonnulls(block_number, block_hash, block_time) in (0, 3))
);

-- The state of a batch is that of the least advanced of its chains.
create view batch_state as
select b.batch_id,
       (array['sealed', 'submitted', 'mined', 'finalized'])[1 + min(
           case a.state when 'finalized' then 3 when 'mined' then 2 when 'submitted' then 1 else 0 end)]
       as state
from batch b
left join lateral unnest(b.chains) as c(chain_id) on true
left join anchor a on a.chain_id = c.chain_id
                  and int8range(a.first_batch, a.last_batch, '[]') @> b.batch_id
                  and a.state <> 'reverted'
group by b.batch_id;
