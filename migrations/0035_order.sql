-- Orders of the shop, and the payment intent of each.
--
-- An order is made of a cart and never changes but in its state. Everything that moves it is a function
-- here, which names the state that it expects; locks are taken in one order everywhere: cart, order, intent,
-- stock by product, merchant, loyalty.

create table shop_order (
    merchant_id    uuid        not null,
    order_id       uuid        not null,
    account_id     uuid        not null,
    cart_id        uuid        not null,
    -- PENDING: it waits for its payment
    -- PAID: the provider has told of its payment, the pieces are sold
    -- CANCELLED: it was not paid for, or is paid back
    state          text        not null,
    -- held: the pieces are kept for it
    -- released: they are not any more
    -- sold: they left the stock
    hold           text        not null,
    currency       text        collate "C" not null,
    -- minor units; total = subtotal + tax that comes on top - discount
    subtotal_minor bigint      not null,
    -- all tax, in the prices and on top
    tax_minor      bigint      not null,
    discount_minor bigint      not null default 0,
    total_minor    bigint      not null,
    -- given back, or about to be
    refunded_minor bigint      not null default 0,
    -- given back at the provider without the shop, as far as somebody was told of it
    elsewhere_minor bigint     not null default 0,
    -- the customer's account address on its sale
    customer       bytea,
    created_at     timestamptz not null,
    -- the pieces are kept until then
    expires_at     timestamptz not null,
    -- why it is to be cancelled, once that is wanted: expired, customer, merchant, payment_canceled, out_of_stock
    ending         text,
    ending_at      timestamptz,
    -- the provider's event that made it PAID
    paid_event     text,
    paid_at        timestamptz,
    cancelled_at   timestamptz,
    -- whether it is a sale of the record, under its own id as the order id there
    recorded       boolean     not null default false,
    -- when that is tried again, where it failed
    record_at      timestamptz,
    -- why it could not be recorded as a sale, or not be settled: somebody has to look
    parked         text,
    constraint shop_order_pkey primary key (merchant_id, order_id),
    constraint shop_order_cart unique (merchant_id, cart_id),
    constraint shop_order_state check (state in ('PENDING', 'PAID', 'CANCELLED')),
    constraint shop_order_hold check (hold in ('held', 'released', 'sold')),
    constraint shop_order_state_and_hold check (
        (state = 'PENDING' and hold in ('held', 'released') and paid_at is null and cancelled_at is null)
        or (state = 'PAID' and hold = 'sold' and paid_at is not null and paid_event is not null and cancelled_at is null)
        or (state = 'CANCELLED' and hold = 'released' and cancelled_at is not null and ending is not null)),
    constraint shop_order_ending check (
        (ending is null) = (ending_at is null)
        and (ending is null or ending in ('expired', 'customer', 'merchant', 'payment_canceled', 'out_of_stock'))),
    constraint shop_order_sums check (
        subtotal_minor >= 0 and tax_minor >= 0 and discount_minor >= 0 and total_minor >= 0),
    constraint shop_order_refunded check (refunded_minor between 0 and total_minor),
    constraint shop_order_recorded check (not recorded or state = 'PAID')
);

create index shop_order_of_account on shop_order (merchant_id, account_id, order_id);
create index shop_order_pending_of_account on shop_order (merchant_id, account_id) where state = 'PENDING';
-- what the shop has to do something about by itself
create index shop_order_expiring on shop_order (expires_at) where state = 'PENDING';
create index shop_order_unrecorded on shop_order (paid_at) where state = 'PAID' and not recorded;
create index shop_order_parked on shop_order (merchant_id) where parked is not null;

create table shop_order_item (
    merchant_id  uuid    not null,
    order_id     uuid    not null,
    product_id   uuid    not null,
    sku          text    collate "C" not null,
    name         text    not null,
    quantity     bigint  not null,
    price_minor  bigint  not null,
    tax_ppm      integer not null,
    tax_included boolean not null,
    tax_minor    bigint  not null,
    -- of all pieces, with the tax: what is given back for all of them
    total_minor  bigint  not null,
    -- pieces that money was given back for, or is about to be
    refunded     bigint  not null default 0,
    constraint shop_order_item_pkey primary key (merchant_id, order_id, product_id),
    constraint shop_order_item_order foreign key (merchant_id, order_id) references shop_order (merchant_id, order_id),
    constraint shop_order_item_quantity check (quantity >= 1),
    constraint shop_order_item_refunded check (refunded between 0 and quantity)
);

