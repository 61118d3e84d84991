//! An attack with its control.
//!
//! 1. Unguarded, in a scene of its own, it must do its thing on this machine.
//! 2. Guarded it must not: the side effect is absent, and the call failed with an expected error.
//! 3. The runpack verifies and holds the denial, with its reason and the error that the agent saw.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::need::{GUARD, Need};
use crate::pack::{Decided, Pack};
use crate::report;
use crate::run::{self, Ran};
use crate::scene::{CORPUS_POLICY, Scene};
use crate::suite::{Test, test};

/// How one sees that an attack worked.
enum Effect {
    /// It printed this.
    Shows(String),
    /// It printed this as an error of its own: so it ran.
    Complains(String),
    /// A file is there, gone, or another than before (content, mode, owner, time, links, attributes).
    Changes(String),
    /// It ended with exit code 0; for attacks that leave nothing to look at.
    Succeeds,
}

/// What must be in the runpack. `value` and `reason` may end in `*`.
struct Recorded {
    tool: String,
    value: String,
    reason: String,
}

/// How the engine `hybrid` denies a read that it can't deny as the others do: then just this, and nothing else, will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hybrid {
    /// It has happened: the process is killed, and the record says so.
    Kills,
    /// Landlock refuses it, and its name depends on who asks: the record has none.
    HasNoName,
}

/// Reason code of what was denied by a kill.
pub const KILLED: &str = "guard_engine_killed";

type Setup = Box<dyn Fn(&Scene) -> anyhow::Result<()>>;

type Check = Box<dyn Fn(&Ran, &Pack) -> anyhow::Result<()>>;

/// See the module.
pub struct Denial {
    name: String,
    needs: Vec<Need>,
    policy: String,
    setup: Option<Setup>,
    words: Vec<String>,
    control: Option<Vec<String>>,
    effect: Effect,
    errors: Vec<String>,
    recorded: Vec<Recorded>,
    check: Option<Check>,
    hybrid: Option<Hybrid>,
}

/// Starts a denial under the corpus policy.
pub fn denial(name: &str) -> Denial {
    Denial {
        name: name.to_owned(),
        needs: GUARD.to_vec(),
        policy: CORPUS_POLICY.to_owned(),
        setup: None,
        words: Vec::new(),
        control: None,
        effect: Effect::Succeeds,
        errors: ["EACCES", "EPERM"].map(str::to_owned).to_vec(),
        recorded: Vec::new(),
        check: None,
        hybrid: None,
    }
}

impl Denial {
    /// The attack is these syscalls, in the words of `attack calls`.
    pub fn calls(self, calls: &[&str]) -> Self {
        self.runs(&[&["{A}", "calls"], calls].concat())
    }

    /// The attack is this subcommand of the attacker.
    pub fn attack(self, words: &[&str]) -> Self {
        self.runs(&[&["{A}"], words].concat())
    }

    /// The attack is this command. Whatever it prints about errors is its own: none is expected.
    pub fn runs(mut self, words: &[&str]) -> Self {
        self.words = words.iter().map(|word| (*word).to_owned()).collect();
        if self.words.first().is_none_or(|program| program != "{A}") {
            self.errors.clear();
        }
        self
    }

    /// The control is this subcommand of the attacker instead: the same with fewer tries.
    pub fn control(mut self, words: &[&str]) -> Self {
        self.control = Some([&["{A}"], words].concat().into_iter().map(str::to_owned).collect());
        self
    }

    /// It needs more than the guard does.
    pub fn needs(mut self, needs: &[Need]) -> Self {
        self.needs.extend(needs);
        self
    }

    /// Another policy than the corpus'.
    pub fn policy(mut self, policy: &str) -> Self {
        policy.clone_into(&mut self.policy);
        self
    }

    /// Done first, in both scenes.
    pub fn setup(mut self, setup: impl Fn(&Scene) -> anyhow::Result<()> + 'static) -> Self {
        self.setup = Some(Box::new(setup));
        self
    }

    /// It worked if it printed this.
    pub fn shows(mut self, text: &str) -> Self {
        self.effect = Effect::Shows(text.to_owned());
        self
    }

    /// It worked if it printed this on standard error.
    pub fn shows_error(mut self, text: &str) -> Self {
        self.effect = Effect::Complains(text.to_owned());
        self
    }

