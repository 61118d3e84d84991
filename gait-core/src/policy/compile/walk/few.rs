//! Rows that say only what is not usual in them.

/// A row in which less than half of the columns do not lead to the usual node. In numbers: a bit for each of those columns in two,
/// the usual node, and then theirs in order.
pub(super) struct Few<'a> {
    pub(super) columns: u64,
    pub(super) usual: u32,
    /// And what follows in the rows.
    pub(super) others: &'a [u32],
}

impl<'a> Few<'a> {
    /// Columns that there are bits for.
    pub(super) const COLUMNS: usize = 64;

    /// What is at the start of `rows`; `None` if nothing is.
    #[inline]
    pub(super) fn at(rows: &'a [u32]) -> Option<Self> {
        let ([low, high, usual], others) = rows.split_first_chunk()?;
        Some(Self { columns: u64::from(*low) | u64::from(*high) << 32, usual: *usual, others })
    }

    /// The node of one of the first 64 columns.
    #[inline]
    pub(super) fn get(&self, column: u8) -> u32 {
        let bit = bit(column);
        if self.columns & bit == 0 {
            return self.usual;
        }
        self.others[(self.columns & (bit - 1)).count_ones() as usize]
    }

    /// `row` in this form, if it is one.
    pub(super) fn of(row: &[u32]) -> Option<Vec<u32>> {
        if row.len() > Self::COLUMNS {
            return None;
        }
        // The vote of Boyer and Moore: what is in more than half of the columns is what is left.
        let (usual, _) = row.iter().fold((0, 0_u32), |(usual, votes), node| match votes {
            0 => (*node, 1),
            _ if usual == *node => (usual, votes + 1),
            _ => (usual, votes - 1),
        });
        let others = (0..).zip(row).filter(|(_, node)| **node != usual);
        let (columns, others): (Vec<u8>, Vec<u32>) = others.unzip();
        let bits = columns.into_iter().map(bit).sum::<u64>();
        let numbers = [bits as u32, (bits >> 32) as u32, usual].into_iter().chain(others.iter().copied()).collect();
        (2 * others.len() < row.len()).then_some(numbers)
    }
}

#[inline]
fn bit(column: u8) -> u64 {
    1_u64.wrapping_shl(column.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_in_few_words_says_the_same(row in prop::collection::vec(0..4_u32, 0..70), usual in any::<bool>()) {
            let row: Vec<u32> = row.into_iter().map(|node| if usual && node != 3 { 7 } else { node }).collect();
            let most = row.iter().map(|node| row.iter().filter(|other| *other == node).count()).max().unwrap_or(0);
            let few = Few::of(&row);
            prop_assert_eq!(few.is_some(), row.len() <= Few::COLUMNS && 2 * most > row.len());
            if let Some(numbers) = few {
                // Whatever follows.
                let numbers = [numbers.as_slice(), &[99; 70]].concat();
                let few = Few::at(&numbers).unwrap();
                let again: Vec<u32> = (0..row.len() as u8).map(|column| few.get(column)).collect();
                prop_assert_eq!(again, row);
            }
        }
    }

    #[test]
    fn what_is_cut_short_is_no_row() {
        assert!(Few::at(&[1, 0]).is_none());
        assert_eq!(Few::at(&[1, 0, 5]).map(|few| few.others.len()), Some(0));
    }
}
