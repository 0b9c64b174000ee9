//! The shop: carts are filled and ordered, by customers who have signed in.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use counterfoil::clock::{Clock, Entropy};
use counterfoil::http::auth::Role;
use counterfoil::http::scopes::Scopes;
use counterfoil::http::tokens::{Bearer, SigningKeys, Tokens};
use counterfoil::ids::{AccountId, MerchantId, ProductId, SessionId};
use secrecy::ExposeSecret;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{Bench, CONNECTIONS};
use crate::draw::Draw;
use crate::load::{Caller, Pace, Verdict, Window};
use crate::server::{PUBLIC_URL, TOKEN_KEY};
use crate::stage::Installed;

/// Requests a second, and the milliseconds that the 99th percentile of each may take.
const RATE: f64 = 200.0;
const CART_WRITE: f64 = 15.0;
const CHECKOUT: f64 = 25.0;
/// Products of the shop, and customers who fill their carts.
const PRODUCTS: usize = 1_000;
const CUSTOMERS: usize = 500;
/// Lines of a cart that is ordered.
const LINES: i64 = 3;

impl Bench<'_> {
    /// Cart writes, then checkouts, each by the clock.
    pub(super) async fn carts(&mut self) -> anyhow::Result<()> {
        eprintln!("carts");
        let mut on = self.stage.another("carts").await?;
        on.takes_orders = true;
        let window = Window::of(self.arguments.latency());
        let time = window.warm_up + window.measured;
        // each orders once; what arrives is as many as it is by chance
        let orders = (RATE * time.as_secs_f64() * 1.2) as usize + 100;
        let shop = furnish(&on, orders).await?;
        self.stage.serve(&on, true).await?;

        let shop = Arc::new(shop);
        let callers = (0..CONNECTIONS[0]).map(|index| Filler {
            shop: shop.clone(),
            draw: Draw::new(0xca27 + index as u64),
            request: Vec::new(),
        });
        let (figures, _) = self
            .stage
            .call(callers.collect(), Pace::Open(RATE), window)
            .await?;
        let what = format!("p99 of a cart write at {RATE:.0} a second");
        self.report
            .at_most(what, "ms", CART_WRITE, figures.latency.p99);
        self.report.load("cart writes", figures);

        let buyers = (0..CONNECTIONS[0]).map(|index| Buyer {
            shop: shop.clone(),
            next: index,
            request: Vec::new(),
            ordered: 0,
        });
        let (figures, buyers) = self
            .stage
            .call(buyers.collect(), Pace::Open(RATE), window)
            .await?;
        let what = format!("p99 of a checkout of {LINES} lines at {RATE:.0} a second");
        self.report
            .at_most(what, "ms", CHECKOUT, figures.latency.p99);
        self.report.load("checkouts", figures);
        check(&on, buyers.iter().map(|buyer| buyer.ordered).sum()).await?;
        let shop = self.shop.clone();
        self.stage.serve(&shop, true).await
    }
}

/// What is sold, and to whom.
struct Shop {
    products: Vec<String>,
    /// Access tokens of those who fill their carts.
    fillers: Vec<String>,
    /// Of those whose cart is full.
    buyers: Vec<String>,
}

/// Products, accounts and carts that are full, by SQL.
async fn furnish(on: &Installed, orders: usize) -> anyhow::Result<Shop> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let merchant = on.merchants.first().context("a merchant")?.0;
    let products: Vec<ProductId> = (0..PRODUCTS)
        .map(|_| ProductId::new(&clock, &entropy))
        .collect();
    let mut db = PgConnection::connect(&on.url).await?;
    let ids: Vec<Uuid> = products.iter().map(|id| id.0).collect();
    sqlx::query(
        "with made as (
             insert into product (merchant_id, product_id, sku, name, currency, price_minor, tax_ppm, tax_included,
                                  active, created_at, updated_at)
             select $1, p.id, 'P-' || p.n, 'Article ' || p.n, 'INR', 100 + 37 * p.n, 180000, true, true, now(), now()
             from unnest($2::uuid[]) with ordinality p (id, n)
             returning merchant_id, product_id)
         insert into stock (merchant_id, product_id, on_hand, held) select m.merchant_id, m.product_id, 1000000, 0
         from made m",
    )
    .bind(merchant.0)
    .bind(&ids)
    .execute(&mut db)
    .await?;
    let fillers = sign_up(&mut db, on, merchant, CUSTOMERS).await?;
    let buyers = sign_up(&mut db, on, merchant, orders).await?;
    let accounts: Vec<Uuid> = buyers.iter().map(|buyer| buyer.0.0).collect();
    let carts: Vec<Uuid> = accounts
        .iter()
        .map(|_| Uuid::from_bytes(entropy.bytes()))
        .collect();
    sqlx::query(
        "with made as (
             insert into cart (merchant_id, cart_id, account_id, state, created_at, updated_at)
             select $1, c.id, c.account, 'active', now(), now() from unnest($2::uuid[], $3::uuid[]) c (id, account)
             returning cart_id)
         insert into cart_item (merchant_id, cart_id, product_id, quantity, currency, price_minor, tax_ppm,
                                tax_included, put_at)
         select $1, c.cart_id, p.product_id, 1 + c.n % 4, p.currency, p.price_minor, p.tax_ppm, p.tax_included,
                now()
         from (select cart_id, row_number() over () as n from made) c
         cross join generate_series(0, $4 - 1) line
         -- neighbours in the catalogue have little to do with one another
         join product p on p.merchant_id = $1 and p.sku = 'P-' || (1 + (c.n * 7919 + line * 331) % $5)",
    )
    .bind(merchant.0)
    .bind(&carts)
    .bind(&accounts)
    .bind(LINES)
    .bind(PRODUCTS as i64)
    .execute(&mut db)
    .await?;
    sqlx::raw_sql("analyze").execute(&mut db).await?;
    let texts = |them: Vec<(AccountId, String)>| them.into_iter().map(|one| one.1).collect();
    Ok(Shop {
        products: products.iter().map(ProductId::to_string).collect(),
        fillers: texts(fillers),
        buyers: texts(buyers),
    })
}

