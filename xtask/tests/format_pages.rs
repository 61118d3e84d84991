//! The pages of docs/formats say what the schemas say.

use std::process::Command;

#[test]
fn the_pages_on_formats_are_up_to_date() {
    let task = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["docs-formats", "--check"]).output();
    let output = task.expect("the task starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
