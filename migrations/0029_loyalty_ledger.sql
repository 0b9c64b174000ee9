-- What changes a programme, and what changes the ledger beside sales: the API's and the worker's roles write
-- through these functions alone. p_now is the process' time, as for keys.

-- Sets the programme, if the version that the caller has seen still holds; the new version, or null. Whoever
-- records a sale locks the same row, so every sale is by the version that holds when it commits.
create function set_loyalty_programme(
    p_merchant uuid, p_seen integer, p_terms jsonb, p_by uuid, p_now timestamptz
) returns integer
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    update merchant m set loyalty_version = p_seen + 1
    where m.merchant_id = p_merchant and m.loyalty_version = p_seen;
    if not found then
        return null;
    end if;
    insert into loyalty_programme (merchant_id, version, terms, created_by, created_at)
    values (p_merchant, p_seen + 1, p_terms, p_by, p_now);
    return p_seen + 1;
end
$$;

-- What can be spent at a time.
create function loyalty_available(p_merchant uuid, p_member bytea, p_now timestamptz) returns bigint
language sql stable
set search_path = public, pg_temp
as $$
    select coalesce(sum(l.points_left), 0)::bigint from loyalty_lot l
    where l.merchant_id = p_merchant and l.member = p_member and l.points_left > 0
      and l.available_at <= p_now and (l.expires_at is null or l.expires_at > p_now);
$$;

