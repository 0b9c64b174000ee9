-- Commands that move money, points or stock and are no sale: each Idempotency-Key with the answer that it
-- was given, written in the transaction of what the command did. A sale needs none of this: it is its own
-- answer (idempotency_key).

create table command_key (
    merchant_id uuid        not null,
    -- the account that sent it, so that one customer's keys are nothing to another's; the merchant, where it came
    -- with an API key, as one of those may replace another
    owner_id    uuid        not null,
    key         text        collate "C" not null,
    -- SHA-256 of the command
    fingerprint bytea       not null,
    -- the answer, byte for byte
    status      smallint    not null,
    location    text,
    body        text        not null,
    created_at  timestamptz not null,
    constraint command_key_pkey primary key (merchant_id, owner_id, key),
    constraint command_key_fingerprint check (octet_length(fingerprint) = 32),
    constraint command_key_status check (status between 200 and 499)
);

-- The answer that a key was given; no row where it is new. The key is held until the transaction ends, so
-- a second request with it waits here for the first, two seconds at most (lock_not_available).
create function claim_command(p_merchant uuid, p_owner uuid, p_key text)
returns table (fingerprint bytea, status smallint, location text, body text)
language plpgsql volatile
set search_path = public, pg_temp
set lock_timeout = '2s'
as $$
begin
    -- two keys with one hash wait for one another, and no more
    perform pg_advisory_xact_lock(hashtextextended(p_owner::text || p_key, hashtextextended(p_merchant::text, 0)));
    return query
    select c.fingerprint, c.status, c.location, c.body from command_key c
    where c.merchant_id = p_merchant and c.owner_id = p_owner and c.key = p_key;
end
$$;

revoke all on function claim_command from public;
grant execute on function claim_command to counterfoil_api;
grant select, insert on command_key to counterfoil_api;
-- an answer may hold what only its caller may know
revoke select on command_key from counterfoil_reader, counterfoil_worker;
