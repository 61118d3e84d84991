//! Who runs it: an ordinary user, and root in a container with the usual capabilities and filter.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use kernel_suite::CANARY;
use kernel_suite::need::{GUARD, Need, UNPRIVILEGED};
use kernel_suite::run::{self, Ran};
use kernel_suite::scene::{CORPUS_POLICY, Guarded, Scene};
use kernel_suite::suite::{Test, test};

pub fn tests() -> Vec<Test> {
    let user = || GUARD.into_iter().chain([UNPRIVILEGED, Need::Root, Need::Program("setpriv")]);
    let root = || GUARD.into_iter().chain([UNPRIVILEGED, Need::Root]);
    vec![
        test("as an ordinary user: work goes on, the attempts are denied", user(), || works(&USER)),
        test("as an ordinary user: kill -9 of gait ends the tree", user(), || dies(&USER)),
        test("as an ordinary user: doctor says what there is", user(), || doctor(&USER).map(|_| ())),
        test("in a container: work goes on, the attempts are denied", root(), || works(&CONTAINER)),
        test("in a container: kill -9 of gait ends the tree", root(), || dies(&CONTAINER)),
        test("in a container: doctor says what is missing and what it costs", root(), container_doctor),
        test("in a container: a policy that lets something out does not start", root(), container_network),
        test("in a real container (runc) with the default filter", root().chain([Need::Program("runc")]), runc),
    ]
}

/// Commands that put the rest of the line into somebody's shoes.
pub const USER: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
/// Docker's default profile as a filter, with Docker's default capabilities.
const CONTAINER: [&str; 2] = ["{A}", "in-container"];

/// A scene that belongs to nobody in particular, with gait in it.
pub fn scene(shoes: &[&str]) -> anyhow::Result<Scene> {
    let scene = Scene::new()?;
    fs::copy(run::gait(), scene.path("{R}/bin/gait"))?;
    if shoes.starts_with(&USER) {
        own(scene.root())?;
    }
    Ok(scene)
}

fn own(path: &Path) -> anyhow::Result<()> {
    std::os::unix::fs::lchown(path, Some(65534), Some(65534))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            own(&entry?.path())?;
        }
    }
    Ok(())
}

/// The command line of a guarded run in these shoes.
fn words(scene: &Scene, shoes: &[&str], policy: &str, agent: &[&str]) -> anyhow::Result<Vec<String>> {
    let mut exec = scene.exec_words(policy, &[], agent)?;
    fs::set_permissions(scene.path("{R}/policy.yaml"), fs::Permissions::from_mode(0o644))?;
    exec[0] = scene.expand("{R}/bin/gait");
    Ok(shoes.iter().map(|word| (*word).to_owned()).chain(exec).collect())
}

pub fn guarded(scene: &Scene, shoes: &[&str], policy: &str, agent: &[&str]) -> anyhow::Result<Guarded> {
    let ran = scene.bare(&words(scene, shoes, policy, agent)?)?;
    let path = super::readme::newest(&scene.path("{R}/out")).with_context(|| format!("no runpack: {ran:?}"))?;
    let check = ["{R}/bin/gait", "verify", &path.to_string_lossy()].map(str::to_owned);
    let shoes: Vec<String> = shoes.iter().map(|word| (*word).to_owned()).collect();
    let verified = scene.bare(&[shoes, check.to_vec()].concat())?;
    ensure!(verified.code == 0, "{verified:?}");
    Ok(Guarded { ran, pack: kernel_suite::pack::Pack::read(&path)? })
}

const ATTEMPTS: &str = "cat own; echo; echo new >new; cat new; mkdir d; mv new d; chmod 600 d/new; ls d; seq 3 | sort -r | head -1
cat {S}/secret; echo evil >{S}/evil; rm {S}/secret; chmod 777 {S}; cp {A} mine; ./mine say; kill -0 $PPID; cat /proc/$PPID/environ
{A} calls 'socket 2 1 0' 'connect $1 hex:0200000150000000000000000000000000 16'; {A} memfd-exec {A} say; {A} calls 'ptrace 16 1 0 0'
echo done";

fn works(shoes: &[&str]) -> anyhow::Result<()> {
    let scene = scene(shoes)?;
    let agent = ["/bin/bash", "-c", ATTEMPTS];
    let Guarded { ran, pack } = guarded(&scene, shoes, CORPUS_POLICY, &agent)?;
    ensure!(ran.code == 0 && ran.stdout.starts_with("own\nnew\nnew\n3\n") && ran.stdout.ends_with("done\n"), "{ran:?}");
    ensure!(!ran.stdout.contains(CANARY) && !ran.stdout.contains("it-ran"), "{ran:?}");
    ensure!(fs::read_to_string(scene.path("{S}/secret"))? == CANARY, "the secret changed");
    ensure!(!scene.path("{S}/evil").exists(), "a file in S");
    for (tool, value) in [
        ("fs.read", "{S}/secret"),
        ("fs.write", "{S}/evil"),
        ("fs.delete", "{S}/secret"),
        ("fs.write", "{S}"),
        ("proc.exec", "{W}/mine"),
    ] {
        let value = scene.expand(value);
        ensure!(pack.denied().any(|d| d.tool == tool && d.value == value), "no record of {tool} {value}: {ran:?}");
    }
    Ok(())
}

