-- What an operator asks of the workers. A request is a time in a head row: it is answered by whichever
-- worker sees it first, and clearing it is guarded by that time, so a later request is not lost.

alter table chain_head
    -- since when nothing new is signed on this chain, because an operator said so; what is signed is
    -- still sent and watched
    add column paused_at         timestamptz,
    -- when an operator asked for the waiting transaction to be replaced without regard to the schedule
    add column bump_requested_at timestamptz;

-- when an operator asked for what waits to be sealed before its interval is over
alter table seal_head add column seal_requested_at timestamptz;
