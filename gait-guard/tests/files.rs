//! Opens and mutations under the guard: a program sees what it would see without, and what is
//! denied does not happen.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use common::{Guarded, Outcome, Record, describe};
use gait_guard::event::{Action, PathOp};
use gait_guard::session::{Floor, Ruling};
use rustix::io::Errno;
use tempfile::TempDir;

/// Compiles a program of `tests/programs`. The linker that made this test is a C compiler.
fn program(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name).with_extension("c");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let made = Command::new("cc").args(["-O1", "-w", "-o"]).arg(&target).arg(source).arg("-lpthread").status();
    assert!(made.expect("cc runs").success(), "{name} does not compile");
    target
}

static FILES: LazyLock<PathBuf> = LazyLock::new(|| program("files"));
static ESCAPES: LazyLock<PathBuf> = LazyLock::new(|| program("escapes"));

fn in_folder(folder: &Path, program: &Path, arguments: &str) -> String {
    format!("cd '{}' && exec '{}' {arguments}", folder.display(), program.display())
}

/// Lines that may differ, each with its reason.
fn is_known_difference(line: &str) -> bool {
    // openat2 with O_PATH is ENOSYS: its flags are in memory, and handles can't be injected.
    line.contains("open2(AT_FDCWD, \"a\", O_PATH")
}

#[test]
fn a_program_sees_the_same_file_system_bare_and_guarded() {
    let [bare_folder, guarded_folder] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let bare =
        Command::new(&*FILES).current_dir(bare_folder.path()).stdin(Stdio::null()).output().expect("the program runs");
    let guarded = Guarded::sh(&in_folder(guarded_folder.path(), &FILES, "")).run();
    let bare = String::from_utf8_lossy(&bare.stdout).into_owned();
    assert!(bare.lines().count() > 400, "the bare run is complete");
    let differences: Vec<String> = bare
        .lines()
        .zip(guarded.stdout.lines().chain(std::iter::repeat("(missing)")))
        .filter(|(bare, guarded)| bare != guarded && !is_known_difference(bare))
        .map(|(bare, guarded)| format!("bare:    {bare}\nguarded: {guarded}"))
        .collect();
    assert!(differences.is_empty(), "{}\n{}", differences.join("\n"), guarded.stderr);
    assert_eq!(bare.lines().count(), guarded.stdout.lines().count());
}

