//! NET-12: what is asked for through a ring of io_uring, which no filter of system calls sees.
//!
//! The policy of these tests lets the agent have a ring. Where hooks of the kernel judge what comes through it (engine `lsm`),
//! it has one, and each request is decided; elsewhere no policy can allow it.

use anyhow::ensure;
use kernel_suite::CANARY;
use kernel_suite::denial::{Denial, denial};
use kernel_suite::need::{Found, GUARD, Need};
use kernel_suite::pack::Decided;
use kernel_suite::run;
use kernel_suite::scene::{ALLOW_ALL, Scene, with_rule};
use kernel_suite::suite::{Test, test};

const RINGS: Need = Need::Kernel("io-uring");

/// What a ring is for: hooks that judge what comes through it.
const JUDGED: Need =
    Need::Tried("an engine that judges what comes through a ring", || match run::engine().as_deref() {
        Some("lsm") => Found::Present,
        _ => Found::Absent("only the engine lsm lets agents have rings".into()),
    });

const UNJUDGED: Need = Need::Tried("an engine that lets nobody have a ring", || match run::engine().as_deref() {
    Some("lsm") => Found::Absent("the engine lsm judges what comes through a ring".into()),
    _ => Found::Present,
});

pub fn tests() -> Vec<Test> {
    judged().into_iter().chain([unjudged()]).map(Denial::test).chain([allowed()]).collect()
}

/// What the policy allows happens, whoever does it for the agent, and is recorded.
fn allowed() -> Test {
    test("NET-12 through a ring: what is allowed happens", [&GUARD[..], &[RINGS, JUDGED]].concat(), || {
        for (by, name) in [(&[][..], "itself"), (&["worker"], "worker"), (&["poller"], "poller")] {
            let scene = Scene::new()?;
            let made = format!("{{W}}/{name}");
            let words = [&["{A}", "ring"], by, &["mkdir", &made]].concat();
            let guarded = scene.guarded(&with_rule(RULE), &words)?;
            ensure!(guarded.ran.code == 0 && scene.path(&made).is_dir(), "{name}: {:?}", guarded.ran);
            let path = scene.expand(&made);
            let is_recorded = |decided: &Decided| decided.tool == "fs.write" && decided.value == path;
            ensure!(guarded.pack.decided.iter().any(is_recorded), "{name}: {:?}", guarded.pack.decided);
        }
        Ok(())
    })
}

/// Lets the agent have a ring.
const RULE: &str = "match: { tool_names: [sys.io_uring_setup] }";

/// A request that succeeds without a guard, and is denied with a record.
fn request(name: &str, words: &[&str]) -> Denial {
    denial(&format!("NET-12 through a ring: {name}"))
        .needs(&[RINGS, JUDGED])
        .policy(&with_rule(RULE))
        .attack(&[&["ring"], words].concat())
        .errors(&[])
}

fn judged() -> Vec<Denial> {
    let refused = |name: &str, words: &[&str], hook: &str| {
        request(name, words).recorded("sys.io_uring_enter", &format!("io_uring:{hook}"), "guard_floor_unmediated")
    };
    vec![
        request("read", &["read", "{S}/secret"]).shows(CANARY).recorded(
            "fs.read",
            "{S}/secret",
            "endpoint_path_denied",
        ),
        request("create", &["create", "{S}/new"]).changes("{S}/new").recorded(
            "fs.write",
            "{S}/new",
            "endpoint_path_not_allowlisted",
        ),
        request("unlink", &["unlink", "{S}/secret"]).changes("{S}/secret").recorded(
            "fs.delete",
            "{S}/secret",
            "endpoint_path_not_allowlisted",
        ),
        request("mkdir", &["mkdir", "{S}/new"]).changes("{S}/new").recorded(
            "fs.write",
            "{S}/new",
            "endpoint_path_not_allowlisted",
        ),
        request("symlink", &["symlink", "/etc/hostname", "{S}/new"]).changes("{S}/new").recorded(
            "fs.write",
            "{S}/new",
            "endpoint_path_not_allowlisted",
        ),
        request("rename of a secret", &["rename", "{S}/secret", "{W}/new"]).changes("{W}/new").recorded(
            "fs.delete",
            "{S}/secret",
            "endpoint_path_not_allowlisted",
        ),
        request("rename to a denied name", &["rename", "{W}/own", "{W}/.env"]).changes("{W}/.env").recorded(
            "fs.write",
            "{W}/.env",
            "endpoint_path_denied",
        ),
        request("rename of a folder", &["rename", "{W}/folder", "{W}/other"])
            .setup(|scene| Ok(std::fs::create_dir(scene.path("{W}/folder"))?))
            .changes("{W}/other")
            .recorded("fs.delete", "{W}/folder", "guard_floor_unresolved"),
        request("link to a secret", &["link", "{S}/secret", "{W}/new"]).changes("{W}/new").recorded(
            "fs.read",
            "{S}/secret",
            "endpoint_path_denied",
        ),
        request("read by a worker of the kernel", &["worker", "read", "{S}/secret"]).shows(CANARY).recorded(
            "fs.read",
            "{S}/secret",
            "endpoint_path_denied",
        ),
        request("unlink by a worker of the kernel", &["worker", "unlink", "{S}/secret"])
            .changes("{S}/secret")
            .recorded("fs.delete", "{S}/secret", "endpoint_path_not_allowlisted"),
        request("read by a poller of the kernel", &["poller", "read", "{S}/secret"]).shows(CANARY).recorded(
            "fs.read",
            "{S}/secret",
            "endpoint_path_denied",
        ),
        request("mkdir by a poller of the kernel", &["poller", "mkdir", "{S}/new"]).changes("{S}/new").recorded(
            "fs.write",
            "{S}/new",
            "endpoint_path_not_allowlisted",
        ),
        refused("setxattr", &["setxattr", "{W}/own"], "inode_setxattr"),
        // Before 6.2 it is an extended attribute like others.
        refused("set an access list", &["set-acl", "{W}/own"], "inode_set*"),
        refused("raw socket", &["socket", "2", "3", "1"], "socket_create").needs(&[Need::Root, Need::Kernel("raw")]),
    ]
}

fn unjudged() -> Denial {
    denial("NET-12 no policy lets the agent have a ring that nobody judges")
        .needs(&[RINGS, UNJUDGED])
        .policy(ALLOW_ALL)
        .calls(&["io_uring_setup 4 buf:120"])
        .errors(&["ENOSYS"])
        .recorded("sys.io_uring_setup", "io_uring:any", "guard_floor_unmediated")
}
