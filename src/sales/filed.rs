//! A sale with all that its receipt needs: its seal, its batch, and where that is anchored. Any number of
//! sales are read in one statement.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::stored::StoredSale;
use crate::ids::{MerchantId, SaleId};

/// Which sale of a merchant is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The one with this id.
    Sale(SaleId),
    /// The one with this order id.
    Order(String),
}

impl Wanted {
    /// Its text. A proof is named by the order and a receipt by the sale, so the two are never mixed up.
    pub fn name(&self) -> String {
        match self {
            Self::Sale(id) => id.to_string(),
            Self::Order(order) => order.clone(),
        }
    }
}

/// A sale and where it stands.
#[derive(Debug, Clone)]
pub struct Filed {
    /// The sale.
    pub sale: StoredSale,
    /// Its seal; none while it is pending.
    pub seal: Option<Seal>,
}

impl Filed {
    /// `pending`, `sealed`, `submitted`, `mined` or `finalized`.
    pub fn state(&self) -> &str {
        self.seal.as_ref().map_or("pending", |seal| &seal.state)
    }
}

/// The seal of a sale, and the batch it is in.
#[derive(Debug, Clone)]
pub struct Seal {
    /// The stored leaf.
    pub leaf: Vec<u8>,
    /// The stored proof, 32 bytes a sibling.
    pub proof: Vec<u8>,
    /// The batch.
    pub batch_id: i64,
    /// The anchored root.
    pub root: Vec<u8>,
    /// When it was sealed.
    pub sealed_at: OffsetDateTime,
    /// `sealed`, `submitted`, `mined` or `finalized`.
    pub state: String,
    /// One a chain that the batch is to be anchored on.
    pub anchors: Vec<AnchorRow>,
}

/// Where a batch is anchored on one chain, or will be.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct AnchorRow {
    pub chain_id: i64,
    pub registry: Vec<u8>,
    pub state: String,
    pub tx_hash: Option<Vec<u8>>,
    pub block_number: Option<i64>,
    pub block_hash: Option<Vec<u8>>,
    pub block_time: Option<OffsetDateTime>,
}

/// These sales, in this order; none for one that does not exist.
pub async fn read(
    db: &mut PgConnection,
    wanted: &[(MerchantId, Wanted)],
) -> Result<Vec<Option<Filed>>, sqlx::Error> {
    let (merchants, ids, orders) = columns(wanted);
    let rows = sqlx::query_as!(
        Row,
        // each `offset 0` keeps a step to one probe of an index a row: joined, the anchors of all
        // batches would be computed for it. The sale's id is known before the sale is looked for, so that
        // only its own partition is
        r#"with found as materialized (
               select w.ord, s.merchant_id, s.sale_id, s.seq, s.order_id, s.kind, s.refers_to, s.customer,
                      s.currency, s.amount_minor, s.recorded_at, s.details, s.details_hash, s.salt,
                      s.leaf, s.proof, s.batch_id
               from unnest($1::uuid[], $2::uuid[], $3::text[]) with ordinality
                    as w(merchant_id, sale_id, order_id, ord)
               cross join lateral (
                   select coalesce(w.sale_id, (
                       select o.sale_id from sale_order o
                       where o.merchant_id = w.merchant_id and o.order_id = w.order_id)) as sale_id
                   offset 0) i
               cross join lateral (
                   select * from sale s
                   where s.merchant_id = w.merchant_id and s.sale_id = i.sale_id
                   offset 0) s
           ), sealed as materialized (
               select d.batch_id, b.root, b.sealed_at, b.state, a.chain_id, a.registry,
                      a.state as anchor_state, a.tx_hash, a.block_number, a.block_hash, a.block_time
               from (select distinct batch_id from found) d
               cross join lateral (
                   select b.root, b.sealed_at,
                          (select v.state from batch_state v where v.batch_id = d.batch_id) as state
                   from batch b where b.batch_id = d.batch_id
                   offset 0) b
               left join lateral (
                   select * from batch_anchor a where a.batch_id = d.batch_id
                   offset 0) a on true
           )
           select f.ord as "ord!", f.merchant_id as "merchant_id!", f.sale_id as "sale_id!",
                  f.seq as "seq!", f.order_id as "order_id!", f.kind as "kind!", f.refers_to, f.customer,
                  f.currency as "currency!", f.amount_minor as "amount_minor!",
                  f.recorded_at as "recorded_at!", f.details as "details!",
                  f.details_hash as "details_hash!", f.salt as "salt!",
                  f.leaf, f.proof, f.batch_id, b.root as "root?", b.sealed_at as "sealed_at?",
                  b.state as "state?", b.chain_id as "chain_id?", b.registry as "registry?",
                  b.anchor_state as "anchor_state?", b.tx_hash as "tx_hash?",
                  b.block_number as "block_number?", b.block_hash as "block_hash?",
                  b.block_time as "block_time?"
           from found f left join sealed b on b.batch_id = f.batch_id
           order by f.ord, b.chain_id"#,
        &merchants,
        &ids as &[Option<Uuid>],
        &orders as &[Option<&str>],
    )
    .fetch_all(db)
    .await?;
    Ok(gather(rows, wanted.len()))
}

