//! Compiled policies that are kept between runs, so that the same policy is compiled once: `$HOME/.gait/compiled/`.
//!
//! The folder is closed to agents as all of `.gait` is, and only what nobody else could have written is read. An entry is
//! named by what it was compiled from, the program that compiled it included. Whatever is amiss with it, the policy is
//! compiled anew: the cache saves time and changes no answer.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gait_core::canonical::canonical_bytes;
use gait_core::digest::{Hasher, Sha256Hex};
use gait_core::intent::Context;
use gait_core::policy::Policy;
use gait_core::policy::compile::{CompileError, CompiledPolicy, DecodeError, Kind, Limits, Stored, decode};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, fstat, futimens, mkdirat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use tracing::debug;

/// The folder, in that of the guard's state.
const FOLDER: &str = "compiled";

/// As many entries as are kept: those last used.
const MOST: usize = 16;

/// Ten times the tables of the default policy. What takes more is compiled each time.
const MOST_BYTES: u64 = 8 << 20;

/// Where compiled policies are kept.
#[derive(Debug, Default)]
pub struct Cache {
    /// The folder of the guard's state, and which program this is. Without either nothing is kept.
    place: Option<(PathBuf, String)>,
}

/// A policy to be compiled.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The texts that it follows from: all of it, variables included.
    pub texts: &'a [&'a [u8]],
    /// The context of the run.
    pub context: &'a Arc<Context>,
    /// The kinds of action.
    pub kinds: &'a [Kind],
}

/// A policy compiled now, or before.
#[derive(Debug)]
pub struct Compiled {
    /// The tables.
    pub policy: CompiledPolicy,
    /// Their SHA-256, if it is known already.
    pub tables_sha256: Option<Sha256Hex>,
    /// Whether they were compiled before.
    pub was_kept: bool,
}

