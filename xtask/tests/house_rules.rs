//! Rules about the code of this workspace that neither the compiler nor clippy knows.

#![expect(clippy::expect_used, reason = "a broken repository should stop the test that looks at it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest file that is still about one noun.
const LINES_AT_MOST: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

/// Every committed or new Rust file, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--", "*.rs"])
        .current_dir(root())
        .output()
        .expect("git is installed");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("our file names are UTF-8");
    let files: Vec<_> = names
        .lines()
        .filter_map(|name| Some((PathBuf::from(name), std::fs::read_to_string(root().join(name)).ok()?)))
        .collect();
    assert!(files.len() > 10, "git ls-files found only {} files", files.len());
    files
}

/// What one member needs another for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Build,
    Tests,
}

/// `name -> names of the workspace members that it is built or tested with`.
fn edges() -> BTreeMap<String, BTreeSet<(String, Use)>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    let ours: BTreeSet<String> = packages.iter().map(|package| text(&package["name"])).collect();
    packages
        .iter()
        .map(|package| {
            let needs = package["dependencies"].as_array().expect("a list of dependencies").iter();
            let needs = needs
                .map(|needed| (text(&needed["name"]), if needed["kind"] == "dev" { Use::Tests } else { Use::Build }));
            (text(&package["name"]), needs.filter(|(name, _)| ours.contains(name)).collect())
        })
        .collect()
}

/// DESIGN section 3. `gait-core` depends on none of ours, so that a runpack can be verified anywhere; the suites
/// and tools know the product by its binary only, and lend their runner to tests that look inside.
fn allowed_edge(from: &str, to: &str, of: Use) -> bool {
    match (from, to) {
        ("gait-cli", "gait-guard" | "gait-core") | ("gait-guard", "gait-core" | "gait-ebpf") => true,
        ("gait-guard", "kernel-suite") => of == Use::Tests,
        _ => false,
    }
}

#[test]
fn dependencies_point_one_way() {
    let edges = edges();
    for needed in ["gait-core", "gait-ebpf", "gait-guard", "gait-cli"] {
        assert!(edges.contains_key(needed), "`{needed}` is not in the workspace");
    }
    let needs = |from: &str, to: &str| edges[from].contains(&(to.to_owned(), Use::Build));
    assert!(needs("gait-cli", "gait-guard") && needs("gait-guard", "gait-core") && needs("gait-guard", "gait-ebpf"));
    for (from, needs) in &edges {
        for (to, of) in needs {
            assert!(allowed_edge(from, to, *of), "`{from}` must not depend on `{to}` ({of:?})");
        }
    }
}

#[test]
fn an_edge_against_the_direction_is_not_allowed() {
    assert!(!allowed_edge("gait-core", "gait-guard", Use::Build));
    assert!(!allowed_edge("gait-core", "gait-ebpf", Use::Build));
    assert!(!allowed_edge("gait-ebpf", "gait-core", Use::Build));
    assert!(!allowed_edge("gait-guard", "gait-cli", Use::Tests));
    assert!(!allowed_edge("gait-guard", "kernel-suite", Use::Build));
    assert!(!allowed_edge("xtask", "gait-core", Use::Build));
}

/// Whether a line of code uses the keyword, outside comments, strings and attributes.
fn uses_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let code = code.replace("\\\"", "");
    let unquoted: String = code.split('"').step_by(2).collect();
    unquoted.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == "unsafe")
}

#[test]
fn unsafe_code_lives_in_the_sys_module_in_the_bpf_programs_and_in_the_attack_program_only() {
    for (file, text) in sources() {
        let name = file.to_string_lossy();
        let places = ["gait-guard/src/sys/", "gait-ebpf/src/programs/", "tests/kernel/attack/"];
        let may = places.iter().any(|place| name.starts_with(place));
        for (number, line) in text.lines().enumerate() {
            assert!(may || !uses_unsafe(line), "{name}:{}: unsafe code", number + 1);
        }
    }
}

#[test]
fn the_search_for_unsafe_sees_code_and_not_words_about_it() {
    assert!(uses_unsafe("    unsafe { libc::close(fd) };"));
    assert!(uses_unsafe("pub unsafe fn raw()"));
    assert!(!uses_unsafe("// unsafe"));
    assert!(!uses_unsafe("#![forbid(unsafe_code)]"));
    assert!(!uses_unsafe("assert!(ok, \"unsafe\");"));
}

#[test]
fn the_portable_crates_forbid_unsafe_code() {
    for file in ["gait-core/src/lib.rs", "gait-cli/src/main.rs"] {
        let text = std::fs::read_to_string(root().join(file)).expect("a crate root");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{file} does not forbid unsafe code");
    }
}

/// The table of what is better names tests that are there.
#[test]
fn every_test_that_the_page_of_compatibility_names_is_there() {
    let page = std::fs::read_to_string(root().join("docs/compatibility.md")).expect("the page");
    let table = page.split("## What was found wrong there").nth(1).expect("the table");
    let sources = sources();
    let rows: Vec<&str> = table.lines().filter(|line| line.as_bytes().get(2).is_some_and(u8::is_ascii_digit)).collect();
    assert_eq!(rows.len(), 25, "one row for each item");
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let named: Vec<&str> =
            tests.split('`').skip(1).step_by(2).filter(|word| word.contains('_') && !word.contains('.')).collect();
        assert!(!named.is_empty() || tests.contains("not different"), "no test: {row}");
        for name in named.into_iter().filter(|name| *name != "trace_id") {
            let declared = format!("fn {name}()");
            assert!(sources.iter().any(|(_, text)| text.contains(&declared)), "there is no test {name}");
        }
    }
}

