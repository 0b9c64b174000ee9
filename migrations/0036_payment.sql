-- What the payment provider tells, and what follows from it. Only a verified event makes an order PAID, and
-- each event does once what it does.

create table provider_event (
    merchant_id uuid        not null,
    -- as the provider names it
    event_id    text        collate "C" not null,
    type        text        not null,
    intent_id   uuid,
    received_at timestamptz not null,
    constraint provider_event_pkey primary key (merchant_id, event_id)
);

create table shop_refund (
    merchant_id  uuid        not null,
    refund_id    uuid        not null,
    order_id     uuid        not null,
    -- pending: the provider is to be asked, or works on it
    -- succeeded: the money is given back
    -- failed: it is not; nothing else of it was done
    state        text        not null,
    currency     text        collate "C" not null,
    amount_minor bigint      not null,
    -- requested: somebody asked for it
    -- out_of_stock, order_cancelled: the payment came too late, so it was given back by itself
    cause        text        not null,
    reason       text        not null default '',
    -- whether the pieces go back into the stock
    restock      boolean     not null,
    provider_ref text        collate "C",
    last_error   text,
    actor        uuid,
    created_at   timestamptz not null,
    -- when the provider is asked, again
    next_at      timestamptz not null,
    tries        integer     not null default 0,
    settled_at   timestamptz,
    -- whether it is a refund of the record of sales, under its own id as the order id there
    recorded     boolean     not null default false,
    -- when that is tried again, where it failed
    record_at    timestamptz,
    parked       text,
    constraint shop_refund_pkey primary key (merchant_id, refund_id),
    constraint shop_refund_of_order foreign key (merchant_id, order_id) references shop_order (merchant_id, order_id),
    constraint shop_refund_state check (state in ('pending', 'succeeded', 'failed')),
    constraint shop_refund_settled check ((state = 'pending') = (settled_at is null)),
    constraint shop_refund_cause check (cause in ('requested', 'out_of_stock', 'order_cancelled')),
    constraint shop_refund_amount check (amount_minor > 0),
    -- a recorded one may fail days after it had succeeded: the record of sales keeps it
    constraint shop_refund_recorded check (not recorded or state <> 'pending' and cause = 'requested')
);

create index shop_refund_of on shop_refund (merchant_id, order_id, refund_id);
create index shop_refund_parked on shop_refund (merchant_id) where parked is not null;
create index shop_refund_due on shop_refund (next_at) where state = 'pending';
create index shop_refund_unrecorded on shop_refund (settled_at)
    where state = 'succeeded' and cause = 'requested' and not recorded;

create table shop_refund_item (
    merchant_id uuid   not null,
    refund_id   uuid   not null,
    product_id  uuid   not null,
    quantity    bigint not null,
    constraint shop_refund_item_pkey primary key (merchant_id, refund_id, product_id),
    constraint shop_refund_item_of foreign key (merchant_id, refund_id) references shop_refund (merchant_id, refund_id),
    constraint shop_refund_item_quantity check (quantity >= 1)
);

-- Before the provider is asked to make an intent: from now on it may have it. False where the order is not
-- to be paid any more.
create function ask_for_intent(p_merchant uuid, p_intent uuid, p_now timestamptz) returns boolean
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_order uuid;
begin
    select i.order_id into v_order from payment_intent i
    where i.merchant_id = p_merchant and i.intent_id = p_intent;
    perform from shop_order o
    where o.merchant_id = p_merchant and o.order_id = v_order and o.state = 'PENDING' and o.ending is null
    for update;
    if not found then
        return false;
    end if;
    update payment_intent i set asked_at = coalesce(i.asked_at, p_now)
    where i.merchant_id = p_merchant and i.intent_id = p_intent;
    return true;
end
$$;

