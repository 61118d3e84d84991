//! What an agent is trying to do, in the project's own words (control 4).
//!
//! [`IntentRequest`] is the document as it was read. [`Intent`] is its normalised form: what is
//! digested, evaluated and recorded. Engines that already hold typed values build the [`Intent`]
//! directly.

pub mod infer;
mod normalize;
mod request;
mod vocabulary;

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::{Map, Value};

pub use normalize::IntentError;
pub use request::{ContextRequest, IntentRequest, ProvenanceRequest, SkillRequest, TargetRequest};
pub use vocabulary::{EndpointClass, ProvenanceSource, TargetKind};

use crate::canonical::{CanonicalError, canonical_bytes, digest_of};
use crate::digest::Sha256Hex;

/// Schema of an intent request.
pub const SCHEMA_ID: &str = "gait.gate.intent_request";

/// Arguments of a call: free-form JSON.
pub type Args = Map<String, Value>;

/// A normalised intent. Its members and theirs are declared in canonical order.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    arg_provenance: Cow<'static, [Provenance]>,
    args: Args,
    context: Arc<Context>,
    skill_provenance: Option<Skill>,
    targets: Vec<Target>,
    tool_name: Cow<'static, str>,
}

/// One thing that an intent is aimed at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Target {
    /// Whether something can be lost.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub destructive: bool,
    /// What is done at the boundary.
    pub endpoint_class: EndpointClass,
    /// Lower-case domain, or empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub endpoint_domain: String,
    /// What kind of thing it is.
    pub kind: TargetKind,
    /// Lower-case word for what is done, or empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub operation: Cow<'static, str>,
    /// Lower-case data class, or empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub sensitivity: Cow<'static, str>,
    /// Which one: a path, a URL, ... Trimmed, otherwise as given.
    pub value: String,
}

impl Target {
    /// A target of an engine: `value` must have no white space at its ends and `operation` must be lower
    /// case. Whether it is destructive follows from class and operation.
    pub fn of(kind: TargetKind, value: String, operation: &'static str, endpoint_class: EndpointClass) -> Self {
        Self {
            destructive: infer::is_destructive(endpoint_class, operation),
            endpoint_class,
            endpoint_domain: String::new(),
            kind,
            operation: Cow::Borrowed(operation),
            sensitivity: Cow::Borrowed(""),
            value,
        }
    }

    /// This target with the lower-case domain `domain`.
    pub fn with_domain(self, domain: String) -> Self {
        Self { endpoint_domain: domain, ..self }
    }

    fn sort_key(&self) -> impl Ord + '_ {
        (
            self.kind,
            self.value.as_str(),
            &*self.operation,
            &*self.sensitivity,
            self.endpoint_class,
            self.endpoint_domain.as_str(),
            self.destructive,
        )
    }
}

/// Where the data of one argument comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Provenance {
    /// Which argument, as the producer names it.
    pub arg_path: Cow<'static, str>,
    /// Digest of the data, 64 lower-case hex characters, or empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub integrity_digest: Cow<'static, str>,
    /// Where it comes from.
    pub source: ProvenanceSource,
    /// Which one of those, or empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub source_ref: Cow<'static, str>,
}

impl Provenance {
    /// `[{"arg_path":"$","source":"system"}]`: every argument of what a guard observed.
    pub const SYSTEM: &[Self] = &OBSERVED;

    fn sort_key(&self) -> impl Ord + '_ {
        (&*self.arg_path, self.source, &*self.source_ref, &*self.integrity_digest)
    }
}

/// In one place, so that who has it can be told by where it is.
static OBSERVED: [Provenance; 1] = [Provenance {
    arg_path: Cow::Borrowed("$"),
    integrity_digest: Cow::Borrowed(""),
    source: ProvenanceSource::System,
    source_ref: Cow::Borrowed(""),
}];

/// The skill that makes the call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[expect(missing_docs, reason = "the fields are those of control 4.3, under the same names")]
pub struct Skill {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    pub publisher: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signature_key_id: String,
    pub skill_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub skill_version: String,
    pub source: String,
}

/// For whom and where a call is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Context {
    /// Who.
    pub identity: String,
    /// Which request of the session, or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// How grave: any lower-case word.
    pub risk_class: String,
    /// Which session, or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session_id: String,
    /// Where, with `/` for `\`.
    pub workspace: String,
}

