use super::*;
use crate::intent::{ContextRequest, Intent, IntentRequest, TargetRequest};
use crate::policy::{Standing, evaluate, explain};
use proptest::prelude::*;

/// `line:column code: message` of all findings.
fn found(text: &str) -> Vec<String> {
    let told =
        |finding: &Finding| format!("{}:{} {}: {}", finding.at.line, finding.at.column, finding.code, finding.message);
    inspect(text.as_bytes()).findings.iter().map(told).collect()
}

#[track_caller]
fn finds(text: &str, expected: &[&str]) {
    assert_eq!(found(text), expected, "{text}");
}

#[test]
fn all_errors_are_told_at_once_where_they_are() {
    finds(
        "default_verdict: maybe\ndefault_verdict: allow\nrules:\n  - name: a\n    efect: block\n    priority: [1]\n  - name: b\n    effect: deny\n    match: {endpoint_classes: [fs.read, fs.reed], tool_names: x}\n  - effect: allow\n    endpoint: {path_denylist: [/ok, \"/a[\"], action: dry_run}\n",
        &[
            "1:18 invalid: invalid default_verdict: maybe",
            "2:1 invalid: mapping key `default_verdict` already defined at [1:1]",
            "4:5 invalid: rule effect is required for a",
            "5:5 invalid: unknown key `efect`, did you mean `effect`?",
            "6:15 invalid: sequence was used where integer is expected",
            "8:13 invalid: invalid rule effect \"deny\" for b",
            "9:41 invalid: unsupported match endpoint_class \"fs.reed\" for b",
            "9:63 invalid: string was used where sequence is expected",
            "10:5 invalid: rule name is required",
            "11:37 invalid: malformed endpoint.path_denylist pattern \"/a[\" for ",
            "11:53 invalid: unsupported endpoint.action \"dry_run\" for ",
        ],
    );
}

#[test]
fn what_ends_the_reading_is_the_last_thing_told() {
    finds("\u{feff}rules: []", &["1:1 invalid: the file starts with a byte order mark"]);
    assert_eq!(inspect(b"a: b\nc: \xff").findings[0].at, Position { line: 2, column: 4 });
    assert!(found("rules: [").last().unwrap().contains("invalid: "));
    assert!(inspect(b"").is_valid() && inspect(b"rules: []").findings.is_empty());
}

#[test]
fn a_file_that_is_wrong_throughout_fills_no_memory_and_says_so() {
    let rules: String = (0..5_000).map(|number| format!("  - {{name: r{number}, effect: x}}\n")).collect();
    let told = found(&format!("rules:\n{rules}"));
    assert_eq!(
        (told.len(), told[200].as_str()),
        (201, "202:26 invalid: more is wrong from here on: correct what is above first")
    );
}

#[test]
fn a_rule_for_programs_that_takes_memory_is_a_trap() {
    let rule = |rest: &str| {
        format!(
            "rules:\n  - name: run\n    effect: allow\n    endpoint: {{path_allowlist: [/usr/**]}}\n    match: {rest}\n"
        )
    };
    let trap =
        ["5:12 programs_without_a_file: rule run lets programs in memory run: its path lists decide about paths only"];
    finds(&rule("{endpoint_classes: [proc.exec]}"), &trap);
    finds(&rule("{tool_names: [proc.exec]}"), &trap);
    finds(&rule("{endpoint_classes: [proc.exec], target_kinds: [path]}"), &[]);
    finds(&rule("{endpoint_classes: [fs.read]}"), &[]);
    // The policy does let it run: the reference evaluator says so.
    let policy = Policy::parse(&rule("{endpoint_classes: [proc.exec]}"), Strictness::Strict).unwrap();
    let mut request = crate::policy::Action::parse("proc.exec memfd:x").unwrap().request();
    request.context = ContextRequest {
        identity: "a".into(),
        workspace: "/w".into(),
        risk_class: "low".into(),
        ..ContextRequest::default()
    };
    assert_eq!(evaluate(&policy, &request.normalize().unwrap()).verdict, crate::policy::Verdict::Allow);
}

