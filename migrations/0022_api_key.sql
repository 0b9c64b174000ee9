-- A merchant's own administrators issue and revoke its API keys. The API's role writes through these two
-- functions alone, and what they allow is decided here, by the key that asks as it stands now: a verdict
-- that a server remembers for some seconds issues nothing.
--
-- p_now is the server's time, by which it judges expiry too.

-- the administrators' keys that work, locked, so that a merchant's keys change one after the other;
-- whether p_by is among them
create function lock_api_key_admins(p_merchant uuid, p_by uuid, p_now timestamptz) returns boolean
language sql volatile
set search_path = public, pg_temp
as $$
    with admin as (
        select k.key_id from api_key k
        where k.merchant_id = p_merchant and k.role = 'admin' and k.revoked_at is null
          and (k.expires_at is null or k.expires_at > p_now)
        order by k.key_id for update)
    select coalesce(bool_or(key_id = p_by), false) from admin;
$$;

-- issued; not_admin; too_many: p_most keys work already
create function issue_api_key(
    p_merchant    uuid,
    p_by          uuid,
    p_key         uuid,
    p_role        text,
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
    if not lock_api_key_admins(p_merchant, p_by, p_now) then
        return 'not_admin';
    end if;
    if (select count(*) from api_key k
        where k.merchant_id = p_merchant and k.revoked_at is null
          and (k.expires_at is null or k.expires_at > p_now)) >= p_most then
        return 'too_many';
    end if;
    insert into api_key (merchant_id, key_id, role, secret_hash, label, created_at, expires_at)
    values (p_merchant, p_key, p_role, p_secret_hash, p_label, p_now, p_expires_at);
    return 'issued';
end
$$;

-- revoked, now or before; not_admin; unknown; last_admin: nobody could issue a key any more
create function revoke_api_key(p_merchant uuid, p_by uuid, p_key uuid, p_now timestamptz) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    k api_key;
begin
    if not lock_api_key_admins(p_merchant, p_by, p_now) then
        return 'not_admin';
    end if;
    select * into k from api_key a where a.merchant_id = p_merchant and a.key_id = p_key for update;
    if not found then
        return 'unknown';
    end if;
    if k.revoked_at is not null then
        return 'revoked';
    end if;
    -- the key that asks is an administrator's, so only itself can be the last
    if k.key_id = p_by and not exists (
        select from api_key a
        where a.merchant_id = p_merchant and a.role = 'admin' and a.key_id <> p_by and a.revoked_at is null
          and (a.expires_at is null or a.expires_at > p_now)) then
        return 'last_admin';
    end if;
    update api_key a set revoked_at = p_now where a.merchant_id = p_merchant and a.key_id = p_key;
    return 'revoked';
end
$$;

revoke all on function lock_api_key_admins, issue_api_key, revoke_api_key from public;
grant execute on function issue_api_key, revoke_api_key to counterfoil_api;
