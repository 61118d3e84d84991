//! From a request to the intent that is digested and judged: control 4, rule by rule.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::infer;
use super::request::{ContextRequest, IntentRequest, ProvenanceRequest, SkillRequest, TargetRequest};
use super::vocabulary::{EndpointClass, ProvenanceSource, TargetKind};
use super::{Args, Context, Intent, Provenance, Skill, Target};
use crate::digest::Sha256Hex;
use crate::text::lower_trimmed;

/// Why a request is no intent. The texts are the contract's, in the order in which they are checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says it all")]
pub enum IntentError {
    #[error("tool_name is required")]
    ToolName,
    #[error("normalize args: args contains empty key")]
    EmptyArgument,
    #[error("normalize args: args contains key `{key}` twice")]
    RepeatedArgument { key: String },
    #[error("targets require kind and value")]
    Target,
    #[error("unsupported target kind: {kind}")]
    TargetKind { kind: String },
    #[error("unsupported endpoint class: {class}")]
    EndpointClass { class: String },
    #[error("arg provenance requires arg_path and source")]
    Provenance,
    #[error("unsupported provenance source: {source_word}")]
    ProvenanceSource { source_word: String },
    #[error("invalid provenance integrity_digest: {digest}")]
    ProvenanceDigest { digest: String },
    #[error("skill provenance requires skill_name, source, and publisher")]
    Skill,
    #[error("invalid skill provenance digest: {digest}")]
    SkillDigest { digest: String },
    #[error("context.identity is required")]
    Identity,
    #[error("context.workspace is required")]
    Workspace,
    #[error("context.risk_class is required")]
    RiskClass,
}

impl IntentRequest {
    /// The normal form of this request.
    ///
    /// # Errors
    /// [`IntentError`], the first that applies. Two arguments whose names differ only in white space are
    /// one of them: existing implementations keep either at random.
    pub fn normalize(self) -> Result<Intent, IntentError> {
        let tool_name = owned_lower(self.tool_name);
        if tool_name.is_empty() {
            return Err(IntentError::ToolName);
        }
        let args = normal_args(self.args)?;
        let targets = normal_targets(self.targets, &tool_name)?;
        let arg_provenance = normal_provenance(self.arg_provenance)?;
        let skill_provenance = self.skill_provenance.map(normal_skill).transpose()?;
        let context = Arc::new(normal_context(self.context)?);
        Ok(Intent {
            arg_provenance: Cow::Owned(arg_provenance),
            args,
            context,
            skill_provenance,
            targets,
            tool_name: Cow::Owned(tool_name),
        })
    }
}

/// `text` without white space around it; what needs no change is not copied.
fn owned_trim(text: String) -> String {
    let trimmed = text.trim();
    if trimmed.len() == text.len() { text } else { trimmed.to_owned() }
}

fn owned_lower(text: String) -> String {
    match lower_trimmed(&text) {
        Cow::Borrowed(same) if same.len() == text.len() => text,
        changed => changed.into_owned(),
    }
}

fn normal_args(args: Args) -> Result<Args, IntentError> {
    let mut normal = Args::new();
    for (key, value) in args {
        let key = owned_trim(key);
        if key.is_empty() {
            return Err(IntentError::EmptyArgument);
        }
        let value = normal_value(value)?;
        if normal.contains_key(&key) {
            return Err(IntentError::RepeatedArgument { key });
        }
        normal.insert(key, value);
    }
    Ok(normal)
}

fn normal_value(value: Value) -> Result<Value, IntentError> {
    Ok(match value {
        Value::String(text) => Value::String(owned_trim(text)),
        Value::Array(items) => Value::Array(items.into_iter().map(normal_value).collect::<Result<_, _>>()?),
        Value::Object(members) => Value::Object(normal_args(members)?),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    })
}

fn normal_targets(targets: Vec<TargetRequest>, tool_name: &str) -> Result<Vec<Target>, IntentError> {
    let mut normal =
        targets.into_iter().map(|target| normal_target(target, tool_name)).collect::<Result<Vec<_>, _>>()?;
    normal.sort_unstable_by(|left, right| left.sort_key().cmp(&right.sort_key()));
    normal.dedup();
    Ok(normal)
}

