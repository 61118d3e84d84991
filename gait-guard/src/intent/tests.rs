//! Digests of the contract's sample runs, and the law that every intent is in normal form.

use std::borrow::Cow;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

fn translator() -> Translator {
    Translator::new("agent", b"/home/agent/work", "high").unwrap()
}

fn digest(action: &Action<'_>) -> String {
    translator().translate(action).unwrap().digest().unwrap().to_string()
}

fn path(op: PathOp, path: &[u8]) -> Action<'_> {
    Action::Path { op, path: Cow::Borrowed(path), via: None }
}

fn exec<'a>(file: &'a str, argv: &[&[u8]]) -> Action<'a> {
    Action::Exec {
        object: ExecObject::Path(Cow::Borrowed(file.as_bytes())),
        argv: argv.iter().map(|a| a.to_vec()).collect(),
        via: None,
    }
}

fn inet(call: InetCall, protocol: Protocol, address: &str) -> Action<'static> {
    Action::Inet { call, protocol, address: address.parse::<SocketAddr>().unwrap() }
}

// The expected digests are those of the intents in the contract's pack `run_guarded_a`.

#[test]
fn the_intents_of_the_contract_sample_have_its_digests() {
    let run = translator().run(&["python3", "agent.py", "--token", "s3cret"].map(|a| a.as_bytes().to_vec())).unwrap();
    assert_eq!(run.digest().unwrap().to_string(), "d083e651218c6c0e83e9b8cc3debaa02b2779f2349a2e956f37ddb180b28d3ec");
    let cases = [
        (path(PathOp::Read, b"/usr/lib/libc.so.6"), "99e0eb643bfc683d2b2953831fc259c91e6a301536332f3c2bf800b4a3795f61"),
        (path(PathOp::List, b"/home/agent/work"), "57d0944ac03edc283038159bcffeb721e7993075c7e2eb2e2f3c435077520cb1"),
        (
            path(PathOp::Delete, b"/home/agent/work/keep.txt"),
            "c52906e78cdd29055d83496b01fa0737d8f4b685299d67789c5a72bd2f261c05",
        ),
        (
            exec("/usr/bin/python3", &[b"python3", b"agent.py", b"--token", b"s3cret"]),
            "8b397ae1f5ab74410254c37b6c459cf06526446fda0dc83a95fcc220123cc43c",
        ),
    ];
    for (action, expected) in &cases {
        assert_eq!(digest(action), *expected, "{action:?}");
    }
}

#[test]
fn all_actions_of_the_contract_sample_are_among_its_intents() {
    let ids: Vec<&str> = include_str!("../../tests/data/intent_ids.txt").lines().collect();
    let work = "/home/agent/work";
    let at = |op, file: &str| digest(&path(op, format!("{work}/{file}").as_bytes()));
    let mut bytes = b"/home/agent/work/caf\xe9.txt".to_vec();
    let odd = digest(&path(PathOp::Write, &bytes));
    bytes = b"/home/agent/work/line\nbreak \"x\"".to_vec();
    let actions = [
        at(PathOp::Create, "out.txt"),
        at(PathOp::Write, "out.txt"),
        at(PathOp::Chmod { mode: 0o755 }, "out.txt"),
        at(PathOp::Write, "café.txt"),
        at(PathOp::Read, ".env"),
        at(PathOp::Read, ".env "),
        digest(&path(PathOp::RenameTo, b"/tmp/new.txt")),
        digest(&path(PathOp::Write, &bytes)),
        odd,
        digest(&exec("/home/agent/work/tool", &[b"tool", b"\xff", b" x "])),
        digest(&exec("/usr/bin/git", &[b"git", b"status"])),
        digest(&inet(InetCall::Connect, Protocol::Tcp, "203.0.113.9:80")),
        digest(&inet(InetCall::Connect, Protocol::Tcp, "[2001:db8::7]:443")),
        digest(&Action::System { name: "ptrace", object: SystemObject { class: "process", detail: "guard" } }),
        digest(&Action::System { name: "bpf", object: SystemObject { class: "bpf", detail: "prog_load" } }),
    ];
    for digest in actions {
        assert!(ids.contains(&digest.as_str()), "{digest}");
    }
}

#[test]
fn a_mapped_address_is_the_ipv4_one() {
    assert_eq!(
        digest(&inet(InetCall::Connect, Protocol::Tcp, "[::ffff:203.0.113.9]:80")),
        digest(&inet(InetCall::Connect, Protocol::Tcp, "203.0.113.9:80"))
    );
}

