-- The intake's write, for less: outcomes and rules are those of record_sales in 0003, which stays for
-- processes of the version before.
--
-- What differs is what it costs. A slice whose rows meet nothing, which is nearly every slice, is one
-- update of the merchant, one look for used keys and orders, and the writing; no array is filled and no
-- row is decided. Arguments are read by subscript, as PL/pgSQL holds arrays taken apart; unnest over
-- eighteen of them costs more than two of the six indexes. Keys are inserted without ON CONFLICT, which
-- logs each row twice: an expired refusal is deleted where it is met.
--
-- sale is named in no statement that runs for every slice but its INSERT: a plan that reads it locks
-- every partition.

create function record_sales_2(
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
    p_salt         bytea[]
) returns table (
    ord         integer,
    outcome     text,
    sale_id     uuid,
    seq         bigint,
    recorded_at timestamptz,
    refers_to   uuid,
    answer      smallint,
    refusal     jsonb
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
    returning m.next_seq - n, m.last_recorded_at into v_first, v_clock;
    if not found then
        return query select g, 'merchant_unknown', null::uuid, null::bigint, null::timestamptz,
                            null::uuid, null::smallint, null::jsonb
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

    return query
    select g, coalesce(v_outcome[g], 'recorded'),
           case when v_outcome is null then p_sale[g] else v_sale[g] end,
           case when v_outcome is null then v_first + g - 1 else v_seq[g] end,
           case when v_outcome is null or v_outcome[g] = 'recorded' then v_clock end,
           v_target[g], coalesce(v_answer[g], p_answer[g]), v_refusal[g]
    from generate_series(1, n) g;
end
$$;

revoke all on function record_sales_2 from public;
grant execute on function record_sales_2 to counterfoil_api;
