//! The members of a policy file, typed but not yet normalised (control 5.1).
//!
//! Reading goes on behind a fault, so that all of them are told at once.

use super::error::YamlError;
use super::fault::Faults;
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
    pub state: State,
}

/// How a value came to be what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Read from the file.
    Given,
    /// Not in the file: the value is that of its type.
    Absent,
    /// In the file, but something about it is wrong and was reported.
    Faulty,
}

/// A list of words, each where it stands.
pub type Words = Vec<At<String>>;

macro_rules! documents {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $key:literal => $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $(pub $field: At<$type>,)*
        }

        impl Read for $name {
            fn read(node: Option<&Node>, context: Context<'_>) -> Self {
                const KEYS: &[&str] = &[$($key),*];
                let members = members(node, KEYS, context);
                let at = node.map_or(context.at, |node| node.at);
                $(let $field = field(members, $key, Context { at, ..context });)*
                Self { $($field,)* }
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
        risk_classes: "risk_classes" => Words,
        required_fields: "required_fields" => Words,
    }

    /// One rule.
    RuleDocument {
        name: "name" => String,
        priority: "priority" => i64,
        effect: "effect" => String,
        matcher: "match" => MatchDocument,
        reason_codes: "reason_codes" => Words,
        violations: "violations" => Words,
        min_approvals: "min_approvals" => i64,
        require_distinct_approvers: "require_distinct_approvers" => bool,
        require_broker_credential: "require_broker_credential" => bool,
        broker_reference: "broker_reference" => String,
        broker_scopes: "broker_scopes" => Words,
        rate_limit: "rate_limit" => RateLimitDocument,
        dataflow: "dataflow" => DataflowDocument,
        endpoint: "endpoint" => EndpointDocument,
        examples: "examples" => StrictOnly<ExamplesDocument>,
    }

    /// `match`.
    MatchDocument {
        tool_names: "tool_names" => Words,
        risk_classes: "risk_classes" => Words,
        target_kinds: "target_kinds" => Words,
        target_values: "target_values" => Words,
        provenance_sources: "provenance_sources" => Words,
        identities: "identities" => Words,
        workspace_prefixes: "workspace_prefixes" => Words,
        endpoint_classes: "endpoint_classes" => Words,
        skill_publishers: "skill_publishers" => Words,
        skill_sources: "skill_sources" => Words,
        data_classes: "data_classes" => Words,
        destination_kinds: "destination_kinds" => Words,
        destination_values: "destination_values" => Words,
        destination_operations: "destination_operations" => Words,
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
        tainted_sources: "tainted_sources" => Words,
        destination_kinds: "destination_kinds" => Words,
        destination_values: "destination_values" => Words,
        destination_operations: "destination_operations" => Words,
        action: "action" => String,
        reason_code: "reason_code" => String,
        violation: "violation" => String,
    }

    /// `endpoint`.
    EndpointDocument {
        enabled: "enabled" => bool,
        path_allowlist: "path_allowlist" => Words,
        path_denylist: "path_denylist" => Words,
        domain_allowlist: "domain_allowlist" => Words,
        domain_denylist: "domain_denylist" => Words,
        egress_classes: "egress_classes" => Words,
        action: "action" => String,
        destructive_action: "destructive_action" => String,
        reason_code: "reason_code" => String,
        violation: "violation" => String,
    }
}

documents! {
    /// `examples` of a rule.
    ExamplesDocument {
        matching: "match" => Vec<At<ExampleDocument>>,
        others: "no_match" => Vec<At<ExampleDocument>>,
    }

    /// One of them as a partial intent.
    PartialDocument {
        action: "action" => String,
        verdict: "verdict" => String,
        tool_name: "tool_name" => String,
        targets: "targets" => Vec<At<TargetDocument>>,
        arg_provenance: "arg_provenance" => Vec<At<ProvenanceDocument>>,
        skill_provenance: "skill_provenance" => SkillDocument,
        context: "context" => ContextDocument,
    }

    /// A target of an example.
    TargetDocument {
        kind: "kind" => String,
        value: "value" => String,
        operation: "operation" => String,
        sensitivity: "sensitivity" => String,
        endpoint_class: "endpoint_class" => String,
        endpoint_domain: "endpoint_domain" => String,
        destructive: "destructive" => bool,
    }

    /// Provenance of an argument of an example.
    ProvenanceDocument {
        arg_path: "arg_path" => String,
        source: "source" => String,
    }

    /// The skill of an example.
    SkillDocument {
        skill_name: "skill_name" => String,
        publisher: "publisher" => String,
        source: "source" => String,
    }

    /// The context of an example.
    ContextDocument {
        identity: "identity" => String,
        workspace: "workspace" => String,
        risk_class: "risk_class" => String,
    }
}

/// Something that only strict readers look at: to the others the key is one that they do not know.
#[derive(Clone, Debug)]
pub struct StrictOnly<T>(pub T);

