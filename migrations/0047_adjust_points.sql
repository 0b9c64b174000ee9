-- Points by hand go to nobody who cannot spend them: an account that is there, open, and a customer's. A wallet always
-- exists, and so does whoever has earned before.
-- adjusted; too_few: so many are not there; unknown: there is no such customer.
create or replace function adjust_points(
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
        if octet_length(p_member) = 16
           and not exists (select from account a
                           where a.merchant_id = p_merchant and a.account_id = encode(p_member, 'hex')::uuid
                             and a.role = 'customer' and a.closed_at is null)
           and not exists (select from loyalty_member o where o.merchant_id = p_merchant and o.member = p_member) then
            return 'unknown';
        end if;
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