    /// It worked if this file is not what it was.
    pub fn changes(mut self, path: &str) -> Self {
        self.effect = Effect::Changes(path.to_owned());
        self
    }

    /// One of these errors is what the agent must see, instead of EACCES or EPERM. None: not looked at.
    pub fn errors(mut self, errors: &[&str]) -> Self {
        self.errors = errors.iter().map(|error| (*error).to_owned()).collect();
        self
    }

    /// The denial that must be in the runpack: tool, target, and a reason code or the name of the rule; the
    /// last two may end in `*` for "starts with".
    pub fn recorded(mut self, tool: &str, value: &str, reason: &str) -> Self {
        let [tool, value, reason] = [tool, value, reason].map(str::to_owned);
        self.recorded.push(Recorded { tool, value, reason });
        self
    }

    /// What else must be true of the guarded run. Paths in the runpack are in the words of the test: `{W}/mine`.
    pub fn check(mut self, check: impl Fn(&Ran, &Pack) -> anyhow::Result<()> + 'static) -> Self {
        self.check = Some(Box::new(check));
        self
    }

    /// The engine `hybrid` denies it after the fact: the process is killed, and the record says that.
    pub fn hybrid_kills(self) -> Self {
        Self { hybrid: Some(Hybrid::Kills), ..self }
    }

    /// The engine `hybrid` denies it without a name.
    pub fn hybrid_has_no_name(self) -> Self {
        Self { hybrid: Some(Hybrid::HasNoName), ..self }
    }

    /// The test.
    pub fn test(self) -> Test {
        test(self.name.clone(), self.needs.clone(), move || self.hold())
    }

    fn hold(&self) -> anyhow::Result<()> {
        let words = self.control.as_ref().unwrap_or(&self.words);
        let bare = |scene: &Scene, words: &[String]| Ok((scene.bare(words)?, None));
        let (control, worked, _) = self.happens(words, bare).context("control")?;
        ensure!(worked, "the control did not work, so a denial would prove nothing: {control:?}");
        let (ran, worked, pack) = self.happens(&self.words, |scene, words| {
            let guarded = scene.guarded(&self.policy, words)?;
            Ok((guarded.ran, Some(guarded.pack)))
        })?;
        let pack = pack.context("no runpack")?;
        ensure!(!worked, "it worked under the guard: {ran:?}, denied: {:?}", pack.denied().collect::<Vec<_>>());
        let hybrid = self.hybrid.filter(|_| run::engine().as_deref() == Some("hybrid"));
        let is_killed = hybrid == Some(Hybrid::Kills);
        if is_killed {
            ensure!(ran.code == 128 + libc::SIGKILL, "it was not killed: {ran:?}");
        } else {
            self.check_error(&ran, &pack)?;
        }
        for recorded in &self.recorded {
            let unnamed = Recorded {
                tool: recorded.tool.clone(),
                value: "unresolved:refused".into(),
                reason: "guard_floor_unresolved".into(),
            };
            let wanted = if hybrid == Some(Hybrid::HasNoName) { &unnamed } else { recorded };
            let found = check_record(wanted, &ran, &pack)?;
            let says_so = found.reasons.iter().any(|reason| reason == KILLED) && found.errno.is_none();
            ensure!(says_so == is_killed, "killed: {is_killed}, and its record says otherwise: {found:?}");
            report::denied_by(because(found));
        }
        if self.recorded.is_empty() {
            pack.denied().for_each(|denied| report::denied_by(because(denied)));
        }
        if let Some(check) = &self.check {
            check(&ran, &pack)?;
        }
        // Races say how often they tried, which differs between machines.
        ran.stdout.lines().filter(|line| line.starts_with("tries ")).for_each(report::note);
        Ok(())
    }

    /// Runs the attack in a scene of its own; also says whether its effect was seen. Records are expanded by it.
    fn happens(
        &self,
        words: &[String],
        run: impl Fn(&Scene, &[String]) -> anyhow::Result<(Ran, Option<Pack>)>,
    ) -> anyhow::Result<(Ran, bool, Option<Pack>)> {
        let scene = Scene::new()?;
        if let Some(setup) = &self.setup {
            setup(&scene).context("setup")?;
        }
        let before = self.look(&scene);
        let (ran, pack) = run(&scene, words)?;
        let worked = match &self.effect {
            Effect::Shows(text) => ran.stdout.contains(text.as_str()),
            Effect::Complains(text) => ran.stderr.contains(text.as_str()),
            Effect::Changes(_) => self.look(&scene) != before,
            Effect::Succeeds => ran.code == 0,
        };
        let pack = pack.map(|pack| relative(pack, &scene));
        Ok((ran, worked, pack))
    }

