//! Tampering: thousands of damages to one database, each taken back; every one must be named.

use rand::SeedableRng;
use rand::rngs::StdRng;
use sqlx::Connection;

use super::damage;
use super::{audit_within, shop};

/// Rounds unless `COUNTERFOIL_TAMPER_ROUNDS` says otherwise.
const ROUNDS: u64 = 80;

#[tokio::test]
async fn every_damage_is_named_with_its_row_and_part() {
    let rounds = std::env::var("COUNTERFOIL_TAMPER_ROUNDS").map_or(ROUNDS, |text| {
        text.parse().expect("COUNTERFOIL_TAMPER_ROUNDS: a number")
    });
    let it = shop().await;
    let mut conn = it.db.owner.acquire().await.expect("the database");
    let damages = damage::all();
    let mut missed = Vec::new();
    let mut done = 0;
    // every kind in turn, so that a short run meets each of them
    for seed in 0.. {
        if done == rounds {
            break;
        }
        let mut random = StdRng::seed_from_u64(seed);
        let damage = &damages[seed as usize % damages.len()];
        let mut tx = conn.begin().await.expect("the database");
        // who can change rows can switch foreign keys off
        sqlx::raw_sql("set local session_replication_role = replica")
            .execute(&mut *tx)
            .await
            .expect("a superuser");
        if let Some((row, sql)) = damage.inflict(&mut tx, &mut random).await {
            let (_, findings) = audit_within(&mut tx).await;
            let named = findings.iter().any(|finding| {
                row.is(damage.table, &finding.subject) && damage.parts.contains(&finding.part)
            });
            if !named {
                let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
                missed.push(format!(
                    "seed {seed}: {sql}\n  {row:?}\n  found: {found:#?}"
                ));
            }
            done += 1;
        }
        tx.rollback().await.expect("the database");
    }
    assert!(
        missed.is_empty(),
        "{} of {done}:\n{}",
        missed.len(),
        missed.join("\n")
    );
    let (_, findings) = audit_within(&mut conn).await;
    assert_eq!(findings, [], "what was taken back is sound again");
}
