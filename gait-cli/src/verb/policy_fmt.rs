//! `gait policy fmt`: a policy file laid out in one way.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::policy_file::{self, at_place};
use crate::render::Outcome;
use gait_core::file::rewrite;
use gait_core::policy::Policy;
use gait_core::policy::layout::{LayoutError, format};
use serde_json::json;
use std::ffi::OsStr;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["policy", "fmt"],
    label: "policy fmt",
    explain: "Lay out a policy file in one way; comments, what it says and its digest stay.",
    positionals: "<policy.yaml>",
    flags: &[
        Flag::switch("check", "say whether the file is laid out, exit with 2 if not").or_next(),
        Flag::switch("write", "write the file; without it the result is printed"),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let [path] = call.args.positionals.as_slice() else {
        return Err(Failure::invalid("expected <policy.yaml>"));
    };
    let (check, write) = (call.args.is_on("check"), call.args.is_on("write"));
    if check && write {
        return Err(Failure::invalid("set either --check or --write"));
    }
    let bytes = policy_file::bytes(path)?;
    // The reader tells where a file that is no text stops being one.
    let text = std::str::from_utf8(&bytes).map_err(|_| match Policy::parse_bytes(&bytes, LENIENT) {
        Err(error) => Failure::invalid(error),
        Ok(_) => Failure::invalid("the file is not UTF-8"),
    })?;
    let laid_out = format(text).map_err(|error| failure(path, &error))?;
    let shown = Path::new(path).display().to_string();
    let changed = laid_out != text;
    if write && changed {
        rewrite(Path::new(path), laid_out.as_bytes()).map_err(Failure::io)?;
    }
    let mut members =
        json!({"ok": !(check && changed), "path": shown, "changed": changed, "written": write && changed});
    if !check && !write {
        members["text"] = laid_out.clone().into();
        return Ok(Outcome::new(Exit::Ok, &[], &members).with_text(laid_out));
    }
    let line = match (check, changed) {
        (_, false) => format!("policy fmt ok: {shown}"),
        (false, true) => format!("policy fmt wrote: {shown}"),
        (true, true) => format!("policy fmt failed: {}", first_difference(path, text, &laid_out)),
    };
    let exit = if check && changed { Exit::VerificationFailed } else { Exit::Ok };
    Ok(Outcome::new(exit, &[line], &members))
}

const LENIENT: gait_core::policy::Strictness = gait_core::policy::Strictness::Lenient;

fn failure(path: &OsStr, error: &LayoutError) -> Failure {
    let at = match error {
        LayoutError::Yaml(error) => error.position(),
        LayoutError::Documents { at } => Some(*at),
        _ => None,
    };
    let failure = Failure::invalid(error);
    match at {
        Some(at) => failure.with_hint(format!("see {}", at_place(path, at))),
        None => failure,
    }
}

/// The place of the first line that would change.
fn first_difference(path: &OsStr, was: &str, is: &str) -> String {
    let same = was.split('\n').zip(is.split('\n')).take_while(|(was, is)| was == is).count();
    format!("{}:{}", Path::new(path).display(), same + 1)
}
