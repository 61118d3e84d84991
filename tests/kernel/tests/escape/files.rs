//! FS: files that must not be read, written, or changed, by whatever name.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::ensure;
use kernel_suite::CANARY;
use kernel_suite::denial::{Denial, denial};
use kernel_suite::need::{GUARD, Need};
use kernel_suite::run;
use kernel_suite::scene::{ALLOW_ALL, CORPUS_POLICY, Scene};
use kernel_suite::suite::{Test, test};

/// `O_*` and `AT_*` as numbers, since the attacker takes numbers.
const WRITE_CREATE_TRUNCATE: i32 = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;

pub fn tests() -> Vec<Test> {
    let groups = [opens(), links(), names(), later(), metadata(), changes(), kernel_files(), races()];
    groups.into_iter().flatten().map(Denial::test).chain(descriptors()).chain(documented()).collect()
}

/// A denial of reading the secret.
fn read(name: &str) -> Denial {
    denial(name).shows(CANARY).recorded("fs.read", "{S}/secret", "endpoint_path_denied")
}

/// A denial of changing the secret.
fn change(name: &str) -> Denial {
    denial(name).changes("{S}/secret").recorded("fs.write", "{S}/secret", "endpoint_path_not_allowlisted")
}

fn opens() -> Vec<Denial> {
    let write = WRITE_CREATE_TRUNCATE;
    vec![
        read("FS-01 open for reading").calls(&["open s:{S}/secret 0", "read $1 out:64 64"]),
        read("FS-01 openat for reading").calls(&["openat -100 s:{S}/secret 0", "read $1 out:64 64"]),
        // struct open_how: flags, mode, resolve, 8 bytes each.
        read("FS-01 openat2 for reading")
            .calls(&[&format!("openat2 -100 s:{{S}}/secret hex:{} 24", "00".repeat(24)), "read $1 out:64 64"]),
        change("FS-01 open truncating").calls(&[&format!("open s:{{S}}/secret {}", libc::O_WRONLY | libc::O_TRUNC)]),
        change("FS-01 creat over a file").calls(&["creat s:{S}/secret 0o644"]),
        change("FS-01 open for reading and writing").calls(&["openat -100 s:{S}/secret 2", "write $1 s:evil 4"]),
        denial("FS-01 open creating a file")
            .calls(&[&format!("openat -100 s:{{S}}/new {write} 0o644")])
            .changes("{S}/new")
            .recorded("fs.write", "{S}/new", "endpoint_path_not_allowlisted"),
        denial("FS-01 a file without a name in a denied folder")
            .calls(&[&format!("openat -100 s:{{S}} {} 0o600", libc::O_TMPFILE | libc::O_RDWR)])
            .recorded("fs.write", "{S}*", "endpoint_path_not_allowlisted"),
        denial("FS-01 listing a denied folder")
            .calls(&[&format!("openat -100 s:{{S}} {}", libc::O_DIRECTORY), "getdents64 $1 out:1024 1024"])
            .shows("secret")
            .recorded("fs.list", "{S}", "endpoint_path_denied"),
        // Enough that a bypass by any one spelling would show: the same object, named from the working directory.
        read("FS-01 a relative path with dots").calls(&["open s:.././s/../s//secret 0", "read $1 out:64 64"]),
        change("FS-20 a shared writable mapping").calls(&[
            "openat -100 s:{S}/secret 2",
            "mmap 0 4096 3 1 $1 0",
            "openat -100 s:{W}/own 0",
            "read $3 $2 3",
        ]),
    ]
}

