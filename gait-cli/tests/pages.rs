//! What people read: help pages, manual pages, the reference, completions.
//!
//! Help pages are snapshots, so that a change to one is looked at: `INSTA_UPDATE=always cargo test --test pages`.
//! `UPDATE_DOCS=1 cargo test --test pages` writes `docs/cli.md`.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

use assert_cmd::Command;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use tempfile::TempDir;

/// Standard output of a call that must succeed and say nothing else.
fn gait(words: &[&str]) -> String {
    let folder = TempDir::new().unwrap();
    let output = Command::cargo_bin("gait").unwrap().args(words).current_dir(&folder).env_clear().output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The words of every verb, from the usage block.
fn verbs() -> Vec<Vec<String>> {
    let is_word = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
    let path =
        |line: &str| -> Vec<String> { line.split(' ').skip(1).take_while(is_word).map(str::to_string).collect() };
    let usage = gait(&["help"]);
    let lines = usage.lines().skip(1).take_while(|line| line.starts_with("  gait "));
    let paths: Vec<_> = lines.map(|line| path(line.trim())).filter(|p| p != &["version"] && p != &["help"]).collect();
    assert!(paths.len() > 20, "{paths:?}");
    paths
}

fn words(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

#[test]
fn help_pages_are_those_that_were_reviewed() {
    for path in verbs() {
        let page = gait(&[&["help"], words(&path).as_slice()].concat());
        insta::assert_snapshot!(format!("help-{}", path.join("-")), page);
    }
    for group in ["run", "regress", "scout", "keys"] {
        insta::assert_snapshot!(format!("help-{group}"), gait(&["help", group]));
    }
}

#[test]
fn every_page_has_each_of_its_parts() {
    for path in verbs() {
        let page = gait(&[&["help"], words(&path).as_slice()].concat());
        let parts = [
            "Usage:\n  gait ",
            "\nFlags:\n",
            "\n  -h, --help",
            "\nExamples:\n  gait ",
            "\nExit codes:\n",
            "\nRead on: ",
        ];
        let missing: Vec<_> = parts.into_iter().filter(|part| !page.contains(part)).collect();
        assert!(missing.is_empty(), "{path:?} lacks {missing:?}");
    }
}

#[test]
fn help_can_be_asked_for_in_every_way() {
    let page = gait(&["help", "run", "diff"]);
    for words in [
        &["run", "diff", "--help"][..],
        &["run", "diff", "-h"],
        &["run", "diff", "a", "-help", "b"],
        &["run", "diff", "--json", "--help"],
        &["help", "--json", "run", "diff"],
    ] {
        assert_eq!(gait(words), page, "{words:?}");
    }
    let group = gait(&["help", "run"]);
    assert!(["--help", "-h"].iter().all(|flag| gait(&["run", flag]) == group));
    let all = gait(&["help"]);
    assert!(["--help", "-h"].iter().all(|flag| gait(&[flag]) == all));
    assert_eq!(gait(&["help", "help"]), all);
}

#[test]
fn the_reference_is_that_of_this_binary() {
    let path = root().join("docs/cli.md");
    let made = gait(&["man", "--markdown"]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept == made, "docs/cli.md is stale: UPDATE_DOCS=1 cargo test -p gait-cli --test pages");
}

/// What bash would offer after `line`, which ends at the cursor.
fn completed(script: &Path, line: &str) -> Vec<String> {
    let driver = r#"
        source "$1"
        read -r -a COMP_WORDS <<< "$2"
        [[ $2 == *' ' ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        spec=$(complete -p gait) || exit 1
        [[ $spec =~ -F\ ([^ ]+) ]] || exit 1
        "${BASH_REMATCH[1]}" gait "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = process::Command::new("bash")
        .args(["--norc", "--noprofile", "-c", driver, "bash"])
        .arg(script)
        .arg(line)
        .output()
        .unwrap();
    assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().filter(|word| !word.is_empty()).map(str::to_string).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("gait.bash");
    fs::write(&script, gait(&["completions", "bash"])).unwrap();
    let offered = |line: &str| completed(&script, line);
    assert_eq!(offered("gait veri"), ["verify"]);
    assert_eq!(offered("gait comp"), ["completions"]);
    let below = offered("gait run ");
    for word in ["record", "replay", "diff", "receipt", "reduce", "seal"] {
        assert!(below.iter().any(|offer| offer == word), "{word}: {below:?}");
    }
    assert_eq!(offered("gait run rec"), ["record", "receipt"]);
    assert_eq!(offered("gait run diff --pri"), ["--privacy"]);
    assert_eq!(offered("gait run diff run_a --out"), ["--output"]);
    assert_eq!(offered("gait verify --profile "), ["standard", "strict"]);
    assert_eq!(offered("gait completions z"), ["zsh"]);
}

#[test]
fn every_verb_and_flag_is_in_every_script() {
    for shell in ["bash", "zsh", "fish"] {
        let script = gait(&["completions", shell]);
        for path in verbs() {
            assert!(path.iter().all(|word| script.contains(word.as_str())), "{shell}: {path:?}");
            for line in gait(&[&["help"], words(&path).as_slice()].concat()).lines() {
                let Some(flag) = line.strip_prefix("  --").and_then(|rest| rest.split(' ').next()) else { continue };
                // fish names long flags after `-l`.
                let written = if shell == "fish" { format!("-l {flag}") } else { format!("--{flag}") };
                assert!(script.contains(&written), "{shell}: {path:?} --{flag}");
            }
        }
    }
}

#[test]
fn what_fish_is_told_of_one_verb_is_what_was_reviewed() {
    let script = gait(&["completions", "fish"]);
    let about_diff = |line: &&str| line.contains("subcommand run; and __fish_seen_subcommand_from diff");
    let lines: Vec<&str> = script.lines().filter(about_diff).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_zsh_is_told_of_one_verb_is_what_was_reviewed() {
    let script = gait(&["completions", "zsh"]);
    assert!(script.starts_with("#compdef gait\n"));
    let from = script.find("\n(diff)\n").unwrap();
    let length = script[from..].find("\n;;").unwrap();
    insta::assert_snapshot!(&script[from..from + length]);
}

/// Every page that `gait man` writes, by file name.
fn man_pages() -> Vec<(String, String)> {
    let folder = TempDir::new().unwrap();
    gait(&["man", "--out-dir", folder.path().join("man1").to_str().unwrap()]);
    let entries = fs::read_dir(folder.path().join("man1")).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read_to_string(e.path()).unwrap())).collect()
}

#[test]
fn there_is_a_manual_page_for_gait_and_each_verb() {
    let pages = man_pages();
    for path in [vec![]].into_iter().chain(verbs()) {
        let name = [vec!["gait".to_string()], path.clone()].concat().join("-");
        let (_, page) = pages.iter().find(|(file, _)| *file == format!("{name}.1")).expect(&name);
        assert!(page.contains(&format!(".TH {} 1 ", name.to_uppercase())), "{name}");
        let whole = [".SH NAME", ".SH SYNOPSIS", ".SH \"SEE ALSO\""];
        let verb = [".SH DESCRIPTION", ".SH OPTIONS", ".SH EXAMPLES", ".SH \"EXIT STATUS\""];
        let parts = whole.into_iter().chain(verb.into_iter().filter(|_| !path.is_empty()));
        let missing: Vec<_> = parts.filter(|part| !page.contains(part)).collect();
        assert!(missing.is_empty(), "{name} lacks {missing:?}");
        assert_eq!(gait(&[&["man"], words(&path).as_slice()].concat()), *page, "{name}");
    }
}

#[test]
fn manual_pages_refer_to_pages_that_are_there() {
    let pages = man_pages();
    for (file, page) in &pages {
        let plain = page.replace("\\-", "-").replace("\\fB", " ").replace("\\fR", "");
        for (at, _) in plain.match_indices("(1)") {
            let name = plain[..at].rsplit([' ', '\n', ',']).next().unwrap();
            assert!(pages.iter().any(|(known, _)| *known == format!("{name}.1")), "{file} refers to {name}(1)");
        }
    }
}

/// Every line is one that the macros of manual pages know: a request of this list, or text.
#[test]
fn manual_pages_use_only_what_every_reader_of_them_knows() {
    for (file, page) in man_pages() {
        for line in page.lines() {
            let request = line.strip_prefix('.').map(|rest| rest.split(' ').next().unwrap_or_default());
            let known = request.is_none_or(|name| ["ie", "el", "TH", "SH", "TP", "PP", "br"].contains(&name));
            assert!(known && !line.starts_with('\''), "{file}: {line}");
        }
    }
}
