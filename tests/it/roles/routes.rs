//! Every route, and who may ask it.

use reqwest::Method;

use crate::loyalty::ADA;

/// Who may: status for nobody, pos, auditor, admin, a key of another merchant, and a customer who has signed
/// in.
pub(super) struct Row {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) expected: [u16; 6],
}

fn row(method: Method, path: &str, expected: [u16; 6]) -> Row {
    Row {
        method,
        path: path.to_owned(),
        expected,
    }
}

pub(super) fn table(sale_id: &str) -> Vec<Row> {
    let mut rows = [
        sales(),
        accounts(),
        signing_in(),
        catalogue(),
        orders(),
        loyalty(),
        open(),
        leaving(),
        webhooks(),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    for row in &mut rows {
        row.path = row.path.replace("{sale}", sale_id);
    }
    rows
}

fn sales() -> Vec<Row> {
    vec![
        row(Method::POST, "/v1/sales", [401, 201, 403, 201, 201, 403]),
        row(
            Method::POST,
            "/v1/sales:batch",
            [401, 200, 403, 200, 200, 403],
        ),
        row(
            Method::POST,
            "/transactions/record",
            [401, 201, 403, 201, 201, 403],
        ),
        row(Method::GET, "/v1/sales", [401, 403, 200, 200, 200, 403]),
        row(
            Method::GET,
            "/v1/sales?kind=sale",
            [401, 403, 200, 200, 200, 403],
        ),
        row(
            Method::GET,
            "/v1/sales?order_id=A-1",
            [401, 200, 200, 200, 200, 403],
        ),
        row(
            Method::GET,
            "/v1/sales/{sale}",
            [401, 200, 200, 200, 404, 403],
        ),
        row(
            Method::GET,
            "/transactions/{sale}",
            [401, 200, 200, 200, 404, 403],
        ),
        row(
            Method::GET,
            "/v1/receipts/{sale}",
            [404, 200, 200, 200, 404, 404],
        ),
        row(
            Method::GET,
            "/v1/orders/A-1/proof",
            [404, 200, 200, 200, 404, 404],
        ),
        row(Method::GET, "/v1/batches", [401, 403, 200, 200, 200, 403]),
        row(Method::GET, "/v1/batches/1", [401, 403, 404, 404, 404, 403]),
    ]
}

fn accounts() -> Vec<Row> {
    vec![
        row(Method::POST, "/v1/keys", [401, 403, 403, 201, 201, 403]),
        row(Method::GET, "/v1/keys", [401, 403, 403, 200, 200, 403]),
        row(
            Method::GET,
            "/v1/keys/key_0",
            [401, 403, 403, 404, 404, 403],
        ),
        row(
            Method::DELETE,
            "/v1/keys/key_0",
            [401, 403, 403, 404, 404, 403],
        ),
        row(Method::POST, "/v1/accounts", [401, 403, 403, 201, 201, 403]),
        row(Method::GET, "/v1/accounts", [401, 403, 403, 200, 200, 403]),
        row(
            Method::GET,
            "/v1/accounts/cus_0",
            [401, 403, 403, 404, 404, 403],
        ),
        row(
            Method::DELETE,
            "/v1/accounts/cus_0",
            [401, 403, 403, 404, 404, 403],
        ),
        row(Method::GET, "/v1/me", [401, 403, 403, 403, 403, 200]),
        row(
            Method::POST,
            "/v1/me/wallet",
            [401, 403, 403, 403, 403, 422],
        ),
        row(
            Method::DELETE,
            "/v1/me/wallet",
            [401, 403, 403, 403, 403, 204],
        ),
    ]
}

/// How one gets in, which takes no caller.
fn signing_in() -> Vec<Row> {
    vec![
        row(Method::POST, "/v1/auth/register", [201; 6]),
        row(Method::POST, "/v1/auth/login", [200; 6]),
        row(Method::POST, "/v1/auth/refresh", [401; 6]),
        row(Method::POST, "/v1/auth/logout", [204; 6]),
        row(Method::POST, "/v1/auth/password/forgotten", [202; 6]),
        row(Method::POST, "/v1/auth/password/reset", [410; 6]),
        row(Method::POST, "/v1/auth/wallet/nonce", [201; 6]),
        row(Method::POST, "/v1/auth/wallet/login", [422; 6]),
        row(Method::GET, "/.well-known/jwks.json", [200; 6]),
    ]
}

/// What ends what the rows before need.
fn leaving() -> Vec<Row> {
    vec![
        row(
            Method::POST,
            "/v1/me/password",
            [401, 403, 403, 403, 403, 204],
        ),
        row(
            Method::DELETE,
            "/v1/me/sessions",
            [401, 403, 403, 403, 403, 204],
        ),
    ]
}

fn catalogue() -> Vec<Row> {
    let product = "/v1/products/prd_0";
    vec![
        row(Method::POST, "/v1/products", [401, 403, 403, 201, 201, 403]),
        row(Method::GET, "/v1/products", [401, 200, 200, 200, 200, 200]),
        row(Method::GET, product, [401, 404, 404, 404, 404, 404]),
        row(Method::PATCH, product, [401, 403, 403, 404, 404, 403]),
        row(
            Method::POST,
            "/v1/products/prd_0/stock",
            [401, 403, 403, 404, 404, 403],
        ),
        row(
            Method::GET,
            "/v1/products/prd_0/movements",
            [401, 403, 404, 404, 404, 403],
        ),
    ]
}

/// On a server without a payment provider.
fn orders() -> Vec<Row> {
    let of_customers = [401, 403, 403, 403, 403, 200];
    let named = [401, 404, 404, 404, 404, 404];
    let item = "/v1/cart/items/prd_0";
    let refunds = "/v1/orders/ord_0/refunds";
    vec![
        row(Method::GET, "/v1/cart", of_customers),
        row(Method::DELETE, "/v1/cart", of_customers),
        row(Method::PUT, item, [401, 403, 403, 403, 403, 404]),
        row(Method::DELETE, item, [401, 403, 403, 403, 403, 404]),
        row(Method::POST, "/v1/checkout", [401, 403, 403, 403, 403, 503]),
        row(Method::GET, "/v1/orders", [401, 403, 200, 200, 200, 200]),
        row(Method::GET, "/v1/orders/ord_0", named),
        row(
            Method::POST,
            "/v1/orders/ord_0/cancel",
            [401, 403, 403, 404, 404, 404],
        ),
        row(
            Method::POST,
            "/v1/orders/ord_0/unpark",
            [401, 403, 403, 404, 404, 403],
        ),
        row(Method::POST, refunds, [401, 403, 403, 404, 404, 403]),
        row(Method::GET, refunds, named),
        row(Method::GET, "/v1/orders/ord_0/refunds/re_0", named),
        row(Method::GET, "/v1/payment_intents/pi_0", named),
        row(
            Method::POST,
            "/v1/payment_intents/pi_0/confirm",
            [401, 403, 403, 403, 403, 404],
        ),
        row(Method::POST, "/v1/payments/webhook", [503; 6]),
    ]
}

fn loyalty() -> Vec<Row> {
    let wallet = ADA;
    let named = [401, 200, 200, 200, 200, 403];
    let own = [401, 403, 403, 403, 403, 200];
    vec![
        row(
            Method::PUT,
            "/v1/loyalty/programme",
            [401, 403, 403, 200, 412, 403],
        ),
        row(
            Method::GET,
            "/v1/loyalty/programme",
            [401, 200, 200, 200, 404, 200],
        ),
        row(Method::GET, &format!("/v1/loyalty/members/{wallet}"), named),
        row(
            Method::GET,
            &format!("/v1/loyalty/members/{wallet}/entries"),
            named,
        ),
        row(Method::GET, "/v1/loyalty/me", own),
        row(Method::GET, "/v1/loyalty/me/entries", own),
        row(
            Method::GET,
            "/v1/loyalty/quote?amount=1&currency=GBP",
            [401, 200, 200, 200, 409, 200],
        ),
        row(
            Method::POST,
            "/v1/loyalty/adjustments",
            [401, 403, 403, 200, 409, 403],
        ),
        row(
            Method::POST,
            "/v1/loyalty/redemptions",
            [401, 201, 403, 201, 409, 403],
        ),
        row(
            Method::GET,
            "/v1/loyalty/redemptions/rdm_0",
            [401, 404, 404, 404, 404, 403],
        ),
        row(
            Method::POST,
            "/v1/loyalty/redemptions/rdm_0/give_back",
            [401, 404, 403, 404, 404, 403],
        ),
        row(Method::GET, &format!("/loyalty/balance/{wallet}"), named),
        row(
            Method::POST,
            "/loyalty/redeem",
            [401, 201, 403, 201, 409, 403],
        ),
    ]
}

/// What anybody may ask.
fn webhooks() -> Vec<Row> {
    let made = [401, 403, 403, 201, 201, 403];
    let read = [401, 403, 403, 200, 200, 403];
    let none = [401, 403, 403, 404, 404, 403];
    let endpoint = "/v1/webhook_endpoints/we_0";
    vec![
        row(Method::POST, "/v1/webhook_endpoints", made),
        row(Method::GET, "/v1/webhook_endpoints", read),
        row(Method::GET, endpoint, none),
        row(Method::PATCH, endpoint, none),
        row(Method::DELETE, endpoint, none),
        row(Method::POST, &format!("{endpoint}/rotate_secret"), none),
        row(Method::POST, &format!("{endpoint}/test"), none),
        row(Method::GET, &format!("{endpoint}/deliveries"), none),
        row(Method::GET, "/v1/events", read),
        row(Method::GET, "/v1/events/evt_0", none),
        row(Method::POST, "/v1/events/evt_0/replay", none),
    ]
}

fn open() -> Vec<Row> {
    vec![
        row(Method::GET, "/.well-known/counterfoil.json", [200; 6]),
        row(Method::GET, "/livez", [200; 6]),
        row(Method::GET, "/readyz", [200; 6]),
        row(Method::GET, "/openapi.json", [200; 6]),
        row(Method::GET, "/redoc", [200; 6]),
        row(Method::GET, "/errors/forbidden", [200; 6]),
    ]
}