-- Spends points, first in, first out. redeemed; too_few: less can be spent; exists: the redemption is there
-- already, whatever it was for.
create function redeem_points(
    p_merchant   uuid,
    p_redemption uuid,
    p_member     bytea,
    p_points     bigint,
    p_currency   text,
    p_value      bigint,
    p_reference  text,
    p_now        timestamptz
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    m loyalty_member;
begin
    select * into m from loyalty_member o
    where o.merchant_id = p_merchant and o.member = p_member for update;
    if not found then
        return 'too_few';
    end if;
    if exists (select from loyalty_redemption r
               where r.merchant_id = p_merchant and r.redemption_id = p_redemption) then
        return 'exists';
    end if;
    if loyalty_available(p_merchant, p_member, p_now) < p_points then
        return 'too_few';
    end if;
    insert into loyalty_redemption (merchant_id, redemption_id, member, points, currency, value_minor,
                                    reference, created_at)
    values (p_merchant, p_redemption, p_member, p_points, p_currency, p_value, p_reference, p_now)
    on conflict on constraint loyalty_redemption_pkey do nothing;
    if not found then
        -- another member's, at the same time
        return 'exists';
    end if;
    with lot as (
        select l.lot, l.points_left, sum(l.points_left) over (order by l.lot) - l.points_left as before
        from loyalty_lot l
        where l.merchant_id = p_merchant and l.member = p_member and l.points_left > 0
          and l.available_at <= p_now and (l.expires_at is null or l.expires_at > p_now)
    )
    insert into loyalty_entry (merchant_id, member, entry, kind, lot, points, redemption_id, recorded_at)
    select p_merchant, p_member, m.last_entry + row_number() over (order by l.lot), 'redeem', l.lot,
           -least(l.points_left, p_points - l.before), p_redemption, p_now
    from lot l where l.before < p_points;
    return 'redeemed';
end
$$;

-- Gives redeemed points back, into the lots that they came from, the last first. What came from a lot that
-- has expired meanwhile can be spent for thirty days more. given_back; too_many: so many were not redeemed, or
-- were given back already; unknown.
--
-- It locks the merchant's row first, because a refund is recorded in the same transaction.
create function give_points_back(p_merchant uuid, p_redemption uuid, p_points bigint, p_now timestamptz)
returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    m        loyalty_member;
    v_member bytea;
begin
    perform from merchant o where o.merchant_id = p_merchant for no key update;
    select r.member into v_member from loyalty_redemption r
    where r.merchant_id = p_merchant and r.redemption_id = p_redemption;
    if not found then
        return 'unknown';
    end if;
    select * into strict m from loyalty_member o
    where o.merchant_id = p_merchant and o.member = v_member for update;
    update loyalty_redemption r set given_back = r.given_back + p_points
    where r.merchant_id = p_merchant and r.redemption_id = p_redemption
      and r.given_back + p_points <= r.points;
    if not found then
        return 'too_many';
    end if;
    with spent as (
        select e.lot, l.expires_at <= p_now as expired, o.sale_id, -sum(e.points) as points
        from loyalty_entry e
        join loyalty_lot l on l.merchant_id = p_merchant and l.member = v_member and l.lot = e.lot
        join loyalty_entry o on o.merchant_id = p_merchant and o.member = v_member and o.entry = e.lot
        where e.merchant_id = p_merchant and e.redemption_id = p_redemption
        group by e.lot, l.expires_at, o.sale_id having sum(e.points) < 0
    ), back as (
        select s.*, sum(s.points) over (order by s.lot desc) - s.points as before from spent s
    ), row as (
        select b.lot, b.expired, b.sale_id, least(b.points, p_points - b.before)::bigint as points,
               m.last_entry + row_number() over (order by b.lot desc) as entry
        from back b where b.before < p_points
    )
    insert into loyalty_entry (merchant_id, member, entry, kind, lot, points, sale_id, redemption_id, available_at,
                               expires_at, recorded_at)
    select p_merchant, v_member, r.entry, 'give_back', case when r.expired then r.entry else r.lot end, r.points,
           -- a lot that takes an expired one's place is still the sale's
           case when r.expired then r.sale_id end, p_redemption, case when r.expired then p_now end,
           case when r.expired then p_now + interval '30 days' end, p_now
    from row r;
    perform loyalty_settle(p_merchant, v_member, p_now);
    return 'given_back';
end
$$;

-- Adjusts by hand: above zero it opens a lot, below it takes from the lots in their order, pending ones too.
-- adjusted; too_few: so many are not there.
create function adjust_points(
    p_merchant uuid,
    p_member   bytea,
    p_points   bigint,
    p_expires  timestamptz,
    p_reason   text,
    p_by       uuid,
    p_now      timestamptz
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    m loyalty_member;
begin
    if p_points > 0 then
        insert into loyalty_member (merchant_id, member, created_at) values (p_merchant, p_member, p_now)
        on conflict on constraint loyalty_member_pkey do nothing;
    end if;
    select * into m from loyalty_member o
    where o.merchant_id = p_merchant and o.member = p_member for update;
    if not found then
        return 'too_few';
    end if;
    if p_points > 0 then
        insert into loyalty_entry (merchant_id, member, entry, kind, lot, points, reason, adjusted_by,
                                   available_at, expires_at, recorded_at)
        values (p_merchant, p_member, m.last_entry + 1, 'adjust', m.last_entry + 1, p_points, p_reason, p_by,
                p_now, p_expires, p_now);
        perform loyalty_settle(p_merchant, p_member, p_now);
        return 'adjusted';
    end if;
    if (select coalesce(sum(l.points_left), 0) from loyalty_lot l
        where l.merchant_id = p_merchant and l.member = p_member and l.points_left > 0
          and (l.expires_at is null or l.expires_at > p_now)) < -p_points then
        return 'too_few';
    end if;
    with lot as (
        select l.lot, l.points_left, sum(l.points_left) over (order by l.lot) - l.points_left as before
        from loyalty_lot l
        where l.merchant_id = p_merchant and l.member = p_member and l.points_left > 0
          and (l.expires_at is null or l.expires_at > p_now)
    )
    insert into loyalty_entry (merchant_id, member, entry, kind, lot, points, reason, adjusted_by, recorded_at)
    select p_merchant, p_member, m.last_entry + row_number() over (order by l.lot), 'adjust', l.lot,
           -least(l.points_left, -p_points - l.before), p_reason, p_by, p_now
    from lot l where l.before < -p_points;
    return 'adjusted';
end
$$;

-- Ends what is too old: the lots of as many members as p_most lots have, at most. How many lots ended. A
-- member that somebody changes now is left for the next time.
create function expire_points(p_now timestamptz, p_most bigint) returns bigint
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_merchant uuid[];
    v_member   bytea[];
    v_rows     bigint;
begin
    with due as (
        select distinct d.merchant_id, d.member from (
            select l.merchant_id, l.member from loyalty_lot l
            where l.points_left > 0 and l.expires_at <= p_now
            order by l.expires_at limit p_most) d
    ), locked as (
        select m.merchant_id, m.member from loyalty_member m
        join due d on d.merchant_id = m.merchant_id and d.member = m.member
        order by m.merchant_id, m.member
        for update of m skip locked
    )
    select array_agg(l.merchant_id), array_agg(l.member) into v_merchant, v_member from locked l;

    insert into loyalty_entry (merchant_id, member, entry, kind, lot, points, recorded_at)
    select l.merchant_id, l.member,
           m.last_entry + row_number() over (partition by l.merchant_id, l.member order by l.lot),
           'expire', l.lot, -l.points_left, p_now
    from unnest(v_merchant, v_member) w (merchant_id, member)
    join loyalty_member m on m.merchant_id = w.merchant_id and m.member = w.member
    join loyalty_lot l on l.merchant_id = w.merchant_id and l.member = w.member
    where l.points_left > 0 and l.expires_at <= p_now;
    get diagnostics v_rows = row_count;
    return v_rows;
end
$$;

revoke all on function set_loyalty_programme, loyalty_available, redeem_points, give_points_back, adjust_points,
    expire_points from public;
grant execute on function set_loyalty_programme, loyalty_available, redeem_points, give_points_back,
    adjust_points to counterfoil_api;
grant execute on function expire_points to counterfoil_worker;
