use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Control 4.6, byte for byte.
const WORKED_EXAMPLE: &str = r#"{"schema_id":"gait.gate.intent_request","schema_version":"1.0.0","created_at":"2026-04-02T09:30:00+02:00","producer_version":"demo",
 "tool_name":"  Ledger.Append ",
 "args":{" amount ":1.50e2,"memo":" caf\u00e9 <1> ","tags":[],"big":12345678901234567890},
 "targets":[{"kind":"URL","value":" https://Books.Example:8443/v1 ","operation":"POST","sensitivity":"PII"},
            {"kind":"path","value":"/srv/ledger.db","operation":"append"}],
 "arg_provenance":[{"arg_path":"$.memo","source":"External"}],
 "context":{"identity":"svc-ledger","workspace":"C:\\work\\books","risk_class":"High","session_id":""}}"#;

fn intent(document: &str) -> Intent {
    IntentRequest::read(document.as_bytes()).unwrap().normalize().unwrap()
}

fn refusal(document: serde_json::Value) -> String {
    IntentRequest::read(document.to_string().as_bytes()).unwrap().normalize().unwrap_err().to_string()
}

fn small(members: serde_json::Value) -> serde_json::Value {
    let mut document =
        json!({"tool_name": "tool.write", "context": {"identity": "a", "workspace": "/w", "risk_class": "low"}});
    document.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    document
}

#[test]
fn the_worked_example_of_control_4_6_holds() {
    let intent = intent(WORKED_EXAMPLE);
    let canonical = r#"{"arg_provenance":[{"arg_path":"$.memo","source":"external"}],"args":{"amount":150,"big":12345678901234567000,"memo":"café <1>","tags":[]},"context":{"identity":"svc-ledger","risk_class":"high","workspace":"C:/work/books"},"targets":[{"endpoint_class":"fs.write","kind":"path","operation":"append","value":"/srv/ledger.db"},{"endpoint_class":"net.http","endpoint_domain":"books.example","kind":"url","operation":"post","sensitivity":"pii","value":"https://Books.Example:8443/v1"}],"tool_name":"ledger.append"}"#;
    assert_eq!(String::from_utf8(intent.canonical_bytes().unwrap()).unwrap(), canonical);
    assert_eq!(
        intent.args_digest().unwrap().to_string(),
        "5cd12a73da941d1b2062106c808bd97c3e944d64bac24904dda37589fac66e18"
    );
    assert_eq!(
        intent.digest().unwrap().to_string(),
        "bccbffd931e2b1516e474b6bbc9b4b6a94ac94d2914789f1ade6d24b63eacd11"
    );
}

#[test]
fn the_smallest_intent_has_the_anchored_digest() {
    let intent = intent(r#"{"tool_name":"x","context":{"identity":"a","workspace":"/r","risk_class":"low"}}"#);
    assert_eq!(
        intent.digest().unwrap().to_string(),
        "0f3f59c27481ab294328f866dd09d1865545343758a8b615677df27518465ccb"
    );
}

#[test]
fn names_match_in_any_case_and_nulls_are_absent() {
    let lenient = intent(
        "{\"Tool_Name\":\"x\",\"ARGS\":{\"K\":1},\"Context\":{\"Identity\":\"a\",\"WORKSPACE\":\"w\",\"ri\u{17f}\u{212a}_CLASS\":\"Low\",\"x\":1},\"extra\":[],\"targets\":null,\"created_at\":null,\"skill_provenance\":null}",
    );
    // Recorded in the golden case pt-lenient-json, a_case.json.
    assert_eq!(
        lenient.digest().unwrap().to_string(),
        "d38e333e171c37d61fb655a97e58ff6c97a8998f45a59497789fb3a6a855dc60"
    );
}

#[test]
fn repeated_scalars_are_replaced_and_repeated_objects_merge() {
    let repeated = intent(
        r#"{"tool_name":"first","tool_name":"second","args":{"k":1,"l":{"a":1}},"args":{"j":2,"l":{"b":2}},
            "targets":[{"kind":"path","value":"/a"}],"targets":[{"kind":"path","value":"/b"}],
            "context":{"identity":"a","workspace":"w"},"context":{"risk_class":"low","identity":"b"}}"#,
    );
    let single = intent(
        r#"{"tool_name":"second","args":{"k":1,"j":2,"l":{"b":2}},"targets":[{"kind":"path","value":"/b"}],
            "context":{"identity":"b","workspace":"w","risk_class":"low"}}"#,
    );
    assert_eq!(repeated, single);
}

