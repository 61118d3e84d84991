//! No bytes break the readers of the gate's records, and no token counts that the trusted key did not sign.
#![no_main]

use gait_core::approval::{ApprovalToken, Demand, KeyRing, TokenUses, assess};
use gait_core::broker::read_answer;
use gait_core::digest::Sha256Hex;
use gait_core::rate_limit::State;
use gait_core::signature::PrivateKey;
use gait_core::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = (read_answer(bytes), State::read(bytes), TokenUses::read(bytes));
    let Ok(token) = ApprovalToken::read(bytes) else { return };
    let normal = token.normalized();
    assert_eq!(normal.normalized(), normal, "normalising twice is normalising once");
    let text = token.to_file_text().expect("a token can be written");
    assert_eq!(ApprovalToken::read(text.as_bytes()).expect("what we write, we read"), token);
    // No input of a fuzzer is signed by this key.
    let ring = KeyRing::shared(PrivateKey::from_seed([7; 32]).public());
    let digest = |text: &str| Sha256Hex::parse(text).unwrap_or(Sha256Hex::of(text));
    let demand = Demand {
        intent_digest: digest(&normal.intent_digest),
        policy_digest: digest(&normal.policy_digest),
        tool_name: "tool.write",
        required: 1,
        require_distinct: false,
        now: Timestamp::FALLBACK,
    };
    let found = assess(&[token], &ring, &TokenUses::default(), &demand);
    assert!(!found.granted && found.valid == 0);
});