/// An example: an action of a guarded run in short, or a partial intent.
#[derive(Clone, Debug)]
pub enum ExampleDocument {
    Action(String),
    Partial(Box<PartialDocument>),
}

/// What reading a node depends on besides the node.
#[derive(Clone, Copy)]
pub struct Context<'f> {
    pub strictness: Strictness,
    /// Where an absent node would stand.
    pub at: Position,
    pub faults: &'f Faults,
}

/// Something that a node, or its absence, can be read as.
trait Read: Sized {
    fn read(node: Option<&Node>, context: Context<'_>) -> Self;
}

impl PolicyDocument {
    /// Reads the root of a document; an absent one is the empty policy, a null one a fault.
    pub fn read_root(root: Option<&Node>, strictness: Strictness, faults: &Faults) -> Self {
        if let Some(root) = root.filter(|root| root.is_null()) {
            faults.shape(mismatch(root, "mapping"));
        }
        Self::read(root, Context { strictness, at: Position { line: 1, column: 1 }, faults })
    }
}

fn field<T: Read>(members: &[Member], key: &str, context: Context<'_>) -> At<T> {
    let node = members.iter().find(|member| member.key == key).map(|member| &*member.value);
    At::read(node, context)
}

/// The members of a mapping; a null or absent one has none.
fn members<'a>(node: Option<&'a Node>, known: &[&str], context: Context<'_>) -> &'a [Member] {
    let Some(node) = node.filter(|node| !node.is_null()) else { return &[] };
    let Data::Mapping(members) = &node.data else {
        context.faults.shape(mismatch(node, "mapping"));
        return &[];
    };
    if context.strictness == Strictness::Strict {
        for stranger in members.iter().filter(|member| !known.contains(&member.key.as_str())) {
            context.faults.shape(YamlError::new(stranger.at, unknown_key(&stranger.key, known)));
        }
    }
    members
}

fn mismatch(node: &Node, wanted: &str) -> YamlError {
    YamlError::new(node.at, format!("{} was used where {wanted} is expected", node.kind()))
}

impl<T: Read> Read for At<T> {
    fn read(node: Option<&Node>, context: Context<'_>) -> Self {
        let before = context.faults.count();
        let value = T::read(node, context);
        let state = match node {
            _ if context.faults.count() > before => State::Faulty,
            Some(_) => State::Given,
            None => State::Absent,
        };
        Self { value, at: node.map_or(context.at, |node| node.at), state }
    }
}

impl Read for String {
    fn read(node: Option<&Node>, context: Context<'_>) -> Self {
        match node.map(|node| (node, &node.data)) {
            None => Self::new(),
            Some((_, Data::Scalar(scalar))) => scalar.to_text(),
            Some((node, _)) => {
                context.faults.shape(mismatch(node, "string"));
                Self::new()
            }
        }
    }
}

impl Read for bool {
    fn read(node: Option<&Node>, context: Context<'_>) -> Self {
        match node.map(|node| (node, &node.data)) {
            None | Some((_, Data::Scalar(Scalar::Null))) => false,
            Some((_, Data::Scalar(Scalar::Bool(value)))) => *value,
            Some((node, _)) => {
                context.faults.shape(mismatch(node, "boolean"));
                false
            }
        }
    }
}

impl Read for i64 {
    fn read(node: Option<&Node>, context: Context<'_>) -> Self {
        let Some(node) = node else { return 0 };
        let number = match &node.data {
            Data::Scalar(scalar) => scalar.to_integer(),
            _ => None,
        };
        number.unwrap_or_else(|| {
            context.faults.shape(mismatch(node, "integer"));
            0
        })
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: Option<&Node>, context: Context<'_>) -> Self {
        let Some(node) = node.filter(|node| !node.is_null()) else { return Self::new() };
        let Data::Sequence(items) = &node.data else {
            context.faults.shape(mismatch(node, "sequence"));
            return Self::new();
        };
        items.iter().map(|item| T::read(Some(item), context)).collect()
    }
}

impl<T: Read> Read for StrictOnly<T> {
    fn read(node: Option<&Node>, context: Context<'_>) -> Self {
        Self(T::read(node.filter(|_| context.strictness == Strictness::Strict), context))
    }
}

impl Read for ExampleDocument {
    fn read(node: Option<&Node>, context: Context<'_>) -> Self {
        match node.map(|node| &node.data) {
            Some(Data::Mapping(_)) => Self::Partial(Box::new(PartialDocument::read(node, context))),
            _ => Self::Action(String::read(node, context)),
        }
    }
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(candidate) => format!("unknown key `{key}`, did you mean `{candidate}`?"),
        None => format!("unknown key `{key}`, expected one of {}", known.join(", ")),
    }
}

/// The word of `known` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (steps, candidate) = known.iter().map(|candidate| (distance(word, candidate), *candidate)).min()?;
    (steps <= 2 + candidate.len() / 6).then_some(candidate)
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
