//! What the source tree must look like: the directions of imports, sizes, names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The modules of the engine, from the top down. A line imports from the lines below it alone.
const ORDER: [&[&str]; 10] = [
    &["cli"],
    &["audit", "server", "worker"],
    &[
        "accounts",
        "admin",
        "anchor",
        "dev",
        "loyalty",
        "payments",
        "rates",
        "retention",
        "sales",
        "shop",
        "web",
        "webhooks",
    ],
    &["http", "chain"],
    &["cache"],
    &["database"],
    &["telemetry"],
    &["config"],
    &["ids", "money"],
    &["clock", "limits"],
];
/// The features that name another feature, as the domain does.
const FEATURE_NAMES_FEATURE: [(&str, &str); 10] = [
    // a leaf is computed from the stored sale
    ("anchor", "sales"),
    // an archive is made of receipts
    ("retention", "sales"),
    ("sales", "loyalty"),
    ("sales", "rates"),
    ("shop", "sales"),
    ("shop", "accounts"),
    ("shop", "loyalty"),
    ("shop", "payments"),
    ("shop", "webhooks"),
    // the local payment provider signs its events
    ("dev", "payments"),
];
const FILE_LINES: usize = 450;
const FUNCTION_LINES: usize = 70;
/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "utils", "util", "common", "helper", "helpers", "manager", "types", "core",
];