    fn look(&self, scene: &Scene) -> Option<String> {
        let Effect::Changes(path) = &self.effect else { return None };
        look(&scene.path(path))
    }

    fn check_error(&self, ran: &Ran, pack: &Pack) -> anyhow::Result<()> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let seen = |error: &String| ran.stdout.lines().any(|line| line.ends_with(&format!(" ! {error}")));
        ensure!(
            self.errors.iter().any(seen),
            "none of {:?} was seen: {ran:?}, denied: {:?}",
            self.errors,
            pack.denied().collect::<Vec<_>>()
        );
        Ok(())
    }
}

/// Targets in the words of the test: `{W}` and so on instead of this scene's folder.
fn relative(mut pack: Pack, scene: &Scene) -> Pack {
    for decided in &mut pack.decided {
        for short in ["{A}", "{W}", "{S}", "{R}"] {
            if let Some(rest) = decided.value.strip_prefix(&scene.expand(short))
                && (rest.is_empty() || rest.starts_with('/'))
            {
                decided.value = format!("{short}{rest}");
            }
        }
    }
    pack
}

/// `fs.read: rule reads, endpoint_path_denied: EACCES`, without the reason codes that only repeat.
fn because(denied: &Decided) -> String {
    let rule = denied.rule.as_ref().map(|rule| format!("rule {rule}"));
    let telling = |code: &&String| !code.starts_with("matched_rule_") && *code != "endpoint_constraint_violation";
    let why: Vec<String> = rule.into_iter().chain(denied.reasons.iter().filter(telling).cloned()).collect();
    let errno = denied.errno.as_ref().map_or_else(String::new, |errno| format!(": {errno}"));
    format!("{}: {}{errno}", denied.tool, why.join(", "))
}

fn check_record<'p>(wanted: &Recorded, ran: &Ran, pack: &'p Pack) -> anyhow::Result<&'p Decided> {
    let found = pack.denied().find(|denied| {
        let value = match wanted.value.strip_suffix('*') {
            Some(start) => denied.value.starts_with(start),
            None => denied.value == wanted.value,
        };
        let because = match wanted.reason.strip_suffix('*') {
            Some(start) => denied.reasons.iter().any(|reason| reason.starts_with(start)),
            None => denied.reasons.contains(&wanted.reason) || denied.rule.as_ref() == Some(&wanted.reason),
        };
        denied.tool == wanted.tool && value && because && denied.count > 0
    });
    let found = found.with_context(|| {
        let Recorded { tool, value, reason } = wanted;
        format!("no record of {tool} {value} ({reason}); denied: {:?}; {ran:?}", pack.denied().collect::<Vec<_>>())
    })?;
    // Where the attacker says what it saw, the record must say the same.
    let told: Vec<&str> =
        ran.stdout.lines().filter_map(|line| line.split_once(" ! ").map(|(_, errno)| errno)).collect();
    match &found.errno {
        Some(errno) if !told.is_empty() => {
            ensure!(told.contains(&errno.as_str()), "recorded {errno}, but the agent saw {told:?}");
        }
        _ => {}
    }
    Ok(found)
}

/// All that an attack could change about a file, as text; `None` if there is nothing there.
fn look(path: &Path) -> Option<String> {
    let meta = fs::symlink_metadata(path).ok()?;
    let content = match meta.file_type() {
        kind if kind.is_symlink() => format!("{:?}", fs::read_link(path).ok()?),
        kind if kind.is_file() => format!("{:?}", fs::read(path).ok()?),
        kind if kind.is_dir() => {
            let mut names: Vec<_> = fs::read_dir(path).ok()?.flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            format!("{names:?}")
        }
        _ => String::new(),
    };
    let mut value = [0; 64];
    let attribute = rustix::fs::lgetxattr(path, "user.suite", &mut value).ok();
    Some(format!(
        "{:o} {} {} {} {}.{} {attribute:?} {content}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.nlink(),
        meta.mtime(),
        meta.mtime_nsec()
    ))
}
