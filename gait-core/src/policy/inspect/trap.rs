//! Rules that are valid and do not do what they look like.

use std::collections::HashMap;

use super::Finding;
use crate::intent::{ProvenanceSource, TargetKind};
use crate::policy::document::{
    At, EndpointDocument, MatchDocument, PolicyDocument, RuleDocument, State, Words, nearest,
};
use crate::policy::model::{Policy, Position, Rule, Verdict};

/// Reports the traps in the rules of `document`, which `policy` is the normal form of.
pub fn traps(document: &PolicyDocument, policy: &Policy, findings: &mut Vec<Finding>) {
    let mut rules: HashMap<Position, &Rule> = HashMap::new();
    for rule in &policy.rules {
        rules.entry(rule.position).or_insert(rule);
    }
    for document in &document.rules.value {
        // What is not named or not read yet is corrected first.
        let rule = rules.get(&document.at).filter(|rule| document.state == State::Given && !rule.name.is_empty());
        if let Some(rule) = rule {
            let mut look = Look { rule, findings };
            look.at_programs(document);
            look.at_match(&document.value.matcher.value);
            look.at_effect(document);
            look.at_endpoint(&document.value.endpoint.value);
            look.at_dataflow(document);
        }
    }
}

struct Look<'a> {
    rule: &'a Rule,
    findings: &'a mut Vec<Finding>,
}

