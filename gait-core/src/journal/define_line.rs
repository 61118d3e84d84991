//! Definition lines without a tree of values: a run writes one for each distinct action, and reads each back.
//!
//! Tests hold the bytes against the general writer and the quick reader against the general one, so that this file can't
//! drift from the contract's canonical form.

use super::line::{EngineName, Open};
use crate::canonical::{CanonicalError, canonical_bytes};
use crate::digest::Sha256Hex;
use crate::name::unname;
use crate::splice::{push_number, push_text, take_number, take_plain_text, value_length};

/// A definition whose parts are canonical already.
#[derive(Clone, Copy, Debug)]
pub struct DefineParts<'a> {
    /// Number.
    pub def: u64,
    /// The canonical intent.
    pub intent: &'a [u8],
    /// Its digest.
    pub intent_digest: &'a Sha256Hex,
    /// The canonical decision ([`super::Decided`]).
    pub decision: &'a [u8],
    /// What enforced it.
    pub engine: EngineName,
    /// The error that the agent got.
    pub errno: Option<&'a str>,
}

impl EngineName {
    /// As the contract spells it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::Notify => "notify",
            Self::Hybrid => "hybrid",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Lsm, Self::Notify, Self::Hybrid, Self::Seccomp, Self::Landlock]
            .into_iter()
            .find(|name| name.word() == word)
    }
}

/// Longest line beyond its three canonical parts: names, numbers, digest, engine, errno.
pub(super) const FRAME_BYTES: u64 = 320;

/// Appends the canonical line with its newline.
pub(super) fn format(out: &mut Vec<u8>, seq: u64, t: u64, parts: &DefineParts<'_>) {
    out.extend_from_slice(b"{\"decision\":");
    out.extend_from_slice(parts.decision);
    out.extend_from_slice(b",\"def\":");
    push_number(out, parts.def);
    out.extend_from_slice(b",\"engine\":\"");
    out.extend_from_slice(parts.engine.word().as_bytes());
    out.push(b'"');
    if let Some(errno) = parts.errno {
        out.extend_from_slice(b",\"errno\":");
        push_text(out, errno);
    }
    out.extend_from_slice(b",\"intent\":");
    out.extend_from_slice(parts.intent);
    out.extend_from_slice(b",\"intent_digest\":\"");
    out.extend_from_slice(&parts.intent_digest.to_hex());
    out.extend_from_slice(b"\",\"seq\":");
    push_number(out, seq);
    out.extend_from_slice(b",\"t\":");
    push_number(out, t);
    out.extend_from_slice(b",\"type\":\"define\"}\n");
}

/// What the quick reader found. Everything but the decision was checked.
#[derive(Debug)]
pub(super) struct Read<'a> {
    pub(super) seq: u64,
    pub(super) t: u64,
    pub(super) def: u64,
    /// The decision as it stands: not checked for anything.
    pub(super) decision: &'a [u8],
    pub(super) intent: &'a [u8],
    pub(super) intent_digest: Sha256Hex,
    pub(super) tool_name: &'a str,
    pub(super) value: &'a str,
}

/// What all intents of a run have in common, as canonical text up to the next member.
#[derive(Clone, Debug)]
pub(super) struct Common {
    /// `{"arg_provenance":...,"args":`
    before_args: Vec<u8>,
    /// `,"context":...,"targets":[{`
    before_target: Vec<u8>,
}

impl Common {
    pub(super) fn of(open: &Open) -> Result<Self, CanonicalError> {
        let text = |name: &str| canonical_bytes(&open.intent[name]);
        let before_args = [b"{\"arg_provenance\":", &*text("arg_provenance")?, b",\"args\":"].concat();
        let before_target = [b",\"context\":", &*text("context")?, b",\"targets\":[{"].concat();
        Ok(Self { before_args, before_target })
    }

