//! The supervisor, from launch to the end of the tree.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod common;

use common::{Guarded, Record};
use gait_guard::session::Floor;

#[test]
fn a_refused_call_is_recorded_and_the_agent_goes_on() {
    // unshare -U is refused by the floor; the shell goes on.
    let run = Guarded::sh("unshare -U true 2>/dev/null; echo $?; echo on").run();
    assert_eq!(run.stdout.lines().last(), Some("on"), "{run:?}");
    assert_ne!(run.stdout.lines().next(), Some("0"), "{run:?}");
    let is_refusal =
        |record: &&Record| matches!(record, Record::Denied(action, Floor::Privilege) if action.contains("unshare"));
    assert!(run.records.iter().any(|record| is_refusal(&record)), "{:?}", run.records);
}

#[test]
fn the_agent_has_a_session_of_its_own_no_capabilities_and_no_new_privs() {
    let run = Guarded::sh("cat /proc/self/status; echo; cat /proc/self/stat").run();
    for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(run.stdout.contains(line), "{line}: {}", run.stdout);
    }
    let stat = run.stdout.lines().last().unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let (group, session, terminal) = (fields[2], fields[3], fields[4]);
    assert_eq!((group, terminal), (session, "0"), "{stat}");
}

#[test]
fn no_descriptor_above_two_is_inherited_however_high() {
    let file = std::fs::File::open("/etc/passwd").unwrap();
    let high = rustix::io::fcntl_dupfd_cloexec(&file, 900).unwrap();
    rustix::io::fcntl_setfd(&high, rustix::io::FdFlags::empty()).unwrap();
    let run = Guarded::sh("for fd in /proc/self/fd/*; do echo ${fd##*/}; done").run();
    let fds: Vec<u32> = run.stdout.lines().map(|line| line.parse().unwrap()).collect();
    // 0, 1, 2, and what the shell itself has open to list them.
    assert!(fds.iter().all(|&fd| fd <= 3) && fds.len() >= 3, "{fds:?}");
}

#[test]
fn a_command_that_is_denied_does_not_run() {
    let run = Guarded::new(["/bin/echo", "ran"]).denying("Exec").run();
    assert_eq!((run.code, run.stdout.as_str()), (Some(126), ""));
}

#[test]
fn a_file_without_a_first_line_for_an_interpreter_is_run_by_the_shell() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "echo from $1\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let run = Guarded::new([script.as_os_str(), "here".as_ref()]).run();
    assert_eq!(run.stdout, "from here\n", "{run:?}");
}
