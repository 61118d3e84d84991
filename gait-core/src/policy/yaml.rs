//! A YAML document as a tree with positions: what the policy reader walks.
//!
//! Anchors, aliases and merge keys are resolved here, duplicate keys are refused, and what aliases may
//! unfold to is bounded. What a scalar *means* is the business of [`super::scalar`].

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag, options};

use super::error::YamlError;
use super::fault::Faults;
use super::model::Position;
use super::scalar::Scalar;

/// How many nodes aliases may add to a document. A policy of ten thousand rules that all share one
/// `match` stays below; an alias bomb does not.
const ALIAS_BUDGET: usize = 250_000;

/// A node and where it starts.
#[derive(Clone, Debug)]
pub struct Node {
    pub at: Position,
    pub data: Data,
    /// Nodes in this subtree, itself included.
    size: usize,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub enum Data {
    Scalar(Scalar),
    Sequence(Vec<Rc<Node>>),
    /// In the order of the file, merged members last; no key twice.
    Mapping(Vec<Member>),
}

/// One member of a mapping.
#[derive(Clone, Debug)]
pub struct Member {
    pub key: String,
    pub at: Position,
    pub value: Rc<Node>,
}

impl Node {
    /// What the node is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.data {
            Data::Scalar(scalar) => scalar.kind(),
            Data::Sequence(_) => "sequence",
            Data::Mapping(_) => "mapping",
        }
    }

    /// Whether it is a null, written or not.
    pub const fn is_null(&self) -> bool {
        matches!(self.data, Data::Scalar(Scalar::Null))
    }
}

/// The first document of `text`; nothing if the text holds none. The other documents must be well-formed.
/// Keys that are there twice are reported to `faults`, and the first of them counts.
///
/// # Errors
/// What ends the reading: text that is no YAML.
pub fn first_document(text: &str, faults: &Faults) -> Result<Option<Rc<Node>>, YamlError> {
    if text.starts_with('\u{feff}') {
        return Err(YamlError::new(Position { line: 1, column: 1 }, "the file starts with a byte order mark"));
    }
    let mut builder = Builder { open: Vec::new(), anchors: HashMap::new(), unfolded: 0, faults };
    let mut first = None;
    for event in Parser::new_from_str_with_options(text, options! { emit_comments: false }) {
        let (event, span) = event.map_err(|error| syntax_error(&error))?;
        if first.is_some() {
            continue;
        }
        if let Some(root) = builder.take(event, span)? {
            first = Some(root);
        }
    }
    Ok(first.filter(|root| !root.is_absent).map(|root| root.node))
}

pub fn syntax_error(error: &ScanError) -> YamlError {
    let marker = error.marker();
    YamlError::new(Position { line: marker.line().max(1), column: marker.col() + 1 }, error.info())
}

pub fn position(span: &Span) -> Position {
    Position { line: span.start.line().max(1), column: span.start.col() + 1 }
}

struct Root {
    node: Rc<Node>,
    /// The document is there (`---`), but nothing is in it.
    is_absent: bool,
}

/// Collections that are still open, innermost last.
struct Builder<'f> {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    unfolded: usize,
    faults: &'f Faults,
}

struct Open {
    at: Position,
    anchor: usize,
    size: usize,
    kind: OpenKind,
}

enum OpenKind {
    Sequence(Vec<Rc<Node>>),
    Mapping { members: Vec<Member>, places: HashMap<String, Position>, merges: Vec<Rc<Node>>, key: Option<Key> },
}

enum Key {
    Name(String, Position),
    Merge,
    /// It was there before: what it holds counts for nothing.
    Repeated,
}

