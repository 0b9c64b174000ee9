-- Carts: one active cart of an account at a time, each item with the price that it was put in at.

create table cart (
    merchant_id uuid        not null,
    cart_id     uuid        not null,
    account_id  uuid        not null,
    -- active: it is filled; ordered: an order was made of it
    state       text        not null,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    constraint cart_pkey primary key (merchant_id, cart_id),
    constraint cart_state check (state in ('active', 'ordered'))
);

create unique index cart_one_active on cart (merchant_id, account_id) where state = 'active';

create table cart_item (
    merchant_id  uuid        not null,
    cart_id      uuid        not null,
    product_id   uuid        not null,
    quantity     bigint      not null,
    -- the product's as it was put in: what the customer saw
    currency     text        collate "C" not null,
    price_minor  bigint      not null,
    tax_ppm      integer     not null,
    tax_included boolean     not null,
    put_at       timestamptz not null,
    constraint cart_item_pkey primary key (merchant_id, cart_id, product_id),
    constraint cart_item_cart foreign key (merchant_id, cart_id) references cart (merchant_id, cart_id),
    constraint cart_item_product foreign key (merchant_id, product_id) references product (merchant_id, product_id),
    constraint cart_item_quantity check (quantity between 1 and 10000)
);

-- The account's active cart, locked; p_cart is the id of the one that is made where there is none.
create function lock_active_cart(p_merchant uuid, p_account uuid, p_cart uuid, p_now timestamptz) returns uuid
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_cart uuid;
begin
    loop
        select c.cart_id into v_cart from cart c
        where c.merchant_id = p_merchant and c.account_id = p_account and c.state = 'active'
        for update;
        exit when found;
        -- or it was ordered this moment, or another request makes one
        insert into cart (merchant_id, cart_id, account_id, state, created_at, updated_at)
        values (p_merchant, p_cart, p_account, 'active', p_now, p_now)
        on conflict (merchant_id, account_id) where state = 'active' do nothing;
    end loop;
    return v_cart;
end
$$;

-- put; product_unknown (or not for sale); currency_differs from the cart's; too_many products
create function put_cart_item(
    p_merchant uuid, p_account uuid, p_cart uuid, p_product uuid, p_quantity bigint, p_most bigint, p_now timestamptz
) returns text
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_cart uuid := lock_active_cart(p_merchant, p_account, p_cart, p_now);
    p      product;
begin
    select * into p from product x
    where x.merchant_id = p_merchant and x.product_id = p_product and x.active;
    if not found then
        return 'product_unknown';
    end if;
    if exists (select from cart_item i
               where i.merchant_id = p_merchant and i.cart_id = v_cart and i.currency <> p.currency
                 and i.product_id <> p_product) then
        return 'currency_differs';
    end if;
    if (select count(*) from cart_item i
        where i.merchant_id = p_merchant and i.cart_id = v_cart and i.product_id <> p_product) >= p_most then
        return 'too_many';
    end if;
    insert into cart_item as i (merchant_id, cart_id, product_id, quantity, currency, price_minor, tax_ppm,
                                tax_included, put_at)
    values (p_merchant, v_cart, p_product, p_quantity, p.currency, p.price_minor, p.tax_ppm, p.tax_included, p_now)
    on conflict on constraint cart_item_pkey do update
    set quantity = excluded.quantity, currency = excluded.currency, price_minor = excluded.price_minor,
        tax_ppm = excluded.tax_ppm, tax_included = excluded.tax_included, put_at = excluded.put_at;
    update cart c set updated_at = p_now where c.merchant_id = p_merchant and c.cart_id = v_cart;
    return 'put';
end
$$;

-- Takes a product out of the account's cart, or all of them.
create function take_cart_items(p_merchant uuid, p_account uuid, p_product uuid, p_now timestamptz) returns void
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_cart uuid;
begin
    update cart c set updated_at = p_now
    where c.merchant_id = p_merchant and c.account_id = p_account and c.state = 'active'
    returning c.cart_id into v_cart;
    delete from cart_item i
    where i.merchant_id = p_merchant and i.cart_id = v_cart
      and (p_product is null or i.product_id = p_product);
end
$$;

-- An active cart's items at the prices that they were put in at, and the products as they are now.
create view cart_line as
select i.merchant_id, i.cart_id, i.account_id, i.product_id, i.sku, i.name, i.quantity, i.put_at,
       i.old_currency, i.old_price_minor, i.currency, i.price_minor, i.tax_ppm, i.tax_included, i.tax_changed,
       i.active,
       i.line_minor, i.tax_minor, i.line_minor + case when i.tax_included then 0 else i.tax_minor end as total_minor,
       i.available
from (
    select c.merchant_id, c.cart_id, c.account_id, i.product_id, p.sku, p.name, i.quantity, i.put_at,
           i.currency as old_currency, i.price_minor as old_price_minor,
           p.currency, p.price_minor, i.tax_ppm, i.tax_included, p.active,
           (i.tax_ppm, i.tax_included) <> (p.tax_ppm, p.tax_included) as tax_changed,
           i.price_minor * i.quantity as line_minor,
           line_tax(i.price_minor * i.quantity, i.tax_ppm, i.tax_included) as tax_minor,
           coalesce(s.on_hand - s.held, 0) as available
    from cart c
    join cart_item i using (merchant_id, cart_id)
    join product p using (merchant_id, product_id)
    left join stock s using (merchant_id, product_id)
    where c.state = 'active') i;

revoke all on function lock_active_cart, put_cart_item, take_cart_items from public;
grant execute on function put_cart_item, take_cart_items to counterfoil_api;
grant select on cart, cart_item, cart_line to counterfoil_api;