fn links() -> Vec<Denial> {
    let link = |name: &'static str, target: &'static str| {
        move |scene: &Scene| Ok(symlink(scene.path(target), scene.path("{W}").join(name))?)
    };
    vec![
        read("FS-02 a symbolic link at the end")
            .setup(link("l", "{S}/secret"))
            .calls(&["open s:l 0", "read $1 out:64 64"]),
        read("FS-02 a symbolic link on the way")
            .setup(link("d", "{S}"))
            .calls(&["open s:d/secret 0", "read $1 out:64 64"]),
        read("FS-02 a chain of links made by the agent")
            .runs(&["/bin/sh", "-c", "ln -s {S} a; ln -s a b; ln -s b/secret c; cat c"])
            .errors(&[]),
        read("FS-02 a link of procfs to a folder")
            .calls(&["openat -100 s:/proc/self/cwd/../s/secret 0", "read $1 out:64 64"])
            .hybrid_has_no_name(),
        change("FS-02 writing through a link")
            .setup(link("l", "{S}/secret"))
            .calls(&["open s:l 1", "write $1 s:evil 4"]),
        denial("FS-02 creating through a dangling link")
            .setup(link("l", "{S}/new"))
            .calls(&["open s:l 0o101 0o644"])
            .changes("{S}/new")
            .recorded("fs.write", "{S}/new", "endpoint_path_not_allowlisted"),
        denial("FS-04 a hard link to a secret")
            .calls(&["link s:{S}/secret s:h", "open s:h 0", "read $2 out:64 64"])
            .shows(CANARY)
            .recorded("fs.read", "{S}/secret", "endpoint_path_denied"),
        denial("FS-04 linkat by procfs")
            .calls(&[
                "openat -100 s:{S}/secret 0o10000000",
                "linkat -100 s:/proc/self/fd/3 -100 s:h 0x400",
                "open s:h 0",
                "read $3 out:64 64",
            ])
            .shows(CANARY),
        denial("FS-04 linkat of an empty path")
            .needs(&[Need::Root])
            .calls(&[
                "openat -100 s:{S}/secret 0o10000000",
                "linkat $1 s: -100 s:h 0x1000",
                "open s:h 0",
                "read $3 out:64 64",
            ])
            .shows(CANARY),
        denial("FS-06 rename out of a denied folder")
            .calls(&["rename s:{S}/secret s:mine", "open s:mine 0", "read $2 out:64 64"])
            .shows(CANARY)
            .recorded("fs.delete", "{S}/secret", "endpoint_path_not_allowlisted"),
        denial("FS-06 renameat2 exchange")
            .calls(&["renameat2 -100 s:{S}/secret -100 s:own 2", "open s:own 0", "read $2 out:64 64"])
            .shows(CANARY)
            .recorded("fs.delete", "{S}/secret", "endpoint_path_not_allowlisted"),
        denial("FS-06 renaming the folder above")
            .calls(&["rename s:{S} s:mine", "open s:mine/secret 0", "read $2 out:64 64"])
            .shows(CANARY)
            .recorded("fs.delete", "{S}", "endpoint_path_not_allowlisted"),
    ]
}

fn names() -> Vec<Denial> {
    let hidden = format!("{}/proc/self/root{{S}}/secret", "/proc/self/root".repeat(3));
    vec![
        read("FS-07 by the root of procfs")
            .calls(&[&format!("open s:{hidden} 0"), "read $1 out:64 64"])
            .hybrid_has_no_name(),
        denial("FS-07 by /dev/fd of a denied folder")
            .shows(CANARY)
            .recorded("fs.list", "{S}", "endpoint_path_denied")
            .calls(&["openat -100 s:{S} 0o10200000", "openat -100 s:/dev/fd/3/secret 0", "read $2 out:64 64"]),
        denial("FS-07 a folder descriptor").shows(CANARY).recorded("fs.list", "{S}", "endpoint_path_denied").calls(&[
            "openat -100 s:{S} 0o10200000",
            "openat $1 s:secret 0",
            "read $2 out:64 64",
        ]),
        denial("FS-08 a folder so deep that its path does not fit")
            .setup(|scene| deep(scene, 25))
            .attack(&["deep", "{S}/deep", "25"])
            .shows(CANARY)
            .errors(&["ENAMETOOLONG", "EACCES", "EPERM"])
            .recorded("fs.read", "unresolved:*", "guard_floor_unresolved"),
        read("FS-08 a path of more than 64 components")
            .calls(&[&format!("open s:{}{{S}}/secret 0", "/tmp/..".repeat(80)), "read $1 out:64 64"]),
        read("FS-15 a path-only descriptor opened again").calls(&[
            "openat -100 s:{S}/secret 0o10000000",
            "openat -100 s:/proc/self/fd/3 0",
            "read $2 out:64 64",
        ]),
        denial("FS-15 fchdir into a denied folder")
            .shows(CANARY)
            .recorded("fs.list", "{S}", "endpoint_path_denied")
            .calls(&["openat -100 s:{S} 0o10200000", "fchdir $1", "openat -100 s:secret 0", "read $3 out:64 64"]),
        odd_name("FS-09 a name like a namespace", "mnt:[4026531840]", "mnt:[4026531840]"),
        odd_name("FS-09 a name with a newline", "a%0ab", "a\nb"),
        odd_name("FS-09 a name that is not UTF-8", "caf%e9", "caf\u{10fee9}"),
        odd_name("FS-09 a name that ends as deleted ones do", "x%20(deleted)", "x (deleted)"),
        odd_name("FS-09 a name that ends in a space", "x%20", "x\u{10fe20}"),
    ]
}

