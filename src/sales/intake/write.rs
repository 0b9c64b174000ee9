//! The call of `record_sales_3`, and what its outcomes mean.

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::added::Added;
use super::prepared::Prepared;
use super::{AnswerVersion, IntakeError, Outcome, Refusal};
use crate::database;
use crate::http::problem::is_unavailable;
use crate::ids::{MerchantId, SaleId};
use crate::loyalty::programme::{Programme, Programmes};
use crate::sales::archive::Archive;
use crate::sales::command::Reference;
use crate::sales::filed::Wanted;
use crate::sales::store;
use crate::sales::stored::StoredSale;

/// Versions of a programme that a slice is written by at most: each try learns of a newer one.
const VERSIONS: usize = 5;

/// Where sales are written, and what is known of programmes.
pub(super) struct Target<'a> {
    pub(super) pool: &'a PgPool,
    pub(super) archive: &'a Archive,
    pub(super) programmes: &'a Programmes,
}

impl Target<'_> {
    /// Records a slice. When the function raises, the slice is run again one by one, so that one row's
    /// fault never costs its neighbours; when the connection is lost, once more as it is: whatever
    /// happened, the same keys make the same sales once.
    pub(super) async fn slice(
        &self,
        merchant: MerchantId,
        prepared: &mut [Prepared],
    ) -> Result<Vec<Result<Outcome, IntakeError>>, IntakeError> {
        let rows = match self.call(merchant, prepared).await {
            Err(error) if was_cut_off(&error) => {
                tracing::warn!(error = %error, "recording is tried once more");
                let mut db = database::acquire_tested(self.pool).await?;
                call(&mut db, self.programmes, merchant, prepared).await?
            }
            Err(error) if database::was_read_only(&error) => return Err(error.into()),
            Err(error) if prepared.len() > 1 => {
                tracing::error!(error = %error, rows = prepared.len(), "record_sales_3 raised; recording one by one");
                self.one_by_one(merchant, prepared).await?
            }
            rows => rows?,
        };
        let stored = if rows.iter().any(Row::is_replayed) {
            let mut db = self.pool.acquire().await?;
            read_back(&mut db, self.archive, merchant, &rows).await?
        } else {
            Vec::new()
        };
        let outcomes = rows.into_iter().zip(prepared.iter());
        let outcomes = outcomes.map(|(row, own)| outcome(row, own, merchant, &stored));
        Ok(outcomes.collect())
    }

    async fn call(
        &self,
        merchant: MerchantId,
        prepared: &mut [Prepared],
    ) -> Result<Vec<Row>, sqlx::Error> {
        let mut db = self.pool.acquire().await?;
        call(&mut db, self.programmes, merchant, prepared).await
    }

    async fn one_by_one(
        &self,
        merchant: MerchantId,
        prepared: &mut [Prepared],
    ) -> Result<Vec<Row>, sqlx::Error> {
        let mut rows = Vec::with_capacity(prepared.len());
        for one in prepared {
            match self.call(merchant, std::slice::from_mut(one)).await {
                Ok(mut row) => rows.append(&mut row),
                Err(error) if is_unavailable(&error) => return Err(error),
                Err(error) => {
                    tracing::error!(error = %error, sale_id = %one.sale_id, "record_sales_3 raised for one sale");
                    rows.push(Row {
                        outcome: "failed".to_owned(),
                        ..Row::default()
                    });
                }
            }
        }
        Ok(rows)
    }
}

/// Records one draft on a connection, in whatever transaction it is in.
pub(super) async fn one(
    db: &mut PgConnection,
    archive: &Archive,
    programmes: &Programmes,
    merchant: MerchantId,
    prepared: Prepared,
) -> Result<Outcome, IntakeError> {
    let mut prepared = [prepared];
    let rows = call(db, programmes, merchant, &mut prepared).await?;
    let stored = read_back(db, archive, merchant, &rows).await?;
    let row = rows.into_iter().next().ok_or(IntakeError::Ended)?;
    let [own] = &prepared;
    outcome(row, own, merchant, &stored)
}

