-- Accounts: customers, and staff who sign in with a password or a wallet instead of a key. Who signs in
-- opens a session; access tokens name it, and work while it does.

create table account (
    merchant_id   uuid        not null,
    account_id    uuid        not null,
    -- customer: buys, in its own name
    -- pos, auditor, admin: what keys of these roles may do
    role          text        not null,
    -- as it was given; none of an account that has a wallet only
    email         text        collate "C",
    name          text        not null default '',
    -- Argon2id as a PHC string, which holds its parameters; none before an invitation is taken up, and of
    -- an account that has a wallet only
    password_hash text,
    -- the address of an Ethereum account that signs in for it
    wallet        bytea,
    created_at    timestamptz not null,
    closed_at     timestamptz,
    constraint account_pkey primary key (merchant_id, account_id),
    constraint account_merchant foreign key (merchant_id) references merchant (merchant_id),
    constraint account_role check (role in ('customer', 'pos', 'auditor', 'admin')),
    constraint account_email_length check (char_length(email) between 3 and 254),
    constraint account_name_length check (char_length(name) <= 200),
    constraint account_password_hash check (password_hash like '$argon2id$%'),
    constraint account_wallet_length check (octet_length(wallet) = 20),
    -- there is a way in
    constraint account_reachable check (email is not null or wallet is not null)
);

-- An address or a wallet is one account's, however it is written; a closed one gives it free.
create unique index account_email on account (merchant_id, lower(email)) where closed_at is null;
create unique index account_wallet on account (merchant_id, wallet) where closed_at is null;

create table session (
    merchant_id     uuid        not null,
    session_id      uuid        not null,
    account_id      uuid        not null,
    -- what it is narrowed to; null: all that the account's role may
    scopes          text[],
    -- SHA-256 of what all refresh tokens of the session begin with: who shows it had one of them
    family_hash     bytea       not null,
    -- SHA-256 of the rest of the one that is good now
    refresh_hash    bytea       not null,
    -- the same of the one before, with which it can be computed again by whoever holds that, for the
    -- moment in which an answer may have been lost
    previous_hash   bytea,
    refresh_nonce   bytea,
    refreshed_at    timestamptz,
    created_at      timestamptz not null,
    -- it ends then unless it is refreshed before
    expires_at      timestamptz not null,
    ended_at        timestamptz,
    -- logged_out: by itself, or with all others of the account
    -- reused: a refresh token came a second time, so two hold it
    -- password: the password was changed or reset
    -- closed: the account was
    ended_by        text,
    constraint session_pkey primary key (merchant_id, session_id),
    constraint session_account foreign key (merchant_id, account_id) references account (merchant_id, account_id),
    constraint session_scopes check (cardinality(scopes) > 0),
    constraint session_hashes check (octet_length(family_hash) = 32 and octet_length(refresh_hash) = 32
        and octet_length(previous_hash) = 32 and octet_length(refresh_nonce) = 32),
    constraint session_refreshed check (num_nonnulls(previous_hash, refresh_nonce, refreshed_at) in (0, 3)),
    constraint session_ended check ((ended_at is null) = (ended_by is null)
        and ended_by in ('logged_out', 'reused', 'password', 'closed'))
);

create index session_of_account on session (merchant_id, account_id) where ended_at is null;
-- for the purge
create index session_expiry on session (expires_at);

-- How often somebody may still try to sign in, each subject by itself. It is counted here, so that a
-- restart forgets nothing and all servers count together.
create table sign_in_attempt (
    merchant_id uuid        not null,
    -- SHA-256 of an e-mail address, whether an account has it or not, or of the caller's network address
    subject     bytea       not null,
    -- when all tries are to be had again (the generic cell rate algorithm's theoretical arrival time)
    full_at     timestamptz not null,
    constraint sign_in_attempt_pkey primary key (merchant_id, subject),
    constraint sign_in_attempt_merchant foreign key (merchant_id) references merchant (merchant_id),
    constraint sign_in_attempt_subject check (octet_length(subject) = 32)
);

create index sign_in_attempt_full on sign_in_attempt (full_at);

-- Takes one of p_burst tries, of which one comes back every p_every: null, or when there is one again.
-- It is taken before the password is looked at, so tries that come at once do not get past it.
create function take_sign_in_attempt(
    p_merchant uuid, p_subject bytea, p_every interval, p_burst integer, p_now timestamptz
) returns timestamptz
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_full timestamptz;
begin
    insert into sign_in_attempt as a (merchant_id, subject, full_at)
    values (p_merchant, p_subject, p_now + p_every)
    on conflict on constraint sign_in_attempt_pkey do update
    set full_at = greatest(a.full_at, p_now) + p_every
    where a.full_at <= p_now + p_every * (p_burst - 1);
    if found then
        return null;
    end if;
    select a.full_at into v_full from sign_in_attempt a
    where a.merchant_id = p_merchant and a.subject = p_subject;
    return v_full - p_every * (p_burst - 1);
end
$$;

-- Gives a try back that was no failure, or all of them.
create function give_sign_in_attempts_back(
    p_merchant uuid, p_subject bytea, p_every interval, p_all boolean
) returns void
language sql volatile security definer
set search_path = public, pg_temp
as $$
    update sign_in_attempt a
    set full_at = case when p_all then '-infinity' else a.full_at - p_every end
    where a.merchant_id = p_merchant and a.subject = p_subject;
$$;

-- A customer's account. Staff are invited by an administrator, and never come by this way.
create function register_customer(
    p_merchant uuid, p_account uuid, p_email text, p_name text, p_password_hash text, p_wallet bytea,
    p_now timestamptz
) returns void
language sql volatile security definer
set search_path = public, pg_temp
as $$
    insert into account (merchant_id, account_id, role, email, name, password_hash, wallet, created_at)
    values (p_merchant, p_account, 'customer', p_email, p_name, p_password_hash, p_wallet, p_now);
$$;

revoke all on function take_sign_in_attempt, give_sign_in_attempts_back, register_customer from public;
grant execute on function take_sign_in_attempt, give_sign_in_attempts_back, register_customer
    to counterfoil_api;
-- of an account the API may change how its holder signs in, never its role
grant select, update (name, password_hash, wallet) on account to counterfoil_api;
grant select, insert,
    update (refresh_hash, previous_hash, refresh_nonce, refreshed_at, expires_at, ended_at, ended_by)
    on session to counterfoil_api;
-- addresses, names, wallets and hashes are nobody's business who audits or seals sales: neither the reader
-- nor the worker is given anything here

-- What a key is narrowed to; null: all that its role may.
alter table api_key add column scopes text[];
alter table api_key add constraint api_key_scopes check (cardinality(scopes) > 0);
