-- Least privilege: group roles that cannot log in. An installation's logins are made members of them,
-- and every connection of the product takes on the one it needs (SET ROLE).
--
-- Roles belong to the whole cluster, and databases on one cluster may be migrated at the same time.

do $$
declare
    v_role text;
begin
    foreach v_role in array array['counterfoil_api', 'counterfoil_worker', 'counterfoil_reader'] loop
        begin
            execute format('create role %I nologin', v_role);
        exception when duplicate_object or unique_violation then
            null;
        end;
        execute format('grant usage on schema %I to %I', current_schema(), v_role);
        execute format('grant select on all tables in schema %I to %I', current_schema(), v_role);
    end loop;
end
$$;

-- The API writes through record_sales alone.
revoke all on function record_sales from public;
grant execute on function record_sales to counterfoil_api;

-- The reader and the worker have no business with the hashes of keys.
revoke select on api_key from counterfoil_reader, counterfoil_worker;

-- The worker seals, anchors and purges; of a sale it writes the four columns of the seal.
grant update (leaf, batch_id, leaf_index, proof) on sale to counterfoil_worker;
grant delete on pending_sale, idempotency_key to counterfoil_worker;
grant insert on batch, batch_mark to counterfoil_worker;
grant update on seal_head to counterfoil_worker;
grant insert, update on mark_head, seal_hold, chain_head, anchor, anchor_attempt, installation to counterfoil_worker;
grant insert on registry to counterfoil_worker;