/// The parts of an [`Intent`] whose makers already hold them in normalised form.
#[derive(Clone, Debug)]
pub struct IntentParts {
    /// Lower case, not empty.
    pub tool_name: Cow<'static, str>,
    /// Keys and strings without white space at their ends, no empty key.
    pub args: Args,
    /// Sorted, unique; [`Target::of`] makes good ones.
    pub targets: Vec<Target>,
    /// Sorted, unique; [`Provenance::SYSTEM`] for what a guard observed.
    pub arg_provenance: Cow<'static, [Provenance]>,
    /// Shared by all intents of a run.
    pub context: Arc<Context>,
}

impl Intent {
    /// An intent from parts that are in normal form. Nothing is checked in release builds: makers prove
    /// with [`Intent::is_normal`] in their tests that theirs are.
    pub fn from_normal_parts(parts: IntentParts) -> Self {
        let IntentParts { tool_name, args, targets, arg_provenance, context } = parts;
        let intent = Self { arg_provenance, args, context, skill_provenance: None, targets, tool_name };
        debug_assert!(intent.is_normal(), "not in normal form: {intent:?}");
        intent
    }

    /// Whether normalising this intent would change nothing.
    pub fn is_normal(&self) -> bool {
        self.to_request().normalize().is_ok_and(|again| again == *self)
    }

    /// The tool, lower case.
    pub fn tool_name(&self) -> &str {
        &self.tool_name
    }

    /// The arguments.
    pub const fn args(&self) -> &Args {
        &self.args
    }

    /// The targets, sorted and unique.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Where the arguments come from, sorted and unique.
    pub fn arg_provenance(&self) -> &[Provenance] {
        &self.arg_provenance
    }

    /// The skill that makes the call, if one does.
    pub const fn skill_provenance(&self) -> Option<&Skill> {
        self.skill_provenance.as_ref()
    }

    /// For whom and where.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// `intent_digest` (control 4.5).
    ///
    /// # Errors
    /// [`CanonicalError`] never for an intent that was read from JSON.
    pub fn digest(&self) -> Result<Sha256Hex, CanonicalError> {
        self.canonical_bytes().map(Sha256Hex::of)
    }

    /// `args_digest` (control 4.5).
    ///
    /// # Errors
    /// As [`Intent::digest`].
    pub fn args_digest(&self) -> Result<Sha256Hex, CanonicalError> {
        digest_of(&self.args)
    }

    /// The canonical bytes that [`Intent::digest`] is the digest of.
    ///
    /// # Errors
    /// As [`Intent::digest`].
    pub fn canonical_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        if has_canonical_order(&self.args) {
            let mut bytes = Vec::with_capacity(512);
            serde_json::to_writer(&mut bytes, self).map_err(CanonicalError::from)?;
            return Ok(bytes);
        }
        canonical_bytes(self)
    }

    /// The intent without its tool name: `args` of its record in a guarded run (guarded-run 2.3).
    pub fn body(&self) -> impl Serialize + '_ {
        Body(self)
    }

    fn to_request(&self) -> IntentRequest {
        let owned = |text: &str| text.to_owned();
        IntentRequest {
            tool_name: owned(&self.tool_name),
            args: self.args.clone(),
            targets: self.targets.iter().map(TargetRequest::from).collect(),
            arg_provenance: self.arg_provenance.iter().map(ProvenanceRequest::from).collect(),
            skill_provenance: self.skill_provenance.as_ref().map(SkillRequest::from),
            context: ContextRequest::from(&*self.context),
            ..IntentRequest::default()
        }
    }
}

/// Whether plain serialisation of `args` is canonical already: short ASCII keys and no numbers that
/// print in more than one way. True for all that a guard writes.
fn has_canonical_order(args: &Args) -> bool {
    let plain = |value: &Value| match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => number.as_u64().is_some_and(|number| number < 1 << 53),
        Value::Array(_) | Value::Object(_) => false,
    };
    args.iter().all(|(key, value)| key.is_ascii() && plain(value)) && args.keys().is_sorted()
}

impl Serialize for Intent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = self.serialize_body(serializer)?;
        map.serialize_entry("tool_name", &self.tool_name)?;
        map.end()
    }
}

struct Body<'a>(&'a Intent);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_body(serializer)?.end()
    }
}

impl Intent {
    /// All members but the tool name, which is the last in canonical order.
    fn serialize_body<S: Serializer>(&self, serializer: S) -> Result<S::SerializeMap, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.arg_provenance.is_empty() {
            map.serialize_entry("arg_provenance", &self.arg_provenance)?;
        }
        map.serialize_entry("args", &self.args)?;
        map.serialize_entry("context", &*self.context)?;
        if let Some(skill) = &self.skill_provenance {
            map.serialize_entry("skill_provenance", skill)?;
        }
        map.serialize_entry("targets", &self.targets)?;
        Ok(map)
    }
}

#[cfg(test)]
mod tests;
