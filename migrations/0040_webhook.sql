-- What is told to others: events, who wants to know of them, and what became of each telling.
--
-- An event is written in the transaction of the change that it tells of, with a delivery for each endpoint
-- that wants its type (emit_event), so what was rolled back is never told and what was committed always is.
-- Events happen with every change of an order and are kept for a month, so that they can be read and told
-- again; those that happen with every sale or batch are written only where somebody wants them.
--
-- No foreign keys from events and deliveries: the functions here are their only writers, an endpoint's row
-- stays when it is deleted, and a check a row would lock that row for every sale.

create table event (
    merchant_id uuid        not null,
    event_id    uuid        not null,
    type        text        collate "C" not null,
    data        jsonb       not null,
    created_at  timestamptz not null,
    constraint event_pkey primary key (merchant_id, event_id),
    constraint event_type check (char_length(type) between 1 and 64),
    constraint event_data check (jsonb_typeof(data) = 'object')
);
create index event_age on event (created_at);

create table webhook_endpoint (
    merchant_id   uuid        not null,
    endpoint_id   uuid        not null,
    url           text        not null,
    -- the types it wants; '*' alone is all of them
    types         text[]      collate "C" not null,
    description   text        not null,
    -- enabled:  it is told
    -- disabled: it is not, because an administrator said so
    -- failing:  it is not, because for days no delivery succeeded
    -- gone:     it is not, because it answered 410
    -- deleted:  it is not, and is shown no more
    state         text        not null default 'enabled',
    -- counts the edits
    version       bigint      not null default 1,
    -- since when every delivery has failed; null after one that succeeded
    failing_since timestamptz,
    created_at    timestamptz not null,
    updated_at    timestamptz not null,
    constraint webhook_endpoint_pkey primary key (merchant_id, endpoint_id),
    constraint webhook_endpoint_merchant foreign key (merchant_id) references merchant (merchant_id),
    constraint webhook_endpoint_state check (state in ('enabled', 'disabled', 'failing', 'gone', 'deleted')),
    constraint webhook_endpoint_url_chars check (char_length(url) between 1 and 2000),
    constraint webhook_endpoint_types check (cardinality(types) between 1 and 64),
    constraint webhook_endpoint_description_chars check (char_length(description) <= 200)
);

-- What deliveries to an endpoint are signed with. While a secret is rotated there are several.
create table webhook_secret (
    merchant_id  uuid        not null,
    endpoint_id  uuid        not null,
    secret_no    bigint      generated always as identity,
    -- of HMAC-SHA256 (v1), which the endpoint has too
    hmac_key     bytea       not null,
    -- of Ed25519 (v1a); the endpoint has the public key
    ed25519_seed bytea       not null,
    public_key   bytea       not null,
    created_at   timestamptz not null,
    -- null for the newest; the ones before are signed with until then
    expires_at   timestamptz,
    constraint webhook_secret_pkey primary key (merchant_id, endpoint_id, secret_no),
    constraint webhook_secret_endpoint foreign key (merchant_id, endpoint_id)
        references webhook_endpoint (merchant_id, endpoint_id),
    constraint webhook_secret_hmac_key check (octet_length(hmac_key) between 24 and 64),
    constraint webhook_secret_ed25519_seed check (octet_length(ed25519_seed) = 32),
    constraint webhook_secret_public_key check (octet_length(public_key) = 32)
);
create unique index webhook_secret_newest on webhook_secret (merchant_id, endpoint_id) where expires_at is null;

create table webhook_delivery (
    merchant_id uuid        not null,
    event_id    uuid        not null,
    endpoint_id uuid        not null,
    -- pending:   it is to be told, at next_at
    -- succeeded: it answered 2xx
    -- exhausted: it was told as often as is tried, and never answered 2xx
    -- dropped:   the endpoint was disabled or deleted before it could be told
    state       text        not null default 'pending',
    -- when it is tried, or tried again; while a worker has it, when that worker is given up
    next_at     timestamptz not null,
    -- counts the workers that took it: what comes from an earlier one changes nothing
    claims      integer     not null default 0,
    -- tries in all
    attempts    integer     not null default 0,
    -- tries since it was last asked for: the schedule counts these
    tried       integer     not null default 0,
    created_at  timestamptz not null,
    -- when it succeeded, was exhausted or dropped
    ended_at    timestamptz,
    constraint webhook_delivery_pkey primary key (merchant_id, endpoint_id, event_id),
    constraint webhook_delivery_state check (state in ('pending', 'succeeded', 'exhausted', 'dropped')),
    constraint webhook_delivery_ended check ((ended_at is null) = (state = 'pending')),
    constraint webhook_delivery_counts check (claims >= 0 and attempts >= tried and tried >= 0)
    -- taken and settled, both on the page
) with (fillfactor = 70);
create index webhook_delivery_due on webhook_delivery (merchant_id, endpoint_id, next_at) where state = 'pending';
create index webhook_delivery_event on webhook_delivery (merchant_id, event_id);
create index webhook_delivery_exhausted on webhook_delivery (ended_at) where state = 'exhausted';

