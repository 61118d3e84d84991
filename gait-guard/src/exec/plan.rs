//! Which layers are in force, and what the receipt says was decided before the start.

use std::collections::BTreeSet;
use std::path::Path;

use gait_core::canonical::CanonicalError;
use gait_core::digest::Sha256Hex;
use gait_core::guarded::{
    BpfPlan, BpfProgram, CommandPlan, EngineRejected, EnvironmentPlan, Plan, PlanContext, PolicyPlan, SeccompPlan,
    SelfTest, Variables as PlanVariables,
};
use gait_core::name::name;
use gait_core::policy::{Match, Policy, Rule, Variables, Verdict};

use super::Request;
use super::engine::{Choice, Engine, Rejected};
use crate::bpf::committed;
use crate::bpf::object::Attached;
use crate::host::{Layer, Report, State};
use crate::hybrid::{Grants, LIMIT};
use crate::intent::{argv_digest, program};
use crate::layer::landlock::Domain;
use crate::layer::seccomp::{Class, program as filter, table::TABLE};
use crate::session::{CaptureMode, PolicyRules, errno_name};

/// Version of the floor that is in force.
const FLOOR: &str = "1";

/// Which layers the user insists on, and which may be missing.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// `--require`.
    pub required: BTreeSet<Layer>,
    /// `--allow-degraded`.
    pub dispensable: BTreeSet<Layer>,
}

/// Why no run is started with the layers of this host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A layer is missing that is needed, or was asked for.
    #[error("the layer `{}` is not in force here: {why}", layer.name())]
    Missing {
        /// Which.
        layer: Layer,
        /// What its probe gave.
        why: String,
    },
    /// The policy allows network that can't be judged.
    #[error("the policy can allow network (rule `{rule}`), which can't be judged here: {why}")]
    Network {
        /// The first such rule.
        rule: String,
        /// What the probe gave.
        why: String,
    },
    /// The engine that was asked for can't be had.
    #[error("the engine `{}` can't be used here: {why}", engine.name())]
    Engine {
        /// Which.
        engine: Engine,
        /// Where its self-test failed.
        why: String,
    },
    /// The plan can't be digested.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

/// The layers of one run.
#[derive(Clone, Debug)]
pub struct Layers {
    present: BTreeSet<Layer>,
    missing: BTreeSet<Layer>,
    dispensable: BTreeSet<Layer>,
}

impl Layers {
    /// Whether `layer` is in force.
    pub fn has(&self, layer: Layer) -> bool {
        self.present.contains(&layer)
    }

    /// The layers of a run in which the agent opens files itself (`hybrid`): what it opened can be mapped executable, and
    /// without Landlock nothing would bound what it opens.
    ///
    /// # Errors
    /// [`PlanError::Missing`]
    pub(super) fn with_reads_of_its_own(mut self, demands: &Demands) -> Result<Self, PlanError> {
        let missing = |layer, why: &str| Err(PlanError::Missing { layer, why: why.to_owned() });
        if !self.has(Layer::Landlock) {
            return missing(Layer::Landlock, "the engine `hybrid` is nothing without it");
        }
        if demands.required.contains(&Layer::Noexec) {
            return missing(Layer::Noexec, "under the engine `hybrid` the agent opens files by itself");
        }
        self.present.remove(&Layer::Noexec);
        Ok(self)
    }

    /// Names of those in force, outermost first.
    pub fn names(&self) -> Vec<String> {
        Layer::ALL.iter().filter(|layer| self.has(**layer)).map(|layer| layer.name().to_owned()).collect()
    }

    /// Names of those that are missing as permitted.
    pub fn degraded(&self) -> Vec<String> {
        let is_missed = |layer: &&Layer| self.missing.contains(layer) && self.dispensable.contains(layer);
        Layer::ALL.iter().filter(is_missed).map(|layer| layer.name().to_owned()).collect()
    }
}

