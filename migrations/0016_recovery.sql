-- What is known of a database that may have lost what it had committed: a doubt, and after a recovery
-- what was lost.

alter table installation
    -- why nothing is recorded, sealed or anchored until somebody has settled it; null while all is well
    add column doubt      text,
    add column doubted_at timestamptz,
    -- how many doubts were settled: a doubt from before the last of them is not raised again
    add column settled    integer not null default 0,
    add constraint installation_doubt check (num_nonnulls(doubt, doubted_at) in (0, 2));

-- The installation begins with the database that it is set up in.
insert into installation (system_identifier, timeline, created_at)
select system_identifier,
       ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer,
       date_trunc('milliseconds', clock_timestamp())
from pg_control_system()
on conflict on constraint installation_pkey do nothing;

-- Raises a doubt that came up when so many were settled; the first one stays. Those who may record may
-- also say that recording has to wait, and not that it need not.
create function raise_doubt(p_doubt text, p_settled integer) returns boolean
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
begin
    update installation set doubt = p_doubt, doubted_at = date_trunc('milliseconds', clock_timestamp())
    where settled = p_settled and doubt is null;
    return found;
end
$$;

revoke all on function raise_doubt from public;
grant execute on function raise_doubt to counterfoil_api, counterfoil_worker;
-- it is settled by the owner alone
revoke insert, update on installation from counterfoil_worker;

-- Batches that a registry has and this database has not: it lost them with their sales. The root is the
-- registry's, at a finalized block.
create table batch_lost (
    chain_id    bigint      not null,
    batch_id    bigint      not null,
    root        bytea       not null,
    declared_at timestamptz not null,
    constraint batch_lost_pkey primary key (chain_id, batch_id),
    constraint batch_lost_from_one check (batch_id >= 1),
    constraint batch_lost_root check (octet_length(root) = 32)
);

-- Numbers of a merchant's sales that may have been given out before the database lost them, both ends
-- included. They are never given out again.
create table seq_gap (
    merchant_id uuid        not null,
    first_seq   bigint      not null,
    last_seq    bigint      not null,
    declared_at timestamptz not null,
    reason      text        not null,
    constraint seq_gap_pkey primary key (merchant_id, first_seq),
    constraint seq_gap_range check (first_seq >= 1 and last_seq >= first_seq)
);

grant select on batch_lost, seq_gap to counterfoil_api, counterfoil_worker, counterfoil_reader;
