//! How the cells of a pair of automata are laid out for the kernel: columns in an order by which it can tell with one comparison
//! that a byte leads nowhere, and rows named with the limit of that.

use gait_core::policy::compile::Automata;
use gait_ebpf::tables::LIMIT;

/// The order of columns, and the limits of rows.
pub(super) struct Laid {
    /// By new column, the old one; without the column of the end class, which stays the last.
    order: Vec<u8>,
    /// By the first cell of each row: the first column after all that lead out of it.
    limits: Vec<u16>,
}

impl Laid {
    pub(super) fn of(automata: &Automata<'_>) -> Self {
        let columns = automata.width as usize - 1;
        let mut leads = vec![false; columns];
        for start in automata.starts {
            let row = amid_a_name(automata, start);
            for (leads, cell) in leads.iter_mut().zip(&automata.cells[row as usize..]) {
                *leads |= *cell != row;
            }
        }
        let of = |wanted: bool| leads.iter().zip(0..).filter(move |(leads, _)| **leads == wanted).map(|(_, old)| old);
        let order: Vec<u8> = of(true).chain(of(false)).collect();
        let mut limits = vec![0; automata.cells.len()];
        for (number, row) in automata.cells.chunks_exact(automata.width as usize).enumerate() {
            let first = number * automata.width as usize;
            let last = order.iter().rposition(|old| row[usize::from(*old)] as usize != first);
            limits[first] = last.map_or(0, |last| last as u16 + 1);
        }
        Self { order, limits }
    }

    /// The new column of each byte.
    pub(super) fn classes(&self, automata: &Automata<'_>) -> [u8; 256] {
        let mut new = [0; 256];
        for (column, old) in (0..=u8::MAX).zip(&self.order) {
            new[usize::from(*old)] = column;
        }
        automata.classes.map(|old| new[usize::from(old)])
    }

    /// A row as a cell names it, if the first row is at `base`.
    pub(super) fn named(&self, row: u32, base: u32) -> u32 {
        (row + base) | (u32::from(self.limits[row as usize]) << LIMIT)
    }

    /// Appends all rows to `cells`, of which there are `base`.
    pub(super) fn write(&self, automata: &Automata<'_>, base: u32, cells: &mut Vec<u32>) {
        cells.reserve(automata.cells.len());
        for row in automata.cells.chunks_exact(automata.width as usize) {
            cells.extend(self.order.iter().map(|old| self.named(row[usize::from(*old)], base)));
            cells.extend(row.last());
        }
    }
}

/// The row in which an automaton is in the middle of a name that is in no pattern.
fn amid_a_name(automata: &Automata<'_>, start: u32) -> u32 {
    // No pattern has this byte, most probably: a wrong guess costs time only.
    b"/\x01\x01\x01".iter().fold(start, |row, byte| {
        let column = usize::from(automata.classes[usize::from(*byte)]);
        automata.cells.get(row as usize + column).copied().unwrap_or(row)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of `/`, `a`, all else, and the end. `/a` is found, `**/a` too: one row each of a name's start, middle and end.
    fn automata() -> ([u8; 256], Vec<u32>) {
        let mut classes = [2; 256];
        classes[usize::from(b'/')] = 0;
        classes[usize::from(b'a')] = 1;
        #[rustfmt::skip]
        let cells = vec![
            // 0: where floating patterns start and stay amid a name; 4: after a slash; 8: after `/a`.
            4, 0, 0, 0,
            4, 8, 0, 0,
            4, 0, 0, 1,
            // 12: where anchored patterns start; 16: after its slash; 20: after `/a`; 24: nothing matches any more.
            16, 24, 24, 0,
            24, 20, 24, 0,
            24, 24, 24, 1,
            24, 24, 24, 0,
        ];
        (classes, cells)
    }

    #[test]
    fn rows_are_named_with_limits_and_what_leads_out_amid_a_name_stands_first() {
        let (classes, cells) = automata();
        let automata = Automata { classes: &classes, cells: &cells, width: 4, starts: [12, 0] };
        let laid = Laid::of(&automata);
        assert_eq!(laid.order, [0, 1, 2]);
        let limits: Vec<u32> = (0..7).map(|row| laid.named(row * 4, 100) >> LIMIT).collect();
        assert_eq!(limits, [1, 3, 3, 3, 3, 3, 0]);
        let mut written = vec![7; 100];
        laid.write(&automata, 100, &mut written);
        assert_eq!(written[100..104], [104 | 3 << LIMIT, 100 | 1 << LIMIT, 100 | 1 << LIMIT, 0]);
        assert_eq!(written[124..], [124, 124, 124, 0]);
    }

    #[test]
    fn columns_are_put_in_another_order_with_their_bytes() {
        let (classes, cells) = automata();
        // The same with the columns of `/` and all else exchanged.
        let exchanged: Vec<u32> = cells.chunks(4).flat_map(|row| [row[2], row[1], row[0], row[3]]).collect();
        let other = classes.map(|column| 2 - column);
        let automata = Automata { classes: &other, cells: &exchanged, width: 4, starts: [12, 0] };
        let laid = Laid::of(&automata);
        assert_eq!(laid.order, [2, 0, 1]);
        let new = laid.classes(&automata);
        assert_eq!((new[usize::from(b'/')], new[usize::from(b'a')], new[usize::from(b'x')]), (0, 2, 1));
        let mut written = Vec::new();
        laid.write(&automata, 0, &mut written);
        let (all, one) = (3 << LIMIT, 1 << LIMIT);
        assert_eq!(written[..8], [4 | all, one, one, 0, 4 | all, one, 8 | all, 0]);
    }
}
