//! What Landlock lets the agent open by itself: as many whole folders as the policy lets it read, and no more.
//!
//! Landlock knows only "this and all below". Where the policy tells places apart (`/etc/shadow`, `/dev/sda`, a folder of
//! the guard's), the folder above is not granted but its entries are, each by itself; so what is denied by its place
//! stays closed, and what somebody makes in such a folder later does too. What is denied by its name at any depth
//! (`**/.env`) can't be kept out of a granted folder: [`Grants::names_are_denied`] says so.

use std::collections::BTreeSet;
use std::fs::FileType;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gait_core::policy::compile::CompiledPolicy;

use super::reach::{Place, Reading, Span};

/// More rules than this are a sign of a policy that is not about folders.
const MOST: usize = 8192;

/// What bounds the agent's own opens.
pub struct Bounds<'a> {
    /// The policy.
    pub policy: &'a CompiledPolicy,
    /// Whether it is enforced; else only the floor bounds.
    pub is_enforced: bool,
    /// Files and folders of the guard's. Absolute and resolved.
    pub closed: &'a [PathBuf],
    /// Where the agent works.
    pub workspace: &'a Path,
}

/// One hierarchy that is granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// A folder with all below, or a file.
    pub path: PathBuf,
    /// Whether it may be read by the agent itself, or only as part of executing it.
    pub lists: bool,
    /// Whether programs in it may run.
    pub executes: bool,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// By path.
    pub rules: Vec<Grant>,
    /// Whether something that the policy denies lies in a granted folder, or can come to lie there.
    pub names_are_denied: bool,
    /// Folders of which the entries of now are granted, and no later ones.
    pub divided: Vec<PathBuf>,
}

/// Why the engine can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrantError {
    /// The workspace would have to be divided: nothing that the agent makes in it could be read.
    #[error("`{closed}` is the guard's and lies in the workspace, where the engine `hybrid` can't keep it closed")]
    Workspace {
        /// The guard's file or folder.
        closed: PathBuf,
    },
    /// The policy tells too many places apart.
    #[error("the policy needs more than {MOST} Landlock rules for the engine `hybrid`")]
    TooMany,
}

impl Bounds<'_> {
    /// Looks at the folders that have to be divided, and at no others.
    ///
    /// # Errors
    /// [`GrantError`]
    pub fn grants(&self) -> Result<Grants, GrantError> {
        if let Some(closed) = self.closed.iter().find(|closed| closed.starts_with(self.workspace)) {
            return Err(GrantError::Workspace { closed: closed.clone() });
        }
        let everywhere: &[&[u8]] = &[b"/"];
        let (executable, written) = (self.policy.exec_prefixes(), self.policy.write_prefixes());
        let mut survey = Survey {
            bounds: self,
            reading: Reading::of(self.policy),
            executable: existing(if self.is_enforced { &executable } else { everywhere }),
            written: written.iter().map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(path))).collect(),
            grants: Grants::default(),
        };
        survey.folder(Path::new("/"), &survey.reading.start())?;
        survey.programs();
        let mut grants = survey.grants;
        grants.rules.sort();
        Ok(grants)
    }
}

struct Survey<'a> {
    bounds: &'a Bounds<'a>,
    reading: Reading<'a>,
    executable: BTreeSet<PathBuf>,
    written: Vec<PathBuf>,
    grants: Grants,
}

