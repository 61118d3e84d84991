//! SUP and SEC: the guard itself, its files, and what it writes down.

use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt;

use anyhow::{Context, ensure};
use kernel_suite::denial::{Denial, KILLED, denial};
use kernel_suite::need::{GUARD, Need};
use kernel_suite::run;
use kernel_suite::scene::{ALLOW_ALL, CORPUS_POLICY, Guarded, Scene};
use kernel_suite::suite::{Test, test};
use kernel_suite::{CANARY, pack::Pack};

pub fn tests() -> Vec<Test> {
    let bodies = [
        the_guards_files(),
        nested(),
        no_switch(),
        no_spurious_interrupt(),
        a_flood_of_names(),
        secrets_stay_out(),
        approval_without_an_approver(),
        terminal_escapes(),
        a_record_in_a_name(),
        a_member_with_a_way_out(),
        numbers_that_come_again(),
    ];
    own_files().into_iter().map(Denial::test).chain(bodies).collect()
}

/// Where the policy allows everything, and the files are the guard's. The control is another run's leftovers.
fn own_files() -> Vec<Denial> {
    let key = |scene: &Scene| {
        let gait = run::gait().to_string_lossy();
        let made = scene.bare(&[&*gait, "keys", "init"])?;
        ensure!(made.code == 0, "gait keys init: {made:?}");
        Ok(())
    };
    let kept = |scene: &Scene| {
        let folder = scene.path("{R}/home/.gait/compiled");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(std::fs::write(folder.join("entry"), "an entry")?)
    };
    let guards = |name: &str| denial(name).policy(ALLOW_ALL).setup(key);
    vec![
        guards("SUP-07 the signing key").runs(&["/bin/sh", "-c", "cat {R}/home/.gait/keys/*"]).shows("=").recorded(
            "fs.list",
            "{R}/home/.gait/keys",
            "guard_floor_guard_access",
        ),
        guards("SUP-07 what is kept of compiled policies, read")
            .setup(kept)
            .runs(&["/bin/cat", "{R}/home/.gait/compiled/entry"])
            .shows("an entry")
            .recorded("fs.read", "{R}/home/.gait/compiled/entry", "guard_floor_guard_access"),
        guards("SUP-07 what is kept of compiled policies, changed")
            .setup(kept)
            .calls(&["open s:{R}/home/.gait/compiled/entry 0o1001"])
            .changes("{R}/home/.gait/compiled/entry")
            .recorded("fs.write", "{R}/home/.gait/compiled/entry", "guard_floor_guard_access"),
        guards("SUP-07 what is kept of compiled policies, added to")
            .setup(kept)
            .calls(&["openat -100 s:{R}/home/.gait/compiled/evil 0o101 0o600"])
            .changes("{R}/home/.gait/compiled/evil")
            .recorded("fs.write", "{R}/home/.gait/compiled/evil", "guard_floor_guard_access"),
        guards("SUP-07 the policy file")
            .setup(|scene| Ok(std::fs::write(scene.path("{R}/policy.yaml"), ALLOW_ALL)?))
            .calls(&["open s:{R}/policy.yaml 0o2001"])
            .recorded("fs.write", "{R}/policy.yaml", "guard_floor_guard_access"),
        guards("SUP-07 a file in the output folder")
            .calls(&["openat -100 s:{R}/out/evil 0o101 0o644"])
            .changes("{R}/out/evil")
            .recorded("fs.write", "{R}/out/evil", "guard_floor_guard_access"),
        guards("SUP-07 the output folder renamed away").calls(&["rename s:{R}/out s:{R}/elsewhere"]).recorded(
            "fs.delete",
            "{R}/out",
            "guard_floor_guard_access",
        ),
    ]
}

fn the_guards_files() -> Test {
    test("SUP-07 the journal of the running run can't be read, changed or removed", GUARD, || {
        let scene = Scene::new()?;
        let script = "ls {R}/home/.gait/runs; cat {R}/home/.gait/runs/*/decisions/*; \
             rm -rf {R}/home/.gait; mv {R}/home/.gait {R}/home/gone; echo x >>{R}/home/.gait/runs/*/decisions/000001.jsonl";
        let guarded = scene.guarded(ALLOW_ALL, &["/bin/sh", "-c", script])?;
        ensure!(!guarded.ran.stdout.contains("gait.exec.journal"), "{:?}", guarded.ran);
        ensure!(scene.path("{R}/home/.gait/keys").is_dir(), "the keys are gone: {:?}", guarded.ran);
        Ok(())
    })
}

fn nested() -> Test {
    test("SUP-08 gait inside gait only tightens", GUARD, || {
        let scene = Scene::new()?;
        let gait = run::gait().to_string_lossy().into_owned();
        let inner = [gait.as_str(), "exec", "--out-dir", "{W}/inner", "--", "/bin/cat", "{S}/secret"];
        let policy = CORPUS_POLICY.replace("\"{R}/bin/**\"", &format!("\"{{R}}/bin/**\", \"{gait}\""));
        let guarded = scene.guarded(&policy, &inner)?;
        ensure!(!guarded.ran.stdout.contains(CANARY), "{:?}", guarded.ran);
        ensure!(guarded.ran.code != 0, "the inner run claims to have worked: {:?}", guarded.ran);
        Ok(())
    })
}

