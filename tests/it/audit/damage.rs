//! What is done to a database: a value of a column, a row less, a row more; and what must be named then.
//! The columns are those of the catalogue that something commits to or that follow from what is.

use counterfoil::audit::Part::{
    self, Anchor, Archive, Chain, Copy, Double, Mark, Missing, Queue, State, Times,
};
use counterfoil::audit::columns::{TABLES, Tie};
use rand::Rng;
use rand::rngs::StdRng;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::damaged::Damaged;

/// A way to damage a table.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    pub(super) table: &'static str,
    /// What is done, `{w}` being the one row that is chosen and `{n}` a random number.
    sql: String,
    /// Which rows it is done to.
    of: &'static str,
    pub(super) parts: &'static [Part],
}

/// How a value of a type is changed: `{c}` is the column.
fn changes(udt: &str) -> &'static [&'static str] {
    match udt {
        "bytea" => &[
            "set_byte({c}, {n} % octet_length({c}), get_byte({c}, {n} % octet_length({c})) # (1 << ({n} % 8)))",
            "{c} || set_byte('\\x00', 0, {n} % 256)",
            "substring({c} from 1 for octet_length({c}) - 1)",
        ],
        "uuid" => &[
            "encode(set_byte(uuid_send({c}), {n} % 16, get_byte(uuid_send({c}), {n} % 16) # (1 << ({n} % 8))), 'hex')::uuid",
        ],
        "int8" => &["{c} # (1::bigint << ({n} % 40))", "{c} + 1", "-{c} - 1"],
        "int4" => &["{c} # (1 << ({n} % 12))", "{c} + 1", "-{c} - 1"],
        "int2" => &["(3 - {c})::smallint", "({c} + 2)::smallint"],
        "timestamptz" => &[
            "{c} + interval '1 microsecond' * (1 + {n} % 100000)",
            "{c} - interval '1 millisecond' * (1 + {n} % 100000)",
        ],
        "text" => &[
            "overlay({c} placing chr(64 + ({n} % 26) + case when substr({c}, 1 + {n} % length({c}), 1) = chr(64 + {n} % 26) then 1 else 0 end) from 1 + {n} % length({c}) for 1)",
            "{c} || 'x'",
            "left({c}, length({c}) - 1)",
        ],
        "numeric" => &["{c} + 1 + {n} % 1000", "{c} - 1"],
        other => panic!("no way to change a value of the type {other}"),
    }
}

/// A value of a type, for where there is none.
fn value(udt: &str) -> &'static str {
    match udt {
        "bytea" => "decode(repeat('ab', 20), 'hex')",
        "uuid" => "gen_random_uuid()",
        "timestamptz" => "date_trunc('milliseconds', now())",
        "int8" | "int4" => "1",
        other => panic!("no value of the type {other}"),
    }
}

/// The rows that something is known of.
fn rows(table: &str) -> &'static str {
    match table {
        "sale" => "batch_id is not null",
        "idempotency_key" => "sale_id is not null",
        "anchor" => "state <> 'reserved'",
        "chain_head" => "exists (select from anchor a where a.chain_id = chain_head.chain_id)",
        _ => "true",
    }
}

