//! Starting and stopping: `dev`'s ready file, `with-services`, `demo --once`, and how errors are told.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use counterfoil::money::Currency;
use counterfoil::payments::amount::Amount;
use counterfoil::payments::provider::{NewIntent, Provider, ProviderSettings};
use counterfoil_proofs::hex;

use super::anchored_day::{Holdings, until_final};
use super::program::{Dev, Ended, Scratch, program, run, sales};

#[tokio::test(flavor = "multi_thread")]
async fn the_ready_file_is_private_and_the_next_start_is_the_same() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch, "1s").await;
    let file = scratch.join("ready.json");
    for secret in [&file, &scratch.join("data/token-keys")] {
        let metadata = std::fs::metadata(secret).expect("a file");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{secret:?}");
    }
    let first = dev.ready.clone();
    let [chain] = first.chains.as_slice() else {
        panic!("one chain: {first:?}")
    };
    assert!(hex::decode::<20>(&chain.registry).is_ok(), "an address");
    assert_eq!((chain.name.as_str(), chain.chain_id), ("local", 31_337));
    let imported = dev.import(&scratch.file("a.jsonl", sales("A", 20))).await;
    imported.expect(0);
    let paid = payments(&dev).create_intent(&intent(), "k1").await;
    let paid = paid.expect("an intent");

    assert_eq!(dev.stop().await, Some(0));
    assert!(!file.exists(), "it says what is so no more");
    let again = Dev::start(&scratch, "1s").await;
    assert_eq!(again.ready.api_url, first.api_url);
    assert_eq!(again.ready.merchant_id, first.merchant_id);
    assert_eq!(again.ready.api_key, first.api_key);
    assert_eq!(again.ready.chains[0].registry, chain.registry);
    assert_eq!(again.ready.payment_url, first.payment_url);
    let read = payments(&again).retrieve_intent(&paid.id).await;
    assert_eq!(read.expect("an intent").ours(), Some("pi_1"));
    let imported = again.import(&scratch.join("a.jsonl")).await.expect(0);
    assert!(
        imported.stdout.starts_with("0 recorded, 20 already there"),
        "{imported:?}"
    );
}

/// A client of the local payment provider.
fn payments(dev: &Dev) -> Provider {
    let key = dev.ready.payment_key.as_str().into();
    let settings = ProviderSettings::new(&dev.ready.payment_url, key);
    Provider::new(&settings).expect("a provider")
}

fn intent() -> NewIntent<'static> {
    let currency = Currency::from_code("INR").expect("a currency");
    NewIntent {
        amount: Amount {
            minor: 150_075,
            currency,
        },
        merchant: "mer_1",
        order: "ord_1",
        intent: "pi_1",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_begun_anew_gets_every_batch_again() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch, "1s").await;
    let file = scratch.file("a.jsonl", sales("A", 30));
    dev.import(&file).await.expect(0);
    until_final(&dev, 30).await;
    assert_eq!(dev.stop().await, Some(0));

    let dev = Dev::start_with(&scratch, "1s", &["--reset-chain"]).await;
    until_final(&dev, 30).await;
    let holdings = Holdings::collect(&dev, &scratch).await;
    assert_eq!(holdings.anchored.len(), holdings.batches.len());
    assert!(holdings.judge(&holdings.rows()).is_complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_services_is_as_good_as_its_command() {
    let script = |script: &str| ["with-services", "--", "sh", "-c", script].map(str::to_owned);
    let all_there = r#"case "$DATABASE_URL,$RPC_URL" in postgres*,http*) exit 0;; esac; exit 9"#;
    run(&mut program(&script(all_there))).await.expect(0);
    run(&mut program(&script("exit 7"))).await.expect(7);
    run(&mut program(&script("kill -TERM $$")))
        .await
        .expect(128 + 15);
    let missing = run(&mut program(&[
        "with-services",
        "--",
        "no-such-command-here",
    ]))
    .await;
    let missing = missing.expect(1);
    assert!(
        missing.stderr.contains("no-such-command-here"),
        "{missing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demonstration_ends_well() {
    let started = Instant::now();
    let scratch = Scratch::new();
    let mut demo = program(&["demo", "--once", "--port", "0", "--data-dir"]);
    demo.arg(scratch.join("demo"));
    let first = run(&mut demo).await.expect(0);
    // on the same data it finds its sales there
    let Ended { stdout, .. } = run(&mut demo).await.expect(0);
    let verified = stdout
        .lines()
        .find(|line| line.starts_with("verified "))
        .expect(&stdout);
    assert!(first.stdout.contains(verified), "{first:?}");
    let numbers: Vec<u32> = verified
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(
        numbers.len() == 2 && numbers[0] == numbers[1] && numbers[0] > 300,
        "{verified}"
    );
    for needed in ["/docs", "/redoc", "/metrics", "registry"] {
        assert!(stdout.contains(needed), "{needed}: {stdout}");
    }
    assert!(started.elapsed() < Duration::from_secs(120));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_told_once_and_usage_is_no_verdict() {
    let usage = run(&mut program(&["verify"])).await.expect(64);
    assert!(usage.stderr.contains("Usage:"), "{usage:?}");
    run(&mut program(&["--help"])).await.expect(0);
    let unreachable = "postgres://nobody@127.0.0.1:1/none";
    let ended = run(program(&["migrate"]).env("DATABASE_URL", unreachable)).await;
    let ended = ended.expect(1);
    assert_eq!(
        ended.stderr.matches("error:").count(),
        1,
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("cannot be reached"), "{ended:?}");
    assert_eq!(ended.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_key_is_made_once_for_its_owner_alone() {
    let scratch = Scratch::new();
    let file = scratch.join("token-keys");
    let make = async || run(program(&["token-key", "--file"]).arg(&file)).await;
    make().await.expect(0);
    let made = std::fs::read_to_string(&file).expect("the key");
    assert!(hex::decode::<32>(&format!("0x{}", made.trim_end())).is_ok());
    let metadata = std::fs::metadata(&file).expect("a file");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    make().await.expect(0);
    assert_eq!(std::fs::read_to_string(&file).expect("the key"), made);
}
