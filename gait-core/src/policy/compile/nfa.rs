//! All patterns of one automaton as a tree: equal beginnings are shared, loops are nodes.
//!
//! Sharing is what keeps determinisation fast: a thousand patterns that start with `**/` are one
//! loop and one tree below it, not a thousand threads.

use super::super::pattern::{Token, Tree};
use super::hash::FastMap;
use super::unit::{Alphabet, UnitClass};

/// A list of patterns (or exact texts) of a policy: what a state of the automaton remembers.
pub(super) type ListId = u16;

/// Index into [`Nfa`].
pub(super) type NodeId = u32;

/// What a node does by itself while units pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    /// Nothing: it is left with the next unit.
    None,
    /// Stays for any unit but `/`.
    Run,
    /// At the start of a segment that may be skipped; the node to go to for any unit but `/`.
    SegmentStart(NodeId),
    /// Inside a segment that is skipped; the node to go to at `/`.
    Segment(NodeId),
    /// Stays for ever, and means that this list is matched.
    Everything(ListId),
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    /// The lists matched by a name that ends here.
    pub(super) accepts: Vec<ListId>,
    /// Edges on one class of units.
    pub(super) units: Vec<(UnitClass, NodeId)>,
    /// Edges on sets of classes: index into [`Nfa::sets`].
    pub(super) sets: Vec<(usize, NodeId)>,
    /// The edge on any unit but `/`.
    pub(super) any: Option<NodeId>,
    /// What it does by itself.
    pub(super) repeat: Loop,
    /// Nodes that are active whenever this one is.
    also: Vec<NodeId>,
    /// Lists that some way on from here leads to; sorted.
    reaches: Vec<ListId>,
}

/// The patterns of one automaton.
pub(super) struct Nfa<'a> {
    alphabet: &'a Alphabet,
    nodes: Vec<Node>,
    /// Members of each `[...]` by class.
    sets: Vec<Vec<bool>>,
    /// By list, the node that stays for ever: one for all its patterns.
    everything: FastMap<ListId, NodeId>,
}

