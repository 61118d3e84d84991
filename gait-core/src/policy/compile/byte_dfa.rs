//! The automaton over raw bytes: one over units, fed by a decoder of UTF-8.
//!
//! It gives for bytes `b` what the automaton over units gives for `name(b)` (contract guarded-run
//! 2.1): bytes that spell no character are odd units, and so are the bytes of white space at
//! either end. Which of the two a byte is can be known only later, so a state remembers the
//! bytes of a unit that is not complete yet, where that makes a difference.

use super::hash::FastMap;
use super::unit::{Alphabet, Spelling, Step, UnitClass};
use super::unit_dfa::{Budget, MarkId, TooLarge, UnitDfa, spend};

/// A deterministic automaton over byte classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ByteDfa {
    /// The state it starts in.
    pub(super) start: u32,
    /// Columns: one for each byte class.
    pub(super) width: usize,
    /// Rows of states.
    pub(super) next: Vec<u32>,
    /// By state: the lists matched by a name that ends there.
    pub(super) ends: Vec<MarkId>,
}

/// Odd bytes that were read, as classes: at most three before the one that completes a character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Pending {
    len: u8,
    classes: [UnitClass; 4],
}

impl Pending {
    fn and(mut self, class: UnitClass) -> Self {
        self.classes[usize::from(self.len)] = class;
        self.len += 1;
        self
    }

    fn run(self, dfa: &UnitDfa, state: u32) -> u32 {
        self.classes[..usize::from(self.len)].iter().fold(state, |state, class| dfa.next(state, *class))
    }
}

/// Where the automaton over bytes stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    /// State of the automaton over units, before the pending bytes.
    state: u32,
    /// Node of the spelling; 0 if nothing is pending.
    node: u16,
    pending: Pending,
    /// No unit is complete yet.
    first: bool,
    /// What a name that ends here matches, when it ends in white space and so differs from `state`.
    end: Option<MarkId>,
}

impl Place {
    fn plain(state: u32) -> Self {
        Self { state, node: 0, pending: Pending::default(), first: false, end: None }
    }
}

/// Composes `dfa` with the decoder. States of `dfa` keep their numbers; others follow.
pub(super) fn compose(
    dfa: &UnitDfa,
    alphabet: &Alphabet,
    spelling: &Spelling,
    budget: &mut Budget,
) -> Result<ByteDfa, TooLarge> {
    let width = spelling.len();
    let flat = flat_states(dfa, alphabet);
    let mut composer = Composer { dfa, spelling, flat: &flat, places: Vec::new(), known: FastMap::default() };
    let columns: Vec<Column> = (0..width).map(|byte| Column::of(spelling, byte)).collect();
    let start = composer.id(Place { first: true, ..Place::plain(0) });
    let mut next = Vec::with_capacity(dfa.len() * width);
    let mut ends = Vec::with_capacity(dfa.len());
    spend(&mut budget.work, dfa.len().saturating_mul(width))?;
    for (state, flat) in (0..).zip(&flat) {
        let row = dfa.row(state);
        next.extend(columns.iter().enumerate().map(|(byte, column)| match (column, flat) {
            (Column::Unit(class), _) => row[usize::from(*class)],
            (Column::BeyondAscii, Some(target)) => *target,
            _ => composer.follow(Place::plain(state), byte),
        }));
        ends.push(dfa.mark(state));
    }
    let mut at = 0;
    while let Some(place) = composer.places.get(at).copied() {
        if dfa.len() + at >= budget.states {
            return Err(TooLarge);
        }
        spend(&mut budget.work, width)?;
        next.extend((0..width).map(|byte| composer.follow(place, byte)));
        ends.push(place.end.unwrap_or_else(|| dfa.mark(place.pending.run(dfa, place.state))));
        at += 1;
    }
    Ok(ByteDfa { start, width, next, ends })
}

/// How a byte class is followed from where nothing is pending.
enum Column {
    /// It is one unit.
    Unit(UnitClass),
    /// It belongs to a unit beyond ASCII.
    BeyondAscii,
    /// White space and zero: it depends on what follows.
    Special,
}

impl Column {
    fn of(spelling: &Spelling, byte: usize) -> Self {
        match spelling.step(0, byte) {
            _ if spelling.is_beyond_ascii(byte) => Self::BeyondAscii,
            Step::Unit(class) => Self::Unit(class),
            _ => Self::Special,
        }
    }
}

/// By state: the one state to which everything beyond ASCII leads, and which it never leaves again.
///
/// There the decoder need not be followed: however the bytes are read, that is where they lead.
fn flat_states(dfa: &UnitDfa, alphabet: &Alphabet) -> Vec<Option<u32>> {
    let classes = alphabet.beyond_ascii();
    let leads_to = |state| {
        let mut targets = classes.iter().map(|class| dfa.next(state, *class));
        let first = targets.next()?;
        targets.all(|target| target == first).then_some(first)
    };
    let stays = |target: u32| leads_to(target) == Some(target);
    let states = u32::try_from(dfa.len()).unwrap_or(u32::MAX);
    (0..states).map(|state| leads_to(state).filter(|target| stays(*target))).collect()
}

struct Composer<'a> {
    dfa: &'a UnitDfa,
    spelling: &'a Spelling,
    flat: &'a [Option<u32>],
    /// Places that are no states of `dfa`.
    places: Vec<Place>,
    known: FastMap<Place, u32>,
}

impl Composer<'_> {
    /// The number of a place: that of its state, or one of those that follow.
    fn id(&mut self, place: Place) -> u32 {
        if place == Place::plain(place.state) {
            return place.state;
        }
        // Both are bounded by the budget, far below 2^32.
        let fresh = (self.dfa.len() + self.places.len()) as u32;
        let id = *self.known.entry(place).or_insert(fresh);
        if id == fresh {
            self.places.push(place);
        }
        id
    }

    /// The number of the place to which one byte leads.
    fn follow(&mut self, place: Place, byte: usize) -> u32 {
        let target = self.step(place, byte);
        self.id(target)
    }

    /// Where one byte leads.
    fn step(&self, place: Place, byte: usize) -> Place {
        if place.node == 0
            && self.spelling.is_beyond_ascii(byte)
            && let Some(target) = self.flat[place.state as usize]
        {
            return Place::plain(target);
        }
        let pending = place.pending.and(self.spelling.odd(byte));
        match self.spelling.step(place.node, byte) {
            Step::Unit(class) => Place::plain(self.dfa.next(place.state, class)),
            Step::Space(_) if place.first => Place::plain(pending.run(self.dfa, place.state)),
            Step::Space(class) => {
                let state = self.dfa.next(place.state, class);
                let end = self.dfa.mark(pending.run(self.dfa, place.state));
                Place { end: Some(end).filter(|end| *end != self.dfa.mark(state)), ..Place::plain(state) }
            }
            Step::Reserved => Place::plain(pending.run(self.dfa, place.state)),
            Step::Node(node) => Place { node, pending, end: None, ..place },
            Step::Broken if place.node == 0 => Place::plain(self.dfa.next(place.state, self.spelling.odd(byte))),
            // The bytes before were no character; a byte that ended them starts anew.
            Step::Broken => self.step(Place::plain(place.pending.run(self.dfa, place.state)), byte),
        }
    }
}
