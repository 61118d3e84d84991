//! Records on their way out of the kernel, and what becomes of those that have no room.

use std::collections::HashMap;
use std::mem::offset_of;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use gait_core::policy::{Policy, Strictness};
use gait_ebpf::record::{Header, counter, kind};
use gait_ebpf::tables::{Effect, KindEntry, Tables, floor, outcome, shape};
use gait_ebpf::trial::SUBJECTS;
use gait_guard::bpf::trial::Trial;
use gait_guard::bpf::{Object, Options, Purpose, Reader};
use kernel_suite::suite::{Test, test};

use super::BPF;

pub fn tests() -> Vec<Test> {
    vec![
        test("the_process_tree_is_recorded_as_it_grows", [BPF], tree),
        test("what_has_no_room_in_the_ring_is_counted_and_harms_nobody", [BPF], forks),
        test("nothing_is_let_through_without_its_record_however_much_is_offered", [BPF], decisions),
    ]
}

/// The programs that see the process tree, attached; this process's children are in it while they are made.
fn watching(ring_bytes: u32) -> anyhow::Result<Object> {
    let mut object = Object::load(Options { ring_bytes, simulate: false, purpose: Purpose::Watch })?;
    for (program, tracepoint) in
        [("on_fork", "sched_process_fork"), ("on_exec", "sched_process_exec"), ("on_exit", "sched_process_exit")]
    {
        object.attach(program, tracepoint)?;
    }
    Ok(object)
}

fn in_the_tree(object: &mut Object, script: &str) -> anyhow::Result<Child> {
    object.seed()?;
    let child = Command::new("/bin/sh").args(["-c", script]).spawn();
    object.unseed()?;
    Ok(child?)
}

fn drain(reader: &mut Reader) -> anyhow::Result<Vec<(Header, Vec<u8>)>> {
    let mut seen = Vec::new();
    while let Some(record) = reader.next(|record| record.map(|record| (record.header, record.payload.to_vec()))) {
        seen.push(record.context("something in the ring is no record")?);
    }
    Ok(seen)
}

fn tree() -> anyhow::Result<()> {
    let mut object = watching(1 << 20)?;
    let mut child = in_the_tree(&mut object, "/bin/true; exit 3")?;
    let shell = child.id();
    child.wait()?;
    let seen = drain(&mut object.reader()?)?;
    let of = |wanted| seen.iter().filter(move |(header, _)| header.kind == wanted);
    ensure!(of(kind::FORK).any(|(header, _)| header.detail == u64::from(shell)), "no fork of the shell: {seen:?}");
    let is_true = |(header, path): &(Header, Vec<u8>)| header.tgid != shell && path.ends_with(b"/bin/true");
    ensure!(of(kind::EXEC).any(is_true), "no exec of /bin/true: {seen:?}");
    let ends: Vec<u64> = of(kind::EXIT).filter(|(header, _)| header.tgid == shell).map(|(h, _)| h.detail).collect();
    ensure!(ends == [3 << 8], "the shell ended as {ends:?}");
    Ok(())
}

/// Programs that are started one after the other, each with a fork, arguments, an exec and an end.
const PROGRAMS: u64 = 200;

fn forks() -> anyhow::Result<()> {
    // A page: a dozen records.
    let mut object = watching(4096)?;
    let script = format!("n=0; while [ $n -lt {PROGRAMS} ]; do /bin/true || exit 9; n=$((n+1)); done; exit 3");
    let mut child = in_the_tree(&mut object, &script)?;
    let status = child.wait()?;
    ensure!(status.code() == Some(3), "the flood ended as {status}");
    let full = object.counters()?;
    let count = |counters: &[u64], which: u32| counters[which as usize];
    let (recorded, lost) = (count(&full, counter::RECORDED), count(&full, counter::LOST));
    println!("  {recorded} records in a ring of a page, {lost} lost");
    // The shell's own come first.
    // Of each program: its birth, its arguments, its file, its end.
    let written = 4 * (PROGRAMS + 1);
    ensure!(recorded + lost == written, "recorded {recorded} and lost {lost} of {written}");
    ensure!(recorded > 0 && lost > recorded, "recorded {recorded}, lost {lost}");
    ensure!(count(&full, counter::UNSCOPED) == 0, "a task was not brought into the scope");

    // What was recorded is whole and the oldest; once there is room again, records come again.
    let mut reader = object.reader()?;
    let seen = drain(&mut reader)?;
    ensure!(seen.len() as u64 == recorded, "{} records read, {recorded} were written", seen.len());
    ensure!(seen.first().is_some_and(|(header, _)| header.detail == u64::from(child.id())), "{:?}", seen.first());
    in_the_tree(&mut object, "exit 4")?.wait()?;
    let kinds: Vec<u32> = drain(&mut reader)?.iter().map(|(header, _)| header.kind).collect();
    ensure!(kinds == [kind::FORK, kind::ARGUMENTS, kind::EXEC, kind::EXIT], "after the flood: {kinds:?}");
    ensure!(count(&object.counters()?, counter::LOST) == lost, "lost some although there was room");
    Ok(())
}

