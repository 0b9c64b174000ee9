//! The server around the routes: request ids, preflights, pages, stopping.

use std::time::Duration;

use counterfoil::http::codes;
use reqwest::Method;

use crate::harness::{App, ORIGIN, eventually, sale};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_named_by_its_caller_or_by_us() {
    let app = App::start().await;
    let long = "x".repeat(129);
    for (given, taken) in [
        ("abc-1_2.3:4", true),
        (&long[..128], true),
        (&long, false),
        ("", false),
        ("a b", false),
        ("a\"b", false),
        ("<b>", false),
        ("é", false),
        ("a,b", false),
    ] {
        for path in ["/livez", "/v1/nowhere"] {
            let answer = app
                .admin
                .send(Method::GET, path, &[("x-request-id", given)], "")
                .await;
            let named = answer.header("x-request-id");
            assert_eq!(named == given, taken, "{given}");
            assert!(!named.is_empty());
            if path == "/v1/nowhere" {
                answer.problem("not_found");
            }
        }
    }
    let (a, b) = (app.admin.get("/livez").await, app.admin.get("/livez").await);
    assert_ne!(a.header("x-request-id"), b.header("x-request-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pages_of_configured_origins_may_call() {
    let app = App::start().await;
    let preflight = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization,idempotency-key,content-type",
            ),
        ];
        app.admin
            .with_key(None)
            .send(Method::OPTIONS, "/v1/sales", &headers, "")
            .await
    };
    let allowed = preflight(ORIGIN).await.expect(200);
    assert_eq!(allowed.header("access-control-allow-origin"), ORIGIN);
    for name in [
        "authorization",
        "idempotency-key",
        "content-type",
        "if-none-match",
    ] {
        assert!(
            allowed
                .header("access-control-allow-headers")
                .contains(name),
            "{name}"
        );
    }
    for other in [
        "https://evil.example",
        "null",
        "https://shop.example.evil",
        "http://shop.example",
        "https://shop.example:444",
    ] {
        let refused = preflight(other).await;
        assert_eq!(refused.header("access-control-allow-origin"), "", "{other}");
        let answer = app
            .admin
            .send(Method::GET, "/v1/sales", &[("origin", other)], "")
            .await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{other}");
    }
    // what a page may read, also of an error
    let answer = app
        .admin
        .send(Method::GET, "/v1/nowhere", &[("origin", ORIGIN)], "")
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    for name in [
        "x-request-id",
        "idempotent-replayed",
        "retry-after",
        "location",
        "etag",
        "ratelimit",
        "ratelimit-policy",
    ] {
        assert!(
            answer
                .header("access-control-expose-headers")
                .contains(name),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_code_has_its_page() {
    let app = App::start().await;
    let index = app.admin.get("/errors").await.expect(200).text;
    for code in codes::ALL {
        let page = app
            .admin
            .get(&format!("/errors/{}", code.name))
            .await
            .expect(200);
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(
            page.text.contains(code.name) && page.text.contains(&code.status.as_u16().to_string())
        );
        assert!(index.contains(code.name), "{}", code.name);
        // a code names its bounds from the same place as the check does
        assert!(
            !code.advice.is_empty() && code.advice.ends_with('.'),
            "{}",
            code.name
        );
    }
    app.admin
        .get("/errors/none_such")
        .await
        .problem("not_found");
    app.admin
        .get("/errors/%3Cscript%3E")
        .await
        .problem("not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_load_nothing_from_elsewhere() {
    let app = App::start().await;
    for (page, needles) in [
        ("/docs/", vec!["swagger-ui", "swagger-initializer.js"]),
        ("/redoc", vec!["<redoc", "/redoc/redoc.js"]),
        ("/errors", vec!["invalid_json"]),
    ] {
        let answer = app.admin.with_key(None).get(page).await.expect(200);
        assert!(
            answer.header("content-type").starts_with("text/html"),
            "{page}"
        );
        for needle in needles {
            assert!(answer.text.contains(needle), "{page} has no {needle}");
        }
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'self';")
                && !policy.contains("http")
                && !policy.contains('*'),
            "{policy}"
        );
        // whatever it refers to is ours and is there
        for address in references(&answer.text) {
            assert!(!address.contains("//"), "{page} refers to {address}");
            let path = match address
                .strip_prefix("./")
                .or(Some(address.as_str()).filter(|a| !a.starts_with('/')))
            {
                Some(relative) => format!("/docs/{relative}"),
                None => address.clone(),
            };
            if !path.starts_with("/errors") && path != "/docs" {
                app.admin.with_key(None).get(&path).await.expect(200);
            }
        }
    }
    let initializer = app
        .admin
        .get("/docs/swagger-initializer.js")
        .await
        .expect(200)
        .text;
    assert!(
        initializer.contains("/openapi.json") && !initializer.contains("petstore"),
        "{initializer}"
    );
}

/// What `src` and `href` name in a page, but anchors and data.
fn references(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        for rest in page.split(attribute).skip(1) {
            let address = rest.split('"').next().unwrap_or("");
            if !address.starts_with("data:") && !address.starts_with('#') {
                found.push(address.to_owned());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_what_is_in_hand() {
    let app = App::start().await;
    let (_, other) = app.stranger().await;
    let App {
        server, admin, db, ..
    } = app;
    admin.record("k-0", &sale("A-0")).await.expect(201);
    let mut lock = db.owner.begin().await.unwrap();
    sqlx::query("select 1 from merchant for update")
        .execute(&mut *lock)
        .await
        .unwrap();
    // two that are written, each of its own merchant, and one that waits for its turn
    let in_hand: Vec<_> = [(1, &admin), (2, &other), (3, &admin)]
        .map(|(n, till)| {
            let till = till.clone();
            tokio::spawn(async move {
                till.record(&format!("k-{n}"), &sale(&format!("A-{n}")))
                    .await
            })
        })
        .into();
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually("two writes are under way", || async {
        let count: i64 = sqlx::query_scalar(waiting)
            .fetch_one(&db.owner)
            .await
            .expect("the activity");
        (count == 2).then_some(())
    })
    .await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let stopped = tokio::spawn(server.stop());
    // no new caller is taken
    eventually("the door is shut", || async {
        tokio::net::TcpStream::connect(&address)
            .await
            .err()
            .map(drop)
    })
    .await;
    assert!(!stopped.is_finished());
    lock.rollback().await.unwrap();
    for request in in_hand {
        request.await.unwrap().expect(201);
    }
    tokio::time::timeout(Duration::from_secs(5), stopped)
        .await
        .expect("it stops")
        .unwrap();
    let stored: i64 = sqlx::query_scalar("select count(*) from sale")
        .fetch_one(&db.owner)
        .await
        .unwrap();
    assert_eq!(stored, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_it_lives_and_says_so() {
    let app = App::start().await;
    app.admin.get("/readyz").await.expect(200);
    // nobody may connect any more, and who is connected is cut off
    app.db
        .run_outside("alter database {} with allow_connections false")
        .await;
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where datname = current_database() and application_name = 'counterfoil'";
    let _: i64 = sqlx::query_scalar(cut)
        .fetch_one(&app.db.owner)
        .await
        .unwrap();
    app.admin.get("/livez").await.expect(200);
    app.admin
        .get("/readyz")
        .await
        .problem("database_unavailable");
    app.admin
        .record("k", &sale("A-1"))
        .await
        .problem("database_unavailable");
    app.admin
        .get("/v1/sales")
        .await
        .problem("database_unavailable");
    app.admin
        .with_key(None)
        .get("/.well-known/counterfoil.json")
        .await
        .problem("database_unavailable");
    app.db
        .run_outside("alter database {} with allow_connections true")
        .await;
    app.admin.record("k", &sale("A-1")).await.expect(201);
}
