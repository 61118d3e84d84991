//! The compiled policy decides as the reference evaluator does, whatever the policy and the bytes.
//!
//! `GAIT_PROPERTY_CASES` sets the number of policies; each is asked about 100 subjects.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::borrow::Cow;
use std::sync::Arc;

use gait_core::digest::Sha256Hex;
use gait_core::intent::{
    Args, Context, EndpointClass, Intent, IntentParts, IntentRequest, Provenance, Target, TargetKind,
};
use gait_core::name::name;
use gait_core::policy::compile::{CompileError, CompiledPolicy, Kind, Limits, decode};
use gait_core::policy::{Policy, Strictness, evaluate};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// A change to an intent.
type Change<'a> = &'a dyn Fn(&mut Value);

fn kinds() -> Vec<Kind> {
    use EndpointClass::{FsDelete, FsRead, FsWrite, NetDns, NetHttp, Other, ProcExec};
    use TargetKind::{Host, Path};
    vec![
        Kind::new("fs.read", Path, "read", FsRead),
        Kind::new("fs.list", Path, "list", FsRead),
        Kind::new("fs.write", Path, "truncate", FsWrite),
        Kind::new("fs.write", Path, "chmod", FsWrite),
        Kind::new("fs.delete", Path, "delete", FsDelete),
        Kind::new("proc.exec", Path, "exec", ProcExec),
        Kind::new("proc.exec", TargetKind::Other, "exec", ProcExec),
        Kind::new("net.unix", Path, "connect", FsWrite),
        Kind::new("net.unix", TargetKind::Other, "connect", Other),
        Kind::new("net.connect", Host, "connect", NetHttp),
        Kind::new("net.send", Host, "send", NetDns),
        Kind::new("sys.ptrace", TargetKind::Other, "ptrace", Other),
    ]
}

fn context() -> Arc<Context> {
    Arc::new(Context {
        identity: "agent".to_owned(),
        risk_class: "high".to_owned(),
        workspace: "/w/p".to_owned(),
        ..Context::default()
    })
}

/// A list that is mostly empty, as in policies that people write.
fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        5 => Just(Vec::new()),
        2 => prop::collection::vec(select(words).prop_map(str::to_owned), 1..3),
    ]
}

const PIECES: &[&str] = &[
    "/",
    "/",
    "/",
    "a",
    "b",
    "ab",
    ".env",
    ".git",
    "w",
    "p",
    "*",
    "*",
    "?",
    "/**",
    "**/",
    "/**/",
    "[a-c]",
    "[^a]",
    "[^/]",
    "\\*",
    "\\[",
    "é",
    "€",
    "[é-€]",
    " ",
    "\u{a0}",
    "\u{2003}x",
    "\u{10fe20}",
    "\u{10fec3}",
    "[\u{10fe80}-\u{10fec3}]",
    "\u{10348}",
    "[",
    "a]",
    "..",
];

fn path_pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(&[
            "/a/**", "/w/p/**", "**/.env", "/a/*/b", "**", "/**", "**/.git/**", "/a/**/b", "/a/b", "**/*a", "**/a*", "/w/*",
            "/a/??", "/ ", "/a\u{a0}", "**/\u{10fee9}*",
        ][..]).prop_map(str::to_owned),
        4 => prop::collection::vec(select(PIECES), 1..7).prop_map(|pieces| format!("/{}", pieces.concat())),
        2 => prop::collection::vec(select(PIECES), 1..5).prop_map(|pieces| format!("**/{}", pieces.concat())),
        1 => prop::collection::vec(select(PIECES), 1..5).prop_map(|pieces| pieces.concat()),
    ]
}

fn paths() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![1 => Just(Vec::new()), 2 => prop::collection::vec(path_pattern(), 1..6)]
}

const DOMAINS: &[&str] =
    &["a.example", "*.a.example", "*", "b?.example", "[a-c].example", "127.0.0.1", "::1", "2001:db8::*", "*.*", "["];
