//! Moore's minimisation, and merging of byte classes that no state tells apart.

use super::byte_dfa::ByteDfa;
use super::hash::FastMap;

/// The smallest automaton with the same ends, its states in the order in which they are reached.
pub(super) fn minimise(dfa: &ByteDfa) -> ByteDfa {
    let parts = partition(dfa);
    let mut numbers: FastMap<u32, u32> = FastMap::default();
    let mut members = vec![0_usize];
    numbers.insert(parts[0], 0);
    let mut smallest = ByteDfa { width: dfa.width, next: Vec::new(), ends: Vec::new() };
    let mut at = 0;
    while let Some(member) = members.get(at).copied() {
        for target in row(dfa, member) {
            let fresh = members.len() as u32;
            let id = *numbers.entry(parts[*target as usize]).or_insert(fresh);
            if id == fresh {
                members.push(*target as usize);
            }
            smallest.next.push(id);
        }
        smallest.ends.push(dfa.ends[member]);
        at += 1;
    }
    smallest
}

fn row(dfa: &ByteDfa, state: usize) -> &[u32] {
    &dfa.next[state * dfa.width..(state + 1) * dfa.width]
}

/// By state, the number of its class of equivalent states.
fn partition(dfa: &ByteDfa) -> Vec<u32> {
    let mut parts: Vec<u32> = dfa.ends.clone();
    let mut count = 0;
    loop {
        // A collision of two 64-bit sums would merge states that differ: the full rows are compared.
        let mut first_of: FastMap<u64, Vec<(u32, usize)>> = FastMap::default();
        let mut refined = Vec::with_capacity(parts.len());
        let mut found = 0;
        for state in 0..parts.len() {
            let sum = row(dfa, state).iter().fold(u64::from(parts[state]), |sum, target| {
                sum.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(parts[*target as usize]) + 1)
            });
            let candidates = first_of.entry(sum).or_default();
            let same = candidates.iter().find(|(_, other)| {
                parts[*other] == parts[state]
                    && row(dfa, *other)
                        .iter()
                        .zip(row(dfa, state))
                        .all(|(a, b)| parts[*a as usize] == parts[*b as usize])
            });
            let part = match same {
                Some((part, _)) => *part,
                None => {
                    candidates.push((found, state));
                    found += 1;
                    found - 1
                }
            };
            refined.push(part);
        }
        parts = refined;
        if found == count {
            return parts;
        }
        count = found;
    }
}

/// Merges columns that are equal in all of `dfas`; gives the new column of each old one.
pub(super) fn merge_columns(dfas: &mut [ByteDfa]) -> Vec<u8> {
    let width = dfas.first().map_or(0, |dfa| dfa.width);
    let mut known: FastMap<Vec<u32>, u8> = FastMap::default();
    let mut keep = Vec::new();
    let mut columns = Vec::with_capacity(width);
    for column in 0..width {
        let content = dfas.iter().flat_map(|dfa| dfa.next.iter().skip(column).step_by(width).copied()).collect();
        let fresh = u8::try_from(keep.len()).unwrap_or(u8::MAX);
        columns.push(*known.entry(content).or_insert_with(|| {
            keep.push(column);
            fresh
        }));
    }
    for dfa in dfas {
        dfa.next = dfa.next.chunks(width).flat_map(|row| keep.iter().map(|column| row[*column])).collect();
        dfa.width = keep.len();
    }
    columns
}
