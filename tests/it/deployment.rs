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
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, Option<String>>,
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
fn every_command_is_one_with_all_that_it_needs_and_nothing_that_it_does_not_read() {
    let compose = compose();
    let ours = compose
        .services
        .iter()
        .filter(|(_, service)| service.is_ours());
    assert!(
        ours.clone().count() >= 4,
        "migrations, registry, API and worker"
    );
    for (name, service) in ours {
        let (words, flags): (Vec<_>, Vec<_>) = service
            .command
            .iter()
            .partition(|word| !word.starts_with("--"));
        let program = counterfoil::cli::command();
        let command = words.iter().fold(&program, |command, word| {
            command
                .find_subcommand(word)
                .unwrap_or_else(|| panic!("{name}: there is no command {word}"))
        });
        let given = |argument: &clap::Arg| {
            let long = argument.get_long().map(|long| format!("--{long}"));
            let by_flag = flags
                .iter()
                .any(|flag| flag.split('=').next() == long.as_deref());
            let variable = argument.get_env().and_then(|variable| variable.to_str());
            by_flag || variable.is_some_and(|variable| service.environment.contains_key(variable))
        };
        for argument in command.get_arguments() {
            let id = argument.get_id();
            assert!(
                !argument.is_required_set() || given(argument),
                "{name} lacks {id}"
            );
        }
        for flag in &flags {
            let long = flag.trim_start_matches("--").split('=').next();
            let known = |argument: &clap::Arg| argument.get_long() == long;
            assert!(command.get_arguments().any(known), "{name}: {flag}");
        }
        for variable in service.environment.keys() {
            let reads =
                |argument: &clap::Arg| argument.get_env().is_some_and(|read| read == &**variable);
            assert!(
                command.get_arguments().any(reads),
                "{name} sets {variable}, which nobody reads"
            );
        }
        let reads_database = |argument: &clap::Arg| {
            argument
                .get_env()
                .is_some_and(|read| read == "DATABASE_URL")
        };
        assert_eq!(
            service.environment.contains_key("DATABASE_URL"),
            command.get_arguments().any(reads_database),
            "{name} and the database"
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
