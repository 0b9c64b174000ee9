//! The points that there must be, reckoned from the sales and the programmes once more.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil::loyalty::terms::Terms;
use counterfoil::money::Currency;
use uuid::Uuid;

use super::site::Site;
use crate::loyalty::check_ledger;

/// What a sale earned, beside what it came to and what is left of it.
#[derive(sqlx::FromRow)]
struct Award {
    sale_id: Uuid,
    member: Vec<u8>,
    terms: sqlx::types::Json<Terms>,
    currency: String,
    amount_minor: i64,
    bonus: i64,
    earned: i64,
    due: i64,
    /// Of the sale.
    sold_minor: i64,
    refunded_minor: i64,
    is_first: bool,
}

/// Holds the ledger against the sales; how many awards and redemptions there are.
pub(super) async fn judge(site: &Site) -> (usize, i64) {
    let owner = &site.fleet.owner;
    check_ledger(owner).await;
    let awards: Vec<Award> = sqlx::query_as(
        "select a.sale_id, a.member, p.terms, a.currency, a.amount_minor, a.bonus, a.earned, a.due,
                s.amount_minor as sold_minor,
                coalesce((select sum(r.amount_minor) from sale r
                          where r.merchant_id = s.merchant_id and r.refers_to = s.sale_id), 0)::bigint as refunded_minor,
                exists (select from loyalty_first f
                        where f.merchant_id = a.merchant_id and f.sale_id = a.sale_id) as is_first
         from loyalty_award a
         join sale s using (merchant_id, sale_id)
         join loyalty_programme p on p.merchant_id = a.merchant_id and p.version = a.programme",
    )
    .fetch_all(owner)
    .await
    .expect("the awards");
    let mut due: BTreeMap<&[u8], i64> = BTreeMap::new();
    let mut first: BTreeMap<&[u8], usize> = BTreeMap::new();
    for award in &awards {
        check(award);
        *due.entry(&award.member).or_default() += award.due;
        *first.entry(&award.member).or_default() += usize::from(award.is_first);
    }
    assert!(
        first.values().all(|count| *count == 1),
        "one first purchase each: {first:?}"
    );
    balances(site, &due).await;
    none_is_missing(site, &awards).await;
    of_orders(site).await;
    let redemptions = site.count("select count(*) from loyalty_redemption").await;
    (awards.len(), redemptions)
}

fn check(award: &Award) {
    let currency = Currency::from_code(&award.currency).expect("a currency");
    let terms = &award.terms.0;
    let earns = |minor: i64| terms.base(minor, currency).0;
    let bonus = if award.is_first {
        terms.first_purchase_bonus
    } else {
        0
    };
    let id = award.sale_id;
    assert_eq!(award.amount_minor, award.sold_minor, "what {id} came to");
    assert_eq!(award.bonus, bonus, "the bonus of {id}");
    assert_eq!(
        award.earned,
        earns(award.sold_minor) + bonus,
        "what {id} earned"
    );
    let rest = earns(award.sold_minor - award.refunded_minor);
    let rest = if rest > 0 { rest + bonus } else { 0 };
    assert_eq!(award.due, rest, "what is left of what {id} earned");
}

/// A balance is what sales are due, less what was spent and not given back.
async fn balances(site: &Site, due: &BTreeMap<&[u8], i64>) {
    let members: Vec<(Vec<u8>, i64, i64)> = sqlx::query_as(
        "select m.member, m.balance,
                coalesce((select sum(r.points - r.given_back) from loyalty_redemption r
                          where r.merchant_id = m.merchant_id and r.member = m.member), 0)::bigint
         from loyalty_member m",
    )
    .fetch_all(&site.fleet.owner)
    .await
    .expect("the members");
    for (member, balance, spent) in members {
        let due = due.get(member.as_slice()).copied().unwrap_or_default();
        assert_eq!(
            balance,
            due - spent,
            "the balance of {member:?}: {due} due, {spent} spent"
        );
    }
}

/// Every sale that names somebody and came to enough earned something.
async fn none_is_missing(site: &Site, awards: &[Award]) {
    let earning: Vec<Uuid> = sqlx::query_scalar(
        "select s.sale_id from sale s
         where s.kind = 1 and s.amount_minor >= 500
           and (s.customer is not null or s.order_id like 'ord\\_%')",
    )
    .fetch_all(&site.fleet.owner)
    .await
    .expect("the sales");
    let awarded: BTreeSet<Uuid> = awards.iter().map(|award| award.sale_id).collect();
    let missing: Vec<_> = earning.iter().filter(|id| !awarded.contains(id)).collect();
    assert!(missing.is_empty(), "earned nothing: {missing:?}");
}

/// Of the points that paid a part of an order, as large a share is back as of its money, in whole points.
async fn of_orders(site: &Site) {
    let off: Vec<String> = sqlx::query_scalar(
        "select o.order_id || ' is ' || o.state || ', ' || o.discount_minor || ' off, ' || o.refunded_minor || ' of '
                || o.total_minor || ' back, ' || coalesce(r.given_back || ' of ' || r.points, 'no') || ' points back'
         from shop_order o
         left join loyalty_redemption r on r.merchant_id = o.merchant_id and r.redemption_id = o.order_id
         where (o.discount_minor > 0 or r.points is not null)
           and (r.value_minor is distinct from o.discount_minor
             or r.given_back <> case when o.state = 'PAID' and o.refunded_minor < o.total_minor
                                then div(r.points::numeric * o.refunded_minor, o.total_minor * 10000::numeric) * 10000
                                else r.points end)",
    )
    .fetch_all(&site.fleet.owner)
    .await
    .expect("the orders");
    assert!(off.is_empty(), "{off:#?}");
}
