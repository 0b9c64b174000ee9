//! Every column has its place: in the list of the audit, in the catalogue, and in section 11 of SPEC.

use std::collections::BTreeSet;

use counterfoil::audit::columns::{TABLES, Tie, UNHELD};

use crate::harness::Database;

const SPEC: &str = include_str!("../../../proofs/SPEC.md");

fn listed(of: impl Fn(Tie) -> bool) -> Vec<String> {
    let mut names = Vec::new();
    for (table, columns) in TABLES {
        let own = columns.iter().filter(|(_, tie, _)| of(*tie));
        names.extend(own.map(|(column, ..)| format!("{table}.{column}")));
    }
    names
}

#[tokio::test]
async fn every_column_is_listed_once() {
    let db = Database::create().await;
    let catalogue: BTreeSet<String> = sqlx::query_scalar(
        "select c.relname || '.' || a.attname
         from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
           and c.relname <> '_sqlx_migrations'
           and c.relname <> all ($1)",
    )
    .bind(UNHELD)
    .fetch_all(&db.owner)
    .await
    .expect("the catalogue")
    .into_iter()
    .collect();
    let listed = listed(|_| true);
    let once: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), once.len(), "a column is listed twice");
    let unlisted: Vec<_> = catalogue.difference(&once).collect();
    assert!(
        unlisted.is_empty(),
        "say in src/audit/columns.rs and in section 11 of SPEC what holds {unlisted:?}"
    );
    let unheld: i64 = sqlx::query_scalar(
        "select count(*) from pg_class where relkind = 'r' and relname = any ($1)",
    )
    .bind(UNHELD)
    .fetch_one(&db.owner)
    .await
    .expect("the catalogue");
    assert_eq!(
        unheld,
        UNHELD.len() as i64,
        "one of {UNHELD:?} is not there"
    );
    let gone: Vec<_> = once.difference(&catalogue).collect();
    assert!(gone.is_empty(), "there is no {gone:?}");
}

#[test]
fn spec_names_what_nothing_commits_to() {
    let section = SPEC.split("\n## 11.").nth(1).expect("section 11");
    let section = section.split("\n## ").next().expect("its text");
    for (tie, word) in [
        (Tie::Derived, "derived"),
        (Tie::Bounded, "bounded"),
        (Tie::Free, "nothing"),
    ] {
        let mut told = Vec::new();
        for row in section.lines().filter(|line| line.starts_with("| ")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            if cells[2] == word {
                told.extend(
                    cells[1]
                        .split('`')
                        .filter(|name| name.contains('.'))
                        .map(str::to_owned),
                );
            }
        }
        told.sort();
        let mut expected = listed(|it| it == tie);
        if tie == Tie::Free {
            expected.extend(UNHELD.iter().map(|table| format!("{table}.*")));
        }
        expected.sort();
        assert_eq!(told, expected, "{word}");
    }
}
