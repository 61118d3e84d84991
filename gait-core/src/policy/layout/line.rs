//! Lines of a YAML text, moved to where their level belongs.

use std::ops::Range;

use super::scan::Scan;

/// Blanks per level.
const STEP: usize = 2;

/// The text with its lines laid out as `scan`, which is that of the text, allows.
pub fn lay_out(text: &str, scan: &Scan) -> String {
    let mut lines = lines(text, scan);
    place_comments(&mut lines);
    let mut out = String::with_capacity(text.len());
    let mut is_after_blank = true;
    for line in &lines {
        if line.role == Role::Blank {
            is_after_blank = true;
            continue;
        }
        let is_inside = matches!(line.role, Role::Block | Role::Folded);
        if is_after_blank && !out.is_empty() && !is_inside {
            out.push('\n');
        }
        is_after_blank = false;
        if !line.words.is_empty() {
            out.extend(std::iter::repeat_n(' ', line.new_indent));
        }
        out.push_str(&line.words);
        out.push('\n');
    }
    out
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Blank,
    Comment,
    /// Starts one or more entries, or holds a value by itself.
    Content,
    /// Goes on with a flow collection.
    Flow,
    /// Goes on with a scalar.
    Folded,
    /// Of a block scalar.
    Block,
    /// `---`, `...` or a directive.
    Marker,
}

/// A line before it is written.
struct Line {
    role: Role,
    /// Blanks in front of it.
    old_indent: usize,
    new_indent: usize,
    /// The rest, as it is written.
    words: String,
    /// The levels that are open after it.
    levels: Vec<Level>,
}

/// An open block collection.
#[derive(Clone, Copy, Debug)]
struct Level {
    kind: Kind,
    old: usize,
    new: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sequence,
    Mapping,
}

fn lines(text: &str, scan: &Scan) -> Vec<Line> {
    let mut levels: Vec<Level> = Vec::new();
    let mut lines = Vec::new();
    let mut base = Level { kind: Kind::Mapping, old: 0, new: 0 };
    let mut start = 0;
    let mut shift = Shift::default();
    for (number, raw) in text.split_inclusive('\n').enumerate() {
        let range = start..start + raw.trim_end_matches(['\n', '\r']).len();
        start += raw.len();
        let line = &text[range.clone()];
        let old_indent = line.len() - line.trim_start_matches(' ').len();
        let rest = line.trim_matches([' ', '\t']);
        let flow = scan.flow(range.start).filter(|flow| flow.start < range.start);
        let (role, new_indent, words) = if let Some(block) = scan.block(number) {
            if block.start == number {
                shift = Shift::of(text, &block, base);
            }
            (Role::Block, 0, shift.line(line))
        } else if scan.folded.contains(&number) {
            // Its edits are those of what follows the scalar on this line.
            let from = range.end - line.trim_start_matches([' ', '\t']).len();
            let role = Role::Folded;
            if rest.is_empty() {
                (role, 0, String::new())
            } else {
                (role, base.new + STEP, edited(text, scan, from..range.end))
            }
        } else if rest.is_empty() {
            (Role::Blank, 0, String::new())
        } else if let Some(flow) = flow {
            let from = range.end - line.trim_start_matches([' ', '\t']).len();
            let depth = flow_depth(text, scan, flow.start..from);
            let closers = rest.chars().take_while(|c| matches!(c, ']' | '}')).count();
            (Role::Flow, base.new + STEP * depth.saturating_sub(closers), edited(text, scan, from..range.end))
        } else if rest.starts_with('#') {
            (Role::Comment, old_indent, rest.to_owned())
        } else if is_marker(line) {
            levels.clear();
            base = Level { kind: Kind::Mapping, old: 0, new: 0 };
            (Role::Marker, 0, line.trim_end().to_owned())
        } else {
            let (new_indent, words) = content(text, scan, range.clone(), &mut levels, &mut base);
            (Role::Content, new_indent, words)
        };
        lines.push(Line { role, old_indent, new_indent, words, levels: levels.clone() });
    }
    lines
}