/// Creating `name` (percent-coded) in S, recorded as `recorded`.
fn odd_name(title: &str, name: &str, recorded: &str) -> Denial {
    denial(title)
        .calls(&[&format!("openat -100 s:{{S}}/{name} {WRITE_CREATE_TRUNCATE} 0o644")])
        .changes("{S}")
        .recorded("fs.write", &format!("{{S}}/{recorded}"), "endpoint_path_not_allowlisted")
}

fn deep(scene: &Scene, levels: usize) -> anyhow::Result<()> {
    // The path is longer than PATH_MAX, so it can only be walked.
    let level = "d".repeat(200);
    let script = format!(
        "mkdir {{S}}/deep; cd {{S}}/deep; for i in $(seq {levels}); do mkdir {level}; cd {level}; done; cp {{S}}/secret secret"
    );
    let ran = scene.bare(&["/bin/bash", "-c", &script])?;
    anyhow::ensure!(ran.code == 0, "{ran:?}");
    Ok(())
}

fn later() -> Vec<Denial> {
    let env =
        |name: &str| denial(name).changes("{W}/new/.env").recorded("fs.write", "{W}/new/.env", "endpoint_path_denied");
    let hook = |name: &str, file: &str| {
        let path = format!("{{W}}/{file}");
        let folder = path.clone();
        denial(name)
            .setup(move |scene| match scene.path(&folder).parent() {
                Some(folder) => Ok(fs::create_dir_all(folder)?),
                None => Ok(()),
            })
            .runs(&["/bin/sh", "-c", &format!("echo evil >{path}")])
            .changes(&path)
            .recorded("fs.write", &path, "endpoint_path_denied")
    };
    vec![
        env("FS-10 a denied name in a new folder").calls(&["mkdir s:new 0o755", "openat -100 s:new/.env 0o101 0o644"]),
        env("FS-10 a denied name by rename").calls(&["mkdir s:new 0o755", "rename s:own s:new/.env"]),
        env("FS-10 a denied name by link").calls(&["mkdir s:new 0o755", "link s:own s:new/.env"]),
        env("FS-10 a denied name by symbolic link").calls(&["mkdir s:new 0o755", "symlink s:own s:new/.env"]),
        denial("FS-10 reading a denied name that appeared later")
            .setup(|scene| {
                fs::create_dir_all(scene.path("{W}/deep/er"))?;
                Ok(fs::write(scene.path("{W}/deep/er/.env"), CANARY)?)
            })
            .calls(&["open s:deep/er/.env 0", "read $1 out:64 64"])
            .shows(CANARY)
            .recorded("fs.read", "{W}/deep/er/.env", "endpoint_path_denied")
            .hybrid_kills(),
        hook("FS-21 a git hook that is not there yet", ".git/hooks/pre-commit"),
        hook("FS-21 the configuration of git", ".git/config"),
        hook("FS-21 a shell start file", ".bashrc"),
        hook("FS-21 tasks of an editor", ".vscode/tasks.json"),
        hook("FS-21 configuration of agent tools", ".mcp.json"),
    ]
}

