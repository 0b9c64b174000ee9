-- Vacuum as the tables are used. By default it waits until a fifth of a table has changed, which is late
-- and much at once where a table has a hundred million rows. Partitions of sale have theirs from 0006.

-- A queue: every row is soon dead, and a scan for its first row passes the dead ones. Vacuumed whenever
-- there is something, without pauses. Its end is not cut off: that takes a lock which stops the intake,
-- and the pages are filled again at once.
alter table pending_sale set (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);

-- One row a merchant, updated by every flush. The updates stay on their page and are pruned there;
-- vacuum is for the merchants that have stopped selling.
alter table merchant set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- They only grow, but for refusals that are purged: every million rows instead of a fifth of all.
alter table sale_order set (
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000);
alter table idempotency_key set (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000);

-- As the partitions that are made from now on. The default holds few rows.
alter table sale_first set (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000);
