//! The work that is measured: what agents do all day, as shell scripts in a folder of their own.

/// One workload: its name, what prepares the folder once, and what is measured.
pub struct Workload {
    pub name: &'static str,
    pub prepare: &'static str,
    pub measured: &'static str,
}

/// All of them. Each can run again in the folder that it was prepared in.
pub const ALL: &[Workload] = &[
    Workload {
        name: "git",
        prepare: "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
            cd tree; git init -q .; git add .; git commit -qm first; for i in 1 2 3; do echo $i >>folder-$i/file-1; git commit -qam $i; done",
        measured: "git clone -q tree copy; cd copy; git log --stat | wc -l; git status --short; cd ..; rm -rf copy",
    },
    Workload { name: "grep -r", prepare: "", measured: "for i in 1 2 3; do grep -rc needle tree | wc -l; done" },
    Workload { name: "tar", prepare: "", measured: "tar -cf a.tar tree; mkdir -p b; tar -C b -xf a.tar; rm -rf b a.tar" },
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
    Workload {
        name: "cargo build",
        prepare: "mkdir -p c/src; cd c; printf '[package]\\nname = \"small\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n' >Cargo.toml; printf 'fn main() { println!(\"{}\", (0..10).map(|n| n * n).sum::<u32>()); }\\n' >src/main.rs; cargo build -q --offline",
        measured: "cd c; rm -rf target; cargo build -q --offline; ./target/debug/small",
    },
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

/// The tree that they work on: 1,000 files in 50 folders.
pub const TREE: &str = "for d in $(seq 50); do mkdir -p tree/folder-$d; for f in $(seq 20); do
    { echo needle $d $f; head -c $((f * 300)) /dev/zero | tr '\\0' x; echo; } >tree/folder-$d/file-$f; done; done";
