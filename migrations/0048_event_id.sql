-- Events that are told one after the other are listed so: the bits of their ids behind the millisecond are its fraction
-- by the database's clock (RFC 9562, 6.2, method 3), or its end where that millisecond is over.
create or replace function new_event_id(p_now timestamptz) returns uuid
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_clock constant timestamptz := clock_timestamp();
    v_ms    constant bigint := floor(extract(epoch from p_now) * 1000);
    v_part  constant bigint := case when date_trunc('milliseconds', v_clock) = p_now
        then extract(microseconds from v_clock)::bigint % 1000 * 4096 / 1000 else 4095 end;
begin
    return overlay(replace(gen_random_uuid()::text, '-', '')
        placing lpad(to_hex(v_ms), 12, '0') || '7' || lpad(to_hex(v_part), 3, '0') from 1 for 16)::uuid;
end
$$;