/// So many customers with a session each, and their access tokens.
async fn sign_up(
    db: &mut PgConnection,
    on: &Installed,
    merchant: MerchantId,
    count: usize,
) -> anyhow::Result<Vec<(AccountId, String)>> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let keys = SigningKeys::parse(&TOKEN_KEY.into())?;
    // it signs, and asks nobody
    let pool = PgPoolOptions::new().connect_lazy(&on.url)?;
    let tokens = Tokens::new(pool, clock.clone(), PUBLIC_URL.into(), Some(keys));
    let (mut accounts, mut sessions, mut made) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let bearer = Bearer {
            merchant,
            account: AccountId::new(&clock, &entropy),
            role: Role::Customer,
            scopes: Scopes::ALL,
            session: SessionId::new(&clock, &entropy),
        };
        let token = tokens.issue(&bearer, &entropy);
        let token = token.map_err(|problem| anyhow::anyhow!("no token: {}", problem.code.name))?;
        accounts.push(bearer.account.0);
        sessions.push(bearer.session.0);
        made.push((bearer.account, token.expose_secret().to_owned()));
    }
    sqlx::query(
        "with made as (
             insert into account (merchant_id, account_id, role, email, created_at)
             select $1, a.id, 'customer', a.id || '@shop.bench', now() from unnest($2::uuid[]) a (id))
         insert into session (merchant_id, session_id, account_id, family_hash, refresh_hash, created_at, expires_at)
         select $1, s.id, s.account, sha256(s.id::text::bytea), sha256(s.account::text::bytea), now(),
                now() + interval '1 hour'
         from unnest($3::uuid[], $2::uuid[]) s (id, account)",
    )
    .bind(merchant.0)
    .bind(&accounts)
    .bind(&sessions)
    .execute(db)
    .await?;
    Ok(made)
}

/// Every order that was acknowledged is there, and holds its pieces.
async fn check(on: &Installed, acknowledged: i64) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(&on.url).await?;
    let (orders, held, ordered): (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from shop_order where state = 'PENDING' and hold = 'held'),
                (select sum(held) from stock)::bigint, (select sum(quantity) from shop_order_item)::bigint",
    )
    .fetch_one(&mut db)
    .await?;
    ensure!(
        (orders, held) == (acknowledged, ordered),
        "{acknowledged} checkouts were acknowledged, {orders} orders hold {held} pieces of {ordered}"
    );
    Ok(())
}

fn write(request: &mut Vec<u8>, line: &str, token: &str, key: Option<&str>, body: &str) {
    let key = key.map_or_else(String::new, |key| format!("Idempotency-Key: {key}\r\n"));
    request.clear();
    request.extend_from_slice(
        format!(
            "{line} HTTP/1.1\r\nHost: counterfoil.bench\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\n{key}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
}

fn judge(status: u16, expected: u16, body: &[u8]) -> anyhow::Result<Verdict> {
    match status {
        same if same == expected => Ok(Verdict::Counted),
        429 | 503 => Ok(Verdict::Again),
        _ => bail!("answered {status}: {}", String::from_utf8_lossy(body)),
    }
}

/// Puts products by chance into carts by chance.
struct Filler {
    shop: Arc<Shop>,
    draw: Draw,
    request: Vec<u8>,
}

impl Caller for Filler {
    fn prepare(&mut self) {
        let shop = self.shop.clone();
        let product = &shop.products[self.draw.below(shop.products.len())];
        let token = &shop.fillers[self.draw.below(shop.fillers.len())];
        let body = format!("{{\"quantity\":{}}}", 1 + self.draw.below(5));
        let line = format!("PUT /v1/cart/items/{product}");
        write(&mut self.request, &line, token, None, &body);
    }

    fn request(&self) -> &[u8] {
        &self.request
    }

    fn judge(&mut self, status: u16, body: &[u8]) -> anyhow::Result<Verdict> {
        judge(status, 200, body)
    }
}

/// Orders one full cart after the other.
struct Buyer {
    shop: Arc<Shop>,
    next: usize,
    request: Vec<u8>,
    ordered: i64,
}

impl Caller for Buyer {
    fn prepare(&mut self) {
        let number = self.next;
        self.next += CONNECTIONS[0];
        // one that is not there is told so by the answer
        let token = self.shop.buyers.get(number).map_or("", String::as_str);
        let key = format!("checkout-{number}");
        write(
            &mut self.request,
            "POST /v1/checkout",
            token,
            Some(&key),
            "{}",
        );
    }

    fn request(&self) -> &[u8] {
        &self.request
    }

    fn judge(&mut self, status: u16, body: &[u8]) -> anyhow::Result<Verdict> {
        let verdict = judge(status, 201, body)?;
        self.ordered += i64::from(verdict == Verdict::Counted);
        Ok(verdict)
    }
}