#[test]
fn imports_go_down_only() {
    let faults: Vec<String> = engine_files()
        .iter()
        .flat_map(|file| {
            let from = module_path(&file.path);
            let top = from.first().cloned().unwrap_or_default();
            modules_named_in(&file.tokens(), from.len())
                .into_iter()
                .filter_map(|to| forbidden(&top, &to))
                .map(|why| format!("{}: {why}", file.path.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_the_chain_module_names_a_provider() {
    let naming: Vec<PathBuf> = engine_files()
        .iter()
        .filter(|file| {
            let mut idents = BTreeSet::new();
            collect_idents(file.tokens(), &mut idents);
            let has = |name: &str| idents.contains(name);
            has("ProviderBuilder") || has("RpcClient") || (has("alloy") && has("providers"))
        })
        .map(|file| file.path.clone())
        .filter(|path| module_path(path).first().is_some_and(|top| top != "chain"))
        .collect();
    assert_eq!(
        naming,
        Vec::<PathBuf>::new(),
        "talk to an RPC through chain.rs"
    );
}

#[test]
fn a_pool_begins_transactions_in_one_place() {
    // where nobody can drop the future between BEGIN and its answer
    let elsewhere: Vec<String> = engine_files()
        .into_iter()
        .filter(|file| !file.path.ends_with("src/database.rs"))
        .filter(|file| file.text.contains("pool.begin()"))
        .map(|file| format!("{}: database::begin(&pool)", file.path.display()))
        .collect();
    assert!(elsewhere.is_empty(), "{}", elsewhere.join("\n"));
}

#[test]
fn files_and_functions_can_be_read_in_one_sitting() {
    let faults: Vec<String> = all_files()
        .iter()
        .flat_map(|file| {
            let lines = file.text.lines().count();
            let file_fault = (lines > FILE_LINES).then(|| {
                format!(
                    "{}: {lines} lines, more than {FILE_LINES}",
                    file.path.display()
                )
            });
            let functions = long_functions(&file.text).into_iter().map(|(name, lines)| {
                format!(
                    "{}: fn {name} has {lines} lines, more than {FUNCTION_LINES}",
                    file.path.display()
                )
            });
            file_fault.into_iter().chain(functions).collect::<Vec<_>>()
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn names_say_what_is_inside() {
    let faults: Vec<PathBuf> = all_files()
        .into_iter()
        .map(|file| file.path)
        .filter(|path| {
            path.iter().any(|part| {
                let stem = Path::new(part).file_stem().and_then(|stem| stem.to_str());
                stem.is_some_and(|stem| EMPTY_NAMES.contains(&stem))
            })
        })
        .collect();
    assert_eq!(faults, Vec::<PathBuf>::new());
}

#[test]
fn every_way_of_naming_a_module_is_seen() {
    let check = |source: &str, depth, expected: &[&str]| {
        let tokens: TokenStream = source.parse().unwrap();
        let found = modules_named_in(&tokens, depth);
        assert_eq!(
            found,
            expected.iter().map(|&name| name.to_owned()).collect(),
            "{source}"
        );
    };
    check("use crate::http::Problem;", 2, &["http"]);
    check(
        "use crate::{http::{a, b}, sales, clock::Clock as C};",
        2,
        &["clock", "http", "sales"],
    );
    check("fn f() { crate::anchor::seal() }", 1, &["anchor"]);
    check("query!(\"select 1\", crate::ids::x(y))", 1, &["ids"]);
    check("use super::super::anchor::seal;", 2, &["anchor"]);
    check("use super::store;", 2, &[]);
    check(
        "mod tests { use super::*; use super::super::super::chain; }",
        2,
        &["chain"],
    );
    check("use counterfoil::cli::run;", 0, &["cli"]);
    check("pub(crate) fn f(self) { other::crate_name() }", 1, &[]);
}

#[test]
fn a_function_is_as_long_as_it_looks() {
    let body = "\n    x();".repeat(FUNCTION_LINES);
    let source = format!(
        "struct S; impl S {{\n  #[must_use]\n  fn long() {{{body}\n  }}\n  fn short() {{}}\n}}"
    );
    assert_eq!(
        long_functions(&source),
        [("long".to_owned(), FUNCTION_LINES + 2)]
    );
}

#[test]
fn an_import_against_the_order_is_refused() {
    for (from, to, allowed) in [
        ("cli", "server", true),
        ("server", "sales", true),
        ("sales", "http", true),
        ("http", "sales", false),
        ("sales", "server", false),
        ("shop", "sales", true),
        ("sales", "shop", false),
        ("clock", "limits", false),
        ("", "cli", true),
        ("", "sales", false),
        ("sales", "unheard_of", false),
    ] {
        assert_eq!(forbidden(from, to).is_none(), allowed, "{from} → {to}");
    }
}

struct SourceFile {
    /// From the root of the project.
    path: PathBuf,
    text: String,
}

impl SourceFile {
    fn tokens(&self) -> TokenStream {
        self.text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }
}

/// The engine's own files, but the list of its modules, which names them all.
fn engine_files() -> Vec<SourceFile> {
    let mut files = files_below("src");
    files.retain(|file| file.path != Path::new("src/lib.rs"));
    assert!(files.len() > 10, "found {} files only", files.len());
    files
}

fn all_files() -> Vec<SourceFile> {
    ["src", "tests", "benches", "proofs"]
        .into_iter()
        .flat_map(files_below)
        .collect()
}

fn files_below(directory: &str) -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut directories = vec![root.join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.expect("a directory that can be read").path();
            if path.is_dir() && !path.ends_with("target") {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(SourceFile {
                    text: fs::read_to_string(&path).expect("a source in UTF-8"),
                    path: path
                        .strip_prefix(root)
                        .expect("a file below the root")
                        .to_owned(),
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// `src/sales/intake.rs` is the module `sales::intake`; the binary is the root of its own.
fn module_path(file: &Path) -> Vec<String> {
    let inside = file
        .strip_prefix("src")
        .expect("a file of the engine")
        .with_extension("");
    inside
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .filter(|part| part != "mod" && part != "main")
        .collect()
}

/// The engine's top-level modules that a source names, by any path that starts at its root.
/// `depth` is how many modules the source is inside of.
fn modules_named_in(tokens: &TokenStream, depth: usize) -> BTreeSet<String> {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut found = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                let is_module = at >= 2 && is_ident(&tokens[at - 2], "mod");
                found.extend(modules_named_in(
                    &group.stream(),
                    depth + usize::from(is_module),
                ));
            }
            TokenTree::Ident(ident) if ident == "crate" || ident == "counterfoil" => {
                found.extend(first_segments(&tokens[at + 1..]));
            }
            TokenTree::Ident(ident) if ident == "super" && !follows_a_path(&tokens, at) => {
                let (supers, rest) = count_supers(&tokens[at..]);
                if supers == depth {
                    found.extend(first_segments(rest));
                }
            }
            _ => {}
        }
    }
    found
}

fn follows_a_path(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_double_colon(&tokens[at - 2..])
}

/// How many `super::` there are in a row, and what comes after the last `super`.
fn count_supers(mut tokens: &[TokenTree]) -> (usize, &[TokenTree]) {
    let mut supers = 0;
    while tokens.first().is_some_and(|token| is_ident(token, "super")) {
        supers += 1;
        tokens = &tokens[1..];
        if is_double_colon(tokens) && tokens.get(2).is_some_and(|token| is_ident(token, "super")) {
            tokens = &tokens[2..];
        }
    }
    (supers, tokens)
}

/// The segments after `::`, of which there are several in `::{a::b, c}`.
fn first_segments(tokens: &[TokenTree]) -> Vec<String> {
    if !is_double_colon(tokens) {
        return Vec::new();
    }
    match tokens.get(2) {
        Some(TokenTree::Ident(ident)) => vec![ident.to_string()],
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let inside: Vec<TokenTree> = group.stream().into_iter().collect();
            inside
                .split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ','))
                .filter_map(|path| path.first().map(ToString::to_string))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn is_double_colon(tokens: &[TokenTree]) -> bool {
    let is_colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    is_colon(tokens.first()) && is_colon(tokens.get(1))
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn collect_idents(tokens: TokenStream, into: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect_idents(group.stream(), into),
            TokenTree::Ident(ident) => {
                into.insert(ident.to_string());
            }
            _ => {}
        }
    }
}

/// Why a module may not name another. The binary, of no name, may name the command line alone.
fn forbidden(from: &str, to: &str) -> Option<String> {
    let line_of = |module: &str| ORDER.iter().position(|line| line.contains(&module));
    if from == to {
        return None;
    }
    let Some(to_line) = line_of(to) else {
        return Some(format!(
            "{to} has no place in the order of the modules: give it one"
        ));
    };
    let allowed = match line_of(from) {
        Some(from_line) => from_line < to_line || FEATURE_NAMES_FEATURE.contains(&(from, to)),
        None if from.is_empty() => to == "cli",
        None => {
            return Some(format!(
                "{from} has no place in the order of the modules: give it one"
            ));
        }
    };
    (!allowed).then(|| format!("{from} names {to}, and imports go down only"))
}

/// The functions of a source that are too long, with their lines from `fn` to the closing brace.
fn long_functions(source: &str) -> Vec<(String, usize)> {
    let mut functions = Functions(Vec::new());
    functions.visit_file(&syn::parse_file(source).expect("a source that compiles"));
    functions.0.retain(|(_, lines)| *lines > FUNCTION_LINES);
    functions.0
}

struct Functions(Vec<(String, usize)>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        self.0.push((signature.ident.to_string(), last - first + 1));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}
