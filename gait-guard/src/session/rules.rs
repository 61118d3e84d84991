//! The policy of a run in both of its forms.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use gait_core::canonical::CanonicalError;
use gait_core::digest::Sha256Hex;
use gait_core::intent::{Context, Intent};
use gait_core::policy::compile::{CompileError, CompiledPolicy, Kind, Limits};
use gait_core::policy::{Policy, Verdict, evaluate};

use super::config::{Rules, Said};
use crate::cache::{Cache, Compiled, Question};
use crate::event::Action;
use crate::intent::{Subject, kinds};

/// A policy, and its tables for the kinds of action that are known beforehand.
pub struct PolicyRules {
    policy: Policy,
    context: Arc<Context>,
    compiled: Arc<CompiledPolicy>,
    /// Of the tables, if it is known already.
    tables_sha256: Option<Sha256Hex>,
    /// Tables of `sys.*` kinds, made at first sight.
    later: Mutex<HashMap<Kind, CompiledPolicy>>,
}

impl PolicyRules {
    /// Compiles `policy` for a run with `context`.
    ///
    /// # Errors
    /// [`CompileError`] if the tables get too large.
    pub fn new(policy: Policy, context: Context) -> Result<Self, CompileError> {
        Self::kept(policy, context, &[], &Cache::none())
    }

    /// As [`PolicyRules::new`], with tables that `cache` may have already; `texts` are those that `policy` follows from.
    ///
    /// # Errors
    /// As [`PolicyRules::new`].
    pub fn kept(policy: Policy, context: Context, texts: &[&[u8]], cache: &Cache) -> Result<Self, CompileError> {
        let context = Arc::new(context);
        let question = Question { policy: &policy, texts, context: &context, kinds: &kinds() };
        let Compiled { policy: compiled, tables_sha256, .. } = cache.compile(question)?;
        Ok(Self { policy, context, compiled: Arc::new(compiled), tables_sha256, later: Mutex::default() })
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The tables: for Landlock's bounds and the digest in the plan.
    pub fn tables(&self) -> &Arc<CompiledPolicy> {
        &self.compiled
    }

    /// The SHA-256 of the tables in their canonical form.
    ///
    /// # Errors
    /// [`CanonicalError`] never for a policy that was parsed.
    pub fn tables_sha256(&self) -> Result<Sha256Hex, CanonicalError> {
        self.tables_sha256.map_or_else(|| Ok(Sha256Hex::of(self.compiled.table_bytes()?)), Ok)
    }

    fn decide(&self, tables: &CompiledPolicy, subject: &Subject<'_>) -> Option<Verdict> {
        let kind = tables.kind(&subject.kind)?;
        Some(tables.decide(kind, &subject.value, subject.domain.as_deref().map(str::as_bytes)).verdict)
    }
}

impl Rules for PolicyRules {
    fn reference(&self, intent: &Intent) -> Said {
        let decision = evaluate(&self.policy, intent);
        Said {
            verdict: decision.verdict,
            reason_codes: decision.reason_codes,
            violations: decision.violations,
            matched_rule: decision.matched_rule,
        }
    }

    fn compiled(&self, action: &Action<'_>) -> Verdict {
        let subject = Subject::of(action);
        if let Some(verdict) = self.decide(&self.compiled, &subject) {
            return verdict;
        }
        let Ok(mut later) = self.later.lock() else { return Verdict::Block };
        if !later.contains_key(&subject.kind) {
            let made = CompiledPolicy::compile(&self.policy, &self.context, [subject.kind.clone()], &Limits::default());
            // What can't be compiled is blocked, like all that the tables can't decide.
            let Ok(tables) = made else { return Verdict::Block };
            later.insert(subject.kind.clone(), tables);
        }
        later.get(&subject.kind).and_then(|tables| self.decide(tables, &subject)).unwrap_or(Verdict::Block)
    }
}