impl Demands {
    /// The layers for a run under `policy` on the host of `report`.
    ///
    /// # Errors
    /// [`PlanError`]: nothing may be started then.
    pub fn layers(&self, report: &Report, policy: &Policy) -> Result<Layers, PlanError> {
        let why = |layer| report.state(layer).map_or_else(|| "unknown".to_owned(), explain);
        let missing: BTreeSet<Layer> = report.missing().collect();
        for &layer in &missing {
            let is_dispensable = self.dispensable.contains(&layer) && !self.required.contains(&layer);
            if self.required.contains(&layer) || (layer.is_vital() && !(is_dispensable && can_be_missed(layer))) {
                return Err(PlanError::Missing { layer, why: why(layer) });
            }
            if layer == Layer::Network
                && !is_dispensable
                && let Some(rule) = network_rule(policy)
            {
                return Err(PlanError::Network { rule, why: why(layer) });
            }
        }
        let present = Layer::ALL.into_iter().filter(|layer| !missing.contains(layer)).collect();
        Ok(Layers { present, missing, dispensable: self.dispensable.clone() })
    }
}

/// The vital layers that a user may do without.
fn can_be_missed(layer: Layer) -> bool {
    layer == Layer::Landlock
}

/// What a probe gave, in words.
pub fn explain(state: &State) -> String {
    match state {
        State::Present { detail } => detail.clone(),
        State::Absent { call, errno, remedy } => format!("{call}: {errno}; {remedy}"),
        State::Broken { what } => format!("broken: {what}"),
    }
}

/// A rule, or the default, that can let an address through. Rules are tried in order, so what blocks all addresses of a
/// class hides what comes after it.
fn network_rule(policy: &Policy) -> Option<String> {
    let mut open: Vec<&str> = vec!["net.http", "net.dns"];
    for rule in policy.rules() {
        let reached = open.iter().any(|class| can_be_network(rule, class));
        if reached && rule.effect != Verdict::Block {
            return Some(rule.name.clone());
        }
        open.retain(|class| !(rule.effect == Verdict::Block && is_whole_class(rule, class)));
    }
    (!open.is_empty() && policy.default_verdict() != Verdict::Block).then(|| "default_verdict".to_owned())
}

fn can_be_network(rule: &Rule, class: &str) -> bool {
    let has = |list: &[String], fits: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|word| fits(word));
    has(&rule.matcher.tool_names, &|tool| tool.starts_with("net.") && tool != "net.unix")
        && has(&rule.matcher.endpoint_classes, &|word| word == class)
        && has(&rule.matcher.target_kinds, &|kind| kind == "host")
}

/// Whether a rule matches every address of a class: it asks for nothing but class, kind or tool.
fn is_whole_class(rule: &Rule, class: &str) -> bool {
    let Match { tool_names, target_kinds, endpoint_classes, .. } = &rule.matcher;
    let nothing_else = Match {
        tool_names: tool_names.clone(),
        target_kinds: target_kinds.clone(),
        endpoint_classes: endpoint_classes.clone(),
        ..Match::default()
    };
    let all_tools = ["net.connect", "net.send", "net.bind"];
    rule.matcher == nothing_else
        && can_be_network(rule, class)
        && (tool_names.is_empty() || all_tools.iter().all(|tool| tool_names.iter().any(|name| name == tool)))
}

/// The variables of this run.
pub(super) fn variables(request: &Request, tmp: &Path) -> Variables {
    let spell = |path: &Path| name(path.as_os_str().as_encoded_bytes());
    Variables { workspace: spell(&request.workspace), home: request.home.as_deref().map(spell), tmp: Some(spell(tmp)) }
}

/// What the plan says of the engine.
pub(super) struct Decider<'a> {
    pub choice: &'a Choice,
    /// BPF programs in force.
    pub programs: &'a [Attached],
    /// Bytes of their ring.
    pub ring_bytes: u32,
}

fn rejected(rejected: &Rejected) -> EngineRejected {
    EngineRejected {
        engine: rejected.engine.name().into(),
        stage: rejected.stage.name().into(),
        errno: rejected.errno.map(errno_name),
        reason: Some(rejected.reason.clone()),
    }
}

fn bpf(programs: &[Attached], ring_bytes: u32) -> BpfPlan {
    if programs.is_empty() {
        return BpfPlan::default();
    }
    let program = |program: &Attached| BpfProgram {
        name: program.name.clone(),
        hook: program.hook.clone(),
        tag: program.tag.clone(),
    };
    BpfPlan {
        programs: programs.iter().map(program).collect(),
        object_digest: committed::DIGEST.into(),
        ring_bytes: ring_bytes.into(),
    }
}