/// Batches of [`SUBJECTS`] decisions each.
const BATCHES: u64 = 1000;

const POLICY: &str = r#"{ "default_verdict": "block", "rules": [{ "name": "r", "effect": "allow",
    "endpoint": { "path_allowlist": ["/w/**"] } }] }"#;

/// Opens as fast as the kernel can judge them, with the code of the hooks, while the reader of the ring is slow now and
/// then: whatever is let through has its record; what has none was denied, and counted.
fn decisions() -> anyhow::Result<()> {
    let case = super::agreement::Case::of(Policy::parse(POLICY, Strictness::Strict)?)?.context("it is too large")?;
    let mut trial = Trial::new(1 << 20)?;
    trial.fill(&case.image);
    // No floor: each operation is asked of the policy.
    let look = (offset_of!(Tables, kinds) + floor::LOOK as usize * size_of::<KindEntry>()) / 4;
    trial.tables()[look] = shape::CONSTANT;
    trial.tables()[look + 2] = outcome(0, Effect::Allow);
    let paths: Vec<String> = (0..SUBJECTS)
        .map(|n| format!("/{}/source/of/a/project/file-{n}.rs", if n % 4 == 0 { "x" } else { "w" }))
        .collect();
    trial.put(&paths.iter().map(|path| path.as_bytes()).collect::<Vec<_>>());
    let mut reader = trial.object().reader()?;
    let over = AtomicBool::new(false);
    let (answers, took, records) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut records = HashMap::new();
            loop {
                let last = over.load(Ordering::Acquire);
                while let Some(header) = reader.next(|record| record.map(|record| record.header)) {
                    let header = header.context("something in the ring is no record")?;
                    let before = records.insert(header.extra, header.detail == 1);
                    ensure!(before.is_none(), "two records of decision {}", header.extra);
                }
                if last {
                    return Ok(records);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let (mut answers, start) = (Vec::new(), Instant::now());
        for batch in 0..BATCHES {
            answers.extend(trial.judge(SUBJECTS, batch * SUBJECTS as u64)?);
        }
        let took = start.elapsed();
        over.store(true, Ordering::Release);
        anyhow::Ok((answers, took, reading.join().expect("the reader panicked")?))
    })?;
    let counters = trial.object().counters()?;
    let count = |which: u32| counters[which as usize];
    let allowed = answers.iter().filter(|passed| **passed).count() as u64;
    let refused = records.values().filter(|passed| !**passed).count() as u64;
    let unrecorded = answers.len() as u64 - records.len() as u64;
    println!(
        "  {} decisions in {:.2} s: {allowed} let through, {refused} denied by the policy, {unrecorded} for lack of room",
        answers.len(),
        took.as_secs_f64()
    );
    for (number, passed) in (0..).zip(&answers) {
        match records.get(&number) {
            Some(recorded) => ensure!(recorded == passed, "decision {number}: answer {passed}, record {recorded}"),
            None => ensure!(!passed, "decision {number} was let through without a record"),
        }
    }
    ensure!(allowed > 0 && refused > 0, "nothing to tell apart");
    ensure!(unrecorded > 0, "the ring was never full: no flood");
    ensure!(count(counter::RECORDED) == records.len() as u64, "{counters:?}");
    ensure!(count(counter::ALLOWED) == allowed && count(counter::DENIED) == refused, "{counters:?}");
    ensure!(count(counter::NO_ROOM) == unrecorded, "{counters:?}");
    Ok(())
}
