-- The intake's write with the ledger of points in the same transaction: outcomes, rules and costs are those
-- of record_sales_2 in 0007, which stays for processes of the version before.
--
-- What differs: the details that a sale is recorded with name the programme's version, and the process that
-- wrote them may know an older one. The merchant's row, which is locked first anyway, has the version that
-- holds; where it is another, nothing is recorded, the outcome of every row is programme_changed, and the
-- process comes again with details that name this one. Versions never change, so whoever has read one has it
-- for ever, and a merchant without a programme costs no question.

-- Points for an amount by these terms, in whole steps of the programme, rounded up once (towards positive
-- infinity); nothing below the minimum, and never more than 10^9 points.
create function loyalty_points(p_terms jsonb, p_currency text, p_amount bigint, p_multiplier numeric)
returns bigint
language sql immutable
set search_path = public, pg_temp
as $$
    select coalesce((
        select least(ceil(p_amount * (e.earn ->> 'rate')::numeric * p_multiplier
                         * ('1e' || ((p_terms ->> 'decimals')::integer - (e.earn ->> 'minor_digits')::integer))::numeric)
                     * ('1e' || (4 - (p_terms ->> 'decimals')::integer))::numeric,
                     1e13)::bigint
        from (select p_terms -> 'earn' -> p_currency as earn) e
        where p_amount >= (e.earn ->> 'minimum_minor')::bigint), 0);
$$;

-- The tier that so much earned in twelve months is worth, as the number of points that it begins with; 0 for
-- none.
create function loyalty_tier(p_terms jsonb, p_earned bigint) returns bigint
language sql immutable
set search_path = public, pg_temp
as $$
    select coalesce(max((t ->> 'from')::bigint), 0)
    from jsonb_array_elements(p_terms -> 'tiers') t where (t ->> 'from')::bigint <= p_earned;
$$;

-- What is earned in a tier for what is earned without one.
create function loyalty_multiplier(p_terms jsonb, p_tier bigint) returns numeric
language sql immutable
set search_path = public, pg_temp
as $$
    select coalesce((select (t ->> 'multiplier')::numeric from jsonb_array_elements(p_terms -> 'tiers') t
                     where (t ->> 'from')::bigint = p_tier limit 1), 1);
$$;

-- The tier of a member on a day: by what was earned in the twelve months before it, or the one that it still
-- holds. The day itself does not count, so how sales are gathered into slices decides nothing.
create function loyalty_standing(p_terms jsonb, p_rolling bigint, p_held bigint, p_held_until date, p_day date)
returns bigint
language sql immutable
set search_path = public, pg_temp
as $$
    select loyalty_tier(p_terms, case
        when p_terms ->> 'tier_drop' = 'at_period_end' and p_held_until > p_day
        then greatest(p_rolling, p_held) else p_rolling end);
$$;

-- What was earned in the twelve months before a day.
create function loyalty_rolling(p_merchant uuid, p_member bytea, p_day date) returns bigint
language sql stable
set search_path = public, pg_temp
as $$
    select coalesce(sum(d.earned), 0)::bigint from loyalty_day d
    where d.merchant_id = p_merchant and d.member = p_member
      and d.day >= (p_day - interval '12 months')::date and d.day < p_day;
$$;

