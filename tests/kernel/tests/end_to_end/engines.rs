//! One policy, one work, each engine: the same distinct decisions.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use kernel_suite::CANARY;
use kernel_suite::need::{Found, GUARD, Need};
use kernel_suite::pack::Pack;
use kernel_suite::run;
use kernel_suite::scene::{CORPUS_POLICY, Scene};
use kernel_suite::suite::{Test, test};

/// Each is a work that agents do. What has no fixed name differs between any two runs, and is made equal by [`fixed`].
const CORPUS: [(&str, &[&str], &str); 6] = [
    ("git", &["git"], GIT),
    ("python", &["python3"], PYTHON),
    ("tar", &["tar"], "tar -cf a.tar tree; mkdir back; tar -C back -xf a.tar; diff -r tree back/tree && echo same"),
    (
        "grep -r",
        &["grep"],
        "grep -r needle tree | sort | tail -1; grep -rc '' /usr/share/perl5 2>&1 | wc -l; ls -R tree | wc -l",
    ),
    ("cc", &["cc"], CC),
    ("denials", &["cat"], DENIALS),
];

const GIT: &str = "export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z GIT_CONFIG_NOSYSTEM=1
cd tree; git init -q -b main --template= ../repository; cp -r folder-1 ../repository; cd ../repository
git add folder-1; git commit -qm first; git log --format='%H %s'; git status --porcelain; cat .git/HEAD";

const PYTHON: &str = "cat >m.py <<'END'
import csv, json, threading
def head(name): print(name, open(name).read(5))
threads = [threading.Thread(target=head, args=(f'tree/folder-{n}/file-1.txt',)) for n in range(4)]
for thread in threads: thread.start(); thread.join()
print(open('/proc/self/comm').read().strip(), json.dumps(sorted(csv.list_dialects())))
END
python3 -B m.py; python3 -B -c 'import sqlite3, http.client; print(sqlite3.connect(\":memory:\").execute(\"select 1\").fetchall())'";

const CC: &str = "printf '#include <stdio.h>\\nint main(void) { puts(\"made\"); return 0; }\\n' >a.c; cc -c a.c -o a.o; nm a.o | wc -l";

/// Before, while and after it happens; each in a process of its own, since it may be the last thing that one does.
const DENIALS: &str = "cat {S}/secret; (cat .env); (cd {S} && cat secret); cat <{S}/secret; ln -s {S}/secret link; cat link
(cat tree/.env); echo x >{S}/new; rm {S}/secret; {S}/program say; cat own; mv own tree/.env; cat /proc/self/root{S}/nothing; echo end";

pub fn tests() -> Vec<Test> {
    let hybrid = [Need::Kernel("bpf"), Need::File("/sys/kernel/btf/vmlinux")];
    let lsm = [Need::Tried("the engine lsm", has_lsm)];
    let of = |engine: &'static str, needs: &[Need]| {
        let needs: Vec<Need> = GUARD.into_iter().chain(needs.iter().copied()).collect();
        CORPUS.into_iter().map(move |(name, programs, script)| {
            let needs = needs.iter().copied().chain(programs.iter().copied().map(Need::Program));
            test(format!("{engine} and notify decide the same: {name}"), needs, move || same(engine, script))
        })
    };
    let fallback = test(
        "where lsm fires and can't be started, auto takes notify with all that notify has",
        GUARD.into_iter().chain(lsm),
        fallback,
    );
    let silent = test(
        "where the kernel never calls its programs, lsm is refused and auto takes notify",
        GUARD.into_iter().chain([Need::Root, NEVER_CALLED]),
        silent,
    );
    of("hybrid", &hybrid).chain(of("lsm", &lsm)).chain([fallback, silent]).collect()
}

/// A kernel without `bpf` in its `lsm=`: programs are loaded and attached there, and never called.
const NEVER_CALLED: Need = Need::Tried("a kernel that never calls programs of the security module", || {
    match std::fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(modules) if modules.split(',').any(|module| module.trim() == "bpf") => {
            Found::Absent(format!("lsm={}", modules.trim()))
        }
        Ok(_) => Found::Present,
        Err(error) => Found::Absent(format!("/sys/kernel/security/lsm: {error}")),
    }
});

fn silent() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let ran = |engine: &str| {
        let words = scene.exec_words(CORPUS_POLICY, &["--engine", engine], &["/bin/touch", "{W}/ran"])?;
        run::run(&mut scene.command(&words))
    };
    let refused = ran("lsm")?;
    ensure!(refused.code == 7 && refused.stderr.contains("was not called"), "{refused:?}");
    ensure!(!scene.path("{W}/ran").exists(), "it ran all the same");
    let guarded = scene.finished(ran("auto")?)?;
    ensure!(guarded.ran.code == 0 && scene.path("{W}/ran").exists(), "{:?}", guarded.ran);
    let plan = guarded.pack.json("guard.json")?["plan"].clone();
    let rejected = &plan["engine_rejected"][0];
    ensure!(plan["engine"] == "notify" && rejected["engine"] == "lsm" && rejected["stage"] == "fire", "{plan}");
    Ok(())
}

fn has_lsm() -> Found {
    let tried = Scene::new()
        .and_then(|scene| run::run(&mut scene.exec(CORPUS_POLICY, &["--engine", "lsm"], &["/bin/true"])?));
    match tried {
        Ok(ran) if ran.code == 0 => Found::Present,
        Ok(ran) if ran.code == 7 => Found::Absent(ran.stderr.lines().next().unwrap_or_default().to_owned()),
        Ok(ran) => Found::Broken(format!("{ran:?}")),
        Err(error) => Found::Broken(format!("{error:#}")),
    }
}

