//! From the table to BPF.
//!
//! `seccompiler` writes one test per syscall in a row; with every number listed, as here, that is a chain of
//! several hundred. This one is a binary search over ranges of equal verdicts. The kernel answers
//! the unconditional ALLOWs from its own bitmap without running it at all (Linux 5.11).

use std::sync::LazyLock;

use libc::sock_filter as Instruction;
use rustix::io::Errno;

use super::Opens;
use super::registers::{Half, Rules, Test, Verdict, rules};
use super::table::{LAST_KNOWN, TABLE};

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Numbers from here on are the x32 ABI.
const X32_BIT: u32 = 0x4000_0000;

// Offsets in `struct seccomp_data`.
const NR: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// The whole filter, made once: a run probes the host with one, writes its digest down and starts the agent behind it.
pub fn filter(opens: Opens) -> &'static [Instruction] {
    static HELD: LazyLock<Vec<Instruction>> = LazyLock::new(|| made(Opens::Held));
    static DECIDED: LazyLock<Vec<Instruction>> = LazyLock::new(|| made(Opens::Decided));
    static SEEN: LazyLock<Vec<Instruction>> = LazyLock::new(|| made(Opens::Seen));
    match opens {
        Opens::Held => &HELD,
        Opens::Decided => &DECIDED,
        Opens::Seen => &SEEN,
    }
}

fn made(opens: Opens) -> Vec<Instruction> {
    let mut program = vec![
        step(LOAD, ARCH),
        jump(JUMP_EQUAL, AUDIT_ARCH_X86_64, 1, 0),
        answer(Verdict::Kill),
        step(LOAD, NR),
        jump(JUMP_AT_LEAST, X32_BIT, 0, 1),
        answer(Verdict::Kill),
    ];
    program.extend(first(opens));
    program.extend(search(&leaves(opens)));
    program
}

/// The call that is made most often of those whose arguments are looked at, before the search, which would find it after ten steps.
fn first(opens: Opens) -> Vec<Instruction> {
    let Some(call) = TABLE.iter().find(|call| call.name == "openat") else { return Vec::new() };
    let answers = conditions(&rules(call, opens));
    let mut code = vec![jump(JUMP_EQUAL, call.nr.into(), 0, answers.len() as u8)];
    code.extend(answers);
    code
}

/// The bytes of a program, as the kernel reads them: what `filter_digest` is taken of.
pub fn bytes(program: &[Instruction]) -> Vec<u8> {
    program
        .iter()
        .flat_map(|i| {
            let [c0, c1] = i.code.to_le_bytes();
            let [k0, k1, k2, k3] = i.k.to_le_bytes();
            [c0, c1, i.jt, i.jf, k0, k1, k2, k3]
        })
        .collect()
}

/// The syscall numbers that are held, at least for some arguments.
pub fn notified(opens: Opens) -> Vec<u16> {
    let held = |r: &Rules| r.otherwise == Verdict::Notify || r.rules.iter().any(|rule| rule.then == Verdict::Notify);
    TABLE.iter().filter(|call| held(&rules(call, opens))).map(|call| call.nr).collect()
}

/// A range of numbers from `first` up to the next leaf.
struct Leaf {
    first: u32,
    code: Vec<Instruction>,
}

fn leaves(opens: Opens) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut simple: Option<Verdict> = None;
    for nr in 0..=u32::from(LAST_KNOWN) + 1 {
        let rules = super::table::syscall(nr.into()).map(|call| rules(call, opens));
        let rules = rules.unwrap_or(Rules { rules: Vec::new(), otherwise: Verdict::Absent });
        let same = rules.rules.is_empty() && simple == Some(rules.otherwise);
        if !same {
            leaves.push(Leaf { first: nr, code: conditions(&rules) });
        }
        simple = rules.rules.is_empty().then_some(rules.otherwise);
    }
    leaves
}

fn search(leaves: &[Leaf]) -> Vec<Instruction> {
    let [only] = leaves else {
        let (below, from) = leaves.split_at(leaves.len() / 2);
        let boundary = from.first().map_or(u32::MAX, |leaf| leaf.first);
        let (below, from) = (search(below), search(from));
        let mut code = match u8::try_from(below.len()) {
            Ok(skip) => vec![jump(JUMP_AT_LEAST, boundary, skip, 0)],
            // Too far for a conditional jump.
            Err(_) => vec![jump(JUMP_AT_LEAST, boundary, 0, 1), step(JUMP, below.len() as u32)],
        };
        code.extend(below);
        code.extend(from);
        return code;
    };
    only.code.clone()
}

fn conditions(rules: &Rules) -> Vec<Instruction> {
    let mut code = Vec::new();
    for rule in &rules.rules {
        let tests: Vec<[Instruction; 3]> = rule.all.iter().map(test).collect();
        let length = tests.len() * 3 + 1;
        for (at, [load, and, mut compare]) in tests.into_iter().enumerate() {
            // Where it fails: past the answer of this rule.
            compare.jf = (length - at * 3 - 3) as u8;
            code.extend([load, and, compare]);
        }
        code.push(answer(rule.then));
    }
    code.push(answer(rules.otherwise));
    code
}

fn test(test: &Test) -> [Instruction; 3] {
    let half = match test.half {
        Half::Low => 0,
        Half::High => 4,
    };
    let word = ARGS + 8 * u32::from(test.arg) + half;
    [step(LOAD, word), step(AND, test.mask), jump(JUMP_EQUAL, test.value, 0, 0)]
}

fn answer(verdict: Verdict) -> Instruction {
    step(
        RETURN,
        match verdict {
            Verdict::Allow => libc::SECCOMP_RET_ALLOW,
            Verdict::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Verdict::Absent => libc::SECCOMP_RET_ERRNO | Errno::NOSYS.raw_os_error() as u32,
            Verdict::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        },
    )
}

fn step(code: u16, k: u32) -> Instruction {
    jump(code, k, 0, 0)
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests;