/// What the plan says of the request, whatever the engine and the layers will be.
pub(super) fn draft(
    request: &Request,
    rules: &PolicyRules,
    policy_yaml: &[u8],
    variables: &Variables,
    environment: EnvironmentPlan,
) -> Result<Plan, PlanError> {
    let argv: Vec<Vec<u8>> = request.command.iter().map(|arg| arg.as_encoded_bytes().to_vec()).collect();
    let sha = |bytes: &[u8]| Sha256Hex::of(bytes).to_string();
    let raw = request.capture == CaptureMode::Raw;
    let policy = rules.policy();
    Ok(Plan {
        engine_requested: request.engine.name().into(),
        allow_degraded: request.demands.dispensable.iter().map(|layer| layer.name().to_owned()).collect(),
        policy: PolicyPlan {
            digest: policy.digest()?.to_string(),
            file_sha256: sha(policy_yaml),
            source_sha256: sha(&request.policy_source),
            tables_sha256: rules.tables_sha256()?.to_string(),
            extensions: policy.extensions().into_iter().map(str::to_owned).collect(),
        },
        floor: FLOOR.into(),
        capture_mode: if raw { "raw" } else { "reference" }.into(),
        context: PlanContext {
            identity: request.identity.clone(),
            workspace: variables.workspace.clone(),
            risk_class: request.risk_class.clone(),
        },
        environment,
        variables: PlanVariables {
            workspace: variables.workspace.clone(),
            home: variables.home.clone().unwrap_or_default(),
            tmp: variables.tmp.clone().unwrap_or_default(),
        },
        command: CommandPlan {
            argc: argv.len() as u64,
            argv_digest: argv_digest(&argv)?.to_string(),
            program: program(&argv),
            argv: raw.then(|| argv.iter().map(|arg| name(arg)).collect()),
        },
        ..Plan::default()
    })
}

/// The plan, with its digest.
pub(super) fn plan(
    draft: Plan,
    layers: &Layers,
    landlock: Option<&Domain>,
    decider: &Decider<'_>,
) -> Result<Plan, PlanError> {
    let opens = decider.choice.engine.opens();
    let plan = Plan {
        engine: decider.choice.engine.name().into(),
        engine_rejected: decider.choice.rejected.iter().map(rejected).collect(),
        bpf: bpf(decider.programs, decider.ring_bytes),
        layers: layers.names(),
        degraded: layers.degraded(),
        landlock: landlock.map(|domain| domain.plan.clone()).unwrap_or_default(),
        seccomp: SeccompPlan {
            filter_digest: Sha256Hex::of(filter::bytes(filter::filter(opens))).to_string(),
            notified: filter::notified(opens).len() as u32,
            denied: TABLE.iter().filter(|call| call.class == Class::Deny).count() as u32,
        },
        ..draft
    };
    Ok(plan.seal()?)
}

/// What the self-test of the engine `hybrid` gave, and what it can't do, for the receipt.
pub(super) fn hybrid_test(grants: &Grants) -> SelfTest {
    let names = grants.names_are_denied.then(|| LIMIT.to_owned());
    let divided = format!("what is made later right in one of {} divided folders can't be read", grants.divided.len());
    let detail = names.into_iter().chain([divided]).collect::<Vec<_>>().join("; ");
    SelfTest { layer: "hybrid".into(), result: "fired".into(), detail: Some(detail) }
}

/// What the probes gave, for the receipt.
pub(super) fn self_tests(report: &Report) -> Vec<SelfTest> {
    let fires = |layer| matches!(layer, Layer::Landlock | Layer::Seccomp | Layer::Notify | Layer::Probes);
    report
        .0
        .iter()
        .map(|(layer, state)| SelfTest {
            layer: layer.name().into(),
            result: match state {
                State::Present { .. } if fires(*layer) => "fired",
                State::Present { .. } => "passed",
                _ => "skipped",
            }
            .into(),
            detail: Some(explain(state)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gait_core::policy::Strictness;

    #[test]
    fn a_policy_that_denies_all_network_is_known_as_one() {
        let shipped = |text: &str| network_rule(&Policy::parse(text, Strictness::Strict).unwrap());
        assert_eq!(shipped(include_str!("../../../policies/deny-network.yaml")), None);
        assert_eq!(shipped(include_str!("../../../policies/default.yaml")), Some("loopback-only".into()));
        assert!(shipped(include_str!("../../../policies/allow-all.yaml")).is_some());
        let half = "schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: allow\nrules:\n\
                    - {name: n, priority: 1, effect: block, match: {endpoint_classes: [net.http]}}\n";
        assert_eq!(shipped(half), Some("default_verdict".into()));
    }
}
