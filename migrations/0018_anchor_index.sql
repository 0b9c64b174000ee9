-- What is asked of a chain's anchors again and again, however many there are.

-- the anchors that were mined in the last day, for its budget
create index anchor_mined on anchor (chain_id, mined_at);
-- the last one that is final
create index anchor_last_final on anchor (chain_id, last_batch) where state = 'finalized';
