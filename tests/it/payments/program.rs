//! The local provider as a program of its own, and its controls over HTTP.

use std::process::Stdio;
use std::time::Duration;

use counterfoil::payments::provider::{Provider, ProviderSettings};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Child;

use super::{Inbox, SECRET, new, refused};
use crate::cli::program::{Scratch, program, run};
use crate::harness::{LocalProvider, eventually};

async fn start(scratch: &Scratch, webhook_url: &str) -> (Child, Value) {
    let ready = scratch.join("ready.json");
    let _ = std::fs::remove_file(&ready);
    let child = program(&["payment-provider", "--listen", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(scratch.join("payments"))
        .arg("--ready-file")
        .arg(&ready)
        .args(["--webhook-url", webhook_url])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let told = eventually("the provider is up", async || {
        let text = std::fs::read_to_string(&ready).ok()?;
        serde_json::from_str(&text).ok()
    })
    .await;
    (child, told)
}

fn client(told: &Value) -> Provider {
    let text = |name: &str| told[name].as_str().expect(name).to_owned();
    let settings = ProviderSettings::new(&text("payment_url"), text("payment_key").into());
    Provider::new(&settings).expect("a provider")
}

#[tokio::test]
async fn the_program_goes_on_where_it_was_killed() {
    let mut somebody = LocalProvider::alone(SECRET).await;
    let inbox = Inbox::open(&mut somebody).await;
    let scratch = Scratch::new();
    let (mut child, told) = start(&scratch, &inbox.url).await;
    let made = client(&told).create_intent(&new("pi_1"), "k1").await;
    let made = made.unwrap();
    child.kill().await.expect("a process");
    let (mut child, again) = start(&scratch, &inbox.url).await;
    assert_eq!(told["payment_key"], again["payment_key"]);
    let secret = "payment_webhook_secret";
    assert_eq!(told[secret], again[secret]);
    let repeated = client(&again).create_intent(&new("pi_1"), "k1").await;
    assert_eq!(repeated.unwrap().id, made.id);
    let pid = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    kill_process(pid.expect("a process"), Signal::TERM).expect("a signal");
    let ended = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
    assert!(
        ended
            .expect("it ends in time")
            .expect("a process")
            .success()
    );
    // another's events are nobody's here
    assert!(inbox.events().is_empty());
}

#[tokio::test]
async fn it_listens_on_loopback_alone() {
    let mut open = program(&["payment-provider", "--listen", "0.0.0.0:0"]);
    let ended = run(open.args(["--webhook-url", "http://127.0.0.1:1/"])).await;
    assert!(ended.expect(1).stderr.contains("loopback"));
}

#[tokio::test]
async fn the_controls_are_for_whoever_has_the_key() {
    let mut local = LocalProvider::alone(SECRET).await;
    let inbox = Inbox::open(&mut local).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let at = |path: &str| format!("{}/_control/{path}", local.address());
    let key = crate::harness::PAYMENT_KEY;
    for path in ["plan", "deliveries", "intents", "refunds", "events"] {
        let nobody = http.get(at(path)).send().await.unwrap();
        assert_eq!(nobody.status(), 401, "{path}");
        let us = http.get(at(path)).bearer_auth(key).send().await.unwrap();
        assert_eq!(us.status(), 200, "{path}");
    }
    let put = async |body: Value| {
        let request = http.put(at("plan")).bearer_auth(key).body(body.to_string());
        request.send().await.unwrap()
    };
    let plan = put(json!({ "webhook_hold": true, "refuse": 1 })).await;
    let plan: Value = plan.json().await.unwrap();
    assert_eq!(
        (&plan["webhook_hold"], &plan["refuse"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(put(json!({ "no_such_trouble": 1 })).await.status(), 400);
    let provider = local.provider();
    refused(provider.create_intent(&new("pi_1"), "k1").await, "unknown");
    provider.create_intent(&new("pi_1"), "k1").await.unwrap();
    assert!(inbox.events().is_empty());
    let post = async |path: &str| {
        let answer = http.post(at(path)).bearer_auth(key).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (_, released) = post("release/as_made").await;
    assert_eq!(released, json!({ "released": 1 }).to_string());
    let event = &inbox.events()[0].id;
    let (_, resent) = post(&format!("resend/{event}")).await;
    assert_eq!(resent, json!({ "taken": true }).to_string());
    assert_eq!(inbox.events().len(), 2);
    assert_eq!(post("resend/evt_none").await.0, 404);
    assert_eq!(post("release/sideways").await.0, 404);
}
