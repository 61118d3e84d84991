//! The signed record of one verdict (`gait.gate.trace`, control 9).
//!
//! Two forms of one record: a line of canonical JSON, as in a runpack, and an indented file. Either is
//! read by [`TraceRecord::read`].

use serde::{Deserialize, Serialize};

use crate::canonical::{CanonicalError, canonical_bytes, digest_of};
use crate::digest::Sha256Hex;
use crate::intent::Skill;
use crate::json::{self, WriteError};
use crate::overlay::{Record, record, records};
use crate::policy::Verdict;
use crate::signature::{self, PrivateKey, PublicKey, Signature, SignatureError};
use crate::time::Timestamp;

/// Schema of a trace.
pub const SCHEMA_ID: &str = "gait.gate.trace";
/// The one version there is.
pub const SCHEMA_VERSION: &str = "1.0.0";

/// A trace as it was read or built. Its members are unchecked text until [`TraceRecord::verify`] has
/// seen them; they are declared in the order of the file form.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of control 9, under the same names")]
pub struct TraceRecord {
    pub schema_id: String,
    pub schema_version: String,
    pub created_at: Timestamp,
    pub producer_version: String,
    pub trace_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub correlation_id: String,
    pub tool_name: String,
    pub args_digest: String,
    pub intent_digest: String,
    pub policy_digest: String,
    pub verdict: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<String>,
    /// Milliseconds; zero is as good as absent.
    #[serde(skip_serializing_if = "is_zero")]
    pub latency_ms: f64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub approval_token_ref: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skill_provenance: Option<TraceSkill>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

record!(
    TraceRecord,
    "a trace record",
    schema_id,
    schema_version,
    created_at,
    producer_version,
    trace_id,
    correlation_id,
    tool_name,
    args_digest,
    intent_digest,
    policy_digest,
    verdict,
    violations,
    latency_ms,
    approval_token_ref,
    skill_provenance,
    signature
);
record!(Signature, "a signature", alg, key_id, sig, signed_digest);

records! {
    /// `skill_provenance` of a trace.
    TraceSkill ("skill provenance") {
        skill_name: String,
        skill_version: String,
        source: String,
        publisher: String,
        digest: String,
        signature_key_id: String,
    }
}

impl Serialize for TraceSkill {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(None)?;
        let members = [
            ("skill_name", &self.skill_name, Presence::Always),
            ("skill_version", &self.skill_version, Presence::IfAny),
            ("source", &self.source, Presence::Always),
            ("publisher", &self.publisher, Presence::Always),
            ("digest", &self.digest, Presence::IfAny),
            ("signature_key_id", &self.signature_key_id, Presence::IfAny),
        ];
        for (name, value, presence) in members {
            if presence == Presence::Always || !value.is_empty() {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

#[derive(PartialEq, Eq)]
enum Presence {
    Always,
    IfAny,
}

impl From<&Skill> for TraceSkill {
    fn from(skill: &Skill) -> Self {
        Self {
            skill_name: skill.skill_name.clone(),
            skill_version: skill.skill_version.clone(),
            source: skill.source.clone(),
            publisher: skill.publisher.clone(),
            digest: skill.digest.clone(),
            signature_key_id: skill.signature_key_id.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for TraceRecord {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut record = Self::default();
        record.overlay_or_null(deserializer)?;
        Ok(record)
    }
}

/// What a trace is made of.
#[derive(Clone, Debug)]
pub struct TraceFacts<'a> {
    /// `created_at` of the intent, or the start of a guarded run; the zero time becomes 1980.
    pub created_at: Timestamp,
    /// Version of the program that decides.
    pub producer_version: &'a str,
    /// Which call or run this belongs to; may be empty.
    pub correlation_id: &'a str,
    /// Normalised.
    pub tool_name: &'a str,
    /// Digest of the intent's args.
    pub args_digest: Sha256Hex,
    /// Digest of the intent.
    pub intent_digest: Sha256Hex,
    /// Digest of the effective policy.
    pub policy_digest: Sha256Hex,
    /// The final verdict.
    pub verdict: Verdict,
    /// Sorted, unique.
    pub violations: Vec<String>,
    /// References of the approvals that were used, sorted, unique, joined by `,`; may be empty.
    pub approval_token_ref: &'a str,
    /// The skill of the intent, if it has one.
    pub skill_provenance: Option<&'a Skill>,
}

/// `trace_id`: the first 24 hex characters of the digest of `policy_digest:intent_digest:verdict`.
pub fn trace_id(policy_digest: &Sha256Hex, intent_digest: &Sha256Hex, verdict: Verdict) -> String {
    Sha256Hex::of(format!("{policy_digest}:{intent_digest}:{verdict}")).short(24)
}

/// Why a document is not a trace.
#[derive(Debug, thiserror::Error)]
#[error("parse trace record: {cause}")]
pub struct TraceReadError {
    pub(crate) cause: serde_json::Error,
}

/// Why a trace does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// Nobody signed it.
    #[error("trace signature missing")]
    Unsigned,
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The key signed it as the trace of a simulation: nothing was enforced, so its verdict permits nothing.
    #[error("the trace is signed as a simulation: its verdict was not enforced")]
    Simulated,
    /// It is signed, but it is a record of another kind.
    #[error("unsupported trace schema: {schema_id} {schema_version}")]
    Schema {
        /// What `schema_id` says.
        schema_id: String,
        /// What `schema_version` says.
        schema_version: String,
    },
    /// It has no canonical form to check a signature against.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl TraceRecord {
    /// An unsigned trace.
    pub fn new(facts: TraceFacts<'_>) -> Self {
        Self {
            schema_id: SCHEMA_ID.to_owned(),
            schema_version: SCHEMA_VERSION.to_owned(),
            created_at: facts.created_at.utc_or_fallback(),
            producer_version: facts.producer_version.to_owned(),
            trace_id: trace_id(&facts.policy_digest, &facts.intent_digest, facts.verdict),
            correlation_id: facts.correlation_id.to_owned(),
            tool_name: facts.tool_name.to_owned(),
            args_digest: facts.args_digest.to_string(),
            intent_digest: facts.intent_digest.to_string(),
            policy_digest: facts.policy_digest.to_string(),
            verdict: facts.verdict.to_string(),
            violations: facts.violations,
            latency_ms: 0.0,
            approval_token_ref: facts.approval_token_ref.to_owned(),
            skill_provenance: facts.skill_provenance.map(TraceSkill::from),
            signature: None,
        }
    }

    /// Reads one trace, a line or a file, by the decoding rules of control 2.1.
    ///
    /// # Errors
    /// [`TraceReadError`] if it is not one JSON object, or if a member has the wrong type.
    pub fn read(document: &[u8]) -> Result<Self, TraceReadError> {
        json::read(document).map_err(|cause| TraceReadError { cause })
    }

    /// This trace, signed by `key` in place of any signature it has.
    ///
    /// # Errors
    /// [`CanonicalError`] never for a trace made by [`TraceRecord::new`].
    pub fn signed(mut self, key: &PrivateKey) -> Result<Self, CanonicalError> {
        self.signature = Some(key.sign_digest(&self.signable_digest()?));
        Ok(self)
    }

    /// This trace, signed by `key` as one of a simulation.
    ///
    /// The signature covers the member `simulated` besides the others, which the record itself does not have: as a trace
    /// of an enforced decision it does not verify, here or with existing readers, and there is no mark to take away
    /// (control 16, item 6).
    ///
    /// # Errors
    /// As [`TraceRecord::signed`].
    pub fn signed_as_simulation(mut self, key: &PrivateKey) -> Result<Self, CanonicalError> {
        self.signature = Some(key.sign_digest(&self.simulation_digest()?));
        Ok(self)
    }

    fn simulation_digest(&self) -> Result<Sha256Hex, CanonicalError> {
        #[derive(Serialize)]
        struct Simulation<'a> {
            #[serde(flatten)]
            trace: &'a TraceRecord,
            simulated: bool,
        }
        digest_of(&Simulation { trace: &Self { signature: None, ..self.clone() }, simulated: true })
    }

    /// The digest that a signature is made over: all known members but the signature.
    ///
    /// # Errors
    /// [`CanonicalError`] never for a trace that was read or made here.
    pub fn signable_digest(&self) -> Result<Sha256Hex, CanonicalError> {
        digest_of(&Self { signature: None, ..self.clone() })
    }

    /// Whether `key` signed this trace as it is.
    ///
    /// What the contract's readers don't check is not checked here either: whether `trace_id` and the
    /// digests belong together. [`TraceRecord::has_consistent_id`] tells.
    ///
    /// # Errors
    /// [`TraceError`], the first that applies.
    pub fn verify(&self, key: &PublicKey) -> Result<(), TraceError> {
        let signature = self.signature.as_ref().ok_or(TraceError::Unsigned)?;
        if let Err(error) = signature::verify(signature, &self.signable_digest()?, key) {
            let is_simulation = error == SignatureError::DigestMismatch
                && signature::verify(signature, &self.simulation_digest()?, key).is_ok();
            return Err(if is_simulation { TraceError::Simulated } else { error.into() });
        }
        if self.schema_id != SCHEMA_ID || self.schema_version != SCHEMA_VERSION {
            let (schema_id, schema_version) = (self.schema_id.clone(), self.schema_version.clone());
            return Err(TraceError::Schema { schema_id, schema_version });
        }
        Ok(())
    }

    /// Whether `trace_id` is the one of policy, intent and verdict, and these are well-formed.
    pub fn has_consistent_id(&self) -> bool {
        let digests = (Sha256Hex::parse(&self.policy_digest), Sha256Hex::parse(&self.intent_digest));
        match (digests, Verdict::parse(&self.verdict)) {
            ((Ok(policy), Ok(intent)), Some(verdict)) => trace_id(&policy, &intent, verdict) == self.trace_id,
            _ => false,
        }
    }

    /// The line of a runpack: canonical JSON and a line break.
    ///
    /// # Errors
    /// As [`TraceRecord::signable_digest`].
    pub fn to_line(&self) -> Result<Vec<u8>, CanonicalError> {
        let mut line = canonical_bytes(self)?;
        line.push(b'\n');
        Ok(line)
    }

    /// The file form: indented, in declaration order.
    ///
    /// # Errors
    /// [`WriteError`] never for a trace that was read or made here.
    pub fn to_file_text(&self) -> Result<String, WriteError> {
        json::to_indented_html_safe(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The trace of control 9 for the worked example, and what the Go implementation made of it.
    const DIGESTS: [&str; 3] = [
        "5cd12a73da941d1b2062106c808bd97c3e944d64bac24904dda37589fac66e18",
        "bccbffd931e2b1516e474b6bbc9b4b6a94ac94d2914789f1ade6d24b63eacd11",
        "c3e6fd1b5456c9fa99d36adaa9e7af947396269a1dedf4cc990147480dfcda34",
    ];
    const SEED: &str = "6d5f148c2d7eab60504f25c7b559402ee2ed7f59a5a2eabbdf502026cc3c9aef";
    const SIG: &str = "INvr0Vu8kJr2+eYdkE+gEl8Wrr1kzPaGcM4qM6Vxtui504if50p/WQS1XMBCj0D9wGGEA6tj7T8Fz3kFX3+9CQ==";

    fn key() -> PrivateKey {
        PrivateKey::from_seed(*Sha256Hex::parse(SEED).unwrap().as_bytes())
    }

    fn worked_example() -> TraceRecord {
        let [args_digest, intent_digest, policy_digest] = DIGESTS.map(|digest| Sha256Hex::parse(digest).unwrap());
        let trace = TraceRecord::new(TraceFacts {
            created_at: Timestamp::parse("2026-04-02T09:30:00+02:00").unwrap(),
            producer_version: "0.0.0-dev",
            correlation_id: "4b77e61fd3883e7dbffcd3e6",
            tool_name: "ledger.append",
            args_digest,
            intent_digest,
            policy_digest,
            verdict: Verdict::RequireApproval,
            violations: vec!["approval_not_granted".into()],
            approval_token_ref: "",
            skill_provenance: None,
        });
        TraceRecord { latency_ms: 0.14431, ..trace }.signed(&key()).unwrap()
    }

    #[test]
    fn the_worked_example_of_control_9_is_signed_as_the_go_tool_signs_it() {
        let trace = worked_example();
        assert_eq!(trace.trace_id, "03e8b86b1240e907b4d72e4e");
        let signature = trace.signature.as_ref().unwrap();
        assert_eq!(signature.signed_digest, "58caf027409a2e9143c1be788a0a775299d0ed98dc20ba2f9f843c8194c1f08b");
        assert_eq!(signature.sig, SIG);
        assert!(trace.verify(&key().public()).is_ok());
        assert!(trace.has_consistent_id());
    }

    #[test]
    fn another_verdict_has_another_id() {
        let [_, intent, policy] = DIGESTS.map(|digest| Sha256Hex::parse(digest).unwrap());
        assert_eq!(trace_id(&policy, &intent, Verdict::Allow), "972bb2db4867ce6ac4545e0b");
    }

    #[test]
    fn line_and_file_read_back_as_the_same_trace() {
        let trace = worked_example();
        let line = trace.to_line().unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(TraceRecord::read(&line).unwrap(), trace);
        let file = trace.to_file_text().unwrap();
        assert!(file.starts_with("{\n  \"schema_id\": \"gait.gate.trace\",\n  \"schema_version\": \"1.0.0\",\n"));
        assert_eq!(TraceRecord::read(file.as_bytes()).unwrap(), trace);
    }

    #[test]
    fn an_unsigned_or_changed_trace_does_not_verify() {
        let verify = |trace: TraceRecord| trace.verify(&key().public()).unwrap_err().to_string();
        assert_eq!(verify(TraceRecord { signature: None, ..worked_example() }), "trace signature missing");
        assert_eq!(verify(TraceRecord { verdict: "allow".into(), ..worked_example() }), "signed_digest mismatch");
        let other = worked_example().verify(&PrivateKey::from_seed([7; 32]).public()).unwrap_err();
        assert_eq!(other.to_string(), "key id mismatch");
    }

    #[test]
    fn a_trace_of_a_simulation_is_told_from_a_real_one_by_its_signature_alone() {
        let real = TraceRecord { verdict: "allow".into(), ..worked_example() }.signed(&key()).unwrap();
        let simulated = real.clone().signed_as_simulation(&key()).unwrap();
        assert!(real.verify(&key().public()).is_ok());
        assert!(matches!(simulated.verify(&key().public()), Err(TraceError::Simulated)));
        assert_eq!(
            TraceRecord { signature: None, ..simulated.clone() },
            TraceRecord { signature: None, ..real.clone() }
        );
        let signed_digest = |trace: &TraceRecord| trace.signature.as_ref().unwrap().signed_digest.clone();
        // What existing readers compare; the value is that of the canonical record with `"simulated":true` in its place.
        assert_ne!(signed_digest(&simulated), signed_digest(&real));
        let mut members = serde_json::to_value(&simulated).unwrap();
        members.as_object_mut().unwrap().remove("signature");
        members["simulated"] = true.into();
        assert_eq!(signed_digest(&simulated), Sha256Hex::of(serde_jcs::to_vec(&members).unwrap()).to_string());
        let changed = TraceRecord { verdict: "block".into(), ..simulated };
        assert_eq!(changed.verify(&key().public()).unwrap_err().to_string(), "signed_digest mismatch");
    }

    #[test]
    fn a_signed_record_of_another_schema_is_no_trace() {
        let record = TraceRecord { schema_id: "gait.gate.result".into(), ..worked_example() }.signed(&key()).unwrap();
        assert_eq!(
            record.verify(&key().public()).unwrap_err().to_string(),
            "unsupported trace schema: gait.gate.result 1.0.0"
        );
    }

    #[test]
    fn another_spelling_of_utc_and_unknown_members_don_t_matter_but_another_offset_does() {
        let file = worked_example().to_file_text().unwrap();
        let verify = |text: String| TraceRecord::read(text.as_bytes()).unwrap().verify(&key().public()).is_ok();
        assert!(verify(file.replace("07:30:00Z", "07:30:00+00:00")));
        assert!(verify(file.replace("\"trace_id\"", "\"unknown\": [1], \"TRACE_ID\"")));
        assert!(verify(file.replace("\"violations\"", "\"approval_token_ref\": null, \"violations\"")));
        assert!(!verify(file.replace("07:30:00Z", "09:30:00+02:00")));
    }

    proptest! {
        #[test]
        fn one_changed_byte_of_a_line_never_verifies(at in 0usize..700, bit in 0u8..7) {
            let trace = worked_example();
            let mut line = trace.to_line().unwrap();
            let at = at % (line.len() - 1);
            line[at] ^= 1 << bit;
            if let Ok(changed) = TraceRecord::read(&line) {
                // A change of case in a member's name, or of its spelling to an unknown optional one, changes nothing.
                prop_assert!(changed == trace || changed.verify(&key().public()).is_err());
            }
        }
    }
}