/// The rows of each of `wanted` sales, which are numbered from 1, as one.
fn gather(rows: Vec<Row>, wanted: usize) -> Vec<Option<Filed>> {
    let mut found: Vec<Option<Filed>> = vec![None; wanted];
    for mut row in rows {
        let place = usize::try_from(row.ord - 1)
            .ok()
            .and_then(|at| found.get_mut(at));
        let Some(place) = place else { continue };
        let anchor = row.take_anchor();
        let filed = place.get_or_insert_with(|| row.into_filed());
        if let Some(seal) = &mut filed.seal {
            seal.anchors.extend(anchor);
        }
    }
    found
}

/// Merchants, ids and order ids, one array each, as a statement takes them.
pub(super) fn columns(
    wanted: &[(MerchantId, Wanted)],
) -> (Vec<Uuid>, Vec<Option<Uuid>>, Vec<Option<&str>>) {
    let merchants = wanted.iter().map(|(merchant, _)| merchant.0).collect();
    let (ids, orders) = wanted
        .iter()
        .map(|(_, wanted)| match wanted {
            Wanted::Sale(id) => (Some(id.0), None),
            Wanted::Order(order) => (None, Some(order.as_str())),
        })
        .unzip();
    (merchants, ids, orders)
}

/// One row a sale and anchor.
struct Row {
    ord: i64,
    merchant_id: Uuid,
    sale_id: Uuid,
    seq: i64,
    order_id: String,
    kind: i16,
    refers_to: Option<Uuid>,
    customer: Option<Vec<u8>>,
    currency: String,
    amount_minor: i64,
    recorded_at: OffsetDateTime,
    details: Vec<u8>,
    details_hash: Vec<u8>,
    salt: Vec<u8>,
    leaf: Option<Vec<u8>>,
    proof: Option<Vec<u8>>,
    batch_id: Option<i64>,
    root: Option<Vec<u8>>,
    sealed_at: Option<OffsetDateTime>,
    state: Option<String>,
    chain_id: Option<i64>,
    registry: Option<Vec<u8>>,
    anchor_state: Option<String>,
    tx_hash: Option<Vec<u8>>,
    block_number: Option<i64>,
    block_hash: Option<Vec<u8>>,
    block_time: Option<OffsetDateTime>,
}

impl Row {
    fn take_anchor(&mut self) -> Option<AnchorRow> {
        Some(AnchorRow {
            chain_id: self.chain_id?,
            registry: self.registry.take()?,
            state: self.anchor_state.take()?,
            tx_hash: self.tx_hash.take(),
            block_number: self.block_number,
            block_hash: self.block_hash.take(),
            block_time: self.block_time,
        })
    }

    fn into_filed(self) -> Filed {
        let seal = || {
            Some(Seal {
                leaf: self.leaf?,
                proof: self.proof?,
                batch_id: self.batch_id?,
                root: self.root?,
                sealed_at: self.sealed_at?,
                state: self.state?,
                anchors: Vec::new(),
            })
        };
        Filed {
            seal: seal(),
            sale: StoredSale {
                merchant_id: self.merchant_id,
                sale_id: self.sale_id,
                seq: self.seq,
                order_id: self.order_id,
                kind: self.kind,
                refers_to: self.refers_to,
                customer: self.customer,
                currency: self.currency,
                amount_minor: self.amount_minor,
                recorded_at: self.recorded_at,
                details: self.details,
                details_hash: self.details_hash,
                salt: self.salt,
            },
        }
    }
}

/// Where a batch is anchored, by chain.
pub async fn anchors(db: &mut PgConnection, batch_id: i64) -> Result<Vec<AnchorRow>, sqlx::Error> {
    sqlx::query_as!(
        AnchorRow,
        r#"select chain_id as "chain_id!", registry as "registry!", state as "state!",
                  tx_hash, block_number, block_hash, block_time
           from batch_anchor where batch_id = $1 order by chain_id"#,
        batch_id,
    )
    .fetch_all(db)
    .await
}
