//! The members of a policy file, typed but not yet normalised (control 5.1).

use std::rc::Rc;

use super::error::YamlError;
use super::model::Position;
use super::scalar::Scalar;
use super::yaml::{Data, Member, Node};

/// What is done about keys that the policy language does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// They are errors: a misspelt `min_approvals` must not pass as none. So are patterns that can't match.
    Strict,
    /// They are ignored, as existing readers do.
    Lenient,
}

/// A value and where it stands; the place of the enclosing mapping if it is absent.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub value: T,
    pub at: Position,
}

macro_rules! documents {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $key:literal => $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $(pub $field: At<$type>,)*
        }

        impl Read for $name {
            fn read(node: Option<&Node>, context: Context) -> Result<Self, YamlError> {
                const KEYS: &[&str] = &[$($key),*];
                let members = members(node, KEYS, context.strictness)?;
                let at = node.map_or(context.at, |node| node.at);
                $(let $field = field(members, $key, Context { at, ..context })?;)*
                Ok(Self { $($field,)* })
            }
        }
    )*};
}

documents! {
    /// The whole file.
    PolicyDocument {
        schema_id: "schema_id" => String,
        schema_version: "schema_version" => String,
        default_verdict: "default_verdict" => String,
        fail_closed: "fail_closed" => FailClosedDocument,
        rules: "rules" => Vec<At<RuleDocument>>,
    }

    /// `fail_closed`.
    FailClosedDocument {
        enabled: "enabled" => bool,
        risk_classes: "risk_classes" => Vec<String>,
        required_fields: "required_fields" => Vec<String>,
    }

    /// One rule.
    RuleDocument {
        name: "name" => String,
        priority: "priority" => i64,
        effect: "effect" => String,
        matcher: "match" => MatchDocument,
        reason_codes: "reason_codes" => Vec<String>,
        violations: "violations" => Vec<String>,
        min_approvals: "min_approvals" => i64,
        require_distinct_approvers: "require_distinct_approvers" => bool,
        require_broker_credential: "require_broker_credential" => bool,
        broker_reference: "broker_reference" => String,
        broker_scopes: "broker_scopes" => Vec<String>,
        rate_limit: "rate_limit" => RateLimitDocument,
        dataflow: "dataflow" => DataflowDocument,
        endpoint: "endpoint" => EndpointDocument,
    }

    /// `match`.
    MatchDocument {
        tool_names: "tool_names" => Vec<String>,
        risk_classes: "risk_classes" => Vec<String>,
        target_kinds: "target_kinds" => Vec<String>,
        target_values: "target_values" => Vec<String>,
        provenance_sources: "provenance_sources" => Vec<String>,
        identities: "identities" => Vec<String>,
        workspace_prefixes: "workspace_prefixes" => Vec<String>,
        endpoint_classes: "endpoint_classes" => Vec<String>,
        skill_publishers: "skill_publishers" => Vec<String>,
        skill_sources: "skill_sources" => Vec<String>,
        data_classes: "data_classes" => Vec<String>,
        destination_kinds: "destination_kinds" => Vec<String>,
        destination_values: "destination_values" => Vec<String>,
        destination_operations: "destination_operations" => Vec<String>,
    }

    /// `rate_limit`.
    RateLimitDocument {
        requests: "requests" => i64,
        window: "window" => String,
        scope: "scope" => String,
    }

    /// `dataflow`.
    DataflowDocument {
        enabled: "enabled" => bool,
        tainted_sources: "tainted_sources" => Vec<String>,
        destination_kinds: "destination_kinds" => Vec<String>,
        destination_values: "destination_values" => Vec<String>,
        destination_operations: "destination_operations" => Vec<String>,
        action: "action" => String,
        reason_code: "reason_code" => String,
        violation: "violation" => String,
    }

    /// `endpoint`.
    EndpointDocument {
        enabled: "enabled" => bool,
        path_allowlist: "path_allowlist" => Vec<String>,
        path_denylist: "path_denylist" => Vec<String>,
        domain_allowlist: "domain_allowlist" => Vec<String>,
        domain_denylist: "domain_denylist" => Vec<String>,
        egress_classes: "egress_classes" => Vec<String>,
        action: "action" => String,
        destructive_action: "destructive_action" => String,
        reason_code: "reason_code" => String,
        violation: "violation" => String,
    }
}

