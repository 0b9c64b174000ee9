//! A hostile client: never a 500, never half a write, always a whole problem document.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
    let filler = "x".repeat(2 << 20);
    without_a_trace(&app, async |app| {
        let body = json!({"order_id": "A", "amount": {"value": "1", "currency": "GBP"}, "register": filler});
        app.admin.record("k-1", &body).await.problem("body_too_large");
        // without a declared length
        let chunks = (0..2048).map(|_| Ok::<_, std::io::Error>("x".repeat(1024)));
        let streamed = reqwest::Body::wrap_stream(tokio_stream::iter(chunks));
        app.admin.post("/v1/sales", "k-2", streamed).await.problem("body_too_large");
        let headers = [("content-type", "application/json")];
        let nine = "x".repeat(9 << 20);
        let answer = app.admin.send(Method::POST, "/v1/sales:batch", &headers, nine).await;
        answer.problem("body_too_large");
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

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_addresses_are_taken_literally_or_refused() {
    let app = App::start().await;
    let body = sale("A-1").to_string();
    let json = ("content-type", "application/json");
    let post = async |path: &str, headers: &[(&str, &str)]| {
        app.admin
            .send(Method::POST, path, headers, body.clone())
            .await
    };
    without_a_trace(&app, async |app| {
        post("/v1/sales", &[json])
            .await
            .problem("idempotency_key_missing");
        for bad in ["", "\"\"", "a b", "\"a", "é", &"k".repeat(256), "\"a\\x\""] {
            post("/v1/sales", &[json, ("idempotency-key", bad)])
                .await
                .problem("idempotency_key_invalid");
        }
        for wrong in [
            "text/plain",
            "application/jsonx",
            "application/problem+json",
            "",
            "json",
            "\u{ff}",
        ] {
            let headers = [("content-type", wrong), ("idempotency-key", "k")];
            post("/v1/sales", &headers)
                .await
                .problem("unsupported_media_type");
        }
        post("/v1/sales", &[("idempotency-key", "k")])
            .await
            .problem("unsupported_media_type");
        for wrong in [
            "Bearer",
            "Bearer ",
            "Basic Zm9vOmJhcg==",
            "cf_live_x",
            "Bearer cf_live_\u{ff}",
            &"x".repeat(9000),
        ] {
            let headers = [json, ("idempotency-key", "k"), ("authorization", wrong)];
            post("/v1/sales", &headers).await.problem("unauthenticated");
        }
        for nowhere in [
            "/",
            "/v1",
            "/v2/sales",
            "/v1/sales/",
            "/v1/sales:",
            "/V1/sales",
            "//v1/sales",
            "/v1/sales%3Abatch2",
        ] {
            app.admin.get(nowhere).await.problem("not_found");
        }
        for (method, path) in [
            (Method::PUT, "/v1/sales"),
            (Method::DELETE, "/v1/sales/sale_x"),
            (Method::GET, "/v1/sales:batch"),
            (Method::PATCH, "/v1/receipts/x"),
            (Method::POST, "/livez"),
            (Method::from_bytes(b"BREW").unwrap(), "/v1/sales"),
        ] {
            let answer = app.admin.send(method, path, &[], "").await;
            answer.problem("method_not_allowed");
            assert!(!answer.header("allow").is_empty(), "{path}");
        }
        for path in [
            "/v1/sales/%00",
            "/v1/orders/%00/proof",
            "/v1/orders/a%00b/proof",
            "/v1/orders/%20/proof",
            "/v1/orders/a%2Fb/proof",
            "/v1/receipts/%00",
            "/v1/receipts/x?merchant=%00&link=%00",
            "/transactions/%00",
            "/v1/orders/..%2f..%2fetc/proof",
            &format!("/v1/orders/{}/proof", "x".repeat(4000)),
        ] {
            app.admin.get(path).await.problem("not_found");
        }
        for path in [
            "/v1/orders/%ff/proof",
            "/v1/receipts/%ff",
            "/v1/sales/sale_%ff",
        ] {
            app.admin.get(path).await.problem("invalid_parameter");
        }
    })
    .await;
    // what is sane is taken
    for (index, (content_type, key)) in [
        ("application/json", "k-1"),
        ("APPLICATION/JSON; charset=utf-8", "\"k-1\""),
        ("application/json;charset=\"utf-8\"", "  k-1  "),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = post(
            "/v1/sales",
            &[("content-type", content_type), ("idempotency-key", key)],
        )
        .await
        .expect(201);
        assert_eq!(answer.header("idempotent-replayed") == "true", index > 0);
    }
}

/// Sends bytes as they are and reads what comes back until the server closes or pauses.
async fn raw(app: &App, bytes: &[u8], then_close: bool) -> String {
    let address = app.server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(bytes).await.expect("the bytes go out");
    if then_close {
        stream.shutdown().await.expect("the half-close");
    }
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_millis(500), read).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_http_does_nothing_and_harms_nobody() {
    let app = App::start().await;
    let key = app.admin.key().to_owned();
    let head = format!(
        "POST /v1/sales HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\n"
    );
    without_a_trace(&app, async |app| {
        for (rest, expected) in [
            (
                "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
                "400",
            ),
            ("Transfer-Encoding: chunked\r\n\r\n5\r\n{\"ord", ""),
            ("Content-Length: 500\r\n\r\n{\"order_id\":\"A\"", ""),
            ("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "400"),
            ("Content-Length: -1\r\n\r\n{}", "400"),
            ("Content-Length: 99999999999999999999\r\n\r\n{}", "400"),
            (
                "Idempotency-Key: k2\r\nContent-Length: 2\r\n\r\n{}",
                "idempotency_key_invalid",
            ),
            (
                "Authorization: Bearer other\r\nContent-Length: 2\r\n\r\n{}",
                "unauthenticated",
            ),
        ] {
            let answer = raw(app, format!("{head}{rest}").as_bytes(), expected.is_empty()).await;
            assert!(
                answer.contains(expected) && !answer.contains(" 500 "),
                "{rest:?}: {answer}"
            );
        }
        for nonsense in [
            "\0\0\0\0",
            "GET\r\n\r\n",
            "GET / HTTP/9.9\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nnonsense\r\n\r\n",
        ] {
            let answer = raw(app, nonsense.as_bytes(), true).await;
            assert!(!answer.contains(" 500 "), "{nonsense:?}: {answer}");
        }
        let many: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
        let answer = raw(app, format!("{head}{many}\r\n").as_bytes(), true).await;
        assert!(answer.contains(" 431 "), "{answer}");
    })
    .await;
    app.admin.record("k", &sale("A-1")).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hostile_in_a_query_is_refused() {
    let app = App::start().await;
    app.admin.record("k", &sale("A-1")).await.expect(201);
    for query in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "limit=1&limit=2",
        "limit=",
        "limit=1e1",
        "colour=red",
        "kind=gift",
        "state=lost",
        "sold_at=2026-01-01T00:00:00Z",
        "sold_at[gte]=yesterday",
        "starting_after=sale_x",
        "starting_after=",
        "starting_after=sale_00000000000000000000000000",
        "ending_before=mer_00000000000000000000000000",
        "starting_after=sale_00000000000000000000000000&ending_before=sale_00000000000000000000000000",
        "sold_at[eq]=2026-01-01T00:00:00Z",
        "limit=99999999999999999999",
        "order_id=A&order_id=A",
        "order_id=%00",
        "order_id=%ff",
        "order_id=",
        "order_id=a%20b",
        "sold_at[gte]=9999-12-31T23:59:59-23:59",
    ] {
        app.admin
            .get(&format!("/v1/sales?{query}"))
            .await
            .problem("invalid_parameter");
    }
    for query in [
        "order_id='or'1'='1",
        "order_id=A-2",
        "sold_at[lt]=0000-01-01T00:00:00%2B23:59",
    ] {
        let answer = app
            .admin
            .get(&format!("/v1/sales?{query}"))
            .await
            .expect(200);
        assert_eq!(answer.json()["data"], json!([]), "{query}");
    }
}
