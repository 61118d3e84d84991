//! The BPF programs on the real kernel.

#![allow(missing_docs)]

use gait_ebpf::record::kind;
use gait_guard::bpf::{BpfError, Object, Options};

#[test]
fn the_process_tree_is_recorded_as_it_grows() {
    let mut object = match Object::load(Options { ring_bytes: 1 << 20, simulate: false }) {
        Ok(object) => object,
        Err(error @ (BpfError::Load(_) | BpfError::Btf(_))) => {
            println!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    object.attach_tracepoint("on_fork", "sched_process_fork").unwrap();
    object.attach_tracepoint("on_exec", "sched_process_exec").unwrap();
    object.attach_tracepoint("on_exit", "sched_process_exit").unwrap();
    object.seed(std::process::id()).unwrap();
    let mut child = std::process::Command::new("/bin/sh").args(["-c", "/bin/true; exit 3"]).spawn().unwrap();
    object.unseed(std::process::id()).unwrap();
    let shell = child.id();
    child.wait().unwrap();
    let mut reader = object.reader().unwrap();
    let mut seen = Vec::new();
    while let Some(record) = reader.next(|record| {
        let record = record.unwrap();
        (record.header, record.payload.to_vec())
    }) {
        seen.push(record);
    }
    let of = |wanted| seen.iter().filter(move |(header, _)| header.kind == wanted);
    assert!(of(kind::FORK).any(|(header, _)| header.detail == u64::from(shell)));
    assert!(of(kind::EXEC).any(|(header, path)| header.tgid != shell && path.ends_with(b"/bin/true")));
    let ends: Vec<u64> = of(kind::EXIT).filter(|(header, _)| header.tgid == shell).map(|(h, _)| h.detail).collect();
    assert_eq!(ends, [3 << 8]);
}
