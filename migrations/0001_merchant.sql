-- Merchants and their API keys.
--
-- Everything that belongs to a merchant has merchant_id as the first column of its primary key, of
-- every unique constraint and of every foreign key, so that the schema can be distributed by merchant.

create table merchant (
    merchant_id      uuid        not null,
    -- as it stands on receipts and in /.well-known/counterfoil.json
    legal_name       text        not null,
    -- live: anchored on every configured chain
    -- test: never anchored where one of the configured chains is a production chain
    mode             text        not null,
    -- the number its next sale gets; the row is locked until that sale's commit, so the visible sales
    -- of a merchant are always a prefix of its sequence
    next_seq         bigint      not null default 1,
    -- recorded_at never runs backwards within a merchant, whatever the server's clock does
    last_recorded_at timestamptz not null default 'epoch',
    created_at       timestamptz not null,
    constraint merchant_pkey primary key (merchant_id),
    constraint merchant_mode check (mode in ('live', 'test')),
    constraint merchant_legal_name check (char_length(legal_name) between 1 and 200),
    constraint merchant_next_seq check (next_seq >= 1)
    -- updated by every flush of the intake: room on the page keeps those updates off the index
) with (fillfactor = 50);

create table api_key (
    merchant_id uuid        not null,
    key_id      uuid        not null,
    -- pos: records, and reads what it names; auditor: reads; admin: all of its merchant
    role        text        not null,
    -- SHA-256 of the secret part; 128 random bits need no slow hash
    secret_hash bytea       not null,
    label       text        not null default '',
    created_at  timestamptz not null,
    expires_at  timestamptz,
    revoked_at  timestamptz,
    constraint api_key_pkey primary key (merchant_id, key_id),
    constraint api_key_merchant foreign key (merchant_id) references merchant (merchant_id),
    constraint api_key_role check (role in ('pos', 'auditor', 'admin')),
    constraint api_key_secret_hash check (octet_length(secret_hash) = 32)
);
