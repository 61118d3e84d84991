//! An intent request as it was read, by the decoding rules of existing readers (control 2.1).
//!
//! Member names match in any case, unknown ones are ignored, of repeated scalars and arrays the last
//! wins while repeated objects merge, and `null` is as good as absent.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;

use super::{Args, Context, Provenance, Skill, Target};
use crate::json;
use crate::time::Timestamp;

/// Reads a value over what is already there: how repeated members combine.
trait Overlay<'de>: Sized {
    fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error>;
}

macro_rules! scalars {
    ($($scalar:ty),*) => {$(
        impl<'de> Overlay<'de> for $scalar {
            fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
                if let Some(value) = Option::<$scalar>::deserialize(deserializer)? {
                    *self = value;
                }
                Ok(())
            }
        }
    )*};
}
scalars!(String, bool, Timestamp);

impl<'de> Overlay<'de> for Args {
    fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        match Option::<Args>::deserialize(deserializer)? {
            Some(members) => self.extend(members),
            None => self.clear(),
        }
        Ok(())
    }
}

impl<'de, T: Deserialize<'de>> Overlay<'de> for Vec<T> {
    fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        *self = Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(())
    }
}

impl<'de> Overlay<'de> for Option<SkillRequest> {
    fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        // A `null` takes back what was there.
        let present = self.get_or_insert_default();
        if present.overlay_or_null(deserializer)? == Read::Null {
            *self = None;
        }
        Ok(())
    }
}

#[derive(PartialEq, Eq)]
enum Read {
    Null,
    Object,
}

/// A struct whose members are found by name in any case.
trait Record<'de>: Default {
    const WHAT: &'static str;
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;

    fn overlay_or_null<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<Read, D::Error> {
        deserializer.deserialize_any(RecordVisitor { record: self, marker: PhantomData })
    }
}

struct RecordVisitor<'a, 'de, R: Record<'de>> {
    record: &'a mut R,
    marker: PhantomData<&'de ()>,
}

impl<'de, R: Record<'de>> Visitor<'de> for RecordVisitor<'_, 'de, R> {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as an object", R::WHAT)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Read, E> {
        Ok(Read::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            self.record.member(&fold(&name), &mut map)?;
        }
        Ok(Read::Object)
    }
}

/// The name that matches `name` in any case: Go folds by simple folding, which also takes the long s and
/// the Kelvin sign to ASCII letters.
fn fold(name: &str) -> String {
    name.chars()
        .map(|character| match character {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

struct Over<'a, T>(&'a mut T);

impl<'de, T: Overlay<'de>> DeserializeSeed<'de> for Over<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.overlay(deserializer)
    }
}

macro_rules! records {
    ($($(#[$doc:meta])* $name:ident ($what:literal) { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        #[expect(missing_docs, reason = "the fields are those of the table in control 4, under the same names")]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl<'de> Record<'de> for $name {
            const WHAT: &'static str = $what;

            fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
                match name {
                    $(stringify!($field) => map.next_value_seed(Over(&mut self.$field)),)*
                    _ => map.next_value::<IgnoredAny>().map(|_| ()),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut record = Self::default();
                record.overlay_or_null(deserializer)?;
                Ok(record)
            }
        }
    )*};
}

records! {
    /// An intent request, not yet normalised.
    IntentRequest ("an intent request") {
        created_at: Timestamp,
        tool_name: String,
        args: Args,
        targets: Vec<TargetRequest>,
        arg_provenance: Vec<ProvenanceRequest>,
        skill_provenance: Option<SkillRequest>,
        context: ContextRequest,
    }

    /// A target of a request.
    TargetRequest ("a target") {
        kind: String,
        value: String,
        operation: String,
        sensitivity: String,
        endpoint_class: String,
        endpoint_domain: String,
        destructive: bool,
    }

    /// Provenance of one argument of a request.
    ProvenanceRequest ("argument provenance") {
        arg_path: String,
        source: String,
        source_ref: String,
        integrity_digest: String,
    }

    /// The skill of a request.
    SkillRequest ("skill provenance") {
        skill_name: String,
        skill_version: String,
        source: String,
        publisher: String,
        digest: String,
        signature_key_id: String,
    }

    /// The context of a request.
    ContextRequest ("a context") {
        identity: String,
        workspace: String,
        risk_class: String,
        session_id: String,
        request_id: String,
    }
}

impl<'de> Overlay<'de> for ContextRequest {
    fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        self.overlay_or_null(deserializer).map(|_| ())
    }
}

/// Why a document is not an intent request.
#[derive(Debug, thiserror::Error)]
#[error("parse intent json: {cause}")]
pub struct RequestError {
    cause: serde_json::Error,
}

impl IntentRequest {
    /// Reads one JSON document.
    ///
    /// # Errors
    /// [`RequestError`] if it is not one JSON object, or if a member has the wrong type.
    pub fn read(document: &[u8]) -> Result<Self, RequestError> {
        Self::read_value(document).map_err(|cause| RequestError { cause })
    }

    fn read_value(document: &[u8]) -> Result<Self, serde_json::Error> {
        let text = json::repair(document);
        if text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('[') {
            return Err(serde_json::Error::custom("expected an intent request as an object, found an array"));
        }
        serde_json::from_str(&text)
    }

    /// The request that a recorded intent stands for: its tool and the members of its `args`
    /// (guarded-run 2.3).
    ///
    /// # Errors
    /// [`RequestError`] if a member has the wrong type.
    pub fn from_record(tool_name: &str, body: Value) -> Result<Self, RequestError> {
        let mut request: Self = serde_json::from_value(body).map_err(|cause| RequestError { cause })?;
        request.tool_name = tool_name.to_owned();
        Ok(request)
    }
}

impl From<&Target> for TargetRequest {
    fn from(target: &Target) -> Self {
        Self {
            kind: target.kind.to_string(),
            value: target.value.clone(),
            operation: target.operation.to_string(),
            sensitivity: target.sensitivity.to_string(),
            endpoint_class: target.endpoint_class.to_string(),
            endpoint_domain: target.endpoint_domain.clone(),
            destructive: target.destructive,
        }
    }
}

impl From<&Provenance> for ProvenanceRequest {
    fn from(provenance: &Provenance) -> Self {
        Self {
            arg_path: provenance.arg_path.to_string(),
            source: provenance.source.to_string(),
            source_ref: provenance.source_ref.to_string(),
            integrity_digest: provenance.integrity_digest.to_string(),
        }
    }
}

impl From<&Skill> for SkillRequest {
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

impl From<&Context> for ContextRequest {
    fn from(context: &Context) -> Self {
        Self {
            identity: context.identity.clone(),
            workspace: context.workspace.clone(),
            risk_class: context.risk_class.clone(),
            session_id: context.session_id.clone(),
            request_id: context.request_id.clone(),
        }
    }
}
