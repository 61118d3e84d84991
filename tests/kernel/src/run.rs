//! Running programs, bare and guarded, without trusting them to end.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Longer than any program of the suite takes, guarded, on a slow machine.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// How much slower than an ordinary machine this one is: `GAIT_SUITE_SLOW`, 1 if it does not say. Emulated machines are.
pub fn slow() -> u32 {
    static SLOW: OnceLock<u32> = OnceLock::new();
    *SLOW.get_or_init(|| {
        let said = std::env::var("GAIT_SUITE_SLOW").ok().and_then(|text| text.parse().ok());
        said.filter(|slow| *slow > 0).unwrap_or(1)
    })
}

/// `usual` tries, or as many as a slow machine makes in the same time. Whoever makes fewer says so with
/// [`crate::report::note`].
pub fn tries(usual: u32) -> u32 {
    (usual / slow()).max(usual.min(50))
}

/// [`tries`] of a race, or what `GAIT_RACE_TRIES` says: as many as somebody has time for.
pub fn race_tries(usual: u32) -> u32 {
    let said = std::env::var("GAIT_RACE_TRIES").ok().and_then(|text| text.parse().ok());
    said.unwrap_or_else(|| tries(usual))
}

/// [`tries`], and the note.
pub fn noted_tries(usual: u32) -> u32 {
    let tries = tries(usual);
    if tries < usual {
        crate::report::note(format!("{tries} tries instead of {usual}, since this machine is slow"));
    }
    tries
}

/// A limit in time on an ordinary machine, on this one.
pub fn limit(usual: Duration) -> Duration {
    usual * slow()
}

/// The attacker program, built beside the suite.
pub fn attack() -> PathBuf {
    beside_the_suite("attack")
}

/// Who shall enforce: `GAIT_ENGINE`, given to each `gait exec` as `--engine`; without it the binary chooses.
pub fn engine() -> Option<String> {
    std::env::var("GAIT_ENGINE").ok().filter(|engine| !engine.is_empty())
}

/// [`engine`] as words of a command line.
pub fn engine_flags() -> Vec<String> {
    engine().map_or_else(Vec::new, |engine| vec!["--engine".to_owned(), engine])
}

/// The binary under test: `GAIT_BIN`, or the release build of this workspace, made when it is asked for first.
///
/// # Panics
/// If it can't be built: then nothing of the suite can run.
pub fn gait() -> &'static Path {
    static GAIT: OnceLock<PathBuf> = OnceLock::new();
    GAIT.get_or_init(|| {
        if let Some(path) = std::env::var_os("GAIT_BIN") {
            return PathBuf::from(path);
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--package", "gait-cli"])
            .current_dir(repository())
            .status();
        assert!(built.is_ok_and(|status| status.success()), "gait does not build");
        // Relative to the folder that it was built in, or absolute.
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        repository().join(target).join("release/gait")
    })
}

/// The Python with the packages that some tests need: `GAIT_PYTHON`, or the one that `.ci/run` prepares.
pub fn python() -> PathBuf {
    std::env::var_os("GAIT_PYTHON").map_or_else(|| repository().join("target/ci-python/bin/python"), PathBuf::from)
}

/// The folder of the workspace.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// `target/<profile>/<name>`, seen from `target/<profile>/deps/<suite>`.
fn beside_the_suite(name: &str) -> PathBuf {
    let suite = std::env::current_exe().unwrap_or_default();
    suite.ancestors().nth(2).map(|folder| folder.join(name)).unwrap_or_default()
}

/// How a program ended and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Exit code, or 128 + n for signal n, as a shell would say it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `command` with no input to its end.
///
/// # Errors
/// It could not be started, or had to be killed at the time limit.
pub fn run(command: &mut Command) -> anyhow::Result<Ran> {
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let mut child = command.spawn().with_context(|| format!("start {:?}", command.get_program()))?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit(TIME_LIMIT) * (race_tries(0) / 1_000).max(1) {
            child.kill()?;
            child.wait()?;
            bail!("{command:?} did not end; it said:\n{}{}", text(&mut stdout)?, text(&mut stderr)?);
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let code = status.code().or(status.signal().map(|n| 128 + n)).context("neither exited nor killed")?;
    Ok(Ran { code, stdout: text(&mut stdout)?, stderr: text(&mut stderr)? })
}

fn text(file: &mut File) -> anyhow::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A command in `folder` with nothing of the suite's environment but a usual PATH, and `home` as home.
pub fn command(program: impl AsRef<OsStr>, folder: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", home)
        .env("LANG", "C.UTF-8")
        .env("TZ", "UTC");
    command
}
