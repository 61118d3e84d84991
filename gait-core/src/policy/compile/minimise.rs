//! Moore's minimisation, and merging of byte classes that no state tells apart.

use super::byte_dfa::ByteDfa;
use super::hash::FastMap;

/// The smallest automaton with the same ends, its states in the order in which they are reached.
pub(super) fn minimise(dfa: &ByteDfa) -> ByteDfa {
    let partition = Partition::of(dfa);
    // Rows were compared by their sums. Two sums that are equal by chance would show here.
    let parts = if partition.is_stable() { partition.parts } else { (0..dfa.ends.len() as u32).collect() };
    let mut numbers = vec![u32::MAX; dfa.ends.len()];
    let mut members = vec![dfa.start];
    numbers[parts[dfa.start as usize] as usize] = 0;
    let mut smallest = ByteDfa { start: 0, width: dfa.width, next: Vec::new(), ends: Vec::new() };
    let mut at = 0;
    while let Some(member) = members.get(at).copied() {
        for target in row(dfa, member) {
            let number = &mut numbers[parts[*target as usize] as usize];
            if *number == u32::MAX {
                *number = members.len() as u32;
                members.push(*target);
            }
            smallest.next.push(*number);
        }
        smallest.ends.push(dfa.ends[member as usize]);
        at += 1;
    }
    smallest
}

fn row(dfa: &ByteDfa, state: u32) -> &[u32] {
    &dfa.next[state as usize * dfa.width..][..dfa.width]
}

/// Classes of states that are equivalent as far as is known.
struct Partition<'a> {
    dfa: &'a ByteDfa,
    /// By state: its class.
    parts: Vec<u32>,
    /// By class: its states.
    members: Vec<Vec<u32>>,
    /// By state: where it stands among the members of its class.
    places: Vec<u32>,
}

impl<'a> Partition<'a> {
    /// The classes of equivalent states.
    ///
    /// A round looks only at states that lead to one whose class changed in the round before: all
    /// others still agree with their class. So a chain of a thousand states costs a thousand steps.
    fn of(dfa: &'a ByteDfa) -> Self {
        let states = dfa.ends.len();
        let mut partition = Self { dfa, parts: vec![0; states], members: Vec::new(), places: vec![0; states] };
        let mut by_end: FastMap<u32, u32> = FastMap::default();
        for (state, end) in (0..).zip(&dfa.ends) {
            let fresh = partition.members.len() as u32;
            let part = *by_end.entry(*end).or_insert(fresh);
            if part == fresh {
                partition.members.push(Vec::new());
            }
            partition.join(state, part);
        }
        let sources = Sources::of(dfa);
        let mut affected: Vec<u32> = (0..states as u32).collect();
        let mut is_affected = vec![false; states];
        while !affected.is_empty() {
            affected.iter().for_each(|state| is_affected[*state as usize] = true);
            let moves = partition.plan(&mut affected, &is_affected);
            affected.iter().for_each(|state| is_affected[*state as usize] = false);
            affected.clear();
            for group in moves {
                let fresh = partition.members.len() as u32;
                partition.members.push(Vec::with_capacity(group.len()));
                for state in group {
                    partition.leave(state);
                    partition.join(state, fresh);
                    affected.extend(sources.of_state(state));
                }
            }
            affected.sort_unstable();
            affected.dedup();
        }
        partition
    }

    fn join(&mut self, state: u32, part: u32) {
        let members = &mut self.members[part as usize];
        self.parts[state as usize] = part;
        self.places[state as usize] = members.len() as u32;
        members.push(state);
    }

    fn leave(&mut self, state: u32) {
        let place = self.places[state as usize];
        let members = &mut self.members[self.parts[state as usize] as usize];
        members.swap_remove(place as usize);
        if let Some(moved) = members.get(place as usize) {
            self.places[*moved as usize] = place;
        }
    }

