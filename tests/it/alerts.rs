//! The alarms: their rules name metrics that there are, and each has its section in the runbook.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use counterfoil::anchor::startup::Publisher;
use counterfoil::chain::{Chain, Profile};
use counterfoil::telemetry;
use serde_json::Value;

use crate::anchor_worker::Running;
use crate::anchored::Anchored;

/// How long a worker may take until it has measured everything once.
const PATIENCE: Duration = Duration::from_secs(60);
/// What alarms ask of and this worker does not show: an interface and a Redis have their own, an RPC
/// shows its first error, and only several RPCs of a chain agree.
const ELSEWHERE: [&str; 7] = [
    "counterfoil_rate_age_seconds",
    "counterfoil_intake_full_total",
    "counterfoil_cache_up",
    "counterfoil_orders_parked",
    "counterfoil_rpc_errors_total",
    "counterfoil_chain_rpcs_agreeing",
    "counterfoil_chain_rpcs_needed",
];

fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).expect("a file of the repository")
}

/// Every rule of `docs/alerts.yml`.
fn rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read("docs/alerts.yml")).expect("rules");
    let groups = file["groups"].as_array().expect("groups");
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules of a group").clone())
        .collect()
}

fn text<'a>(value: &'a Value, what: &str) -> &'a str {
    let text = value[what].as_str();
    text.unwrap_or_else(|| panic!("{value} has no {what}"))
}

/// The words of a text that are names of our metrics.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_')
        .filter(|word| word.starts_with("counterfoil_"))
        .collect()
}

#[test]
fn every_alarm_has_a_severity_and_texts_and_names_metrics_that_there_are() {
    let sources = read("src/telemetry.rs");
    let mut names = BTreeSet::new();
    let rules = rules();
    assert!(rules.len() >= 15, "{} alarms", rules.len());
    for rule in &rules {
        let name = text(rule, "alert");
        assert!(names.insert(name), "{name} is there twice");
        let severity = text(&rule["labels"], "severity");
        assert!(["page", "ticket"].contains(&severity), "{name}: {severity}");
        for annotation in ["summary", "description"] {
            assert!(!text(&rule["annotations"], annotation).is_empty(), "{name}");
        }
        let metrics = metrics_in(text(rule, "expr"));
        assert!(!metrics.is_empty(), "{name} looks at nothing");
        for metric in metrics {
            assert!(
                sources.contains(&format!("\"{metric}\"")),
                "{name}: {metric}"
            );
        }
    }
}

#[test]
fn every_alarm_has_its_section_in_the_runbook_and_every_section_its_alarm() {
    let operations = read("docs/OPERATIONS.md");
    let alarms = operations.split("\n## Alarms\n").nth(1).expect("a runbook");
    let alarms = alarms.split("\n## ").next().unwrap_or_default();
    let sections: BTreeSet<String> = alarms
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let rules = rules();
    let linked: BTreeSet<String> = rules
        .iter()
        .map(|rule| text(&rule["annotations"], "runbook"))
        .map(|link| link.replace("docs/OPERATIONS.md#", ""))
        .collect();
    assert_eq!(linked, sections);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_exposes_what_the_alarms_ask_of() {
    let recorder = telemetry::init_metrics().expect("the first recorder");
    let it = Anchored::start().await;
    // as the program makes it: a chain that knows which one it is shows what is final on it
    let profile = Profile::of(it.publisher.chain_id.cast_unsigned());
    let publisher = Publisher {
        chain: Chain::of(&profile, std::slice::from_ref(&it.local.url)).expect("an address"),
        ..it.publisher.clone()
    };
    let publishers = vec![publisher];
    let worker = Running::start(&it, publishers, 1000, Duration::from_millis(100));
    let merchant = it.db.merchant("live").await;
    it.db.record(merchant, 20).await;
    let rules = rules();
    let asked: BTreeSet<&str> = rules
        .iter()
        .flat_map(|rule| metrics_in(text(rule, "expr")))
        .filter(|metric| !ELSEWHERE.contains(metric))
        .collect();
    let missing = || -> Vec<String> {
        let exposed = recorder.render();
        let lines = exposed.lines().filter(|line| !line.starts_with('#'));
        let names: BTreeSet<&str> = lines
            .filter_map(|line| line.split(['{', ' ']).next())
            .collect();
        asked
            .difference(&names)
            .map(|name| (*name).to_owned())
            .collect()
    };
    let deadline = Instant::now() + PATIENCE;
    while !missing().is_empty() {
        assert!(Instant::now() < deadline, "not exposed: {:?}", missing());
        it.local.mine(1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    worker.stop().await;
}
