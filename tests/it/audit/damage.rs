//! What is done to a database: a byte of a column, a row less, a row more; and what must be named then.

use counterfoil::audit::Part::{
    self, Anchor, Attempt, Batch, Chain, Copy, Details, Double, Fields,
};
use counterfoil::audit::Part::{
    Leaf, Leaves, Manifest, Mark, Missing, Proof, Queue, Root, State, Times,
};
use counterfoil::audit::Subject;
use rand::Rng;
use rand::rngs::StdRng;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

/// How a byte of a column is changed. `{c}` is the column, `{n}` a random number.
const BYTES: &str = "set_byte({c}, {n} % octet_length({c}), get_byte({c}, {n} % octet_length({c})) # (1 << ({n} % 8)))";
const UUID: &str = "encode(set_byte(uuid_send({c}), {n} % 16, get_byte(uuid_send({c}), {n} % 16) # (1 << ({n} % 8))), 'hex')::uuid";
const NUMBER: &str = "{c} # (1::bigint << ({n} % 40))";
const SMALL: &str = "({c} # (1 << ({n} % 12)))::integer";
const TIME: &str = "{c} + interval '1 microsecond' * (1 + {n} % 100000)";
const TEXT: &str = "overlay({c} placing chr(64 + ({n} % 26) + case when substr({c}, 1 + {n} % length({c}), 1) = chr(64 + {n} % 26) then 1 else 0 end) from 1 + {n} % length({c}) for 1)";
const FEE: &str = "{c} + 1 + {n} % 1000";

/// A way to damage a table.
pub(super) struct Damage {
    pub(super) table: &'static str,
    /// What is done, `{w}` being the one row that is chosen.
    sql: String,
    /// Which rows it is done to.
    of: &'static str,
    pub(super) parts: &'static [Part],
}

const SEALED: &str = "batch_id is not null";
const ANY: &str = "true";

/// Table, column, how it is changed, in which rows, and the parts of which one must be named.
type Column = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [Part],
);
const COLUMNS: &[Column] = &[
    ("sale", "merchant_id", UUID, SEALED, &[Fields, Missing]),
    ("sale", "sale_id", UUID, SEALED, &[Fields]),
    ("sale", "seq", NUMBER, SEALED, &[Fields]),
    ("sale", "order_id", TEXT, SEALED, &[Fields]),
    (
        "sale",
        "refers_to",
        UUID,
        "batch_id is not null and refers_to is not null",
        &[Fields],
    ),
    (
        "sale",
        "customer",
        BYTES,
        "batch_id is not null and customer is not null",
        &[Fields],
    ),
    ("sale", "currency", TEXT, SEALED, &[Fields]),
    ("sale", "amount_minor", NUMBER, SEALED, &[Fields]),
    ("sale", "recorded_at", TIME, SEALED, &[Fields]),
    ("sale", "details", BYTES, ANY, &[Details]),
    ("sale", "details_hash", BYTES, ANY, &[Details]),
    ("sale", "salt", BYTES, SEALED, &[Fields]),
    ("sale", "leaf", BYTES, SEALED, &[Leaf]),
    ("sale", "batch_id", NUMBER, SEALED, &[Batch]),
    ("sale", "leaf_index", SMALL, SEALED, &[Leaf]),
    ("sale", "proof", BYTES, SEALED, &[Proof]),
    ("sale", "fingerprint", BYTES, ANY, &[Copy]),
    ("sale", "sold_at", TIME, "sold_at is not null", &[Copy]),
    ("batch", "root", BYTES, ANY, &[Root]),
    ("batch", "previous", BYTES, ANY, &[Manifest]),
    ("batch", "tree_root", BYTES, ANY, &[Manifest]),
    ("batch", "sealed_at", TIME, ANY, &[Manifest]),
    ("batch", "signer", BYTES, ANY, &[Manifest]),
    ("batch", "marks_hash", BYTES, ANY, &[Manifest]),
    ("batch", "salt", BYTES, ANY, &[Manifest]),
    ("batch", "leaves", BYTES, ANY, &[Leaves]),
    ("batch", "oldest_recorded_at", TIME, ANY, &[Copy]),
    ("batch_mark", "merchant_id", UUID, ANY, &[Mark]),
    ("batch_mark", "first_seq", NUMBER, ANY, &[Mark]),
    ("batch_mark", "last_seq", NUMBER, ANY, &[Mark]),
    ("batch_mark", "head", BYTES, ANY, &[Mark]),
    ("batch_mark", "salt", BYTES, ANY, &[Mark]),
    ("anchor", "account", BYTES, ANY, &[Anchor]),
    ("anchor", "registry", BYTES, ANY, &[Anchor]),
    ("anchor", "nonce", NUMBER, ANY, &[Anchor]),
    ("anchor", "first_batch", SMALL, ANY, &[Anchor]),
    ("anchor", "last_batch", SMALL, ANY, &[Anchor]),
    ("anchor_attempt", "tx_hash", BYTES, ANY, &[Attempt]),
    ("anchor_attempt", "raw", BYTES, ANY, &[Attempt]),
    ("anchor_attempt", "max_fee_per_gas", FEE, ANY, &[Attempt]),
    (
        "anchor_attempt",
        "max_priority_fee_per_gas",
        FEE,
        ANY,
        &[Attempt],
    ),
    ("anchor_attempt", "gas_limit", NUMBER, ANY, &[Attempt]),
    ("sale_order", "sale_id", UUID, ANY, &[Copy]),
    ("sale_order", "order_id", TEXT, ANY, &[Copy]),
    ("idempotency_key", "sale_id", UUID, ANY, &[Copy]),
    ("idempotency_key", "fingerprint", BYTES, ANY, &[Copy]),
    ("refund_total", "refunded_minor", NUMBER, ANY, &[Copy]),
    ("refund_total", "sale_minor", NUMBER, ANY, &[Copy]),
    ("pending_sale", "seq", NUMBER, ANY, &[Queue]),
    ("pending_sale", "sale_id", UUID, ANY, &[Queue]),
    ("pending_sale", "recorded_at", TIME, ANY, &[Queue]),
    ("mark_head", "last_seq", NUMBER, ANY, &[Copy]),
    ("mark_head", "head", BYTES, ANY, &[Copy]),
    ("merchant", "next_seq", NUMBER, ANY, &[Copy, Missing]),
    ("seal_head", "next_batch", NUMBER, ANY, &[Missing, Double]),
    ("seal_head", "last_root", BYTES, ANY, &[Copy]),
    ("chain_head", "next_batch", NUMBER, ANY, &[Copy]),
    ("chain_head", "next_nonce", NUMBER, ANY, &[Copy]),
];

