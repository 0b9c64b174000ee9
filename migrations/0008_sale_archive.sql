-- Archives: a month of finalized sales that has left the table for a file of receipts.
--
-- What decides about new sales stays in the database for ever: keys, order ids, refunds so far, and of
-- each archived sale what record_sales asks. The file holds the rest, as receipts, which prove
-- themselves: their leaves are in the batches' rows and their roots on the chains.

create table sale_archive (
    archive_id  integer     generated always as identity,
    -- the partition that it was
    name        text        not null,
    -- the ids that it covers, from_id included and to_id not; from_id is null for all before to_id
    from_id     uuid,
    to_id       uuid        not null,
    -- how many, and in batches from which to which; null where there were none
    sales       bigint      not null,
    first_batch bigint,
    last_batch  bigint,
    -- its name in the directory of archives, its length, the SHA-256 of its bytes
    file        text        not null,
    bytes       bigint      not null,
    sha256      bytea       not null,
    archived_at timestamptz not null,
    constraint sale_archive_pkey primary key (archive_id),
    constraint sale_archive_name unique (name),
    constraint sale_archive_file unique (file),
    constraint sale_archive_sha256 check (octet_length(sha256) = 32),
    constraint sale_archive_batches check (
        (sales = 0 and num_nonnulls(first_batch, last_batch) = 0)
        or (sales > 0 and first_batch >= 1 and last_batch >= first_batch))
);

-- The numbers of a merchant's sales in an archive, without gaps from first to last, and the batches they
-- are in. Where two months meet there may be several runs: an id is made before its number.
create table sale_archive_run (
    merchant_id uuid    not null,
    first_seq   bigint  not null,
    last_seq    bigint  not null,
    archive_id  integer not null,
    first_batch bigint  not null,
    last_batch  bigint  not null,
    constraint sale_archive_run_pkey primary key (merchant_id, first_seq),
    constraint sale_archive_run_range check (first_seq >= 1 and last_seq >= first_seq),
    constraint sale_archive_run_batches check (first_batch >= 1 and last_batch >= first_batch)
);

create table archived_sale (
    merchant_id  uuid     not null,
    sale_id      uuid     not null,
    -- as they were on its row
    seq          bigint   not null,
    kind         smallint not null,
    currency     text     collate "C" not null,
    amount_minor bigint   not null,
    fingerprint  bytea    not null,
    batch_id     bigint   not null,
    -- where its receipt stands: the archive, and the line's first byte and length in the file
    archive_id   integer  not null,
    position     bigint   not null,
    length       integer  not null,
    constraint archived_sale_pkey primary key (merchant_id, sale_id),
    constraint archived_sale_place check (position >= 0 and length >= 1)
);

-- a merchant's sales in their order, wherever they are
create index archived_sale_seq_order on archived_sale (merchant_id, seq);

-- Every sale there ever was, with what decides about replays and refunds of it.
create view recorded_sale as
select merchant_id, sale_id, seq, kind, currency, amount_minor, fingerprint from sale
union all
select merchant_id, sale_id, seq, kind, currency, amount_minor, fingerprint from archived_sale;

grant select on sale_archive, sale_archive_run, archived_sale, recorded_sale
    to counterfoil_api, counterfoil_worker, counterfoil_reader;
