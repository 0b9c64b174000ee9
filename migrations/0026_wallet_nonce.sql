-- Nonces of sign-in messages (EIP-4361): each was given out here, and signs in once within its time.

create table wallet_nonce (
    merchant_id uuid        not null,
    nonce       text        collate "C" not null,
    created_at  timestamptz not null,
    expires_at  timestamptz not null,
    used_at     timestamptz,
    constraint wallet_nonce_pkey primary key (merchant_id, nonce),
    constraint wallet_nonce_merchant foreign key (merchant_id) references merchant (merchant_id),
    -- EIP-4361 asks for eight or more of these
    constraint wallet_nonce_form check (nonce ~ '^[0-9a-zA-Z]{8,64}$')
);

create index wallet_nonce_expiry on wallet_nonce (expires_at);

grant select, insert, update (used_at) on wallet_nonce to counterfoil_api;

-- Throws away what is over, p_rows of each kind at most; the most that there were of one.
create function purge_accounts(p_now timestamptz, p_rows bigint) returns bigint
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_rows bigint;
    v_most bigint := 0;
begin
    delete from sign_in_attempt where ctid = any (array(
        select ctid from sign_in_attempt where full_at < p_now order by full_at limit p_rows for update skip locked));
    get diagnostics v_rows = row_count;
    v_most := greatest(v_most, v_rows);
    -- one that has ended stays until it would have expired: its tokens are known as long
    delete from session where ctid = any (array(
        select ctid from session where expires_at < p_now order by expires_at limit p_rows for update skip locked));
    get diagnostics v_rows = row_count;
    v_most := greatest(v_most, v_rows);
    delete from account_token where ctid = any (array(
        select ctid from account_token where expires_at < p_now order by expires_at limit p_rows for update skip locked));
    get diagnostics v_rows = row_count;
    v_most := greatest(v_most, v_rows);
    delete from wallet_nonce where ctid = any (array(
        select ctid from wallet_nonce where expires_at < p_now order by expires_at limit p_rows for update skip locked));
    get diagnostics v_rows = row_count;
    return greatest(v_most, v_rows);
end
$$;

revoke all on function purge_accounts from public;
grant execute on function purge_accounts to counterfoil_worker;
