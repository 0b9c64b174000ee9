-- While a registry's publisher is handed over to another account nothing new is signed on its chain,
-- whether or not an operator has paused it as well.
alter table chain_head
    -- the account that takes over once nothing of the old one is open; null when none does
    add column rotating_to bytea,
    add constraint chain_head_rotating_to check (octet_length(rotating_to) = 20);

-- A registry whose very first batch was taken by a garbage root is trusted for none: it ends before it
-- begins.
alter table registry drop constraint registry_range;
alter table registry add constraint registry_range
    check (first_batch >= 1 and (last_batch is null or last_batch >= first_batch - 1));
