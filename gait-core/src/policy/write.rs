//! A policy as YAML again: the effective policy that travels in a runpack.
//!
//! What is written reads back, strictly or leniently and by existing readers too, as a policy with the
//! same digest. Every string is quoted, so no value can be taken for something else.

use std::fmt::Write as _;

use super::model::{Dataflow, Endpoint, FailClosed, Match, Policy, RateLimit, Rule};
use super::{SCHEMA_ID, SCHEMA_VERSION};

impl Policy {
    /// This policy as YAML text.
    pub fn to_yaml(&self) -> String {
        let mut out = Writer::default();
        out.text("schema_id", SCHEMA_ID);
        out.text("schema_version", SCHEMA_VERSION);
        out.text("default_verdict", self.default_verdict.as_str());
        if self.fail_closed != FailClosed::default() {
            out.block("fail_closed", |out| {
                out.flag("enabled", self.fail_closed.enabled);
                out.list("risk_classes", &self.fail_closed.risk_classes);
                out.list("required_fields", self.fail_closed.required_fields.iter().map(|field| field.as_str()));
            });
        }
        if self.rules.is_empty() {
            out.line("rules: []");
        } else {
            out.line("rules:");
            self.rules.iter().for_each(|rule| out.rule(rule));
        }
        out.yaml
    }
}

#[derive(Default)]
struct Writer {
    yaml: String,
    depth: usize,
    /// The next line starts an item of a sequence.
    item: bool,
}

impl Writer {
    fn line(&mut self, line: &str) {
        let indent = self.depth * 2;
        let dash = if std::mem::take(&mut self.item) { "- " } else { "" };
        let spaces = indent - dash.len();
        // Writing to a string can't fail.
        let _ = writeln!(self.yaml, "{:spaces$}{dash}{line}", "");
    }

    fn text(&mut self, key: &str, value: &str) {
        self.line(&format!("{key}: {}", quoted(value)));
    }

    fn optional_text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.text(key, value);
        }
    }

    fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.line(&format!("{key}: true"));
        }
    }

    fn list<T: AsRef<str>>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        let values: Vec<String> = values.into_iter().map(|value| quoted(value.as_ref())).collect();
        if !values.is_empty() {
            self.line(&format!("{key}: [{}]", values.join(", ")));
        }
    }

    /// A mapping below `key`, left out if `body` writes nothing.
    fn block(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        let before = self.yaml.len();
        self.line(&format!("{key}:"));
        let start = self.yaml.len();
        self.depth += 1;
        body(self);
        self.depth -= 1;
        if self.yaml.len() == start {
            self.yaml.truncate(before);
        }
    }

    fn rule(&mut self, rule: &Rule) {
        self.depth += 2;
        self.item = true;
        self.text("name", &rule.name);
        self.line(&format!("priority: {}", rule.priority));
        self.text("effect", rule.effect.as_str());
        self.block("match", |out| out.matcher(&rule.matcher));
        self.list("reason_codes", &rule.reason_codes);
        self.list("violations", &rule.violations);
        if rule.min_approvals > 0 {
            self.line(&format!("min_approvals: {}", rule.min_approvals));
        }
        self.flag("require_distinct_approvers", rule.require_distinct_approvers);
        self.flag("require_broker_credential", rule.require_broker_credential);
        self.optional_text("broker_reference", &rule.broker_reference);
        self.list("broker_scopes", &rule.broker_scopes);
        if let Some(limit) = &rule.rate_limit {
            self.block("rate_limit", |out| out.rate_limit(limit));
        }
        if let Some(dataflow) = &rule.dataflow {
            self.block("dataflow", |out| out.dataflow(dataflow));
        }
        if let Some(endpoint) = &rule.endpoint {
            self.block("endpoint", |out| out.endpoint(endpoint));
        }
        self.depth -= 2;
    }

    fn matcher(&mut self, matcher: &Match) {
        self.list("tool_names", &matcher.tool_names);
        self.list("risk_classes", &matcher.risk_classes);
        self.list("target_kinds", &matcher.target_kinds);
        self.list("target_values", &matcher.target_values);
        self.list("provenance_sources", &matcher.provenance_sources);
        self.list("identities", &matcher.identities);
        self.list("workspace_prefixes", &matcher.workspace_prefixes);
        self.list("endpoint_classes", &matcher.endpoint_classes);
        self.list("skill_publishers", &matcher.skill_publishers);
        self.list("skill_sources", &matcher.skill_sources);
        self.list("data_classes", &matcher.data_classes);
        self.list("destination_kinds", &matcher.destination_kinds);
        self.list("destination_values", &matcher.destination_values);
        self.list("destination_operations", &matcher.destination_operations);
    }

    fn rate_limit(&mut self, limit: &RateLimit) {
        self.line(&format!("requests: {}", limit.requests));
        self.text("window", &limit.window);
        self.text("scope", &limit.scope);
    }

    fn dataflow(&mut self, dataflow: &Dataflow) {
        self.flag("enabled", true);
        self.list("tainted_sources", &dataflow.tainted_sources);
        self.list("destination_kinds", &dataflow.destination_kinds);
        self.list("destination_values", &dataflow.destination_values);
        self.list("destination_operations", &dataflow.destination_operations);
        self.text("action", dataflow.action.as_str());
        self.text("reason_code", &dataflow.reason_code);
        self.text("violation", &dataflow.violation);
    }

    fn endpoint(&mut self, endpoint: &Endpoint) {
        self.flag("enabled", true);
        self.list("path_allowlist", endpoint.path_allowlist.iter().map(|pattern| pattern.text()));
        self.list("path_denylist", endpoint.path_denylist.iter().map(|pattern| pattern.text()));
        self.list("domain_allowlist", endpoint.domain_allowlist.iter().map(|pattern| pattern.text()));
        self.list("domain_denylist", endpoint.domain_denylist.iter().map(|pattern| pattern.text()));
        self.list("egress_classes", &endpoint.egress_classes);
        self.text("action", endpoint.action.as_str());
        if let Some(action) = endpoint.destructive_action {
            self.text("destructive_action", action.as_str());
        }
        self.text("reason_code", &endpoint.reason_code);
        self.text("violation", &endpoint.violation);
    }
}

/// `text` as a double-quoted YAML scalar on one line; all that is not plainly printable is escaped.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            ' '..='~' | '\u{a1}'..='\u{d7ff}' if !matches!(character, '\u{2028}' | '\u{2029}') => out.push(character),
            '\u{e000}'..='\u{fffd}' if character != '\u{feff}' => out.push(character),
            _ => {
                let code = u32::from(character);
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}