impl Look<'_> {
    fn warn(&mut self, at: Position, code: &'static str, message: impl Into<String>, help: &'static str) {
        self.findings.push(Finding::warning(at, code, message).with_help(help));
    }

    /// Lists of paths decide about paths only: a program without a file passes them.
    fn at_programs(&mut self, document: &At<RuleDocument>) {
        let rule = self.rule;
        let Some(endpoint) = &rule.endpoint else { return };
        let matcher = &rule.matcher;
        let lets_through = matches!(rule.effect, Verdict::Allow | Verdict::DryRun);
        let has_lists = !(endpoint.path_allowlist.is_empty() && endpoint.path_denylist.is_empty());
        let holds = |list: &[String], word: &str| list.is_empty() || list.iter().any(|one| one == word);
        let is_about_programs =
            holds(&matcher.endpoint_classes, "proc.exec") && holds(&matcher.tool_names, "proc.exec");
        let takes_others = holds(&matcher.target_kinds, "other")
            && holds(&matcher.destination_kinds, "other")
            && matcher.target_values.is_empty()
            && matcher.destination_values.is_empty();
        if lets_through && has_lists && is_about_programs && takes_others {
            let at =
                if document.value.matcher.state == State::Absent { document.at } else { document.value.matcher.at };
            let message =
                format!("rule {} lets programs in memory run: its path lists decide about paths only", rule.name);
            self.warn(at, "programs_without_a_file", message, "add `target_kinds: [path]` to its match");
        }
    }

    fn at_match(&mut self, document: &MatchDocument) {
        let kinds: Vec<&str> = TargetKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let sources: Vec<&str> = ProvenanceSource::ALL.iter().map(|source| source.as_str()).collect();
        self.at_closed_list("target_kinds", &document.target_kinds, &kinds);
        self.at_closed_list("destination_kinds", &document.destination_kinds, &kinds);
        self.at_closed_list("provenance_sources", &document.provenance_sources, &sources);
        for (field, list) in [
            ("tool_names", &document.tool_names),
            ("risk_classes", &document.risk_classes),
            ("identities", &document.identities),
            ("target_values", &document.target_values),
            ("destination_values", &document.destination_values),
            ("destination_operations", &document.destination_operations),
            ("workspace_prefixes", &document.workspace_prefixes),
        ] {
            for word in list.value.iter().filter(|word| word.value.contains('*')) {
                let message = format!("\"{}\" in {field} stands for itself: match has no wildcards", word.value);
                self.warn(word.at, "no_wildcards", message, "patterns go into the path and domain lists of `endpoint`");
            }
        }
        for word in document.workspace_prefixes.value.iter().filter(|word| word.value.contains('\\')) {
            let message = format!("\"{}\" is no prefix of any workspace: they have `/` for `\\`", word.value);
            self.warn(word.at, "never_matches", message, "write it with `/`");
        }
    }

    /// Words outside of a closed list match nothing.
    fn at_closed_list(&mut self, field: &str, list: &At<Words>, known: &[&str]) {
        for word in &list.value {
            let lower = word.value.trim().to_lowercase();
            if lower.is_empty() || known.contains(&lower.as_str()) {
                continue;
            }
            let meant = nearest(&lower, known);
            let meant =
                meant.map_or(format!("one of {}", known.join(", ")), |meant| format!("did you mean `{meant}`?"));
            let message = format!("\"{}\" in {field} matches nothing: {meant}", word.value);
            self.findings.push(Finding::warning(word.at, "never_matches", message));
        }
    }

    fn at_effect(&mut self, document: &At<RuleDocument>) {
        let rule = self.rule;
        let document = &document.value;
        if rule.effect == Verdict::Block {
            for (what, block, is_active) in [
                ("endpoint", document.endpoint.at, rule.endpoint.is_some()),
                ("dataflow", document.dataflow.at, rule.dataflow.is_some()),
            ] {
                if is_active {
                    let message = format!("rule {} blocks all that it matches, whatever its {what} says", rule.name);
                    self.warn(
                        block,
                        "block_anyway",
                        message,
                        "lists only tighten an effect; use `effect: allow` with a deny list",
                    );
                }
            }
        }
        // A rule that allows asks for its approvals; one that blocks does not, and a trial is let through.
        let may_tighten = rule.effect == Verdict::DryRun && (rule.dataflow.is_some() || rule.endpoint.is_some());
        let can_ask = matches!(rule.effect, Verdict::Allow | Verdict::RequireApproval) || may_tighten;
        if rule.min_approvals > 0 && !can_ask {
            let message = format!("min_approvals has no effect: rule {} never asks for approval", rule.name);
            self.warn(document.min_approvals.at, "no_effect", message, "use `effect: require_approval`");
        }
    }

    fn at_endpoint(&mut self, document: &EndpointDocument) {
        let Some(endpoint) = &self.rule.endpoint else { return };
        if endpoint.destructive_action == Some(Verdict::RequireApproval) && endpoint.action == Verdict::Block {
            let message =
                "destructive_action: require_approval blocks all the same: the stricter of it and `action` counts";
            self.warn(document.destructive_action.at, "block_anyway", message, "add `action: require_approval`");
        }
        self.at_switched_off("endpoint", &document.enabled);
        for list in [&document.path_allowlist, &document.path_denylist] {
            for word in &list.value {
                let text = word.value.trim();
                if text.starts_with('~') {
                    let message = format!("\"{text}\" is no home directory: `~` stands for itself");
                    self.warn(word.at, "never_matches", message, "use `${home}`");
                } else if text.starts_with('*') && !text.starts_with("**/") && text != "**" {
                    let message = format!("\"{text}\" matches no absolute path: `*` does not match `/`");
                    self.warn(word.at, "never_matches", message, "write `**/` in front for any depth");
                } else if !text.is_empty() && !text.starts_with(['/', '*', '$', '[', '?', '\\']) {
                    let message = format!("\"{text}\" matches no absolute path, and guarded runs have no others");
                    self.warn(word.at, "relative_pattern", message, "start it with `/`, `**/` or `${workspace}/`");
                }
            }
        }
        for list in [&document.domain_allowlist, &document.domain_denylist] {
            for word in &list.value {
                let text = word.value.trim();
                let has_port = text.matches(':').count() == 1;
                if text.contains('/') || has_port {
                    let message = format!("\"{text}\" matches no domain: they have no scheme, port or path");
                    self.warn(word.at, "never_matches", message, "write the name alone, as in `*.example.com`");
                }
            }
        }
    }

    fn at_dataflow(&mut self, document: &At<RuleDocument>) {
        if self.rule.dataflow.is_none() {
            return;
        }
        let document = &document.value.dataflow.value;
        let kinds: Vec<&str> = TargetKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let sources: Vec<&str> = ProvenanceSource::ALL.iter().map(|source| source.as_str()).collect();
        self.at_switched_off("dataflow", &document.enabled);
        self.at_closed_list("dataflow.tainted_sources", &document.tainted_sources, &sources);
        self.at_closed_list("dataflow.destination_kinds", &document.destination_kinds, &kinds);
    }

    /// Lists switch a block on, whatever `enabled` says.
    fn at_switched_off(&mut self, what: &str, enabled: &At<bool>) {
        if enabled.state == State::Given && !enabled.value {
            let message = format!("{what} of rule {} is in force: its lists switch it on", self.rule.name);
            self.warn(enabled.at, "switched_on_anyway", message, "remove the lists, or the whole block");
        }
    }
}
