//! Reads a journal in one pass and refuses the first line that no guard would have written there
//! (contract guarded-run 3.5).

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use serde_json::Value;

use super::JOURNAL_SCHEMA;
use super::chain::Chain;
use super::decision_line;
use super::define_line::Common;
use super::ledger::{Ending, Interned, Ledger, LedgerIntent};
use super::line::{Body, Checkpoint, DecisionLine, Define, Enforced, Open, Seal};
use crate::canonical;
use crate::name::unname;
use crate::signature::{self, PublicKey};
use crate::splice::MAX_INTEGER;
use crate::time::Timestamp;

/// No line is longer, newline included (contract guarded-run 3.1).
pub const LINE_LIMIT: usize = 1 << 20;

/// Why a journal is not what a guard wrote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message says it")]
pub enum JournalError {
    #[error("journal line {seq} can't be read")]
    Io {
        seq: u64,
        #[source]
        cause: io::Error,
    },
    #[error("journal line {seq} is longer than {LINE_LIMIT} bytes")]
    TooLong { seq: u64 },
    #[error("journal line {seq} has no end")]
    Torn { seq: u64 },
    #[error("journal line {seq} is not a journal line: {cause}")]
    Malformed { seq: u64, cause: String },
    #[error("journal line {seq} is not canonical")]
    NotCanonical { seq: u64 },
    #[error("journal line {seq} says it is line {found}")]
    Numbering { seq: u64, found: u64 },
    #[error("journal line 1 is not an open line of this format: {cause}")]
    NotOpened { cause: String },
    #[error("journal line {seq} opens the journal again")]
    OpenedAgain { seq: u64 },
    #[error("journal goes on after its end at line {seq}")]
    AfterEnd { seq: u64 },
    #[error("journal line {seq}: {what} {number} does not follow the one before")]
    OutOfOrder { seq: u64, what: &'static str, number: u64 },
    #[error("journal line {seq} refers to {what} {number}, which does not exist")]
    Dangling { seq: u64, what: &'static str, number: u64 },
    #[error("definition {def} does not hold: {cause}")]
    Definition { def: u64, cause: String },
    #[error("checkpoint {block} does not continue the chain")]
    Chain { block: u64 },
    #[error("checkpoint {block} is of another run")]
    OtherRun { block: u64 },
    #[error("checkpoint {block} comes after too many lines, or none")]
    BlockLength { block: u64 },
    #[error("checkpoint {block}: {cause}")]
    Signature { block: u64, cause: String },
    #[error("the seal does not say how far the journal was attested")]
    Seal,
    #[error("segment does not end with a checkpoint")]
    SegmentEnd,
    #[error("journal has no end")]
    NoEnd,
}

/// What a line was, for a caller that does something at checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Any line but a checkpoint.
    Line,
    /// A checkpoint that holds.
    Checkpoint,
}

/// The end of a journal, while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Closed,
    Sealed,
    Ended,
}

/// Reads a journal line by line. Checkpoint signatures are checked with the key of the `open` line:
/// whoever asks has to compare that key with the one they trust.
#[derive(Clone)]
pub struct Checker {
    chain: Chain,
    ledger: Option<Ledger>,
    key: Option<PublicKey>,
    phase: Phase,
    last: Step,
    /// What the intents of this run have in common, for the quick reader.
    common: Option<Common>,
    /// Decisions that were checked, by their canonical bytes: definitions of a run share few.
    spelt: HashMap<Box<[u8]>, Interned>,
}

/// Spellings kept; a run with more decisions is read the slow way for some.
const DECISIONS_KEPT: usize = 4096;

impl Default for Checker {
    fn default() -> Self {
        Self {
            chain: Chain::default(),
            ledger: None,
            key: None,
            phase: Phase::Running,
            last: Step::Line,
            common: None,
            spelt: HashMap::new(),
        }
    }
}

