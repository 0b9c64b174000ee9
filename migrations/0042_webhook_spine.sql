-- What is told of sales and of their way onto a chain. Written by triggers, in the transaction of the change,
-- so that no way of making it is left out. These happen thousands of times a second: where nobody wants them,
-- they cost one look at the merchant's endpoints a statement.

-- Bytes and times as the interface writes them.
create function public_hex(p_bytes bytea) returns text
language sql immutable strict parallel safe
return '0x' || encode(p_bytes, 'hex');

create function public_time(p_at timestamptz) returns text
language sql immutable strict parallel safe
return to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

-- An amount of minor units, with all the decimals of its currency.
create function public_money(p_minor bigint, p_decimals integer, p_currency text) returns jsonb
language sql immutable strict parallel safe
return jsonb_build_object(
    'value', round(p_minor / power(10::numeric, p_decimals), p_decimals)::text,
    'currency', p_currency,
    'minor', p_minor);

-- On sale_order and not on sale: a statement's rows are kept for its trigger, and there they are small. It is
-- written once a sale, by whatever records it, and never by anything else. An event of a sale has the sale's id.
create function tell_of_sales() returns trigger
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    -- the sales of one merchant are recorded in a statement
    v_merchant constant uuid := (select n.merchant_id from new_order n limit 1);
begin
    if not exists (
        select from webhook_endpoint e
        where e.merchant_id = v_merchant and e.state = 'enabled' and e.types && array['*', 'sale.recorded']) then
        return null;
    end if;
    with told as (
        insert into event (merchant_id, event_id, type, data, created_at)
        select s.merchant_id, s.sale_id, 'sale.recorded', jsonb_build_object(
            'sale_id', public_id('sale_', s.sale_id),
            'merchant_id', public_id('mer_', s.merchant_id),
            'order_id', s.order_id,
            'kind', case s.kind when 1 then 'sale' else 'refund' end,
            'refers_to', public_id('sale_', s.refers_to),
            'seq', s.seq,
            'amount', public_money(s.amount_minor,
                (convert_from(s.details, 'UTF8')::json ->> 'decimals')::integer, s.currency),
            'customer_address', public_hex(s.customer),
            'recorded_at', public_time(s.recorded_at),
            'details_hash', public_hex(s.details_hash)), s.recorded_at
        from new_order n
        join sale s on s.merchant_id = n.merchant_id and s.sale_id = n.sale_id
        on conflict on constraint event_pkey do nothing
        returning event_id, created_at
    )
    insert into webhook_delivery (merchant_id, event_id, endpoint_id, next_at, created_at)
    select v_merchant, t.event_id, e.endpoint_id, t.created_at, t.created_at
    from told t
    cross join webhook_endpoint e
    where e.merchant_id = v_merchant and e.state = 'enabled' and e.types && array['*', 'sale.recorded'];
    return null;
end
$$;

create trigger sale_order_tell after insert on sale_order
    referencing new table as new_order
    for each statement execute function tell_of_sales();

-- What a merchant may know of a batch: its own sales in it.
create function tell_of_batch() returns trigger
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    perform emit_event(m.merchant_id, null, 'batch.sealed', jsonb_build_object(
        'batch_id', b.batch_id,
        'root', public_hex(b.root),
        'sealed_at', public_time(b.sealed_at),
        'sales', m.last_seq - m.first_seq + 1,
        'first_seq', m.first_seq,
        'last_seq', m.last_seq), b.sealed_at)
    from new_mark m
    join batch b on b.batch_id = m.batch_id
    where exists (
        select from webhook_endpoint e
        where e.merchant_id = m.merchant_id and e.state = 'enabled' and e.types && array['*', 'batch.sealed']);
    return null;
end
$$;

create trigger batch_mark_tell after insert on batch_mark
    referencing new table as new_mark
    for each statement execute function tell_of_batch();

-- One event a merchant and batch of the anchor. Without a transaction, where others brought the roots.
create function tell_of_anchor() returns trigger
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    perform emit_event(m.merchant_id, null, 'anchor.finalized', jsonb_build_object(
        'batch_id', b.batch_id,
        'root', public_hex(b.root),
        'sales', m.last_seq - m.first_seq + 1,
        'first_seq', m.first_seq,
        'last_seq', m.last_seq,
        'chain', 'eip155:' || new.chain_id,
        'registry', 'eip155:' || new.chain_id || ':' || public_hex(new.registry),
        'tx', public_hex(t.tx_hash),
        'block', case when t.tx_hash is not null then jsonb_build_object(
            'number', t.block_number, 'hash', public_hex(t.block_hash), 'time', public_time(t.block_time)) end,
        'finalized_at', public_time(new.finalized_at)), new.finalized_at)
    from batch_mark m
    join batch b on b.batch_id = m.batch_id
    left join lateral (
        select a.tx_hash, a.block_number, a.block_hash, a.block_time from anchor_attempt a
        where a.anchor_id = new.anchor_id and a.block_number is not null
        order by a.attempt desc limit 1) t on true
    where m.batch_id between new.first_batch and new.last_batch and exists (
        select from webhook_endpoint e
        where e.merchant_id = m.merchant_id and e.state = 'enabled' and e.types && array['*', 'anchor.finalized']);
    return null;
end
$$;

create trigger anchor_tell after update of state on anchor
    for each row when (new.state = 'finalized' and old.state <> 'finalized')
    execute function tell_of_anchor();

revoke all on function public_hex, public_time, public_money, tell_of_sales, tell_of_batch, tell_of_anchor from public;
