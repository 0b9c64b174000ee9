-- What an administrator does with endpoints, and what the API's role may do to their rows: these functions.

-- created; too_many: the merchant has p_most already
create function create_webhook_endpoint(
    p_merchant    uuid,
    p_endpoint    uuid,
    p_url         text,
    p_types       text[],
    p_description text,
    p_hmac_key    bytea,
    p_seed        bytea,
    p_public_key  bytea,
    p_now         timestamptz,
    p_most        bigint
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    -- one at a time of a merchant, so that their count holds
    perform pg_advisory_xact_lock(hashtextextended(p_merchant::text, hashtextextended('webhook_endpoint', 0)));
    if (select count(*) from webhook_endpoint e where e.merchant_id = p_merchant and e.state <> 'deleted') >= p_most then
        return 'too_many';
    end if;
    insert into webhook_endpoint (merchant_id, endpoint_id, url, types, description, created_at, updated_at)
    values (p_merchant, p_endpoint, p_url, p_types, p_description, p_now, p_now);
    insert into webhook_secret (merchant_id, endpoint_id, hmac_key, ed25519_seed, public_key, created_at)
    values (p_merchant, p_endpoint, p_hmac_key, p_seed, p_public_key, p_now);
    return 'created';
end
$$;

-- What waits for an endpoint that is told no more is dropped.
create function drop_webhook_deliveries(p_merchant uuid, p_endpoint uuid, p_now timestamptz) returns void
language sql volatile
set search_path = public, pg_temp
as $$
    update webhook_delivery d set state = 'dropped', ended_at = p_now
    where d.merchant_id = p_merchant and d.endpoint_id = p_endpoint and d.state = 'pending';
$$;

-- Changes an endpoint that is still at version p_expected; whether it was.
create function change_webhook_endpoint(
    p_merchant    uuid,
    p_endpoint    uuid,
    p_expected    bigint,
    p_url         text,
    p_types       text[],
    p_description text,
    p_enabled     boolean,
    p_now         timestamptz
) returns boolean
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    update webhook_endpoint e
    set url = p_url, types = p_types, description = p_description,
        -- what disabled itself stays so, with its reason, until somebody enables it
        state = case when p_enabled then 'enabled' when e.state = 'enabled' then 'disabled' else e.state end,
        failing_since = case when p_enabled and e.state <> 'enabled' then null else e.failing_since end,
        version = e.version + 1, updated_at = p_now
    where e.merchant_id = p_merchant and e.endpoint_id = p_endpoint and e.version = p_expected
      and e.state <> 'deleted';
    if not found then
        return false;
    end if;
    if not p_enabled then
        perform drop_webhook_deliveries(p_merchant, p_endpoint, p_now);
    end if;
    return true;
end
$$;

-- Deletes an endpoint and its secrets; whether it was there. Its row and what it was told of stay.
create function delete_webhook_endpoint(p_merchant uuid, p_endpoint uuid, p_now timestamptz) returns boolean
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    update webhook_endpoint e set state = 'deleted', version = e.version + 1, updated_at = p_now
    where e.merchant_id = p_merchant and e.endpoint_id = p_endpoint and e.state <> 'deleted';
    if not found then
        return false;
    end if;
    delete from webhook_secret s where s.merchant_id = p_merchant and s.endpoint_id = p_endpoint;
    perform drop_webhook_deliveries(p_merchant, p_endpoint, p_now);
    return true;
end
$$;

-- Another secret for an endpoint; the ones before are signed with until p_until. rotated; unknown; too_many:
-- p_most secrets are signed with already.
create function rotate_webhook_secret(
    p_merchant   uuid,
    p_endpoint   uuid,
    p_hmac_key   bytea,
    p_seed       bytea,
    p_public_key bytea,
    p_until      timestamptz,
    p_now        timestamptz,
    p_most       bigint
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    perform from webhook_endpoint e
    where e.merchant_id = p_merchant and e.endpoint_id = p_endpoint and e.state <> 'deleted' for update;
    if not found then
        return 'unknown';
    end if;
    delete from webhook_secret s
    where s.merchant_id = p_merchant and s.endpoint_id = p_endpoint and s.expires_at <= p_now;
    if (select count(*) from webhook_secret s where s.merchant_id = p_merchant and s.endpoint_id = p_endpoint) >= p_most then
        return 'too_many';
    end if;
    update webhook_secret s set expires_at = p_until
    where s.merchant_id = p_merchant and s.endpoint_id = p_endpoint and s.expires_at is null;
    insert into webhook_secret (merchant_id, endpoint_id, hmac_key, ed25519_seed, public_key, created_at)
    values (p_merchant, p_endpoint, p_hmac_key, p_seed, p_public_key, p_now);
    return 'rotated';
end
$$;

-- Has an event told to an endpoint again, or for the first time, from the start of the schedule. replayed;
-- no_event; no_endpoint; not_enabled.
create function replay_event(p_merchant uuid, p_event uuid, p_endpoint uuid, p_now timestamptz) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_state text;
begin
    perform from event v where v.merchant_id = p_merchant and v.event_id = p_event for key share;
    if not found then
        return 'no_event';
    end if;
    -- nobody disables it meanwhile
    select e.state into v_state from webhook_endpoint e
    where e.merchant_id = p_merchant and e.endpoint_id = p_endpoint and e.state <> 'deleted' for share;
    if not found then
        return 'no_endpoint';
    end if;
    if v_state <> 'enabled' then
        return 'not_enabled';
    end if;
    insert into webhook_delivery as d (merchant_id, event_id, endpoint_id, next_at, created_at)
    values (p_merchant, p_event, p_endpoint, p_now, p_now)
    on conflict on constraint webhook_delivery_pkey do update
    set state = 'pending', next_at = p_now, claims = d.claims + 1, tried = 0, ended_at = null;
    return 'replayed';
end
$$;

-- A ping for one endpoint, whatever types it wants: its event's id. None where it cannot be told.
create function ping_webhook_endpoint(p_merchant uuid, p_endpoint uuid, p_now timestamptz) returns uuid
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_event constant uuid := new_event_id(p_now);
begin
    perform from webhook_endpoint e
    where e.merchant_id = p_merchant and e.endpoint_id = p_endpoint and e.state = 'enabled' for share;
    if not found then
        return null;
    end if;
    insert into event (merchant_id, event_id, type, data, created_at)
    values (p_merchant, v_event, 'ping', jsonb_build_object('endpoint_id', public_id('we_', p_endpoint)), p_now);
    insert into webhook_delivery (merchant_id, event_id, endpoint_id, next_at, created_at)
    values (p_merchant, v_event, p_endpoint, p_now, p_now);
    return v_event;
end
$$;

revoke all on function create_webhook_endpoint, drop_webhook_deliveries, change_webhook_endpoint,
    delete_webhook_endpoint, rotate_webhook_secret, replay_event, ping_webhook_endpoint from public;
grant execute on function create_webhook_endpoint, change_webhook_endpoint, delete_webhook_endpoint,
    rotate_webhook_secret, replay_event, ping_webhook_endpoint to counterfoil_api;
-- How deliveries are made: a worker takes some, which is committed, tells their endpoints, and settles each. No
-- lock is held while it tells. What it took and did not settle, because it was killed, is due again at p_until.
--
-- Locks are taken in one order everywhere: an endpoint, then its deliveries.

-- Takes deliveries that are due, p_most at the most and p_each of one endpoint (of one that is failing, one),
-- less those that the worker has in hand: p_busy names the endpoints of these, one entry each. So neither an
-- endpoint that is slow nor one with much to be told keeps the others waiting.
create function claim_webhook_deliveries(
    p_now   timestamptz,
    p_until timestamptz,
    p_most  bigint,
    p_each  bigint,
    p_busy  uuid[]
) returns table (
    merchant_id uuid,
    endpoint_id uuid,
    event_id    uuid,
    claim       integer,
    tried       integer,
    url         text,
    type        text,
    data        text,
    created_at  timestamptz,
    -- the newest first
    hmac_keys   bytea[],
    seeds       bytea[]
)
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    v_left  bigint := p_most;
    v_taken bigint;
    e       record;
begin
    for e in
        -- the endpoints that something waits for, each found by one look into the index
        with recursive waiting as (
            (select d.merchant_id, d.endpoint_id from webhook_delivery d where d.state = 'pending'
             order by d.merchant_id, d.endpoint_id limit 1)
            union all
            select n.merchant_id, n.endpoint_id from waiting w
            cross join lateral (
                select d.merchant_id, d.endpoint_id from webhook_delivery d
                where d.state = 'pending' and (d.merchant_id, d.endpoint_id) > (w.merchant_id, w.endpoint_id)
                order by d.merchant_id, d.endpoint_id limit 1) n
        )
        select p.merchant_id, p.endpoint_id, p.url, r.room
        from waiting w
        join webhook_endpoint p on p.merchant_id = w.merchant_id and p.endpoint_id = w.endpoint_id
        cross join lateral (
            select case when p.failing_since is null then p_each else 1 end
                   - (select count(*) from unnest(p_busy) b where b = p.endpoint_id) as room) r
        cross join lateral (
            select min(d.next_at) as next_at from webhook_delivery d
            where d.merchant_id = p.merchant_id and d.endpoint_id = p.endpoint_id and d.state = 'pending') f
        where p.state = 'enabled' and r.room > 0 and f.next_at <= p_now
        order by f.next_at
    loop
        exit when v_left <= 0;
        return query
        with due as (
            select d.event_id from webhook_delivery d
            where d.merchant_id = e.merchant_id and d.endpoint_id = e.endpoint_id and d.state = 'pending'
              and d.next_at <= p_now
            order by d.next_at limit least(e.room, v_left) for update skip locked
        ), taken as (
            update webhook_delivery d set claims = d.claims + 1, next_at = p_until
            from due where d.merchant_id = e.merchant_id and d.endpoint_id = e.endpoint_id and d.event_id = due.event_id
            returning d.event_id, d.claims, d.tried
        )
        select e.merchant_id, e.endpoint_id, t.event_id, t.claims, t.tried, e.url, v.type, v.data::text, v.created_at,
               k.hmac_keys, k.seeds
        from taken t
        join event v on v.merchant_id = e.merchant_id and v.event_id = t.event_id
        cross join (
            select array_agg(s.hmac_key order by s.secret_no desc) as hmac_keys,
                   array_agg(s.ed25519_seed order by s.secret_no desc) as seeds
            from webhook_secret s
            where s.merchant_id = e.merchant_id and s.endpoint_id = e.endpoint_id
              and (s.expires_at is null or s.expires_at > p_now)) k;
        get diagnostics v_taken = row_count;
        v_left := v_left - v_taken;
    end loop;
end
$$;

-- Ends an endpoint that disabled itself, drops what waits for it and tells of it; not what is not enabled. Its
-- row is locked.
create function disable_webhook_endpoint(p_merchant uuid, p_endpoint uuid, p_state text, p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_url text;
begin
    update webhook_endpoint e set state = p_state, version = e.version + 1, updated_at = p_now
    where e.merchant_id = p_merchant and e.endpoint_id = p_endpoint and e.state = 'enabled'
    returning e.url into v_url;
    if not found then
        return;
    end if;
    perform drop_webhook_deliveries(p_merchant, p_endpoint, p_now);
    perform emit_event(p_merchant, null, 'webhook_endpoint.disabled',
        jsonb_build_object('id', public_id('we_', p_endpoint), 'url', v_url, 'reason', p_state), p_now);
end
$$;

-- Writes down what became of a try. What another worker has taken since, or was dropped, stays as it is.
--
-- p_outcome  succeeded; failed: again at p_next, and where that is null no more; gone: the endpoint wants no more
-- p_patience how long every delivery may fail until the endpoint is disabled
-- The delivery's new state; none where it was not this worker's any more.
create function settle_webhook_delivery(
    p_merchant uuid,
    p_endpoint uuid,
    p_event    uuid,
    p_claim    integer,
    p_outcome  text,
    p_next     timestamptz,
    p_patience interval,
    p_status   smallint,
    p_error    text,
    p_response text,
    p_took_ms  integer,
    p_now      timestamptz
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    e         webhook_endpoint;
    v_state   text;
    v_attempt integer;
begin
    select * into e from webhook_endpoint p where p.merchant_id = p_merchant and p.endpoint_id = p_endpoint;
    -- most tries change nothing of their endpoint, and do not wait for one another
    if p_outcome = 'gone' or (p_outcome = 'succeeded') <> (e.failing_since is null)
       or e.failing_since <= p_now - p_patience then
        select * into e from webhook_endpoint p
        where p.merchant_id = p_merchant and p.endpoint_id = p_endpoint for no key update;
    end if;
    update webhook_delivery d
    set state = case when p_outcome = 'succeeded' then 'succeeded' when p_next is null then 'exhausted' else 'pending' end,
        ended_at = case when p_outcome = 'succeeded' or p_next is null then p_now end,
        next_at = coalesce(p_next, d.next_at), attempts = d.attempts + 1, tried = d.tried + 1
    where d.merchant_id = p_merchant and d.endpoint_id = p_endpoint and d.event_id = p_event
      and d.claims = p_claim and d.state = 'pending'
    returning d.state, d.attempts into v_state, v_attempt;
    if not found then
        return null;
    end if;
    insert into webhook_attempt (merchant_id, endpoint_id, event_id, attempt, took_ms, status, error, response, at)
    values (p_merchant, p_endpoint, p_event, v_attempt, p_took_ms, p_status, p_error, p_response, p_now);
    if p_outcome = 'succeeded' then
        update webhook_endpoint p set failing_since = null
        where p.merchant_id = p_merchant and p.endpoint_id = p_endpoint and p.failing_since is not null
          and e.failing_since is not null;
    elsif p_outcome = 'gone' then
        perform disable_webhook_endpoint(p_merchant, p_endpoint, 'gone', p_now);
    elsif e.failing_since is null then
        update webhook_endpoint p set failing_since = p_now
        where p.merchant_id = p_merchant and p.endpoint_id = p_endpoint and p.failing_since is null;
    elsif e.failing_since <= p_now - p_patience then
        perform disable_webhook_endpoint(p_merchant, p_endpoint, 'failing', p_now);
    end if;
    return v_state;
end
$$;

-- Drops what was written for an endpoint while it was being disabled: how many.
create function drop_stray_deliveries(p_now timestamptz) returns bigint
language sql volatile security definer
set search_path = public, pg_temp
as $$
    with stray as (
        select d.merchant_id, d.endpoint_id, d.event_id from webhook_endpoint e
        join webhook_delivery d on d.merchant_id = e.merchant_id and d.endpoint_id = e.endpoint_id and d.state = 'pending'
        where e.state <> 'enabled'
        for update of d skip locked
    ), dropped as (
        update webhook_delivery d set state = 'dropped', ended_at = p_now
        from stray s
        where d.merchant_id = s.merchant_id and d.endpoint_id = s.endpoint_id and d.event_id = s.event_id
        returning 1
    )
    select count(*) from dropped;
$$;

-- Throws away events from before p_before, p_most at a time, with all that became of them; none that is still to
-- be told. How many.
create function purge_events(p_before timestamptz, p_most bigint) returns bigint
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_purged bigint;
begin
    with old as (
        select v.merchant_id, v.event_id from event v
        where v.created_at < p_before and not exists (
            select from webhook_delivery d
            where d.merchant_id = v.merchant_id and d.event_id = v.event_id and d.state = 'pending')
        order by v.created_at limit p_most for update skip locked
    ), deliveries as (
        delete from webhook_delivery d using old o
        where d.merchant_id = o.merchant_id and d.event_id = o.event_id
        returning d.merchant_id, d.endpoint_id, d.event_id
    ), attempts as (
        delete from webhook_attempt a using deliveries d
        where a.merchant_id = d.merchant_id and a.endpoint_id = d.endpoint_id and a.event_id = d.event_id
    ), events as (
        delete from event v using old o where v.merchant_id = o.merchant_id and v.event_id = o.event_id returning 1
    )
    select count(*) into v_purged from events;
    delete from webhook_endpoint e
    where e.state = 'deleted' and e.updated_at < p_before and not exists (
        select from webhook_delivery d where d.merchant_id = e.merchant_id and d.endpoint_id = e.endpoint_id);
    return v_purged;
end
$$;

revoke all on function claim_webhook_deliveries, disable_webhook_endpoint, settle_webhook_delivery,
    drop_stray_deliveries, purge_events from public;
grant execute on function claim_webhook_deliveries, settle_webhook_delivery, drop_stray_deliveries, purge_events
    to counterfoil_worker;
