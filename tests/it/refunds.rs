//! Refunds: of what, how much, and never more than the sale.

use serde_json::{Value, json};

use crate::harness::{App, sale};

fn refund(order_id: &str, of: Option<&str>, value: &str) -> Value {
    let amount = json!({"value": value, "currency": "GBP"});
    json!({"order_id": order_id, "kind": "refund", "refers_to": of, "amount": amount})
}

/// Sends each step in its order and compares status, and code or what is left.
async fn check(app: &App, steps: &[(Value, u16, &str)]) {
    for (index, (body, status, expected)) in steps.iter().enumerate() {
        let answer = app.admin.record(&format!("step-{index}"), body).await;
        assert_eq!(answer.status, *status, "{body}: {}", answer.text);
        if *status == 201 {
            continue;
        }
        let problem = answer.any_problem();
        let error = &problem["errors"][0];
        match expected.split_once(' ') {
            Some((code, left)) => {
                assert_eq!(
                    (&error["code"], &error["meta"]["left"]),
                    (&json!(code), &json!(left)),
                    "{body}"
                );
            }
            None => assert_eq!(error["code"], *expected, "{body}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_refers_to_a_sale_by_either_id_or_stands_alone() {
    let app = App::start().await;
    let made = app.admin.record("k", &sale("A-1")).await.expect(201).json();
    let sale_id = made["sale_id"].as_str().unwrap();
    for (order, of) in [("R-1", Some("A-1")), ("R-2", Some(sale_id))] {
        let answer = app
            .admin
            .record(order, &refund(order, of, "1.00"))
            .await
            .expect(201)
            .json();
        assert_eq!(
            (&answer["kind"], &answer["refers_to"]),
            (&json!("refund"), &json!(sale_id))
        );
    }
    // nothing holds back a refund that refers to nothing, as returns without a slip do
    let alone = app
        .admin
        .record("R-3", &refund("R-3", None, "5000.00"))
        .await
        .expect(201)
        .json();
    assert_eq!(alone["refers_to"], Value::Null);
    let left: i64 = sqlx::query_scalar("select sale_minor - refunded_minor from refund_total")
        .fetch_one(&app.db.owner)
        .await
        .unwrap();
    assert_eq!(left, 800);
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_never_exceed_their_sale() {
    let app = App::start().await;
    let free = json!({"order_id": "free", "amount": {"value": "0", "currency": "GBP"}});
    let yen = json!({"order_id": "yen", "amount": {"value": "1000", "currency": "JPY"}});
    let of = |order: &str, of: &str, value: &str| refund(order, Some(of), value);
    check(
        &app,
        &[
            (sale("A-1"), 201, ""),
            (free, 201, ""),
            (yen, 201, ""),
            (of("R-1", "A-1", "10.01"), 422, "refund_exceeds 10.00"),
            (of("R-2", "A-1", "4.00"), 201, ""),
            (of("R-3", "A-1", "6.01"), 422, "refund_exceeds 6.00"),
            (of("R-4", "A-1", "0.00"), 201, ""),
            (of("R-5", "A-1", "6.00"), 201, ""),
            (of("R-6", "A-1", "0.01"), 422, "refund_exceeds 0.00"),
            (of("R-7", "A-1", "0"), 201, ""),
            (of("R-8", "free", "0.01"), 422, "refund_exceeds 0.00"),
            (of("R-9", "free", "0"), 201, ""),
            (of("R-10", "yen", "10"), 422, "refund_currency"),
            (of("R-11", "R-2", "1"), 422, "refund_of_refund"),
            (of("R-12", "R-12", "1"), 422, "refund_sale_unknown"),
            (of("R-13", "nothing", "1"), 422, "refund_sale_unknown"),
            (
                of("R-14", "sale_00000000000000000000000000", "1"),
                422,
                "refund_sale_unknown",
            ),
            // the order id of a refused refund is free
            (of("R-1", "A-1", "0"), 201, ""),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_merchants_sale_is_as_unknown_as_none() {
    let app = App::start().await;
    let (_, stranger) = app.stranger().await;
    let theirs = stranger.record("k", &sale("A-1")).await.expect(201).json();
    for of in ["A-1", theirs["sale_id"].as_str().unwrap()] {
        let answer = app.admin.record("k", &refund("R-1", Some(of), "1")).await;
        let none = app
            .admin
            .record("k", &refund("R-1", Some("B-1"), "1"))
            .await;
        let without_id = |text: &str, id: &str| text.replace(id, "");
        assert_eq!(
            without_id(&answer.text, answer.header("x-request-id")),
            without_id(&none.text, none.header("x-request-id"))
        );
        answer.problem("refund_sale_unknown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn within_a_batch_a_refund_sees_what_stands_before_it() {
    let app = App::start().await;
    let rows = [
        (refund("R-0", Some("A-1"), "1"), 422, "refund_sale_unknown"), // before its sale
        (sale("A-1"), 201, ""),
        (refund("R-1", Some("A-1"), "6.00"), 201, ""),
        (refund("R-2", Some("A-1"), "5.00"), 422, "refund_exceeds"),
        (refund("R-3", Some("A-1"), "4.00"), 201, ""),
        (refund("R-4", Some("A-1"), "0.01"), 422, "refund_exceeds"),
        (refund("R-5", Some("R-1"), "0.01"), 422, "refund_of_refund"),
        (
            json!({"order_id": "R-6", "kind": "refund", "refers_to": "A-1", "amount": {"value": "0", "currency": "EUR"}}),
            422,
            "refund_currency",
        ),
        // A-1 is a sale already, so this row is refused, and so it is no sale to be refunded
        (
            json!({"order_id": "A-1", "amount": {"value": "99", "currency": "GBP"}}),
            409,
            "order_exists",
        ),
        (refund("R-7", Some("A-1"), "50"), 422, "refund_exceeds"),
        (refund("R-8", Some("A-1"), "0"), 201, ""),
    ];
    let items: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(|(index, (body, ..))| {
            let mut item = body.clone();
            item["idempotency_key"] = json!(format!("k-{index}"));
            item
        })
        .collect();
    for round in 0..2 {
        let answer = app.admin.record_batch(&items).await.expect(200).json();
        let mut next_seq = 1;
        for (index, (item, (_, status, code))) in answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .zip(&rows)
            .enumerate()
        {
            if round == 1 && index == 0 {
                // it did nothing the first time; now its sale is there, and nothing is left of it
                assert_eq!(item["body"]["code"], "refund_exceeds");
                continue;
            }
            assert_eq!(
                item["status"], *status,
                "round {round}, item {index}: {item}"
            );
            if *status == 201 {
                assert_eq!(
                    item["body"]["seq"], next_seq,
                    "accepted rows alone are numbered"
                );
                next_seq += 1;
            } else {
                assert_eq!(item["body"]["code"], *code, "round {round}, item {index}");
            }
        }
    }
    let (sales, refunded): (i64, i64) =
        sqlx::query_as("select (select count(*) from sale), (select sum(refunded_minor)::bigint from refund_total)")
            .fetch_one(&app.db.owner)
            .await
            .unwrap();
    assert_eq!((sales, refunded), (4, 1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_that_race_never_exceed_their_sale() {
    let app = App::start().await;
    app.admin.record("k", &sale("A-1")).await.expect(201);
    let racing: Vec<_> = (0..24)
        .map(|n| {
            let till = app.admin.clone();
            tokio::spawn(async move {
                let order = format!("R-{n}");
                let body = refund(&order, Some("A-1"), "1.50");
                // alone, or in a batch of two
                if n % 2 == 0 {
                    let status = till.record(&order, &body).await.status;
                    return u32::from(status == 201);
                }
                let mut items = [body, refund(&format!("{order}-b"), Some("A-1"), "1.50")];
                items[0]["idempotency_key"] = json!(order);
                items[1]["idempotency_key"] = json!(format!("{order}-b"));
                let answer = till.record_batch(&items).await.expect(200).json();
                let items = answer["items"].as_array().expect("items").clone();
                u32::try_from(items.iter().filter(|item| item["status"] == 201).count())
                    .expect("two at most")
            })
        })
        .collect();
    let mut accepted = 0;
    for one in racing {
        accepted += one.await.unwrap();
    }
    assert_eq!(accepted, 6, "six times 1.50 fit into 10.00");
    let (rows, total): (i64, i64) =
        sqlx::query_as("select count(*), sum(amount_minor)::bigint from sale where kind = 2")
            .fetch_one(&app.db.owner)
            .await
            .unwrap();
    assert_eq!((rows, total), (6, 900));
}
