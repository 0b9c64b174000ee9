//! `counterfoil doctor`: what is sound is called sound, and what is not is named.

use counterfoil::clock::Clock;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::process::Command;

use crate::anchored::Anchored;
use crate::harness::Running;

/// An installation in which all goes well, and its interface.
async fn shop() -> (Anchored, Running) {
    let it = Anchored::start().await;
    it.seal_batches(2).await;
    it.publish_and_mine().await;
    it.local.mine(3).await;
    it.watch().await;
    let interface = Running::start(&it.db.db, Clock::system()).await;
    (it, interface)
}

async fn doctor(it: &Anchored, args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_counterfoil"))
        .arg("doctor")
        .args(args)
        .env_remove("RPC_URL")
        .env_remove("COUNTERFOIL_PUBLIC_URL")
        .env("DATABASE_URL", it.db.db.url.expose_secret())
        .output()
        .await
        .expect("the program");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.code().expect("an exit code"), text)
}

/// The verdict of a check, of several the worst.
fn verdict_of(lines: &str, check: &str) -> Option<String> {
    let found = lines.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        (line["check"] == check).then(|| line["verdict"].as_str().expect("a verdict").to_owned())
    });
    found.max_by_key(|verdict| verdict == "fail")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_installation_is_called_sound() {
    let (it, interface) = shop().await;
    let rpc = it.local.url.expose_secret();
    let all = ["--rpc", rpc, "--public-url", &interface.url];
    let (code, text) = doctor(&it, &all).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.ends_with("\nSOUND\n"), "{text}");
    let (code, text) = doctor(&it, &["--rpc", rpc]).await;
    assert_eq!(code, 2, "the interface was not asked: {text}");
    let (code, text) = doctor(&it, &["--public-url", &interface.url, "--json"]).await;
    assert_eq!(code, 2, "the chain was not asked: {text}");
    let last: Value = serde_json::from_str(text.lines().last().expect("a verdict")).expect("JSON");
    assert_eq!(last["verdict"], "not_quite_sound");
    assert_eq!(last["not_checked"], 1);
}

/// What is done to a sound installation, the check that fails then, and what undoes it.
const DAMAGES: [(&str, &str, &str); 10] = [
    (
        "update chain_head set halted = 'why'",
        "chain 31337",
        "update chain_head set halted = null",
    ),
    (
        "insert into seal_hold (merchant_id, seq, reason, since) select merchant_id, 1, 'why', now() from merchant",
        "holds",
        "delete from seal_hold",
    ),
    (
        "update registry set code_hash = sha256(code_hash)",
        "registry on 31337",
        "update registry set code_hash = (select code_hash from kept)",
    ),
    (
        "update chain_head set account = decode(repeat('03', 20), 'hex')",
        "publisher on 31337",
        "update chain_head set account = (select account from kept)",
    ),
    (
        "update chain_head set next_nonce = 0",
        "account on 31337",
        "update chain_head set next_nonce = 1",
    ),
    (
        "update chain_head set next_batch = 1",
        "batches on 31337",
        "update chain_head set next_batch = 3",
    ),
    (
        "update batch set root = sha256(root) where batch_id = 2",
        "batches on 31337",
        "update batch set root = (select last_root from seal_head) where batch_id = 2",
    ),
    (
        "grant insert on sale to counterfoil_api",
        "roles",
        "revoke insert on sale from counterfoil_api",
    ),
    (
        "update installation set timeline = timeline + 1",
        "identity",
        "",
    ),
    (
        "update _sqlx_migrations set version = version + 1000 where version = (select max(version) from _sqlx_migrations)",
        "schema",
        "",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named() {
    let (it, interface) = shop().await;
    let rpc = it.local.url.expose_secret();
    let args = ["--rpc", rpc, "--public-url", &interface.url, "--json"];
    for (damage, check, mended) in DAMAGES {
        it.db
            .execute("create table if not exists kept as select code_hash, account from registry, chain_head")
            .await;
        it.db.execute(damage).await;
        let (code, text) = doctor(&it, &args).await;
        assert_eq!(
            verdict_of(&text, check).as_deref(),
            Some("fail"),
            "{damage}: {text}"
        );
        assert_eq!(code, 1, "{text}");
        if !mended.is_empty() {
            it.db.execute(mended).await;
        }
    }
}