const HOSTS: &[&str] = &[
    "a.example",
    "x.a.example",
    "y.x.a.example",
    "b1.example",
    "c.example",
    "127.0.0.1",
    "::1",
    "2001:db8::7",
    "x",
    "127.0.0.11",
];
const VALUES: &[&str] =
    &["/a/b", "/a", "memfd:x", "unix:@x", "a.example:443", "[::1]:53", "process:outside", "/é", "/a\u{10fe20}"];

fn matcher() -> impl Strategy<Value = Value> {
    let about = (
        some_of(&["fs.read", "fs.write", "proc.exec", "net.connect", "net.unix", "FS.LIST"]),
        some_of(&["high", "low"]),
        some_of(&["agent", "other"]),
        some_of(&["/w", "/w/p", "/x"]),
        some_of(&["path", "host", "other"]),
        some_of(VALUES),
        some_of(&["fs.read", "fs.write", "fs.delete", "proc.exec", "net.http", "net.dns", "other"]),
    );
    let more = (
        prop_oneof![12 => Just(vec![]), 1 => Just(vec!["pii".to_owned()])],
        some_of(&["path", "host"]),
        prop_oneof![4 => Just(vec![]), 1 => prop::collection::vec(select(VALUES).prop_map(str::to_owned), 1..3)],
        some_of(&["read", "truncate", "delete", "exec", "connect"]),
        prop_oneof![12 => Just(vec![]), 1 => Just(vec!["someone".to_owned()])],
        some_of(&["system", "external"]),
    );
    (about, more).prop_map(|(about, more)| {
        let (tool_names, risk_classes, identities, workspace_prefixes, target_kinds, target_values, endpoint_classes) =
            about;
        let (data_classes, destination_kinds, destination_values, destination_operations, publishers, sources) = more;
        // Conditions that hold together are rare by chance: leave half of them out.
        json!({
            "tool_names": tool_names, "risk_classes": risk_classes, "identities": identities,
            "workspace_prefixes": workspace_prefixes, "target_kinds": target_kinds, "target_values": target_values,
            "endpoint_classes": endpoint_classes, "data_classes": data_classes, "destination_kinds": destination_kinds,
            "destination_values": destination_values, "destination_operations": destination_operations,
            "skill_publishers": publishers, "provenance_sources": sources,
        })
    })
}

fn endpoint() -> impl Strategy<Value = Value> {
    let action = || select(&["", "block", "require_approval"][..]);
    let domains = || some_of(DOMAINS);
    (paths(), paths(), domains(), domains(), some_of(&["net.http", "net.dns"]), action(), action(), any::<bool>())
        .prop_map(|(allow, deny, domain_allow, domain_deny, egress, action, destructive, enabled)| {
            json!({
                "enabled": enabled, "path_allowlist": allow, "path_denylist": deny, "domain_allowlist": domain_allow,
                "domain_denylist": domain_deny, "egress_classes": egress, "action": action,
                "destructive_action": destructive, "reason_code": "code",
            })
        })
}

fn dataflow() -> impl Strategy<Value = Value> {
    (some_of(&["system", "external"]), some_of(VALUES), some_of(&["path", "host"]), some_of(&["read", "exec"]), any::<bool>())
        .prop_map(|(tainted, values, kinds, operations, enabled)| {
            json!({
                "enabled": enabled, "tainted_sources": tainted, "destination_values": values, "destination_kinds": kinds,
                "destination_operations": operations,
            })
        })
}

fn rule() -> impl Strategy<Value = Value> {
    let effect = select(&["allow", "allow", "block", "dry_run", "require_approval"][..]);
    let dataflow = prop_oneof![3 => Just(Value::Null), 1 => dataflow()];
    (select(&["r", "s x", "t"][..]), 0..3, effect, matcher(), endpoint(), dataflow, 0..3, any::<bool>()).prop_map(
        |(name, priority, effect, matcher, endpoint, dataflow, approvals, reasons)| {
            let mut rule = json!({
                "name": name, "priority": priority, "effect": effect, "match": matcher, "endpoint": endpoint,
                "min_approvals": approvals,
            });
            if !dataflow.is_null() {
                rule["dataflow"] = dataflow;
            }
            if reasons {
                rule["reason_codes"] = json!(["own_reason"]);
                rule["violations"] = json!(["own_violation"]);
            }
            rule
        },
    )
}

