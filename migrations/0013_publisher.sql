-- Who works, what a transaction cost, and what becomes of a range whose nonce was used for something else.

-- A lease keeps two workers from doing the same work at once. It saves work and decides nothing: heads and
-- guarded updates keep everything right when two hold one. Its times are of the database's clock.
create table lease (
    -- 'seal', or 'chain ' and its number
    work       text        not null,
    -- a number that a worker drew when it started
    holder     uuid        not null,
    held_until timestamptz not null,
    constraint lease_pkey primary key (work)
);
grant select on lease to counterfoil_api, counterfoil_worker, counterfoil_reader;
grant insert, update, delete on lease to counterfoil_worker;

-- wei that a unit of gas cost, with gas_used; the cap bounds it where the RPC does not say
alter table anchor_attempt add column gas_price numeric(39);

comment on column anchor.state is
'reserved:  nonce and range are taken, nothing is signed
submitted: at least one signed transaction is committed, none is known to be mined
mined:     one of them is in a block that may still be reorganised
finalized: the registry holds our roots at a finalized block; without mined_at it was not a transaction of
           this anchor that brought them there
reverted:  the nonce is used at a finalized block and the registry has nothing of the range there: ours
           reverted, or another transaction of the account took the nonce; the range is free again';
-- a reservation that is not signed is taken back when a range before it becomes free
grant delete on anchor to counterfoil_worker;

-- Where each batch is anchored, or will be: one row a chain. Of the attempts of an anchor the one that is
-- mined, else the last one signed; for a final one that none of them brought about there is none.
create or replace view batch_anchor as
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
    from anchor_attempt t
    where t.anchor_id = a.anchor_id and (a.state <> 'finalized' or t.block_number is not null)
    order by t.block_number is null, t.attempt desc limit 1) t on true
where coalesce(a.registry, r.address) is not null;

-- the transactions of the last day, for its budget
create index anchor_attempt_signed on anchor_attempt (signed_at);
