-- Loyalty: a merchant's programme, its members, and the ledger of their points.
--
-- Points are whole units of a ten-thousandth of a point. A member is whoever a sale names: an account (its
-- 16 bytes) or a wallet (the 20 bytes of its address); the length tells which, and there is one row of each.
--
-- The ledger is append-only. What it sums to (a member's balance, what it owes, what is left of each lot) is
-- kept by the trigger of its table and by nobody else, and constraints refuse what cannot be: a lot below
-- nothing or above what opened it. Everything that writes entries first locks the member's row.

alter table merchant
    -- the version of its programme that sales earn by now; 0 where it has none
    add column loyalty_version integer not null default 0,
    add constraint merchant_loyalty_version check (loyalty_version >= 0);

-- A version never changes: sales name it in their details.
create table loyalty_programme (
    merchant_id uuid        not null,
    version     integer     not null,
    -- as src/loyalty/terms.rs writes them
    terms       jsonb       not null,
    -- the key or account that set it
    created_by  uuid        not null,
    created_at  timestamptz not null,
    constraint loyalty_programme_pkey primary key (merchant_id, version),
    constraint loyalty_programme_version check (version >= 1)
);

create table loyalty_member (
    merchant_id uuid        not null,
    member      bytea       not null,
    -- the sum of its entries
    balance     bigint      not null default 0,
    -- what was taken back of points that were spent already; nothing is left in any lot while it is above 0
    owed        bigint      not null default 0,
    -- entries are numbered from 1 without gaps
    last_entry  bigint      not null default 0,
    -- what was earned in the twelve months before that day; null where it must be summed again
    rolled_on   date,
    rolling     bigint      not null default 0,
    -- the highest tier that it still has under the policy at_period_end: what was earned when it was last
    -- reached, and until when it holds
    held        bigint      not null default 0,
    held_until  date,
    created_at  timestamptz not null,
    constraint loyalty_member_pkey primary key (merchant_id, member),
    constraint loyalty_member_length check (octet_length(member) in (16, 20)),
    constraint loyalty_member_owed check (owed >= 0)
);

create table loyalty_entry (
    merchant_id   uuid        not null,
    member        bytea       not null,
    entry         bigint      not null,
    -- earn: by a sale; redeem: spent; give_back: of a redemption that was taken back; expire: too old;
    -- adjust: by hand; claw_back: what a refunded sale would not have earned; settle: moved from a lot to
    -- what is owed, in pairs that sum to nothing
    kind          text        not null,
    -- of an earn: base, tier or first_purchase
    rule          text,
    -- the entry that opened the lot; null for what is owed
    lot           bigint,
    points        bigint      not null,
    -- earn, claw_back: the sale; of a give_back that opens a lot, the one whose expired lot it replaces
    sale_id       uuid,
    -- claw_back: the refund
    refund_id     uuid,
    -- redeem, give_back
    redemption_id uuid,
    -- adjust: why, and the key or account that did it
    reason        text,
    adjusted_by   uuid,
    -- of an entry that opens a lot: from when on and until when it can be spent
    available_at  timestamptz,
    expires_at    timestamptz,
    recorded_at   timestamptz not null,
    constraint loyalty_entry_pkey primary key (merchant_id, member, entry),
    constraint loyalty_entry_member foreign key (merchant_id, member)
        references loyalty_member (merchant_id, member),
    constraint loyalty_entry_sign check (case kind
        when 'earn' then points > 0 and lot = entry
        when 'give_back' then points > 0
        when 'redeem' then points < 0 and lot is not null
        when 'expire' then points < 0 and lot is not null
        when 'claw_back' then points < 0
        when 'adjust' then points <> 0
        when 'settle' then points <> 0
        else false end),
    constraint loyalty_entry_rule check ((kind = 'earn') = (rule is not null)
        and (rule is null or rule in ('base', 'tier', 'first_purchase'))),
    constraint loyalty_entry_sale check (case kind
        when 'give_back' then sale_id is null or lot = entry
        else (kind in ('earn', 'claw_back')) = (sale_id is not null) end),
    constraint loyalty_entry_redemption check ((kind in ('redeem', 'give_back')) = (redemption_id is not null)),
    constraint loyalty_entry_reason check ((kind = 'adjust') = (reason is not null)),
    constraint loyalty_entry_lot check (coalesce(lot = entry, false) = (available_at is not null))
);

-- one award per sale and rule
create unique index loyalty_entry_award on loyalty_entry (merchant_id, sale_id, rule) where kind = 'earn';
create index loyalty_entry_spent on loyalty_entry (merchant_id, redemption_id) where redemption_id is not null;

create table loyalty_lot (
    merchant_id  uuid        not null,
    member       bytea       not null,
    lot          bigint      not null,
    opened       bigint      not null,
    points_left  bigint      not null,
    -- what of it was lost because it was too old
    expired      bigint      not null default 0,
    available_at timestamptz not null,
    expires_at   timestamptz,
    constraint loyalty_lot_pkey primary key (merchant_id, member, lot),
    constraint loyalty_lot_entry foreign key (merchant_id, member, lot)
        references loyalty_entry (merchant_id, member, entry),
    constraint loyalty_lot_left check (points_left between 0 and opened)
);
-- first in, first out
create index loyalty_lot_unspent on loyalty_lot (merchant_id, member, lot) where points_left > 0;
create index loyalty_lot_expiry on loyalty_lot (expires_at) where points_left > 0 and expires_at is not null;

-- What a sale earned, and what decided it beside sale and programme: the rest of the sale after a refund
-- earns by the same.
create table loyalty_award (
    merchant_id  uuid     not null,
    sale_id      uuid     not null,
    member       bytea    not null,
    programme    integer  not null,
    currency     text     collate "C" not null,
    amount_minor bigint   not null,
    -- the day it counts for, UTC
    day          date     not null,
    multiplier   numeric  not null,
    -- of the first purchase
    bonus        bigint   not null,
    -- what the day's limit left for it; null where there is no limit
    room         bigint,
    -- the sum of its earn entries; what of that the rest of the sale, after refunds, would have earned; and
    -- what its claw_back entries have taken, which is less where points were lost before it could be
    earned       bigint   not null,
    due          bigint   not null,
    taken        bigint   not null default 0,
    constraint loyalty_award_pkey primary key (merchant_id, sale_id),
    constraint loyalty_award_member foreign key (merchant_id, member)
        references loyalty_member (merchant_id, member),
    constraint loyalty_award_points check (bonus >= 0 and room >= 0 and due between 0 and earned
        and taken between 0 and earned - due)
);

-- Who has bought before, and what first: two first purchases at once meet here.
create table loyalty_first (
    merchant_id uuid  not null,
    member      bytea not null,
    sale_id     uuid  not null,
    constraint loyalty_first_pkey primary key (merchant_id, member),
    constraint loyalty_first_member foreign key (merchant_id, member)
        references loyalty_member (merchant_id, member)
);

create table loyalty_day (
    merchant_id uuid   not null,
    member      bytea  not null,
    day         date   not null,
    -- by this day's sales, less what was taken back of it: tiers are reached by it
    earned      bigint not null,
    -- what the limit of a day counts: without bonus, and not less after a refund
    counted     bigint not null,
    constraint loyalty_day_pkey primary key (merchant_id, member, day),
    constraint loyalty_day_member foreign key (merchant_id, member)
        references loyalty_member (merchant_id, member),
    constraint loyalty_day_points check (earned >= 0 and counted >= 0)
);

create table loyalty_redemption (
    merchant_id   uuid        not null,
    redemption_id uuid        not null,
    member        bytea       not null,
    points        bigint      not null,
    given_back    bigint      not null default 0,
    -- what they are worth, and in what
    currency      text        collate "C",
    value_minor   bigint,
    -- what the caller calls it
    reference     text,
    created_at    timestamptz not null,
    constraint loyalty_redemption_pkey primary key (merchant_id, redemption_id),
    constraint loyalty_redemption_member foreign key (merchant_id, member)
        references loyalty_member (merchant_id, member),
    constraint loyalty_redemption_points check (points > 0 and given_back between 0 and points),
    constraint loyalty_redemption_value check ((currency is null) = (value_minor is null) and value_minor >= 0)
);

create function loyalty_post() returns trigger
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_rows integer;
begin
    insert into loyalty_lot (merchant_id, member, lot, opened, points_left, available_at, expires_at)
    select merchant_id, member, entry, points, points, available_at, expires_at
    from posted where lot = entry;

    update loyalty_lot l set points_left = l.points_left + p.points, expired = l.expired + p.expired
    from (select merchant_id, member, lot, sum(points)::bigint as points,
                 coalesce(-sum(points) filter (where kind = 'expire'), 0)::bigint as expired
          from posted where lot <> entry group by merchant_id, member, lot) p
    where l.merchant_id = p.merchant_id and l.member = p.member and l.lot = p.lot;
    get diagnostics v_rows = row_count;
    if v_rows <> (select count(distinct (merchant_id, member, lot)) from posted where lot <> entry) then
        raise exception 'loyalty: an entry names a lot that is not there';
    end if;

    update loyalty_member m
    set balance = m.balance + p.points, owed = m.owed - p.paid, last_entry = p.last
    from (select merchant_id, member, sum(points)::bigint as points,
                 coalesce(sum(points) filter (where lot is null), 0)::bigint as paid,
                 min(entry) as first, max(entry) as last, count(*) as entries
          from posted group by merchant_id, member) p
    where m.merchant_id = p.merchant_id and m.member = p.member
      and p.first = m.last_entry + 1 and p.last = m.last_entry + p.entries;
    get diagnostics v_rows = row_count;
    if v_rows <> (select count(distinct (merchant_id, member)) from posted) then
        raise exception 'loyalty: entries are numbered without gaps';
    end if;
    return null;
end
$$;
revoke all on function loyalty_post from public;

create trigger loyalty_entry_post after insert on loyalty_entry
referencing new table as posted
for each statement execute function loyalty_post();

grant select on loyalty_programme, loyalty_member, loyalty_entry, loyalty_lot, loyalty_award, loyalty_first,
    loyalty_day, loyalty_redemption to counterfoil_api;
-- whose points they are is personal, and no audit of sales needs it
revoke select on loyalty_member, loyalty_entry, loyalty_lot, loyalty_award, loyalty_first, loyalty_day,
    loyalty_redemption from counterfoil_reader;