/// Why an entry is of no use, or can't be made.
#[derive(Debug, thiserror::Error)]
enum Miss {
    #[error("not compiled before")]
    Absent,
    #[error("`{0}` belongs to, or can be reached by, somebody else")]
    NotPrivate(&'static str),
    #[error("too large")]
    TooLarge,
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("what would be kept is not what was compiled")]
    Inexact,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for Miss {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl Cache {
    /// One that keeps nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// The one in `state`, which is `$HOME/.gait`. It makes and reads nothing yet.
    pub fn below(state: &Path) -> Self {
        Self { place: program().ok().map(|program| (state.to_owned(), program)) }
    }

    /// The policy compiled, from what was kept of it if that can be had.
    ///
    /// # Errors
    /// [`CompileError`]
    pub fn compile(&self, question: Question<'_>) -> Result<Compiled, CompileError> {
        let Question { policy, context, kinds, .. } = question;
        let compile = || CompiledPolicy::compile(policy, context, kinds.iter().cloned(), &Limits::default());
        let Some((state, key)) =
            self.place.as_ref().and_then(|(state, program)| Some((state, key(program, &question)?)))
        else {
            return Ok(Compiled { policy: compile()?, tables_sha256: None, was_kept: false });
        };
        let folder = folder(state);
        let kept = folder.as_ref().map_err(ToString::to_string).and_then(|folder| {
            let bytes = read(folder, &key).map_err(|miss| miss.to_string())?;
            decode(&bytes, &key, context, kinds.iter().cloned()).map_err(|error| error.to_string())
        });
        match kept {
            Ok((policy, tables_sha256)) => {
                debug_assert_eq!(Ok(&policy), compile().as_ref(), "what was kept is not what is compiled");
                debug!(entry = %key, "the policy was compiled before");
                return Ok(Compiled { policy, tables_sha256: Some(tables_sha256), was_kept: true });
            }
            Err(miss) => debug!(entry = %key, "the policy is compiled: {miss}"),
        }
        let compiled = compile()?;
        let stored = compiled.store(&key).ok();
        if let (Ok(folder), Some(stored)) = (&folder, &stored)
            && let Err(miss) = keep(folder, &key, stored, &compiled, &question)
        {
            debug!(entry = %key, "the compiled policy is not kept: {miss}");
        }
        Ok(Compiled { policy: compiled, tables_sha256: stored.map(|stored| stored.tables_sha256), was_kept: false })
    }
}

/// Which program this is: any other file in its place, or one built anew, is another.
fn program() -> io::Result<String> {
    let file = std::fs::metadata("/proc/self/exe")?;
    let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
    Ok(format!("{} {} {} {} {times:?}", env!("CARGO_PKG_VERSION"), file.dev(), file.ino(), file.size()))
}

/// What names the entry: all that the tables follow from.
fn key(program: &str, question: &Question<'_>) -> Option<Sha256Hex> {
    let kinds: Vec<_> = question
        .kinds
        .iter()
        .map(|kind| (&*kind.tool_name, kind.target_kind, &*kind.operation, kind.endpoint_class))
        .collect();
    let limits = format!("{:?}", Limits::default());
    let facts = canonical_bytes(&("gait-compiled-2", program, limits, &**question.context, kinds)).ok()?;
    let mut hasher = Hasher::new();
    for text in question.texts.iter().copied().chain([facts.as_slice()]) {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    Some(hasher.finish())
}

/// The folder, made if it is not there.
fn folder(state: &Path) -> Result<OwnedFd, Miss> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let state = openat(CWD, state, flags, Mode::empty())?;
    is_ours(&fstat(&state)?, 0o022).then_some(()).ok_or(Miss::NotPrivate("the state folder"))?;
    match mkdirat(&state, FOLDER, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let folder = openat(&state, FOLDER, flags, Mode::empty())?;
    is_ours(&fstat(&folder)?, 0o077).then_some(folder).ok_or(Miss::NotPrivate(FOLDER))
}

/// Whether it is this user's, and nobody else has any of `modes`.
fn is_ours(stat: &Stat, modes: u32) -> bool {
    stat.st_uid == geteuid().as_raw() && stat.st_mode & modes == 0
}

/// What is kept under `key`. It counts as used.
fn read(folder: impl AsFd, key: &Sha256Hex) -> Result<Vec<u8>, Miss> {
    // A pipe in its place must not hold this up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, key.to_string(), flags, Mode::empty()) {
        Err(Errno::NOENT) => return Err(Miss::Absent),
        opened => File::from(opened?),
    };
    let stat = fstat(&file)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink == 1;
    (is_file && is_ours(&stat, 0o077)).then_some(()).ok_or(Miss::NotPrivate("the entry"))?;
    let size = u64::try_from(stat.st_size).ok().filter(|size| *size <= MOST_BYTES).ok_or(Miss::TooLarge)?;
    let mut bytes = Vec::with_capacity(size as usize + 1);
    (&file).take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    // Of no use but for which entries go first.
    let _ = futimens(&file, &Timestamps { last_access: now, last_modification: now });
    Ok(bytes)
}

/// Keeps `stored` under `key`: whoever reads finds all of it, or what was there before.
fn keep(
    folder: impl AsFd + Copy,
    key: &Sha256Hex,
    stored: &Stored,
    compiled: &CompiledPolicy,
    question: &Question<'_>,
) -> Result<(), Miss> {
    if stored.bytes.len() as u64 > MOST_BYTES {
        return Err(Miss::TooLarge);
    }
    let (again, _) = decode(&stored.bytes, key, question.context, question.kinds.iter().cloned())?;
    // Its tables follow from what is kept of them.
    let tables_sha256 = again.table_bytes().map(Sha256Hex::of).ok();
    if again != *compiled || tables_sha256 != Some(stored.tables_sha256) {
        return Err(Miss::Inexact);
    }
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| Errno::IO)?;
    let fresh = format!("new-{:016x}", u64::from_ne_bytes(random));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let written = openat(folder, &fresh, flags, Mode::RUSR | Mode::WUSR)
        .map_err(io::Error::from)
        // Not synced: what a crash leaves of it is not what its digest says.
        .and_then(|file| File::from(file).write_all(&stored.bytes))
        .and_then(|()| Ok(renameat(folder, &fresh, folder, key.to_string())?));
    if written.is_err() {
        let _ = unlinkat(folder, &fresh, AtFlags::empty());
    }
    written?;
    Ok(remove_old(folder)?)
}

/// Removes all but the entries last used.
fn remove_old(folder: impl AsFd + Copy) -> Result<(), Errno> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            let stat = statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            entries.push(((stat.st_mtime, stat.st_mtime_nsec), name));
        }
    }
    entries.sort_unstable();
    for (_, name) in entries.iter().rev().skip(MOST) {
        unlinkat(folder, name, AtFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use gait_core::policy::Strictness;

    use super::*;
    use crate::intent::kinds;

    const POLICY: &str = "default_verdict: block\nrules:\n- {name: r, priority: 1, effect: allow, match: {tool_names: [fs.read]}, \
                          endpoint: {path_allowlist: ['/usr/**', '**/*.txt']}}\n";

    fn ask(cache: &Cache, text: &str, identity: &str) -> Compiled {
        let policy = Policy::parse(text, Strictness::Strict).unwrap();
        let context = Arc::new(Context {
            identity: identity.to_owned(),
            risk_class: "high".to_owned(),
            workspace: "/w/p".to_owned(),
            ..Context::default()
        });
        let (texts, kinds) = ([text.as_bytes()], kinds());
        let question = Question { policy: &policy, texts: &texts, context: &context, kinds: &kinds };
        let compiled = cache.compile(question).unwrap();
        let anew = Cache::none().compile(question).unwrap();
        assert!(!anew.was_kept);
        assert_eq!(compiled.policy, anew.policy);
        let tables = anew.policy.table_bytes().unwrap();
        assert_eq!(compiled.policy.table_bytes().unwrap(), tables);
        assert!(compiled.tables_sha256.is_none_or(|sha256| sha256 == Sha256Hex::of(&tables)));
        compiled
    }

    fn state() -> (tempfile::TempDir, Cache) {
        let state = tempfile::tempdir().unwrap();
        fs::set_permissions(state.path(), Permissions::from_mode(0o700)).unwrap();
        let cache = Cache::below(state.path());
        (state, cache)
    }

    fn entries(state: &Path) -> Vec<PathBuf> {
        fs::read_dir(state.join(FOLDER)).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_policy_is_compiled_once_and_anew_for_whatever_is_not_the_same() {
        let (state, cache) = state();
        let first = ask(&cache, POLICY, "a");
        assert!(!first.was_kept && ask(&cache, POLICY, "a").was_kept);
        assert!(ask(&Cache::below(state.path()), POLICY, "a").was_kept);
        assert!(!ask(&cache, POLICY, "b").was_kept);
        assert!(!ask(&cache, &POLICY.replace("usr", "opt"), "a").was_kept);
        let (place, program) = cache.place.unwrap();
        assert!(!ask(&Cache { place: Some((place, program + "x")) }, POLICY, "a").was_kept);
        let modes = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(modes(&state.path().join(FOLDER)), 0o700);
        assert!(entries(state.path()).iter().all(|entry| modes(entry) == 0o600));
        assert_eq!(entries(state.path()).len(), 4);
    }

    #[test]
    fn an_entry_that_is_not_what_was_written_is_written_anew() {
        let (state, cache) = state();
        ask(&cache, POLICY, "a");
        let [entry] = entries(state.path()).try_into().unwrap();
        let whole = fs::read(&entry).unwrap();
        let damages: [fn(&mut Vec<u8>); 6] = [
            Vec::clear,
            |bytes| bytes.truncate(bytes.len() - 1),
            |bytes| bytes.push(0),
            |bytes| bytes[3] ^= 1,
            |bytes| bytes[60] ^= 1,
            |bytes| *bytes.last_mut().unwrap() ^= 1,
        ];
        for damage in damages {
            let mut bytes = whole.clone();
            damage(&mut bytes);
            fs::write(&entry, bytes).unwrap();
            assert!(!ask(&cache, POLICY, "a").was_kept);
            assert!(ask(&cache, POLICY, "a").was_kept);
            assert_eq!(fs::read(&entry).unwrap(), whole);
        }
        // Another policy's, under this one's name.
        ask(&cache, POLICY, "b");
        let other = entries(state.path()).into_iter().find(|path| *path != entry).unwrap();
        fs::copy(other, &entry).unwrap();
        assert!(!ask(&cache, POLICY, "a").was_kept);
    }

    #[test]
    fn what_others_can_reach_is_not_read() {
        let (state, cache) = state();
        ask(&cache, POLICY, "a");
        let [entry] = entries(state.path()).try_into().unwrap();
        let folder = state.path().join(FOLDER);
        for (path, mode, usual) in
            [(&entry, 0o640, 0o600), (&folder, 0o755, 0o700), (&state.path().to_owned(), 0o770, 0o700)]
        {
            assert!(ask(&cache, POLICY, "a").was_kept);
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            assert!(!ask(&cache, POLICY, "a").was_kept, "{mode:o}");
            fs::set_permissions(path, Permissions::from_mode(usual)).unwrap();
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let moved = elsewhere.path().join("moved");
        fs::rename(&entry, &moved).unwrap();
        symlink(&moved, &entry).unwrap();
        assert!(!ask(&cache, POLICY, "a").was_kept);
        fs::hard_link(&entry, moved.with_extension("second")).unwrap();
        assert!(!ask(&cache, POLICY, "a").was_kept);
        fs::rename(&folder, elsewhere.path().join("folder")).unwrap();
        symlink(elsewhere.path().join("folder"), &folder).unwrap();
        assert!(!ask(&cache, POLICY, "a").was_kept);
    }

    #[test]
    fn only_the_entries_last_used_are_kept() {
        let (state, cache) = state();
        ask(&cache, POLICY, "first");
        for number in 0..2 * MOST {
            ask(&cache, POLICY, &number.to_string());
            assert!(ask(&cache, POLICY, "first").was_kept);
            assert!(entries(state.path()).len() <= MOST);
        }
        assert!(!ask(&cache, POLICY, "0").was_kept);
    }

    #[test]
    fn where_nothing_can_be_kept_nothing_fails() {
        let (state, cache) = state();
        fs::write(state.path().join(FOLDER), "a file").unwrap();
        ask(&cache, POLICY, "a");
        fs::remove_dir_all(state.path()).unwrap();
        assert!(!ask(&cache, POLICY, "a").was_kept);
    }
}
