use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Policy {
    Policy::parse(text, Strictness::Strict).unwrap()
}

fn digest(policy: &Policy) -> String {
    policy.digest().unwrap().to_string()
}

#[track_caller]
fn refused(text: &str, start: &str) {
    let error = Policy::parse(text, Strictness::Strict).unwrap_err().to_string();
    assert!(error.starts_with(start), "{error}");
}

#[test]
fn the_anchored_digests_of_control_4_6_hold() {
    const EMPTY: &str = "07a528a879e4f0e0cd5a0e2ca801924746b47dac624862207ef21d4ec266f8f9";
    for empty in ["", "# only a comment\n", "---\n", "rules:\n", "rules: []", "{}", "fail_closed: null"] {
        assert_eq!(digest(&parse(empty)), EMPTY, "{empty:?}");
    }
    assert_eq!(
        digest(&parse("default_verdict: allow")),
        "65819d9cf07c7619aa8aaf2bd4e8d6f8e3f86b139b49a68c535fd14d77a5009f"
    );
}

#[test]
fn unknown_keys_are_errors_with_place_and_remedy_unless_lenient() {
    let text = "default_verdict: allow\nrules:\n  - name: r\n    effect: block\n    min_aprovals: 2\n";
    let error = Policy::parse(text, Strictness::Strict).unwrap_err();
    assert_eq!(
        error.to_string(),
        "parse policy yaml: [5:5] unknown key `min_aprovals`, did you mean `min_approvals`?\n   4 |     effect: block\n>  5 |     min_aprovals: 2\n           ^\n"
    );
    assert_eq!(error.position(), Some(Position { line: 5, column: 5 }));
    assert_eq!(Policy::parse(text, Strictness::Lenient).unwrap().rules()[0].min_approvals, 0);
    refused(
        "Default_Verdict: allow",
        "parse policy yaml: [1:1] unknown key `Default_Verdict`, did you mean `default_verdict`?",
    );
    refused(
        "rules: [{name: a, effect: allow, match: {tools: [x]}}]",
        "parse policy yaml: [1:42] unknown key `tools`, ",
    );
    refused("fail_closed: {zzz: 1}", "parse policy yaml: [1:15] unknown key `zzz`, expected one of enabled, ");
}

#[test]
fn texts_of_the_wrong_shape_are_refused_where_they_are_wrong() {
    refused("default_verdict: [allow", "parse policy yaml: [");
    refused("just text", "parse policy yaml: [1:1] string was used where mapping is expected");
    refused("null", "parse policy yaml: [1:1] null was used where mapping is expected");
    refused("- a", "parse policy yaml: [1:1] sequence was used where mapping is expected");
    refused("rules: {a: 1}", "parse policy yaml: [1:8] mapping was used where sequence is expected");
    refused(
        "rules: [{name: r, match: {tool_names: x}}]",
        "parse policy yaml: [1:39] string was used where sequence is expected",
    );
    refused("fail_closed: {enabled: \"true\"}", "parse policy yaml: [1:24] string was used where boolean is expected");
    refused("fail_closed: {enabled: yes}", "parse policy yaml: [1:24] string was used where boolean is expected");
    refused("rules: [{name: r, priority: x}]", "parse policy yaml: [1:29] string was used where integer is expected");
    refused("rules: *missing", "parse policy yaml: [1:8] ");
    refused("a: &a [*a]", "parse policy yaml: [1:8] ");
    refused(
        "default_verdict: allow\ndefault_verdict: allow",
        "parse policy yaml: [2:1] mapping key `default_verdict` already defined at [1:1]",
    );
    refused("\u{feff}default_verdict: allow", "parse policy yaml: [1:1] the file starts with a byte order mark");
    refused("[a]: b", "parse policy yaml: [1:1] a key must be a scalar");
    refused("default_verdict: !custom allow", "parse policy yaml: [1:");
    let error = Policy::parse_bytes(b"a: b\nc: \xff", Strictness::Strict).unwrap_err();
    assert_eq!(error.position(), Some(Position { line: 2, column: 4 }));
}

#[test]
fn values_that_mean_nothing_are_refused_with_the_contracts_words_and_a_place() {
    let error = Policy::parse("rules:\n  - name: a\n    effect: deny\n", Strictness::Strict).unwrap_err();
    assert_eq!(error.to_string(), "invalid rule effect \"deny\" for a");
    assert_eq!(error.position(), Some(Position { line: 3, column: 13 }));
    refused("rules: [null]", "rule name is required");
    refused("schema_version: 1.0", "unsupported policy schema_version: 1");
}

