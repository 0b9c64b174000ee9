-- What is sent to accounts by mail, and the tokens that mails carry; and staff, whom administrators invite.

-- Mails to send. A row says what is to be sent and not a word of it: the token is made when it is sent, so
-- that no token is ever stored. That somebody forgot a password is written down before it is known whether
-- anybody has that address, so both take the same time.
create table account_mail (
    merchant_id uuid        not null,
    mail_id     uuid        not null,
    -- reset: the account with this address, if there is one, may set a new password
    -- invitation: the same, of an account that never had one
    kind        text        not null,
    email       text        collate "C" not null,
    created_at  timestamptz not null,
    -- when it is tried next; whoever sends it moves it on first
    next_try_at timestamptz not null,
    tries       integer     not null default 0,
    constraint account_mail_pkey primary key (merchant_id, mail_id),
    constraint account_mail_merchant foreign key (merchant_id) references merchant (merchant_id),
    constraint account_mail_kind check (kind in ('reset', 'invitation')),
    constraint account_mail_email_length check (char_length(email) between 3 and 254)
);

create index account_mail_next on account_mail (next_try_at);

-- Tokens that set a password, by a mail.
create table account_token (
    merchant_id uuid        not null,
    token_id    uuid        not null,
    account_id  uuid        not null,
    -- SHA-256 of the secret part
    secret_hash bytea       not null,
    created_at  timestamptz not null,
    expires_at  timestamptz not null,
    -- when it set a password, or another of the account did
    used_at     timestamptz,
    constraint account_token_pkey primary key (merchant_id, token_id),
    constraint account_token_account foreign key (merchant_id, account_id)
        references account (merchant_id, account_id),
    constraint account_token_secret_hash check (octet_length(secret_hash) = 32)
);

create index account_token_of_account on account_token (merchant_id, account_id) where used_at is null;
create index account_token_expiry on account_token (expires_at);

-- The next mail whose time has come, with whom it is for: no account where nobody has the address. It is
-- this caller's until p_again.
create function take_account_mail(p_now timestamptz, p_again timestamptz)
returns table (
    merchant_id uuid, mail_id uuid, kind text, email text, created_at timestamptz, tries integer,
    account_id uuid, name text, legal_name text
)
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with due as (
        select m.merchant_id, m.mail_id from account_mail m
        where m.next_try_at <= p_now order by m.next_try_at limit 1 for update skip locked
    ), taken as (
        update account_mail m set next_try_at = p_again, tries = m.tries + 1
        from due where m.merchant_id = due.merchant_id and m.mail_id = due.mail_id
        returning m.*)
    select t.merchant_id, t.mail_id, t.kind, t.email, t.created_at, t.tries, a.account_id, a.name, s.legal_name
    from taken t
    join merchant s on s.merchant_id = t.merchant_id
    left join account a on a.merchant_id = t.merchant_id and lower(a.email) = lower(t.email)
        and a.closed_at is null;
end
$$;

-- Keeps a token that is about to be sent, while its account is open.
create function keep_account_token(
    p_merchant uuid, p_account uuid, p_token uuid, p_secret_hash bytea, p_now timestamptz,
    p_expires_at timestamptz
) returns void
language sql volatile security definer
set search_path = public, pg_temp
as $$
    insert into account_token (merchant_id, token_id, account_id, secret_hash, created_at, expires_at)
    select a.merchant_id, p_token, a.account_id, p_secret_hash, p_now, p_expires_at from account a
    where a.merchant_id = p_merchant and a.account_id = p_account and a.closed_at is null;
$$;

-- Sets the password of a token's account, once: all other tokens of the account go with it, and all of its
-- sessions end. Null where the token is not good now, else the account.
create function redeem_account_token(
    p_merchant uuid, p_token uuid, p_secret_hash bytea, p_password_hash text, p_now timestamptz
) returns uuid
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_account uuid;
begin
    select t.account_id into v_account from account_token t
    where t.merchant_id = p_merchant and t.token_id = p_token;
    -- the account first, as everything that changes one
    perform from account a
    where a.merchant_id = p_merchant and a.account_id = v_account and a.closed_at is null
    for no key update;
    if not found then
        return null;
    end if;
    update account_token t set used_at = p_now
    where t.merchant_id = p_merchant and t.token_id = p_token and t.secret_hash = p_secret_hash
      and t.used_at is null and t.expires_at > p_now;
    if not found then
        return null;
    end if;
    perform set_account_password(p_merchant, v_account, p_password_hash, null, p_now);
    -- whoever had the old password may have linked a wallet of theirs, which would let them in again
    update account a set wallet = null where a.merchant_id = p_merchant and a.account_id = v_account;
    return v_account;
