//! The intake's function against those of the versions before, which processes of those versions still
//! call beside it: whatever the slices, the same outcomes and the same rows.

use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sqlx::{AssertSqlSafe, FromRow, PgPool};
use uuid::Uuid;

use crate::harness::{self, Database};

/// Histories that are compared, of so many slices of so many rows at most. Keys, orders and amounts are
/// few, so that most rows meet something.
const HISTORIES: usize = 40;
const SLICES: usize = 8;
const ROWS: usize = 8;

#[derive(Debug, Clone)]
struct Row {
    space: i16,
    key: u8,
    fingerprint: u8,
    order: u8,
    kind: i16,
    refers: Option<Refers>,
    currency: u8,
    amount: i64,
    /// Whether all refusals so far are made a day older before its slice.
    a_day_later: bool,
}

#[derive(Debug, Clone)]
enum Refers {
    Order(u8),
    /// One of the sale ids that were given so far, recorded or not.
    Sale(prop::sample::Index),
}

fn row() -> impl Strategy<Value = Row> {
    let refers = prop_oneof![
        (0..12u8).prop_map(Refers::Order),
        any::<prop::sample::Index>().prop_map(Refers::Sale),
    ];
    (
        prop_oneof![9 => Just(0i16), 1 => Just(1)],
        prop_oneof![1 => 0..6u8, 1 => any::<u8>()],
        prop_oneof![4 => Just(0), 1 => 1..3u8],
        prop_oneof![1 => 0..12u8, 1 => any::<u8>()],
        1..=2i16,
        option::weighted(0.4, refers),
        prop_oneof![9 => Just(0u8), 1 => Just(1)],
        0..20i64,
        prop::bool::weighted(0.02),
    )
        .prop_map(
            |(space, key, fingerprint, order, kind, refers, currency, amount, a_day_later)| Row {
                space,
                key,
                fingerprint,
                order,
                kind,
                refers,
                currency,
                amount,
                a_day_later,
            },
        )
}

/// What a function says of a row, without the time.
#[derive(Debug, PartialEq, FromRow)]
struct Outcome {
    ord: i32,
    outcome: String,
    sale_id: Option<Uuid>,
    seq: Option<i64>,
    has_time: bool,
    refers_to: Option<Uuid>,
    answer: Option<i16>,
    refusal: Option<serde_json::Value>,
}

async fn record(
    pool: &PgPool,
    function: &str,
    merchant: Uuid,
    slice: &[Row],
    given: &[Uuid],
) -> Vec<Outcome> {
    fn column<T>(slice: &[Row], value: impl Fn(&Row) -> T) -> Vec<T> {
        slice.iter().map(value).collect()
    }
    let (before, own) = given.split_at(given.len() - slice.len());
    let order = |row: &Row| match row.refers {
        Some(Refers::Order(order)) => Some(format!("A-{order}")),
        _ => None,
    };
    let sale = |row: &Row| match row.refers {
        Some(Refers::Sale(index)) if !before.is_empty() => Some(*index.get(before)),
        _ => None,
    };
    let hash = |n: u8| vec![n; 32];
    // without a programme
    let programme = match function {
        "record_sales_3" => ", 0, null, null",
        _ => "",
    };
    let call = format!(
        "select ord, outcome, sale_id, seq, recorded_at is not null as has_time, refers_to, answer, refusal
         from {function}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18{programme})
         order by ord"
    );
    sqlx::query_as(AssertSqlSafe(call))
        .bind(merchant)
        .bind(column(slice, |row| row.space))
        .bind(column(slice, |row| format!("k-{}", row.key)))
        .bind(column(slice, |row| 1 + row.space))
        .bind(column(slice, |_| "request"))
        .bind(column(slice, |row| hash(row.fingerprint)))
        .bind(own)
        .bind(column(slice, |row| format!("A-{}", row.order)))
        .bind(column(slice, |row| row.kind))
        .bind(column(slice, order))
        .bind(column(slice, sale))
        .bind(column(slice, |_| None::<Vec<u8>>))
        .bind(column(slice, |row| {
            ["GBP", "INR"][usize::from(row.currency)]
        }))
        .bind(column(slice, |row| row.amount))
        .bind(column(slice, |_| None::<time::OffsetDateTime>))
        .bind(column(slice, |row| vec![row.order]))
        .bind(column(slice, |row| hash(row.order)))
        .bind(column(slice, |row| hash(row.key)))
        .fetch_all(pool)
        .await
        .unwrap_or_else(|error| panic!("{function} raised {error} for {slice:?}"))
}

/// Everything that stands in the database of a merchant, without the merchant and the times; refusals
/// that are no longer remembered are left out.
async fn rows(pool: &PgPool, merchant: Uuid) -> Vec<String> {
    let all = "select 'merchant ' || next_seq as line from merchant where merchant_id = $1
        union all
        select to_jsonb(s) - 'merchant_id' - 'recorded_at' || '{\"of\": \"sale\"}' #>> '{}' from sale s where merchant_id = $1
        union all
        select to_jsonb(o) - 'merchant_id' #>> '{}' from sale_order o where merchant_id = $1
        union all
        select to_jsonb(p) - 'merchant_id' - 'recorded_at' || '{\"of\": \"queue\"}' #>> '{}' from pending_sale p where merchant_id = $1
        union all
        select to_jsonb(f) - 'merchant_id' #>> '{}' from refund_total f where merchant_id = $1
        union all
        select to_jsonb(k) - 'merchant_id' - 'created_at' #>> '{}' from idempotency_key k where merchant_id = $1
           and (k.refusal is null or k.created_at > now() - interval '24 hours')
        order by 1";
    sqlx::query_scalar(all)
        .bind(merchant)
        .fetch_all(pool)
        .await
        .expect("the rows")
}

#[tokio::test]
async fn each_function_decides_as_the_first_one() {
    let db = Database::create().await;
    let strategy = prop::collection::vec(prop::collection::vec(row(), 1..=ROWS), 1..=SLICES);
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..HISTORIES {
        let history = strategy.new_tree(&mut runner).expect("a history").current();
        let old = harness::merchant(&db, "live").await.0;
        let mut newer = Vec::new();
        for function in ["record_sales_2", "record_sales_3"] {
            newer.push((function, harness::merchant(&db, "live").await.0));
        }
        let mut given: Vec<Uuid> = Vec::new();
        for slice in &history {
            if slice.iter().any(|row| row.a_day_later) {
                sqlx::query("update idempotency_key set created_at = created_at - interval '1 day' where refusal is not null")
                    .execute(&db.owner)
                    .await
                    .expect("the database");
            }
            given.extend(
                slice
                    .iter()
                    .map(|_| Uuid::from_bytes(counterfoil::clock::Entropy::system().bytes())),
            );
            let expected = record(&db.owner, "record_sales", old, slice, &given).await;
            for (function, merchant) in &newer {
                let found = record(&db.owner, function, *merchant, slice, &given).await;
                assert_eq!(found, expected, "{function} {history:#?}");
            }
            seen.extend(expected.into_iter().map(|row| row.outcome));
        }
        let expected = rows(&db.owner, old).await;
        for (function, merchant) in newer {
            let found = rows(&db.owner, merchant).await;
            assert_eq!(found, expected, "{function} {history:#?}");
        }
    }
    let all = [
        "key_reused",
        "recorded",
        "refund_currency",
        "refund_of_refund",
        "refund_unknown",
        "refused",
        "refused_again",
        "replayed",
    ];
    assert!(
        seen.iter().eq(all),
        "the histories reach every outcome: {seen:?}"
    );
}
