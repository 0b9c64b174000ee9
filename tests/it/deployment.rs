//! The production-like set of `compose.yaml`, held against the configuration it sets.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

/// The part of a compose file that is checked.
#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    build: Option<Build>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    healthcheck: Option<HealthCheck>,
    restart: Option<String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Dependency>,
}

#[derive(Deserialize)]
struct Build {
    target: String,
}

#[derive(Deserialize)]
struct HealthCheck {
    test: Vec<String>,
}

#[derive(Deserialize)]
struct Dependency {
    condition: String,
}

impl Service {
    fn is_ours(&self) -> bool {
        self.build
            .as_ref()
            .is_some_and(|build| build.target == "counterfoil")
    }

    /// It does its work and ends.
    fn is_a_step(&self) -> bool {
        self.restart.as_deref() == Some("no")
    }
}

#[test]
fn every_variable_that_is_set_is_one_that_is_read() {
    let known = counterfoil::config::variables();
    let compose = compose();
    let ours: Vec<_> = compose
        .services
        .iter()
        .filter(|(_, service)| service.is_ours())
        .collect();
    assert!(ours.len() >= 3, "migrations, API and worker at least");
    for (name, service) in ours {
        for variable in service.environment.keys() {
            assert!(
                known.contains(variable),
                "{name} sets {variable}, which nobody reads"
            );
        }
        assert!(
            service.environment.contains_key("DATABASE_URL"),
            "{name} has no database"
        );
    }
}

#[test]
fn every_service_that_stays_has_a_health_check() {
    for (name, service) in compose().services {
        let checked = service.healthcheck.is_some_and(|check| {
            check.test.len() > 1 && matches!(check.test[0].as_str(), "CMD" | "CMD-SHELL")
        });
        let is_a_step = service.restart.as_deref() == Some("no");
        assert!(
            checked != is_a_step,
            "{name}: a health check, or restart: \"no\""
        );
    }
}

#[test]
fn a_service_waits_for_what_it_needs_to_be_ready() {
    let compose = compose();
    for (name, service) in &compose.services {
        for (needed, dependency) in &service.depends_on {
            let expected = if compose.services[needed].is_a_step() {
                "service_completed_successfully"
            } else {
                "service_healthy"
            };
            assert_eq!(dependency.condition, expected, "{name} waits for {needed}");
        }
    }
}

#[test]
fn each_stage_that_is_built_is_in_the_dockerfile() {
    let dockerfile = read("Dockerfile");
    for (name, service) in compose().services {
        if let Some(build) = service.build {
            let stage = format!(" AS {}", build.target);
            assert!(
                dockerfile
                    .lines()
                    .any(|line| line.starts_with("FROM ") && line.ends_with(&stage)),
                "{name} is built from the stage {}",
                build.target
            );
        }
    }
}

fn compose() -> Compose {
    serde_saphyr::from_str(&read("compose.yaml")).expect("a compose file")
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}
