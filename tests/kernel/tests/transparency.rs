//! Work that agents do must give the same output and exit status bare and under an allow-all policy.
//!
//! `--times 20` runs each so many times in a row.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::ensure;
use kernel_suite::need::{GUARD, Need};
use kernel_suite::run;
use kernel_suite::scene::Scene;
use kernel_suite::suite::{Test, test};

fn main() -> std::process::ExitCode {
    let git = [Need::Program("git")];
    let python = [Need::Program("python3")];
    kernel_suite::suite::main(vec![
        same("git clone of a local repository, log and status", &git, GIT),
        same("python: a virtual environment and its tests", &python, VENV),
        same("tar of a tree, and back", &[], TAR),
        same("grep -r", &[], GREP),
        same("cargo build of a small crate", &[Need::Program("cargo")], CARGO),
        same("bash: pipelines, traps, background jobs", &[], BASH),
        same("bash: job control in a terminal", &[Need::Program("script")], TERMINAL),
        same("dash: pipelines and here documents", &[], DASH),
        same("python: asyncio with subprocesses, sockets and threads", &python, ASYNCIO),
        same("python: multiprocessing pools and queues", &python, MULTIPROCESSING),
        same("python: files of every kind", &python, FILES),
        same("signals, exit codes and core limits", &[], SIGNALS),
        same("cc and make", &[Need::Program("cc"), Need::Program("make")], MAKE),
        same("find, xargs, sort and sed over a tree", &[], FIND),
    ])
}

/// Runs `script` with bash, bare and guarded, each in a fresh tree that is the same at the start.
fn same(name: &str, needs: &[Need], script: &'static str) -> Test {
    test(name, GUARD.into_iter().chain(needs.iter().copied()), move || {
        let (control, guarded) = (tree()?, tree()?);
        let words = ["/bin/bash", "-c", script];
        let bare = run::run(&mut with_tools(control.command(&words)))?;
        ensure!(!bare.stdout.is_empty(), "the control says nothing: {bare:?}");
        let policy = run::repository().join("policies/allow-all.yaml");
        let exec = guarded.exec(&fs::read_to_string(policy)?, &[], &words)?;
        let ran = run::run(&mut with_tools(exec))?;
        let (bare_said, said) = (unplaced(&bare.stdout, &control), unplaced(&ran.stdout, &guarded));
        ensure!(said == bare_said, "other output: {}\n{}", difference(&bare_said, &said), ran.stderr);
        ensure!(ran.code == bare.code, "exit code {} instead of {}: {}", ran.code, bare.code, ran.stderr);
        // gait's own words come after the agent's; what the agent said is a part of it.
        let complaints = unplaced(&bare.stderr, &control);
        let heard = unplaced(&ran.stderr, &guarded);
        for line in complaints.lines().filter(|line| !line.contains("target(s) in")) {
            ensure!(heard.lines().any(|other| other == line), "not heard: {line:?} in {heard}");
        }
        guarded.newest_pack()?;
        Ok(())
    })
}