/// Table, statement, on which rows, and the parts of which one must be named.
type Statement = (&'static str, &'static str, &'static str, &'static [Part]);
const ANY: &str = "true";
const STATEMENTS: &[Statement] = &[
    ("sale", "delete from sale where {w}", ANY, &[Missing]),
    ("sale", "insert into sale select (jsonb_populate_record(s, jsonb_build_object('sale_id', gen_random_uuid()))).*
              from sale s where {w}", ANY, &[Double]),
    ("sale", "insert into sale select (jsonb_populate_record(s, jsonb_build_object('sale_id', gen_random_uuid(),
                  'seq', s.seq + 1000))).* from sale s where {w}", ANY, &[Missing]),
    ("sale", "update sale set leaf = null, batch_id = null, leaf_index = null, proof = null where {w}",
     "batch_id is not null", &[Part::Batch]),
    ("sale", "update sale set details = details || ' ' where {w}", ANY, &[Part::Details]),
    ("batch", "delete from batch where {w}", ANY, &[Missing]),
    ("batch", "insert into batch select (jsonb_populate_record(b, jsonb_build_object('batch_id', b.batch_id + 100))).*
               from batch b where {w}", ANY, &[Missing, Double]),
    ("batch", "update batch set chains = array[5::bigint] where {w}", ANY, &[Chain]),
    ("batch_mark", "delete from batch_mark where {w}", ANY, &[Mark]),
    ("batch_mark", "insert into batch_mark select batch_id, gen_random_uuid(), first_seq, last_seq, head, salt
                    from batch_mark where {w}", ANY, &[Mark]),
    ("anchor", "delete from anchor where {w}", ANY, &[Anchor, Copy]),
    ("anchor", "update anchor set finalized_at = null where {w}", "state = 'finalized'", &[State]),
    ("anchor", "update anchor set mined_at = reserved_at - interval '1 second' where {w}", ANY, &[Times]),
    ("anchor_attempt", "delete from anchor_attempt where {w}", ANY, &[State]),
    ("sale_order", "delete from sale_order where {w}", ANY, &[Copy]),
    ("sale_order", "insert into sale_order select merchant_id, order_id || 'x', sale_id from sale_order where {w}", ANY, &[Copy]),
    ("pending_sale", "delete from pending_sale where {w}", ANY, &[Queue]),
    ("pending_sale", "insert into pending_sale select merchant_id, seq + 50, sale_id, recorded_at
                      from pending_sale where {w}", ANY, &[Queue]),
    ("refund_total", "delete from refund_total where {w}", ANY, &[Copy]),
    ("merchant", "update merchant set last_recorded_at = last_recorded_at - interval '1 day' where {w}", ANY, &[Copy]),
    ("archived_sale", "delete from archived_sale where {w}", ANY, &[Missing]),
    ("archived_sale", "insert into archived_sale select (jsonb_populate_record(s,
                           jsonb_build_object('sale_id', gen_random_uuid()))).* from archived_sale s where {w}",
     ANY, &[Double, Archive]),
    ("sale_archive", "delete from sale_archive where {w}", ANY, &[Archive]),
    ("sale_archive", "update sale_archive set archived_at = archived_at - interval '1 year' where {w}", ANY, &[Times]),
    ("sale_archive_run", "delete from sale_archive_run where {w}", ANY, &[Archive]),
    ("sale_archive_run", "insert into sale_archive_run select merchant_id, first_seq + 500, last_seq + 500, archive_id,
                              first_batch, last_batch from sale_archive_run where {w}", ANY, &[Archive]),
];

/// All of them.
pub(super) async fn all(conn: &mut PgConnection) -> Vec<Damage> {
    let mut damages: Vec<Damage> = STATEMENTS
        .iter()
        .map(|(table, sql, of, parts)| Damage {
            table,
            sql: (*sql).to_owned(),
            of,
            parts,
        })
        .collect();
    for (table, columns) in TABLES {
        for (column, tie, parts) in *columns {
            if !matches!(tie, Tie::Committed | Tie::Derived) {
                continue;
            }
            let (udt, nullable): (String, bool) = sqlx::query_as(
                "select udt_name::text, is_nullable = 'YES' from information_schema.columns
                 where table_schema = 'public' and table_name = $1 and column_name = $2",
            )
            .bind(table)
            .bind(column)
            .fetch_one(&mut *conn)
            .await
            .expect("the column");
            let mut add = |change: &str| {
                let change = match nullable {
                    true => format!(
                        "case when {{c}} is null then {} else {change} end",
                        value(&udt)
                    ),
                    false => change.to_owned(),
                };
                damages.push(Damage {
                    table,
                    sql: format!(
                        "update {table} set {column} = {} where {{w}}",
                        change.replace("{c}", column)
                    ),
                    of: rows(table),
                    parts,
                });
            };
            changes(&udt).iter().for_each(|change| add(change));
            if nullable {
                add("null");
            }
        }
    }
    damages
}

impl Damage {
    /// Does it to a random row. None where there is no such row, or a key of the table refuses; the
    /// transaction is then where it was.
    pub(super) async fn inflict(
        &self,
        tx: &mut PgConnection,
        random: &mut StdRng,
    ) -> Option<(Damaged, String)> {
        let (table, of) = (self.table, self.of);
        let count = format!("select count(*) from {table} where {of}");
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count))
            .fetch_one(&mut *tx)
            .await
            .expect("the database");
        if rows == 0 {
            return None;
        }
        let nth = i64::from(random.next_u32()) % rows;
        // rows of two partitions may have the same address
        let chosen = format!(
            "select tableoid::bigint as table_id, ctid::text as row_id, to_jsonb({table}) as columns
             from {table} where {of} order by tableoid, ctid offset {nth} limit 1"
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
        run(tx, "savepoint damage").await;
        match sqlx::query(AssertSqlSafe(sql.clone()))
            .execute(&mut *tx)
            .await
        {
            Ok(done) => {
                assert_eq!(done.rows_affected(), 1, "{sql}");
                Some((Damaged::new(&columns), sql))
            }
            Err(sqlx::Error::Database(error)) if refused(error.as_ref()) => {
                run(tx, "rollback to savepoint damage").await;
                None
            }
            Err(error) => panic!("{sql}: {error}"),
        }
    }
}

/// Whether a key, a type or a partition's bounds refuse a value: then it cannot be there.
fn refused(error: &dyn sqlx::error::DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    error.constraint().is_some() || error.message().contains("partition") || code.starts_with("22")
}

pub(super) async fn run(tx: &mut PgConnection, statement: &'static str) {
    sqlx::raw_sql(statement)
        .execute(tx)
        .await
        .expect("the database");
}
