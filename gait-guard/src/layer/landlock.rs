//! The Landlock layer: a static superset of what the policy can allow, irrevocable, in force even
//! when the supervisor is dead.
//!
//! Every open, change and connect is made by the supervisor, whose descriptors are not bound by the agent's domain. So the
//! agent's own domain needs nothing but what `execve` itself needs: EXECUTE and READ_FILE (one without the other gives
//! EACCES) where the policy can allow programs. All else that Landlock knows is handled and allowed nowhere.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gait_core::canonical::{CanonicalError, digest_of};
use gait_core::guarded::LandlockPlan;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

use crate::hybrid::Grant;
use crate::layer::seccomp::Opens;
use crate::sys;

/// Why there is no ruleset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LandlockError {
    /// The kernel has none, or it is switched off.
    #[error("this kernel has no Landlock ({0})")]
    Absent(rustix::io::Errno),
    /// The kernel refused a rule or the set.
    #[error("the Landlock ruleset could not be made: {0}")]
    Ruleset(#[from] landlock::RulesetError),
    /// A folder of the superset can't be opened.
    #[error("`{path}` can't be opened for Landlock: {source}")]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: landlock::PathFdError,
    },
    /// The plan could not be digested.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

/// A ruleset that is ready to be put in force, and what the receipt says about it.
#[derive(Debug)]
pub struct Domain {
    /// The ruleset.
    pub ruleset: OwnedFd,
    /// For `guard.json`.
    pub plan: LandlockPlan,
}

/// Makes the domain in which programs below `prefixes` can be executed, and nothing else is allowed: or, where the agent
/// opens files itself ([`Opens::Decided`]), everything else that is done to files. Then only what the domain bounds is
/// handled: each open asks for all rights that are, and a domain that allows them everywhere makes it half as dear again.
///
/// A prefix that does not exist yet stands for the nearest folder above it that does: what is created later is judged by the policy.
///
/// # Errors
/// Those of [`LandlockError`].
pub fn domain(prefixes: &[&[u8]], opens: Opens) -> Result<Domain, LandlockError> {
    let mut opened = Vec::new();
    let abi = version()?;
    let decided = (AccessFs::Execute | AccessFs::Refer) & AccessFs::from_all(abi);
    let handled = if opens == Opens::Decided { decided } else { AccessFs::from_all(abi) };
    for path in existing(prefixes) {
        let fd = PathFd::new(&path).map_err(|source| LandlockError::Path { path: path.clone(), source })?;
        let mut rights: BitFlags<AccessFs> = AccessFs::Execute | AccessFs::ReadFile;
        if path.is_dir() {
            rights |= AccessFs::ReadDir;
        }
        opened.push((path, fd, rights & handled));
    }
    // Whoever handles anything refuses to move files from folder to folder, unless it allows that.
    if opens == Opens::Decided && handled.contains(AccessFs::Refer) {
        let root = PathBuf::from("/");
        let fd = PathFd::new(&root).map_err(|source| LandlockError::Path { path: root.clone(), source })?;
        opened.push((root, fd, AccessFs::Refer.into()));
    }
    make(handled, opened)
}

/// Makes the domain in which just `grants` are allowed ([`Opens::Seen`]): what of them is not there any more, or is
/// something else by now, is not.
///
/// # Errors
/// Those of [`LandlockError`].
pub fn domain_of(grants: &[Grant]) -> Result<Domain, LandlockError> {
    let mut opened = Vec::new();
    for Grant { path, lists, executes } in grants {
        // No links: somebody may have put one into a folder that others can write.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let Ok(fd) = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) else { continue };
        let Ok(stat) = fstat(&fd) else { continue };
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if *lists && !is_folder || !*lists && !*executes && is_folder {
            continue;
        }
        let mut rights: BitFlags<AccessFs> = AccessFs::ReadFile.into();
        if *lists {
            rights |= AccessFs::ReadDir;
        }
        if *executes {
            rights |= AccessFs::Execute;
        }
        opened.push((path.clone(), fd, rights));
    }
    make(AccessFs::from_all(version()?), opened)
}

/// What this kernel has, all of it enforced: nothing is left to best effort.
fn version() -> Result<ABI, LandlockError> {
    Ok(ABI::from(sys::landlock::abi().map_err(LandlockError::Absent)? as i32))
}

fn make<F: AsFd>(
    fs: BitFlags<AccessFs>,
    opened: Vec<(PathBuf, F, BitFlags<AccessFs>)>,
) -> Result<Domain, LandlockError> {
    let abi = version()?;
    let (net, scopes) = (AccessNet::from_all(abi), Scope::from_all(abi));
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(fs)?;
    if !net.is_empty() {
        ruleset = ruleset.handle_access(net)?;
    }
    if !scopes.is_empty() {
        ruleset = ruleset.scope(scopes)?;
    }
    let mut created = ruleset.create()?;
    let mut rules: Vec<(String, Vec<String>)> = Vec::new();
    for (path, fd, rights) in opened {
        created = created.add_rule(PathBeneath::new(fd, rights))?;
        rules.push((gait_core::name::name(path.as_os_str().as_bytes()), names(rights)));
    }
    let plan = LandlockPlan {
        abi: sys::landlock::abi().map_err(LandlockError::Absent)?,
        handled_fs: names(fs),
        handled_net: names(net),
        scoped: names(scopes),
        rules_digest: digest_of(&rules)?.to_string(),
    };
    // `create` under a hard requirement gives a descriptor or an error.
    let ruleset = Option::<OwnedFd>::from(created).ok_or(LandlockError::Absent(rustix::io::Errno::NOSYS))?;
    Ok(Domain { ruleset, plan })
}

/// The folders and files that stand for `prefixes`, outermost and once each.
fn existing(prefixes: &[&[u8]]) -> Vec<PathBuf> {
    let nearest = |prefix: &&[u8]| {
        let path = Path::new(OsStr::from_bytes(prefix));
        path.ancestors().find(|at| at.exists()).unwrap_or(Path::new("/")).to_path_buf()
    };
    let mut paths: Vec<PathBuf> = prefixes.iter().map(nearest).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Names of flags as the kernel's documentation writes them, in lower case with `_`.
fn names(flags: impl IntoIterator<Item = impl std::fmt::Debug>) -> Vec<String> {
    flags.into_iter().map(|flag| snake_case(&format!("{flag:?}"))).collect()
}

fn snake_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_is_not_there_stands_for_the_folder_above() {
        let paths = existing(&[b"/usr/bin", b"/usr/no/such/place", b"/nowhere"]);
        assert_eq!(paths, [Path::new("/"), Path::new("/usr"), Path::new("/usr/bin")]);
    }

    #[test]
    fn rights_are_spelt_as_in_the_contract() {
        assert_eq!(names(AccessFs::WriteFile | AccessFs::IoctlDev), ["write_file", "ioctl_dev"]);
        assert_eq!(names([AccessNet::ConnectTcp]), ["connect_tcp"]);
    }
}
