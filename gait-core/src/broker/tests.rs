use super::*;
use crate::policy::{Policy, Strictness};

const RULE: &str = "
rules:
  - name: r
    effect: allow
    require_broker_credential: true
    broker_reference: Egress.Prod-1
    broker_scopes: [Write, read]
";

fn policy() -> Policy {
    Policy::parse(RULE, Strictness::Strict).unwrap()
}

fn request(wanted: &Wanted) -> CredentialRequest {
    let intent = br#"{"tool_name":" Tool.Write ","context":{"identity":" al ","workspace":"C:\\x","risk_class":"low",
        "session_id":"s1","request_id":"r1"}}"#;
    CredentialRequest::new(&IntentRequest::read(intent).unwrap(), &policy().rules()[0], wanted)
}

#[test]
fn the_stub_example_of_the_contract_is_reproduced() {
    let request = request(&Wanted::default());
    assert_eq!(stub(&request), Credential { issuer: "stub".into(), reference: "stub:7d04278013b7cd97e078e21f".into() });
    assert_eq!(
        request.to_json().unwrap(),
        r#"{"ToolName":"tool.write","Identity":"al","Workspace":"C:\\x","SessionID":"s1","RequestID":"r1","Reference":"Egress.Prod-1","Scope":["read","write"]}"#
    );
}

#[test]
fn scopes_of_the_call_join_those_of_the_rule_and_its_reference_wins() {
    let wanted = Wanted { reference: " other ".into(), scopes: vec!["READ".into(), " x ".into(), "".into()] };
    let policy = policy();
    assert_eq!(wanted.scope(&policy.rules()[0]), ["READ", "read", "write", "x"]);
    let request = request(&wanted);
    assert_eq!((request.reference.as_str(), request.scope), ("other", vec!["read".into(), "write".into(), "x".into()]));
}

#[test]
fn an_environment_without_value_issues_nothing_and_a_value_is_not_told() {
    let request = request(&Wanted::default());
    assert_eq!(variable(" ", &request), "GAIT_BROKER_TOKEN_EGRESS_PROD_1");
    assert_eq!(variable("P_", &request), "P_EGRESS_PROD_1");
    assert_eq!(from_env("V", " \n"), None);
    // `printf s3cret | sha256sum`, and golden/control/ge-broker-env.
    assert_eq!(from_env("V", " s3cret\n").unwrap().reference, "env:V:1ec1c26b50d5d3c5");
}

#[test]
fn answers_are_one_object_with_a_name_on_one_line() {
    let answer = |text: &str| read_answer(text.as_bytes()).map(|found| (found.issuer, found.reference));
    let issued = |issuer: &str, reference: &str| Ok((issuer.to_owned(), reference.to_owned()));
    assert_eq!(answer(r#" {"issued_by":" vault ","credential_ref":" lease-77 "}"#), issued("vault", "lease-77"));
    assert_eq!(answer(r#"{"credential_ref":"x","more":{"a":[1]}}"#), issued("command", "x"));
    for text in
        ["", "null", "[]", "\"x\"", "{} {}", "{\"credential_ref\":7}", "token=x", "{\"credential_ref\":\"x\"} y"]
    {
        assert_eq!(answer(text), Err(AnswerError::NotAnAnswer), "{text}");
    }
    let long = format!(r#"{{"credential_ref":"{}"}}"#, "x".repeat(257));
    for text in [r#"{"credential_ref":" "}"#, r#"{"credential_ref":"a\nb"}"#, r#"{"credential_ref":"a\tb"}"#, &long] {
        assert_eq!(answer(text), Err(AnswerError::NoName), "{text}");
    }
    assert_eq!(answer(&" ".repeat(MAX_ANSWER_BYTES + 1)), Err(AnswerError::TooLong));
}

#[test]
fn only_the_brokers_of_the_contract_are_known() {
    for (word, kind) in [
        (" OFF ", BrokerKind::Off),
        ("none", BrokerKind::Off),
        ("", BrokerKind::Off),
        ("Stub", BrokerKind::Stub),
        ("env", BrokerKind::Env),
        ("command", BrokerKind::Command),
    ] {
        assert_eq!(BrokerKind::parse(word), Ok(kind));
    }
    assert_eq!(BrokerKind::parse(" Vault ").unwrap_err().to_string(), "unsupported credential broker: vault");
}
