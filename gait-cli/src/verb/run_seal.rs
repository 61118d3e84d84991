//! `gait run seal`: the journal of a guard that was killed becomes a runpack, marked incomplete. So do the records of a
//! session of `gait mcp serve` that was killed.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::mcp::salvage;
use crate::mcp::spool::folder_of;
use crate::render::Outcome;
use crate::{clock, keys, locate, pack};
use gait_core::time::Timestamp;
use gait_guard::session::{FolderError, SealError, seal};
use serde_json::json;
use std::path::{Path, PathBuf};

pub static VERB: Verb = Verb {
    path: &["run", "seal"],
    label: "seal",
    explain: "Turn the journal of a guarded run whose guard was killed, or the records of a killed gait mcp serve, into \
              a signed runpack, marked incomplete.",
    positionals: "<run_id|directory>",
    flags: &[
        Flag::value("out-dir", "<dir>", "where the runpack goes").default("gait-out"),
        Flag::value("private-key", "<path>", "file with the run's private key, if it was not the local one").or_next(),
        Flag::value("private-key-env", "<VAR>", "environment variable with it"),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[
        "A run that was named by its id is removed from $HOME/.gait/runs once its runpack is in place; a directory \
         that was named by its path stays.",
        "The records of a session of gait mcp serve lie in <out-dir>/.mcp_<run_id>; its id finds them there.",
    ],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let [input] = words.as_slice() else {
        return Err(Failure::invalid("expected run_id or directory"));
    };
    let out = Path::new(call.args.trimmed("out-dir").unwrap_or(locate::OUT_DIR));
    let (folder, named_by_id) = find(input, out)?;
    let (key, _) = keys::signing_key_or_local(&call.args)?;
    if salvage::is_session(&folder) {
        let sealed = salvage::seal(&folder, &key, sealed_at()?, out)?;
        remove(&folder, named_by_id)?;
        return Ok(session_outcome(&sealed));
    }
    let sealed = seal(&folder, key, sealed_at()?, out).map_err(failure)?;
    remove(&folder, named_by_id)?;
    let bundle = pack::shown(&sealed.bundle);
    let lines = [
        format!("run seal ok: {}", sealed.run_id),
        format!("bundle: {bundle}"),
        if sealed.complete {
            "complete: the guard itself had ended the journal".to_owned()
        } else {
            format!("incomplete: attested through {}, {} lines after it not", sealed.attested, sealed.unattested)
        },
        format!("torn bytes: {}", sealed.torn_bytes),
    ];
    let members = json!({
        "ok": true,
        "run_id": sealed.run_id,
        "bundle": bundle,
        "complete": sealed.complete,
        "attested": sealed.attested,
        "unattested": sealed.unattested,
        "torn_bytes": sealed.torn_bytes,
    });
    Ok(Outcome::new(Exit::Ok, &lines, &members))
}

fn session_outcome(sealed: &salvage::Sealed) -> Outcome {
    let bundle = pack::shown(&sealed.bundle);
    let lines = [
        format!("run seal ok: {}", sealed.run_id),
        format!("bundle: {bundle}"),
        format!("incomplete: {} calls, {} of them without an end", sealed.calls, sealed.unended),
        format!("torn bytes: {}", sealed.torn_bytes),
    ];
    let members = json!({
        "ok": true,
        "run_id": sealed.run_id,
        "bundle": bundle,
        "complete": false,
        "calls": sealed.calls,
        "unended": sealed.unended,
        "torn_bytes": sealed.torn_bytes,
    });
    Outcome::new(Exit::Ok, &lines, &members)
}

/// Removes a folder whose records are in a runpack now, unless somebody named it by its path.
fn remove(folder: &Path, named_by_id: bool) -> Result<(), Failure> {
    if !named_by_id {
        return Ok(());
    }
    gait_guard::session::remove_run(folder).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Failure::io(format!("remove {error}: {cause}"))
    })
}

/// The folder of a run, and whether its id named it.
fn find(input: &str, out: &Path) -> Result<(PathBuf, bool), Failure> {
    if input.contains('/') {
        let path = PathBuf::from(input);
        return match path.is_dir() {
            true => Ok((path, false)),
            false => Err(Failure::invalid(format!("no such directory: {input}"))),
        };
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let safe = !input.is_empty() && input.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let guarded = home.map(|home| Path::new(&home).join(".gait/runs").join(input));
    guarded
        .into_iter()
        .chain([folder_of(out, input)])
        .find(|path| safe && path.is_dir())
        .map(|path| (path, true))
        .ok_or_else(|| Failure::invalid(format!("no unsealed run: {input}")))
}

/// `SOURCE_DATE_EPOCH` makes sealing repeatable; else the clock says.
fn sealed_at() -> Result<Timestamp, Failure> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(clock::now()) };
    let refuse = || Failure::invalid(format!("SOURCE_DATE_EPOCH is not a number of seconds: {text}"));
    let seconds = text.trim().parse().map_err(|_| refuse())?;
    Timestamp::from_unix(seconds, 0).map_err(|_| refuse())
}

fn failure(error: SealError) -> Failure {
    let said = chain(&error);
    match error {
        SealError::Broken(_) | SealError::Empty | SealError::Receipt => Failure::new(Exit::VerificationFailed, said),
        SealError::OtherKey { .. } => Failure::invalid(said).with_hint("name the run's key with --private-key"),
        SealError::Folder(FolderError::Locked { .. }) => {
            Failure::invalid(said).with_hint("wait for the run to end, or kill its guard")
        }
        SealError::Folder(_) => Failure::invalid(said),
        _ => Failure::io(said),
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}
