//! Archives: what has left the table is audited by its receipts.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use secrecy::ExposeSecret;

use super::{archived_shop, audit_within};
use crate::anchored::Anchored;

fn run(it: &Anchored, args: &[&str], archives: Option<&Path>) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    command
        .args(args)
        .env("DATABASE_URL", it.db.db.url.expose_secret())
        .env_remove("COUNTERFOIL_ARCHIVE_DIR");
    if let Some(directory) = archives {
        command.arg("--archive-dir").arg(directory);
    }
    let Output { status, stdout, .. } = command.output().expect("the program");
    let text = String::from_utf8(stdout).expect("UTF-8");
    (status.code().expect("an exit code"), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_sales_are_audited_with_those_in_the_table() {
    let (it, directory) = archived_shop().await;
    let mut conn = it.db.owner.acquire().await.expect("the database");
    let (outcome, findings) = audit_within(&mut conn, &directory).await;
    assert_eq!(findings, []);
    let counts = outcome.counts;
    assert_eq!(
        (counts.archives, counts.archived, counts.unread),
        (1, 32, 0)
    );
    assert_eq!(counts.sales, 8 * (3 + 1 + 3 + 3 + 1) + 3);

    let rpc = it.local.url.expose_secret();
    let (code, text) = run(&it, &["audit", "--rpc", rpc], Some(&directory));
    assert_eq!(code, 0, "{text}");
    let (code, text) = run(&it, &["audit", "--rpc", rpc], None);
    assert!(code == 2 && text.contains("--archive-dir"), "{text}");

    // a file that is another one costs its own sales alone
    let path = directory.join("sale_first.jsonl");
    let sound = fs::read_to_string(&path).expect("the file");
    let damaged = sound.replacen("Tea & co", "Tea & Co", 1);
    fs::write(&path, damaged).expect("the file");
    let (code, text) = run(&it, &["audit", "--json"], Some(&directory));
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains(r#""part":"details""#) && text.contains(r#""part":"archive""#),
        "{text}"
    );
    fs::remove_dir_all(directory).expect("the directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_everything_has_the_archived_sales_too() {
    let (it, directory) = archived_shop().await;
    let exported = directory.join("exported");
    let path = exported.to_str().expect("UTF-8");
    let (code, text) = run(&it, &["export", "--all", path], Some(&directory));
    assert_eq!(code, 0, "{text}");
    let (code, text) = run(&it, &["audit", "--dir", path, "--json"], None);
    assert_eq!(code, 2, "the chain was not asked: {text}");
    let verdict: serde_json::Value = serde_json::from_str(text.trim()).expect("one line");
    assert_eq!(verdict["counts"]["sales"], 8 * (3 + 1 + 3 + 3 + 1) + 1);
    assert_eq!(verdict["counts"]["findings"], 0);
    fs::remove_dir_all(directory).expect("the directory");
}