impl Survey<'_> {
    fn folder(&mut self, path: &Path, place: &Place) -> Result<(), GrantError> {
        if self.is_closed(path) {
            return Ok(());
        }
        let span = if self.bounds.is_enforced { self.reading.span(place) } else { Span::All };
        let is_divided = match span {
            Span::None => return Ok(()),
            Span::All => false,
            // Who may make something there expects to read it. Processes come and go: their folder is granted whole or not.
            Span::Mixed { by_place, begun } => {
                (by_place || begun) && !self.is_written(path) && path != Path::new("/proc")
            }
        };
        if !(is_divided || self.holds_closed(path)) {
            self.grants.names_are_denied |= span != Span::All;
            return self.grant(path, true);
        }
        self.grants.divided.push(path.to_owned());
        // What this user can't list, the agent can't read either, or only what it knows the names of: not granted.
        let Ok(entries) = std::fs::read_dir(path) else { return Ok(()) };
        let mut names: Vec<(Box<std::ffi::OsStr>, FileType)> = entries
            .filter_map(|entry| entry.ok().and_then(|entry| Some((entry.file_name().into(), entry.file_type().ok()?))))
            .collect();
        names.sort_by(|one, other| one.0.cmp(&other.0));
        for (name, kind) in names {
            let inside = path.join(&*name);
            let step = [b"/", name.as_bytes()].concat();
            let place = self.reading.step(place, &step);
            if kind.is_dir() {
                self.folder(&inside, &place)?;
            } else if !kind.is_symlink() {
                // A link is nothing to grant: what it leads to is.
                self.file(&inside, &place)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, place: &Place) -> Result<(), GrantError> {
        let is_allowed = !self.bounds.is_enforced || self.reading.allows(place);
        if is_allowed && !self.is_closed(path) { self.grant(path, false) } else { Ok(()) }
    }

    fn grant(&mut self, path: &Path, is_folder: bool) -> Result<(), GrantError> {
        if self.grants.rules.len() == MOST {
            return Err(GrantError::TooMany);
        }
        let executes = self.executable.iter().any(|prefix| path.starts_with(prefix));
        self.grants.rules.push(Grant { path: path.to_owned(), lists: is_folder, executes });
        Ok(())
    }

    /// Folders of programs inside of what may be read. A program that may be run and not be read can't be run: the kernel
    /// asks for both rights, and the right to read it would be the agent's own.
    fn programs(&mut self) {
        let rules = &self.grants.rules;
        let inside =
            |prefix: &&PathBuf| rules.iter().any(|rule| **prefix != rule.path && prefix.starts_with(&rule.path));
        let more: Vec<Grant> = self
            .executable
            .iter()
            .filter(inside)
            .map(|path| Grant { path: path.clone(), lists: false, executes: true })
            .collect();
        self.grants.rules.extend(more);
    }

    fn is_closed(&self, path: &Path) -> bool {
        self.bounds.closed.iter().any(|closed| path.starts_with(closed))
    }

    fn holds_closed(&self, path: &Path) -> bool {
        self.bounds.closed.iter().any(|closed| closed.starts_with(path))
    }

    fn is_written(&self, path: &Path) -> bool {
        self.written.iter().any(|prefix| path.starts_with(prefix) && prefix != Path::new("/"))
    }
}

/// The folders and files that stand for `prefixes`, by their own names: rules are about what is there, not about links.
fn existing(prefixes: &[&[u8]]) -> BTreeSet<PathBuf> {
    let nearest = |prefix: &&[u8]| {
        let path = Path::new(std::ffi::OsStr::from_bytes(prefix));
        path.ancestors().find_map(|at| std::fs::canonicalize(at).ok()).unwrap_or_else(|| "/".into())
    };
    prefixes.iter().map(nearest).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use gait_core::policy::{Policy, Strictness};

    use super::*;
    use crate::intent::Translator;
    use crate::session::PolicyRules;

    struct Scene {
        folder: tempfile::TempDir,
    }

    impl Scene {
        fn new(files: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                let path = folder.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "x").unwrap();
            }
            Self { folder }
        }

        fn at(&self, name: &str) -> PathBuf {
            fs::canonicalize(self.folder.path()).unwrap().join(name)
        }

        fn grants(&self, rules: &PolicyRules, closed: &[&str], workspace: &str) -> Result<Grants, GrantError> {
            let closed: Vec<PathBuf> = closed.iter().map(|name| self.at(name)).collect();
            Bounds { policy: rules.tables(), is_enforced: true, closed: &closed, workspace: &self.at(workspace) }
                .grants()
        }

        /// The rules inside of the scene, as names from there.
        fn inside(&self, grants: &Grants) -> Vec<String> {
            let root = self.at("");
            let name = |grant: &Grant| {
                let rest = grant.path.strip_prefix(&root).ok()?.to_str()?.to_owned();
                Some(if grant.executes { rest + " x" } else { rest })
            };
            grants.rules.iter().filter_map(name).collect()
        }

        fn rules(&self, deny: &[&str], execute: &str, write: &str) -> PolicyRules {
            let root = self.at("").to_str().unwrap().trim_end_matches('/').to_owned();
            let deny: Vec<String> = deny.iter().map(|p| format!("\"{}\"", p.replace("ROOT", &root))).collect();
            let text = format!(
                "schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: block\nrules:\n\
                 - {{name: r, priority: 1, effect: allow, match: {{endpoint_classes: [fs.read]}}, \
                 endpoint: {{path_allowlist: [\"/**\"], path_denylist: [{}]}}}}\n\
                 - {{name: x, priority: 2, effect: allow, match: {{endpoint_classes: [proc.exec]}}, \
                 endpoint: {{path_allowlist: [\"{root}/{execute}/**\"]}}}}\n\
                 - {{name: w, priority: 3, effect: allow, match: {{endpoint_classes: [fs.write]}}, \
                 endpoint: {{path_allowlist: [\"{root}/{write}/**\"]}}}}\n",
                deny.join(", ")
            );
            let context = Translator::new("someone", b"/w", "high").unwrap().context().clone();
            PolicyRules::new(Policy::parse(&text, Strictness::Strict).unwrap(), context).unwrap()
        }
    }

    const FILES: &[&str] =
        &["home/.gait/key", "home/.ssh/id", "home/.config/gh/token", "home/.config/vim/rc", "home/notes", "work/a/b"];

    #[test]
    fn the_guards_folder_and_folders_denied_by_name_beside_it_stay_closed() {
        let scene = Scene::new(FILES);
        // Programs of a folder that is not there yet: the one above stands for it.
        let rules = scene.rules(&["**/.ssh/**", "**/.config/gh/**"], "work/bin", "work");
        let grants = scene.grants(&rules, &["home/.gait"], "work").unwrap();
        assert_eq!(scene.inside(&grants), ["home/.config/vim", "home/notes", "work x"]);
        assert!(grants.names_are_denied);
        assert!(grants.divided.contains(&scene.at("home")));
    }

    #[test]
    fn a_place_that_is_denied_stays_closed_and_programs_get_their_right() {
        let scene = Scene::new(&["etc/shadow", "etc/passwd", "usr/bin/ls", "usr/lib/x"]);
        let rules = scene.rules(&["ROOT/etc/shadow"], "usr/bin", "work");
        let grants = scene.grants(&rules, &[], "work").unwrap();
        assert_eq!(scene.inside(&grants), ["etc/passwd", "usr", "usr/bin x"]);
        assert!(!grants.names_are_denied);
    }

    #[test]
    fn where_the_agent_writes_nothing_is_divided() {
        let scene = Scene::new(&["work/.config/gh/token", "work/secret/x", "work/y", "usr/x"]);
        let rules = scene.rules(&["ROOT/work/secret/**", "**/.config/gh/**"], "usr", "work");
        let grants = scene.grants(&rules, &[], "work").unwrap();
        assert_eq!(scene.inside(&grants), ["usr x", "work"]);
        assert!(grants.names_are_denied);
    }

    #[test]
    fn a_file_that_may_be_read_is_granted_in_a_folder_that_may_not_be_listed() {
        let scene = Scene::new(&["secrets/one", "secrets/other"]);
        let text = format!(
            "schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: block\nrules:\n\
             - {{name: one, priority: 1, effect: allow, match: {{tool_names: [fs.read], target_values: [\"{}\"]}}}}\n",
            scene.at("secrets/one").display()
        );
        let context = Translator::new("someone", b"/w", "high").unwrap().context().clone();
        let rules = PolicyRules::new(Policy::parse(&text, Strictness::Strict).unwrap(), context).unwrap();
        let grants = scene.grants(&rules, &[], "work").unwrap();
        assert_eq!(grants.rules.iter().map(|grant| grant.path.clone()).collect::<Vec<_>>(), [scene.at("secrets/one")]);
    }

    #[test]
    fn processes_are_granted_all_or_none() {
        let scene = Scene::new(&[]);
        let covers = |deny: &[&str]| {
            let grants = scene.grants(&scene.rules(deny, "bin", "work"), &[], "work").unwrap();
            let is_of_processes = |grant: &&Grant| grant.path.starts_with("/proc") || grant.path == Path::new("/");
            let rules: Vec<Grant> = grants.rules.iter().filter(is_of_processes).cloned().collect();
            (
                rules.iter().map(|grant| grant.path.to_str().unwrap().to_owned()).collect::<Vec<_>>(),
                grants.names_are_denied,
            )
        };
        assert_eq!(covers(&["/etc/shadow"]), (vec!["/proc".to_owned()], false));
        assert_eq!(covers(&["/proc/kcore"]), (vec!["/proc".to_owned()], true));
        assert_eq!(covers(&["/proc", "/proc/**"]), (vec![], false));
    }

    #[test]
    fn a_guard_that_lives_in_the_workspace_is_refused() {
        let scene = Scene::new(FILES);
        let rules = scene.rules(&[], "bin", "work");
        let refused = scene.grants(&rules, &["home/.gait"], "home");
        assert_eq!(refused, Err(GrantError::Workspace { closed: scene.at("home/.gait") }));
    }
}
