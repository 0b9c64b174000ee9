-- Products, what of them is on hand, and every movement of it.
--
-- Stock stands in a table of its own: it changes with every order, while a product changes when somebody
-- edits it. The API's role writes neither stock nor movements but through move_stock, so that the ledger
-- sums to what is on hand and held, and no order takes what is not there.

create table product (
    merchant_id  uuid        not null,
    product_id   uuid        not null,
    -- the article's number, unique within the shop
    sku          text        collate "C" not null,
    name         text        not null,
    description  text        not null default '',
    currency     text        collate "C" not null,
    -- of one piece, minor units
    price_minor  bigint      not null,
    -- millionths: 180000 is 18 %
    tax_ppm      integer     not null,
    -- whether the price holds the tax, as on a shelf, or it comes on top
    tax_included boolean     not null,
    -- what is not active is shown to customers no more and cannot be bought
    active       boolean     not null,
    -- counts the edits
    version      bigint      not null default 1,
    created_at   timestamptz not null,
    updated_at   timestamptz not null,
    constraint product_pkey primary key (merchant_id, product_id),
    constraint product_sku unique (merchant_id, sku),
    constraint product_merchant foreign key (merchant_id) references merchant (merchant_id),
    constraint product_sku_chars check (char_length(sku) between 1 and 64),
    constraint product_name_chars check (char_length(name) between 1 and 200),
    constraint product_description_chars check (char_length(description) <= 2000),
    constraint product_price check (price_minor between 0 and 1000000000000),
    constraint product_tax check (tax_ppm between 0 and 1000000),
    constraint product_version check (version >= 1)
);

-- a product without a row never had any
create table stock (
    merchant_id uuid   not null,
    product_id  uuid   not null,
    -- pieces in the shop
    on_hand     bigint not null default 0,
    -- of these, pieces that pending orders hold
    held        bigint not null default 0,
    constraint stock_pkey primary key (merchant_id, product_id),
    constraint stock_product foreign key (merchant_id, product_id) references product (merchant_id, product_id),
    constraint stock_never_below_zero check (held >= 0 and held <= on_hand)
    -- updated by every order: room on the page keeps those updates off the index
) with (fillfactor = 50);

create table stock_movement (
    merchant_id uuid        not null,
    movement_no bigint      generated always as identity,
    product_id  uuid        not null,
    -- HOLD: an order was placed; RELEASE: it was not paid for in time, or is not wanted any more
    -- SALE: it was paid for; RETURN: it came back; ADJUST: somebody counted
    kind        text        not null,
    on_hand     bigint      not null,
    held        bigint      not null,
    order_id    uuid,
    reason      text        not null default '',
    -- the key or account that did it; none where the shop itself did
    actor       uuid,
    created_at  timestamptz not null,
    constraint stock_movement_pkey primary key (merchant_id, movement_no),
    constraint stock_movement_kind check (
        (kind = 'HOLD' and on_hand = 0 and held > 0)
        or (kind = 'RELEASE' and on_hand = 0 and held < 0)
        or (kind = 'SALE' and on_hand < 0 and held = on_hand)
        or (kind = 'RETURN' and on_hand > 0 and held = 0)
        or (kind = 'ADJUST' and on_hand <> 0 and held = 0)),
    constraint stock_movement_order check ((order_id is null) = (kind = 'ADJUST'))
);

create index stock_movement_product on stock_movement (merchant_id, product_id, movement_no);

-- Moves p_quantities of p_products, all of them or none: where too little is there, what was wanted and
-- what is available of each such product is returned and nothing moves. Rows are locked in the order of
-- their products, so that no two orders wait for one another in a circle. Of an ADJUST the quantity may be
-- negative.
create function move_stock(
    p_merchant   uuid,
    p_order      uuid,
    p_kind       text,
    p_products   uuid[],
    p_quantities bigint[],
    p_reason     text,
    p_actor      uuid,
    p_now        timestamptz
) returns table (product_id uuid, wanted bigint, available bigint)
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
begin
    if p_kind in ('ADJUST', 'RETURN') then
        insert into stock (merchant_id, product_id)
        select p_merchant, p from unnest(p_products) p order by p
        on conflict on constraint stock_pkey do nothing;
    end if;
    perform from stock s
    where s.merchant_id = p_merchant and s.product_id = any (p_products)
    order by s.product_id for update;

    return query
    select w.product, abs(w.quantity), coalesce(s.on_hand - s.held, 0)
    from unnest(p_products, p_quantities) w (product, quantity)
    left join stock s on s.merchant_id = p_merchant and s.product_id = w.product
    where case p_kind when 'HOLD' then w.quantity
                      when 'ADJUST' then -w.quantity
                      else 0 end > coalesce(s.on_hand - s.held, 0)
    order by w.product;
    if found then
        return;
    end if;

    with moved as (
        select w.product, w.ordinality as ord,
               case p_kind when 'SALE' then -w.quantity
                           when 'RETURN' then w.quantity
                           when 'ADJUST' then w.quantity
                           else 0 end as on_hand,
               case p_kind when 'HOLD' then w.quantity
                           when 'RELEASE' then -w.quantity
                           when 'SALE' then -w.quantity
                           else 0 end as held
        from unnest(p_products, p_quantities) with ordinality w (product, quantity)
    ), written as (
        insert into stock_movement (merchant_id, product_id, kind, on_hand, held, order_id, reason, actor, created_at)
        select p_merchant, m.product, p_kind, m.on_hand, m.held, p_order, p_reason, p_actor, p_now
        from moved m order by m.ord
    )
    update stock s set on_hand = s.on_hand + m.on_hand, held = s.held + m.held
    from moved m
    where s.merchant_id = p_merchant and s.product_id = m.product;
end
$$;

-- The tax in a line, or on top of it, minor units, rounded half up: p_line is the price of all pieces.
create function line_tax(p_line bigint, p_ppm integer, p_included boolean) returns bigint
language sql immutable
set search_path = public, pg_temp
as $$
    select div(2 * p_line::numeric * p_ppm + d, 2 * d)::bigint
    from (select 1000000::numeric + case when p_included then p_ppm else 0 end as d) divisor;
$$;

revoke all on function move_stock, line_tax from public;
grant execute on function line_tax to counterfoil_api;
grant select on product, stock, stock_movement to counterfoil_api;
grant insert on product to counterfoil_api;
grant update (sku, name, description, currency, price_minor, tax_ppm, tax_included, active, version, updated_at)
    on product to counterfoil_api;

-- what a person counts, moves; an order's movements belong to the functions of orders
create function adjust_stock(
    p_merchant uuid, p_product uuid, p_quantity bigint, p_reason text, p_actor uuid, p_now timestamptz
) returns table (wanted bigint, available bigint)
language sql volatile security definer
set search_path = public, pg_temp
as $$
    select m.wanted, m.available
    from move_stock(p_merchant, null, 'ADJUST', array[p_product], array[p_quantity], p_reason, p_actor, p_now) m;
$$;

revoke all on function adjust_stock from public;
grant execute on function adjust_stock to counterfoil_api;