/// Table, statement, on which rows, and the parts of which one must be named.
type Statement = (&'static str, &'static str, &'static str, &'static [Part]);
const STATEMENTS: &[Statement] = &[
        ("sale", "update sale set kind = 3 - kind where {w}", SEALED, &[Fields]),
        ("sale", "delete from sale where {w}", ANY, &[Missing]),
        ("sale", "insert into sale select (jsonb_populate_record(s, jsonb_build_object('sale_id', gen_random_uuid()))).*
                     from sale s where {w}", ANY, &[Double]),
        ("sale", "insert into sale select (jsonb_populate_record(s, jsonb_build_object('sale_id', gen_random_uuid(),
                         'seq', s.seq + 1000))).* from sale s where {w}", ANY, &[Missing]),
        ("sale", "update sale set leaf = null, batch_id = null, leaf_index = null, proof = null where {w}", SEALED, &[Batch]),
        ("batch", "delete from batch where {w}", ANY, &[Missing]),
        ("batch", "insert into batch select (jsonb_populate_record(b, jsonb_build_object('batch_id', b.batch_id + 100))).*
                      from batch b where {w}", ANY, &[Missing, Double]),
        ("batch_mark", "delete from batch_mark where {w}", ANY, &[Mark]),
        ("batch_mark", "insert into batch_mark select batch_id, gen_random_uuid(), first_seq, last_seq, head, salt
                           from batch_mark where {w}", ANY, &[Mark]),
        ("anchor", "delete from anchor where {w}", ANY, &[Anchor, Copy]),
        ("anchor", "update anchor set state = 'submitted' where {w}", ANY, &[State]),
        ("anchor", "update anchor set finalized_at = null where {w}", "state = 'finalized'", &[State]),
        ("anchor", "update anchor set mined_at = reserved_at - interval '1 second' where {w}", ANY, &[Times]),
        ("anchor_attempt", "delete from anchor_attempt where {w}", ANY, &[State]),
        ("sale_order", "delete from sale_order where {w}", ANY, &[Copy]),
        ("sale_order", "insert into sale_order select merchant_id, order_id || 'x', sale_id from sale_order where {w}", ANY, &[Copy]),
        ("pending_sale", "delete from pending_sale where {w}", ANY, &[Queue]),
        ("pending_sale", "insert into pending_sale select merchant_id, seq + 50, sale_id, recorded_at
                             from pending_sale where {w}", ANY, &[Queue]),
        ("refund_total", "delete from refund_total where {w}", ANY, &[Copy]),
        ("batch", "update batch set chains = array[5::bigint] where {w}", ANY, &[Chain]),
];

/// All of them.
pub(super) fn all() -> Vec<Damage> {
    let columns = COLUMNS
        .iter()
        .map(|(table, column, how, of, parts)| Damage {
            table,
            sql: format!(
                "update {table} set {column} = {} where {{w}}",
                how.replace("{c}", column)
            ),
            of,
            parts,
        });
    let statements = STATEMENTS.iter().map(|(table, sql, of, parts)| Damage {
        table,
        sql: (*sql).to_owned(),
        of,
        parts,
    });
    columns.chain(statements).collect()
}

/// The keys of the row that was damaged, as far as the table has them.
#[derive(Debug, Default)]
pub(super) struct Damaged {
    merchant: Option<Uuid>,
    sale: Option<Uuid>,
    seq: Option<i64>,
    batch: Option<i64>,
    anchor: Option<i64>,
    order: Option<String>,
    key: Option<String>,
}

impl Damage {
    /// Does it to a random row. None where there is no such row, or the table's own constraints refuse;
    /// the transaction is then where it was.
    pub(super) async fn inflict(
        &self,
        tx: &mut PgConnection,
        random: &mut StdRng,
    ) -> Option<(Damaged, String)> {
        let table = self.table;
        let count = format!("select count(*) from {table} where {}", self.of);
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count))
            .fetch_one(&mut *tx)
            .await
            .expect("the database");
        if rows == 0 {
            return None;
        }
        let nth = i64::from(random.next_u32()) % rows;
        // a table without a partition's number in its row's address has one row of that address
        let chosen = format!(
            "select tableoid::bigint as table_id, ctid::text as row_id, to_jsonb(t) as columns from {table} t
             where {} order by tableoid, ctid offset {nth} limit 1",
            self.of
        );
        let row = sqlx::query(AssertSqlSafe(chosen))
            .fetch_one(&mut *tx)
            .await
            .expect("the database");
        let columns: serde_json::Value = row.get("columns");
        let chosen = format!(
            "tableoid::bigint = {} and ctid = '{}'",
            row.get::<i64, _>("table_id"),
            row.get::<String, _>("row_id")
        );
        let number = random.next_u32() >> 2;
        let sql = self
            .sql
            .replace("{w}", &chosen)
            .replace("{n}", &number.to_string());
        sqlx::raw_sql("savepoint damage")
            .execute(&mut *tx)
            .await
            .expect("the database");
        match sqlx::query(AssertSqlSafe(sql.clone()))
            .execute(&mut *tx)
            .await
        {
            Ok(done) => {
                assert_eq!(done.rows_affected(), 1, "{sql}");
                Some((damaged(&columns), sql))
            }
            Err(sqlx::Error::Database(error))
                if error.constraint().is_some() || error.message().contains("partition") =>
            {
                sqlx::raw_sql("rollback to savepoint damage")
                    .execute(&mut *tx)
                    .await
                    .expect("the database");
                None
            }
            Err(error) => panic!("{sql}: {error}"),
        }
    }
}

