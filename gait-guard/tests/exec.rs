//! Execs under the real supervisor: what runs is what was judged, whatever other threads do meanwhile.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::programs::{program, tiny};
use common::{Guarded, Outcome, Record};
use gait_guard::session::Floor;

/// Folders `W` (allowed) and `S` (denied), each with a program `x` that exits with 0 and 7.
fn folders() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("exec").tempdir().unwrap();
    for (name, code) in [("W", 0), ("S", 7)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        tiny(&folder.path().join(name).join("x"), code);
    }
    folder
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn executed(run: &Outcome) -> Vec<String> {
    let name = |record: &Record| match record {
        Record::Executed(file, _) => Some(String::from_utf8_lossy(file).into_owned()),
        _ => None,
    };
    run.records.iter().filter_map(name).collect()
}

fn text(argv: &[Vec<u8>]) -> Vec<String> {
    argv.iter().map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}

fn count(stdout: &str, name: &str) -> u64 {
    let value = stdout.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {name} in {stdout:?}")).parse().unwrap()
}

#[test]
fn a_program_runs_and_its_loader_is_judged_too() {
    let run = Guarded::new(["/bin/true", "an argument"]).run();
    assert_eq!(run.code, Some(0), "{run:?}");
    let [Record::Executed(file, argv)] =
        &run.records.iter().filter(|r| matches!(r, Record::Executed(..))).cloned().collect::<Vec<_>>()[..]
    else {
        panic!("{:?}", run.records)
    };
    assert!(file.ends_with(b"/true"));
    assert_eq!(argv, &[b"/bin/true".to_vec(), b"an argument".to_vec()]);
    let loaders = run.mentioning("Interpreter");
    assert_eq!(loaders.len(), 1, "{loaders:?}");
    // One decision of the program itself, though it was looked at twice.
    assert_eq!(run.mentioning("via: None").iter().filter(|r| format!("{r:?}").contains("Exec ")).count(), 1);
}

#[test]
fn a_denied_program_does_not_run_and_is_told_so() {
    let folder = folders();
    let path = folder.path().join("S/x");
    let script = format!("{}; echo $?", path.display());
    let run = Guarded::sh(&script).denying("/S/x)").run();
    assert_eq!(run.stdout, "126\n", "{run:?}");
    assert_eq!(executed(&run).len(), 1);
}

#[test]
fn a_program_that_nobody_may_read_is_refused_and_recorded() {
    let folder = folders();
    let path = folder.path().join("W/x");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o111)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let run = Guarded::sh(&format!("{}; echo $?", path.display())).run();
    assert_eq!(run.stdout, "126\n", "{run:?}");
    assert!(run.stderr.contains("Permission denied"), "{run:?}");
    let denied = run.mentioning("W/x)");
    assert!(matches!(&denied[..], [Record::Denied(_, Floor::Unreadable)]), "{denied:?}");
}

#[test]
fn no_denied_program_runs_however_the_path_is_flipped() {
    let folder = folders();
    let race = program("exec_race");
    let run = Guarded::new([race.as_os_str(), folder.path().as_os_str(), "3000".as_ref()]).denying("/S/").run();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(count(&run.stdout, "denied_ran"), 0, "{}", run.stdout);
    assert_eq!(count(&run.stdout, "other"), 0, "{}", run.stdout);
    assert!(count(&run.stdout, "killed") > 0, "the race was never run: {}", run.stdout);
    assert!(count(&run.stdout, "allowed") > 0);
    assert!(executed(&run).iter().all(|file| !file.contains("/S/")));
}

#[test]
fn the_arguments_on_record_are_those_that_ran() {
    let race = program("argv_race");
    let run = Guarded::new([race.as_os_str(), "1500".as_ref()]).run();
    let ran = count(&run.stdout, "ran");
    assert_eq!(count(&run.stdout, "killed"), 0);
    let judged: std::collections::HashSet<String> = run
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Judged(action, _) if action.contains("via: None") => Some(action.clone()),
            _ => None,
        })
        .collect();
    let argvs: Vec<&Vec<Vec<u8>>> = run
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Executed(file, argv) if file.ends_with(b"/true") => Some(argv),
            _ => None,
        })
        .collect();
    assert_eq!(argvs.len() as u64, ran);
    for argv in argvs {
        assert!(
            judged.iter().any(|action| action.contains(&format!("argv: {:?}", text(argv)))),
            "never judged: {argv:?}"
        );
    }
}

