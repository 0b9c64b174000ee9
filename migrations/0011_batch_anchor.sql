-- Where each batch is anchored, or will be: one row a chain. Of the attempts of an anchor the one that is
-- mined, else the last one signed.
create view batch_anchor as
select b.batch_id, c.chain_id, coalesce(a.registry, r.address) as registry,
       case when a.state in ('submitted', 'mined', 'finalized') then a.state else 'sealed' end as state,
       t.tx_hash, t.block_number, t.block_hash, t.block_time
from batch b
cross join lateral unnest(b.chains) as c(chain_id)
left join anchor a on a.chain_id = c.chain_id
     and int8range(a.first_batch, a.last_batch, '[]') @> b.batch_id and a.state <> 'reverted'
left join registry r on r.chain_id = c.chain_id and r.last_batch is null
left join lateral (
    select t.tx_hash, t.block_number, t.block_hash, t.block_time
    from anchor_attempt t where t.anchor_id = a.anchor_id
    order by t.block_number is null, t.attempt desc limit 1) t on true
where coalesce(a.registry, r.address) is not null;

grant select on batch_anchor to counterfoil_api, counterfoil_worker, counterfoil_reader;
