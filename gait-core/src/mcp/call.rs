//! A tool call of another protocol, and the intent that it becomes (control 13).

use crate::digest::Sha256Hex;
use crate::intent::{Args, ContextRequest, IntentRequest, ProvenanceRequest, TargetRequest};
use crate::overlay::records;
use crate::time::Timestamp;

/// A tool call, whatever protocol it came by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolCall {
    /// The tool.
    pub name: String,
    /// Its arguments.
    pub args: Args,
    /// What it is aimed at.
    pub targets: Vec<TargetRequest>,
    /// Where its arguments come from.
    pub arg_provenance: Vec<ProvenanceRequest>,
    /// For whom and where, as far as the call says so.
    pub context: CallContext,
    /// When it was made; may be the zero time.
    pub created_at: Timestamp,
}

records! {
    /// The context that a call names.
    CallContext ("a context") {
        identity: String,
        workspace: String,
        risk_class: String,
        session_id: String,
        request_id: String,
        run_id: String,
    }
}

impl ToolCall {
    /// The request for a verdict. What the context does not say is `mcp-proxy` in `.`, at high risk.
    pub fn into_request(self) -> IntentRequest {
        let or = |text: String, default: &str| if text.trim().is_empty() { default.to_owned() } else { text };
        let context = self.context;
        IntentRequest {
            created_at: self.created_at,
            tool_name: self.name,
            args: self.args,
            targets: self.targets,
            arg_provenance: self.arg_provenance,
            skill_provenance: None,
            context: ContextRequest {
                identity: or(context.identity, "mcp-proxy"),
                workspace: or(context.workspace, "."),
                risk_class: or(context.risk_class, "high"),
                session_id: context.session_id,
                request_id: context.request_id,
            },
        }
    }
}

/// The target that a bare word stands for: a URL, a path, or a host.
pub fn inferred_target(word: &str) -> TargetRequest {
    let kind = if word.contains("://") {
        "url"
    } else if word.contains('/') {
        "path"
    } else {
        "host"
    };
    TargetRequest { kind: kind.into(), value: word.to_owned(), ..TargetRequest::default() }
}

/// The name of the run that a call belongs to: the first of `names` that leaves something, else one made from the
/// intent.
pub fn run_id<'a>(names: impl IntoIterator<Item = &'a str>, intent_digest: &Sha256Hex) -> String {
    let plain = names.into_iter().find_map(plain_run_id);
    plain.unwrap_or_else(|| format!("run_mcp_{}", intent_digest.short(12)))
}

/// `name` with one `_` for each run of other characters than letters, digits, `_` and `-`, and `run_` in front.
fn plain_run_id(name: &str) -> Option<String> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    let mut plain = String::with_capacity(name.len());
    let mut was_plain = true;
    for character in name.chars() {
        match (is_plain(character), was_plain) {
            (true, _) => plain.push(character),
            (false, true) => plain.push('_'),
            (false, false) => {}
        }
        was_plain = is_plain(character);
    }
    let plain = plain.trim_matches('_');
    (!plain.is_empty()).then(|| if plain.starts_with("run_") { plain.to_owned() } else { format!("run_{plain}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_the_first_name_that_leaves_something() {
        let digest = Sha256Hex::of("x");
        for (names, expected) in [
            ([" my/run ", "b"], "run_my_run"),
            (["run_a", ""], "run_a"),
            (["", "nightly 7"], "run_nightly_7"),
            (["a  //é__b-", ""], "run_a___b-"),
            (["../", "..x"], "run_x"),
            (["", "é"], "run_mcp_2d711642b726"),
        ] {
            assert_eq!(run_id(names, &digest), expected, "{names:?}");
        }
    }

    #[test]
    fn a_bare_word_is_a_url_a_path_or_a_host() {
        for (word, kind) in [("https://a/b", "url"), ("a/b", "path"), ("/", "path"), ("docs.example.org", "host")] {
            assert_eq!(inferred_target(word).kind, kind, "{word}");
        }
    }
}