fn dies(shoes: &[&str]) -> anyhow::Result<()> {
    let scene = scene(shoes)?;
    let words = words(&scene, shoes, CORPUS_POLICY, &["{A}", "bomb", "100"])?;
    super::death::kill_when_ready(&scene, &mut scene.command(&words), 100)
}

fn doctor(shoes: &[&str]) -> anyhow::Result<Ran> {
    let scene = scene(shoes)?;
    let words: Vec<&str> = shoes.iter().copied().chain(["{R}/bin/gait", "doctor"]).collect();
    let ran = scene.bare(&words)?;
    ensure!(ran.code == 0 || ran.code == 7, "{ran:?}");
    ensure!(ran.stdout.to_lowercase().contains("landlock"), "{ran:?}");
    Ok(ran)
}

fn container_doctor() -> anyhow::Result<()> {
    let ran = doctor(&CONTAINER)?;
    ensure!(ran.stdout.contains("pidfd_getfd"), "nothing about the call that is refused: {ran:?}");
    Ok(())
}

fn container_network() -> anyhow::Result<()> {
    let scene = scene(&CONTAINER)?;
    let rule = "  - name: out\n    priority: 40\n    effect: allow\n    match: { endpoint_classes: [net.http] }\n";
    let policy = format!("{CORPUS_POLICY}{rule}");
    let ran = scene.bare(&words(&scene, &CONTAINER, &policy, &["/bin/sh", "-c", "echo started"])?)?;
    ensure!(ran.code == 7 || ran.code == 6, "{ran:?}");
    ensure!(!ran.stdout.contains("started"), "the agent was started: {ran:?}");
    ensure!(ran.stderr.contains("pidfd_getfd") || ran.stderr.contains("SYS_PTRACE"), "{ran:?}");
    Ok(())
}

/// A real container: namespaces and a root of its own, which holds gait, the attacker, a shell and what they link to;
/// the capabilities and the filter are those of [`CONTAINER`].
fn runc() -> anyhow::Result<()> {
    let scene = scene(&CONTAINER)?;
    let root = scene.path("{R}/bundle/rootfs");
    for folder in ["bin", "proc", "tmp", "dev", "sys", "etc", "home"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let made = scene.bare(&["/bin/bash", "-c", BUNDLE])?;
    ensure!(made.code == 0, "{made:?}");
    let policy = CORPUS_POLICY.replace("{S}", "/etc/secret").replace("{R}", "").replace("{W}", "/home");
    fs::write(root.join("etc/policy.yaml"), policy)?;
    fs::create_dir(root.join("etc/secret"))?;
    fs::write(root.join("etc/secret/key"), CANARY)?;
    let id = format!("gait-suite-{}", std::process::id());
    let ran = scene.bare(&["runc", "run", "--bundle", "{R}/bundle", &id])?;
    ensure!(ran.stdout == "worked\n" && ran.code == 0, "{ran:?}");
    ensure!(fs::read_to_string(root.join("home/new"))? == "new\n", "the agent's work is not there");
    let pack = super::readme::newest(&root.join("tmp/out"))?;
    let pack = kernel_suite::pack::Pack::read(&pack)?;
    ensure!(pack.denied().any(|denied| denied.value == "/etc/secret/key"), "{:?}", pack.decided);
    Ok(())
}

const BUNDLE: &str = r#"set -e; cd {R}/bundle
for f in {R}/bin/gait {A} /bin/sh /bin/cat; do
  cp $f rootfs/bin/
  for l in $(ldd $f | grep -o '/[^ ]*'); do mkdir -p rootfs$(dirname $l); cp -n $l rootfs$l; done
done
runc spec
/usr/bin/python3 - <<'END'
import json
c = json.load(open('config.json'))
p = c['process']
p.update(terminal=False, env=['PATH=/bin', 'HOME=/tmp'], cwd='/home', args=[
    '/bin/attack', 'in-container', '/bin/gait', 'exec', '--policy', '/etc/policy.yaml', '--out-dir', '/tmp/out',
    '--workspace', '/home', '--', '/bin/sh', '-c', 'cat /etc/secret/key; echo new >new; echo worked'])
docker = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP', 'NET_BIND_SERVICE',
          'NET_RAW', 'SYS_CHROOT', 'MKNOD', 'AUDIT_WRITE', 'SETFCAP']
for kind in p['capabilities']:
    p['capabilities'][kind] = [] if kind == 'ambient' else ['CAP_' + name for name in docker]
c['root']['readonly'] = False
json.dump(c, open('config.json', 'w'))
END"#;
