//! Calls that name processes: the agent reaches its own, and neither the guard nor anybody else.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod common;

use common::{Guarded, Outcome, Record};
use gait_guard::session::Floor;
use rustix::process::{getpid, getppid};

fn python(script: &str) -> Outcome {
    Guarded::new(["python3", "-c", script]).run()
}

fn guard() -> i32 {
    getpid().as_raw_nonzero().get()
}

/// A process that is not of the tree: what started this test.
fn outsider() -> i32 {
    getppid().unwrap().as_raw_nonzero().get()
}

/// Calls that do no harm where they are let through. `PID` is whom they are aimed at.
const AIMED: [(&str, &str); 11] = [
    ("kill", "os.kill(PID, 0)"),
    ("tgkill", "raw(234, PID, PID, 0)"),
    ("tkill", "raw(200, PID, 0)"),
    ("prlimit64", "resource.prlimit(PID, resource.RLIMIT_NOFILE)"),
    ("sched_setaffinity", "os.sched_setaffinity(PID, os.sched_getaffinity(PID))"),
    ("setpriority", "os.setpriority(os.PRIO_PROCESS, PID, os.getpriority(os.PRIO_PROCESS, PID))"),
    ("ioprio_set", "raw(251, 1, PID, 0)"),
    ("pidfd_open", "os.close(os.pidfd_open(PID))"),
    ("process_vm_readv", "raw(310, PID, 0, 0, 0, 0, 0)"),
    ("kcmp", "raw(312, PID, os.getpid(), 2, 0, 0)"),
    ("fcntl", "fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, PID)"),
];

fn script(pid: &str) -> String {
    let mut script = String::from(
        "import ctypes, fcntl, os, resource\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         def raw(*args):\n\
         \x20   if libc.syscall(*map(ctypes.c_long, args)) < 0: raise OSError(ctypes.get_errno(), '')\n",
    );
    for (name, call) in AIMED {
        let call = call.replace("PID", pid);
        script.push_str(&format!(
            "try: {call}\nexcept OSError as e: print('{name}', e.errno)\nelse: print('{name}', 'done')\n"
        ));
    }
    script
}

#[test]
fn what_is_aimed_at_outsiders_is_denied_and_recorded() {
    let pid = outsider();
    let control = std::process::Command::new("python3").args(["-c", &script(&pid.to_string())]).output().unwrap();
    let control = String::from_utf8(control.stdout).unwrap();
    assert!(control.lines().all(|line| line.ends_with("done")), "the control: {control}");
    for (pid, floor) in [(pid, Floor::Outsider), (guard(), Floor::GuardAccess)] {
        let run = python(&script(&pid.to_string()));
        let expected: String = AIMED.iter().map(|(name, _)| format!("{name} 1\n")).collect();
        assert_eq!(run.stdout, expected, "{floor:?} {}", run.stderr);
        for (name, _) in AIMED {
            let said = format!("name: \"{name}\"");
            let denied =
                run.records.iter().any(|r| matches!(r, Record::Denied(a, f) if a.contains(&said) && *f == floor));
            assert!(denied, "{name} {floor:?} {:?}", run.records);
        }
    }
}

#[test]
fn what_is_aimed_at_the_own_tree_works() {
    let own = "(child := child if 'child' in globals() else __import__('subprocess').Popen(['sleep', '9']).pid)";
    let run = python(&script(own).replace("PID", own));
    let refused = ["process_vm_readv", "kcmp"];
    for line in run.stdout.lines() {
        let (name, end) = line.split_once(' ').unwrap();
        assert_eq!(end, if refused.contains(&name) { "1" } else { "done" }, "{line} {}", run.stderr);
    }
    assert_eq!(run.stdout.lines().count(), AIMED.len(), "{}", run.stderr);
}

#[test]
fn a_process_that_does_not_exist_is_said_not_to() {
    let script = "import os\n\
        try: os.kill(2 ** 22 + 5, 0)\n\
        except OSError as e: print(e.errno)\n";
    let run = python(script);
    assert_eq!(run.stdout, "3\n");
}

