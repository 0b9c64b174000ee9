//! A hostile client: never a 500, never half a write, always a whole problem document.

mod wire;

use reqwest::Method;
use serde_json::json;

use crate::harness::{App, check_document, sale};

/// Runs `attack` and sees that no table gained or lost a row.
async fn without_a_trace(app: &App, attack: impl AsyncFn(&App)) {
    let before = app.db.row_counts().await;
    attack(app).await;
    assert_eq!(app.db.row_counts().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_sale_are_refused() {
    let app = App::start().await;
    let check = async |body: &[u8], code: &str, pointer: &str| {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let answer = app
            .admin
            .post("/v1/sales", "k-hostile", body.to_vec())
            .await;
        assert_eq!(answer.problem(code)["code"], code, "{shown}");
        assert_eq!(
            answer.faults(),
            [(pointer.to_owned(), code.to_owned())],
            "{shown}"
        );
    };
    let deep = |open: &str, close: &str, depth: usize| {
        format!("{}{}", open.repeat(depth), close.repeat(depth))
    };
    let within = |name: &str, value: &str| {
        format!(r#"{{"order_id":"A","amount":{{"value":"1","currency":"GBP"}},"{name}":{value}}}"#)
    };
    without_a_trace(&app, async |_| {
        let no_json: [&[u8]; 15] = [
            b"",
            b" ",
            b"{",
            b"nonsense",
            b"{\"order_id\":NaN}",
            b"{\"order_id\":Infinity}",
            b"{'order_id':1}",
            b"{\"order_id\":\"A\",}",
            b"{} {}",
            b"\xef\xbb\xbf{}",
            b"{\"order_id\":\"\xff\"}",
            b"\xff\xfe{\0}\0",
            b"{\"order_id\":\"a\nb\"}",
            b"{\"order_id\":01}",
            b"{\"order_id\":\"\\x41\"}",
        ];
        for body in no_json {
            check(body, "invalid_json", "").await;
        }
        check(deep("[", "", 100_000).as_bytes(), "invalid_json", "").await;
        for body in [
            "[]",
            "null",
            "5",
            "\"sale\"",
            "true",
            "[{}]",
            &deep("[", "]", 100_000),
        ] {
            check(body.as_bytes(), "wrong_type", "").await;
        }
        let deep_list = within("lines", &deep("[", "]", 100_000));
        check(deep_list.as_bytes(), "wrong_type", "/lines/0").await;
        let deep_object = within(
            "register",
            &deep("{\"a\":", "}", 100_000).replace(":}", ":1}"),
        );
        check(deep_object.as_bytes(), "wrong_type", "/register").await;
        let deep_unknown = within("colour", &deep("[", "]", 100_000));
        check(deep_unknown.as_bytes(), "unknown_field", "/colour").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_stands_twice_is_refused_at_every_level() {
    let app = App::start().await;
    let check = async |body: &str, expected: &[(&str, &str)]| {
        let answer = app
            .admin
            .post("/v1/sales", "k-twice", body.to_owned())
            .await;
        let expected: Vec<_> = expected
            .iter()
            .map(|(p, c)| ((*p).to_owned(), (*c).to_owned()))
            .collect();
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.faults(), expected, "{body}");
    };
    let amount = r#""amount":{"value":"1","currency":"GBP"}"#;
    without_a_trace(&app, async |_| {
        let twice = "repeated_field";
        check(&format!(r#"{{"order_id":"A","order_id":"A",{amount}}}"#), &[("/order_id", twice)]).await;
        check(&format!(r#"{{"order_id":"A","order\u005fid":"B",{amount}}}"#), &[("/order_id", twice)]).await;
        check(&format!(r#"{{"order_id":"A",{amount},{amount}}}"#), &[("/amount", twice)]).await;
        check(&format!(r#"{{"order_id":"A","kind":null,"kind":null,{amount}}}"#), &[("/kind", twice)]).await;
        check(&format!(r#"{{"order_id":null,"order_id":"A",{amount}}}"#), &[("/order_id", twice)]).await;
        check(
            r#"{"order_id":"A","amount":{"value":"1","value":"2","currency":"GBP"}}"#,
            &[("/amount/value", twice)],
        )
        .await;
        check(
            &format!(r#"{{"order_id":"A",{amount},"metadata":{{"a":"1","a":"1"}}}}"#),
            &[("/metadata/a", twice)],
        )
        .await;
        check(
            &format!(r#"{{"order_id":"A",{amount},"lines":[{{"quantity":1,"unit_price":"1","quantity":1}}]}}"#),
            &[("/lines/0/quantity", twice)],
        )
        .await;
        check(
            &format!(r#"{{"order_id":"A",{amount},"payments":[{{"method":"a","amount":"1","method":"b"}}]}}"#),
            &[("/payments/0/method", twice)],
        )
        .await;
        // a key that is no text is named once, as it stands, beside the others
        check(
            &format!(r#"{{"order_id":"a b","\ud800":1,{amount}}}"#),
            &[("/\\ud800", "invalid_text"), ("/order_id", "order_id_invalid")],
        )
        .await;
        check(
            &format!(r#"{{"order_id":"A",{amount},"metadata":{{"\udc00":"x"}}}}"#),
            &[("/metadata/\\udc00", "invalid_text")],
        )
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_names_what_is_wrong_with_it_or_with_each_item() {
    let app = App::start().await;
    let send = async |body: String| {
        let headers = [("content-type", "application/json")];
        app.admin
            .send(Method::POST, "/v1/sales:batch", &headers, body)
            .await
    };
    let check = async |body: &str, code: &str, pointer: &str| {
        let answer = send(body.to_owned()).await;
        answer.problem(code);
        assert_eq!(
            answer.faults(),
            [(pointer.to_owned(), code.to_owned())],
            "{body:.80}"
        );
    };
    without_a_trace(&app, async |_| {
        check("{}", "missing_field", "/items").await;
        check(r#"{"items":null}"#, "missing_field", "/items").await;
        check(r#"{"items":{}}"#, "wrong_type", "/items").await;
        check(r#"{"items":[],"items":[]}"#, "repeated_field", "/items").await;
        check(r#"{"items":[],"more":1}"#, "unknown_field", "/more").await;
        check(r#"[[]]"#, "wrong_type", "").await;
        check(r#"{"items":[]}"#, "too_many_items", "/items").await;
        check(r#"{"items":[{}"#, "invalid_json", "").await;
        check(
            &format!(r#"{{"items":[{}]}}"#, vec!["0"; 501].join(",")),
            "too_many_items",
            "/items",
        )
        .await;
    })
    .await;

    let mut good = sale("A-1");
    good["idempotency_key"] = json!("k-1");
    let mut no_key = sale("A-2");
    no_key["amount"]["value"] = json!(1);
    let mut bad_key = sale("A-3");
    bad_key["idempotency_key"] = json!("a b");
    let items = [json!(5), no_key, json!([]), bad_key, good];
    let answer = app.admin.record_batch(&items).await.expect(200).json();
    let expected: [(u16, &[(&str, &str)]); 5] = [
        (400, &[("", "wrong_type")]),
        (
            400,
            &[
                ("/amount/value", "money_must_be_string"),
                ("/idempotency_key", "idempotency_key_missing"),
            ],
        ),
        (400, &[("", "wrong_type")]),
        (400, &[("/idempotency_key", "idempotency_key_invalid")]),
        (201, &[]),
    ];
    for (item, (status, faults)) in answer["items"].as_array().unwrap().iter().zip(expected) {
        assert_eq!(item["status"], status, "{item}");
        if status != 201 {
            check_document(&item["body"]);
            let expected: Vec<_> = faults
                .iter()
                .map(|(p, c)| ((*p).to_owned(), (*c).to_owned()))
                .collect();
            assert_eq!(crate::harness::faults_of(&item["body"]), expected);
        }
    }
    assert_eq!(answer["items"][4]["body"]["seq"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_are_refused_whole() {
    let app = App::start().await;
    let post = async |path: &str, body: reqwest::Body| {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", "k"),
        ];
        let answer = app.admin.send(Method::POST, path, &headers, body).await;
        answer.problem("body_too_large");
    };
    without_a_trace(&app, async |_| {
        let mut body = sale("A");
        body["register"] = json!("x".repeat(2 << 20));
        post("/v1/sales", body.to_string().into()).await;
        let mut body = sale("A");
        body["register"] = json!("x".repeat((1 << 20) - 100));
        let answer = app.admin.record("k", &body).await;
        answer.problem("text_too_long");
        body["register"] = json!("x".repeat(1 << 20));
        let answer = app.admin.record("k", &body).await;
        answer.problem("body_too_large");
        // without a declared length
        let chunks = (0..2048).map(|_| Ok::<_, std::io::Error>("x".repeat(1024)));
        let streamed = reqwest::Body::wrap_stream(tokio_stream::iter(chunks));
        post("/v1/sales", streamed).await;
        post("/v1/sales:batch", "x".repeat(9 << 20).into()).await;
    })
    .await;
    // a batch of 2 MiB is within its own bound
    let items: Vec<_> = (0..100)
        .map(|n| {
            let mut item = sale(&format!("A-{n}"));
            item["idempotency_key"] = json!(format!("k-{n}"));
            item["metadata"] = (0..45)
                .map(|m| (format!("m{m}"), json!("x".repeat(480))))
                .collect();
            item
        })
        .collect();
    assert!(json!({ "items": items }).to_string().len() > 2 << 20);
    let answer = app.admin.record_batch(&items).await.expect(200).json();
    assert!(
        answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["status"] == 201)
    );
}

/// Within every other bound, but larger than a verifier reads: its receipt could never be checked.
#[tokio::test(flavor = "multi_thread")]
async fn details_that_no_verifier_would_read_are_refused() {
    let app = App::start().await;
    let mut item = sale("A-1");
    let name = "\u{1}".repeat(200);
    item["lines"] = json!(vec![
        json!({"name": name, "quantity": 1, "unit_price": "1"});
        2000
    ]);
    item["idempotency_key"] = json!("k");
    let answer = app.admin.record_batch(&[item]).await;
    let items = answer.expect(200).json();
    assert_eq!(items["items"][0]["body"]["code"], "details_too_large");
}
