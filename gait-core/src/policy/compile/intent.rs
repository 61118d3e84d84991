//! Whole intents decided by the tables, where they are what the tables were made for.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use super::super::evaluate::Decision;
use super::kind::Kind;
use super::walk::is_same;
use super::{CompiledPolicy, KindId, is_clean, names_host};
use crate::intent::{Context, EndpointClass, Intent, Provenance, Target, TargetKind, infer};

impl CompiledPolicy {
    /// Decides about an intent without looking at a rule: it makes no copy and builds no document. The answer
    /// is [`evaluate`](super::super::evaluate)'s.
    ///
    /// Nothing where the tables say nothing, and the evaluator has to be asked: another context, a kind that was not
    /// compiled, more or less than one target, data of other origin than a guard's, a skill, a sensitivity, labels
    /// that contradict the target, a path that is not spelt as what it names, a host that is not `domain:port`.
    pub fn decide_intent(&self, intent: &Intent) -> Option<&Decision> {
        let [target] = intent.targets() else { return None };
        if !self.is_of_run(intent.context()) || !has_observed_data(intent) || !says_no_more_than_its_kind(target) {
            return None;
        }
        let kind = self.kind_of(intent.tool_name(), target)?;
        let value = target.value.as_bytes();
        // Text that may stand for other bytes than its own (guarded-run 2.1). All are looked at: no branch per byte.
        if value.iter().fold(false, |found, byte| found | (*byte == 0) | (*byte == 0xF4)) {
            return None;
        }
        let domain = match target.kind {
            TargetKind::Host => Some(target.endpoint_domain.as_bytes()).filter(|domain| names_host(value, domain)),
            TargetKind::Path if !is_clean(value) => return None,
            _ => None,
        };
        if domain.is_none() && target.kind == TargetKind::Host {
            return None;
        }
        let compiled = self.kinds.get(kind.0 as usize)?;
        self.outcome_of_clean(compiled, value, domain).and_then(|outcome| self.outcomes.get(outcome as usize))
    }

    fn is_of_run(&self, context: &Context) -> bool {
        // All intents of a run share one context.
        std::ptr::eq(context, &*self.context) || *context == *self.context
    }

    fn kind_of(&self, tool_name: &str, target: &Target) -> Option<KindId> {
        let parts: Parts<'_> = (tool_name, target.kind, &target.operation, target.endpoint_class);
        self.ids.get(&parts as &dyn HasParts).copied()
    }
}

/// Whether the arguments come from where those of all samples do.
fn has_observed_data(intent: &Intent) -> bool {
    let provenance = intent.arg_provenance();
    (std::ptr::eq(provenance, Provenance::SYSTEM) || provenance == Provenance::SYSTEM)
        && intent.skill_provenance().is_none()
}

/// Whether nothing but value and domain tells the target from others of its kind.
fn says_no_more_than_its_kind(target: &Target) -> bool {
    target.sensitivity.is_empty()
        && (target.kind == TargetKind::Host || target.endpoint_domain.is_empty())
        && target.destructive == infer::is_destructive(target.endpoint_class, &target.operation)
}

/// Tool, kind of target, operation and class: a [`Kind`] that owns nothing.
type Parts<'a> = (&'a str, TargetKind, &'a str, EndpointClass);

/// What a kind is looked up by, owned or not. Hash and equality are those of [`Parts`], which are those that
/// [`Kind`] derives.
trait HasParts {
    fn parts(&self) -> Parts<'_>;
}

impl HasParts for Kind {
    fn parts(&self) -> Parts<'_> {
        (&self.tool_name, self.target_kind, &self.operation, self.endpoint_class)
    }
}

impl HasParts for Parts<'_> {
    fn parts(&self) -> Parts<'_> {
        *self
    }
}

impl<'a> Borrow<dyn HasParts + 'a> for Kind {
    fn borrow(&self) -> &(dyn HasParts + 'a) {
        self
    }
}

impl Hash for dyn HasParts + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn HasParts + '_ {
    fn eq(&self, other: &Self) -> bool {
        let ((tool, kind, operation, class), other) = (self.parts(), other.parts());
        kind == other.1
            && class == other.3
            && is_same(tool.as_bytes(), other.0.as_bytes())
            && is_same(operation.as_bytes(), other.2.as_bytes())
    }
}

impl Eq for dyn HasParts + '_ {}
