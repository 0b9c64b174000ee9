-- The next $2 sealed sales of merchant $1, spread over the time since its last one.
create temporary table filler on commit drop as
select m.merchant_id,
       m.next_seq + n as seq,
       h.next_batch as batch_id,
       n as leaf_index,
       (lpad(to_hex(t.ms), 12, '0') || '7' || substr(x.random, 1, 3) || '8' || substr(x.random, 4, 15))::uuid
           as sale_id,
       to_timestamp(t.ms / 1000.0) as recorded_at,
       'G' || lpad((m.next_seq + n)::text, 22, '0') as order_id,
       md5('key' || (m.next_seq + n))::uuid::text as key,
       sha256(int8send(m.next_seq + n)) as leaf
from merchant m
cross join seal_head h
cross join generate_series(0, $2::bigint - 1) as n
cross join lateral (
    select (extract(epoch from m.last_recorded_at) * 1000)::bigint as first,
           (extract(epoch from clock_timestamp()) * 1000)::bigint as last) c
cross join lateral (select c.first + n * (c.last - c.first) / $2::bigint as ms) t
cross join lateral (select md5((m.next_seq + n)::text) as random) x
where m.merchant_id = $1