impl Builder<'_> {
    /// Takes the next event; gives the root once it is complete.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<Option<Root>, YamlError> {
        let at = position(&span);
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = scalar(&text, style, tag.as_deref(), at)?;
                let is_plain = style == ScalarStyle::Plain;
                if self.is_key_next() {
                    return self.take_key(text.into_owned(), is_plain, anchor, scalar, at).map(|()| None);
                }
                let is_absent = self.open.is_empty() && span.start.index() == span.end.index();
                let node = Rc::new(Node { at, data: Data::Scalar(scalar), size: 1 });
                if is_absent {
                    return Ok(Some(Root { node, is_absent }));
                }
                (node, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(at, anchor, tag.as_deref(), OpenKind::Sequence(Vec::new()))?;
                return Ok(None);
            }
            Event::MappingStart(_, anchor, tag) => {
                let kind =
                    OpenKind::Mapping { members: Vec::new(), places: HashMap::new(), merges: Vec::new(), key: None };
                self.open(at, anchor, tag.as_deref(), kind)?;
                return Ok(None);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(id) => (self.unfold(id, at)?, 0),
            _ => return Ok(None),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.attach(node)
    }

    fn is_key_next(&self) -> bool {
        matches!(self.open.last(), Some(Open { kind: OpenKind::Mapping { key: None, .. }, .. }))
    }

    fn take_key(
        &mut self,
        text: String,
        is_plain: bool,
        anchor: usize,
        scalar: Scalar,
        at: Position,
    ) -> Result<(), YamlError> {
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::new(Node { at, data: Data::Scalar(scalar), size: 1 }));
        }
        let Some(Open { kind: OpenKind::Mapping { places, key, .. }, .. }) = self.open.last_mut() else {
            return Ok(());
        };
        if is_plain && text == "<<" {
            *key = Some(Key::Merge);
            return Ok(());
        }
        if let Some(earlier) = places.get(&text) {
            self.faults.shape(YamlError::new(at, format!("mapping key `{text}` already defined at {earlier}")));
            *key = Some(Key::Repeated);
            return Ok(());
        }
        places.insert(text.clone(), at);
        *key = Some(Key::Name(text, at));
        Ok(())
    }

    fn open(&mut self, at: Position, anchor: usize, tag: Option<&Tag>, kind: OpenKind) -> Result<(), YamlError> {
        let wanted = if matches!(kind, OpenKind::Sequence(_)) { "seq" } else { "map" };
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema_tag(wanted)) {
            return Err(unsupported_tag(tag, at));
        }
        if self.is_key_next() {
            return Err(YamlError::new(at, "a key must be a scalar"));
        }
        self.open.push(Open { at, anchor, size: 1, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(Rc<Node>, usize), YamlError> {
        let Some(open) = self.open.pop() else {
            return Err(YamlError::new(Position::default(), "a collection ends that was not started"));
        };
        let data = match open.kind {
            OpenKind::Sequence(items) => Data::Sequence(items),
            OpenKind::Mapping { mut members, merges, .. } => {
                for merged in &merges {
                    merge(&mut members, merged)?;
                }
                Data::Mapping(members)
            }
        };
        Ok((Rc::new(Node { at: open.at, data, size: open.size }), open.anchor))
    }

    /// The node behind an alias, counted again each time it is used.
    fn unfold(&mut self, id: usize, at: Position) -> Result<Rc<Node>, YamlError> {
        if self.is_key_next() {
            return Err(YamlError::new(at, "a key must be a scalar"));
        }
        let Some(node) = self.anchors.get(&id) else {
            return Err(YamlError::new(at, "an alias can't be used inside of its own anchor"));
        };
        self.unfolded = self.unfolded.saturating_add(node.size);
        if self.unfolded > ALIAS_BUDGET {
            return Err(YamlError::new(at, format!("aliases unfold to more than {ALIAS_BUDGET} nodes")));
        }
        Ok(Rc::clone(node))
    }

    fn attach(&mut self, node: Rc<Node>) -> Result<Option<Root>, YamlError> {
        let Some(parent) = self.open.last_mut() else { return Ok(Some(Root { node, is_absent: false })) };
        parent.size = parent.size.saturating_add(node.size);
        match &mut parent.kind {
            OpenKind::Sequence(items) => items.push(node),
            OpenKind::Mapping { members, merges, key, .. } => match key.take() {
                Some(Key::Merge) => merges.push(node),
                Some(Key::Name(key, at)) => members.push(Member { key, at, value: node }),
                Some(Key::Repeated) => {}
                None => return Err(YamlError::new(node.at, "a key must be a scalar")),
            },
        }
        Ok(None)
    }
}

/// Adds the members of `merged`, a mapping or a sequence of them, that `members` does not have.
fn merge(members: &mut Vec<Member>, merged: &Node) -> Result<(), YamlError> {
    match &merged.data {
        Data::Mapping(others) => {
            for other in others {
                if !members.iter().any(|member| member.key == other.key) {
                    members.push(other.clone());
                }
            }
            Ok(())
        }
        Data::Sequence(items) => items.iter().try_for_each(|item| match item.data {
            Data::Mapping(_) => merge(members, item),
            _ => Err(YamlError::new(item.at, format!("{} was used where mapping is expected", item.kind()))),
        }),
        Data::Scalar(_) => {
            Err(YamlError::new(merged.at, format!("{} was used where mapping is expected", merged.kind())))
        }
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Result<Scalar, YamlError> {
    let is_plain = style == ScalarStyle::Plain;
    match tag {
        None if is_plain => Ok(Scalar::plain(text)),
        None => Ok(Scalar::Text(text.to_owned())),
        Some(tag) if tag.is_yaml_core_schema_tag("str") => Ok(Scalar::Text(text.to_owned())),
        Some(tag) if tag.is_yaml_core_schema_tag("null") => Ok(Scalar::Null),
        Some(tag) => {
            let scalar = Scalar::plain(text);
            let fits = match scalar {
                Scalar::Bool(_) => tag.is_yaml_core_schema_tag("bool"),
                Scalar::Integer(_) => tag.is_yaml_core_schema_tag("int") || tag.is_yaml_core_schema_tag("float"),
                Scalar::Float(_) => tag.is_yaml_core_schema_tag("float"),
                Scalar::Null | Scalar::Text(_) => false,
            };
            if fits { Ok(scalar) } else { Err(unsupported_tag(tag, at)) }
        }
    }
}

fn unsupported_tag(tag: &Tag, at: Position) -> YamlError {
    YamlError::new(at, format!("the tag `{tag}` does not fit here"))
}
