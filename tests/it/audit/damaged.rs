//! Whether a finding names the row that was damaged.

use counterfoil::audit::Subject;
use uuid::Uuid;

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

impl Damaged {
    pub(super) fn new(columns: &serde_json::Value) -> Self {
        let text = |name: &str| columns[name].as_str().map(str::to_owned);
        let id = |name: &str| columns[name].as_str().and_then(|text| text.parse().ok());
        let number = |name: &str| columns[name].as_i64();
        Self {
            merchant: id("merchant_id"),
            sale: id("sale_id"),
            seq: number("seq").or(number("first_seq")),
            batch: number("batch_id"),
            anchor: number("anchor_id"),
            order: text("order_id"),
            key: text("key"),
        }
    }

    fn merchant_is(&self, merchant: &Uuid) -> bool {
        self.merchant.as_ref() == Some(merchant)
    }

    /// Whether a finding's row is this one, or in place of it.
    pub(super) fn is(&self, table: &str, subject: &Subject) -> bool {
        match (table, subject) {
            (
                "sale" | "archived_sale",
                Subject::Sale {
                    merchant,
                    seq,
                    sale,
                },
            ) => {
                let at = Some(*seq) == self.seq || (sale.is_none() && Some(*seq) > self.seq);
                (sale.is_some() && *sale == self.sale) || (self.merchant_is(merchant) && at)
            }
            ("batch", Subject::Batch { batch }) => Some(*batch) >= self.batch,
            ("batch_mark", Subject::Mark { batch, .. } | Subject::Batch { batch }) => {
                Some(*batch) == self.batch
            }
            ("anchor" | "anchor_attempt", Subject::Anchor { anchor }) => {
                Some(*anchor) == self.anchor || Some(*anchor) == self.anchor.map(|it| it + 1)
            }
            ("anchor" | "anchor_attempt", Subject::Attempt { anchor, .. }) => {
                Some(*anchor) == self.anchor
            }
            ("registry", Subject::Anchor { .. }) => true,
            ("anchor" | "chain_head" | "registry", Subject::Chain { .. }) => true,
            ("sale_order", Subject::Order { order, .. }) => self
                .order
                .as_ref()
                .is_some_and(|own| own.len().abs_diff(order.len()) <= 1),
            ("sale_order" | "pending_sale", Subject::Sale { sale, .. }) => *sale == self.sale,
            ("idempotency_key", Subject::Key { key, .. }) => Some(key) == self.key.as_ref(),
            ("refund_total", Subject::Refunds { sale, .. }) => Some(*sale) == self.sale,
            ("pending_sale", Subject::Pending { merchant, .. }) => self.merchant_is(merchant),
            ("mark_head" | "merchant", Subject::Merchant { merchant }) => {
                self.merchant_is(merchant)
            }
            ("merchant", Subject::Sale { merchant, .. }) => self.merchant_is(merchant),
            ("seal_head", Subject::Heads | Subject::Batch { .. }) => true,
            ("sale_archive", Subject::Archive { .. }) => true,
            // an archive that has another number, or another file, leaves its runs and sales behind
            ("sale_archive", Subject::ArchiveRun { .. } | Subject::Sale { .. }) => true,
            (
                "sale_archive_run",
                Subject::ArchiveRun { merchant, .. } | Subject::Sale { merchant, .. },
            ) => self.merchant_is(merchant),
            ("archived_sale", Subject::ArchiveRun { merchant, .. }) => self.merchant_is(merchant),
            ("sale_archive_run", Subject::Archive { .. }) => true,
            _ => false,
        }
    }
}