#[test]
fn rules_that_do_not_do_what_they_look_like_are_traps() {
    let rule = |rest: &str| format!("rules: [{{name: r, effect: allow, {rest}}}]");
    for (rest, expected) in [
        ("match: {target_values: [/etc/*]}", "no_wildcards: \"/etc/*\" in target_values stands for itself"),
        (
            "match: {target_kinds: [pth]}",
            "never_matches: \"pth\" in target_kinds matches nothing: did you mean `path`?",
        ),
        ("match: {workspace_prefixes: ['C:\\w']}", "never_matches: \"C:\\w\" is no prefix"),
        (
            "endpoint: {path_denylist: [~/.ssh/**]}, match: {target_kinds: [path]}",
            "never_matches: \"~/.ssh/**\" is no home",
        ),
        (
            "endpoint: {path_denylist: ['*.env']}, match: {target_kinds: [path]}",
            "never_matches: \"*.env\" matches no abs",
        ),
        ("endpoint: {path_denylist: [a/b]}, match: {target_kinds: [path]}", "relative_pattern: \"a/b\" matches no abs"),
        ("endpoint: {domain_denylist: ['https://x.y']}", "never_matches: \"https://x.y\" matches no domain"),
        ("endpoint: {domain_denylist: ['x.y:443']}", "never_matches: \"x.y:443\" matches no domain"),
        (
            "endpoint: {destructive_action: require_approval}",
            "block_anyway: destructive_action: require_approval blocks",
        ),
        ("endpoint: {enabled: false, domain_denylist: [x]}", "switched_on_anyway: endpoint of rule r is in force"),
        ("dataflow: {tainted_sources: [web]}", "never_matches: \"web\" in dataflow.tainted_sources matches nothing"),
        ("match: {target_values: ['${here}/x']}", "unknown_variable: unknown variable ${here}"),
    ] {
        let told = found(&rule(rest));
        assert!(told.len() == 1 && told[0].split_once(' ').unwrap().1.starts_with(expected), "{rest}: {told:?}");
    }
    for (effect, warnings) in [("allow", 0), ("require_approval", 0), ("dry_run", 1), ("block", 1)] {
        let told = found(&format!("rules: [{{name: r, effect: {effect}, min_approvals: 2}}]"));
        assert_eq!(
            told.iter().filter(|line| line.contains(" no_effect: min_approvals has no effect")).count(),
            warnings
        );
    }
    let told = found("rules: [{name: r, effect: block, endpoint: {path_denylist: [/x]}}]");
    assert_eq!(told, ["1:44 block_anyway: rule r blocks all that it matches, whatever its endpoint says"]);
}

#[test]
fn rules_that_earlier_ones_cover_are_told() {
    let policy = |rules: &[&str]| {
        format!("rules:\n{}", rules.iter().map(|rule| format!("  - {{{rule}}}\n")).collect::<String>())
    };
    let all = "name: all, effect: block, priority: 1";
    let never = "never_decides: rule b can never decide: ";
    for (rules, by) in [
        (vec![all, "name: b, effect: allow, priority: 2"], Some("all matches first")),
        (vec![all, "name: b, effect: allow, match: {tool_names: [x]}"], None),
        (
            vec![
                "name: a, effect: block, match: {endpoint_classes: [fs.read, fs.write]}",
                "name: b, effect: allow, match: {endpoint_classes: [fs.write], target_kinds: [path]}",
            ],
            Some("a matches first"),
        ),
        (
            vec![
                "name: a, effect: block, match: {endpoint_classes: [fs.read], target_kinds: [path]}",
                "name: b, effect: allow, match: {endpoint_classes: [fs.read]}",
            ],
            None,
        ),
        (
            vec![
                "name: a, effect: block, match: {endpoint_classes: [fs.read]}",
                "name: aa, effect: block, match: {endpoint_classes: [fs.write]}",
                "name: b, effect: allow, match: {endpoint_classes: [fs.read, fs.write]}",
            ],
            Some("a or aa matches first"),
        ),
        (
            vec![
                "name: a, effect: block, match: {workspace_prefixes: [/w]}",
                "name: b, effect: allow, match: {workspace_prefixes: [/w/x, /w]}",
            ],
            Some("a matches first"),
        ),
        (
            vec![
                "name: a, effect: block, match: {workspace_prefixes: [/w]}",
                "name: b, effect: allow, match: {workspace_prefixes: [/work]}",
            ],
            None,
        ),
    ] {
        let told = found(&policy(&rules));
        let expected: Vec<String> = by.iter().map(|by| format!("{never}{by}")).collect();
        let told: Vec<&str> = told.iter().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(told, expected, "{rules:?}");
    }
}

