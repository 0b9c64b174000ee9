//! `counterfoil import` against a server in this process.

use std::process::Stdio;

use counterfoil::http::auth::Role;
use sqlx::Row;
use tokio::io::AsyncWriteExt;

use super::program::{Ended, Scratch, program, run, sales};
use crate::harness::{App, key};

struct Shop {
    app: App,
    key: String,
    scratch: Scratch,
}

impl Shop {
    async fn open() -> Self {
        let app = App::start().await;
        let key = key(&app.db, app.merchant, Role::Pos, None).await;
        Self {
            app,
            key,
            scratch: Scratch::new(),
        }
    }

    async fn import(&self, content: impl AsRef<[u8]>) -> Ended {
        let file = self.scratch.file("sales.jsonl", content);
        run(program(&["import", "--url", &self.app.server.url])
            .env("COUNTERFOIL_KEY", &self.key)
            .arg(file))
        .await
    }

    /// The order ids in order of seq, and whether seq has no gaps.
    async fn orders(&self) -> Vec<String> {
        let rows = sqlx::query("select seq, order_id from sale order by seq")
            .fetch_all(&self.app.db.owner)
            .await
            .expect("the sales");
        let seqs: Vec<i64> = rows.iter().map(|row| row.get("seq")).collect();
        assert_eq!(seqs, (1..=rows.len() as i64).collect::<Vec<_>>());
        rows.iter().map(|row| row.get("order_id")).collect()
    }
}

fn one(key: &str, order: &str) -> String {
    format!(
        r#"{{"idempotency_key":"{key}","order_id":"{order}","amount":{{"value":"1.50","currency":"EUR"}}}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_import_changes_nothing() {
    let shop = Shop::open().await;
    let file = sales("A", 1_203);
    let first = shop.import(&file).await.expect(0);
    assert_eq!(
        first.stdout,
        "1203 recorded, 0 already there, 0 refused, 0 unreadable\n"
    );
    assert_eq!(first.stderr, "");
    let before = shop.app.db.row_counts().await;
    let second = shop.import(&file).await.expect(0);
    assert_eq!(
        second.stdout,
        "0 recorded, 1203 already there, 0 refused, 0 unreadable\n"
    );
    assert_eq!(shop.app.db.row_counts().await, before);
    let orders: Vec<String> = (0..1_203).map(|n| format!("A/{n}")).collect();
    assert_eq!(shop.orders().await, orders, "in the order of the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_are_named_and_the_rest_is_recorded() {
    let shop = Shop::open().await;
    let long = format!(r#"{{"metadata":"{}"}}"#, "x".repeat(9 << 20));
    let negative = one("k6", "F").replace("1.50", "-1.50");
    let lines: [&[u8]; 13] = [
        one("k1", "A").as_bytes(),
        b"{\"idempotency_key\": \"k2\", \"order_id\": ",
        b"{\"idempotency_key\":\"k3\",\"order_id\":\"\xc3\x28\"}",
        b"",
        one("k4", "D").as_bytes(),
        b"[]",
        long.as_bytes(),
        // the key of line 1, for another sale; the order of line 1, under another key
        one("k1", "E").as_bytes(),
        one("k5", "A").replace("1.50", "2.50").as_bytes(),
        negative.as_bytes(),
        b"{\"order_id\":\"G\",\"amount\":{\"value\":1,\"currency\":\"EUR\"}}",
        one("k7", "H").as_bytes(),
        b"{\"idempotency_key\":\"k8\",\"ord",
    ]
    .map(|line| line.to_vec().leak() as &[u8]);
    let ended = shop.import(lines.join(&b"\n"[..])).await.expect(1);
    assert_eq!(
        ended.stdout,
        "3 recorded, 0 already there, 4 refused, 5 unreadable\n"
    );
    let said = |line: usize, what: &str| {
        let found = ended
            .stderr
            .lines()
            .find(|said| said.starts_with(&format!("line {line}: ")));
        assert!(
            found.is_some_and(|said| said.contains(what)),
            "line {line}, {what}: {}",
            ended.stderr
        );
    };
    for (line, what) in [
        (2, "not JSON"),
        (3, "not UTF-8"),
        (6, "not a JSON object"),
        (7, "bytes long"),
        (8, "422 idempotency_key_reused"),
        (9, "409 order_exists"),
        (10, "/amount/value money_negative"),
        (11, "/amount/value money_must_be_string"),
        (11, "/idempotency_key idempotency_key_missing"),
        (13, "truncated"),
    ] {
        said(line, what);
    }
    assert_eq!(ended.stderr.lines().count(), 9, "{}", ended.stderr);
    assert_eq!(shop.orders().await, ["A", "D", "H"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_lines_go_in_several_requests() {
    let shop = Shop::open().await;
    // together more than a request may hold, each within its bounds
    let lines: Vec<String> = (0..40)
        .map(|n| {
            let name = "n".repeat(180);
            let line = format!(r#"{{"name":"{name}","quantity":1,"unit_price":"0.01"}}"#);
            let basket = vec![line; 1_500].join(",");
            one(&format!("k{n}"), &format!("L{n}"))
                .replace("\"amount\"", &format!(r#""lines":[{basket}],"amount""#))
        })
        .collect();
    assert!(lines.iter().map(String::len).sum::<usize>() > 12 << 20);
    let ended = shop.import(lines.join("\n")).await.expect(0);
    assert!(ended.stdout.starts_with("40 recorded"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_a_file_too() {
    let shop = Shop::open().await;
    let mut child = program(&["import", "-", "--url", &shop.app.server.url])
        .env("COUNTERFOIL_KEY", &shop.key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(sales("P", 20).as_bytes())
        .await
        .expect("it is read");
    drop(stdin);
    let output = child.wait_with_output().await.expect("it ends");
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "20 recorded, 0 already there, 0 refused, 0 unreadable\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_ends_the_import_and_is_no_verdict_on_a_line() {
    let shop = Shop::open().await;
    let file = shop.scratch.file("sales.jsonl", sales("W", 3));
    let import = |key: &str| {
        let mut command = program(&["import", "--url", &shop.app.server.url]);
        command.env("COUNTERFOIL_KEY", key).arg(&file);
        command
    };
    let ended = run(&mut import("cf_test_wrong")).await.expect(1);
    assert!(ended.stderr.contains("401 unauthenticated"), "{ended:?}");
    assert_eq!(
        ended.stdout,
        "0 recorded, 0 already there, 0 refused, 0 unreadable\n"
    );
    let auditor = key(&shop.app.db, shop.app.merchant, Role::Auditor, None).await;
    let ended = run(&mut import(&auditor)).await.expect(1);
    assert!(ended.stderr.contains("403 forbidden"), "{ended:?}");
    assert_eq!(shop.orders().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_waited_for_until_the_time_is_up() {
    let scratch = Scratch::new();
    let file = scratch.file("sales.jsonl", sales("N", 3));
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", nowhere.local_addr().expect("an address"));
    drop(nowhere);
    let ended = run(program(&["import", "--url", &url, "--give-up-after", "2s"])
        .env("COUNTERFOIL_KEY", "cf_test_any")
        .arg(&file))
    .await
    .expect(1);
    assert!(
        ended.stderr.contains("nothing was recorded for too long"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("onnection refused"), "{ended:?}");
}