fn policy() -> impl Strategy<Value = Value> {
    let default = select(&["allow", "block", "dry_run", "require_approval"][..]);
    (default, prop_oneof![4 => Just(false), 1 => Just(true)], prop::collection::vec(rule(), 0..5)).prop_map(
        |(default, fail_closed, rules)| {
            json!({ "default_verdict": default, "fail_closed": { "enabled": fail_closed }, "rules": rules })
        },
    )
}

/// Bytes that are near what a pattern matches: instances of pieces, and what breaks them.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        10 => select(&["/", "/", "/a", "/b", "a", "b", "ab", ".env", "/.git", "w", "/p", "*", "[", "c", "..", "."][..])
            .prop_map(|text| text.as_bytes().to_vec()),
        2 => select(&["é", "€", "è", " ", "\u{a0}", "\u{2003}", "x", "\u{10fe20}", "\u{10fec3}", "\u{10348}", "\n", "\""][..])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
        1 => select(&[0x80, 0xa0, 0xc2, 0xc3, 0xe2, 0x82, 0xf0, 0xf4, 0x8f, 0xb8, 0x20, 0, 0xed, 0xff][..]).prop_map(|byte| vec![byte]),
    ];
    let long = (select(&["/a", "/é", "/x ", "/\u{3000}"][..]), 900..2000_usize)
        .prop_map(|(unit, count)| unit.repeat(count).into_bytes().into_iter().take(4096).collect::<Vec<u8>>());
    (prop::collection::vec(piece, 1..9).prop_map(|pieces| pieces.concat()), any::<u8>(), long).prop_map(
        |(bytes, dice, long)| match dice {
            0..=3 => [long, bytes].concat(),
            4..=180 => [b"/", bytes.as_slice()].concat(),
            _ => bytes,
        },
    )
}

/// A pattern of the policy with its wildcards filled in, or one of the exact values.
fn instance() -> impl Strategy<Value = Vec<u8>> {
    let filled = (path_pattern(), select(&["", "a", "x/y", "é"][..]), bytes(), any::<u8>()).prop_map(
        |(pattern, fill, tail, dice)| {
            let text =
                pattern.replace("**/", &format!("{fill}/")).replace("/**", &format!("/{fill}")).replace('*', fill);
            let mut bytes = text.replace('?', "b").into_bytes();
            match dice {
                0..=40 => bytes.extend(tail),
                41..=60 => drop(bytes.pop()),
                61..=80 => bytes.push(b' '),
                _ => {}
            }
            bytes
        },
    );
    prop_oneof![2 => filled, 1 => select(VALUES).prop_map(|value| value.as_bytes().to_vec())]
}

#[derive(Clone, Debug)]
struct Subject {
    kind: usize,
    value: Vec<u8>,
    host: (&'static str, u16),
}

fn subject() -> impl Strategy<Value = Subject> {
    (0..kinds().len(), prop_oneof![bytes(), instance()], (select(HOSTS), select(&[0_u16, 53, 443][..])))
        .prop_map(|(kind, value, host)| Subject { kind, value, host })
}

fn intent(kind: &Kind, value: &[u8], domain: Option<&str>, context: &Arc<Context>) -> Intent {
    let operation: &'static str = match &kind.operation {
        Cow::Borrowed(operation) => operation,
        Cow::Owned(_) => unreachable!("kinds() borrows"),
    };
    let target = Target::of(kind.target_kind, name(value), operation, kind.endpoint_class);
    Intent::from_normal_parts(IntentParts {
        tool_name: kind.tool_name.clone(),
        args: Args::new(),
        targets: vec![target.with_domain(domain.unwrap_or_default().to_owned())],
        arg_provenance: Cow::Borrowed(Provenance::SYSTEM),
        context: Arc::clone(context),
    })
}

fn is_clean(value: &[u8]) -> bool {
    let relative = value.strip_prefix(b"/").unwrap_or(value);
    relative.is_empty() || relative.split(|byte| *byte == b'/').all(|segment| !matches!(segment, b"" | b"." | b".."))
}

