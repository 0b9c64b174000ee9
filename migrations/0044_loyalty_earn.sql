-- What earning costs. The rule is the one of 0028; what was dear about it is taken away: functions that were planned
-- anew for each slice of sales, joins that read all members of a merchant, and looks for rows that are known to be
-- there.

-- As one expression, and without settings of its own, it becomes a part of the statement that calls it.
create or replace function loyalty_points(p_terms jsonb, p_currency text, p_amount bigint, p_multiplier numeric)
returns bigint
language sql immutable
return case when p_amount >= (p_terms -> 'earn' -> p_currency ->> 'minimum_minor')::bigint then
    least(ceil(p_amount * (p_terms -> 'earn' -> p_currency ->> 'rate')::numeric * p_multiplier
               * ('1e' || ((p_terms ->> 'decimals')::integer
                           - (p_terms -> 'earn' -> p_currency ->> 'minor_digits')::integer)::text)::numeric)
          * ('1e' || (4 - (p_terms ->> 'decimals')::integer)::text)::numeric,
          1e13)::bigint
    else 0 end;

-- These rows are written beside their member's, which is locked, and a lot by the trigger of the entry that opens
-- it, which refuses an entry of nobody's. None is ever deleted: looking again for each row finds what is there.
alter table loyalty_entry drop constraint loyalty_entry_member;
alter table loyalty_lot drop constraint loyalty_lot_entry;
alter table loyalty_award drop constraint loyalty_award_member;
alter table loyalty_first drop constraint loyalty_first_member;
alter table loyalty_day drop constraint loyalty_day_member;

-- Rows that change with each purchase, in columns of no index: with room beside them, they stay on their page.
alter table loyalty_member set (fillfactor = 70);
alter table loyalty_day set (fillfactor = 70);

create or replace function loyalty_earn(
    p_merchant uuid,
    p_version  integer,
    p_clock    timestamptz,
    p_sale     uuid[],
    p_member   bytea[],
    p_base     bigint[],
    p_currency text[],
    p_amount   bigint[]
) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    v_terms     constant jsonb := (select terms from loyalty_programme
                                   where merchant_id = p_merchant and version = p_version);
    v_day       constant date := (p_clock at time zone 'UTC')::date;
    v_limit     constant bigint := (v_terms ->> 'daily_limit')::bigint;
    v_bonus     constant bigint := (v_terms ->> 'first_purchase_bonus')::bigint;
    v_available constant timestamptz := p_clock + make_interval(days => (v_terms ->> 'pending_days')::integer);
    v_expires   constant timestamptz := p_clock + make_interval(days => (v_terms ->> 'expiry_days')::integer);
    -- whether a tier outlives the points that reached it
    v_holds     constant boolean := v_terms ->> 'tier_drop' = 'at_period_end';
    -- the tiers: the points that they begin with, rising, and what is earned in them for a point; null for none
    v_from      bigint[];
    v_for_one   numeric[];
    -- each once, in the order in which they are locked
    v_members   bytea[];
    -- whether it is the first sale of the day, and whether points are owed, for one of the members
    v_roll      boolean;
    v_owing     boolean;
