//! Tampering: thousands of damages to one database and its archive, each taken back; every one must be
//! named. `COUNTERFOIL_TAMPER_ROUNDS` says how many, `COUNTERFOIL_TAMPER_SEED` where they begin.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use counterfoil::audit::{Finding, Part, Subject};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::{Connection, PgConnection};

use super::damage::{self, run};
use super::{archived_shop, audit_within};

/// Rounds unless `COUNTERFOIL_TAMPER_ROUNDS` says otherwise: more than there are kinds of damage.
const ROUNDS: u64 = 300;
/// One round in so many is a byte of the archive's file.
const FILE_ROUNDS: u64 = 20;

pub(super) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn every_damage_is_named_with_its_row_and_part() {
    let rounds = setting("COUNTERFOIL_TAMPER_ROUNDS", ROUNDS);
    let first = setting("COUNTERFOIL_TAMPER_SEED", 0);
    let (it, directory) = archived_shop().await;
    let mut conn = it.db.owner.acquire().await.expect("the database");
    drop_checks(&mut conn).await;
    let (_, findings) = audit_within(&mut conn, &directory).await;
    assert_eq!(findings, [], "it is sound before");
    let damages = damage::all(&mut conn).await;
    let mut missed = Vec::new();
    let mut done: BTreeMap<&str, u64> = BTreeMap::new();
    // every kind in turn, so that a short run meets each of them
    for seed in first.. {
        if done.values().sum::<u64>() == rounds {
            break;
        }
        let mut random = StdRng::seed_from_u64(seed);
        let kind = seed % (damages.len() as u64 + damages.len() as u64 / FILE_ROUNDS);
        let (table, found) = match damages.get(kind as usize) {
            Some(damage) => (
                damage.table,
                rows(&mut conn, &directory, damage, &mut random).await,
            ),
            None => ("the file", file(&mut conn, &directory, &mut random).await),
        };
        match found {
            None => continue,
            Some(Ok(())) => {}
            Some(Err(what)) => missed.push(format!("seed {seed}: {what}")),
        }
        *done.entry(table).or_default() += 1;
    }
    println!(
        "{} kinds of damage, rounds by table: {done:?}",
        damages.len()
    );
    assert!(
        missed.is_empty(),
        "{} of {rounds}:\n{}",
        missed.len(),
        missed.join("\n")
    );
    let (_, findings) = audit_within(&mut conn, &directory).await;
    assert_eq!(findings, [], "what was taken back is sound again");
    fs::remove_dir_all(directory).expect("the directory");
}

/// Who can change rows can take off what checks them.
async fn drop_checks(conn: &mut PgConnection) {
    run(
        conn,
        "do $$ declare v record; begin
        for v in select conrelid::regclass as t, conname from pg_constraint
                 where contype = 'c' and connamespace = 'public'::regnamespace and conislocal
                   and coninhcount = 0 loop
            execute format('alter table %s drop constraint %I', v.t, v.conname);
        end loop; end $$;
        alter table anchor alter anchor_id drop identity;
        alter table sale_archive alter archive_id drop identity",
    )
    .await;
}

/// A damage to a row. None where it cannot be done; else whether it was named.
async fn rows(
    conn: &mut PgConnection,
    directory: &Path,
    damage: &damage::Damage,
    random: &mut StdRng,
) -> Option<Result<(), String>> {
    let mut tx = conn.begin().await.expect("the database");
    run(&mut tx, "set local session_replication_role = replica").await;
    let inflicted = damage.inflict(&mut tx, random).await;
    let outcome = match inflicted {
        None => None,
        Some((row, sql)) => {
            let (_, findings) = audit_within(&mut tx, directory).await;
            let named = |finding: &Finding| {
                row.is(damage.table, &finding.subject) && damage.parts.contains(&finding.part)
            };
            Some(if findings.iter().any(named) {
                Ok(())
            } else {
                Err(format!("{sql}\n  {row:?}\n  found: {}", lines(&findings)))
            })
        }
    };
    tx.rollback().await.expect("the database");
    outcome
}

/// A damage to the archive's file: a bit, a line less, a line twice, two lines in each other's place.
async fn file(
    conn: &mut PgConnection,
    directory: &Path,
    random: &mut StdRng,
) -> Option<Result<(), String>> {
    let path = archive_file(directory);
    let sound = fs::read(&path).expect("the file");
    let mut pick = |below: usize| random.next_u32() as usize % below;
    let mut lines: Vec<Vec<u8>> = sound
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let (what, damaged) = match pick(4) {
        0 => {
            let (at, bit) = (pick(sound.len()), pick(8));
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << bit;
            (format!("bit {bit} of byte {at}"), bytes)
        }
        1 => {
            let line = pick(lines.len());
            lines.remove(line);
            (format!("without line {line}"), lines.concat())
        }
        2 => {
            let line = pick(lines.len());
            lines.insert(line, lines[line].clone());
            (format!("line {line} twice"), lines.concat())
        }
        _ => {
            let line = pick(lines.len() - 1);
            lines.swap(line, line + 1);
            (format!("line {line} after the next"), lines.concat())
        }
    };
    fs::write(&path, damaged).expect("the file");
    let (_, findings) = audit_within(conn, directory).await;
    fs::write(&path, sound).expect("the file");
    let named = |finding: &Finding| {
        matches!(finding.subject, Subject::Archive { .. }) && finding.part == Part::Archive
    };
    Some(if findings.iter().any(named) {
        Ok(())
    } else {
        Err(format!("{what}\n  found: {}", self::lines(&findings)))
    })
}

fn archive_file(directory: &Path) -> PathBuf {
    let mut files = fs::read_dir(directory).expect("the directory");
    files.next().expect("a file").expect("a file").path()
}

fn lines(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    format!("{lines:#?}")
}
