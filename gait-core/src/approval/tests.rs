use super::*;
use crate::digest::Sha256Hex;
use crate::signature::PrivateKey;
use crate::time::Timestamp;

/// golden/control/ge-approval-two/a.json and its keys: made by an independent implementation.
const GOLDEN_TOKEN: &str = r#"{"schema_id":"gait.gate.approval_token","schema_version":"1.0.0","created_at":"2026-01-01T00:00:00Z",
"producer_version":"0.0.0-dev","token_id":"aadc1db1312a90075b5004b2","approver_identity":"kim","reason_code":"ticket-1",
"intent_digest":"e7b68b292900e8b4df0296056b07ae38005b2445b184789c634fd7c4c3a9f293",
"policy_digest":"876aa0ab9719b2abeec90f022aef3a8a576a3bdb6d151ed30f5b67d90d95f836",
"scope":["tool:tool.write"],"expires_at":"2126-01-01T00:00:00Z","signature":{"alg":"ed25519",
"key_id":"be489237957902c40658ea25d0a811bea9f622b866faff0f620a11fc0bb14a75",
"sig":"pEwzSg3PLqHLhTli8c9g+6cxLTaW6oDn9JszFJAmLjiezy1TQh6Y9CmJqaUH6HMhNOpbRcp47xc6rL8ymnpHDQ==",
"signed_digest":"b859b78232a6ecaf7bca768e2b9da01a47b05121954bdfd283ebbfc911b22556"}}"#;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_seed([number; 32])
}

fn digest(word: &str) -> Sha256Hex {
    Sha256Hex::of(word)
}

fn minted(approver: &str, signer: u8) -> ApprovalToken {
    let request = MintRequest {
        created_at: at("2026-01-01T00:00:00Z"),
        ttl_nanos: 3_600_000_000_000,
        producer_version: "test",
        intent_digest: &digest("intent").to_string(),
        policy_digest: &digest("policy").to_string(),
        approver,
        reason_code: "because",
        scope: &["tool:tool.write".to_owned()],
    };
    ApprovalToken::mint(&request, &key(signer)).unwrap()
}

fn demand(required: u64) -> Demand<'static> {
    Demand {
        intent_digest: digest("intent"),
        policy_digest: digest("policy"),
        tool_name: "tool.write",
        required,
        require_distinct: required > 1,
        now: at("2026-01-01T00:30:00Z"),
    }
}

fn shared() -> KeyRing {
    KeyRing::shared(key(1).public())
}

