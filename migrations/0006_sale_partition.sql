-- sale is partitioned by month, so that what is recorded now stands in small indexes however long the
-- shop has been there, and an old month can be archived without deleting a row from a live table.
--
-- The month is the one in sale_id, a UUIDv7, whose first 48 bits are milliseconds since 1970 UTC. What
-- was recorded before this migration, and until its month ends, is the first partition as it stands: no
-- row of it is copied.

-- The smallest id of a moment: every UUIDv7 that is made then or later is above it.
create function first_sale_id(p_at timestamptz) returns uuid
language sql immutable strict parallel safe
return (lpad(to_hex(floor(extract(epoch from p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- The moment in an id.
create function sale_id_time(p_sale uuid) returns timestamptz
language sql immutable strict parallel safe
return to_timestamp(('x' || left(replace(p_sale::text, '-', ''), 12))::bit(48)::bigint / 1000.0);

alter table sale rename to sale_first;
alter table sale_first rename constraint sale_pkey to sale_first_pkey;
alter index sale_seq_order rename to sale_first_seq_order;
alter index sale_sold_at rename to sale_first_sold_at;

create table sale (
    like sale_first including constraints including storage,
    constraint sale_pkey primary key (merchant_id, sale_id)
) partition by range (sale_id);
create index sale_seq_order on sale (merchant_id, seq);
create index sale_sold_at on sale (merchant_id, sold_at) where sold_at is not null;

-- Rights are those of 0005, and on the parent alone: nobody but the owner reaches a partition by its name.
revoke all on sale_first from counterfoil_api, counterfoil_worker, counterfoil_reader;
grant select on sale to counterfoil_api, counterfoil_worker, counterfoil_reader;
grant update (leaf, batch_id, leaf_index, proof) on sale to counterfoil_worker;

-- Takes the ids of a clock that is months ahead, or years behind; in time it is empty.
create table sale_default partition of sale default with (fillfactor = 25);

-- The partitions and their bounds, from_id included and to_id not; null is no bound. The default has none.
create view sale_partition as
select c.relname::text as name,
       substring(b.bound from 'FROM \(''([0-9a-f-]{36})''\)')::uuid as from_id,
       substring(b.bound from 'TO \(''([0-9a-f-]{36})''\)')::uuid as to_id
from pg_inherits i
join pg_class c on c.oid = i.inhrelid
cross join lateral pg_get_expr(c.relpartbound, c.oid) as b(bound)
where i.inhparent = 'sale'::regclass and b.bound <> 'DEFAULT';
grant select on sale_partition to counterfoil_worker, counterfoil_reader;

-- What stands in the default, as far as it is counted: a few thousand are as alarming as more.
create view stray_sale as select merchant_id, sale_id from sale_default limit 10000;
grant select on stray_sale to counterfoil_worker, counterfoil_reader;

do $$
declare
    v_bound constant uuid :=
        first_sale_id((date_trunc('month', now() at time zone 'UTC') + interval '1 month') at time zone 'UTC');
begin
    with ahead as (delete from sale_first where sale_id >= v_bound returning *)
    insert into sale select * from ahead;
    execute format('alter table sale attach partition sale_first for values from (minvalue) to (%L)', v_bound);
end
$$;

-- Makes the partitions of this month and the p_ahead that follow, where they are missing, and says how
-- many it made. A month follows where the last one ends, so there is never a gap between two.
--
-- Called again and again by every worker. Its one lock that others meet is on the default partition, and
-- short: a table is made beside and then attached, which stops nobody who reads or writes sale. It waits
-- a second for its locks and then gives up until the next time.
create function make_sale_partitions(p_ahead integer) returns integer
language plpgsql volatile security definer
set search_path = public, pg_temp
set lock_timeout = '1s'
as $$
declare
    v_end   constant uuid := first_sale_id((date_trunc('month', now() at time zone 'UTC')
                                            + make_interval(months => p_ahead + 1)) at time zone 'UTC');
    v_made  integer := 0;
    v_from  uuid;
    v_to    uuid;
    v_month timestamp;
    v_name  text;
begin
    if not exists (select from sale_partition where to_id >= v_end) then
        -- one maker at a time; it stops neither readers nor writers
        lock table only sale in share update exclusive mode;
    end if;
    loop
        select p.to_id into v_from from sale_partition p
        where p.to_id is not null order by p.to_id desc limit 1;
        exit when v_from >= v_end;
        v_month := sale_id_time(v_from) at time zone 'UTC';
        v_to := first_sale_id((v_month + interval '1 month') at time zone 'UTC');
        v_name := 'sale_' || to_char(v_month, 'YYYY_MM');
        execute format(
            'create table %I (like sale including all) with (
                 -- room on the page for the update of the seal
                 fillfactor = 25,
                 -- a month that grows is vacuumed every million rows, a piece at a time, and not by a
                 -- share of what is there
                 autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000000,
                 autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000)',
            v_name);
        -- what stands in the default and belongs here moves; nobody sees it gone
        lock table sale_default in access exclusive mode;
        execute format(
            'with moved as (delete from sale_default where sale_id >= $1 and sale_id < $2 returning *)
             insert into %I select * from moved', v_name) using v_from, v_to;
        execute format('alter table sale attach partition %I for values from (%L) to (%L)',
                       v_name, v_from, v_to);
        v_made := v_made + 1;
    end loop;
    return v_made;
end
$$;
revoke all on function make_sale_partitions from public;
grant execute on function make_sale_partitions to counterfoil_worker;

select make_sale_partitions(3);