#[test]
fn anchors_aliases_and_merge_keys_are_resolved() {
    let text = "rules:\n- &a {name: a, effect: block, match: &m {tool_names: [x]}, priority: 1}\n- {<<: *a, name: b}\n- {name: c, effect: allow, match: *m}\n";
    let policy = parse(text);
    let facts: Vec<_> = policy.rules().iter().map(|rule| (rule.name.as_str(), rule.priority, rule.effect)).collect();
    assert_eq!(facts, [("c", 0, Verdict::Allow), ("a", 1, Verdict::Block), ("b", 1, Verdict::Block)]);
    assert!(policy.rules().iter().all(|rule| rule.matcher.tool_names == ["x"]));
}

#[test]
fn an_alias_bomb_is_stopped() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 10].join(", ")));
    }
    let error = Policy::parse(&text, Strictness::Lenient).unwrap_err().to_string();
    assert!(error.contains("aliases unfold to more than 250000 nodes"), "{error}");
}

#[test]
fn scalars_are_coerced_as_control_5_1_says() {
    let policy =
        parse("rules: [{name: 0x1F, effect: BLOCK, priority: \"7\", reason_codes: [1.50, null, true, 2026-01-02]}]");
    let rule = &policy.rules()[0];
    assert_eq!((rule.name.as_str(), rule.priority), ("31", 7));
    assert_eq!(rule.reason_codes, ["1.5", "2026-01-02", "true"]);
}

#[test]
fn rules_run_by_priority_then_name_and_equals_keep_their_order() {
    let mut text = "rules:\n".to_owned();
    for index in 0..40 {
        text.push_str(&format!("- {{name: same, effect: allow, reason_codes: [c{index:02}]}}\n"));
    }
    text.push_str("- {name: Same, effect: allow}\n- {name: z, priority: -1, effect: allow}\n");
    let policy = parse(&text);
    assert_eq!(policy.rules()[0].name, "z");
    assert_eq!(policy.rules()[1].name, "Same");
    assert!(policy.rules()[2..].is_sorted_by_key(|rule| rule.reason_codes.clone()));
}

#[test]
fn malformed_patterns_are_refused_when_strict() {
    let text = "rules: [{name: r, effect: allow, endpoint: {path_denylist: [\"/a[\"]}}]";
    refused(text, "malformed endpoint.path_denylist pattern \"/a[\" for r");
    assert!(Policy::parse(text, Strictness::Lenient).is_ok());
}

#[test]
fn the_slug_of_a_name_is_the_contracts() {
    for (name, slug) in [
        ("Ledger write-2", "matched_rule_ledger_write_2"),
        ("a&b", "matched_rule_a\\u0026b"),
        ("\"quoted\"", "matched_rule_\\\"quoted\\"),
    ] {
        let policy = parse(&format!("rules: [{{name: '{name}', effect: allow}}]"));
        assert_eq!(policy.rules()[0].slug_reason, slug);
    }
}

#[test]
fn only_double_star_policies_use_an_extension() {
    let with = |pattern: &str| {
        parse(&format!("rules: [{{name: r, effect: allow, endpoint: {{path_denylist: ['{pattern}']}}}}]"))
    };
    assert_eq!(with("/tmp/**").extensions(), Vec::<&str>::new());
    assert_eq!(with("**/.env").extensions(), ["path_doublestar"]);
}

fn variables() -> Variables {
    Variables { workspace: "/w[1]".into(), home: Some("/".into()), tmp: None }
}

#[test]
fn variables_are_expanded_and_stand_for_themselves() {
    let policy = parse(
        "rules: [{name: r, effect: allow, match: {target_values: ['${workspace}/x'], workspace_prefixes: ['${workspace}']}, endpoint: {path_allowlist: ['${workspace}/**', '${home}/.ssh/**', '/$x/${']}}]",
    );
    let expanded = policy.expand(&variables()).unwrap();
    let rule = &expanded.rules()[0];
    let patterns: Vec<_> = rule.endpoint.as_ref().unwrap().path_allowlist.iter().map(|p| p.text()).collect();
    assert_eq!(patterns, ["/$x/${", "/.ssh/**", "/w\\[1]/**"]);
    assert_eq!(rule.matcher.target_values, ["/w[1]/x"]);
    assert_eq!(rule.matcher.workspace_prefixes, ["/w[1]"]);
    assert!(rule.endpoint.as_ref().unwrap().path_allowlist[2].matches("/w[1]/a"));
    assert!(!rule.endpoint.as_ref().unwrap().path_allowlist[2].matches("/w1/a"));
}