impl Checker {
    /// A checker that has read nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one segment to its end.
    ///
    /// # Errors
    /// The first line that does not hold; or the segment does not end with a checkpoint.
    pub fn segment(&mut self, source: &mut impl BufRead) -> Result<(), JournalError> {
        let mut line = Vec::with_capacity(1024);
        while read_line(source, &mut line, self.chain.seq() + 1)? > 0 {
            if line.last() != Some(&b'\n') {
                return Err(JournalError::Torn { seq: self.chain.seq() + 1 });
            }
            self.line(&line)?;
        }
        if self.last == Step::Checkpoint { Ok(()) } else { Err(JournalError::SegmentEnd) }
    }

    /// Takes in one line, newline included.
    ///
    /// # Errors
    /// The line does not hold; the checker is then of no more use.
    pub fn line(&mut self, line: &[u8]) -> Result<Step, JournalError> {
        let seq = self.chain.seq() + 1;
        let text = line.strip_suffix(b"\n").ok_or(JournalError::Torn { seq })?;
        if line.len() > LINE_LIMIT {
            return Err(JournalError::TooLong { seq });
        }
        if let (Some((found, t, decision)), Phase::Running) = (decision_line::parse(text), self.phase) {
            expect_seq(seq, found)?;
            self.decision(&decision, seq)?;
            return Ok(self.added(line, t));
        }
        if self.phase == Phase::Running
            && let Some(step) = self.quick_define(line, text, seq)
        {
            return Ok(step);
        }
        let (found, t, kind, value) = take_apart(text, seq)?;
        expect_seq(seq, found)?;
        let body =
            Body::parse(&kind, value.clone()).map_err(|e| JournalError::Malformed { seq, cause: e.to_string() })?;
        match body {
            Body::Checkpoint(checkpoint) => self.checkpoint(&checkpoint, value, (&kind, seq, t), line),
            body => {
                self.accept(body, seq, t)?;
                Ok(self.added(line, t))
            }
        }
    }

    /// What the journal adds up to, and where it stands.
    ///
    /// # Errors
    /// It has no end.
    pub fn finish(self) -> Result<(Ledger, Chain), JournalError> {
        match (self.phase, self.ledger) {
            (Phase::Ended, Some(ledger)) => Ok((ledger, self.chain)),
            _ => Err(JournalError::NoEnd),
        }
    }

    /// The same without the demand for an end: `None` if not even the first line is there. The flag
    /// says whether the journal has its end.
    pub fn unfinished(self) -> Option<(Ledger, Chain, bool)> {
        self.ledger.map(|ledger| (ledger, self.chain, self.phase == Phase::Ended))
    }