#[test]
fn denied_arguments_do_not_run_however_they_are_flipped() {
    let race = program("argv_race");
    let run = Guarded::new([race.as_os_str(), "1500".as_ref()]).denying("\"evil\"").run();
    let ran = run.records.iter().filter(|r| matches!(r, Record::Executed(_, argv) if argv.contains(&b"evil".to_vec())));
    assert_eq!(ran.count(), 0);
    assert!(count(&run.stdout, "killed") > 0, "{}", run.stdout);
}

#[test]
fn two_threads_that_execute_at_once_do_no_harm() {
    let run = Guarded::new([program("two_execs").as_os_str(), "60".as_ref()]).run();
    assert_eq!(run.stdout, "ok=60 bad=0\n", "{}", run.stderr);
}

#[test]
fn storms_of_spawns_from_many_threads_complete() {
    let run = Guarded::new([program("spawn").as_os_str(), "12".as_ref()]).run();
    assert_eq!(run.stdout, "bad=0 missing=2\n", "{}", run.stderr);
}

#[test]
fn a_memory_file_is_executed_only_as_such() {
    let script = "import os\n\
        fd = os.memfd_create('tool')\n\
        os.write(fd, open('/bin/true', 'rb').read())\n\
        pid = os.fork()\n\
        if pid == 0:\n\
        \x20   try: os.execve(fd, ['tool'], {})\n\
        \x20   except OSError as e: os._exit(e.errno)\n\
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n";
    let allowed = Guarded::new(["python3", "-c", script]).run();
    assert_eq!(allowed.stdout, "0\n", "{}", allowed.stderr);
    assert!(!allowed.mentioning("Memory(").is_empty(), "{:?}", executed(&allowed));
    let denied = Guarded::new(["python3", "-c", script]).denying("Memory(").run();
    assert_eq!(denied.stdout, "13\n", "{}", denied.stderr);
}

#[test]
fn scripts_and_their_interpreters_are_judged_each() {
    let folder = folders();
    let script = folder.path().join("script");
    executable(&script, "#!/bin/sh -e\necho \"$0\" \"$@\"\n");
    let run = Guarded::new([script.as_os_str(), "one".as_ref()]).run();
    assert_eq!(run.stdout, format!("{} one\n", script.display()));
    assert_eq!(run.mentioning("Interpreter").len(), 2, "the shell and its loader: {:?}", run.records);
    let of_script = Guarded::new([script.as_os_str()]).denying("/script)").run();
    assert_eq!((of_script.code, executed(&of_script)), (Some(126), vec![]));
    let of_shell = Guarded::new([script.as_os_str()]).judge(|action| {
        use gait_guard::event::{Action, Via};
        use gait_guard::session::Ruling;
        match action {
            Action::Exec { via: Some(Via::Interpreter), .. } => Ruling::Deny(rustix::io::Errno::ACCESS),
            _ => Ruling::Allow,
        }
    });
    let of_shell = of_shell.run();
    assert_eq!((of_shell.code, executed(&of_shell)), (Some(126), vec![]));
}

#[test]
fn chains_of_scripts_are_followed_as_far_as_the_kernel_does() {
    let folder = folders();
    let at = |n: usize| folder.path().join(format!("s{n}"));
    executable(&at(0), "#!/bin/sh\necho end\n");
    for n in 1..7 {
        executable(&at(n), &format!("#!{}\n", at(n - 1).display()));
    }
    for n in 0..7 {
        let bare = std::process::Command::new(at(n)).output();
        let guarded = Guarded::sh(&format!("exec {}", at(n).display())).run();
        match bare {
            Ok(output) if output.status.success() => assert_eq!(guarded.stdout, "end\n", "{n}"),
            _ => assert_ne!(guarded.code, Some(0), "{n}"),
        }
        let denied = Guarded::sh(&format!("exec {}", at(n).display())).denying("/s0)").run();
        assert_ne!(denied.code, Some(0), "{n}");
    }
}

#[test]
fn a_shebang_line_that_fills_the_kernels_buffer_is_read_as_the_kernel_does() {
    let folder = folders();
    for length in 250..262 {
        let script = folder.path().join("long");
        let head = "#!/bin/sh -e ";
        executable(&script, &format!("{head}{}\necho x\n", " ".repeat(length - head.len())));
        let bare = std::process::Command::new(&script).output().map(|output| output.status.success()).unwrap_or(false);
        let guarded = Guarded::new([script.as_os_str()]).run();
        assert_eq!(guarded.code == Some(0), bare, "{length}");
    }
}

