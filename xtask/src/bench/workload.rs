//! The work that is measured: single calls, and what agents do all day, as shell scripts in a folder of their own.

/// A call that is made many times.
pub struct Call {
    /// For people.
    pub name: &'static str,
    /// That of `baseline/calls.c`.
    pub operation: &'static str,
    /// How often it is made for one sample, where a processor is real.
    pub times: usize,
}

const fn call(name: &'static str, operation: &'static str, times: usize) -> Call {
    Call { name, operation, times }
}

/// All calls.
pub const CALLS: &[Call] = &[
    call("open and close", "open", 20_000),
    call("stat", "stat", 20_000),
    call("create and unlink", "create", 5_000),
    call("exec", "exec", 200),
    call("connect", "connect", 10_000),
    call("sendto", "sendto", 10_000),
];

/// Starting up: nothing is done.
pub const START: &str = "/bin/true";

/// One workload: its name, what prepares the folder once, and what is measured.
pub struct Workload {
    pub name: &'static str,
    pub prepare: &'static str,
    pub measured: &'static str,
}

/// A repository of the tree. Its index is written a second later than its files: else `git status` reads them all again.
const REPOSITORY: &str = "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
    cd tree; git init -q .; git add .; git commit -qm first; for i in 1 2 3; do echo $i >>folder-$i/file-1; git commit -qam $i; done
    sleep 1.1; git status --short; git update-index --refresh";

const CRATE: &str = "mkdir -p c/src; cd c; printf '[package]\\nname = \"small\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n' >Cargo.toml; printf 'fn main() { println!(\"{}\", (0..10).map(|n| n * n).sum::<u32>()); }\\n' >src/main.rs; cargo check -q --offline";

/// All of them. Each can run again in the folder that it was prepared in.
pub const ALL: &[Workload] = &[
    Workload { name: "grep -r", prepare: "", measured: "grep -rc needle tree | wc -l" },
    Workload { name: "git status", prepare: REPOSITORY, measured: "cd tree; git status --short" },
    Workload {
        name: "git clone and log",
        prepare: REPOSITORY,
        measured: "git clone -q tree copy; cd copy; git log --stat | wc -l; cd ..; rm -rf copy",
    },
    Workload {
        name: "tar",
        prepare: "",
        measured: "tar -cf a.tar tree; mkdir -p b; tar -C b -xf a.tar; rm -rf b a.tar",
    },
    Workload {
        name: "python start",
        prepare: "",
        measured: "for i in 1 2 3 4 5; do /usr/bin/python3 -c 'import json, subprocess, asyncio, unittest'; done",
    },
    Workload {
        name: "python venv and tests",
        prepare: "printf 'import unittest, tempfile, os\\nclass T(unittest.TestCase):\\n    def test(self):\\n        for n in range(200):\\n            with tempfile.NamedTemporaryFile(dir=\".\") as f: f.write(b\"x\")\\nunittest.main()\\n' >t.py",
        measured: "/usr/bin/python3 -m venv --without-pip v; v/bin/python t.py 2>/dev/null; rm -rf v",
    },
    Workload { name: "cargo check", prepare: CRATE, measured: "cd c; rm -rf target; cargo check -q --offline" },
    Workload {
        name: "bash",
        prepare: "",
        measured: "for i in $(seq 100); do echo $i | cat | tr 0-9 a-j; done | sort | uniq | wc -l; for i in $(seq 30); do (sleep 0.001) & done; wait",
    },
    Workload {
        name: "asyncio and multiprocessing",
        prepare: "printf 'import asyncio, multiprocessing as mp\\nasync def main():\\n    for n in range(20):\\n        p = await asyncio.create_subprocess_exec(\"true\"); await p.wait()\\ndef f(n): return len(open(\"/etc/passwd\").read()) * n\\nif __name__ == \"__main__\":\\n    asyncio.run(main())\\n    with mp.Pool(2) as pool: print(sum(pool.map(f, range(200))) > 0)\\n' >p.py",
        measured: "/usr/bin/python3 p.py",
    },
];

/// The tree that they work on: 5,000 files in 100 folders.
pub const TREE: &str = "/usr/bin/python3 -c '
import os
for d in range(1, 101):
    os.makedirs(f\"tree/folder-{d}\")
    for f in range(1, 51):
        open(f\"tree/folder-{d}/file-{f}\", \"w\").write(f\"needle {d} {f}\\n\" + \"x\" * (f * 120) + \"\\n\")'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_one_of_the_program_and_every_name_is_used_once() {
        let program = include_str!("../../baseline/calls.c");
        for call in CALLS {
            assert!(program.contains(&format!("{{\"{}\", one_", call.operation)), "{}", call.operation);
        }
        let mut names: Vec<&str> = CALLS.iter().map(|call| call.name).chain(ALL.iter().map(|work| work.name)).collect();
        names.sort_unstable();
        names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
    }
}