fn reasons(tokens: &[ApprovalToken], ring: &KeyRing, demand: &Demand<'_>) -> Vec<&'static str> {
    assess(tokens, ring, &TokenUses::default(), demand).reasons
}

/// The token signed anew after a change.
fn resigned(change: impl FnOnce(&mut ApprovalToken)) -> ApprovalToken {
    let mut token = minted("kim", 1);
    change(&mut token);
    token.signature = Some(key(1).sign_digest(&token.normalized().signable_digest().unwrap()));
    token
}

#[test]
fn a_token_of_another_implementation_has_the_id_and_digest_that_we_derive() {
    let token = ApprovalToken::read(GOLDEN_TOKEN.as_bytes()).unwrap();
    assert_eq!(token.derived_id(), token.token_id);
    assert_eq!(token.signable_digest().unwrap().to_string(), token.signature.unwrap().signed_digest);
}

#[test]
fn what_is_minted_is_normalised_and_reads_back() {
    let request = MintRequest {
        created_at: at("2026-11-22T13:35:05.5+02:00"),
        ttl_nanos: 5_400_000_000_001,
        producer_version: "0.0.0-dev",
        intent_digest: &digest("intent").to_string().to_uppercase(),
        policy_digest: &digest("policy").to_string(),
        approver: " kim ",
        reason_code: " T-1 ",
        scope: &[" Tool:Tool.Write ".into(), "b".into(), "b".into()],
    };
    let token = ApprovalToken::mint(&request, &key(1)).unwrap();
    assert_eq!(token.scope, ["b", "tool:tool.write"]);
    assert_eq!(
        (token.created_at.to_string(), token.expires_at.to_string()),
        ("2026-11-22T11:35:05.5Z".into(), "2026-11-22T13:05:05.500000001Z".into())
    );
    assert_eq!(token.normalized(), token);
    assert_eq!(ApprovalToken::read(token.to_file_text().unwrap().as_bytes()).unwrap(), token);
    // `printf %s INTENT:POLICY:kim:T-1:b,tool:tool.write:2026-11-22T13:05:05.500000001Z | sha256sum | cut -c-24`
    let (intent, policy) = (digest("intent"), digest("policy"));
    let text = format!("{intent}:{policy}:kim:T-1:b,tool:tool.write:2026-11-22T13:05:05.500000001Z");
    assert_eq!(token.token_id, Sha256Hex::of(text).short(24));
}

#[test]
fn each_thing_that_is_missing_when_minting_is_named() {
    let good = digest("x").to_string();
    let scope = ["*".to_owned()];
    let base = MintRequest {
        created_at: at("2026-01-01T00:00:00Z"),
        ttl_nanos: 1,
        producer_version: "t",
        intent_digest: &good,
        policy_digest: &good,
        approver: "a",
        reason_code: "r",
        scope: &scope,
    };
    let message = |request: MintRequest<'_>| ApprovalToken::mint(&request, &key(1)).unwrap_err().to_string();
    assert_eq!(message(MintRequest { scope: &[" ".to_owned()], ..base.clone() }), "scope is required");
    assert_eq!(message(MintRequest { intent_digest: "12", ..base.clone() }), "intent_digest must be sha256 hex");
    assert_eq!(message(MintRequest { policy_digest: "", ..base.clone() }), "policy_digest must be sha256 hex");
    assert_eq!(message(MintRequest { approver: " ", ..base.clone() }), "approver identity is required");
    assert_eq!(message(MintRequest { reason_code: "", ..base.clone() }), "reason code is required");
    for ttl_nanos in [0, -1] {
        let message = message(MintRequest { ttl_nanos, ..base.clone() });
        assert_eq!(message, "invalid --ttl, expected positive duration");
    }
    let last = at("9999-12-31T23:59:59Z");
    assert!(ApprovalToken::mint(&MintRequest { created_at: last, ttl_nanos: i64::MAX, ..base }, &key(1)).is_err());
}

#[test]
fn a_good_token_grants_what_one_approval_grants() {
    let found = assess(&[minted("kim", 1)], &shared(), &TokenUses::default(), &demand(1));
    assert!(found.granted && found.audit_approved);
    assert_eq!((found.reasons, found.valid), (vec!["approval_granted"], 1));
    assert!(found.entries[0].valid && found.entries[0].error_code.is_none());
}

#[test]
fn no_token_at_all_is_not_a_short_chain() {
    assert_eq!(reasons(&[], &shared(), &demand(2)), ["approval_token_missing"]);
}

#[test]
fn every_fault_of_a_token_has_its_code() {
    let fault = |token: ApprovalToken| {
        let found = assess(&[token], &shared(), &TokenUses::default(), &demand(1));
        assert!(!found.granted && found.valid == 0 && found.approvers.is_empty() && found.token_ids.is_empty());
        assert!(found.reasons.contains(&"approval_chain_insufficient"));
        found.entries[0].error_code.unwrap().trim_start_matches("approval_token_").to_owned()
    };
    let other = digest("other").to_string();
    assert_eq!(fault(resigned(|token| token.token_id = " ".into())), "invalid");
    assert_eq!(fault(resigned(|token| token.approver_identity.clear())), "invalid");
    assert_eq!(fault(resigned(|token| token.reason_code.clear())), "invalid");
    assert_eq!(fault(resigned(|token| token.schema_version = "2.0.0".into())), "invalid");
    assert_eq!(fault(resigned(|token| token.intent_digest = "12".into())), "invalid");
    assert_eq!(fault(resigned(|token| token.scope = vec![" ".into()])), "invalid");
    assert_eq!(fault(resigned(|token| token.expires_at = Timestamp::ZERO)), "invalid");
    assert_eq!(fault(resigned(|token| token.created_at = Timestamp::ZERO)), "invalid");
    assert_eq!(fault(ApprovalToken { signature: None, ..minted("kim", 1) }), "signature_missing");
    assert_eq!(fault(minted("kim", 2)), "signature_invalid");
    assert_eq!(fault(ApprovalToken { approver_identity: "mallory".into(), ..minted("kim", 1) }), "signature_invalid");
    let mut unnamed = minted("kim", 1);
    unnamed.signature.as_mut().unwrap().key_id.clear();
    assert_eq!(fault(unnamed), "signature_invalid");
    assert_eq!(fault(resigned(|token| token.intent_digest = other.clone())), "intent_mismatch");
    assert_eq!(fault(resigned(|token| token.policy_digest = other.clone())), "policy_mismatch");
    assert_eq!(fault(resigned(|token| token.expires_at = at("2026-01-01T00:30:00Z"))), "expired");
    assert_eq!(fault(resigned(|token| token.created_at = at("2026-01-01T00:31:00.000000001Z"))), "not_yet_valid");
    assert_eq!(fault(resigned(|token| token.scope = vec!["tool.write".into()])), "scope_mismatch");
    assert_eq!(fault(resigned(|token| token.scope = vec!["tool:tool.writes".into()])), "scope_mismatch");
    assert_eq!(fault(resigned(|token| token.token_id = "made-up".into())), "id_mismatch");
}

#[test]
fn spelling_that_normalisation_undoes_does_not_matter_and_offsets_do() {
    let read = |text: &str| ApprovalToken::read(text.as_bytes()).unwrap();
    let text = minted("kim", 1).to_file_text().unwrap();
    let counts = |text: &str| assess(&[read(text)], &shared(), &TokenUses::default(), &demand(1)).granted;
    assert!(counts(&text));
    assert!(counts(&text.replace("\"kim\"", "\"\\tkim \"").replace("tool:tool.write", " TOOL:tool.Write")));
    assert!(counts(&text.replace("\"reason_code\"", "\"unknown\": [{}], \"Reason_Code\"")));
    assert!(counts(&text.replace("00:00:00Z", "00:00:00+00:00")));
    assert!(!counts(&text.replace("01:00:00Z", "03:00:00+02:00")));
}

#[test]
fn an_expiry_in_another_time_zone_is_the_instant_it_names() {
    let token = |expires: &str| resigned(|token| token.expires_at = at(expires));
    let with_id = |mut token: ApprovalToken| {
        token.token_id = token.derived_id();
        token.signature = Some(key(1).sign_digest(&token.signable_digest().unwrap()));
        token
    };
    assert_eq!(reasons(&[with_id(token("2026-01-01T02:30:01+02:00"))], &shared(), &demand(1)), ["approval_granted"]);
    let expired = reasons(&[with_id(token("2026-01-01T02:30:00+02:00"))], &shared(), &demand(1));
    assert_eq!(expired, ["approval_chain_insufficient", "approval_token_expired"]);
}

#[test]
fn without_a_ring_two_names_are_two_approvers() {
    let two = [minted("kim", 1), minted("lee", 1)];
    assert_eq!(reasons(&two, &shared(), &demand(2)), ["approval_granted"]);
    let mut again = minted("kim", 1);
    again.reason_code = "more".into();
    again.token_id = again.derived_id();
    again.signature = Some(key(1).sign_digest(&again.signable_digest().unwrap()));
    let found = assess(&[minted("kim", 1), again], &shared(), &TokenUses::default(), &demand(2));
    assert_eq!((found.reasons, found.valid), (vec!["approval_distinct_approvers_required"], 2));
    // golden/control/ge-approval-same-person.
    assert!(!found.granted && found.audit_approved);
}

#[test]
fn with_a_ring_two_keys_are_two_approvers_whatever_names_they_claim() {
    let mut ring = KeyRing::of_approvers();
    ring.add(key(1).public(), None);
    ring.add(key(2).public(), None);
    assert_eq!(reasons(&[minted("kim", 1), minted("lee", 2)], &ring, &demand(2)), ["approval_granted"]);
    let one_key = assess(&[minted("kim", 1), minted("lee", 1)], &ring, &TokenUses::default(), &demand(2));
    assert_eq!((one_key.reasons, one_key.valid), (vec!["approval_distinct_approvers_required"], 2));
    assert!(!one_key.granted && !one_key.audit_approved);
    assert_eq!(
        reasons(&[minted("kim", 3)], &ring, &demand(1)),
        ["approval_chain_insufficient", "approval_token_signature_invalid"]
    );
}

#[test]
fn a_key_of_one_approver_does_not_sign_for_another() {
    let mut ring = KeyRing::of_approvers();
    ring.add(key(1).public(), Some("kim".into()));
    ring.add(key(2).public(), Some("lee".into()));
    assert_eq!(reasons(&[minted("kim", 1), minted("lee", 2)], &ring, &demand(2)), ["approval_granted"]);
    let wrong = reasons(&[minted("lee", 1)], &ring, &demand(1));
    assert_eq!(wrong, ["approval_chain_insufficient", "approval_token_approver_mismatch"]);
}

#[test]
fn one_token_counts_once_however_often_it_is_shown() {
    let twice = [minted("kim", 1), minted("kim", 1)];
    let demand = Demand { require_distinct: false, ..demand(2) };
    assert_eq!(reasons(&twice, &shared(), &demand), ["approval_chain_insufficient", "approval_token_replayed"]);
}

#[test]
fn a_used_token_is_remembered_until_it_has_expired() {
    let now = at("2026-01-01T00:30:00Z");
    let mut uses = TokenUses::default();
    let found = assess(&[minted("kim", 1)], &shared(), &uses, &demand(1));
    uses.remember(&found.uses, &now);
    let read = TokenUses::read(uses.to_file_text().unwrap().as_bytes()).unwrap();
    assert_eq!(read, uses);
    let again = assess(&[minted("kim", 1)], &shared(), &read, &demand(1));
    assert_eq!(again.reasons, ["approval_chain_insufficient", "approval_token_replayed"]);
    uses.remember(&[], &at("2026-01-01T01:00:00Z"));
    assert_eq!(uses, TokenUses::default());
    for bad in ["", "{}", "[]", r#"{"schema_id":"gait.gate.approval_uses","schema_version":"1.0.0","used":[{}]}"#] {
        assert!(TokenUses::read(bad.as_bytes()).unwrap_err().to_string().starts_with("parse approval uses: "), "{bad}");
    }
}

#[test]
fn documents_that_are_no_tokens_are_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_member = format!("{{\"scope\":{deep}}}");
    for bad in [
        "",
        "[]",
        "7",
        "\"x\"",
        "{",
        "{} {}",
        "{\"scope\":\"*\"}",
        "{\"scope\":[1]}",
        "{\"created_at\":\"yesterday\"}",
        "{\"expires_at\":1e400}",
        "{\"token_id\":NaN}",
        "{\"signature\":[]}",
        "\u{feff}{}",
        &deep,
        &deep_member,
    ] {
        let shown: String = bad.chars().take(40).collect();
        let error = ApprovalToken::read(bad.as_bytes()).expect_err(&shown).to_string();
        assert!(error.starts_with("parse approval token: "), "{error}");
    }
    assert_eq!(ApprovalToken::read(b"null").unwrap(), ApprovalToken::default());
    let ignored = format!("{{\"unknown\":{deep}}}");
    assert_eq!(ApprovalToken::read(ignored.as_bytes()).unwrap(), ApprovalToken::default());
}