#[test]
fn a_context_that_normalisation_would_change_is_refused() {
    for (identity, workspace, risk) in [
        ("agent", &b"/w\\x"[..], "high"),
        ("agent", b"/w ", "high"),
        ("agent", b"/w\xff", "high"),
        (" agent", b"/w", "high"),
        ("", b"/w", "high"),
        ("agent", b"/w", " "),
    ] {
        assert!(Translator::new(identity, workspace, risk).is_err(), "{identity:?} {workspace:?} {risk:?}");
    }
    assert_eq!(Translator::new("a", b"/w", "HIGH").unwrap().context().risk_class, "high");
}

fn any_path_op() -> impl Strategy<Value = PathOp> {
    use PathOp::*;
    prop_oneof![
        prop::sample::select(vec![
            Read,
            List,
            Write,
            Create,
            Truncate,
            Mkdir,
            Symlink,
            Link,
            RenameTo,
            Chown,
            Utimes,
            Setxattr,
            Removexattr,
            Delete,
            Rmdir,
            RenameFrom,
            Map,
            Watch
        ]),
        any::<u16>().prop_map(|mode| Chmod { mode }),
        any::<u16>().prop_map(|mode| Mknod { node: NodeKind::Fifo, mode }),
    ]
}

/// Bytes with more white space, private use characters and broken UTF-8 than chance would give.
fn odd_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|b| vec![b]),
        prop::sample::select(vec![
            " ",
            "\t",
            "\u{85}",
            "\u{2003}",
            "\u{10FE00}",
            "\u{10FEFF}",
            "é",
            "İ",
            "\0",
            "\\",
            "/"
        ])
        .prop_map(|s| s.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn any_action() -> impl Strategy<Value = Action<'static>> {
    let via = prop::option::of(prop::sample::select(vec![Via::Mmap, Via::ReceivedFd, Via::Interpreter]));
    let call = prop::sample::select(vec![InetCall::Connect, InetCall::Send, InetCall::Bind]);
    prop_oneof![
        (any_path_op(), odd_bytes(), via.clone()).prop_map(|(op, tail, via)| {
            let path = Cow::Owned([b"/", tail.as_slice()].concat());
            Action::Path { op, path, via }
        }),
        (any::<bool>(), odd_bytes(), prop::collection::vec(odd_bytes(), 0..4), via).prop_map(
            |(file, tail, argv, via)| {
                let object = if file {
                    ExecObject::Path(Cow::Owned([b"/", tail.as_slice()].concat()))
                } else {
                    ExecObject::Memory(Cow::Owned(tail))
                };
                Action::Exec { object, argv, via }
            }
        ),
        (call.clone(), any::<SocketAddr>()).prop_map(|(call, address)| Action::Inet {
            call,
            protocol: Protocol::Tcp,
            address
        }),
        (call, odd_bytes(), 0..3).prop_map(|(call, tail, kind)| {
            let name = match kind {
                0 => UnixName::Path(Cow::Owned([b"/", tail.as_slice()].concat())),
                1 => UnixName::Abstract(Cow::Owned(tail)),
                _ => UnixName::Unnamed,
            };
            Action::Unix { call, socket: UnixType::Stream, name }
        }),
        (
            any_path_op(),
            prop::sample::select(vec![Why::NameTooLong, Why::Unreadable, Why::Unreachable, Why::Failed, Why::Refused])
        )
            .prop_map(|(op, why)| Action::Unresolved { op, why }),
    ]
}

proptest! {
    #[test]
    fn what_the_tables_see_of_an_action_is_what_its_intent_says(action in any_action()) {
        let intent = translator().translate(&action).unwrap();
        let subject = Subject::of(&action);
        let target = &intent.targets()[0];
        prop_assert_eq!(&*subject.kind.tool_name, intent.tool_name());
        prop_assert_eq!(subject.kind.target_kind, target.kind);
        prop_assert_eq!(&subject.kind.operation, &target.operation);
        prop_assert_eq!(subject.kind.endpoint_class, target.endpoint_class);
        prop_assert_eq!(subject.domain.unwrap_or_default(), &*target.endpoint_domain);
        if target.kind == TargetKind::Path {
            prop_assert_eq!(name(&subject.value), &*target.value);
        }
        // What can't be resolved is never put to the policy.
        let unresolved = matches!(action, Action::Unresolved { .. });
        prop_assert!(unresolved || kinds().contains(&subject.kind));
    }

    #[test]
    fn every_intent_is_a_fixed_point_of_normalisation(action in any_action()) {
        let intent = translator().translate(&action).unwrap();
        prop_assert!(intent.is_normal(), "{intent:?}");
    }

    #[test]
    fn different_paths_are_different_intents(a in odd_bytes(), b in odd_bytes()) {
        prop_assume!(a != b);
        let of = |tail: &[u8]| digest(&path(PathOp::Read, &[b"/", tail].concat()));
        prop_assert_ne!(of(&a), of(&b));
    }
}