create table payment_intent (
    merchant_id      uuid        not null,
    intent_id        uuid        not null,
    order_id         uuid        not null,
    -- as the provider names it; none until it has answered
    provider_ref     text        collate "C",
    -- before the provider is asked for the first time: from then on it may have it
    asked_at         timestamptz,
    -- requires_payment_method: no way of paying was given, or the last one failed
    -- requires_confirmation: one was given
    -- requires_action: the customer has to do something, such as 3-D Secure
    -- processing: the provider works on it
    -- requires_capture: it is authorised (never asked for here)
    -- canceled: it can succeed no more
    -- succeeded: it is paid
    state            text        not null,
    currency         text        collate "C" not null,
    amount_minor     bigint      not null,
    -- the provider's words for the last refusal
    last_error       text,
    -- when the event was made that last changed it
    event_at         timestamptz,
    created_at       timestamptz not null,
    updated_at       timestamptz not null,
    constraint payment_intent_pkey primary key (merchant_id, intent_id),
    constraint payment_intent_order unique (merchant_id, order_id),
    constraint payment_intent_of_order foreign key (merchant_id, order_id) references shop_order (merchant_id, order_id),
    constraint payment_intent_provider_ref unique (merchant_id, provider_ref),
    constraint payment_intent_state check (state in (
        'requires_payment_method', 'requires_confirmation', 'requires_action', 'processing',
        'requires_capture', 'canceled', 'succeeded')),
    constraint payment_intent_asked check (provider_ref is null or asked_at is not null)
);

create index payment_intent_by_ref on payment_intent (provider_ref) where provider_ref is not null;
create index payment_intent_open on payment_intent (updated_at)
    where state not in ('canceled', 'succeeded');

-- What is in the way of ordering a cart: price_changed, tax_changed, product_inactive, insufficient_stock.
create function cart_problems(p_merchant uuid, p_cart uuid)
returns table (code text, product_id uuid, old_minor bigint, old_currency text, new_minor bigint,
               new_currency text, wanted bigint, available bigint)
language sql stable
set search_path = public, pg_temp
as $$
    select 'product_inactive', l.product_id, null::bigint, null, null::bigint, null, null::bigint, null::bigint
    from cart_line l where l.merchant_id = p_merchant and l.cart_id = p_cart and not l.active
    union all
    select 'price_changed', l.product_id, l.old_price_minor, l.old_currency, l.price_minor, l.currency, null, null
    from cart_line l
    where l.merchant_id = p_merchant and l.cart_id = p_cart
      and (l.old_price_minor, l.old_currency) is distinct from (l.price_minor, l.currency)
    union all
    select 'tax_changed', l.product_id, null, null, null, null, null, null
    from cart_line l where l.merchant_id = p_merchant and l.cart_id = p_cart and l.tax_changed
    union all
    select 'insufficient_stock', l.product_id, null, null, null, null, l.quantity, l.available
    from cart_line l
    where l.merchant_id = p_merchant and l.cart_id = p_cart and l.available < l.quantity
    order by 2, 1;
$$;

