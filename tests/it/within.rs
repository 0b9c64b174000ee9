//! A sale that is recorded within somebody else's transaction: with it or not at all, and what becomes of it
//! never undoes the rest.

use std::sync::Arc;

use counterfoil::clock::{Clock, Entropy};
use counterfoil::database::DatabaseRole;
use counterfoil::ids::MerchantId;
use counterfoil::sales::answer;
use counterfoil::sales::archive::Archive;
use counterfoil::sales::command::SaleCommand;
use counterfoil::sales::intake::{
    AnswerVersion, Draft, Intake, IntakeError, Outcome, Slot, within,
};
use serde_json::{Value, json};
use sqlx::{Connection, PgPool};
use tokio_util::task::TaskTracker;

use crate::harness::{App, faults_of, sale};

const ORDER: &str = "ord_01hf7yat00e8t8n6hpj7w9m4qk";

struct Shop {
    app: App,
    api: PgPool,
    intake: Intake,
}

impl Shop {
    async fn open() -> Self {
        let app = App::start().await;
        let api = app.db.pool(DatabaseRole::Api);
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let archive = Archive::default();
        let intake = Intake::new(api.clone(), archive, clock, entropy, TaskTracker::new());
        Self { app, api, intake }
    }

    /// Records in a transaction that has done something before, and ends it as `commits` says.
    async fn record(
        &self,
        merchant: MerchantId,
        request: Value,
        commits: bool,
    ) -> Result<Outcome, IntakeError> {
        let mut conn = self.api.acquire().await.expect("a connection");
        let mut tx = conn.begin().await.expect("a transaction");
        let before = "insert into command_key (merchant_id, owner_id, key, fingerprint, status, body, created_at)
             values ($1, gen_random_uuid(), 'before', sha256(''), 200, '', now())";
        let paid = sqlx::query(before).bind(self.app.merchant.0);
        paid.execute(&mut *tx).await.expect("what the shop does");
        let outcome = within::record(&mut tx, merchant, draft(request), &self.intake).await;
        match commits {
            true => tx.commit().await.expect("a commit"),
            false => tx.rollback().await.expect("a rollback"),
        }
        if let (Ok(outcome), true) = (&outcome, commits) {
            within::acknowledge(&self.intake, merchant, outcome);
        }
        outcome
    }

    async fn count(&self, table: &str) -> i64 {
        let counts = self.app.db.row_counts().await;
        let found = counts.iter().find(|(name, _)| name == table);
        found.expect("the table").1
    }
}

fn draft(request: Value) -> Draft {
    let key = request["order_id"].as_str().expect("an id").to_owned();
    let request = serde_json::from_value(request).expect("a request");
    Draft {
        command: SaleCommand::of_shop(request, Clock::system().now()).expect("the shop's"),
        slot: Slot { space: 2, key },
        answer: AnswerVersion::Sale,
        request_id: Arc::from("test"),
    }
}

fn body(outcome: &Outcome) -> String {
    let Outcome::Sale { sale, answer, .. } = outcome else {
        panic!("{outcome:?}")
    };
    let body = answer::body(sale, *answer, "https://shop.example").expect("a stored sale");
    body.get().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sale_is_there_with_its_transaction_and_only_then() {
    let shop = Shop::open().await;
    let merchant = shop.app.merchant;
    let undone = shop.record(merchant, sale(ORDER), false).await;
    assert!(matches!(undone, Ok(Outcome::Sale { .. })), "{undone:?}");
    for table in ["sale", "sale_order", "idempotency_key", "pending_sale"] {
        assert_eq!(shop.count(table).await, 0, "{table}");
    }
    let first = shop
        .record(merchant, sale(ORDER), true)
        .await
        .expect("a sale");
    let again = shop
        .record(merchant, sale(ORDER), true)
        .await
        .expect("a sale");
    assert!(matches!(
        first,
        Outcome::Sale {
            replayed: false,
            ..
        }
    ));
    assert!(matches!(again, Outcome::Sale { replayed: true, .. }));
    assert_eq!(body(&first), body(&again));
    // no number was lost on the one that was rolled back
    assert!(body(&first).contains("\"seq\":1,"));
    assert_eq!(
        (shop.count("sale").await, shop.count("command_key").await),
        (1, 2)
    );
    let read = shop
        .app
        .admin
        .get(&format!("/v1/orders/{ORDER}/proof"))
        .await;
    read.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_the_sale_never_undoes_the_rest() {
    let shop = Shop::open().await;
    let merchant = shop.app.merchant;
    shop.record(merchant, sale(ORDER), true)
        .await
        .expect("a sale");
    let refund = |id: &str, of: &str, value: &str| {
        json!({"order_id": id, "kind": "refund", "refers_to": of,
            "amount": {"value": value, "currency": sale("x")["amount"]["currency"]}})
    };
    let too_much = shop
        .record(merchant, refund("re_1", ORDER, "100000"), true)
        .await;
    assert!(
        matches!(too_much, Ok(Outcome::Refused { .. })),
        "{too_much:?}"
    );
    let unknown = shop
        .record(merchant, refund("re_2", "ord_none", "1"), true)
        .await;
    assert!(matches!(unknown, Ok(Outcome::RefundUnknown)), "{unknown:?}");
    let nobody = MerchantId::new(&Clock::system(), &Entropy::system());
    let raised = shop.record(nobody, sale("ord_2"), true).await;
    assert!(
        matches!(raised, Err(IntakeError::MerchantUnknown)),
        "{raised:?}"
    );
    // the database itself raises: the table is not what the function expects
    sqlx::query("alter table sale add constraint sale_none check (order_id <> 'ord_3')")
        .execute(&shop.app.db.owner)
        .await
        .expect("the constraint");
    let raised = shop.record(merchant, sale("ord_3"), true).await;
    assert!(
        matches!(raised, Err(IntakeError::Database(_))),
        "{raised:?}"
    );
    assert_eq!(
        (shop.count("sale").await, shop.count("command_key").await),
        (1, 5)
    );
    shop.record(merchant, refund("re_3", ORDER, "1"), true)
        .await
        .expect("a refund");
    assert_eq!(shop.count("sale").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shops_order_ids_are_nobody_elses() {
    let app = App::start().await;
    for id in [ORDER, "ord_", "re_1"] {
        let refused = app.admin.record("k", &sale(id)).await.expect(422);
        assert_eq!(
            faults_of(&refused.json()),
            [("/order_id", "order_id_reserved")].map(own)
        );
        let old = json!({"orderid": id, "customeraddress": format!("0x{}", "1".repeat(40)), "amountINR": "1"});
        let refused = app
            .admin
            .post("/transactions/record", "k", old.to_string())
            .await;
        assert_eq!(
            faults_of(&refused.expect(422).json()),
            [("/orderid", "order_id_reserved")].map(own)
        );
    }
    // what only looks like them is anybody's, and of a refund of the shop's orders nothing is refused
    app.admin.record("k-1", &sale("Ord_1")).await.expect(201);
    app.admin.record("k-2", &sale("record_1")).await.expect(201);
    let now = Clock::system().now();
    let parse = |id: &str| {
        let request = serde_json::from_value(sale(id)).expect("a request");
        let parsed = SaleCommand::of_shop(request, now);
        parsed.map(|command| command.order_id().as_str().to_owned())
    };
    assert_eq!(parse(ORDER).expect("the shop's"), ORDER);
    let faults = parse("A-1").expect_err("a till's");
    assert_eq!(faults[0].code.name, "order_id_invalid");
}

fn own((pointer, code): (&str, &str)) -> (String, String) {
    (pointer.to_owned(), code.to_owned())
}