fn is_marker(line: &str) -> bool {
    let is_document =
        |mark| line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
    is_document("---") || is_document("...") || line.starts_with('%')
}

/// A line that starts entries: the blanks in front of it, and its words with one blank after each dash.
fn content(text: &str, scan: &Scan, range: Range<usize>, levels: &mut Vec<Level>, base: &mut Level) -> (usize, String) {
    let mut at = range.end - text[range.clone()].trim_start_matches([' ', '\t']).len();
    let mut indent = None;
    let mut words = String::new();
    loop {
        let rest = &text[at..range.end];
        let column = text[range.start..at].chars().count();
        let is_dash = rest == "-" || rest.starts_with("- ") || rest.starts_with("-\t");
        if is_dash {
            *base = open(levels, Kind::Sequence, column);
            indent.get_or_insert(base.new);
            let after = rest[1..].trim_start_matches([' ', '\t']);
            words.push('-');
            at = range.end - after.len();
            if after.is_empty() {
                break;
            }
            words.push(' ');
            continue;
        }
        if scan.keys.contains(&at) {
            *base = open(levels, Kind::Mapping, column);
            indent.get_or_insert(base.new);
        } else if indent.is_none() {
            while levels.last().is_some_and(|level| level.old >= column) {
                levels.pop();
            }
            let parent = levels.last().copied();
            indent = Some(parent.map_or(0, |parent| parent.new + STEP));
            *base = parent.unwrap_or(*base);
        }
        words.push_str(&edited(text, scan, at..range.end));
        break;
    }
    (indent.unwrap_or_default(), words)
}

/// The level of an entry of this kind at `column`; levels that it closes are closed.
fn open(levels: &mut Vec<Level>, kind: Kind, column: usize) -> Level {
    loop {
        let new = match levels.last() {
            Some(top) if top.old > column => {
                levels.pop();
                continue;
            }
            Some(top) if top.old == column && top.kind == kind => return *top,
            // A list may start at the column of its key, and ends where the next key is.
            Some(top) if top.old == column && kind == Kind::Mapping => {
                levels.pop();
                continue;
            }
            Some(top) => top.new + STEP,
            None => 0,
        };
        let level = Level { kind, old: column, new };
        levels.push(level);
        return level;
    }
}

/// Gives each comment the level of the next line if it stands there, else the deepest before it that it is in.
fn place_comments(lines: &mut [Line]) {
    let mut next: Option<(usize, usize)> = None;
    let mut nexts = Vec::with_capacity(lines.len());
    for line in lines.iter().rev() {
        if line.role == Role::Content {
            next = Some((line.old_indent, line.new_indent));
        }
        nexts.push(next);
    }
    for (line, next) in lines.iter_mut().zip(nexts.into_iter().rev()).filter(|(line, _)| line.role == Role::Comment) {
        let column = line.old_indent;
        let level = || line.levels.iter().rev().find(|level| level.old <= column).map(|level| level.new);
        line.new_indent = match next {
            Some((old, new)) if old == column => new,
            Some((_, new)) => level().unwrap_or(new),
            // The end of the file: a list may start at the column of its key, but is over here.
            None if column == 0 => 0,
            None => level().unwrap_or_default(),
        };
    }
}

/// By how much the lines of a block scalar move.
#[derive(Clone, Copy, Debug, Default)]
struct Shift {
    old: usize,
    new: usize,
}

impl Shift {
    fn of(text: &str, block: &Range<usize>, base: Level) -> Self {
        let mut lines = text.lines().skip(block.start.saturating_sub(1));
        let header = lines.next().unwrap_or_default().split(" #").next().unwrap_or_default().trim_end();
        // With an indicator the indent counts from that of the entry, without one from the text itself.
        if header.trim_end_matches(['+', '-']).ends_with(|c: char| c.is_ascii_digit())
            || header.strip_suffix(|c: char| c.is_ascii_digit()).is_some_and(|rest| rest.ends_with(['+', '-']))
        {
            return Self { old: base.old, new: base.new };
        }
        let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
        let written = lines.take(block.len()).filter(|line| !line.trim_matches(' ').is_empty());
        Self { old: written.map(indent).min().unwrap_or_default(), new: base.new + STEP }
    }

