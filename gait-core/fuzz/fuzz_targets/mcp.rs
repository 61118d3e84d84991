//! No line of a client or server breaks a session, and a line goes on only if it is what another parser reads, or if it
//! is a call whose very name was allowed.
#![no_main]

use gait_core::intent::ContextRequest;
use gait_core::mcp::frame::{Frame, Framer};
use gait_core::mcp::judge::NoControls;
use gait_core::mcp::session::{Call, Effect, Ended, Judged, Ledger, LedgerError, Session, Setup};
use gait_core::policy::{Policy, Strictness, Verdict};
use gait_core::signature::PrivateKey;
use gait_core::time::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[derive(Default)]
struct Last(Option<(String, Verdict)>);

impl Ledger for Last {
    fn decided(&mut self, call: &Call) -> Result<(), LedgerError> {
        self.0 = Some((call.intent.tool_name().to_owned(), call.judged.decision.verdict));
        Ok(())
    }

    fn ended(&mut self, _: &Judged, _: &Ended) -> Result<(), LedgerError> {
        Ok(())
    }
}

fn session() -> Session {
    let policy = "rules: [{name: r, effect: allow, match: {tool_names: [read]}}]\ndefault_verdict: block";
    let word = || "w".to_owned();
    let context = ContextRequest { identity: word(), workspace: word(), risk_class: word(), ..ContextRequest::default() };
    Session::new(Setup {
        policy: Policy::parse(policy, Strictness::Strict).expect("a policy"),
        context,
        targets: Vec::new(),
        allowed_methods: Vec::new(),
        started_at: Timestamp::FALLBACK,
        producer_version: word(),
        controls: Box::new(NoControls),
        key: PrivateKey::from_seed([1; 32]),
        limit_bytes: 4096,
    })
    .expect("a policy has a digest")
}

fuzz_target!(|bytes: &[u8]| {
    let (mut session, mut framer, mut frames) = (session(), Framer::new(4096), Vec::new());
    framer.push(bytes, |frame| frames.push(frame));
    frames.extend(framer.finish());
    for (turn, frame) in frames.into_iter().enumerate() {
        let mut last = Last::default();
        match frame {
            Frame::Line(line) if turn % 3 == 2 => drop(session.server_line(&line, &mut last)),
            Frame::Line(line) => {
                if session.client_line(&line, &mut last).effect == Effect::Forward {
                    let value: Value = serde_json::from_slice(&line).expect("what goes on is JSON");
                    let is_call = value["method"] == "tools/call";
                    assert_eq!(is_call.then(|| ("read".to_owned(), Verdict::Allow)), last.0);
                }
            }
            Frame::TooLong { length, found } => drop(session.client_too_long(length, &found)),
        }
    }
    session.server_gone("end", &mut Last::default());
});
