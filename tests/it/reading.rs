//! Lists and single sales: pages both ways, filters, and what is shown.

use serde_json::{Value, json};

use crate::harness::{App, Client, sale};

/// Twelve records: every third a refund, sold an hour apart.
async fn fill(till: &Client) {
    for n in 0..12 {
        let kind = if n % 3 == 2 { "refund" } else { "sale" };
        let mut body = sale(&format!("A-{n}"));
        body["kind"] = json!(kind);
        if n != 11 {
            body["sold_at"] = json!(format!("2026-01-31T{n:02}:00:00Z"));
        }
        till.record(&format!("k-{n}"), &body).await.expect(201);
    }
}

async fn page(till: &Client, query: &str) -> Value {
    till.get(&format!("/v1/sales?{query}"))
        .await
        .expect(200)
        .json()
}

/// The sequence numbers of a page.
fn seqs(page: &Value) -> Vec<i64> {
    let rows = page["data"].as_array().expect("rows");
    rows.iter()
        .map(|row| row["seq"].as_i64().expect("a number"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_lead_through_all_sales_in_both_directions() {
    let app = App::start().await;
    let empty = page(&app.admin, "").await;
    assert_eq!(
        empty,
        json!({"data": [], "has_more": false, "next_cursor": null})
    );
    fill(&app.admin).await;
    for (query, cursor_name, expected) in [
        (
            "",
            "starting_after",
            [vec![12, 11, 10, 9, 8], vec![7, 6, 5, 4, 3], vec![2, 1]],
        ),
        (
            "kind=sale",
            "starting_after",
            [vec![11, 10, 8, 7, 5], vec![4, 2, 1], vec![]],
        ),
    ] {
        let mut cursor = String::new();
        for seqs_expected in expected.iter().filter(|seqs| !seqs.is_empty()) {
            let answer = page(&app.admin, &format!("limit=5&{query}{cursor}")).await;
            assert_eq!(seqs(&answer), *seqs_expected);
            match answer["next_cursor"].as_str() {
                Some(next) => cursor = format!("&{cursor_name}={next}"),
                None => cursor = "the end".to_owned(),
            }
            assert_eq!(answer["has_more"] == true, cursor != "the end");
        }
        assert_eq!(cursor, "the end");
    }
    // from the oldest up: pages are newest first all the same
    let oldest = page(&app.admin, "limit=100").await["data"][11]["sale_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let first = page(&app.admin, &format!("limit=4&ending_before={oldest}")).await;
    assert_eq!(
        (seqs(&first), &first["has_more"]),
        (vec![5, 4, 3, 2], &json!(true))
    );
    let next = first["next_cursor"].as_str().unwrap();
    let second = page(&app.admin, &format!("limit=7&ending_before={next}")).await;
    assert_eq!(
        (seqs(&second), &second["has_more"]),
        (vec![12, 11, 10, 9, 8, 7, 6], &json!(false))
    );
    assert_eq!(second["next_cursor"], Value::Null);
    // a page that is exactly full is the last
    let full = page(&app.admin, "limit=12").await;
    assert_eq!((seqs(&full).len(), &full["has_more"]), (12, &json!(false)));
    assert_eq!(seqs(&page(&app.admin, "").await).len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_all_obeyed_at_once() {
    let app = App::start().await;
    fill(&app.admin).await;
    let check = async |query: &str, expected: &[i64]| {
        assert_eq!(seqs(&page(&app.admin, query).await), expected, "{query}");
    };
    check("order_id=A-3", &[4]).await;
    check("order_id=A-3&kind=refund", &[]).await;
    check("order_id=a-3", &[]).await;
    check("kind=refund", &[12, 9, 6, 3]).await;
    check("state=pending&kind=refund&limit=2", &[12, 9]).await;
    check("state=finalized", &[]).await;
    check("sold_at[gte]=2026-01-31T09:00:00Z", &[11, 10]).await;
    check("sold_at[gt]=2026-01-31T09:00:00Z", &[11]).await;
    check("sold_at[lte]=2026-01-31T01:00:00Z", &[2, 1]).await;
    check("sold_at[lt]=2026-01-31T01:00:00Z", &[1]).await;
    check(
        "sold_at%5Bgte%5D=2026-01-31T14:30:00%2B05:30&sold_at[lt]=2026-01-31T10:00:00Z",
        &[10],
    )
    .await;
    check("sold_at[gt]=2026-01-31T10:00:00Z", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_holds_its_merchants_sales_alone() {
    let app = App::start().await;
    let (_, stranger) = app.stranger().await;
    fill(&app.admin).await;
    let theirs = stranger.record("k", &sale("B-1")).await.expect(201).json();
    assert_eq!(seqs(&page(&stranger, "").await), [1]);
    assert_eq!(
        seqs(&page(&stranger, "order_id=A-1").await),
        Vec::<i64>::new()
    );
    // another merchant's sale is no place to start from
    let id = theirs["sale_id"].as_str().unwrap();
    for edge in ["starting_after", "ending_before"] {
        app.admin
            .get(&format!("/v1/sales?{edge}={id}"))
            .await
            .problem("invalid_parameter");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_shows_what_was_recorded() {
    let app = App::start().await;
    let sent = json!({
        "order_id": "A-1", "amount": {"value": "12.5", "currency": "GBP"}, "register": "till-1", "cashier": "Ada",
        "customer_ref": "c-9", "sold_at": "2026-01-31T15:30:00.1239+05:30",
        "lines": [{"sku": "s", "name": "Rosé \"½\"", "quantity": "2.50", "unit_price": "5"}, {"quantity": 1, "unit_price": "0.001"}],
        "payments": [{"method": "cash", "amount": "12.5"}], "tax_total": "2", "metadata": {"b": "2", "a": "1", "": ""},
    });
    let mut body = sent.clone();
    body["metadata"].as_object_mut().unwrap().remove("");
    let made = app.admin.record("k", &body).await.expect(201).json();
    let id = made["sale_id"].as_str().unwrap();
    let shown = app
        .admin
        .get(&format!("/v1/sales/{id}"))
        .await
        .expect(200)
        .json();
    for (name, value) in made.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    assert_eq!(
        shown["amount"],
        json!({"value": "12.50", "currency": "GBP", "minor": 1250})
    );
    assert_eq!(
        (&shown["state"], &shown["batch_id"], &shown["sealed_at"]),
        (&json!("pending"), &Value::Null, &Value::Null)
    );
    assert_eq!(
        shown["details"],
        json!({
            "cashier": "Ada", "customer_ref": "c-9", "decimals": "2", "register": "till-1",
            "sold_at": "2026-01-31T10:00:00.123Z", "tax_total": "2.00", "metadata": {"a": "1", "b": "2"},
            "lines": [{"name": "Rosé \"½\"", "quantity": "2.5", "sku": "s", "unit_price": "5.00"}, {"quantity": "1", "unit_price": "0.001"}],
            "payments": [{"amount": "12.50", "method": "cash"}],
        })
    );
    let listed = page(&app.admin, "order_id=A-1").await;
    assert_eq!(listed["data"][0], shown);

    let (_, stranger) = app.stranger().await;
    for (client, id) in [
        (&stranger, id),
        (&app.admin, "sale_00000000000000000000000000"),
        (&app.admin, "A-1"),
    ] {
        client
            .get(&format!("/v1/sales/{id}"))
            .await
            .problem("not_found");
    }
}
