-- What is told of orders, their payments and refunds, and of points. Written by triggers, as in 0042, so that no
-- way of making a change is left out: a handler, the provider's event, or the shop by itself. Amounts are minor
-- units: how many decimals a currency has, the database does not know.

create function public_minor(p_minor bigint, p_currency text) returns jsonb
language sql immutable strict parallel safe
return jsonb_build_object('currency', p_currency, 'minor', p_minor);

create function tell_of_order() returns trigger
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    -- as it is when the transaction that placed it ends: points may have paid a part by then
    o      shop_order;
    v_what text[] := '{}';
    v_type text;
begin
    select * into o from shop_order x where x.merchant_id = new.merchant_id and x.order_id = new.order_id;
    if tg_op = 'INSERT' then
        v_what := v_what || 'order.created'::text;
    elsif new.state <> old.state then
        v_what := v_what || case new.state when 'PAID' then 'order.paid' else 'order.cancelled' end;
    end if;
    if tg_op = 'UPDATE' and new.parked is not null and old.parked is null then
        v_what := v_what || 'order.parked'::text;
    end if;
    foreach v_type in array v_what loop
        perform emit_event(o.merchant_id, null, v_type, jsonb_strip_nulls(jsonb_build_object(
            'id', public_id('ord_', o.order_id),
            'state', case v_type when 'order.created' then 'PENDING' else new.state end,
            'ending', new.ending,
            'customer_id', public_id('cus_', o.account_id),
            'total', public_minor(o.total_minor, o.currency),
            'refunded', public_minor(o.refunded_minor, o.currency),
            'parked', case v_type when 'order.parked' then new.parked end,
            'created_at', public_time(o.created_at))), date_trunc('milliseconds', clock_timestamp()));
    end loop;
    return null;
end
$$;

create constraint trigger shop_order_tell_made after insert on shop_order
    deferrable initially deferred
    for each row execute function tell_of_order();

create trigger shop_order_tell after update of state, parked on shop_order
    for each row when (new.state <> old.state or new.parked is not null and old.parked is null)
    execute function tell_of_order();

-- Once for the same words in a row: the answer to a call and the provider's event say the same.
create function tell_of_payment() returns trigger
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    perform emit_event(new.merchant_id, null, 'payment.failed', jsonb_build_object(
        'id', public_id('pi_', new.intent_id),
        'order_id', public_id('ord_', new.order_id),
        'status', new.state,
        'amount', public_minor(new.amount_minor, new.currency),
        'last_error', new.last_error), date_trunc('milliseconds', clock_timestamp()));
    return null;
end
$$;

create trigger payment_intent_tell after update of last_error on payment_intent
    for each row when (new.last_error is not null and new.last_error is distinct from old.last_error)
    execute function tell_of_payment();

create function tell_of_refund() returns trigger
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    perform emit_event(new.merchant_id, null,
        case when new.state = 'failed' or new.parked is not null and old.parked is null then 'refund.failed'
             when new.cause = 'requested' then 'order.refunded'
             else 'payment.returned' end,
        jsonb_strip_nulls(jsonb_build_object(
            'id', public_id('re_', new.refund_id),
            'order_id', public_id('ord_', new.order_id),
            'status', new.state,
            'cause', new.cause,
            'amount', public_minor(new.amount_minor, new.currency),
            'last_error', new.last_error)), date_trunc('milliseconds', clock_timestamp()));
    return null;
end
$$;

create trigger shop_refund_tell after update of state, parked on shop_refund
    for each row when (new.state <> old.state or new.parked is not null and old.parked is null)
    execute function tell_of_refund();

-- One event for what a sale, a refund, a redemption or a person did to a member's points, whatever lots it
-- came from. Entries that only move points between lots and what is owed are told of to nobody.
create function tell_of_points() returns trigger
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    if not exists (
        select from webhook_endpoint e
        where e.merchant_id in (select n.merchant_id from new_entry n) and e.state = 'enabled'
          and (e.types && array['*', 'points.earned', 'points.redeemed', 'points.given_back',
                                'points.clawed_back', 'points.adjusted', 'points.expired'])) then
        return null;
    end if;
    perform emit_event(t.merchant_id, null,
        case t.kind when 'earn' then 'points.earned'
                    when 'redeem' then 'points.redeemed'
                    when 'give_back' then 'points.given_back'
                    when 'claw_back' then 'points.clawed_back'
                    when 'adjust' then 'points.adjusted'
                    else 'points.expired' end,
        jsonb_strip_nulls(jsonb_build_object(
            'member', case octet_length(t.member)
                when 16 then public_id('cus_', encode(t.member, 'hex')::uuid) else public_hex(t.member) end,
            'points', trim_scale(t.points / 10000)::text,
            'sale_id', public_id('sale_', t.sale_id),
            'refund_id', public_id('sale_', t.refund_id),
            'redemption_id', public_id('rdm_', t.redemption_id),
            'reason', t.reason)), t.recorded_at)
    from (
        select n.merchant_id, n.member, n.kind, n.sale_id, n.refund_id, n.redemption_id, n.reason, n.recorded_at,
               sum(n.points) as points
        from new_entry n where n.kind <> 'settle'
        group by n.merchant_id, n.member, n.kind, n.sale_id, n.refund_id, n.redemption_id, n.reason, n.recorded_at) t;
    return null;
end
$$;

create trigger loyalty_entry_tell after insert on loyalty_entry
    referencing new table as new_entry
    for each statement execute function tell_of_points();

revoke all on function public_minor, tell_of_order, tell_of_payment, tell_of_refund, tell_of_points from public;
