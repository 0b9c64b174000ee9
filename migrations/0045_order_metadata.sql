-- What is said of an order at checkout, once: what belongs to it, which goes into the details of its sale; and where
-- its pieces are to be sent, which does not, as the record never forgets. (The answers that are kept for repeats of
-- checkout, cancel and unpark have both.)
alter table shop_order
    -- an object of strings
    add column metadata jsonb not null default '{}',
    -- as src/shop/shipping.rs writes it
    add column shipping jsonb,
    -- what was told of by order.parked last: each try to record it parks it anew
    add column parked_told text,
    add constraint shop_order_metadata check (jsonb_typeof(metadata) = 'object'),
    add constraint shop_order_shipping check (jsonb_typeof(shipping) = 'object');

-- In the transaction that placed the order; false where it is not there as it was placed.
create function describe_order(p_merchant uuid, p_order uuid, p_metadata jsonb, p_shipping jsonb) returns boolean
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    update shop_order o set metadata = p_metadata, shipping = p_shipping
    where o.merchant_id = p_merchant and o.order_id = p_order and o.state = 'PENDING' and o.hold = 'held'
      and o.metadata = '{}' and o.shipping is null;
    return found;
end
$$;
revoke all on function describe_order from public;
grant execute on function describe_order to counterfoil_api;

-- With its metadata, and of order.paid the sale that it became. What an order is parked for is told once.
create or replace function tell_of_order() returns trigger
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    -- as it is when the transaction ends
    o      shop_order;
    v_id   text;
    v_what text[] := '{}';
    v_type text;
begin
    select * into o from shop_order x where x.merchant_id = new.merchant_id and x.order_id = new.order_id;
    v_id := public_id('ord_', o.order_id);
    if tg_op = 'INSERT' then
        v_what := v_what || 'order.created'::text;
    elsif new.state <> old.state then
        v_what := v_what || case new.state when 'PAID' then 'order.paid' else 'order.cancelled' end;
    end if;
    if o.parked is not null and o.parked is distinct from o.parked_told then
        v_what := v_what || 'order.parked'::text;
        update shop_order x set parked_told = o.parked
        where x.merchant_id = o.merchant_id and x.order_id = o.order_id;
    end if;
    foreach v_type in array v_what loop
        perform emit_event(o.merchant_id, null, v_type, jsonb_strip_nulls(jsonb_build_object(
            'id', v_id,
            'state', case v_type when 'order.created' then 'PENDING' else new.state end,
            'ending', new.ending,
            'customer_id', public_id('cus_', o.account_id),
            'total', public_minor(o.total_minor, o.currency),
            'refunded', public_minor(o.refunded_minor, o.currency),
            'metadata', o.metadata,
            -- where it could not be recorded, another sale may have its order id
            'sale_id', case when v_type = 'order.paid' and o.recorded then (
                select public_id('sale_', s.sale_id) from sale_order s
                where s.merchant_id = o.merchant_id and s.order_id = v_id) end,
            'parked', case v_type when 'order.parked' then o.parked end,
            'created_at', public_time(o.created_at))), date_trunc('milliseconds', clock_timestamp()));
    end loop;
    return null;
end
$$;

-- The sale is recorded after the order was made PAID, as the last statement of the transaction.
drop trigger shop_order_tell on shop_order;
create constraint trigger shop_order_tell after update of state, parked on shop_order
    deferrable initially deferred
    for each row when (new.state <> old.state or new.parked is distinct from old.parked)
    execute function tell_of_order();