    /// The groups of affected states that no longer agree with the rest of their class.
    fn plan(&self, affected: &mut [u32], is_affected: &[bool]) -> Vec<Vec<u32>> {
        affected.sort_unstable_by_key(|state| (self.parts[*state as usize], *state));
        let mut moves = Vec::new();
        for states in affected.chunk_by(|a, b| self.parts[*a as usize] == self.parts[*b as usize]) {
            let members = &self.members[self.parts[states[0] as usize] as usize];
            if members.len() == 1 {
                continue;
            }
            let mut known: FastMap<u64, usize> = FastMap::default();
            let mut groups: Vec<Vec<u32>> = Vec::new();
            let rest = members.iter().find(|state| !is_affected[**state as usize]);
            for state in rest.into_iter().chain(states) {
                let fresh = groups.len();
                let group = *known.entry(self.sum(*state)).or_insert(fresh);
                if group == fresh {
                    groups.push(Vec::new());
                }
                groups[group].push(*state);
            }
            // Who was not looked at keeps the class; else the largest group does.
            let keeps = match rest {
                Some(_) => 0,
                None => (0..groups.len()).max_by_key(|group| groups[*group].len()).unwrap_or(0),
            };
            groups.swap_remove(keeps);
            moves.append(&mut groups);
        }
        moves
    }

    /// A number that tells apart rows that lead to different classes.
    fn sum(&self, state: u32) -> u64 {
        let mixed = |sum: u64, part: u64| (sum.rotate_left(5) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let part = |target: &u32| u64::from(self.parts[*target as usize]);
        // Four sums at a time, none of which waits for another.
        let (fours, rest) = row(self.dfa, state).as_chunks::<4>();
        let mut sums = [0; 4];
        for four in fours {
            for (sum, target) in sums.iter_mut().zip(four) {
                *sum = mixed(*sum, part(target));
            }
        }
        sums.into_iter().chain(rest.iter().map(part)).fold(0, mixed)
    }

    /// Whether the states of each class agree in where they lead.
    fn is_stable(&self) -> bool {
        let parts = |state: u32| row(self.dfa, state).iter().map(|target| self.parts[*target as usize]);
        self.members.iter().all(|members| {
            members.split_first().is_none_or(|(first, rest)| rest.iter().all(|state| parts(*state).eq(parts(*first))))
        })
    }
}

/// The states that lead to each state.
struct Sources {
    /// By state: where its sources start in `all`; one more for the end.
    starts: Vec<u32>,
    all: Vec<u32>,
}

impl Sources {
    fn of(dfa: &ByteDfa) -> Self {
        let mut starts = vec![0_u32; dfa.ends.len() + 1];
        let edges = || {
            dfa.next.chunks(dfa.width).zip(0_u32..).flat_map(|(row, source)| {
                // Neighbouring columns mostly lead to the same state.
                row.chunk_by(|a, b| a == b).map(move |run| (source, run[0] as usize))
            })
        };
        edges().for_each(|(_, target)| starts[target + 1] += 1);
        for state in 0..dfa.ends.len() {
            starts[state + 1] += starts[state];
        }
        let mut all = vec![0; edges().count()];
        let mut next = starts.clone();
        for (source, target) in edges() {
            all[next[target] as usize] = source;
            next[target] += 1;
        }
        Self { starts, all }
    }

    fn of_state(&self, state: u32) -> &[u32] {
        &self.all[self.starts[state as usize] as usize..self.starts[state as usize + 1] as usize]
    }
}

/// Merges columns that are equal in all rows; gives the new column of each old one.
pub(super) fn merge_columns(dfa: &mut ByteDfa) -> Vec<u8> {
    let mut sums = vec![0_u64; dfa.width];
    for row in dfa.next.chunks(dfa.width) {
        for (sum, target) in sums.iter_mut().zip(row) {
            *sum = (sum.rotate_left(5) ^ u64::from(*target)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
    let mut keep: Vec<usize> = Vec::new();
    let mut columns = Vec::with_capacity(dfa.width);
    for (column, sum) in sums.iter().enumerate() {
        let same =
            |kept: &&usize| sums[**kept] == *sum && dfa.next.chunks(dfa.width).all(|row| row[**kept] == row[column]);
        let place = keep.iter().find(same).copied();
        let at = place.and_then(|kept| keep.iter().position(|other| *other == kept)).unwrap_or_else(|| {
            keep.push(column);
            keep.len() - 1
        });
        // There are at most 256 columns.
        columns.push(at as u8);
    }
    dfa.next = dfa.next.chunks(dfa.width).flat_map(|row| keep.iter().map(|column| row[*column])).collect();
    dfa.width = keep.len();
    columns
}
