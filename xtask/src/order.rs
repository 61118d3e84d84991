//! Which functions `gait gate eval` runs, written as the linker script that puts them side by side.
//!
//! A page fault on a program's code maps the pages around it too, 64 KiB and more. Functions that lie all over ten megabytes
//! make a process that executes 0.2 of them hold six.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::places;
use crate::process::{output, succeed};

/// Where the script is.
const SCRIPT: &str = "gait-cli/link/gate-eval.ld";

const HEAD: &str = "\
/* Functions that `gait gate eval` runs, side by side: docs/performance.md says what for. Written by
   `cargo xtask text-order`; a function that is not listed, or no longer there, is only placed somewhere else.
   Crates are known by name: `Cs*_` stands for the number that a compiler gives to one, `B*_` for a reference back
   whose place depends on those. */
SECTIONS
{
  .text.gate_eval :
  {
";
const TAIL: &str = "  }\n}\nINSERT BEFORE .text;\n";

/// A decision as it is asked for most, and one with another verdict, another form, several targets and a key of the machine's
/// own.
const POLICIES: [(&str, &str); 2] = [
    (
        "short.yaml",
        "default_verdict: block\nrules:\n- name: reads\n  priority: 10\n  effect: allow\n  match:\n    tool_names: \
         [tool.read]\n    risk_classes: [high]\n",
    ),
    (
        "long.yaml",
        "schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: block\nfail_closed: {enabled: true, risk_classes: \
         [critical], required_fields: [targets]}\nrules:\n- name: reads\n  priority: 10\n  effect: allow\n  match: {tool_names: \
         [tool.read], target_kinds: [path], workspace_prefixes: [/tmp], provenance_sources: [user]}\n  endpoint: \
         {path_allowlist: [/srv/**], path_denylist: ['**/.env']}\n  reason_codes: [read]\n- name: sends\n  priority: 20\n  \
         effect: require_approval\n  match: {tool_names: [tool.send]}\n  endpoint: {domain_allowlist: [api.example.com]}\n  \
         violations: [egress]\n",
    ),
];
const INTENTS: [(&str, &str); 2] = [
    (
        "read.json",
        r#"{"schema_id":"gait.gate.intent_request","schema_version":"1.0.0","created_at":"2026-02-05T00:00:00Z","producer_version":"bench","tool_name":"tool.read","args":{"path":"/tmp/a"},"targets":[{"kind":"path","value":"/tmp/a","operation":"read"}],"context":{"identity":"bench","workspace":"/tmp","risk_class":"high"}}"#,
    ),
    (
        "send.json",
        r#"{"schema_id":"gait.gate.intent_request","schema_version":"1.0.0","created_at":"2026-02-05T00:00:00.5+01:00","producer_version":"bench","tool_name":"tool.send","args":{"url":"https://api.example.com/v1?q=1","retries":3,"verbose":true,"body":{"lines":["a\n","é"],"none":null,"rate":0.5}},"targets":[{"kind":"url","value":"https://api.example.com/v1","operation":"post","endpoint_class":"net.http"},{"kind":"host","value":"API.example.com"}],"arg_provenance":[{"arg_path":"$.url","source":"user","source_ref":"chat"}],"context":{"identity":"bench","workspace":"/tmp/work","risk_class":"critical","session_id":"s","request_id":"r"}}"#,
    ),
];

/// Asks for decisions, instruction by instruction, and adds what they execute to the script.
pub fn run(args: &[&str]) -> Result<()> {
    ensure!(args.is_empty(), "text-order takes no arguments");
    ensure!(cfg!(target_arch = "x86_64"), "steps are counted on x86_64 only");
    let folder = TempDir::with_prefix("gait-order-")?;
    let at = |name: &str| folder.path().join(name);
    succeed(
        Command::new("cc").args(["-O2", "-o"]).arg(at("steps")).arg(places::root().join("xtask/baseline/steps.c")),
    )?;
    for (name, text) in POLICIES.iter().chain(&INTENTS) {
        fs::write(at(name), text)?;
    }
    let gait = places::gait_binary()?;
    succeed(Command::new(&gait).args(["keys", "init"]).env("HOME", folder.path()))?;
    let symbols = Symbols::of(&gait)?;
    let mut functions = BTreeSet::new();
    for words in [
        "--policy short.yaml --intent read.json --json",
        "--policy short.yaml --intent send.json",
        "--policy long.yaml --intent read.json --json --key-mode prod --private-key .gait/keys/signing.key",
        "--policy long.yaml --intent send.json --json",
    ] {
        functions.extend(symbols.executed(&stepped(folder.path(), &gait, words)?));
    }
    ensure!(functions.len() > 100, "only {} functions: is the binary stripped?", functions.len());
    let path = places::root().join(SCRIPT);
    // What is a function of its own and what is part of its caller changes from build to build, so what was listed stays.
    let mut lines: BTreeSet<String> = match fs::read_to_string(&path) {
        Ok(text) => text.lines().filter(|line| line.starts_with("    *(")).map(str::to_owned).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => BTreeSet::new(),
        Err(error) => return Err(error).context(SCRIPT),
    };
    let before = lines.len();
    lines.extend(functions.iter().map(|name| line(&pattern(name))));
    let mut script = HEAD.to_owned();
    for line in &lines {
        writeln!(script, "{line}")?;
    }
    fs::write(&path, script + TAIL).with_context(|| path.display().to_string())?;
    println!("{SCRIPT}: {} functions, {before} before", lines.len());
    Ok(())
}

/// The line for a function. Those that a compiler takes for cold have sections of another name; after the name there may be
/// a number.
fn line(pattern: &str) -> String {
    format!("    *(.text.{pattern}* .text.unlikely.{pattern}*)")
}

/// Offsets of executed code, in units of 16 bytes.
fn stepped(folder: &Path, gait: &Path, words: &str) -> Result<Vec<u64>> {
    let mut command = Command::new(folder.join("steps"));
    command.arg(gait).args(["gate", "eval"]).args(words.split(' '));
    command.current_dir(folder).env_clear().env("HOME", folder);
    // `require_approval` has an exit code of its own, which is as good as any.
    let ended = command.output().with_context(|| format!("{command:?}"))?;
    if !matches!(ended.status.code(), Some(0 | 4)) {
        bail!("{words}: {:?}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
    }
    let text = String::from_utf8(ended.stdout)?;
    text.lines().map(|line| Ok(u64::from_str_radix(line, 16)?)).collect()
}

/// Names of functions by their offset, sorted.
struct Symbols(Vec<(u64, String)>);

impl Symbols {
    fn of(program: &Path) -> Result<Self> {
        let mut symbols = Vec::new();
        for line in output(Command::new("nm").args(["--defined-only", "--numeric-sort"]).arg(program))?.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if let [offset, "t" | "T" | "w" | "W", name] = words.as_slice() {
                symbols.push((u64::from_str_radix(offset, 16)?, (*name).to_owned()));
            }
        }
        Ok(Self(symbols))
    }

    /// The functions of ours and of the crates we use that begin in, or reach into, one of the units.
    fn executed(&self, units: &[u64]) -> BTreeSet<String> {
        let holder = |address: u64| self.0.partition_point(|(offset, _)| *offset <= address).checked_sub(1);
        let offsets: BTreeSet<u64> =
            units.iter().filter_map(|unit| self.0.get(holder(unit + 15)?)).map(|(offset, _)| *offset).collect();
        // Functions that came out the same share their code, and only one of the names is that of the section.
        let found = self.0.iter().filter(|(offset, name)| offsets.contains(offset) && name.starts_with("_R"));
        found.map(|(_, name)| name.clone()).collect()
    }
}

/// The name of a function as any compiler of these sources gives it, as a pattern of linker scripts.
fn pattern(name: &str) -> String {
    let name = name.split_once(".llvm.").map_or(name, |(name, _)| name);
    let mut pattern = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let number = ["Cs", "B"].iter().find_map(|prefix| Some((*prefix, after_number(rest.strip_prefix(prefix)?)?)));
        if let Some((prefix, after)) = number {
            pattern += prefix;
            pattern += "*_";
            rest = after;
        } else {
            pattern.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    pattern
}

/// What follows a number to base 62 and its `_`.
fn after_number(text: &str) -> Option<&str> {
    let (number, after) = text.split_once('_')?;
    (number.len() <= 12 && number.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_crates_and_references_back_are_left_open() {
        assert_eq!(
            pattern(
                "_RNvMs4_NtCslNYArtu3iFV_5alloc7raw_vecNtB5_11RawVecInner11finish_growCsjrHSEGnQ3l9_3std.llvm.36439"
            ),
            "_RNvMs4_NtCs*_5alloc7raw_vecNtB*_11RawVecInner11finish_growCs*_3std"
        );
        assert_eq!(pattern("_RNvCs_4gait4main"), "_RNvCs*_4gait4main");
        assert_eq!(pattern("_RNvB_4main"), "_RNvB*_4main");
    }

    #[test]
    fn a_function_is_executed_where_a_unit_begins_in_it_or_it_begins_in_the_unit() {
        let all = [(0x10, "_RA"), (0x28, "_RB"), (0x40, "main"), (0x60, "_RC"), (0x60, "_RD")];
        let symbols = Symbols(all.map(|(offset, name)| (offset, name.to_owned())).to_vec());
        let executed = |units: &[u64]| symbols.executed(units).into_iter().collect::<Vec<_>>();
        assert_eq!(executed(&[0x10]), ["_RA"]);
        assert_eq!(executed(&[0x10, 0x20, 0x30]), ["_RA", "_RB"]);
        assert_eq!(executed(&[0x70]), ["_RC", "_RD"]);
        assert_eq!(executed(&[0x40, 0x48]), [""; 0]);
    }

    #[test]
    fn the_committed_script_is_what_this_writes_and_has_functions_of_all_that_decides() {
        let text = fs::read_to_string(places::root().join(SCRIPT)).unwrap();
        assert!(text.starts_with(HEAD) && text.ends_with(TAIL));
        for of in [
            "gait_core6policy",
            "gait_core6intent",
            "gait_core5trace",
            "13granit_parser",
            "10serde_json",
            "13ed25519_dalek",
        ] {
            assert!(text.contains(of), "{of}");
        }
        let lines = text.lines().filter(|line| line.starts_with("    *(")).collect::<Vec<_>>();
        assert!(lines.len() > 300 && lines.is_sorted(), "{}", lines.len());
    }
}
