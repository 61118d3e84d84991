//! Patterns made deterministic, over classes of units.

use std::rc::Rc;

use super::hash::FastMap;
use super::nfa::{ListId, Loop, Nfa, NodeId};
use super::unit::{Alphabet, UnitClass};

/// Index into [`Marks`]: which lists a name matches, as far as one automaton knows.
pub(super) type MarkId = u32;

/// Distinct sets of lists. Set 0 is empty.
pub(super) struct Marks {
    sets: Vec<Box<[ListId]>>,
    known: FastMap<Box<[ListId]>, MarkId>,
}

impl Marks {
    /// Only the empty set.
    pub(super) fn new() -> Self {
        let mut marks = Self { sets: Vec::new(), known: FastMap::default() };
        marks.intern(&[]);
        marks
    }

    /// The lists of a set.
    pub(super) fn get(&self, id: MarkId) -> &[ListId] {
        &self.sets[id as usize]
    }

    fn intern(&mut self, set: &[ListId]) -> MarkId {
        if let Some(id) = self.known.get(set) {
            return *id;
        }
        let id = self.sets.len() as MarkId;
        self.sets.push(set.into());
        self.known.insert(set.into(), id);
        id
    }
}

/// The automaton grew past what the limits allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// How much automata may cost to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// States of each, before minimisation.
    pub(super) states: usize,
    /// Steps that are left for all: bounds the time.
    pub(super) work: usize,
}

/// Takes `steps` from what is left.
pub(super) fn spend(work: &mut usize, steps: usize) -> Result<(), TooLarge> {
    *work = work.checked_sub(steps).ok_or(TooLarge)?;
    Ok(())
}

/// A deterministic automaton over classes of units. It starts in state 0.
pub(super) struct UnitDfa {
    classes: usize,
    next: Vec<u32>,
    marks: Vec<MarkId>,
}

impl UnitDfa {
    /// Determinises `nfa`.
    pub(super) fn of(
        nfa: &Nfa<'_>,
        alphabet: &Alphabet,
        marks: &mut Marks,
        budget: &mut Budget,
    ) -> Result<Self, TooLarge> {
        let mut builder = Builder {
            nfa,
            dfa: Self { classes: usize::from(alphabet.len()), next: Vec::new(), marks: Vec::new() },
            sets: Vec::new(),
            known: FastMap::default(),
            active: Vec::new(),
            work: &mut budget.work,
        };
        builder.active.push(0);
        builder.state(marks)?;
        let mut at = 0;
        while at < builder.sets.len() {
            if builder.sets.len() > budget.states {
                return Err(TooLarge);
            }
            builder.expand(at, alphabet, marks)?;
            at += 1;
        }
        Ok(builder.dfa)
    }

    /// How many states there are.
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// The state after one unit.
    pub(super) fn next(&self, state: u32, class: UnitClass) -> u32 {
        self.next[state as usize * self.classes + usize::from(class)]
    }

    /// The states after one unit, by its class.
    pub(super) fn row(&self, state: u32) -> &[u32] {
        &self.next[state as usize * self.classes..][..self.classes]
    }

    /// The lists matched by a name that ends in `state`.
    pub(super) fn mark(&self, state: u32) -> MarkId {
        self.marks[state as usize]
    }
}

struct Builder<'a> {
    nfa: &'a Nfa<'a>,
    dfa: UnitDfa,
    sets: Vec<Rc<[NodeId]>>,
    known: FastMap<Rc<[NodeId]>, u32>,
    /// The nodes of the state that is looked for.
    active: Vec<NodeId>,
    work: &'a mut usize,
}

impl Builder<'_> {
    /// The state of the active nodes, made if it is new.
    fn state(&mut self, marks: &mut Marks) -> Result<u32, TooLarge> {
        self.nfa.close(&mut self.active);
        spend(self.work, self.active.len() + 1)?;
        if let Some(id) = self.known.get(self.active.as_slice()) {
            return Ok(*id);
        }
        let id = u32::try_from(self.sets.len()).map_err(|_| TooLarge)?;
        let mut lists: Vec<ListId> =
            self.active.iter().flat_map(|node| self.nfa.node(*node).accepts.iter().copied()).collect();
        lists.sort_unstable();
        lists.dedup();
        self.dfa.marks.push(marks.intern(&lists));
        let set: Rc<[NodeId]> = self.active.as_slice().into();
        self.sets.push(Rc::clone(&set));
        self.known.insert(set, id);
        Ok(id)
    }

    /// Fills in where state `at` leads.
    fn expand(&mut self, at: usize, alphabet: &Alphabet, marks: &mut Marks) -> Result<(), TooLarge> {
        let set = Rc::clone(&self.sets[at]);
        let slash = alphabet.slash();
        // Classes with an edge of their own; all others but `/` lead where class 0 leads.
        let mut special: Vec<UnitClass> = Vec::new();
        for node in set.iter().map(|id| self.nfa.node(*id)) {
            special.extend(node.units.iter().map(|(class, _)| *class));
            for (set, _) in &node.sets {
                let members = self.nfa.set(*set);
                special.extend((1..alphabet.len()).filter(|class| members[usize::from(*class)] != members[0]));
            }
        }
        special.push(slash);
        special.sort_unstable();
        special.dedup();
        let default = self.target(&set, 0, slash, marks)?;
        let row = self.dfa.next.len();
        self.dfa.next.resize(row + self.dfa.classes, default);
        for class in special {
            self.dfa.next[row + usize::from(class)] = self.target(&set, class, slash, marks)?;
        }
        Ok(())
    }

    /// The state that a set of nodes leads to on one class.
    fn target(
        &mut self,
        set: &[NodeId],
        class: UnitClass,
        slash: UnitClass,
        marks: &mut Marks,
    ) -> Result<u32, TooLarge> {
        spend(self.work, set.len())?;
        let mut active = std::mem::take(&mut self.active);
        active.clear();
        for id in set {
            let node = self.nfa.node(*id);
            active.extend(node.units.iter().filter(|(edge, _)| *edge == class).map(|(_, next)| *next));
            let holds = |index: &usize| self.nfa.set(*index)[usize::from(class)];
            active.extend(node.sets.iter().filter(|(index, _)| holds(index)).map(|(_, next)| *next));
            active.extend(node.any.filter(|_| class != slash));
            active.extend(match node.repeat {
                Loop::None => None,
                Loop::Run => (class != slash).then_some(*id),
                Loop::SegmentStart(inside) => Some(if class == slash { *id } else { inside }),
                Loop::Segment(start) => Some(if class == slash { start } else { *id }),
                Loop::Everything(_) => Some(*id),
            });
        }
        self.active = active;
        self.state(marks)
    }
}
