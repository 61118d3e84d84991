//! The compiled policy as the kernel walks it.

use gait_core::policy::Verdict;
use gait_core::policy::compile::{Ask, Automata, CompiledPolicy, Kind};
use gait_ebpf::op::Op;
use gait_ebpf::tables::{
    AUTOMATA, Automaton, CELLS, Effect, JOINS, KINDS, KindEntry, LIMIT, NO_AUTOMATON, Tables, UNDECIDED, floor,
    outcome, shape,
};

use super::BpfError;
use super::laid::Laid;
use crate::intent::kernel_kind;

/// Tables that fit the kernel's.
#[derive(Clone, Debug)]
pub struct Image {
    kinds: Vec<KindEntry>,
    automata: Vec<Automaton>,
    joins: Vec<u32>,
    cells: Vec<u32>,
}

impl Image {
    /// The tables of `policy` for every operation that a program asks about.
    ///
    /// # Errors
    /// [`BpfError::TooLarge`]
    pub fn of(policy: &CompiledPolicy) -> Result<Self, BpfError> {
        let mut image = Self {
            kinds: vec![KindEntry::default(); KINDS],
            automata: Vec::new(),
            joins: Vec::new(),
            cells: Vec::new(),
        };
        image.add(policy, Op::ALL.into_iter().map(|op| (op as usize, kernel_kind(op))));
        // Nothing is guarded unless `with_floor` says so.
        for slot in [floor::LOOK, floor::CHANGE, floor::MOVE] {
            image.kinds[slot as usize] =
                KindEntry { shape: shape::CONSTANT, first: outcome(0, Effect::Allow), ..KindEntry::default() };
        }
        image.fitting()
    }

    /// The image with a floor that is asked first: kinds of `policy` for what looks, changes, and moves.
    ///
    /// # Errors
    /// [`BpfError::TooLarge`]
    pub fn with_floor(mut self, policy: &CompiledPolicy, [look, change, moves]: [Kind; 3]) -> Result<Self, BpfError> {
        let kinds = [(floor::LOOK, look), (floor::CHANGE, change), (floor::MOVE, moves)];
        self.add(policy, kinds.into_iter().map(|(slot, kind)| (slot as usize, kind)));
        self.fitting()
    }

    fn add(&mut self, policy: &CompiledPolicy, kinds: impl Iterator<Item = (usize, Kind)>) {
        let first = self.automata.len() as u32;
        for automata in policy.automata() {
            let laid = Laid::of(&automata);
            let base = self.cells.len() as u32;
            laid.write(&automata, base, &mut self.cells);
            self.automata.push(Automaton {
                starts: automata.starts.map(|start| laid.named(start, base)),
                rooted: automata.starts.map(|start| laid.named(after_slash(&automata, start), base)),
                end: automata.width - 1,
                reserved: [0; 3],
                classes: laid.classes(&automata),
            });
        }
        let effects: Vec<u32> =
            policy.verdicts().enumerate().map(|(number, verdict)| effect(number, verdict)).collect();
        let encode = |number: &u32| effects.get(*number as usize).copied().unwrap_or(UNDECIDED);
        let mut bases = Vec::new();
        for join in policy.joins() {
            bases.push(self.joins.len() as u32);
            self.joins.extend(join.iter().map(encode));
        }
        for (slot, kind) in kinds {
            let mut entry = entry(policy, &kind, &bases, encode);
            if entry.automaton != NO_AUTOMATON {
                entry.automaton += first;
            }
            entry.domain += first;
            self.kinds[slot] = entry;
        }
    }

    fn fitting(self) -> Result<Self, BpfError> {
        fits("automata", self.automata.len(), AUTOMATA)?;
        fits("entries of joins", self.joins.len(), JOINS)?;
        fits("cells", self.cells.len(), CELLS)?;
        Ok(self)
    }

