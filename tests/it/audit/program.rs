//! The command: its exit codes, its JSON, and a directory in place of a database.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use secrecy::ExposeSecret;
use serde_json::Value;

use super::shop;
use crate::anchored::Anchored;

fn run(it: &Anchored, args: &[&str]) -> (i32, String) {
    let Output { status, stdout, .. } = Command::new(env!("CARGO_BIN_EXE_counterfoil"))
        .args(args)
        .env("DATABASE_URL", it.db.db.url.expose_secret())
        .output()
        .expect("the program");
    let text = String::from_utf8(stdout).expect("UTF-8");
    (status.code().expect("an exit code"), text)
}

/// The last line of `--json`, and how many came before it.
fn verdict(text: &str) -> (Value, usize) {
    let lines: Vec<&str> = text.lines().collect();
    let (last, findings) = lines.split_last().expect("a verdict");
    (serde_json::from_str(last).expect("JSON"), findings.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_the_verdict() {
    let it = shop().await;
    let rpc = it.local.url.expose_secret();
    let (code, text) = run(&it, &["audit"]);
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains("NOT FULLY CHECKED") && text.contains("--rpc"),
        "{text}"
    );
    let (code, text) = run(&it, &["audit", "--rpc", rpc]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("\nCLEAN"), "{text}");
    it.db
        .execute("update sale set amount_minor = 7 where order_id = 'F-1' and batch_id = 1")
        .await;
    let (code, text) = run(&it, &["audit", "--rpc", rpc, "--json"]);
    let (verdict, findings) = verdict(&text);
    assert_eq!((code, verdict["verdict"].as_str()), (1, Some("not_clean")));
    assert_eq!(
        verdict["counts"]["findings"].as_u64(),
        Some(findings as u64)
    );
    assert!(text.contains(r#""part":"fields""#), "{text}");
    // however much of the time it rests
    let (code, rested) = run(&it, &["audit", "--rpc", rpc, "--json", "--pace", "60"]);
    assert_eq!(code, 1, "{rested}");
    assert_eq!(rested.lines().last(), text.lines().last());
    assert_eq!(run(&it, &["audit", "--pace", "0"]), (64, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_audited_without_a_database() {
    let it = shop().await;
    let directory = std::env::temp_dir().join(format!("counterfoil-audit-{}", std::process::id()));
    let path = directory.to_str().expect("UTF-8");
    for _ in 0..2 {
        assert_eq!(run(&it, &["export", "--all", path]).0, 0);
    }
    let rpc = it.local.url.expose_secret();
    let registry = it.registry.registry.to_string();
    let on_chain = [
        "audit",
        "--dir",
        path,
        "--rpc",
        rpc,
        "--registry",
        &registry,
        "--json",
    ];
    let (code, text) = run(&it, &on_chain);
    assert_eq!(code, 0, "{text}");
    let (all, findings) = verdict(&text);
    assert_eq!((all["counts"]["batches"].as_u64(), findings), (Some(4), 0));
    assert_eq!(all["counts"]["sales"].as_u64(), Some(8 * (3 + 1 + 3 + 3)));
    assert_eq!(
        run(&it, &["audit", "--dir", path]).0,
        2,
        "the chain was not asked"
    );

    for (file, from, to, part) in [
        (
            "batch-3.sales.jsonl",
            "\"amount\":\"1250\"",
            "\"amount\":\"1251\"",
            "fields",
        ),
        ("batch-3.sales.jsonl", "Tea & co", "Tea & Co", "details"),
        (
            "batch-2.json",
            "\"leaves\":[\"0x",
            "\"leaves\":[\"0x00",
            "manifest",
        ),
    ] {
        check_damage(&it, &directory.join(file), (from, to), &on_chain, part);
    }
    let sales = directory.join("batch-1.sales.jsonl");
    let text = fs::read_to_string(&sales).expect("the file");
    let without_last = text.trim_end().rsplit_once('\n').expect("lines").0;
    fs::write(&sales, without_last).expect("the file");
    let (code, text) = run(&it, &on_chain);
    assert!(code == 1 && text.contains("\"part\":\"missing\""), "{text}");
    fs::remove_dir_all(directory).expect("the directory");
}

fn check_damage(it: &Anchored, file: &Path, (from, to): (&str, &str), args: &[&str], part: &str) {
    let text = fs::read_to_string(file).expect("the file");
    assert!(text.contains(from), "{from} is not in {}", file.display());
    fs::write(file, text.replacen(from, to, 1)).expect("the file");
    let (code, found) = run(it, args);
    let named = found.contains(&format!("\"part\":\"{part}\""));
    assert!(code == 1 && named, "{from} to {to}: {found}");
    fs::write(file, text).expect("the file");
}