    /// Reads a line (without its newline) of the common form: one target, plain texts without escapes.
    ///
    /// `None` says nothing about the line: the general reader decides.
    pub(super) fn parse<'a>(&self, line: &'a [u8]) -> Option<Read<'a>> {
        let rest = line.strip_prefix(b"{\"decision\":")?;
        let (decision, rest) = rest.split_at_checked(value_length(rest)?)?;
        let (def, rest) = take_number(rest.strip_prefix(b",\"def\":")?)?;
        let (engine, mut rest) = take_plain_text(rest.strip_prefix(b",\"engine\":")?)?;
        EngineName::parse(engine)?;
        if let Some(errno) = rest.strip_prefix(b",\"errno\":") {
            rest = take_plain_text(errno)?.1;
        }
        let rest = rest.strip_prefix(b",\"intent\":")?;
        let (intent, rest) = rest.split_at_checked(value_length(rest)?)?;
        let (digest, rest) = take_plain_text(rest.strip_prefix(b",\"intent_digest\":")?)?;
        let (seq, rest) = take_number(rest.strip_prefix(b",\"seq\":")?)?;
        let (t, rest) = take_number(rest.strip_prefix(b",\"t\":")?)?;
        if rest != b",\"type\":\"define\"}" {
            return None;
        }
        let (tool_name, value) = self.intent(intent)?;
        let intent_digest = Sha256Hex::parse(digest).ok()?;
        (Sha256Hex::of(intent) == intent_digest).then_some(Read {
            seq,
            t,
            def,
            decision,
            intent,
            intent_digest,
            tool_name,
            value,
        })
    }

    /// Tool and value of an intent of the common form, whose names were checked.
    fn intent<'a>(&self, intent: &'a [u8]) -> Option<(&'a str, &'a str)> {
        let mut program = None;
        let rest = intent.strip_prefix(&*self.before_args)?.strip_prefix(b"{")?;
        let rest = take_members(rest, |key, text| {
            if key == "program" {
                program = Some(text);
            }
        })?;
        let (mut kind, mut value) = (None, None);
        let rest = take_members(rest.strip_prefix(&*self.before_target)?, |key, text| match key {
            "kind" => kind = Some(text),
            "value" => value = Some(text),
            _ => {}
        })?;
        let (tool_name, rest) = take_plain_text(rest.strip_prefix(b"],\"tool_name\":")?)?;
        let value = value??;
        let named = match kind?? {
            "path" => Some(value),
            "other" => ["memfd:", "unix:@"].iter().find_map(|prefix| value.strip_prefix(prefix)),
            _ => None,
        };
        let names = named.into_iter().chain(program.flatten());
        (rest == b"}" && names.map(unname).all(|name| name.is_ok())).then_some((tool_name, value))
    }
}