#[test]
fn everybody_and_foreign_groups_are_not_signalled() {
    let group = rustix::process::getpgrp().as_raw_nonzero().get();
    let script = format!(
        "import os\n\
         for pid in [-1, -{group}, -{}]:\n\
         \x20   try: os.kill(pid, 0)\n\
         \x20   except OSError as e: print(e.errno)\n\
         \x20   else: print('done')\n\
         os.kill(0, 0)\n\
         os.kill(-os.getpgrp(), 0)\n\
         if os.fork() == 0:\n\
         \x20   os.setpgid(0, 0); os.kill(-os.getpid(), 0); os._exit(0)\n\
         print(os.wait()[1])\n",
        i32::MAX
    );
    let run = python(&script);
    assert_eq!(run.stdout, "1\n1\n3\n0\n", "{}", run.stderr);
}

#[test]
fn a_signal_through_a_pidfd_reaches_the_own_child() {
    let script = "import os, signal, time\n\
        pid = os.fork()\n\
        if pid == 0: time.sleep(60)\n\
        fd = os.pidfd_open(pid)\n\
        signal.pidfd_send_signal(fd, 0)\n\
        signal.pidfd_send_signal(fd, signal.SIGTERM)\n\
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n\
        for fd in (fd, 0, 99):\n\
        \x20   try: signal.pidfd_send_signal(fd, 0)\n\
        \x20   except OSError as e: print(e.errno)\n";
    let run = python(script);
    assert_eq!(run.stdout, "-15\n3\n9\n9\n", "{}", run.stderr);
}

#[test]
fn what_nothing_mediates_is_refused_with_words() {
    let script = "import ctypes\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        for args in [(425, 8, 0), (101, 16, 1), (101, 0), (272, 0x10000000), (165, 0, 0, 0, 4096), (321, 5, 0, 0), (444, 0, 0, 0),\n\
        \x20            (157, 4, 0), (135, 0x0400000), (323, 0), (250, 0), (317, 1, 8, 0), (56, 0x10000000 | 17, 0)]:\n\
        \x20   ctypes.set_errno(0)\n\
        \x20   r = libc.syscall(*map(ctypes.c_long, args))\n\
        \x20   print(args[0], r, ctypes.get_errno())\n";
    let run = python(script);
    let errno =
        |nr: i32| run.stdout.lines().find_map(|line| line.strip_prefix(&format!("{nr} -1 "))?.parse::<i32>().ok());
    for (nr, expected) in [
        (425, 38),
        (101, 1),
        (272, 1),
        (165, 1),
        (321, 1),
        (444, 95),
        (157, 1),
        (135, 1),
        (323, 1),
        (250, 1),
        (317, 16),
        (56, 1),
    ] {
        assert_eq!(errno(nr), Some(expected), "{nr}: {}{}", run.stdout, run.stderr);
    }
    for words in [
        "io_uring",
        "\"self\"",
        "\"bind\"",
        "prog_load",
        "landlock",
        "dumpable",
        "personality",
        "fault",
        "keyring",
        "listener",
        "\"user\"",
    ] {
        assert!(
            run.records.iter().any(|r| matches!(r, Record::Denied(a, _) if a.contains(words))),
            "{words} {:?}",
            run.records
        );
    }
}

#[test]
fn an_agents_own_filter_is_let_through() {
    let script = "import ctypes, struct\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        allow = ctypes.create_string_buffer(struct.pack('=HBBI', 6, 0, 0, 0x7fff0000))\n\
        prog = ctypes.create_string_buffer(struct.pack('=HxxxxxxQ', 1, ctypes.addressof(allow)))\n\
        print(libc.syscall(317, 1, 0, ctypes.c_long(ctypes.addressof(prog))))\n\
        print(open('/etc/passwd').read(4))\n";
    let run = python(script);
    assert_eq!(run.stdout, "0\nroot\n", "{}", run.stderr);
}
