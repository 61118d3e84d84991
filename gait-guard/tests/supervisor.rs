//! The supervisor, from launch to the end of the tree.

mod common;

use common::{Guarded, Record};
use gait_guard::session::Floor;

#[test]
fn a_call_that_nothing_mediates_yet_is_refused_and_recorded() {
    // execve has no handler: the command must not run.
    let run = Guarded::new(["true"]).run();
    assert_eq!(run.code, Some(126));
    assert_eq!(run.records.len(), 1, "{:?}", run.records);
    assert!(matches!(&run.records[0], Record::Denied(action, Floor::Unmediated) if action.contains("execve")));
}