fn normal_target(target: TargetRequest, tool_name: &str) -> Result<Target, IntentError> {
    let kind = lower_trimmed(&target.kind);
    let value = owned_trim(target.value);
    if kind.is_empty() || value.is_empty() {
        return Err(IntentError::Target);
    }
    let kind = TargetKind::parse(&kind).ok_or_else(|| IntentError::TargetKind { kind: kind.to_string() })?;
    let operation = owned_lower(target.operation);
    let endpoint_class = match lower_trimmed(&target.endpoint_class) {
        class if class.is_empty() => infer::endpoint_class(kind, &operation, tool_name),
        class => EndpointClass::parse(&class).ok_or_else(|| IntentError::EndpointClass { class: class.to_string() })?,
    };
    let mut endpoint_domain = owned_lower(target.endpoint_domain);
    if endpoint_domain.is_empty() {
        endpoint_domain = infer::endpoint_domain(kind, &value).into_owned();
    }
    Ok(Target {
        destructive: target.destructive || infer::is_destructive(endpoint_class, &operation),
        endpoint_class,
        endpoint_domain,
        kind,
        operation: Cow::Owned(operation),
        sensitivity: Cow::Owned(owned_lower(target.sensitivity)),
        value,
    })
}

fn normal_provenance(list: Vec<ProvenanceRequest>) -> Result<Vec<Provenance>, IntentError> {
    let mut normal = list.into_iter().map(normal_argument).collect::<Result<Vec<_>, _>>()?;
    normal.sort_unstable_by(|left, right| left.sort_key().cmp(&right.sort_key()));
    normal.dedup();
    Ok(normal)
}

fn normal_argument(provenance: ProvenanceRequest) -> Result<Provenance, IntentError> {
    let arg_path = owned_trim(provenance.arg_path);
    let source = owned_lower(provenance.source);
    if arg_path.is_empty() || source.is_empty() {
        return Err(IntentError::Provenance);
    }
    let source = ProvenanceSource::parse(&source).ok_or(IntentError::ProvenanceSource { source_word: source })?;
    let integrity_digest = owned_lower(provenance.integrity_digest);
    if !is_absent_or_digest(&integrity_digest) {
        return Err(IntentError::ProvenanceDigest { digest: integrity_digest });
    }
    Ok(Provenance {
        arg_path: Cow::Owned(arg_path),
        integrity_digest: Cow::Owned(integrity_digest),
        source,
        source_ref: Cow::Owned(owned_trim(provenance.source_ref)),
    })
}

fn is_absent_or_digest(text: &str) -> bool {
    text.is_empty() || Sha256Hex::parse(text).is_ok()
}

fn normal_skill(skill: SkillRequest) -> Result<Skill, IntentError> {
    let normal = Skill {
        digest: owned_lower(skill.digest),
        publisher: owned_trim(skill.publisher),
        signature_key_id: owned_trim(skill.signature_key_id),
        skill_name: owned_trim(skill.skill_name),
        skill_version: owned_trim(skill.skill_version),
        source: owned_lower(skill.source),
    };
    if normal.skill_name.is_empty() || normal.source.is_empty() || normal.publisher.is_empty() {
        return Err(IntentError::Skill);
    }
    if !is_absent_or_digest(&normal.digest) {
        return Err(IntentError::SkillDigest { digest: normal.digest });
    }
    Ok(normal)
}

fn normal_context(context: ContextRequest) -> Result<Context, IntentError> {
    let mut workspace = owned_trim(context.workspace);
    if workspace.contains('\\') {
        workspace = workspace.replace('\\', "/");
    }
    let normal = Context {
        identity: owned_trim(context.identity),
        request_id: owned_trim(context.request_id),
        risk_class: owned_lower(context.risk_class),
        session_id: owned_trim(context.session_id),
        workspace,
    };
    if normal.identity.is_empty() {
        return Err(IntentError::Identity);
    }
    if normal.workspace.is_empty() {
        return Err(IntentError::Workspace);
    }
    if normal.risk_class.is_empty() {
        return Err(IntentError::RiskClass);
    }
    Ok(normal)
}
