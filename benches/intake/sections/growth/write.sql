-- Writes what is in filler, as the intake and the sealer together would.
insert into sale (merchant_id, sale_id, seq, order_id, kind, currency, amount_minor, recorded_at, details,
                  details_hash, salt, fingerprint, leaf, batch_id, leaf_index, proof)
select merchant_id, sale_id, seq, order_id, 1, 'GBP', 5985, recorded_at,
       convert_to('{"lines":[{"name":"RABBIT NIGHT LIGHT","quantity":"3","sku":"23084","unit_price":"1.79"}]}', 'UTF8'),
       leaf, leaf, leaf, leaf, batch_id, leaf_index, decode(repeat('5a', 18 * 32), 'hex')
from filler;

insert into sale_order (merchant_id, order_id, sale_id)
select merchant_id, order_id, sale_id from filler;

insert into idempotency_key (merchant_id, space, key, fingerprint, answer, sale_id, created_at)
select merchant_id, 0, key, leaf, 1, sale_id, recorded_at from filler;

insert into batch (batch_id, root, previous, tree_root, leaf_count, sealed_at, signer, marks_hash, salt,
                   leaves, chains, oldest_recorded_at)
select f.batch_id, sha256(int8send(f.batch_id)), (select last_root from seal_head), sha256(int8send(-f.batch_id)), count(*),
       clock_timestamp(), decode(repeat('00', 20), 'hex'), sha256(''), sha256(''),
       string_agg(f.leaf, '' order by f.leaf), '{}', min(f.recorded_at)
from filler f
group by f.batch_id;

insert into batch_mark (batch_id, merchant_id, first_seq, last_seq, head, salt)
select batch_id, merchant_id, min(seq), max(seq), sha256(''), sha256('')
from filler
group by batch_id, merchant_id;

insert into mark_head as h (merchant_id, last_seq, head)
select merchant_id, last_seq, head from batch_mark order by batch_id desc limit 1
on conflict on constraint mark_head_pkey do update set last_seq = excluded.last_seq, head = excluded.head;

update seal_head set next_batch = b.batch_id + 1, last_root = b.root, last_sealed_at = b.sealed_at
from (select batch_id, root, sealed_at from batch order by batch_id desc limit 1) b;

update merchant m
set next_seq = f.last_seq + 1, last_recorded_at = date_trunc('milliseconds', f.last)
from (select merchant_id, max(seq) as last_seq, max(recorded_at) as last from filler group by merchant_id) f
where m.merchant_id = f.merchant_id;