-- What the provider says of an intent that is neither paid nor canceled. What was said before and what comes
-- after its end changes nothing; the provider's times are whole seconds. Without a refusal requires_payment_method is
-- the state that it was made in, of which a call or an event may tell late: it takes the place of none.
create function note_intent(
    p_merchant uuid, p_intent uuid, p_ref text, p_state text, p_error text, p_at timestamptz, p_now timestamptz
) returns void
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    if p_state in ('succeeded', 'canceled') then
        raise exception 'an intent ends by settle_payment or cancel_intent' using errcode = 'check_violation';
    end if;
    update payment_intent i
    set provider_ref = coalesce(i.provider_ref, p_ref), asked_at = coalesce(i.asked_at, p_now),
        state = case when i.state in ('succeeded', 'canceled') or date_trunc('second', i.event_at) > p_at
                       or p_state = 'requires_payment_method' and p_error is null then i.state else p_state end,
        last_error = case when i.state in ('succeeded', 'canceled') or date_trunc('second', i.event_at) > p_at then i.last_error
                          else coalesce(p_error, i.last_error) end,
        event_at = greatest(i.event_at, p_at), updated_at = p_now
    where i.merchant_id = p_merchant and i.intent_id = p_intent;
end
$$;

-- The provider could not be asked: the intent waits behind the others.
create function defer_intent(p_merchant uuid, p_intent uuid, p_now timestamptz) returns void
language sql volatile security definer
set search_path = public, pg_temp
as $$
    update payment_intent i set updated_at = p_now
    where i.merchant_id = p_merchant and i.intent_id = p_intent and i.state not in ('canceled', 'succeeded');
$$;

-- The provider has canceled an intent: it can succeed no more, so its order is CANCELLED.
-- cancelled, now or before; paid; unknown
create function cancel_intent(p_merchant uuid, p_intent uuid, p_ref text, p_now timestamptz) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    o shop_order;
begin
    select x.* into o from shop_order x
    where x.merchant_id = p_merchant
      and x.order_id = (select i.order_id from payment_intent i
                        where i.merchant_id = p_merchant and i.intent_id = p_intent)
    for update;
    if not found then
        return 'unknown';
    elsif o.state = 'PAID' then
        return 'paid';
    end if;
    update payment_intent i
    set state = 'canceled', provider_ref = coalesce(i.provider_ref, p_ref), asked_at = coalesce(i.asked_at, p_now),
        updated_at = p_now
    where i.merchant_id = p_merchant and i.intent_id = p_intent and i.state <> 'succeeded';
    if o.state = 'PENDING' then
        perform release_hold(p_merchant, o.order_id, coalesce(o.ending, 'payment_canceled'), null, p_now);
        update shop_order x
        set state = 'CANCELLED', cancelled_at = p_now,
            ending = coalesce(x.ending, 'payment_canceled'), ending_at = coalesce(x.ending_at, p_now)
        where x.merchant_id = p_merchant and x.order_id = o.order_id and x.state = 'PENDING';
    end if;
    return 'cancelled';
end
$$;

