//! What calls of gait leave behind for the next ones.

use super::{Check, quoted};
use gait_core::registry::Cache;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A lock that is older was left behind.
const LOCK_AGE: Duration = Duration::from_secs(30);

/// Whether each pin of the registry cache is that of a pack in it.
pub fn registry() -> Check {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    registry_at(home.map(|home| Path::new(&home).join(".gait").join("registry")).as_deref())
}

fn registry_at(cache: Option<&Path>) -> Check {
    let name = "registry_cache";
    let Some(root) = cache.filter(|root| root.is_dir()) else {
        return Check::warn(name, "registry cache is not initialized", "mkdir -p ~/.gait/registry");
    };
    let cache = Cache::new(root);
    let inconsistent =
        |message: String| Check::warn(name, message, format!("gait registry list --cache-dir {}", quoted(root)));
    let (pins, listed) = match cache.pinned().and_then(|pins| Ok((pins, cache.list()?))) {
        Ok(found) => found,
        Err(error) => return inconsistent(format!("registry cache can't be read: {error}")),
    };
    let is_kept = |pin: &&String| listed.iter().any(|pack| pack.pack_name == **pin && pack.pin_verified());
    match (pins.len(), pins.len() - pins.iter().filter(is_kept).count()) {
        (0, _) => Check::pass(name, "registry cache is accessible"),
        (pinned, 0) => Check::pass(name, format!("registry cache healthy ({pinned} pinned pack(s))")),
        (_, lost) => inconsistent(format!("registry cache has {lost} inconsistent pin entries")),
    }
}

/// Whether a lock of the counters of `gate eval` was left behind in one of `folders`.
pub fn rate_limit_lock(folders: &[&Path]) -> Check {
    let name = "gate_rate_limit_lock";
    let age = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok()?.elapsed().ok();
    let mut locks: Vec<(PathBuf, Duration)> = folders
        .iter()
        .map(|folder| folder.join("gate_rate_limits.json.lock"))
        .filter_map(|path| Some((path.clone(), age(&path)?)))
        .collect();
    if locks.is_empty() {
        return Check::pass(name, "no stale gate rate-limit lock detected");
    }
    locks.retain(|(_, age)| *age >= LOCK_AGE);
    if locks.is_empty() {
        return Check::pass(name, "gate rate-limit lock is not stale");
    }
    let paths: Vec<String> = locks.iter().map(|(path, _)| quoted(path)).collect();
    Check::warn(name, "stale gate rate-limit lock detected", format!("rm -f {}", paths.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_lock_is_found_where_gate_eval_leaves_it_and_where_it_was_told_to() {
        let place = tempfile::tempdir().unwrap();
        let (state, output) = (place.path().join(".gait-out"), place.path().join("it's"));
        let look = || rate_limit_lock(&[&state, &output]);
        assert_eq!((look().status, look().message.as_str()), ("pass", "no stale gate rate-limit lock detected"));
        for (folder, fix) in
            [(&output, "it'\\''s/gate_rate_limits.json.lock'"), (&state, ".gait-out/gate_rate_limits.json.lock'")]
        {
            fs::create_dir(folder).unwrap();
            let lock = fs::File::create_new(folder.join("gate_rate_limits.json.lock")).unwrap();
            lock.set_modified(SystemTime::now() - 2 * LOCK_AGE).unwrap();
            let found = look();
            assert_eq!((found.status, found.message.as_str()), ("warn", "stale gate rate-limit lock detected"));
            assert!(found.fix_command.as_ref().is_some_and(|command| command.contains(fix)), "{found:?}");
            lock.set_modified(SystemTime::now()).unwrap();
            assert_eq!((look().status, look().message.as_str()), ("pass", "gate rate-limit lock is not stale"));
        }
    }

    #[test]
    fn a_pin_without_its_pack_is_told() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(registry_at(Some(&place.path().join("none"))).message, "registry cache is not initialized");
        assert_eq!(registry_at(None).status, "warn");
        assert_eq!(registry_at(Some(place.path())).message, "registry cache is accessible");
        fs::create_dir(place.path().join("pins")).unwrap();
        fs::write(place.path().join("pins/lost.pin"), "sha256:00").unwrap();
        let found = registry_at(Some(place.path()));
        assert_eq!((found.status, found.message.as_str()), ("warn", "registry cache has 1 inconsistent pin entries"));
        assert!(found.fix_command.is_some_and(|fix| fix.starts_with("gait registry list --cache-dir '/")));
    }
}