    /// Writes the image over the words of a [`Tables`].
    pub fn write(&self, words: &mut [u32]) {
        let (cells, rest) = words.split_at_mut(CELLS);
        let (kinds, rest) = rest.split_at_mut(size_of::<KindEntry>() / 4 * KINDS);
        let (automata, joins) = rest.split_at_mut(size_of::<Automaton>() / 4 * AUTOMATA);
        kinds.fill(0);
        for (to, entry) in kinds.chunks_mut(size_of::<KindEntry>() / 4).zip(&self.kinds) {
            to.copy_from_slice(&[entry.shape, entry.automaton, entry.first, entry.width, entry.domain, 0, 0, 0]);
        }
        for (to, pair) in automata.chunks_mut(size_of::<Automaton>() / 4).zip(&self.automata) {
            let (head, rest) = to.split_at_mut(8);
            let ([start, floating], [rooted, floating_rooted]) = (pair.starts, pair.rooted);
            head.copy_from_slice(&[start, floating, rooted, floating_rooted, pair.end, 0, 0, 0]);
            for (to, four) in rest.iter_mut().zip(pair.classes.as_chunks::<4>().0) {
                *to = u32::from_ne_bytes(*four);
            }
        }
        joins[..self.joins.len()].copy_from_slice(&self.joins);
        joins[self.joins.len()..].fill(UNDECIDED);
        cells[..self.cells.len()].copy_from_slice(&self.cells);
    }

    /// What the image says, walked in user space as the kernel walks it: the reference of the trial.
    pub fn decide(&self, op: Op, value: &[u8], domain: Option<&[u8]>) -> u32 {
        let Some(entry) = self.kinds.get(op as usize) else { return UNDECIDED };
        let (first, second) = match entry.shape {
            shape::CONSTANT => return entry.first,
            shape::VALUE => {
                let [first, second] = self.walk(entry.automaton, value);
                (first, second)
            }
            shape::HOST => {
                let first = if entry.automaton == NO_AUTOMATON { 0 } else { self.walk(entry.automaton, value)[0] };
                (first, self.walk(entry.domain, domain.unwrap_or_default())[0])
            }
            _ => return UNDECIDED,
        };
        let at = entry.first + first * entry.width + second;
        self.joins.get(at as usize).copied().unwrap_or(UNDECIDED)
    }

    fn walk(&self, automaton: u32, bytes: &[u8]) -> [u32; 2] {
        let pair = &self.automata[automaton as usize];
        pair.starts.map(|start| {
            // Each byte is looked up, whatever the limit of the row.
            let cell = |row: u32, column: u32| self.cells[(row % (1 << LIMIT) + column) as usize];
            let row = bytes.iter().fold(start, |row, byte| cell(row, u32::from(pair.classes[usize::from(*byte)])));
            cell(row, pair.end)
        })
    }
}

/// The row that a slash leads to.
fn after_slash(automata: &Automata<'_>, row: u32) -> u32 {
    automata.cells[row as usize + usize::from(automata.classes[usize::from(b'/')])]
}

/// What a verdict comes to in the kernel.
fn effect(number: usize, verdict: Verdict) -> u32 {
    let effect = match verdict {
        Verdict::Allow | Verdict::DryRun => Effect::Allow,
        Verdict::Block => Effect::Deny,
        Verdict::RequireApproval => Effect::Ask,
    };
    outcome(number as u32, effect)
}

fn entry(policy: &CompiledPolicy, kind: &Kind, bases: &[u32], encode: impl Fn(&u32) -> u32) -> KindEntry {
    let base = |join: u32| bases.get(join as usize).copied();
    let ask = policy.kind(kind).and_then(|id| policy.ask(id));
    let entry = ask.and_then(|ask| {
        Some(match ask {
            Ask::Constant(number) => {
                KindEntry { shape: shape::CONSTANT, first: encode(&number), ..KindEntry::default() }
            }
            Ask::Value { automata, join, width, .. } => KindEntry {
                shape: shape::VALUE,
                automaton: automata,
                first: base(join)?,
                width,
                ..KindEntry::default()
            },
            Ask::Host { value, domain, join, width } => KindEntry {
                shape: shape::HOST,
                automaton: value.unwrap_or(NO_AUTOMATON),
                first: base(join)?,
                width,
                domain,
                ..KindEntry::default()
            },
        })
    });
    entry.unwrap_or_default()
}

fn fits(what: &'static str, needed: usize, limit: usize) -> Result<(), BpfError> {
    if needed <= limit { Ok(()) } else { Err(BpfError::TooLarge { what, needed, limit }) }
}

/// The layout's own size, in words.
pub const WORDS: usize = size_of::<Tables>() / 4;
