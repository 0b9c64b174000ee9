-- What a cart, an order and an event cost. A function in SQL that has settings of its own, or more than an expression,
-- is planned anew in each statement that calls it: of the two milliseconds that ordering a cart took, planning was one.

-- As before, in one look at the items instead of four, and without settings: it becomes a part of the statement that
-- calls it, whose plan is kept.
create or replace function cart_problems(p_merchant uuid, p_cart uuid)
returns table (code text, product_id uuid, old_minor bigint, old_currency text, new_minor bigint,
               new_currency text, wanted bigint, available bigint)
language sql stable
begin atomic
    select w.code, l.product_id,
           case w.code when 'price_changed' then l.old_price_minor end,
           case w.code when 'price_changed' then l.old_currency end,
           case w.code when 'price_changed' then l.price_minor end,
           case w.code when 'price_changed' then l.currency end,
           case w.code when 'insufficient_stock' then l.quantity end,
           case w.code when 'insufficient_stock' then l.available end
    from cart_line l
    cross join lateral (values
        ('product_inactive', not l.active),
        ('price_changed', (l.old_price_minor, l.old_currency) is distinct from (l.price_minor, l.currency)),
        ('tax_changed', l.tax_changed),
        ('insufficient_stock', l.available < l.quantity)) w (code, holds)
    where l.merchant_id = p_merchant and l.cart_id = p_cart and w.holds
    order by l.product_id, w.code;
end;

-- As before; whose statements are planned once a connection.
create or replace function public_id(p_prefix text, p_id uuid) returns text
language plpgsql immutable strict parallel safe
as $$
begin
    return p_prefix || (
        select string_agg(
            substr('0123456789abcdefghjkmnpqrstvwxyz',
                   1 + substring(b'00' || ('x' || replace(p_id::text, '-', ''))::bit(128) from 5 * g + 1 for 5)::bit(5)::integer, 1),
            '' order by g)
        from generate_series(0, 25) g);
end
$$;
