//! Variables of policies for `gait exec`: `${workspace}`, `${home}`, `${tmp}`.
//!
//! They are expanded once, before the policy is digested; what travels with a run is the effective
//! policy, which has none. Other commands leave them as they are.

use super::error::PolicyError;
use super::model::{Dataflow, Endpoint, Match, Policy, Rule};
use super::pattern::{PathPattern, escape_glob};
use crate::text::set;

/// What the variables stand for: absolute paths as intents name them ([`crate::name`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// `${workspace}`.
    pub workspace: String,
    /// `${home}`, if the user has one.
    pub home: Option<String>,
    /// `${tmp}`: the agent's own temporary folder, if it has one.
    pub tmp: Option<String>,
}

impl Variables {
    fn value(&self, variable: &str) -> Option<&str> {
        match variable {
            "workspace" => Some(&self.workspace),
            "home" => self.home.as_deref(),
            "tmp" => self.tmp.as_deref(),
            _ => None,
        }
    }

    /// What stands for a run where there is none, the same on every machine: examples are judged with it.
    pub fn stand_ins() -> Self {
        Self {
            workspace: "/home/agent/project".to_owned(),
            home: Some("/home/agent".to_owned()),
            tmp: Some("/tmp/gait-run".to_owned()),
        }
    }

    /// `text` with its variables replaced by their values.
    ///
    /// # Errors
    /// A variable that does not exist or has no value.
    pub fn fill(&self, text: &str) -> Result<String, UnknownVariable> {
        self.replace(text, str::to_owned)
    }

    /// `text` with its variables replaced by what `spell` makes of their values.
    fn replace(&self, text: &str, spell: impl Fn(&str) -> String) -> Result<String, UnknownVariable> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((variable, tail)) = after.split_once('}') else { break };
            let Some(value) = self.value(variable) else {
                return Err(UnknownVariable { variable: variable.to_owned(), text: text.to_owned() });
            };
            expanded.push_str(before);
            // A root folder has its separator already.
            let value = if tail.starts_with('/') { value.trim_end_matches('/') } else { value };
            expanded.push_str(&spell(value));
            rest = tail;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn expand(&self, text: &str, spell: impl Fn(&str) -> String, rule: &Rule) -> Result<String, PolicyError> {
        self.replace(text, spell)
            .map_err(|error| PolicyError::invalid(rule.position, format!("{error} for {}", rule.name)))
    }
}

/// A text uses a variable that stands for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown variable ${{{variable}}} in \"{text}\"")]
pub struct UnknownVariable {
    variable: String,
    text: String,
}

impl Policy {
    /// The effective policy: variables in path patterns, target values and workspace prefixes replaced
    /// by `variables`. In patterns a value stands for itself, whatever wildcards its name holds.
    ///
    /// # Errors
    /// [`PolicyError`] for a variable that does not exist or has no value here.
    pub fn expand(&self, variables: &Variables) -> Result<Self, PolicyError> {
        let rules = self.rules.iter().map(|rule| rule.expand(variables)).collect::<Result<_, _>>()?;
        let Self { default_verdict, fail_closed, rules: _ } = self;
        Ok(Self { default_verdict: *default_verdict, fail_closed: fail_closed.clone(), rules })
    }
}

impl Rule {
    fn expand(&self, variables: &Variables) -> Result<Self, PolicyError> {
        let plain = |list: &[String]| -> Result<Vec<String>, PolicyError> {
            let expanded = list.iter().map(|text| variables.expand(text, str::to_owned, self));
            Ok(set(expanded.collect::<Result<Vec<_>, _>>()?))
        };
        let patterns = |list: &[PathPattern]| -> Result<Vec<PathPattern>, PolicyError> {
            let expanded = list.iter().map(|pattern| {
                if !pattern.text().contains("${") {
                    return Ok(pattern.clone());
                }
                let text = variables.expand(pattern.text(), |value| escape_glob(value).into_owned(), self)?;
                Ok(PathPattern::parse(&text))
            });
            let mut patterns = expanded.collect::<Result<Vec<_>, _>>()?;
            patterns.retain(|pattern| !pattern.text().is_empty());
            patterns.sort_by(|a, b| a.text().cmp(b.text()));
            patterns.dedup_by(|a, b| a.text() == b.text());
            Ok(patterns)
        };
        let matcher = Match {
            target_values: plain(&self.matcher.target_values)?,
            destination_values: plain(&self.matcher.destination_values)?,
            workspace_prefixes: plain(&self.matcher.workspace_prefixes)?,
            ..self.matcher.clone()
        };
        let dataflow = match &self.dataflow {
            Some(dataflow) => {
                Some(Dataflow { destination_values: plain(&dataflow.destination_values)?, ..dataflow.clone() })
            }
            None => None,
        };
        let endpoint = match &self.endpoint {
            Some(endpoint) => Some(Endpoint {
                path_allowlist: patterns(&endpoint.path_allowlist)?,
                path_denylist: patterns(&endpoint.path_denylist)?,
                ..endpoint.clone()
            }),
            None => None,
        };
        Ok(Self { matcher, dataflow, endpoint, ..self.clone() })
    }
}