/// Enough descriptors for the probes and for `notify`, too few for the hooks of `lsm`.
const DESCRIPTORS: &str = "ulimit -n 72; exec \"$@\"";

fn fallback() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let plan = |before: &[&str], engine: &str| -> anyhow::Result<serde_json::Value> {
        let words = scene.exec_words(CORPUS_POLICY, &["--engine", engine], &["/bin/true"])?;
        let words: Vec<String> = before.iter().map(|word| (*word).to_owned()).chain(words).collect();
        let guarded = scene.finished(run::run(&mut scene.command(&words))?)?;
        ensure!(guarded.ran.code == 0, "{:?}", guarded.ran);
        Ok(guarded.pack.json("guard.json")?["plan"].clone())
    };
    let auto = plan(&["/bin/sh", "-c", DESCRIPTORS, "sh"], "auto")?;
    let rejected = &auto["engine_rejected"][0];
    ensure!(auto["engine"] == "notify" && rejected["engine"] == "lsm" && rejected["errno"] == "EMFILE", "{auto}");
    let notify = plan(&[], "notify")?;
    for same in ["layers", "bpf"] {
        ensure!(auto[same] == notify[same], "auto: {}\nnotify: {}", auto[same], notify[same]);
    }
    Ok(())
}

/// A distinct decision: the digest of its intent if all of it is fixed, its target, and what came of it.
type Decision = (Option<String>, String, &'static str);

fn same(engine: &'static str, script: &str) -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let (said, notify) = decisions(&scene, "notify", script)?;
    let (also_said, other) = decisions(&scene, engine, script)?;
    ensure!(said == also_said, "notify: {said}\n{engine}: {also_said}");
    ensure!(notify.len() > 10, "that is no work: {notify:?}");
    let only = |one: &BTreeSet<Decision>, two: &BTreeSet<Decision>| one.difference(two).cloned().collect::<Vec<_>>();
    ensure!(notify == other, "only notify: {:#?}\nonly {engine}: {:#?}", only(&notify, &other), only(&other, &notify));
    Ok(())
}

/// Does the work from the same start, by the same names.
fn decisions(scene: &Scene, engine: &str, script: &str) -> anyhow::Result<(String, BTreeSet<Decision>)> {
    for folder in ["{W}", "{R}/out", "{S}"] {
        fs::remove_dir_all(scene.path(folder))?;
        fs::create_dir(scene.path(folder))?;
    }
    for (file, text) in [("{S}/secret", CANARY), ("{W}/own", "own\n"), ("{W}/.env", CANARY)] {
        fs::write(scene.path(file), text)?;
    }
    fs::copy(run::attack(), scene.path("{S}/program"))?;
    for folder in 0..8 {
        fs::create_dir_all(scene.path(&format!("{{W}}/tree/folder-{folder}")))?;
        for file in 0..8 {
            fs::write(
                scene.path(&format!("{{W}}/tree/folder-{folder}/file-{file}.txt")),
                format!("needle {folder}{file}\n"),
            )?;
        }
    }
    // The engine is named twice where `GAIT_ENGINE` names one too: the last counts.
    let ran = run::run(&mut scene.exec(&policy(), &["--engine", engine], &["/bin/bash", "-c", script])?)?;
    ensure!(!ran.stdout.contains(CANARY), "the secret came out: {ran:?}");
    let guarded = scene.finished(ran)?;
    let receipt = guarded.pack.json("guard.json")?;
    ensure!(receipt["plan"]["engine"] == engine && receipt["run"]["complete"] == true, "{receipt}");
    let set = set(&guarded.pack, &scene.path("{R}"))?;
    Ok((guarded.ran.stdout, set))
}

/// That of the corpus, and temporary files, which compilers need.
fn policy() -> String {
    CORPUS_POLICY.replace("[\"{W}/**\", /dev/null]", "[\"{W}/**\", \"${tmp}/**\", \"${tmp}\", /dev/null]")
}

fn set(pack: &Pack, root: &Path) -> anyhow::Result<BTreeSet<Decision>> {
    let defines = pack.lines("define").map(|line| {
        let (intent, decision) = (&line["intent"], &line["decision"]);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let target = &intent["targets"][0];
        let value = text(&target["value"]).replace(&*root.to_string_lossy(), "{R}");
        let name = fixed(&value);
        let digest = (name == value).then(|| text(&line["intent_digest"]));
        let told = format!("{} {} {name}", text(&intent["tool_name"]), text(&target["operation"]));
        // An exec names its arguments, in which names that are not fixed come too.
        let digest = digest.filter(|_| intent["tool_name"] != "proc.exec");
        let enforced = if decision["enforced"] == "allow" { "allow" } else { "deny" };
        Ok((digest, told, enforced))
    });
    defines.collect::<anyhow::Result<_>>().context("definitions")
}

/// A name with the parts made equal that programs make up: git's `tmp_obj_a1B2c3`, the compiler's `ccXyZ123.s`.
fn fixed(value: &str) -> String {
    let part = |part: &str| {
        if part.starts_with("tmp_obj_") {
            "tmp_obj".to_owned()
        } else if let Some(rest) = part.strip_prefix("cc")
            && rest.len() >= 8
            && rest.as_bytes()[6] == b'.'
        {
            format!("cc.{}", &rest[7..])
        } else {
            part.to_owned()
        }
    };
    value.split('/').map(part).collect::<Vec<_>>().join("/")
}
