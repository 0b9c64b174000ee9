//! The steps that leave the process, and what was done to each: it failed; it happened and was told as
//! failed; the process died before it; died after it. A new step that is not in the table fails a test,
//! and so does a row whose tests are gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

#[path = "steps/table.rs"]
mod table;

use self::table::STEPS;

#[test]
fn every_step_that_leaves_the_process_has_its_faults() {
    let named: BTreeSet<&str> = STEPS.iter().flat_map(|step| step.calls).copied().collect();
    let mut missing = BTreeSet::new();
    for (folder, leaving) in [
        ("src/anchor", of_anchoring()),
        ("src/sales", of_the_cache()),
    ] {
        for file in files_below(folder) {
            let text = fs::read_to_string(root().join(&file)).expect("a source");
            let mut called = BTreeSet::new();
            calls(text.parse().expect("tokens"), &leaving, &mut called);
            called.retain(|call| !named.contains(call.as_str()));
            missing.extend(called.into_iter().map(|call| (file.clone(), call)));
        }
    }
    assert!(
        missing.is_empty(),
        "steps without faults, which tests/model/steps/table.rs must name: {missing:#?}"
    );
}

#[test]
fn every_fault_has_a_test() {
    let mut tests = BTreeSet::new();
    for file in files_below("tests/it") {
        let text = fs::read_to_string(root().join(&file)).expect("a source");
        functions(text.parse().expect("tokens"), &mut tests);
    }
    let mut gone = BTreeSet::new();
    for step in STEPS {
        let [failed, told_failed, died_before, died_after] = step.faults;
        for test in [failed, told_failed, died_before, died_after]
            .into_iter()
            .flatten()
        {
            if !tests.contains(*test) {
                gone.insert((step.calls, *test));
            }
        }
        let tested = [failed, died_before, died_after];
        assert!(tested.iter().all(|it| !it.is_empty()), "{:?}", step.calls);
    }
    assert!(gone.is_empty(), "tests that are gone: {gone:#?}");
}

/// What is called of a chain, of a key and of a transaction of the database.
fn of_anchoring() -> BTreeSet<String> {
    let mut names = BTreeSet::from(["commit", "sign"].map(str::to_owned));
    let files = files_below("src/chain");
    for file in files
        .iter()
        .map(PathBuf::as_path)
        .chain([Path::new("src/chain.rs")])
    {
        let text = fs::read_to_string(root().join(file)).expect("a source");
        async_functions(text.parse().expect("tokens"), &mut names);
    }
    assert!(names.len() > 15, "{names:?}");
    names
}

/// What is written into Redis.
fn of_the_cache() -> BTreeSet<String> {
    ["put", "commit"].map(str::to_owned).into()
}

fn async_functions(tokens: TokenStream, names: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => async_functions(group.stream(), names),
            TokenTree::Ident(name) if at > 2 => {
                let is_async = tokens[at - 2].to_string() == "async";
                let seen = tokens[at - 3].to_string();
                let is_public = seen == "pub" || seen.starts_with('(');
                if is_async && is_public && tokens[at - 1].to_string() == "fn" {
                    names.insert(name.to_string());
                }
            }
            _ => {}
        }
    }
}

/// The names after `fn`.
fn functions(tokens: TokenStream, names: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => functions(group.stream(), names),
            TokenTree::Ident(name) if at > 0 && tokens[at - 1].to_string() == "fn" => {
                names.insert(name.to_string());
            }
            _ => {}
        }
    }
}

/// The methods of these names that are called: `.name(…)`, also inside macros.
fn calls(tokens: TokenStream, names: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else {
            continue;
        };
        calls(group.stream(), names, found);
        let is_call = group.delimiter() == Delimiter::Parenthesis
            && at > 1
            && tokens[at - 2].to_string() == ".";
        if is_call {
            let name = tokens[at - 1].to_string();
            if names.contains(&name) {
                found.insert(name);
            }
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files_below(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(
                    path.strip_prefix(root())
                        .expect("below the root")
                        .to_owned(),
                );
            }
        }
    }
    found.sort();
    found
}
