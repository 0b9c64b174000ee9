-- Somebody has looked at a parked order, or at its parked refunds, and dealt with what was wrong. unparked; unknown;
-- pending: it waits for its payment, and is to be cancelled instead; not_parked. What it was parked for, what was done
-- and by whom stay in its event.
create function unpark_order(p_merchant uuid, p_order uuid, p_reason text, p_by text, p_now timestamptz) returns text
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
    elsif o.state = 'PENDING' then
        return 'pending';
    end if;
    v_was := array_remove(array[o.parked], null) || array(
        select r.parked from shop_refund r
        where r.merchant_id = p_merchant and r.order_id = p_order and r.parked is not null order by r.refund_id);
    if cardinality(v_was) = 0 then
        return 'not_parked';
    end if;
    update shop_order x set parked = null where x.merchant_id = p_merchant and x.order_id = p_order;
    update shop_refund r set parked = null
    where r.merchant_id = p_merchant and r.order_id = p_order and r.parked is not null;
    perform emit_event(p_merchant, null, 'order.unparked', jsonb_build_object(
        'id', public_id('ord_', p_order), 'was', v_was, 'reason', p_reason, 'by', p_by), p_now);
    return 'unparked';
end
$$;
revoke all on function unpark_order from public;
grant execute on function unpark_order to counterfoil_api;