begin
    select array_agg(t.starts order by t.starts), array_agg(t.multiplier order by t.starts)
    into v_from, v_for_one
    from (select (e ->> 'from')::bigint as starts, (e ->> 'multiplier')::numeric as multiplier
          from jsonb_array_elements(v_terms -> 'tiers') e) t;

    select array_agg(distinct w.member order by w.member) into v_members from unnest(p_member) w (member);
    insert into loyalty_member (merchant_id, member, created_at)
    select p_merchant, w.member, p_clock from unnest(v_members) w (member)
    on conflict on constraint loyalty_member_pkey do nothing;

    -- rows are read one at a time, by their keys: a join may be planned, while tables are small, to read all members
    select bool_or(m.rolled_on is distinct from v_day), bool_or(m.owed > 0) into v_roll, v_owing
    from unnest(v_members) w (member)
    cross join lateral (
        select o.rolled_on, o.owed from loyalty_member o
        where o.merchant_id = p_merchant and o.member = w.member
        limit 1 for update) m;

    -- once a day of each
    if v_roll then
        update loyalty_member m
        set rolled_on = v_day, rolling = w.rolling,
            -- a tier is held for twelve months from the day that it was last reached
            held = case when w.reached then w.rolling else m.held end,
            held_until = case when w.reached then (v_day + interval '12 months')::date else m.held_until end
        from (select r.row, r.rolling,
                     coalesce(r.held_until <= v_day, true)
                         or coalesce(width_bucket(r.rolling, v_from) >= width_bucket(r.held, v_from), true) as reached
              from (select o.row, o.held, o.held_until, loyalty_rolling(p_merchant, w.member, v_day) as rolling
                    from unnest(v_members) w (member)
                    cross join lateral (
                        select o.ctid as row, o.held, o.held_until from loyalty_member o
                        where o.merchant_id = p_merchant and o.member = w.member and o.rolled_on is distinct from v_day
                        limit 1) o) r) w
        -- which is locked, so it stays where it is
        where m.ctid = w.row;
    end if;

    with row as (
        select r.* from unnest(p_sale, p_member, p_base, p_currency, p_amount) with ordinality
            r (sale_id, member, base, currency, amount, ord)
    ), first as (
        insert into loyalty_first (merchant_id, member, sale_id)
        select distinct on (r.member) p_merchant, r.member, r.sale_id from row r order by r.member, r.ord
        on conflict on constraint loyalty_first_pkey do nothing
        returning sale_id
    ), priced as (
        select r.*, m.last_entry, x.multiplier,
               case when x.multiplier = 1 then r.base
                    else greatest(r.base, loyalty_points(v_terms, r.currency, r.amount, x.multiplier))
               end as full_points,
               case when f.sale_id is null then 0 else v_bonus end as bonus
        from row r
        cross join lateral (
            select m.last_entry, m.rolling, m.held, m.held_until from loyalty_member m
            where m.merchant_id = p_merchant and m.member = r.member
            limit 1) m
        -- the tier as loyalty_standing has it
        cross join lateral (select coalesce(v_for_one[width_bucket(
            case when v_holds and m.held_until > v_day then greatest(m.rolling, m.held) else m.rolling end,
            v_from)], 1) as multiplier) x
        left join first f on f.sale_id = r.sale_id
    ), limited as (
        select p.*, case when v_limit is not null then greatest(0, v_limit - coalesce(d.counted, 0)
                   - (sum(p.full_points) over (partition by p.member order by p.ord) - p.full_points)) end::bigint as room
        from priced p
        left join lateral (
            select d.counted from loyalty_day d
            where v_limit is not null and d.merchant_id = p_merchant and d.member = p.member and d.day = v_day
            limit 1) d on true
    ), award as (
        select l.*, least(l.full_points, l.room) as points from limited l
    ), kept as (
        insert into loyalty_award (merchant_id, sale_id, member, programme, currency, amount_minor, day,
                                   multiplier, bonus, room, earned, due)
        select p_merchant, a.sale_id, a.member, p_version, a.currency, a.amount, v_day, a.multiplier, a.bonus,
               a.room, a.points + a.bonus, a.points + a.bonus
        from award a
    ), day as (
        insert into loyalty_day as d (merchant_id, member, day, earned, counted)
        select p_merchant, a.member, v_day, sum(a.points + a.bonus), sum(a.points) from award a group by a.member
        on conflict on constraint loyalty_day_pkey do update
        set earned = d.earned + excluded.earned, counted = d.counted + excluded.counted
    )
    insert into loyalty_entry (merchant_id, member, entry, kind, rule, lot, points, sale_id, available_at,
                               expires_at, recorded_at)
    select p_merchant, e.member, e.entry, 'earn', e.rule, e.entry, e.points, e.sale_id, v_available, v_expires,
           p_clock
    from (select a.member, a.sale_id, u.rule, u.points,
                 a.last_entry + row_number() over (partition by a.member order by a.ord, u.ord) as entry
          from award a
          cross join lateral (values
              (1, 'base', least(a.base, a.points)),
              (2, 'tier', a.points - least(a.base, a.points)),
              (3, 'first_purchase', a.bonus)) u (ord, rule, points)
          where u.points > 0) e;

    if v_owing then
        perform loyalty_settle(p_merchant, w.member, p_clock) from unnest(v_members) w (member);
    end if;
end
$$;
