-- Events that are told one after the other are listed so: the bits of their ids behind the millisecond are its fraction
-- by the database's clock (RFC 9562, 6.2, method 3), or its end where that millisecond is over.
create or replace function new_event_id(p_now timestamptz) returns uuid
language sql volatile
set search_path = public, pg_temp
as $$
    select overlay(replace(gen_random_uuid()::text, '-', '')
        placing lpad(to_hex(floor(extract(epoch from p_now) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(
            case when date_trunc('milliseconds', c.clock) = p_now
                 then extract(microseconds from c.clock)::bigint % 1000 * 4096 / 1000 else 4095 end), 3, '0')
        from 1 for 16)::uuid
    from (select clock_timestamp() as clock) c;
$$;
