-- What an order or a refund is parked for, and how it is parked no more.

alter table shop_refund
    -- whether refund.failed has told that it is parked: each try parks it anew
    add column parked_told boolean not null default false;

-- As before, but what it is parked for is told once.
create or replace function tell_of_refund() returns trigger
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_parks constant boolean := new.parked is not null and not new.parked_told;
begin
    if new.state = old.state and not v_parks then
        return null;
    end if;
    perform emit_event(new.merchant_id, null,
        case when new.state = 'failed' or v_parks then 'refund.failed'
             when new.cause = 'requested' then 'order.refunded'
             else 'payment.returned' end,
        jsonb_strip_nulls(jsonb_build_object(
            'id', public_id('re_', new.refund_id),
            'order_id', public_id('ord_', new.order_id),
            'status', new.state,
            'cause', new.cause,
            'amount', public_minor(new.amount_minor, new.currency),
            'last_error', new.last_error)), date_trunc('milliseconds', clock_timestamp()));
    if v_parks then
        update shop_refund r set parked_told = true
        where r.merchant_id = new.merchant_id and r.refund_id = new.refund_id;
    end if;
    return null;
end
$$;
drop trigger shop_refund_tell on shop_refund;
create trigger shop_refund_tell after update of state, parked on shop_refund
    for each row when (new.state <> old.state or new.parked is not null and new.parked is distinct from old.parked)
    execute function tell_of_refund();

-- Money went back of a payment (by the provider's name) that no refund here is for: somebody gave it back at
-- the provider. The books are not changed; somebody has to look, beside what the order is parked for already. Whether
-- it was parked for it.
create or replace function note_charge(p_ref text, p_refunded bigint) returns boolean
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    update shop_order o
    set parked = concat_ws('; ', o.parked,
                           format('the provider gave back %s in minor units, more than was asked for here', p_refunded)),
        elsewhere_minor = p_refunded - w.asked
    from payment_intent i
    cross join lateral (select coalesce(sum(r.amount_minor), 0)::bigint as asked from shop_refund r
                        where r.merchant_id = i.merchant_id and r.order_id = i.order_id and r.state <> 'failed') w
    where i.provider_ref = p_ref and o.merchant_id = i.merchant_id and o.order_id = i.order_id
      -- what is still to be recorded is parked anew with each try: this is noted when the provider tells of it after
      and (o.parked is null or o.recorded or o.state <> 'PAID')
      -- the provider names all that went back so far: what somebody has looked at is not told again
      and p_refunded > w.asked + o.elsewhere_minor;
    return found;
end
$$;

-- Somebody has looked at a parked order, or at its parked refunds, and dealt with what was wrong. unparked; unknown;
-- not_parked; pending: nothing was sold, so it is to be cancelled instead. What it was parked for, what was done and by
-- whom is told by an event.
create function unpark_order(p_merchant uuid, p_order uuid, p_reason text, p_by text) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    o     shop_order;
    v_was text[];
begin
    select * into o from shop_order x where x.merchant_id = p_merchant and x.order_id = p_order for update;
    if not found then
        return 'unknown';
    end if;
    v_was := array_remove(array[o.parked], null) || array(
        select r.parked from shop_refund r
        where r.merchant_id = p_merchant and r.order_id = p_order and r.parked is not null order by r.refund_id);
    if cardinality(v_was) = 0 then
        return 'not_parked';
    elsif o.state = 'PENDING' then
        return 'pending';
    end if;
    update shop_order x set parked = null, parked_told = null
    where x.merchant_id = p_merchant and x.order_id = p_order;
    update shop_refund r set parked = null, parked_told = false
    where r.merchant_id = p_merchant and r.order_id = p_order and r.parked is not null;
    perform emit_event(p_merchant, null, 'order.unparked', jsonb_build_object(
        'id', public_id('ord_', p_order), 'was', v_was, 'reason', p_reason, 'by', p_by),
        date_trunc('milliseconds', clock_timestamp()));
    return 'unparked';
end
$$;
revoke all on function unpark_order from public;
grant execute on function unpark_order to counterfoil_api;
