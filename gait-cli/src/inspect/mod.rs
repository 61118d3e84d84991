//! What a run did, on a page: [`terminal`] and [`html`] show the same model with the same [`words`].

pub mod html;
pub mod terminal;
mod words;

use crate::verb::Verdict;
use gait_core::inspect::process::Process;
use gait_core::inspect::{Content, Inspection};
use std::collections::HashMap;

/// What is shown, with what `verify` said of it.
pub struct Shown<'a> {
    pub run: &'a Inspection,
    pub verdict: &'a Verdict,
    /// Processes by number.
    processes: HashMap<u64, &'a Process>,
}

impl<'a> Shown<'a> {
    /// From a model and the answer of `verify` about its runpack.
    pub fn new(run: &'a Inspection, verdict: &'a Verdict) -> Self {
        let processes = match &run.content {
            Content::Guarded(guarded) => guarded.processes.list.iter().map(|process| (process.proc, process)).collect(),
            Content::Plain(_) => HashMap::new(),
        };
        Shown { run, verdict, processes }
    }
}