    /// Where the journal stands.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    fn added(&mut self, line: &[u8], t: u64) -> Step {
        self.chain.add(line);
        if let Some(ledger) = &mut self.ledger {
            ledger.set_time(t);
        }
        self.last = Step::Line;
        Step::Line
    }

    fn accept(&mut self, body: Body, seq: u64, t: u64) -> Result<(), JournalError> {
        let Some(ledger) = &mut self.ledger else {
            return self.open(body, t);
        };
        match (self.phase, &body) {
            (Phase::Running, _) | (Phase::Closed, Body::Seal(_)) => {}
            _ => return Err(JournalError::AfterEnd { seq }),
        }
        match &body {
            Body::Open(_) => return Err(JournalError::OpenedAgain { seq }),
            Body::Fork(fork) => {
                // Numbers are given as processes are met, so a parent may be written down after its child.
                if fork.proc == 0 || ledger.has_process(fork.proc) {
                    return Err(JournalError::OutOfOrder { seq, what: "process", number: fork.proc });
                }
            }
            Body::Exec(exec) => {
                process_exists(seq, exec.proc, ledger)?;
                canonical_name(&exec.file).map_err(|cause| JournalError::Malformed { seq, cause })?;
            }
            Body::Exit(exit) => process_exists(seq, exit.proc, ledger)?,
            Body::Hold(hold) => {
                in_order(seq, "hold", hold.hold, ledger.holds())?;
                process_exists(seq, hold.proc, ledger)?;
            }
            Body::Disagreement(d) => exists(seq, "definition", d.def, ledger.definitions())?,
            Body::Lost(lost) => self.chain.lose(lost.count),
            Body::Close(_) => self.phase = Phase::Closed,
            Body::Seal(seal) => {
                check_seal(seal, &self.chain, t == ledger.last_t())?;
                self.phase = Phase::Sealed;
            }
            Body::Define(_) | Body::Decision(_) | Body::Checkpoint(_) | Body::Unknown(_) => {}
        }
        ledger.note(&body);
        match body {
            Body::Define(define) => self.define(*define, seq),
            Body::Decision(decision) => self.decision(&decision, seq),
            _ => Ok(()),
        }
    }

    fn open(&mut self, body: Body, t: u64) -> Result<(), JournalError> {
        let refuse = |cause: &str| JournalError::NotOpened { cause: cause.to_owned() };
        let Body::Open(open) = body else {
            return Err(refuse("another type"));
        };
        check_open(&open, t).map_err(refuse)?;
        let key = PublicKey::from_base64(&open.public_key).map_err(|_| refuse("its public key can't be read"))?;
        if key.id().to_string() != open.key_id || key.to_base64() != open.public_key {
            return Err(refuse("its key id is not that of its public key"));
        }
        self.key = Some(key);
        self.common = Some(Common::of(&open).map_err(|e| refuse(&e.to_string()))?);
        self.ledger = Some(Ledger::new(*open));
        Ok(())
    }

    fn decision(&mut self, line: &DecisionLine, seq: u64) -> Result<(), JournalError> {
        let ledger = self.ledger.as_mut().ok_or_else(|| JournalError::NotOpened { cause: "another type".into() })?;
        process_exists(seq, line.proc, ledger)?;
        if let Some(hold) = line.hold {
            exists(seq, "hold", hold, ledger.holds())?;
        }
        let verdict =
            ledger.decide(line, seq).ok_or(JournalError::Dangling { seq, what: "definition", number: line.def })?;
        self.chain.decide(verdict);
        Ok(())
    }

    fn define(&mut self, define: Define, seq: u64) -> Result<(), JournalError> {
        let ledger = self.ledger.as_mut().ok_or_else(|| JournalError::NotOpened { cause: "another type".into() })?;
        in_order(seq, "definition", define.def, ledger.definitions())?;
        let intent = check_definition(&define, ledger.open())
            .map_err(|cause| JournalError::Definition { def: define.def, cause })?;
        let spelt = canonical::canonical_bytes(&define.decision)
            .map_err(|e| JournalError::Malformed { seq, cause: e.to_string() })?;
        let decision = ledger.intern(define.decision);
        ledger.define(&decision, intent);
        if self.spelt.len() >= DECISIONS_KEPT {
            self.spelt.clear();
        }
        self.spelt.insert(spelt.into(), decision);
        Ok(())
    }

    /// Takes in a definition of the common form, whose decision was read before. `None` says nothing about the line.
    fn quick_define(&mut self, line: &[u8], text: &[u8], seq: u64) -> Option<Step> {
        let read = self.common.as_ref()?.parse(text)?;
        let (ledger, decision) = (self.ledger.as_mut()?, self.spelt.get(read.decision)?);
        if read.seq != seq || read.def != ledger.definitions() + 1 {
            return None;
        }
        let intent = LedgerIntent {
            digest: read.intent_digest,
            canonical: read.intent.into(),
            tool_name: read.tool_name.into(),
            value: read.value.into(),
        };
        ledger.define(decision, intent);
        Some(self.added(line, read.t))
    }

    /// `value` is the line without `type`, `seq` and `t`, which are put back for the signature.
    fn checkpoint(
        &mut self,
        checkpoint: &Checkpoint,
        mut value: Value,
        (kind, seq, t): (&str, u64, u64),
        line: &[u8],
    ) -> Result<Step, JournalError> {
        let block = checkpoint.block;
        let (Some(ledger), Some(key)) = (&mut self.ledger, &self.key) else {
            return Err(JournalError::NotOpened { cause: "another type".into() });
        };
        if (&checkpoint.run_id, &checkpoint.nonce) != (&ledger.open().run_id, &ledger.open().nonce) {
            return Err(JournalError::OtherRun { block });
        }
        if !self.chain.agrees(checkpoint) {
            return Err(JournalError::Chain { block });
        }
        let limit = ledger.open().checkpoint_every + u64::from(self.phase == Phase::Sealed);
        if !(1..=limit).contains(&self.chain.pending()) {
            return Err(JournalError::BlockLength { block });
        }
        self.phase = match (self.phase, checkpoint.is_final) {
            (Phase::Running, false) => Phase::Running,
            (Phase::Closed | Phase::Sealed, true) => Phase::Ended,
            (Phase::Running, true) => return Err(JournalError::NoEnd),
            (Phase::Closed | Phase::Sealed | Phase::Ended, _) => return Err(JournalError::AfterEnd { seq }),
        };
        if let Some(members) = value.as_object_mut() {
            members.remove("signature");
        }
        value["type"] = kind.into();
        value["seq"] = seq.into();
        value["t"] = t.into();
        let refuse = |cause: String| JournalError::Signature { block, cause };
        let digest = canonical::digest_of(&value).map_err(|e| refuse(e.to_string()))?;
        if checkpoint.signature.key_id.is_empty() {
            return Err(refuse("key id is empty".into()));
        }
        signature::verify(&checkpoint.signature, &digest, key).map_err(|e| refuse(e.to_string()))?;
        ledger.set_time(t);
        self.chain.pass(checkpoint.head, line);
        self.last = Step::Checkpoint;
        Ok(Step::Checkpoint)
    }
}