fn check(document: &Value, subjects: &[Subject]) -> Result<usize, TestCaseError> {
    // Lenient: malformed patterns have a meaning too.
    let policy = Policy::parse(&document.to_string(), Strictness::Lenient).unwrap();
    let (context, kinds) = (context(), kinds());
    let compiled = CompiledPolicy::compile(&policy, &context, kinds.clone(), &Limits::default()).unwrap();
    let key = Sha256Hex::of(document.to_string());
    let stored = compiled.store(&key).unwrap();
    let again = decode(&stored.bytes, &key, &context, kinds.clone());
    prop_assert_eq!(again.as_ref(), Ok(&(compiled.clone(), stored.tables_sha256)));
    prop_assert_eq!(again.unwrap().0.table_bytes().unwrap(), compiled.table_bytes().unwrap());
    let mut by_rule = 0;
    for Subject { kind, value, host: (host, port) } in subjects {
        let kind = &kinds[*kind];
        let id = compiled.kind(kind).unwrap();
        let (value, domain) = match kind.target_kind {
            TargetKind::Host if host.contains(':') => (format!("[{host}]:{port}").into_bytes(), Some(*host)),
            TargetKind::Host => (format!("{host}:{port}").into_bytes(), Some(*host)),
            _ => (value.clone(), None),
        };
        if value.is_empty() {
            continue;
        }
        let walked = compiled.decide(id, &value, domain.map(str::as_bytes));
        if kind.target_kind == TargetKind::Path && !is_clean(&value) && walked.matched_rule.is_none() {
            // Not a path that a kernel gives: blocked, or decided without looking at it.
            continue;
        }
        let mut reference = evaluate(&policy, &intent(kind, &value, domain, &context));
        // That a path is not clean is told about intents only: no kernel gives such a path.
        let is_remarked = reference.reason_codes.iter().any(|code| code == "intent_path_not_clean");
        prop_assert_eq!(is_remarked, kind.target_kind == TargetKind::Path && !is_clean(&value));
        reference.reason_codes.retain(|code| code != "intent_path_not_clean");
        by_rule += usize::from(reference.matched_rule.is_some());
        let whole = intent(kind, &value, domain, &context);
        match compiled.decide_intent(&whole) {
            Some(decided) => prop_assert_eq!(decided, &evaluate(&policy, &whole)),
            None => {
                let may_be_escaped = whole.targets()[0].value.bytes().any(|byte| byte == 0 || byte == 0xF4);
                prop_assert!(is_remarked || may_be_escaped);
            }
        }
        prop_assert_eq!(walked, &reference, "{:?} {:?}", kind, String::from_utf8_lossy(&value));
    }
    Ok(by_rule)
}

fn cases() -> u32 {
    std::env::var("GAIT_PROPERTY_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn compiled_and_reference_agree(document in policy(), subjects in prop::collection::vec(subject(), 100)) {
        check(&document, &subjects)?;
    }
}

fn compile(text: &str, limits: &Limits) -> Result<CompiledPolicy, CompileError> {
    CompiledPolicy::compile(&Policy::parse(text, Strictness::Strict).unwrap(), &context(), kinds(), limits)
}

fn deny(patterns: impl Iterator<Item = String>) -> String {
    let patterns: Vec<String> = patterns.collect();
    json!({ "rules": [{ "name": "many", "effect": "allow", "endpoint": { "path_denylist": patterns } }] }).to_string()
}