fn no_switch() -> Test {
    test("SUP-08 no variable of the environment switches the guard off", GUARD, || {
        let scene = Scene::new()?;
        let mut command = scene.exec(CORPUS_POLICY, &[], &["/bin/cat", "{S}/secret"])?;
        for name in
            ["GAIT_DISABLE", "GAIT_IN_SESSION", "GAIT_SIMULATE", "GAIT_ALLOW_DEGRADED", "DANGEROUSLY_DISABLE_SANDBOX"]
        {
            command.env(name, "1");
        }
        let guarded = scene.finished(run::run(&mut command)?)?;
        ensure!(!guarded.ran.stdout.contains(CANARY) && guarded.ran.code == 1, "{:?}", guarded.ran);
        Ok(())
    })
}

fn no_spurious_interrupt() -> Test {
    test("SUP-06 a timer with SA_RESTART interrupts no mediated call", GUARD, || {
        let words = ["{A}", "storm", &run::noted_tries(20_000).to_string()];
        let control = Scene::new()?.bare(&words)?;
        ensure!(control.stdout == "interrupted 0 other 0\n", "{control:?}");
        let guarded = Scene::new()?.guarded(CORPUS_POLICY, &words)?;
        ensure!(guarded.ran.stdout == control.stdout, "{:?}", guarded.ran);
        Ok(())
    })
}

fn a_flood_of_names() -> Test {
    test("SUP-03 20,000 denials of 20,000 names are 20,000 records", GUARD, || {
        let scene = Scene::new()?;
        let names = run::noted_tries(20_000);
        let guarded = scene.guarded(CORPUS_POLICY, &["{A}", "create-names", "{S}", &names.to_string()])?;
        ensure!(guarded.ran.stdout == format!("refused {names}\n"), "{:?}", guarded.ran);
        let named = guarded.pack.decided.iter().filter(|d| d.value.contains("/s/name-"));
        let (distinct, decisions) = named.fold((0, 0), |(n, sum), d| (n + 1, sum + d.count));
        ensure!(distinct == names && decisions == u64::from(names), "{distinct} names, {decisions} decisions");
        Ok(())
    })
}

fn secrets_stay_out() -> Test {
    test("SEC-01 secrets of the environment reach neither the agent nor the runpack", GUARD, || {
        let scene = Scene::new()?;
        let mut command =
            scene.exec(CORPUS_POLICY, &[], &["/bin/sh", "-c", "env; cat /proc/self/environ; echo {S} $HARMLESS"])?;
        let secret =
            ["OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DB_PASSWORD", "MY_SECRET", "SSH_AUTH_SOCK"];
        for name in secret {
            command.env(name, CANARY);
        }
        command.env("HARMLESS", "kept");
        let guarded = scene.finished(run::run(&mut command)?)?;
        let Guarded { ran, pack } = &guarded;
        ensure!(ran.stdout.contains("HARMLESS=kept") && ran.stdout.contains(" kept"), "{ran:?}");
        ensure!(!ran.stdout.contains(CANARY), "{ran:?}");
        ensure!(!ran.stderr.contains(CANARY), "{ran:?}");
        ensure!(holds(pack, CANARY).is_empty(), "the runpack holds it: {:?}", holds(pack, CANARY));
        ensure!(holds(pack, "HARMLESS").is_empty(), "the runpack holds a name: {:?}", holds(pack, "HARMLESS"));
        Ok(())
    })
}

/// Members of the runpack that hold `text`.
fn holds<'a>(pack: &'a Pack, text: &str) -> Vec<&'a String> {
    let has = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    pack.members.iter().filter(|(_, bytes)| has(bytes)).map(|(name, _)| name).collect()
}

fn approval_without_an_approver() -> Test {
    test("SUP-05 what needs an approval that nobody gives is denied", GUARD, || {
        let scene = Scene::new()?;
        let ask = "  - name: ask\n    priority: 1\n    effect: require_approval\n    match: { target_values: [\"{W}/own\"] }\n";
        let policy = format!("{CORPUS_POLICY}{ask}");
        let control = scene.bare(&["/bin/cat", "own"])?;
        ensure!(control.stdout == "own", "{control:?}");
        let guarded = scene.guarded(&policy, &["/bin/cat", "own"])?;
        // The workspace can be read as a whole by whoever opens files itself: then it is a kill.
        let is_hybrid = run::engine().as_deref() == Some("hybrid");
        let code = if is_hybrid { 128 + libc::SIGKILL } else { 1 };
        ensure!(guarded.ran.stdout.is_empty() && guarded.ran.code == code, "{:?}", guarded.ran);
        let denied = guarded.pack.denied().find(|denied| denied.rule.as_deref() == Some("ask"));
        let says_so = denied.is_some_and(|denied| denied.reasons.iter().any(|reason| reason == KILLED));
        ensure!(says_so == is_hybrid, "{denied:?}");
        ensure!(denied.is_some_and(|denied| denied.count == 1), "{:?}", guarded.pack.decided);
        Ok(())
    })
}