fn metadata() -> Vec<Denial> {
    let times = "00".repeat(32);
    vec![
        change("FS-11 chmod").calls(&["chmod s:{S}/secret 0o777"]),
        change("FS-11 fchmodat").calls(&["fchmodat -100 s:{S}/secret 0o777"]),
        change("FS-11 fchmodat2").needs(&[Need::Kernel("fchmodat2")]).calls(&["fchmodat2 -100 s:{S}/secret 0o777 0"]),
        change("FS-11 fchmod on a descriptor that may only read")
            .policy(&CORPUS_POLICY.replace("\"{S}/**\", ", ""))
            .calls(&["open s:{S}/secret 0", "fchmod $1 0o777"]),
        change("FS-11 chown").needs(&[Need::Root]).calls(&["chown s:{S}/secret 65534 65534"]),
        change("FS-11 fchownat").needs(&[Need::Root]).calls(&["fchownat -100 s:{S}/secret 65534 65534 0"]),
        change("FS-11 utimensat").calls(&[&format!("utimensat -100 s:{{S}}/secret hex:{times} 0")]),
        change("FS-11 utimensat on a descriptor that may only read")
            .policy(&CORPUS_POLICY.replace("\"{S}/**\", ", ""))
            .calls(&["open s:{S}/secret 0", &format!("utimensat $1 0 hex:{times} 0")]),
        change("FS-11 setxattr").calls(&["setxattr s:{S}/secret s:user.suite s:evil 4 0"]),
        change("FS-11 fsetxattr on a descriptor that may only read")
            .policy(&CORPUS_POLICY.replace("\"{S}/**\", ", ""))
            .calls(&["open s:{S}/secret 0", "fsetxattr $1 s:user.suite s:evil 4 0"]),
        change("FS-11 removexattr")
            .setup(|scene| {
                let flags = rustix::fs::XattrFlags::empty();
                Ok(rustix::fs::setxattr(scene.path("{S}/secret"), "user.suite", b"set", flags)?)
            })
            .calls(&["removexattr s:{S}/secret s:user.suite"]),
        denial("FS-11 inode flags by ioctl")
            .calls(&["open s:{W}/own 0", &format!("ioctl $1 {} hex:4000000000000000", 0x4008_6602_u32)])
            .recorded("sys.ioctl", "*", "guard_floor_*")
            .errors(&["EPERM", "EACCES", "ENOTTY", "EOPNOTSUPP"]),
    ]
}