fn damaged(columns: &serde_json::Value) -> Damaged {
    let text = |name: &str| columns[name].as_str().map(str::to_owned);
    let id = |name: &str| columns[name].as_str().and_then(|text| text.parse().ok());
    let number = |name: &str| columns[name].as_i64();
    Damaged {
        merchant: id("merchant_id"),
        sale: id("sale_id"),
        seq: number("seq"),
        batch: number("batch_id"),
        anchor: number("anchor_id"),
        order: text("order_id"),
        key: text("key"),
    }
}

impl Damaged {
    /// Whether a finding's row is this one, or in place of it.
    pub(super) fn is(&self, table: &str, subject: &Subject) -> bool {
        match (table, subject) {
            (
                "sale",
                Subject::Sale {
                    merchant,
                    seq,
                    sale,
                },
            ) => {
                (sale.is_some() && *sale == self.sale)
                    || (Some(*merchant) == self.merchant
                        && (Some(*seq) == self.seq || (sale.is_none() && Some(*seq) > self.seq)))
            }
            ("batch", Subject::Batch { batch }) => Some(*batch) >= self.batch,
            ("batch_mark", Subject::Mark { batch, .. } | Subject::Batch { batch }) => {
                Some(*batch) == self.batch
            }
            ("anchor" | "anchor_attempt", Subject::Anchor { anchor }) => {
                Some(*anchor) == self.anchor || Some(*anchor) == self.anchor.map(|it| it + 1)
            }
            ("anchor_attempt", Subject::Attempt { anchor, .. }) => Some(*anchor) == self.anchor,
            ("anchor" | "chain_head", Subject::Chain { .. }) => true,
            ("sale_order", Subject::Order { merchant, order }) => {
                Some(*merchant) == self.merchant
                    && self
                        .order
                        .as_ref()
                        .is_some_and(|own| own.len().abs_diff(order.len()) <= 1)
            }
            ("sale_order", Subject::Sale { sale, .. }) => *sale == self.sale,
            ("idempotency_key", Subject::Key { key, .. }) => Some(key) == self.key.as_ref(),
            ("refund_total", Subject::Refunds { sale, .. }) => Some(*sale) == self.sale,
            ("pending_sale", Subject::Sale { sale, .. }) => *sale == self.sale,
            ("pending_sale", Subject::Pending { merchant, .. }) => Some(*merchant) == self.merchant,
            ("mark_head" | "merchant", Subject::Merchant { merchant }) => {
                Some(*merchant) == self.merchant
            }
            ("merchant", Subject::Sale { merchant, .. }) => Some(*merchant) == self.merchant,
            ("seal_head", Subject::Heads | Subject::Batch { .. }) => true,
            _ => false,
        }
    }
}