/// Members up to and with the closing brace of an object, in canonical order, each a plain text, a number or `true`.
/// Gives what follows. `each` gets the key and the text.
fn take_members<'a>(mut rest: &'a [u8], mut each: impl FnMut(&'a str, Option<&'a str>)) -> Option<&'a [u8]> {
    let mut last = None;
    loop {
        if let (None, Some(after)) = (last, rest.strip_prefix(b"}")) {
            return Some(after);
        }
        let (key, after) = take_plain_text(rest)?;
        // ASCII sorts by bytes as it does by UTF-16 units.
        if !key.is_ascii() || last.is_some_and(|last| last >= key) {
            return None;
        }
        last = Some(key);
        let value = after.strip_prefix(b":")?;
        let (text, after) = if value.starts_with(b"\"") {
            let (text, after) = take_plain_text(value)?;
            (Some(text), after)
        } else if let Some(after) = value.strip_prefix(b"true") {
            (None, after)
        } else {
            (None, take_number(value)?.1)
        };
        each(key, text);
        match after.split_first()? {
            (b',', next) => rest = next,
            (b'}', next) => return Some(next),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::checker::{check_definition, take_apart};
    use super::super::line::{Body, Decided, Define};
    use super::super::{Enforced, JOURNAL_SCHEMA, Source};
    use super::*;
    use crate::policy::Verdict;

    fn open() -> Open {
        let digest = Sha256Hex::of("x");
        Open {
            schema_id: JOURNAL_SCHEMA.into(),
            schema_version: "1.0.0".into(),
            producer_version: "0.0.0-dev".into(),
            run_id: "run_x".into(),
            nonce: String::new(),
            started_at: String::new(),
            key_id: String::new(),
            public_key: String::new(),
            policy_digest: digest,
            plan_digest: digest,
            checkpoint_every: 1024,
            intent: json!({"arg_provenance": [{"arg_path": "$", "source": "system"}],
                           "context": {"identity": "a\"b", "risk_class": "high", "workspace": "/w"}}),
        }
    }

    fn decided() -> Decided {
        Decided {
            verdict: Verdict::Block,
            enforced: Enforced::Deny,
            source: Source::Policy,
            reason_codes: vec!["a".into(), "b{\"".into()],
            violations: vec![],
            matched_rule: Some("no \"rule\"".into()),
            policy_verdict: None,
            approval_ref: None,
        }
    }

    fn intent(value: &str, kind: &str, args: &Value) -> Value {
        let open = open().intent;
        json!({"arg_provenance": open["arg_provenance"], "context": open["context"], "args": args, "tool_name": "fs.read",
               "targets": [{"kind": kind, "value": value, "operation": "read", "destructive": true}]})
    }

    /// A definition, and its line as the general writer has it.
    fn definition(intent: Value, errno: Option<String>, (def, seq, t): (u64, u64, u64)) -> (Define, Vec<u8>) {
        let intent_digest = crate::canonical::digest_of(&intent).unwrap();
        let define = Define { def, intent, intent_digest, decision: decided(), engine: EngineName::Hybrid, errno };
        let mut members = Body::Define(Box::new(define.clone())).members().unwrap();
        members["seq"] = seq.into();
        members["t"] = t.into();
        members["type"] = "define".into();
        // serde_jcs is the independent implementation of RFC 8785.
        let mut line = serde_jcs::to_vec(&members).unwrap();
        line.push(b'\n');
        (define, line)
    }

    fn any_args() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(json!({})),
            "[ -~]{0,6}".prop_map(|text| json!({"mode": text})),
            (any::<u32>(), "\\PC{0,4}").prop_map(|(n, text)| json!({"argc": n, "argv_digest": "00", "program": text})),
            Just(json!({"n": 1.5, "deep": {"args": [1]}, "off": false})),
        ]
    }

    proptest! {
        #[test]
        fn the_hand_written_line_is_the_canonical_one_and_reads_back(
            value in "[ -~é]{1,12}|\\PC{1,12}",
            kind in "path|other|host",
            args in any_args(),
            errno in prop::option::of("E[A-Z]{3,9}"),
            numbers in (1u64..99, 1u64..9999, 0u64..9_007_199_254_740_991),
        ) {
            let (define, line) = definition(intent(&value, &kind, &args), errno, numbers);
            let canonical = canonical_bytes(&define.intent).unwrap();
            let decision = canonical_bytes(&define.decision).unwrap();
            let parts = DefineParts {
                def: numbers.0, intent: &canonical, intent_digest: &define.intent_digest, decision: &decision,
                engine: define.engine, errno: define.errno.as_deref(),
            };
            let mut written = Vec::new();
            format(&mut written, numbers.1, numbers.2, &parts);
            prop_assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&line));
            agree(&line, &open())?;
        }

        #[test]
        fn whatever_the_quick_reader_takes_the_general_one_takes_too(
            value in "/[ -~]{0,8}|[\\x00-\\x7f]{1,4}|\u{10fe00}?a ?",
            args in any_args(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            insert in any::<bool>(),
        ) {
            let (_, mut line) = definition(intent(&value, "path", &args), None, (1, 2, 3));
            let at = at.index(line.len());
            if insert { line.insert(at, byte) } else { line[at] = byte }
            // A changed intent mostly fails by its digest: put the right one in.
            for line in [with_digest(&line), Some(line)].into_iter().flatten() {
                agree(&line, &open())?;
            }
        }
    }

    /// The line with the digest that its intent has.
    fn with_digest(line: &[u8]) -> Option<Vec<u8>> {
        let text = str::from_utf8(line).ok()?;
        let from = text.find(",\"intent\":")? + ",\"intent\":".len();
        let to = text.find(",\"intent_digest\":\"")?;
        let digest = Sha256Hex::of(text.get(from..to)?).to_string();
        let start = to + ",\"intent_digest\":\"".len();
        Some([&text[..start], &*digest, text.get(start + 64..)?].concat().into_bytes())
    }

    fn agree(line: &[u8], open: &Open) -> Result<(), TestCaseError> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let Some(read) = Common::of(open).unwrap().parse(text) else { return Ok(()) };
        // A decision is looked up by its bytes, which were checked when they were first met.
        if *read.decision != *canonical_bytes(&decided()).unwrap() {
            return Ok(());
        }
        let (seq, t, kind, value) = take_apart(text, read.seq).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!((&*kind, seq, t), ("define", read.seq, read.t));
        let Ok(Body::Define(define)) = Body::parse(&kind, value) else {
            return Err(TestCaseError::fail("the general reader refuses it"));
        };
        prop_assert_eq!(define.def, read.def);
        let entry = check_definition(&define, open).map_err(TestCaseError::fail)?;
        prop_assert_eq!(&*entry.canonical, read.intent);
        prop_assert_eq!(
            (entry.digest, &*entry.tool_name, &*entry.value),
            (read.intent_digest, read.tool_name, read.value)
        );
        Ok(())
    }

    #[test]
    fn the_common_form_is_taken_by_the_quick_reader() {
        for args in [json!({}), json!({"via": "mmap"}), json!({"argc": 3, "argv_digest": "00", "program": "sh"})] {
            let (_, line) = definition(intent("/a b/é", "path", &args), Some("EACCES".into()), (1, 2, 3));
            assert!(Common::of(&open()).unwrap().parse(&line[..line.len() - 1]).is_some(), "{args}");
        }
    }

    #[test]
    fn names_that_no_guard_writes_are_left_to_the_general_reader() {
        for (kind, value) in [("path", "/a "), ("other", "memfd: x"), ("other", "unix:@\u{10fe61}")] {
            let (define, line) = definition(intent(value, kind, &json!({})), None, (1, 2, 3));
            assert!(Common::of(&open()).unwrap().parse(&line[..line.len() - 1]).is_none(), "{value}");
            assert!(check_definition(&define, &open()).is_err(), "{value}");
        }
    }
}