impl<'a> Nfa<'a> {
    /// No patterns: matches nothing.
    pub(super) fn new(alphabet: &'a Alphabet) -> Self {
        let mut nfa = Self { alphabet, nodes: Vec::new(), sets: Vec::new(), everything: FastMap::default() };
        nfa.push(Loop::None);
        nfa
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node of an id.
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// Members of the set of an index, by class.
    pub(super) fn set(&self, index: usize) -> &[bool] {
        &self.sets[index]
    }

    /// Adds a pattern that belongs to `list`.
    pub(super) fn insert(&mut self, pattern: &[Token], list: ListId) {
        let slash = self.alphabet.slash();
        let mut at = 0;
        for token in pattern {
            self.reach(at, list);
            at = match token {
                Token::Char(unit) => self.unit(at, self.alphabet.class(*unit)),
                Token::AnyChar => self.any(at),
                Token::AnyRun => self.repeating(at, Loop::Run),
                Token::Class { negated, ranges } => self.member(at, self.alphabet.members(*negated, ranges)),
                Token::Tree(Tree::Leading) => self.segments(at),
                Token::Tree(Tree::Middle) => {
                    let inside = self.unit(at, slash);
                    self.reach(inside, list);
                    self.segments(inside)
                }
                Token::Tree(Tree::Whole) => self.everything(at, list),
                Token::Tree(Tree::Trailing) => {
                    self.accept(at, list);
                    let below = self.unit(at, slash);
                    self.reach(below, list);
                    self.everything(below, list)
                }
            };
        }
        self.accept(at, list);
    }

    fn accept(&mut self, at: NodeId, list: ListId) {
        self.reach(at, list);
        add(&mut self.nodes[at as usize].accepts, list);
    }

    fn reach(&mut self, at: NodeId, list: ListId) {
        add(&mut self.nodes[at as usize].reaches, list);
        // A skipped segment leads back to where it was skipped from.
        if let Loop::SegmentStart(inside) = self.nodes[at as usize].repeat {
            add(&mut self.nodes[inside as usize].reaches, list);
        }
    }

    fn push(&mut self, repeat: Loop) -> NodeId {
        let id = self.nodes.len() as NodeId;
        self.nodes.push(Node {
            accepts: Vec::new(),
            units: Vec::new(),
            sets: Vec::new(),
            any: None,
            repeat,
            also: Vec::new(),
            reaches: Vec::new(),
        });
        id
    }

    fn unit(&mut self, at: NodeId, class: UnitClass) -> NodeId {
        if let Some((_, next)) = self.nodes[at as usize].units.iter().find(|(known, _)| *known == class) {
            return *next;
        }
        let next = self.push(Loop::None);
        self.nodes[at as usize].units.push((class, next));
        next
    }

    fn any(&mut self, at: NodeId) -> NodeId {
        if let Some(next) = self.nodes[at as usize].any {
            return next;
        }
        let next = self.push(Loop::None);
        self.nodes[at as usize].any = Some(next);
        next
    }

    fn member(&mut self, at: NodeId, members: Vec<bool>) -> NodeId {
        let index = self.sets.iter().position(|known| *known == members).unwrap_or_else(|| {
            self.sets.push(members);
            self.sets.len() - 1
        });
        if let Some((_, next)) = self.nodes[at as usize].sets.iter().find(|(known, _)| *known == index) {
            return *next;
        }
        let next = self.push(Loop::None);
        self.nodes[at as usize].sets.push((index, next));
        next
    }

    /// The node that is active with `at` and repeats.
    fn repeating(&mut self, at: NodeId, repeat: Loop) -> NodeId {
        let known = self.nodes[at as usize].also.iter().find(|id| self.nodes[**id as usize].repeat == repeat);
        if let Some(next) = known {
            return *next;
        }
        let next = self.push(repeat);
        self.nodes[at as usize].also.push(next);
        next
    }

    /// The node for anything below `at`.
    fn everything(&mut self, at: NodeId, list: ListId) -> NodeId {
        let node = match self.everything.get(&list) {
            Some(node) => *node,
            None => {
                let node = self.push(Loop::Everything(list));
                self.everything.insert(list, node);
                node
            }
        };
        if !self.nodes[at as usize].also.contains(&node) {
            self.nodes[at as usize].also.push(node);
        }
        node
    }

    /// The node that is active with `at` and again after each `/`.
    fn segments(&mut self, at: NodeId) -> NodeId {
        let is_start = |id: &&NodeId| matches!(self.nodes[**id as usize].repeat, Loop::SegmentStart(_));
        if let Some(next) = self.nodes[at as usize].also.iter().find(is_start) {
            return *next;
        }
        let start = self.push(Loop::None);
        let inside = self.push(Loop::Segment(start));
        self.nodes[start as usize].repeat = Loop::SegmentStart(inside);
        self.nodes[at as usize].also.push(start);
        start
    }

    /// Completes a set of active nodes with those that are active whenever they are, drops those that
    /// can only lead to lists that are matched for ever, and sorts it.
    pub(super) fn close(&self, active: &mut Vec<NodeId>) {
        let mut next = 0;
        while let Some(id) = active.get(next) {
            active.extend_from_slice(&self.nodes[*id as usize].also);
            next += 1;
        }
        let mut settled: Vec<ListId> = Vec::new();
        for id in active.iter() {
            if let Loop::Everything(list) = self.nodes[*id as usize].repeat {
                settled.push(list);
            }
        }
        if !settled.is_empty() {
            active.retain(|id| {
                let node = &self.nodes[*id as usize];
                matches!(node.repeat, Loop::Everything(_)) || !node.reaches.iter().all(|list| settled.contains(list))
            });
        }
        active.sort_unstable();
        active.dedup();
    }
}

/// Adds to a sorted list what it does not hold.
fn add(lists: &mut Vec<ListId>, list: ListId) {
    if let Err(place) = lists.binary_search(&list) {
        lists.insert(place, list);
    }
}
