-- Refunds of PAID orders: money, pieces and the refund in the record of sales.

-- What is given back for p_pieces more of an item, of which p_before were given back for already: shares of
-- its total that add up to it exactly, each rounded down but for the last.
create function refund_share(p_total bigint, p_quantity bigint, p_before bigint, p_pieces bigint) returns bigint
language sql immutable
set search_path = public, pg_temp
as $$
    select (div(p_total::numeric * (p_before + p_pieces), p_quantity) - div(p_total::numeric * p_before, p_quantity))::bigint;
$$;

-- Reserves a refund, which the provider is asked for after the commit. With p_products the amount is their
-- share unless p_amount is given; with neither it is all that is left, pieces and money.
-- refunding; unknown; not_paid; parked: somebody has to look at the order first; nothing: no money is left, or
-- none comes out; currency: the order is in another; exceeds: more than is left; pieces: more pieces of a product than are left, or none of the order's
create function begin_refund(
    p_merchant uuid, p_order uuid, p_refund uuid, p_amount bigint, p_currency text, p_products uuid[],
    p_pieces bigint[], p_restock boolean, p_reason text, p_actor uuid, p_now timestamptz
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    o          shop_order;
    v_products uuid[] := p_products;
    v_pieces   bigint[] := p_pieces;
    v_amount   bigint := p_amount;
    v_left     bigint;
begin
    select * into o from shop_order x
    where x.merchant_id = p_merchant and x.order_id = p_order for update;
    if not found then
        return 'unknown';
    elsif o.state <> 'PAID' then
        return 'not_paid';
    elsif o.parked is not null then
        return 'parked';
    end if;
    v_left := o.total_minor - o.refunded_minor;
    if p_amount is null and p_products is null then
        select array_agg(i.product_id), array_agg(i.quantity - i.refunded) into v_products, v_pieces
        from shop_order_item i
        where i.merchant_id = p_merchant and i.order_id = p_order and i.refunded < i.quantity;
        v_amount := v_left;
    end if;
    if v_products is not null then
        if (select count(*) from unnest(v_products, v_pieces) w (product, pieces)
            join shop_order_item i on i.merchant_id = p_merchant and i.order_id = p_order
                and i.product_id = w.product and w.pieces <= i.quantity - i.refunded) < cardinality(v_products) then
            return 'pieces';
        end if;
        if v_amount is null then
            select sum(refund_share(i.total_minor, i.quantity, i.refunded, w.pieces)) into v_amount
            from unnest(v_products, v_pieces) w (product, pieces)
            join shop_order_item i on i.merchant_id = p_merchant and i.order_id = p_order and i.product_id = w.product;
            -- what points paid, they paid of each part: in money goes back that part's share of what was paid in money
            select refund_share(o.total_minor, o.total_minor + o.discount_minor,
                                sum(refund_share(i.total_minor, i.quantity, 0, i.refunded))::bigint, v_amount)
            into v_amount
            from shop_order_item i where i.merchant_id = p_merchant and i.order_id = p_order;
            v_amount := least(v_amount, v_left);
        end if;
    end if;
    if p_currency <> o.currency then
        return 'currency';
    elsif v_amount > v_left then
        return 'exceeds';
    elsif coalesce(v_amount, 0) = 0 then
        return 'nothing';
    end if;
    insert into shop_refund (merchant_id, refund_id, order_id, state, currency, amount_minor, cause, reason, restock,
                             actor, created_at, next_at)
    values (p_merchant, p_refund, p_order, 'pending', o.currency, v_amount, 'requested', p_reason, p_restock,
            p_actor, p_now, p_now);
    insert into shop_refund_item (merchant_id, refund_id, product_id, quantity)
    select p_merchant, p_refund, w.product, w.pieces from unnest(v_products, v_pieces) w (product, pieces);
    update shop_order_item i set refunded = i.refunded + w.pieces
    from unnest(v_products, v_pieces) w (product, pieces)
    where i.merchant_id = p_merchant and i.order_id = p_order and i.product_id = w.product;
    update shop_order x set refunded_minor = x.refunded_minor + v_amount
    where x.merchant_id = p_merchant and x.order_id = p_order;
    return 'refunding';
end
$$;

-- Takes a refund whose time has come, so that no other process asks for it for p_claim; no row: there is none.
create function claim_refund(p_merchant uuid, p_refund uuid, p_claim interval, p_now timestamptz)
returns table (merchant_id uuid, refund_id uuid, order_id uuid, amount_minor bigint, currency text, cause text,
               provider_ref text, intent_ref text, tries integer, mode text)
language sql volatile security definer
set search_path = public, pg_temp
as $$
    update shop_refund r set next_at = p_now + p_claim, tries = r.tries + 1
    from payment_intent i, merchant m
    where (r.merchant_id, r.refund_id) = (
            select d.merchant_id, d.refund_id from shop_refund d
            where d.state = 'pending' and d.next_at <= p_now
              and (p_merchant is null or d.merchant_id = p_merchant and d.refund_id = p_refund)
            order by d.next_at limit 1 for update skip locked)
      and i.merchant_id = r.merchant_id and i.order_id = r.order_id and m.merchant_id = r.merchant_id
    returning r.merchant_id, r.refund_id, r.order_id, r.amount_minor, r.currency, r.cause, r.provider_ref,
              i.provider_ref, r.tries, m.mode;
$$;

-- The provider works on a refund, or could not be asked: it is asked again at p_next. Money of nobody's order
-- that it will not take back again and again: somebody has to look.
create function note_refund(p_merchant uuid, p_refund uuid, p_ref text, p_error text, p_next timestamptz) returns void
language sql volatile security definer
set search_path = public, pg_temp
as $$
    update shop_refund r
    set provider_ref = coalesce(r.provider_ref, p_ref), last_error = p_error, next_at = p_next,
        parked = case when r.cause <> 'requested' and r.tries >= 5 then coalesce(p_error, r.parked) else r.parked end
    where r.merchant_id = p_merchant and r.refund_id = p_refund and r.state = 'pending';
$$;

-- The provider has given the money back, or will not.
-- settled, now; record: likewise, and is to be recorded in this transaction, as its last statement; already;
-- unknown; reversed: it was told to have succeeded before, and did not in the end: somebody has to look
create function settle_refund(
    p_merchant uuid, p_refund uuid, p_ref text, p_succeeded boolean, p_error text, p_now timestamptz
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    o shop_order;
    r shop_refund;
    v record;
    v_record boolean;
begin
    -- the order first, as everywhere
    select * into o from shop_order x
    where x.merchant_id = p_merchant
      and x.order_id = (select y.order_id from shop_refund y
                        where y.merchant_id = p_merchant and y.refund_id = p_refund)
    for update;
    select * into r from shop_refund x
    where x.merchant_id = p_merchant and x.refund_id = p_refund for update;
    if not found then
        return 'unknown';
    elsif r.state = 'succeeded' and not p_succeeded then
        -- pieces, points and record stay as they are, and so does what is left to refund: the customer has to be
        -- paid another way
        update shop_refund x
        set state = 'failed', last_error = p_error, parked = 'the provider could not give it back after all'
        where x.merchant_id = p_merchant and x.refund_id = p_refund;
        return 'reversed';
    elsif r.state = 'failed' and p_succeeded and r.provider_ref is null then
        -- it was noted as failed here, and was made all the same
        update shop_refund x set provider_ref = p_ref, parked = 'it was given back after it was noted as failed'
        where x.merchant_id = p_merchant and x.refund_id = p_refund;
        update shop_order x set refunded_minor = least(x.total_minor, x.refunded_minor + r.amount_minor)
        where x.merchant_id = p_merchant and x.order_id = r.order_id;
        return 'reversed';
    elsif r.state <> 'pending' then
        return 'already';
    end if;
    v_record := p_succeeded and r.cause = 'requested' and o.recorded;
    update shop_refund x
    set state = case when p_succeeded then 'succeeded' else 'failed' end, recorded = v_record,
        provider_ref = coalesce(x.provider_ref, p_ref), last_error = p_error, settled_at = p_now,
        -- money of nobody's order that cannot be given back: somebody has to look
        parked = case when not p_succeeded and r.cause <> 'requested' then coalesce(p_error, 'refused') end
    where x.merchant_id = p_merchant and x.refund_id = p_refund and x.state = 'pending';
    select array_agg(i.product_id order by i.product_id) as products,
           array_agg(i.quantity order by i.product_id) as pieces
    into v from shop_refund_item i where i.merchant_id = p_merchant and i.refund_id = p_refund;
    if p_succeeded then
        if r.restock and v.products is not null then
            perform move_stock(p_merchant, r.order_id, 'RETURN', v.products, v.pieces, r.reason, r.actor, p_now);
        end if;
    else
        update shop_order_item i set refunded = i.refunded - w.pieces
        from unnest(v.products, v.pieces) w (product, pieces)
        where i.merchant_id = p_merchant and i.order_id = r.order_id and i.product_id = w.product;
        update shop_order x set refunded_minor = x.refunded_minor - r.amount_minor
        where x.merchant_id = p_merchant and x.order_id = r.order_id;
    end if;
    return case when v_record then 'record' else 'settled' end;
end
$$;

-- A refund that was given is about to be recorded, or could not be: why.
create function note_refund_sale(p_merchant uuid, p_refund uuid, p_parked text) returns boolean
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    update shop_refund r
    set recorded = p_parked is null, parked = p_parked, record_at = clock_timestamp() + interval '1 minute'
    where r.merchant_id = p_merchant and r.refund_id = p_refund and r.state = 'succeeded'
      and r.cause = 'requested' and r.recorded = (p_parked is not null);
    return found;
end
$$;

revoke all on function refund_share, begin_refund, claim_refund, note_refund, settle_refund, note_refund_sale from public;
grant execute on function begin_refund, claim_refund, note_refund, settle_refund, note_refund_sale to counterfoil_api;