end
$$;

-- Sets a password, and ends what was opened with the one before: sessions, but for p_but, and tokens.
create function set_account_password(
    p_merchant uuid, p_account uuid, p_password_hash text, p_but uuid, p_now timestamptz
) returns void
language sql volatile
set search_path = public, pg_temp
as $$
    update account a set password_hash = p_password_hash
    where a.merchant_id = p_merchant and a.account_id = p_account;
    update account_token t set used_at = p_now
    where t.merchant_id = p_merchant and t.account_id = p_account and t.used_at is null;
    update session s set ended_at = p_now, ended_by = 'password'
    where s.merchant_id = p_merchant and s.account_id = p_account and s.ended_at is null
      and s.session_id is distinct from p_but;
$$;

-- Changes a password that is still p_from; whether it was.
create function change_account_password(
    p_merchant uuid, p_account uuid, p_from text, p_to text, p_but uuid, p_now timestamptz
) returns boolean
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    perform from account a
    where a.merchant_id = p_merchant and a.account_id = p_account and a.closed_at is null
      and a.password_hash = p_from
    for no key update;
    if not found then
        return false;
    end if;
    perform set_account_password(p_merchant, p_account, p_to, p_but, p_now);
    return true;
end
$$;

-- Locks the administrators that work and have p_scope, keys and accounts, so that what only they may change
-- changes one after the other; whether p_by is among them, with p_session alive where it is an account.
create function lock_admins(
    p_merchant uuid, p_by uuid, p_session uuid, p_scope text, p_now timestamptz
) returns boolean
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_key     boolean;
    v_account boolean;
begin
    with admin as (
        select k.key_id from api_key k
        where k.merchant_id = p_merchant and k.role = 'admin' and k.revoked_at is null
          and (k.expires_at is null or k.expires_at > p_now)
          and (k.scopes is null or p_scope = any (k.scopes))
        order by k.key_id for update)
    select coalesce(bool_or(key_id = p_by), false) into v_key from admin;
    with admin as (
        select a.account_id from account a
        where a.merchant_id = p_merchant and a.role = 'admin' and a.closed_at is null
          and (a.password_hash is not null or a.wallet is not null)
        order by a.account_id for no key update)
    select coalesce(bool_or(account_id = p_by), false) into v_account from admin;
    return v_key or v_account and exists (
        select from session s
        where s.merchant_id = p_merchant and s.session_id = p_session and s.account_id = p_by
          and s.ended_at is null and s.expires_at > p_now
          and (s.scopes is null or p_scope = any (s.scopes)));
end
$$;

-- Whether an administrator beside p_but works who may do all.
create function has_other_admin(p_merchant uuid, p_but uuid, p_now timestamptz) returns boolean
language sql stable
set search_path = public, pg_temp
as $$
    select exists (
        select from api_key k
        where k.merchant_id = p_merchant and k.role = 'admin' and k.key_id <> p_but and k.revoked_at is null
          and (k.expires_at is null or k.expires_at > p_now) and k.scopes is null)
    or exists (
        select from account a
        where a.merchant_id = p_merchant and a.role = 'admin' and a.account_id <> p_but
          and a.closed_at is null and (a.password_hash is not null or a.wallet is not null));
$$;