/// The same changes in every run: a linear congruential generator (Knuth's MMIX constants).
struct Changes(u64);

impl Changes {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn no_change_to_the_bytes_of_a_token_breaks_the_reader_or_grants_more() {
    let original = minted("kim", 1);
    let text = original.to_file_text().unwrap();
    let words = ["", "null", "1e400", "\"\\ud800\"", "[", "{}", "\u{0}", "9999-12-31T23:59:59Z", "*", "kim"];
    let mut changes = Changes(7);
    let (mut read, mut granted) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..=changes.below(3) {
            let at = changes.below(bytes.len());
            match changes.below(3) {
                0 => bytes[at] ^= 1 << changes.below(8),
                1 => bytes.truncate(at.max(1)),
                _ => {
                    let word = words[changes.below(words.len())];
                    let end = (at + changes.below(12)).min(bytes.len());
                    bytes.splice(at..end, word.bytes());
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        let Ok(token) = ApprovalToken::read(&bytes) else { continue };
        read += 1;
        let found = assess(std::slice::from_ref(&token), &shared(), &TokenUses::default(), &demand(1));
        if found.granted {
            // Only spellings of the same token are left.
            assert_eq!(token.normalized().signable_digest().unwrap(), original.signable_digest().unwrap());
            granted += 1;
        }
    }
    assert!(read > 1_000 && granted > 0, "{read} read, {granted} granted");
}
