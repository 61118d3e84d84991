//! The folder in which one test happens, made anew for the control and for the guarded run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::CANARY;
use crate::pack::Pack;
use crate::report;
use crate::run::{self, Ran};

/// The policy of the escape corpus: write only W, no access to S, read the system, execute a list, no network, no
/// outside process.
pub const CORPUS_POLICY: &str = r#"
schema_id: gait.gate.policy
schema_version: 1.0.0
default_verdict: block
rules:
  - name: reads
    priority: 10
    effect: allow
    match: { endpoint_classes: [fs.read] }
    endpoint: { path_denylist: ["{S}/**", "**/.env"] }
  - name: writes
    priority: 20
    effect: allow
    match: { endpoint_classes: [fs.write, fs.delete] }
    endpoint:
      path_allowlist: ["{W}/**", /dev/null]
      path_denylist: ["**/.env", "**/.git/hooks/**", "**/.git/config", "**/.bashrc", "**/.vscode/**", "**/.mcp.json"]
  - name: programs
    priority: 30
    effect: allow
    match: { endpoint_classes: [proc.exec], target_kinds: [path] }
    endpoint: { path_allowlist: ["/usr/**", "/bin/**", "/lib/**", "/lib64/**", "/etc/ld.so.cache", "{R}/bin/**"] }
"#;

/// The policy of the corpus with one more thing that it allows: a `match` of a rule.
pub fn with_rule(matches: &str) -> String {
    let rule = format!("rules:\n  - name: more\n    priority: 5\n    effect: allow\n    {matches}\n");
    CORPUS_POLICY.replacen("rules:\n", &rule, 1)
}

/// Allows whatever the floor does not deny.
pub const ALLOW_ALL: &str = "schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: allow\n";

/// `w` (the workspace), `s` (secrets, with a file and a program), `bin` (the attacker), `home`, `out`.
pub struct Scene {
    folder: tempfile::TempDir,
}

/// A run under `gait exec`.
pub struct Guarded {
    /// How gait ended, which is how the agent did, and what both said.
    pub ran: Ran,
    /// The runpack that it left, verified.
    pub pack: Pack,
}

impl Scene {
    /// Makes the folders and files.
    ///
    /// # Errors
    /// The file system does not let it.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("gait-scene-").tempdir()?;
        let scene = Self { folder };
        fs::set_permissions(scene.root(), fs::Permissions::from_mode(0o755))?;
        for name in ["w", "s", "bin", "home", "out"] {
            fs::create_dir(scene.root().join(name))?;
        }
        fs::write(scene.path("{W}/own"), "own")?;
        fs::write(scene.path("{S}/secret"), CANARY)?;
        fs::copy(run::attack(), scene.path("{A}")).context("the attack program")?;
        fs::copy(run::attack(), scene.path("{S}/program"))?;
        Ok(scene)
    }

    /// Where everything lies.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// `text` with `{R}` (root), `{W}`, `{S}`, `{A}` (the attacker) put in.
    pub fn expand(&self, text: &str) -> String {
        let root = self.root().to_string_lossy();
        text.replace("{A}", "{R}/bin/attack").replace("{W}", "{R}/w").replace("{S}", "{R}/s").replace("{R}", &root)
    }

    /// [`Scene::expand`] as a path.
    pub fn path(&self, text: &str) -> PathBuf {
        PathBuf::from(self.expand(text))
    }

    /// A command in the workspace, words expanded.
    pub fn command<S: AsRef<str>>(&self, words: &[S]) -> Command {
        let words: Vec<String> = words.iter().map(|word| self.expand(word.as_ref())).collect();
        let program = words.first().map_or("", String::as_str);
        let mut command = run::command(program, &self.path("{W}"), &self.path("{R}/home"));
        command.args(words.get(1..).unwrap_or_default());
        command
    }

    /// Runs `words` without a guard.
    ///
    /// # Errors
    /// It did not start or did not end.
    pub fn bare<S: AsRef<str>>(&self, words: &[S]) -> anyhow::Result<Ran> {
        run::run(&mut self.command(words))
    }

    /// The command line of `gait exec` of `words` under `policy`; flags go before `--`. All expanded.
    ///
    /// # Errors
    /// The policy file could not be written.
    pub fn exec_words<S: AsRef<str>>(&self, policy: &str, flags: &[&str], words: &[S]) -> anyhow::Result<Vec<String>> {
        fs::write(self.path("{R}/policy.yaml"), self.expand(policy))?;
        let gait = run::gait().to_string_lossy();
        let start = [&*gait, "exec", "--policy", "{R}/policy.yaml", "--workspace", "{W}", "--out-dir", "{R}/out"];
        let asked = run::engine_flags();
        let engine = asked.iter().map(String::as_str);
        let all =
            start.into_iter().chain(["--identity", "suite"]).chain(engine).chain(flags.iter().copied()).chain(["--"]);
        Ok(all.chain(words.iter().map(AsRef::as_ref)).map(|word| self.expand(word)).collect())
    }

    /// [`Scene::exec_words`] as a command, not yet started.
    ///
    /// # Errors
    /// As there.
    pub fn exec<S: AsRef<str>>(&self, policy: &str, flags: &[&str], words: &[S]) -> anyhow::Result<Command> {
        let all = self.exec_words(policy, flags, words)?;
        Ok(self.command(&all))
    }

    /// Runs `words` under `policy` and reads the runpack that is left, which must verify.
    ///
    /// # Errors
    /// No runpack, or one that does not verify: then gait failed, whatever became of the attack.
    pub fn guarded<S: AsRef<str>>(&self, policy: &str, words: &[S]) -> anyhow::Result<Guarded> {
        self.finished(run::run(&mut self.exec(policy, &[], words)?)?)
    }

    /// What a run of `gait exec` in this scene left.
    ///
    /// # Errors
    /// As [`Scene::guarded`].
    pub fn finished(&self, ran: Ran) -> anyhow::Result<Guarded> {
        let pack = self.newest_pack().with_context(|| format!("no runpack; gait said: {ran:?}"))?;
        let pack = Pack::read(&pack)?;
        if let Some(engine) = pack.json("guard.json")?["plan"]["engine"].as_str() {
            report::engine(engine);
        }
        Ok(Guarded { ran, pack })
    }

    /// The runpack in the output folder, checked with `gait verify`.
    ///
    /// # Errors
    /// There is none, or it does not verify.
    pub fn newest_pack(&self) -> anyhow::Result<PathBuf> {
        let mut packs = Vec::new();
        for entry in fs::read_dir(self.path("{R}/out"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "zip") {
                packs.push((fs::metadata(&path)?.modified()?, path));
            }
        }
        packs.sort();
        let (_, pack) = packs.pop().context("no runpack in the output folder")?;
        let verified = self.bare(&[&*run::gait().to_string_lossy(), "verify", &*pack.to_string_lossy()])?;
        ensure!(verified.code == 0, "gait verify: {verified:?}");
        Ok(pack)
    }
}
