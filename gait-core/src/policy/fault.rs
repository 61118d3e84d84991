//! What is wrong with a policy file: all of it, in the order in which it was found.

use std::cell::{Cell, RefCell};

use super::error::YamlError;
use super::model::Position;

/// How many faults are kept. Who has more corrects these first; and a hostile file does not fill the memory.
const KEPT: usize = 200;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: Position,
    pub kind: FaultKind,
    pub message: String,
}

/// What kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The YAML text or its shape: shown with the lines around it.
    Shape,
    /// A value that means nothing: one of the texts of control 5.2.
    Meaning,
}

/// The faults found so far. Readers go on behind a fault, with a value that says nothing in its place.
#[derive(Debug, Default)]
pub struct Faults {
    kept: RefCell<Vec<Fault>>,
    found: Cell<usize>,
}

impl Faults {
    /// A fault of the text or of its shape.
    pub fn shape(&self, error: YamlError) {
        self.add(Fault { at: error.at, kind: FaultKind::Shape, message: error.message });
    }

    /// A value that means nothing.
    pub fn meaning(&self, at: Position, message: impl Into<String>) {
        self.add(Fault { at, kind: FaultKind::Meaning, message: message.into() });
    }

    /// How many were found, kept or not.
    pub const fn count(&self) -> usize {
        self.found.get()
    }

    /// All of them, in the order in which they were found.
    pub fn into_vec(self) -> Vec<Fault> {
        self.kept.into_inner()
    }

    fn add(&self, fault: Fault) {
        self.found.set(self.found.get() + 1);
        let mut kept = self.kept.borrow_mut();
        if kept.len() < KEPT {
            kept.push(fault);
        } else if kept.len() == KEPT {
            let message = "more is wrong from here on: correct what is above first".to_owned();
            kept.push(Fault { message, ..fault });
        }
    }
}
