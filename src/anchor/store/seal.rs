//! What waits for a batch, and the head that sealing locks.

use counterfoil_proofs::Hash;
use counterfoil_proofs::manifest::Mark;
use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::sales::stored::Committed;

/// Where sealing stands. The row is locked while a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealHead {
    /// The batch to seal next.
    pub next_batch: i64,
    /// Root of the batch before; zero before the first.
    pub last_root: Hash,
    /// When that was sealed.
    pub last_sealed_at: OffsetDateTime,
}

/// The sales of one merchant that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Whose.
    pub merchant_id: Uuid,
    /// The number that its next mark begins with.
    pub first_seq: i64,
    /// The number of its newest sale.
    pub last_seq: i64,
    /// When the first of them was recorded.
    pub oldest: OffsetDateTime,
    /// The merchant's running hash so far; zero before its first mark.
    pub head: Hash,
}

/// What a leaf commits to of a stored sale, and whether an earlier batch has it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct UnsealedSale {
    pub merchant_id: Uuid,
    pub sale_id: Uuid,
    pub seq: i64,
    pub order_id: String,
    pub kind: i16,
    pub refers_to: Option<Uuid>,
    pub customer: Option<Vec<u8>>,
    pub currency: String,
    pub amount_minor: i64,
    pub recorded_at: OffsetDateTime,
    pub details_hash: Vec<u8>,
    pub salt: Vec<u8>,
    /// Whether it is in a batch already.
    pub sealed: bool,
}

impl UnsealedSale {
    /// The columns of the leaf.
    pub fn committed(&self) -> Committed<'_> {
        Committed {
            merchant_id: self.merchant_id,
            sale_id: self.sale_id,
            seq: self.seq,
            order_id: &self.order_id,
            kind: self.kind,
            refers_to: self.refers_to,
            customer: self.customer.as_deref(),
            currency: &self.currency,
            amount_minor: self.amount_minor,
            recorded_at: self.recorded_at,
            details_hash: &self.details_hash,
            salt: &self.salt,
        }
    }
}

/// A run of a merchant's sequence numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Whose.
    pub merchant_id: Uuid,
    /// Its first number.
    pub first_seq: i64,
    /// Its last.
    pub last_seq: i64,
}

/// The head, as it stands.
pub async fn head(conn: &mut PgConnection) -> Result<SealHead> {
    sqlx::query_as!(
        SealHead,
        r#"select next_batch, last_root as "last_root: Hash", last_sealed_at from seal_head"#
    )
    .fetch_one(conn)
    .await
}

/// The head, locked until the transaction ends.
pub async fn lock_head(conn: &mut PgConnection) -> Result<SealHead> {
    sqlx::query_as!(
        SealHead,
        r#"select next_batch, last_root as "last_root: Hash", last_sealed_at from seal_head for update"#
    )
    .fetch_one(conn)
    .await
}

/// Moves the locked head on; the number of rows that were where they were expected.
pub async fn move_head(conn: &mut PgConnection, from: i64, to: &SealHead) -> Result<u64> {
    let done = sqlx::query!(
        "update seal_head set next_batch = $2, last_root = $3, last_sealed_at = $4 where next_batch = $1",
        from,
        to.next_batch,
        &to.last_root,
        to.last_sealed_at,
    );
    Ok(done.execute(conn).await?.rows_affected())
}

/// Every merchant that waits, ascending by id; those on hold are left out, and unless `test` those in
/// test mode too. The queue is skipped through by its index, so that a long one costs no more.
pub async fn waiting(conn: &mut PgConnection, test: bool) -> Result<Vec<Waiting>> {
    sqlx::query_as!(
        Waiting,
        r#"with recursive queue as (
               (select p.merchant_id from pending_sale p order by p.merchant_id limit 1)
               union all
               select (select p.merchant_id from pending_sale p where p.merchant_id > q.merchant_id
                       order by p.merchant_id limit 1)
               from queue q where q.merchant_id is not null
           )
           -- a run begins behind a declared gap and ends before one
           select q.merchant_id as "merchant_id!", next.seq as "first_seq!",
                  least(newest.seq, (select g.first_seq - 1 from seq_gap g
                                     where g.merchant_id = q.merchant_id and g.first_seq > next.seq
                                     order by g.first_seq limit 1)) as "last_seq!",
                  oldest.recorded_at as "oldest!",
                  coalesce(h.head, decode(repeat('00', 32), 'hex')) as "head!: Hash"
           from queue q
           join merchant m on m.merchant_id = q.merchant_id
           left join mark_head h on h.merchant_id = q.merchant_id
           cross join lateral (
               select coalesce((select g.last_seq from seq_gap g
                                where g.merchant_id = q.merchant_id
                                  and g.first_seq = coalesce(h.last_seq, 0) + 1),
                               h.last_seq, 0) + 1 as seq) next
           cross join lateral (select p.recorded_at from pending_sale p
                               where p.merchant_id = q.merchant_id order by p.seq limit 1) oldest
           cross join lateral (select p.seq from pending_sale p
                               where p.merchant_id = q.merchant_id order by p.seq desc limit 1) newest
           where ($1 or m.mode = 'live')
             and not exists (select from seal_hold w where w.merchant_id = q.merchant_id)
           order by q.merchant_id"#,
        test
    )
    .fetch_all(conn)
    .await
}