/// Intents that differ from what the tables were made for, each in one point: the evaluator has to be asked.
#[test]
fn an_intent_that_says_more_than_its_kind_is_not_decided_by_the_tables() {
    let compiled = compile("default_verdict: allow", &Limits::default()).unwrap();
    let document = |change: &dyn Fn(&mut Value)| {
        let mut document = json!({
            "tool_name": "fs.read",
            "targets": [{"kind": "path", "value": "/a/b", "operation": "read"}],
            "arg_provenance": Provenance::SYSTEM,
            "context": {"identity": "agent", "workspace": "/w/p", "risk_class": "high"},
        });
        change(&mut document);
        IntentRequest::read(document.to_string().as_bytes()).unwrap().normalize().unwrap()
    };
    assert!(compiled.decide_intent(&document(&|_| ())).is_some());
    let second = json!({"kind": "path", "value": "/c", "operation": "read"});
    let changes: [(&str, Change<'_>); 13] = [
        ("identity", &|d| d["context"]["identity"] = "other".into()),
        ("session", &|d| d["context"]["session_id"] = "s".into()),
        ("tool", &|d| d["tool_name"] = "fs.other".into()),
        ("operation", &|d| d["targets"][0]["operation"] = "get".into()),
        ("class", &|d| d["targets"][0]["endpoint_class"] = "fs.write".into()),
        ("kind", &|d| d["targets"][0]["kind"] = "url".into()),
        ("sensitivity", &|d| d["targets"][0]["sensitivity"] = "pii".into()),
        ("label", &|d| d["targets"][0]["endpoint_domain"] = "a.example".into()),
        ("destructive", &|d| d["targets"][0]["destructive"] = true.into()),
        ("two targets", &|d| d["targets"].as_array_mut().unwrap().push(second.clone())),
        ("no target", &|d| d["targets"] = json!([])),
        ("provenance", &|d| d["arg_provenance"] = json!([])),
        ("spelling", &|d| d["targets"][0]["value"] = "/a/../b".into()),
    ];
    for (what, change) in changes {
        assert_eq!(compiled.decide_intent(&document(change)), None, "{what}");
    }
}

#[test]
fn patterns_that_remember_too_much_are_refused_by_name() {
    let error = compile(&deny((0..40).map(|n| format!("**/a{n}/**/b{n}"))), &Limits::default()).unwrap_err();
    let CompileError::TooLarge { rule, list, pattern } = &error else { panic!("{error}") };
    assert_eq!((rule.as_str(), *list, pattern.as_str()), ("many", "endpoint.path_denylist", "**/a10/**/b10"));
}

#[test]
fn too_many_cells_are_refused_by_name() {
    let limits = Limits { cells: 1_000, ..Limits::default() };
    let error = compile(&deny((0..40).map(|n| format!("/a{n}/x{n}/**"))), &limits).unwrap_err();
    assert!(matches!(error, CompileError::TooManyCells { limit: 1_000, .. }), "{error}");
}

#[test]
fn a_thousand_floating_patterns_and_a_very_long_one_compile() {
    compile(&deny((0..1_000).map(|n| format!("**/name{n}.key"))), &Limits::default()).unwrap();
    compile(&deny((0..3).map(|n| format!("/{}{n}", "long/".repeat(800)))), &Limits::default()).unwrap();
}

#[test]
fn what_no_kernel_says_is_blocked() {
    let policy = json!({
        "default_verdict": "allow",
        "rules": [{ "name": "all", "effect": "allow",
            "endpoint": { "path_denylist": ["/x"], "domain_denylist": ["evil.example"] } }],
    });
    let compiled = compile(&policy.to_string(), &Limits::default()).unwrap();
    let kinds = kinds();
    let undecidable = |kind: usize, value: &str, domain: Option<&str>| {
        let decision =
            compiled.decide(compiled.kind(&kinds[kind]).unwrap(), value.as_bytes(), domain.map(str::as_bytes));
        decision.verdict.to_string() == "block" && decision.reason_codes == ["guard_engine_undecidable"]
    };
    for path in ["/a/../x", "/a//x", "/./x", "/x/", "//x", "/..", "../x"] {
        assert!(undecidable(0, path, None), "{path}");
    }
    for path in ["/", "/a", "/a/.x", "/a/..x", "/...", "/a/b."] {
        assert!(!undecidable(0, path, None), "{path}");
    }
    let hosts = [
        ("evil.example:443", Some("good.example")),
        ("evil.example.:443", Some("evil.example.")),
        ("Evil.example:443", Some("Evil.example")),
        ("evil.example:443", None),
        ("evil.example", Some("evil.example")),
        ("x@evil.example:443", Some("x@evil.example")),
        ("::1:443", Some("::1")),
    ];
    for (value, domain) in hosts {
        assert!(undecidable(9, value, domain), "{value}");
    }
    assert!(!undecidable(9, "[::1]:443", Some("::1")));
}
