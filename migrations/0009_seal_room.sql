-- Room for the seal. Its update writes leaf and proof onto a row, some 650 bytes, beside the row as it was;
-- when both fit the page no index is touched, and a batch takes half as long (measured, 100,000 rows whose
-- details have 450 bytes: 0.8 s against 2.2 s) and leaves a table as large as it was.
--
-- 25 is what the smallest rows (340 bytes) need for proofs of 18 siblings, so that more than 99 of 100
-- updates stay on their page. Rows of 450 bytes of details come to three a page either way.

alter table sale_first set (fillfactor = 25);

-- The old row of a batch stands beside the new one until the page is used again, which costs nothing;
-- hashes do not compress, so nothing tries.
alter table sale
    alter column proof set storage external,
    alter column leaf set storage external;

-- A large basket is compressed on its way in; lz4 takes a fifth of pglz's time. Not every Postgres has it.
do $$
begin
    alter table sale alter column details set compression lz4;
exception when feature_not_supported then
    raise notice 'this Postgres was built without lz4: details are compressed with pglz';
end
$$;