fn changes() -> Vec<Denial> {
    let new = |name: &str, operation: &str| {
        denial(name).calls(&[operation]).changes("{S}/new").recorded(
            "fs.write",
            "{S}/new",
            "endpoint_path_not_allowlisted",
        )
    };
    vec![
        denial("FS-22 shared memory of all")
            .needs(&[Need::File("/dev/shm")])
            .calls(&[
                &format!("openat -100 s:/dev/shm/gait-suite {WRITE_CREATE_TRUNCATE} 0o600"),
                "unlink s:/dev/shm/gait-suite",
            ])
            .recorded("fs.write", "/dev/shm/gait-suite", "endpoint_path_not_allowlisted"),
        change("FS-20 room made in a file").calls(&["openat -100 s:{S}/secret 1", "fallocate $1 0 0 4096"]),
        change("FS-20 a file copied into another by the kernel").calls(&[
            "openat -100 s:{S}/secret 1",
            "openat -100 s:{W}/own 0",
            "copy_file_range $2 0 $1 0 3 0",
        ]),
        change("FS-20 a file sent into another").calls(&[
            "openat -100 s:{S}/secret 1",
            "openat -100 s:{W}/own 0",
            "sendfile $1 $2 0 3",
        ]),
        new("FS-13 mkdir", "mkdir s:{S}/new 0o755"),
        new("FS-13 mkdirat", "mkdirat -100 s:{S}/new 0o755"),
        new("FS-13 a FIFO", "mknod s:{S}/new 0o010644 0"),
        new("FS-13 a socket by mknod", "mknodat -100 s:{S}/new 0o140644 0"),
        new("FS-13 symlink", "symlink s:/etc/passwd s:{S}/new"),
        new("FS-13 a link into a denied folder", "link s:{W}/own s:{S}/new"),
        new("FS-13 a rename into a denied folder", "rename s:{W}/own s:{S}/new"),
        denial("FS-13 unlink").calls(&["unlink s:{S}/secret"]).changes("{S}/secret").recorded(
            "fs.delete",
            "{S}/secret",
            "endpoint_path_not_allowlisted",
        ),
        denial("FS-13 unlinkat").calls(&["unlinkat -100 s:{S}/secret 0"]).changes("{S}/secret").recorded(
            "fs.delete",
            "{S}/secret",
            "endpoint_path_not_allowlisted",
        ),
        denial("FS-13 rmdir")
            .setup(|scene| Ok(fs::create_dir(scene.path("{S}/empty"))?))
            .calls(&["rmdir s:{S}/empty"])
            .changes("{S}/empty")
            .recorded("fs.delete", "{S}/empty", "endpoint_path_not_allowlisted"),
        change("FS-13 truncate").calls(&["truncate s:{S}/secret 0"]),
        denial("FS-27 what was refused does not seem to be there")
            .runs(&["/bin/sh", "-c", "echo kept >{S}/new && cat {S}/new"])
            .shows("kept")
            .recorded("fs.write", "{S}/new", "endpoint_path_not_allowlisted"),
        denial("FS-13 a device node")
            .needs(&[Need::Root])
            .calls(&["mknod s:{W}/device 0o020666 0x103"])
            .changes("{W}/device"),
        denial("FS-16 a file handle")
            .needs(&[Need::Root])
            // struct file_handle: 128 bytes of room, then the handle.
            .calls(&[
                "memfd_create s:handle 0",
                &format!("write $1 hex:80000000{} 136", "00".repeat(132)),
                "mmap 0 4096 3 1 $1 0",
                "memfd_create s:mount 0",
                "ftruncate $4 4096",
                "mmap 0 4096 3 1 $4 0",
                "name_to_handle_at -100 s:{S}/secret $3 $6 0",
                "openat -100 s:{W} 0o200000",
                "open_by_handle_at $8 $3 0",
                "read $9 out:64 64",
            ])
            .shows(CANARY)
            .recorded("sys.open_by_handle_at", "*", "guard_floor_*"),
        denial("FS-26 watching a denied folder")
            .calls(&["inotify_init1 0", "inotify_add_watch $1 s:{S} 0xfff"])
            .recorded("fs.list", "{S}", "endpoint_path_denied"),
        denial("FS-26 fanotify").needs(&[Need::Root]).calls(&["fanotify_init 0 0"]).recorded(
            "sys.fanotify_init",
            "*",
            "guard_floor_*",
        ),
    ]
}

/// Descriptors that gait itself was started with: the agent must not have them.
fn descriptors() -> Vec<Test> {
    let inherited = |name: &str, redirection: &'static str, read: &'static str| {
        test(name, GUARD, move || {
            let script = format!("exec {redirection}; exec \"$@\"");
            let shell = ["/bin/bash", "-c", &script, "bash"].map(str::to_owned);
            let agent = ["{A}", "calls", read].map(str::to_owned);
            let ran = Scene::new()?.bare(&[&shell[..], &agent].concat())?;
            ensure!(ran.code == 0, "the control could not use the descriptor: {ran:?}");
            let scene = Scene::new()?;
            let exec = scene.exec_words(CORPUS_POLICY, &[], &agent)?;
            let guarded = scene.finished(run::run(&mut scene.command(&[&shell[..], &exec].concat()))?)?;
            ensure!(guarded.ran.code == 1, "{:?}", guarded.ran);
            ensure!(guarded.ran.stdout.contains("! EBADF"), "{:?}", guarded.ran);
            Ok(())
        })
    };
    vec![
        inherited("FS-14 an inherited file", "7<{S}/secret", "read 7 out:64 64"),
        inherited("FS-14 an inherited file with a high number", "900<{S}/secret", "read 900 out:64 64"),
        inherited("FS-14 an inherited folder", "8<{S}", "openat 8 s:secret 0"),
        inherited("FS-14 an inherited device", "9<>/dev/null", "fcntl 9 1"),
        test("FS-14 no descriptor above 2 is open in the agent", GUARD, || {
            let scene = Scene::new()?;
            let guarded = scene.guarded(CORPUS_POLICY, &["{A}", "descriptors"])?;
            ensure!(guarded.ran.code == 1 && !guarded.ran.stdout.contains("open"), "{:?}", guarded.ran);
            Ok(())
        }),
    ]
}