#[test]
fn what_is_no_intent_document_is_refused_with_the_prefix() {
    for document in [
        "",
        "[]",
        " [{}]",
        "7",
        r#"{"tool_name":7}"#,
        "{}{}",
        r#"{"created_at":"05/04/2026"}"#,
        r#"{"args":[]}"#,
        r#"{"args":{"a":1e999}}"#,
        "\u{feff}{}",
        r#"{"context":[]}"#,
        r#"{"targets":[7]}"#,
    ] {
        let error = IntentRequest::read(document.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("parse intent json: "), "{document}: {error}");
    }
}

#[test]
fn every_refusal_has_the_text_of_the_contract() {
    let target = |member: serde_json::Value| refusal(small(json!({"targets": [member]})));
    let argument = |member: serde_json::Value| refusal(small(json!({"arg_provenance": [member]})));
    let skill = |member: serde_json::Value| refusal(small(json!({"skill_provenance": member})));
    assert_eq!(refusal(json!({"tool_name": " "})), "tool_name is required");
    assert_eq!(refusal(small(json!({"args": {"a": {"  ": 1}}}))), "normalize args: args contains empty key");
    assert_eq!(refusal(small(json!({"args": {"a": 1, " a": 2}}))), "normalize args: args contains key `a` twice");
    assert_eq!(target(json!({"kind": "path", "value": " "})), "targets require kind and value");
    assert_eq!(target(json!({"kind": "File", "value": "x"})), "unsupported target kind: file");
    assert_eq!(
        target(json!({"kind": "path", "value": "x", "endpoint_class": "FS.chmod"})),
        "unsupported endpoint class: fs.chmod"
    );
    assert_eq!(argument(json!({"source": "user"})), "arg provenance requires arg_path and source");
    assert_eq!(argument(json!({"arg_path": "$", "source": "Web"})), "unsupported provenance source: web");
    assert_eq!(
        argument(json!({"arg_path": "$", "source": "user", "integrity_digest": "12"})),
        "invalid provenance integrity_digest: 12"
    );
    assert_eq!(
        skill(json!({"skill_name": "s", "source": "git"})),
        "skill provenance requires skill_name, source, and publisher"
    );
    assert_eq!(
        skill(json!({"skill_name": "s", "source": "git", "publisher": "p", "digest": "xyz"})),
        "invalid skill provenance digest: xyz"
    );
    let context = |member: serde_json::Value| refusal(json!({"tool_name": "x", "context": member}));
    assert_eq!(context(json!({})), "context.identity is required");
    assert_eq!(context(json!({"identity": "a"})), "context.workspace is required");
    assert_eq!(
        context(json!({"identity": "a", "workspace": "w", "risk_class": " "})),
        "context.risk_class is required"
    );
}

#[test]
fn targets_are_sorted_and_unique() {
    let intent = intent(
        &small(json!({"targets": [
            {"kind": "url", "value": "b"}, {"kind": "path", "value": "b", "operation": "delete"},
            {"kind": "PATH", "value": " b ", "operation": "Delete", "destructive": true}, {"kind": "path", "value": "a"}]}))
        .to_string(),
    );
    let values: Vec<_> = intent.targets().iter().map(|target| (target.kind, target.value.as_str())).collect();
    assert_eq!(values, [(TargetKind::Path, "a"), (TargetKind::Path, "b"), (TargetKind::Url, "b")]);
    assert!(intent.targets()[1].destructive);
}