-- As issue_api_key, for administrators' accounts too (p_session), and for keys that are narrowed.
-- issued; not_admin; too_many: p_most keys work already; scopes_exceed: who is narrowed gives no more than
-- it has
create function issue_api_key_2(
    p_merchant    uuid,
    p_by          uuid,
    p_session     uuid,
    p_key         uuid,
    p_role        text,
    p_scopes      text[],
    p_secret_hash bytea,
    p_label       text,
    p_expires_at  timestamptz,
    p_now         timestamptz,
    p_most        bigint
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    if not lock_admins(p_merchant, p_by, p_session, 'keys:manage', p_now) then
        return 'not_admin';
    end if;
    if exists (
        select from api_key k
        where k.merchant_id = p_merchant and k.key_id = p_by and not coalesce(p_scopes <@ k.scopes, k.scopes is null)
        union all
        select from session s
        where s.merchant_id = p_merchant and s.session_id = p_session
          and not coalesce(p_scopes <@ s.scopes, s.scopes is null)) then
        return 'scopes_exceed';
    end if;
    if (select count(*) from api_key k
        where k.merchant_id = p_merchant and k.revoked_at is null
          and (k.expires_at is null or k.expires_at > p_now)) >= p_most then
        return 'too_many';
    end if;
    insert into api_key (merchant_id, key_id, role, scopes, secret_hash, label, created_at, expires_at)
    values (p_merchant, p_key, p_role, p_scopes, p_secret_hash, p_label, p_now, p_expires_at);
    return 'issued';
end
$$;

-- As revoke_api_key, for administrators' accounts too.
-- revoked, now or before; not_admin; unknown; last_admin: nobody who may do all would be left
create function revoke_api_key_2(
    p_merchant uuid, p_by uuid, p_session uuid, p_key uuid, p_now timestamptz
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    k api_key;
begin
    if not lock_admins(p_merchant, p_by, p_session, 'keys:manage', p_now) then
        return 'not_admin';
    end if;
    select * into k from api_key a where a.merchant_id = p_merchant and a.key_id = p_key for update;
    if not found then
        return 'unknown';
    end if;
    if k.revoked_at is not null then
        return 'revoked';
    end if;
    if k.role = 'admin' and k.scopes is null and not has_other_admin(p_merchant, p_key, p_now) then
        return 'last_admin';
    end if;
    update api_key a set revoked_at = p_now where a.merchant_id = p_merchant and a.key_id = p_key;
    return 'revoked';
end
$$;

-- An account for somebody of the staff, and the mail that invites them.
-- invited; not_admin; narrowed: whoever is narrowed to some scopes makes nobody who is not
create function invite_account(
    p_merchant uuid, p_by uuid, p_session uuid, p_account uuid, p_role text, p_email text, p_name text,
    p_mail uuid, p_now timestamptz
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    if not lock_admins(p_merchant, p_by, p_session, 'accounts:manage', p_now) then
        return 'not_admin';
    end if;
    if exists (
        select from api_key k
        where k.merchant_id = p_merchant and k.key_id = p_by and k.scopes is not null
        union all
        select from session s
        where s.merchant_id = p_merchant and s.session_id = p_session and s.scopes is not null) then
        return 'narrowed';
    end if;
    insert into account (merchant_id, account_id, role, email, name, created_at)
    values (p_merchant, p_account, p_role, p_email, p_name, p_now);
    insert into account_mail (merchant_id, mail_id, kind, email, created_at, next_try_at)
    values (p_merchant, p_mail, 'invitation', p_email, p_now, p_now);
    return 'invited';
end
$$;

-- Closes an account and ends its sessions.
-- closed, now or before; not_admin; unknown; last_admin: nobody who may do all would be left
create function close_account(
    p_merchant uuid, p_by uuid, p_session uuid, p_account uuid, p_now timestamptz
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    a account;
begin
    if not lock_admins(p_merchant, p_by, p_session, 'accounts:manage', p_now) then
        return 'not_admin';
    end if;
    select * into a from account c where c.merchant_id = p_merchant and c.account_id = p_account for no key update;
    if not found then
        return 'unknown';
    end if;
    if a.closed_at is not null then
        return 'closed';
    end if;
    if a.role = 'admin' and not has_other_admin(p_merchant, p_account, p_now) then
        return 'last_admin';
    end if;
    update account c set closed_at = p_now where c.merchant_id = p_merchant and c.account_id = p_account;
    update account_token t set used_at = p_now
    where t.merchant_id = p_merchant and t.account_id = p_account and t.used_at is null;
    update session s set ended_at = p_now, ended_by = 'closed'
    where s.merchant_id = p_merchant and s.account_id = p_account and s.ended_at is null;
    return 'closed';
end
$$;

revoke all on function take_account_mail, keep_account_token, redeem_account_token, set_account_password,
    change_account_password, lock_admins, has_other_admin, issue_api_key_2, revoke_api_key_2, invite_account,
    close_account from public;
grant execute on function redeem_account_token, change_account_password, issue_api_key_2, revoke_api_key_2,
    invite_account, close_account to counterfoil_api;
grant execute on function take_account_mail, keep_account_token to counterfoil_worker;
grant select on account_token to counterfoil_api;
grant insert on account_mail to counterfoil_api;
grant select (merchant_id, mail_id), update (next_try_at), delete on account_mail to counterfoil_worker;