/// The tool chain of whoever runs the suite may live in a home folder: keep its PATH.
fn with_tools(mut command: std::process::Command) -> std::process::Command {
    for name in ["PATH", "RUSTUP_HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if std::env::var_os("RUSTUP_HOME").is_none()
        && let Some(home) = std::env::home_dir()
    {
        command.env("RUSTUP_HOME", home.join(".rustup"));
    }
    command
}

fn unplaced(text: &str, scene: &Scene) -> String {
    text.replace(&*scene.root().to_string_lossy(), "<scene>")
}

/// The first line in which two texts differ.
fn difference(want: &str, got: &str) -> String {
    let mut lines = want.lines().zip(got.lines());
    match lines.find(|(a, b)| a != b) {
        Some((a, b)) => format!("want {a:?}, got {b:?}"),
        None => format!("want {} lines, got {}: {got:?}", want.lines().count(), got.lines().count()),
    }
}

/// A scene with a tree of 400 files in `{W}/tree`.
fn tree() -> anyhow::Result<Scene> {
    let scene = Scene::new()?;
    for folder in 0..20 {
        let path = scene.path(&format!("{{W}}/tree/folder-{folder}"));
        fs::create_dir_all(&path)?;
        for file in 0..20 {
            let text = format!("line one of {folder}/{file}\nneedle {}\n{}\n", folder * file, "x".repeat(file * 40));
            fs::write(path.join(format!("file-{file}.txt")), text)?;
        }
    }
    let odd = scene.path("{W}/tree/folder-0/a name\nwith odd \u{fc} letters");
    fs::write(&odd, "odd")?;
    fs::set_permissions(&odd, fs::Permissions::from_mode(0o640))?;
    std::os::unix::fs::symlink("folder-1/file-3.txt", scene.path("{W}/tree/link"))?;
    Ok(scene)
}

const GIT: &str = r#"
set -e
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
cd tree; git init -q -b main .; git add .; git commit -qm first; echo more >>folder-2/file-2.txt; git commit -qam second; cd ..
git clone -q tree copy; cd copy
git log --format='%H %s'; git status --porcelain; echo change >>folder-3/file-1.txt; rm folder-4/file-4.txt; echo new >new
git status --porcelain; git diff --stat; git checkout -q -b branch; git add -A; git commit -qm third; git log --oneline | wc -l; git gc -q; git fsck
"#;

const VENV: &str = r#"
set -e
/usr/bin/python3 -m venv --without-pip venv
cat >test_it.py <<'END'
import json, os, sqlite3, subprocess, sys, tempfile, unittest
class T(unittest.TestCase):
    def test_prefix(self): self.assertNotEqual(sys.prefix, sys.base_prefix)
    def test_temporary(self):
        with tempfile.TemporaryDirectory(dir='.') as d:
            with open(os.path.join(d, 'x'), 'w') as f: f.write(json.dumps({'a': 1}))
            os.rename(os.path.join(d, 'x'), os.path.join(d, 'y'))
            self.assertEqual(os.listdir(d), ['y'])
    def test_database(self):
        db = sqlite3.connect('db.sqlite'); db.execute('create table t (a)'); db.execute('insert into t values (1)'); db.commit()
        self.assertEqual(db.execute('select * from t').fetchall(), [(1,)])
    def test_child(self): self.assertEqual(subprocess.check_output(['echo', 'hello']), b'hello\n')
unittest.main(verbosity=0)
END
venv/bin/python test_it.py 2>&1 | sed 's/in [0-9.]*s/in Ns/'
venv/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix)'
. venv/bin/activate; python -c 'import sys, os; print(os.path.basename(sys.prefix))'; find venv | wc -l
"#;

