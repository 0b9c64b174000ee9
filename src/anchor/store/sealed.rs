//! A batch as it is written, with what comes onto the rows of its sales.

use counterfoil_proofs::Hash;
use counterfoil_proofs::manifest::{Manifest, Mark};
use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use super::seal::{Run, Runs};
use crate::clock::from_unix_ms;

/// What sealing writes onto the rows of some runs, one array a column, in the order of the runs and their
/// numbers; leaves and proofs back to back, as one value: as arrays of values they would be copied three
/// times more on their way.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Seals {
    pub runs: Vec<Run>,
    /// What is added to a number of each run for its place in the arrays below, from 1.
    pub shifts: Vec<i64>,
    /// The smallest id of each run.
    pub oldest: Vec<Uuid>,
    pub sales: Vec<Uuid>,
    pub leaves: Vec<u8>,
    pub indices: Vec<i32>,
    pub proofs: Vec<u8>,
    /// The first byte of each proof, from 1, and the one behind the last.
    pub proof_starts: Vec<i32>,
}

/// Writes a batch. `leaves` are its leaves, ascending, back to back.
pub async fn insert_batch(
    conn: &mut PgConnection,
    manifest: &Manifest,
    root: &Hash,
    leaves: &[u8],
    chains: &[i64],
    oldest: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "insert into batch (batch_id, root, previous, tree_root, leaf_count, sealed_at, signer,
                            marks_hash, salt, leaves, chains, oldest_recorded_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        manifest.batch.cast_signed(),
        root,
        &manifest.previous,
        &manifest.tree,
        (leaves.len() / 32) as i32,
        from_unix_ms(manifest.sealed_at.cast_signed()),
        &manifest.signer,
        &manifest.marks,
        &manifest.salt,
        leaves,
        chains,
        oldest
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes the marks of a batch.
pub async fn insert_marks(conn: &mut PgConnection, batch: i64, marks: &[Mark]) -> Result<()> {
    let Runs {
        merchants,
        firsts,
        lasts,
    } = Runs::of_marks(marks);
    let heads: Vec<&[u8]> = marks.iter().map(|mark| mark.head.as_slice()).collect();
    let salts: Vec<&[u8]> = marks.iter().map(|mark| mark.salt.as_slice()).collect();
    sqlx::query!(
        "insert into batch_mark (batch_id, merchant_id, first_seq, last_seq, head, salt)
         select $1, * from unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[])",
        batch,
        &merchants,
        &firsts,
        &lasts,
        &heads as _,
        &salts as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves each marked merchant's head from just before its mark, or before the gap that the mark follows,
/// to its end; how many were there.
pub async fn move_mark_heads(conn: &mut PgConnection, marks: &[Mark]) -> Result<u64> {
    let merchants: Vec<Uuid> = marks
        .iter()
        .map(|mark| Uuid::from_bytes(mark.merchant))
        .collect();
    let befores: Vec<i64> = marks
        .iter()
        .map(|mark| mark.first_seq.cast_signed() - 1)
        .collect();
    let lasts: Vec<i64> = marks
        .iter()
        .map(|mark| mark.last_seq.cast_signed())
        .collect();
    let heads: Vec<&[u8]> = marks.iter().map(|mark| mark.head.as_slice()).collect();
    let done = sqlx::query!(
        "with mark as (
             select m.merchant_id, m.last_seq, m.head,
                    coalesce((select g.first_seq - 1 from seq_gap g
                              where g.merchant_id = m.merchant_id and g.last_seq = m.before), m.before) as before
             from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[])
                 as m(merchant_id, before, last_seq, head)
         ), moved as (
             update mark_head h set last_seq = m.last_seq, head = m.head from mark m
             where h.merchant_id = m.merchant_id and h.last_seq = m.before
             returning h.merchant_id
         ), begun as (
             -- a second mark of a merchant that begins at 1 meets the primary key
             insert into mark_head (merchant_id, last_seq, head)
             select m.merchant_id, m.last_seq, m.head from mark m where m.before = 0
             returning merchant_id
         )
         select (select count(*) from moved) + (select count(*) from begun) as \"moved!\"",
        &merchants,
        &befores,
        &lasts,
        &heads as _
    );
    Ok(done.fetch_one(conn).await?.moved.cast_unsigned())
}

/// Writes leaf, batch and proof onto sales that have none; how many there were.
///
/// Each run is one scan of the index by number, and a row's number says where its values stand in the
/// arrays: looking up every sale by its id costs as much again as half the update. The smallest id of a run
/// keeps the months before it out of the scan.
pub async fn write_seals(conn: &mut PgConnection, batch: i64, seals: &Seals) -> Result<u64> {
    let Runs {
        merchants,
        firsts,
        lasts,
    } = Runs::of(&seals.runs);
    let done = sqlx::query!(
        "update sale s
         set leaf = substring($8::bytea from 32 * (s.seq + run.shift)::integer - 31 for 32), batch_id = $1,
             leaf_index = ($9::integer[])[s.seq + run.shift],
             proof = substring($10::bytea
                 from ($11::integer[])[s.seq + run.shift]
                 for ($11::integer[])[s.seq + run.shift + 1] - ($11::integer[])[s.seq + run.shift])
         from unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::uuid[])
              as run(merchant_id, first_seq, last_seq, shift, oldest)
         where s.merchant_id = run.merchant_id and s.seq between run.first_seq and run.last_seq
           and s.sale_id >= run.oldest
           and s.sale_id = ($7::uuid[])[s.seq + run.shift] and s.batch_id is null",
        batch,
        &merchants,
        &firsts,
        &lasts,
        &seals.shifts,
        &seals.oldest,
        &seals.sales,
        &seals.leaves,
        &seals.indices,
        &seals.proofs,
        &seals.proof_starts
    );
    Ok(done.execute(conn).await?.rows_affected())
}

/// Takes the sales of a batch's marks out of the queue; how many there were.
pub async fn clear_queue(conn: &mut PgConnection, marks: &[Mark]) -> Result<u64> {
    let Runs {
        merchants,
        firsts,
        lasts,
    } = Runs::of_marks(marks);
    let done = sqlx::query!(
        "delete from pending_sale p
         using unnest($1::uuid[], $2::bigint[], $3::bigint[]) as m(merchant_id, first_seq, last_seq)
         where p.merchant_id = m.merchant_id and p.seq between m.first_seq and m.last_seq",
        &merchants,
        &firsts,
        &lasts
    );
    Ok(done.execute(conn).await?.rows_affected())
}