const EXAMPLES: &str = "default_verdict: block
rules:
  - name: reads
    effect: allow
    match: {endpoint_classes: [fs.read], target_kinds: [path]}
    endpoint: {path_denylist: ['**/.env']}
    examples:
      match:
        - fs.read /etc/passwd
        - fs.list ${workspace}/src
        - {action: 'fs.read ${home}/.env', verdict: block}
      no_match:
        - fs.read /srv/.env
        - fs.write /etc/passwd
        - {action: fs.write /etc/passwd, verdict: block}
  - name: ledger
    effect: require_approval
    match: {tool_names: [ledger.append], risk_classes: [low], identities: [svc]}
    examples:
      match:
        - {}
        - {targets: [{kind: table, value: t}]}
      no_match:
        - {tool_name: ledger.read}
        - {context: {risk_class: high}}
";

#[test]
fn examples_that_hold_are_no_findings_and_change_no_digest() {
    let inspection = inspect(EXAMPLES.as_bytes());
    assert_eq!((inspection.findings, inspection.examples.len()), (Vec::new(), 10));
    let lines: Vec<&str> = EXAMPLES.lines().collect();
    let is_example = |line: &&&str| line.starts_with("    examples") || line.starts_with("      ");
    let without: String = lines.iter().filter(|line| !is_example(line)).flat_map(|line| [*line, "\n"]).collect();
    let (with, without) = (inspection.policy.unwrap(), Policy::parse(&without, Strictness::Strict).unwrap());
    assert_eq!(with.digest().unwrap(), without.digest().unwrap());
    let lenient = Policy::parse(EXAMPLES, Strictness::Lenient).unwrap();
    assert_eq!(lenient.digest().unwrap(), without.digest().unwrap());
    assert!(Policy::parse("rules: [{name: a, effect: allow, examples: 7}]", Strictness::Lenient).is_ok());
}

#[test]
fn examples_that_do_not_hold_are_errors_with_what_is_the_case() {
    let broken = EXAMPLES
        .replace("fs.read /etc/passwd", "fs.read /srv/.env")
        .replace("fs.read /srv/.env\n        - fs.write", "fs.read /ok\n        - fs.write")
        .replace("tool_name: ledger.read", "verdict: allow, tool_name: ledger.read");
    finds(
        &broken,
        &[
            "9:11 example: example `fs.read /srv/.env` must match reads with verdict allow, but the rule says block (endpoint_constraint_violation, endpoint_path_denied, matched_rule_reads)",
            "13:11 example: example `fs.read /ok` must not match reads, but the rule says allow (matched_rule_reads)",
            "24:11 example: example `ledger.read` must not match ledger, with verdict allow, but no rule matches: block (default_block)",
        ],
    );
    assert_eq!(broken_examples(&broken).unwrap().len(), 3);
    assert!(inspect(broken.as_bytes()).policy.is_some_and(|_| !inspect(broken.as_bytes()).is_valid()));
}

#[test]
fn examples_that_are_none_are_errors() {
    let with = |example: &str| format!("rules: [{{name: r, effect: allow, examples: {{match: [{example}]}}}}]");
    for (example, message) in [
        ("fs.raed /x", "example: a guarded run has no tool `fs.raed`, did you mean `fs.read`?"),
        ("{verdict: deny}", "example: invalid verdict: deny"),
        ("{action: fs.read /x, tool_name: y}", "example: `action` names the tool and the target already"),
        ("{targets: [{kind: pth, value: x}]}", "example: unsupported target kind: pth"),
        ("'fs.read ${nope}/x'", "example: unknown variable ${nope} in \"fs.read ${nope}/x\""),
        ("{targets: [{knd: path}]}", "unknown key `knd`, did you mean `kind`?"),
    ] {
        let told = found(&with(example));
        assert!(told.len() == 1 && told[0].ends_with(message), "{example}: {told:?}");
    }
}

#[test]
fn an_explanation_names_each_list_and_what_the_intent_has() {
    let policy = Policy::parse(EXAMPLES, Strictness::Strict).unwrap();
    let request = IntentRequest {
        tool_name: "fs.read".into(),
        targets: vec![TargetRequest {
            kind: "path".into(),
            value: "/x/.env".into(),
            endpoint_class: "fs.read".into(),
            ..TargetRequest::default()
        }],
        context: ContextRequest {
            identity: "me".into(),
            workspace: "/w".into(),
            risk_class: "low".into(),
            ..ContextRequest::default()
        },
        ..IntentRequest::default()
    };
    let told = explain(&policy, &request.normalize().unwrap());
    let [ledger, reads] = &told.rules[..] else { panic!("{told:?}") };
    assert_eq!((ledger.standing, reads.standing), (Standing::NoMatch, Standing::Decides));
    let fields: Vec<_> = ledger.conditions.iter().map(|one| (one.field, one.holds)).collect();
    assert_eq!(fields, [("tool_names", false), ("risk_classes", true), ("identities", false)]);
    assert_eq!(ledger.conditions[2].found, ["me"]);
    assert_eq!(reads.constraints, ["endpoint: endpoint_path_denied by \"**/.env\" for \"/x/.env\": at least block"]);
}

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(prop::sample::select(words).prop_map(str::to_owned), 1..3)]
}

