-- The intake's write: one call a slice, for one merchant. A changed function is a new name.
--
-- Every row gets one outcome, and none raises for a fault of its own:
--   recorded              a new sale; seq, recorded_at and refers_to are what the row holds
--   replayed              the same sale was recorded before: same key, or same order id
--   refused               refused for ever, and remembered for 24 hours under its key: refusal says why
--   refused_again         the same refusal, from memory
--   key_reused            the key was used with another body
--   refund_unknown        refers_to names no sale of this merchant
--   refund_of_refund      refers_to names a refund
--   refund_currency       the sale it refers to is in another currency
--   merchant_unknown      there is no such merchant
--
-- The order of its steps matters. The merchant's row is updated first, so everything after it sees
-- what an earlier holder of the lock committed (READ COMMITTED takes a new snapshot a statement) and
-- two processes that retry overlapping keys wait here and cannot deadlock. Only rows that may meet
-- something (a key, an order, another row of the slice, a sale they refund) are decided one by one;
-- all writing is by the slice.

create function record_sales(
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
-- a plan made while a table was empty must not scan it when it is not
set search_path = public, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    n          constant integer := cardinality(p_sale);
    v_next     bigint;
    v_clock    timestamptz;
    v_outcome  text[]     := array_fill('recorded'::text, array[n]);
    v_seq      bigint[]   := array_fill(null::bigint, array[n]);
    v_target   uuid[]     := array_fill(null::uuid, array[n]);
    -- the earlier sale that answers a replay
    v_earlier  uuid[]     := array_fill(null::uuid, array[n]);
    v_answer   smallint[] := p_answer;
    v_refusal  jsonb[]    := array_fill(null::jsonb, array[n]);
    v_new_key  boolean[]  := array_fill(true, array[n]);
    -- rows of this slice by key and by order, and what this slice has refunded so far, by sale
    s_key      jsonb := '{}';
    s_order    jsonb := '{}';
    s_refunded jsonb := '{}';
    r          record;
    t          record;
    j          integer;
    v_slot     text;
    v_left     bigint;
begin
    update merchant m set next_seq = m.next_seq where m.merchant_id = p_merchant
    returning m.next_seq,
              greatest(m.last_recorded_at, date_trunc('milliseconds', clock_timestamp()))
    into v_next, v_clock;
    if not found then
        return query select g, 'merchant_unknown', null::uuid, null::bigint, null::timestamptz,
                            null::uuid, null::smallint, null::jsonb
                     from generate_series(1, n) g;
        return;
    end if;

    for r in
        select i.ord::integer as ord, i.space, i.key, i.fingerprint, i.order_id,
               i.refers_order, i.refers_sale,
               k.fingerprint as key_fingerprint, k.sale_id as key_sale, k.refusal as key_refusal,
               k.answer as key_answer,
               o.sale_id as order_sale, o.fingerprint as order_fingerprint,
               i.key_rows, i.order_rows
        from (select u.*, count(*) over (partition by u.space, u.key) as key_rows,
                     count(*) over (partition by u.order_id) as order_rows
              from unnest(p_space, p_key, p_fingerprint, p_order, p_refers_order, p_refers_sale)
                   with ordinality as u(space, key, fingerprint, order_id, refers_order, refers_sale, ord)) i
        left join lateral (
            select k.* from idempotency_key k
            where k.merchant_id = p_merchant and k.space = i.space and k.key = i.key
              and (k.refusal is null or k.created_at > v_clock - interval '24 hours')
            limit 1) k on true
        left join lateral (
            select o.sale_id, s.fingerprint from sale_order o
            join sale s on s.merchant_id = o.merchant_id and s.sale_id = o.sale_id
            where o.merchant_id = p_merchant and o.order_id = i.order_id
            limit 1) o on true
        where k.key is not null or o.sale_id is not null or i.key_rows > 1 or i.order_rows > 1
           or i.refers_order is not null or i.refers_sale is not null
        order by i.ord
    loop
        v_slot := r.space || ':' || r.key;

        -- the key, as it was used before this slice or earlier in it
        if r.key_fingerprint is not null then
            v_new_key[r.ord] := false;
            v_answer[r.ord] := r.key_answer;
            if r.key_fingerprint <> r.fingerprint then
                v_outcome[r.ord] := 'key_reused';
            elsif r.key_refusal is not null then
                v_outcome[r.ord] := 'refused_again';
                v_refusal[r.ord] := r.key_refusal;
            else
                v_outcome[r.ord] := 'replayed';
                v_earlier[r.ord] := r.key_sale;
            end if;
            continue;
        end if;
        j := (s_key ->> v_slot)::integer;
        if j is not null then
            v_new_key[r.ord] := false;
            v_answer[r.ord] := v_answer[j];
            if p_fingerprint[j] <> r.fingerprint then
                v_outcome[r.ord] := 'key_reused';
            elsif v_refusal[j] is not null then
                v_outcome[r.ord] := 'refused_again';
                v_refusal[r.ord] := v_refusal[j];
            else
                v_outcome[r.ord] := 'replayed';
                v_earlier[r.ord] := coalesce(v_earlier[j], p_sale[j]);
            end if;
            continue;
        end if;

        -- the order id, likewise
        j := (s_order ->> r.order_id)::integer;
        if r.order_sale is not null or j is not null then
            v_earlier[r.ord] := coalesce(r.order_sale, p_sale[j]);
            if coalesce(r.order_fingerprint, p_fingerprint[j]) = r.fingerprint then
                v_outcome[r.ord] := 'replayed';
            else
                v_outcome[r.ord] := 'refused';
                v_refusal[r.ord] := jsonb_build_object('code', 'order_exists',
                    'request_id', p_request[r.ord], 'sale_id', v_earlier[r.ord]);
                v_earlier[r.ord] := null;
            end if;
            s_key := s_key || jsonb_build_object(v_slot, r.ord);
            continue;
        end if;

        -- the sale it refunds: stored, or an accepted row of this slice before it
        if r.refers_order is not null or r.refers_sale is not null then
            t := null;
            select s.sale_id, s.kind, s.currency, s.amount_minor,
                   coalesce(f.refunded_minor, 0) as refunded_minor
            into t
            from sale s
            left join refund_total f on f.merchant_id = s.merchant_id and f.sale_id = s.sale_id
            where s.merchant_id = p_merchant
              and s.sale_id = coalesce(r.refers_sale, (
                  select o.sale_id from sale_order o
                  where o.merchant_id = p_merchant and o.order_id = r.refers_order));
            if t.sale_id is null and r.refers_order is not null then
                j := coalesce((s_order ->> r.refers_order)::integer, array_position(p_order, r.refers_order));
                if j < r.ord and v_outcome[j] = 'recorded' then
                    select p_sale[j] as sale_id, p_kind[j] as kind, p_currency[j] as currency,
                           p_amount[j] as amount_minor, 0::bigint as refunded_minor
                    into t;
                end if;
            end if;
            if t.sale_id is null then
                v_outcome[r.ord] := 'refund_unknown';
            elsif t.kind <> 1 then
                v_outcome[r.ord] := 'refund_of_refund';
            elsif t.currency <> p_currency[r.ord] then
                v_outcome[r.ord] := 'refund_currency';
            end if;
            if v_outcome[r.ord] <> 'recorded' then
                -- may become possible later, so nothing is remembered
                v_new_key[r.ord] := false;
                continue;
            end if;
            v_left := t.amount_minor - t.refunded_minor
                      - coalesce((s_refunded -> t.sale_id::text ->> 'minor')::bigint, 0);
            if p_amount[r.ord] > v_left then
                v_outcome[r.ord] := 'refused';
                v_refusal[r.ord] := jsonb_build_object('code', 'refund_exceeds',
                    'request_id', p_request[r.ord], 'sale_id', t.sale_id, 'left_minor', v_left,
                    'currency', t.currency);
                s_key := s_key || jsonb_build_object(v_slot, r.ord);
                continue;
            end if;
            v_target[r.ord] := t.sale_id;
            s_refunded := s_refunded || jsonb_build_object(t.sale_id::text, jsonb_build_object(
                'of', t.amount_minor,
                'minor', coalesce((s_refunded -> t.sale_id::text ->> 'minor')::bigint, 0) + p_amount[r.ord]));
        end if;
        s_key := s_key || jsonb_build_object(v_slot, r.ord);
        s_order := s_order || jsonb_build_object(r.order_id, r.ord);
    end loop;

    for j in 1..n loop
        if v_outcome[j] = 'recorded' then
            v_seq[j] := v_next;
            v_next := v_next + 1;
        end if;
    end loop;

    with slice as materialized (
        select * from unnest(
            p_space, p_key, p_answer, p_fingerprint, p_sale, p_order, p_kind, p_customer, p_currency,
            p_amount, p_sold_at, p_details, p_details_hash, p_salt,
            v_outcome, v_seq, v_target, v_earlier, v_refusal, v_new_key)
        as u(space, key, answer, fingerprint, sale_id, order_id, kind, customer, currency,
             amount_minor, sold_at, details, details_hash, salt,
             outcome, seq, target, earlier, refusal, new_key)
    ), sales as (
        insert into sale (merchant_id, sale_id, seq, order_id, kind, refers_to, customer, currency,
                          amount_minor, recorded_at, sold_at, details, details_hash, salt, fingerprint)
        select p_merchant, sale_id, seq, order_id, kind, target, customer, currency,
               amount_minor, v_clock, sold_at, details, details_hash, salt, fingerprint
        from slice where outcome = 'recorded'
    ), orders as (
        insert into sale_order (merchant_id, order_id, sale_id)
        select p_merchant, order_id, sale_id from slice where outcome = 'recorded'
    ), queue as (
        insert into pending_sale (merchant_id, seq, sale_id, recorded_at)
        select p_merchant, seq, sale_id, v_clock from slice where outcome = 'recorded'
    )
    insert into idempotency_key (merchant_id, space, key, fingerprint, answer, sale_id, refusal, created_at)
    select p_merchant, space, key, fingerprint, answer,
           case when outcome = 'recorded' then sale_id else earlier end, refusal, v_clock
    from slice where new_key and outcome in ('recorded', 'replayed', 'refused')
    -- only a refusal that is past its 24 hours can stand here
    on conflict on constraint idempotency_key_pkey do update
    set fingerprint = excluded.fingerprint, answer = excluded.answer, sale_id = excluded.sale_id,
        refusal = excluded.refusal, created_at = excluded.created_at
    where idempotency_key.refusal is not null;

    if s_refunded <> '{}' then
        insert into refund_total as f (merchant_id, sale_id, sale_minor, refunded_minor)
        select p_merchant, e.key::uuid, (e.value ->> 'of')::bigint, (e.value ->> 'minor')::bigint
        from jsonb_each(s_refunded) e
        on conflict on constraint refund_total_pkey do update
        set refunded_minor = f.refunded_minor + excluded.refunded_minor;
    end if;

    update merchant m set next_seq = v_next, last_recorded_at = v_clock
    where m.merchant_id = p_merchant;

    return query
    select u.ord::integer, u.outcome,
           case when u.outcome = 'recorded' then u.sale_id else u.earlier end,
           u.seq, case when u.outcome = 'recorded' then v_clock end, u.target, u.answer, u.refusal
    from unnest(v_outcome, p_sale, v_earlier, v_seq, v_target, v_answer, v_refusal)
         with ordinality as u(outcome, sale_id, earlier, seq, target, answer, refusal, ord)
    order by u.ord;
end
$$;