fn a_record_in_a_name() -> Test {
    let name = "x%22%7d%0a%7b%22type%22%3a%22decision%22%2c%22seq%22%3a1%7d";
    let recorded = "{S}/x\"}\n{\"type\":\"decision\",\"seq\":1}";
    let call = format!("openat -100 s:{{S}}/{name} 0o101 0o644");
    let denial = denial("SUP-10 a name that would end its record and begin another").calls(&[&call]).changes("{S}");
    denial.recorded("fs.write", recorded, "endpoint_path_not_allowlisted").test()
}

fn a_member_with_a_way_out() -> Test {
    let needs = GUARD.into_iter().chain([Need::Program("python3")]);
    test("SUP-10 a runpack with a member that leads out of it does not verify", needs, || {
        let scene = Scene::new()?;
        scene.guarded(ALLOW_ALL, &["/bin/true"])?;
        let pack = scene.newest_pack()?.to_string_lossy().into_owned();
        let gait = run::gait().to_string_lossy().into_owned();
        for name in ["../../evil", "/evil", "a\\..\\..\\evil", "run.json"] {
            let changed = scene.expand("{R}/changed.zip");
            std::fs::copy(&pack, &changed)?;
            let add = "import sys, warnings, zipfile; warnings.simplefilter('ignore')
zipfile.ZipFile(sys.argv[1], 'a').writestr(sys.argv[2], 'evil')";
            let added = scene.bare(&["/usr/bin/python3", "-c", add, &changed, name])?;
            ensure!(added.code == 0, "{added:?}");
            let verified = scene.bare(&[&*gait, "verify", &changed])?;
            ensure!(verified.code != 0, "with {name}: {verified:?}");
            ensure!(!scene.path("{R}/evil").exists() && !std::path::Path::new("/evil").exists(), "{name} was written");
        }
        Ok(())
    })
}

fn numbers_that_come_again() -> Test {
    let needs = GUARD.into_iter().chain([Need::Root, Need::Disposable]);
    test("SUP-11 processes whose numbers come again are told apart", needs, || {
        const LIMIT: &str = "/proc/sys/kernel/pid_max";
        // The least that the kernel takes is 301, and a few are in use.
        const NUMBERS: &str = "500";
        const CHILDREN: u64 = 600;
        let scene = Scene::new()?;
        let usual = std::fs::read_to_string(LIMIT)?;
        std::fs::write(LIMIT, NUMBERS)?;
        let script = format!("for n in $(seq {CHILDREN}); do ( : <{{S}}/secret ) 2>/dev/null; done; echo done");
        let ran = scene.guarded(CORPUS_POLICY, &["/bin/bash", "-c", &script]);
        std::fs::write(LIMIT, usual)?;
        let Guarded { ran, pack } = ran?;
        ensure!(ran.stdout == "done\n", "{ran:?}");
        let secret = scene.expand("{S}/secret");
        let denied = |line: &&serde_json::Value| line["intent"]["targets"][0]["value"] == secret.as_str();
        let define = pack.lines("define").find(denied).with_context(|| format!("{:?}", pack.decided))?;
        let decisions = pack.lines("decision").filter(|line| line["def"] == define["def"]);
        let processes: BTreeSet<u64> = decisions.filter_map(|line| line["proc"].as_u64()).collect();
        ensure!(processes.len() as u64 == CHILDREN, "{} processes of {CHILDREN}", processes.len());
        let forks = pack.lines("fork").filter(|line| line["proc"].as_u64().is_some_and(|n| processes.contains(&n)));
        let numbers: BTreeSet<u64> = forks.filter_map(|line| line["pid"].as_u64()).collect();
        ensure!((numbers.len() as u64) < CHILDREN, "no number came again: the test proves nothing");
        Ok(())
    })
}

fn terminal_escapes() -> Test {
    test("SUP-09 control characters of a path do not reach the terminal", GUARD, || {
        let scene = Scene::new()?;
        let calls = [
            "{A}",
            "calls",
            "open s:{S}/%1b[2J%0aall%20is%20well%07 0o101 0o644",
            "open s:{S}/%e2%80%aegpj.exe 0o101 0o644",
        ];
        let guarded = scene.guarded(CORPUS_POLICY, &calls)?;
        ensure!(guarded.pack.denied().filter(|denied| denied.value.contains("/s/")).count() == 2, "{:?}", guarded.ran);
        let heard = &guarded.ran.stderr;
        ensure!(!heard.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{heard:?}");
        ensure!(!heard.lines().any(|line| line.starts_with("all is well")), "{heard:?}");
        Ok(())
    })
}