-- Each try of a delivery.
create table webhook_attempt (
    merchant_id uuid        not null,
    endpoint_id uuid        not null,
    event_id    uuid        not null,
    attempt     integer     not null,
    -- milliseconds
    took_ms     integer     not null,
    -- the status that was answered
    status      smallint,
    -- why there was no answer, or none that counts
    error       text,
    -- the beginning of the answer
    response    text        not null default '',
    at          timestamptz not null,
    constraint webhook_attempt_pkey primary key (merchant_id, endpoint_id, event_id, attempt),
    constraint webhook_attempt_outcome check (status is not null or error is not null)
);

-- An id of now, a UUIDv7.
create function new_event_id(p_now timestamptz) returns uuid
language sql volatile
set search_path = public, pg_temp
as $$
    select overlay(overlay(replace(gen_random_uuid()::text, '-', '')
        placing lpad(to_hex(floor(extract(epoch from p_now) * 1000)::bigint), 12, '0') from 1 for 12)
        placing '7' from 13 for 1)::uuid;
$$;

-- An id as callers see it: the prefix and the number in Crockford's base 32, 26 digits.
create function public_id(p_prefix text, p_id uuid) returns text
language sql immutable strict parallel safe
as $$
    select p_prefix || string_agg(
        substr('0123456789abcdefghjkmnpqrstvwxyz',
               1 + substring(b'00' || ('x' || replace(p_id::text, '-', ''))::bit(128) from 5 * g + 1 for 5)::bit(5)::integer, 1),
        '' order by g)
    from generate_series(0, 25) g;
$$;

-- Whether a type is one of those that happen so often that they are written only where somebody wants them.
create function is_frequent_event(p_type text) returns boolean
language sql immutable parallel safe
return p_type = any (array['sale.recorded', 'batch.sealed', 'anchor.finalized', 'points.earned', 'points.redeemed',
    'points.given_back', 'points.clawed_back', 'points.adjusted', 'points.expired']);

-- Tells of something, in the transaction in which it happens: the event, and a delivery for each endpoint of
-- the merchant that wants its type. An id that is there already changes nothing. The event's id, or none where
-- nobody wants an event of a frequent type. p_event is null for a new id.
create function emit_event(p_merchant uuid, p_event uuid, p_type text, p_data jsonb, p_now timestamptz) returns uuid
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_wanted constant uuid[] := array(
        select e.endpoint_id from webhook_endpoint e
        where e.merchant_id = p_merchant and e.state = 'enabled' and e.types && array['*', p_type]);
    v_event constant uuid := coalesce(p_event, new_event_id(p_now));
begin
    if cardinality(v_wanted) = 0 and is_frequent_event(p_type) then
        return null;
    end if;
    insert into event (merchant_id, event_id, type, data, created_at)
    values (p_merchant, v_event, p_type, p_data, p_now)
    on conflict on constraint event_pkey do nothing;
    if found and cardinality(v_wanted) > 0 then
        insert into webhook_delivery (merchant_id, event_id, endpoint_id, next_at, created_at)
        select p_merchant, v_event, w, p_now, p_now from unnest(v_wanted) w;
    end if;
    return v_event;
end
$$;

revoke all on function emit_event, new_event_id, public_id, is_frequent_event from public;
grant execute on function emit_event to counterfoil_api, counterfoil_worker;

grant select on event, webhook_endpoint, webhook_delivery, webhook_attempt to counterfoil_api, counterfoil_worker;
-- the API shows the public key; the secret it has shown once, when it made it
grant select (merchant_id, endpoint_id, secret_no, public_key, created_at, expires_at)
    on webhook_secret to counterfoil_api;
-- whoever signs is given them with the delivery (claim_webhook_deliveries)
-- an address may hold a password, an event what only its merchant may know
revoke select on event, webhook_endpoint, webhook_secret, webhook_delivery, webhook_attempt from counterfoil_reader;