/// Reads up to and with the next newline; 0 at the end. `seq` is for the error.
fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>, seq: u64) -> Result<usize, JournalError> {
    line.clear();
    let read = source.take(LINE_LIMIT as u64 + 1).read_until(b'\n', line);
    match read.map_err(|cause| JournalError::Io { seq, cause })? {
        n if n > LINE_LIMIT => Err(JournalError::TooLong { seq }),
        n => Ok(n),
    }
}

/// `seq`, `t`, `type` and the other members of a canonical line.
pub(super) fn take_apart(text: &[u8], seq: u64) -> Result<(u64, u64, String, Value), JournalError> {
    let malformed = |cause: &str| JournalError::Malformed { seq, cause: cause.to_owned() };
    let mut value: Value = serde_json::from_slice(text).map_err(|e| malformed(&e.to_string()))?;
    if canonical::canonical_bytes(&value).map_err(|e| malformed(&e.to_string()))? != text {
        return Err(JournalError::NotCanonical { seq });
    }
    let members = value.as_object_mut().ok_or_else(|| malformed("it is no object"))?;
    let mut number = |name: &str| match members.remove(name).as_ref().and_then(Value::as_u64) {
        Some(n) if n <= MAX_INTEGER => Ok(n),
        _ => Err(malformed(&format!("`{name}` is no number below 2^53"))),
    };
    let (found, t) = (number("seq")?, number("t")?);
    match members.remove("type") {
        Some(Value::String(kind)) => Ok((found, t, kind, value)),
        _ => Err(malformed("`type` is no text")),
    }
}

fn expect_seq(seq: u64, found: u64) -> Result<(), JournalError> {
    if seq == found { Ok(()) } else { Err(JournalError::Numbering { seq, found }) }
}

fn in_order(seq: u64, what: &'static str, number: u64, before: u64) -> Result<(), JournalError> {
    if number == before + 1 { Ok(()) } else { Err(JournalError::OutOfOrder { seq, what, number }) }
}

fn exists(seq: u64, what: &'static str, number: u64, last: u64) -> Result<(), JournalError> {
    if (1..=last).contains(&number) { Ok(()) } else { Err(JournalError::Dangling { seq, what, number }) }
}

fn process_exists(seq: u64, number: u64, ledger: &Ledger) -> Result<(), JournalError> {
    if ledger.has_process(number) { Ok(()) } else { Err(JournalError::Dangling { seq, what: "process", number }) }
}

