//! The policy of this repository: compiled, and as the reference evaluator reads it.

use super::engine::Engine;
use super::world::{self, TOOLS, World, tool_name};
use anyhow::{Context as _, Result};
use gait_core::intent::{Context, EndpointClass, Intent, IntentParts, Provenance, Target, TargetKind};
use gait_core::policy::compile::{CompiledPolicy, Kind, Limits};
use gait_core::policy::{Policy, Strictness, Verdict, evaluate};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

/// Decides by the tables.
pub struct Compiled {
    policy: CompiledPolicy,
    intents: Vec<Intent>,
}

/// Decides rule by rule.
pub struct Reference {
    policy: Policy,
    intents: Vec<Intent>,
}

impl Compiled {
    pub fn new(world: &World) -> Result<Self> {
        let context = context();
        let policy = CompiledPolicy::compile(&policy(world)?, &context, kinds(), &Limits::default())?;
        Ok(Self { policy, intents: intents(world, &context) })
    }
}

impl Engine for Compiled {
    fn name(&self) -> &'static str {
        "gait, compiled policy"
    }

    fn allows(&mut self, subject: usize) -> Result<bool> {
        let decision = self.policy.decide_intent(&self.intents[subject]).context("not decided by the tables")?;
        Ok(decision.verdict == Verdict::Allow)
    }
}

impl Reference {
    pub fn new(world: &World) -> Result<Self> {
        Ok(Self { policy: policy(world)?, intents: intents(world, &context()) })
    }
}

impl Engine for Reference {
    fn name(&self) -> &'static str {
        "gait, reference evaluator"
    }

    fn allows(&mut self, subject: usize) -> Result<bool> {
        Ok(evaluate(&self.policy, &self.intents[subject]).verdict == Verdict::Allow)
    }
}

fn policy(world: &World) -> Result<Policy> {
    let mut text = String::from("default_verdict: block\nrules:\n");
    for (number, rule) in world.exact.iter().enumerate() {
        let (tool, effect) = (tool_name(rule.tool), if rule.allows { "allow" } else { "block" });
        writeln!(
            text,
            "- {{name: exact{number}, priority: 1, effect: {effect}, match: {{tool_names: [{tool}], target_values: ['{}']}}}}",
            rule.path
        )?;
    }
    for tool in 0..TOOLS {
        let (name, project, shared) = (tool_name(tool), world::project(tool), world::SHARED);
        writeln!(
            text,
            "- {{name: project{tool}, priority: 2, effect: allow, match: {{tool_names: [{name}]}}, \
             endpoint: {{path_allowlist: ['{project}**', '{shared}**'], path_denylist: ['{project}private/**', '**/.env']}}}}"
        )?;
    }
    Ok(Policy::parse(&text, Strictness::Strict)?)
}

fn context() -> Arc<Context> {
    Arc::new(Context {
        identity: "agent".to_owned(),
        risk_class: "high".to_owned(),
        workspace: "/srv".to_owned(),
        ..Context::default()
    })
}

fn kinds() -> impl Iterator<Item = Kind> {
    (0..TOOLS).map(|tool| Kind {
        tool_name: tool_name(tool).into(),
        target_kind: TargetKind::Path,
        operation: Cow::Borrowed("read"),
        endpoint_class: EndpointClass::FsRead,
    })
}

fn intents(world: &World, context: &Arc<Context>) -> Vec<Intent> {
    let intent = |subject: &world::Subject| {
        Intent::from_normal_parts(IntentParts {
            tool_name: subject.tool().into(),
            args: serde_json::Map::new(),
            targets: vec![Target::of(TargetKind::Path, subject.path.clone(), "read", EndpointClass::FsRead)],
            arg_provenance: Cow::Borrowed(Provenance::SYSTEM),
            context: Arc::clone(context),
        })
    };
    world.subjects.iter().map(intent).collect()
}