/// Whether the call may or may not have committed, or was rolled back by the database's own choice (class
/// 40): no row is at fault.
fn was_cut_off(error: &sqlx::Error) -> bool {
    let rolled_back = matches!(error, sqlx::Error::Database(e)
        if e.code().is_some_and(|code| code.starts_with("40")));
    rolled_back || database::was_cut(error)
}

/// The sales that replays are answered with, as far as they can be read.
async fn read_back(
    db: &mut PgConnection,
    archive: &Archive,
    merchant: MerchantId,
    rows: &[Row],
) -> Result<Vec<StoredSale>, sqlx::Error> {
    let mut ids: Vec<Uuid> = rows
        .iter()
        .filter(|row| row.is_replayed())
        .filter_map(|row| row.sale_id)
        .collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut sales = store::by_ids(db, merchant, &ids).await?;
    ids.retain(|id| !sales.iter().any(|sale| sale.sale_id == *id));
    if ids.is_empty() {
        return Ok(sales);
    }
    let archived: Vec<_> = ids
        .into_iter()
        .map(|id| (merchant, Wanted::Sale(SaleId(id))))
        .collect();
    for found in archive.read(db, &archived).await? {
        match found {
            Ok(found) => sales.extend(found.map(|filed| filed.sale)),
            Err(error) => error.log(),
        }
    }
    Ok(sales)
}

/// A row that `record_sales_3` returns.
#[derive(Default)]
struct Row {
    outcome: String,
    sale_id: Option<Uuid>,
    seq: Option<i64>,
    recorded_at: Option<OffsetDateTime>,
    refers_to: Option<Uuid>,
    answer: Option<i16>,
    refusal: Option<serde_json::Value>,
    programme: Option<i32>,
}

impl Row {
    fn is_replayed(&self) -> bool {
        self.outcome == "replayed"
    }
}

/// Calls the function until details and database name the same version of the programme. What is recorded
/// by another is nothing, so this costs a merchant a call where its programme was changed, and the first of
/// each process.
async fn call(
    db: &mut PgConnection,
    programmes: &Programmes,
    merchant: MerchantId,
    prepared: &mut [Prepared],
) -> Result<Vec<Row>, sqlx::Error> {
    let mut programme = programmes.of(merchant);
    for _ in 1..VERSIONS {
        let version = follow(prepared, programme.as_deref());
        let rows = call_once(db, merchant, version, prepared).await?;
        let changed = rows
            .first()
            .filter(|row| row.outcome == "programme_changed")
            .and_then(|row| row.programme);
        let Some(version) = changed else {
            return Ok(rows);
        };
        programme = programmes.learn(db, merchant, version).await?;
    }
    let version = follow(prepared, programme.as_deref());
    call_once(db, merchant, version, prepared).await
}

/// Has the details of all rows name this version of the programme; its number.
fn follow(prepared: &mut [Prepared], programme: Option<&Programme>) -> i32 {
    prepared.iter_mut().for_each(|row| row.follow(programme));
    programme.map_or(0, |programme| programme.version)
}

