//! The shipped policies do what their examples say, by the reference evaluator and compiled.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gait_core::intent::{Args, Context, EndpointClass, Intent, IntentParts, Provenance, Target, TargetKind};
use gait_core::name::name;
use gait_core::policy::compile::{CompiledPolicy, Kind, Limits};
use gait_core::policy::inspect::{Inspection, Judged, inspect};
use gait_core::policy::{Decision, Policy, Strictness, Variables, evaluate};

const PRESETS: [&str; 5] = ["default", "dev", "allow-all", "deny-network", "read-only"];

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

fn preset(file: &str) -> Policy {
    let text = std::fs::read_to_string(policies().join(format!("{file}.yaml"))).unwrap();
    let is_table = policies().join(format!("examples/{file}.yaml")).exists();
    let variables = match is_table {
        true => Variables {
            workspace: "/home/dev/project".to_owned(),
            home: Some("/home/dev".to_owned()),
            tmp: Some("/tmp/gait-x".to_owned()),
        },
        false => Variables::stand_ins(),
    };
    Policy::parse(&text, Strictness::Strict).unwrap().expand(&variables).unwrap()
}

fn context() -> Arc<Context> {
    Arc::new(Context {
        identity: "dev".to_owned(),
        risk_class: "high".to_owned(),
        workspace: "/home/dev/project".to_owned(),
        ..Context::default()
    })
}

/// What a preset carries in its own file.
fn carried(file: &str) -> Inspection {
    inspect(&std::fs::read(policies().join(format!("{file}.yaml"))).unwrap())
}

/// The example of a table that has the same words as one that a rule carries.
fn as_example(judged: &Judged) -> Example {
    let [target] = judged.intent.targets() else { panic!("one target: {judged:?}") };
    let kind = Kind {
        tool_name: Cow::Owned(judged.intent.tool_name().to_owned()),
        target_kind: target.kind,
        operation: target.operation.clone(),
        endpoint_class: target.endpoint_class,
    };
    let domain = Some(target.endpoint_domain.clone()).filter(|domain| !domain.is_empty());
    let decision = &judged.decision;
    Example {
        verdict: decision.verdict.to_string(),
        rule: decision.matched_rule.clone(),
        kind,
        value: target.value.clone(),
        domain,
    }
}

struct Example {
    verdict: String,
    rule: Option<String>,
    kind: Kind,
    value: String,
    domain: Option<String>,
}

#[derive(serde::Deserialize)]
struct Examples {
    cases: Vec<String>,
}

/// The examples of a preset: those of its rules, or those of a table, where they would be longer than the policy.
fn examples(file: &str) -> Vec<Example> {
    let Ok(text) = std::fs::read_to_string(policies().join(format!("examples/{file}.yaml"))) else {
        return carried(file).examples.iter().map(as_example).collect();
    };
    let examples: Examples = serde_saphyr::from_str(&text).unwrap();
    examples.cases.iter().map(|line| example(line)).collect()
}

fn example(line: &str) -> Example {
    let fields: Vec<&str> = line.split(" | ").collect();
    let [verdict, tool, operation, value, rule] = fields[..] else { panic!("five fields: {line}") };
    let value = value.trim_matches('"');
    let (target_kind, class) = match tool {
        "fs.read" if value.starts_with("unresolved:") => (TargetKind::Other, EndpointClass::FsRead),
        "fs.write" if value.starts_with("unresolved:") => (TargetKind::Other, EndpointClass::FsWrite),
        "fs.read" | "fs.list" => (TargetKind::Path, EndpointClass::FsRead),
        "fs.write" => (TargetKind::Path, EndpointClass::FsWrite),
        "fs.delete" => (TargetKind::Path, EndpointClass::FsDelete),
        "proc.exec" if value.starts_with('/') => (TargetKind::Path, EndpointClass::ProcExec),
        "proc.exec" => (TargetKind::Other, EndpointClass::ProcExec),
        "net.unix" if value.starts_with('/') => (TargetKind::Path, EndpointClass::FsWrite),
        "net.connect" | "net.send" | "net.bind" if value.ends_with(":53") => (TargetKind::Host, EndpointClass::NetDns),
        "net.connect" | "net.send" | "net.bind" => (TargetKind::Host, EndpointClass::NetHttp),
        _ => (TargetKind::Other, EndpointClass::Other),
    };
    let domain = (target_kind == TargetKind::Host)
        .then(|| value.rsplit_once(':').unwrap().0.trim_matches(['[', ']']).to_owned());
    let kind = Kind {
        tool_name: Cow::Owned(tool.to_owned()),
        target_kind,
        operation: Cow::Owned(operation.to_owned()),
        endpoint_class: class,
    };
    let rule = Some(rule).filter(|rule| *rule != "-").map(str::to_owned);
    Example { verdict: verdict.to_owned(), rule, kind, value: value.to_owned(), domain }
}

