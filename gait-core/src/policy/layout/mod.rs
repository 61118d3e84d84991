//! A policy file laid out in one way (`gait policy fmt`): comments stay, what it says stays.
//!
//! What changes: two blanks per level, lists one level below their key, one blank after `-`, `:` and `,` and none
//! inside brackets, at most one empty line in a row, no blanks at the end of a line, one line end at the end of the
//! file. Which values are in one line, their order and their quotes stay with their author.
//!
//! The parser only tells what is where; lines are moved, not written anew. The result is read again, and what
//! would not be the same tree with the same comments is refused.

mod line;
mod scan;

use super::error::{PolicyError, YamlError};
use super::fault::Faults;
use super::model::Position;
use super::yaml::{Data, Node, first_document};
use scan::Scan;

/// Why a text was not laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// It is no YAML.
    #[error("{0}")]
    Yaml(#[from] PolicyError),
    /// There is more than one document, and only the first would be read.
    #[error("more than one document: only the first is read, so the others do nothing")]
    Documents {
        /// Where the second starts.
        at: Position,
    },
    /// It is written in a way that this program can't lay out without changing what it says.
    #[error("this file can't be laid out without changing what it says; it is left as it is")]
    Unsafe,
}

/// `text` laid out.
///
/// # Errors
/// [`LayoutError`]; then the text stays as it is.
pub fn format(text: &str) -> Result<String, LayoutError> {
    let yaml = |error: YamlError| LayoutError::Yaml(PolicyError::yaml(error, text));
    let tree = tree(text).map_err(yaml)?;
    let scan = Scan::of(text).map_err(yaml)?;
    if let Some(at) = scan.second_document {
        return Err(LayoutError::Documents { at });
    }
    let laid_out = line::lay_out(text, &scan);
    let again = Scan::of(&laid_out).map_err(|_| LayoutError::Unsafe)?;
    let same_tree = self::tree(&laid_out).is_ok_and(|new| same_root(tree.as_deref(), new.as_deref()));
    let is_stable = line::lay_out(&laid_out, &again) == laid_out;
    if same_tree && is_stable && scan.comments == again.comments { Ok(laid_out) } else { Err(LayoutError::Unsafe) }
}

fn tree(text: &str) -> Result<Option<std::rc::Rc<Node>>, YamlError> {
    let faults = Faults::default();
    let root = first_document(text, &faults)?;
    match faults.into_vec().into_iter().next() {
        Some(fault) => Err(YamlError::new(fault.at, fault.message)),
        None => Ok(root),
    }
}

fn same_root(one: Option<&Node>, other: Option<&Node>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        (None, None) => true,
        _ => false,
    }
}

/// Whether two nodes say the same, wherever they stand.
fn same(one: &Node, other: &Node) -> bool {
    match (&one.data, &other.data) {
        (Data::Scalar(one), Data::Scalar(other)) => one.is_same(other),
        (Data::Sequence(one), Data::Sequence(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Data::Mapping(one), Data::Mapping(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| one.key == other.key && same(&one.value, &other.value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