async fn call_once(
    db: &mut PgConnection,
    merchant: MerchantId,
    programme: i32,
    prepared: &[Prepared],
) -> Result<Vec<Row>, sqlx::Error> {
    fn column<'a, T>(prepared: &'a [Prepared], value: impl Fn(&'a Prepared) -> T) -> Vec<T> {
        prepared.iter().map(value).collect()
    }
    fn order(p: &Prepared) -> Option<&str> {
        match p.draft.command.refers_to() {
            Some(Reference::Order(id)) => Some(id.as_str()),
            _ => None,
        }
    }
    fn sale(p: &Prepared) -> Option<Uuid> {
        match p.draft.command.refers_to() {
            Some(Reference::Sale(id)) => Some(id.0),
            _ => None,
        }
    }
    let customers = column(prepared, |p| p.draft.command.customer());
    let customers: Vec<Option<&[u8]>> = customers
        .iter()
        .map(|c| c.as_ref().map(<[u8; 20]>::as_slice))
        .collect();
    sqlx::query_as!(
        Row,
        r#"select outcome as "outcome!", sale_id, seq, recorded_at, refers_to, answer, refusal, programme
           from record_sales_3($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                               $19, $20, $21)
           order by ord"#,
        merchant.0,
        &column(prepared, |p| p.draft.slot.space),
        &column(prepared, |p| p.draft.slot.key.as_str()) as &[&str],
        &column(prepared, |p| p.draft.answer as i16),
        &column(prepared, |p| p.draft.request_id.as_ref()) as &[&str],
        &column(prepared, |p| p.draft.command.fingerprint().as_slice()) as &[&[u8]],
        &column(prepared, |p| p.sale_id.0),
        &column(prepared, |p| p.draft.command.order_id().as_str()) as &[&str],
        &column(prepared, |p| p.draft.command.kind() as i16),
        &column(prepared, order) as &[Option<&str>],
        &column(prepared, sale) as &[Option<Uuid>],
        &customers as &[Option<&[u8]>],
        &column(prepared, |p| p.draft.command.currency().code()) as &[&str],
        &column(prepared, |p| p.draft.command.amount_minor()),
        &column(prepared, |p| p.draft.command.sold_at()) as &[Option<OffsetDateTime>],
        &column(prepared, |p| p.details.as_slice()) as &[&[u8]],
        &column(prepared, |p| p.details_hash.as_slice()) as &[&[u8]],
        &column(prepared, |p| p.salt.as_slice()) as &[&[u8]],
        programme,
        &column(prepared, |p| p.earns.as_ref().map(|(member, _)| member.as_bytes())) as &[Option<&[u8]>],
        &column(prepared, |p| p.earns.map(|(_, base)| base.0)) as &[Option<i64>],
    )
    .fetch_all(db)
    .await
}

fn outcome(
    row: Row,
    own: &Prepared,
    merchant: MerchantId,
    stored: &[StoredSale],
) -> Result<Outcome, IntakeError> {
    let contract = |row: &Row| IntakeError::Contract(row.outcome.clone());
    let answer = match row.answer {
        Some(2) => AnswerVersion::Transaction,
        _ => AnswerVersion::Sale,
    };
    Ok(match row.outcome.as_str() {
        "recorded" => {
            let (Some(seq), Some(recorded_at)) = (row.seq, row.recorded_at) else {
                return Err(contract(&row));
            };
            let sale = Box::new(own_sale(own, merchant, seq, recorded_at, row.refers_to));
            Outcome::Sale {
                sale,
                answer,
                replayed: false,
            }
        }
        "replayed" => {
            let Some(sale) = stored.iter().find(|sale| Some(sale.sale_id) == row.sale_id) else {
                return Ok(Outcome::Unreadable);
            };
            // a retry after a lost connection finds its own sale: then it was recorded now, not before
            Outcome::Sale {
                sale: Box::new(sale.clone()),
                answer,
                replayed: sale.sale_id != own.sale_id.0,
            }
        }
        "refused" | "refused_again" => {
            let refusal: Option<Refusal> = row
                .refusal
                .clone()
                .and_then(|json| serde_json::from_value(json).ok());
            let refusal = refusal.ok_or_else(|| contract(&row))?;
            Outcome::Refused {
                refusal,
                replayed: row.outcome == "refused_again",
            }
        }
        "failed" => Outcome::Failed,
        "key_reused" => Outcome::KeyReused,
        "refund_unknown" => Outcome::RefundUnknown,
        "refund_of_refund" => Outcome::RefundOfRefund,
        "refund_currency" => Outcome::RefundCurrency,
        "refund_of_order" => Outcome::RefundOfOrder,
        "merchant_unknown" => return Err(IntakeError::MerchantUnknown),
        _ => return Err(contract(&row)),
    })
}

/// The row as the database now holds it, without reading it back: only what it decided is taken from it.
fn own_sale(
    own: &Prepared,
    merchant: MerchantId,
    seq: i64,
    recorded_at: OffsetDateTime,
    refers_to: Option<Uuid>,
) -> StoredSale {
    let added = Added {
        sale_id: own.sale_id.0,
        seq,
        recorded_at,
        refers_to,
        details: own.details.clone(),
        details_hash: own.details_hash,
        salt: own.salt,
    };
    added.to(&own.draft.command, merchant)
}