-- Makes an order of the account's active cart and holds its pieces until p_expires. placed; empty: there is
-- nothing in the cart; problems: see cart_problems; too_large: more than p_most; zero: there would be nothing
-- to pay; pending: p_pending orders of the account hold pieces already: whoever wants to keep a shop from selling
-- has to sign up for it more than once.
create function place_order(
    p_merchant uuid, p_account uuid, p_order uuid, p_intent uuid, p_customer bytea,
    p_most bigint, p_pending bigint, p_expires timestamptz, p_now timestamptz
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_cart     uuid;
    v_products uuid[];
    v_pieces   bigint[];
    v_total    numeric;
begin
    select c.cart_id into v_cart from cart c
    where c.merchant_id = p_merchant and c.account_id = p_account and c.state = 'active'
    for update;
    if not found then
        return 'empty';
    end if;
    -- items change under the cart's lock alone
    select array_agg(l.product_id order by l.product_id), array_agg(l.quantity order by l.product_id),
           sum(l.total_minor)
    into v_products, v_pieces, v_total
    from cart_line l where l.merchant_id = p_merchant and l.cart_id = v_cart;
    if v_products is null then
        return 'empty';
    elsif exists (select from cart_problems(p_merchant, v_cart)) then
        return 'problems';
    elsif v_total > p_most then
        return 'too_large';
    elsif v_total = 0 then
        return 'zero';
    elsif (select count(*) from shop_order o
           where o.merchant_id = p_merchant and o.account_id = p_account and o.state = 'PENDING') >= p_pending then
        return 'pending';
    elsif exists (select from move_stock(p_merchant, p_order, 'HOLD', v_products, v_pieces, '', p_account, p_now)) then
        return 'problems';
    end if;

    -- one statement, so that the sums are those of the items, whoever edits a product meanwhile
    with item as (
        select l.* from cart_line l where l.merchant_id = p_merchant and l.cart_id = v_cart
    ), ordered as (
        insert into shop_order (merchant_id, order_id, account_id, cart_id, state, hold, currency, subtotal_minor,
                                tax_minor, total_minor, customer, created_at, expires_at)
        select p_merchant, p_order, p_account, v_cart, 'PENDING', 'held', min(i.old_currency), sum(i.line_minor),
               sum(i.tax_minor), sum(i.total_minor), p_customer, p_now, p_expires
        from item i
        returning currency, total_minor
    ), items as (
        insert into shop_order_item (merchant_id, order_id, product_id, sku, name, quantity, price_minor, tax_ppm,
                                     tax_included, tax_minor, total_minor)
        select p_merchant, p_order, i.product_id, i.sku, i.name, i.quantity, i.old_price_minor, i.tax_ppm,
               i.tax_included, i.tax_minor, i.total_minor
        from item i
    )
    insert into payment_intent (merchant_id, intent_id, order_id, state, currency, amount_minor, created_at, updated_at)
    select p_merchant, p_intent, p_order, 'requires_payment_method', o.currency, o.total_minor, p_now, p_now
    from ordered o;
    update cart c set state = 'ordered', updated_at = p_now
    where c.merchant_id = p_merchant and c.cart_id = v_cart;
    return 'placed';
end
$$;

-- Takes off an order what points are worth, in the transaction that placed it; false where nothing would be
-- left to pay.
create function discount_order(p_merchant uuid, p_order uuid, p_minor bigint) returns boolean
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    update shop_order o set discount_minor = p_minor, total_minor = o.total_minor - p_minor
    where o.merchant_id = p_merchant and o.order_id = p_order and o.state = 'PENDING' and o.hold = 'held'
      and o.discount_minor = 0 and p_minor > 0 and p_minor < o.total_minor;
    if not found then
        return false;
    end if;
    update payment_intent i set amount_minor = i.amount_minor - p_minor
    where i.merchant_id = p_merchant and i.order_id = p_order and i.asked_at is null;
    return found;
end
$$;

-- the pieces of an order, for move_stock
create function order_pieces(p_merchant uuid, p_order uuid, out products uuid[], out pieces bigint[])
language sql stable
set search_path = public, pg_temp
as $$
    select array_agg(i.product_id order by i.product_id), array_agg(i.quantity order by i.product_id)
    from shop_order_item i where i.merchant_id = p_merchant and i.order_id = p_order;
$$;

-- Gives the pieces of a locked order back to the shop, if it holds them.
create function release_hold(p_merchant uuid, p_order uuid, p_reason text, p_actor uuid, p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v record;
begin
    update shop_order o set hold = 'released'
    where o.merchant_id = p_merchant and o.order_id = p_order and o.hold = 'held';
    if found then
        select * into v from order_pieces(p_merchant, p_order);
        perform move_stock(p_merchant, p_order, 'RELEASE', v.products, v.pieces, p_reason, p_actor, p_now);
    end if;
end
$$;

-- An order is not wanted any more, or its time is over: its pieces go back to the shop at once. It becomes
-- CANCELLED at once too where the provider was never asked; else that has to cancel the intent first, as
-- whoever cancels on one side alone may be paid on the other.
-- cancelled; ending: the provider has to be asked; paid; unknown. p_account: whose order, where that matters
create function end_order(
    p_merchant uuid, p_order uuid, p_account uuid, p_reason text, p_actor uuid, p_now timestamptz
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    o       shop_order;
    v_ended boolean;
begin
    select * into o from shop_order x
    where x.merchant_id = p_merchant and x.order_id = p_order
      and (p_account is null or x.account_id = p_account)
    for update;
    if not found then
        return 'unknown';
    elsif o.state = 'PAID' then
        return 'paid';
    elsif o.state = 'CANCELLED' then
        return 'cancelled';
    end if;
    -- whoever does not want it any more has the last word over the clock
    update shop_order x set ending = p_reason, ending_at = p_now
    where x.merchant_id = p_merchant and x.order_id = p_order and (x.ending is null or x.ending = 'expired');
    -- paid another amount, and the merchant has dealt with that: its intent has ended already
    update payment_intent i
    set state = case when i.state = 'succeeded' then i.state else 'canceled' end, updated_at = p_now
    where i.merchant_id = p_merchant and i.order_id = p_order
      and (i.asked_at is null or i.state = 'succeeded' and p_reason = 'merchant');
    v_ended := found;
    perform release_hold(p_merchant, p_order, p_reason, p_actor, p_now);
    if not v_ended then
        return 'ending';
    end if;
    update shop_order x set state = 'CANCELLED', cancelled_at = p_now, parked = null
    where x.merchant_id = p_merchant and x.order_id = p_order and x.state = 'PENDING';
    return 'cancelled';
end
$$;

revoke all on function cart_problems, place_order, discount_order, order_pieces, release_hold, end_order from public;
grant execute on function cart_problems, place_order, discount_order, end_order to counterfoil_api;
grant select on shop_order, shop_order_item, payment_intent to counterfoil_api;