-- The provider has the money of an intent.
-- paid: the order is PAID now, and is to be recorded in this transaction, as its last statement; already: it was told before
-- refunding: the order was not to be paid any more, or its pieces are gone; the money goes back as p_refund
-- mismatch: another amount than the order's; somebody has to look
-- unknown: there is no such intent
create function settle_payment(
    p_merchant uuid, p_intent uuid, p_ref text, p_amount bigint, p_currency text, p_event text, p_refund uuid,
    p_now timestamptz
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    o        shop_order;
    i        payment_intent;
    v        record;
    v_cause  text;
begin
    select x.* into o from shop_order x
    where x.merchant_id = p_merchant
      and x.order_id = (select y.order_id from payment_intent y
                        where y.merchant_id = p_merchant and y.intent_id = p_intent)
    for update;
    if not found then
        return 'unknown';
    end if;
    select y.* into i from payment_intent y
    where y.merchant_id = p_merchant and y.intent_id = p_intent for update;
    if i.state = 'succeeded' and i.provider_ref is distinct from p_ref then
        update shop_order x set parked = format('it was paid twice: also as %s', p_ref)
        where x.merchant_id = p_merchant and x.order_id = o.order_id;
        return 'mismatch';
    elsif i.state = 'succeeded' then
        return 'already';
    end if;
    -- the one that has the money, whichever was known before
    update payment_intent y
    set state = 'succeeded', provider_ref = p_ref, asked_at = coalesce(y.asked_at, p_now),
        last_error = null, updated_at = p_now
    where y.merchant_id = p_merchant and y.intent_id = p_intent;
    if (p_amount, p_currency) is distinct from (i.amount_minor, i.currency) then
        update shop_order x
        set parked = format('the provider has %s %s in minor units', p_amount, p_currency)
        where x.merchant_id = p_merchant and x.order_id = o.order_id;
        perform release_hold(p_merchant, o.order_id, 'another amount was paid', null, p_now);
        return 'mismatch';
    end if;

    select * into v from order_pieces(p_merchant, o.order_id);
    if o.state = 'CANCELLED' or o.ending in ('customer', 'merchant', 'payment_canceled') then
        v_cause := 'order_cancelled';
    elsif o.hold = 'released' then
        -- too late, and still there: the pieces are held once more
        if exists (select from move_stock(p_merchant, o.order_id, 'HOLD', v.products, v.pieces, 'late payment', null, p_now)) then
            v_cause := 'out_of_stock';
        end if;
    end if;
    if v_cause is not null then
        perform release_hold(p_merchant, o.order_id, v_cause, null, p_now);
        update shop_order x
        set state = 'CANCELLED', cancelled_at = coalesce(x.cancelled_at, p_now),
            ending = case when v_cause = 'out_of_stock' then v_cause else x.ending end,
            ending_at = coalesce(x.ending_at, p_now), refunded_minor = x.total_minor
        where x.merchant_id = p_merchant and x.order_id = o.order_id;
        insert into shop_refund (merchant_id, refund_id, order_id, state, currency, amount_minor, cause, restock,
                                 created_at, next_at)
        values (p_merchant, p_refund, o.order_id, 'pending', o.currency, o.total_minor, v_cause, false, p_now, p_now);
        return 'refunding';
    end if;

    perform move_stock(p_merchant, o.order_id, 'SALE', v.products, v.pieces, '', null, p_now);
    update shop_order x
    set state = 'PAID', hold = 'sold', paid_at = p_now, paid_event = p_event, recorded = true, ending = null, ending_at = null
    where x.merchant_id = p_merchant and x.order_id = o.order_id and x.state = 'PENDING';
    return 'paid';
end
$$;

-- A PAID order is about to be recorded, or could not be: why.
create function note_order_sale(p_merchant uuid, p_order uuid, p_parked text) returns boolean
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    update shop_order o
    set recorded = p_parked is null, parked = p_parked, record_at = clock_timestamp() + interval '1 minute'
    where o.merchant_id = p_merchant and o.order_id = p_order and o.state = 'PAID'
      and o.recorded = (p_parked is not null);
    return found;
end
$$;

-- Money went back of a payment (by the provider's name) that no refund here is for: somebody gave it back at
-- the provider. The books are not changed; somebody has to look. Whether an order was parked for it.
create function note_charge(p_ref text, p_refunded bigint) returns boolean
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    update shop_order o
    set parked = format('the provider gave back %s in minor units, more than was asked for here', p_refunded),
        elsewhere_minor = p_refunded - w.asked
    from payment_intent i
    cross join lateral (select coalesce(sum(r.amount_minor), 0)::bigint as asked from shop_refund r
                        where r.merchant_id = i.merchant_id and r.order_id = i.order_id and r.state <> 'failed') w
    where i.provider_ref = p_ref and o.merchant_id = i.merchant_id and o.order_id = i.order_id
      and o.parked is null
      -- the provider names all that went back so far: what somebody has looked at is not told again
      and p_refunded > w.asked + o.elsewhere_minor;
    return found;
end
$$;

revoke all on function note_charge from public;
grant execute on function note_charge to counterfoil_api;
revoke all on function ask_for_intent, note_intent, defer_intent, cancel_intent, settle_payment, note_order_sale from public;
grant execute on function ask_for_intent, note_intent, defer_intent, cancel_intent, settle_payment, note_order_sale to counterfoil_api;
grant select, insert on provider_event to counterfoil_api;
grant select on shop_refund, shop_refund_item to counterfoil_api;