/// A play ground: `W` is allowed, `S` is denied, `R` may only be read.
struct Ground {
    folder: TempDir,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["W/way", "S/sub", "R"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        for (name, text) in
            [("W/file", "open\n"), ("W/way/file", "open\n"), ("S/file", "secret\n"), ("R/file", "fixed\n")]
        {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        symlink("../S", folder.path().join("W/other")).expect("a link");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `escapes` here, with `S` denied, and changes of `R`.
    fn attempt(&self, arguments: &str) -> Outcome {
        self.run(&in_folder(self.folder.path(), &ESCAPES, arguments))
    }

    fn run(&self, script: &str) -> Outcome {
        let [secret, fixed] = ["S", "R"].map(|name| self.path(name).into_os_string().into_encoded_bytes());
        let run = Guarded::sh(script).judge(move |action| match action {
            Action::Path { path, .. } if is_below(path, &secret) => Ruling::Deny(Errno::ACCESS),
            Action::Path { path, op, .. } if is_below(path, &fixed) && !matches!(op, PathOp::Read | PathOp::List) => {
                Ruling::Deny(Errno::ACCESS)
            }
            _ => Ruling::Allow,
        });
        run.run()
    }

    /// Everything that an attempt on `folder` could change.
    fn state(&self, folder: &str) -> Vec<String> {
        let mut state = Vec::new();
        let mut folders = vec![self.path(folder)];
        while let Some(folder) = folders.pop() {
            let meta = fs::metadata(&folder).expect("metadata");
            state.push(format!("{} {:o} {}", folder.display(), meta.mode(), meta.mtime_nsec()));
            for entry in fs::read_dir(&folder).expect("a folder") {
                let entry = entry.expect("an entry");
                let meta = entry.metadata().expect("metadata");
                if meta.is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                let text = fs::read_to_string(entry.path()).expect("text");
                let change = (meta.ctime(), meta.ctime_nsec(), meta.nlink());
                state.push(format!("{} {:o} {change:?} {text}", entry.path().display(), meta.mode()));
            }
        }
        state.sort();
        state
    }
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn succeeded(run: &Outcome) -> Vec<&str> {
    run.stdout.lines().filter_map(|line| line.strip_suffix(" OK")).collect()
}

/// How the harness describes an operation on a path.
fn said(op: &str, path: &str) -> String {
    format!("Path {op} {path} via: None")
}

/// The numbers of a line like `allowed=1 denied=2`.
fn counts(run: &Outcome) -> Vec<u64> {
    let words = run.stdout.split_whitespace();
    words.filter_map(|word| word.split_once('=')?.1.parse().ok()).collect()
}

fn race(how: &str, mode: &str) {
    let ground = Ground::new();
    let before = ground.state("S");
    let run = ground.attempt(&format!("race {how} 10000 {mode}"));
    let counts = counts(&run);
    assert_eq!(counts.len(), 4, "{run:?}");
    assert_eq!(counts[2], 0, "escaped: {}", run.stdout);
    assert!(counts[0] > 0 && counts[1] > 0, "the race was none: {}", run.stdout);
    assert_eq!(ground.state("S"), before);
}

#[test]
fn a_path_that_changes_in_memory_never_opens_the_denied_file() {
    race("path", "r");
    race("path", "w");
}

#[test]
fn a_link_that_changes_never_opens_the_denied_file() {
    race("link", "r");
    race("link", "w");
}

#[test]
fn a_folder_that_is_exchanged_on_the_way_never_opens_the_denied_file() {
    race("folder", "r");
    race("folder", "w");
}

#[test]
fn a_denied_file_is_denied_by_all_its_names() {
    let ground = Ground::new();
    let before = ground.state("S");
    let run = ground.attempt("names");
    let allowed = [
        // Links that lead nowhere one may go are harmless; so is a second name for such a link.
        r#"symlink("../S/file", "W/one")"#,
        r#"symlink("one", "W/two")"#,
        r#"symlink("../S", "W/three")"#,
        r#"symlink("../S/late", "W/four")"#,
        r#"link("W/two", "W/hard2")"#,
    ];
    assert_eq!(succeeded(&run), allowed, "{}", run.stdout);
    assert!(run.stdout.lines().count() > 50, "all was tried: {}", run.stdout);
    assert_eq!(ground.state("S"), before);
    let control = Command::new(&*ESCAPES).arg("names").current_dir(ground.folder.path()).output().expect("it runs");
    assert!(String::from_utf8_lossy(&control.stdout).contains("open(\"W/../S/./file\", O_RDONLY) OK"));
}

#[test]
fn a_descriptor_for_reading_is_no_way_to_change_the_file() {
    let ground = Ground::new();
    let before = ground.state("R");
    let run = ground.attempt("descriptors");
    assert_eq!(succeeded(&run), ["fd"], "{}", run.stdout);
    assert_eq!(ground.state("R"), before);
    let judged = |op: &str| !run.mentioning(&format!("{op} {}", ground.path("R/file").display())).is_empty();
    for op in ["Chmod { mode: 438 }", "Chown", "Setxattr", "Removexattr", "Utimes", "Write", "Truncate", "Link"] {
        assert!(judged(op), "{op} is recorded");
    }
}

#[test]
fn a_file_that_is_made_later_is_denied_by_its_name() {
    let ground = Ground::new();
    let script = format!(
        "cd '{}/W'; mkdir new; (echo x > new/.env); echo x > new/plain; mv new/plain new/.env; ln new/plain new/.env; \
         mkdir new/.env; ln -s plain new/.env; ls -A new",
        ground.folder.path().display()
    );
    let run = Guarded::sh(&script).judge(|action| match action {
        Action::Path { path, .. } if path.ends_with(b"/.env") => Ruling::Deny(Errno::ACCESS),
        _ => Ruling::Allow,
    });
    let run = run.run();
    assert_eq!(run.stdout, "plain\n", "{run:?}");
    for op in ["Create", "RenameTo", "Link", "Mkdir", "Symlink"] {
        assert!(!run.mentioning(&format!("{op} {}", ground.path("W/new/.env").display())).is_empty(), "{op}");
    }
}

#[test]
fn a_folder_does_not_take_what_is_denied_in_it_elsewhere() {
    let ground = Ground::new();
    let below = ground.folder.path().to_string_lossy().into_owned();
    let script = format!(
        "cd '{below}'; mkdir -p A/deep B/hooks C/deep; echo key > A/deep/key; echo x > B/hooks/run; echo y > C/deep/plain; \
         mv A W/A; mv B G; mv C W/C; ls W/A W/A/deep G G/hooks W/C/deep 2>/dev/null"
    );
    // A/deep/key is denied by its path, and so is anything at G/hooks.
    let (key, hooks) = (format!("{below}/A/deep/key"), format!("{below}/G/hooks"));
    let run = Guarded::sh(&script).judge(move |action| match action {
        Action::Path { op: PathOp::Create | PathOp::Truncate, .. } => Ruling::Allow,
        Action::Path { path, .. } if **path == *key.as_bytes() => Ruling::Deny(Errno::ACCESS),
        Action::Path { path, .. } if is_below(path, hooks.as_bytes()) => Ruling::Deny(Errno::ACCESS),
        _ => Ruling::Allow,
    });
    let run = run.run();
    assert!(!ground.path("W/A/deep/key").exists(), "{run:?}");
    assert!(ground.path("A/deep/key").exists());
    assert!(!ground.path("G/hooks/run").exists());
    assert!(ground.path("W/C/deep/plain").exists(), "the control: {run:?}");
    let refused = Record::Denied(said("RenameFrom", &format!("{below}/A")), Floor::Unresolved);
    assert!(run.records.contains(&refused), "{:?}", run.records);
}

#[test]
fn objects_of_processes_outside_the_tree_are_out_of_reach() {
    let ground = Ground::new();
    let supervisor = std::process::id();
    let control = Command::new(&*ESCAPES).args(["outsider", &supervisor.to_string()]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&control.stdout).contains("environ OK"), "natively it can be read");
    for (pid, floor) in [(supervisor, Floor::GuardAccess), (1, Floor::Outsider)] {
        let run = ground.attempt(&format!("outsider {pid}"));
        assert_eq!(succeeded(&run), Vec::<&str>::new(), "{}", run.stdout);
        assert!(!run.stdout.contains("for writing"), "{}", run.stdout);
        let denied = Record::Denied(said("Read", "/proc/outside/mem"), floor);
        assert!(run.records.contains(&denied), "{:?}", run.records);
        assert!(run.records.contains(&Record::Denied(said("Write", "/proc/outside/mem"), floor)));
        assert!(run.records.contains(&Record::Denied(said("Read", "/proc/outside/root"), floor)));
        assert!(run.records.contains(&Record::Denied(said("Truncate", "/proc/outside/oom_score_adj"), floor)));
    }
}

#[test]
fn processes_of_the_tree_are_in_reach_and_recorded_without_their_numbers() {
    let ground = Ground::new();
    let run = ground.attempt("insider");
    assert_eq!(succeeded(&run).len(), 4, "{}", run.stdout);
    for name in ["/proc/pid/status", "/proc/self/task/tid/stat", "/proc/self/fdinfo/n"] {
        assert!(run.records.contains(&Record::Judged(said("Read", name), Ruling::Allow)), "{name}");
    }
    let number = |record: &&Record| matches!(record, Record::Judged(text, _) if text.contains("/proc/") && text.chars().any(|c| c.is_ascii_digit()));
    assert_eq!(run.records.iter().find(number), None);
}

#[test]
fn nothing_that_lends_rights_is_made() {
    let ground = Ground::new();
    let run = ground.attempt("privileges");
    assert_eq!(succeeded(&run), [r#"chmod("W", 02775)"#, r#"chmod("W/file", 0755)"#], "{}", run.stdout);
    let floor = run.records.iter().filter(|record| matches!(record, Record::Denied(_, Floor::Privilege))).count();
    assert_eq!(floor, 8, "{:?}", run.records);
    let names: Vec<_> =
        fs::read_dir(ground.path("W")).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn what_is_too_deep_to_be_named_is_denied() {
    let ground = Ground::new();
    let run = ground.attempt("deep");
    let denied =
        |record: &Record| matches!(record, Record::Denied(text, Floor::Unresolved) if text.contains("NameTooLong"));
    assert!(run.records.iter().any(denied), "{:?}", run.records);
    assert!(run.stdout.contains("EPERM"), "{}", run.stdout);
}

#[test]
fn a_program_that_nobody_may_read_does_nothing() {
    let ground = Ground::new();
    let hidden = ground.path("W/hidden");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/escapes.c");
    let made =
        Command::new("cc").args(["-O1", "-w", "-static", "-o"]).arg(&hidden).arg(source).arg("-lpthread").status();
    assert!(made.expect("cc runs").success());
    let run = ground.run(&in_folder(ground.folder.path(), &hidden, "hidden"));
    assert_eq!(run.stdout, "open OK\n", "the control: {run:?}");
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o111)).expect("chmod");
    let run = ground.run(&in_folder(ground.folder.path(), &hidden, "hidden"));
    assert_eq!(run.stdout, "", "{run:?}");
    assert!(
        run.records.iter().any(|record| matches!(record, Record::Denied(_, Floor::Unreadable))),
        "{:?}",
        run.records
    );
}

#[test]
fn what_may_not_be_executed_is_never_mapped_executable() {
    if gait_guard::sys::mount::noexec_root().is_err() {
        // Needs CAP_SYS_ADMIN; without it such mappings are only judged.
        assert!(!rustix::process::geteuid().is_root(), "root can make the view");
        return;
    }
    let ground = Ground::new();
    let below = ground.folder.path().as_os_str().as_encoded_bytes().to_vec();
    let run = Guarded::sh(&in_folder(ground.folder.path(), &ESCAPES, "mapping 5000")).noexec();
    let run = run.judge(move |action| match action {
        Action::Path { op: PathOp::Map, path, .. } if is_below(path, &below) => Ruling::Deny(Errno::ACCESS),
        _ => Ruling::Allow,
    });
    let run = run.run();
    let counts = counts(&run);
    assert_eq!(counts[..5], [0, 1, 1, 1, 0], "{}", run.stdout);
    assert_eq!(counts[7], 0, "escaped: {}", run.stdout);
    assert!(counts[5] > 0 && counts[6] > 0, "the race was none: {}", run.stdout);
}

#[test]
fn dev_tty_is_the_terminal_of_the_agents_own_session() {
    let run = Ground::new().attempt("terminal");
    assert_eq!(run.stdout, "open(\"/dev/tty\", O_RDWR) ENXIO\nchild 0 read 1 hello\n", "{run:?}");
}

#[test]
fn reading_creating_and_truncating_are_judged_as_what_they_are() {
    let ground = Ground::new();
    let folder = ground.path("W");
    let script =
        format!("cd '{}'; read x < file; echo a > new; echo b > file; echo c >> file; : < way", folder.display());
    let run = Guarded::sh(&script).run();
    let below = folder.to_string_lossy().into_owned();
    let mine: Vec<&str> = run
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Judged(text, Ruling::Allow) => Some(text.as_str()),
            _ => None,
        })
        .filter(|text| text.contains(&below) && !text.contains("Exec"))
        .collect();
    let expected = ["Read file", "Create new", "Truncate file", "Write file", "List way"].map(|what| {
        let (op, name) = what.split_once(' ').expect("two words");
        said(op, &format!("{below}/{name}"))
    });
    assert_eq!(mine, expected);
    let action = Action::Path { op: PathOp::Read, path: b"/x".into(), via: None };
    assert_eq!(describe(&action), said("Read", "/x"));
}