#[test]
fn a_guard_builds_the_intent_that_reading_its_record_gives() {
    let context =
        Context { identity: "root".into(), workspace: "/w".into(), risk_class: "high".into(), ..Context::default() };
    let built = Intent::from_normal_parts(IntentParts {
        tool_name: "net.connect".into(),
        args: [("protocol".to_owned(), "tcp".into())].into_iter().collect(),
        targets: vec![
            Target::of(TargetKind::Host, "[::1]:80".into(), "connect", EndpointClass::NetHttp)
                .with_domain("::1".into()),
        ],
        arg_provenance: Provenance::SYSTEM.into(),
        context: Arc::new(context),
    });
    let record = serde_json::to_value(built.body()).unwrap();
    let read = IntentRequest::from_record("net.connect", record).unwrap().normalize().unwrap();
    assert_eq!(read, built);
    assert_eq!(built.digest().unwrap(), digest_of(&built).unwrap());
}

#[test]
fn parts_that_are_not_normal_are_seen() {
    let normal = intent(&small(json!({})).to_string());
    assert!(normal.is_normal());
    let not_normal = Intent { tool_name: "Tool".into(), ..normal };
    assert!(!not_normal.is_normal());
}

fn any_request() -> impl Strategy<Value = IntentRequest> {
    let word = "[ a-cA-C\u{130}]{0,4}";
    let target = (prop::sample::select(vec!["path", "URL", "host ", "other"]), "[ a-z:/.@\\[\\]]{1,12}", word, word)
        .prop_map(|(kind, value, operation, sensitivity)| TargetRequest {
            kind: kind.into(),
            value: format!("{value}x"),
            operation,
            sensitivity,
            ..TargetRequest::default()
        });
    let source = prop::sample::select(vec!["user", " System", "external"]);
    let provenance = (word, source).prop_map(|(path, source)| ProvenanceRequest {
        arg_path: format!("${path}"),
        source: source.into(),
        ..ProvenanceRequest::default()
    });
    let args = prop::collection::btree_map("[a-z\u{e000}\u{1f600}]{1,3}", any::<Option<f32>>(), 0..4);
    (word, prop::collection::vec(target, 0..4), prop::collection::vec(provenance, 0..3), args, word).prop_map(
        |(tool, targets, arg_provenance, args, workspace)| IntentRequest {
            tool_name: format!("x{tool}"),
            targets,
            arg_provenance,
            args: args.into_iter().map(|(key, value)| (key, json!(value))).collect(),
            context: ContextRequest {
                identity: "me".into(),
                workspace: format!("\\{workspace}"),
                risk_class: "High".into(),
                ..ContextRequest::default()
            },
            ..IntentRequest::default()
        },
    )
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing(request in any_request()) {
        prop_assert!(request.normalize().unwrap().is_normal());
    }

    #[test]
    fn the_quick_digest_is_the_digest_of_the_canonical_bytes(request in any_request()) {
        let intent = request.normalize().unwrap();
        prop_assert_eq!(intent.digest().unwrap(), Sha256Hex::of(intent.canonical_bytes().unwrap()));
    }
}

#[test]
fn an_argument_named_as_serde_json_names_raw_values_is_an_argument() {
    // With the feature `raw_value` of serde_json, which some dependency might switch on, this object would be read as the
    // JSON inside of it: what is judged would not be what was sent.
    let text = r#"{"tool_name":"t","args":{"x":{"$serde_json::private::RawValue":"{\"a\":1}"}},"targets":[],
        "context":{"identity":"i","workspace":"/w","risk_class":"high"}}"#;
    let request = IntentRequest::read(text.as_bytes()).unwrap();
    assert!(request.args["x"].get("$serde_json::private::RawValue").is_some(), "{:?}", request.args);
}
