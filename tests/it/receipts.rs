//! Proofs and receipts before sealing: who may read them, and that they hold.

use counterfoil_proofs::hex;
use counterfoil_proofs::receipt::Receipt;
use serde_json::{Value, json};

use crate::harness::{Answer, App, PUBLIC_URL, sale};

/// The path and query of a sale's receipt, as the slip carries them.
fn slip(made: &Value) -> String {
    let url = made["receipt_url"].as_str().expect("an address");
    url.strip_prefix(PUBLIC_URL)
        .expect("our address")
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_holds_the_sale_that_was_acknowledged() {
    let app = App::start().await;
    let rich = json!({
        "order_id": "A/1 é".replace([' ', 'é'], "_"), "amount": {"value": "0.05", "currency": "GBP"}, "cashier": "É\u{1}\u{7f}\u{2028}😀",
        "customer_address": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "sold_at": "2026-01-31T10:00:00Z",
        "lines": [{"name": "\"\\/\u{8}\u{c}\n\r\t", "quantity": 3, "unit_price": "0.01"}], "metadata": {"\u{10000}": "a", "\u{fffd}": "b"},
    });
    let refund = json!({"order_id": "R", "kind": "refund", "refers_to": "plain", "amount": {"value": "1", "currency": "GBP"}});
    for (key, body) in [("k-1", &sale("plain")), ("k-2", &rich), ("k-3", &refund)] {
        let made = app.admin.record(key, body).await.expect(201).json();
        let answer = app.admin.with_key(None).get(&slip(&made)).await.expect(200);
        assert_eq!(
            answer.header("content-type"),
            "application/vnd.counterfoil.receipt+json"
        );
        let receipt = Receipt::parse(answer.text.as_bytes()).unwrap();
        assert_eq!(receipt.to_json(), answer.text);
        let checked = receipt.check();
        assert!(checked.is_valid(), "{:?}", checked.first_failure());
        assert_eq!(hex::encode(&checked.leaf), made["leaf"]);
        assert_eq!(hex::encode(&receipt.sale.details), made["details_hash"]);
        assert_eq!(receipt.sale.order_id.as_str(), body["order_id"]);
        assert!(receipt.proof.is_empty() && receipt.batch.is_none() && receipt.anchors.is_empty());
        // one changed character and it does not hold, or is no receipt
        let tampered = answer.text.replacen(
            "\\\"decimals\\\":\\\"2\\\"",
            "\\\"decimals\\\":\\\"3\\\"",
            1,
        );
        assert_ne!(tampered, answer.text);
        assert!(
            Receipt::parse(tampered.as_bytes()).is_ok_and(|receipt| !receipt.check().is_valid())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_says_where_the_order_stands() {
    let app = App::start().await;
    let made = app
        .admin
        .record("k", &sale("A/1%+?#&"))
        .await
        .expect(201)
        .json();
    let by_link = slip(&made).split_once('?').unwrap().1.to_owned();
    let path = "/v1/orders/A%2F1%25+%3F%23&/proof";
    let by_key = app.admin.get(path).await.expect(200);
    let answer = by_key.json();
    assert_eq!(
        app.admin
            .with_key(None)
            .get(&format!("{path}?{by_link}"))
            .await
            .expect(200)
            .text,
        by_key.text
    );
    for name in ["merchant_id", "sale_id", "order_id", "recorded_at", "leaf"] {
        assert_eq!(answer[name], made[name]);
    }
    assert_eq!(
        (&answer["state"], &answer["batch"], &answer["sealed_at"]),
        (&json!("pending"), &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&answer["proof"], &answer["anchors"]),
        (&json!([]), &json!([]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_key_or_link_there_is_nothing_to_see() {
    let app = App::start().await;
    let made = app.admin.record("k", &sale("A-1")).await.expect(201).json();
    let other = app
        .admin
        .record("k-2", &sale("A-2"))
        .await
        .expect(201)
        .json();
    let (stranger_id, stranger) = app.stranger().await;
    let theirs = stranger.record("k", &sale("A-1")).await.expect(201).json();
    let nobody = app.admin.with_key(None);

    let merchant = app.merchant.to_string();
    let link = |made: &Value| slip(made).split_once("link=").unwrap().1.to_owned();
    let (own, wrong) = (link(&made), link(&other));
    let receipt = format!("/v1/receipts/{}", made["sale_id"].as_str().unwrap());
    let refused = [
        (&nobody, String::new()),
        (&stranger, String::new()),
        (&nobody, format!("?merchant={merchant}")),
        (&stranger, format!("?merchant={merchant}")),
        (&nobody, format!("?link={own}")),
        (&nobody, format!("?merchant={merchant}&link={wrong}")),
        (&stranger, format!("?merchant={merchant}&link={wrong}")),
        (&nobody, format!("?merchant={merchant}&link=")),
        (
            &nobody,
            format!("?merchant={merchant}&link={}", own.to_uppercase()),
        ),
        (&nobody, format!("?merchant={merchant}&link={}", &own[..25])),
        (&nobody, format!("?merchant={stranger_id}&link={own}")),
        (&app.admin, format!("?merchant={stranger_id}&link={own}")),
        (&nobody, format!("?merchant=mer_x&link={own}")),
        (
            &nobody,
            format!("?merchant={}&link={own}", merchant.to_uppercase()),
        ),
    ];
    let bare = |answer: &Answer| answer.text.replace(answer.header("x-request-id"), "");
    let nothing = nobody.get("/v1/orders/none/proof").await;
    nothing.problem("not_found");
    for (client, query) in &refused {
        for path in [receipt.as_str(), "/v1/orders/A-1/proof"] {
            let answer = client.get(&format!("{path}{query}")).await;
            // the stranger has an order of the same id, and sees that one
            if answer.status == 200 {
                assert_eq!((path, query.as_str()), ("/v1/orders/A-1/proof", ""));
                assert_eq!(answer.json()["sale_id"], theirs["sale_id"]);
                continue;
            }
            assert_eq!(bare(&answer), bare(&nothing), "{path}{query}");
            let names = |answer: &Answer| {
                answer
                    .headers
                    .keys()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            };
            assert_eq!(names(&answer), names(&nothing));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_merchant_or_the_link_opens_a_receipt() {
    let app = App::start().await;
    let made = app.admin.record("k", &sale("A-1")).await.expect(201).json();
    let (_, stranger) = app.stranger().await;
    let nobody = app.admin.with_key(None);
    let merchant = app.merchant.to_string();
    let own = slip(&made).split_once("link=").unwrap().1.to_owned();
    let receipt = format!("/v1/receipts/{}", made["sale_id"].as_str().unwrap());
    for (client, query) in [
        (&nobody, format!("?merchant={merchant}&link={own}")),
        (&stranger, format!("?merchant={merchant}&link={own}")),
        (&app.admin, String::new()),
        (&app.admin, format!("?merchant={merchant}")),
        (&app.admin, format!("?merchant={merchant}&link=x")),
    ] {
        client.get(&format!("{receipt}{query}")).await.expect(200);
    }
    nobody
        .get(&format!(
            "{receipt}?merchant={merchant}&link={own}&colour=red"
        ))
        .await
        .problem("invalid_parameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_has_already_is_not_sent_again() {
    let app = App::start().await;
    let made = app.admin.record("k", &sale("A-1")).await.expect(201).json();
    for path in [
        slip(&made),
        "/v1/orders/A-1/proof".to_owned(),
        "/.well-known/counterfoil.json".to_owned(),
    ] {
        let first = app.admin.get(&path).await.expect(200);
        let etag = first.header("etag").to_owned();
        assert!(etag.starts_with('"') && etag.len() > 10, "{etag}");
        for (tags, expected) in [
            (etag.as_str(), 304),
            (&format!("\"x\", W/{etag}"), 304),
            ("*", 304),
            ("\"x\"", 200),
            (etag.trim_matches('"'), 200),
            ("", 200),
        ] {
            let answer = app
                .admin
                .send(reqwest::Method::GET, &path, &[("if-none-match", tags)], "")
                .await
                .expect(expected);
            assert_eq!(answer.header("etag"), etag);
            assert_eq!(answer.text.is_empty(), expected == 304);
            assert_eq!(
                answer.header("cache-control"),
                first.header("cache-control")
            );
        }
        // a pending one no longer than the batch interval, and never by a shared cache
        let control = first.header("cache-control");
        let expected = if path.starts_with("/.well") {
            "private, max-age=60"
        } else {
            "private, max-age=7"
        };
        assert_eq!(control, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_was_tampered_with_gets_no_receipt() {
    let app = App::start().await;
    let made = app.admin.record("k", &sale("A-1")).await.expect(201).json();
    sqlx::query("update sale set details = convert_to(replace(convert_from(details, 'UTF8'), '2', '3'), 'UTF8')")
        .execute(&app.db.owner)
        .await
        .unwrap();
    app.admin
        .get(&slip(&made))
        .await
        .problem("self_check_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trust_file_names_merchants_and_registries_and_no_volumes() {
    let app = App::start().await;
    app.admin.record("k", &sale("A-1")).await.expect(201);
    let testing = crate::harness::merchant(&app.db, "test").await;
    let registry = "insert into registry (chain_id, address, code_hash, first_batch, last_batch, pinned_at)
                    values (1, decode(repeat('ab', 20), 'hex'), '', 1, 9, now()), (1, decode(repeat('cd', 20), 'hex'), '', 10, null, now())";
    sqlx::query(registry).execute(&app.db.owner).await.unwrap();
    let answer = app
        .admin
        .with_key(None)
        .get("/.well-known/counterfoil.json")
        .await
        .expect(200)
        .json();
    assert_eq!(
        answer["registries"],
        json!([
            {"registry": format!("eip155:1:0x{}", "ab".repeat(20)), "first_batch": 1, "last_batch": 9},
            {"registry": format!("eip155:1:0x{}", "cd".repeat(20)), "first_batch": 10, "last_batch": null},
        ])
    );
    let entry = |id: counterfoil::ids::MerchantId, mode: &str| json!({"merchant_id": id.to_string(), "merchant": hex::encode(&id.bytes()), "legal_name": "Shop", "mode": mode});
    assert_eq!(
        answer["merchants"],
        json!([entry(app.merchant, "live"), entry(testing, "test")])
    );
}