fn any_match() -> impl Strategy<Value = String> {
    (
        some_of(&["t1", "t2"]),
        some_of(&["low", "high"]),
        some_of(&["path", "url"]),
        some_of(&["/a", "/b"]),
        some_of(&["fs.read", "fs.write", "other"]),
        some_of(&["path", "url"]),
        some_of(&["/w", "/w/x", "/work"]),
        some_of(&["p1", "p2"]),
    )
        .prop_map(|(tools, risks, kinds, values, classes, destinations, workspaces, publishers)| {
            format!(
                "{{tool_names: {tools:?}, risk_classes: {risks:?}, target_kinds: {kinds:?}, target_values: {values:?}, endpoint_classes: {classes:?}, destination_kinds: {destinations:?}, workspace_prefixes: {workspaces:?}, skill_publishers: {publishers:?}}}"
            )
        })
}

fn any_intent() -> impl Strategy<Value = Intent> {
    let word = |words: &'static [&'static str]| prop::sample::select(words).prop_map(str::to_owned);
    let target = (word(&["path", "url"]), word(&["/a", "/b"]), word(&["fs.read", "fs.write", "other"])).prop_map(
        |(kind, value, endpoint_class)| TargetRequest { kind, value, endpoint_class, ..TargetRequest::default() },
    );
    let skill = prop::option::of(word(&["p1", "p2"]));
    (
        word(&["t1", "t2"]),
        word(&["low", "high"]),
        prop::collection::vec(target, 0..3),
        word(&["/w", "/w/x", "/work"]),
        skill,
    )
        .prop_map(|(tool_name, risk_class, targets, workspace, publisher)| {
            let skill_provenance = publisher.map(|publisher| crate::intent::SkillRequest {
                skill_name: "s".into(),
                source: "s".into(),
                publisher,
                ..Default::default()
            });
            let context = ContextRequest { identity: "i".into(), workspace, risk_class, ..ContextRequest::default() };
            let request = IntentRequest { tool_name, targets, context, skill_provenance, ..IntentRequest::default() };
            request.normalize().unwrap()
        })
}

proptest! {
    #[test]
    fn an_explanation_agrees_with_the_evaluator(rules in prop::collection::vec(any_match(), 1..5), intent in any_intent()) {
        let rules: Vec<String> = rules.iter().enumerate().map(|(number, one)| format!("{{name: r{number}, effect: block, match: {one}}}")).collect();
        let policy = Policy::parse(&format!("rules: [{}]", rules.join(", ")), Strictness::Strict).unwrap();
        let told = explain(&policy, &intent);
        for (rule, told) in policy.rules().iter().zip(&told.rules) {
            prop_assert_eq!(rule.matcher.matches(&intent), told.standing != Standing::NoMatch);
        }
        let decides = told.rules.iter().find(|rule| rule.standing == Standing::Decides).map(|rule| rule.name.clone());
        prop_assert_eq!(decides, evaluate(&policy, &intent).matched_rule);
    }

    #[test]
    fn a_rule_that_is_said_never_to_decide_does_not(rules in prop::collection::vec(any_match(), 2..6), intents in prop::collection::vec(any_intent(), 1..40)) {
        let rules: Vec<String> = rules.iter().enumerate().map(|(number, one)| format!("{{name: r{number}, effect: block, match: {one}}}")).collect();
        let text = format!("rules: [{}]", rules.join(", "));
        let policy = Policy::parse(&text, Strictness::Strict).unwrap();
        let never: Vec<Position> = inspect(text.as_bytes()).findings.iter().filter(|finding| finding.code == "never_decides").map(|finding| finding.at).collect();
        for intent in &intents {
            let deciding = policy.rules().iter().find(|rule| rule.matcher.matches(intent));
            prop_assert!(deciding.is_none_or(|rule| !never.contains(&rule.position)), "{}", text);
        }
    }

    #[test]
    fn no_text_at_all_breaks_the_inspection(text in "[a-z:{}\\[\\]&*<!|>'\"# \n-]{0,40}") {
        inspect(text.as_bytes());
    }
}