/// The sales of some runs, in their order; those of a run by month, and in a month by number.
pub async fn sales(conn: &mut PgConnection, runs: &[Run]) -> Result<Vec<UnsealedSale>> {
    let Runs {
        merchants,
        firsts,
        lasts,
    } = Runs::of(runs);
    sqlx::query_as!(
        UnsealedSale,
        r#"select s.merchant_id, s.sale_id, s.seq, s.order_id, s.kind, s.refers_to, s.customer,
                  s.currency, s.amount_minor, s.recorded_at, s.details_hash, s.salt,
                  s.batch_id is not null as "sealed!"
           from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as run(merchant_id, first_seq, last_seq)
           -- the offset keeps a run one scan of its index
           cross join lateral (select s.* from sale s
                               where s.merchant_id = run.merchant_id
                                 and s.seq between run.first_seq and run.last_seq offset 0) s"#,
        &merchants,
        &firsts,
        &lasts
    )
    .fetch_all(conn)
    .await
}

/// What the queue holds of some runs: merchant, number and sale, ascending. Read apart from [`sales`], one
/// scan and one row a run: joined, every sale is looked up in the queue, which takes three times as long as
/// the rest.
pub async fn queued(conn: &mut PgConnection, runs: &[Run]) -> Result<Vec<(Uuid, i64, Uuid)>> {
    let Runs {
        merchants,
        firsts,
        lasts,
    } = Runs::of(runs);
    let rows = sqlx::query!(
        r#"select run.merchant_id as "merchant_id!", p.seqs as "seqs!", p.sales as "sales!"
           from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as run(merchant_id, first_seq, last_seq)
           cross join lateral (
               select coalesce(array_agg(p.seq), '{}') as seqs, coalesce(array_agg(p.sale_id), '{}') as sales
               from pending_sale p
               where p.merchant_id = run.merchant_id
                 and p.seq between run.first_seq and run.last_seq) p"#,
        &merchants,
        &firsts,
        &lasts
    )
    .fetch_all(conn)
    .await?;
    let mut entries: Vec<(Uuid, i64, Uuid)> = Vec::new();
    for row in rows {
        let numbered = row.seqs.into_iter().zip(row.sales);
        entries.extend(numbered.map(|(seq, sale)| (row.merchant_id, seq, sale)));
    }
    // they come as they stand in the index
    entries.sort_unstable();
    Ok(entries)
}

/// Runs, one array a column.
pub(super) struct Runs {
    pub(super) merchants: Vec<Uuid>,
    pub(super) firsts: Vec<i64>,
    pub(super) lasts: Vec<i64>,
}

impl Runs {
    pub(super) fn of(runs: &[Run]) -> Self {
        Self {
            merchants: runs.iter().map(|run| run.merchant_id).collect(),
            firsts: runs.iter().map(|run| run.first_seq).collect(),
            lasts: runs.iter().map(|run| run.last_seq).collect(),
        }
    }

    pub(super) fn of_marks(marks: &[Mark]) -> Self {
        Self {
            merchants: marks
                .iter()
                .map(|mark| Uuid::from_bytes(mark.merchant))
                .collect(),
            firsts: marks
                .iter()
                .map(|mark| mark.first_seq.cast_signed())
                .collect(),
            lasts: marks
                .iter()
                .map(|mark| mark.last_seq.cast_signed())
                .collect(),
        }
    }
}

/// The database's clock in whole milliseconds.
pub async fn now(conn: &mut PgConnection) -> Result<OffsetDateTime> {
    sqlx::query_scalar!(r#"select date_trunc('milliseconds', clock_timestamp()) as "now!""#)
        .fetch_one(conn)
        .await
}

/// Puts a merchant on hold; false where it is on hold already.
pub async fn hold(
    conn: &mut PgConnection,
    merchant: Uuid,
    seq: i64,
    reason: &str,
    now: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "insert into seal_hold (merchant_id, seq, reason, since) values ($1, $2, $3, $4)
         on conflict on constraint seal_hold_pkey do nothing",
        merchant,
        seq,
        reason,
        now
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Has the statements of this transaction find each row by its index, whatever statistics there are: of a
/// table that was small a moment ago they make plans that read all of it.
pub async fn find_rows_by_index(conn: &mut PgConnection) -> Result<()> {
    sqlx::query!(
        "select set_config(name, 'off', true)
         from unnest(array['enable_hashjoin', 'enable_mergejoin', 'enable_bitmapscan', 'enable_memoize',
                            'enable_seqscan']) name",
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}
