//! What earning reads: as much for a sale among many members as among none.

use counterfoil::ids::MerchantId;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::*;
use crate::harness::Database;

/// A member's sale, as `record_sales_3` has its points entered.
async fn earn(db: &mut PgConnection, merchant: Uuid, member: u32) {
    sqlx::query(
        "select loyalty_earn($1, 1, date_trunc('milliseconds', now()), array[gen_random_uuid()],
                             array[decode(lpad(to_hex($2), 40, '0'), 'hex')], array[10000::bigint], array['GBP'],
                             array[100::bigint])",
    )
    .bind(merchant)
    .bind(i32::try_from(member).expect("few members"))
    .execute(db)
    .await
    .expect("points");
}

/// Rows of the ledger that this connection has read and not told of yet: this transaction's among them.
async fn read(db: &mut PgConnection) -> i64 {
    let sql = "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_user_tables
               where relname like 'loyalty%'";
    sqlx::query_scalar(sql).fetch_one(db).await.expect("rows")
}

#[tokio::test(flavor = "multi_thread")]
async fn earning_reads_no_other_members() {
    let tier = json!([{"name": "silver", "from": "100", "multiplier": "1.5"}]);
    let app = shop(with(json!({"daily_limit": "15", "tiers": tier}))).await;
    let merchant: MerchantId = app.merchant;
    let mut db = connect(&app.db).await;
    // one connection plans its statements once, while there is nobody
    sqlx::raw_sql("set plan_cache_mode = force_generic_plan; set enable_seqscan = off")
        .execute(&mut db)
        .await
        .expect("as record_sales_3 has it");
    earn(&mut db, merchant.0, 1).await;
    let mut counts = Vec::new();
    for members in [2..4, 4..300] {
        for member in members {
            earn(&mut db, merchant.0, member).await;
        }
        // the first sale of a day looks at the twelve months before it
        sqlx::query("update loyalty_member set rolled_on = null")
            .execute(&mut db)
            .await
            .expect("another day");
        let mut tx = db.begin().await.expect("a transaction");
        let before = read(&mut tx).await;
        earn(&mut tx, merchant.0, 1).await;
        counts.push(read(&mut tx).await - before);
        tx.commit().await.expect("a commit");
    }
    assert_eq!(counts[0], counts[1], "rows that a sale of one member reads");
    check_ledger(&app.db.owner).await;
}

async fn connect(db: &Database) -> PgConnection {
    let options = db.owner.connect_options();
    PgConnection::connect_with(&options)
        .await
        .expect("the database")
}