fn intent(example: &Example) -> Intent {
    let operation: &'static str = example.kind.operation.to_string().leak();
    let mut target =
        Target::of(example.kind.target_kind, name(example.value.as_bytes()), operation, example.kind.endpoint_class);
    target.endpoint_domain = example.domain.clone().unwrap_or_default();
    Intent::from_normal_parts(IntentParts {
        tool_name: example.kind.tool_name.clone(),
        args: Args::new(),
        targets: vec![target],
        arg_provenance: Cow::Borrowed(Provenance::SYSTEM),
        context: context(),
    })
}

fn compiled(policy: &Policy, examples: &[Example]) -> CompiledPolicy {
    let kinds = examples.iter().map(|example| example.kind.clone());
    CompiledPolicy::compile(policy, &context(), kinds, &Limits::default()).unwrap()
}

#[test]
fn every_preset_decides_its_examples_as_they_say() {
    for file in PRESETS {
        let (policy, examples) = (preset(file), examples(file));
        let compiled = compiled(&policy, &examples);
        for example in &examples {
            let reference = evaluate(&policy, &intent(example));
            let said = (reference.verdict.to_string(), reference.matched_rule.clone());
            assert_eq!(said, (example.verdict.clone(), example.rule.clone()), "{file}: {}", example.value);
            let kind = compiled.kind(&example.kind).unwrap();
            let domain = example.domain.as_deref().map(str::as_bytes);
            let walked: &Decision = compiled.decide(kind, example.value.as_bytes(), domain);
            assert_eq!(walked, &reference, "{file}: {}", example.value);
        }
    }
}

#[test]
fn every_preset_is_valid_without_a_trap_and_its_own_examples_hold() {
    for file in PRESETS {
        let inspection = carried(file);
        assert_eq!(inspection.findings, [], "{file}");
        assert!(inspection.policy.is_some());
    }
    assert!(PRESETS.iter().map(|file| carried(file).examples.len()).sum::<usize>() > 25);
}

#[test]
fn the_examples_hit_every_rule_of_their_preset_with_each_verdict_it_can_give() {
    for file in PRESETS {
        let policy = preset(file);
        let hit: BTreeSet<(String, String)> =
            examples(file).into_iter().filter_map(|example| Some((example.rule?, example.verdict))).collect();
        for rule in policy.rules() {
            let mut verdicts = vec![rule.effect.to_string()];
            if rule.endpoint.is_some() {
                verdicts.push("block".to_owned());
            }
            for verdict in verdicts {
                assert!(
                    hit.contains(&(rule.name.clone(), verdict.clone())),
                    "{file}: no example of {}: {verdict}",
                    rule.name
                );
            }
        }
    }
}

#[test]
fn the_default_policy_bounds_what_can_run() {
    let policy = preset("default");
    let compiled = compiled(&policy, &examples("default"));
    let prefixes: Vec<&str> =
        compiled.exec_prefixes().into_iter().map(|path| std::str::from_utf8(path).unwrap()).collect();
    assert!(prefixes.contains(&"/usr") && prefixes.contains(&"/home/dev/.rustup"), "{prefixes:?}");
    assert!(!prefixes.iter().any(|prefix| "/home/dev/project".starts_with(prefix)), "{prefixes:?}");
    assert_eq!(compiled.read_prefixes(), [b"/"]);
}

#[test]
fn tables_are_the_same_every_time_and_differ_between_policies() {
    let bytes = |file| compiled(&preset(file), &examples("default")).table_bytes().unwrap();
    assert_eq!(bytes("default"), bytes("default"));
    assert_ne!(bytes("default"), bytes("read-only"));
}

#[test]
fn dev_is_default_but_for_what_its_head_says() {
    let (default, dev) = (preset("default"), preset("dev"));
    let lists = |policy: &Policy| -> Vec<(String, BTreeSet<String>, BTreeSet<String>)> {
        let texts = |list: &[gait_core::policy::pattern::PathPattern]| {
            list.iter().map(|pattern| pattern.text().to_owned()).collect()
        };
        let rule = |rule: &gait_core::policy::Rule| {
            let endpoint = rule.endpoint.as_ref();
            let allow = endpoint.map(|endpoint| texts(&endpoint.path_allowlist)).unwrap_or_default();
            let deny = endpoint.map(|endpoint| texts(&endpoint.path_denylist)).unwrap_or_default();
            (format!("{} {} {:?}", rule.priority, rule.effect, rule.matcher), allow, deny)
        };
        policy.rules().iter().map(rule).collect()
    };
    let semaphores = BTreeSet::from(["/dev/shm/sem.*".to_owned()]);
    let own = BTreeSet::from(["/home/dev/project/**".to_owned(), "/tmp/gait-x/**".to_owned()]);
    for (mut was, is) in lists(&default).into_iter().zip(lists(&dev)) {
        if was.0.contains("proc.exec") && !was.1.is_empty() {
            was.1.extend(own.clone());
            was.2.clear();
        } else if was.0.contains("\"fs.") {
            was.1.extend(semaphores.clone());
        }
        assert_eq!(was, is);
    }
    assert_eq!(default.rules().len(), dev.rules().len());
}
