//! The rules in Cedar.

use super::engine::Engine;
use super::world::{self, TOOLS, World, tool_name};
use anyhow::Result;
use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, RestrictedExpression};
use std::fmt::Write as _;

/// Decides by a policy set.
pub struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    requests: Vec<Request>,
}

impl Cedar {
    pub fn new(world: &World) -> Result<Self> {
        let requests = world.subjects.iter().map(request).collect::<Result<_>>()?;
        let (authorizer, entities) = (Authorizer::new(), Entities::empty());
        Ok(Self { authorizer, policies: policies(world)?.parse()?, entities, requests })
    }
}

impl Engine for Cedar {
    fn name(&self) -> &'static str {
        "cedar-policy"
    }

    fn allows(&mut self, subject: usize) -> Result<bool> {
        let response = self.authorizer.is_authorized(&self.requests[subject], &self.policies, &self.entities);
        Ok(response.decision() == Decision::Allow)
    }
}

fn policies(world: &World) -> Result<String> {
    let mut text = String::new();
    for rule in &world.exact {
        let (tool, effect) = (tool_name(rule.tool), if rule.allows { "permit" } else { "forbid" });
        writeln!(text, "{effect}(principal, action == Action::\"{tool}\", resource == Path::\"{}\");", rule.path)?;
    }
    for tool in 0..TOOLS {
        let (name, project, shared) = (tool_name(tool), world::project(tool), world::SHARED);
        writeln!(
            text,
            "permit(principal, action == Action::\"{name}\", resource)\n\
             when {{ context.path like \"{project}*\" || context.path like \"{shared}*\" }}\n\
             unless {{ context.path like \"{project}private/*\" || context.path like \"*/.env\" }};"
        )?;
    }
    Ok(text)
}

fn request(subject: &world::Subject) -> Result<Request> {
    let uid = |kind: &str, name: &str| format!("{kind}::\"{name}\"").parse::<EntityUid>();
    let path = RestrictedExpression::new_string(subject.path.clone());
    let context = Context::from_pairs([("path".to_owned(), path)])?;
    let (action, resource) = (uid("Action", &subject.tool())?, uid("Path", &subject.path)?);
    Ok(Request::new(uid("Agent", "agent")?, action, resource, context, None)?)
}