-- Pays what a member owes from what it has. Its row is locked.
create function loyalty_settle(p_merchant uuid, p_member bytea, p_clock timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    m loyalty_member;
begin
    select * into strict m from loyalty_member o where o.merchant_id = p_merchant and o.member = p_member;
    if m.owed = 0 then
        return;
    end if;
    with lot as (
        select l.lot, l.points_left,
               sum(l.points_left) over (order by l.lot) - l.points_left as before
        from loyalty_lot l
        where l.merchant_id = p_merchant and l.member = p_member and l.points_left > 0
          and (l.expires_at is null or l.expires_at > p_clock)
    ), paid as (
        select l.lot, least(l.points_left, m.owed - l.before)::bigint as points from lot l where l.before < m.owed
    ), half as (
        select p.lot, p.lot as of, -p.points as points from paid p
        union all
        select p.lot, null, p.points from paid p
    )
    insert into loyalty_entry (merchant_id, member, entry, kind, lot, points, recorded_at)
    select p_merchant, p_member, m.last_entry + row_number() over (order by h.lot, h.points), 'settle', h.of,
           h.points, p_clock
    from half h;
end
$$;

-- The awards of recorded sales, in the order of their numbers. The merchant's row is locked.
create function loyalty_earn(
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
begin
    insert into loyalty_member (merchant_id, member, created_at)
    select distinct p_merchant, w.member, p_clock from unnest(p_member) w (member)
    order by w.member
    on conflict on constraint loyalty_member_pkey do nothing;

    perform from loyalty_member m
    where m.merchant_id = p_merchant and m.member = any (p_member)
    order by m.member for update;

    -- once a day of each
    update loyalty_member m
    set rolled_on = v_day, rolling = w.rolling,
        -- a tier is held for twelve months from the day that it was last reached
        held = case when w.reached then w.rolling else m.held end,
        held_until = case when w.reached then (v_day + interval '12 months')::date else m.held_until end
    from (select r.member, r.rolling,
                 coalesce(r.held_until <= v_day, true)
                     or loyalty_tier(v_terms, r.rolling) >= loyalty_tier(v_terms, r.held) as reached
          from (select o.member, o.held, o.held_until,
                       loyalty_rolling(p_merchant, o.member, v_day) as rolling
                from loyalty_member o
                where o.merchant_id = p_merchant and o.member = any (p_member)
                  and o.rolled_on is distinct from v_day) r) w
    where m.merchant_id = p_merchant and m.member = w.member;

    with row as (
        select g as ord, p_sale[g] as sale_id, p_member[g] as member, p_base[g] as base,
               p_currency[g] as currency, p_amount[g] as amount
        from generate_series(1, cardinality(p_sale)) g
    ), first as (
        insert into loyalty_first (merchant_id, member, sale_id)
        select distinct on (r.member) p_merchant, r.member, r.sale_id from row r order by r.member, r.ord
        on conflict on constraint loyalty_first_pkey do nothing
        returning sale_id
    ), priced as (
        select r.*, m.last_entry, x.multiplier,
               greatest(r.base, loyalty_points(v_terms, r.currency, r.amount, x.multiplier)) as full_points,
               case when f.sale_id is null then 0 else v_bonus end as bonus
        from row r
        join loyalty_member m on m.merchant_id = p_merchant and m.member = r.member
        cross join lateral (select loyalty_multiplier(v_terms, loyalty_standing(
            v_terms, m.rolling, m.held, m.held_until, v_day)) as multiplier) x
        left join first f on f.sale_id = r.sale_id
    ), limited as (
        select p.*, case when v_limit is not null then greatest(0, v_limit - coalesce(d.counted, 0)
                   - (sum(p.full_points) over (partition by p.member order by p.ord) - p.full_points)) end::bigint as room
        from priced p
        left join loyalty_day d on d.merchant_id = p_merchant and d.member = p.member and d.day = v_day
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

    perform loyalty_settle(p_merchant, m.member, p_clock)
    from loyalty_member m
    where m.merchant_id = p_merchant and m.member = any (p_member) and m.owed > 0;
end
$$;

-- Takes back what a sale would not have earned without what is refunded of it by now. Its own lots first,
-- then the others in their order; what was spent is owed, and what was lost with age is not: it is gone
-- already. The merchant's row is locked.
create function loyalty_claw_back(
    p_merchant uuid, p_clock timestamptz, p_sale uuid, p_refund uuid, p_refunded numeric
) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    a       loyalty_award;
    m       loyalty_member;
    v_terms jsonb;
    v_rest  bigint;
    v_due   bigint;
    v_take  bigint;
begin
    select * into a from loyalty_award w where w.merchant_id = p_merchant and w.sale_id = p_sale;
    if not found then
        return;
    end if;
    select * into strict m from loyalty_member o
    where o.merchant_id = p_merchant and o.member = a.member for update;
    select terms into strict v_terms from loyalty_programme
    where merchant_id = p_merchant and version = a.programme;
    v_rest := a.amount_minor - p_refunded;
    v_due := least(loyalty_points(v_terms, a.currency, v_rest, a.multiplier), a.room);
    if loyalty_points(v_terms, a.currency, v_rest, 1) > 0 then
        v_due := v_due + a.bonus;
    end if;
    if v_due >= a.due then
        return;
    end if;
    v_take := greatest(0, a.earned - v_due - a.taken - (
        select coalesce(sum(l.expired), 0) from loyalty_entry e
        join loyalty_lot l on l.merchant_id = p_merchant and l.member = e.member and l.lot = e.entry
        where e.merchant_id = p_merchant and e.sale_id = p_sale));
    update loyalty_award w set due = v_due, taken = w.taken + v_take
    where w.merchant_id = p_merchant and w.sale_id = p_sale;
    update loyalty_day d set earned = d.earned - (a.due - v_due)
    where d.merchant_id = p_merchant and d.member = a.member and d.day = a.day;
    update loyalty_member o
    set rolled_on = null,
        -- a tier is not held by what was given back of the twelve months in which it was reached
        held = case when a.day < (o.held_until - interval '12 months')::date
                     and a.day >= (o.held_until - interval '24 months')::date
               then greatest(0, o.held - (a.due - v_due)) else o.held end
    where o.merchant_id = p_merchant and o.member = a.member;

    with lot as (
        select l.lot, l.points_left,
               sum(l.points_left) over (order by (e.sale_id = p_sale) is true desc, l.lot) - l.points_left as before
        from loyalty_lot l
        join loyalty_entry e on e.merchant_id = p_merchant and e.member = a.member and e.entry = l.lot
        where l.merchant_id = p_merchant and l.member = a.member and l.points_left > 0
          and (e.sale_id = p_sale or l.expires_at is null or l.expires_at > p_clock)
    ), taken as (
        select l.lot, l.before, least(l.points_left, v_take - l.before)::bigint as points
        from lot l where l.before < v_take
    ), posted as (
        select t.lot, t.points, t.before from taken t
        union all
        select null, v_take - coalesce((select sum(t.points) from taken t), 0)::bigint, v_take
    )
    insert into loyalty_entry (merchant_id, member, entry, kind, lot, points, sale_id, refund_id, recorded_at)
    select p_merchant, a.member, m.last_entry + row_number() over (order by p.before), 'claw_back', p.lot,
           -p.points, p_sale, p_refund, p_clock
    from posted p where p.points > 0;
end
$$;

revoke all on function loyalty_points, loyalty_tier, loyalty_multiplier, loyalty_standing, loyalty_rolling,
    loyalty_settle, loyalty_earn, loyalty_claw_back from public;
-- what a caller is told of a tier, and of points before a purchase
grant execute on function loyalty_points, loyalty_tier, loyalty_multiplier, loyalty_standing, loyalty_rolling
    to counterfoil_api;

-- whether a sale is an order of the shop
create index sale_order_of_shop on sale_order (merchant_id, sale_id) where order_id like 'ord\_%';

create function record_sales_3(
    p_merchant     uuid,
    p_space        smallint[],
    p_key          text[],
    p_answer       smallint[],
    p_request      text[],
    p_fingerprint  bytea[],
    p_sale         uuid[],
    p_order        text[],
    p_kind         smallint[],
    p_refers_order text[],
    p_refers_sale  uuid[],
    p_customer     bytea[],
    p_currency     text[],
    p_amount       bigint[],
    p_sold_at      timestamptz[],
    p_details      bytea[],
    p_details_hash bytea[],
    p_salt         bytea[],
    -- the version of the programme that the details name, 0 for none; of each row whose it is to be and what
    -- sale and programme alone determine, null where that is nothing
    p_programme    integer,
    p_member       bytea[],
    p_base         bigint[]
) returns table (
    ord         integer,
    outcome     text,
    sale_id     uuid,
    seq         bigint,
    recorded_at timestamptz,
    refers_to   uuid,
    answer      smallint,
    refusal     jsonb,
    programme   integer
)
language plpgsql volatile security definer
set search_path = public, pg_temp
-- a plan made while a table was empty must not scan it when it is not
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    n          constant integer := cardinality(p_sale);
    v_first    bigint;
    v_clock    timestamptz;
    v_version  integer;
    -- rows whose key or order another row of the slice has too
    v_twin     integer[];
    -- what became of each row; all of these are null while every row is simply recorded
    v_outcome  text[];
    v_seq      bigint[];
    -- the sale that answers: its own, or an earlier one
    v_sale     uuid[];
    v_target   uuid[];
    v_answer   smallint[];
    v_refusal  jsonb[];
    -- whether it is remembered under its key, and was not before
    v_new_key  boolean[];
    v_next     bigint;
    r          record;
    i          integer;
    j          integer;
    -- the sale that has the order id, and its fingerprint
    v_earlier  uuid;
    v_print    bytea;
    -- the sale to refund, and what is left of it
    t          record;
    v_left     bigint;
begin
    -- takes a number for every row; those that are not recorded give theirs back below
    update merchant m
    set next_seq = m.next_seq + n,
        last_recorded_at = greatest(m.last_recorded_at, date_trunc('milliseconds', clock_timestamp()))
    where m.merchant_id = p_merchant
    returning m.next_seq - n, m.last_recorded_at, m.loyalty_version into v_first, v_clock, v_version;
    if not found then
        return query select g, 'merchant_unknown', null::uuid, null::bigint, null::timestamptz,
                            null::uuid, null::smallint, null::jsonb, null::integer
                     from generate_series(1, n) g;
        return;
    end if;
    if v_version <> p_programme then
        update merchant m set next_seq = v_first where m.merchant_id = p_merchant;
        return query select g, 'programme_changed', null::uuid, null::bigint, null::timestamptz,
                            null::uuid, null::smallint, null::jsonb, v_version
                     from generate_series(1, n) g;
        return;
    end if;

    if n > 1 then
        if (select count(distinct k) from unnest(p_key) k) < n
           or (select count(distinct o) from unnest(p_order) o) < n then
            v_twin := array(
                select w.ord from (
                    select g as ord, count(*) over (partition by p_space[g], p_key[g]) as key_rows,
                           count(*) over (partition by p_order[g]) as order_rows
                    from generate_series(1, n) g) w
                where w.key_rows > 1 or w.order_rows > 1);
        end if;
    end if;

    for r in
        select g as ord, k.fingerprint, k.sale_id, k.refusal, k.answer, k.created_at,
               o.sale_id as order_sale
        from generate_series(1, n) g
        left join lateral (
            select k.* from idempotency_key k
            where k.merchant_id = p_merchant and k.space = p_space[g] and k.key = p_key[g]
            limit 1) k on true
        left join lateral (
            select o.sale_id from sale_order o
            where o.merchant_id = p_merchant and o.order_id = p_order[g]
            limit 1) o on true
        where k.key is not null or o.sale_id is not null or g = any (v_twin)
           or p_refers_order[g] is not null or p_refers_sale[g] is not null
        order by g
    loop
        i := r.ord;
        if v_outcome is null then
            v_outcome := array_fill('recorded'::text, array[n]);
            v_seq     := array_fill(null::bigint, array[n]);
            v_sale    := p_sale;
            v_target  := array_fill(null::uuid, array[n]);
            v_answer  := p_answer;
            v_refusal := array_fill(null::jsonb, array[n]);
            v_new_key := array_fill(true, array[n]);
        end if;

        -- the key, as it was used before this slice
        if r.refusal is not null and r.created_at <= v_clock - interval '24 hours' then
            delete from idempotency_key k
            where k.merchant_id = p_merchant and k.space = p_space[i] and k.key = p_key[i];
        elsif r.fingerprint is not null then
            v_new_key[i] := false;
            v_answer[i] := r.answer;
            v_sale[i] := null;
            if r.fingerprint <> p_fingerprint[i] then
                v_outcome[i] := 'key_reused';
            elsif r.refusal is not null then
                v_outcome[i] := 'refused_again';
                v_refusal[i] := r.refusal;
            else
                v_outcome[i] := 'replayed';
                v_sale[i] := r.sale_id;
            end if;
            continue;
        end if;

        -- or earlier in it
        j := null;
        if i = any (v_twin) then
            select min(g) into j from generate_series(1, i - 1) g
            where v_new_key[g] and p_space[g] = p_space[i] and p_key[g] = p_key[i];
        end if;
        if j is not null then
            v_new_key[i] := false;
            v_answer[i] := v_answer[j];
            v_sale[i] := null;
            if p_fingerprint[j] <> p_fingerprint[i] then
                v_outcome[i] := 'key_reused';
            elsif v_refusal[j] is not null then
                v_outcome[i] := 'refused_again';
                v_refusal[i] := v_refusal[j];
            else
                v_outcome[i] := 'replayed';
                v_sale[i] := v_sale[j];
            end if;
            continue;
        end if;

        -- the order id, likewise
        v_earlier := r.order_sale;
        if v_earlier is not null then
            select s.fingerprint into v_print
            from (select) one
            cross join lateral (select s.fingerprint from recorded_sale s
                                where s.merchant_id = p_merchant and s.sale_id = v_earlier
                                limit 1) s;
        elsif i = any (v_twin) then
            select p_sale[g], p_fingerprint[g] into v_earlier, v_print
            from generate_series(1, i - 1) g
            where v_outcome[g] = 'recorded' and p_order[g] = p_order[i]
            order by g limit 1;
        end if;
        if v_earlier is not null then
            if v_print = p_fingerprint[i] then
                v_outcome[i] := 'replayed';
                v_sale[i] := v_earlier;
            else
                v_outcome[i] := 'refused';
                -- the shop tries again what it was refused (space 2)
                v_new_key[i] := p_space[i] <> 2;
                v_sale[i] := null;
                v_refusal[i] := jsonb_build_object('code', 'order_exists',
                    'request_id', p_request[i], 'sale_id', v_earlier);
            end if;
            continue;
        end if;
        if p_refers_order[i] is null and p_refers_sale[i] is null then
            continue;
        end if;

        -- the sale it refunds: stored, or an accepted row of this slice before it
        select s.* into t
        from (select coalesce(p_refers_sale[i], (
                  select o.sale_id from sale_order o
                  where o.merchant_id = p_merchant and o.order_id = p_refers_order[i])) as sale_id) of
        cross join lateral (select s.sale_id, s.kind, s.currency, s.amount_minor from recorded_sale s
                            where s.merchant_id = p_merchant and s.sale_id = of.sale_id
                            limit 1) s;
        if t.sale_id is null and p_refers_order[i] is not null then
            select p_sale[g] as sale_id, p_kind[g] as kind, p_currency[g] as currency,
                   p_amount[g] as amount_minor
            into t
            from generate_series(1, i - 1) g
            where v_outcome[g] = 'recorded' and p_order[g] = p_refers_order[i]
            order by g limit 1;
        end if;
        if t.sale_id is null then
            v_outcome[i] := 'refund_unknown';
        elsif t.kind <> 1 then
            v_outcome[i] := 'refund_of_refund';
        elsif t.currency <> p_currency[i] then
            v_outcome[i] := 'refund_currency';
        elsif p_space[i] <> 2 and exists (
            select from sale_order o
            where o.merchant_id = p_merchant and o.sale_id = t.sale_id and o.order_id like 'ord\_%') then
            -- what the shop sold it takes back itself (space 2): its money, pieces and points go together
            v_outcome[i] := 'refund_of_order';
        end if;
        if v_outcome[i] <> 'recorded' then
            -- may become possible later, so nothing is remembered
            v_new_key[i] := false;
            v_sale[i] := null;
            continue;
        end if;
        v_left := t.amount_minor - coalesce((
            select f.refunded_minor from refund_total f
            where f.merchant_id = p_merchant and f.sale_id = t.sale_id), 0);
        if p_amount[i] > v_left then
            v_outcome[i] := 'refused';
            -- the shop tries again what it was refused (space 2)
            v_new_key[i] := p_space[i] <> 2;
            v_sale[i] := null;
            v_refusal[i] := jsonb_build_object('code', 'refund_exceeds',
                'request_id', p_request[i], 'sale_id', t.sale_id, 'left_minor', v_left,
                'currency', t.currency);
            continue;
        end if;
        v_target[i] := t.sale_id;
        insert into refund_total as f (merchant_id, sale_id, sale_minor, refunded_minor)
        values (p_merchant, t.sale_id, t.amount_minor, p_amount[i])
        on conflict on constraint refund_total_pkey do update
        set refunded_minor = f.refunded_minor + excluded.refunded_minor;
    end loop;

    if v_outcome is not null then
        v_next := v_first;
        for j in 1..n loop
            if v_outcome[j] = 'recorded' then
                v_seq[j] := v_next;
                v_next := v_next + 1;
            end if;
        end loop;
        update merchant m set next_seq = v_next
        where m.merchant_id = p_merchant and m.next_seq <> v_next;
    end if;

    with sales as (
        insert into sale (merchant_id, sale_id, seq, order_id, kind, refers_to, customer, currency,
                          amount_minor, recorded_at, sold_at, details, details_hash, salt, fingerprint)
        select p_merchant, p_sale[g], coalesce(v_seq[g], v_first + g - 1), p_order[g], p_kind[g],
               v_target[g], p_customer[g], p_currency[g], p_amount[g], v_clock, p_sold_at[g],
               p_details[g], p_details_hash[g], p_salt[g], p_fingerprint[g]
        from generate_series(1, n) g where v_outcome is null or v_outcome[g] = 'recorded'
    ), orders as (
        insert into sale_order (merchant_id, order_id, sale_id)
        select p_merchant, p_order[g], p_sale[g]
        from generate_series(1, n) g where v_outcome is null or v_outcome[g] = 'recorded'
    ), queue as (
        insert into pending_sale (merchant_id, seq, sale_id, recorded_at)
        select p_merchant, coalesce(v_seq[g], v_first + g - 1), p_sale[g], v_clock
        from generate_series(1, n) g where v_outcome is null or v_outcome[g] = 'recorded'
    )
    insert into idempotency_key (merchant_id, space, key, fingerprint, answer, sale_id, refusal, created_at)
    select p_merchant, p_space[g], p_key[g], p_fingerprint[g], p_answer[g],
           case when v_outcome is null then p_sale[g] else v_sale[g] end, v_refusal[g], v_clock
    from generate_series(1, n) g where v_outcome is null or v_new_key[g];

    if v_version > 0 then
        perform loyalty_earn(p_merchant, v_version, v_clock, w.sale, w.member, w.base, w.currency, w.amount)
        from (select array_agg(p_sale[g] order by g) as sale, array_agg(p_member[g] order by g) as member,
                     array_agg(p_base[g] order by g) as base, array_agg(p_currency[g] order by g) as currency,
                     array_agg(p_amount[g] order by g) as amount
              from generate_series(1, n) g
              where p_base[g] > 0 and (v_outcome is null or v_outcome[g] = 'recorded')) w
        where w.sale is not null;
        if v_target is not null then
            perform loyalty_claw_back(p_merchant, v_clock, w.target, w.refund, w.refunded)
            from (select v_target[g] as target, p_sale[g] as refund,
                         -- with this one, without those behind it in the slice
                         f.refunded_minor - (sum(p_amount[g]) over (partition by v_target[g])
                             - sum(p_amount[g]) over (partition by v_target[g] order by g)) as refunded
                  from generate_series(1, n) g
                  join refund_total f on f.merchant_id = p_merchant and f.sale_id = v_target[g]
                  where v_outcome[g] = 'recorded'
                  -- rows of members are locked in one order
                  order by (select a.member from loyalty_award a
                            where a.merchant_id = p_merchant and a.sale_id = v_target[g]), g) w;
        end if;
    end if;

    return query
    select g, coalesce(v_outcome[g], 'recorded'),
           case when v_outcome is null then p_sale[g] else v_sale[g] end,
           case when v_outcome is null then v_first + g - 1 else v_seq[g] end,
           case when v_outcome is null or v_outcome[g] = 'recorded' then v_clock end,
           v_target[g], coalesce(v_answer[g], p_answer[g]), v_refusal[g], null::integer
    from generate_series(1, n) g;
end
$$;

revoke all on function record_sales_3 from public;
grant execute on function record_sales_3 to counterfoil_api;
