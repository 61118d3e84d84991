//! What a run is made of besides the kernel's programs, which are loaded meanwhile.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use gait_core::guarded::{EnvironmentPlan, Host, Plan};
use gait_core::intent::Context;
use gait_core::policy::Policy;

use super::{Engine, ExecError, Request, Scratch, plan};
use crate::bpf::image::Image;
use crate::cache::Cache;
use crate::host;
use crate::hybrid::{self, GrantError, Grants};
use crate::intent::Translator;
use crate::kernel::Setup;
use crate::launch::Command;
use crate::layer::environment::scrub;
use crate::layer::landlock::{Domain, LandlockError, domain};
use crate::layer::seccomp::Opens;
use crate::session::{Dirs, Enforcement, GuardedPaths, PolicyRules, guarded_paths, unsealed_runs};

/// What a run needs besides the kernel's programs.
pub(super) struct Prepared {
    pub(super) scratch: Scratch,
    pub(super) command: Command,
    pub(super) withheld: u32,
    pub(super) translator: Translator,
    /// What the plan says of all this.
    pub(super) draft: Plan,
    pub(super) rules: PolicyRules,
    /// The effective policy as text.
    pub(super) policy_yaml: Vec<u8>,
    pub(super) dirs: Dirs,
    pub(super) context: Arc<Context>,
    /// What the floor closes.
    pub(super) paths: GuardedPaths,
    /// Made where the engine is sure to need it.
    pub(super) ahead: Option<Ahead>,
    /// The domain under the engine `notify`, where that may be the engine.
    pub(super) landlock: Option<Result<Domain, LandlockError>>,
    pub(super) host: Host,
    /// Runs of before that nobody sealed.
    pub(super) unsealed: Vec<String>,
}

/// What the engine `hybrid` needs of the policy.
pub(super) struct Ahead {
    pub(super) granted: Result<Grants, GrantError>,
    /// The tables; if they can't be made, that is told when they are asked for.
    pub(super) image: OnceLock<Image>,
}

impl Ahead {
    fn of(request: &Request, closed: &[PathBuf], setup: Setup<'_>) -> Self {
        let is_enforced = request.enforcement == Enforcement::Enforce;
        let granted = hybrid::grants(setup.policy, is_enforced, closed, &request.workspace);
        let _ = setup.image();
        Self { granted, image: setup.image }
    }
}

impl Prepared {
    pub(super) fn of(request: &Request, path: Option<&OsStr>, cache: &Cache) -> Result<Self, ExecError> {
        let scratch = Scratch::make(&request.workspace)?;
        let (environment, withheld) = environment(request, &scratch);
        let workspace = request.workspace.as_os_str().as_encoded_bytes();
        let translator = Translator::new(&request.identity, workspace, &request.risk_class)?;
        let variables = plan::variables(request, scratch.path());
        let policy = Policy::parse_bytes(&request.policy_source, request.strictness);
        let effective = policy.and_then(|policy| policy.expand(&variables));
        let effective = effective.map_err(|cause| ExecError::Policy { path: request.policy_path.clone(), cause })?;
        let policy_yaml = effective.to_yaml().into_bytes();
        let texts = [request.policy_source.as_slice(), &policy_yaml];
        let rules = PolicyRules::kept(effective, translator.context().clone(), &texts, cache)?;
        let passed = EnvironmentPlan { passed: environment.len() as u32, removed: withheld };
        let draft = plan::draft(request, &rules, &policy_yaml, &variables, passed)?;
        let command = Command::new(&request.command, environment, path)?;
        let dirs = Dirs {
            state: request.state.clone(),
            out: request.out.clone(),
            sealed: request.policy_path.iter().cloned().chain(std::env::current_exe()).collect(),
            closed: request.closed.clone(),
        };
        let (context, paths) = (Arc::new(translator.context().clone()), guarded_paths(&dirs, workspace));
        let ahead = (request.engine == Engine::Hybrid).then(|| {
            let closed: Vec<PathBuf> = std::iter::once(&dirs.state).chain(&dirs.closed).cloned().collect();
            let image = OnceLock::new();
            let setup = Setup { policy: rules.tables(), context: &context, paths: &paths, cache, image };
            Ahead::of(request, &closed, setup)
        });
        let may_be_notify = matches!(request.engine, Engine::Auto | Engine::Notify);
        let landlock = may_be_notify.then(|| superset(request, &rules, Opens::Held));
        Ok(Self {
            scratch,
            command,
            withheld,
            translator,
            draft,
            rules,
            policy_yaml,
            dirs,
            context,
            paths,
            ahead,
            landlock,
            host: host::facts(),
            unsealed: unsealed_runs(&request.state),
        })
    }
}

/// The Landlock domain of any engine but `hybrid`.
///
/// # Errors
/// [`LandlockError`]
pub(super) fn superset(request: &Request, rules: &PolicyRules, opens: Opens) -> Result<Domain, LandlockError> {
    let everything: &[&[u8]] = &[b"/"];
    let prefixes = rules.tables().exec_prefixes();
    domain(if request.enforcement == Enforcement::Simulate { everything } else { &prefixes }, opens)
}

/// What the agent gets of the environment, and how many variables it does not.
fn environment(request: &Request, scratch: &Scratch) -> (Vec<(OsString, OsString)>, u32) {
    let mut scrubbed = scrub(request.environment.iter().cloned(), &request.keep);
    // Whatever a variable of these names pointed to, temporary files go where the policy lets them.
    scrubbed.passed.retain(|(name, _)| !["TMPDIR", "TMP", "TEMP"].iter().any(|tmp| name == OsStr::new(tmp)));
    scrubbed.passed.push(("TMPDIR".into(), scratch.path().into()));
    (scrubbed.passed, scrubbed.removed.len() as u32)
}
