//! Headers, addresses, and HTTP that is none.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::without_a_trace;
use crate::harness::{App, sale};

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_taken_literally_or_refused() {
    let app = App::start().await;
    let body = sale("A-1").to_string();
    let json = ("content-type", "application/json");
    let post = async |path: &str, headers: &[(&str, &str)]| {
        app.admin
            .send(Method::POST, path, headers, body.clone())
            .await
    };
    without_a_trace(&app, async |_| {
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

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_lead_nowhere_are_named_so() {
    let app = App::start().await;
    without_a_trace(&app, async |app| {
        for nowhere in [
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
        for path in ["/v1/products?sku=%00", "/v1/accounts?email=a%00"] {
            app.admin.get(path).await.problem("invalid_parameter");
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