fn check_open(open: &Open, t: u64) -> Result<(), &'static str> {
    if (&*open.schema_id, &*open.schema_version) != (JOURNAL_SCHEMA, "1.0.0") {
        return Err("schema");
    }
    if t != 0 {
        return Err("its time is not 0");
    }
    if open.nonce.len() != 32 || !open.nonce.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("its nonce is not 32 hex digits");
    }
    if !(1..=1024).contains(&open.checkpoint_every) {
        return Err("checkpoint_every is not in 1..1024");
    }
    match Timestamp::parse(&open.started_at) {
        Ok(time) if time.to_utc().to_string() == open.started_at => Ok(()),
        _ => Err("started_at is not a UTC time in normal form"),
    }
}

fn check_seal(seal: &Seal, chain: &Chain, same_time: bool) -> Result<(), JournalError> {
    let attested = (seal.attested, seal.unattested) == (chain.first() - 1, chain.pending());
    let time = Timestamp::parse(&seal.sealed_at).is_ok_and(|time| time.to_string() == seal.sealed_at);
    if attested && same_time && time { Ok(()) } else { Err(JournalError::Seal) }
}

pub(super) fn check_definition(define: &Define, open: &Open) -> Result<LedgerIntent, String> {
    let canonical = canonical::canonical_bytes(&define.intent).map_err(|e| e.to_string())?;
    let digest = crate::digest::Sha256Hex::of(&canonical);
    if digest != define.intent_digest {
        return Err("its intent has another digest".into());
    }
    let decision = &define.decision;
    if decision.enforced != Enforced::of(decision.verdict) {
        return Err("enforced does not follow from the verdict".into());
    }
    if !ascending(&decision.reason_codes) || !ascending(&decision.violations) {
        return Err("codes are not sorted and unique".into());
    }
    if decision.policy_verdict == Some(decision.verdict) {
        return Err("policy_verdict is that of the decision".into());
    }
    let (tool_name, value) = check_intent(&define.intent, open)?;
    Ok(LedgerIntent { digest, canonical: canonical.into(), tool_name: tool_name.into(), value: value.into() })
}

fn ascending(codes: &[String]) -> bool {
    codes.windows(2).all(|pair| pair[0] < pair[1])
}

/// The shape of contract 2.2: exactly five members, one target, canonical names. Gives tool and value.
fn check_intent<'a>(intent: &'a Value, open: &Open) -> Result<(&'a str, &'a str), String> {
    let members = intent.as_object().ok_or("its intent is no object")?;
    if !members.keys().map(String::as_str).eq(["arg_provenance", "args", "context", "targets", "tool_name"]) {
        return Err("its intent is not of the five members".into());
    }
    for same in ["arg_provenance", "context"] {
        if intent[same] != open.intent[same] {
            return Err(format!("its {same} is not that of the run"));
        }
    }
    let tool = intent["tool_name"].as_str().ok_or("its tool is no text")?;
    let [target] = intent["targets"].as_array().map(Vec::as_slice).ok_or("its targets are no list")? else {
        return Err("it has not exactly one target".into());
    };
    let value = target["value"].as_str().ok_or("its target has no value")?;
    let named = match target["kind"].as_str() {
        Some("path") => Some(value),
        Some("other") => ["memfd:", "unix:@"].iter().find_map(|prefix| value.strip_prefix(prefix)),
        _ => None,
    };
    for text in named.into_iter().chain(intent["args"]["program"].as_str()) {
        canonical_name(text)?;
    }
    Ok((tool, value))
}

fn canonical_name(text: &str) -> Result<(), String> {
    unname(text).map(drop).map_err(|e| e.to_string())
}

/// The end of a ledger that has one: complete means closed by the guard, with nothing lost.
impl Ledger {
    /// Whether the record of the run is complete (contract 3.4).
    pub fn complete(&self, chain: &Chain) -> bool {
        matches!(self.ending(), Some(Ending::Closed(close)) if close.complete) && chain.lost() == 0
    }
}