/// Only `registry install` opens connections of its own accord; the guard makes those that an agent was allowed.
#[test]
fn one_module_speaks_to_servers() {
    let words = ["ureq", "rustls", "TcpStream", "UdpSocket", "UnixStream", "ToSocketAddrs", "net::connect", "sockfd"];
    let mut clients = BTreeSet::new();
    for (file, text) in sources() {
        let name = file.to_string_lossy().into_owned();
        let ours = name.starts_with("gait-core/src/") || name.starts_with("gait-cli/src/");
        if ours && text.lines().any(|line| words.iter().any(|word| line.contains(word))) {
            clients.insert(name);
        }
    }
    let expected = ["gait-cli/src/registry/fetch.rs", "gait-cli/src/registry/source.rs"];
    assert_eq!(clients, expected.map(String::from).into());
}

#[test]
fn no_file_is_too_long_to_be_about_one_noun() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_AT_MOST, "{}: {lines} lines, at most {LINES_AT_MOST}", file.display());
    }
}

#[test]
fn nothing_is_left_to_do_and_no_test_is_ignored() {
    let markers = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore")];
    for (file, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let found = markers.iter().find(|marker| line.contains(**marker));
            assert!(found.is_none(), "{}:{}: {found:?}", file.display(), number + 1);
        }
    }
}

/// `name -> number` of the variants of `enum Exit`, from its source.
fn exit_enum() -> BTreeMap<String, u8> {
    let text = std::fs::read_to_string(root().join("gait-cli/src/exit.rs")).expect("the exit codes");
    let body = text.split("pub enum Exit {").nth(1).and_then(|rest| rest.split('}').next()).expect("enum Exit");
    let variant = |line: &str| {
        let (name, code) = line.trim().trim_end_matches(',').split_once(" = ")?;
        Some((name.to_owned(), code.parse().ok()?))
    };
    body.lines().filter_map(variant).collect()
}

#[test]
fn the_exit_codes_of_the_docs_are_those_of_the_enum() {
    let page = std::fs::read_to_string(root().join("docs/exit-codes.md")).expect("the page");
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (code, name) = (cells.first()?.parse().ok()?, cells.get(1)?.trim_matches('`').to_owned());
        Some((name, code))
    };
    let documented: BTreeMap<String, u8> = page.lines().filter_map(row).collect();
    assert!(documented.len() >= 9, "{documented:?}");
    assert_eq!(documented, exit_enum());
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md"])
        .current_dir(root())
        .output()
        .expect("git is installed");
    let names = String::from_utf8(listed.stdout).expect("our file names are UTF-8");
    for page in names.lines() {
        let Ok(text) = std::fs::read_to_string(root().join(page)) else { continue };
        let folder = Path::new(page).parent().unwrap_or(Path::new(""));
        // What stands between backquotes is code: a pattern may look like a link.
        let text: String = text.split('`').step_by(2).collect();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let found = link.contains("://") || root().join(folder).join(target).exists();
            assert!(found, "{page} links to `{link}`, which is not there");
        }
    }
}

/// Ids at the beginning of string literals in the suites' sources, which is how tests are named.
fn ids_of_tests() -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for (file, text) in sources() {
        if !file.starts_with("tests/kernel/tests") {
            continue;
        }
        for literal in text.split('"').skip(1) {
            let word = literal.split(' ').next().unwrap_or_default();
            let Some((group, number)) = word.split_once('-') else { continue };
            let letters = (2..=3).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_uppercase());
            if letters && number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit()) {
                ids.insert(word.to_owned());
            }
        }
    }
    ids
}

#[test]
fn every_id_of_the_escape_corpus_has_a_test_or_a_reason_why_not() {
    let text = std::fs::read_to_string(root().join("tests/kernel/escape-corpus.json")).expect("the corpus");
    let corpus: Vec<BTreeMap<String, String>> = serde_json::from_str(&text).expect("a list of objects");
    assert!(corpus.len() >= 78, "only {} techniques", corpus.len());
    let tested = ids_of_tests();
    let mut known = BTreeSet::new();
    for technique in &corpus {
        let id = &technique["id"];
        assert!(known.insert(id.clone()), "{id} is there twice");
        assert!(technique["technique"].len() > 10, "{id} says nothing");
        let says = |key: &str| technique.get(key).is_some_and(|text| text.len() > 20);
        assert_eq!(says("limit"), says("instead"), "{id}: a limit needs a way round it, and only a limit does");
        assert!(tested.contains(id) || says("limit"), "{id} has neither a test nor a reason");
    }
    let unknown: Vec<_> = tested.difference(&known).collect();
    assert!(unknown.is_empty(), "tests of ids that the corpus does not have: {unknown:?}");
}