#[test]
fn a_denied_program_is_not_run_as_the_loader_of_another() {
    // A program whose PT_INTERP is a denied one: the kernel would run that.
    let folder = folders();
    let source = folder.path().join("m.c");
    fs::write(&source, "int main(void) { return 0; }").unwrap();
    let target = folder.path().join("W/y");
    let loader = format!("-Wl,--dynamic-linker={}", folder.path().join("S/x").display());
    let built =
        std::process::Command::new("cc").args([&loader, "-w", "-o"]).arg(&target).arg(&source).status().unwrap();
    assert!(built.success());
    assert_eq!(std::process::Command::new(&target).status().unwrap().code(), Some(7), "the control");
    let run = Guarded::sh(&format!("{}; echo $?", target.display())).denying("/S/x)").run();
    assert_eq!(run.stdout, "137\n", "killed before its first instruction");
}

#[test]
fn failures_are_the_kernels_own() {
    let folder = folders();
    let plain = folder.path().join("plain");
    fs::write(&plain, "text").unwrap();
    let script = format!(
        "import os\n\
         for path in ['/nonexistent', '/', '{0}', '{0}/x', '', '/bin/' + 'a' * 300, 'a/' * 3000]:\n\
         \x20   try: os.execve(path, ['x'], {{}})\n\
         \x20   except OSError as e: print(e.errno)\n",
        plain.display()
    );
    let bare = std::process::Command::new("python3").args(["-c", &script]).output().unwrap();
    let run = Guarded::new(["python3", "-c", &script]).run();
    assert_eq!(run.stdout, String::from_utf8(bare.stdout).unwrap());
    assert!(!run.stdout.is_empty());
}

#[test]
fn foreign_doors_are_shut() {
    const SIGSYS: i32 = 31;
    for door in ["ia32", "x32"] {
        let run = Guarded::new([program("foreign").as_os_str(), door.as_ref()]).run();
        assert_eq!(run.signal, Some(SIGSYS), "{door}: {run:?}");
    }
    let unknown = Guarded::new([program("foreign").as_os_str(), "unknown".as_ref()]).run();
    assert_eq!(unknown.stdout, "result=-1 errno=38\n");
}

#[test]
fn descriptors_and_links_to_oneself_are_executed_as_what_they_are() {
    let folder = folders();
    let script = folder.path().join("script");
    executable(&script, "#!/bin/sh\necho script\n");
    let python = format!(
        "import os, sys\n\
         def run(path):\n\
         \x20   pid = os.fork()\n\
         \x20   if pid == 0:\n\
         \x20       try: os.execve(path, ['x', '-c', 'print(1)'], dict(os.environ))\n\
         \x20       except OSError as e: os._exit(e.errno)\n\
         \x20   print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)\n\
         fd = os.open('{}', os.O_RDONLY); os.set_inheritable(fd, True)\n\
         true = os.open('/bin/true', os.O_RDONLY)\n\
         for path in ['/proc/self/exe', fd, '/proc/self/fd/%d' % fd, '/dev/fd/%d' % fd, true, '/proc/thread-self/fd/%d' % true]: run(path)\n",
        script.display()
    );
    let bare = std::process::Command::new("python3").args(["-c", &python]).output().unwrap();
    let run = Guarded::new(["python3", "-c", &python]).run();
    assert_eq!(run.stdout, String::from_utf8(bare.stdout).unwrap(), "{}", run.stderr);
    assert_eq!(run.stdout.matches("script").count(), 3, "{}", run.stdout);
    let objects = |record: &&Record| format!("{record:?}").contains("Path(/proc");
    assert!(!run.records.iter().any(|record| objects(&record)), "{:?}", run.records);
}

#[test]
fn a_copy_of_a_denied_program_is_another_object_and_ld_so_is_no_way_round() {
    let folder = folders();
    let (own, copy) = (folder.path().join("S/true"), folder.path().join("W/true"));
    fs::copy("/bin/true", &own).unwrap();
    let loader = "/lib64/ld-linux-x86-64.so.2";
    let script = format!("{loader} {0}; echo $?; cp {0} {1} && {1}; echo $?", own.display(), copy.display());
    // Mapping it for execution is denied like executing it is; so is executing what can be written.
    let denied = Guarded::sh(&script).judge(move |action| {
        use gait_guard::event::{Action, PathOp};
        use gait_guard::session::Ruling;
        let said = common::describe(action);
        let executes = matches!(action, Action::Exec { .. } | Action::Path { op: PathOp::Map, .. });
        let mine = ["/S/true)", "/W/true)", "/S/true via"].iter().any(|name| said.contains(name));
        if executes && mine { Ruling::Deny(rustix::io::Errno::ACCESS) } else { Ruling::Allow }
    });
    let run = denied.run();
    assert_eq!(run.stdout, "127\n126\n", "{} {:?}", run.stderr, run.records);
    assert_eq!(Guarded::sh(&script).run().stdout, "0\n0\n", "the control");
}
