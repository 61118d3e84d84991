//! What is where in a YAML text, as far as its layout is concerned.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle, options};

use super::super::error::YamlError;
use super::super::model::Position;
use super::super::yaml::{position, syntax_error};

/// Byte ranges and line numbers (from 0) of a text.
#[derive(Debug, Default)]
pub struct Scan {
    /// Where keys of block mappings start, their anchors and tags included.
    pub keys: HashSet<usize>,
    /// Between a key and a value on its line: `:` and blanks. Starts and ends.
    pub gaps: HashMap<usize, usize>,
    /// Scalars, aliases, anchors and tags: nothing in them may change.
    pub atoms: HashMap<usize, usize>,
    /// Outermost flow collections.
    pub flows: BTreeMap<usize, usize>,
    /// Lines that go on with a plain or quoted scalar of the line before.
    pub folded: BTreeSet<usize>,
    /// Lines of block scalars: the first of each, and the one after its last.
    pub blocks: BTreeMap<usize, usize>,
    /// Where comments start.
    pub comment_starts: HashSet<usize>,
    /// All comments, in order, without blanks at their ends.
    pub comments: Vec<String>,
    /// Where a second document starts.
    pub second_document: Option<Position>,
}

/// The range of `ranges` that `at` lies in.
fn around(ranges: &BTreeMap<usize, usize>, at: usize) -> Option<Range<usize>> {
    ranges.range(..=at).next_back().map(|(start, end)| *start..*end).filter(|range| range.contains(&at))
}

/// An open collection while events are read.
enum Open {
    Sequence,
    /// `key_end` is the end of the key that waits for its value.
    Mapping {
        is_block: bool,
        key_end: Option<usize>,
    },
}

impl Scan {
    /// Looks at `text`.
    ///
    /// # Errors
    /// It is no YAML.
    pub fn of(text: &str) -> Result<Self, YamlError> {
        let options = options! { emit_anchor_events: true, max_buffered_comment_events: usize::MAX };
        let events: Vec<(Event<'_>, Span)> = Parser::new_from_str_with_options(text, options)
            .collect::<Result<_, _>>()
            .map_err(|error| syntax_error(&error))?;
        let mut scan = Self::default();
        let mut reader = Reader { scan: &mut scan, open: Vec::new(), documents: 0, flow_depth: 0, flow_start: 0, text };
        for (place, (event, span)) in events.iter().enumerate() {
            // The anchor of a node comes right after it.
            let anchor = match events.get(place + 1) {
                Some((Event::Anchor(..), span)) => Some(span),
                _ => None,
            };
            reader.take(event, span, anchor);
        }
        Ok(scan)
    }

    /// The outermost flow collection that the byte `at` lies in.
    pub fn flow(&self, at: usize) -> Option<Range<usize>> {
        around(&self.flows, at)
    }

    /// The lines of the block scalar that the line `number` is of.
    pub fn block(&self, number: usize) -> Option<Range<usize>> {
        around(&self.blocks, number)
    }
}

struct Reader<'s> {
    scan: &'s mut Scan,
    open: Vec<Open>,
    documents: usize,
    flow_depth: usize,
    flow_start: usize,
    text: &'s str,
}

fn bytes(span: &Span) -> Range<usize> {
    span.start.byte_offset().unwrap_or_default()..span.end.byte_offset().unwrap_or_default()
}

impl Reader<'_> {
    fn take(&mut self, event: &Event<'_>, span: &Span, anchor: Option<&Span>) {
        let range = bytes(span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents == 2 {
                    self.scan.second_document = Some(position(span));
                }
            }
            Event::Comment(text, _) => {
                self.scan.comments.push(text.trim_end().to_owned());
                self.scan.comment_starts.insert(range.start);
            }
            Event::Anchor(..) => self.atom(range),
            Event::Scalar(_, style, _, _) => {
                self.node(span, anchor, false);
                self.scalar(*style, span);
            }
            Event::Alias(_) => {
                self.node(span, anchor, false);
                self.atom(range);
            }
            Event::SequenceStart(style, ..) => {
                self.node(span, anchor, *style == StructureStyle::Block);
                self.start(*style, range.start);
                self.open.push(Open::Sequence);
            }
            Event::MappingStart(style, ..) => {
                self.node(span, anchor, *style == StructureStyle::Block);
                self.start(*style, range.start);
                self.open.push(Open::Mapping { is_block: *style == StructureStyle::Block, key_end: None });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
                if self.flow_depth > 0 {
                    self.flow_depth -= 1;
                    if self.flow_depth == 0 {
                        self.scan.flows.insert(self.flow_start, range.end);
                    }
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, style: StructureStyle, at: usize) {
        if self.flow_depth > 0 || style == StructureStyle::Flow {
            if self.flow_depth == 0 {
                self.flow_start = at;
            }
            self.flow_depth += 1;
        }
    }

    fn atom(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.scan.atoms.insert(range.start, range.end);
        }
    }

    /// A node starts: as a key, as a value, or as an item.
    fn node(&mut self, span: &Span, anchor: Option<&Span>, is_block: bool) {
        let range = bytes(span);
        let tag = span.tag_start.and_then(|tag| tag.byte_offset());
        if let Some(tag) = tag {
            let end =
                self.text[tag..].find([' ', '\t', '\n', '\r', ',', ']', '}']).map_or(self.text.len(), |end| tag + end);
            self.atom(tag..end);
        }
        let anchor = anchor.map(|anchor| bytes(anchor).start);
        let first = [Some(range.start), tag, anchor].into_iter().flatten().min().unwrap_or(range.start);
        if let Some(Open::Mapping { is_block: true, key_end }) = self.open.last_mut() {
            match key_end.take() {
                None => {
                    self.scan.keys.insert(first);
                    *key_end = Some(range.end);
                }
                // A block collection starts where its first item does, which says nothing about a gap.
                Some(_) if is_block && first == range.start => {}
                Some(end) => {
                    let gap = self.text.get(end..first).unwrap_or_default();
                    if gap.trim_matches([' ', '\t']) == ":" {
                        self.scan.gaps.insert(end, first);
                    }
                }
            }
        } else if let Some(Open::Mapping { key_end, .. }) = self.open.last_mut() {
            *key_end = if key_end.is_some() { None } else { Some(range.end) };
        }
    }

    fn scalar(&mut self, style: ScalarStyle, span: &Span) {
        let range = bytes(span);
        let (first, last) = (span.start.line() - 1, span.end.line() - 1);
        match style {
            ScalarStyle::Literal | ScalarStyle::Folded => {
                // From the line after its header to the line before the next token.
                let header = self.text[..range.start].trim_end_matches([' ', '\t', '\n', '\r']);
                let from = header.matches('\n').count() + 1;
                let is_whole_line =
                    self.text[..range.end].ends_with('\n') || span.end.col() > 0 && self.is_indent(range.end);
                let to = if is_whole_line { last } else { last + 1 };
                if from < to {
                    self.scan.blocks.insert(from, to);
                }
            }
            _ => {
                self.scan.folded.extend(first + 1..=last);
                self.atom(range);
            }
        }
    }

    /// Whether only blanks stand before `at` on its line.
    fn is_indent(&self, at: usize) -> bool {
        let line = self.text[..at].rsplit('\n').next().unwrap_or_default();
        line.bytes().all(|byte| byte == b' ')
    }
}