#[test]
fn variables_without_a_value_are_refused() {
    for variable in ["tmp", "nope", ""] {
        let policy =
            parse(&format!("rules: [{{name: r, effect: allow, endpoint: {{path_denylist: ['${{{variable}}}/x']}}}}]"));
        let error = policy.expand(&variables()).unwrap_err().to_string();
        assert_eq!(error, format!("unknown variable ${{{variable}}} in \"${{{variable}}}/x\" for r"));
    }
}

fn any_policy_text() -> impl Strategy<Value = String> {
    let word = || {
        "[ a-zA-Z*/?\"\\\\#:\u{e9}\u{10FE20}\u{85}\u{7f}\\[\\]${}&-]{0,6}"
            .prop_map(|word| serde_json::to_string(&word).unwrap().replace('\u{7f}', "\\u007f"))
    };
    let list = move || prop::collection::vec(word(), 0..3).prop_map(|words| format!("[{}]", words.join(",")));
    let verdict = prop::sample::select(vec!["allow", "block", "dry_run", "require_approval"]);
    let action = prop::sample::select(vec!["block", "require_approval", ""]);
    let matcher = (list(), list(), list(), list()).prop_map(|(tools, values, prefixes, sources)| {
        format!(
            "{{tool_names: {tools}, target_values: {values}, workspace_prefixes: {prefixes}, skill_sources: {sources}}}"
        )
    });
    let dataflow = (any::<bool>(), list(), list(), action.clone()).prop_map(|(enabled, sources, values, action)| {
        format!("{{enabled: {enabled}, tainted_sources: {sources}, destination_values: {values}, action: '{action}'}}")
    });
    let endpoint = (any::<bool>(), list(), list(), list(), action.clone(), action).prop_map(
        |(enabled, allow, deny, domains, action, destructive)| {
            format!("{{enabled: {enabled}, path_allowlist: {allow}, path_denylist: {deny}, domain_denylist: {domains}, action: '{action}', destructive_action: '{destructive}'}}")
        },
    );
    let limit = (0..3, prop::sample::select(vec!["minute", "hour", ""]))
        .prop_map(|(requests, window)| format!("{{requests: {requests}, window: '{window}'}}"));
    let rule = (word(), -3..3, verdict.clone(), matcher, dataflow, endpoint, (limit, list(), 0..3, word())).prop_map(
        |(name, priority, effect, matcher, dataflow, endpoint, (limit, codes, approvals, reference))| {
            let name = format!("\"r{}", &name[1..]);
            format!("{{name: {name}, priority: {priority}, effect: {effect}, match: {matcher}, dataflow: {dataflow}, endpoint: {endpoint}, rate_limit: {limit}, reason_codes: {codes}, min_approvals: {approvals}, broker_reference: {reference}}}")
        },
    );
    (verdict, any::<bool>(), list(), prop::collection::vec(rule, 0..4)).prop_map(|(verdict, enabled, risks, rules)| {
        format!("{{default_verdict: {verdict}, fail_closed: {{enabled: {enabled}, risk_classes: {risks}, required_fields: [targets]}}, rules: [{}]}}", rules.join(","))
    })
}

proptest! {
    #[test]
    fn a_policy_written_as_yaml_reads_back_the_same(text in any_policy_text()) {
        let policy = Policy::parse(&text, Strictness::Lenient).unwrap();
        let again = Policy::parse(&policy.to_yaml(), Strictness::Lenient).unwrap();
        prop_assert_eq!(digest(&again), digest(&policy));
        let unplaced = |policy: &Policy| {
            let mut policy = policy.clone();
            policy.rules.iter_mut().for_each(|rule| rule.position = Position::default());
            policy
        };
        prop_assert_eq!(unplaced(&again), unplaced(&policy));
    }

    #[test]
    fn the_order_of_keys_and_list_items_changes_no_digest(mut rules in prop::collection::vec("[a-z]{1,4}", 1..5)) {
        let forward = rules.join(",");
        rules.reverse();
        let backward = rules.join(",");
        let one = parse(&format!("{{default_verdict: block, rules: [{{name: r, effect: allow, match: {{tool_names: [{forward}]}}}}]}}"));
        let other = parse(&format!("{{rules: [{{match: {{tool_names: [{backward}]}}, effect: allow, name: r}}], default_verdict: block}}"));
        prop_assert_eq!(digest(&one), digest(&other));
    }

    #[test]
    fn no_text_at_all_breaks_the_reader(text in "[a-z:{}\\[\\]&*<!|>'\"# \n-]{0,40}") {
        let _ = Policy::parse(&text, Strictness::Lenient);
    }
}