fn kernel_files() -> Vec<Denial> {
    let root_write = |name: &str, file: &'static str| {
        let call = format!("open s:{file} 1");
        let denial = denial(name).needs(&[Need::Root, Need::File(file)]).calls(&[&call]);
        denial.recorded(
            "fs.write",
            file,
            if file.starts_with("/proc") { "guard_floor_privilege" } else { "endpoint_path_not_allowlisted" },
        )
    };
    vec![
        root_write("FS-24 core_pattern as root", "/proc/sys/kernel/core_pattern"),
        root_write("FS-24 modprobe as root", "/proc/sys/kernel/modprobe"),
        root_write("FS-24 sysrq as root", "/proc/sysrq-trigger"),
        root_write("FS-25 kernel log device", "/dev/kmsg"),
        denial("FS-24 core_pattern as root where the policy allows everything")
            .needs(&[Need::Root])
            .policy(ALLOW_ALL)
            .calls(&["open s:/proc/sys/kernel/core_pattern 1"])
            .recorded("fs.write", "/proc/sys/kernel/core_pattern", "guard_floor_privilege"),
    ]
}

fn races() -> Vec<Denial> {
    vec![
        // On an emulated machine a thousand tries may be over before the other thread has begun.
        denial("FS-03 path bytes that flip while they are read")
            .setup(|scene| Ok(fs::write(scene.path("{W}/secret"), "harmless")?))
            .attack(&["race-open", "{W}/secret", "{S}/secret", &run::race_tries(20_000).max(10_000).to_string()])
            .errors(&[]),
        // What one decides must not become the other's answer: they take turns at any moment.
        denial("FS-03 two processes on one processor")
            .setup(|scene| Ok(fs::write(scene.path("{W}/secret"), "harmless")?))
            .attack(&["race-scratch", "{W}/secret", "{S}/secret", &run::race_tries(20_000).to_string()])
            .errors(&[]),
        // Fewer tries may all fall between two turns of the link. Without a guard they take so little time that both threads may
        // take turns of a few milliseconds on one processor, so the control has more.
        denial("FS-03 a symbolic link that flips")
            .setup(|scene| Ok(fs::write(scene.path("{W}/secret"), "harmless")?))
            .attack(&["race-link", "{W}/secret", "{S}/secret", &run::race_tries(5_000).max(5_000).to_string()])
            .control(&["race-link", "{W}/secret", "{S}/secret", &run::tries(200_000).max(20_000).to_string()])
            .errors(&[]),
    ]
}

/// What the documents say is not covered. When one of these fails, the documents are out of date.
fn documented() -> Vec<Test> {
    vec![
        test("FS-12 that a denied file exists can be seen, and is not recorded (docs/limits.md)", GUARD, || {
            let scene = Scene::new()?;
            let calls =
                ["{A}", "calls", "stat s:{S}/secret buf:144", "access s:{S}/secret 4", "stat s:{S}/none buf:144"];
            let guarded = scene.guarded(CORPUS_POLICY, &calls)?;
            ensure!(guarded.ran.stdout == "stat = 0\naccess = 0\nstat ! ENOENT\n", "{:?}", guarded.ran);
            let secret = scene.expand("{S}/");
            ensure!(!guarded.pack.decided.iter().any(|decided| decided.value.starts_with(&secret)), "it is recorded");
            Ok(())
        }),
        test("FS-05 a hard link that was there before is judged by its own name (docs/limits.md)", GUARD, || {
            let scene = Scene::new()?;
            fs::hard_link(scene.path("{S}/secret"), scene.path("{W}/old"))?;
            let guarded = scene.guarded(CORPUS_POLICY, &["/bin/cat", "old"])?;
            ensure!(guarded.ran.stdout == CANARY, "{:?}", guarded.ran);
            let old = scene.expand("{W}/old");
            ensure!(guarded.pack.decided.iter().any(|decided| decided.allowed && decided.value == old), "not recorded");
            Ok(())
        }),
    ]
}