/// What reading a node depends on besides the node.
#[derive(Clone, Copy)]
pub struct Context {
    pub strictness: Strictness,
    /// Where an absent node would stand.
    pub at: Position,
}

/// Something that a node, or its absence, can be read as.
trait Read: Sized {
    fn read(node: Option<&Node>, context: Context) -> Result<Self, YamlError>;
}

impl PolicyDocument {
    /// Reads the root of a document; an absent one is the empty policy, a null one an error.
    pub fn read_root(root: Option<&Node>, strictness: Strictness) -> Result<Self, YamlError> {
        if let Some(root) = root.filter(|root| root.is_null()) {
            return Err(mismatch(root, "mapping"));
        }
        Self::read(root, Context { strictness, at: Position { line: 1, column: 1 } })
    }
}

fn field<T: Read>(members: &[Member], key: &str, context: Context) -> Result<At<T>, YamlError> {
    let node = members.iter().find(|member| member.key == key).map(|member| &*member.value);
    At::read(node, context)
}

/// The members of a mapping; a null or absent one has none.
fn members<'a>(node: Option<&'a Node>, known: &[&str], strictness: Strictness) -> Result<&'a [Member], YamlError> {
    let Some(node) = node.filter(|node| !node.is_null()) else { return Ok(&[]) };
    let Data::Mapping(members) = &node.data else { return Err(mismatch(node, "mapping")) };
    if strictness == Strictness::Strict
        && let Some(stranger) = members.iter().find(|member| !known.contains(&member.key.as_str()))
    {
        return Err(YamlError::new(stranger.at, unknown_key(&stranger.key, known)));
    }
    Ok(members)
}

fn mismatch(node: &Node, wanted: &str) -> YamlError {
    YamlError::new(node.at, format!("{} was used where {wanted} is expected", node.kind()))
}

impl<T: Read> Read for At<T> {
    fn read(node: Option<&Node>, context: Context) -> Result<Self, YamlError> {
        Ok(Self { value: T::read(node, context)?, at: node.map_or(context.at, |node| node.at) })
    }
}

impl Read for String {
    fn read(node: Option<&Node>, _: Context) -> Result<Self, YamlError> {
        match node.map(|node| (node, &node.data)) {
            None => Ok(Self::new()),
            Some((_, Data::Scalar(scalar))) => Ok(scalar.to_text()),
            Some((node, _)) => Err(mismatch(node, "string")),
        }
    }
}

impl Read for bool {
    fn read(node: Option<&Node>, _: Context) -> Result<Self, YamlError> {
        match node.map(|node| (node, &node.data)) {
            None | Some((_, Data::Scalar(Scalar::Null))) => Ok(false),
            Some((_, Data::Scalar(Scalar::Bool(value)))) => Ok(*value),
            Some((node, _)) => Err(mismatch(node, "boolean")),
        }
    }
}

impl Read for i64 {
    fn read(node: Option<&Node>, _: Context) -> Result<Self, YamlError> {
        match node.map(|node| (node, &node.data)) {
            None => Ok(0),
            Some((node, Data::Scalar(scalar))) => scalar.to_integer().ok_or_else(|| mismatch(node, "integer")),
            Some((node, _)) => Err(mismatch(node, "integer")),
        }
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: Option<&Node>, context: Context) -> Result<Self, YamlError> {
        let Some(node) = node.filter(|node| !node.is_null()) else { return Ok(Self::new()) };
        let Data::Sequence(items) = &node.data else { return Err(mismatch(node, "sequence")) };
        items.iter().map(|item: &Rc<Node>| T::read(Some(item), context)).collect()
    }
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|candidate| (distance(key, candidate), candidate)).min();
    match nearest {
        Some((steps, candidate)) if steps <= 2 + candidate.len() / 6 => {
            format!("unknown key `{key}`, did you mean `{candidate}`?")
        }
        _ => format!("unknown key `{key}`, expected one of {}", known.join(", ")),
    }
}

/// How many characters must be added, dropped or changed to get from one word to the other; letters
/// that differ in case, `-` and `_` count as equal.
fn distance(from: &str, to: &str) -> usize {
    let fold = |character: char| if character == '-' { '_' } else { character.to_ascii_lowercase() };
    let to: Vec<char> = to.chars().map(fold).collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, character) in from.chars().take(64).map(fold).enumerate() {
        let mut diagonal = line;
        row[0] = line + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}