    fn line(self, line: &str) -> String {
        match line.get(self.old..) {
            Some(rest) if !rest.is_empty() && line.bytes().take(self.old).all(|byte| byte == b' ') => {
                format!("{:1$}{rest}", "", self.new)
            }
            _ => line.trim_matches(' ').to_owned(),
        }
    }
}

/// How many brackets are open at the end of `range`, which starts before the first.
fn flow_depth(text: &str, scan: &Scan, range: Range<usize>) -> usize {
    let mut depth = 0_usize;
    punctuation(text, scan, range, |mark| match mark {
        Piece::Mark('[' | '{') => depth += 1,
        Piece::Mark(']' | '}') => depth = depth.saturating_sub(1),
        _ => {}
    });
    depth
}

/// A part of a flow collection.
enum Piece<'t> {
    Atom(&'t str),
    Mark(char),
    Comment(&'t str),
}

/// Gives the parts of `range`, which lies in a flow collection, without blanks.
fn punctuation<'t>(text: &'t str, scan: &Scan, range: Range<usize>, mut take: impl FnMut(Piece<'t>)) {
    let mut at = range.start;
    while let Some(character) = text.get(at..range.end).and_then(|rest| rest.chars().next()) {
        if let Some(end) = scan.atoms.get(&at).map(|end| (*end).min(range.end)) {
            take(Piece::Atom(&text[at..end]));
            at = end;
        } else if scan.comment_starts.contains(&at) {
            let end = text[at..].find('\n').map_or(text.len(), |end| at + end).min(range.end);
            take(Piece::Comment(text[at..end].trim_end()));
            at = end;
        } else {
            if !character.is_whitespace() {
                take(Piece::Mark(character));
            }
            at += character.len_utf8();
        }
    }
}

/// The words of a part of a line: one blank in gaps, flow collections spaced, none at the end.
fn edited(text: &str, scan: &Scan, range: Range<usize>) -> String {
    let mut out = String::with_capacity(range.len());
    let mut at = range.start;
    while at < range.end {
        if let Some(end) = scan.gaps.get(&at).filter(|end| **end <= range.end) {
            out.push_str(": ");
            at = *end;
        } else if let Some(flow) = scan.flow(at) {
            let end = flow.end.min(range.end);
            out.push_str(&spaced(text, scan, at..end));
            at = end;
        } else if let Some(end) = scan.atoms.get(&at).map(|end| (*end).min(range.end)) {
            out.push_str(&text[at..end]);
            at = end;
        } else {
            let Some(character) = text[at..].chars().next() else { break };
            out.push(character);
            at += character.len_utf8();
        }
    }
    out.trim_end_matches([' ', '\t']).to_owned()
}

/// A part of a flow collection, with a blank after each comma and colon and none inside brackets.
fn spaced(text: &str, scan: &Scan, range: Range<usize>) -> String {
    let mut out = String::with_capacity(range.len());
    let mut was_atom = false;
    punctuation(text, scan, range, |piece| match piece {
        Piece::Atom(atom) => {
            if was_atom {
                out.push(' ');
            }
            out.push_str(atom);
            was_atom = true;
        }
        Piece::Comment(comment) => {
            out.truncate(out.trim_end().len());
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(comment);
            was_atom = false;
        }
        Piece::Mark(mark) => {
            if matches!(mark, ',' | ']' | '}' | ':') {
                out.truncate(out.trim_end().len());
            } else if was_atom {
                out.push(' ');
            }
            out.push(mark);
            if matches!(mark, ',' | ':' | '?') {
                out.push(' ');
            }
            was_atom = false;
        }
    });
    out
}
