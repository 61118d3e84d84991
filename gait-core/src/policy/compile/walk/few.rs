//! Rows that say only what is not usual in them.

/// A row in which less than half of the columns do not lead to the usual node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Few {
    /// A bit for each of those columns: the first 32, and the others.
    pub(super) columns: [u32; 2],
    /// Where all others lead.
    pub(super) usual: u32,
    /// From here in the rows their nodes, in order.
    pub(super) at: u32,
}

impl Few {
    /// Columns that there are bits for.
    pub(super) const COLUMNS: usize = 64;

    fn bits(&self) -> u64 {
        u64::from(self.columns[0]) | u64::from(self.columns[1]) << 32
    }

    /// The node of one of the first 64 columns.
    #[inline]
    pub(super) fn get(&self, column: u8, rows: &[u32]) -> u32 {
        let (bits, bit) = (self.bits(), bit(column));
        if bits & bit == 0 {
            return self.usual;
        }
        rows[self.at as usize + (bits & (bit - 1)).count_ones() as usize]
    }

    /// What it has in the rows; `None` if that is not all there.
    pub(super) fn others<'a>(&self, rows: &'a [u32]) -> Option<&'a [u32]> {
        rows.get(self.at as usize..)?.get(..self.bits().count_ones() as usize)
    }

    /// `row` in this form, if it is one: what it has in the rows goes to their end.
    pub(super) fn of(row: &[u32], rows: &mut Vec<u32>) -> Option<Self> {
        if row.len() > Self::COLUMNS {
            return None;
        }
        // The vote of Boyer and Moore: what is in more than half of the columns is what is left.
        let (usual, _) = row.iter().fold((0, 0_u32), |(usual, votes), node| match votes {
            0 => (*node, 1),
            _ if usual == *node => (usual, votes + 1),
            _ => (usual, votes - 1),
        });
        let others = || (0..).zip(row).filter(|(_, node)| **node != usual);
        if 2 * others().count() >= row.len() {
            return None;
        }
        let bits: u64 = others().map(|(column, _)| bit(column)).sum();
        // As many as the table has cells, at most.
        let at = rows.len() as u32;
        rows.extend(others().map(|(_, node)| *node));
        Some(Self { columns: [bits as u32, (bits >> 32) as u32], usual, at })
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
            let mut rows = vec![99; 3];
            let few = Few::of(&row, &mut rows);
            prop_assert_eq!(few.is_some(), row.len() <= Few::COLUMNS && 2 * most > row.len());
            if let Some(few) = few {
                prop_assert_eq!(few.others(&rows), Some(&rows[3..]));
                prop_assert!(rows.len() == 3 || few.others(&rows[1..]).is_none());
                let again: Vec<u32> = (0..row.len() as u8).map(|column| few.get(column, &rows)).collect();
                prop_assert_eq!(again, row);
            }
        }
    }
}