const TAR: &str = r#"
set -e
tar --sort=name --mtime=2020-01-01 --owner=0 --group=0 -cf a.tar tree; sha256sum <a.tar; mkdir back; tar -C back -xf a.tar
diff -r tree back/tree && echo same; tar tf a.tar | wc -l; tar -C back -czf b.tgz tree; tar tzf b.tgz | sort | sha256sum; stat -c '%a %n' back/tree/folder-0/*
"#;

const GREP: &str = r#"
grep -r needle tree | sort | sha256sum; grep -rc needle tree | sort | head -5; grep -rl 'needle 19' tree | sort; grep -r nothing-like-it tree; echo $?; grep x /nowhere; echo $?
"#;

const CARGO: &str = r#"
set -e
export CARGO_TERM_COLOR=never
mkdir -p c/src; cd c
printf '[package]\nname = "small"\nversion = "0.1.0"\nedition = "2021"\n' >Cargo.toml
printf 'fn main() { println!("{}", small::twice(21)); }\n' >src/main.rs
printf 'pub fn twice(n: u32) -> u32 { n * 2 }\n#[test] fn works() { assert_eq!(twice(2), 4); }\n' >src/lib.rs
cargo build --offline --quiet; ./target/debug/small; cargo test --offline --quiet 2>&1 | grep -c 'test result: ok'; cargo run --offline --quiet
"#;

const BASH: &str = r#"
exec 2>/dev/null
trap 'echo on exit $?' EXIT; trap 'echo got usr1' USR1
seq 1 1000 | grep 7 | sort -rn | head -3; echo ${PIPESTATUS[@]}
kill -USR1 $$; { for i in 1 2 3; do (sleep 0.0$i; echo job $i) & done; wait; echo waited $?; } | sort
(exit 7) & wait $!; echo $?; sleep 100 & sleep 0.1; kill $!; wait $! 2>/dev/null; echo $?
diff <(echo a) <(echo b); coproc cat; echo through >&${COPROC[1]}; read line <&${COPROC[0]}; echo $line; kill $COPROC_PID; wait 2>/dev/null
echo one >file; echo two >>file; cat <file; exec 5<>file; read first <&5; echo $first; ulimit -n; umask; false || echo or; yes | head -2; set -o pipefail; false | true; echo $?
printf '%s\n' tree/folder-1?/file-1.txt | wc -l; [ -f file ] && [ -d tree ] && [ ! -e none ] && echo tests; mkfifo pipe; (echo by fifo >pipe) & cat pipe; wait; exit 3
"#;

const TERMINAL: &str = r#"
script -qec 'bash --norc -i' /dev/null <<'END' | tr -d '\r' | grep '^out'
set -m; sleep 0.1 & fg >/dev/null; echo out $?; sleep 5 & kill -STOP %1; kill -CONT %1; kill %1; wait %1 2>/dev/null; echo out $?; tty >/dev/null && echo out terminal; exit
END
echo ended ${PIPESTATUS[0]}
"#;

const DASH: &str = r#"
dash -c 'seq 1 500 | while read n; do echo $n; done | tail -1; cat <<E
here $(echo document)
E
i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo $i | cat | cat >/dev/null || echo broken; done; echo $i; x=$(ls tree | wc -l); echo $x; (trap "echo term; exit 4" TERM; sleep 5 & kill -TERM $$ 2>/dev/null; wait) ; echo end'
echo $?
"#;

const ASYNCIO: &str = r#"
cat >a.py <<'END'
import asyncio, os, signal, sys
async def serve(reader, writer):
    writer.write((await reader.readline()).upper()); await writer.drain(); writer.close()
async def main():
    p = await asyncio.create_subprocess_exec('sort', stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    out, _ = await p.communicate(b'b\na\n'); print(out, p.returncode)
    server = await asyncio.start_unix_server(serve, 'socket')
    r, w = await asyncio.open_unix_connection('socket'); w.write(b'hello\n'); print(await r.readline()); w.close()
    tcp = await asyncio.start_server(serve, '127.0.0.1', 0); port = tcp.sockets[0].getsockname()[1]
    got = []
    for n in range(20):
        r, w = await asyncio.open_connection('127.0.0.1', port); w.write(b'n%d\n' % n); got.append(await r.readline()); w.close()
    print(got[0], len(got), got[-1])
    try: await asyncio.open_connection('127.0.0.1', 1)
    except OSError as e: print(type(e).__name__)
    print(await asyncio.gather(*(asyncio.to_thread(lambda n=n: open('/etc/passwd').read()[:4] * n) for n in range(3))))
    loop = asyncio.get_running_loop(); woke = asyncio.Event(); loop.add_signal_handler(signal.SIGUSR1, woke.set); os.kill(os.getpid(), signal.SIGUSR1); await woke.wait(); print('woken')
    try: await asyncio.wait_for(asyncio.sleep(5), 0.05)
    except asyncio.TimeoutError: print('timeout')
    q = await asyncio.create_subprocess_shell('sleep 9'); q.terminate(); print(await q.wait())
asyncio.run(main())
END
/usr/bin/python3 a.py; echo $?
"#;

const MULTIPROCESSING: &str = r#"
cat >m.py <<'END'
import concurrent.futures as cf, multiprocessing as mp, os, sys, threading
def square(n): return n * n
def put(q, n): q.put(n)
def crash(): os._exit(5)
if __name__ == '__main__':
    for method in ('fork', 'spawn'):
        c = mp.get_context(method)
        r, w = c.Pipe(); p = c.Process(target=square, args=(2,)); p.start(); p.join(); print(method, p.exitcode)
        p = c.Process(target=crash); p.start(); p.join(); print(p.exitcode)
        with cf.ProcessPoolExecutor(2, mp_context=c) as pool: print(sum(pool.map(square, range(50))))
    with cf.ThreadPoolExecutor(16) as pool: print(sum(len(x) for x in pool.map(lambda n: open('/etc/passwd').read(3), range(500))))
    rs = [threading.Thread(target=lambda: open('/dev/null').close()) for _ in range(100)]; [t.start() for t in rs]; [t.join() for t in rs]; print('joined')
END
/usr/bin/python3 m.py; echo $?
"#;

const FILES: &str = r#"
cat >f.py <<'END'
import errno, fcntl, mmap, os, shutil, stat, tempfile
def err(f, *a, **k):
    try: return f(*a, **k)
    except OSError as e: return errno.errorcode[e.errno]
os.umask(0o027); os.mkdir('d', 0o777); print(oct(os.stat('d').st_mode)); f = os.open('d/x', os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666); print(oct(os.fstat(f).st_mode), oct(fcntl.fcntl(f, fcntl.F_GETFL)))
os.write(f, b'hello'); os.fsync(f); m = mmap.mmap(f, 5); m[0:1] = b'J'; m.flush(); print(open('d/x').read()); fcntl.flock(f, fcntl.LOCK_EX)
print(err(os.mkdir, 'd'), err(os.rmdir, 'd'), err(os.open, 'd/x', os.O_CREAT | os.O_EXCL), err(os.open, 'none', 0), err(os.open, 'd/x/y', 0), err(os.open, 'd', os.O_WRONLY), err(os.unlink, 'd'), err(os.rename, 'd', 'd/e'), err(os.open, 'x' * 300, 0), err(os.open, '', 0))
os.symlink('x', 'd/l'); os.link('d/x', 'd/h'); print(os.readlink('d/l'), os.stat('d/x').st_nlink, err(os.open, 'd/l', os.O_NOFOLLOW)); os.symlink('loop', 'loop'); print(err(os.open, 'loop', 0))
os.chmod('d/x', 0o600); os.utime('d/x', (1, 2)); s = os.stat('d/x'); print(oct(s.st_mode), s.st_atime, s.st_mtime); os.truncate('d/x', 2); print(os.path.getsize('d/x'))
print(err(os.setxattr, 'd/x', 'user.a', b'1'), err(os.getxattr, 'd/x', 'user.a'), err(os.removexattr, 'd/x', 'user.a')); os.rename('d/x', 'd/y'); os.replace('d/y', 'd/h'); print(sorted(os.listdir('d')))
d = os.open('d', os.O_DIRECTORY); print(os.stat('h', dir_fd=d).st_size); os.mkdir('sub', dir_fd=d); os.rename('h', 'sub/h', src_dir_fd=d, dst_dir_fd=d); os.rmdir('sub', dir_fd=d) if 0 else None; os.unlink('sub/h', dir_fd=d); os.rmdir('sub', dir_fd=d)
os.mkfifo('p'); print(stat.S_ISFIFO(os.stat('p').st_mode)); print(err(os.open, 'p', os.O_WRONLY | os.O_NONBLOCK)); r = os.open('p', os.O_RDONLY | os.O_NONBLOCK); w = os.open('p', os.O_WRONLY); os.write(w, b'z'); print(os.read(r, 1))
os.chdir('d'); print(os.getcwd().endswith('/d'), os.listdir('..') != []); os.chdir('..'); shutil.copytree('tree', 't2'); print(sum(len(x[2]) for x in os.walk('t2'))); shutil.rmtree('t2'); print(os.path.exists('t2'))
with tempfile.TemporaryFile() as t: t.write(b'x' * 100000); t.seek(0); print(len(t.read()))
print(open('/proc/self/comm').read().strip(), os.readlink('/proc/self/exe'), open('/dev/null').read() == '', len(os.urandom(4)), len(open('/dev/urandom', 'rb').read(3)), err(os.open, '/dev/tty', 0), os.path.exists('/dev/fd/0'))
os.closerange(3, 50); import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20)); fs = []
try:
    while True: fs.append(os.open('/dev/null', 0))
except OSError as e: print(errno.errorcode[e.errno], len(fs))
END
/usr/bin/python3 f.py; echo $?
"#;

const SIGNALS: &str = r#"
exec 2>/dev/null
bash -c 'kill -TERM $$'; echo $?; bash -c 'exit 42'; echo $?; bash -c 'kill -SEGV $$' 2>/dev/null; echo $?; timeout 0.1 sleep 5; echo $?; (ulimit -f 1; head -c 4096 /dev/zero >big) 2>/dev/null; echo $?; ls -l big | cut -d' ' -f5; nohup true 2>/dev/null; echo $?; nice -n 3 nice; env -i /bin/echo env; exec bash -c 'exit 9'
"#;

const MAKE: &str = r#"
set -e
printf 'int twice(int); int main(void) { return twice(3); }\n' >a.c; printf 'int twice(int n) { return n * 2; }\n' >b.c
printf 'p: a.o b.o\n\tcc -o p a.o b.o\n%%.o: %%.c\n\tcc -c $<\nclean:\n\trm -f *.o p\n' >Makefile
make -j4 >log 2>&1; sort log; set +e; ./p; echo $?; make clean; ls
"#;

const FIND: &str = r#"
find tree -type f -name '*.txt' | sort | xargs cat | sha256sum; find tree -type f -size +1k | wc -l; find tree -name 'file-1*' -exec sed -i 's/needle/pin/' {} +; grep -rh pin tree | sort | uniq -c | sort -rn | head -3; cp -a tree other; diff -r tree other && echo equal; mv other third; rm -r third; ls; touch -d 2001-02-03 t; stat -c %y t; chmod 604 t; stat -c %a t; ln -s t u; readlink u; install -m 750 t v; stat -c %a v; split -n 3 t part; ls part*; dd if=/dev/zero of=z bs=1k count=3 2>/dev/null; wc -c <z
"#;
